"""Bringing what has changed to a live session: credential, certificates, endpoint.

The plan is rotation.py's.

Whatever happens here, the live connection stays as it was until the new credential has opened a
connection of its own. A refusal is reported and tried again, because a Secret is often changed a
little before the broker's user is.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar, assert_never

from springline import errors
from springline.core import backoff, rotation
from springline.core.attempt import Means, Progress, Success, attempt, preparing
from springline.core.closing import close_quietly
from springline.core.desired import SessionSpec
from springline.core.outcomes import UpdateOutcome
from springline.core.rotation import Plan
from springline.core.values import Credential

__all__ = ["Outcome", "Replaced", "Unchanged", "UpdatedInPlace", "renew"]

_T = TypeVar("_T")

_UPDATE_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class UpdatedInPlace:
    """The live connection has the new secret."""

    credential: Credential


@dataclass(frozen=True, slots=True)
class Replaced:
    """A new connection is open with the new credential; the old one is still open too."""

    success: Success


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The object changed, its value did not."""

    credential: Credential


Outcome = UpdatedInPlace | Replaced | Unchanged


@dataclass(frozen=True, slots=True)
class _Given(Generic[_T]):
    """What was read already, as a source of it."""

    value: _T

    async def fetch(self) -> _T:
        return self.value


async def renew(
    live: Success,
    spec: SessionSpec,
    means: Means,
    progress: Progress,
    *,
    rng: Random,
    refused: Callable[[errors.ConnectError | errors.CredentialError], None],
) -> Outcome | None:
    """Bring the credential as it stands now to `live`; try again until that works.

    Every failed try is given to `refused`. Returns None if the live connection ended meanwhile,
    which is the session's to handle. Safe to cancel: the live connection is left as it is.
    """
    failures = 0
    while live.connection.is_open:
        started = means.clock.monotonic()
        try:
            return await _try_measured(live, spec, means, progress)
        except (errors.TransientError, errors.CredentialUnavailableError) as error:
            failures += 1
            refused(error)
            delay = backoff.spaced_delay(spec.retry, failures=failures, rng=rng)
        except (errors.ConnectError, errors.CredentialError) as error:
            refused(error)
            delay = backoff.slow_delay(spec.retry, rng=rng)
        except (errors.SecretRefusedError, errors.NotOpenError):
            return None
        await means.clock.sleep(max(started + delay - means.clock.monotonic(), 0.0))
    return None


async def _try_measured(
    live: Success, spec: SessionSpec, means: Means, progress: Progress
) -> Outcome:
    started = means.clock.monotonic()

    def tell(method: str, outcome: UpdateOutcome) -> None:
        means.meter.secret_updated(method, outcome, means.clock.monotonic() - started)

    try:
        result = await _try_once(live, spec, means, progress)
    except (errors.TransientError, errors.CredentialUnavailableError, errors.NotOpenError):
        tell("None", UpdateOutcome.FAILED)
        raise
    except (errors.ConnectError, errors.CredentialError, errors.SecretRefusedError):
        tell("None", UpdateOutcome.REFUSED)
        raise
    match result:
        case UpdatedInPlace():
            tell("InPlace", UpdateOutcome.UPDATED)
        case Replaced():
            tell("Replaced", UpdateOutcome.UPDATED)
        case Unchanged():
            pass
        case _:
            assert_never(result)
    return result


async def _try_once(live: Success, spec: SessionSpec, means: Means, progress: Progress) -> Outcome:
    is_still_there = True
    async with preparing(spec):
        new = await means.credentials.fetch()
        tls = await means.tls.fetch()
        if spec.target.is_told_where:
            found = await means.endpoints.fetch()
            means = dataclasses.replace(means, endpoints=_Given(found))
            is_still_there = live.connection.info.endpoint in [each.endpoint for each in found]
    # The plan holds for what was read now, so nothing is read again on the way.
    means = dataclasses.replace(means, credentials=_Given(new), tls=_Given(tls))
    match rotation.plan(
        live.credential,
        new,
        blocked=live.connection.blocked is not None,
        # Prepared TLS clients are shared while the certificates stay the same.
        same_certificates=tls is live.tls,
        same_endpoint=is_still_there,
    ):
        case Plan.NONE:
            return Unchanged(new)
        case Plan.REPLACE:
            return Replaced(await attempt(spec, means, progress))
        case Plan.VERIFY_AND_UPDATE:
            return await _verify_and_update(live, spec, means, progress)


async def _verify_and_update(
    live: Success, spec: SessionSpec, means: Means, progress: Progress
) -> Outcome:
    trial = await attempt(spec, means, progress, name_suffix=" (verification)")
    await close_quietly(trial.connection, "credential verified")
    try:
        await live.connection.update_secret(trial.credential, timeout=_UPDATE_TIMEOUT_SECONDS)
    except errors.SecretUpdateTimeoutError:
        # Blocked or slow: nobody knows what became of the update, so this connection is given up.
        return Replaced(await attempt(spec, means, progress))
    except errors.SecretRefusedError:
        if not live.connection.is_open:
            raise
        # The driver cannot send it in place; a handshake took it, so another one will.
        return Replaced(await attempt(spec, means, progress))
    return UpdatedInPlace(trial.credential)
