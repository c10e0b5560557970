"""What a session does when its declaration changes."""

import itertools
from typing import Any

import pytest

from springline.api import v1alpha1
from springline.core.events import EventType
from springline.core.session import Unusable
from springline.core.state import Failure, Phase
from springline.reasons import Reason
from support.builders import (
    OTHER_RABBIT,
    PROBE,
    RABBIT,
    a_probe,
    a_target,
    credential_refused,
    transport_close,
    unreachable,
)
from support.fake_clock import FakeClock
from support.fakes import SILENCE, FakeDriver
from support.stage import Stage, staged

INVALID = Failure(reason=Reason.INVALID_SPEC, message="it contradicts itself")


def unusable(problem: Failure = INVALID, *, generation: int = 2) -> Unusable:
    return Unusable(generation=generation, problem=problem)


# --- while connected


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="nothing but the generation"),
        pytest.param(
            {"target": a_target(endpoints=(RABBIT, OTHER_RABBIT))}, id="one more endpoint"
        ),
        pytest.param({"connect_timeout": 30.0}, id="the connect time-out"),
        pytest.param({"concurrent": 1}, id="the connect limit"),
        pytest.param({"stay_closed": True}, id="what follows a close"),
    ],
)
async def test_a_connection_that_still_fits_is_kept(stage: Stage, change: dict[str, Any]) -> None:
    connection = await stage.connect()
    await stage.declare(generation=2, **change)
    assert stage.connection() is connection
    assert connection.is_open
    assert len(stage.driver.requests) == 1
    assert stage.view.generation == 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"endpoints": (OTHER_RABBIT,)}, id="the endpoint in use is gone"),
        pytest.param({"virtual_host": "other"}, id="another virtual host"),
        pytest.param({"heartbeat_seconds": 5}, id="another heartbeat"),
        pytest.param({"tls": v1alpha1.TLS(enabled=True)}, id="TLS switched on"),
    ],
)
async def test_a_connection_that_no_longer_fits_is_replaced(
    stage: Stage, change: dict[str, Any]
) -> None:
    connection = await stage.connect()
    await stage.declare(generation=2, target=a_target(**change))
    assert connection.close_texts == ["replaced by a newer session"]
    assert stage.connection() is stage.driver.connections[1]
    assert stage.driver.requests[1].parameters == a_target(**change).parameters
    assert stage.state().synced.reason is Reason.IN_SYNC
    assert stage.view.target == a_target(**change)


async def test_the_old_connection_is_closed_after_the_new_one_is_open(stage: Stage) -> None:
    """What is declared may not work, and nobody may lose a session by that."""
    await stage.connect()
    opened = stage.journal.index(f"open {RABBIT}")
    await stage.declare(generation=2, target=a_target(virtual_host="other"))
    after = stage.journal[opened + 1 :]
    assert after.index(f"open {RABBIT}") < after.index("connection 1: close")


# R5.12
async def test_a_session_that_is_to_end_with_its_connection_ends_when_it_moves(
    stage: Stage,
) -> None:
    connection = await stage.connect()
    stage.session.close_when_current_connection_is_closed()
    await stage.declare(generation=2, target=a_target(virtual_host="other"))
    assert stage.is_closed()
    assert connection.is_released
    assert stage.driver.connections[1].close_texts == ["no longer wanted"]


async def test_other_credentials_in_the_declaration_are_renewed(stage: Stage) -> None:
    connection = await stage.connect()
    stage.credentials.answer = SILENCE
    other = v1alpha1.Credentials(secret_ref=v1alpha1.SecretReference(name="other"))
    fetches = stage.credentials.fetches
    await stage.declare(generation=2, credentials=other)
    assert stage.connection() is connection
    assert stage.credentials.fetches == fetches + 1


async def test_the_probe_follows_the_declaration(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    other = a_probe(interval=5.0, timeout=1.0, exchange="probes", routing_key="here")
    await stage.declare(generation=2, probe=other)
    assert connection.probes == [("", "springline.probe"), ("probes", "here")]
    await stage.clock.advance(5.0)
    assert connection.probes[2:] == [("probes", "here")]
    await stage.declare(generation=3, probe=None)
    await stage.clock.advance(60.0)
    assert len(connection.probes) == 3
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED


async def test_a_probe_that_is_switched_on_begins_at_once(stage: Stage) -> None:
    connection = await stage.connect()
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED
    await stage.declare(generation=2, probe=PROBE)
    assert len(connection.probes) == 1
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


# R2.8
async def test_the_declared_protocol_names_the_driver_and_the_session_knows_no_other(
    clock: FakeClock,
) -> None:
    """A session is the same over any transport; only the driver knows how to open one."""
    other = FakeDriver()
    async with staged(clock, drivers={"other": other}) as stage:
        await stage.declare(target=a_target(protocol="other"))
        assert stage.connection() is other.connection
        assert not stage.driver.requests


# --- while attempting


async def test_a_running_attempt_is_dropped_for_a_new_declaration(stage: Stage) -> None:
    stage.driver.then(SILENCE, None)
    await stage.declare()
    await stage.declare(generation=2, target=a_target(virtual_host="other"))
    assert stage.driver.cancelled == 1
    assert stage.driver.requests[1].parameters.virtual_host == "other"
    assert stage.connection() is stage.driver.connection


async def test_a_running_attempt_is_dropped_for_a_new_credential(stage: Stage) -> None:
    stage.driver.then(SILENCE, None)
    await stage.declare()
    await stage.change_credential("second")
    assert stage.driver.cancelled == 1
    assert stage.driver.requests[1].credential.secret.reveal() == "second"


async def test_the_same_declaration_again_leaves_a_running_attempt_alone(stage: Stage) -> None:
    stage.driver.then(SILENCE)
    await stage.declare()
    await stage.declare(generation=2)
    assert stage.driver.cancelled == 0
    stage.driver.release()
    await stage.clock.settle()
    assert stage.state().phase is Phase.CONNECTED
    assert stage.view.generation == 2


async def test_a_success_that_comes_too_late_is_closed(stage: Stage) -> None:
    """The attempt ended in the very moment in which something else was declared."""
    stage.driver.then(SILENCE, None)
    await stage.declare()
    stage.driver.release()
    stage.session.declare(stage.desired(generation=2, target=a_target(virtual_host="other")))
    await stage.clock.settle()
    late, current = stage.driver.connections
    assert late.close_texts == ["no longer wanted"]
    assert late.is_released
    assert stage.connection() is current
    assert len(stage.events.of(EventType.CONNECTED)) == 1


async def test_a_late_success_that_has_ended_already_is_dropped(stage: Stage) -> None:
    stage.driver.then(SILENCE)
    await stage.declare()
    stage.events.hold(EventType.INVALID_SPEC)
    stage.driver.release()
    stage.session.declare(unusable())
    await stage.clock.settle()
    stage.driver.connection.end(transport_close())
    stage.events.release()
    await stage.clock.settle()
    assert stage.driver.connection.was_aborted
    assert stage.connection() is None


async def test_a_failure_that_comes_too_late_is_not_counted(stage: Stage) -> None:
    stage.driver.then(SILENCE, SILENCE)
    await stage.declare()
    stage.driver.release(unreachable())
    await stage.declare(generation=2, target=a_target(virtual_host="other"))
    assert len(stage.driver.requests) == 2
    assert stage.state().attempts == 0
    assert stage.state().phase is Phase.CONNECTING
    assert EventType.CONNECT_FAILED not in stage.events.types


# --- suspend and resume


async def test_suspending_closes_the_connection_and_resuming_opens_it(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.declare(generation=2, suspend=True)
    assert connection.close_texts == ["the session is stood down"]
    assert stage.state().phase is Phase.SUSPENDED
    assert stage.events.types[-1] is EventType.CLOSED
    await stage.clock.advance(3600.0)
    assert len(stage.driver.requests) == 1
    await stage.declare(generation=3)
    assert stage.state().phase is Phase.CONNECTED


async def test_suspending_stops_attempts(stage: Stage) -> None:
    stage.driver.then(SILENCE)
    await stage.declare()
    await stage.declare(generation=2, suspend=True)
    await stage.clock.advance(3600.0)
    assert stage.driver.cancelled == 1
    assert len(stage.driver.requests) == 1


async def test_a_session_that_is_declared_suspended_never_connects(stage: Stage) -> None:
    await stage.declare(suspend=True)
    await stage.change_credential()
    stage.session.reconnect()
    await stage.clock.advance(3600.0)
    assert not stage.journal
    assert stage.state().phase is Phase.SUSPENDED


async def test_resuming_does_not_wait_for_the_delay(stage: Stage) -> None:
    stage.driver.then(unreachable(), None)
    await stage.declare()
    await stage.declare(generation=2, suspend=True)
    await stage.declare(generation=3)
    assert stage.state().phase is Phase.CONNECTED
    assert stage.clock.elapsed == 0.0


# --- stay closed


async def test_a_session_that_is_to_stay_closed_is_not_reopened(stage: Stage) -> None:
    connection = await stage.connect(stay_closed=True)
    connection.end(transport_close("the peer ended the connection"))
    await stage.clock.advance(3600.0)
    assert len(stage.driver.requests) == 1
    assert stage.state().phase is Phase.CLOSED
    assert stage.failure().reason is Reason.STAY_CLOSED
    assert not stage.is_closed(), "the session itself goes on"


async def test_a_session_that_is_to_stay_closed_is_still_opened_once(stage: Stage) -> None:
    """`StayClosed` is about what follows a close, not about failed attempts."""
    stage.driver.then(unreachable(), None)
    await stage.declare(stay_closed=True)
    await stage.clock.advance(10.0)
    assert stage.state().phase is Phase.CONNECTED


@pytest.mark.parametrize("how", ["a new declaration", "a request"])
async def test_a_session_that_stayed_closed_is_reopened_by(stage: Stage, how: str) -> None:
    connection = await stage.connect(stay_closed=True)
    connection.end(transport_close())
    await stage.clock.settle()
    if how == "a request":
        stage.session.reconnect()
        await stage.clock.settle()
    else:
        await stage.declare(generation=2, stay_closed=False)
    assert stage.state().phase is Phase.CONNECTED


async def test_a_session_that_stayed_closed_does_not_mind_a_new_credential(stage: Stage) -> None:
    connection = await stage.connect(stay_closed=True)
    connection.end(transport_close())
    await stage.change_credential()
    assert stage.state().phase is Phase.CLOSED
    assert len(stage.driver.requests) == 1


# --- unusable


async def test_a_declaration_that_cannot_be_used_closes_the_session_and_says_why(
    stage: Stage,
) -> None:
    connection = await stage.connect()
    stage.session.declare(unusable())
    await stage.clock.settle()
    assert connection.is_released
    assert stage.view.generation == 2
    assert stage.view.spec is None
    assert stage.failure() == INVALID
    [event] = stage.events.of(EventType.INVALID_SPEC)
    assert (event.message, event.reason) == (INVALID.message, INVALID.reason)
    await stage.change_credential()
    await stage.clock.advance(3600.0)
    assert len(stage.driver.requests) == 1


async def test_the_same_problem_is_reported_once(stage: Stage) -> None:
    other = Failure(reason=Reason.BROKER_NOT_FOUND, message="there is no such broker")
    for generation, problem in enumerate([INVALID, INVALID, other, other, INVALID]):
        stage.session.declare(unusable(problem, generation=generation))
    await stage.clock.settle()
    reasons = [event.reason for event in stage.events.of(EventType.INVALID_SPEC)]
    assert reasons == [Reason.INVALID_SPEC, Reason.BROKER_NOT_FOUND, Reason.INVALID_SPEC]
    assert stage.view.generation == 4


async def test_a_repaired_declaration_connects_and_a_second_mistake_is_reported(
    stage: Stage,
) -> None:
    stage.session.declare(unusable())
    await stage.declare(generation=3)
    assert stage.state().phase is Phase.CONNECTED
    stage.session.declare(unusable(generation=4))
    await stage.clock.settle()
    assert len(stage.events.of(EventType.INVALID_SPEC)) == 2


# --- what can be seen


async def test_every_change_is_told(stage: Stage) -> None:
    stage.driver.then(credential_refused(), None)
    await stage.declare()
    await stage.change_credential()
    await stage.close()
    phases = [phase for phase, _ in itertools.groupby(view.state.phase for view in stage.changes)]
    assert phases == [
        Phase.CONNECTING,
        Phase.REJECTED,
        Phase.CONNECTING,
        Phase.CONNECTED,
        Phase.CLOSED,
    ]


async def test_the_view_of_an_open_session_has_everything(stage: Stage) -> None:
    await stage.clock.advance(5.0)
    connection = await stage.connect(probe=PROBE)
    view = stage.view
    assert view.key == stage.session.key
    assert view.info == connection.info
    assert view.connected_since == stage.clock.now()
    assert view.confirm_seconds == 0.002
    assert view.credential is not None
    assert view.credential.method == "Handshake"
    assert view.credential.applied_at == stage.clock.now()
    assert view.last_close is None


async def test_the_view_forgets_what_is_over(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    stage.driver.otherwise = SILENCE
    connection.end(transport_close())
    await stage.clock.settle()
    view = stage.view
    assert view.info is None
    assert view.connected_since is None
    assert view.confirm_seconds is None
    assert view.last_close is not None
    assert view.last_close.info == transport_close()
    assert view.last_close.at == stage.clock.now()


async def test_a_credential_that_was_not_accepted_is_shown_as_tried(stage: Stage) -> None:
    stage.driver.otherwise = credential_refused()
    await stage.declare()
    assert stage.view.credential is not None
    assert stage.view.credential.credential.username == "app"
    assert stage.view.credential.method is None
