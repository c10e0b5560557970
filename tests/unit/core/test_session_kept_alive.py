"""A session that cannot become what is declared outlives the token that it was opened with."""

from datetime import timedelta
from typing import Any

import pytest

from springline import errors
from springline.core.backoff import Retry
from springline.core.desired import RotationSettings
from springline.core.events import EventType
from springline.core.values import Credential, OpenRequest
from springline.reasons import Reason
from support.builders import (
    a_target,
    a_token,
    credential_refused,
    limit_reached,
    refused,
    unreachable,
)
from support.fakes import SILENCE, FakeConnection
from support.stage import Stage

RETRY = Retry(delay=10.0, max_delay=60.0, jitter=0.0)
ELSEWHERE = a_target(virtual_host="other")


def token(stage: Stage, secret: str) -> Credential:
    now = stage.clock.now()
    return a_token(secret, issued_at=now, expires_at=now + timedelta(hours=1))


async def with_a_token(stage: Stage) -> FakeConnection:
    stage.credentials.answer = token(stage, "first")
    return await stage.connect(retry=RETRY)


async def refused_there(stage: Stage) -> None:
    """Declare a virtual host that is not there."""
    stage.driver.refuses = lambda request: (
        refused() if request.parameters.virtual_host == "other" else None
    )
    await stage.declare(generation=2, target=ELSEWHERE, retry=RETRY)
    assert stage.state().synced.reason is Reason.VIRTUAL_HOST_NOT_FOUND


async def test_its_token_is_renewed_though_a_change_is_refused(stage: Stage) -> None:
    connection = await with_a_token(stage)
    await refused_there(stage)
    for name in ("second", "third"):
        await stage.clock.advance(2000.0)
        stage.credentials.issue(token(stage, name))
        await stage.clock.advance(1300.0)
    assert [each.secret.reveal() for each in connection.updates] == ["second", "third"]
    assert stage.connection() is connection
    assert stage.state().credentials.reason is Reason.VERIFIED
    assert stage.state().synced.reason is Reason.VIRTUAL_HOST_NOT_FOUND
    assert stage.view.target == a_target()
    assert len(stage.events.of(EventType.CHANGE_REFUSED)) == 1
    assert EventType.IN_SYNC not in stage.events.types


async def test_the_change_is_tried_on_until_it_works(stage: Stage) -> None:
    await with_a_token(stage)
    await refused_there(stage)
    stage.credentials.issue(token(stage, "second"))
    await stage.clock.advance(3000.0)
    stage.driver.refuses = lambda _: None
    await stage.clock.advance(60.0)
    assert stage.view.is_ready
    assert stage.view.target == ELSEWHERE
    assert len(stage.events.of(EventType.IN_SYNC)) == 1


async def test_its_token_is_renewed_though_certificates_cannot_be_read(stage: Stage) -> None:
    connection = await with_a_token(stage)
    stage.tls.answer = errors.RejectedError(Reason.TLS_FAILED, "no certificates in PEM")
    stage.session.credential_changed()
    stage.credentials.issue(token(stage, "second"))
    await stage.clock.advance(3000.0)
    assert len(connection.updates) == 1
    assert stage.state().synced.reason is Reason.TLS_FAILED


async def test_a_token_that_its_broker_refuses_is_not_sent_to_it(stage: Stage) -> None:
    connection = await with_a_token(stage)
    await refused_there(stage)
    stage.driver.otherwise = credential_refused()
    stage.credentials.issue(*[token(stage, f"{number}") for number in range(200)])
    await stage.clock.advance(3000.0)
    assert not connection.updates
    assert connection.is_open


async def test_its_token_is_tried_again_soon_after_a_hiccup(stage: Stage) -> None:
    """Not after the pause of the change that is refused: the token may be over by then."""
    patient = Retry(delay=10.0, max_delay=1800.0, jitter=0.0)
    stage.credentials.answer = token(stage, "first")
    connection = await stage.connect(retry=patient)
    stage.tls.answer = errors.RejectedError(Reason.TLS_FAILED, "no certificates in PEM")
    stage.session.credential_changed()
    tried: list[float] = []

    def answer(_: OpenRequest[Any]) -> errors.ConnectError | None:
        tried.append(stage.clock.elapsed)
        return unreachable() if len(tried) == 1 else None

    stage.driver.refuses = answer
    stage.credentials.issue(token(stage, "second"))
    await stage.clock.advance(3500.0)
    assert len(connection.updates) == 1
    assert tried[1] - tried[0] <= 2 * patient.delay
    assert stage.connection() is connection


@pytest.mark.parametrize("seconds", [60.0, 2000.0])
async def test_nothing_is_sent_that_is_not_due(stage: Stage, seconds: float) -> None:
    connection = await with_a_token(stage)
    await refused_there(stage)
    stage.credentials.answer = token(stage, "second")
    stage.session.credential_changed()
    await stage.clock.advance(seconds)
    assert not connection.updates


async def test_what_is_declared_while_its_token_is_on_its_way_waits_for_no_more_than_that(
    stage: Stage,
) -> None:
    """Not for the pause of what was declared before, which may be long."""
    patient = Retry(delay=10.0, max_delay=600.0, jitter=0.0)
    untried = RotationSettings(verify=False)
    stage.credentials.answer = token(stage, "first")
    connection = await stage.connect(retry=patient, rotation=untried)
    stage.driver.refuses = lambda request: (
        refused() if request.parameters.virtual_host == "other" else None
    )
    await stage.declare(generation=2, target=ELSEWHERE, retry=patient, rotation=untried)
    connection.update_answer = SILENCE
    stage.credentials.issue(token(stage, "second"))
    while not connection.is_updating:
        await stage.clock.advance(1.0)
        assert stage.clock.elapsed < 3600.0, "the token was never sent"
    stage.driver.then(limit_reached())  # in place of the update that is not answered
    third = a_target(virtual_host="third")
    await stage.declare(generation=3, target=third, retry=patient, rotation=untried)
    assert stage.view.target == a_target()
    await stage.clock.advance(15.0)
    assert stage.view.target == third
    assert stage.view.is_ready
