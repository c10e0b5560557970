"""Sessions over HTTP with nginx as people run it: its limits, TLS, ALPN, client certificates."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from springline.app import Standalone
from springline.core import probing
from springline.core.events import EventType
from springline.core.pauses import Pause
from springline.drivers.http.connection import Version
from springline.drivers.http.probe_target import HttpProbeTarget
from springline.standalone import loader
from support import http_opening, leaks, opening
from support.fakes import RecordingEvents
from support.http_opening import opened
from support.http_peers import HTTPPeerMissing
from support.identities import Certificates
from support.nginx import KEEPALIVE_REQUESTS, Nginx
from support.opening import Recorder
from support.springline_process import Springline, running
from support.waiting import eventually

SECRET = "pl4nted-s3cret"
PROBE = HttpProbeTarget()
PROBES = 1000


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for `localhost`."""
    return Certificates.issue(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Nginx]:
    """An nginx that closes a connection after ten answers."""
    try:
        server = Nginx(tmp_path_factory.mktemp("nginx"), tls=certificates.files)
    except HTTPPeerMissing as missing:
        pytest.skip(str(missing))
    server.set_password("ann", SECRET)
    with server:
        yield server


@pytest.fixture
async def springline(tmp_path: Path) -> AsyncIterator[Springline]:
    async with running(tmp_path, SECRET) as springline:
        yield springline


@pytest.mark.parametrize("version", [Version.HTTP1, Version.HTTP2])
async def test_a_limit_of_requests_per_connection_is_no_disconnect(
    web: Nginx, certificates: Certificates, version: Version
) -> None:
    """Through a thousand probes nobody is told of an end, nor of a block."""
    with_tls = version is Version.HTTP2
    tls = certificates.client() if with_tls else None
    if tls is not None:
        tls.context.set_alpn_protocols(["h2"])
    request = http_opening.request(
        web.tls_port if with_tls else web.port,
        tls=tls,
        target="/private",
        version=version,
        credential=opening.password("ann", SECRET),
    )
    recorder = Recorder()
    async with leaks.checked(), opened(request) as connection:
        assert connection.info.proved
        connection.observe(recorder)
        confirmed = [await connection.probe(PROBE, timeout=30) for _ in range(PROBES)]
        assert None not in confirmed
        assert connection.is_open
        assert recorder.told == []
        assert recorder.closes == []
    assert PROBES > KEEPALIVE_REQUESTS


def declared(port: int, certificates: Certificates, **http: Any) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": "web"},
            "spec": {
                "protocol": "http",
                "endpoints": [{"host": "localhost", "port": port}],
                "tls": {"enabled": True, "caRef": {"kind": "Secret", "name": "ca"}},
                "retry": {"delay": "1s"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "ca"},
            "stringData": {"ca.crt": certificates.files.ca.read_text()},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders"},
            "stringData": {"username": "ann", "password": SECRET},
        },
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "BrokerConnection",
            "metadata": {"name": "orders"},
            "spec": {
                "brokerRef": {"name": "web"},
                "credentials": {"secretRef": {"name": "orders"}},
                "heartbeat": "10s",
                "http": {"path": "/private", **http},
            },
        },
    ]


@pytest.mark.parametrize(("version", "spoken"), [("Auto", "2"), ("HTTP2", "2"), ("HTTP1", "1.1")])
async def test_what_is_spoken_is_agreed_on_in_the_tls_handshake(
    springline: Springline, web: Nginx, certificates: Certificates, version: str, spoken: str
) -> None:
    """And HTTP/2 has heartbeats, which HTTP/1.1 has not."""
    springline.write("all.yaml", *declared(web.tls_port, certificates, version=version))
    status = await springline.until("Ready", "True")
    negotiated = status["negotiated"]
    assert negotiated["http"]["version"] == spoken
    assert negotiated["heartbeat"] == ("10s" if spoken == "2" else "0s")
    assert negotiated["tls"]["version"].startswith("TLSv1.")
    assert ("concurrentStreams" in negotiated["http"]) is (spoken == "2")
    assert status["server"]["mechanisms"] == ["BASIC"]
    assert springline.condition("CredentialsValid") == ("True", "Accepted")


async def test_a_client_certificate_logs_in(
    springline: Springline, web: Nginx, certificates: Certificates
) -> None:
    """Alone, without a user name and password."""
    documents = declared(web.client_tls_port, certificates)
    issued = certificates.authority.issue_cert("orders-client")
    documents[2] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "client"},
        "stringData": {
            "tls.crt": issued.cert_chain_pems[0].bytes().decode(),
            "tls.key": issued.private_key_pem.bytes().decode(),
        },
    }
    documents[0]["spec"]["tls"]["clientCertificateRef"] = {"name": "client"}
    documents[3]["spec"]["credentials"] = {"external": {}}
    documents[3]["spec"]["http"] = {}
    springline.write("all.yaml", *documents)
    status = await springline.until("Ready", "True")
    assert status["negotiated"]["mechanism"] == "EXTERNAL"


async def test_an_opening_that_is_throttled_is_named_so(
    springline: Springline, web: Nginx, certificates: Certificates
) -> None:
    """The second request in a minute gets 429, and opening takes two."""
    documents = declared(web.tls_port, certificates, path="/limited/429/seconds?client=opening")
    springline.write("all.yaml", *documents)
    await springline.until("Connected", "False", "Throttled")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param({"virtualHost": "orders"}, "spec.virtualHost: HTTP", id="virtual host"),
        pytest.param({"channelMax": 7}, "spec.channelMax: HTTP has no use for it", id="channels"),
        pytest.param({"probe": {"mode": "OwnQueue"}}, "HTTP has no queues", id="own queue"),
    ],
)
async def test_what_http_has_no_use_for_is_refused_with_a_sentence(
    springline: Springline,
    web: Nginx,
    certificates: Certificates,
    spec: dict[str, Any],
    said: str,
) -> None:
    documents = declared(web.tls_port, certificates)
    documents[3]["spec"].update(spec)
    springline.write("all.yaml", *documents)
    status = await springline.until("Connected", "False", "InvalidSpec")
    assert any(said in each["message"] for each in status["conditions"])


async def test_a_thousand_probes_over_short_connections_leave_no_trace_in_status(
    web: Nginx, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way from files to status, with a probe as soon as the one before is answered."""
    monkeypatch.setattr(probing.Prober, "pause", lambda _: Pause(0.0))
    documents = declared(web.port, certificates)
    documents[0]["spec"].update(tls={}, sasl={"allowInsecure": True})
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    events = RecordingEvents()
    parts = Standalone(events)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(parts.manager.run())
        parts.apply(loader.load([tmp_path / "all.yaml"]))
        before = len(web.requests)
        await eventually(lambda: len(web.requests) > before + PROBES)
        [session] = parts.manager.sessions()
        view = session.view
        assert view.is_ready
        assert view.last_close is None
        parts.manager.stop()
    assert EventType.DISCONNECTED not in [each.type for each in events.events]
