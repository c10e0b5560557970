"""The versions of HTTP without a socket: whatever comes, they tell an outcome or an end."""

import itertools
import logging
import struct

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, RequestReceived
from hypothesis import given
from hypothesis import strategies as st

from springline.drivers.http import bounds
from springline.drivers.http.engine import Answered, Encoded, Ended, EndKind, Event
from springline.drivers.http.http1 import Http1
from springline.drivers.http.http2 import Http2
from springline.drivers.http.messages import Request
from springline.reasons import Reason
from support.scripted_http import frame

ANSWERS = (
    b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none"
    b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\ntwo\r\n0\r\nt: u\r\n\r\n"
    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n"
    b"HTTP/1.1 404 Not Found\r\n\r\nfour"
)
EXPECTED = [(200, b"one"), (201, b"two"), (304, b""), (404, b"four")]


def encoded(request: Request | None = None, *, body: bytes = b"", last: bool = False) -> Encoded:
    return Encoded(request=request or Request(), body=body, is_of_known_length=True, is_last=last)


def pieces(octets: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({0, len(octets), *(each for each in cuts if each < len(octets))})
    return [octets[start:end] for start, end in itertools.pairwise(ends)]


def answers(events: list[Event]) -> list[tuple[int, bytes]]:
    return [
        (each.response.status, each.response.body) for each in events if isinstance(each, Answered)
    ]


# R3.3
@given(cuts=st.lists(st.integers(0, len(ANSWERS))))
def test_pipelined_answers_are_told_apart_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    engine = Http1(authority="localhost")
    for key in range(5):
        engine.send(key, encoded())
    events: list[Event] = []
    for piece in pieces(ANSWERS, cuts):
        sent, found = engine.receive(piece)
        assert not sent
        events += found
    events += engine.receive_eof()
    assert answers(events) == EXPECTED
    # The last one goes to the end of the stream, so that the fifth gets none.
    last = events[-1]
    assert isinstance(last, Ended)
    assert last.end.kind is EndKind.PEER


@given(
    octets=st.binary(max_size=200), start=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1."])
)
def test_any_octets_are_taken_by_http1_without_an_exception(octets: bytes, start: bytes) -> None:
    engine = Http1(authority="localhost")
    engine.send(1, encoded())
    _, events = engine.receive(start + octets)
    if not any(isinstance(each, Ended) for each in events):
        events = [*events, *engine.receive_eof()]
    assert isinstance(events[-1], Ended)


def http2() -> tuple[Http2, H2Connection]:
    """A client and a server that have exchanged their SETTINGS."""
    engine = Http2(authority="localhost", scheme="http", charge=lambda _: "")
    server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    server.receive_data(engine.start())
    was_ready = engine.is_ready
    sent, events = engine.receive(server.data_to_send())
    assert (was_ready, engine.is_ready) == (False, True)
    assert not events
    server.receive_data(sent)
    return engine, server


@given(octets=st.binary(max_size=200))
def test_any_octets_are_taken_by_http2_without_an_exception(octets: bytes) -> None:
    engine = Http2(authority="localhost", scheme="http", charge=lambda _: "")
    engine.start()
    _, events = engine.receive(octets)
    if not any(isinstance(each, Ended) for each in events):
        events = [*events, *engine.receive_eof()]
    assert isinstance(events[-1], Ended)


@given(
    kind=st.integers(0, 12),
    flags=st.integers(0, 255),
    stream=st.integers(0, 4),
    payload=st.binary(max_size=60),
)
def test_any_frame_is_taken_by_http2_without_an_exception(
    kind: int, flags: int, stream: int, payload: bytes
) -> None:
    engine, server = http2()
    server.receive_data(engine.send(1, encoded()))
    server.receive_data(engine.send(2, encoded(body=b"x")))
    octets = frame(kind, payload, flags=flags, stream_id=stream)
    _, events = engine.receive(octets)
    if not any(isinstance(each, Ended) for each in events):
        engine.receive(octets)
    engine.ping()
    engine.cancel(1)
    engine.finish()


@given(cuts=st.lists(st.integers(0, 300)))
def test_multiplexed_answers_are_told_apart_in_whatever_pieces_they_come(cuts: list[int]) -> None:
    engine, server = http2()
    for key in range(3):
        server.receive_data(engine.send(key, encoded()))
    for stream, body in ((5, b"three"), (1, b"one"), (3, b"two")):
        server.send_headers(stream, [(b":status", b"200"), (b"x", b"y")])
        server.send_data(stream, body, end_stream=True)
    events: list[Event] = []
    for piece in pieces(server.data_to_send(), cuts):
        _, found = engine.receive(piece)
        events += found
    assert [each.key for each in events if isinstance(each, Answered)] == [2, 0, 1]
    assert [body for _, body in answers(events)] == [b"three", b"one", b"two"]


def test_an_http2_request_names_scheme_and_authority_and_hides_its_credential() -> None:
    engine, server = http2()
    request = Request(target="/x?y", headers=((b"authorization", b"Bearer abc"),))
    octets = engine.send(1, encoded(request))
    [event] = [each for each in server.receive_data(octets) if isinstance(each, RequestReceived)]
    assert dict(event.headers) == {
        b":method": b"GET",
        b":scheme": b"http",
        b":authority": b"localhost",
        b":path": b"/x?y",
        b"authorization": b"Bearer abc",
    }
    # Never indexed, so that no table has it (RFC 7541 §6.2.3, §7.1.3).
    [field] = [each for each in event.headers if each[0] == b"authorization"]
    assert type(field).__name__ == "NeverIndexedHeaderTuple"


def test_what_we_keep_of_what_we_send_is_not_the_peers_to_say() -> None:
    engine, _ = http2()
    engine.receive(frame(4, b"\x00\x01\xff\xff\xff\xff"))  # SETTINGS_HEADER_TABLE_SIZE
    assert engine._h2.encoder.header_table_size == 4096


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (Request(), b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (
            Request(method="POST"),
            b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
        ),
    ],
    ids=["without a body", "with an empty one"],
)
def test_an_http1_request_says_no_more_than_is_needed(request_: Request, fields: bytes) -> None:
    engine = Http1(authority="localhost")
    assert engine.send(1, encoded(request_)).lower() == fields.lower()


def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    engine = Http1(authority="localhost")
    engine.send(1, encoded(Request(method="HEAD")))
    engine.send(2, encoded())
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    _, events = engine.receive(answer + answer + b"ok")
    assert answers(events) == [(200, b""), (200, b"ok")]


def test_an_answer_in_too_many_frames_is_left_before_its_body_is_too_long() -> None:
    engine, server = http2()
    server.receive_data(engine.send(1, encoded()))
    server.send_headers(1, [(b":status", b"200")])
    engine.receive(server.data_to_send())
    _, events = engine.receive(frame(0, b"x", stream_id=1) * bounds.MAX_RESPONSE_PIECES)
    [event] = events
    assert isinstance(event, Ended)
    assert event.end.reason is Reason.FLOODED
    assert engine.begun == {1}


def test_settings_that_nobody_knows_are_not_all_kept() -> None:
    engine, server = http2()
    settings = b"".join(struct.pack("!HI", each, 1) for each in range(1000, 1100))
    sent, events = engine.receive(frame(4, settings))
    [event] = events
    assert isinstance(event, Ended)
    assert event.end.reason is Reason.FLOODED
    [told] = [each for each in server.receive_data(sent) if isinstance(each, ConnectionTerminated)]
    assert told.error_code is ErrorCodes.ENHANCE_YOUR_CALM


def test_what_belongs_to_no_answer_is_charged() -> None:
    charged: list[int] = []

    def charge(octets: int) -> str:
        charged.append(octets)
        return "too much" if len(charged) > 3 else ""

    engine = Http2(authority="localhost", scheme="http", charge=charge)
    engine.start()
    _, events = engine.receive(frame(4) + frame(6, b"12345678") * 2)
    assert (charged, events) == ([9, 17, 17], [])
    _, [event] = engine.receive(frame(6, b"12345678"))
    assert isinstance(event, Ended)


@pytest.mark.parametrize(("is_shown", "is_logged"), [(True, False), (False, True)])
def test_what_comes_after_a_credential_is_not_logged_as_it_may_be_the_credential(
    caplog: pytest.LogCaptureFixture, is_shown: bool, is_logged: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    engine = Http1(authority="localhost")
    headers = ((b"authorization", b"Bearer pl4nted-s3cret"),) if is_shown else ()
    engine.send(0, encoded(Request(headers=headers)))
    _, [event] = engine.receive(b"pl4nted-s3cret")
    assert isinstance(event, Ended)
    assert event.end.reason is Reason.PROTOCOL_MISMATCH
    assert event.end.text.startswith("the peer does not speak HTTP/1.1")
    assert ("debug log" in event.end.text) is is_logged
    assert bool(caplog.records) is is_logged


def test_a_peer_that_speaks_first_is_recognised() -> None:
    engine = Http1(authority="localhost")
    _, [event] = engine.receive(b"SSH-2.0-OpenSSH_9\r\n")
    assert isinstance(event, Ended)
    assert event.end.reason is Reason.PROTOCOL_MISMATCH
    assert event.end.text == "the peer speaks SSH: the port is not the broker's HTTP port"
