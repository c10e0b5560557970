"""A private nghttpd on loopback: HTTP/2 and nothing else, over TLS or in clear text.

| path | answer |
|---|---|
| `/` | 200, `HELLO` |
| `/large` | 200, `LARGE` octets |
| anything else | 404; a POST or PUT to any path is answered with its own content |

In clear text it takes clients that begin with HTTP/2 at once (prior knowledge, RFC 9113 §3.3), and
there is no upgrade from HTTP/1.1. Its log has every frame that came and went.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from support.http_peers import LARGE, HTTPPeer, find
from support.ports import LOOPBACK
from support.rabbitmq import TLSFiles

__all__ = ["HELLO", "Nghttpd"]

HELLO = b"hello\n"


class Nghttpd(HTTPPeer):
    """One nghttpd, on `port`: with `tls` over TLS (`h2` in ALPN), without it in clear text (h2c).

    It announces `max_concurrent_streams`. A stream beyond them is refused (REFUSED_STREAM) as long
    as the client has not acknowledged that, and costs the connection afterwards. With
    `needs_certificate` it takes only clients that show one, whoever has issued it.
    """

    name: ClassVar[str] = "nghttpd"

    def __init__(
        self,
        directory: Path,
        *,
        tls: TLSFiles | None = None,
        max_concurrent_streams: int = 100,
        needs_certificate: bool = False,
    ) -> None:
        """Choose a port; nothing runs yet. Raises `HTTPPeerMissing`."""
        self._program = find(self.name)
        super().__init__(directory, tls=tls, port_count=1)
        [self.port] = self._lease.ports
        self.max_concurrent_streams = max_concurrent_streams
        self.needs_certificate = needs_certificate

    def _prepare(self) -> None:
        content = self.directory / "content"
        content.mkdir(exist_ok=True)
        # What it answers `/` with.
        (content / "index.html").write_bytes(HELLO)
        with (content / "large").open("wb") as large:
            large.truncate(LARGE)

    def _command(self) -> Sequence[str | Path]:
        options = [
            f"--address={LOOPBACK}",
            f"--htdocs={self.directory / 'content'}",
            f"--max-concurrent-streams={self.max_concurrent_streams}",
            "--echo-upload",
            "--verbose",
        ]
        if self.tls is None:
            return [self._program.path, *options, "--no-tls", str(self.port)]
        if self.needs_certificate:
            options.append("--verify-client")
        return [self._program.path, *options, str(self.port), self.tls.key, self.tls.certificate]

    def _environment(self) -> Mapping[str, str]:
        return self._program.environment

    def listeners(self) -> Sequence[int]:
        """Return the ports that it listens on."""
        return (self.port,)
