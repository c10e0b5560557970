"""Whether a probe would be let, tried where it costs nothing: on a connection of its own.

A broker can answer a probe by ending the whole connection, where a limit is reached for example.
The connection after it then goes without a probe, and whether that has changed is not tried on it.
"""

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random

from springline import errors
from springline.core import ports, probing
from springline.core.attempt import AsRead, Means, Silent, Success, attempt
from springline.core.closing import close_quietly
from springline.core.desired import ProbeSettings, SessionSpec
from springline.core.environment import Environment
from springline.core.state import ProbeRefused, ProbeRestarted
from springline.core.values import ResolvedEndpoint
from springline.core.wanted import Desired

__all__ = ["ProbeHold", "Schedule", "Trial", "until_let"]


class Schedule:
    """When a probe is tried the next time; it outlives whoever waits for that."""

    __slots__ = ("_clock", "_due", "_pauses", "_rng")

    def __init__(self, clock: ports.Clock, rng: Random | None) -> None:
        self._clock = clock
        self._rng = rng
        self._pauses = probing.pauses(rng)
        self._due = clock.monotonic()

    def start_over(self) -> None:
        """Begin with the shortest pause."""
        self._pauses = probing.pauses(self._rng)
        self.postpone()

    def postpone(self) -> None:
        """Let the next pause begin."""
        self._due = self._clock.monotonic() + next(self._pauses)

    def hurry(self) -> None:
        """Have it tried at once, with the shortest pause afterwards."""
        self._pauses = probing.pauses(self._rng)
        self._due = self._clock.monotonic()

    async def wait(self) -> None:
        """Wait until it is time. Safe to cancel."""
        await self._clock.sleep(max(self._due - self._clock.monotonic(), 0.0))


class ProbeHold:
    """Why the connections of a session go without a probe, once one has cost a connection."""

    __slots__ = ("_environment", "_schedule", "why")

    def __init__(self, environment: Environment) -> None:
        self.why = ""
        """Empty while there is nothing against a probe."""
        self._environment = environment
        self._schedule: Schedule | None = None  # since a probe has cost a connection

    def begin(self, why: str) -> None:
        """Take in that a probe has cost a connection."""
        self.why = why
        if self._schedule is None:
            self._schedule = Schedule(self._environment.clock, self._environment.rng)
        self._schedule.start_over()

    def declared(self) -> None:
        """Take in that something else is declared, which may make a difference."""
        if self._schedule is not None:
            self._schedule.hurry()

    def let(self) -> None:
        """Take in that a trial has gone well."""
        self.why = ""

    def trial(self, live: Success, desired: Desired, environment: Environment) -> "Trial | None":
        """Return what a probe is to be tried with beside the live connection; None if it is let."""
        if not self.why or self._schedule is None:
            return None
        means = dataclasses.replace(
            desired.means(environment),
            credentials=AsRead(live.credential),
            tls=AsRead(live.tls),
            endpoints=AsRead((ResolvedEndpoint(live.connection.info.endpoint),)),
        )
        return Trial(
            spec=dataclasses.replace(desired.spec, target=live.target),
            means=means,
            why=self.why,
            schedule=self._schedule,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a probe is tried with."""

    spec: SessionSpec
    means: Means
    why: str
    """Why there is no probe, as it was said."""
    schedule: Schedule


async def until_let(
    trial: Trial, settings: ProbeSettings, *, clock: ports.Clock
) -> AsyncIterator[ProbeRefused | ProbeRestarted]:
    """Try after each of ever longer pauses, until a probe does not end its connection.

    Yields what each trial shows, and ends one interval after it has gone well: what was closed may
    count for a moment more. Safe to cancel.
    """
    await trial.schedule.wait()
    while not await _is_let(trial, settings):
        trial.schedule.postpone()
        yield ProbeRefused(message=trial.why)
        await trial.schedule.wait()
    yield ProbeRestarted()
    await clock.sleep(settings.interval)


async def _is_let(trial: Trial, settings: ProbeSettings) -> bool:
    try:
        opened = await attempt(trial.spec, trial.means, Silent(), name_suffix=" (probe)")
    except (errors.ConnectError, errors.CredentialError):
        return False  # which says nothing; the session has reasons of its own to know that
    try:
        await opened.connection.probe(settings.target, timeout=settings.timeout)
    except (TimeoutError, errors.NotOpenError):
        return False
    except errors.ProbeRefusedError:
        return True  # in a way that ends no connection; the session's own probe shows how
    else:
        return True
    finally:
        await close_quietly(opened.connection, "probe tried")
