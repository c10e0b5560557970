"""A session over HTTP dials many times, and always the address that was allowed when it began.

A name whose address changes meanwhile (DNS rebinding) leads a session nowhere else. It is looked up
again when the session is opened anew, and what it is then is checked again.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from springline import app
from springline.core import probing
from springline.core.pauses import Pause
from springline.reasons import Reason
from springline.standalone import loader
from support import fake_peer, leaks, scripted_http
from support.fake_peer import Talk
from support.fakes import FakeResolver, RecordingEvents
from support.ports import LOOPBACK
from support.waiting import eventually

HOST = "web.example.com"
METADATA = "169.254.169.254"
PROBES = 50


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> FakeResolver:
    """Names in place of the system's; the host is on this machine."""
    names = FakeResolver()
    names.hosts[HOST] = (LOOPBACK,)
    monkeypatch.setattr(app, "SystemResolver", lambda *_, **__: names)
    return names


def declared(port: int) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": "web"},
            "spec": {
                "protocol": "http",
                "endpoints": [{"host": HOST, "port": port}],
                "sasl": {"allowInsecure": True},
                "retry": {"delay": "100ms", "maxDelay": "100ms"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "ann"},
            "stringData": {"username": "ann", "password": "pl4nted-s3cret"},
        },
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "BrokerConnection",
            "metadata": {"name": "orders"},
            "spec": {
                "brokerRef": {"name": "web"},
                "credentials": {"secretRef": {"name": "ann"}},
                "http": {"persistent": False},
            },
        },
    ]


async def test_a_name_that_leads_elsewhere_meanwhile_leads_no_request_there(
    names: FakeResolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request has a connection of its own, and the name is asked for once."""
    monkeypatch.setattr(probing.Prober, "pause", lambda _: Pause(0.0))
    status = "200 OK"

    async def script(talk: Talk) -> None:
        head = await scripted_http.head(talk)
        assert f"\r\nhost: {HOST}:".encode() in head.lower()
        scripted_http.answer(talk, status=status, fields="connection: close\r\n")

    async with leaks.checked(), fake_peer.serving(script) as peer:
        (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(declared(peer.port)))
        parts = app.Standalone(RecordingEvents())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(parts.manager.run())
            parts.apply(loader.load([tmp_path / "all.yaml"]))
            await eventually(lambda: peer.talks)
            names.hosts[HOST] = (METADATA,)
            before = len(peer.talks)
            await eventually(lambda: len(peer.talks) > before + PROBES)
            [session] = parts.manager.sessions()
            assert session.view.last_close is None
            assert names.lookups == [HOST]
            # It ends, and is opened anew.
            status = "500 Internal Server Error"
            await eventually(
                lambda: (
                    session.view.state.failure is not None
                    and session.view.state.failure.reason is Reason.ADDRESS_NOT_ALLOWED
                )
            )
            assert f'the address of "{HOST}", {METADATA}, is' in str(session.view.state.failure)
            parts.manager.stop()
