"""The keeper of a session's credential: what it takes in, and what it returns."""

import asyncio
import dataclasses
import gc
import weakref
from datetime import timedelta
from typing import Any

import pytest

from springline import errors
from springline.core.attempt import Success
from springline.core.backoff import Retry
from springline.core.desired import RotationSettings
from springline.core.environment import Environment
from springline.core.keeper import Keeper
from springline.core.lifetime import Moment
from springline.core.limits import Limits
from springline.core.renewal import Outcome, Refusal, Replaced, UpdatedInPlace
from springline.core.values import Credential
from springline.core.wanted import Desired
from springline.drivers.amqp091.adapter import Amqp091Adapter
from springline.reasons import Reason
from support import pauses
from support.builders import (
    KEY,
    RABBIT,
    a_credential,
    a_spec,
    a_token,
    an_open_info,
    credential_refused,
)
from support.fake_clock import EIGHT, FakeClock, FixedRandom
from support.fakes import (
    SILENCE,
    FakeConnection,
    FakeCredentialSource,
    FakeDriver,
    FakeEndpointSource,
    FakeResolver,
    FakeTLSSource,
    RecordingEvents,
)

HOUR = timedelta(hours=1)
NO_OTHER = errors.CredentialUnavailableError(Reason.TOKEN_REQUEST_FAILED, "the issuer is away")


class Keeping:
    """A keeper, what it keeps, and what came out of its streams."""

    def __init__(self, clock: FakeClock, limits: Limits | None = None) -> None:
        self.clock = clock
        self.driver = FakeDriver()
        self.credentials = FakeCredentialSource()
        self.environment = Environment(
            adapters={"amqp091": Amqp091Adapter(self.driver)},
            resolver=FakeResolver(),
            clock=clock,
            rng=FixedRandom(),
            events=RecordingEvents(),
            limits=limits or Limits(),
        )
        self.keeper = Keeper(KEY, self.environment)
        self.spec = a_spec()
        self.connection = FakeConnection(an_open_info(), name="live")
        self.came: list[Moment | Outcome | Refusal] = []
        self.task: asyncio.Task[None] | None = None

    @property
    def rotation(self) -> RotationSettings:
        return self.spec.rotation

    def open(self, credential: Credential | None = None, *, method: str = "Handshake") -> None:
        live = Success(
            connection=self.connection,
            credential=credential or a_credential("first"),
            tls=None,
            target=self.spec.target,
        )
        self.keeper.open(live, self.rotation, method=method)

    def desired(self) -> Desired:
        return Desired(
            spec=self.spec,
            credentials=self.credentials,
            tls=FakeTLSSource(),
            endpoints=FakeEndpointSource(RABBIT),
            limit=asyncio.Semaphore(1),
        )

    def plan(self) -> bool:
        return self.keeper.plan_renewal(self.desired())

    async def read(self, stream: Any) -> None:
        async def collect() -> None:
            async for each in stream:
                self.came.append(each)

        self.task = asyncio.ensure_future(collect())
        await self.clock.settle()

    # Calls, because a type checker takes what it has once seen in an attribute for settled.

    def has_expired(self) -> bool:
        return self.keeper.has_expired

    def is_routine(self) -> bool:
        return self.keeper.is_routine

    @property
    def is_over(self) -> bool:
        return self.task is not None and self.task.done()


@pytest.fixture
async def keeping(clock: FakeClock) -> Keeping:
    return Keeping(clock)


# --- what is in use


async def test_what_opened_the_connection_is_in_use(keeping: Keeping) -> None:
    keeping.open()
    use = keeping.keeper.use
    assert use is not None
    assert (use.credential.secret.reveal(), use.method) == ("first", "Handshake")
    assert use.applied_at == use.verified_at == EIGHT


async def test_what_no_broker_asked_for_was_accepted_by_nobody(keeping: Keeping) -> None:
    info = dataclasses.replace(an_open_info(), proved=False)
    keeping.connection = FakeConnection(info, name="live")
    keeping.open()
    use = keeping.keeper.use
    assert use is not None
    assert (use.method, use.applied_at, use.verified_at) == (None, None, None)


async def test_what_an_attempt_beside_the_connection_logs_in_with_is_not_in_use(
    keeping: Keeping,
) -> None:
    keeping.open()
    keeping.keeper.try_out(a_credential("second"))
    use = keeping.keeper.use
    assert use is not None
    assert use.credential.secret.reveal() == "first"


async def test_what_was_in_use_is_still_known_when_the_connection_is_gone(keeping: Keeping) -> None:
    keeping.open()
    keeping.keeper.let_go()
    assert keeping.keeper.live is None
    assert keeping.keeper.use is not None


async def test_the_next_attempt_is_told_what_the_broker_refused(keeping: Keeping) -> None:
    keeping.keeper.try_out(a_credential("first"))
    assert keeping.keeper.attempt_failed(credential_refused()) is False
    assert keeping.keeper.refused == a_credential("first")
    keeping.open(a_credential("second"))
    assert keeping.keeper.refused is None


# --- its age


async def test_the_moments_of_a_token_come_in_their_order(keeping: Keeping) -> None:
    keeping.open(a_token(issued_at=EIGHT, expires_at=EIGHT + HOUR))
    assert keeping.keeper.has_end
    await keeping.read(pauses.at_their_times(keeping.keeper.moments(), keeping.clock))
    await keeping.clock.advance(3599.0)
    assert keeping.came == [Moment.DUE]
    assert keeping.keeper.is_old
    assert not keeping.has_expired()
    await keeping.clock.advance(1.0)
    assert keeping.came == [Moment.DUE, Moment.OVER]
    assert keeping.has_expired()
    assert keeping.is_over


async def test_a_password_has_no_moments(keeping: Keeping) -> None:
    keeping.open()
    assert not keeping.keeper.has_end
    await keeping.read(pauses.at_their_times(keeping.keeper.moments(), keeping.clock))
    assert keeping.is_over
    assert keeping.keeper.expiring("anything") is None


async def test_an_expiry_by_the_broker_s_word_counts_until_something_else_is_in_use(
    keeping: Keeping,
) -> None:
    keeping.open(a_token(issued_at=EIGHT, expires_at=EIGHT + HOUR))
    keeping.keeper.said_expired("the token is stale")
    assert keeping.has_expired()
    assert "the broker says it has expired (the token is stale)" in keeping.keeper.expiry().message
    keeping.keeper.updated(a_credential("second"), keeping.rotation, verified_at=EIGHT)
    assert not keeping.has_expired()


async def test_an_expiry_says_why_there_is_no_other_credential(keeping: Keeping) -> None:
    keeping.open(a_token(issued_at=EIGHT - HOUR, expires_at=EIGHT))
    keeping.keeper.failed(Refusal(error=NO_OTHER, lasts=True))
    expiry = keeping.keeper.expiry()
    assert expiry.message.endswith("has not been renewed: the issuer is away")
    assert expiry.passes


async def test_a_token_that_hardly_lives_is_not_renewed_all_the_time(clock: FakeClock) -> None:
    """An issuer may give a new one every second, for ever."""
    keeping = Keeping(clock, Limits(least_renewal_interval=5.0))
    keeping.open(a_token(issued_at=EIGHT, expires_at=EIGHT + timedelta(seconds=1)))
    await keeping.read(pauses.at_their_times(keeping.keeper.moments(), keeping.clock))
    await clock.advance(4.9)
    assert keeping.came == []
    assert keeping.keeper.expiry().message.endswith(
        "has not been renewed: it lives shorter than the 5 s that renewals are apart at least"
    )
    await clock.advance(0.1)
    assert keeping.came[0] is Moment.DUE


async def test_a_token_that_no_broker_asks_for_is_not_renewed_all_the_time(
    clock: FakeClock,
) -> None:
    keeping = Keeping(clock, Limits(least_renewal_interval=5.0))
    info = dataclasses.replace(an_open_info(), proved=False)
    keeping.connection = FakeConnection(info, name="live")
    keeping.open(a_token(issued_at=EIGHT, expires_at=EIGHT + timedelta(seconds=1)))
    use = keeping.keeper.use
    assert use is not None
    assert use.renew_at == EIGHT + timedelta(seconds=5)


async def test_renewals_are_as_far_apart_as_attempts_have_to_be(clock: FakeClock) -> None:
    """Somebody may ask for one a thousand times a second, and each asks the broker."""
    keeping = Keeping(clock, Limits(least_retry_delay=1.0))
    keeping.open()
    for _ in range(50):
        if keeping.task is None or keeping.is_over:
            for outcome in keeping.came:
                assert not isinstance(outcome, Moment | Refusal)
                keeping.keeper.heard(outcome)
            keeping.came.clear()
            keeping.keeper.ask()
            assert keeping.plan()
            await keeping.read(keeping.keeper.tries())
        await clock.advance(0.1)
    assert 4 <= len(keeping.driver.requests) <= 6


async def test_what_was_replaced_is_not_kept(keeping: Keeping) -> None:
    keeping.open()
    keeping.credentials.answer = a_credential("second", username="another")
    assert keeping.plan()
    await keeping.read(keeping.keeper.tries())
    [outcome] = keeping.came
    assert isinstance(outcome, Replaced)
    former = weakref.ref(keeping.connection)
    keeping.keeper.open(outcome.success, keeping.rotation, method="Replaced")
    keeping.keeper.heard(outcome)
    keeping.connection = keeping.driver.connection
    keeping.task = None
    gc.collect()
    assert former() is None


async def test_a_token_that_lives_long_enough_is_renewed_in_its_own_time(clock: FakeClock) -> None:
    tokens = [Keeping(clock), Keeping(clock, Limits(least_renewal_interval=5.0))]
    for each in tokens:
        each.open(a_token(issued_at=EIGHT, expires_at=EIGHT + HOUR))
    renewals = [each.keeper.use.renew_at for each in tokens if each.keeper.use is not None]
    assert renewals[0] == renewals[1]


async def test_urgent_renewals_are_spaced(keeping: Keeping) -> None:
    """A broker whose clock is wrong calls every token expired."""
    keeping.open(a_token(issued_at=EIGHT, expires_at=EIGHT + HOUR))
    keeping.credentials.answer = a_token("second", issued_at=EIGHT, expires_at=EIGHT + HOUR)
    for _ in range(2):
        keeping.keeper.hurry(Retry(delay=8.0, max_delay=60.0))
    assert keeping.plan()
    await keeping.read(keeping.keeper.tries())
    await keeping.clock.advance(7.9)
    assert keeping.came == []
    await keeping.clock.advance(0.1)
    assert [type(each) for each in keeping.came] == [UpdatedInPlace]


# --- renewing it


async def test_there_is_nothing_to_renew_without_a_connection(keeping: Keeping) -> None:
    assert not keeping.plan()


async def test_each_try_is_returned_and_the_last_says_what_came_of_it(keeping: Keeping) -> None:
    keeping.open()
    keeping.credentials.answer = a_credential("second")
    keeping.driver.then(credential_refused(), None)
    assert keeping.plan()
    await keeping.read(keeping.keeper.tries())
    assert [type(each) for each in keeping.came] == [Refusal]
    await keeping.clock.advance(600.0)
    assert [type(each) for each in keeping.came] == [Refusal, UpdatedInPlace]
    assert keeping.is_over


async def test_a_renewal_that_nobody_has_heard_of_comes_before_the_next(keeping: Keeping) -> None:
    keeping.open()
    keeping.credentials.answer = a_credential("second")
    assert keeping.plan()
    await keeping.read(keeping.keeper.tries())
    [outcome] = keeping.came
    assert isinstance(outcome, UpdatedInPlace)
    assert not keeping.plan()
    assert keeping.keeper.is_overtaken
    assert keeping.keeper.heard(outcome)
    assert keeping.plan()


async def test_a_secret_that_is_on_its_way_is_not_cut_off(keeping: Keeping) -> None:
    keeping.open()
    keeping.credentials.answer = a_credential("second")
    keeping.connection.update_answer = SILENCE
    assert keeping.plan()
    await keeping.read(keeping.keeper.tries())
    assert not keeping.plan()
    assert keeping.keeper.is_overtaken


async def test_what_could_be_brought_in_part_is_to_be_brought_again(keeping: Keeping) -> None:
    keeping.open()
    part = UpdatedInPlace(credential=a_credential("second"), verified_at=None, is_part=True)
    assert keeping.keeper.heard(part)
    assert not keeping.keeper.heard(dataclasses.replace(part, is_part=False))


async def test_a_request_counts_until_a_renewal_that_began_after_it_is_over(
    keeping: Keeping,
) -> None:
    keeping.open(a_token(issued_at=EIGHT - HOUR, expires_at=EIGHT + HOUR / 100))
    assert keeping.is_routine()
    keeping.keeper.ask()
    assert not keeping.is_routine()
    assert keeping.plan()
    await keeping.read(keeping.keeper.tries())
    [outcome] = keeping.came
    assert not isinstance(outcome, Moment | Refusal)
    keeping.keeper.heard(outcome)
    assert keeping.is_routine()


async def test_a_connection_that_ends_leaves_the_renewal_without_an_outcome(
    keeping: Keeping,
) -> None:
    keeping.open()
    keeping.connection.abort()
    assert keeping.plan()
    await keeping.read(keeping.keeper.tries())
    assert keeping.came == []
    assert keeping.is_over


async def test_a_defect_is_a_failed_try_and_another_follows(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping.open()
    keeping.credentials.answer = a_credential("second", username="another")
    open_as_ever = keeping.driver.open

    async def defective(_request: object) -> None:
        monkeypatch.setattr(keeping.driver, "open", open_as_ever)
        raise KeyError

    monkeypatch.setattr(keeping.driver, "open", defective)
    assert keeping.plan()
    await keeping.read(keeping.keeper.tries())
    [refusal] = keeping.came
    assert isinstance(refusal, Refusal)
    assert refusal.error.reason is Reason.INTERNAL_ERROR
    await keeping.clock.advance(600.0)
    assert isinstance(keeping.came[-1], Replaced)
