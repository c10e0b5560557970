"""What a broker's Close means: from reply code, and text where the code says too little, to reason.
And what its Blocked means, which has a text alone.

In this driver, text decides here and nowhere else. The texts are RabbitMQ's (3.10 to 4.3), tested
one by one; anything unknown falls back to what its code says. It reads no frames, raises nothing.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from springline.core.values import Block, ClosedBy, CloseInfo
from springline.drivers.shared import peer_text
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    ProbeRefusal,
    ProbeRefusedError,
    RejectedError,
    SecretRefusedError,
    TerminalError,
    TransientError,
)
from springline.reasons import Reason
from springline.veil import Veil

__all__ = [
    "RESOURCE_ERROR",
    "Close",
    "at_open",
    "blames_probe",
    "block",
    "is_channel_limit",
    "probe_refused",
    "says_expired",
    "secret_refused",
    "shown",
    "when_open",
]


RESOURCE_ERROR: Final = 506
_NOT_ALLOWED: Final = 530
_CHANNEL_LIMIT: Final = "number of channels opened"
_NOT_UNDERSTOOD: Final = frozenset({501, 502, 503, 504, 505, 540})
_PROBE_CLASSES: Final = frozenset({20, 50, 60, 85})  # channel, queue, basic, confirm


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """A Close frame, as received (its text is cut and printable) or as sent."""

    code: int
    text: str = field(repr=False)
    """What it says, which decides what it means. A broker may have put our secret into it."""
    veiled: str | None = None
    """What is shown of that, if something else."""
    class_id: int = 0
    method_id: int = 0

    @property
    def shown(self) -> str:
        """What is shown of its text."""
        return self.text if self.veiled is None else self.veiled

    @property
    def codes(self) -> Mapping[str, int]:
        """Its numbers, as `CloseInfo` has them."""
        return {"code": self.code, "classID": self.class_id, "methodID": self.method_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The first rule whose code and text match decides."""

    code: int
    text: str = ""
    """A regular expression searched for in the reply text."""
    family: type[ConnectError]
    """What it means for an attempt to open."""
    reason: Reason
    says: str


_LOGIN_REFUSED = "the broker refused the login"
_NO_ACCESS = Rule(
    code=_NOT_ALLOWED,
    family=RejectedError,
    reason=Reason.ACCESS_REFUSED,
    says="the broker does not let this user into the virtual host",
)

# RabbitMQ cuts a reply text at 255 octets, so long names can take the end of a text away: a rule
# for a text that ends in something particular comes before the one for how the text begins.
_RULES = (
    Rule(
        code=320,
        text=r"reason 'shutdown'|[Nn]ode was put into maintenance mode",
        family=TransientError,
        reason=Reason.SERVER_SHUTDOWN,
        says="the broker is shutting down",
    ),
    # RabbitMQ takes a virtual host down and deletes it side by side, and closes its connections
    # with the text of what it comes to first.
    Rule(
        code=320,
        text=r"^(CONNECTION_FORCED - )?vhost '.*' is down$",
        family=TransientError,
        reason=Reason.VIRTUAL_HOST_DOWN,
        says="the virtual host goes down",
    ),
    Rule(
        code=320,
        text=r"^(CONNECTION_FORCED - )?vhost '.*' is deleted$",
        family=RejectedError,
        reason=Reason.VIRTUAL_HOST_NOT_FOUND,
        says="the virtual host was deleted",
    ),
    Rule(
        code=320,
        family=TransientError,
        reason=Reason.CONNECTION_FORCED,
        says="an operator or a policy of the broker closed the connection",
    ),
    Rule(
        code=402,  # INVALID_PATH in brokers that follow the specification to the letter
        family=RejectedError,
        reason=Reason.VIRTUAL_HOST_NOT_FOUND,
        says="the broker has no such virtual host",
    ),
    Rule(
        code=403,
        family=CredentialRejectedError,
        reason=Reason.ACCESS_REFUSED,
        says=_LOGIN_REFUSED,
    ),
    Rule(
        code=404,
        family=RejectedError,
        reason=Reason.VIRTUAL_HOST_NOT_FOUND,
        says="the broker has no such virtual host",
    ),
    Rule(
        code=530,
        text=r"connection limit (\(\d+\) is reached|cannot be queried)",
        family=TransientError,
        reason=Reason.CONNECTION_LIMIT_REACHED,
        says="the broker allows no further connection",
    ),
    Rule(
        # Opening the probe's channel can meet this one; it ends the whole connection.
        code=530,
        text=_CHANNEL_LIMIT,
        family=TransientError,
        reason=Reason.CONNECTION_LIMIT_REACHED,
        says="the broker allows no further channel",
    ),
    Rule(
        code=530,
        text=r"negotiated (frame_max|channel_max) = ",
        family=TerminalError,
        reason=Reason.NEGOTIATION_FAILED,
        says="the broker does not accept the declared frameMax or channelMax",
    ),
    Rule(
        code=530,
        text=r"^(NOT_ALLOWED - )?vhost .*not fou",
        family=RejectedError,
        reason=Reason.VIRTUAL_HOST_NOT_FOUND,
        says="the broker has no such virtual host",
    ),
    Rule(
        code=530,
        text=r"[Ss]ecret (was refused|update failed)",
        family=CredentialRejectedError,
        reason=Reason.ACCESS_REFUSED,
        says="the broker refused the new secret",
    ),
    _NO_ACCESS,
    Rule(
        code=541,
        text=r"vhost '.*' is down|access to vhost '",
        family=TransientError,
        reason=Reason.VIRTUAL_HOST_DOWN,
        says="the virtual host exists, but is down",
    ),
    *(
        Rule(
            code=code,
            family=RejectedError,
            reason=Reason.PROTOCOL_MISMATCH,
            says="the broker does not understand what was sent to it",
        )
        for code in sorted(_NOT_UNDERSTOOD)
    ),
)

# What says that a token is over, by code and text. The names of exchange, virtual host and user
# come first in RabbitMQ's sentence and can take its end away; its OAuth 2 backend has no other
# error there.
_EXPIRIES = (
    # To what is done on a channel (403) or with a virtual host (530), 3.10 to 4.3.
    (403, r"Provided JWT token has expired|backend rabbit_auth_backend_oauth2 returned an error"),
    (530, r"Provided JWT token has expired|backend rabbit_auth_backend_oauth2 returned an error"),
    # To an open connection, from 4.2.6 on.
    (320, r"credential expired"),
)

# What a probe's channel is closed with; a channel that is one too many closes the connection (530).
_PROBE_REFUSALS = {
    403: ProbeRefusal.NO_PERMISSION,
    404: ProbeRefusal.PLACE_MISSING,
    RESOURCE_ERROR: ProbeRefusal.TROUBLE,
    541: ProbeRefusal.TROUBLE,  # internal-error
}

# What RabbitMQ's alarms say in a Blocked. It joins those that hold with " & ", in either order;
# 3.10 says "low on" only once.
_BLOCKS = {
    "low on memory": Reason.LOW_ON_MEMORY,
    "low on disk": Reason.LOW_ON_DISK,
    "low on memory & disk": Reason.LOW_ON_MEMORY_AND_DISK,
    "low on disk & memory": Reason.LOW_ON_MEMORY_AND_DISK,
    "low on memory & low on disk": Reason.LOW_ON_MEMORY_AND_DISK,
    "low on disk & low on memory": Reason.LOW_ON_MEMORY_AND_DISK,
}

# RabbitMQ's sentences, with its names in groups. Whatever else a group holds may be a secret.
_SENTENCES = (
    (
        r"ACCESS_REFUSED - Login was refused using authentication mechanism [A-Z0-9-]+\."
        r" For details see the broker logfile\."
    ),
    r"NOT_ALLOWED - vhost (.*) not found",
    (
        r"NOT_ALLOWED - access to vhost '(.*)' refused for user '(.*)'"
        r"(?:: (?:connection limit \(\d+\) is reached|vhost '(.*)' is down"
        r"|connection limit cannot be queried, timeout))?"
    ),
    r"NOT_ALLOWED - connection refused for user '(.*)': user connection limit \(\d+\) is reached",
    r"NOT_ALLOWED - connection refused: node connection limit \(\d+\) is reached",
    (
        r"NOT_ALLOWED - number of channels opened \(\d+\) has reached the negotiated channel_max"
        r" \(\d+\)"
    ),
    # RabbitMQ 4.3 has no parentheses around the number.
    (
        r"NOT_ALLOWED - number of channels opened for user '(.*)' has reached the maximum allowed"
        r" user limit of (?:\d+|\(\d+\))"
    ),
    # A node is usually named after the host that we have connected to.
    (
        r"NOT_ALLOWED - number of channels opened on node 'rabbit@(.*)' has reached the maximum"
        r" allowed limit of (?:\d+|\(\d+\))"
    ),
    r"NOT_ALLOWED - New secret was refused by one of the backends",
    r"NOT_ALLOWED - Secret update failed",
    r"INTERNAL_ERROR - access to vhost '(.*)' refused for user '(.*)': vhost '(.*)' is down",
    r"CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    r"CONNECTION_FORCED - Node was put into maintenance mode",
    r"CONNECTION_FORCED - Closed via management plugin",
    r"CONNECTION_FORCED - vhost '(.*)' is (?:down|deleted)",
    r"CONNECTION_FORCED - user '(.*)' is deleted",
    r"CONNECTION_FORCED - credential expired",
)

# 311 to 313, 405 and 406 belong to channels; 506 and 541 are the broker's own trouble, and pass.
_OTHERWISE = Rule(
    code=0,
    family=TransientError,
    reason=Reason.PEER_CLOSED,
    says="the broker closed the connection",
)


def shown(text: object, veil: Veil) -> str:
    """Return what is shown of a broker's text: without our secrets."""
    return peer_text.cleaned(text, veil=veil, is_known=lambda each: _is_known(each, veil.names))


def _is_known(text: str, names: Collection[str]) -> bool:
    """Whether RabbitMQ says just that, of nothing but names that we have told it."""
    if text.strip().lower() in _BLOCKS:
        return True
    matches = (re.fullmatch(pattern, text) for pattern in _SENTENCES)
    return any(
        all(name in names for name in match.groups() if name is not None)
        for match in matches
        if match is not None
    )


def at_open(close: Close, *, authenticated: bool, hint: str = "") -> ConnectError:
    """Return what a Close instead of Tune or Open-Ok means.

    `authenticated` is whether Tune came. `hint` follows where the login itself was refused.
    """
    rule = _rule(close)
    family = rule.family
    says = rule.says
    shown = f"{close.code} {close.shown}".strip()
    if says_expired(close.code, close.text):
        return CredentialRejectedError(Reason.ACCESS_REFUSED, f"{says}: {shown}", says_expired=True)
    if rule is _NO_ACCESS and not authenticated:
        # No virtual host has been named yet: Qpid Broker-J says 530 of a login.
        family, says = CredentialRejectedError, _LOGIN_REFUSED
    if issubclass(family, CredentialRejectedError):
        if authenticated:
            # The login was accepted, so it is not the credential: other brokers say 403 of the
            # virtual host.
            family, says = RejectedError, _NO_ACCESS.says
        elif hint:
            shown = f"{shown} ({hint})"
    return family(rule.reason, f"{says}: {shown}", authenticated=authenticated)


def when_open(close: Close) -> CloseInfo:
    """Return how a Close ended a connection that was open."""
    return CloseInfo(
        by=ClosedBy.SERVER,
        reason=_rule(close).reason,
        text=close.shown,
        codes=close.codes,
        says_expired=says_expired(close.code, close.text),
    )


def blames_probe(close: Close, *, is_waiting: bool) -> bool:
    """Whether a Close of the connection is the answer to what a probe sent.

    `is_waiting` is whether an answer was due. Most of what can be wrong with a probe ends its
    channel alone; that there is one too many, and what a broker does not implement, does not.
    """
    if is_channel_limit(close):
        return True  # nothing but a probe opens channels
    return is_waiting and (close.class_id in _PROBE_CLASSES or close.code in _NOT_UNDERSTOOD)


def is_channel_limit(close: Close) -> bool:
    """Whether a Close says that there is a channel too many."""
    return close.code == _NOT_ALLOWED and _CHANNEL_LIMIT in close.text


def block(text: str) -> Block:
    """Return what a Blocked with this text means; the text stays as it is."""
    return Block(reason=_BLOCKS.get(text.strip().lower(), Reason.BLOCKED_BY_BROKER), text=text)


def says_expired(code: int, text: str) -> bool:
    """Whether a Close, of a channel or a connection, says that the lifetime of a token is over."""
    return any(code == each and re.search(pattern, text) for each, pattern in _EXPIRIES)


def probe_refused(code: int, text: str, *, shown: str | None = None) -> ProbeRefusedError:
    """Return what a Close of the probe's channel means; `shown` is what is shown of its text."""
    why = _PROBE_REFUSALS.get(code, ProbeRefusal.OTHER)
    if says_expired(code, text):
        why = ProbeRefusal.CREDENTIAL_EXPIRED
    return ProbeRefusedError(why, f"{code} {text if shown is None else shown}")


def secret_refused(close: Close) -> SecretRefusedError:
    """Return what a Close instead of update-secret-ok means."""
    return SecretRefusedError(f"{close.code} {close.shown}")


def _rule(close: Close) -> Rule:
    for rule in _RULES:
        if rule.code == close.code and re.search(rule.text, close.text):
            return rule
    return _OTHERWISE
