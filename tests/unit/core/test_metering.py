"""What is told to the meter: everything, however often it has happened before."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from springline import errors
from springline.api.conditions import ConditionStatus, ConditionType
from springline.core import status
from springline.core.events import EventType
from springline.core.outcomes import AttemptOutcome, UpdateOutcome, VerificationOutcome
from springline.core.state import Phase
from springline.reasons import Reason
from support.builders import (
    PROBE,
    a_credential,
    credential_refused,
    no_secret,
    refused,
    server_close,
    terminal,
    transport_close,
    unreachable,
)
from support.fake_clock import FakeClock
from support.fakes import SILENCE
from support.meters import RecordingMeter
from support.stage import Stage, staged

OPENED = (AttemptOutcome.OPENED, Reason.OPEN)


@pytest.fixture
def meter() -> RecordingMeter:
    return RecordingMeter()


@pytest.fixture
async def stage(clock: FakeClock, meter: RecordingMeter) -> AsyncIterator[Stage]:
    async with staged(clock, meter=meter) as stage:
        yield stage


# --- attempts


async def test_every_attempt_counts_also_where_its_event_is_left_out(
    stage: Stage, meter: RecordingMeter
) -> None:
    stage.driver.then(unreachable(), unreachable(), unreachable(), None)
    await stage.declare()
    await stage.clock.advance(300.0)
    assert len(stage.events.of(EventType.CONNECT_FAILED)) == 1
    failed = (AttemptOutcome.TRANSIENT, Reason.CONNECTION_REFUSED)
    assert meter.outcomes == [failed, failed, failed, OPENED]
    assert {protocol for protocol, *_ in meter.attempts} == {"amqp091"}


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        pytest.param(
            unreachable(),
            AttemptOutcome.TRANSIENT,
            Reason.CONNECTION_REFUSED,
            id="it may pass by itself",
        ),
        pytest.param(
            refused(),
            AttemptOutcome.REFUSED,
            Reason.VIRTUAL_HOST_NOT_FOUND,
            id="the broker refuses a name",
        ),
        pytest.param(
            credential_refused(),
            AttemptOutcome.REFUSED,
            Reason.ACCESS_REFUSED,
            id="the broker refuses the credential",
        ),
        pytest.param(
            terminal(),
            AttemptOutcome.TERMINAL,
            Reason.NO_AUTHENTICATION_MECHANISM,
            id="it cannot work as declared",
        ),
        pytest.param(
            ZeroDivisionError("a defect"),
            AttemptOutcome.TRANSIENT,
            Reason.INTERNAL_ERROR,
            id="a defect of ours",
        ),
    ],
)
async def test_a_failed_attempt_counts_with_its_kind_and_reason(
    stage: Stage, meter: RecordingMeter, error: Exception, outcome: AttemptOutcome, reason: Reason
) -> None:
    stage.driver.then(error)
    await stage.declare()
    assert meter.outcomes == [(outcome, reason)]


async def test_without_a_credential_the_attempt_counts_as_such(
    stage: Stage, meter: RecordingMeter
) -> None:
    stage.credentials.answer = no_secret()
    await stage.declare()
    assert meter.outcomes == [(AttemptOutcome.NO_CREDENTIAL, Reason.SECRET_NOT_FOUND)]


async def test_an_attempt_that_is_dropped_counts_as_dropped(
    stage: Stage, meter: RecordingMeter
) -> None:
    """Whoever answers a new declaration gives up what was under way for the old one."""
    stage.driver.then(SILENCE)
    await stage.declare()
    await stage.clock.advance(2.0)
    await stage.declare(suspend=True)
    assert meter.attempts == [
        ("amqp091", AttemptOutcome.DROPPED, Reason.CLIENT_CLOSED, 2.0),
    ]


async def test_an_attempt_lasts_from_its_turn_to_its_end(
    stage: Stage, meter: RecordingMeter
) -> None:
    """Waiting for a turn says nothing of the broker."""
    stage.limit = asyncio.Semaphore(1)
    await stage.limit.acquire()
    stage.driver.then(SILENCE)
    await stage.declare()
    await stage.clock.advance(5.0)
    stage.limit.release()
    await stage.clock.advance(3.0)
    stage.driver.release()
    await stage.clock.settle()
    assert meter.attempts == [("amqp091", *OPENED, 3.0)]


# --- disconnects


async def test_a_lost_session_counts_with_its_reason(stage: Stage, meter: RecordingMeter) -> None:
    for close in (server_close(), transport_close()):
        await stage.declare()
        await stage.clock.advance(60.0)
        stage.driver.connection.end(close)
        await stage.clock.settle()
    assert meter.disconnects == [Reason.CONNECTION_FORCED, Reason.PEER_CLOSED]


async def test_a_session_that_is_closed_on_purpose_has_not_been_lost(
    stage: Stage, meter: RecordingMeter
) -> None:
    await stage.connect()
    await stage.declare(suspend=True)
    await stage.declare()
    await stage.change_credential(username="other")
    await stage.close()
    assert meter.disconnects == []


# --- updates


async def test_an_update_in_place_counts_and_so_does_its_trial(
    stage: Stage, meter: RecordingMeter
) -> None:
    await stage.connect()
    await stage.change_credential()
    assert meter.updates == [("InPlace", UpdateOutcome.UPDATED, 0.0)]
    assert meter.outcomes == [OPENED, OPENED]


async def test_a_replacement_counts_with_the_time_it_took(
    stage: Stage, meter: RecordingMeter
) -> None:
    await stage.connect()
    stage.driver.then(SILENCE)
    await stage.change_credential(username="other")
    await stage.clock.advance(4.0)
    stage.driver.release()
    await stage.clock.settle()
    assert meter.updates == [("Replaced", UpdateOutcome.UPDATED, 4.0)]


async def test_a_connection_that_cannot_be_renewed_counts_as_replaced_and_nothing_as_refused(
    stage: Stage, meter: RecordingMeter
) -> None:
    stage.driver.cannot_renew = "the broker is too old for it"
    await stage.connect()
    await stage.change_credential()
    assert meter.updates == [("Replaced", UpdateOutcome.UPDATED, 0.0)]
    assert meter.verifications == [VerificationOutcome.ACCEPTED]
    assert meter.disconnects == []


async def test_every_refused_update_counts(stage: Stage, meter: RecordingMeter) -> None:
    await stage.connect()
    stage.driver.then(credential_refused(), credential_refused(), None)
    await stage.change_credential()
    await stage.clock.advance(120.0)
    assert len(stage.events.of(EventType.SECRET_REJECTED)) == 1
    refused, updated = ("None", UpdateOutcome.REFUSED, 0.0), ("InPlace", UpdateOutcome.UPDATED, 0.0)
    assert meter.updates == [refused, refused, updated]


async def test_an_update_that_could_not_be_tried_counts_as_failed(
    stage: Stage, meter: RecordingMeter
) -> None:
    await stage.connect()
    stage.driver.then(unreachable())
    await stage.change_credential()
    stage.credentials.answer = errors.CredentialUnavailableError(
        Reason.SECRET_UNREADABLE, "an outage"
    )
    await stage.clock.advance(10.0)
    failed = ("None", UpdateOutcome.FAILED, 0.0)
    assert meter.updates == [failed, failed]


async def test_a_secret_whose_value_has_not_changed_is_no_update(
    stage: Stage, meter: RecordingMeter
) -> None:
    await stage.connect()
    await stage.change_credential("first")
    assert meter.updates == []


# --- probes


async def test_every_confirmed_probe_counts(stage: Stage, meter: RecordingMeter) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = 0.25
    await stage.clock.advance(15.0)
    connection.probe_answer = SILENCE
    await stage.clock.advance(30.0)
    assert meter.probes == [0.002, 0.25]


# --- what a view adds up


async def test_the_seconds_of_all_blocks_add_up(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    seen = []
    for text, seconds in (("low on memory", 7.0), ("low on disk", 3.0)):
        connection.block(text, Reason.BLOCKED_BY_BROKER)
        await stage.clock.advance(seconds)
        seen.append(stage.view.blocked_seconds)
        connection.unblock()
        await stage.clock.advance(20.0)
        seen.append(stage.view.blocked_seconds)
    assert seen == [7.0, 7.0, 10.0, 10.0]


async def test_a_block_ends_with_its_connection(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.block()
    await stage.clock.advance(5.0)
    connection.end(transport_close())
    await stage.clock.advance(60.0)
    assert stage.state().phase is Phase.CONNECTED
    assert stage.view.blocked_seconds == 5.0


async def test_a_session_is_ready_when_its_condition_says_so(stage: Stage) -> None:
    """Before the first attempt, connected, with a refused credential, lost, and ended."""

    def shown() -> bool:
        found = status.conditions(stage.view, now=stage.clock.now())
        ready = next(each for each in found if each.type is ConditionType.READY)
        assert stage.view.is_ready is (ready.status is ConditionStatus.TRUE)
        return stage.view.is_ready

    seen = [shown()]
    await stage.connect()
    seen.append(shown())
    stage.driver.otherwise = credential_refused()
    await stage.change_credential()
    seen.append(shown())
    stage.driver.otherwise = None
    stage.credentials.answer = a_credential("third")
    stage.session.credential_changed()
    await stage.clock.settle()
    seen.append(shown())
    stage.driver.otherwise = unreachable()
    stage.driver.connections[0].end(transport_close())
    await stage.clock.settle()
    seen.append(shown())
    await stage.close()
    seen.append(shown())
    assert seen == [False, True, False, True, False, False]
