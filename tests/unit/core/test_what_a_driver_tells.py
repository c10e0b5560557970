"""What only the driver can know, and the core takes from it: one section for each.

The driver here answers as no broker of AMQP 0-9-1 does, so whatever the core would guess is wrong.
What follows from each answer in full is tested where that is at home, such as in
test_session_unproved.py, test_session_renewal.py and test_session_expiry.py.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.api.status import NegotiatedStatus
from springline.core import binding, status, verdicts
from springline.core.binding import Surroundings
from springline.core.desired import ProbeSettings
from springline.core.events import EventType
from springline.core.outcomes import UpdateOutcome
from springline.core.state import Phase
from springline.core.values import Block, ClosedBy, CloseInfo, Negotiated, OpenInfo
from springline.core.verification import Question
from springline.drivers.amqp091.parameters import Amqp091Parameters
from springline.drivers.amqp091.probe_target import Amqp091ProbeTarget
from springline.errors import ProbeRefusal, ProbeRefusedError
from springline.reasons import Reason
from support.builders import (
    PROBE,
    a_credential,
    a_spec,
    a_target,
    a_token,
    an_open_info,
    probe_refused,
    transport_close,
)
from support.fake_clock import FakeClock
from support.fakes import FakeConnection
from support.meters import RecordingMeter
from support.stage import Stage, staged


def document(stage: Stage) -> dict[str, Any]:
    """The session's `status` as it would be written now."""
    conditions = status.conditions(stage.view, now=stage.clock.now())
    return status.connection_status(stage.view, conditions)


# --- whether the credential was proved


async def test_an_anonymous_login_is_never_accepted_and_never_bound(stage: Stage) -> None:
    """Not at first, not with another credential, and not when a renewal is asked for."""
    stage.driver.asks = lambda _: False
    await stage.connect()
    stage.session.renew()
    await stage.clock.settle()
    await stage.change_credential()
    await stage.clock.advance(3600.0)
    stage.session.reconnect()
    await stage.clock.settle()
    assert len(stage.driver.requests) > 1
    open_ones = [view for view in stage.changes if view.state.phase is Phase.CONNECTED]
    assert {view.state.credentials for view in open_ones} == {verdicts.UNPROVED}
    assert {binding.content(view, Surroundings()) for view in open_ones} == {None}
    assert "username" not in document(stage)["credentials"]


# --- whether the connection can be renewed in place


async def test_that_it_cannot_be_renewed_in_place_is_no_refusal(clock: FakeClock) -> None:
    """The secret goes with a new connection; it says why, and nothing says refused."""
    meter = RecordingMeter()
    async with staged(clock, meter=meter) as stage:
        stage.driver.cannot_renew = "letters cannot be sealed twice"
        old = await stage.connect()
        await stage.change_credential()
        assert old.updates == []
        assert [outcome for _, outcome, _ in meter.updates] == [UpdateOutcome.UPDATED]
        [replaced] = stage.events.of(EventType.SESSION_REPLACED)
        assert replaced.message.endswith("; not renewed in place: letters cannot be sealed twice")
        told = set(stage.events.types)
        assert not told & {EventType.SECRET_REJECTED, EventType.CHANGE_REFUSED}
        assert stage.state().synced == verdicts.IN_SYNC
        assert stage.view.is_ready


# --- why publishes are held up


async def test_a_block_has_the_reason_and_the_words_of_the_driver(stage: Stage) -> None:
    """Words that RabbitMQ uses for something else mean nothing here."""
    connection = await stage.connect()
    connection.block("low on memory", Reason.BLOCKED_BY_BROKER)
    await stage.clock.settle()
    blocked = stage.state().blocked
    assert (blocked.status, blocked.reason) == (ConditionStatus.TRUE, Reason.BLOCKED_BY_BROKER)
    connection.block("das Papier ist aus", Reason.LOW_ON_DISK)
    await stage.clock.settle()
    assert stage.state().blocked.reason is Reason.LOW_ON_DISK
    assert connection.blocked == Block(reason=Reason.LOW_ON_DISK, text="das Papier ist aus")
    assert document(stage)["blocked"]["reason"] == "das Papier ist aus"


# --- that the lifetime of a credential is over


WORDS = "amqp:unauthorized-access: your ticket is of yesterday"


async def test_a_close_is_an_expiry_by_the_drivers_word_alone(stage: Stage) -> None:
    stage.credentials.answer = a_token()
    connection = await stage.connect()
    await stage.clock.advance(60.0)
    stage.driver.otherwise = errors.TransientError(Reason.PEER_CLOSED, "not now")
    connection.end(
        CloseInfo(by=ClosedBy.SERVER, reason=Reason.ACCESS_REFUSED, text=WORDS, says_expired=True)
    )
    await stage.clock.settle()
    assert stage.state().credentials.reason is Reason.EXPIRED
    [expired] = stage.events.of(EventType.CREDENTIALS_EXPIRED)
    assert WORDS in expired.message


async def test_what_rabbitmq_says_of_an_expiry_is_none_where_the_driver_does_not_say_so(
    stage: Stage,
) -> None:
    stage.credentials.answer = a_token()
    connection = await stage.connect()
    await stage.clock.advance(60.0)
    connection.end(transport_close("CONNECTION_FORCED - credential expired"))
    await stage.clock.settle()
    assert stage.events.of(EventType.CREDENTIALS_EXPIRED) == []
    assert stage.state().credentials == verdicts.ACCEPTED


async def test_a_refused_login_is_an_expiry_by_the_drivers_word_alone(stage: Stage) -> None:
    """The source is asked for another one than that."""
    first = stage.credentials.answer = a_token("first")
    stage.credentials.issue(a_token("second"))
    stage.driver.then(
        errors.CredentialRejectedError(Reason.ACCESS_REFUSED, WORDS, says_expired=True)
    )
    await stage.declare()
    await stage.clock.settle()
    assert [each.credential.secret.reveal() for each in stage.driver.requests] == [
        "first",
        "second",
    ]
    [_, instead_of] = stage.credentials.instead_of
    assert instead_of is not None
    assert instead_of.same_value(first)


# --- the codes of a close


@pytest.mark.parametrize(
    ("codes", "shown"),
    [
        pytest.param({}, {}, id="none at all"),
        pytest.param({"statusCode": 503, "code": 7}, {"code": 7}, id="some that status has"),
        pytest.param({"condition": 12, "stream": 3}, {}, id="others alone"),
    ],
)
async def test_the_codes_of_a_close_have_the_names_that_the_driver_gives_them(
    stage: Stage, codes: dict[str, int], shown: dict[str, int]
) -> None:
    """Those that status has a field for are shown, and the others keep nothing from being shown."""
    connection = await stage.connect()
    close = CloseInfo(
        by=ClosedBy.SERVER, reason=Reason.PEER_CLOSED, text="resource-deleted", codes=codes
    )
    connection.end(close)
    await stage.clock.settle()
    assert stage.view.last_close is not None
    assert stage.view.last_close.info == close
    last = document(stage)["lastClose"]
    assert last.pop("at")
    assert last == {
        "by": "Server",
        "reason": "PeerClosed",
        "text": "resource-deleted",
        **shown,
    }


async def test_our_own_close_has_the_drivers_codes_too(stage: Stage) -> None:
    connection = await stage.connect()
    connection.close_codes = {"code": 1000}
    await stage.declare(suspend=True, generation=2)
    assert stage.view.last_close is not None
    assert stage.view.last_close.info.codes == {"code": 1000}


# --- parts that change while it is open


@dataclass(frozen=True, slots=True, kw_only=True)
class Trays(Negotiated):
    """What a protocol agrees on that goes on negotiating while the connection is open."""

    waiting: int

    def as_status(self) -> NegotiatedStatus:
        return NegotiatedStatus(
            mechanism=self.mechanism,
            locale="",
            heartbeat=f"{self.heartbeat_seconds}s",
            channel_max=0,
            frame_max=0,
            client_properties={"waiting": str(self.waiting)},
        )


def with_trays(waiting: int, *, heartbeat_seconds: int = 60) -> OpenInfo:
    trays = Trays(mechanism="STAMP", heartbeat_seconds=heartbeat_seconds, waiting=waiting)
    return dataclasses.replace(an_open_info(), negotiated=trays)


def waiting(stage: Stage) -> str:
    shown: str = document(stage)["negotiated"]["clientProperties"]["waiting"]
    return shown


async def test_a_part_that_changes_is_shown_as_it_is_now(stage: Stage) -> None:
    """Those who follow the session are told, and find what is negotiated by then."""
    connection = await stage.connect()
    before = len(stage.changes)
    connection.change(with_trays(3, heartbeat_seconds=30))
    await stage.clock.settle()
    assert len(stage.changes) == before + 1
    assert stage.changes[-1].info == with_trays(3, heartbeat_seconds=30)
    assert waiting(stage) == "3"
    assert document(stage)["negotiated"]["heartbeat"] == "30s"


async def test_a_part_that_changes_is_no_event_and_changes_no_condition(stage: Stage) -> None:
    connection = await stage.connect()
    told, state = list(stage.events.types), stage.state()
    connection.change(with_trays(3))
    await stage.clock.settle()
    assert (stage.events.types, stage.state()) == (told, state)


async def test_many_changes_in_a_row_cost_one_projection(stage: Stage) -> None:
    """The last of them counts, and none waits in line behind the others."""
    connection = await stage.connect()
    before = len(stage.changes)
    for number in range(10_000):
        connection.change(with_trays(number))
    await stage.clock.settle()
    assert len(stage.changes) == before + 1
    assert waiting(stage) == "9999"


async def test_many_changes_wait_as_one_while_the_session_is_busy(stage: Stage) -> None:
    connection = await stage.connect()
    stage.events.hold(EventType.BLOCKED)
    connection.block()
    await stage.clock.settle()
    before = len(stage.changes)
    for number in range(1000):
        connection.change(with_trays(number))
        await stage.clock.settle()
    assert len(stage.changes) == before
    stage.events.release()
    await stage.clock.settle()
    assert len(stage.changes) == before + 2, "of the block, and of all changes"
    assert waiting(stage) == "999"


async def test_a_change_after_the_projection_is_news_again(stage: Stage) -> None:
    connection = await stage.connect()
    for number in range(3):
        before = len(stage.changes)
        connection.change(with_trays(number))
        await stage.clock.settle()
        assert len(stage.changes) == before + 1
        assert waiting(stage) == str(number)


async def test_a_connection_that_is_not_the_sessions_any_more_changes_nothing(
    stage: Stage,
) -> None:
    stage.driver.cannot_renew = "letters cannot be sealed twice"
    old = await stage.connect()
    await stage.change_credential()
    before, view = len(stage.changes), stage.view
    old.change(with_trays(1))
    await stage.clock.settle()
    assert len(stage.changes) == before
    assert stage.view == view


async def test_a_change_that_the_end_overtakes_hides_none_of_the_next_connection(
    stage: Stage,
) -> None:
    connection = await stage.connect()
    await stage.clock.advance(60.0)
    connection.end(transport_close())
    connection.change(with_trays(1))
    await stage.clock.settle()
    new = stage.driver.connection
    assert new is not connection
    before = len(stage.changes)
    new.change(with_trays(2))
    await stage.clock.settle()
    assert len(stage.changes) == before + 1
    assert waiting(stage) == "2"


# --- why a probe was refused


class EmptyLetter(Amqp091ProbeTarget):
    """A probe that has an advice of its own for each refusal."""

    def refusal(self, error: ProbeRefusedError) -> str:
        return f"{error.why.value}: {error}"


LETTERS = ProbeSettings(
    interval=PROBE.interval, timeout=5.0, target=EmptyLetter(exchange="", routing_key="")
)


async def refused(stage: Stage, why: ProbeRefusal) -> FakeConnection:
    """Refuse a probe of an open session for this."""
    stage.credentials.answer = a_token()
    connection = await stage.connect(probe=LETTERS)
    connection.probe_answer = probe_refused("no", why)
    await stage.clock.advance(PROBE.interval)
    return connection


@pytest.mark.parametrize(
    "why", set(ProbeRefusal) - {ProbeRefusal.CREDENTIAL_EXPIRED, ProbeRefusal.TROUBLE}
)
async def test_a_refused_probe_pauses_and_says_why_in_the_drivers_words(
    stage: Stage, why: ProbeRefusal
) -> None:
    connection = await refused(stage, why)
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED
    assert stage.state().blocked.message == f"{why.value}: no"
    assert stage.state().credentials == verdicts.ACCEPTED
    [event] = stage.events.of(EventType.PROBE_REFUSED)
    assert event.message == f"{why.value}: no"
    probes = len(connection.probes)
    await stage.clock.advance(200.0)
    assert len(connection.probes) == probes
    await stage.clock.advance(200.0)
    assert len(connection.probes) == probes + 1
    assert connection.is_open


async def test_a_probe_that_an_expired_credential_is_refused_for_waits_for_another_one(
    stage: Stage,
) -> None:
    """That is asked for at once, and the probe goes on with it."""
    connection = await refused(stage, ProbeRefusal.CREDENTIAL_EXPIRED)
    assert stage.credentials.fetches == 2
    assert stage.events.of(EventType.PROBE_REFUSED) == []
    [expired] = stage.events.of(EventType.CREDENTIALS_EXPIRED)
    assert "(no)" in expired.message
    assert stage.state().credentials.reason is Reason.EXPIRED
    probes = len(connection.probes)
    connection.probe_answer = 0.002
    second = stage.credentials.answer = a_token("second")
    stage.session.credential_changed()
    await stage.clock.settle()
    assert connection.updates == [second]
    assert len(connection.probes) == probes + 1
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


# --- what a verification answers for


@dataclass(frozen=True, slots=True, kw_only=True)
class WithInk(Amqp091Parameters):
    """The parameters of a protocol that has got one more, which no rule names yet."""

    ink: str = "blue"


def test_a_new_parameter_is_part_of_what_a_verification_answers_for_unless_it_is_named() -> None:
    plain = a_target().parameters
    assert isinstance(plain, Amqp091Parameters)
    known = {each.name: getattr(plain, each.name) for each in dataclasses.fields(plain)}

    def topic(**changes: Any) -> object:
        target = dataclasses.replace(a_target(), parameters=WithInk(**{**known, **changes}))
        return Question.of(a_spec(target=target), a_credential(), None).topic

    assert topic() == topic(heartbeat_seconds=1), "which is named: no broker refuses it"
    assert topic() != topic(ink="red")
