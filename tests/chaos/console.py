"""RabbitMQ's management interface as its users see it, of whom a session over HTTP is one.

It opens a connection for each request, and knows nothing of Springline.
"""

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from support.ports import LOOPBACK

__all__ = ["ALARMS", "WHOAMI", "Answer", "ask"]

ALARMS: Final = "/api/health/checks/alarms"
WHOAMI: Final = "/api/whoami"

_SECONDS = 10.0
_VERSIONS = {10: "1.0", 11: "1.1"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with."""

    status: int
    version: str
    """Of HTTP."""
    content: Mapping[str, Any]
    """Empty where it is no object."""


def ask(port: int, path: str, user: str, password: str) -> Answer:
    """Ask for a path. Blocks; raises `OSError` where nothing answers."""
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_SECONDS)
    try:
        connection.request("GET", path, headers={"Authorization": f"Basic {login}"})
        response = connection.getresponse()
        text = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(repr(error)) from error
    finally:
        connection.close()
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    return Answer(
        response.status,
        _VERSIONS.get(response.version, ""),
        content if isinstance(content, dict) else {},
    )
