"""Springline in this process, all parts wired as `springline run` wires them, without its files.

What a test asserts on is what a user would see: the status of a resource.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

from springline.api import documents
from springline.app import Standalone
from springline.core.events import Event, EventType
from springline.core.values import SessionKey
from springline.standalone.loader import Manifests
from support.waiting import PATIENCE, eventually

__all__ = ["Running", "a_broker", "a_connection", "a_secret", "running"]

API = "springline.dev/v1alpha1"


class _Recorder:
    """Keeps what was reported, as `core.events.EventSink`."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def report(self, event: Event) -> None:
        self.events.append(event)


class Running:
    """Sessions that follow what `apply` declares, and their status."""

    def __init__(self) -> None:
        self._recorder = _Recorder()
        self.parts = Standalone(self._recorder)

    @property
    def events(self) -> list[Event]:
        """Everything reported so far."""
        return self._recorder.events

    def types(self, name: str) -> list[EventType]:
        """What was reported of one connection, in order."""
        return [event.type for event in self.events if event.key.name == name]

    def apply(self, *written: Any) -> None:
        """Declare these documents and no others."""
        parsed = (documents.parse(each) for each in written)
        self.parts.apply(Manifests(objects={each.identity: each for each in parsed}))

    def status(self, name: str) -> dict[str, Any]:
        """The status of a connection of the default namespace; empty before the first one."""
        key = SessionKey("default", name)
        if key not in self.parts.report.shown:
            return {}
        return dict(self.parts.report.connection_document(key)["status"])

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """One condition of a connection; empty before the first status."""
        found = (each for each in self.status(name).get("conditions", ()) if each["type"] == kind)
        return next(found, {})

    def is_ready(self, name: str) -> bool:
        """Whether a connection is shown as Ready."""
        return self.condition(name, "Ready").get("status") == "True"

    async def until_ready(self, *names: str, timeout: float = PATIENCE) -> None:
        """Wait until all these connections are shown as Ready."""
        for name in names:
            await eventually(
                functools.partial(self.is_ready, name), timeout=timeout, what=f"{name} is Ready"
            )

    async def until_reason(
        self, name: str, kind: str, reason: str, timeout: float = PATIENCE
    ) -> str:
        """Wait until a condition has this reason and return its message."""
        await eventually(
            lambda: self.condition(name, kind).get("reason") == reason,
            timeout=timeout,
            what=f"{name} has {kind} with reason {reason}",
        )
        return str(self.condition(name, kind)["message"])


@contextlib.asynccontextmanager
async def running(*written: Any) -> AsyncIterator[Running]:
    """Run with these documents; at the end every session is closed in an orderly way."""
    held = Running()
    async with asyncio.TaskGroup() as tasks:
        managing = tasks.create_task(held.parts.manager.run())
        reporting = tasks.create_task(held.parts.report.run())
        held.apply(*written)
        try:
            yield held
        finally:
            held.parts.manager.stop()
            await asyncio.wait({managing}, timeout=PATIENCE)
            managing.cancel()
            reporting.cancel()


def a_broker(port: int, *, name: str = "rabbit", **spec: Any) -> dict[str, Any]:
    """Return a Broker on loopback that is tried again quickly."""
    return {
        "apiVersion": API,
        "kind": "Broker",
        "metadata": {"name": name},
        "spec": {
            "endpoints": [{"host": "127.0.0.1", "port": port}],
            "sasl": {"allowInsecure": True},
            "retry": {"delay": "200ms", "maxDelay": "1s"},
            **spec,
        },
    }


def a_secret(username: str, password: str, *, name: str = "login") -> dict[str, Any]:
    """Return a Secret with user name and password."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"username": username, "password": password},
    }


def a_connection(name: str, **spec: Any) -> dict[str, Any]:
    """Return a BrokerConnection to the broker `rabbit` with the Secret `login`."""
    return {
        "apiVersion": API,
        "kind": "BrokerConnection",
        "metadata": {"name": name},
        "spec": {
            "brokerRef": {"name": "rabbit"},
            "credentials": {"secretRef": {"name": "login"}},
            "heartbeat": "10s",
            "probe": {"interval": "1s", "timeout": "2s"},
            **spec,
        },
    }
