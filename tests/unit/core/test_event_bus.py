"""Following the events: sinks that a session waits for, and readers that it does not (R5.13)."""

import asyncio
import logging

import pytest

from springline.core.event_bus import EventBus, EventReader, Missed
from springline.core.events import Event, EventType
from springline.core.state import Phase
from springline.core.values import SessionKey
from support.builders import KEY, transport_close, unreachable
from support.fake_clock import EIGHT
from support.fakes import RecordingEvents
from support.stage import Stage

OTHER = SessionKey("apps", "billing")


def event(number: int, key: SessionKey = KEY) -> Event:
    return Event(type=EventType.CONNECTED, key=key, at=EIGHT, message=str(number))


async def report(bus: EventBus, *numbers: int, key: SessionKey = KEY) -> None:
    for number in numbers:
        await bus.report(event(number, key))


async def rest(reader: EventReader) -> list[int | Missed]:
    """Leave the bus and return what was still to be read: numbers, and what was missed."""
    reader.close()
    return [each if isinstance(each, Missed) else int(each.message) async for each in reader]


# --- readers


# R5.13
async def test_every_reader_gets_every_event_since_it_joined_in_order() -> None:
    bus = EventBus()
    await report(bus, 0)
    first = bus.follow()
    await report(bus, 1, 2)
    second = bus.follow()
    await report(bus, 3)
    assert await rest(first) == [1, 2, 3]
    assert await rest(second) == [3]


# R5.13
async def test_a_reader_that_waits_gets_each_event_as_it_comes() -> None:
    bus = EventBus()
    with bus.follow() as reader:
        for number in range(3):
            waiting = asyncio.ensure_future(anext(reader))
            await asyncio.sleep(0)
            await report(bus, number)
            assert await waiting == event(number)


# R5.13
async def test_a_reader_that_is_too_slow_learns_where_and_how_much_it_has_missed() -> None:
    """The latest are kept, and no other reader misses any for that."""
    bus = EventBus()
    slow, quick = bus.follow(limit=3), bus.follow(limit=10)
    await report(bus, *range(8))
    assert await anext(slow) == Missed(5)
    assert await anext(slow) == event(5)
    await report(bus, 8, 9)
    assert await rest(slow) == [Missed(1), 7, 8, 9]
    assert await rest(quick) == list(range(10))


# R5.13
@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_what_is_read_and_what_is_missed_is_all_there_was(limit: int) -> None:
    bus = EventBus()
    reader = bus.follow(limit=limit)
    read: list[int | Missed] = []
    for number in range(50):
        await report(bus, number)
        if number % 5 == 0:
            each = await anext(reader)
            read.append(each if isinstance(each, Missed) else int(each.message))
    read += await rest(reader)
    at = 0
    for entry in read:
        if isinstance(entry, Missed):
            assert entry.count > 0
            at += entry.count
        else:
            assert entry == at, "a gap is told where it is"
            at += 1
    assert at == 50


async def test_a_reader_may_follow_one_session_alone() -> None:
    bus = EventBus()
    reader = bus.follow(OTHER, limit=1)
    await report(bus, 1)
    await report(bus, 2, key=OTHER)
    await report(bus, 3)
    assert await rest(reader) == [2]


async def test_a_cancelled_wait_loses_no_event() -> None:
    bus = EventBus()
    with bus.follow() as reader:
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        await report(bus, 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await anext(reader) == event(1)


async def test_a_reader_that_leaves_is_told_and_given_nothing_more() -> None:
    bus = EventBus()
    with bus.follow() as reader:
        waiting = asyncio.ensure_future(anext(reader, None))
        await asyncio.sleep(0)
    assert await waiting is None
    await report(bus, 1)
    assert await rest(reader) == []


async def test_a_reader_needs_room() -> None:
    with pytest.raises(ValueError, match="at least one event, not for 0"):
        EventBus().follow(limit=0)


# --- sinks


async def test_an_event_is_handled_by_one_sink_after_the_other() -> None:
    journal: list[str] = []
    first, second = RecordingEvents(journal), RecordingEvents(journal)
    await report(EventBus(first, second), 1)
    assert journal == ["Connected begins", "Connected is handled"] * 2
    assert first.events == second.events == [event(1)]


async def test_a_sink_that_fails_keeps_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing, well = RecordingEvents(), RecordingEvents()
    failing.failure = OSError("the disk is full")
    bus = EventBus(failing, well)
    with caplog.at_level(logging.ERROR), bus.follow() as reader:
        await report(bus, 1)
        assert well.events == [event(1)]
        assert await anext(reader) == event(1)
    assert "the disk is full" in caplog.text


# --- a session


# R5.13
async def test_readers_that_never_read_hold_up_no_session(stage: Stage) -> None:
    """Its cycle goes on, and one that does read gets to know all of it."""
    stuck = [stage.bus.follow(limit=1) for _ in range(3)]
    with stage.bus.follow(KEY) as reader:
        stage.driver.then(unreachable(), None, None)
        await stage.declare()
        await stage.clock.advance(30.0)
        stage.driver.connection.end(transport_close())
        await stage.clock.settle()
        assert stage.state().phase is Phase.CONNECTED
        assert len(stage.driver.requests) == 3
        assert [await anext(reader) for _ in stage.events.events] == stage.events.events
    for each in stuck:
        assert await anext(each) == Missed(len(stage.events.events) - 1)
        assert await anext(each) == stage.events.events[-1]
        each.close()


# R5.13
async def test_a_reader_knows_of_what_a_sink_still_handles(stage: Stage) -> None:
    """The session waits for the sink alone."""
    stage.events.hold(EventType.CONNECTED)
    connected = asyncio.ensure_future(stage.session.connected())
    with stage.bus.follow() as reader:
        await stage.declare()
        for expected in (EventType.ATTEMPTING, EventType.OBTAINED_ADDRESS, EventType.CONNECTED):
            each = await anext(reader)
            assert isinstance(each, Event)
            assert each.type is expected
    assert not connected.done()
    stage.events.release()
    await stage.clock.settle()
    assert connected.done()
