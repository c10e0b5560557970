"""A DNS server for SRV records, on loopback, as a context manager.

It knows what a test gives it, and nothing else: every other name does not exist.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

from support import ports
from support.ports import LOOPBACK

__all__ = ["DnsServer", "serving"]

_TTL = 3600  # long: whoever remembers answers is found out


class DnsServer(asyncio.DatagramProtocol):
    """Answers questions with SRV records."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.records: dict[str, Sequence[str]] = {}
        """By name, each `priority weight port target`; none means that the name has other records.
        """
        self.failures: dict[str, dns.rcode.Rcode] = {}
        """Names that are answered with an error."""
        self.is_silent = False
        self.questions: list[str] = []
        self._transport: asyncio.DatagramTransport | None = None

    def resolver(self, *, search: Sequence[str] = ()) -> dns.resolver.Resolver:
        """Return a resolver that asks this server and no other."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = [LOOPBACK]
        resolver.port = self.port
        resolver.search = [dns.name.from_text(domain) for domain in search]
        resolver.ndots = 5
        return resolver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name
        asked = name.to_text(omit_final_dot=True)
        self.questions.append(asked)
        if self.is_silent:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if asked in self.failures:
            answer.set_rcode(self.failures[asked])
        elif asked not in self.records:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif self.records[asked]:
            answer.answer.append(
                dns.rrset.from_text_list(name, _TTL, "IN", "SRV", self.records[asked])
            )
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[DnsServer]:
    """Serve on a port of our own."""
    lease = ports.lease(1)
    [port] = lease.ports
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: DnsServer(port), local_addr=(LOOPBACK, port)
    )
    try:
        yield server
    finally:
        transport.close()
        lease.release()
