"""Credentials that are issued: who shares them, when the next one is asked for, and what fails."""

import asyncio
import gc
from collections.abc import Callable
from datetime import timedelta

import pytest

from springline.core.values import Credential, CredentialKind
from springline.credentials.issued import SharedIssuer, SharedIssuers
from springline.errors import CredentialError, CredentialUnavailableError
from springline.reasons import Reason
from springline.redaction import Secret
from support.fake_clock import FakeClock

LIFETIME = 1000.0


class Issuing:
    """Issues numbered tokens; the test may hold it, have it fail, or have it repeat itself."""

    def __init__(self, clock: FakeClock) -> None:
        self.asked = 0
        self.cancelled = 0
        self.failure: CredentialError | None = None
        self.held: asyncio.Event | None = None
        self.repeats = False
        self.lifetime: float | None = LIFETIME
        self._clock = clock

    async def __call__(self) -> Credential:
        self.asked += 1
        number = self.asked
        try:
            if self.held is not None:
                await self.held.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        now = self._clock.now()
        return Credential(
            kind=CredentialKind.TOKEN,
            source="oauth2",
            secret=Secret("the same" if self.repeats else f"token {number}"),
            issued_at=now,
            expires_at=None if self.lifetime is None else now + timedelta(seconds=self.lifetime),
        )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuing(clock: FakeClock) -> Issuing:
    return Issuing(clock)


@pytest.fixture
def shared(issuing: Issuing, clock: FakeClock) -> SharedIssuer:
    return SharedIssuer(issuing, clock)


def unavailable(message: str = "no answer") -> CredentialUnavailableError:
    return CredentialUnavailableError(Reason.TOKEN_REQUEST_FAILED, message)


def refused(message: str = "refused") -> CredentialError:
    return CredentialError(Reason.TOKEN_REQUEST_FAILED, message)


failures = pytest.mark.parametrize("failure", [unavailable, refused])


async def test_what_was_issued_serves_everybody(shared: SharedIssuer, issuing: Issuing) -> None:
    first = await shared.fetch()
    assert first.secret.reveal() == "token 1"
    assert await shared.fetch() is first
    assert issuing.asked == 1


@pytest.mark.parametrize(
    ("lifetime", "good_for"),
    [(1000.0, 989.0), (50.0, 44.0), (1.0, 0.8)],
    ids=["ten seconds before a long one ends", "a tenth of a short one", "a tenth of a second"],
)
async def test_what_is_about_to_expire_is_not_handed_out(
    shared: SharedIssuer, issuing: Issuing, clock: FakeClock, lifetime: float, good_for: float
) -> None:
    """It would have expired before the broker looks at it."""
    issuing.lifetime = lifetime
    first = await shared.fetch()
    await clock.advance(good_for)
    assert await shared.fetch() is first
    await clock.advance(lifetime * 0.1)
    assert (await shared.fetch()).secret.reveal() == "token 2"


@pytest.mark.parametrize("ahead", [-1, 1], ids=["back", "forward"])
async def test_wall_clock_that_is_set_makes_nothing_valid_for_longer_or_shorter(
    shared: SharedIssuer, clock: FakeClock, ahead: int
) -> None:
    first = await shared.fetch()
    clock.ahead = ahead * timedelta(days=1)
    await clock.advance(LIFETIME - 1)
    assert shared.valid == first
    await clock.advance(1)
    assert shared.valid is None


async def test_wall_clock_that_is_set_back_does_not_keep_what_is_about_to_expire(
    shared: SharedIssuer, clock: FakeClock
) -> None:
    await shared.fetch()
    clock.ahead = -timedelta(days=1)
    await clock.advance(LIFETIME - 5)
    assert (await shared.fetch()).secret.reveal() == "token 2"


async def test_wall_clock_that_is_set_forward_has_one_more_issued(
    shared: SharedIssuer, issuing: Issuing, clock: FakeClock
) -> None:
    """Early is harmless, again and again would not be; the first one serves if there is none."""
    first = await shared.fetch()
    clock.ahead = timedelta(days=1)
    issuing.failure = unavailable()
    assert await shared.fetch() == first
    await clock.advance(1)
    issuing.failure = None
    second = await shared.fetch()
    assert second.secret.reveal() == "token 3"
    assert await shared.fetch() is second


async def test_what_never_expires_is_issued_once(
    shared: SharedIssuer, issuing: Issuing, clock: FakeClock
) -> None:
    issuing.lifetime = None
    first = await shared.fetch()
    await clock.advance(1_000_000)
    assert await shared.fetch() is first
    assert shared.valid is first


async def test_all_who_wait_share_one_request(shared: SharedIssuer, issuing: Issuing) -> None:
    issuing.held = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(shared.fetch()) for _ in range(1000)]
        await asyncio.sleep(0)
        issuing.held.set()
    assert issuing.asked == 1
    assert len({id(each.result()) for each in waiting}) == 1


async def test_one_renewal_serves_all_who_have_the_same(
    shared: SharedIssuer, issuing: Issuing
) -> None:
    """The first session has a new one issued; the others find that it is new."""
    first = await shared.fetch()
    second = await shared.fetch(instead_of=first)
    assert second.secret.reveal() == "token 2"
    assert await shared.fetch(instead_of=first) is second
    assert await shared.fetch() is second
    assert issuing.asked == 2


async def test_nothing_issued_yet_and_something_to_replace(
    shared: SharedIssuer, issuing: Issuing
) -> None:
    """A session's token may outlive what was known of it, as after a changed declaration."""
    old = Credential(kind=CredentialKind.TOKEN, source="oauth2", secret=Secret("old"))
    assert (await shared.fetch(instead_of=old)).secret.reveal() == "token 1"
    assert issuing.asked == 1


# --- cancelling


async def test_cancelled_waiter_leaves_the_request_to_the_others(
    shared: SharedIssuer, issuing: Issuing, clock: FakeClock
) -> None:
    issuing.held = asyncio.Event()
    first, second = (asyncio.ensure_future(shared.fetch()) for _ in range(2))
    await clock.settle()
    first.cancel()
    await clock.settle()
    assert first.cancelled()
    assert issuing.cancelled == 0
    issuing.held.set()
    assert (await second).secret.reveal() == "token 1"


async def test_request_ends_with_the_last_who_waits(
    shared: SharedIssuer, issuing: Issuing, clock: FakeClock
) -> None:
    """Nothing goes on behind sessions that have been stopped."""
    issuing.held = asyncio.Event()
    waiting = [asyncio.ensure_future(shared.fetch()) for _ in range(2)]
    await clock.settle()
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    assert issuing.cancelled == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
    issuing.held.set()
    assert (await shared.fetch()).secret.reveal() == "token 2"


async def test_newcomer_does_not_join_a_request_that_is_being_cancelled(
    shared: SharedIssuer, issuing: Issuing, clock: FakeClock
) -> None:
    issuing.held = asyncio.Event()
    first = asyncio.ensure_future(shared.fetch())
    await clock.settle()
    first.cancel()
    second = asyncio.ensure_future(shared.fetch())
    issuing.held.set()
    assert (await second).secret.reveal() in ("token 1", "token 2")
    await asyncio.wait({first})


# --- failing


@failures
async def test_failure_leaves_what_is_still_valid(
    shared: SharedIssuer,
    issuing: Issuing,
    clock: FakeClock,
    failure: Callable[[], CredentialError],
) -> None:
    """Even for its last seconds: a new connection may be had with it, or not, but nothing else."""
    first = await shared.fetch()
    issuing.failure = failure()
    await clock.advance(LIFETIME - 1)
    assert await shared.fetch() is first
    assert issuing.asked == 2
    await clock.advance(1)
    with pytest.raises(CredentialError):
        await shared.fetch()


@failures
async def test_failed_renewal_is_told(
    shared: SharedIssuer, issuing: Issuing, failure: Callable[[], CredentialError]
) -> None:
    """Who asks for another one gets another one, or is told why not."""
    first = await shared.fetch()
    issuing.failure = failure()
    with pytest.raises(type(issuing.failure)) as caught:
        await shared.fetch(instead_of=first)
    assert caught.value.message == issuing.failure.message
    assert await shared.fetch() is first


async def test_thousand_retries_are_not_a_thousand_requests(
    shared: SharedIssuer, issuing: Issuing, clock: FakeClock
) -> None:
    """For a while after a failure everybody is told the same, without a request."""
    issuing.failure = unavailable("it is down")
    for _ in range(1000):
        with pytest.raises(CredentialUnavailableError, match="it is down"):
            await shared.fetch()
    assert issuing.asked == 1
    await clock.advance(1)
    with pytest.raises(CredentialUnavailableError):
        await shared.fetch()
    assert issuing.asked == 2


async def test_pause_grows_to_half_a_minute_and_begins_anew_after_a_success(
    shared: SharedIssuer, issuing: Issuing, clock: FakeClock
) -> None:
    """1, 2, 4, 8, 16, 30, 30 seconds."""

    async def requests_at() -> list[float]:
        times = []
        began, asked = clock.elapsed, issuing.asked
        while clock.elapsed < began + 92:
            with pytest.raises(CredentialError):
                await shared.fetch()
            if issuing.asked > asked:
                asked = issuing.asked
                times.append(clock.elapsed - began)
            await clock.advance(1)
        return times

    issuing.failure = unavailable()
    assert await requests_at() == [0, 1, 3, 7, 15, 31, 61, 91]
    await clock.advance(30)
    issuing.failure = None
    issuing.lifetime = 1
    await shared.fetch()
    issuing.failure = unavailable()
    await clock.advance(1)
    assert (await requests_at())[:4] == [0, 1, 3, 7]


async def test_each_who_asks_gets_an_error_of_its_own(
    shared: SharedIssuer, issuing: Issuing
) -> None:
    """A shared one would grow a traceback with everybody who raises it."""
    issuing.failure = refused()
    caught = []
    for _ in range(2):
        with pytest.raises(CredentialError) as each:
            await shared.fetch()
        caught.append(each.value)
    assert caught[0] is not caught[1]
    assert (caught[0].__cause__, caught[0].__context__) == (None, None)
    assert issuing.failure not in caught


async def test_same_token_again_is_no_renewal(
    shared: SharedIssuer, issuing: Issuing, clock: FakeClock
) -> None:
    """Some servers give the same one until shortly before its end: asked again after a pause."""
    issuing.repeats = True
    first = await shared.fetch()
    for _ in range(3):
        with pytest.raises(CredentialUnavailableError, match="the same token as before"):
            await shared.fetch(instead_of=first)
    assert issuing.asked == 2
    assert (await shared.fetch()).same_value(first)
    issuing.repeats = False
    await clock.advance(1)
    assert (await shared.fetch(instead_of=first)).secret.reveal() == "token 3"


async def test_same_token_as_the_one_to_replace_is_no_renewal(
    shared: SharedIssuer, issuing: Issuing
) -> None:
    issuing.repeats = True
    old = Credential(kind=CredentialKind.TOKEN, source="oauth2", secret=Secret("the same"))
    with pytest.raises(CredentialUnavailableError):
        await shared.fetch(instead_of=old)


async def test_defect_is_not_hidden(clock: FakeClock) -> None:
    """What is no `CredentialError` reaches whoever asks, as it is."""

    async def broken() -> Credential:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await SharedIssuer(broken, clock).fetch()


# --- an issuer that wants to be left alone


async def test_issuer_is_left_alone_for_as_long_as_it_wants(
    shared: SharedIssuer, issuing: Issuing, clock: FakeClock
) -> None:
    """Everybody is told until when; an hour is the most."""
    issuing.failure = CredentialUnavailableError(
        Reason.TOKEN_REQUEST_FAILED, "busy", retry_after=120.0
    )
    for _ in range(3):
        with pytest.raises(CredentialUnavailableError) as caught:
            await shared.fetch()
        assert caught.value.message == (
            "busy; it is not asked again before 2026-11-21T08:02:00Z (Retry-After)"
        )
        await clock.advance(39)
    assert issuing.asked == 1
    issuing.failure = unavailable("busy still")
    await clock.advance(3)
    with pytest.raises(CredentialUnavailableError, match="busy still"):
        await shared.fetch()


async def test_wish_that_is_shorter_than_the_pause_changes_nothing(
    shared: SharedIssuer, issuing: Issuing
) -> None:
    issuing.failure = CredentialUnavailableError(
        Reason.TOKEN_REQUEST_FAILED, "busy", retry_after=0.5
    )
    with pytest.raises(CredentialUnavailableError) as caught:
        await shared.fetch()
    assert caught.value.message == "busy"


# --- sharing


def test_same_key_gives_the_same_as_long_as_somebody_has_it(
    issuing: Issuing, clock: FakeClock
) -> None:
    made = []

    def make() -> SharedIssuer:
        made.append(1)
        return SharedIssuer(issuing, clock)

    issuers: SharedIssuers[SharedIssuer] = SharedIssuers()
    one, same, other = (issuers.shared(key, make) for key in ("a", "a", "b"))
    assert one is same is not other
    assert len(made) == 2
    del one, same
    gc.collect()
    issuers.shared("a", make)
    assert len(made) == 3
