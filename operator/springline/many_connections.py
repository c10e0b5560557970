"""What a process needs to hold thousands of connections: settings of Python, and its own limit.

The defaults are for programs with few connections and short-lived objects. Called once, by the
commands that keep sessions.
"""

import contextlib
import gc
import resource
from asyncio import sslproto
from typing import Final

__all__ = ["prepare"]

_YOUNG_OBJECTS: Final = 20_000
"""More objects than that have to be new before the garbage collector looks for cycles.

The default is 700, which an opening session alone comes near; each of the following looks goes
through all sessions there are, and finds nothing. Fewer looks save a seventh of the processor time
of an opening.
"""

_TLS_RECORD_OCTETS: Final = 16 * 1024
"""The most that one record of TLS holds (RFC 8446 §5.1).

asyncio keeps a buffer for each TLS connection, from its beginning to its end, of 256 KB by default:
several times as much as everything else about a session.
"""


def prepare() -> None:
    """Make this process one that holds many connections. Idempotent."""
    _, middle, old = gc.get_threshold()
    gc.set_threshold(_YOUNG_OBJECTS, middle, old)
    gc.collect()
    gc.freeze()  # what has been imported stays
    sslproto.SSLProtocol.max_size = _TLS_RECORD_OCTETS
    _allow_open_files()


def _allow_open_files() -> None:
    """Raise the limit of open files to what this process may have.

    systemd gives 1,024 to what does not ask for more, and so do containers of containerd 2, because
    of programs that use select(2). asyncio does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # A hard limit above what the kernel allows: the soft one stays as it is.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
