"""Frames of an open connection, handed over as soon as they are there."""

import asyncio
from typing import Any

import pytest
from pamqp import commands as spec
from pamqp.heartbeat import Heartbeat

from springline.drivers.amqp091 import frames
from springline.drivers.amqp091.frame_reader import FrameReader
from springline.errors import RejectedError
from support.waiting import eventually

HEARTBEAT = frames.marshalled(Heartbeat())
BLOCKED = frames.marshalled(spec.Connection.Blocked(reason="low on memory"))
ACK = frames.marshalled(spec.Basic.Ack(delivery_tag=1), channel=1)


class Transport(asyncio.ReadTransport):
    """Notes whether it is paused."""

    def __init__(self) -> None:
        super().__init__()
        self.is_paused = False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Taker:
    """Notes what it is handed. It wants `most` frames, and fails at `fails_at`."""

    def __init__(self, *, most: int = 10**6, fails_at: bytes = b"") -> None:
        self.taken: list[tuple[int, int, bytes]] = []
        self.ended: list[BaseException | None] = []
        self._most = most
        self._fails_at = fails_at

    def take_frame(self, kind: int, channel: int, frame: bytes) -> bool:
        if frame == self._fails_at:
            raise RuntimeError("a defect")
        self.taken.append((kind, channel, frame))
        return len(self.taken) < self._most

    def reading_ended(self, error: BaseException | None) -> None:
        self.ended.append(error)


@pytest.fixture
async def transport() -> Transport:
    return Transport()


@pytest.fixture
async def reader(transport: Transport) -> FrameReader:
    reader = FrameReader(asyncio.get_running_loop())
    reader.set_transport(transport)
    return reader


async def test_a_frame_comes_when_its_last_octet_has(reader: FrameReader) -> None:
    taker = Taker()
    reader.hand_over_to(taker)
    for octet in BLOCKED[:-1]:
        reader.feed_data(bytes([octet]))
    assert taker.taken == []
    reader.feed_data(BLOCKED[-1:] + ACK + HEARTBEAT[:3])
    assert taker.taken == [(1, 0, BLOCKED), (1, 1, ACK)]
    reader.feed_data(HEARTBEAT[3:])
    assert taker.taken[2:] == [(8, 0, HEARTBEAT)]


async def test_what_came_with_the_handshake_comes_first(reader: FrameReader) -> None:
    """A broker may block a connection in the write that opens it."""
    open_ok = frames.marshalled(spec.Connection.OpenOk())
    reader.feed_data(open_ok + BLOCKED + ACK[:4])
    assert [await reader.readexactly(octets) for octets in (1, 6, len(open_ok) - 7)] == [
        open_ok[:1],
        open_ok[1:7],
        open_ok[7:],
    ]
    taker = Taker()
    reader.hand_over_to(taker)
    reader.feed_data(ACK[4:])
    assert [frame for _, _, frame in taker.taken] == [BLOCKED, ACK]


async def test_others_get_their_turn_while_one_frame_after_the_other_comes(
    reader: FrameReader, transport: Transport
) -> None:
    """Meanwhile nothing more is received, and in the end nothing is lost."""
    taker = Taker()
    reader.hand_over_to(taker)
    reader.feed_data(HEARTBEAT * 100)
    seen = []
    while len(taker.taken) < 100:
        seen.append((len(taker.taken), transport.is_paused))
        await asyncio.sleep(0)
    assert seen[0] == (32, True)
    assert len(seen) >= 3
    assert not transport.is_paused
    assert taker.ended == []


async def test_the_end_comes_after_what_came_before_it(reader: FrameReader) -> None:
    taker = Taker()
    reader.hand_over_to(taker)
    reader.feed_data(HEARTBEAT * 100 + BLOCKED)
    reader.feed_eof()
    assert (taker.ended, reader.is_done) == ([], False)
    await eventually(lambda: taker.ended, what="the end is told")
    assert len(taker.taken) == 101
    assert [type(each) for each in taker.ended] == [asyncio.IncompleteReadError]
    assert reader.is_done


async def test_the_end_is_told_once(reader: FrameReader) -> None:
    taker = Taker()
    reader.hand_over_to(taker)
    reset = ConnectionResetError()
    reader.set_exception(reset)
    reader.feed_eof()
    reader.stop(None)
    reader.feed_data(HEARTBEAT)
    assert (taker.ended, taker.taken) == ([reset], [])


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_an_end_before_the_first_frame_is_told_too(reader: FrameReader, how: str) -> None:
    """The peer can hang up between the handshake and the first frame."""
    if how == "end":
        reader.feed_eof()
    else:
        reader.set_exception(ConnectionResetError())
    taker = Taker()
    reader.hand_over_to(taker)
    assert len(taker.ended) == 1
    assert isinstance(taker.ended[0], EOFError if how == "end" else ConnectionResetError)


async def test_nothing_comes_after_the_last_frame_that_is_due(reader: FrameReader) -> None:
    taker = Taker(most=2)
    reader.hand_over_to(taker)
    reader.feed_data(BLOCKED + ACK + HEARTBEAT)
    reader.feed_data(HEARTBEAT)
    assert [frame for _, _, frame in taker.taken] == [BLOCKED, ACK]
    assert taker.ended == [None]


async def test_what_is_no_frame_ends_it(reader: FrameReader) -> None:
    taker = Taker()
    reader.hand_over_to(taker)
    reader.feed_data(HEARTBEAT + b"\x07")
    assert len(taker.taken) == 1
    assert [type(each) for each in taker.ended] == [RejectedError]
    assert reader.objection is not None


async def test_a_defect_in_whoever_takes_frames_ends_one_connection_and_is_logged(
    reader: FrameReader, caplog: pytest.LogCaptureFixture
) -> None:
    taker = Taker(fails_at=BLOCKED)
    reader.hand_over_to(taker)
    reader.feed_data(BLOCKED)
    assert [type(each) for each in taker.ended] == [RuntimeError]
    assert "frame not handled" in caplog.text


async def test_a_peer_is_stopped_that_sends_more_than_the_handshake_takes(
    reader: FrameReader, transport: Transport
) -> None:
    open_ok: Any = frames.marshalled(spec.Connection.OpenOk())
    reader.feed_data(open_ok * 2000)
    assert transport.is_paused
    assert await reader.readexactly(1) == open_ok[:1]


async def test_octets_that_are_sought_are_found_across_pieces(reader: FrameReader) -> None:
    taker = Taker(most=1)
    reader.hand_over_to(taker)
    reader.feed_data(BLOCKED)
    found: list[bool] = []
    reader.seek(b"\x0a\x33", lambda: found.append(True))
    reader.feed_data(HEARTBEAT + b"\x0a")
    assert not found
    reader.feed_data(b"\x33" + HEARTBEAT)
    reader.feed_eof()
    assert found == [True]
