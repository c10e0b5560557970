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

__all__ = ["ProbeHold", "Trial", "until_let"]


class ProbeHold:
    """Why the connections of a session go without a probe, once one has cost a connection."""

    __slots__ = ("_may_have_changed", "why")

    def __init__(self) -> None:
        self.why = ""
        """Empty while there is nothing against a probe."""
        self._may_have_changed = False

    def begin(self, why: str) -> None:
        """Take in that a probe has cost a connection."""
        self.why = why

    def declared(self) -> None:
        """Take in that something else is declared, which may make a difference."""
        self._may_have_changed = bool(self.why)

    def tried(self, *, is_let: bool) -> None:
        """Take in what a trial has shown."""
        self._may_have_changed = False
        if is_let:
            self.why = ""

    def trial(self, live: Success, desired: Desired, environment: Environment) -> "Trial | None":
        """Return what a probe is to be tried with beside the live connection; None if it is let."""
        if not self.why:
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
            at_once=self._may_have_changed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a probe is tried with."""

    spec: SessionSpec
    means: Means
    why: str
    """Why there is no probe, as it was said."""
    at_once: bool
    """Whether there is news that may have changed it."""


async def until_let(
    trial: Trial, settings: ProbeSettings, *, clock: ports.Clock, rng: Random | None
) -> AsyncIterator[ProbeRefused | ProbeRestarted]:
    """Try after each of ever longer pauses, until a probe does not end its connection.

    Yields what each trial shows, and ends one interval after it has gone well: what was closed may
    count for a moment more. Safe to cancel.
    """
    pauses = probing.pauses(rng)
    if not trial.at_once:
        await clock.sleep(next(pauses))
    while not await _is_let(trial, settings):
        yield ProbeRefused(message=trial.why)
        await clock.sleep(next(pauses))
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
