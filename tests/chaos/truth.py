"""Whether status tells of an open session what the broker's own list says of its connection.

A session over HTTP is in no list: what its user is answered is compared.

Everything here compares values, and says in words what differs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from chaos.console import Answer
from chaos.declared import Connection
from chaos.world import condition
from support.administration import Connection as Held

__all__ = ["answered_otherwise", "closed_otherwise", "differences"]

_BLOCKED = ("blocking", "blocked")
_FORCED = 320
_UP_STATUS = 200
_BLOCKED_STATUS = 503


def differences(
    status: Mapping[str, Any], held: Held, declared: Connection, port: int
) -> list[str]:
    """Say in what the status of a session that is open as declared is not true.

    `port` is where its Broker leads.
    """
    negotiated = status.get("negotiated") or {}
    said = negotiated.get("clientProperties") or {}
    pairs = {
        "mechanism": (negotiated.get("mechanism"), held.auth_mechanism),
        "heartbeat": (negotiated.get("heartbeat"), f"{held.heartbeat}s"),
        "channelMax": (negotiated.get("channelMax"), held.channel_max),
        "frameMax": (negotiated.get("frameMax"), held.frame_max),
        "clientProperties": (said, {key: held.client_properties.get(key) for key in said}),
        "connection_name": (said.get("connection_name"), held.name),
        "username": ((status.get("credentials") or {}).get("username"), held.user),
        "state": (status.get("state"), "Connected"),
        "attempts": (status.get("attempts"), 0),
        "Blocked": (condition(status, "Blocked")[0], str(held.state in _BLOCKED)),
        "blocked": (bool(status.get("blocked")), held.state in _BLOCKED),
    }
    wrong = [
        f"status says {name} {told!r}, the broker {found!r}"
        for name, (told, found) in pairs.items()
        if told != found
    ]
    if held.vhost != declared.vhost:
        wrong.append(f"it is in {held.vhost!r}, and declared in {declared.vhost!r}")
    if held.heartbeat != declared.heartbeat:
        wrong.append(f"its heartbeat is {held.heartbeat} s, and declared {declared.heartbeat} s")
    return wrong + _of_endpoint(status, port)


def answered_otherwise(
    status: Mapping[str, Any], answers: Sequence[Answer], port: int
) -> list[str]:
    """Say in what the status of a session over HTTP that is up as declared is not true.

    `answers` are those to its path, to whether there are alarms, and to who asks. `port` is where
    its Broker leads.
    """
    negotiated = status.get("negotiated") or {}
    http = negotiated.get("http") or {}
    asked, alarms, whoami = answers
    is_blocked = alarms.status == _BLOCKED_STATUS
    pairs = {
        "Connected": (condition(status, "Connected")[0], str(asked.status == _UP_STATUS)),
        "username": ((status.get("credentials") or {}).get("username"), whoami.content.get("name")),
        "Blocked": (condition(status, "Blocked")[0], str(is_blocked)),
        "blocked": (bool(status.get("blocked")), is_blocked),
        "version": (http.get("version"), asked.version),
        "mechanism": (negotiated.get("mechanism"), "BASIC"),
        "state": (status.get("state"), "Connected"),
        "attempts": (status.get("attempts"), 0),
    }
    wrong = [
        f"status says {name} {told!r}, the management interface {found!r}"
        for name, (told, found) in pairs.items()
        if told != found
    ]
    return wrong + _of_endpoint(status, port)


def _of_endpoint(status: Mapping[str, Any], port: int) -> list[str]:
    wrong = []
    if f":{port} " not in f"{status.get('endpoint', '')} ":
        wrong.append(f"its endpoint is {status.get('endpoint')!r}, and declared is port {port}")
    if not status.get("connectedSince"):
        wrong.append("nothing says since when it is connected")
    return wrong


def closed_otherwise(status: Mapping[str, Any], text: str) -> str:
    """Say what `lastClose` says other than that the broker closed by force with this text."""
    told = status.get("lastClose") or {}
    is_so = (
        told.get("by") == "Server"
        and told.get("reason") == "ConnectionForced"
        and told.get("code") == _FORCED
        and text in told.get("text", "")
    )
    return "" if is_so else f"the broker closed it with {text!r}, and lastClose says {told}"
