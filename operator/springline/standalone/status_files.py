"""Files of status: one for each resource, written whole or not at all.

What is to be written, and when, is report.py's. Everything here may block, and is called off the
event loop.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from springline.api.meta import Identity

__all__ = ["KINDS", "name", "remove_others", "write"]

KINDS: Final = ("Broker", "ClusterBroker", "BrokerConnection")

_LONGEST_NAME: Final = 200
"""Of a file; file systems take 255 bytes, and the temporary file's name is longer."""

_MODE: Final = 0o644
"""There is no secret in a status; what the umask takes away is taken away."""

# Not through a link: whoever else may write into the directory must not lead us to another file.
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

# The C one where PyYAML was built with it: ten times as fast, the same text.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def name(identity: Identity) -> str:
    """Return the name of a resource's file."""
    # Of a document that cannot be used the name may be anything, a path for example.
    parts = [quote(part, safe="", errors="surrogatepass") for part in identity if part]
    name = ".".join(parts)
    if len(name) > _LONGEST_NAME:
        digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        name = f"{name[:_LONGEST_NAME]}-{digest}"
    return f"{name}.yaml"


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a status: a reader sees the old one or the new one. Raises `OSError`.

    The file beside it has a name that nobody can know before, and is never one that was there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    text = _text(content)
    descriptor = os.open(temporary, _NEW_FILE, _MODE)
    try:
        _fill(descriptor, text)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def remove_others(directory: Path, names: Collection[str]) -> None:
    """Remove status files, also those of an earlier run, of what is no longer declared."""
    for path in [*directory.glob("*.yaml"), *directory.glob(".*.yaml*.new")]:
        kind = path.name.lstrip(".").split(".", 1)[0]
        if kind in KINDS and path.name not in names:
            with contextlib.suppress(OSError):
                path.unlink()


def _fill(descriptor: int, text: str) -> None:
    """Write into a file, and close it."""
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _text(content: Mapping[str, Any]) -> str:
    for dumper in (_Dumper, yaml.SafeDumper):
        # The C one cannot escape what is no text, such as half of a character in a broker's words.
        with contextlib.suppress(UnicodeEncodeError):
            return str(yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True))
    raise AssertionError("SafeDumper escapes everything")
