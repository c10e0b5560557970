"""What an answer says of a session: up, refused, throttled, or something else. Pure.

By status alone, never by a text. What is shown is the code with the standard's own phrase, and
never a body: who may declare a connection could read any server with it. The one exception is the
`reason` that RabbitMQ's management interface gives for a refusal, bounded and veiled.
"""

import enum
import json
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final

from springline import http_times
from springline.drivers.http import bounds
from springline.drivers.http.messages import Response
from springline.drivers.shared import peer_text
from springline.veil import Veil

__all__ = ["Expectation", "Judgement", "Verdict", "is_of_rabbitmq", "judge", "phrase"]

_THROTTLED: Final = frozenset({429, 503})  # RFC 6585 §4, RFC 9110 §15.6.4
_MOST_REASON_OCTETS: Final = 4096
_RABBITMQ_SERVER: Final = b"cowboy"
_JSON: Final = b"application/json"


class Judgement(enum.Enum):
    """What an answer says."""

    UP = "up"  # what is expected
    REFUSED = "refused"  # the credential, or what it may do
    THROTTLED = "throttled"  # not now
    UNEXPECTED = "unexpected"  # anything else


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Which statuses mean what, as declared."""

    up: frozenset[int] = frozenset({200})
    refused: frozenset[int] = frozenset({401})
    """403 too, where that is declared: it may be about the place rather than the credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judgement with what there is to say of it."""

    judgement: Judgement
    status: int
    text: str
    """For people; without secrets."""
    retry_after: float | None = None
    """Seconds that the server is left alone for, if it says that it wants to be."""


def judge(response: Response, expected: Expectation, *, veil: Veil, now: datetime) -> Verdict:
    """Return what an answer says. What is declared to be expected comes first."""
    status = response.status
    text = phrase(status)
    if status in expected.up:
        return Verdict(judgement=Judgement.UP, status=status, text=text)
    if status in expected.refused:
        reason = _reason(response, veil)
        if reason:
            text = f"{text}: {reason}"
        return Verdict(judgement=Judgement.REFUSED, status=status, text=text)
    if status in _THROTTLED:
        return Verdict(
            judgement=Judgement.THROTTLED,
            status=status,
            text=text,
            retry_after=_retry_after(response, now),
        )
    return Verdict(judgement=Judgement.UNEXPECTED, status=status, text=text)


def _retry_after(response: Response, now: datetime) -> float | None:
    wanted = http_times.retry_after(
        _text(response, b"retry-after"),
        sent_at=http_times.date(_text(response, b"date")),
        now=now,
    )
    return None if wanted is None else min(wanted, bounds.MAX_RETRY_AFTER)


def phrase(status: int) -> str:
    """Return the code with the standard's phrase, not the peer's."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def is_of_rabbitmq(response: Response) -> bool:
    """Whether it is JSON of what looks like RabbitMQ's management interface."""
    server = response.header(b"server") or b""
    kind = (response.header(b"content-type") or b"").split(b";", 1)[0].strip()
    return server.lower() == _RABBITMQ_SERVER and kind.lower() == _JSON


def _reason(response: Response, veil: Veil) -> str:
    """Return RabbitMQ's reason, empty where there is none that is known to be one."""
    if not is_of_rabbitmq(response):
        return ""
    if len(response.body) > _MOST_REASON_OCTETS:
        return ""
    try:
        said = json.loads(response.body)
    except (ValueError, RecursionError):
        return ""
    reason = said.get("reason") if isinstance(said, dict) else None
    return peer_text.cleaned(reason, veil=veil) if isinstance(reason, str) else ""


def _text(response: Response, name: bytes) -> str | None:
    value = response.header(name)
    return value.decode("latin-1") if value is not None else None
