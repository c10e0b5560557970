"""An HTTP server behind a proxy that dies in the middle of an answer, in a thread of this process.

What a client of the proxy sees then is the proxy's doing. Every connection gets one answer:

- `/length`: a Content-Length, and part of what it promises
- `/chunked`: a chunk, and the beginning of another
- anything else: nothing
"""

import socketserver
import threading

from support.ports import LOOPBACK
from support.started import Started

__all__ = ["SENT", "DyingUpstream"]

SENT = b"half of it"
"""What arrives of every answer that has begun."""

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
_ANSWERS = {
    b"/length": _HEAD + b"Content-Length: %d\r\n\r\n" % (2 * len(SENT)) + SENT,
    b"/chunked": _HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n%x\r\n" % (len(SENT), SENT, len(SENT)),
}


class _Handler(socketserver.StreamRequestHandler):
    """Reads a request's head, answers a part, and hangs up."""

    timeout = 10.0

    def handle(self) -> None:
        _, _, rest = self.rfile.readline().partition(b" ")
        while self.rfile.readline().strip():
            pass
        self.wfile.write(_ANSWERS.get(rest.split(b" ", 1)[0], b""))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class DyingUpstream(Started):
    """The server, on a port that the caller has leased."""

    def __init__(self, port: int) -> None:
        """Nothing listens yet."""
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and serve in a thread. Idempotent."""
        if self._server is not None:
            return
        self._server = _Server((LOOPBACK, self._port), _Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="dying-upstream", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving. Idempotent."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None
