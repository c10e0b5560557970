"""Servers of HTTP that break the protocol, or send what costs: each call ends with a word for it.

Nothing of the peer's octets is in an error, and no exception of a library leaves the driver.
"""

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable

import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from springline.drivers.http import bounds
from springline.drivers.http.connection import HttpConnection, Version
from springline.drivers.http.engine import EndKind
from springline.drivers.http.errors import RetryRequestError
from springline.drivers.http.messages import Response
from springline.errors import ConnectError, RejectedError, TransientError
from springline.reasons import Reason
from support import fake_peer, scripted_http
from support.fake_peer import Talk
from support.scripted_http import Http2Talk, connection, frame, get, post
from support.waiting import PATIENCE

Script = Callable[[Talk], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
PLANTED = b"what-only-the-peer-says"


async def failure(pending: Awaitable[Response]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests look at it
        await pending
    return caught.value


def calls(client: HttpConnection, count: int = 1) -> list["asyncio.Task[Response]"]:
    return [
        asyncio.ensure_future(client.call(get(f"/{number}"), timeout=PATIENCE))
        for number in range(count)
    ]


def saying(octets: bytes, *, after: int = 1, closing: bool = False) -> Script:
    """A server of HTTP/1.1 that says this after so many requests, whatever they are."""

    async def script(talk: Talk) -> None:
        for _ in range(after):
            await scripted_http.request(talk)
        talk.raw(octets)
        if closing:
            return
        while await talk.reader.read(65536):
            pass

    return script


def without_end(first: bytes, again: bytes) -> Script:
    """A server that begins an answer and goes on with it as long as it is listened to."""

    async def script(talk: Talk) -> None:
        await scripted_http.request(talk)
        talk.raw(first)
        while True:
            talk.raw(again)
            await talk.writer.drain()

    return script


BROKEN = {
    "HTTP/0.9": (b"<html>" + PLANTED, Reason.PROTOCOL_MISMATCH),
    "a banner of SSH": (b"SSH-2.0-OpenSSH_9\r\n", Reason.PROTOCOL_MISMATCH),
    "garbage without a line": (b"\x00\x01\x02", Reason.PROTOCOL_MISMATCH),
    "an alert of TLS": (b"\x15\x03\x01\x00\x02\x02\x46", Reason.PROTOCOL_MISMATCH),
    "a status that is none": (b"HTTP/1.1 xyz OK\r\n\r\n", Reason.PROTOCOL_MISMATCH),
    "another HTTP": (b"HTTP/3.0 200 OK\r\n\r\n", Reason.PROTOCOL_MISMATCH),
    "two Content-Lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!",
        Reason.PROTOCOL_MISMATCH,
    ),
    "a list of Content-Lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok!",
        Reason.PROTOCOL_MISMATCH,
    ),
    "a Content-Length that is none": (
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        Reason.PROTOCOL_MISMATCH,
    ),
    "a Content-Length that is out of all measure": (
        b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n",
        Reason.PROTOCOL_MISMATCH,
    ),
    "Transfer-Encoding and Content-Length": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
        Reason.PROTOCOL_MISMATCH,
    ),
    "Transfer-Encoding in HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        Reason.PROTOCOL_MISMATCH,
    ),
    "a transfer coding that nobody knows": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: " + PLANTED + b"\r\n\r\n",
        Reason.PROTOCOL_MISMATCH,
    ),
    "a space before the colon": (
        b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok",
        Reason.PROTOCOL_MISMATCH,
    ),
    "a header field without a name": (
        b"HTTP/1.1 200 OK\r\n: 2\r\n\r\nok",
        Reason.PROTOCOL_MISMATCH,
    ),
    "a NUL in a header field": (
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\nok",
        Reason.PROTOCOL_MISMATCH,
    ),
    "101 unasked": (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: " + PLANTED + b"\r\n\r\n",
        Reason.PROTOCOL_MISMATCH,
    ),
    "a chunk without a length": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        Reason.PROTOCOL_MISMATCH,
    ),
    "a chunk that is longer than it says": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
        Reason.PROTOCOL_MISMATCH,
    ),
    "too many header fields": (
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (bounds.MAX_HEADERS + 1) + b"\r\n",
        Reason.FLOODED,
    ),
    "too many 1xx answers": (
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * (bounds.MAX_INFORMATIONAL + 1),
        Reason.FLOODED,
    ),
}


@pytest.mark.parametrize(("octets", "reason"), BROKEN.values(), ids=BROKEN.keys())
async def test_an_answer_that_breaks_the_protocol_is_told_at_once(
    octets: bytes, reason: Reason
) -> None:
    """The first one learns what was wrong, those behind it that they have no answer."""
    async with fake_peer.serving(saying(octets)) as peer:
        client = connection(peer)
        first, second = calls(client, 2)
        error = await failure(first)
        assert isinstance(error, RejectedError)
        assert error.reason is reason
        assert PLANTED.decode() not in repr(error)
        assert error.__cause__ is None
        other = await failure(second)
        assert isinstance(other, RetryRequestError)
        assert not other.is_unprocessed
        assert other.may_repeat
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.FAILED


ENDLESS = {
    "header fields": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 100),
    "one header field": (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1000),
    "a status line": (b"HTTP/1.1 200 ", b"O" * 1000),
    "a body with a length": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"x" * 9999,
    ),
    "a body until the end": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 9999),
    "chunks": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"1\r\nx\r\n" * 1000,
    ),
    "a chunk extension": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;",
        b"x=y;" * 1000,
    ),
    "chunk extensions": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"1;" + b"x=y;" * 1000 + b"\r\nx\r\n",
    ),
    "trailers": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
        b"x: y\r\n" * 100,
    ),
    "1xx answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10),
    "folded lines": (b"HTTP/1.1 200 OK\r\nx: y\r\n", b" z\r\n" * 100),
}


@pytest.mark.parametrize(("first", "again"), ENDLESS.values(), ids=ENDLESS.keys())
async def test_an_answer_without_an_end_is_left(first: bytes, again: bytes) -> None:
    async with fake_peer.serving(without_end(first, again)) as peer:
        client = connection(peer)
        error = await failure(calls(client)[0])
        assert isinstance(error, RejectedError)
        assert error.reason in {Reason.FLOODED, Reason.PROTOCOL_MISMATCH}
        await client.wait_closed()


async def test_an_answer_in_pieces_of_one_octet_is_taken() -> None:
    async def script(talk: Talk) -> None:
        await scripted_http.request(talk)
        for octet in OK:
            talk.raw(bytes([octet]))
            await talk.writer.drain()
            await asyncio.sleep(0)
        await talk.until_gone()

    async with fake_peer.serving(script) as peer:
        client = connection(peer)
        assert (await calls(client)[0]).body == b"ok"
        client.close()
        await client.wait_closed()


async def test_a_folded_line_is_read_with_a_space() -> None:
    octets = b"HTTP/1.1 200 OK\r\nx: a\r\n\tb\r\ncontent-length: 0\r\n\r\n"
    async with fake_peer.serving(saying(octets)) as peer:
        client = connection(peer)
        assert (await calls(client)[0]).header(b"x") == b"a b"
        client.close()
        await client.wait_closed()


HALF = {
    "a status line": b"HTTP/1.1 20",
    "the header fields": b"HTTP/1.1 200 OK\r\nx: y\r\n",
    "a body with a length": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok",
    "a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nok",
    "the last chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
    "1xx answers": b"HTTP/1.1 100 Continue\r\n\r\n",
}


@pytest.mark.parametrize("octets", HALF.values(), ids=HALF.keys())
async def test_half_an_answer_is_no_answer_and_not_to_be_repeated(octets: bytes) -> None:
    async with fake_peer.serving(saying(OK + octets, after=2, closing=True)) as peer:
        client = connection(peer)
        first, second = calls(client, 2)
        assert (await first).body == b"ok"
        error = await failure(second)
        assert isinstance(error, TransientError)
        assert error.reason is Reason.PEER_CLOSED
        assert "in the middle" in error.message
        await client.wait_closed()


async def test_a_body_that_a_reset_cuts_is_no_body() -> None:
    """Without a length the end of the stream ends a body, and a reset does not (RFC 9112 §8)."""

    async def script(talk: Talk) -> None:
        await scripted_http.request(talk)
        talk.raw(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await talk.writer.drain()
        await go.wait()
        talk.reset()

    go = asyncio.Event()
    async with fake_peer.serving(script) as peer:
        client = connection(peer)
        [pending] = calls(client)
        await client.connected()
        go.set()
        error = await failure(pending)
        assert isinstance(error, TransientError | RejectedError)
        await client.wait_closed()


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async with fake_peer.serving(
        saying(b"HTTP/1.1 200 OK\r\n\r\nall of it", after=3, closing=True)
    ) as peer:
        client = connection(peer)
        first, second, third = calls(client, 3)
        assert (await first).body == b"all of it"
        for each in (second, third):
            error = await failure(each)
            assert isinstance(error, RetryRequestError)
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.PEER


async def test_pipelining_that_is_refused_half_way_fails_the_rest_for_another_try() -> None:
    """`Connection: close` in the second of four answers."""
    second = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    async with fake_peer.serving(saying(OK + second + OK, after=4)) as peer:
        client = connection(peer)
        pending = calls(client, 4)
        waiting = asyncio.ensure_future(client.call(post(), timeout=PATIENCE))
        assert [(await each).body for each in pending[:2]] == [b"ok", b"ok"]
        for each in (*pending[2:], waiting):
            error = await failure(each)
            assert isinstance(error, RetryRequestError)
            assert error.is_unprocessed
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.PEER


async def test_nothing_is_pipelined_behind_what_is_not_idempotent_nor_that_behind_others() -> None:
    heads: list[list[bytes]] = []

    async def script(talk: Talk) -> None:
        for count in (2, 1, 2):
            seen = [await scripted_http.request(talk) for _ in range(count)]
            # What is already there, too, would be one too many.
            buffered = bytes(talk.reader._buffer)  # type: ignore[attr-defined]
            heads.append([*seen, *filter(None, [buffered])])
            for _ in seen:
                talk.raw(OK)
        await talk.until_gone()

    async with fake_peer.serving(script) as peer:
        client = connection(peer)
        requests = [get("/1"), get("/2"), post("/3"), get("/4"), get("/5")]
        await asyncio.gather(*(client.call(each, timeout=PATIENCE) for each in requests))
        client.close()
        await client.wait_closed()
    assert heads == [[b"GET /1", b"GET /2"], [b"POST /3"], [b"GET /4", b"GET /5"]]


@pytest.mark.parametrize(
    ("method", "retryable"), [("GET", True), ("POST", False)], ids=["idempotent", "not idempotent"]
)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_kept_alive_connection_that_ends_under_a_request(
    method: str, retryable: bool, reset: bool
) -> None:
    """Before any octet of the answer: what is idempotent may be made again."""

    async def script(talk: Talk) -> None:
        await scripted_http.request(talk)
        talk.raw(OK)
        await scripted_http.request(talk)
        if reset:
            talk.reset()

    async with fake_peer.serving(script) as peer:
        client = connection(peer)
        await calls(client)[0]
        request = get() if method == "GET" else post()
        error = await failure(client.call(request, timeout=PATIENCE))
        assert isinstance(error, RetryRequestError if retryable else TransientError)
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.PEER


async def test_a_new_connection_that_ends_without_an_answer_is_a_failure() -> None:
    async with fake_peer.serving(saying(b"", closing=True)) as peer:
        client = connection(peer)
        error = await failure(calls(client)[0])
        assert isinstance(error, TransientError)
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.FAILED


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"", EndKind.PEER),
        (b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n", EndKind.PEER),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", EndKind.FAILED),
        (PLANTED, EndKind.FAILED),
    ],
    ids=["closed", "408", "an answer", "garbage"],
)
async def test_the_end_of_an_idle_connection_is_told_from_a_failure(
    octets: bytes, kind: EndKind
) -> None:
    async def script(talk: Talk) -> None:
        await scripted_http.request(talk)
        talk.raw(OK)
        await idle.wait()
        talk.raw(octets)

    idle = asyncio.Event()
    async with fake_peer.serving(script) as peer:
        client = connection(peer)
        await calls(client)[0]
        idle.set()
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is kind
        assert PLANTED.decode() not in client.end.text


async def test_an_answer_more_than_was_asked_for_is_an_error() -> None:
    """It could be taken for the answer to the next request (RFC 9112 §11.1)."""
    async with fake_peer.serving(saying(OK + OK)) as peer:
        client = connection(peer)
        assert (await calls(client)[0]).body == b"ok"
        await client.wait_closed()
        assert client.end is not None
        assert client.end.reason is Reason.PROTOCOL_MISMATCH


async def test_a_peer_that_reads_nothing_costs_a_bounded_number_of_octets() -> None:
    async def script(talk: Talk) -> None:
        await talk.silent()

    async with fake_peer.serving(script) as peer:
        client = connection(peer)
        body = b"x" * (bounds.MAX_REQUEST_BODY - 1000)
        request = get(body=body)
        pending = [asyncio.ensure_future(client.call(request, timeout=PATIENCE)) for _ in range(20)]
        await client.connected()
        await asyncio.sleep(0)
        assert client._line is not None
        waiting = client._line.transport.get_write_buffer_size()
        assert waiting <= bounds.MAX_OUTSTANDING_OCTETS + 1000
        client.abort()
        await asyncio.gather(*pending, return_exceptions=True)
        await client.wait_closed()


async def test_a_peer_that_leaves_too_much_unread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_UNREAD", 100_000)
    monkeypatch.setattr(bounds, "MAX_OUTSTANDING_OCTETS", 2**30)
    async with fake_peer.serving(lambda talk: talk.silent()) as peer:
        client = connection(peer)
        request = get(body=b"x" * (bounds.MAX_REQUEST_BODY - 1000))
        pending = [asyncio.ensure_future(client.call(request, timeout=PATIENCE)) for _ in range(20)]
        for each in pending:
            await failure(each)
        await client.wait_closed()
        assert client.end is not None
        assert client.end.reason is Reason.FLOODED
        assert "unread" in client.end.text


# HTTP/2


def serving2(
    script: Callable[[Http2Talk], Awaitable[None]], settings: dict[SettingCodes, int] | None = None
) -> Script:
    """A server of HTTP/2."""

    async def outer(talk: Talk) -> None:
        server = Http2Talk(talk)
        await server.start(settings)
        await script(server)

    return outer


def requested2(octets: Callable[[], bytes] | bytes, *, again: bool = False) -> Script:
    """A server that says this after the first request, once or for ever, and reads on."""

    async def script(server: Http2Talk) -> None:
        await server.requested()
        while True:
            server.talk.raw(octets if isinstance(octets, bytes) else octets())
            await server.talk.writer.drain()
            if not again:
                break
        while await server.talk.reader.read(65536):
            pass

    return serving2(script)


SETTINGS, PING, GOAWAY, HEADERS, DATA, RST = 4, 6, 7, 1, 0, 3
END_STREAM, END_HEADERS = 1, 4
STATUS_200 = b"\x88"  # indexed (RFC 7541 appendix A)

NO_HTTP2 = {
    "HTTP/1.1": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP/1.1"),
    "SSH": (b"SSH-2.0-OpenSSH_9\r\n", "speaks SSH"),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46\x00\x00", "speaks TLS"),
    "another frame": (frame(PING, b"12345678"), "does not speak HTTP/2"),
    "an acknowledgement": (frame(SETTINGS, flags=1), "does not speak HTTP/2"),
    "half a frame": (b"\x00\x00\x08\x06", "does not speak HTTP/2"),
    "AMQP": (b"AMQP\x00\x00\x09\x01", "speaks AMQP 0-9-1"),
}


@pytest.mark.parametrize(("octets", "words"), NO_HTTP2.values(), ids=NO_HTTP2.keys())
async def test_a_peer_that_speaks_no_http2_is_told_by_its_first_octets(
    octets: bytes, words: str
) -> None:
    async def script(talk: Talk) -> None:
        talk.raw(octets)
        while await talk.reader.read(65536):
            pass

    async with fake_peer.serving(script) as peer:
        client = connection(peer, version=Version.HTTP2)
        error = await failure(calls(client)[0])
        assert isinstance(error, RejectedError)
        assert error.reason is Reason.PROTOCOL_MISMATCH
        assert words in error.message
        await client.wait_closed()


BROKEN2 = {
    "DATA before HEADERS": frame(DATA, b"x", stream_id=1),
    "a stream that nobody opened": frame(
        HEADERS, STATUS_200, flags=END_HEADERS | END_STREAM, stream_id=9
    ),
    "a stream of the server's": frame(HEADERS, STATUS_200, flags=END_HEADERS, stream_id=2),
    "header fields that cannot be decoded": frame(
        HEADERS, b"\xff\xff\xff\xff\xff\xff", flags=END_HEADERS, stream_id=1
    ),
    "no status": frame(HEADERS, b"\x40\x01a\x01b", flags=END_HEADERS, stream_id=1),
    "a status that is none": frame(
        HEADERS, b"\x08\x03abc", flags=END_HEADERS | END_STREAM, stream_id=1
    ),
    "a status of one digit": frame(
        HEADERS, b"\x08\x012", flags=END_HEADERS | END_STREAM, stream_id=1
    ),
    "a push": frame(5, b"\x00\x00\x00\x02" + STATUS_200, flags=END_HEADERS, stream_id=1),
    "a frame that is too long": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "CONTINUATION out of the blue": frame(9, b"", flags=END_HEADERS, stream_id=1),
    "something amid header fields": frame(HEADERS, STATUS_200, stream_id=1)
    + frame(PING, b"12345678"),
    "GOAWAY amid header fields": frame(HEADERS, STATUS_200, stream_id=1) + frame(GOAWAY, b"\0" * 8),
    "a PING that is too short": frame(PING, b"123"),
    "half a GOAWAY": frame(GOAWAY, b"123"),
    "a window of nothing": frame(8, b"\0\0\0\0"),
    "a window that overflows": frame(8, b"\x7f\xff\xff\xff"),
    "a setting that is none": frame(SETTINGS, struct.pack("!HI", 4, 0xFFFF_FFFF)),
    "a setting of half": frame(SETTINGS, b"123"),
    "a body that is longer than it says": frame(
        HEADERS, STATUS_200 + b"\x0f\x0d\x011", flags=END_HEADERS, stream_id=1
    )
    + frame(DATA, b"too long", flags=END_STREAM, stream_id=1),
    "connection-specific fields": frame(
        HEADERS,
        STATUS_200 + b"\x40\x0aconnection\x05close",
        flags=END_HEADERS | END_STREAM,
        stream_id=1,
    ),
    "padding that is longer than the frame": frame(DATA, b"\xffx", flags=8, stream_id=1),
}


@pytest.mark.parametrize("octets", BROKEN2.values(), ids=BROKEN2.keys())
async def test_frames_that_break_the_protocol_end_the_connection(octets: bytes) -> None:
    async with fake_peer.serving(requested2(octets)) as peer:
        client = connection(peer, version=Version.HTTP2)
        first = calls(client)[0]
        error = await failure(first)
        assert isinstance(error, ConnectError)
        assert error.reason is Reason.PROTOCOL_MISMATCH
        assert error.__cause__ is None
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.FAILED


FLOODS = {
    "PING": frame(PING, b"12345678") * 100,
    "SETTINGS": frame(SETTINGS) * 100,
    "SETTINGS with much in them": frame(SETTINGS, struct.pack("!HI", 0x99, 1) * 100) * 10,
    "settings that nobody knows": frame(
        SETTINGS, b"".join(struct.pack("!HI", each, 1) for each in range(1000, 1100))
    ),
    "windows of the connection": frame(8, b"\0\0\0\1") * 100,
    "windows of a stream": frame(8, b"\0\0\0\1", stream_id=1) * 100,
    "PRIORITY": frame(2, b"\0\0\0\0\1", stream_id=1) * 100,
    "unknown frames": frame(0x99, b"x" * 10) * 100,
    "long unknown frames": frame(0x99, b"x" * 16384),
    "empty DATA": frame(DATA, stream_id=1) * 100,
    "acknowledged PINGs": frame(PING, b"12345678", flags=1) * 100,
    "resets of a stream that is over": frame(RST, b"\0\0\0\1", stream_id=1) * 100,
    "GOAWAY that ends nothing": frame(GOAWAY, b"\x7f\xff\xff\xff\0\0\0\0") * 100,
}


@pytest.mark.parametrize("octets", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_of_frames_that_belong_to_no_answer_ends_the_connection(
    octets: bytes,
) -> None:
    async with fake_peer.serving(requested2(octets, again=True)) as peer:
        client = connection(peer, version=Version.HTTP2)
        error = await failure(calls(client)[0])
        assert isinstance(error, ConnectError | RetryRequestError)
        await client.wait_closed()


def continuations() -> bytes:
    """A header block without an end."""
    return frame(9, b"\x40\x01a\x01b" * 10, stream_id=1) * 50


LONG_ANSWERS = {
    "CONTINUATION": (frame(HEADERS, STATUS_200, stream_id=1), continuations()),
    "empty CONTINUATION": (
        frame(HEADERS, STATUS_200, stream_id=1),
        frame(9, b"", stream_id=1) * 50,
    ),
    "tiny DATA": (
        frame(HEADERS, STATUS_200, flags=END_HEADERS, stream_id=1),
        frame(DATA, b"x", stream_id=1) * 10,
    ),
    "padded DATA": (
        frame(HEADERS, STATUS_200, flags=END_HEADERS, stream_id=1),
        frame(DATA, b"\xff" + b"\0" * 255, flags=8, stream_id=1),
    ),
    "1xx answers": (
        b"",
        frame(HEADERS, b"\x08\x03103", flags=END_HEADERS, stream_id=1) * 10,
    ),
}


@pytest.mark.parametrize(("first", "again"), LONG_ANSWERS.values(), ids=LONG_ANSWERS.keys())
async def test_an_answer_of_too_many_frames_is_left(first: bytes, again: bytes) -> None:
    async def script(server: Http2Talk) -> None:
        await server.requested()
        server.talk.raw(first)
        while True:
            server.talk.raw(again)
            await server.talk.writer.drain()
            await asyncio.sleep(0)

    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        error = await failure(calls(client)[0])
        assert isinstance(error, RejectedError)
        assert error.reason in {Reason.FLOODED, Reason.PROTOCOL_MISMATCH}
        await client.wait_closed()


async def test_a_body_without_an_end_is_left_though_windows_would_allow_it() -> None:
    async def script(server: Http2Talk) -> None:
        [stream] = await server.requested()
        await server.answer_at_length(stream, b"x" * (bounds.MAX_BODY * 4))

    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        error = await failure(calls(client)[0])
        assert isinstance(error, RejectedError)
        assert error.reason is Reason.FLOODED
        await client.wait_closed()


async def test_bodies_that_are_not_ended_are_not_all_held() -> None:
    """Each below the bound of a body, and all together above that of a connection."""

    async def script(server: Http2Talk) -> None:
        streams = await server.requested(20)
        for stream in streams:
            server.h2.send_headers(stream, [(b":status", b"200")])
        with contextlib.suppress(ProtocolError):  # the client has said goodbye
            for stream in streams * 60:
                while server.h2.local_flow_control_window(stream) < 16384:
                    await server.hear()
                server.h2.send_data(stream, b"x" * 16384)
                server.flush()

    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        errors = [await failure(each) for each in calls(client, 20)]
        assert all(isinstance(each, RejectedError) for each in errors)
        await client.wait_closed()
        assert client.end is not None
        assert client.end.reason is Reason.FLOODED
        assert "ends none" in client.end.text


async def test_a_body_beyond_the_windows_is_an_error() -> None:
    async def script(server: Http2Talk) -> None:
        await server.requested()
        server.talk.raw(frame(HEADERS, STATUS_200, flags=END_HEADERS, stream_id=1))
        while True:
            server.talk.raw(frame(DATA, b"x" * 16384, stream_id=1) * 60)
            await server.talk.writer.drain()

    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        error = await failure(calls(client)[0])
        assert isinstance(error, RejectedError)
        await client.wait_closed()


async def test_a_header_list_that_unpacks_to_much_more_is_left() -> None:
    """An entry of the dynamic table, named again and again (RFC 7541 §7.3)."""
    entry = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000  # a literal that is indexed, 4000 octets long
    block = STATUS_200 + entry + b"\xbe" * 10_000
    async with fake_peer.serving(
        requested2(frame(HEADERS, block, flags=END_HEADERS, stream_id=1))
    ) as peer:
        client = connection(peer, version=Version.HTTP2)
        error = await failure(calls(client)[0])
        assert isinstance(error, RejectedError)
        assert error.reason is Reason.FLOODED
        await client.wait_closed()


async def test_streams_beyond_the_last_of_a_goaway_were_not_processed() -> None:
    """Those up to it are still answered, and the end is orderly."""

    async def script(server: Http2Talk) -> None:
        first, *_ = await server.requested(3)
        server.talk.raw(frame(GOAWAY, struct.pack("!II", first, 0)))
        await server.talk.writer.drain()
        await failed.wait()
        server.answer(first, b"still")
        await server.until_gone()

    failed = asyncio.Event()
    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        first, *others = calls(client, 3)
        for each in others:
            error = await failure(each)
            assert isinstance(error, RetryRequestError)
            assert error.is_unprocessed
        assert client.is_closed
        refused = await failure(client.call(post(), timeout=PATIENCE))
        assert isinstance(refused, RetryRequestError)
        failed.set()
        assert (await first).body == b"still"
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.PEER


async def test_a_goaway_in_two_steps_is_orderly() -> None:
    async def script(server: Http2Talk) -> None:
        first, second = await server.requested(2)
        server.talk.raw(frame(GOAWAY, struct.pack("!II", 0x7FFF_FFFF, 0)))
        server.answer(first, b"1")
        server.talk.raw(frame(GOAWAY, struct.pack("!II", second, 0)))
        server.answer(second, b"2")
        await server.until_gone()

    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        answers = await asyncio.gather(*calls(client, 2))
        assert [each.body for each in answers] == [b"1", b"2"]
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.PEER


async def test_a_goaway_because_of_an_error_is_a_failure_with_its_name() -> None:
    code = int(ErrorCodes.ENHANCE_YOUR_CALM)
    async with fake_peer.serving(
        requested2(frame(GOAWAY, struct.pack("!II", 0, code) + PLANTED))
    ) as peer:
        client = connection(peer, version=Version.HTTP2)
        error = await failure(calls(client)[0])
        assert isinstance(error, RetryRequestError)
        assert error.is_unprocessed
        assert "ENHANCE_YOUR_CALM" in error.why
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.FAILED
        assert PLANTED.decode() not in client.end.text


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ErrorCodes.REFUSED_STREAM, RetryRequestError),
        (ErrorCodes.INTERNAL_ERROR, TransientError),
        (ErrorCodes.HTTP_1_1_REQUIRED, RejectedError),
        (0xBEEF, TransientError),
    ],
)
async def test_a_reset_fails_one_request_and_the_connection_goes_on(
    code: int, kind: type[Exception]
) -> None:
    async def script(server: Http2Talk) -> None:
        first, second = await server.requested(2)
        server.talk.raw(frame(RST, struct.pack("!I", code), stream_id=first))
        server.answer(second, b"fine")
        await server.until_gone()

    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        first, second = calls(client, 2)
        error = await failure(first)
        assert isinstance(error, kind)
        assert (await second).body == b"fine"
        client.close()
        await client.wait_closed()


async def test_no_more_streams_are_opened_than_the_peer_allows() -> None:
    most = 0

    async def script(server: Http2Talk) -> None:
        nonlocal most
        while True:
            await server.requested(1)
            most = max(most, server.h2.open_inbound_streams)
            for stream in [max(server.paths), *server.requests]:
                server.answer(stream, b"ok")
            server.requests.clear()

    async with fake_peer.serving(
        serving2(script, {SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    ) as peer:
        client = connection(peer, version=Version.HTTP2)
        # h2's update of its settings follows its first ones.
        first = await asyncio.gather(*calls(client, 1))
        others = await asyncio.gather(*calls(client, 20))
        assert {each.status for each in (*first, *others)} == {200}
        assert most == 1
        client.close()
        await client.wait_closed()


async def test_a_long_body_is_sent_as_the_windows_of_the_peer_let_it() -> None:
    """The connection's window is used up, and opens in steps."""
    received = 0

    async def script(server: Http2Talk) -> None:
        nonlocal received
        while not server.requests:
            for event in await server.hear():
                length = getattr(event, "flow_controlled_length", 0)
                if length:
                    received += length
                    server.h2.acknowledge_received_data(length, event.stream_id)  # type: ignore[attr-defined]
                    server.flush()
        server.answer(server.requests[0], b"done")
        await server.until_gone()

    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        body = b"x" * 300_000
        assert (await client.call(post(body=body), timeout=PATIENCE)).body == b"done"
        assert received == len(body)
        client.close()
        await client.wait_closed()


async def test_an_answer_before_the_whole_request_is_sent_is_taken() -> None:
    """The rest of the request is called off (RFC 9113 §8.1)."""

    async def script(server: Http2Talk) -> None:
        while not server.paths:
            await server.hear()
        [stream] = server.paths
        server.answer(stream, b"no", status=b"413")
        await server.heard(StreamReset)
        called_off.set()
        await server.until_gone()

    called_off = asyncio.Event()
    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        answer = await client.call(post(body=b"x" * 300_000), timeout=PATIENCE)
        await called_off.wait()
        assert (answer.status, answer.body) == (413, b"no")
        assert client.length == 0
        assert not client.is_closed
        client.close()
        await client.wait_closed()


async def test_windows_that_are_never_opened_cost_the_time_of_the_request() -> None:
    async def script(server: Http2Talk) -> None:
        await server.until_gone()

    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        await client.connected()
        error = await failure(client.call(post(body=b"x" * 300_000), timeout=0.3))
        assert isinstance(error, TimeoutError)
        assert not client.is_closed
        client.close()
        await client.wait_closed()


async def test_windows_open_again_as_answers_are_read() -> None:
    async def script(server: Http2Talk) -> None:
        for _ in range(8):
            [stream] = await server.requested()
            await server.answer_at_length(stream, b"x" * 50_000)
        await server.until_gone()

    async with fake_peer.serving(serving2(script)) as peer:
        client = connection(peer, version=Version.HTTP2)
        for _ in range(8):
            [pending] = calls(client)
            assert len((await pending).body) == 50_000
        client.close()
        await client.wait_closed()


@pytest.mark.parametrize("version", [Version.HTTP1, Version.HTTP2], ids=["1.1", "2"])
async def test_a_busy_connection_meets_no_bound(version: Version) -> None:
    """Two thousand requests with bodies, whose answers come in pieces, without a pause."""

    async def script(talk: Talk) -> None:
        while True:
            body = await scripted_http.request(talk)
            talk.raw(b"HTTP/1.1 200 OK\r\n")
            await asyncio.sleep(0)
            talk.raw(b"content-length: %d\r\n\r\n" % len(body))
            await asyncio.sleep(0)
            talk.raw(body)

    async def script2(server: Http2Talk) -> None:
        while True:
            for event in await server.hear():
                if isinstance(event, DataReceived):
                    # A window for each frame, of the stream and of the connection.
                    length = event.flow_controlled_length
                    server.h2.increment_flow_control_window(length)
                    if event.stream_ended is None:
                        server.h2.increment_flow_control_window(length, event.stream_id)
            server.flush()
            for stream in server.requests:
                server.answer(stream, b"POST " + server.paths[stream])
            server.requests.clear()

    outer = script if version is Version.HTTP1 else serving2(script2)
    async with fake_peer.serving(outer) as peer:
        client = connection(peer, version=version)
        for first in range(0, 2000, 100):
            paths = [f"/{number}" for number in range(first, first + 100)]
            answers = await asyncio.gather(
                *(client.call(post(path, body=b"x" * 1500), timeout=PATIENCE) for path in paths)
            )
            assert [each.body for each in answers] == [b"POST " + each.encode() for each in paths]
        client.close()
        await client.wait_closed()
