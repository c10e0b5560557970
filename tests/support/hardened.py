"""Run a program of ours in a Python that is as strict as 3.13 and may write no file at all.

`python hardened.py MODULE:FUNCTION ARGUMENT…`. The root of the operator's pod is read-only, and the
image's Python has stricter defaults for TLS than older ones.
"""

import errno
import importlib
import os
import ssl
import sys
from pathlib import Path
from typing import Any

__all__ = ["program"]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# Nobody's, a terminal's, and what has a descriptor already.
_NO_FILES = ("/dev/null", "/dev/tty", "/dev/pts/", "/proc/self/fd/")


def program(function: str) -> tuple[str, ...]:
    """Return the command for a function, as `module:name`; its arguments come after it."""
    return (sys.executable, "-B", str(Path(__file__).resolve()), function)


def _refuse_files(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int) or not flags & _WRITING:
            return
        if os.fsdecode(path).startswith(_NO_FILES):
            return
    elif event not in ("os.mkdir", "os.rename"):
        return
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def _be_strict() -> None:
    usual = ssl.create_default_context

    def strict(*args: Any, **options: Any) -> ssl.SSLContext:
        context = usual(*args, **options)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
        return context

    ssl.create_default_context = strict


def _main() -> None:
    module, _, name = sys.argv.pop(1).partition(":")
    _be_strict()
    function = getattr(importlib.import_module(module), name)
    sys.addaudithook(_refuse_files)
    function()


if __name__ == "__main__":
    _main()
