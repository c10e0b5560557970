"""A status with nothing in it that can be left out, for an object with no room for more. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from springline.api.texts import shortened

__all__ = ["smallest"]

_KEPT: Final = (
    *("observedGeneration", "state", "connections", "attempts"),
    *("binding", "holder", "lastHandled"),
)
"""Beside the conditions: what the definitions need, and what a start reads."""

_MESSAGE_BYTES: Final = 64


def smallest(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conditions with the beginnings of their messages, and what is needed with them."""
    small = {field: status[field] for field in _KEPT if field in status}
    small["conditions"] = [
        {**each, "message": shortened(each.get("message", ""), _MESSAGE_BYTES)}
        for each in status.get("conditions", ())
    ]
    return small
