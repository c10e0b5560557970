"""What can be shown of a session at one moment: the input of every projection.

The session makes it, status.py and the standalone table read it. Nothing decides anything from it.
"""

from dataclasses import dataclass
from datetime import datetime

from springline.api import texts
from springline.api.conditions import ConditionStatus
from springline.core.desired import SessionSpec, Target
from springline.core.state import Phase, SessionState
from springline.core.values import CloseInfo, Credential, OpenInfo, SessionKey
from springline.core.verdicts import APPLYING, NOT_PROBED

__all__ = ["CredentialUse", "LastClose", "SessionView"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialUse:
    """Which credential is in use or was tried last, and how it got there."""

    credential: Credential
    method: str | None = None
    """`Handshake`, `InPlace` or `Replaced`; None if it was not accepted, or not even asked for."""
    applied_at: datetime | None = None
    verified_at: datetime | None = None
    renew_at: datetime | None = None
    """When it is to be renewed; None if it does not expire, or is not in use."""

    @property
    def username(self) -> str:
        """The user, once the broker has accepted it; empty before.

        Until then nobody can tell a user name from a password that was put under the wrong key.
        """
        return texts.shown(self.credential.username) if self.method is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastClose:
    """How and when the last open connection ended."""

    info: CloseInfo
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """All that can be shown of a session."""

    key: SessionKey
    generation: int
    spec: SessionSpec | None
    state: SessionState
    info: OpenInfo | None = None
    target: Target | None = None
    """What the open connection was opened for; `spec` may declare something else by now."""
    connected_since: datetime | None = None
    blocked_since: datetime | None = None
    blocked_seconds: float = 0.0
    """How long it has been blocked, all blocks together."""
    refused_seconds: float = 0.0
    """For how long something has been refused that somebody has to change; 0 if nothing is."""
    credential: CredentialUse | None = None
    disconnects: int = 0
    """How many open connections ended, not by our doing."""
    last_close: LastClose | None = None
    confirm_seconds: float | None = None
    """How long the last probe's confirm took."""
    retry_at: datetime | None = None
    """When the next attempt starts, while waiting for it."""

    @property
    def is_ready(self) -> bool:
        """Whether condition Ready is True: open as declared, with a credential that is valid."""
        return (
            self.state.phase is Phase.CONNECTED
            and self.state.credentials.status is ConditionStatus.TRUE
            and self.state.synced.status is ConditionStatus.TRUE
        )

    @property
    def has_result(self) -> bool:
        """Whether an attempt has ended, and for an open session the first probe too.

        Neither is there one while a change is being brought to an open session.
        """
        if self.state.phase is Phase.CONNECTED:
            return self.state.blocked != NOT_PROBED and self.state.synced != APPLYING
        return self.state.failure is not None
