"""The HTTP servers of the tests do what their modules say: a test that relies on it can."""

import contextlib
import email.utils
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
import trustme
from h2.errors import ErrorCodes

from support import dying_upstream, h2_client, http_app, http_peers, nghttpd, nginx, suites
from support.http_peers import LARGE, HTTPPeer, HTTPPeerFailed, HTTPPeerMissing
from support.hypercorn import Hypercorn
from support.identities import Certificates
from support.nghttpd import Nghttpd
from support.nginx import KEEPALIVE_REQUESTS, Nginx
from support.ports import LOOPBACK
from support.waiting import PATIENCE

_BASIC = {"Authorization": "Basic " + b64encode(b"ann:pl4nted-s3cret").decode()}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for `localhost`."""
    return Certificates.issue(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def _skipping() -> Iterator[None]:
    try:
        yield
    except HTTPPeerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Nginx]:
    """An nginx with TLS."""
    with _skipping():
        server = Nginx(tmp_path_factory.mktemp("nginx"), tls=certificates.files)
    with server:
        yield server


@pytest.fixture(scope="module")
def app(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Hypercorn]:
    """A hypercorn with TLS."""
    with _skipping():
        server = Hypercorn(
            tmp_path_factory.mktemp("hypercorn"), tls=certificates.files, max_concurrent_streams=7
        )
    with server:
        yield server


@contextlib.contextmanager
def _http1(
    port: int, context: ssl.SSLContext | None = None
) -> Iterator[http.client.HTTPConnection]:
    """Connect; a connection that the server has closed is not opened again."""
    if context is None:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
    else:
        connection = http.client.HTTPSConnection(
            "localhost", port, timeout=PATIENCE, context=context
        )
    connection.connect()
    connection.auto_open = 0
    try:
        yield connection
    finally:
        connection.close()


def _get(
    connection: http.client.HTTPConnection, path: str = "/", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read()


def _alpn(certificates: Certificates, *protocols: str, shown: bool = False) -> ssl.SSLContext:
    context = certificates.client(with_certificate=shown).context
    assert context is not None
    context.set_alpn_protocols(protocols)
    return context


def _stranger(certificates: Certificates, *protocols: str) -> ssl.SSLContext:
    """Return a client whose certificate is of an authority that servers do not know."""
    context = certificates.client().context
    assert context is not None
    context.set_alpn_protocols(protocols)
    trustme.CA().issue_cert("stranger").configure_cert(context)
    return context


def _wait(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- nginx


def test_nginx_closes_a_connection_after_ten_answers(web: Nginx) -> None:
    """The tenth says so, and then the connection is at its end."""
    with _http1(web.port) as connection:
        for number in range(1, KEEPALIVE_REQUESTS + 1):
            answer, content = _get(connection)
            assert (answer.status, content) == (200, nginx.HELLO)
            closes = "close" if number == KEEPALIVE_REQUESTS else "keep-alive"
            assert answer.getheader("Connection") == closes, number
        with pytest.raises(http.client.NotConnected):
            _get(connection)


def test_nginx_answers_what_is_pipelined_in_order_up_to_its_limit(web: Nginx) -> None:
    """What was written behind the last one is not answered."""
    request = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection((LOOPBACK, web.port), timeout=PATIENCE) as sock:
        paths = [b"/forbidden" if number % 2 else b"/" for number in range(KEEPALIVE_REQUESTS + 2)]
        sock.sendall(b"".join(request % path for path in paths))
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(65536):
                received += data
    statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"403"] * (KEEPALIVE_REQUESTS // 2)


def test_nginx_closes_an_idle_connection(web: Nginx) -> None:
    with _http1(web.brief_port) as connection:
        _get(connection)
        assert connection.sock.recv(1) == b"", "it does not come to an end"


@pytest.mark.parametrize("status", [429, 503])
def test_nginx_limits_requests_and_says_when_to_try_again(web: Nginx, status: int) -> None:
    """In seconds or with a date; each name has a limit of its own, and no name has none."""
    with _http1(web.port) as connection:
        for form in ("seconds", "date"):
            path = f"/limited/{status}/{form}"
            answer, content = _get(connection, f"{path}?client={status}-{form}")
            assert (answer.status, content) == (200, nginx.HELLO)
            assert answer.getheader("Retry-After") is None
            answer, _ = _get(connection, f"{path}?client={status}-{form}")
            assert answer.status == status
            retry = answer.getheader("Retry-After") or ""
            if form == "seconds":
                assert retry == str(web.retry_seconds)
            else:
                at = email.utils.parsedate_to_datetime(retry)
                assert at == web.retry_at.replace(microsecond=0)
            assert _get(connection, path)[0].status == 200


def test_nginx_says_the_time_it_is_told_after_a_restart(tmp_path: Path) -> None:
    with _skipping():
        server = Nginx(tmp_path)
    with server:
        server.stop()
        server.retry_seconds, server.retry_at = 77, datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
        server.start()
        said = []
        with _http1(server.port) as connection:
            for form in ("seconds", "seconds", "date"):
                answer, _ = _get(connection, f"/limited/429/{form}?client=same")
                said.append(answer.getheader("Retry-After"))
        assert said == [None, "77", "Mon, 03 Feb 2031 04:05:06 GMT"]


def test_nginx_checks_a_password_in_each_request(web: Nginx) -> None:
    """A new one counts from the next request, on the same connection."""
    with _http1(web.port) as connection:
        answer, _ = _get(connection, "/private")
        assert (answer.status, answer.getheader("WWW-Authenticate")) == (401, 'Basic realm="tests"')
        assert _get(connection, "/private", **_BASIC)[0].status == 401
        web.set_password("ann", "pl4nted-s3cret")
        answer, content = _get(connection, "/private", **_BASIC)
        assert (answer.status, content) == (200, nginx.HELLO)
        web.set_password("ann", "another")
        assert _get(connection, "/private", **_BASIC)[0].status == 401


def test_nginx_has_answers_that_nobody_wants(web: Nginx) -> None:
    with _http1(web.port) as connection:
        assert _get(connection, "/forbidden")[0].status == 403
        answer, _ = _get(connection, "/moved")
        assert (answer.status, answer.getheader("Location")) == (
            302,
            f"http://{LOOPBACK}:{web.port}/",
        )
        assert _get(connection, "/cut/head")[0].status == 502
        connection.request("POST", "/", body=b"x")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 405
    _wait(lambda: "POST / HTTP/1.1 405" in web.requests)


def test_nginx_cuts_an_answer(web: Nginx) -> None:
    """With a length or in chunks, the client can tell that it is not whole; 444 is no answer."""
    for form in ("length", "chunked"):
        with _http1(web.port) as connection:
            with pytest.raises(http.client.IncompleteRead) as cut:
                _get(connection, f"/cut/{form}")
            assert cut.value.partial == dying_upstream.SENT
    with _http1(web.port) as connection, pytest.raises(http.client.RemoteDisconnected):
        _get(connection, "/closes")


def test_nginx_speaks_what_alpn_asks_for(web: Nginx, certificates: Certificates) -> None:
    with h2_client.connected(web.tls_port, _alpn(certificates, "h2", "http/1.1")) as client:
        answer = client.get("/large")
        assert (answer.status, len(answer.content)) == (200, LARGE)
    with _http1(web.tls_port, _alpn(certificates, "http/1.1")) as connection:
        assert isinstance(connection.sock, ssl.SSLSocket)
        assert connection.sock.selected_alpn_protocol() == "http/1.1"
        assert _get(connection)[1] == nginx.HELLO


def test_nginx_says_goaway_after_ten_streams(web: Nginx, certificates: Certificates) -> None:
    """It comes before the answer to the last one, which it names; then the connection is closed."""
    with h2_client.connected(web.tls_port, _alpn(certificates, "h2")) as client:
        for _ in range(KEEPALIVE_REQUESTS):
            last = client.send("/")
            assert client.answer(last).content == nginx.HELLO
        client.until(lambda: False)
        assert client.closed
        assert client.goaways == [h2_client.Goaway(last_stream=last, code=ErrorCodes.NO_ERROR)]


def test_nginx_cuts_a_stream(web: Nginx, certificates: Certificates) -> None:
    """The connection stays, and other streams are answered."""
    with h2_client.connected(web.tls_port, _alpn(certificates, "h2")) as client:
        answer = client.get("/cut/length")
        assert (bytes(answer.content), answer.ended) == (dying_upstream.SENT, False)
        assert answer.reset == ErrorCodes.INTERNAL_ERROR
        assert client.get("/").content == nginx.HELLO
        closed = client.get("/closes")
        assert (closed.status, closed.reset) == (0, ErrorCodes.PROTOCOL_ERROR)
        assert client.get("/").status == 200


def test_nginx_demands_a_client_certificate(web: Nginx, certificates: Certificates) -> None:
    """The handshake goes well without one, or with a wrong one; the answer says what is wrong."""
    for refused, why in (
        (_alpn(certificates, "http/1.1"), b"No required SSL certificate was sent"),
        (_stranger(certificates, "http/1.1"), b"The SSL certificate error"),
    ):
        with _http1(web.client_tls_port, refused) as connection:
            answer, content = _get(connection)
            assert answer.status == 400
            assert why in content
    context = _alpn(certificates, "h2", shown=True)
    with h2_client.connected(web.client_tls_port, context) as client:
        assert client.get("/").content == nginx.HELLO


def test_nginx_speaks_http2_with_those_who_know_it_beforehand(web: Nginx) -> None:
    with h2_client.connected(web.http2_port) as client:
        assert client.get("/").content == nginx.HELLO


def test_nginx_takes_each_of_several_logins(tmp_path: Path) -> None:
    """And as many requests on a connection as it is told."""
    with _skipping():
        server = Nginx(
            tmp_path, logins=[("ann", "one"), ("ann", "pl4nted-s3cret")], keepalive_requests=100
        )
    with server, _http1(server.port) as connection:
        for _ in range(KEEPALIVE_REQUESTS + 1):
            assert _get(connection, "/either", **_BASIC)[0].status == 200
        answer, _ = _get(connection, "/either")
        assert (answer.status, answer.getheader("WWW-Authenticate")) == (401, 'Basic realm="tests"')


# --- hypercorn


def test_hypercorn_lets_in_who_shows_what_it_knows(tmp_path: Path) -> None:
    with _skipping():
        server = Hypercorn(tmp_path)
    with server, _http1(server.port) as connection:
        assert _get(connection, "/private", **_BASIC)[0].status == 401
        server.let_in(("ann", "pl4nted-s3cret"), "a.token")
        assert _get(connection, "/private", **_BASIC)[0].status == 200
        assert _get(connection, "/private", Authorization="Bearer a.token")[0].status == 200
        for shown, is_invalid in (({}, False), ({"Authorization": "Bearer another"}, True)):
            answer, _ = _get(connection, "/private", **shown)
            challenge = answer.getheader("WWW-Authenticate") or ""
            assert answer.status == 401
            assert ('error="invalid_token"' in challenge) is is_invalid


def test_hypercorn_demands_a_client_certificate(tmp_path: Path, certificates: Certificates) -> None:
    with _skipping():
        server = Hypercorn(tmp_path, tls=certificates.files, needs_certificate=True)
    with server:
        with h2_client.connected(server.tls_port, _alpn(certificates, "h2", shown=True)) as client:
            assert client.get("/").status == 200
        for context in (_alpn(certificates, "http/1.1"), _stranger(certificates, "http/1.1")):
            with (
                pytest.raises((OSError, http.client.HTTPException)),
                _http1(server.tls_port, context) as connection,
            ):
                _get(connection)


def test_hypercorn_speaks_both_versions_on_both_ports(
    app: Hypercorn, certificates: Certificates
) -> None:
    with _http1(app.port) as connection:
        assert json.loads(_get(connection)[1]) == {"method": "GET", "version": "1.1"}
    with _http1(app.tls_port, _alpn(certificates, "http/1.1")) as connection:
        assert json.loads(_get(connection)[1])["version"] == "1.1"
    for port, context in ((app.port, None), (app.tls_port, _alpn(certificates, "h2"))):
        with h2_client.connected(port, context) as client:
            assert json.loads(client.get("/").content)["version"] == "2"
            assert client.announced_streams == 7
            client.ping()
            client.until(lambda: client.acknowledged_pings)
            assert client.acknowledged_pings == 1


def test_hypercorn_answers_in_the_order_that_is_asked_for(app: Hypercorn) -> None:
    """Over HTTP/2 a later request may be answered first."""
    with h2_client.connected(app.port) as client:
        held = client.send("/held/one")
        slow = client.send("/slow/1")
        assert client.answer(slow).status == 200
        assert not client.answers[held].ended
        assert client.get("/release/one").status == 200
        assert client.answer(held).status == 200


def test_hypercorn_sends_what_it_is_asked_for(app: Hypercorn) -> None:
    with h2_client.connected(app.port) as client:
        assert len(client.get(f"/large/{LARGE}").content) == LARGE
        echoed = client.answer(client.send("/echo", method="POST", content=b"x" * 1000))
        assert echoed.content == b"x" * 1000
    with _http1(app.port) as connection:
        answer, _ = _get(connection, "/status/503?retry_after=3")
        assert (answer.status, answer.getheader("Retry-After")) == (503, "3")
        assert _get(connection, "/nothing")[0].status == 404
        assert len(_get(connection, f"/large/{LARGE}")[1]) == LARGE
        seen = json.loads(_get(connection, "/seen")[1])
        assert "POST /echo" in seen
        assert "GET /seen" not in seen


def test_hypercorn_breaks_an_answer(app: Hypercorn) -> None:
    """Over HTTP/1.1 it hangs up; over HTTP/2 nothing more comes on the stream, not even its end."""
    with h2_client.connected(app.port) as client:
        broken = client.answers[client.send("/breaks")]
        client.until(lambda: broken.status)
        client.ping()
        client.until(lambda: client.acknowledged_pings)
        assert client.get("/").status == 200
        assert (broken.status, broken.ended, broken.reset) == (200, False, None)
    with _http1(app.port) as connection, pytest.raises(http.client.IncompleteRead) as cut:
        _get(connection, "/breaks")
    assert cut.value.partial == http_app.HALF


def test_hypercorn_says_goaway_when_a_connection_has_had_its_requests(tmp_path: Path) -> None:
    with _skipping():
        server = Hypercorn(tmp_path, max_requests=3, graceful_seconds=0.1)
    with server:
        with _http1(server.port) as connection:
            answers = [_get(connection)[0].getheader("Connection") for _ in range(3)]
            assert answers == [None, None, "close"]
        with h2_client.connected(server.port) as client:
            for _ in range(3):
                assert client.get("/").status == 200
            last = client.send("/held/never")
            client.until(lambda: client.goaways)
            assert client.goaways[0].last_stream == last


def test_hypercorn_answers_what_it_owes_before_it_ends(tmp_path: Path) -> None:
    with _skipping():
        server = Hypercorn(tmp_path, graceful_seconds=PATIENCE)
    with server, h2_client.connected(server.port) as client:
        slow = client.send("/slow/500")
        client.ping()
        client.until(lambda: client.acknowledged_pings)
        server.terminate()
        assert client.answer(slow).ended
        client.until(lambda: False)
        assert client.closed


# --- nghttpd


@pytest.mark.parametrize("encrypted", [True, False])
def test_nghttpd_speaks_http2(tmp_path: Path, certificates: Certificates, encrypted: bool) -> None:
    """Over TLS with ALPN, and in clear text by prior knowledge."""
    with _skipping():
        server = Nghttpd(
            tmp_path, tls=certificates.files if encrypted else None, max_concurrent_streams=2
        )
    context = _alpn(certificates, "h2", "http/1.1") if encrypted else None
    with server, h2_client.connected(server.port, context) as client:
        assert client.get("/").content == nghttpd.HELLO
        assert client.announced_streams == 2
        assert len(client.get("/large").content) == LARGE
        assert client.get("/nothing").status == 404
        echoed = client.answer(client.send("/echo", method="POST", content=b"x" * 1000))
        assert echoed.content == b"x" * 1000
        client.ping()
        client.until(lambda: client.acknowledged_pings)
        assert client.acknowledged_pings == 1
        _wait(lambda: "PING frame" in server.log_text())


def test_nghttpd_refuses_streams_beyond_its_limit(tmp_path: Path) -> None:
    """A client that has not read them yet is told that such a stream is certainly unprocessed."""
    with _skipping():
        server = Nghttpd(tmp_path, max_concurrent_streams=1)
    with server, h2_client.connected(server.port) as client:
        # It is not answered before its content has come, so it still counts.
        first = client.send_head("/large", method="POST")
        second = client.send("/")
        assert client.answer(second).reset == ErrorCodes.REFUSED_STREAM
        client.send_content(first, b"x")
        assert client.answer(first).content == b"x"


def test_nghttpd_has_no_http1(tmp_path: Path) -> None:
    with _skipping():
        server = Nghttpd(tmp_path)
    with (
        server,
        _http1(server.port) as connection,
        pytest.raises((http.client.HTTPException, ConnectionError)),
    ):
        _get(connection)


def test_nghttpd_demands_a_client_certificate(tmp_path: Path, certificates: Certificates) -> None:
    """Any will do. With TLS 1.3 the client has finished its handshake when it is refused."""
    with _skipping():
        server = Nghttpd(tmp_path, tls=certificates.files, needs_certificate=True)
    with server:
        for context in (_alpn(certificates, "h2", shown=True), _stranger(certificates, "h2")):
            with h2_client.connected(server.port, context) as client:
                assert client.get("/").content == nghttpd.HELLO
        with h2_client.connected(server.port, _alpn(certificates, "h2")) as client:
            assert client.get("/").status == 0
            assert client.closed


# --- all of them


@pytest.fixture(params=[Nginx, Hypercorn, Nghttpd])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HTTPPeer]:
    """Each of them, not started."""
    with _skipping():
        server: HTTPPeer = request.param(tmp_path)
    yield server
    server.close()


def test_a_peer_comes_back_where_it_was(peer: HTTPPeer) -> None:
    """However it ended; and it listens below the ports that clients get."""
    peer.start()
    peer.start()
    assert max(peer.listeners()) < 32768
    port = peer.listeners()[0]
    for end in (peer.stop, peer.kill):
        first = peer.pid
        end()
        assert not peer.running
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, port))
        peer.start()
        assert peer.pid != first
        socket.create_connection((LOOPBACK, port)).close()


def test_a_frozen_peer_accepts_and_does_not_answer(peer: HTTPPeer) -> None:
    peer.start()
    peer.pause()
    [port, *_] = peer.listeners()
    with socket.create_connection((LOOPBACK, port), timeout=0.2) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        with pytest.raises(TimeoutError):
            sock.recv(1)
        peer.resume()
        sock.settimeout(PATIENCE)
        sock.recv(1)


def test_a_peer_that_cannot_start_says_why(peer: HTTPPeer) -> None:
    files = Certificates.issue(peer.directory).files
    files.key.write_text("no key")
    peer.tls = files
    with pytest.raises(HTTPPeerFailed, match=rf"{peer.name} did not start; it wrote:\n.+"):
        peer.start()
    assert not peer.running


# --- getting them


def test_every_target_whose_suite_starts_one_gets_it_first() -> None:
    """So that a fresh machine skips none of the tests; make test gets all there is."""
    makefile = (suites.TESTS.parent / "Makefile").read_text(encoding="utf-8")
    getting = set(re.findall(r"^([\w-]+):[^#\n]* http-peers\b", makefile, re.MULTILINE))
    started = re.compile(r"^from support\.(?:nginx|nghttpd) import", re.MULTILINE)
    starting = {
        path.relative_to(suites.TESTS).parts[0]
        for path in suites.TESTS.rglob("*.py")
        if started.search(path.read_text(encoding="utf-8"))
        and not path.name.startswith("recording")  # for developers; no suite runs it
    } - {"support"}
    assert {"unit", "faults"} <= starting
    targets = {each if each not in suites.SUITES else f"test-{each}" for each in starting}
    assert getting >= {"test", *targets}


SCRIPT = "install-http-peers.sh"
# Files below `offers` are packages, each named as it may be asked for.
APT_GET = """
case $1 in
download) cp "{offers}/$2" "./$2.deb" ;;
update) touch {offers}/updated ;;
esac
"""
# The content of a package is the program that it brings.
DPKG_DEB = """
mkdir -p "$3/usr/sbin"
case $2 in *nginx*) name=nginx ;; *nghttp2-server*) name=nghttpd ;; *) exit 0 ;; esac
cp "$2" "$3/usr/sbin/$name"
chmod +x "$3/usr/sbin/$name"
"""
PINS = {"nginx": ("nginx", "1.2-3"), "nghttp2-server": ("nghttpd", "4.5-6")}


class Machine:
    """A machine with a cache of its own, and a Debian that offers what is pinned."""

    def __init__(self, directory: Path) -> None:
        self.cache = directory / "cache" / "springline"
        self.offers = directory / "offers"
        self._scripts = directory / "support"
        self._programs = directory / "bin"
        for each in (self.offers, self._scripts, self._programs):
            each.mkdir()
        for name in (SCRIPT, "debian.sh"):
            shutil.copy(suites.TESTS / "support" / name, self._scripts)
        programs = {
            "apt-get": APT_GET,
            "dpkg-deb": DPKG_DEB,
            "dpkg": "echo amd64",
        }
        for name, text in programs.items():
            (self._programs / name).write_text(f"#!/bin/sh\n{text.format(offers=self.offers)}")
            (self._programs / name).chmod(0o755)
        lines = ["# What is pinned."]
        for name, (peer, version) in PINS.items():
            program = "#!/bin/sh\nexit 0\n"
            (self.offers / f"{name}={version}").write_text(program)
            lines.append(f"{peer} {name} {version} {sha256(program.encode()).hexdigest()}")
        (self._scripts / "http-peers.packages").write_text("\n".join(lines) + "\n")

    def move_on(self, program: str) -> None:
        """Offer another nginx in the place of the pinned one."""
        (self.offers / "nginx=1.2-3").unlink()
        (self.offers / "nginx").write_text(program)

    def run(self) -> list[str]:
        """Run the script; it never fails. Return what it says."""
        done = subprocess.run(
            [self._scripts / SCRIPT],
            env={
                "PATH": f"{self._programs}:/usr/bin:/bin",
                "HOME": "/nowhere",
                "XDG_CACHE_HOME": str(self.cache.parent),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    @property
    def left(self) -> set[str]:
        """What is in the cache."""
        return {path.name for path in self.cache.iterdir()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One on which everything can be had."""
    return Machine(tmp_path)


def test_the_peers_are_got_once(machine: Machine) -> None:
    assert machine.run() == [
        "Getting nginx from Debian's packages…",
        "Getting nghttpd from Debian's packages…",
    ]
    assert machine.left == {"nginx-1.2-3", "nghttpd-4.5-6"}
    assert not (machine.offers / "updated").exists(), "the lists were fresh"
    assert machine.run() == []


def test_what_debian_has_moved_on_to_is_taken(machine: Machine) -> None:
    """After a look whether its lists are only old; and a line says so."""
    machine.move_on("#!/bin/sh\n")
    assert machine.run()[:2] == [
        "Getting nginx from Debian's packages…",
        "Debian has moved on from nginx 1.2-3; taking what it offers now.",
    ]
    assert (machine.offers / "updated").exists()
    assert machine.left == {"nginx-1.2-3", "nghttpd-4.5-6"}


LACKING: dict[str, tuple[Callable[[Machine], object], str]] = {
    "no package": (
        lambda machine: (machine.offers / "nginx=1.2-3").unlink(),
        "its packages cannot be had; the last words on them are above.",
    ),
    "another file of its version": (
        lambda machine: (machine.offers / "nginx=1.2-3").write_text("#!/bin/sh\n"),
        "its packages cannot be had; the last words on them are above.",
    ),
    "a program that does not run": (
        lambda machine: machine.move_on("#!/bin/sh\nexit 1\n"),
        "it does not run here; its words are above.",
    ),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_what_cannot_be_had_is_said_and_the_other_one_is_got(
    machine: Machine, lacking: str
) -> None:
    take_away, why = LACKING[lacking]
    take_away(machine)
    assert f"The tests with nginx will not run: {why}" in machine.run()
    assert machine.left == {"nghttpd-4.5-6"}


def test_a_peer_that_is_missing_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for peer in (Nginx, Nghttpd):
        with pytest.raises(HTTPPeerMissing, match=f"there is no {peer.name}: run make http-peers"):
            peer(tmp_path)
    program = tmp_path / "nginx"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert http_peers.find("nginx").path == program
