"""How the manager's sessions share limits, stop together, and outlive a defect."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core.state import Phase
from support.builders import a_credential, unreachable
from support.fake_clock import FakeClock
from support.fakes import SILENCE
from support.fleet import BILLING, ORDERS, OTHER_BROKER, Fleet, running


@pytest.fixture
async def fleet(clock: FakeClock) -> AsyncIterator[Fleet]:
    async with running(clock) as fleet:
        yield fleet


# --- the connect limit


async def test_the_connect_limit_of_a_broker_is_never_exceeded(fleet: Fleet) -> None:
    fleet.driver.otherwise = SILENCE
    await fleet.put_broker(connect_limit=v1alpha1.ConnectLimit(concurrent=2))
    await fleet.put(*(f"orders-{number}" for number in range(7)))
    assert fleet.driver.running == 2
    for _ in range(4):
        fleet.driver.release()
        await fleet.clock.settle()
    assert len(fleet.open_connections) == 7
    assert fleet.driver.most_running == 2


async def test_brokers_do_not_share_their_limits(fleet: Fleet) -> None:
    fleet.driver.otherwise = SILENCE
    one = v1alpha1.ConnectLimit(concurrent=1)
    await fleet.put_broker(connect_limit=one)
    await fleet.put_broker(OTHER_BROKER, connect_limit=one)
    await fleet.put("orders", "orders-2")
    await fleet.put("billing", "billing-2", broker="other")
    assert fleet.driver.running == 2


async def test_a_renewal_waits_for_its_turn_too(fleet: Fleet) -> None:
    await fleet.put_broker(connect_limit=v1alpha1.ConnectLimit(concurrent=1))
    await fleet.put("orders")
    fleet.driver.then(SILENCE)
    await fleet.put("billing")
    fleet.sources.credential_sources[ORDERS].answer = a_credential("second")
    fleet.manager.object_changed(Identity("Secret", "apps", "orders-amqp"))
    await fleet.clock.settle()
    assert fleet.driver.running == 1
    assert fleet.driver.most_running == 1
    fleet.driver.release()
    await fleet.clock.settle()
    assert len(fleet.driver.requests) == 3


async def test_another_limit_counts_from_then_on(fleet: Fleet) -> None:
    fleet.driver.otherwise = SILENCE
    await fleet.put_broker(connect_limit=v1alpha1.ConnectLimit(concurrent=1))
    await fleet.put("a", "b", "c")
    assert fleet.driver.running == 1
    await fleet.put_broker(connect_limit=v1alpha1.ConnectLimit(concurrent=2))
    assert fleet.driver.running == 2
    assert fleet.driver.most_running == 2


async def test_a_lower_limit_holds_from_then_on(fleet: Fleet) -> None:
    fleet.driver.otherwise = SILENCE
    await fleet.put_broker(connect_limit=v1alpha1.ConnectLimit(concurrent=3))
    await fleet.put("a", "b", "c")
    assert fleet.driver.running == 3
    fleet.driver.most_running = 0
    await fleet.put_broker(connect_limit=v1alpha1.ConnectLimit(concurrent=1))
    assert fleet.driver.running == 1
    assert fleet.driver.most_running == 1


async def test_session_does_not_keep_the_context_that_it_was_declared_in(fleet: Fleet) -> None:
    """A context may hold the event that a framework is handling, and with it a whole document."""

    class Event:
        """What a framework puts into the context of its handlers."""

    handled: contextvars.ContextVar[Event] = contextvars.ContextVar("handled")

    async def handler() -> weakref.ref[Event]:
        event = Event()
        handled.set(event)
        await fleet.put("orders")
        return weakref.ref(event)

    await fleet.put_broker()
    event = await asyncio.create_task(handler())
    await fleet.clock.settle()  # the task of the handler itself is to go, too
    gc.collect()
    assert len(fleet.open_connections) == 1
    assert event() is None


# --- stopping


async def test_stop_closes_every_session_in_an_orderly_way(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    fleet.driver.then(unreachable())
    await fleet.put("waiting")
    fleet.manager.stop()
    fleet.manager.stop()
    await fleet.clock.settle()
    assert fleet.task is not None
    assert fleet.task.done()
    assert fleet.task.exception() is None
    assert [connection.close_texts for connection in fleet.driver.connections] == [
        ["the session was ended"],
        ["the session was ended"],
    ]
    assert {session.view.state.phase for session in fleet.manager.sessions()} == {Phase.CLOSED}


async def test_stop_waits_until_everything_is_released(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    fleet.driver.connection.close_answer = SILENCE
    fleet.manager.stop()
    await fleet.clock.advance(2.9)
    assert fleet.task is not None
    assert not fleet.task.done()
    await fleet.clock.advance(0.1)
    assert fleet.task.done()


async def test_a_manager_without_sessions_stops_at_once(fleet: Fleet) -> None:
    fleet.manager.stop()
    await fleet.clock.settle()
    assert fleet.task is not None
    assert fleet.task.done()


# --- defects


async def test_a_session_that_crashes_is_logged_and_restarted(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    crashed, billing = fleet.session(), fleet.session(BILLING).connection
    await fleet.crash(ORDERS)
    assert "a defect" in caplog.text
    assert crashed.is_closed
    assert fleet.session(BILLING).connection is billing
    await fleet.clock.advance(10.0)
    assert fleet.session() is not crashed
    assert fleet.phase() is Phase.CONNECTED
    assert fleet.session(BILLING).connection is billing
    assert len(fleet.open_connections) == 2
    fleet.manager.reconnect(ORDERS)
    await fleet.clock.settle()
    assert fleet.changed[-1] is fleet.session()


async def test_a_crashed_session_is_restarted_with_what_is_declared_by_then(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    await fleet.crash(ORDERS)
    await fleet.put("orders", generation=2, virtual_host="other")
    await fleet.clock.advance(10.0)
    assert fleet.session().view.generation == 2
    assert fleet.driver.requests[-1].parameters.virtual_host == "other"


async def test_a_crashed_session_that_is_dropped_is_not_restarted(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    await fleet.crash(ORDERS)
    fleet.manager.drop_connection(ORDERS)
    await fleet.clock.advance(60.0)
    assert fleet.manager.sessions() == []
    assert not fleet.open_connections


async def test_a_session_that_crashes_after_it_was_dropped_is_only_logged(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    await fleet.put_broker()
    await fleet.put("orders")

    async def break_down(**_: object) -> None:
        raise ZeroDivisionError("a defect")

    fleet.driver.connection.close = break_down  # type: ignore[method-assign]  # a broken driver
    fleet.manager.drop_connection(ORDERS)
    await fleet.clock.advance(60.0)
    assert "a defect" in caplog.text
    assert fleet.manager.sessions() == []
    assert fleet.driver.connection.was_aborted


async def test_a_crashed_session_does_not_come_back_after_stop(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    await fleet.crash(ORDERS)
    requests = len(fleet.driver.requests)
    fleet.manager.stop()
    await fleet.clock.advance(10.0)
    assert fleet.task is not None
    assert fleet.task.done()
    assert len(fleet.driver.requests) == requests
    assert not fleet.open_connections


async def test_stop_does_not_wait_for_a_restart_that_will_not_come(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    await fleet.crash(ORDERS)
    fleet.manager.stop()
    await fleet.clock.settle()
    assert fleet.task is not None
    assert fleet.task.done()


async def test_a_crashed_session_is_not_shown_as_open(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    told = len(fleet.changed)
    await fleet.crash(ORDERS)
    assert not fleet.open_connections
    assert fleet.phase() is not Phase.CONNECTED
    assert len(fleet.changed) > told
