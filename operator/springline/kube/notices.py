"""Warnings about who writes the status of an object, as Events on it.

They say what goes on for long and may concern every object at once, so each is repeated seldom, and
all of them together come at a bounded rate. The log has them once for each cause, from elsewhere.
"""

from typing import Protocol

from springline.api.meta import Identity
from springline.core import ports
from springline.kube import paths
from springline.kube.notice_kinds import REPEAT_SECONDS, Notice

__all__ = ["REPEAT_SECONDS", "Notice", "NoticePoster", "Notices"]

_BURST = 50
_PER_SECOND = 1.0
"""For all objects together."""

_TIDY = 1000
"""Notices there may be before those that may be repeated are forgotten."""


class NoticePoster(Protocol):
    """Posts Events on objects; `kube.events.KubernetesEvents` does."""

    def warn(self, identity: Identity, *, reason: str, message: str) -> bool:
        """Post a Warning on an object, and return whether it is on its way."""


class Notices:
    """Posts notices, as often as they are worth it. Calls return at once."""

    def __init__(self, poster: NoticePoster, clock: ports.Clock, *, is_limited: bool) -> None:
        """`is_limited` says that some namespaces alone are looked after.

        Events on what has no namespace would then need a right beyond these.
        """
        self._poster = poster
        self._clock = clock
        self._is_limited = is_limited
        self._told_at: dict[tuple[Identity, Notice], float] = {}
        self._left = float(_BURST)
        self._left_at = clock.monotonic()
        self._tidy_at = _TIDY

    def held_elsewhere(self, identity: Identity, *, holder: str, replica: str) -> None:
        """Say that another live replica holds an object, so that this one leaves its status.

        Idempotent: call it as long as that is so.
        """
        what = "keeps a second session and " if identity.kind == "BrokerConnection" else ""
        self._tell(
            identity,
            Notice.HELD_ELSEWHERE,
            f"held by {holder}, which lives; {replica} looks after it, too: it {what}leaves the "
            "status alone. Stop one of the two, or give them different namespaces",
        )

    def ended(self, identity: Identity) -> None:
        """Forget that an object was held elsewhere: it is no longer so, or the object is gone."""
        self._told_at.pop((identity, Notice.HELD_ELSEWHERE), None)

    def overwritten(self, identity: Identity, *, manager: str, holder: str) -> None:
        """Say who writes over a status: a field manager, and the replica that it names if any."""
        by = f'field manager "{manager}"' if manager else "another writer"
        replica = f", which names {holder} as holder," if holder else ""
        self._tell(
            identity,
            Notice.STATUS_OVERWRITTEN,
            f"{by}{replica} writes over this status; it was written again and is now left as it is "
            "for some minutes at a time",
        )

    def too_large(self, identity: Identity) -> None:
        """Say that an object has no room for its status. Idempotent."""
        self._tell(
            identity,
            Notice.STATUS_TOO_LARGE,
            "the API server stores no object as large as this one with its status, so only the "
            "conditions are written; remove labels, annotations or finalizers from it",
        )

    def _tell(self, identity: Identity, notice: Notice, message: str) -> None:
        if self._is_limited and identity.kind in paths.CLUSTER_SCOPED:
            return
        now, key = self._clock.monotonic(), (identity, notice)
        told_at = self._told_at.get(key)
        if told_at is not None and now - told_at < REPEAT_SECONDS:
            return
        self._left = min(self._left + (now - self._left_at) * _PER_SECOND, _BURST)
        self._left_at = now
        if self._left >= 1 and self._poster.warn(identity, reason=notice, message=message):
            self._left -= 1
            self._told_at[key] = now
            self._tidy(now)

    def _tidy(self, now: float) -> None:
        if len(self._told_at) >= self._tidy_at:
            self._told_at = {
                key: at for key, at in self._told_at.items() if now - at < REPEAT_SECONDS
            }
            self._tidy_at = max(2 * len(self._told_at), _TIDY)
