"""Trying a credential once for all who want to know whether the broker takes it."""

import asyncio
import dataclasses
import ssl
import traceback
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from springline import errors
from springline.api import v1alpha1
from springline.core import metering
from springline.core.backoff import Retry
from springline.core.outcomes import VerificationOutcome
from springline.core.values import Credential, SessionKey, TLSClient
from springline.core.verification import Question, Verifications
from springline.drivers.amqp091.parameters import LocalePreference
from springline.drivers.shared.sasl import SaslPolicy
from support.builders import (
    OTHER_RABBIT,
    RABBIT,
    a_credential,
    a_spec,
    a_target,
    a_token,
    credential_refused,
    no_secret,
    throttled,
    unreachable,
)
from support.fake_clock import EIGHT, FakeClock, FixedRandom

RETRY = Retry(delay=10.0, max_delay=60.0, jitter=0.0)
TRUSTED_SECONDS = 60.0


class Asking(metering.NoMeter):
    """Those who ask, and a broker that answers their handshakes."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.verifications = Verifications()
        self.answer: Exception | None = None
        """What the broker says to the next handshakes."""
        self.seconds = 0.0
        """How long a handshake takes."""
        self.handshakes = 0
        self.running = 0
        self.outcomes: list[VerificationOutcome] = []
        """What the meter was told."""

    def verified(self, outcome: VerificationOutcome) -> None:
        self.outcomes.append(outcome)

    async def _handshake(self) -> None:
        self.handshakes += 1
        self.running += 1
        assert self.running == 1, "one at a time"
        try:
            if self.seconds:
                await self.clock.sleep(self.seconds)
            if self.answer is not None:
                raise self.answer
        finally:
            self.running -= 1

    def ask(
        self,
        question: Question | Credential,
        *,
        since: float = float("-inf"),
        retry: Retry = RETRY,
    ) -> Awaitable[Any]:
        return self.verifications.verify(
            a_question(question) if isinstance(question, Credential) else question,
            self._handshake,
            retry=retry,
            clock=self.clock,
            rng=FixedRandom(),
            since=since,
            meter=self,
        )

    async def is_accepted(self, question: Question | Credential, **options: Any) -> bool:
        """Ask, and return what the broker says of it."""
        try:
            await self.clock.result(self.ask(question, **options), within=self.seconds)
        except (errors.ConnectError, errors.CredentialError):
            return False
        return True

    def start(self, question: Question | Credential) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.ask(question))

    def pause(self, credential: Credential) -> asyncio.Task[None]:
        return asyncio.ensure_future(
            self.verifications.pause(a_question(credential), clock=self.clock)
        )


@pytest.fixture
async def asking(clock: FakeClock) -> Asking:
    return Asking(clock)


def a_question(
    credential: Credential | None = None, *, tls: TLSClient | None = None, **spec: Any
) -> Question:
    return Question.of(a_spec(**spec), credential or a_credential(), tls)


TLS_CLIENT = TLSClient(context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
FIRST, SECOND = a_credential("first"), a_credential("second")


# --- one handshake for all


async def test_a_thousand_who_ask_at_once_cost_one_handshake(asking: Asking) -> None:
    asking.seconds = 1.0
    askers = [asking.start(FIRST) for _ in range(1000)]
    await asking.clock.advance(1.0)
    await asyncio.wait(askers)
    assert {asker.result() for asker in askers} == {EIGHT + timedelta(seconds=1)}
    assert asking.handshakes == 1


async def test_a_thousand_who_ask_at_once_are_refused_by_one_handshake(asking: Asking) -> None:
    """Even if it takes longer than the pause that follows, for a broker that is silent."""
    asking.seconds, asking.answer = RETRY.delay + 5.0, credential_refused()
    askers = [asking.start(FIRST) for _ in range(1000)]
    await asking.clock.advance(asking.seconds)
    await asyncio.wait(askers)
    assert all(str(asker.exception()) == str(asking.answer) for asker in askers)
    assert asking.handshakes == 1


async def test_who_asks_and_who_shares_is_counted(asking: Asking) -> None:
    """An answer for many counts once as what it is, and as shared for all the others."""
    accepted, shared = VerificationOutcome.ACCEPTED, VerificationOutcome.SHARED
    refused, failed = VerificationOutcome.REFUSED, VerificationOutcome.FAILED
    for credential, answer, outcome in (
        (FIRST, None, accepted),
        (SECOND, credential_refused(), refused),
        (a_credential("third"), unreachable(), failed),
    ):
        asking.answer = answer
        asking.outcomes.clear()
        for _ in range(3):
            await asking.is_accepted(credential)
        assert asking.outcomes == [outcome, shared, shared]


async def test_each_asker_has_an_error_of_its_own(asking: Asking) -> None:
    """A raised error collects the frames of every raise, and would grow with each asker."""
    asking.answer = credential_refused()
    seen = set()
    lengths = set()
    for _ in range(5):
        with pytest.raises(errors.CredentialRejectedError) as caught:
            await asking.ask(FIRST)
        seen.add(caught.value)
        lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))
        assert caught.value.__context__ is None
    assert len(seen) == 5
    assert max(lengths) < 10


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(credential_refused(), id="a credential that is refused"),
        pytest.param(unreachable(), id="a broker that cannot be reached"),
        pytest.param(no_secret(), id="an object that is not there"),
        pytest.param(
            errors.RejectedError(unreachable().reason, "no", authenticated=True),
            id="a user that may not use the virtual host",
        ),
    ],
)
async def test_who_did_not_ask_the_broker_gets_the_same_error(
    asking: Asking, error: Exception
) -> None:
    asking.answer = error
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            await asking.ask(FIRST)
        assert vars(caught.value) == vars(error)
    assert asking.handshakes == 1


async def test_a_first_asker_who_gives_up_leaves_it_to_the_next(asking: Asking) -> None:
    asking.seconds = 1.0
    askers = [asking.start(FIRST) for _ in range(3)]
    await asking.clock.advance(0.5)
    askers[0].cancel()
    await asking.clock.advance(1.0)
    assert askers[0].cancelled()
    assert [asker.result() for asker in askers[1:]] == [EIGHT + timedelta(seconds=1.5)] * 2
    assert asking.handshakes == 2


async def test_an_asker_in_line_who_gives_up_disturbs_nobody(asking: Asking) -> None:
    asking.seconds = 1.0
    askers = [asking.start(FIRST) for _ in range(3)]
    await asking.clock.advance(0.5)
    askers[1].cancel()
    await asking.clock.advance(0.5)
    assert askers[1].cancelled()
    assert askers[0].done()
    assert askers[2].done()
    assert asking.handshakes == 1


async def test_a_defect_of_one_handshake_is_nobody_elses(
    asking: Asking,
) -> None:
    asking.answer = ZeroDivisionError("a defect")
    with pytest.raises(ZeroDivisionError):
        await asking.ask(FIRST)
    asking.answer = None
    assert await asking.is_accepted(FIRST)


# --- how long an answer counts


async def test_a_success_serves_those_who_ask_later_and_not_for_ever(asking: Asking) -> None:
    assert await asking.is_accepted(FIRST)
    await asking.clock.advance(TRUSTED_SECONDS)
    assert await asking.is_accepted(FIRST)
    assert asking.handshakes == 1
    await asking.clock.advance(1.0)
    assert await asking.is_accepted(FIRST)
    assert asking.handshakes == 2


async def test_being_asked_does_not_make_a_success_last_longer(asking: Asking) -> None:
    assert await asking.is_accepted(FIRST)
    for _ in range(7):
        await asking.clock.advance(10.0)
        await asking.ask(FIRST)
    assert asking.handshakes == 2


async def test_the_answer_says_when_the_broker_gave_it(asking: Asking) -> None:
    await asking.ask(FIRST)
    await asking.clock.advance(30.0)
    assert await asking.ask(FIRST) == EIGHT


async def test_who_wants_to_know_it_as_of_now_is_not_told_an_older_success(
    asking: Asking,
) -> None:
    await asking.ask(FIRST)
    await asking.clock.advance(1.0)
    since = asking.clock.monotonic()
    assert await asking.ask(FIRST, since=since) == EIGHT + timedelta(seconds=1)
    assert await asking.ask(FIRST, since=since) == EIGHT + timedelta(seconds=1)
    assert asking.handshakes == 2


async def test_who_wants_to_know_it_as_of_now_is_not_told_an_older_refusal(
    asking: Asking,
) -> None:
    """Somebody has just put it right at the broker, and says so."""
    asking.answer = credential_refused()
    assert not await asking.is_accepted(FIRST)
    await asking.clock.advance(1.0)
    since = asking.clock.monotonic()
    assert not await asking.is_accepted(FIRST, since=since)
    assert not await asking.is_accepted(FIRST, since=since), "that one is new enough"
    assert asking.handshakes == 2


async def test_a_newer_secret_takes_back_the_trust_in_the_one_before(asking: Asking) -> None:
    """With a new one, the broker may have been told to refuse the one before."""
    assert await asking.is_accepted(FIRST)
    asking.answer = credential_refused()
    assert not await asking.is_accepted(SECOND)
    assert not await asking.is_accepted(FIRST)
    assert asking.handshakes == 3


async def test_a_secret_of_another_user_takes_back_nothing(asking: Asking) -> None:
    assert await asking.is_accepted(FIRST)
    assert await asking.is_accepted(a_credential("second", username="other"))
    assert await asking.is_accepted(FIRST)
    assert asking.handshakes == 2


# --- refused


async def test_a_broker_that_wants_to_be_left_alone_is_not_asked_before(asking: Asking) -> None:
    asking.answer = throttled(retry_after=100.0)
    for elapsed in (0.0, 99.0):
        await asking.clock.advance(elapsed)
        assert not await asking.is_accepted(FIRST)
        assert asking.handshakes == 1
    await asking.clock.advance(1.0)
    assert not await asking.is_accepted(FIRST)
    assert asking.handshakes == 2


async def test_a_refusal_is_repeated_without_asking_until_it_is_time(asking: Asking) -> None:
    """The pauses grow, up to the longest."""
    asking.answer = credential_refused()
    for pause in (10.0, 20.0, 40.0, 60.0, 60.0):
        before = asking.handshakes
        assert not await asking.is_accepted(FIRST)
        assert asking.handshakes == before + 1
        await asking.clock.advance(pause - 0.5)
        assert not await asking.is_accepted(FIRST)
        assert asking.handshakes == before + 1
        await asking.clock.advance(0.5)


async def test_the_pause_counts_from_the_start_of_the_handshake(asking: Asking) -> None:
    asking.seconds, asking.answer = 4.0, unreachable()
    assert not await asking.is_accepted(FIRST)
    await asking.clock.advance(RETRY.delay - asking.seconds)
    assert not await asking.is_accepted(FIRST)
    assert asking.handshakes == 2


async def test_after_a_success_the_pauses_begin_anew(asking: Asking) -> None:
    asking.answer = credential_refused()
    for pause in (10.0, 20.0):
        assert not await asking.is_accepted(FIRST)
        await asking.clock.advance(pause)
    asking.answer = None
    assert await asking.is_accepted(FIRST)
    asking.answer = credential_refused()
    await asking.clock.advance(TRUSTED_SECONDS + 1.0)
    assert not await asking.is_accepted(FIRST)
    await asking.clock.advance(10.0)
    assert not await asking.is_accepted(FIRST)
    assert asking.handshakes == 5


async def test_a_secret_that_was_accepted_and_is_refused_now_is_not_trusted(
    asking: Asking,
) -> None:
    await asking.ask(FIRST)
    asking.answer = credential_refused()
    assert not await asking.is_accepted(FIRST, since=asking.clock.monotonic() + 0.1)
    assert not await asking.is_accepted(FIRST)


async def test_two_secrets_that_take_turns_are_each_tried_no_more_often_than_allowed(
    asking: Asking,
) -> None:
    """Such as those of two objects that disagree about one user's password."""
    asking.answer = credential_refused()
    for _ in range(600):
        await asking.is_accepted(FIRST)
        await asking.is_accepted(SECOND)
        await asking.clock.advance(1.0)
    # After 10, 20, 40 seconds and then every 60: at most a dozen in ten minutes, for each.
    assert asking.handshakes <= 2 * 14


async def test_two_secrets_of_which_one_is_accepted_are_no_tight_loop(asking: Asking) -> None:
    """Two tokens of one subject may both be valid."""
    for _ in range(600):
        asking.answer = None
        await asking.is_accepted(FIRST)
        asking.answer = credential_refused()
        await asking.is_accepted(SECOND)
        await asking.clock.advance(1.0)
    assert asking.handshakes <= 2 * 14


# --- waiting


async def test_everybody_who_waits_is_woken_by_the_first_success(asking: Asking) -> None:
    asking.answer = credential_refused()
    assert not await asking.is_accepted(FIRST)
    waiting = [asking.pause(FIRST) for _ in range(1000)]
    await asking.clock.advance(5.0)
    assert not any(each.done() for each in waiting)
    asking.answer = None
    await asking.ask(FIRST, since=asking.clock.monotonic())
    await asking.clock.settle()
    assert all(each.done() for each in waiting)


async def test_a_success_with_another_secret_wakes_nobody(asking: Asking) -> None:
    asking.answer = credential_refused()
    assert not await asking.is_accepted(FIRST)
    waiting = asking.pause(FIRST)
    asking.answer = None
    assert await asking.is_accepted(SECOND)
    await asking.clock.settle()
    assert not waiting.done()
    waiting.cancel()


async def test_who_waits_is_woken_when_it_is_time_to_ask_again(asking: Asking) -> None:
    asking.answer = credential_refused()
    assert not await asking.is_accepted(FIRST)
    await asking.clock.advance(4.0)
    waiting = asking.pause(FIRST)
    await asking.clock.advance(5.5)
    assert not waiting.done()
    await asking.clock.advance(0.5)
    assert waiting.done()


async def test_there_is_nothing_to_wait_for_before_anybody_was_refused(asking: Asking) -> None:
    await asking.clock.result(asking.pause(FIRST))


async def test_who_waits_while_the_answer_turns_is_not_woken_again_and_again(
    asking: Asking,
) -> None:
    """A success of once, taken back by another secret, is no reason not to wait."""
    assert await asking.is_accepted(FIRST)
    asking.answer = credential_refused()
    assert not await asking.is_accepted(SECOND)
    assert not await asking.is_accepted(FIRST)
    waiting = asking.pause(FIRST)
    await asking.clock.advance(9.0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_cancelled_wait_leaves_nothing(asking: Asking) -> None:
    asking.answer = credential_refused()
    assert not await asking.is_accepted(FIRST)
    before = asyncio.all_tasks()
    waiting = asking.pause(FIRST)
    await asking.clock.settle()
    waiting.cancel()
    await asking.clock.settle()
    assert waiting.cancelled()
    assert asyncio.all_tasks() == before


# --- what is the same question


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"target": a_target(virtual_host="other")}, id="another virtual host"),
        pytest.param({"target": a_target(endpoints=(OTHER_RABBIT,))}, id="another endpoint"),
        pytest.param(
            {"target": a_target(endpoints=(RABBIT, OTHER_RABBIT))}, id="one more endpoint"
        ),
        pytest.param({"target": a_target(protocol="amqp10")}, id="another protocol"),
        pytest.param(
            {"target": a_target(tls=v1alpha1.TLS(enabled=True))}, id="TLS is declared otherwise"
        ),
        pytest.param(
            {"target": a_target(sasl=SaslPolicy(mechanisms=("AMQPLAIN",)))},
            id="another mechanism",
        ),
        pytest.param({"target": a_target(channel_max=1)}, id="fewer channels"),
        pytest.param({"target": a_target(frame_max=4096)}, id="smaller frames"),
        pytest.param(
            {"target": a_target(locale=LocalePreference(prefer="de_DE"))}, id="another language"
        ),
        pytest.param({"credential": a_credential(username="other")}, id="another user"),
        pytest.param({"credential": a_credential("second")}, id="another secret"),
        pytest.param({"credential": a_token("first", username="app")}, id="another kind"),
        pytest.param({"tls": TLS_CLIENT}, id="other certificates"),
    ],
)
async def test_what_the_broker_may_answer_otherwise_is_another_question(
    asking: Asking, other: dict[str, Any]
) -> None:
    await asking.ask(a_question())
    await asking.ask(a_question(**other))
    assert asking.handshakes == 2


FOUND_BY_SECRET = a_target(
    endpoints=(),
    endpoints_from=v1alpha1.EndpointsFrom(
        secret_ref=v1alpha1.EndpointsSecretReference(name="rabbit-default-user")
    ),
)


async def test_a_name_in_another_namespace_is_another_broker(asking: Asking) -> None:
    """A reference without a namespace is to that of the connection."""
    for namespace in ("apps", "apps", "billing"):
        key = SessionKey(namespace, "orders")
        await asking.ask(a_question(key=key, target=FOUND_BY_SECRET))
    assert asking.handshakes == 2


@pytest.mark.parametrize(
    "same",
    [
        pytest.param({"target": a_target(heartbeat_seconds=5)}, id="another heartbeat"),
        pytest.param({"target": a_target(connection_name="other")}, id="another name"),
        pytest.param(
            {"target": a_target(client_properties={"team": "orders"})}, id="other properties"
        ),
        pytest.param({"key": SessionKey("apps", "billing")}, id="another session"),
        pytest.param({"key": SessionKey("other", "orders")}, id="another namespace"),
        pytest.param({"retry": Retry(delay=1.0)}, id="another retry delay"),
        pytest.param({"generation": 2}, id="another generation"),
        pytest.param({"credential": a_credential(version="2")}, id="another version"),
        pytest.param(
            {"credential": dataclasses.replace(a_credential(), source="tokenFile")},
            id="another source",
        ),
    ],
)
async def test_what_does_not_matter_to_the_answer_is_the_same_question(
    asking: Asking, same: dict[str, Any]
) -> None:
    await asking.ask(a_question())
    await asking.ask(a_question(**same))
    assert asking.handshakes == 1


# --- what is kept


def kept(asking: Asking) -> list[str]:
    """The secrets that are held."""
    return [
        answer.question.credential.secret.reveal()
        for of_topic in asking.verifications._answers.values()  # nobody else may see them
        for answer in of_topic
    ]


async def test_old_answers_are_forgotten_with_their_secrets(asking: Asking) -> None:
    await asking.ask(FIRST)
    await asking.ask(a_credential("hers", username="other"))
    await asking.clock.advance(TRUSTED_SECONDS + 1.0)
    await asking.ask(SECOND)
    assert kept(asking) == ["second"]


async def test_a_refusal_is_kept_until_it_is_time_to_ask_again(asking: Asking) -> None:
    """However long that is."""
    asking.answer = credential_refused()
    rare = Retry(delay=600.0, max_delay=600.0, jitter=0.0)
    assert not await asking.is_accepted(FIRST, retry=rare)
    await asking.clock.advance(599.0)
    assert not await asking.is_accepted(SECOND, retry=rare)
    assert not await asking.is_accepted(FIRST, retry=rare)
    assert asking.handshakes == 2


async def test_a_question_that_is_being_asked_is_not_forgotten(asking: Asking) -> None:
    asking.seconds = TRUSTED_SECONDS * 2
    first = asking.start(FIRST)
    await asking.clock.advance(TRUSTED_SECONDS + 1.0)
    asking.running -= 1  # that of another user runs beside it
    other = asking.start(a_credential("hers", username="other"))
    again = asking.start(FIRST)
    await asking.clock.advance(TRUSTED_SECONDS * 2)
    assert first.result() == again.result()
    assert other.done()
    assert asking.handshakes == 2


async def test_no_secret_is_shown(asking: Asking) -> None:
    planted = a_credential("pl4nted")
    asking.answer = credential_refused()
    with pytest.raises(errors.CredentialRejectedError) as caught:
        await asking.ask(planted)
    with pytest.raises(errors.CredentialRejectedError) as repeated:
        await asking.ask(planted)
    shown = [
        repr(a_question(planted)),
        repr(asking.verifications),
        repr(asking.verifications._answers),  # as a debugger or a traceback would
        *traceback.format_exception(caught.value),
        *traceback.format_exception(repeated.value),
    ]
    assert "pl4nted" not in "\n".join(shown)
