"""Whether the open session uses what is declared: the condition Synced, and what is told of it.

A change that cannot work leaves the session as it is. That is shown at once, and so is its end.
"""

from dataclasses import fields, replace

import pytest

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core.backoff import Retry
from springline.core.desired import RotationSettings, Target
from springline.core.events import EventType
from springline.core.state import Phase
from springline.core.values import TLSClient
from springline.core.verdicts import Verdict
from springline.drivers.amqp091.parameters import Amqp091Parameters
from springline.reasons import Reason
from support.builders import (
    OTHER_RABBIT,
    a_credential,
    a_target,
    credential_refused,
    no_new_token,
    no_secret,
    refused,
    secret_unreadable,
    terminal,
    transport_close,
    unreachable,
)
from support.fakes import SILENCE
from support.stage import Stage

RETRY = Retry(delay=10.0, max_delay=60.0, jitter=0.0)
ELSEWHERE = a_target(virtual_host="other")


class Alone(Amqp091Parameters):
    """As of a protocol whose brokers may be asked to have one connection of a kind."""

    @property
    def alone(self) -> str:
        return "there is to be one connection"


def alone(target: Target) -> Target:
    """Return the same target, for a connection that is to be the only one."""
    parameters = target.parameters
    values = {each.name: getattr(parameters, each.name) for each in fields(Amqp091Parameters)}
    return replace(target, parameters=Alone(**values))


ALONE = alone(a_target())
ALONE_ELSEWHERE = alone(ELSEWHERE)
LIMIT = errors.TransientError(Reason.CONNECTION_LIMIT_REACHED, "connection limit (1) is reached")


def synced(stage: Stage) -> Verdict:
    return stage.state().synced


async def test_an_open_session_is_in_sync(stage: Stage) -> None:
    await stage.connect()
    assert synced(stage).status is ConditionStatus.TRUE
    assert stage.view.is_ready


async def test_without_a_session_nobody_can_tell(stage: Stage) -> None:
    stage.driver.then(unreachable())
    await stage.declare()
    assert synced(stage).reason is Reason.NOT_CONNECTED
    await stage.declare(generation=2, suspend=True)
    assert synced(stage).reason is Reason.NOT_CONNECTED


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(refused(), Reason.VIRTUAL_HOST_NOT_FOUND, id="a name that is not there"),
        pytest.param(terminal(), Reason.NO_AUTHENTICATION_MECHANISM, id="what cannot work"),
        pytest.param(credential_refused(), Reason.REJECTED, id="a login that is refused"),
    ],
)
async def test_a_declaration_that_cannot_work_is_shown_at_once_and_the_session_stays(
    stage: Stage, answer: errors.ConnectError, reason: Reason
) -> None:
    connection = await stage.connect()
    stage.driver.otherwise = answer
    await stage.declare(generation=2, target=ELSEWHERE)
    assert stage.connection() is connection
    assert connection.is_open
    assert stage.state().phase is Phase.CONNECTED
    assert synced(stage).status is ConditionStatus.FALSE
    assert synced(stage).reason is reason
    assert answer.message in synced(stage).message
    assert not stage.view.is_ready
    assert stage.view.target == a_target()


async def test_certificates_that_cannot_be_used_are_shown_at_once(stage: Stage) -> None:
    connection = await stage.connect()
    stage.tls.answer = errors.RejectedError(Reason.TLS_FAILED, "no certificates in PEM")
    stage.session.credential_changed()
    await stage.clock.settle()
    assert stage.connection() is connection
    assert synced(stage).reason is Reason.TLS_FAILED
    [event] = stage.events.of(EventType.CHANGE_REFUSED)
    assert (event.message, event.reason) == ("no certificates in PEM", Reason.TLS_FAILED)


async def test_an_authority_that_did_not_sign_the_broker_is_told_once_and_so_is_its_end(
    stage: Stage,
) -> None:
    connection = await stage.connect()
    before, stage.tls.answer = stage.tls.answer, a_tls_client()
    stage.driver.otherwise = errors.RejectedError(Reason.TLS_FAILED, "unknown authority")
    stage.session.credential_changed()
    await stage.clock.advance(600.0)
    assert len(stage.events.of(EventType.CHANGE_REFUSED)) == 1
    assert synced(stage).reason is Reason.TLS_FAILED
    stage.tls.answer = before
    stage.session.credential_changed()
    await stage.clock.settle()
    assert stage.connection() is connection
    assert synced(stage).reason is Reason.IN_SYNC
    assert len(stage.events.of(EventType.IN_SYNC)) == 1
    await stage.clock.advance(600.0)
    assert len(stage.events.of(EventType.IN_SYNC)) == 1


async def test_a_secret_that_is_put_back_is_told_as_loudly_as_its_refusal(stage: Stage) -> None:
    await stage.connect()
    stage.driver.otherwise = credential_refused()
    await stage.change_credential("second")
    assert synced(stage).reason is Reason.REJECTED
    await stage.change_credential("first")
    assert synced(stage).reason is Reason.IN_SYNC
    assert stage.events.types[-2:] == [EventType.SECRET_REJECTED, EventType.IN_SYNC]


async def test_a_refusal_that_ends_with_another_session_is_taken_back_too(stage: Stage) -> None:
    connection = await stage.connect(retry=RETRY)
    stage.driver.then(credential_refused(), None)
    await stage.change_credential()
    connection.end(transport_close())
    await stage.clock.advance(60.0)
    assert stage.state().phase is Phase.CONNECTED
    assert stage.events.types[-2:] == [EventType.CONNECTED, EventType.IN_SYNC]


async def test_a_hiccup_is_not_told(stage: Stage) -> None:
    await stage.connect(retry=RETRY)
    stage.driver.then(unreachable(), None)
    await stage.change_credential()
    assert synced(stage).status is ConditionStatus.TRUE
    await stage.clock.advance(20.0)
    assert synced(stage).status is ConditionStatus.TRUE
    assert EventType.CHANGE_REFUSED not in stage.events.types


async def test_a_broker_that_cannot_be_reached_for_a_change_is_told_at_the_second_try(
    stage: Stage,
) -> None:
    connection = await stage.connect(retry=RETRY)
    stage.driver.otherwise = unreachable()
    moved = a_target(endpoints=(OTHER_RABBIT,))
    await stage.declare(generation=2, target=moved, retry=RETRY)
    assert synced(stage).reason is Reason.APPLYING
    assert not stage.view.has_result
    await stage.clock.advance(10.0)
    assert synced(stage).reason is Reason.CONNECTION_REFUSED
    assert stage.connection() is connection
    await stage.clock.advance(600.0)
    assert len(stage.events.of(EventType.CHANGE_REFUSED)) == 1


async def test_a_first_try_that_takes_long_is_told_already(stage: Stage) -> None:
    await stage.connect(retry=RETRY)
    stage.driver.then(SILENCE)
    await stage.declare(generation=2, target=ELSEWHERE, retry=RETRY)
    await stage.clock.advance(8.0)
    assert synced(stage).reason is Reason.APPLYING
    stage.driver.release(unreachable())
    await stage.clock.settle()
    assert synced(stage).reason is Reason.CONNECTION_REFUSED


async def test_a_change_that_is_under_way_is_not_shown_as_done(stage: Stage) -> None:
    """Whoever waits for Ready of this generation must not take the old session for an answer."""
    await stage.connect()
    stage.driver.then(SILENCE)
    await stage.declare(generation=2, target=ELSEWHERE)
    assert synced(stage).status is ConditionStatus.UNKNOWN
    assert not stage.view.is_ready
    stage.driver.release()
    await stage.clock.settle()
    assert stage.view.is_ready


async def test_a_declaration_that_is_taken_back_is_in_sync_again(stage: Stage) -> None:
    connection = await stage.connect()
    stage.driver.otherwise = refused()
    await stage.declare(generation=2, target=ELSEWHERE)
    await stage.declare(generation=3)
    assert stage.connection() is connection
    assert synced(stage).reason is Reason.IN_SYNC
    assert stage.events.types[-2:] == [EventType.CHANGE_REFUSED, EventType.IN_SYNC]


async def test_a_secret_that_is_gone_is_told_once_for_both_conditions(stage: Stage) -> None:
    await stage.connect()
    stage.credentials.answer = no_secret()
    stage.session.credential_changed()
    await stage.clock.advance(600.0)
    assert synced(stage).reason is Reason.SECRET_NOT_FOUND
    assert stage.state().credentials.reason is Reason.SECRET_NOT_FOUND
    assert len(stage.events.of(EventType.SECRET_REJECTED)) == 1
    assert EventType.CHANGE_REFUSED not in stage.events.types


async def test_an_issuer_that_gives_no_token_for_a_change_is_told(stage: Stage) -> None:
    """Nothing grows old here, so there is no other word for it."""
    await stage.connect()
    stage.credentials.answer = no_new_token()
    stage.session.credential_changed()
    await stage.clock.advance(60.0)
    assert synced(stage).reason is Reason.TOKEN_REQUEST_FAILED
    assert stage.state().credentials.reason is Reason.ACCEPTED
    assert len(stage.events.of(EventType.CHANGE_REFUSED)) == 1


async def test_an_outage_of_what_is_read_is_told_when_it_lasts(stage: Stage) -> None:
    await stage.connect(retry=RETRY)
    stage.credentials.answer = secret_unreadable()
    stage.session.credential_changed()
    await stage.clock.settle()
    assert synced(stage).status is ConditionStatus.TRUE
    await stage.clock.advance(10.0)
    assert synced(stage).reason is Reason.SECRET_UNREADABLE


async def test_a_defect_of_a_renewal_is_shown(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await stage.connect()
    stage.credentials.answer = ZeroDivisionError()
    stage.session.credential_changed()
    await stage.clock.settle()
    assert stage.connection() is connection
    assert synced(stage).reason is Reason.INTERNAL_ERROR
    assert "renewal failed unexpectedly" in caplog.text


async def test_a_defect_of_a_renewal_is_not_the_last_word(stage: Stage) -> None:
    """Nobody else would bring the change, or the token, to the session."""
    connection = await stage.connect(retry=RETRY)
    stage.credentials.answer = ZeroDivisionError()
    stage.session.credential_changed()
    await stage.clock.settle()
    stage.credentials.answer = a_credential("second")
    await stage.clock.advance(RETRY.max_delay)
    assert len(connection.updates) == 1
    assert synced(stage).reason is Reason.IN_SYNC


async def test_refusals_that_take_turns_are_told_once_each(stage: Stage) -> None:
    """One node of a cluster may be down, and another one refuse."""
    await stage.connect(retry=RETRY)
    stage.driver.then(*[refused(), unreachable()] * 20)
    await stage.declare(generation=2, target=ELSEWHERE, retry=RETRY)
    await stage.clock.advance(600.0)
    told = [event.reason for event in stage.events.of(EventType.CHANGE_REFUSED)]
    assert told == [Reason.VIRTUAL_HOST_NOT_FOUND, Reason.CONNECTION_REFUSED]


async def test_a_secret_that_changes_to_what_is_refused_likewise_is_told_again(
    stage: Stage,
) -> None:
    await stage.connect(retry=RETRY)
    stage.driver.otherwise = credential_refused("refused")
    await stage.change_credential("second")
    stage.driver.otherwise = credential_refused("refused in other words")
    await stage.change_credential("third")
    assert len(stage.events.of(EventType.SECRET_REJECTED)) == 2


# --- where the broker allows no connection more


async def test_a_limit_is_named_at_once_and_waited_for(stage: Stage) -> None:
    connection = await stage.connect(retry=RETRY)
    stage.driver.otherwise = LIMIT
    await stage.change_credential()
    assert synced(stage).reason is Reason.CONNECTION_LIMIT_REACHED
    assert LIMIT.message in synced(stage).message
    assert "spec.rotation.whenLimited" in synced(stage).message
    assert not connection.updates
    stage.driver.otherwise = None
    await stage.clock.advance(30.0)
    assert synced(stage).reason is Reason.IN_SYNC
    assert len(connection.updates) == 1
    assert len(stage.events.of(EventType.CHANGE_REFUSED)) == 1


async def test_a_secret_may_be_sent_untried_where_a_limit_is_reached(stage: Stage) -> None:
    connection = await stage.connect(rotation=RotationSettings(when_limited="UpdateUnverified"))
    stage.driver.otherwise = LIMIT
    await stage.change_credential()
    assert len(connection.updates) == 1
    assert synced(stage).reason is Reason.IN_SYNC
    assert stage.state().credentials.reason is Reason.ACCEPTED
    assert "UpdateUnverified" in stage.state().credentials.message


async def test_what_cannot_be_sent_in_place_waits_where_a_limit_is_reached(stage: Stage) -> None:
    rotation = RotationSettings(when_limited="UpdateUnverified")
    connection = await stage.connect(rotation=rotation)
    stage.driver.otherwise = LIMIT
    await stage.declare(generation=2, target=ELSEWHERE, rotation=rotation)
    assert stage.connection() is connection
    assert synced(stage).reason is Reason.CONNECTION_LIMIT_REACHED
    assert "set spec.rotation.whenLimited to CloseFirst" in synced(stage).message


async def test_a_refused_login_is_never_sent_untried(stage: Stage) -> None:
    connection = await stage.connect(rotation=RotationSettings(when_limited="UpdateUnverified"))
    stage.driver.otherwise = credential_refused()
    await stage.change_credential()
    assert not connection.updates
    assert synced(stage).reason is Reason.REJECTED


@pytest.mark.parametrize("change", ["secret", "target"])
async def test_the_session_may_be_closed_first_where_a_limit_is_reached(
    stage: Stage, change: str
) -> None:
    rotation = RotationSettings(when_limited="CloseFirst")
    connection = await stage.connect(rotation=rotation)
    stage.driver.then(LIMIT, None)
    if change == "secret":
        await stage.change_credential()
    else:
        await stage.declare(generation=2, target=ELSEWHERE, rotation=rotation)
    [text] = connection.close_texts
    assert text == f"closed first, as spec.rotation.whenLimited says: {LIMIT.message}"
    assert stage.connection() is stage.driver.connections[-1]
    assert synced(stage).reason is Reason.IN_SYNC
    assert len(stage.events.of(EventType.CLOSED)) == 1


@pytest.mark.parametrize("change", ["secret", "target"])
async def test_a_session_that_is_to_be_the_only_one_is_closed_before_its_place_is_taken(
    stage: Stage, change: str
) -> None:
    connection = await stage.connect(target=ALONE)
    if change == "secret":
        connection.cannot_renew = "it has no way of renewing a secret"
        await stage.change_credential()
    else:
        await stage.declare(generation=2, target=ALONE_ELSEWHERE)
    assert connection.close_texts == ["closed first, as there is to be one connection"]
    assert stage.connection() is stage.driver.connections[-1] is not connection
    assert synced(stage).reason is Reason.IN_SYNC


async def test_nothing_is_closed_to_try_once_more_what_is_in_use(stage: Stage) -> None:
    connection = await stage.connect(rotation=RotationSettings(when_limited="CloseFirst"))
    stage.driver.otherwise = LIMIT
    stage.session.renew()
    await stage.clock.settle()
    assert stage.connection() is connection
    assert synced(stage).reason is Reason.CONNECTION_LIMIT_REACHED
    assert "whenLimited" not in synced(stage).message


def a_tls_client() -> TLSClient:
    import ssl

    return TLSClient(context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), has_client_certificate=False)
