"""What Python is told before it holds thousands of connections."""

import asyncio
import gc
import resource
import ssl
from asyncio import sslproto
from collections.abc import Iterator
from pathlib import Path

import pytest

from springline import many_connections
from support import ports
from support.identities import Certificates
from support.ports import LOOPBACK

RECORD_OCTETS = 16 * 1024


@pytest.fixture(autouse=True)
def _prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Afterwards everything is as it was."""
    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", sslproto.SSLProtocol.max_size)
    thresholds = gc.get_threshold()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.set_threshold(700, 10, 10)
    many_connections.prepare()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    resource.setrlimit(resource.RLIMIT_NOFILE, files)


async def test_a_tls_connection_has_a_buffer_for_one_record_and_reads_more(tmp_path: Path) -> None:
    """asyncio's own is sixteen times as large, and every connection has one."""
    sent = bytes(range(256)) * 4096
    sizes = []

    class Sender(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(sent)
            transport.close()

    class Receiver(asyncio.Protocol):
        def __init__(self) -> None:
            self.received = bytearray()
            self.over = asyncio.Event()

        def data_received(self, data: bytes) -> None:
            sizes.append(len(data))
            self.received += data

        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
            self.over.set()

    loop = asyncio.get_running_loop()
    certificates = Certificates.issue(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.files.certificate, certificates.files.key)
    lease = ports.lease(1)
    [port] = lease.ports
    async with asyncio.timeout(10):
        server = await loop.create_server(Sender, LOOPBACK, port, ssl=context)
        _, receiver = await loop.create_connection(
            Receiver,
            LOOPBACK,
            port,
            ssl=certificates.client().context,
            server_hostname="localhost",
        )
        await receiver.over.wait()
        server.close()
        await server.wait_closed()
    lease.release()
    assert receiver.received == sent
    assert max(sizes) <= RECORD_OCTETS


def test_cycles_are_looked_for_less_often() -> None:
    many_connections.prepare()  # again
    young, middle, old = gc.get_threshold()
    assert young > 700
    assert (middle, old) == (10, 10)


def test_as_many_files_may_be_open_as_the_process_may_have() -> None:
    """Containers often begin with 1,024, and may have more for the asking."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    many_connections.prepare()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses what is above its own limit; fewer sessions are better than none."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))

    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    with monkeypatch.context() as patched:
        patched.setattr(resource, "setrlimit", refuse)
        many_connections.prepare()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard // 2, hard)
