"""Name lookup: host names by the system's resolver, SRV records by dnspython.

Nothing is remembered between calls, because a moved service must be found at the next attempt.
When a lookup has its turn is the business of `pool`.
"""

import socket
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from springline import errors
from springline.core.addresses import is_address
from springline.core.values import Endpoint
from springline.reasons import Reason
from springline.resolver.pool import LookupNotStartedError, LookupPool

if TYPE_CHECKING:
    import dns.name
    import dns.rdtypes.IN.SRV
    import dns.resolver

__all__ = ["SystemResolver"]

_SRV_SECONDS = 5.0
"""For all name servers, search domains and repetitions together."""


class SystemResolver:
    """Looks names up as this machine does, as `core.ports.Resolver`."""

    def __init__(
        self,
        rng: Random,
        *,
        pool: LookupPool | None = None,
        srv: "dns.resolver.Resolver | None" = None,
    ) -> None:
        """`srv` is for tests; without it the system's name servers are read for each lookup."""
        self._rng = rng
        self._pool = pool if pool is not None else LookupPool()
        self._srv = srv

    async def services(
        self, name: str, *, namespace: str = "", own_domain: bool = False
    ) -> Sequence[Endpoint]:
        """Return the endpoints of an SRV name: by priority, and weighted at random (RFC 2782).

        Raises `TransientError` with reason NameResolutionFailed, and `RejectedError` TLSFailed
        where `own_domain` leaves none. If cancelled, the lookup goes on in its thread until its own
        limit.
        """
        # Not with the module: it would take a tenth of the start, and few names are of this kind.
        import dns.exception  # noqa: PLC0415
        import dns.name  # noqa: PLC0415
        import dns.rdtypes.IN.SRV  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        def look_up() -> dns.resolver.Answer:
            return (self._srv or dns.resolver.Resolver()).resolve(
                name,
                "SRV",
                search=True,  # as for host names, so that one that ends in `.svc` works
                lifetime=_SRV_SECONDS,
            )

        try:
            answer = await self._pool.ask(("SRV", name), look_up, namespace=namespace)
        except LookupNotStartedError as error:
            raise _failed(f'the SRV lookup of "{name}" {error.why}') from error
        except dns.resolver.NXDOMAIN as error:
            raise _failed(f'there is no DNS name "{name}"') from error
        except dns.resolver.NoAnswer as error:
            raise _failed(f'the DNS name "{name}" has no SRV record') from error
        except dns.exception.Timeout as error:
            raise _failed(f'no DNS server answered for "{name}"') from error
        except (dns.exception.DNSException, OSError) as error:
            raise _failed(f'the SRV lookup of "{name}" failed: {error}') from error
        records = [
            record
            for record in answer
            if isinstance(record, dns.rdtypes.IN.SRV.SRV)
            and record.target != dns.name.root  # "." says that the service is not offered here
        ]
        if not records:
            raise _failed(f'the SRV record of "{name}" says that the service is not available')
        if own_domain:
            records = _within(_domain(answer.qname), records, name=name)
        return [
            Endpoint(record.target.to_text(omit_final_dot=True), record.port)
            for record in _in_order(records, self._rng)
        ]

    async def addresses(self, endpoint: Endpoint, *, namespace: str = "") -> Sequence[str]:
        """Return the addresses of a host in the order the system prefers them (RFC 6724).

        Raises `TransientError` with reason NameResolutionFailed. If cancelled, the system's lookup
        goes on in its thread until its own limit.
        """
        if is_address(endpoint.host):
            return (endpoint.host,)
        try:
            found = await self._pool.ask(
                ("host", endpoint.host),
                lambda: socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM),
                namespace=namespace,
            )
        except LookupNotStartedError as error:
            raise _failed(f'looking up "{endpoint.host}" {error.why}') from error
        except socket.gaierror as error:
            raise _failed(f'looking up "{endpoint.host}" failed: {error.strerror}') from error
        except UnicodeError as error:
            raise _failed(f'"{endpoint.host}" is not a host name') from error
        except OSError as error:
            raise _failed(f'looking up "{endpoint.host}" failed: {error}') from error
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        if not addresses:
            raise _failed(f'"{endpoint.host}" has no address')
        return addresses


def _domain(asked: "dns.name.Name") -> "dns.name.Name":
    """Return the domain whose service an SRV name is: the name without `_service._proto`.

    It is the name that was asked for, with the search domain that this machine is set to, and never
    one that came with the answer.
    """
    labels = list(asked.labels)
    while labels and labels[0].startswith(b"_"):
        del labels[0]
    return type(asked)(labels)


def _within(
    domain: "dns.name.Name", records: "Sequence[dns.rdtypes.IN.SRV.SRV]", *, name: str
) -> "list[dns.rdtypes.IN.SRV.SRV]":
    """Leave out the targets whose names DNS alone has made those of the broker.

    A forged record could name any host that has a certificate of its own. Raises `RejectedError`
    if none is left.
    """
    is_root = len(domain) <= 1  # everything is inside of it
    inside = [] if is_root else [each for each in records if each.target.is_subdomain(domain)]
    if inside:
        return inside
    target = records[0].target.to_text(omit_final_dot=True)
    raise errors.RejectedError(
        Reason.TLS_FAILED,
        f'the SRV record of "{name}" names the host "{target}", which is not inside '
        f'"{domain.to_text(omit_final_dot=True)}"; a forged record could name any host, so set '
        "tls.serverName to the name that the broker's certificate has",
    )


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
