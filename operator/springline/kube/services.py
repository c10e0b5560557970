"""Where the pods behind a Service are: its EndpointSlices, asked for before every attempt.

The addresses are those of the pods, so sessions spread over them, and neither the cluster's DNS nor
its load balancing is in between. Certificates are verified for the Service's name.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final
from urllib.parse import quote

from springline import errors
from springline.core.addresses import is_address
from springline.core.values import Endpoint, ResolvedEndpoint
from springline.kube.client import Client, RefusedError, RequestError
from springline.reasons import Reason

__all__ = ["KubernetesServices"]

_SERVICE_LABEL: Final = "kubernetes.io/service-name"
_ADDRESS_TYPES: Final = frozenset({"IPv4", "IPv6"})

_FORBIDDEN = 403


class KubernetesServices:
    """Asks the API server, as `core.ports.ServiceLookup`. Remembers nothing between calls."""

    def __init__(self, client: Client, rng: Random) -> None:
        self._client = client
        self._rng = rng

    async def endpoints(
        self, namespace: str, name: str, port: str | int
    ) -> Sequence[ResolvedEndpoint]:
        """Return what is ready behind a port of the Service: one endpoint for each port of pods.

        Addresses come in random order. Raises `ConnectError` NameResolutionFailed: a
        `RejectedError` where somebody has to do something first, else a `TransientError`.
        """
        where = f'Service "{name}" in namespace "{namespace}"'
        service = await self._service(namespace, name, where)
        port_name = str(_port(service, port, where).get("name") or "")
        slices = await self._slices(namespace, name)
        found: dict[int, set[str]] = {}
        for number, address in _ready(slices, port_name):
            found.setdefault(number, set()).add(address)
        if not found:
            raise errors.TransientError(
                Reason.NAME_RESOLUTION_FAILED,
                f"nothing behind port {port} of {where} is ready",
            )
        host = f"{name}.{namespace}.svc"
        return [
            ResolvedEndpoint(Endpoint(host, number), self._shuffled(addresses))
            for number, addresses in sorted(found.items())
        ]

    async def port_number(self, namespace: str, name: str, port: str | int) -> int | None:
        """Return the number of a port that the Service itself answers at.

        None if its name leads straight to the pods. Raises `ConnectError` NameResolutionFailed.
        """
        where = f'Service "{name}" in namespace "{namespace}"'
        service = await self._service(namespace, name, where)
        declared = _port(service, port, where)
        if (service.get("spec") or {}).get("clusterIP") in (None, "", "None"):
            return None
        return int(declared["port"])

    async def _service(self, namespace: str, name: str, where: str) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/services/{quote(name, safe='')}"
        try:
            return await self._client.get(path)
        except RequestError as error:
            if isinstance(error, RefusedError) and error.is_absence:
                message = f"there is no {where}; create it"
                raise errors.TransientError(Reason.NAME_RESOLUTION_FAILED, message) from error
            raise _failed(error, "get services", namespace) from error

    async def _slices(self, namespace: str, name: str) -> list[dict[str, Any]]:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{quote(namespace, safe='')}/endpointslices"
        try:
            items, _ = await self._client.list(path, labelSelector=f"{_SERVICE_LABEL}={name}")
        except RequestError as error:
            raise _failed(error, "list endpointslices", namespace) from error
        return items

    def _shuffled(self, addresses: set[str]) -> tuple[str, ...]:
        # Sorted first: the order of a set is nobody's choice, the draw is the injected Random's.
        return tuple(self._rng.sample(sorted(addresses), len(addresses)))


def _port(service: Mapping[str, Any], port: str | int, where: str) -> Mapping[str, Any]:
    """Return a port given by number or name, as the Service declares it."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        raise errors.RejectedError(
            Reason.NAME_RESOLUTION_FAILED,
            f"{where} only stands for another name; give that name in endpoints instead",
        )
    declared: list[Mapping[str, Any]] = [each for each in spec.get("ports") or () if _is_tcp(each)]
    for each in declared:
        if port == (each.get("port") if isinstance(port, int) else each.get("name")):
            return each
    there_are = ", ".join(
        f"{each.get('port')} ({each['name']})" if each.get("name") else str(each.get("port"))
        for each in declared
    )
    raise errors.RejectedError(
        Reason.NAME_RESOLUTION_FAILED,
        f"{where} has no TCP port {port}; it has " + (there_are or "none"),
    )


def _ready(slices: Sequence[Mapping[str, Any]], port_name: str) -> Iterator[tuple[int, str]]:
    """Yield port and address of every pod that is ready."""
    for each in slices:
        if each.get("addressType") not in _ADDRESS_TYPES:
            continue
        numbers = [
            port["port"]
            for port in each.get("ports") or ()
            if _is_tcp(port) and (port.get("name") or "") == port_name and port.get("port")
        ]
        for endpoint in each.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            # Without a word of it, it is ready (discovery.k8s.io/v1, EndpointConditions).
            if conditions.get("ready") is False or conditions.get("terminating"):
                continue
            for address in filter(is_address, endpoint.get("addresses") or ()):
                yield from ((number, address) for number in numbers)


def _is_tcp(port: Mapping[str, Any]) -> bool:
    return port.get("protocol") in (None, "TCP")


def _failed(error: RequestError, permission: str, namespace: str) -> errors.ConnectError:
    if isinstance(error, RefusedError) and error.code == _FORBIDDEN:
        return errors.RejectedError(
            Reason.NAME_RESOLUTION_FAILED,
            f'Springline lacks the permission to {permission} in namespace "{namespace}"; bind a '
            "role that allows it",
        )
    return errors.TransientError(Reason.NAME_RESOLUTION_FAILED, str(error))
