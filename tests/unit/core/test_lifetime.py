"""When a credential that expires is to be renewed, and when it is time."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.core import lifetime, ports
from springline.core.lifetime import Moment
from springline.core.values import Credential
from support import pauses
from support.builders import a_token
from support.fake_clock import EIGHT, FakeClock

HOUR = timedelta(hours=1)
SHARES = st.integers(1, 100).map(lambda percent: percent / 100)
INSTANTS = st.integers(-(10**6), 10**6).map(lambda seconds: EIGHT + timedelta(seconds=seconds))
LIFETIMES = st.floats(0, 10**7).map(lambda seconds: timedelta(seconds=seconds))


def an_hour(issued_at: datetime | None = EIGHT, *, secret: str = "first") -> Credential:
    return a_token(secret, issued_at=issued_at, expires_at=(issued_at or EIGHT) + HOUR)


# --- when


def test_what_does_not_expire_is_not_renewed() -> None:
    assert lifetime.renewal_time(a_token(), share=0.8, fetched_at=EIGHT) is None


@given(issued_at=INSTANTS, length=LIFETIMES, share=SHARES)
def test_a_credential_is_renewed_after_the_share_or_a_little_earlier(
    issued_at: datetime, length: timedelta, share: float
) -> None:
    """By a twentieth of the lifetime, and never before half of the share has passed."""
    token = a_token(issued_at=issued_at, expires_at=issued_at + length)
    renew_at = lifetime.renewal_time(token, share=share, fetched_at=EIGHT)
    assert renew_at is not None
    moment = timedelta(milliseconds=1)
    assert renew_at >= issued_at + length * share / 2 - moment
    assert renew_at >= issued_at + length * (share - 0.05) - moment
    assert renew_at <= issued_at + length * share + moment
    assert renew_at <= issued_at + length + moment


@given(issued_at=INSTANTS, share=SHARES, seconds=st.integers(0, 3600))
def test_everybody_with_the_same_credential_renews_it_at_the_same_time(
    issued_at: datetime, share: float, seconds: int
) -> None:
    """Whenever each of them has fetched it, so that one request serves all."""
    earlier, later = (
        lifetime.renewal_time(
            an_hour(issued_at), share=share, fetched_at=issued_at + timedelta(seconds=each)
        )
        for each in (0, seconds)
    )
    assert earlier == later


def test_credentials_that_were_issued_one_after_the_other_are_spread() -> None:
    """Tokens that a thousand sessions were given at one start do not all come due at once."""
    issued = [EIGHT + timedelta(milliseconds=each) for each in range(100)]
    times = [lifetime.renewal_time(an_hour(each), share=0.8, fetched_at=EIGHT) for each in issued]
    early = {
        round((each + 0.8 * HOUR - time).total_seconds())
        for each, time in zip(issued, times, strict=True)
        if time is not None
    }
    assert len(early) > 30
    assert min(early) >= 0
    assert max(early) <= HOUR.total_seconds() / 20


def test_a_lifetime_of_unknown_beginning_begins_when_it_was_fetched() -> None:
    """As for a token without `iat`."""
    token = a_token(expires_at=EIGHT + HOUR)
    half = EIGHT + HOUR / 2
    renew_at = lifetime.renewal_time(token, share=0.5, fetched_at=half)
    assert renew_at is not None
    assert half + HOUR / 8 <= renew_at <= half + HOUR / 4


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(
            a_token(issued_at=EIGHT + HOUR, expires_at=EIGHT), id="issued after its own end"
        ),
        pytest.param(a_token(issued_at=EIGHT, expires_at=EIGHT), id="of no length"),
        pytest.param(
            a_token(expires_at=EIGHT - HOUR), id="fetched after its end, of unknown beginning"
        ),
    ],
)
def test_a_lifetime_that_makes_no_sense_is_over_at_its_end(token: Credential) -> None:
    renew_at = lifetime.renewal_time(token, share=0.8, fetched_at=EIGHT)
    assert renew_at == token.expires_at


def test_a_token_from_the_future_is_renewed_in_its_own_time() -> None:
    """The issuer's clock may be ahead of ours."""
    token = an_hour(EIGHT + timedelta(seconds=30))
    renew_at = lifetime.renewal_time(token, share=1.0, fetched_at=EIGHT)
    assert renew_at is not None
    assert token.expires_at is not None
    assert renew_at <= token.expires_at


@pytest.mark.parametrize(
    ("renew_at", "expected"),
    [
        pytest.param(None, False, id="never"),
        pytest.param(EIGHT - timedelta(seconds=1), True, id="a second ago"),
        pytest.param(EIGHT, True, id="now"),
        pytest.param(EIGHT + timedelta(seconds=1), False, id="in a second"),
    ],
)
@pytest.mark.parametrize("is_received", [True, False], ids=["received", "never received"])
async def test_a_renewal_is_due_from_its_time_on(
    clock: FakeClock, renew_at: datetime | None, is_received: bool, expected: bool
) -> None:
    token = an_hour()
    if is_received:
        token = lifetime.received(token, clock)
    assert lifetime.is_due(token, renew_at, clock) == expected


@pytest.mark.parametrize(
    ("expires_at", "expected"),
    [
        pytest.param(None, False, id="never"),
        pytest.param(EIGHT - timedelta(seconds=1), True, id="a second ago"),
        pytest.param(EIGHT, True, id="now"),
        pytest.param(EIGHT + timedelta(seconds=1), False, id="in a second"),
    ],
)
@pytest.mark.parametrize("is_received", [True, False], ids=["received", "never received"])
async def test_a_credential_has_expired_from_its_end_on(
    clock: FakeClock, expires_at: datetime | None, is_received: bool, expected: bool
) -> None:
    token = a_token(expires_at=expires_at)
    if is_received:
        token = lifetime.received(token, clock)
    assert lifetime.has_expired(token, clock) == expected


# --- when the wall clock is set


@pytest.mark.parametrize("ahead", [-HOUR, HOUR], ids=["back", "forward"])
async def test_a_wall_clock_that_is_set_makes_no_token_live_longer_or_shorter(
    clock: FakeClock, ahead: timedelta
) -> None:
    """Only so much time as it was given has to pass."""
    token = lifetime.received(an_hour(), clock)
    clock.ahead = ahead
    await clock.advance(3599.0)
    assert not lifetime.has_expired(token, clock)
    await clock.advance(1.0)
    assert lifetime.has_expired(token, clock)


async def test_a_wall_clock_that_is_set_forward_makes_a_renewal_due(clock: FakeClock) -> None:
    """It may have been wrong before, or the machine may have been frozen: renewing costs little."""
    token = lifetime.received(an_hour(), clock)
    clock.ahead = HOUR / 2
    assert lifetime.is_due(token, EIGHT + HOUR / 2, clock)


async def test_a_wall_clock_that_is_set_back_puts_no_renewal_off(clock: FakeClock) -> None:
    token = lifetime.received(an_hour(), clock)
    clock.ahead = -HOUR
    await clock.advance(1799.0)
    assert not lifetime.is_due(token, EIGHT + HOUR / 2, clock)
    await clock.advance(1.0)
    assert lifetime.is_due(token, EIGHT + HOUR / 2, clock)


async def test_what_is_read_again_lives_from_when_it_was_received_first(clock: FakeClock) -> None:
    first = lifetime.received(an_hour(), clock)
    clock.ahead = -HOUR
    again = lifetime.received(an_hour(), clock)
    assert lifetime.received_again(first, again).received == first.received


@pytest.mark.parametrize(
    "other",
    [an_hour(secret="second"), a_token("first", issued_at=EIGHT, expires_at=EIGHT + HOUR / 2)],
    ids=["another token", "the same with another end"],
)
async def test_what_is_read_anew_lives_from_then(clock: FakeClock, other: Credential) -> None:
    first = lifetime.received(an_hour(), clock)
    await clock.advance(60.0)
    again = lifetime.received(other, clock)
    assert lifetime.received_again(first, again) is again
    assert lifetime.received_again(None, again) is again


async def test_what_was_received_is_not_received_anew(clock: FakeClock) -> None:
    """An issuer says itself when it was asked."""
    token = lifetime.received(an_hour(), clock)
    await clock.advance(60.0)
    assert lifetime.received(token, clock) is token
    endless = a_token()
    assert lifetime.received(endless, clock) is endless


# --- when it is time


class CountingClock:
    """`core.ports.Clock` that notes each sleep."""

    def __init__(self, behind: FakeClock) -> None:
        self.behind = behind
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return self.behind.now()

    def monotonic(self) -> float:
        return self.behind.monotonic()

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await self.behind.sleep(seconds)

    def call_later(
        self, seconds: float, callback: Callable[[], object], *, early: bool = False
    ) -> ports.Timer:
        self.sleeps.append(seconds)
        return self.behind.call_later(seconds, callback, early=early)


class Following:
    """Follows a token of an hour that is to be renewed after half of it."""

    def __init__(self, clock: FakeClock) -> None:
        self.counting = CountingClock(clock)
        self.told: list[tuple[str, float]] = []
        """What was told, and after how many seconds."""
        self.clock = clock
        self.task: asyncio.Task[None] | None = None

    def start(
        self, credential: Credential | None = None, renew_at: datetime = EIGHT + HOUR / 2
    ) -> None:
        self.task = asyncio.ensure_future(
            self.follow(lifetime.received(credential or an_hour(), self.clock), renew_at)
        )

    async def follow(self, credential: Credential, renew_at: datetime) -> None:
        names = {Moment.DUE: "due", Moment.OVER: "expired"}
        moments = lifetime.moments(credential, renew_at, self.counting)
        async for moment in pauses.at_their_times(moments, self.counting):
            self.told.append((names[moment], self.clock.elapsed))

    @property
    def is_over(self) -> bool:
        return self.task is not None and self.task.done()


@pytest.fixture
async def following(clock: FakeClock) -> Following:
    return Following(clock)


async def test_it_is_told_once_when_to_renew_and_once_when_it_has_expired(
    following: Following,
) -> None:
    following.start()
    await following.clock.advance(4000.0)
    assert following.told == [("due", 1800.0), ("expired", 3600.0)]
    assert following.is_over


async def test_what_is_late_already_is_told_at_once(following: Following) -> None:
    following.start(an_hour(EIGHT - 2 * HOUR), EIGHT - HOUR)
    await following.clock.settle()
    assert following.told == [("due", 0.0), ("expired", 0.0)]
    assert not following.counting.sleeps


async def test_what_does_not_expire_is_over_when_it_is_due(following: Following) -> None:
    following.start(a_token(), EIGHT + timedelta(seconds=1))
    await following.clock.advance(1.0)
    assert following.told == [("due", 1.0)]
    assert following.is_over


async def test_the_wall_clock_is_looked_at_every_minute(following: Following) -> None:
    """Nobody tells that it was set, or that the machine has slept."""
    following.start()
    await following.clock.advance(4000.0)
    assert max(following.counting.sleeps) == 60.0
    assert sum(following.counting.sleeps) == 3600.0


async def test_a_wall_clock_that_is_set_forward_is_noticed_within_a_minute(
    following: Following,
) -> None:
    """It renews early, once; so little time has passed that nothing can have expired."""
    following.start()
    await following.clock.advance(90.0)
    following.clock.ahead = HOUR
    await following.clock.advance(60.0)
    assert following.told == [("due", 120.0)]
    await following.clock.advance(4000.0)
    assert following.told == [("due", 120.0), ("expired", 3600.0)]


async def test_a_wall_clock_that_is_set_back_puts_nothing_off(following: Following) -> None:
    following.start()
    await following.clock.advance(1790.0)
    following.clock.ahead = -HOUR
    await following.clock.advance(4000.0)
    assert following.told == [("due", 1800.0), ("expired", 3600.0)]


async def test_who_no_longer_follows_is_told_nothing(following: Following) -> None:
    following.start()
    await following.clock.advance(10.0)
    assert following.task is not None
    following.task.cancel()
    await following.clock.advance(4000.0)
    assert not following.told
