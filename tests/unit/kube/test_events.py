"""Which events become Kubernetes Events, and what they say."""

import asyncio
import contextvars
import logging
from datetime import UTC, datetime
from typing import Any

import kopf
import pytest
from kopf._core.engines import posting

from springline.api.meta import Identity
from springline.core.events import Event, EventType
from springline.core.logged_events import LoggedEvents
from springline.core.values import SessionKey
from springline.kube.events import KubernetesEvents
from springline.reasons import Reason
from support.fake_clock import FakeClock
from support.fakes import RecordingEvents

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def an_event(
    kind: EventType = EventType.CONNECTED,
    *,
    name: str = "orders",
    message: str = "connected to RabbitMQ",
    reason: Reason | None = None,
) -> Event:
    key = SessionKey("apps", name)
    return Event(type=kind, key=key, at=NOON, message=message, reason=reason)


class Kopf:
    """The part of kopf that takes Events."""

    def __init__(self, events: KubernetesEvents) -> None:
        self.queue: asyncio.Queue[posting.K8sEvent] = asyncio.Queue()
        context = contextvars.copy_context()
        context.run(posting.settings_var.set, kopf.OperatorSettings())
        context.run(posting.event_queue_loop_var.set, asyncio.get_running_loop())
        context.run(posting.event_queue_var.set, self.queue)
        context.run(events.bind)

    def taken(self) -> list[posting.K8sEvent]:
        return [self.queue.get_nowait() for _ in range(self.queue.qsize())]


@pytest.fixture
def uids() -> dict[str, str]:
    """The uid of each connection that there is, by its name."""
    return {"orders": "uid-1"}


@pytest.fixture
async def events(uids: dict[str, str], clock: FakeClock) -> KubernetesEvents:
    return KubernetesEvents(lambda identity: uids.get(identity.name), clock)


async def test_an_event_refers_to_its_connection(events: KubernetesEvents) -> None:
    kopf = Kopf(events)
    await events.report(an_event())
    [event] = kopf.taken()
    assert dict(event.ref) == {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "name": "orders",
        "namespace": "apps",
        "uid": "uid-1",
    }
    assert (event.type, event.reason, event.message) == (
        "Normal",
        "Connected",
        "connected to RabbitMQ",
    )


async def test_a_reason_stands_in_front(events: KubernetesEvents) -> None:
    kopf = Kopf(events)
    await events.report(
        an_event(EventType.CONNECT_FAILED, reason=Reason.ACCESS_REFUSED, message="login refused")
    )
    [event] = kopf.taken()
    assert (event.type, event.reason) == ("Warning", "ConnectFailed")
    assert event.message == "AccessRefused: login refused"


async def test_the_uid_is_that_of_the_connection_as_it_is_now(
    events: KubernetesEvents, uids: dict[str, str]
) -> None:
    kopf = Kopf(events)
    uids["orders"] = "uid-2"
    await events.report(an_event())
    [event] = kopf.taken()
    assert event.ref["uid"] == "uid-2"


async def test_who_asks_for_the_uid_names_the_connection(clock: FakeClock) -> None:
    asked: list[Identity] = []

    def nobody(identity: Identity) -> None:
        asked.append(identity)

    events = KubernetesEvents(nobody, clock)
    kopf = Kopf(events)
    await events.report(an_event())
    assert asked == [Identity("BrokerConnection", "apps", "orders")]
    assert not kopf.taken(), "of a connection that is gone nothing is posted"


@pytest.mark.parametrize("kind", [EventType.ATTEMPTING, EventType.OBTAINED_ADDRESS])
async def test_steps_of_an_attempt_are_not_posted(
    events: KubernetesEvents, kind: EventType
) -> None:
    kopf = Kopf(events)
    await events.report(an_event(kind))
    assert not kopf.taken()


async def test_before_kopf_has_started_nothing_is_posted(events: KubernetesEvents) -> None:
    await events.report(an_event())


async def test_events_go_to_the_kopf_that_was_started_last(events: KubernetesEvents) -> None:
    first, second = Kopf(events), Kopf(events)
    await events.report(an_event())
    assert not first.taken()
    assert len(second.taken()) == 1


async def test_one_session_cannot_fill_the_api_server(
    events: KubernetesEvents, uids: dict[str, str], clock: FakeClock
) -> None:
    """25 at once, then one in five minutes; for each object by itself."""
    uids["billing"] = "uid-2"
    kopf = Kopf(events)
    for _ in range(100):
        await events.report(an_event())
    assert len(kopf.taken()) == 25
    await events.report(an_event(name="billing"))
    assert len(kopf.taken()) == 1
    await clock.advance(299)
    await events.report(an_event())
    assert not kopf.taken()
    await clock.advance(2)
    await events.report(an_event())
    await events.report(an_event())
    assert len(kopf.taken()) == 1
    await clock.advance(300 * 1000)
    for _ in range(100):
        await events.report(an_event())
    assert len(kopf.taken()) == 25


async def test_a_successor_of_the_same_name_has_events_of_its_own(
    events: KubernetesEvents, uids: dict[str, str]
) -> None:
    kopf = Kopf(events)
    for _ in range(30):
        await events.report(an_event())
    uids["orders"] = "uid-2"
    await events.report(an_event())
    assert len(kopf.taken()) == 26


async def test_what_was_noted_of_objects_that_are_gone_is_forgotten(
    events: KubernetesEvents, uids: dict[str, str], clock: FakeClock
) -> None:
    Kopf(events)
    for number in range(10_000):
        uids["orders"] = f"uid-{number}"
        await events.report(an_event())
        if number % 100 == 0:
            await clock.advance(60)
    assert len(events._budgets) <= 2000


# --- as lines of the log


async def test_every_event_is_logged_and_handed_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="springline.core.logged_events")
    then = RecordingEvents()
    events = LoggedEvents(then=then)
    for kind in EventType:
        await events.report(an_event(kind))
    assert then.types == list(EventType)
    assert len({record.message for record in caplog.records}) == len(EventType)


@pytest.mark.parametrize(
    ("kind", "reason", "level", "fields"),
    [
        pytest.param(
            EventType.ATTEMPTING, None, "DEBUG", {"detail": "words"}, id="a step of an attempt"
        ),
        pytest.param(
            EventType.CONNECTED, None, "INFO", {"detail": "words"}, id="something that went well"
        ),
        pytest.param(
            EventType.DISCONNECTED,
            Reason.PEER_CLOSED,
            "WARNING",
            {"detail": "words", "reason": "PeerClosed"},
            id="something that went wrong",
        ),
    ],
)
async def test_the_level_says_how_much_it_matters(
    caplog: pytest.LogCaptureFixture,
    kind: EventType,
    reason: Reason | None,
    level: str,
    fields: dict[str, Any],
) -> None:
    caplog.set_level(logging.DEBUG, logger="springline.core.logged_events")
    events = LoggedEvents(then=RecordingEvents())
    await events.report(an_event(kind, reason=reason, message="words"))
    [record] = caplog.records
    assert record.levelname == level
    assert str(record.__dict__["session"]) == "apps/orders"
    assert {name: record.__dict__[name] for name in fields} == fields
    assert ("reason" in record.__dict__) == (reason is not None)
