"""How far apart attempts are at least, whoever asks for one."""

from springline.core.backoff import Retry
from springline.core.limits import Limits
from support.builders import credential_refused
from support.fake_clock import FakeClock
from support.stage import staged


async def test_requests_and_changes_wait_for_the_least_delay(clock: FakeClock) -> None:
    async with staged(clock, limits=Limits(least_retry_delay=1.0)) as stage:
        await stage.connect()
        before = len(stage.starts)
        for _ in range(50):
            stage.session.reconnect()
            await clock.settle()
        assert len(stage.starts) - before <= 1
        await clock.advance(1.0)
        assert stage.session.connection is not None


async def test_a_secret_that_changes_all_the_time_is_tried_now_and_again(clock: FakeClock) -> None:
    async with staged(clock, limits=Limits(least_retry_delay=1.0)) as stage:
        stage.driver.otherwise = credential_refused()
        await stage.declare(retry=Retry(delay=60.0, max_delay=60.0))
        for _ in range(100):
            stage.session.credential_changed()
            await clock.advance(0.1)
        assert 9 <= len(stage.starts) <= 12


async def test_without_a_floor_a_change_is_tried_at_once(clock: FakeClock) -> None:
    async with staged(clock) as stage:
        stage.driver.otherwise = credential_refused()
        await stage.declare(retry=Retry(delay=60.0, max_delay=60.0))
        stage.driver.otherwise = None
        stage.session.credential_changed()
        await clock.settle()
        assert stage.session.connection is not None


async def test_secret_that_changes_all_the_time_reaches_an_open_session_now_and_again(
    clock: FakeClock,
) -> None:
    """Each change counts for the next renewal; it does not put that off."""
    async with staged(clock, limits=Limits(least_retry_delay=1.0)) as stage:
        connection = await stage.connect()
        for number in range(100):
            await stage.change_credential(f"secret-{number}")
            await clock.advance(0.1)
        assert 9 <= len(connection.updates) <= 12
        await clock.advance(1.0)
        assert connection.updates[-1].secret.reveal() == "secret-99"
