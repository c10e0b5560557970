"""The probe: the only way to learn that a broker blocks a connection.

A broker may tell a connection that it is blocked only when that connection publishes, so every
session tries now and then whether anything is taken in. What that is, and where it goes, the
protocol knows (`ProbeTarget`). Each refusal may be an error in the broker's log, so a refused probe
is repeated only after a long pause. Where it is refused because the credential has expired, the
session renews that, and starts the probe again.

Where there are no heartbeats, nothing but a probe shows that the peer has vanished.
"""

from collections.abc import Iterator
from random import Random
from typing import Final

from springline import errors
from springline.core import ports
from springline.core.desired import ProbeSettings
from springline.core.messages import Confirmed, LinkSilent, SaidExpired
from springline.core.pauses import Pause
from springline.core.state import ProbeFailed, ProbeRefused, ProbeUnanswered

__all__ = ["MOST_UNANSWERED", "Answer", "Prober", "pauses"]

Answer = Confirmed | ProbeUnanswered | ProbeFailed | ProbeRefused | SaidExpired | LinkSilent

MOST_UNANSWERED: Final = 3
"""Probes in a row without an answer that end a connection without heartbeats."""

_LIFETIME_SHARE = 0.5
"""Of the interval: wherever a probe is routed to, it is gone before the next one comes."""

_FIRST_PAUSE = 300.0
_LONGEST_PAUSE = 3600.0


def pauses(rng: Random | None) -> Iterator[float]:
    """Yield the seconds after each refusal in a row: twice the last, less up to a fifth."""
    pause = _FIRST_PAUSE
    while True:
        yield pause * (1.0 if rng is None else rng.uniform(0.8, 1.0))
        pause = min(pause * 2, _LONGEST_PAUSE)


class Prober:
    """Probes at once and then every `settings.interval` seconds, less up to a fifth by chance.

    It says what each probe shows, and how long it is until the next one: long where it is refused.
    """

    __slots__ = (
        "_connection",
        "_is_doubtful",
        "_is_over",
        "_is_refused",
        "_pauses",
        "_rng",
        "_settings",
        "_unanswered",
    )

    def __init__(
        self,
        connection: ports.Connection,
        settings: ProbeSettings,
        rng: Random | None,
        *,
        shown_blocked: bool = False,
    ) -> None:
        """Probe this connection.

        Where a block of the connection before this one is still shown, `shown_blocked`, it takes
        two confirms in a row to say that it is over.
        """
        self._connection = connection
        self._settings = settings
        self._rng = rng
        self._unanswered = 0
        self._pauses: Iterator[float] | None = None
        """After refusals, since the first one in a row."""
        self._is_refused = False
        self._is_over = False
        self._is_doubtful = shown_blocked
        """Whether a confirm has to be seen twice to be believed."""

    def pause(self) -> Pause | None:
        """Return how long it is until the next probe.

        None if there is none: the connection has ended, or the last probe has said that the
        credential has expired or that the link is silent.
        """
        if self._is_over:
            return None
        if self._is_refused:
            if self._pauses is None:
                self._pauses = pauses(self._rng)
            return Pause(next(self._pauses), early=True)
        # Only ever earlier than the interval, so that a block is seen within it. What a thousand
        # sessions do at the same few moments costs the event loop fewer rounds.
        share = 1.0 if self._rng is None else self._rng.uniform(0.8, 1.0)
        return Pause(self._settings.interval * share, early=True)

    async def probe(self) -> Answer | None:
        """Probe once and return what that shows, if anything. Safe to cancel.

        A connection that is blocked is asked all the same: whether that takes a message to the
        broker, its driver knows.
        """
        try:
            answer = await self._probe()
        except errors.NotOpenError:
            self._is_over = True
            return None
        self._is_over = isinstance(answer, SaidExpired | LinkSilent)
        return answer

    async def _probe(self) -> Answer | None:
        self._is_refused = False
        settings = self._settings
        try:
            seconds = await self._connection.probe(
                settings.target,
                lifetime=settings.interval * _LIFETIME_SHARE,
                timeout=settings.timeout,
            )
        except TimeoutError:
            self._unanswered += 1
            if self._unanswered >= MOST_UNANSWERED and _is_only_witness(self._connection):
                return LinkSilent(self._unanswered)
            # A slow broker is not a blocked one; if it is gone, the heartbeat will tell.
            return ProbeUnanswered(seconds=settings.timeout)
        except errors.ProbeRefusedError as error:
            self._unanswered = 0
            return self._refused(error)
        self._unanswered = 0
        # A block read together with the confirm has been told by now, and holds.
        if seconds is None or self._connection.blocked is not None:
            return None
        if self._is_doubtful:
            # Confirmed is still what sets a block off, and the confirm may overtake the news of it.
            # What is published after that is not confirmed while the block lasts.
            self._is_doubtful = False
            return await self._probe()
        self._pauses = None
        return Confirmed(seconds)

    def _refused(self, error: errors.ProbeRefusedError) -> Answer:
        if error.why is errors.ProbeRefusal.CREDENTIAL_EXPIRED:
            return SaidExpired(error.text)
        message = self._settings.target.refusal(error)
        if error.why is errors.ProbeRefusal.TROUBLE:
            return ProbeFailed(message=message)
        self._is_refused = True
        return ProbeRefused(message=message)


def _is_only_witness(connection: ports.Connection) -> bool:
    """Whether nothing but a probe shows that the peer is gone, and only that can be the matter.

    A broker that does not tell of blocks may have stopped reading because of one.
    """
    info = connection.info
    return info.negotiated.heartbeat_seconds == 0 and info.server.tells_blocks
