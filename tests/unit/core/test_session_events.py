"""What a session reports, in which order, and how often (R5.1 to R5.3, R5.14)."""

import asyncio

import pytest

from springline.api.meta import Identity
from springline.core.events import EventType
from springline.core.session import Unusable
from springline.core.state import Failure, Phase
from springline.reasons import Reason
from support.builders import (
    BROKER,
    KEY,
    OTHER_RABBIT,
    RABBIT,
    a_credential,
    a_target,
    credential_refused,
    server_close,
    transport_close,
    unreachable,
)
from support.fake_clock import EIGHT, FakeClock
from support.fakes import SILENCE
from support.stage import Stage

CYCLE = [
    EventType.ATTEMPTING,
    EventType.OBTAINED_ADDRESS,
    EventType.CONNECT_FAILED,
    EventType.CONNECTED,
    EventType.DISCONNECTED,
]


# --- R5.1


# R5.1
async def test_the_address_is_looked_up_again_before_every_attempt(stage: Stage) -> None:
    stage.driver.then(unreachable(), unreachable())
    await stage.declare()
    stage.resolver.hosts[RABBIT.host] = ("192.0.2.2",)
    await stage.clock.advance(10.0)
    stage.resolver.hosts[RABBIT.host] = ("192.0.2.3", "192.0.2.4")
    await stage.clock.advance(20.0)
    assert [request.address for request in stage.driver.requests] == [
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
    ]
    assert stage.resolver.lookups == [RABBIT.host] * 3


# R5.1
async def test_a_service_that_moves_while_its_connection_lives_is_found_afterwards(
    stage: Stage,
) -> None:
    connection = await stage.connect()
    stage.resolver.hosts[RABBIT.host] = ("192.0.2.2",)
    await stage.clock.advance(60.0)
    connection.end(transport_close())
    await stage.clock.settle()
    assert stage.driver.connection.info.address == "192.0.2.2"


# --- R5.2


# R5.2
async def test_a_cycle_is_reported_in_its_order(stage: Stage) -> None:
    stage.driver.then(unreachable(), None)
    await stage.declare()
    await stage.clock.advance(10.0)
    stage.driver.otherwise = SILENCE
    stage.driver.connection.end(server_close())
    await stage.clock.settle()
    assert stage.events.types == CYCLE


# R5.2
async def test_attempting_is_reported_once_a_cycle(stage: Stage) -> None:
    stage.driver.then(*[unreachable()] * 4, None, *[unreachable()] * 3, None)
    await stage.declare()
    await stage.clock.advance(300.0)
    assert len(stage.events.of(EventType.ATTEMPTING)) == 1
    stage.driver.connection.end(transport_close())
    await stage.clock.advance(300.0)
    assert len(stage.events.of(EventType.ATTEMPTING)) == 2
    assert len(stage.events.of(EventType.CONNECTED)) == 2


# R5.2
@pytest.mark.parametrize(
    ("held", "next_step"),
    [
        pytest.param(EventType.ATTEMPTING, "read the credential", id="before reading"),
        pytest.param(EventType.OBTAINED_ADDRESS, f"open {RABBIT}", id="before connecting"),
    ],
)
async def test_an_attempt_goes_on_only_when_its_event_was_handled(
    stage: Stage, held: EventType, next_step: str
) -> None:
    stage.events.hold(held)
    await stage.declare()
    await stage.clock.advance(5.0)
    assert stage.journal[-1] == f"{held} begins"
    stage.events.release()
    await stage.clock.settle()
    handled = stage.journal.index(f"{held} is handled")
    assert stage.journal[handled + 1] == next_step
    assert stage.state().phase is Phase.CONNECTED


# R5.2
async def test_the_next_attempt_waits_until_the_failure_was_handled(stage: Stage) -> None:
    stage.driver.then(unreachable())
    stage.events.hold(EventType.CONNECT_FAILED)
    await stage.declare()
    await stage.clock.advance(60.0)
    assert len(stage.driver.requests) == 1
    stage.events.release()
    await stage.clock.settle()
    assert len(stage.driver.requests) == 2


# R5.2
async def test_those_who_wait_are_told_only_when_connected_was_handled(stage: Stage) -> None:
    stage.events.hold(EventType.CONNECTED)
    waiting = asyncio.ensure_future(stage.session.connected())
    await stage.declare()
    assert not waiting.done()
    stage.events.release()
    await stage.clock.settle()
    assert waiting.result() is stage.driver.connection


# R5.2
async def test_disconnected_comes_after_connected_even_if_the_connection_died_meanwhile(
    stage: Stage,
) -> None:
    stage.events.hold(EventType.CONNECTED)
    await stage.declare()
    stage.driver.otherwise = SILENCE
    stage.driver.connection.end(transport_close())
    await stage.clock.advance(60.0)
    assert stage.events.types[-1] is EventType.CONNECTED
    stage.events.release()
    await stage.clock.settle()
    connected = stage.journal.index("Connected is handled")
    assert stage.journal[connected + 1] == "Disconnected begins"


# R5.2
async def test_the_next_cycle_waits_until_disconnected_was_handled(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.clock.advance(60.0)
    stage.events.hold(EventType.DISCONNECTED)
    connection.end(transport_close())
    await stage.clock.advance(60.0)
    assert stage.connection() is None
    assert stage.events.types[-1] is EventType.DISCONNECTED
    stage.events.release()
    await stage.clock.settle()
    assert stage.connection() is stage.driver.connections[1]


# --- R5.3


# R5.3
async def test_the_same_failure_and_address_are_reported_once_a_cycle(stage: Stage) -> None:
    stage.driver.otherwise = unreachable()
    await stage.declare()
    await stage.clock.advance(600.0)
    assert len(stage.driver.requests) > 5
    assert stage.events.types == CYCLE[:3]


# R5.3
async def test_what_differs_is_reported(stage: Stage) -> None:
    stage.driver.then(unreachable("nobody listens"), unreachable("no route"), None)
    await stage.declare()
    stage.resolver.hosts[RABBIT.host] = ("192.0.2.2",)
    await stage.clock.advance(30.0)
    assert [event.message for event in stage.events.of(EventType.CONNECT_FAILED)] == [
        "nobody listens",
        "no route",
    ]
    assert [event.message for event in stage.events.of(EventType.OBTAINED_ADDRESS)] == [
        f"{RABBIT} is at 192.0.2.1",
        f"{RABBIT} is at 192.0.2.2",
    ]


# R5.3
async def test_the_next_cycle_reports_the_same_failure_again(stage: Stage) -> None:
    stage.driver.then(unreachable(), None, unreachable(), None)
    await stage.declare()
    await stage.clock.advance(60.0)
    stage.driver.connection.end(transport_close())
    await stage.clock.advance(60.0)
    assert len(stage.events.of(EventType.CONNECT_FAILED)) == 2
    assert stage.connection() is not None


# R5.3
async def test_a_new_credential_begins_a_new_cycle(stage: Stage) -> None:
    stage.driver.otherwise = credential_refused()
    await stage.declare()
    await stage.change_credential()
    assert stage.events.types == CYCLE[:3] * 2


# --- what they say


async def test_events_say_who_when_and_what(stage: Stage) -> None:
    stage.driver.then(unreachable("nobody listens"), None)
    await stage.declare()
    await stage.clock.advance(10.0)
    stage.driver.connection.end(server_close("CONNECTION_FORCED - by an operator"))
    await stage.clock.settle()
    attempting, obtained, failed, connected, disconnected = stage.events.events[:5]
    assert {event.key for event in stage.events.events} == {KEY}
    assert attempting.message == f'connecting to {BROKER.kind} rabbit, virtual host "orders"'
    assert attempting.at == EIGHT
    assert obtained.message == f"{RABBIT} is at 192.0.2.1"
    assert (failed.message, failed.reason) == ("nobody listens", Reason.CONNECTION_REFUSED)
    assert connected.message == f"connected to RabbitMQ 4.0.5 at {RABBIT} as app with PLAIN"
    assert (connected.at - EIGHT).total_seconds() == 10.0
    assert disconnected.message == "CONNECTION_FORCED - by an operator"
    assert disconnected.reason is Reason.CONNECTION_FORCED


# R5.14
async def test_every_event_has_the_servers_name_for_people(stage: Stage) -> None:
    """The name is the declared one, which is known before there is an answer from any address."""
    assert stage.session.server_name == ""
    stage.driver.then(unreachable(), None)
    await stage.declare()
    assert stage.session.server_name == "Broker rabbit"
    await stage.clock.advance(10.0)
    stage.driver.connection.end(server_close())
    await stage.clock.settle()
    assert len(stage.events.events) > 4
    assert {event.server_name for event in stage.events.events} == {"Broker rabbit"}
    assert {event.broker for event in stage.events.events} == {BROKER}


# R5.14
async def test_the_servers_name_is_that_of_the_broker_declared_when_it_happens(
    stage: Stage,
) -> None:
    await stage.connect()
    other = Identity("ClusterBroker", "", "shared")
    await stage.declare(broker=other, target=a_target(endpoints=(OTHER_RABBIT,)), generation=2)
    assert stage.session.server_name == "ClusterBroker shared"
    [replaced] = stage.events.of(EventType.SESSION_REPLACED)
    assert replaced.server_name == "ClusterBroker shared"


# R5.14
async def test_a_declaration_that_cannot_be_used_is_told_with_the_last_name_there_was(
    stage: Stage,
) -> None:
    problem = Failure(reason=Reason.INVALID_SPEC, message="spec.heartbeat: it is too long")
    stage.session.declare(Unusable(generation=1, problem=problem))
    await stage.clock.settle()
    await stage.declare(generation=2)
    stage.session.declare(Unusable(generation=3, problem=problem))
    await stage.clock.settle()
    names = [event.server_name for event in stage.events.of(EventType.INVALID_SPEC)]
    assert names == ["", "Broker rabbit"]


async def test_a_user_that_only_the_broker_knows_is_not_made_up(stage: Stage) -> None:
    stage.credentials.answer = a_credential(username="")
    await stage.connect()
    [connected] = stage.events.of(EventType.CONNECTED)
    assert connected.message == f"connected to RabbitMQ 4.0.5 at {RABBIT} with PLAIN"


async def test_no_event_has_a_secret(stage: Stage) -> None:
    stage.credentials.answer = a_credential("hunter2")
    stage.driver.then(unreachable(), credential_refused(), None)
    await stage.declare(target=a_target(endpoints=(RABBIT, OTHER_RABBIT)))
    await stage.clock.advance(120.0)
    await stage.change_credential("hunter2-renewed")
    await stage.close()
    assert EventType.SECRET_UPDATED in stage.events.types
    assert "hunter2" not in repr(stage.events.events)
    assert "hunter2" not in repr(stage.changes)


# --- a sink that fails


async def test_a_sink_that_raises_does_not_end_the_session(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.events.failure = OSError("the disk is full")
    connection = await stage.connect()
    assert stage.connection() is connection
    assert "the disk is full" in caplog.text
    connection.end(transport_close())
    await stage.clock.advance(10.0)
    assert stage.connection() is stage.driver.connections[1]


async def test_close_does_not_wait_for_a_sink_that_an_attempt_waits_for(clock: FakeClock) -> None:
    stage = Stage(clock)
    stage.start()
    stage.events.hold(EventType.OBTAINED_ADDRESS)
    await stage.declare()
    await stage.close()
    assert stage.task is not None
    await clock.settle()
    assert stage.task.done()
    assert not stage.driver.requests
