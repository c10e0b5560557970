"""Heartbeats of one open connection: sent where nothing else was, and missed when they are."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from springline.drivers.amqp091.heart import Heart
from support.fake_clock import FakeClock

HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


class FakeReader:
    """Knows when something came last."""

    def __init__(self) -> None:
        self.heard_at = asyncio.get_running_loop().time()


class FakeLine:
    """Notes when something was sent."""

    def __init__(self, clock: FakeClock) -> None:
        self.reader = FakeReader()
        self.sent: list[float] = []
        self._clock = clock

    def write(self, data: bytes) -> None:
        assert data == HEARTBEAT
        self.sent.append(self._clock.elapsed)


@pytest.fixture
async def clock() -> AsyncIterator[FakeClock]:
    clock = FakeClock()
    with clock.drives(asyncio.get_running_loop()):
        yield clock


@pytest.fixture
async def line(clock: FakeClock) -> FakeLine:
    return FakeLine(clock)


def beating(line: Any, seconds: int) -> tuple[Heart, list[float]]:
    """Return a heart, and when it found that the peer is silent."""
    loop = asyncio.get_running_loop()
    began, silent = loop.time(), list[float]()
    heart = Heart(
        line,
        seconds=seconds,
        on_silence=lambda: silent.append(loop.time() - began),
    )
    return heart, silent


async def hearing(clock: FakeClock, line: FakeLine, *, seconds: int) -> None:
    """Let time pass while the peer says something each second."""
    for _ in range(seconds):
        await clock.advance(1)
        line.reader.heard_at = asyncio.get_running_loop().time()


async def test_one_is_sent_each_half_of_the_interval(clock: FakeClock, line: FakeLine) -> None:
    _, silent = beating(line, 10)
    await hearing(clock, line, seconds=21)
    assert line.sent == [5, 10, 15, 20]
    assert silent == []


async def test_none_is_sent_where_something_else_was(clock: FakeClock, line: FakeLine) -> None:
    """The peer may count on something in each half of the interval, not on heartbeats."""
    heart, _ = beating(line, 10)
    for _ in range(5):
        await hearing(clock, line, seconds=4)
        heart.sent()
    assert line.sent == []
    await hearing(clock, line, seconds=6)
    assert line.sent == [25]


async def test_one_comes_at_most_half_an_interval_after_what_was_sent(
    clock: FakeClock, line: FakeLine
) -> None:
    heart, _ = beating(line, 10)
    await hearing(clock, line, seconds=1)
    heart.sent()
    await hearing(clock, line, seconds=6)
    assert line.sent == [6]


async def test_a_silence_of_two_heartbeats_is_found(clock: FakeClock, line: FakeLine) -> None:
    _, silent = beating(line, 10)
    await clock.advance(20)
    assert silent == []
    await clock.advance(5)
    assert silent == [25]
    await clock.advance(100)
    assert silent == [25]  # once, and nothing is sent any more
    assert line.sent == [5, 10, 15, 20]


async def test_without_heartbeats_nothing_is_sent_and_no_silence_found(
    clock: FakeClock, line: FakeLine
) -> None:
    heart, silent = beating(line, 0)
    await clock.advance(1000)
    assert (line.sent, silent, heart.silence_limit) == ([], [], 0)


async def test_one_that_is_stopped_does_nothing_more(clock: FakeClock, line: FakeLine) -> None:
    heart, silent = beating(line, 10)
    heart.stop()
    heart.stop()
    heart.sent()
    await clock.advance(1000)
    assert (line.sent, silent) == ([], [])
