"""The publish probe: the only way to learn that a broker blocks a connection.

A broker may tell a connection that it is blocked only when that connection publishes, so every
session publishes an empty message now and then, which the broker drops at once, or keeps until
shortly before the next one. A refused probe is not repeated: each
refusal is an error in the broker's log. Where it is refused because the credential has expired, the
session renews that, and starts the probe again.
"""

from collections.abc import Callable
from random import Random

from springline import errors
from springline.core import ports
from springline.core.desired import ProbeSettings

__all__ = ["probe_forever"]

_LIFETIME_SHARE = 0.5
"""Of the interval: wherever a probe is routed to, it is gone before the next one comes."""

_TICK_SECONDS = 0.125  # a power of two, so that whole seconds are ticks too


async def probe_forever(
    connection: ports.Connection,
    settings: ProbeSettings,
    *,
    clock: ports.Clock,
    rng: Random,
    confirmed: Callable[[float], None],
    unanswered: Callable[[], None],
    expired: Callable[[str], None],
) -> str:
    """Probe at once and then every `settings.interval` seconds, less up to a fifth.

    Calls `confirmed` with the seconds each confirm took, or `unanswered` where none came in time.
    Returns only if probing cannot go on, with a sentence that says why; the empty sentence if the
    connection has ended, or after `expired` was called with what the broker said.
    """
    while True:
        if connection.blocked is None:
            try:
                seconds = await connection.probe(
                    settings.target,
                    lifetime=settings.interval * _LIFETIME_SHARE,
                    timeout=settings.timeout,
                )
            except TimeoutError:
                # A slow broker is not a blocked one; if it is gone, the heartbeat will tell.
                unanswered()
            except errors.ProbeRefusedError as error:
                if error.says_expired:
                    expired(str(error))
                    return ""
                return settings.target.refusal(error)
            except errors.NotOpenError:
                return ""
            else:
                # A block read together with the confirm has been told by now, and holds.
                if seconds is not None and connection.blocked is None:
                    confirmed(seconds)
        # Only ever earlier than the interval, so that a block is seen within it.
        await clock.sleep(_until_tick(clock, settings.interval * rng.uniform(0.8, 1.0)))


def _until_tick(clock: ports.Clock, seconds: float) -> float:
    """Return the time until the last tick that comes within so many seconds.

    What a thousand sessions do at the same few moments costs the event loop fewer rounds than what
    each of them does at its own.
    """
    now = clock.monotonic()
    at = now + seconds
    return max(at - at % _TICK_SECONDS - now, 0.0)
