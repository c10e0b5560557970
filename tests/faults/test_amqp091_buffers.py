"""How many octets a peer can have one connection keep: a few pieces, whatever it sends."""

import array
import asyncio
import fcntl
import socket
import ssl
import sys
import termios
from asyncio import sslproto
from pathlib import Path

import pytest

from springline.core.values import Endpoint
from springline.drivers.amqp091.frame_reader import FrameReader
from springline.drivers.shared import dialling
from springline.drivers.shared.progress import Progress, TransportStep
from support import fake_peer, opening
from support.fake_peer import Talk
from support.identities import Certificates
from support.waiting import eventually

PIECE = 16 * 1024
MOST = {"plain": 32 * 1024, "tls": 80 * 1024}
"""Octets that this process takes: of TLS some wait encrypted, and the handshake counts, too."""
SYSTEM_MOST = 128 * 1024
"""Octets that the system keeps: what Linux begins with."""
ALL = 8 * 1024**2
_LOOKS = 20
"""How often nothing has moved when nothing will."""


class CountingReader(FrameReader):
    """Knows what it was fed."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.fed: list[int] = []

    def feed_data(self, data: bytes) -> None:
        self.fed.append(len(data))
        super().feed_data(data)


@pytest.fixture(params=["plain", "tls"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _in_system(connected: socket.socket) -> int:
    """Return how many octets wait in the system to be received."""
    found = array.array("i", [0])
    fcntl.ioctl(connected.fileno(), termios.FIONREAD, found)
    return found[0]


def _arrived(connected: socket.socket) -> int:
    """Return how many octets have arrived: `tcpi_bytes_received` of linux/tcp.h."""
    found = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
    return int.from_bytes(found[128:136], sys.byteorder)


async def test_what_nobody_reads_is_left_to_the_peer(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process keeps a few pieces, the system as much as it begins with, the peer the rest."""
    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", PIECE)  # as many_connections has it
    certificates = Certificates.issue(tmp_path)
    server = None
    if transport == "tls":
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(certificates.files.certificate, certificates.files.key)

    async def send(talk: Talk) -> None:
        talk.raw(b"\x00" * ALL)
        await talk.until_gone()

    reader = CountingReader()
    async with fake_peer.serving(send, tls=server) as peer:
        tls = certificates.client() if server else None
        request = opening.request(peer.port, tls=tls)
        progress: Progress[TransportStep] = Progress(
            endpoint=Endpoint("localhost", peer.port), timeout=10
        )
        line = await dialling.dial(request, progress, reader)
        ours = line.transport.get_extra_info("socket")
        looks: list[tuple[int, int]] = []

        def is_at_rest() -> bool:
            looks.append((_in_system(ours), _arrived(ours)))
            last = looks[-_LOOKS:]
            return len(last) == _LOOKS and last[0][0] > 0 and set(last) == {last[0]}

        try:
            await eventually(is_at_rest, what="nothing moves any more")
        finally:
            line.abort()
            await line.wait_lost()
        in_system, arrived = looks[-1]
        assert max(reader.fed) <= PIECE
        assert arrived - in_system <= MOST[transport]
        assert in_system <= SYSTEM_MOST
