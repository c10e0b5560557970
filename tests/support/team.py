"""An application team in a namespace: what it declares, what it is told, what the broker holds.

It asks the API server directly, as an administrator, and so sees the same whatever the operator's
own way to the API server does.
"""

import asyncio
import contextlib
import http.client
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from support.apiserver import Answer
from support.identities import Tenant
from support.kubectl_proxy import Administrator
from support.shared_broker import SharedBroker
from support.waiting import PATIENCE

__all__ = ["CONNECTIONS", "Held", "Team", "condition"]

_T = TypeVar("_T")

GROUP = "/apis/springline.dev/v1alpha1"
CONNECTIONS = "brokerconnections"
# A test that waits for an attempt is not to wait for long.
RETRY = {"delay": "1s", "maxDelay": "2s"}
# Often, but patiently: a broker that is slow to answer a probe is another state, and one more write
# of the status.
PROBE = {"mode": "Publish", "interval": "1s", "timeout": "30s"}

_POLL_SECONDS = 0.1
_DEADLINE = 2 * PATIENCE
"""The API server, the operator and the broker take their turns."""
_CREATED = (200, 201)
_OPEN = ("running", "flow", "blocking", "blocked")


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """One connection at the broker.

    Another one has another process, or, since a broker that starts counts them anew, comes from
    another port. A port alone does not tell: another pod may come from the same one.
    """

    name: str
    pid: str
    peer_port: int


class Team:
    """Works in `namespace`, with the broker `rabbit` as `tenant`."""

    def __init__(
        self, server: Administrator, namespace: str, rabbit: SharedBroker, tenant: Tenant
    ) -> None:
        self.namespace = namespace
        self.rabbit = rabbit
        self.tenant = tenant
        self._server = server

    def at(self, rabbit: SharedBroker) -> "Team":
        """Return the same team at another broker."""
        return Team(self._server, self.namespace, rabbit, self.tenant)

    def inside(self, namespace: str) -> "Team":
        """Return the same team in another namespace."""
        return Team(self._server, namespace, self.rabbit, self.tenant)

    # --- what it declares

    async def declare(self, *names: str, **spec: Any) -> None:
        """Declare connections, and before them what they refer to. Idempotent."""
        await self.put_secret()
        await self.apply("brokers", self.rabbit.document(retry=RETRY))
        await self.declare_connections(*names, **spec)

    async def declare_connections(self, *names: str, **spec: Any) -> None:
        """Declare connections alone. Idempotent."""
        for name in names:
            await self.apply(CONNECTIONS, self.connection(name, **spec))

    def connection(self, name: str, **spec: Any) -> dict[str, Any]:
        """Return a BrokerConnection, with more of a spec."""
        return {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "BrokerConnection",
            "metadata": {"name": name},
            "spec": {
                "brokerRef": {"name": "rabbit"},
                "virtualHost": self.tenant.vhost,
                "credentials": {"secretRef": {"name": "orders-amqp"}},
                "probe": PROBE,
                **spec,
            },
        }

    async def put_secret(self, password: str | None = None, *, name: str = "orders-amqp") -> None:
        """Put a Secret in place, with the tenant's password or another one."""
        await self.apply(
            "secrets",
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name},
                "stringData": {
                    "username": self.tenant.username,
                    "password": self.tenant.secret if password is None else password,
                },
            },
        )

    async def apply(self, plural: str, document: Mapping[str, Any]) -> None:
        """Create an object, or make it what the document says."""
        path = f"{self._path(plural, document['metadata']['name'])}?fieldManager=team&force=true"
        answer = await self.ask(
            "PATCH", path, dict(document), content_type="application/apply-patch+yaml"
        )
        assert answer.code in _CREATED, answer.message

    async def patch(self, plural: str, name: str, change: Mapping[str, Any]) -> None:
        """Merge a change into an object."""
        answer = await self.ask("PATCH", self._path(plural, name), dict(change))
        assert answer.code in _CREATED, answer.message

    async def delete(self, plural: str, name: str = "") -> None:
        """Delete an object; without a name all of them."""
        answer = await self.ask("DELETE", self._path(plural, name))
        assert answer.code in _CREATED, answer.message

    # --- what it is told

    async def get(self, plural: str, name: str) -> dict[str, Any]:
        """Return an object, or an empty dictionary where there is none."""
        answer = await self.ask("GET", self._path(plural, name))
        return answer.content if answer.code in _CREATED else {}

    async def status(self, name: str, plural: str = CONNECTIONS) -> dict[str, Any]:
        """Return the status of an object, empty without one."""
        return (await self.get(plural, name)).get("status") or {}

    async def is_unseen(self, name: str, plural: str = CONNECTIONS) -> bool:
        """Whether no operator has written the status of an object; there is a default of it."""
        return (await self.status(name, plural)).get("observedGeneration") == -1

    async def events(self) -> list[tuple[str, str]]:
        """Return the Events in the namespace: of which object, and the reason."""
        items = (await self.get("events", "")).get("items", ())
        return [(each["involvedObject"]["name"], each["reason"]) for each in items]

    async def until_events(self, name: str, reason: str) -> list[dict[str, Any]]:
        """Wait until an object has Events with this reason, and return them."""

        async def looked() -> list[dict[str, Any]] | None:
            items = (await self.get("events", "")).get("items", ())
            wanted = (name, reason)
            return [
                each for each in items if (each["involvedObject"]["name"], each["reason"]) == wanted
            ] or None

        return await _until(looked, f"there is an Event {reason} of {name}")

    async def until(
        self,
        name: str,
        predicate: Callable[[dict[str, Any]], object],
        what: str,
        *,
        plural: str = CONNECTIONS,
    ) -> dict[str, Any]:
        """Wait until the status of a connection, or of another object, is as wanted; return it.

        While the API server does not answer, it is not.
        """

        found: dict[str, Any] = {}

        async def looked() -> dict[str, Any] | None:
            nonlocal found
            with contextlib.suppress(OSError, http.client.HTTPException):
                found = await self.status(name, plural)
                return found if predicate(found) else None
            return None

        try:
            return await _until(looked, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {found}") from None

    async def until_any(
        self, names: Sequence[str], predicate: Callable[[dict[str, Any]], object], what: str
    ) -> dict[str, Any]:
        """Wait until the status of one of several connections is as wanted, and return it."""

        async def looked() -> dict[str, Any] | None:
            found = [await self.status(name) for name in names]
            return next((each for each in found if predicate(each)), None)

        return await _until(looked, what)

    async def until_condition(
        self, name: str, kind: str, status: str, reason: str = "", *, plural: str = CONNECTIONS
    ) -> dict[str, Any]:
        """Wait until a condition is so, and return the whole status."""

        def is_so(found: dict[str, Any]) -> bool:
            told, why = condition(found, kind)
            return told == status and reason in ("", why)

        what = f"{kind} of {name} is {status} {reason}"
        return await self.until(name, is_so, what, plural=plural)

    async def until_ready(self, *names: str) -> None:
        """Wait until connections are ready."""
        for name in names:
            await self.until_condition(name, "Ready", "True")

    # --- what the broker holds

    async def held(self) -> list[Held]:
        """Return the open connections of the namespace that the broker holds now."""
        prefix = f"springline/{self.namespace}/"
        return sorted(
            Held(each.name.removeprefix(prefix), each.pid, each.peer_port)
            for each in await asyncio.to_thread(self.rabbit.administration.connections)
            if each.name.startswith(prefix) and each.state in _OPEN
        )

    async def until_held(self, *names: str, other_than: Sequence[Held] = ()) -> list[Held]:
        """Wait until the broker holds exactly these, once each and anew, and return them."""
        held: list[Held] = []

        async def looked() -> list[Held] | None:
            nonlocal held
            held = await self.held()
            are_there = [each.name for each in held] == sorted(names)
            return held if are_there and set(held).isdisjoint(other_than) else None

        try:
            return await _until(looked, f"the broker holds {sorted(names)}")
        except AssertionError as error:
            old = sorted(set(held) & set(other_than))
            raise AssertionError(f"{error}; it holds {held}, since before: {old}") from None

    # --- asking

    async def ask(
        self, method: str, path: str, body: object = None, *, content_type: str = ""
    ) -> Answer:
        """Ask the API server. Raises `OSError` where it does not answer."""
        return await asyncio.to_thread(
            self._server.request, method, path, body, content_type=content_type
        )

    def _path(self, plural: str, name: str) -> str:
        core = plural in ("secrets", "configmaps", "events", "services")
        where = f"{'/api/v1' if core else GROUP}/namespaces/{self.namespace}/{plural}"
        if plural == "clusterbrokers":
            where = f"{GROUP}/{plural}"
        return f"{where}/{name}" if name else where


async def _until(looked: Callable[[], Awaitable[_T | None]], what: str) -> _T:
    """Look again and again until there is an answer, and return it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _DEADLINE
    while (found := await looked()) is None:
        assert loop.time() < deadline, f"not within {_DEADLINE:g} s: {what}"
        await asyncio.sleep(_POLL_SECONDS)
    return found


def condition(status: Mapping[str, Any], kind: str) -> tuple[str, str]:
    """Return status and reason of a condition; empty where it is not told."""
    for each in status.get("conditions", ()):
        if each["type"] == kind:
            return each["status"], each["reason"]
    return "", ""
