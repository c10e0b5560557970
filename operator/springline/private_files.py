"""A path for what must not reach a file system: OpenSSL loads a private key from nothing else.

On Linux that is the path of an open descriptor without a file behind it, so a read-only root is
enough. Elsewhere it is a file in a directory that nobody else may enter, for as long as it is
needed.
"""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["holding"]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

_NOWHERE = (
    "there is no place to hold a certificate or key for OpenSSL: this system has no files without "
    "a name, and no directory for temporary ones is writable"
)


@contextlib.contextmanager
def holding(content: bytes) -> Iterator[str]:
    """Give the content a path until the end of the block.

    Raises `OSError` that says so where there is neither of the two.
    """
    descriptor = _anonymous_file()
    if descriptor is not None:
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    try:
        temporary = tempfile.TemporaryDirectory()  # nobody else may look into it
    except OSError as error:
        raise OSError(_NOWHERE) from error
    with temporary as directory:
        path = Path(directory) / secrets.token_hex(8)
        with os.fdopen(os.open(path, _NEW_FILE, 0o600), "wb") as file:
            file.write(content)
        yield str(path)


def _anonymous_file() -> int | None:
    """Return a file that has only a descriptor, None where the system has no such thing."""
    if not hasattr(os, "memfd_create") or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.memfd_create("springline-pem", os.MFD_CLOEXEC)
    except OSError:  # forbidden by a sandbox
        return None
