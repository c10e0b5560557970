"""Whole sessions, from what is declared to status, with HTTP servers as people run them.

hypercorn, nghttpd and nginx speak HTTP/2, over TLS or by prior knowledge, and HTTP/1.1. They close
connections as they like, are stopped and come back.
"""

import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from springline.core import probing
from springline.core.events import EventType
from springline.core.pauses import Pause
from support.http_peers import HTTPPeer, HTTPPeerMissing
from support.hypercorn import Hypercorn
from support.identities import Certificates
from support.nghttpd import Nghttpd
from support.nginx import Nginx
from support.running import Running, a_broker, a_connection, a_secret, running
from support.token_server import Registered, TokenServer, answer, serving
from support.waiting import eventually

USER = "ann"
FIRST, SECOND = "pl4nted-first", "pl4nted-second"
CLIENT_SECRET = "pl4nted-client-secret"
STREAMS = 7

T = TypeVar("T")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for `localhost`."""
    return Certificates.issue(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def nothing_told(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No password and no token is in the log, whatever the test does."""
    with caplog.at_level(logging.DEBUG, logger="springline"):
        yield
    assert "pl4nted" not in caplog.text


def had(make: Callable[[], T]) -> T:
    """Return the server, or skip where it cannot be had."""
    try:
        return make()
    except HTTPPeerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def app(tmp_path: Path, certificates: Certificates) -> Iterator[Hypercorn]:
    """A hypercorn that lets one user in with the first password."""
    server = had(
        lambda: Hypercorn(
            tmp_path / "hypercorn", tls=certificates.files, max_concurrent_streams=STREAMS
        )
    )
    server.let_in((USER, FIRST))
    with server:
        yield server


def declared(
    port: int,
    certificates: Certificates | None,
    *,
    path: str = "/private",
    version: str = "Auto",
    secret: str = FIRST,
    tls: dict[str, Any] | None = None,
    **spec: Any,
) -> list[dict[str, Any]]:
    """The documents of one session; over TLS with certificates."""
    authority = certificates.files.ca.read_text() if certificates is not None else ""
    encrypted = {"enabled": True, "caRef": {"kind": "Secret", "name": "ca"}, **(tls or {})}
    return [
        a_broker(
            port,
            protocol="http",
            endpoints=[{"host": "localhost", "port": port}],
            sasl={"allowInsecure": certificates is None},
            tls=encrypted if certificates is not None else {},
        ),
        a_secret(USER, secret),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "ca"},
            "stringData": {"ca.crt": authority},
        },
        a_connection("orders", http={"path": path, "version": version}, **spec),
    ]


def asked(server: Hypercorn | Nginx, path: str = "/private") -> int:
    """How often the server has answered for a path."""
    if isinstance(server, Nginx):
        return sum(path in each for each in server.requests)
    return server.log_text().count(path)


async def until_asked(server: Hypercorn | Nginx, times: int) -> None:
    """Wait until it has answered so often more."""
    before = asked(server)
    await eventually(lambda: asked(server) >= before + times, what=f"{times} requests more")


def assert_undisturbed(held: Running) -> None:
    """Nobody was told of an end."""
    assert "lastClose" not in held.status("orders")
    assert held.types("orders").count(EventType.CONNECTED) == 1
    assert EventType.DISCONNECTED not in held.types("orders")


# Opening and probing


@pytest.mark.parametrize(
    ("encrypted", "version", "spoken"),
    [(True, "Auto", "2"), (True, "HTTP1", "1.1"), (False, "HTTP2", "2"), (False, "Auto", "1.1")],
    ids=["by ALPN", "HTTP/1.1 by ALPN", "by prior knowledge", "in clear text"],
)
async def test_a_session_is_open_and_probed_and_status_has_what_is_spoken(
    app: Hypercorn, certificates: Certificates, encrypted: bool, version: str, spoken: str
) -> None:
    port = app.tls_port if encrypted else app.port
    documents = declared(port, certificates if encrypted else None, version=version)
    async with running(*documents) as held:
        await held.until_ready("orders")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        status = held.status("orders")
        http = {"version": spoken, "keepAlive": True, "queueLength": 0}
        if spoken == "2":
            http["concurrentStreams"] = STREAMS
        assert status["negotiated"]["http"] == http
        assert status["negotiated"]["heartbeat"] == ("10s" if spoken == "2" else "0s")
        assert ("tls" in status["negotiated"]) is encrypted
        assert status["server"]["mechanisms"] == ["BASIC", "BEARER"]
        assert held.condition("orders", "CredentialsValid")["reason"] == "Accepted"
        await until_asked(app, 2)
        assert_undisturbed(held)


async def test_a_server_that_asks_nobody_who_he_is_proves_nothing(tmp_path: Path) -> None:
    with had(lambda: Nghttpd(tmp_path, max_concurrent_streams=STREAMS)) as server:
        documents = declared(server.port, None, path="/", version="HTTP2")
        async with running(*documents) as held:
            await held.until_reason("orders", "Connected", "Open")
            await held.until_reason("orders", "Blocked", "NotBlocked")
            assert held.condition("orders", "CredentialsValid")["status"] == "Unknown"
            http = held.status("orders")["negotiated"]["http"]
            assert (http["version"], http["concurrentStreams"]) == ("2", STREAMS)


# Rotation


@pytest.mark.parametrize("version", ["HTTP1", "HTTP2"])
async def test_a_changed_password_counts_from_the_next_request_on(
    app: Hypercorn, certificates: Certificates, version: str
) -> None:
    declare = functools.partial(declared, app.tls_port, certificates, version=version)
    async with running(*declare()) as held:
        await held.until_ready("orders")
        app.let_in((USER, FIRST), (USER, SECOND))
        held.apply(*declare(secret=SECOND))
        await held.until_reason("orders", "CredentialsValid", "Verified")
        assert held.status("orders")["credentials"]["method"] == "InPlace"
        app.let_in((USER, SECOND))
        await until_asked(app, 3)
        assert_undisturbed(held)


async def test_a_password_that_is_refused_is_not_shown_to_the_session(
    app: Hypercorn, certificates: Certificates
) -> None:
    """A connection of its own finds it out, and the session goes on with the one before."""
    async with running(*declared(app.tls_port, certificates)) as held:
        await held.until_ready("orders")
        held.apply(*declared(app.tls_port, certificates, secret=SECOND))
        message = await held.until_reason("orders", "CredentialsValid", "Rejected")
        assert "401 Unauthorized" in message
        await until_asked(app, 3)
        assert held.condition("orders", "Connected")["reason"] == "Open"
        app.let_in((USER, FIRST), (USER, SECOND))
        await held.until_reason("orders", "CredentialsValid", "Verified")
        assert_undisturbed(held)


async def test_a_password_that_counts_no_more_ends_the_session_and_status_says_why(
    app: Hypercorn, certificates: Certificates
) -> None:
    async with running(*declared(app.tls_port, certificates)) as held:
        await held.until_ready("orders")
        app.let_in()
        await held.until_reason("orders", "Connected", "AccessRefused")
        close = held.status("orders")["lastClose"]
        assert (close["by"], close["reason"], close["code"]) == ("Server", "AccessRefused", 401)
        assert close["text"] == "GET /private was answered 401 Unauthorized"
        app.let_in((USER, FIRST))
        await held.until_ready("orders")


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    """An OAuth 2 server with one client."""
    async with serving({"orders": Registered(secret=CLIENT_SECRET)}) as server:
        yield server


async def test_a_token_that_the_server_calls_invalid_is_replaced_at_once(
    app: Hypercorn, certificates: Certificates, tokens: TokenServer
) -> None:
    """Though it should last for another hour."""
    first, second = "pl4nted.token.1", "pl4nted.token.2"
    tokens.then(
        *(
            answer({"access_token": each, "token_type": "Bearer", "expires_in": 3600})
            for each in (first, second)
        )
    )
    app.let_in(first)
    documents = declared(
        app.tls_port,
        certificates,
        credentials={
            "oauth2": {
                "tokenURL": tokens.url,
                "clientRef": {"name": "client"},
                "caRef": {"name": "authority", "kind": "Secret"},
            }
        },
    )
    client = {"client-id": "orders", "client-secret": CLIENT_SECRET}
    for name, data in (("client", client), ("authority", {"ca.crt": tokens.ca.decode()})):
        metadata = {"name": name}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
        documents.append(secret)
    async with running(*documents) as held:
        await held.until_ready("orders")
        assert held.status("orders")["negotiated"]["mechanism"] == "BEARER"
        app.let_in(second)
        await eventually(lambda: EventType.CREDENTIALS_EXPIRED in held.types("orders"))
        await held.until_ready("orders")
        await until_asked(app, 2)
        assert tokens.seen == 2
        assert held.types("orders").count(EventType.DISCONNECTED) == 1
        assert "pl4nted" not in str(held.status("orders")) + repr(held.events)


# Ends


@pytest.mark.parametrize("version", ["HTTP1", "HTTP2"])
async def test_a_connection_that_has_had_its_requests_is_no_disconnect(
    tmp_path: Path, certificates: Certificates, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP/2 hypercorn says GOAWAY to a request that it never answers."""
    monkeypatch.setattr(probing.Prober, "pause", lambda _: Pause(0.0))
    server = had(lambda: Hypercorn(tmp_path, tls=certificates.files, max_requests=3))
    server.let_in((USER, FIRST))
    with server:
        async with running(*declared(server.tls_port, certificates, version=version)) as held:
            await held.until_ready("orders")
            await until_asked(server, 100)
            assert held.is_ready("orders")
            assert_undisturbed(held)


@pytest.mark.parametrize("version", ["HTTP1", "HTTP2"])
async def test_an_idle_connection_that_ends_is_no_disconnect(
    tmp_path: Path, certificates: Certificates, version: str
) -> None:
    """hypercorn closes it after a second, and the next probe comes later."""
    server = had(lambda: Hypercorn(tmp_path, tls=certificates.files, keepalive_seconds=0.5))
    server.let_in((USER, FIRST))
    with server:
        documents = declared(
            server.tls_port,
            certificates,
            version=version,
            probe={"interval": "2s", "timeout": "1s"},
        )
        async with running(*documents) as held:
            await held.until_ready("orders")
            await until_asked(server, 3)
            assert held.is_ready("orders")
            assert_undisturbed(held)


Making = Callable[[Path, Certificates], tuple[HTTPPeer, list[dict[str, Any]]]]


def a_hypercorn(version: str) -> Making:
    def make(directory: Path, certificates: Certificates) -> tuple[HTTPPeer, list[dict[str, Any]]]:
        server = Hypercorn(directory, tls=certificates.files)
        server.let_in((USER, FIRST))
        return server, declared(server.tls_port, certificates, version=version)

    return make


def an_nghttpd(directory: Path, _: Certificates) -> tuple[HTTPPeer, list[dict[str, Any]]]:
    server = Nghttpd(directory)
    return server, declared(server.port, None, path="/", version="HTTP2")


def an_nginx(directory: Path, certificates: Certificates) -> tuple[HTTPPeer, list[dict[str, Any]]]:
    server = Nginx(directory, tls=certificates.files)
    server.set_password(USER, FIRST)
    return server, declared(server.tls_port, certificates)


@pytest.mark.parametrize("end", [HTTPPeer.stop, HTTPPeer.kill], ids=["stopped", "killed"])
@pytest.mark.parametrize(
    "make",
    [a_hypercorn("HTTP1"), a_hypercorn("HTTP2"), an_nghttpd, an_nginx],
    ids=["hypercorn, HTTP/1.1", "hypercorn, HTTP/2", "nghttpd", "nginx"],
)
async def test_a_server_that_goes_away_is_told_and_its_return_is_found(
    tmp_path: Path, certificates: Certificates, make: Making, end: Callable[[HTTPPeer], None]
) -> None:
    server, documents = had(lambda: make(tmp_path / "server", certificates))
    with server:
        async with running(*documents) as held:
            await held.until_reason("orders", "Connected", "Open")
            end(server)
            await held.until_reason("orders", "Connected", "ConnectionRefused")
            close = held.status("orders")["lastClose"]
            assert close["by"] == "Transport"
            assert close["reason"] in {"ConnectionRefused", "PeerClosed"}
            [endpoint] = documents[0]["spec"]["endpoints"]
            assert close["text"].startswith(f"localhost:{endpoint['port']} (127.0.0.1): ")
            server.start()
            await held.until_reason("orders", "Connected", "Open")
            assert held.types("orders").count(EventType.CONNECTED) == 2


async def test_an_http2_server_is_asked_for_a_sign_of_life_and_missed_when_it_freezes(
    tmp_path: Path,
) -> None:
    """Between probes, which come seldom."""
    with had(lambda: Nghttpd(tmp_path)) as server:
        seldom = {"interval": "1h", "timeout": "5s"}
        documents = declared(
            server.port, None, path="/", version="HTTP2", heartbeat="1s", probe=seldom
        )
        async with running(*documents) as held:
            await held.until_reason("orders", "Connected", "Open")
            await eventually(lambda: server.log_text().count("recv PING frame") >= 3)
            assert_undisturbed(held)
            server.pause()
            close = await eventually(lambda: held.status("orders").get("lastClose"))
            assert close is not None
            assert close["reason"] == "HeartbeatMissed"
            server.resume()
            await held.until_reason("orders", "Connected", "Open")


# Client certificates


def a_demanding_hypercorn(directory: Path, certificates: Certificates) -> Hypercorn:
    return Hypercorn(directory, tls=certificates.files, needs_certificate=True)


def a_demanding_nghttpd(directory: Path, certificates: Certificates) -> Nghttpd:
    return Nghttpd(directory, tls=certificates.files, needs_certificate=True)


@pytest.mark.parametrize("make", [a_demanding_hypercorn, a_demanding_nghttpd])
async def test_a_client_certificate_logs_in_and_nothing_else_does(
    tmp_path: Path,
    certificates: Certificates,
    make: Callable[[Path, Certificates], Hypercorn | Nghttpd],
) -> None:
    issued = certificates.authority.issue_cert("orders-client")
    pair = {
        "tls.crt": issued.cert_chain_pems[0].bytes().decode(),
        "tls.key": issued.private_key_pem.bytes().decode(),
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "client"},
        "stringData": pair,
    }
    with had(lambda: make(tmp_path / "server", certificates)) as server:
        port = server.listeners()[-1]
        async with running(*declared(port, certificates, path="/")) as held:
            # Some hang up before TLS can tell why (RFC 8446 §4.4.2.4).
            missed = {"PeerClosed", "TLSFailed"}
            await eventually(lambda: held.condition("orders", "Connected").get("reason") in missed)
            documents = declared(
                port,
                certificates,
                path="/",
                tls={"clientCertificateRef": {"name": "client"}},
                credentials={"external": {}},
            )
            held.apply(*documents, secret)
            await held.until_ready("orders")
            negotiated = held.status("orders")["negotiated"]
            assert (negotiated["mechanism"], negotiated["http"]["version"]) == ("EXTERNAL", "2")
