"""Frames: told apart in whatever pieces they come, and refused where they are none."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.drivers.amqp10 import frames
from springline.drivers.amqp10.frames import Frame, FrameSplitter, MalformedFrameError, framed

LIMIT = 512
OCTETS = (
    framed(b"one")
    + framed(b"", channel=7)
    + b"\0\0\0\x0f\3\1\0\2extethree"[:12]
    + b"two"
    + framed(b"x" * (LIMIT - 8), type=frames.SASL, channel=0xFFFF)
)
EXPECTED = [
    Frame(0, 0, b"one", 11),
    Frame(0, 7, b"", 8),
    Frame(1, 2, b"two", 15),
    Frame(1, 0xFFFF, b"x" * (LIMIT - 8), LIMIT),
]


@given(cuts=st.lists(st.integers(0, len(OCTETS))))
def test_frames_are_told_apart_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    """With an extended header, which is left out, and at the limit."""
    splitter = FrameSplitter(LIMIT)
    ends = sorted({0, len(OCTETS), *cuts})
    found = [
        frame
        for start, end in itertools.pairwise(ends)
        for frame in splitter.feed(OCTETS[start:end])
    ]
    assert found == EXPECTED
    assert splitter.rest == b""


def test_rest_is_what_has_come_of_a_frame_that_is_not_complete() -> None:
    splitter = FrameSplitter(LIMIT)
    assert len(list(splitter.feed(framed(b"one") + framed(b"two")[:-1]))) == 1
    assert splitter.rest == framed(b"two")[:-1]


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        pytest.param(b"\0\0\0\7\2\0\0\0", "no frame", id="shorter than its header"),
        pytest.param(b"\0\0\0\0\2\0\0\0", "no frame", id="without a length"),
        pytest.param(b"\0\0\0\x08\1\0\0\0", "no frame", id="header of one word"),
        pytest.param(b"\0\0\0\x08\0\0\0\0", "no frame", id="no header"),
        pytest.param(b"\0\0\0\x0b\3\0\0\0abc", "no frame", id="header longer than the frame"),
        pytest.param(b"\0\0\2\1\2\0\0\0", "513 octets, and 512 are the most", id="too long"),
        pytest.param(b"\xff\xff\xff\xff\2\0\0\0", "4294967295 octets", id="as long as can be"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", "1213486160 octets", id="another protocol"),
        pytest.param(frames.AMQP_HEADER, "no frame", id="a second protocol header"),
    ],
)
def test_what_is_no_frame_is_refused_before_its_body_has_come(octets: bytes, why: str) -> None:
    with pytest.raises(MalformedFrameError, match=why):
        list(FrameSplitter(LIMIT).feed(octets))


def test_limit_may_be_changed_meanwhile() -> None:
    splitter = FrameSplitter(LIMIT)
    splitter.limit = 16
    assert len(list(splitter.feed(framed(b"x" * 8)))) == 1
    with pytest.raises(MalformedFrameError):
        list(splitter.feed(framed(b"x" * 9)))


@given(body=st.binary(max_size=100), kind=st.integers(0, 255), channel=st.integers(0, 0xFFFF))
def test_framed_body_comes_out_again(body: bytes, kind: int, channel: int) -> None:
    [frame] = FrameSplitter(LIMIT).feed(framed(body, type=kind, channel=channel))
    assert frame == Frame(kind, channel, body, len(body) + 8)


@given(octets=st.binary(max_size=200), limit=st.integers(8, 100))
def test_any_octets_give_frames_or_an_error_and_keep_less_than_one_frame(
    octets: bytes, limit: int
) -> None:
    splitter = FrameSplitter(limit)
    try:
        for frame in splitter.feed(octets):
            assert 8 <= frame.octets <= limit
    except MalformedFrameError:
        return
    assert len(splitter.rest) < limit
