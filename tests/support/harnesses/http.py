"""The harness of HTTP: its driver, and a scripted server of HTTP/2, which has signs of life."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from h2.events import ConnectionTerminated, RequestReceived

from springline.core import ports
from springline.core.values import Block, Credential, OpenRequest
from springline.drivers.http.connection import Version
from springline.drivers.http.driver import HttpDriver
from springline.drivers.http.parameters import BlockedWhen
from springline.drivers.http.probe_target import HttpProbeTarget
from springline.reasons import Reason
from support import fake_peer, http_opening, opening
from support.fake_peer import Talk
from support.harness import Harness, Peer
from support.scripted_http import Http2Talk

__all__ = ["HARNESS"]

_RESOURCES: Final = {"low on memory": "memory", "low on disk": "disk"}
_JSON: Final = [(b"server", b"Cowboy"), (b"content-type", b"application/json")]


class _HttpPeer:
    """A scripted server, with the words of RabbitMQ's management interface."""

    answers_renewals = "yes"

    def __init__(self) -> None:
        self.rejects = False
        self.answers = True
        self.listening: fake_peer.FakePeer | None = None
        self._silent = asyncio.Event()
        self._talk: Http2Talk | None = None
        self._alarm = ""
        self._refusal = ""
        self._secrets: list[str] = []

    def request(self, **changes: Any) -> OpenRequest[Any]:
        assert self.listening is not None
        return http_opening.request(
            self.listening.port,
            **{
                "version": Version.HTTP2,
                "blocked_when": BlockedWhen(target="/alarms", statuses=frozenset({503})),
                **changes,
            },
        )

    async def script(self, talk: Talk) -> None:
        if not self.answers:
            await talk.silent()
        self._talk = Http2Talk(talk)
        await self._talk.start()
        await talk.served_until(self._silent, self._serve(self._talk))

    async def _serve(self, talk: Http2Talk) -> None:
        while True:
            for event in await talk.hear():
                if isinstance(event, RequestReceived):
                    self._answer(talk, event.stream_id, dict(event.headers))

    def _answer(self, talk: Http2Talk, stream: int, fields: dict[bytes, bytes]) -> None:
        shown = fields.get(b"authorization")
        if shown is not None:
            self._secrets.append(base64.b64decode(shown.split()[1]).decode().partition(":")[2])
        refusal = "nobody knows you" if self.rejects or shown is None else self._refusal
        if refusal:
            fields_401 = [*_JSON, (b"www-authenticate", b'Basic realm="peer"')]
            self._send(talk, stream, 401, fields_401, {"reason": refusal})
        elif fields[b":path"] == b"/alarms" and self._alarm:
            alarm = {"node": "peer", "resource": _RESOURCES[self._alarm]}
            self._send(talk, stream, 503, _JSON, {"alarms": [alarm]})
        else:
            self._send(talk, stream, 200, _JSON, {})

    @staticmethod
    def _send(
        talk: Http2Talk, stream: int, status: int, fields: list[tuple[bytes, bytes]], body: Any
    ) -> None:
        talk.h2.send_headers(stream, [(b":status", b"%d" % status), *fields])
        talk.h2.send_data(stream, json.dumps(body).encode(), end_stream=True)
        talk.flush()

    def block(self, reason: str) -> None:
        self._alarm = reason

    def unblock(self) -> None:
        self._alarm = ""

    def close(self, text: str) -> None:
        self._refusal = text

    def drop(self) -> None:
        assert self._talk is not None
        self._talk.talk.reset()

    def fall_silent(self) -> None:
        self._silent.set()

    @property
    def secrets(self) -> list[str]:
        """Those beside the first."""
        return [each for each in dict.fromkeys(self._secrets) if each != self._secrets[0]]

    @property
    def said_goodbye(self) -> bool:
        assert self._talk is not None
        return any(isinstance(each, ConnectionTerminated) for each in self._talk.events)


class _HttpHarness:
    """The HTTP driver."""

    renews = True
    confirms_renewals = False
    closes_as = Reason.ACCESS_REFUSED

    def __init__(self) -> None:
        self.driver: ports.Driver = HttpDriver()
        self.probes: Sequence[Any] = [HttpProbeTarget()]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Peer]:
        peer = _HttpPeer()
        async with fake_peer.serving(peer.script) as listening:
            peer.listening = listening
            yield peer

    def credential(self, secret: str) -> Credential:
        return opening.password("ann", secret)

    def shown_block(self, alarm: str) -> Block:
        return opening.block(alarm)

    async def ask(self, connection: ports.Connection) -> None:
        """A server says nothing by itself."""
        await http_opening.probed(connection)


HARNESS: Final[Callable[[], Harness]] = _HttpHarness
"""What the table of protocols finds."""
