"""When a session tries again: spacing of attempt starts, and what ends the wait (R5.4, R5.5)."""

from random import Random

import pytest

from springline import errors
from springline.core.backoff import Retry
from springline.core.events import EventType
from springline.core.state import Phase
from springline.reasons import Reason
from support.builders import (
    a_credential,
    a_target,
    credential_refused,
    no_secret,
    refused,
    secret_unreadable,
    terminal,
    throttled,
    transport_close,
    unreachable,
)
from support.fake_clock import EIGHT, FakeClock, FixedRandom
from support.fakes import SILENCE
from support.stage import Stage, staged

# --- spacing


# R5.4
async def test_attempts_that_fail_are_spaced_from_start_to_start_and_the_space_grows(
    stage: Stage,
) -> None:
    stage.driver.otherwise = unreachable()
    await stage.declare()
    await stage.clock.advance(200.0)
    assert stage.starts == [0.0, 10.0, 30.0, 70.0, 130.0, 190.0]


async def test_a_broker_that_wants_to_be_left_alone_is_not_asked_before(stage: Stage) -> None:
    stage.driver.then(throttled(retry_after=100.0))
    stage.driver.otherwise = unreachable()
    await stage.declare()
    await stage.clock.advance(125.0)
    assert stage.starts == [0.0, 100.0, 120.0]


async def test_what_is_declared_anew_does_not_wait_for_what_the_broker_wanted_before(
    stage: Stage,
) -> None:
    stage.driver.then(throttled(retry_after=1000.0))
    await stage.declare()
    await stage.clock.advance(50.0)
    await stage.declare(generation=2, target=a_target(virtual_host="other"))
    assert stage.view.is_ready


# R5.4
async def test_the_time_an_attempt_takes_counts_as_waited(stage: Stage) -> None:
    """10 s between starts, and the attempt itself took 8 of them."""
    stage.driver.otherwise = SILENCE
    await stage.declare(connect_timeout=8.0)
    await stage.clock.advance(12.0)
    assert stage.starts == [0.0, 10.0]


# R5.4
async def test_an_attempt_that_took_longer_than_the_delay_is_followed_at_once(
    stage: Stage,
) -> None:
    stage.driver.otherwise = SILENCE
    await stage.declare(connect_timeout=15.0)
    await stage.clock.advance(16.0)
    assert stage.starts == [0.0, 15.0]


# R5.4
async def test_a_long_lived_connection_that_dies_is_reopened_at_once(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.clock.advance(3600.0)
    connection.end(transport_close())
    await stage.clock.settle()
    assert stage.connection() is stage.driver.connections[1]
    assert stage.clock.elapsed == 3600.0


# R5.4
async def test_a_connection_that_dies_young_is_reopened_when_the_delay_has_passed(
    stage: Stage,
) -> None:
    connection = await stage.connect()
    await stage.clock.advance(4.0)
    connection.end(transport_close())
    await stage.clock.advance(5.9)
    assert stage.connection() is None
    assert stage.view.retry_at is not None
    assert (stage.view.retry_at - EIGHT).total_seconds() == 10.0
    await stage.clock.advance(0.1)
    assert stage.connection() is stage.driver.connections[1]
    assert stage.view.retry_at is None


# R5.4
async def test_a_connection_that_flaps_is_not_opened_more_often_than_the_delay_says(
    stage: Stage,
) -> None:
    await stage.connect()
    for _ in range(100):
        if stage.connection() is not None:
            stage.driver.connection.end(transport_close())
        await stage.clock.advance(1.0)
    assert len(stage.driver.requests) == 11


# R5.4, R5.5
@pytest.mark.parametrize(
    ("share", "second_start"),
    [
        pytest.param(0.0, 7.0, id="30 % sooner at the soonest"),
        pytest.param(0.5, 10.0, id="10 s on average"),
        pytest.param(1.0, 13.0, id="30 % later at the latest"),
    ],
)
async def test_the_default_delay_is_randomised(
    clock: FakeClock, share: float, second_start: float
) -> None:
    async with staged(clock, rng=FixedRandom(share)) as stage:
        stage.driver.otherwise = unreachable()
        await stage.declare(retry=Retry())
        await stage.clock.advance(second_start + 1.0)
        assert stage.starts == [0.0, pytest.approx(second_start)]


# R5.5
async def test_the_same_chance_and_time_give_the_same_attempts(clock: FakeClock) -> None:
    async def starts(seed: int) -> list[float]:
        rng = Random(seed)  # noqa: S311  # spacing, not secrecy
        async with staged(clock, rng=rng) as stage:
            stage.driver.otherwise = unreachable()
            await stage.declare(retry=Retry())
            await clock.advance(200.0)
            return stage.starts

    first = await starts(1)
    assert len(first) > 3
    assert await starts(1) == pytest.approx(first)
    assert await starts(2) != pytest.approx(first)


# R5.15
@pytest.mark.parametrize(
    ("jitter", "rng"),
    [
        pytest.param(0.0, FixedRandom(1.0), id="by declaration"),
        pytest.param(0.3, None, id="because nothing is left to chance here"),
    ],
)
async def test_without_randomness_the_declared_delays_are_used_to_the_letter(
    clock: FakeClock, jitter: float, rng: Random | None
) -> None:
    """Failures are spaced so, and so is what comes after a connection that died young."""
    async with staged(clock, rng=rng) as stage:
        stage.driver.then(*[unreachable()] * 4, None, None)
        await stage.declare(retry=Retry(delay=1.0, max_delay=4.0, jitter=jitter))
        await clock.advance(11.0)
        stage.driver.connection.end(transport_close())
        await clock.advance(1.0)
        assert stage.starts == [0.0, 1.0, 3.0, 7.0, 11.0, 12.0]


# R5.15
async def test_without_randomness_what_was_refused_is_tried_after_the_longest_delay_to_the_letter(
    clock: FakeClock,
) -> None:
    async with staged(clock, rng=None) as stage:
        stage.driver.otherwise = credential_refused()
        await stage.declare(retry=Retry(delay=1.0, max_delay=60.0))
        await clock.advance(121.0)
        assert stage.starts == [0.0, 60.0, 120.0]


async def test_success_forgets_the_failures_before_it(stage: Stage) -> None:
    stage.driver.then(unreachable(), unreachable(), unreachable(), None, unreachable(), None)
    await stage.declare()
    await stage.clock.advance(70.0)
    assert stage.state().attempts == 0
    await stage.clock.advance(60.0)
    stage.driver.connection.end(transport_close())
    await stage.clock.advance(10.0)
    assert stage.connection() is stage.driver.connections[1]


async def test_attempts_are_counted_for_status(stage: Stage) -> None:
    stage.driver.then(unreachable(), unreachable(), None)
    await stage.declare()
    assert stage.state().attempts == 1
    assert stage.state().phase is Phase.WAITING
    await stage.clock.advance(10.0)
    assert stage.state().attempts == 2
    await stage.clock.advance(20.0)
    assert stage.state().attempts == 0


# --- refused: slowly, or when something changes


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        pytest.param(credential_refused(), Phase.REJECTED, id="the credential"),
        pytest.param(refused(), Phase.REJECTED, id="the virtual host"),
    ],
)
async def test_a_refused_session_is_tried_again_slowly(
    stage: Stage, error: Exception, phase: Phase
) -> None:
    """A refused login repeated quickly fills the broker's log and can lock the account."""
    stage.driver.otherwise = error
    await stage.declare()
    await stage.clock.advance(121.0)
    assert stage.starts == [0.0, 60.0, 120.0]
    assert stage.state().phase is phase


async def test_a_refused_session_comes_back_when_the_user_was_repaired(stage: Stage) -> None:
    stage.driver.then(credential_refused(), None)
    await stage.declare()
    await stage.clock.advance(60.0)
    assert stage.state().phase is Phase.CONNECTED


async def test_a_missing_secret_is_looked_for_slowly(stage: Stage) -> None:
    stage.credentials.answer = no_secret()
    await stage.declare()
    assert stage.state().phase is Phase.WAITING
    await stage.clock.advance(120.0)
    assert stage.credentials.fetches == 3
    assert not stage.driver.requests
    assert stage.state().attempts == 0


async def test_a_secret_that_cannot_be_read_now_is_tried_again_with_growing_delays(
    stage: Stage,
) -> None:
    """An API server that was away is back long before the longest delay has passed."""
    stage.credentials.answer = secret_unreadable()
    await stage.declare()
    assert stage.state().credentials.reason is Reason.SECRET_UNREADABLE
    assert stage.failure().reason is Reason.NO_CREDENTIALS
    await stage.clock.advance(10.0)
    assert stage.credentials.fetches == 2
    await stage.clock.advance(19.9)
    assert stage.credentials.fetches == 2
    stage.credentials.answer = a_credential()
    await stage.clock.advance(0.1)
    assert stage.state().phase is Phase.CONNECTED
    assert stage.state().attempts == 0


async def test_what_cannot_work_is_not_tried_again(stage: Stage) -> None:
    stage.driver.otherwise = terminal()
    await stage.declare()
    await stage.clock.advance(24 * 3600.0)
    await stage.change_credential()
    assert len(stage.driver.requests) == 1
    assert stage.state().phase is Phase.REJECTED
    assert stage.view.retry_at is None


async def test_what_cannot_work_is_tried_once_more_with_a_new_declaration(stage: Stage) -> None:
    stage.driver.then(terminal(), None)
    await stage.declare()
    await stage.declare(generation=2, connect_timeout=20.0)
    assert stage.state().phase is Phase.CONNECTED


# --- what ends a wait


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(unreachable(), id="while waiting"),
        pytest.param(credential_refused(), id="while rejected"),
    ],
)
async def test_a_new_credential_is_tried_at_once(stage: Stage, error: Exception) -> None:
    stage.driver.then(error, None)
    await stage.declare()
    await stage.change_credential("second")
    assert stage.state().phase is Phase.CONNECTED
    assert stage.clock.elapsed == 0.0
    assert stage.driver.requests[1].credential.secret.reveal() == "second"


async def test_a_secret_that_appears_is_used_at_once(stage: Stage) -> None:
    stage.credentials.answer = no_secret()
    await stage.declare()
    await stage.change_credential()
    assert stage.state().phase is Phase.CONNECTED


async def test_a_request_ends_the_wait(stage: Stage) -> None:
    stage.driver.then(unreachable(), None)
    await stage.declare()
    stage.session.reconnect()
    await stage.clock.settle()
    assert stage.state().phase is Phase.CONNECTED


async def test_a_request_opens_a_live_session_anew(stage: Stage) -> None:
    connection = await stage.connect()
    stage.session.reconnect()
    await stage.clock.settle()
    assert connection.close_texts
    assert stage.connection() is stage.driver.connections[1]
    assert stage.events.types[-4:] == [
        EventType.CLOSED,
        EventType.ATTEMPTING,
        EventType.OBTAINED_ADDRESS,
        EventType.CONNECTED,
    ]


async def test_a_new_declaration_ends_the_wait(stage: Stage) -> None:
    stage.driver.then(unreachable(), None)
    await stage.declare()
    await stage.declare(generation=2, connect_timeout=20.0)
    assert stage.state().phase is Phase.CONNECTED


async def test_the_same_declaration_again_does_not_end_the_wait(stage: Stage) -> None:
    stage.driver.then(unreachable(), None)
    await stage.declare()
    await stage.declare(generation=2)
    assert len(stage.driver.requests) == 1
    assert stage.view.generation == 2
    await stage.clock.advance(10.0)
    assert stage.state().phase is Phase.CONNECTED


async def test_before_a_declaration_nothing_is_attempted(stage: Stage) -> None:
    stage.session.reconnect()
    stage.session.credential_changed()
    await stage.clock.advance(3600.0)
    assert not stage.journal
    assert stage.state().phase is Phase.CONNECTING
    assert stage.view.spec is None


# --- defects


async def test_a_defect_ends_the_attempt_and_not_the_session(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.driver.then(ZeroDivisionError("a defect"), None)
    await stage.declare()
    assert stage.failure().reason is Reason.INTERNAL_ERROR
    assert "a defect" in caplog.text
    assert "a defect" not in stage.failure().message
    await stage.clock.advance(10.0)
    assert stage.state().phase is Phase.CONNECTED


async def test_a_protocol_without_a_driver_ends_the_attempt_and_not_the_session(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.declare(target=a_target(protocol="unknown"))
    assert stage.state().phase is Phase.WAITING
    assert "KeyError" in caplog.text


async def test_certificates_that_cannot_be_read_are_a_declaration_that_cannot_work(
    stage: Stage,
) -> None:
    stage.tls.answer = errors.TerminalError(Reason.TLS_FAILED, "the CA is not PEM")
    await stage.declare()
    assert stage.state().phase is Phase.REJECTED
    assert not stage.driver.requests
