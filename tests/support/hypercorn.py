"""A private hypercorn on loopback, with an application of ours: HTTP/1.1 and HTTP/2.

What it answers is in `http_app`. It is a requirement of the tests and comes with them.
"""

import base64
import importlib.util
import json
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from support import http_app
from support.http_peers import HTTPPeer, HTTPPeerMissing
from support.ports import LOOPBACK
from support.rabbitmq import TLSFiles

__all__ = ["Hypercorn"]

_TESTS = Path(__file__).resolve().parents[1]


class Hypercorn(HTTPPeer):
    """One hypercorn. `port` is in clear text: HTTP/1.1, or HTTP/2 by prior knowledge.

    With `tls`, `tls_port` speaks HTTP/2 or HTTP/1.1, as ALPN says.

    It announces `max_concurrent_streams`. A connection that has had `max_requests` is closed: over
    HTTP/1.1 by the header of the last answer, over HTTP/2 with a GOAWAY in place of the answer to
    one more request, though that one is not above its last stream and has reached the application.
    When it is asked to end it waits `graceful_seconds` for the answers that it owes. With
    `needs_certificate` its `tls_port` takes only clients with one of the same authority.
    """

    name: ClassVar[str] = "hypercorn"

    def __init__(
        self,
        directory: Path,
        *,
        tls: TLSFiles | None = None,
        max_concurrent_streams: int = 100,
        max_requests: int = 1000,
        keepalive_seconds: float = 75.0,
        graceful_seconds: float = 3.0,
        needs_certificate: bool = False,
    ) -> None:
        """Choose ports; nothing runs yet. Raises `HTTPPeerMissing`."""
        if importlib.util.find_spec("hypercorn") is None:
            raise HTTPPeerMissing("there is no hypercorn: run make venv")
        super().__init__(directory, tls=tls, port_count=2)
        self.port, self.tls_port = self._lease.ports
        self.max_concurrent_streams = max_concurrent_streams
        self.max_requests = max_requests
        self.keepalive_seconds = keepalive_seconds
        self.graceful_seconds = graceful_seconds
        self.needs_certificate = needs_certificate
        self.let_in()

    def let_in(self, *logins: str | tuple[str, str]) -> None:
        """Let in who shows one of these, and nobody else, from the next request on.

        Each is a token, or a user with a password.
        """
        lines = [
            f"Bearer {each}" if isinstance(each, str) else f"Basic {_basic(*each)}"
            for each in logins
        ]
        temporary = self.directory / "private.new"
        temporary.write_text("\n".join(lines), encoding="utf-8")
        temporary.replace(self._private)

    def _prepare(self) -> None:
        clear, secure = f"{LOOPBACK}:{self.port}", f"{LOOPBACK}:{self.tls_port}"
        values: dict[str, object] = {
            # In the process itself; a worker would outlive it.
            "workers": 0,
            "accesslog": "-",
            "errorlog": "-",
            "graceful_timeout": self.graceful_seconds,
            "h2_max_concurrent_streams": self.max_concurrent_streams,
            "keep_alive_max_requests": self.max_requests,
            "keep_alive_timeout": self.keepalive_seconds,
        }
        if self.tls is None:
            values |= {"bind": [clear]}
        else:
            values |= {
                "bind": [secure],
                "insecure_bind": [clear],
                "certfile": str(self.tls.certificate),
                "keyfile": str(self.tls.key),
            }
            if self.needs_certificate:
                required = int(ssl.CERT_REQUIRED)
                values |= {"ca_certs": str(self.tls.ca), "verify_mode": required}
        # JSON's strings, numbers and lists are TOML's.
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        self._configuration.write_text("".join(lines), encoding="utf-8")

    def _command(self) -> Sequence[str | Path]:
        of_python = [sys.executable, "-m", "hypercorn"]
        return [*of_python, "--config", self._configuration, "support.http_app:application"]

    def _environment(self) -> Mapping[str, str]:
        return {
            "PYTHONPATH": str(_TESTS),
            "PYTHONUNBUFFERED": "1",
            http_app.PRIVATE: str(self._private),
        }

    def listeners(self) -> Sequence[int]:
        """Return the ports that it listens on."""
        return (self.port, self.tls_port) if self.tls else (self.port,)

    @property
    def _private(self) -> Path:
        return self.directory / "private"

    @property
    def _configuration(self) -> Path:
        return self.directory / "hypercorn.toml"


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()
