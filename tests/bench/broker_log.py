"""What RabbitMQ's log says about a measurement: when something was so, and what came at once.

Pure: it takes the text, of one start. Times are in seconds since 1970, and None where the log does
not tell. Lines begin with `2026-11-21 08:00:00.123456+00:00 [info] <0.812.0> `.
"""

import re
from datetime import datetime

__all__ = ["alarmed_since", "cleared_since", "handshakes_at_once", "listens_since"]

_LINE = re.compile(r"^(\S+ \S+) \[\w+\] <[\d.]+> (.*)$", re.MULTILINE)
_LISTENS = "started TCP listener on"
_ALARMED = "memory resource limit alarm set on node"
_CLEARED = "memory resource limit alarm cleared on node"
_ACCEPTED = re.compile(r"accepting AMQP connection (<[\d.]+>) ")
_IS_OPEN = re.compile(r"connection (<[\d.]+>) \(.*\): user .* authenticated and granted access")


def listens_since(log: str) -> float | None:
    """Return when clients could first connect."""
    return _said(log, _LISTENS)


def alarmed_since(log: str) -> float | None:
    """Return when the memory alarm came."""
    return _said(log, _ALARMED)


def cleared_since(log: str) -> float | None:
    """Return when the memory alarm ended."""
    return _said(log, _CLEARED)


def _said(log: str, what: str) -> float | None:
    for when, text in _LINE.findall(log):
        if text.startswith(what):
            return datetime.fromisoformat(when).timestamp()
    return None


def handshakes_at_once(log: str) -> int:
    """Return how many handshakes were under way together at most.

    One that never ended is not counted: its client gave it up, and nobody says when.
    """
    began: dict[str, str] = {}
    steps: list[tuple[str, int]] = []
    for when, text in _LINE.findall(log):
        if accepted := _ACCEPTED.match(text):
            began[accepted[1]] = when
        elif (is_open := _IS_OPEN.match(text)) and is_open[1] in began:
            steps += [(began.pop(is_open[1]), 1), (when, -1)]
    at_once = most = 0
    for _, step in sorted(steps):
        at_once += step
        most = max(most, at_once)
    return most
