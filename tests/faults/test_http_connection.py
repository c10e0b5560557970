"""The HTTP connection object against scripted servers: what it does with calls, and how it ends."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trustme
from h2.events import ConnectionTerminated, PingReceived, StreamReset

from springline.core.values import TLSClient
from springline.drivers.http.connection import Change, HttpConnection, Options, Version
from springline.drivers.http.engine import EndKind
from springline.drivers.http.errors import RetryRequestError
from springline.drivers.http.messages import Response
from springline.errors import ConnectError, NotOpenError, RejectedError
from springline.reasons import Reason
from support import fake_peer, ports, scripted_http
from support.fake_peer import Talk
from support.scripted_http import Http2Talk, connection, get, post
from support.waiting import PATIENCE, eventually

SHORT = 0.2
"""Seconds for what never comes."""


async def echo(talk: Talk) -> None:
    """Answer each request with its method and target."""
    while True:
        scripted_http.answer(talk, await scripted_http.request(talk))


async def echo_over_http2(talk: Talk) -> None:
    """Answer each stream with its path."""
    server = Http2Talk(talk)
    await server.start()
    while True:
        [stream] = await server.requested()
        server.answer(stream, server.paths[stream])


async def deaf(talk: Talk) -> None:
    """Take requests in, and answer none."""
    while await talk.reader.read(65536):
        pass


Script = Callable[[Talk], Awaitable[None]]
VERSIONS = pytest.mark.parametrize(
    ("version", "script"),
    [(Version.HTTP1, echo), (Version.HTTP2, echo_over_http2)],
    ids=["HTTP/1.1", "HTTP/2"],
)
DEAF = pytest.mark.parametrize("version", [Version.HTTP1, Version.HTTP2], ids=["1.1", "2"])


async def deaf_in(version: Version, talk: Talk) -> None:
    """Answer nothing, in a version of HTTP."""
    if version is Version.HTTP2:
        await Http2Talk(talk).start()
    await deaf(talk)


async def call(
    client: HttpConnection, path: str = "/", *, method: str = "GET", timeout: float = PATIENCE
) -> Response:
    request = get(path) if method == "GET" else post(path)
    return await client.call(request, timeout=timeout)


def calls(client: HttpConnection, *paths: str) -> list["asyncio.Task[Response]"]:
    """Make calls in this order."""
    return [asyncio.ensure_future(call(client, path)) for path in paths]


async def failure(pending: Awaitable[Response]) -> BaseException:
    """Return what a call fails with."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests look at it
        await pending
    return caught.value


async def closed(client: HttpConnection) -> None:
    client.close()
    await client.wait_closed()


# R3.1
@VERSIONS
async def test_a_connection_is_usable_before_it_is_connected(
    version: Version, script: Script
) -> None:
    async with fake_peer.serving(script) as peer:
        client = connection(peer, version=version)
        was_connected = client.is_connected
        answer = await call(client, "/a")
        assert answer.body.endswith(b"/a")
        assert (was_connected, client.is_connected) == (False, True)
        await closed(client)


# R3.1
@VERSIONS
async def test_connect_returns_when_it_is_connected(version: Version, script: Script) -> None:
    async with fake_peer.serving(script) as peer:
        client = await HttpConnection.connect(
            scripted_http.target(peer), Options(name="test", version=version)
        )
        assert client.is_connected
        assert client.version == ("2" if version is Version.HTTP2 else "1.1")
        await closed(client)


# R3.1
async def test_connect_raises_why_it_cannot() -> None:
    lease = ports.lease(1)
    try:
        with pytest.raises(ConnectError) as caught:
            await HttpConnection.connect(scripted_http.target(lease.ports[0]), Options(name="test"))
    finally:
        lease.release()
    assert caught.value.reason is Reason.CONNECTION_REFUSED


async def test_calls_that_wait_learn_why_it_could_not_connect() -> None:
    lease = ports.lease(1)
    told: list[str] = []
    client = connection(lease.ports[0], finalise=lambda: told.append("finalised"))
    pending = calls(client, "/1", "/2")
    errors = [await failure(each) for each in pending]
    assert all(isinstance(each, ConnectError) for each in errors)
    assert {each.reason for each in errors if isinstance(each, ConnectError)} == {
        Reason.CONNECTION_REFUSED
    }
    assert told == ["finalised"]
    assert isinstance(await failure(call(client)), RetryRequestError)
    await client.wait_closed()
    lease.release()


async def test_connecting_has_a_limit() -> None:
    """An HTTP/2 peer that sends no SETTINGS is not waited for without end."""
    async with fake_peer.serving(deaf) as peer:
        client = connection(peer, version=Version.HTTP2, timeout=SHORT)
        error = await failure(call(client))
        assert isinstance(error, ConnectError)
        assert error.reason is Reason.CONNECT_TIMEOUT
        assert "SETTINGS" in error.message
        await client.wait_closed()


async def test_connect_can_be_cancelled() -> None:
    async with fake_peer.serving(deaf) as peer:
        options = Options(name="test", version=Version.HTTP2)
        connecting = asyncio.ensure_future(
            HttpConnection.connect(scripted_http.target(peer), options)
        )
        await eventually(lambda: peer.talks)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting


# R3.2
@VERSIONS
async def test_without_persistence_one_request_is_sent_and_the_connection_ends(
    version: Version, script: Script
) -> None:
    async with fake_peer.serving(script) as peer:
        client = connection(peer, version=version, persistent=False)
        [first] = calls(client, "/1")
        await asyncio.sleep(0)
        second = await failure(call(client, "/2"))
        assert isinstance(second, RetryRequestError)
        assert second.is_unprocessed
        assert (await first).status == 200
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.DONE


# R3.2
async def test_with_persistence_several_are_sent_before_the_first_answer() -> None:
    async def script(talk: Talk) -> None:
        seen = [await scripted_http.request(talk) for _ in range(3)]
        for each in seen:
            scripted_http.answer(talk, each)
        await echo(talk)

    async with fake_peer.serving(script) as peer:
        client = connection(peer, persistent=True)
        answers = await asyncio.gather(*calls(client, "/1", "/2", "/3"))
        assert [each.body for each in answers] == [b"GET /1", b"GET /2", b"GET /3"]
        await closed(client)


# R3.2
async def test_without_a_word_the_first_answer_decides() -> None:
    """One request until there is an answer; then as many as there are."""
    held = asyncio.Event()

    async def script(talk: Talk) -> None:
        first = await scripted_http.request(talk)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHORT):
                raise AssertionError(await scripted_http.request(talk))
        held.set()
        scripted_http.answer(talk, first)
        for each in [await scripted_http.request(talk) for _ in range(2)]:
            scripted_http.answer(talk, each)
        await echo(talk)

    async with fake_peer.serving(script) as peer:
        client = connection(peer, persistent=None)
        pending = calls(client, "/1", "/2", "/3")
        await held.wait()
        assert [each.body for each in await asyncio.gather(*pending)] == [
            b"GET /1",
            b"GET /2",
            b"GET /3",
        ]
        await closed(client)


# R3.2
async def test_without_a_word_the_first_stream_goes_alone() -> None:
    async def script(talk: Talk) -> None:
        server = Http2Talk(talk)
        await server.start()
        [first] = await server.requested()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHORT):
                raise AssertionError(await server.requested())
        server.answer(first, b"1")
        for stream in await server.requested(2):
            server.answer(stream, b"more")
        await server.until_gone()

    async with fake_peer.serving(script) as peer:
        client = connection(peer, version=Version.HTTP2, persistent=None)
        answers = await asyncio.gather(*calls(client, "/1", "/2", "/3"))
        assert [each.body for each in answers] == [b"1", b"more", b"more"]
        await closed(client)


# R3.3
async def test_fifty_requests_are_pipelined_on_one_connection() -> None:
    async def script(talk: Talk) -> None:
        seen = [await scripted_http.request(talk) for _ in range(50)]
        for each in seen:
            scripted_http.answer(talk, each * 50)

        await echo(talk)

    async with fake_peer.serving(script) as peer:
        client = connection(peer, persistent=True)
        pending = calls(client, *(f"/{number}" for number in range(50)))
        await asyncio.sleep(0)
        assert client.length == 50
        answers = await asyncio.gather(*pending)
        assert [each.body for each in answers] == [b"GET /%d" % n * 50 for n in range(50)]
        assert client.length == 0
        assert len(peer.talks) == 1
        await closed(client)


# R3.3
async def test_a_hundred_requests_are_multiplexed_on_one_connection() -> None:
    """All are there before the first is answered, and the last is answered first."""

    async def script(talk: Talk) -> None:
        server = Http2Talk(talk)
        await server.start()
        for stream in reversed(await server.requested(100)):
            server.answer(stream, server.paths[stream])
        await server.until_gone()

    async with fake_peer.serving(script) as peer:
        client = connection(peer, version=Version.HTTP2, persistent=True)
        pending = calls(client, *(f"/{number}" for number in range(100)))
        await asyncio.sleep(0)
        assert client.length == 100
        answers = await asyncio.gather(*pending)
        assert [each.body for each in answers] == [b"/%d" % n for n in range(100)]
        assert len(peer.talks) == 1
        await closed(client)


# R3.4
async def test_observers_learn_of_each_change_of_length_and_of_closing() -> None:
    async with fake_peer.serving(echo) as peer:
        client = connection(peer)
        seen: list[Change] = []
        others: list[Change] = []
        client.notify(seen.append)
        forget = client.notify(others.append)
        await asyncio.gather(*calls(client, "/1", "/2"))
        forget()
        await closed(client)
        await eventually(lambda: seen and seen[-1].is_closed)
    assert [(each.length, each.is_closed) for each in seen] == [
        *((1, False), (2, False), (1, False), (0, False)),
        (0, True),
    ]
    assert others == seen[:-1]


async def test_an_observer_of_the_end_learns_of_nothing_before_it() -> None:
    async with fake_peer.serving(echo) as peer:
        client = connection(peer)
        seen: list[Change] = []
        forgotten: list[Change] = []
        client.notify(seen.append, of_end_only=True)
        client.notify(forgotten.append, of_end_only=True)()
        await asyncio.gather(*calls(client, "/1", "/2"))
        await closed(client)
        await eventually(lambda: seen)
    assert seen == [Change(0, is_closed=True)]
    assert forgotten == []


# R3.4
async def test_observers_learn_of_each_call_that_an_end_fails() -> None:
    async with fake_peer.serving(deaf) as peer:
        client = connection(peer)
        pending = calls(client, "/1", "/2", "/3")
        await client.connected()
        seen: list[Change] = []
        client.notify(seen.append)
        await closed(client)
        await asyncio.gather(*pending, return_exceptions=True)
    assert [each.length for each in seen] == [3, 2, 1, 0]
    assert all(each.is_closed for each in seen)


# R3.5
@VERSIONS
async def test_a_shutdown_takes_no_new_calls_and_answers_the_queued_ones(
    version: Version, script: Script
) -> None:
    async with fake_peer.serving(script) as peer:
        client = connection(peer, version=version, persistent=None)
        pending = calls(client, "/1", "/2", "/3")
        await asyncio.sleep(0)
        client.shutdown()
        client.shutdown()
        assert client.is_closed
        refused = await failure(call(client))
        assert isinstance(refused, RetryRequestError)
        assert [each.status for each in await asyncio.gather(*pending)] == [200, 200, 200]
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.DONE


async def test_a_shutdown_of_an_idle_connection_ends_it() -> None:
    async with fake_peer.serving(echo_over_http2) as peer:
        client = connection(peer, version=Version.HTTP2)
        await client.connected()
        client.shutdown()
        await client.wait_closed()


# R3.6
@DEAF
async def test_closing_fails_outstanding_calls_and_repeats_none(version: Version) -> None:
    async with fake_peer.serving(lambda talk: deaf_in(version, talk)) as peer:
        client = connection(peer, version=version)
        sent = asyncio.ensure_future(call(client, method="POST"))
        queued = [asyncio.ensure_future(call(client, "/2", timeout=5)) for _ in range(2)]
        await client.connected()
        client.close()
        error = await failure(sent)
        assert isinstance(error, RetryRequestError)
        assert not error.is_unprocessed
        assert not error.may_repeat
        for each in queued:
            other = await failure(each)
            assert isinstance(other, RetryRequestError)
            assert other.may_repeat
        client.close()
        await client.wait_closed()
        assert len(peer.talks) == 1


# R3.7
async def test_it_is_finalised_once_before_waiting_requests_fail() -> None:
    order: list[str] = []

    async def told(client: HttpConnection) -> None:
        with pytest.raises(RetryRequestError):
            await call(client)
        order.append("failed")

    def finalise() -> None:
        assert client.is_closed
        assert not any(each.done() for each in client._futures.values())
        order.append(f"finalised with {client.length + len(client._futures)}")

    async with fake_peer.serving(deaf) as peer:
        client = connection(peer, persistent=None, finalise=finalise)
        waiting = [asyncio.ensure_future(told(client)) for _ in range(3)]
        await client.connected()
        await closed(client)
        await asyncio.gather(*waiting)
        client.close()
        client.shutdown()
    assert order == ["finalised with 3", "failed", "failed", "failed"]


# R3.7
async def test_a_finaliser_that_fails_holds_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise LookupError

    async with fake_peer.serving(deaf) as peer:
        client = connection(peer, finalise=broken)
        pending = calls(client, "/")
        await client.connected()
        await closed(client)
        assert isinstance(await failure(pending[0]), RetryRequestError)
    assert "finaliser" in caplog.text


# R3.7
async def test_it_is_finalised_when_the_peer_ends_it() -> None:
    async def leave(talk: Talk) -> None:
        await scripted_http.request(talk)

    order: list[str] = []
    async with fake_peer.serving(leave) as peer:
        client = connection(peer, finalise=lambda: order.append("finalised"))
        pending = calls(client, "/1", "/2")
        for each in pending:
            await failure(each)
            order.append("failed")
        await client.wait_closed()
    assert order == ["finalised", "failed", "failed"]


# R3.8
async def test_it_is_closed_unless_it_connects_or_is_open() -> None:
    async with fake_peer.serving(echo) as peer:
        connecting = connection(peer)
        seen = [connecting.is_closed]
        await connecting.connected()
        seen.append(connecting.is_closed)
        await closed(connecting)
        seen.append(connecting.is_closed)
        assert seen == [False, False, True]
        going = connection(peer)
        pending = calls(going, "/1")
        await going.connected()
        going.shutdown()
        assert going.is_closed
        await asyncio.gather(*pending)
        await going.wait_closed()
        never = connection(peer)
        never.close()
        assert never.is_closed
        with pytest.raises(NotOpenError):
            await never.connected()
        await never.wait_closed()


# R3.9
@pytest.mark.parametrize("how", ["close", "shutdown", "abort"])
async def test_a_call_after_closing_fails_at_once(how: str) -> None:
    async with fake_peer.serving(echo) as peer:
        client = connection(peer)
        await client.connected()
        getattr(client, how)()
        error = await failure(call(client, method="POST"))
        assert isinstance(error, RetryRequestError)
        assert error.is_unprocessed
        assert error.may_repeat
        await client.wait_closed()


# R3.10
@pytest.mark.parametrize(
    ("shown", "sent"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"transfer-encoding: chunked"),
        (b"", b"content-length: 6"),
    ],
    ids=["after an HTTP/1.1 answer", "on a new connection"],
)
async def test_a_body_of_unknown_length_is_sent_chunked_only_where_the_peer_takes_it(
    shown: bytes, sent: bytes
) -> None:
    heads: list[bytes] = []

    async def script(talk: Talk) -> None:
        if shown:
            await scripted_http.request(talk)
            talk.raw(shown)
        heads.append(await talk.reader.readuntil(b"\r\n\r\n"))
        scripted_http.answer(talk, b"done")
        await deaf(talk)

    async with fake_peer.serving(script) as peer:
        client = connection(peer)
        if shown:
            await call(client)
        request = post(body=iter([b"abc", b"def"]))
        assert (await client.call(request, timeout=PATIENCE)).body == b"done"
        await closed(client)
    assert sent in heads[0].lower()


# R3.11
async def test_a_shutdown_is_a_half_close_and_answers_are_still_read() -> None:
    async def script(talk: Talk) -> None:
        first, second = [await scripted_http.request(talk) for _ in range(2)]
        assert await talk.reader.read() == b""  # our FIN
        scripted_http.answer(talk, first)
        scripted_http.answer(talk, second)

    async with fake_peer.serving(script) as peer:
        client = connection(peer, half_close=True)
        pending = calls(client, "/1", "/2")
        await asyncio.sleep(0)
        client.shutdown()
        answers = await asyncio.gather(*pending)
        assert [each.body for each in answers] == [b"GET /1", b"GET /2"]
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.DONE


# R3.11
@pytest.mark.parametrize("when", ["queued", "sent"])
@pytest.mark.parametrize("with_tls", [False, True], ids=["a peer that takes no FIN", "TLS"])
async def test_without_a_half_close_a_shutdown_still_answers_what_is_queued(
    when: str, with_tls: bool
) -> None:
    """The documented deviation; the last request says that it is the last, if it can."""
    server, client_side = authorities()
    sent = asyncio.Event()

    async def script(talk: Talk) -> None:
        heads = [await scripted_http.head(talk)]
        sent.set()
        await asked.wait()
        scripted_http.answer(talk, b"1")
        heads.append(await scripted_http.head(talk))
        assert (b"connection: close" in heads[1].lower()) is (when == "queued")
        scripted_http.answer(talk, b"2")
        await deaf(talk)

    asked = asyncio.Event()
    async with fake_peer.serving(script, tls=server if with_tls else None) as peer:
        client = connection(
            peer,
            persistent=None if when == "queued" else True,
            half_close=with_tls,
            tls=client_side if with_tls else None,
        )
        pending = calls(client, "/1", "/2")
        await sent.wait()
        client.shutdown()
        asked.set()
        assert [each.body for each in await asyncio.gather(*pending)] == [b"1", b"2"]
        await client.wait_closed()
        assert client.end is not None
        assert client.end.kind is EndKind.DONE


# R3.11
async def test_an_http2_connection_says_goaway_after_the_last_answer() -> None:
    async def script(talk: Talk) -> None:
        server = Http2Talk(talk)
        await server.start()
        [stream] = await server.requested()
        asked.set()
        await shut.wait()
        await server.answer_at_length(stream, b"x" * 100_000)
        await server.heard(ConnectionTerminated)
        ended.set()

    asked, shut, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with fake_peer.serving(script) as peer:
        client = connection(peer, version=Version.HTTP2)
        pending = calls(client, "/1")
        await asked.wait()
        client.shutdown()
        shut.set()
        assert len((await pending[0]).body) == 100_000
        await client.wait_closed()
        await ended.wait()


# Time and cancellation


async def test_a_request_that_is_not_answered_in_time_ends_an_http1_connection() -> None:
    async with fake_peer.serving(deaf) as peer:
        client = connection(peer)
        await client.connected()
        late = asyncio.ensure_future(call(client, timeout=SHORT))
        behind = asyncio.ensure_future(call(client))
        assert isinstance(await failure(late), TimeoutError)
        assert isinstance(await failure(behind), ConnectError)
        await client.wait_closed()
        assert client.end is not None
        assert not client.end.is_orderly


async def test_a_request_that_is_not_answered_in_time_costs_http2_a_stream_alone() -> None:
    async def script(talk: Talk) -> None:
        server = Http2Talk(talk)
        await server.start()
        await server.requested()
        await server.heard(StreamReset)
        [second] = await server.requested()
        server.answer(second, b"fine")
        await server.until_gone()

    async with fake_peer.serving(script) as peer:
        client = connection(peer, version=Version.HTTP2)
        await client.connected()
        assert isinstance(await failure(call(client, timeout=SHORT)), TimeoutError)
        assert (await call(client)).body == b"fine"
        await closed(client)


async def test_a_cancelled_call_does_not_disturb_those_behind_it() -> None:
    """With HTTP/1.1 its answer is read, and dropped."""
    cancelled = asyncio.Event()

    async def script(talk: Talk) -> None:
        first, second = [await scripted_http.request(talk) for _ in range(2)]
        seen.set()
        await cancelled.wait()
        scripted_http.answer(talk, first)
        scripted_http.answer(talk, second)
        await deaf(talk)

    seen = asyncio.Event()
    async with fake_peer.serving(script) as peer:
        client = connection(peer)
        first, second = calls(client, "/1", "/2")
        await seen.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        cancelled.set()
        assert (await second).body == b"GET /2"
        assert client.length == 0
        await closed(client)


async def test_an_answer_stops_the_time_of_its_call() -> None:
    async with fake_peer.serving(echo) as peer:
        client = connection(peer)
        [pending] = calls(client, "/1")
        await asyncio.sleep(0)
        [timer] = client._timers.values()
        await pending
        assert not timer.is_pending
        await closed(client)


async def test_a_cancelled_call_that_waits_is_never_sent() -> None:
    async with fake_peer.serving(echo) as peer:
        client = connection(peer, persistent=None)
        first, second, third = calls(client, "/1", "/2", "/3")
        await asyncio.sleep(0)
        second.cancel()
        assert (await first).body == b"GET /1"
        assert (await third).body == b"GET /3"
        await closed(client)


# Signs of life


async def test_an_http2_peer_is_asked_for_a_sign_of_life_and_stays() -> None:
    beaten = asyncio.Event()

    async def script(talk: Talk) -> None:
        server = Http2Talk(talk)
        await server.start()
        while sum(isinstance(each, PingReceived) for each in server.events) < 2:
            await server.hear()
        beaten.set()
        await server.until_gone()

    async with fake_peer.serving(script) as peer:
        client = connection(peer, version=Version.HTTP2, heartbeat=1)
        await client.connected()
        await beaten.wait()
        assert not client.is_closed
        await closed(client)


async def test_an_http2_peer_that_says_nothing_any_more_is_left() -> None:
    async def script(talk: Talk) -> None:
        server = Http2Talk(talk)
        await server.start()
        await server.hear()
        await talk.silent()

    async with fake_peer.serving(script) as peer:
        client = connection(peer, version=Version.HTTP2, heartbeat=0.1)
        await client.connected()
        await client.wait_closed()
        assert client.end is not None
        assert client.end.reason is Reason.HEARTBEAT_MISSED


# TLS


def authorities(*alpn: str) -> tuple[ssl.SSLContext, TLSClient]:
    """A server side that agrees to protocols, and a client side that offers the same."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if alpn:
        server.set_alpn_protocols(list(alpn))
        context.set_alpn_protocols(list(alpn))
    return server, TLSClient(context=context)


async def test_tls_decides_which_http_is_spoken() -> None:
    server, client_side = authorities("h2", "http/1.1")
    async with fake_peer.serving(echo_over_http2, tls=server) as peer:
        client = connection(peer, tls=client_side)
        assert (await call(client, "/x")).version == "2"
        assert client.tls is not None
        await closed(client)


async def test_without_an_agreement_it_is_http1() -> None:
    server, client_side = authorities()
    async with fake_peer.serving(echo, tls=server) as peer:
        client = connection(peer, tls=client_side)
        assert (await call(client, "/x")).version == "1.1"
        await closed(client)


async def test_http2_that_tls_does_not_agree_to_is_refused() -> None:
    server, client_side = authorities()
    async with fake_peer.serving(echo, tls=server) as peer:
        client = connection(peer, tls=client_side, version=Version.HTTP2)
        error = await failure(call(client))
        assert isinstance(error, RejectedError)
        assert error.reason is Reason.NEGOTIATION_FAILED
        await client.wait_closed()


async def test_a_host_that_no_request_can_name_is_refused_before_anything_is_sent() -> None:
    options = Options(name="test", host="ho st")
    with pytest.raises(ValueError, match="host"):
        HttpConnection.create(scripted_http.target(1), options)
