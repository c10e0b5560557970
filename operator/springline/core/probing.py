"""The probe: the only way to learn that a broker blocks a connection.

A broker may tell a connection that it is blocked only when that connection publishes, so every
session tries now and then whether anything is taken in. What that is, and where it goes, the
protocol knows (`ProbeTarget`). A refused probe is not repeated: each refusal may be an error in the
broker's log. Where it is refused because the credential has expired, the session renews that, and
starts the probe again.
"""

from collections.abc import AsyncIterator
from random import Random

from springline import errors
from springline.core import ports
from springline.core.desired import ProbeSettings
from springline.core.messages import Confirmed, SaidExpired
from springline.core.state import ProbeRefused, ProbeUnanswered

__all__ = ["Answer", "probe_forever"]

Answer = Confirmed | ProbeUnanswered | ProbeRefused | SaidExpired

_LIFETIME_SHARE = 0.5
"""Of the interval: wherever a probe is routed to, it is gone before the next one comes."""

_TICK_SECONDS = 0.125  # a power of two, so that whole seconds are ticks too


async def probe_forever(
    connection: ports.Connection, settings: ProbeSettings, *, clock: ports.Clock, rng: Random | None
) -> AsyncIterator[Answer]:
    """Probe at once and then every `settings.interval` seconds, less up to a fifth by chance.

    Yields what each probe shows. Ends if the connection has ended, and if probing cannot go on:
    then after it has said why. Safe to cancel.
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
                yield ProbeUnanswered(seconds=settings.timeout)
            except errors.ProbeRefusedError as error:
                if error.why is errors.ProbeRefusal.CREDENTIAL_EXPIRED:
                    yield SaidExpired(error.text)
                else:
                    yield ProbeRefused(message=settings.target.refusal(error))
                return
            except errors.NotOpenError:
                return
            else:
                # A block read together with the confirm has been told by now, and holds.
                if seconds is not None and connection.blocked is None:
                    yield Confirmed(seconds)
        # Only ever earlier than the interval, so that a block is seen within it.
        share = 1.0 if rng is None else rng.uniform(0.8, 1.0)
        await clock.sleep(_until_tick(clock, settings.interval * share))


def _until_tick(clock: ports.Clock, seconds: float) -> float:
    """Return the time until the last tick that comes within so many seconds.

    What a thousand sessions do at the same few moments costs the event loop fewer rounds than what
    each of them does at its own.
    """
    now = clock.monotonic()
    at = now + seconds
    return max(at - at % _TICK_SECONDS - now, 0.0)
