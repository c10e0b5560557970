"""Name lookup: host names by the system's resolver, SRV records by dnspython.

Nothing is remembered between calls, because a moved service must be found at the next attempt.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, TypeVar, cast

from springline import errors
from springline.core.values import Endpoint
from springline.reasons import Reason

if TYPE_CHECKING:
    import dns.asyncresolver
    import dns.rdtypes.IN.SRV

__all__ = ["SystemResolver"]

T = TypeVar("T")

_SRV_SECONDS = 5.0
"""For all name servers, search domains and repetitions together."""


class SystemResolver:
    """Looks names up as this machine does, as `core.ports.Resolver`."""

    def __init__(self, rng: Random, *, srv: "dns.asyncresolver.Resolver | None" = None) -> None:
        """`srv` is for tests; without it the system's name servers are read at the first use."""
        self._rng = rng
        self._srv = srv

    async def services(self, name: str) -> Sequence[Endpoint]:
        """Return the endpoints of an SRV name: by priority, and weighted at random (RFC 2782).

        Raises `TransientError` with reason NameResolutionFailed. Safe to cancel.
        """
        # Not with the module: it would take a tenth of the start, and few names are of this kind.
        import dns.asyncresolver  # noqa: PLC0415
        import dns.exception  # noqa: PLC0415
        import dns.rdtypes.IN.SRV  # noqa: PLC0415

        try:
            resolver = self._srv or dns.asyncresolver.Resolver()
            answer = await resolver.resolve(
                name,
                "SRV",
                search=True,  # as for host names, so that `_amqp._tcp.rabbit.orders.svc` works
                lifetime=_SRV_SECONDS,
            )
        except dns.resolver.NXDOMAIN as error:
            raise _failed(f'there is no DNS name "{name}"') from error
        except dns.resolver.NoAnswer as error:
            raise _failed(f'the DNS name "{name}" has no SRV record') from error
        except dns.exception.Timeout as error:
            raise _failed(f'no DNS server answered for "{name}"') from error
        except (dns.exception.DNSException, OSError) as error:
            raise _failed(f'the SRV lookup of "{name}" failed: {error}') from error
        records = [record for record in answer if isinstance(record, dns.rdtypes.IN.SRV.SRV)]
        endpoints = [
            Endpoint(record.target.to_text(omit_final_dot=True), record.port)
            for record in _in_order(records, self._rng)
            if record.target != dns.name.root  # "." says that the service is not offered here
        ]
        if not endpoints:
            raise _failed(f'the SRV record of "{name}" says that the service is not available')
        return endpoints

    async def addresses(self, endpoint: Endpoint) -> Sequence[str]:
        """Return the addresses of a host in the order the system prefers them (RFC 6724).

        Raises `TransientError` with reason NameResolutionFailed. If cancelled, the system's lookup
        goes on in a thread of its own until its own limit, and its result is dropped.
        """
        try:
            ipaddress.ip_address(endpoint.host)
        except ValueError:
            pass
        else:
            return (endpoint.host,)
        try:
            found = await _in_own_thread(
                lambda: socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            )
        except socket.gaierror as error:
            raise _failed(f'looking up "{endpoint.host}" failed: {error.strerror}') from error
        except UnicodeError as error:
            raise _failed(f'"{endpoint.host}" is not a host name') from error
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        if not addresses:
            raise _failed(f'"{endpoint.host}" has no address')
        return addresses


async def _in_own_thread(function: Callable[[], T]) -> T:
    """Return the result of a blocking call.

    Not in the event loop's own threads: these are few, so names that hang would hold up those that
    do not, and the process would not end before each of them has ended.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: Exception | None) -> None:
        if future.done():  # cancelled
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast("T", result))

    def call() -> None:
        result, failure = None, None
        try:
            result = function()
        except Exception as error:  # noqa: BLE001  # whoever waits for the result handles it
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended without it
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=call, name="name-lookup", daemon=True).start()
    return await future


def _in_order(
    records: "Sequence[dns.rdtypes.IN.SRV.SRV]", rng: Random
) -> "list[dns.rdtypes.IN.SRV.SRV]":
    """Order by priority, and within one priority draw by weight."""
    # A record is drawn first with a chance in proportion to its weight (RFC 2782) if each takes an
    # exponential time with its weight as the rate. Weight 0 keeps "a very small chance".
    return sorted(
        records,
        key=lambda record: (record.priority, rng.expovariate(max(record.weight, 0.001))),
    )


def _failed(message: str) -> errors.TransientError:
    return errors.TransientError(Reason.NAME_RESOLUTION_FAILED, message)
