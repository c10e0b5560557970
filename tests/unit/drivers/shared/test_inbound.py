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


@pytest.mark.parametrize(
    ("frames", "octets"),
    [
        pytest.param(1, 8, id="frame by frame"),
        pytest.param(33, 8, id="many at one time"),
        pytest.param(1, 8192, id="long ones"),
    ],
)
async def test_others_get_their_turn_while_one_frame_after_the_other_is_there(
    frames: int, octets: int
) -> None:
    """`frames` of so many `octets` are read at one time."""
    budget = InboundBudget(asyncio.get_running_loop())
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    for _ in range(0, 640, frames):
        for _ in range(frames):
            budget.take(octets)
        await budget.give_way()
    counting.cancel()
    # Every 32 frames, or 16 KiB.
    assert turns >= (640 * octets // (16 * 1024) if octets > 512 else 640 // max(frames, 32))
