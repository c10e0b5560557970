"""What the helper tasks of a session wait for, as streams of messages.

Whoever reads one gets each message when it comes, and steps by it; nothing here calls the reader.
All are safe to cancel.
"""

import logging
from collections.abc import AsyncIterator

from springline import errors
from springline.core import ports, probe_trials, probing, state
from springline.core.attempt import Progress, Success, attempt
from springline.core.desired import ProbeSettings
from springline.core.environment import Environment
from springline.core.keeper import Keeper
from springline.core.messages import (
    AttemptEnded,
    Confirmed,
    ConnectionNews,
    TimerRang,
    Tried,
)
from springline.core.probe_trials import Trial
from springline.core.values import Credential, SessionKey
from springline.core.wanted import Desired
from springline.reasons import Reason

__all__ = ["ages", "attempts", "probes", "rings", "tries"]

logger = logging.getLogger(__name__)


async def rings(clock: ports.Clock, seconds: float, *, number: int) -> AsyncIterator[TimerRang]:
    """Yield that it is time, once, after so many seconds."""
    await clock.sleep(seconds)
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


async def probes(
    key: SessionKey,
    environment: Environment,
    connection: ports.Connection,
    settings: ProbeSettings,
    trial: Trial | None,
    *,
    shown_blocked: bool,
) -> AsyncIterator[ConnectionNews]:
    """Probe the connection from now on, and yield what that shows.

    With a trial, not before that has shown that the connection outlives it. `shown_blocked` is
    whether status says that the broker blocks.
    """
    clock, rng = environment.clock, environment.rng
    try:
        if trial is not None:
            async for outcome in probe_trials.until_let(trial, settings, clock=clock):
                yield ConnectionNews(connection, outcome)
        answers = probing.probe_forever(
            connection, settings, clock=clock, rng=rng, shown_blocked=shown_blocked
        )
        async for answer in answers:
            if isinstance(answer, Confirmed):
                environment.meter.probed(answer.seconds)
            yield ConnectionNews(connection, answer)
    except Exception:  # without its probe the session is still worth keeping
        logger.exception("probe failed unexpectedly", extra={"session": key})
        message = "the probe ended with an internal error; see Springline's log"
        yield ConnectionNews(connection, state.ProbeRefused(message=message))


async def tries(keeper: Keeper) -> AsyncIterator[Tried]:
    """Try to bring what is wanted to the live connection, and yield what came of each try."""
    live, number = keeper.live, keeper.number
    if live is not None:
        async for came in keeper.tries():
            yield Tried(number, live, came)


async def ages(keeper: Keeper) -> AsyncIterator[ConnectionNews]:
    """Yield the moments in the life of the credential that is in use now."""
    live = keeper.live
    if live is not None:
        async for moment in keeper.moments():
            yield ConnectionNews(live.connection, moment)
