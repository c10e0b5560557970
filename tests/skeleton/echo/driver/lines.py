"""Lines on the wire: an object in JSON, whose `say` is the verb."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["received", "written"]


def written(verb: str, **values: Any) -> bytes:
    """Return a line."""
    return json.dumps({"say": verb, **values}).encode() + b"\n"


async def received(reader: asyncio.StreamReader) -> Mapping[str, Any]:
    """Return the next line.

    Raises `EOFError` at the end, and `ValueError` for what is no such line, or is longer than the
    reader buffers.
    """
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    found = json.loads(line)
    if not isinstance(found, dict) or not isinstance(found.get("say"), str):
        raise ValueError("no verb")  # noqa: TRY004 - as for all else that is no such line
    return found
