"""What waits for one task."""

import asyncio
import contextlib

from springline.core.inbox import Inbox
from support.fake_clock import FakeClock


async def test_messages_come_out_in_the_order_in_which_they_came() -> None:
    inbox: Inbox[int] = Inbox()
    inbox.put(1)
    inbox.put(2)
    assert [await inbox.get(), await inbox.get()] == [1, 2]


async def test_whoever_is_first_waits_for_a_message(clock: FakeClock) -> None:
    inbox: Inbox[int] = Inbox()
    waiting = asyncio.ensure_future(inbox.get())
    await clock.settle()
    assert not waiting.done()
    inbox.put(1)
    inbox.put(2)
    await clock.settle()
    assert waiting.result() == 1
    assert inbox.drain() == [2]


async def test_a_wait_that_is_cancelled_loses_nothing(clock: FakeClock) -> None:
    """Also if the message came just before."""
    inbox: Inbox[int] = Inbox()
    waiting = asyncio.ensure_future(inbox.get())
    await clock.settle()
    inbox.put(1)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert await inbox.get() == 1


async def test_what_is_drained_is_taken_out() -> None:
    inbox: Inbox[int] = Inbox()
    inbox.put(1)
    assert inbox.drain() == [1]
    assert inbox.drain() == []
