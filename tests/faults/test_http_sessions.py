"""A session over HTTP with a server that is directed: what is up, what ends and what blocks it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from h2.events import RequestReceived

from springline.core.values import ClosedBy
from springline.drivers.http.client import HttpClient
from springline.drivers.http.connection import Version
from springline.drivers.http.driver import HttpDriver
from springline.drivers.http.parameters import BlockedWhen
from springline.drivers.http.probe_target import HttpProbeTarget
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    NotOpenError,
    ProbeRefusal,
    ProbeRefusedError,
    RejectedError,
    SecretNotSentError,
    SecretUpdateTimeoutError,
    TransientError,
)
from springline.reasons import Reason
from support import fake_peer, http_opening, leaks, opening, scripted_http
from support.fake_peer import Talk
from support.http_opening import opened
from support.opening import Recorder
from support.waiting import eventually

PROBE = HttpProbeTarget()
PLANTED = "pl4nted-s3cret"
HANGS_UP = "hangs up"
"""In place of a status; empty is silence."""


class Server:
    """A server of HTTP/1.1: what it answers is set, and counts from the next request on."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.fields = ""
        self.body = b"{}"
        self.bare = "401 Unauthorized"
        """To who shows no credential; empty for no answer."""
        self.beside = "200 OK"
        """At /alarms."""
        self.keeps_alive = True
        self.heads: list[bytes] = []
        self.connections = 0
        self.listening: fake_peer.FakePeer | None = None

    @property
    def port(self) -> int:
        assert self.listening is not None
        return self.listening.port

    @property
    def talk(self) -> Talk:
        assert self.listening is not None
        return self.listening.talk

    async def script(self, talk: Talk) -> None:
        self.connections += 1
        while True:
            head = await scripted_http.head(talk)
            self.heads.append(head)
            fields = self.fields if self.keeps_alive else f"connection: close\r\n{self.fields}"
            status = self.beside if head.startswith(b"GET /alarms ") else self.status
            if b"\r\nauthorization: " not in head.lower():
                status = self.bare
            if status == HANGS_UP:
                return
            if not status:
                await talk.until_gone()
                return
            scripted_http.answer(talk, self.body, status=status, fields=fields)
            if not self.keeps_alive:
                return


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with leaks.checked():
        server = Server()
        async with fake_peer.serving(server.script) as listening:
            server.listening = listening
            yield server


async def refusal(server: Server, **changes: object) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await HttpDriver().open(http_opening.request(server.port, **changes))  # type: ignore[arg-type]  # of any type
    return caught.value


async def ended(connection: HttpClient) -> Recorder:
    """Probe once, which the session does not outlive; return what was told."""
    recorder = Recorder()
    connection.observe(recorder)
    with pytest.raises(NotOpenError):
        await connection.probe(PROBE, timeout=10)
    await eventually(lambda: recorder.closes)
    assert len(recorder.closes) == 1
    assert not connection.is_open
    return recorder


# Opening


async def test_a_server_that_lets_anybody_in_has_proved_nothing(server: Server) -> None:
    server.bare = "200 OK"
    async with opened(http_opening.request(server.port)) as connection:
        assert not connection.info.proved
        assert connection.is_open


async def test_a_server_that_hangs_up_on_who_shows_nothing_is_told_as_that(
    server: Server,
) -> None:
    server.bare = HANGS_UP
    error = await refusal(server)
    assert error.reason is Reason.PEER_CLOSED
    assert error.message.endswith("without an answer, asked without the credential")


async def test_who_has_no_login_shows_none_and_has_proved_nothing(server: Server) -> None:
    server.bare = "200 OK"
    request = http_opening.request(server.port, credential=opening.anonymous())
    async with opened(request) as connection:
        assert not connection.info.proved
        assert connection.info.negotiated.mechanism == "ANONYMOUS"
        assert await connection.probe(PROBE, timeout=10) is not None
    assert len(server.heads) == 2
    assert b"authorization" not in b"".join(server.heads).lower()


@pytest.mark.parametrize(
    ("bare", "proved"),
    [("403 Forbidden", True), ("302 Found", True), ("500 Internal Server Error", False)],
)
async def test_who_shows_nothing_is_turned_away_where_a_credential_counts(
    server: Server, bare: str, proved: bool
) -> None:
    server.bare = bare
    async with opened(http_opening.request(server.port)) as connection:
        assert connection.info.proved is proved


async def test_what_a_challenge_offers_is_shown(server: Server) -> None:
    server.fields = 'server: Peer/1.2 (x)\r\nwww-authenticate: Basic realm="a, b", Bearer\r\n'
    async with opened(http_opening.request(server.port)) as connection:
        shown = connection.info.server
        assert (shown.product, shown.version, shown.mechanisms) == (
            "Peer",
            "1.2",
            ("BASIC", "BEARER"),
        )


@pytest.mark.parametrize("secret", ["pl4nted/s3cret", "pl4nted,s3cret", "pl4nted s3cret"])
async def test_a_secret_that_a_server_says_back_is_masked_before_it_is_taken_apart(
    server: Server, secret: str
) -> None:
    server.fields = f"server: {secret}\r\nwww-authenticate: Basic, {secret}\r\n"
    request = http_opening.request(server.port, credential=opening.password(secret=secret))
    async with opened(request) as connection:
        shown = connection.info.server
        assert (shown.product, shown.version) == ("***", "")
        assert shown.mechanisms == ("BASIC",)


async def test_a_secret_at_the_end_of_what_is_looked_at_is_masked(server: Server) -> None:
    secret = "pl4nted-s3cret-that-is-longer."
    server.fields = f"server: {'x' * 20}/{f'{secret}/' * 100}\r\n"
    request = http_opening.request(server.port, credential=opening.password(secret=secret))
    async with opened(request) as connection:
        assert set(connection.info.server.version) == set("*/")


async def test_401_is_the_credential_and_403_is_what_it_may_do(server: Server) -> None:
    server.status = "401 Unauthorized"
    error = await refusal(server)
    assert isinstance(error, CredentialRejectedError)
    assert error.reason is Reason.ACCESS_REFUSED
    server.status = "403 Forbidden"
    error = await refusal(server)
    assert isinstance(error, RejectedError)
    assert not isinstance(error, CredentialRejectedError)
    assert error.reason is Reason.ACCESS_REFUSED


async def test_a_body_is_shown_of_nobody_but_a_broker_that_says_why(server: Server) -> None:
    server.status, server.body = "401 Unauthorized", b'{"reason":"Login failed"}'
    assert "Login failed" not in (await refusal(server)).message
    server.fields = "server: Cowboy\r\ncontent-type: application/json\r\n"
    assert "401 Unauthorized: Login failed" in (await refusal(server)).message


@pytest.mark.parametrize("status", ["302 Found", "404 Not Found", "500 Oh dear"])
async def test_another_status_is_retried_and_named_with_the_standard_s_phrase(
    server: Server, status: str
) -> None:
    server.status, server.fields = status, f"location: http://127.0.0.1:{server.port}/private\r\n"
    error = await refusal(server)
    assert isinstance(error, TransientError)
    assert error.reason is Reason.UNEXPECTED_STATUS
    assert status[:3] in error.message
    assert "Oh dear" not in error.message
    assert ("no redirect is followed" in error.message) is status.startswith("3")
    assert len(server.heads) == 1


async def test_a_declared_status_is_what_it_is_declared_as(server: Server) -> None:
    server.status = "204 No Content"
    request = http_opening.request(server.port, expected=frozenset({204}))
    server.body = b""
    async with opened(request) as connection:
        assert await connection.probe(PROBE, timeout=10) is not None


async def test_a_throttled_opening_asks_again_when_the_server_wants_that(server: Server) -> None:
    server.status, server.fields = "429 Too Many Requests", "retry-after: 0\r\n"
    opening_ = asyncio.ensure_future(HttpDriver().open(http_opening.request(server.port)))
    await eventually(lambda: len(server.heads) > 1)
    server.status = "200 OK"
    connection = await opening_
    await connection.close()


async def test_a_throttled_opening_that_is_to_ask_at_once_makes_pauses(
    server: Server,
) -> None:
    """Else it would ask without end. There is time for two requests, and not for more."""
    server.status, server.fields = "429 Too Many Requests", "retry-after: 0\r\n"
    error = await refusal(server, timeout=1.5)
    assert isinstance(error, TransientError)
    assert 1 <= len(server.heads) <= 2


async def test_a_throttled_opening_fails_as_such_where_there_is_no_time(server: Server) -> None:
    server.status, server.fields = "503 Service Unavailable", "retry-after: 3600\r\n"
    error = await refusal(server)
    assert isinstance(error, TransientError)
    assert error.reason is Reason.THROTTLED
    assert len(server.heads) == 1


async def test_what_a_peer_breaks_before_the_request_is_sent_is_told_as_that() -> None:
    """A server that takes no streams is never asked."""

    async def script(talk: Talk) -> None:
        talk.raw(scripted_http.frame(4, b"\0\x03\0\0\0\0"))
        while True:
            talk.raw(scripted_http.frame(6, b"12345678") * 100)
            await talk.writer.drain()

    async with leaks.checked(), fake_peer.serving(script) as peer:
        with pytest.raises(RejectedError) as caught:
            await HttpDriver().open(http_opening.request(peer.port, version=Version.HTTP2))
    assert caught.value.reason is Reason.FLOODED
    assert f"localhost:{peer.port}" in caught.value.message


async def test_it_is_told_which_of_the_requests_of_an_opening_was_not_answered_as_wanted(
    server: Server,
) -> None:
    server.bare = "503 Service Unavailable"
    error = await refusal(server, timeout=0.5)
    assert error.reason is Reason.THROTTLED
    assert "GET / without the credential was answered 503 Service Unavailable" in error.message
    server.bare = ""
    error = await refusal(server, timeout=0.5)
    assert error.reason is Reason.CONNECT_TIMEOUT
    assert "GET / without the credential was not answered within 0.5 s" in error.message


async def test_a_limit_of_which_a_part_is_left_is_told_in_round_numbers() -> None:
    async def script(talk: Talk) -> None:
        await talk.until_gone()

    async with leaks.checked(), fake_peer.serving(script) as peer:
        with pytest.raises(ConnectError) as caught:
            await HttpDriver().open(http_opening.request(peer.port, timeout=0.123456))
    assert "was not answered within 0.12 s" in caught.value.message


async def test_a_token_is_shown_as_one_and_a_scheme_that_is_not_declared_is_not_used(
    server: Server,
) -> None:
    request = http_opening.request(server.port, credential=opening.token("t0ken"))
    async with opened(request):
        assert b"authorization: bearer t0ken" in server.heads[0].lower()
    error = await refusal(
        server,
        credential=opening.token("t0ken"),
        sasl=SaslPolicy(mechanisms=("BASIC",), allow_insecure=True),
    )
    assert error.reason is Reason.NO_AUTHENTICATION_MECHANISM


# What is up


async def test_a_connection_that_ends_after_each_answer_is_no_disconnect(server: Server) -> None:
    server.keeps_alive = False
    recorder = Recorder()
    async with opened(http_opening.request(server.port)) as connection:
        connection.observe(recorder)
        for _ in range(5):
            assert await connection.probe(PROBE, timeout=10) is not None
    assert server.connections == 7


async def test_a_connection_that_cannot_be_opened_again_ends_the_session() -> None:
    server = Server()
    server.keeps_alive = False
    async with leaks.checked():
        async with fake_peer.serving(server.script) as server.listening:
            connection = await HttpDriver().open(http_opening.request(server.port))
        recorder = await ended(connection)
        assert recorder.closes[0].by is ClosedBy.TRANSPORT
        assert recorder.closes[0].reason is Reason.CONNECTION_REFUSED


async def test_a_refusal_later_on_ends_the_session_with_its_status(server: Server) -> None:
    async with opened(http_opening.request(server.port)) as connection:
        server.status = "401 Unauthorized"
        close = (await ended(connection)).closes[0]
        assert (close.by, close.reason) == (ClosedBy.SERVER, Reason.ACCESS_REFUSED)
        assert close.codes == {"code": 401}
        assert not close.says_expired


async def test_a_token_that_is_over_is_told_as_such(server: Server) -> None:
    request = http_opening.request(server.port, credential=opening.token("t0ken"))
    async with opened(request) as connection:
        server.status = "401 Unauthorized"
        server.fields = 'www-authenticate: Bearer realm="x", error="invalid_token"\r\n'
        assert (await ended(connection)).closes[0].says_expired


async def test_a_password_is_never_over(server: Server) -> None:
    """A server that takes tokens, too, may say it of whatever it is shown."""
    async with opened(http_opening.request(server.port)) as connection:
        server.status = "401 Unauthorized"
        server.fields = 'www-authenticate: Bearer realm="x", error="invalid_token"\r\n'
        assert not (await ended(connection)).closes[0].says_expired


async def test_another_status_later_on_ends_the_session(server: Server) -> None:
    async with opened(http_opening.request(server.port)) as connection:
        server.status = "500 Internal Server Error"
        close = (await ended(connection)).closes[0]
        assert (close.reason, close.codes) == (Reason.UNEXPECTED_STATUS, {"code": 500})


async def test_a_slow_answer_is_a_probe_without_one_and_no_end(server: Server) -> None:
    async with opened(http_opening.request(server.port)) as connection:
        server.talk.writer.transport.pause_reading()  # type: ignore[attr-defined]  # every socket transport has it
        with pytest.raises(TimeoutError):
            await connection.probe(PROBE, timeout=0.2)
        assert connection.is_open
        assert await connection.probe(PROBE, timeout=10) is not None


async def test_a_probe_without_an_answer_is_no_end_however_long_nobody_asks(
    server: Server,
) -> None:
    """What the connection tells of its end comes after the probe has failed, too."""
    async with opened(http_opening.request(server.port)) as connection:
        recorder = Recorder()
        connection.observe(recorder)
        for _ in range(2):
            server.talk.writer.transport.pause_reading()  # type: ignore[attr-defined]  # every socket transport has it
            with pytest.raises(TimeoutError):
                await connection.probe(PROBE, timeout=0.2)
            await asyncio.sleep(0.1)
            assert connection.is_open
            assert not recorder.closes
            assert await connection.probe(PROBE, timeout=10) is not None


async def test_a_probe_that_is_given_up_and_never_answered_is_no_end(server: Server) -> None:
    """The connection that it was made on ends with its time; the next probe has another one."""
    recorder = Recorder()
    async with opened(http_opening.request(server.port)) as connection:
        connection.observe(recorder)
        server.talk.writer.transport.pause_reading()  # type: ignore[attr-defined]  # every socket transport has it
        probe = asyncio.ensure_future(connection.probe(PROBE, timeout=0.3))
        await eventually(lambda: connection._wire.length)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        await eventually(lambda: connection._wire.is_closed)
        assert await connection.probe(PROBE, timeout=10) is not None
        assert recorder.closes == []


# What holds it up


async def test_a_throttle_holds_until_the_server_wants_to_be_asked_again(server: Server) -> None:
    async with opened(http_opening.request(server.port)) as connection:
        recorder = Recorder()
        connection.observe(recorder)
        server.status, server.fields = "429 Too Many Requests", "retry-after: 3600\r\n"
        for _ in range(3):
            assert await connection.probe(PROBE, timeout=10) is None
        assert len(server.heads) == 3  # two of the opening
        block = connection.blocked
        assert block is not None
        assert block.reason is Reason.THROTTLED
        assert block.text == "429 Too Many Requests, to be asked again after 3600 s"
        assert connection.is_open


async def test_a_throttle_without_end_is_asked_about_all_the_same(server: Server) -> None:
    async with opened(http_opening.request(server.port)) as connection:
        server.status, server.fields = "503 Service Unavailable", "retry-after: 999999999\r\n"
        assert await connection.probe(PROBE, timeout=10) is None
        assert connection.blocked is not None
        assert "asked again after 3600 s" in connection.blocked.text


@pytest.mark.parametrize(
    "field",
    [
        "retry-after: 0\r\n",
        "",
        "date: Thu, 26 Nov 2026 10:00:00 GMT\r\nretry-after: Thu, 26 Nov 2026 10:00:00 GMT\r\n",
    ],
    ids=["seconds", "nothing said", "date"],
)
async def test_a_throttle_ends_with_the_first_success(server: Server, field: str) -> None:
    async with opened(http_opening.request(server.port)) as connection:
        recorder = Recorder()
        connection.observe(recorder)
        server.status, server.fields = "503 Service Unavailable", field
        assert await connection.probe(PROBE, timeout=10) is None
        during = connection.blocked
        server.status, server.fields = "200 OK", ""
        assert await connection.probe(PROBE, timeout=10) is not None
        after = connection.blocked
        assert (during is not None, after) == (True, None)
        assert len(recorder.told) == 2


async def test_what_is_asked_beside_tells_of_a_block(server: Server) -> None:
    request = http_opening.request(
        server.port, blocked_when=BlockedWhen(target="/alarms", statuses=frozenset({503}))
    )
    async with opened(request) as connection:
        server.beside = "503 Service Unavailable"
        assert await connection.probe(PROBE, timeout=10) is None
        block = connection.blocked
        assert block is not None
        assert (block.reason, block.text) == (
            Reason.BLOCKED_BY_BROKER,
            "503 Service Unavailable",
        )
        server.beside = "200 OK"
        assert await connection.probe(PROBE, timeout=10) is not None
        assert connection.blocked is None
        assert server.connections == 1


async def test_a_user_who_may_not_ask_that_is_told_and_stays(server: Server) -> None:
    request = http_opening.request(
        server.port, blocked_when=BlockedWhen(target="/alarms", statuses=frozenset({503}))
    )
    server.beside = "403 Forbidden"
    async with opened(request) as connection:
        with pytest.raises(ProbeRefusedError) as caught:
            await connection.probe(PROBE, timeout=10)
        assert caught.value.why is ProbeRefusal.TROUBLE
        assert "403 Forbidden" in PROBE.refusal(caught.value)
        assert connection.is_open


@pytest.mark.parametrize("version", [Version.HTTP1, Version.HTTP2])
async def test_what_is_asked_beside_and_never_answered_is_told_and_no_end(version: Version) -> None:
    """The session's own request is answered, so the server is there."""

    async def script(talk: Talk) -> None:
        if version is Version.HTTP1:
            while not (head := await scripted_http.head(talk)).startswith(b"GET /alarms "):
                is_bare = b"authorization" not in head.lower()
                scripted_http.answer(talk, status="401 No" if is_bare else "200 OK")
            await talk.silent()
        peer = scripted_http.Http2Talk(talk)
        await peer.start()
        while True:
            for event in await peer.hear():
                if isinstance(event, RequestReceived):
                    fields = dict(event.headers)
                    if fields[b":path"] != b"/alarms":
                        status = b"200" if b"authorization" in fields else b"401"
                        peer.answer(event.stream_id, status=status)

    async with fake_peer.serving(script) as listening:
        request = http_opening.request(
            listening.port,
            version=version,
            blocked_when=BlockedWhen(target="/alarms", statuses=frozenset({503})),
        )
        async with opened(request) as connection:
            for _ in range(4):
                with pytest.raises(ProbeRefusedError) as caught:
                    await connection.probe(PROBE, timeout=1)
                assert caught.value.why is ProbeRefusal.TROUBLE
                assert "GET /alarms was not answered" in PROBE.refusal(caught.value)
            assert connection.is_open


async def test_a_server_that_answers_pings_and_no_request_is_left_after_three_probes() -> None:
    """As a proxy does whose upstream hangs."""
    asked = 0

    async def script(talk: Talk) -> None:
        nonlocal asked
        peer = scripted_http.Http2Talk(talk)
        await peer.start()
        while True:
            for event in await peer.hear():
                if isinstance(event, RequestReceived):
                    asked += 1
                    if asked <= 2:  # those of the opening
                        status = b"200" if b"authorization" in dict(event.headers) else b"401"
                        peer.answer(event.stream_id, status=status)

    async with fake_peer.serving(script) as listening:
        request = http_opening.request(
            listening.port, version=Version.HTTP2, heartbeat_seconds=1, timeout=30
        )
        async with opened(request) as connection:
            recorder = Recorder()
            connection.observe(recorder)
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await connection.probe(PROBE, timeout=0.2)
            with pytest.raises(NotOpenError):
                await connection.probe(PROBE, timeout=0.2)
            await eventually(lambda: recorder.closes)
            assert recorder.closes[0].reason is Reason.PEER_SILENT
            assert "was left unanswered 3 times in a row" in recorder.closes[0].text


# Renewal


def shows(head: bytes, token: str) -> bool:
    """Whether a request was made with this token."""
    return f"authorization: bearer {token}\r\n".encode() in head.lower()


async def test_a_renewed_credential_is_confirmed_by_a_request_and_counts_from_then_on(
    server: Server,
) -> None:
    async with opened(http_opening.request(server.port, credential=opening.token("one"))) as live:
        sent = len(server.heads)
        await live.renew(opening.token("two"), timeout=10)
        assert len(server.heads) == sent + 1
        assert await live.probe(PROBE, timeout=10) is not None
        assert all(shows(head, "two") for head in server.heads[sent:])
        assert server.connections == 1


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "500 Internal Error"])
async def test_a_credential_that_is_not_confirmed_leaves_the_one_before(
    server: Server, status: str
) -> None:
    """Who serves people by name could lock them out of what they have."""
    async with opened(http_opening.request(server.port, credential=opening.token("one"))) as live:
        server.status = status
        with pytest.raises(SecretNotSentError) as caught:
            await live.renew(opening.token(PLANTED), timeout=10)
        assert status.partition(" ")[0] in str(caught.value)
        assert PLANTED not in str(caught.value)
        server.status = "200 OK"
        assert await live.probe(PROBE, timeout=10) is not None
        assert shows(server.heads[-1], "one")


async def test_a_renewal_that_is_not_answered_ends_with_its_time(server: Server) -> None:
    async with opened(http_opening.request(server.port, credential=opening.token("one"))) as live:
        server.talk.writer.transport.pause_reading()  # type: ignore[attr-defined]  # every socket transport has it
        with pytest.raises(SecretUpdateTimeoutError):
            await live.renew(opening.token("two"), timeout=0.2)
        assert live.is_open
        assert await live.probe(PROBE, timeout=10) is not None
        assert shows(server.heads[-1], "one")


async def test_a_renewal_that_meets_the_end_of_the_server_ends_the_session() -> None:
    server = Server()
    async with leaks.checked():
        async with fake_peer.serving(server.script) as listening:
            server.listening = listening
            request = http_opening.request(server.port, credential=opening.token("one"))
            connection = await HttpDriver().open(request)
        recorder = Recorder()
        connection.observe(recorder)
        with pytest.raises(NotOpenError):
            await connection.renew(opening.token("two"), timeout=10)
        await eventually(lambda: recorder.closes)


async def test_a_server_that_wants_to_be_left_alone_is_sent_no_credential(server: Server) -> None:
    async with opened(http_opening.request(server.port, credential=opening.token("one"))) as live:
        server.status, server.fields = "429 Too Many Requests", "retry-after: 3600\r\n"
        assert await live.probe(PROBE, timeout=10) is None
        sent = len(server.heads)
        with pytest.raises(SecretNotSentError):
            await live.renew(opening.token("two"), timeout=10)
        assert len(server.heads) == sent


async def test_what_cannot_be_shown_is_not_sent(server: Server) -> None:
    async with opened(http_opening.request(server.port)) as connection:
        with pytest.raises(SecretNotSentError) as caught:
            await connection.renew(opening.password("ann", f"{PLANTED}\x07"), timeout=10)
        assert PLANTED not in str(caught.value)
        assert await connection.probe(PROBE, timeout=10) is not None
