"""What a session has shown to be good: the content of its binding, as of the last time it was.

It outlives the session's outages, and never holds what the broker has not accepted.
"""

from datetime import datetime
from typing import Protocol

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.api.meta import Identity
from springline.core import binding, ports
from springline.core.binding import Content, Surroundings
from springline.core.desired import Target
from springline.core.view import SessionView
from springline.errors import SpringlineError

__all__ = ["IncompleteError", "ServicePorts", "Verified"]


class IncompleteError(SpringlineError):
    """Something that belongs to the binding cannot be had now."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class ServicePorts(Protocol):
    """Knows the ports that Kubernetes Services answer at."""

    async def port_number(self, namespace: str, name: str, port: str | int) -> int | None:
        """Return the number of a port, None if the Service's name leads straight to pods.

        Raises `ConnectError`.
        """


class Verified:
    """Remembers the last good content for one connection."""

    def __init__(self, reader: ports.ObjectReader, services: ServicePorts | None = None) -> None:
        """Without `services`, none of the sessions can have found its broker by one."""
        self._reader = reader
        self._services = services
        self._surroundings = Surroundings()
        self._opened: tuple[datetime | None, datetime | None] | None = None
        """When what the surroundings were read for was opened and last renewed."""
        self.content: Content | None = None

    async def note(self, view: SessionView) -> None:
        """Take in what is in use now, if the broker has accepted it. Raises `IncompleteError`."""
        target, use = view.target, view.credential
        if target is None or use is None or binding.content(view, self._surroundings) is None:
            return
        # Read once for each time that the broker accepted something: what has changed since then
        # has not been tried.
        opened = (view.connected_since, use.applied_at)
        if self._opened != opened and not self._is_only_renewed(view):
            namespace = view.key.namespace
            port = await self._service_port(target, namespace)
            self._surroundings = Surroundings(
                ca=await self._ca(target, namespace), service_port=port
            )
            self._opened = opened
        self.content = binding.content(view, self._surroundings)

    def _is_only_renewed(self, view: SessionView) -> bool:
        """Whether the session is the one of before, and not what is declared by now."""
        is_same = self._opened is not None and self._opened[0] == view.connected_since
        return is_same and view.state.synced.status is not ConditionStatus.TRUE

    async def _service_port(self, target: Target, namespace: str) -> int | None:
        endpoints_from = target.endpoints_from
        service = endpoints_from.service if endpoints_from is not None else None
        if service is None or self._services is None:
            return None
        namespace = service.namespace_for(namespace)
        try:
            return await self._services.port_number(namespace, service.name, service.port)
        except errors.ConnectError as error:
            raise IncompleteError(f"endpointsFrom.service: {error.message}") from error

    async def _ca(self, target: Target, namespace: str) -> str | None:
        reference = target.tls.ca_ref
        if reference is None:
            return None
        namespace = reference.namespace_for(namespace)
        try:
            found = await self._reader.read(Identity(reference.kind, namespace, reference.name))
        except errors.ObjectReadError as error:
            raise IncompleteError(f"tls.caRef: {error}") from error
        value = found.get(reference.key) if found is not None else None
        if not value:
            raise IncompleteError(
                f'tls.caRef: there is no key "{reference.key}" in {reference.kind} '
                f'"{reference.name}"; add it'
            )
        # PEM itself is ASCII; comments in it may be in any language.
        return value.decode("utf-8", "replace")
