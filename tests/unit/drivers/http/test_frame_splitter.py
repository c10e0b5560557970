"""Octets to frames, in whatever pieces they come."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.drivers.http import bounds
from springline.drivers.http.frame_splitter import FrameSplitter, FrameTooLongError
from support.scripted_http import frame

frames = st.lists(
    st.builds(
        lambda kind, payload, stream: frame(kind, payload, stream_id=stream),
        st.integers(0, 255),
        st.binary(max_size=40),
        st.integers(0, 2**31 - 1),
    )
)


@given(frames=frames, cuts=st.lists(st.integers(0, 400)))
def test_frames_come_out_as_they_went_in(frames: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(frames)
    ends = sorted({0, len(octets), *(each for each in cuts if each < len(octets))})
    splitter = FrameSplitter()
    found = [
        each.octets
        for start, end in itertools.pairwise(ends)
        for each in splitter.feed(octets[start:end])
    ]
    assert found == frames
    assert splitter.pending == b""


def test_a_frame_that_is_too_long_is_refused_by_its_header() -> None:
    splitter = FrameSplitter()
    assert not list(splitter.feed(frame(0, b"x" * bounds.MAX_FRAME)[:-1]))
    assert len(list(splitter.feed(b"x"))) == 1
    with pytest.raises(FrameTooLongError):
        list(splitter.feed((bounds.MAX_FRAME + 1).to_bytes(3) + b"\0" * 6))
