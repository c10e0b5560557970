"""Write the sessions of the HTTP corpora anew: `python -m fuzz.recording_http`.

Each is what a server says to the real client, which does what the plan says. Most servers are real:
nginx, hypercorn, nghttpd and RabbitMQ's management interface. What those do not say is scripted.
"""

import asyncio
import base64
import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from h2.errors import ErrorCodes

from fuzz import cases
from fuzz.observing import Observer
from fuzz.oracles import SECRET
from fuzz.targets import CORPUS, http, http_session
from fuzz.wire import ENDS, HANG_UP
from springline.core.values import OpenRequest
from springline.drivers.http.connection import HttpConnection, Options, Version
from springline.drivers.http.driver import HttpDriver
from springline.drivers.shared import dialling
from springline.errors import SpringlineError
from support import fake_peer, opening, scripted_http
from support.fake_peer import Talk
from support.hypercorn import Hypercorn
from support.identities import Certificates
from support.nghttpd import Nghttpd
from support.nginx import Nginx
from support.rabbitmq import RabbitMQNode
from support.scripted_http import Http2Talk

__all__ = ["main"]

Script = Callable[[Talk], Awaitable[None]]

_SHORTER = 18
"""Parts of a session are put together until there are no more, so that there is room for others."""


# What is scripted


def _echo(status: str, *fields: str, **said: str) -> bytes:
    content = json.dumps(said).encode()
    lines = (f"HTTP/1.1 {status}", "Server: Cowboy", "Content-Type: application/json", *fields)
    head = "\r\n".join([*lines, f"Content-Length: {len(content)}"])
    return head.encode() + b"\r\n\r\n" + content


async def _refuses(talk: Talk) -> None:
    echoed = base64.b64encode(f"fuzz:{SECRET}".encode()).decode()
    await scripted_http.head(talk)
    challenge = f'WWW-Authenticate: Basic realm="{echoed}"'
    talk.raw(
        _echo("401 Unauthorized", challenge, error="not_authorised", reason=f"{SECRET} {echoed}")
    )
    await talk.until_gone()


async def _ends_later(talk: Talk) -> None:
    """Accept, and refuse the token of a probe."""
    answers = (
        _echo("200 OK", name="fuzz", tags=SECRET),
        _echo("401 Unauthorized", "WWW-Authenticate: Basic, Bearer", error="not_authorised"),
        _echo("503 Later", "Retry-After: 10", reason=SECRET),
        _echo(
            "401 Unauthorized",
            f'WWW-Authenticate: Bearer error="invalid_token", error_description="{SECRET}"',
            reason=SECRET,
        ),
    )
    for each in answers:
        await scripted_http.head(talk)
        talk.raw(each)
    await talk.until_gone()


async def _throttles(talk: Talk) -> None:
    """Throttle a login, and probes by seconds and by a date."""
    date = "Date: Fri, 01 Jan 2027 00:00:00 GMT"
    answers = (
        _echo("429 Slow", "Retry-After: 1"),
        _echo("200 OK", name="fuzz"),
        _echo("302 There", "Location: /login"),
        _echo("429 Slow", date, "Retry-After: Fri, 01 Jan 2027 00:00:02 GMT"),
        _echo("200 OK", name="fuzz"),
    )
    for each in answers:
        await scripted_http.head(talk)
        talk.raw(each)
    await talk.until_gone()


async def _alarms(talk: Talk) -> None:
    """Be blocked, and then not to be asked about it."""
    resources = [{"node": SECRET, "resource": each} for each in ("memory", "disk")]
    alarm = json.dumps({"status": "failed", "reason": SECRET, "alarms": resources}).encode()
    blocked = _echo("503 Later").replace(b"Length: 2\r\n\r\n{}", b"Length: %d\r\n\r\n" % len(alarm))
    answers = (
        _echo("200 OK", name="fuzz"),
        _echo("401 Unauthorized"),
        *(_echo("200 OK"), blocked + alarm, _echo("200 OK"), _echo("404 None")),
    )
    for each in answers:
        await scripted_http.head(talk)
        talk.raw(each)
    await talk.until_gone()


async def _informs(talk: Talk) -> None:
    """Say everything that an answer can have."""
    await scripted_http.head(talk)
    talk.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")
    talk.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Folded: a\r\n b\r\n\r\n")
    talk.raw(b"5;name=value\r\nabcde\r\n0\r\nTrailer: x\r\n\r\n")
    await scripted_http.head(talk)
    talk.raw(b"HTTP/1.1 204 No Content\r\n\r\n")
    await scripted_http.head(talk)
    talk.raw(f"HTTP/1.0 200 {SECRET}\r\nX-Echo: {SECRET}\r\n\r\nuntil the end".encode())
    talk.close()
    await talk.until_gone()


async def _closes_idle(talk: Talk) -> None:
    await scripted_http.head(talk)
    scripted_http.answer(talk, b"one")
    talk.raw(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
    talk.close()
    await talk.until_gone()


async def _speaks_amqp(talk: Talk) -> None:
    talk.raw(b"AMQP\x00\x00\x09\x01")
    talk.close()
    await talk.until_gone()


async def _resets(talk: Talk) -> None:
    """Reset streams for each reason that is told apart, and answer what is left."""
    served = Http2Talk(talk)
    await served.start()
    for code in (ErrorCodes.CANCEL, ErrorCodes.REFUSED_STREAM, ErrorCodes.HTTP_1_1_REQUIRED):
        [stream] = await served.requested()
        served.h2.reset_stream(stream, code)
        served.flush()
    [stream] = await served.requested()
    served.answer(stream, f"the rest, and {SECRET}".encode())
    await served.until_gone()


async def _goes_away(talk: Talk) -> None:
    """Take no more after the first two of four."""
    served = Http2Talk(talk)
    await served.start()
    streams = await served.requested(4)
    last = sorted(streams)[1]
    talk.raw(scripted_http.frame(7, last.to_bytes(4) + bytes(4) + SECRET.encode()))
    for stream in sorted(streams)[:2]:
        served.answer(stream, b"yes")
    await served.until_gone()


async def _says_all_frames(talk: Talk) -> None:
    """Send one of each frame, and an answer in pieces with trailers."""
    served = Http2Talk(talk)
    await served.start({3: 2, 4: 1000, 5: 16384, 6: 20000})
    [stream] = await served.requested()
    served.h2.ping(b"12345678")
    served.h2.send_headers(stream, [(b":status", b"103"), (b"link", b"<x>")])
    served.h2.send_headers(stream, [(b":status", b"200"), (b"x-echo", SECRET.encode())])
    served.h2.send_data(stream, b"half", pad_length=3)
    served.h2.send_data(stream, b"the rest")
    served.h2.send_headers(stream, [(b"trailer", b"x")], end_stream=True)
    served.flush()
    talk.raw(scripted_http.frame(2, bytes(5), stream_id=9))
    talk.raw(scripted_http.frame(0xB, b"unknown"))
    [stream] = await served.requested()
    fields = [(b":status", b"200"), *((b"x-%d" % each, b"y" * 90) for each in range(60))]
    block = served.h2.encoder.encode(fields)
    talk.raw(scripted_http.frame(1, block[:2000], stream_id=stream, flags=1))
    talk.raw(scripted_http.frame(9, block[2000:], stream_id=stream, flags=4))
    await served.until_gone()


async def _answers_h2_late(talk: Talk) -> None:
    """Let half of a long request pass, and answer without the rest of it."""
    served = Http2Talk(talk)
    await served.start({4: 1000})
    while not served.paths:
        await served.hear()
    [stream] = served.paths
    served.h2.increment_flow_control_window(1000, stream)
    served.h2.send_headers(stream, [(b":status", b"413")], end_stream=True)
    served.flush()
    await served.until_gone()


# What is recorded


class _Tape:
    """Keeps what servers say to whoever dials meanwhile."""

    def __init__(self) -> None:
        self.said: list[bytes] = []

    def parts(self) -> list[bytes]:
        """Return what was said, in no more parts than a case may well have."""
        parts = list(self.said)
        while len(parts) > _SHORTER:
            mergeable = [
                at for at in range(len(parts) - 1) if HANG_UP not in (parts[at], parts[at + 1])
            ]
            at = min(mergeable, key=lambda each: len(parts[each]) + len(parts[each + 1]))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return parts

    @contextlib.contextmanager
    def running(self) -> Any:
        """Record for the length of a block."""
        real = dialling.dial

        async def dial(asked: OpenRequest[Any], progress: Any, reader: Any) -> Any:
            feed, end = reader.feed_data, reader.feed_eof

            def fed(data: bytes) -> None:
                self.said.append(bytes(data))
                feed(data)

            def ended() -> None:
                if not line.is_ending:
                    self.said.append(HANG_UP)
                end()

            reader.feed_data, reader.feed_eof = fed, ended
            line: Any = await real(asked, progress, reader)
            return line

        with mock.patch.object(dialling, "dial", dial):
            yield


def _acts(actions: tuple[str, ...], words: str) -> bytes:
    return bytes(actions.index(each) for each in words.split())


def _option(*, two: bool = False, persistent: int = 0, rest: int = 0) -> int:
    """Return the octet for `http.options` and `http_session.request`."""
    return int(two) + 2 * (persistent + 3 * rest)


_CALLS = "get head several answers get"
_BODIES = "get post pieces several answers pieces"


class _Recorder:
    """Writes files of the corpora."""

    def __init__(self) -> None:
        self._end = ENDS.index("end of stream")

    async def connection(
        self,
        name: str,
        port: int,
        octet: int,
        words: str,
        *,
        paths: Mapping[str, str] | None = None,
        tls: Any = None,
    ) -> None:
        """Record one connection."""
        tape, acts = _Tape(), _acts(http.ACTIONS, words)
        used: Options = http.options(octet)
        if tls is not None:
            used = dataclasses.replace(used, version=Version.AUTO)
        with tape.running():
            target = opening.request(port, tls=tls, timeout=30.0)
            await http.converse(
                HttpConnection.create(target, used),
                acts,
                http.Conversed({**http.PATHS, **(paths or {})}),
            )
        self._write("http", name, octet, acts, tape)

    async def session(
        self,
        name: str,
        port: int,
        octet: int,
        words: str,
        *,
        tls: Any = None,
        between: Callable[[], None] | None = None,
        **changes: Any,
    ) -> None:
        """Record one session; `between` is called after what the first word says."""
        tape, acts = _Tape(), _acts(http_session.ACTIONS, words)
        asked = http_session.request(octet, port)
        asked = dataclasses.replace(
            asked, tls=tls, parameters=dataclasses.replace(asked.parameters, **changes)
        )
        with tape.running(), contextlib.suppress(SpringlineError, TimeoutError):
            client = await HttpDriver().open(asked)
            if between is not None:
                await http_session.act(client, http_session.ACTIONS[acts[0]])
                await asyncio.to_thread(between)
            await http_session.converse(client, acts[between is not None :], Observer())
        self._write("http_session", name, octet, acts, tape)

    async def scripted(self, kind: str, name: str, script: Script, octet: int, words: str) -> None:
        """Record what a script says to a connection or a session."""
        async with fake_peer.serving(script) as peer:
            record = self.connection if kind == "http" else self.session
            await record(name, peer.port, octet, words)

    def _write(self, folder: str, name: str, octet: int, acts: bytes, tape: _Tape) -> None:
        parts = tape.parts()
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
        plan = bytes([self._end, octet]) + acts
        text = cases.written(f"{name}: the plan, and then what the server says", [plan, *parts])
        (CORPUS / folder / f"{name}.hex").write_text(text, encoding="ascii")
        print(f"{folder}/{name}: {len(parts)} parts, {sum(map(len, parts))} octets", flush=True)


async def _record_nginx(recorder: _Recorder, at: Path, certificates: Certificates) -> None:
    server = Nginx(at, tls=certificates.files)
    server.set_password("fuzz", SECRET)
    tls = certificates.client()
    async with _running(server):
        await recorder.connection("nginx-1", server.port, _option(persistent=1), _CALLS)
        paths = {"several": "/cut/chunked"}
        await recorder.connection(
            "nginx-1-cut", server.port, _option(), "get several answers", paths=paths
        )
        tls.context.set_alpn_protocols(["h2"])
        await recorder.connection(
            "nginx-2",
            server.tls_port,
            _option(two=True),
            "several several several answers",
            tls=tls,
        )
        await recorder.session(
            "nginx-1", server.port, _option(), "probe " * 5 + "renew probe", target="/private"
        )
        await recorder.session(
            "nginx-2",
            server.tls_port,
            _option(two=True),
            "probe " * 8,
            tls=tls,
            version=Version.AUTO,
            target="/private",
        )
        await recorder.session(
            "nginx-limited", server.port, _option(), "probe", target="/limited/429/date?client=a"
        )


async def _record_hypercorn(recorder: _Recorder, at: Path) -> None:
    server = Hypercorn(at, max_concurrent_streams=3)
    large = {"several": "/large/3000"}
    async with _running(server):
        await recorder.connection("hypercorn-1", server.port, _option(persistent=1), _BODIES)
        await recorder.connection(
            "hypercorn-1-once", server.port, _option(persistent=2), "get shutdown"
        )
        await recorder.connection(
            "hypercorn-2", server.port, _option(two=True), _BODIES, paths=large
        )
        await recorder.connection(
            "hypercorn-2-shutdown", server.port, _option(two=True, persistent=1), "several shutdown"
        )
        await recorder.session(
            "hypercorn-open", server.port, _option(two=True), "probe probe", target="/"
        )


async def _record_nghttpd(recorder: _Recorder, at: Path) -> None:
    server = Nghttpd(at, max_concurrent_streams=2)
    async with _running(server):
        await recorder.connection("nghttpd-2", server.port, _option(two=True), _BODIES)
        await recorder.connection(
            "nghttpd-2-cancel", server.port, _option(two=True), "several cancel hurry close"
        )


async def _record_rabbitmq(recorder: _Recorder, at: Path) -> None:
    node = RabbitMQNode(at, management=True)
    async with _running(node):
        await asyncio.to_thread(node.add_user, "fuzz", SECRET, tags=("monitoring",))
        paths = {"get": "/api/whoami", "several": "/api/health/checks/alarms", "head": "/api"}
        await recorder.connection(
            "rabbitmq-1", node.http_port, _option(persistent=1), _CALLS, paths=paths
        )
        await recorder.session(
            "rabbitmq", node.http_port, _option(rest=1), "probe renew probe", target="/api/whoami"
        )
        await recorder.session(
            "rabbitmq-alarm",
            node.http_port,
            _option(rest=1),
            "probe probe",
            between=lambda: node.set_alarm("memory"),
        )
        await recorder.session(
            "rabbitmq-refuses",
            node.http_port,
            _option(rest=1),
            "probe probe",
            between=lambda: node.change_password("fuzz", "another"),
        )


_SCRIPTED: tuple[tuple[str, str, Script, int, str], ...] = (
    ("http", "informs", _informs, _option(), "get get several answers"),
    ("http", "closes-idle", _closes_idle, _option(), "get get"),
    ("http", "speaks-amqp", _speaks_amqp, _option(), "get"),
    ("http", "speaks-amqp-2", _speaks_amqp, _option(two=True), "get"),
    ("http", "resets", _resets, _option(two=True), "get get get get"),
    ("http", "goes-away", _goes_away, _option(two=True), "several answers get"),
    ("http", "all-frames", _says_all_frames, _option(two=True, rest=2), "get get"),
    ("http", "answers-early", _answers_h2_late, _option(two=True), "pieces"),
    ("http_session", "refuses", _refuses, _option(), ""),
    ("http_session", "ends-later", _ends_later, _option(rest=2), "probe renew probe"),
    ("http_session", "throttles", _throttles, _option(), "probe probe"),
    ("http_session", "alarms", _alarms, _option(rest=1), "probe probe"),
)


@contextlib.asynccontextmanager
async def _running(server: Any) -> AsyncIterator[None]:
    await asyncio.to_thread(server.start)
    try:
        yield
    finally:
        await asyncio.to_thread(server.close)


async def _record(at: Path) -> None:
    recorder = _Recorder()
    for each in _SCRIPTED:
        await recorder.scripted(*each)
    (at / "tls").mkdir()
    certificates = Certificates.issue(at / "tls")
    await _record_nginx(recorder, at / "nginx", certificates)
    await _record_hypercorn(recorder, at / "hypercorn")
    await _record_nghttpd(recorder, at / "nghttpd")
    await _record_rabbitmq(recorder, at / "rabbitmq")


def main() -> int:
    """Record all sessions. Raises where a server cannot be had."""
    with tempfile.TemporaryDirectory(prefix="springline-fuzz-") as directory:
        asyncio.run(_record(Path(directory)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
