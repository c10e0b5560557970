"""How much a peer may send on one connection."""

import asyncio

import pytest

from springline.drivers.amqp091.frame_reader import FrameReader
from springline.drivers.shared.inbound import InboundBudget
from springline.errors import RejectedError
from springline.reasons import Reason


async def test_so_many_frames_are_taken_at_once_and_no_more() -> None:
    budget = InboundBudget(asyncio.get_running_loop())
    assert [budget.take(8) for _ in range(2000)] == [""] * 2000
    assert "2000 frames" in [budget.take(8) for _ in range(100)][-1]


async def test_so_many_octets_are_taken_at_once_and_no_more() -> None:
    budget = InboundBudget(asyncio.get_running_loop())
    taken = [budget.take(16 * 1024) for _ in range(100)]
    assert taken[:64] == [""] * 64
    assert "1024 KiB" in taken[-1]


async def test_frames_in_pieces_of_one_octet_are_a_flood_too() -> None:
    """Each piece wakes the event loop, however little is in it."""
    reader = FrameReader(asyncio.get_running_loop())
    for _ in range(5000):
        reader.feed_data(b"\x08")
    with pytest.raises(RejectedError) as raised:
        await reader.readexactly(1)
    assert raised.value.reason is Reason.FLOODED
    assert "pieces" in raised.value.message


async def test_others_get_their_turn_while_one_frame_after_the_other_is_there() -> None:
    budget = InboundBudget(asyncio.get_running_loop())
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    for _ in range(640):
        budget.take(8)
        await budget.give_way()
    counting.cancel()
    assert turns >= 20
