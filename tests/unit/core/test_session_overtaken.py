"""A change that is declared while another one is still being brought to the open session.

What is then told is about what is declared now, and what is done as well.
"""

from datetime import timedelta

import pytest

from springline import errors
from springline.api import v1alpha1
from springline.api.conditions import Condition, ConditionType
from springline.core import stalling, status
from springline.core.backoff import Retry
from springline.core.desired import RotationSettings
from springline.core.events import EventType
from springline.reasons import Reason
from support.builders import (
    a_credential,
    a_target,
    a_token,
    credential_refused,
    refused,
    unreachable,
)
from support.fakes import SILENCE, FakeConnection
from support.stage import Stage

RETRY = Retry(delay=10.0, max_delay=60.0, jitter=0.0)
ELSEWHERE = a_target(virtual_host="other")
THIRD = a_target(virtual_host="third")
LIMIT = errors.TransientError(Reason.CONNECTION_LIMIT_REACHED, "connection limit (1) is reached")
CLOSE_FIRST = RotationSettings(when_limited="CloseFirst")
OTHER_SECRET = v1alpha1.Credentials(secret_ref=v1alpha1.SecretReference(name="other"))


def synced(stage: Stage) -> Reason:
    return stage.state().synced.reason


def condition(stage: Stage, kind: ConditionType) -> Condition | None:
    shown = status.conditions(stage.view, now=stage.clock.now())
    return next((each for each in shown if each.type is kind), None)


async def with_an_update_under_way(stage: Stage) -> FakeConnection:
    connection = await stage.connect(retry=RETRY)
    connection.update_answer = SILENCE
    await stage.change_credential("second")
    assert connection.is_updating
    return connection


async def test_a_refusal_of_what_is_no_longer_declared_is_not_told(stage: Stage) -> None:
    """It came in the very moment in which something else was declared."""
    await stage.connect(retry=RETRY)
    stage.driver.then(SILENCE, SILENCE)
    await stage.declare(generation=2, target=ELSEWHERE, retry=RETRY)
    stage.driver.release(refused())
    stage.session.declare(stage.desired(generation=3, target=THIRD, retry=RETRY))
    await stage.clock.settle()
    assert synced(stage) is Reason.APPLYING
    assert EventType.CHANGE_REFUSED not in stage.events.types


async def test_an_update_that_is_confirmed_is_not_the_change_that_is_declared_since(
    stage: Stage,
) -> None:
    connection = await with_an_update_under_way(stage)
    stage.driver.otherwise = SILENCE
    await stage.declare(generation=2, target=ELSEWHERE, retry=RETRY)
    seen = len(stage.changes)
    connection.confirm_update()
    await stage.clock.settle()
    assert len(stage.changes) > seen
    assert not any(view.is_ready for view in stage.changes[seen:])
    stage.driver.release()
    await stage.clock.settle()
    assert stage.view.is_ready
    assert stage.view.target == ELSEWHERE


async def test_a_change_does_not_wait_for_one_that_is_no_longer_declared(stage: Stage) -> None:
    """An update is not cut off; if nothing comes of it, only what is declared now is tried."""
    await with_an_update_under_way(stage)
    stage.driver.refuses = lambda request: (
        refused() if request.parameters.virtual_host == "orders" else None
    )
    await stage.declare(generation=2, target=ELSEWHERE, retry=RETRY)
    await stage.clock.advance(60.0)
    assert synced(stage) is Reason.IN_SYNC
    assert stage.view.target == ELSEWHERE
    assert EventType.CHANGE_REFUSED not in stage.events.types


async def test_nothing_is_closed_for_a_change_that_is_taken_back(stage: Stage) -> None:
    connection = await stage.connect(rotation=CLOSE_FIRST)
    stage.driver.then(SILENCE)
    await stage.declare(generation=2, target=ELSEWHERE, rotation=CLOSE_FIRST)
    stage.driver.release(LIMIT)
    stage.session.declare(stage.desired(generation=3, rotation=CLOSE_FIRST))
    await stage.clock.settle()
    assert connection.is_open
    assert synced(stage) is Reason.IN_SYNC


async def test_a_change_is_tried_anew_with_the_time_that_is_declared_for_it(stage: Stage) -> None:
    await stage.connect(retry=RETRY, connect_timeout=6.0)
    stage.driver.otherwise = SILENCE
    await stage.declare(generation=2, target=ELSEWHERE, retry=RETRY, connect_timeout=6.0)
    await stage.clock.advance(7.0)
    assert synced(stage) is Reason.CONNECT_TIMEOUT
    await stage.declare(generation=3, target=ELSEWHERE, retry=RETRY, connect_timeout=60.0)
    assert synced(stage) is Reason.APPLYING
    await stage.clock.advance(7.0)
    stage.driver.release()
    await stage.clock.settle()
    assert synced(stage) is Reason.IN_SYNC


@pytest.mark.parametrize("passes", [True, False])
async def test_a_change_that_fails_for_want_of_a_token_is_told_though_one_is_due(
    stage: Stage, *, passes: bool
) -> None:
    kind = errors.CredentialUnavailableError if passes else errors.CredentialError
    now = stage.clock.now()
    stage.credentials.answer = a_token("first", issued_at=now, expires_at=now + timedelta(hours=1))
    await stage.connect(retry=RETRY)
    stage.credentials.issue(*[kind(Reason.TOKEN_REQUEST_FAILED, "no token")] * 100)
    await stage.clock.advance(3000.0)
    assert stage.state().credentials.reason is Reason.EXPIRING
    assert synced(stage) is Reason.IN_SYNC
    await stage.declare(generation=2, target=ELSEWHERE, retry=RETRY)
    await stage.clock.advance(60.0)
    assert synced(stage) is Reason.TOKEN_REQUEST_FAILED
    assert len(stage.events.of(EventType.CHANGE_REFUSED)) == 1


async def test_what_was_refused_before_is_no_answer_to_another_declaration(stage: Stage) -> None:
    await stage.connect(retry=RETRY)
    stage.driver.otherwise = credential_refused()
    await stage.change_credential("second")
    await stage.clock.advance(600.0)
    assert condition(stage, ConditionType.STALLED) is not None
    stage.driver.otherwise = SILENCE
    stage.credentials.answer = a_credential("third")
    await stage.declare(generation=2, credentials=OTHER_SECRET, retry=RETRY)
    assert condition(stage, ConditionType.STALLED) is None
    ready = condition(stage, ConditionType.READY)
    assert ready is not None
    assert ready.reason is Reason.APPLYING
    stage.driver.release(credential_refused())
    await stage.clock.settle()
    assert stalling.stalls_in(stage.view) == stalling.GRACE_SECONDS


async def test_a_secret_that_changes_again_has_five_minutes_of_its_own(stage: Stage) -> None:
    await stage.connect(retry=RETRY)
    stage.driver.otherwise = credential_refused()
    await stage.change_credential("second")
    await stage.clock.advance(200.0)
    await stage.change_credential("third")
    await stage.clock.advance(200.0)
    assert condition(stage, ConditionType.STALLED) is None
    await stage.clock.advance(100.0)
    assert condition(stage, ConditionType.STALLED) is not None


async def test_a_hiccup_of_a_change_is_not_the_end_of_it(stage: Stage) -> None:
    await stage.connect(retry=RETRY)
    stage.driver.then(unreachable(), None)
    await stage.declare(generation=2, target=ELSEWHERE, retry=RETRY)
    assert synced(stage) is Reason.APPLYING
    await stage.clock.advance(10.0)
    assert synced(stage) is Reason.IN_SYNC
