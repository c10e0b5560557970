"""What an error condition means: from its symbol, and its text where that says too little, to a
reason. Pure.

The symbols are those of OASIS AMQP 1.0 part 2 §2.8.15 to §2.8.17. In this driver, text decides here
and nowhere else: the texts are those of RabbitMQ (3.10 to 4.3), Artemis and Broker-J, tested one by
one. What is unknown falls back to what its symbol says.
"""

import contextlib
import re
from dataclasses import dataclass, field
from typing import Any, Final, Self

from springline.core.values import ClosedBy, CloseInfo
from springline.drivers.shared import peer_text
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    ProbeRefusal,
    RejectedError,
    TransientError,
)
from springline.reasons import Reason
from springline.veil import Veil

__all__ = [
    "DECODE_ERROR",
    "FRAMING_ERROR",
    "ILLEGAL_STATE",
    "INVALID_FIELD",
    "LOCAL_IDLE_TIMEOUT",
    "NOT_ALLOWED",
    "TOO_MUCH",
    "Condition",
    "Meaning",
    "blames_secret",
    "may_be_of_container",
    "meaning",
    "probe_refusal",
    "shown",
    "shown_text",
    "when_open",
]

# Those that we give ourselves, too.
DECODE_ERROR: Final = "amqp:decode-error"
FRAMING_ERROR: Final = "amqp:connection:framing-error"
ILLEGAL_STATE: Final = "amqp:illegal-state"
INVALID_FIELD: Final = "amqp:invalid-field"
NOT_ALLOWED: Final = "amqp:not-allowed"
TOO_MUCH: Final = "amqp:resource-limit-exceeded"
"""What we call it when a peer sends more than a session takes."""

_DETACH_FORCED: Final = "amqp:link:detach-forced"
_FORCED: Final = "amqp:connection:forced"
_NOT_FOUND: Final = "amqp:not-found"
_RESOURCE_DELETED: Final = "amqp:resource-deleted"
_UNAUTHORIZED: Final = "amqp:unauthorized-access"

LOCAL_IDLE_TIMEOUT: Final = "local-idle-timeout expired"
"""What proton calls it when nothing was heard for too long."""

_LONGEST_TEXT: Final = 512  # octets that are shown
_LONGEST_READ: Final = 8192  # characters that are looked at; a peer may say what it likes
_NUMBERS: Final = re.compile(
    r"\[\d{1,7}(?:,\s*\d{1,7})+\]|<<\d{1,3}(?:,\s*\d{1,3})+>>"  # long ones over many lines
)


@dataclass(frozen=True, slots=True)
class Condition:
    """An error as a peer gave it, or as we give it."""

    name: str
    text: str = field(default="", repr=False)
    """What it says, which may decide what it means. A peer may have put our secret into it."""

    @classmethod
    def of(cls, found: Any) -> Self | None:
        """Return what proton has for a condition; None for none."""
        if found is None or not found.name:
            return None
        return cls(str(found.name), str(found.description or ""))

    @property
    def plain(self) -> str:
        """Its text on one line, with what Erlang prints as numbers written out (RabbitMQ 3.10)."""
        return " ".join(_NUMBERS.sub(_written_out, self.text[:_LONGEST_READ]).split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What an error comes to."""

    family: type[ConnectError]
    """For an attempt to open."""
    reason: Reason
    says: str
    is_expired: bool = False
    """Whether it is because the lifetime of the credential is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The first rule whose name and text match decides."""

    names: tuple[str, ...]
    text: str = ""
    """A regular expression searched for in the text, whatever its case."""
    meaning: Meaning


def _rule(
    *names: str,
    text: str = "",
    family: type[ConnectError],
    reason: Reason,
    says: str,
    is_expired: bool = False,
) -> Rule:
    means = Meaning(family=family, reason=reason, says=says, is_expired=is_expired)
    return Rule(names=names, text=text, meaning=means)


_OF_NEW_SECRET: Final = r"^credential update failed|failed for new credential"

_RULES: Final = (
    _rule(
        text=_OF_NEW_SECRET,
        family=CredentialRejectedError,
        reason=Reason.ACCESS_REFUSED,
        says="the broker refused the new secret",
    ),
    _rule(
        text=r"credential expired|token (has|is) expired|ExpiredToken|SAS.{0,300}expired",
        family=CredentialRejectedError,
        reason=Reason.EXPIRED,
        says="the lifetime of the credential is over",
        is_expired=True,
    ),
    # RabbitMQ calls what an operator does an internal error, and says in words what it is.
    _rule(
        text=r"reason 'shutdown'|^shutdown$|maintenance mode|shutting down",
        family=TransientError,
        reason=Reason.SERVER_SHUTDOWN,
        says="the broker is shutting down",
    ),
    _rule(
        text=r"vhost '.{0,300}' is deleted",
        family=RejectedError,
        reason=Reason.VIRTUAL_HOST_NOT_FOUND,
        says="the virtual host was deleted",
    ),
    _rule(
        text=r"vhost '.{0,300}' is down",
        family=TransientError,
        reason=Reason.VIRTUAL_HOST_DOWN,
        says="the virtual host goes down",
    ),
    _rule(
        text=r"^connection forced|user '.{0,300}' is deleted|server_initiated_close",
        family=TransientError,
        reason=Reason.CONNECTION_FORCED,
        says="an operator or a policy of the broker closed it",
    ),
    _rule(
        text=r"connection limit|too many connections|connection count",
        family=TransientError,
        reason=Reason.CONNECTION_LIMIT_REACHED,
        says="the broker takes no more connections",
    ),
    _rule(
        text=LOCAL_IDLE_TIMEOUT,
        family=TransientError,
        reason=Reason.HEARTBEAT_MISSED,
        says="nothing was heard for too long",
    ),
    _rule(
        _FORCED,
        "amqp:connection:redirect",
        _DETACH_FORCED,
        "amqp:link:stolen",
        family=TransientError,
        reason=Reason.CONNECTION_FORCED,
        says="an operator or a policy of the broker closed it",
    ),
    _rule(
        _UNAUTHORIZED,
        family=RejectedError,
        reason=Reason.ACCESS_REFUSED,
        says="the broker refused access",
    ),
    _rule(
        _NOT_FOUND,
        _RESOURCE_DELETED,
        family=RejectedError,
        reason=Reason.VIRTUAL_HOST_NOT_FOUND,
        says="the broker knows no such virtual host",
    ),
    _rule(
        NOT_ALLOWED,
        INVALID_FIELD,
        "amqp:precondition-failed",
        "amqp:resource-locked",
        family=RejectedError,
        reason=Reason.ACCESS_REFUSED,
        says="the broker does not allow it",
    ),
    _rule(
        TOO_MUCH,
        family=TransientError,
        reason=Reason.CONNECTION_LIMIT_REACHED,
        says="the broker has reached a limit",
    ),
    _rule(
        "amqp:frame-size-too-small",
        family=RejectedError,
        reason=Reason.NEGOTIATION_FAILED,
        says="the broker needs longer frames",
    ),
    _rule(
        FRAMING_ERROR,
        DECODE_ERROR,
        "amqp:not-implemented",
        ILLEGAL_STATE,
        family=RejectedError,
        reason=Reason.PROTOCOL_MISMATCH,
        says="one side does not understand the other",
    ),
)
_PROBE_REFUSALS: Final = {
    _UNAUTHORIZED: ProbeRefusal.NO_PERMISSION,
    NOT_ALLOWED: ProbeRefusal.NO_PERMISSION,
    _NOT_FOUND: ProbeRefusal.PLACE_MISSING,
    _RESOURCE_DELETED: ProbeRefusal.PLACE_MISSING,
    TOO_MUCH: ProbeRefusal.LIMIT,
    "amqp:internal-error": ProbeRefusal.TROUBLE,
    _DETACH_FORCED: ProbeRefusal.TROUBLE,
}
_OTHER: Final = Meaning(
    family=TransientError, reason=Reason.PEER_CLOSED, says="the broker closed it"
)


def meaning(condition: Condition | None) -> Meaning:
    """Return what a condition of a connection, or of its session, means."""
    if condition is None:
        return _OTHER
    text = condition.plain
    for rule in _RULES:
        if rule.names and condition.name not in rule.names:
            continue
        if re.search(rule.text, text, re.IGNORECASE):
            return rule.meaning
    return _OTHER


def shown(condition: Condition | None, veil: Veil) -> str:
    """Return a condition for people: its symbol, and its text with nothing secret in it."""
    if condition is None:
        return "no reason given"
    name = peer_text.cleaned(condition.name, veil=veil)
    if len(condition.text) > _LONGEST_READ:
        # Before it is cut: the beginning of a secret is not recognised.
        condition = Condition(condition.name, veil.over(condition.text))
    # Written out first: a secret in numbers is one, too.
    text = peer_text.cleaned(condition.plain, _LONGEST_TEXT, veil=veil)
    return f"{name}: {text}" if text else name


def shown_text(text: str, veil: Veil) -> str:
    """Return another text of a peer's for people, with nothing secret in it."""
    return peer_text.cleaned(text, _LONGEST_TEXT, veil=veil)


def blames_secret(condition: Condition) -> bool:
    """Whether a Close after a secret was sent is the answer to it.

    What an operator, a shutdown or the end of a lifetime bring says nothing of the new secret.
    """
    if re.search(_OF_NEW_SECRET, condition.plain):
        return True
    means = meaning(condition)
    return means.reason is Reason.ACCESS_REFUSED and not means.is_expired


def may_be_of_container(condition: Condition | None) -> bool:
    """Whether a Close may say that the container has a connection already.

    The field that is invalid is the container id (Enforcing Connection Uniqueness 1.0 §4).
    """
    return condition is not None and condition.name == INVALID_FIELD


def when_open(condition: Condition | None, *, by: ClosedBy, text: str) -> CloseInfo:
    """Return how an open connection ended; `text` is what is shown of it."""
    means = meaning(condition)
    reason = means.reason
    if means.is_expired:
        reason = Reason.CONNECTION_FORCED
    return CloseInfo(by=by, reason=reason, text=text, says_expired=means.is_expired)


def probe_refusal(condition: Condition | None) -> ProbeRefusal:
    """Return why a link or a message of the probe was refused."""
    if condition is None:
        return ProbeRefusal.OTHER
    if meaning(condition).is_expired:
        return ProbeRefusal.CREDENTIAL_EXPIRED
    return _PROBE_REFUSALS.get(condition.name, ProbeRefusal.OTHER)


def _written_out(found: re.Match[str]) -> str:
    numbers = [int(each) for each in re.findall(r"\d+", found[0])]
    text = _spelled(numbers)
    # A few characters that cannot be printed, such as a line break, make it no less of a text.
    if 2 * sum(each.isprintable() for each in text) <= len(text):
        return found[0]
    return f'"{text}"'


def _spelled(numbers: list[int]) -> str:
    """Return the text that octets or characters are; empty for neither."""
    if all(each <= 0xFF for each in numbers):
        with contextlib.suppress(UnicodeDecodeError):
            return bytes(numbers).decode()
    if any(each > 0x10FFFF or 0xD800 <= each < 0xE000 for each in numbers):
        return ""
    return "".join(map(chr, numbers))
