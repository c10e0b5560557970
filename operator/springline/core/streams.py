"""What the helper tasks of a session wait for, as streams of messages.

Whoever reads one gets each message when it comes, and steps by it; nothing here calls the reader.
All are safe to cancel.
"""

import logging
from collections.abc import AsyncIterator, Iterator

from springline import errors
from springline.core import ports, probe_trials, state
from springline.core.attempt import Progress, Success, attempt
from springline.core.desired import ProbeSettings
from springline.core.environment import Environment
from springline.core.helpers import Turns
from springline.core.keeper import Keeper
from springline.core.messages import (
    AttemptEnded,
    Confirmed,
    ConnectionNews,
    TimerRang,
    Tried,
)
from springline.core.notes import Notes
from springline.core.pauses import Pause
from springline.core.probe_trials import Trial
from springline.core.probing import Prober
from springline.core.values import Credential, SessionKey
from springline.core.wanted import Desired
from springline.reasons import Reason

__all__ = ["Probes", "ages", "attempts", "rings", "tries"]

logger = logging.getLogger(__name__)


def rings(seconds: float, *, number: int) -> Iterator[TimerRang | Pause]:
    """Yield that it is time, once, after so many seconds."""
    yield Pause(seconds)
    yield TimerRang(number)


async def attempts(
    key: SessionKey,
    environment: Environment,
    desired: Desired,
    progress: Progress,
    *,
    number: int,
    instead_of: Credential | None,
) -> AsyncIterator[AttemptEnded]:
    """Make one attempt to connect, and yield what came of it.

    `instead_of` is a credential that was refused.
    """
    result: Success | errors.ConnectError | errors.CredentialError
    try:
        result = await attempt(
            desired.spec, desired.means(environment), progress, instead_of=instead_of
        )
    except (errors.ConnectError, errors.CredentialError) as error:
        result = error
    except Exception:  # a defect ends the attempt, not the session
        logger.exception("attempt failed unexpectedly", extra={"session": key})
        result = errors.TransientError(
            Reason.INTERNAL_ERROR, "an internal error ended the attempt; see Springline's log"
        )
    yield AttemptEnded(number, result)


class Probes(Turns):
    """Probes the connection from now on, and yields what that shows.

    With a trial, not before that has shown that the connection outlives it. `shown_blocked` is
    whether status says that the broker blocks. What only the notes are to know is noted and not
    yielded.
    """

    __slots__ = (
        "_connection",
        "_environment",
        "_has_failed",
        "_key",
        "_notes",
        "_prober",
        "_trial",
    )

    def __init__(
        self,
        key: SessionKey,
        environment: Environment,
        connection: ports.Connection,
        settings: ProbeSettings,
        notes: Notes,
        *,
        trial: Trial | None,
        shown_blocked: bool,
    ) -> None:
        self._key = key
        self._environment = environment
        self._connection = connection
        self._notes = notes
        self._trial = (
            probe_trials.until_let(trial, settings, clock=environment.clock) if trial else None
        )
        self._prober = Prober(connection, settings, environment.rng, shown_blocked=shown_blocked)
        self._has_failed = False

    async def turn(self) -> AsyncIterator[ConnectionNews]:
        """Probe once; the first time after a trial, if there is one."""
        try:
            if self._trial is not None:
                async for outcome in self._trial:
                    yield ConnectionNews(self._connection, outcome)
                self._trial = None
            answer = await self._prober.probe()
            if isinstance(answer, Confirmed):
                self._environment.meter.probed(answer.seconds)
                if not self._notes.confirm(answer.seconds):
                    return
        except Exception:  # without its probe the session is still worth keeping
            logger.exception("probe failed unexpectedly", extra={"session": self._key})
            self._has_failed = True
            message = "the probe ended with an internal error; see Springline's log"
            yield ConnectionNews(self._connection, state.ProbeRefused(message=message))
            return
        if answer is not None:
            yield ConnectionNews(self._connection, answer)

    def pause(self) -> Pause | None:
        """Return how long it is until the next probe, None if there is none."""
        return None if self._has_failed else self._prober.pause()


async def tries(keeper: Keeper) -> AsyncIterator[Tried]:
    """Try to bring what is wanted to the live connection, and yield what came of each try."""
    live, number = keeper.live, keeper.number
    if live is not None:
        async for came in keeper.tries():
            yield Tried(number, live, came)


def ages(keeper: Keeper) -> Iterator[ConnectionNews | Pause]:
    """Yield the moments in the life of the credential that is in use now, and pauses until then."""
    live = keeper.live
    if live is not None:
        for moment in keeper.moments():
            yield moment if isinstance(moment, Pause) else ConnectionNews(live.connection, moment)
