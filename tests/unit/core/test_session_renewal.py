"""What a session shows and does when its credential changes while it is open."""

from datetime import timedelta

import pytest

from springline import errors
from springline.api import v1alpha1
from springline.core.backoff import Retry
from springline.core.events import EventType
from springline.core.state import Phase
from springline.reasons import Reason
from support.builders import (
    OTHER_RABBIT,
    PROBE,
    RABBIT,
    a_credential,
    a_target,
    credential_refused,
    no_secret,
    secret_refused,
    transport_close,
    unreachable,
)
from support.fake_clock import EIGHT
from support.fakes import SILENCE
from support.stage import Stage


# R1.12
async def test_a_new_secret_reaches_the_live_connection(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.clock.advance(60.0)
    await stage.change_credential("second")
    assert stage.connection() is connection
    assert [credential.secret.reveal() for credential in connection.updates] == ["second"]
    assert stage.state().credentials.reason is Reason.VERIFIED
    use = stage.view.credential
    assert use is not None
    assert use.method == "InPlace"
    assert use.credential.version == "2"
    assert use.applied_at == use.verified_at == EIGHT + timedelta(seconds=60)
    assert stage.events.types[-1] is EventType.SECRET_UPDATED


async def test_a_renewal_shows_no_cycle_of_attempts(stage: Stage) -> None:
    await stage.connect()
    before = len(stage.events.events)
    await stage.change_credential()
    assert stage.events.types[before:] == [EventType.SECRET_UPDATED]


async def test_an_object_that_changed_without_its_value_is_noted(stage: Stage) -> None:
    await stage.connect()
    await stage.change_credential("first")
    assert len(stage.driver.requests) == 1
    assert stage.state().credentials.reason is Reason.ACCEPTED
    assert stage.view.credential is not None
    assert stage.view.credential.credential.version == "2"
    assert stage.view.credential.method == "Handshake"


async def test_another_user_gets_a_new_session_before_the_old_one_is_closed(stage: Stage) -> None:
    old = await stage.connect(probe=PROBE)
    await stage.change_credential(username="other")
    new = stage.driver.connection
    assert stage.connection() is new
    assert old.close_texts == ["replaced by a newer session"]
    assert new.probes
    replaced = stage.journal.index("SessionReplaced is handled")
    assert stage.journal.index("connection 1: close") > replaced
    assert stage.state().credentials.reason is Reason.VERIFIED
    assert stage.view.credential is not None
    assert stage.view.credential.method == "Replaced"
    assert EventType.DISCONNECTED not in stage.events.types


TOLD_BY_SECRET = a_target(
    endpoints=(),
    endpoints_from=v1alpha1.EndpointsFrom(
        secret_ref=v1alpha1.EndpointsSecretReference(name="rabbit-default-user")
    ),
)


async def test_a_session_moves_to_where_the_secret_says_before_the_old_one_is_closed(
    stage: Stage,
) -> None:
    stage.endpoints.declare(RABBIT)
    old = await stage.connect(target=TOLD_BY_SECRET)
    stage.endpoints.declare(OTHER_RABBIT)
    stage.session.credential_changed()
    await stage.clock.settle()
    new = stage.driver.connection
    assert stage.connection() is new
    assert new.info.endpoint == OTHER_RABBIT
    assert old.close_texts == ["replaced by a newer session"]
    replaced = stage.journal.index("SessionReplaced is handled")
    assert stage.journal.index("connection 1: close") > replaced
    assert EventType.DISCONNECTED not in stage.events.types


async def test_a_session_stays_while_the_secret_says_the_same(stage: Stage) -> None:
    stage.endpoints.declare(RABBIT)
    connection = await stage.connect(target=TOLD_BY_SECRET)
    stage.session.credential_changed()
    await stage.clock.settle()
    assert stage.connection() is connection
    assert len(stage.driver.requests) == 1


async def test_a_secret_that_says_where_at_last_is_followed_at_once(stage: Stage) -> None:
    """Refused attempts are far apart; a changed object ends the wait."""
    stage.endpoints.answer = errors.RejectedError(Reason.NAME_RESOLUTION_FAILED, "no Secret")
    await stage.declare(target=TOLD_BY_SECRET)
    assert stage.state().phase is Phase.REJECTED
    await stage.clock.advance(59.9)
    assert stage.endpoints.fetches == 1
    stage.endpoints.declare(RABBIT)
    stage.session.credential_changed()
    await stage.clock.settle()
    assert stage.state().phase is Phase.CONNECTED


async def test_a_blocked_session_is_replaced(stage: Stage) -> None:
    old = await stage.connect(probe=PROBE)
    old.block()
    await stage.clock.settle()
    await stage.change_credential()
    assert not old.updates
    assert not old.is_open
    assert stage.connection() is stage.driver.connection
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
    assert stage.view.blocked_since is None


async def test_an_update_that_is_not_answered_replaces_the_session(stage: Stage) -> None:
    old = await stage.connect()
    old.update_answer = SILENCE
    await stage.change_credential()
    await stage.clock.advance(10.0)
    assert not old.is_open
    assert stage.connection() is stage.driver.connection
    assert stage.view.credential is not None
    assert stage.view.credential.method == "Replaced"


# --- refused


async def test_a_refused_secret_keeps_the_live_session(stage: Stage) -> None:
    connection = await stage.connect()
    stage.driver.then(credential_refused("login refused"))
    await stage.change_credential()
    assert stage.connection() is connection
    assert connection.is_open
    assert stage.state().phase is Phase.CONNECTED
    assert stage.state().credentials.reason is Reason.REJECTED
    [event] = stage.events.of(EventType.SECRET_REJECTED)
    assert (event.message, event.reason) == ("login refused", Reason.REJECTED)


async def test_a_refusal_is_reported_once_and_tried_again_until_it_works(stage: Stage) -> None:
    connection = await stage.connect()
    stage.driver.then(credential_refused(), credential_refused(), None)
    await stage.change_credential()
    await stage.clock.advance(120.0)
    assert len(stage.events.of(EventType.SECRET_REJECTED)) == 1
    assert stage.connection() is connection
    assert stage.state().credentials.reason is Reason.VERIFIED


async def test_a_secret_that_is_gone_is_reported_and_the_session_kept(stage: Stage) -> None:
    connection = await stage.connect()
    stage.credentials.answer = no_secret()
    stage.session.credential_changed()
    await stage.clock.settle()
    assert stage.connection() is connection
    assert stage.state().credentials.reason is Reason.SECRET_NOT_FOUND
    assert len(stage.events.of(EventType.SECRET_REJECTED)) == 1


async def test_a_broker_that_cannot_be_reached_has_not_refused_the_secret(stage: Stage) -> None:
    """It is tried again; nothing is said about a credential that nobody has looked at."""
    await stage.connect(retry=Retry(delay=1.0, max_delay=1.0, jitter=0.0))
    stage.driver.then(*[unreachable()] * 5, None)
    await stage.change_credential()
    await stage.clock.advance(4.5)
    assert stage.state().credentials.reason is Reason.ACCEPTED
    assert EventType.SECRET_REJECTED not in stage.events.types
    await stage.clock.advance(1.0)
    assert stage.state().credentials.reason is Reason.VERIFIED


async def test_a_secret_that_is_put_back_is_accepted(stage: Stage) -> None:
    await stage.connect()
    stage.driver.otherwise = credential_refused()
    await stage.change_credential("second")
    await stage.change_credential("first")
    assert stage.state().credentials.reason is Reason.ACCEPTED
    await stage.clock.advance(600.0)
    assert len(stage.driver.requests) == 2, "the refused one is not tried any more"


# R1.13
async def test_a_close_instead_of_an_answer_reconnects_with_the_new_secret(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.clock.advance(60.0)
    connection.update_answer = secret_refused()
    await stage.change_credential("second")
    assert not connection.is_open
    assert stage.connection() is stage.driver.connection
    assert stage.driver.requests[-1].credential.secret.reveal() == "second"
    assert stage.view.last_close is not None
    assert stage.view.last_close.info.text == "NOT_ALLOWED"
    assert EventType.DISCONNECTED in stage.events.types


# --- where the driver says that it cannot be renewed in place


async def test_a_connection_that_cannot_be_renewed_in_place_is_replaced_without_an_attempt(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """That it cannot is no refusal: nothing is sent, counted or told as one."""
    stage.driver.cannot_renew = "the broker is too old for it"
    old = await stage.connect()
    await stage.change_credential()
    assert old.updates == []
    assert not old.is_open
    assert [each.credential.secret.reveal() for each in stage.driver.requests] == [
        *("first", "second", "second")
    ], "it was tried beside the session first"
    assert stage.view.credential is not None
    assert stage.view.credential.method == "Replaced"
    [replaced] = stage.events.of(EventType.SESSION_REPLACED)
    assert replaced.message.endswith("; not renewed in place: the broker is too old for it")
    assert EventType.SECRET_REJECTED not in stage.events.types
    assert EventType.DISCONNECTED not in stage.events.types
    assert "refused" not in caplog.text


async def test_what_cannot_be_renewed_in_place_is_not_given_where_it_is_not_why(
    stage: Stage,
) -> None:
    stage.driver.cannot_renew = "the broker is too old for it"
    await stage.connect()
    await stage.change_credential(username="other")
    [replaced] = stage.events.of(EventType.SESSION_REPLACED)
    assert "too old" not in replaced.message


async def test_a_credential_that_the_broker_refuses_replaces_nothing_there_either(
    stage: Stage,
) -> None:
    stage.driver.cannot_renew = "the broker is too old for it"
    connection = await stage.connect()
    stage.driver.otherwise = credential_refused()
    await stage.change_credential()
    assert connection.is_open
    assert stage.state().credentials.reason is Reason.REJECTED


async def test_a_secret_that_cannot_be_sent_replaces_the_session(stage: Stage) -> None:
    connection = await stage.connect()
    connection.update_answer = errors.SecretNotSentError("it is too long")
    await stage.change_credential()
    assert not connection.is_open
    assert stage.view.credential is not None
    assert stage.view.credential.method == "Replaced"
    assert EventType.SECRET_REJECTED not in stage.events.types


# --- one after the other


async def test_a_newer_secret_takes_over_from_a_renewal_under_way(stage: Stage) -> None:
    connection = await stage.connect()
    stage.driver.then(SILENCE, None)
    await stage.change_credential("second")
    await stage.change_credential("third")
    assert stage.driver.cancelled == 1
    assert [credential.secret.reveal() for credential in connection.updates] == ["third"]
    assert stage.state().credentials.reason is Reason.VERIFIED


async def test_a_newer_secret_that_comes_while_a_replacement_is_opened_is_not_lost(
    stage: Stage,
) -> None:
    """The replacement is ready in the moment in which the yet newer secret is told."""
    old = await stage.connect()
    stage.driver.then(SILENCE)
    await stage.change_credential("second", username="other")
    stage.driver.release()
    stage.credentials.answer = a_credential("third", username="other")
    stage.session.credential_changed()
    await stage.clock.settle()
    assert not old.is_open
    assert len(stage.driver.open_connections) == 1
    current = stage.driver.open_connections[0]
    assert stage.connection() is current
    assert [credential.secret.reveal() for credential in current.updates] == ["third"]


async def test_a_newer_secret_that_comes_during_the_update_waits_for_its_end(
    stage: Stage,
) -> None:
    """An update that is cut off would cost the connection."""
    live = await stage.connect()
    live.update_answer = SILENCE
    await stage.change_credential("second")
    await stage.change_credential("third")
    assert [each.secret.reveal() for each in live.updates] == ["second"]
    live.confirm_update()
    await stage.clock.settle()
    assert [each.secret.reveal() for each in live.updates] == ["second", "third"]
    assert stage.connection() is live


async def test_a_newer_secret_is_not_lost_with_an_update_that_nobody_answers(
    stage: Stage,
) -> None:
    live = await stage.connect()
    live.update_answer = SILENCE
    await stage.change_credential("second")
    await stage.change_credential("third")
    await stage.clock.advance(10.0)
    assert not live.is_open
    assert len(stage.driver.open_connections) == 1
    assert stage.connection() is stage.driver.open_connections[0]
    assert stage.view.credential is not None
    assert stage.view.credential.credential.secret.reveal() == "third"


async def test_a_replacement_that_comes_too_late_is_closed(stage: Stage) -> None:
    """The live connection ended in the moment in which its replacement was open."""
    old = await stage.connect()
    stage.driver.then(None, SILENCE, None)
    await stage.change_credential(username="other")
    stage.driver.release()
    old.end(transport_close())
    await stage.clock.advance(10.0)
    assert stage.driver.connections[2].close_texts == ["no longer wanted"]
    assert len(stage.driver.open_connections) == 1
    assert stage.connection() is stage.driver.open_connections[0]


async def test_an_update_that_was_confirmed_too_late_is_not_shown(stage: Stage) -> None:
    """The live connection ended in the moment in which the broker confirmed its new secret."""
    live = await stage.connect()
    stage.driver.then(SILENCE, None)
    await stage.change_credential("second")
    stage.driver.release()
    live.end(transport_close())
    await stage.clock.advance(10.0)
    assert stage.connection() is stage.driver.connection
    assert EventType.SECRET_UPDATED not in stage.events.types
    assert stage.view.credential is not None
    assert stage.view.credential.method == "Handshake"


async def test_a_renewal_ends_with_its_connection(stage: Stage) -> None:
    connection = await stage.connect()
    stage.driver.then(credential_refused())
    await stage.change_credential("second")
    stage.driver.otherwise = SILENCE
    connection.end(transport_close())
    await stage.clock.advance(600.0)
    assert all(
        not request.parameters.connection_name.endswith("(verification)")
        for request in stage.driver.requests[2:]
    )


async def test_a_replaced_session_can_be_renewed_in_its_turn(stage: Stage) -> None:
    await stage.connect()
    await stage.change_credential("second", username="other")
    await stage.change_credential("third", username="other")
    assert stage.view.credential is not None
    assert stage.view.credential.method == "InPlace"
    assert len(stage.driver.open_connections) == 1


async def test_a_defect_of_a_renewal_keeps_the_session(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await stage.connect()
    connection.update_answer = ZeroDivisionError("a defect")
    await stage.change_credential()
    assert stage.connection() is connection
    assert "a defect" in caplog.text
