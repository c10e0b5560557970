"""Which events become Kubernetes Events, and what they say."""

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from springline.api.meta import Identity
from springline.core.events import Event, EventType
from springline.core.logged_events import LoggedEvents
from springline.core.values import SessionKey
from springline.kube.event_objects import Content
from springline.kube.events import KubernetesEvents
from springline.reasons import Reason
from support.fake_clock import FakeClock

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def an_event(
    kind: EventType = EventType.CONNECTED,
    *,
    name: str = "orders",
    message: str = "connected to RabbitMQ",
    reason: Reason | None = None,
    broker: Identity | None = None,
) -> Event:
    key = SessionKey("apps", name)
    return Event(type=kind, key=key, at=NOON, message=message, reason=reason, broker=broker)


class Posted:
    """What the poster would bring to the API server."""

    def __init__(self) -> None:
        self._events: list[tuple[Content, datetime]] = []

    def put(self, content: Content, *, at: datetime) -> None:
        self._events.append((content, at))

    def taken(self) -> list[Content]:
        events, self._events = self._events, []
        assert all(at == NOON for _, at in events), "an Event is of the time when it happened"
        return [content for content, _ in events]


@pytest.fixture
def posted() -> Posted:
    return Posted()


@pytest.fixture
def uids() -> dict[str, str]:
    """The uid of each connection that there is, by its name."""
    return {"orders": "uid-1"}


@pytest.fixture
async def events(posted: Posted, uids: dict[str, str], clock: FakeClock) -> KubernetesEvents:
    return KubernetesEvents(posted, lambda identity: uids.get(identity.name), clock)


async def test_an_event_refers_to_its_connection(events: KubernetesEvents, posted: Posted) -> None:
    await events.report(an_event())
    [event] = posted.taken()
    assert event.identity == Identity("BrokerConnection", "apps", "orders")
    assert event.uid == "uid-1"
    assert (event.type, event.reason, event.action, event.message) == (
        "Normal",
        "Connected",
        "Connected",
        "connected to RabbitMQ",
    )


async def test_the_reason_is_the_conditions_and_the_action_is_what_happened(
    events: KubernetesEvents, posted: Posted
) -> None:
    await events.report(
        an_event(EventType.CONNECT_FAILED, reason=Reason.ACCESS_REFUSED, message="login refused")
    )
    [event] = posted.taken()
    assert (event.type, event.reason, event.action) == ("Warning", "AccessRefused", "ConnectFailed")
    assert event.message == "attempt failed: login refused"


async def test_a_notice_is_its_own_reason(
    events: KubernetesEvents, posted: Posted, uids: dict[str, str], clock: FakeClock
) -> None:
    await clock.advance((NOON - clock.now()).total_seconds())
    uids["rabbit"] = "uid-3"
    identity = Identity("ClusterBroker", "", "rabbit")
    assert events.warn(identity, reason="HeldElsewhere", message="by another")
    [event] = posted.taken()
    assert event.identity == identity
    assert (event.type, event.reason, event.action) == ("Warning", "HeldElsewhere", "HeldElsewhere")


async def test_a_long_text_takes_no_more_room_than_an_event_has(
    events: KubernetesEvents, posted: Posted
) -> None:
    """Also while it waits."""
    await events.report(an_event(message="x" * 1_000_000))
    [event] = posted.taken()
    assert len(event.message.encode()) == 1024


async def test_the_uid_is_that_of_the_connection_as_it_is_now(
    events: KubernetesEvents, posted: Posted, uids: dict[str, str]
) -> None:
    uids["orders"] = "uid-2"
    await events.report(an_event())
    [event] = posted.taken()
    assert event.uid == "uid-2"


async def test_who_asks_for_the_uid_names_the_connection(clock: FakeClock, posted: Posted) -> None:
    asked: list[Identity] = []

    def nobody(identity: Identity) -> None:
        asked.append(identity)

    events = KubernetesEvents(posted, nobody, clock)
    await events.report(an_event())
    assert asked == [Identity("BrokerConnection", "apps", "orders")]
    assert not posted.taken(), "of a connection that is gone nothing is posted"


@pytest.mark.parametrize("kind", [EventType.ATTEMPTING, EventType.OBTAINED_ADDRESS])
async def test_steps_of_an_attempt_are_not_posted(
    events: KubernetesEvents, posted: Posted, kind: EventType
) -> None:
    await events.report(an_event(kind))
    assert not posted.taken()


async def test_one_session_cannot_fill_the_api_server(
    events: KubernetesEvents, posted: Posted, uids: dict[str, str], clock: FakeClock
) -> None:
    """25 at once, then one in five minutes; for each object by itself."""
    uids["billing"] = "uid-2"
    for _ in range(100):
        await events.report(an_event())
    assert len(posted.taken()) == 25
    await events.report(an_event(name="billing"))
    assert len(posted.taken()) == 1
    await clock.advance(299)
    await events.report(an_event())
    assert not posted.taken()
    await clock.advance(2)
    await events.report(an_event())
    await events.report(an_event())
    assert len(posted.taken()) == 1
    await clock.advance(300 * 1000)
    for _ in range(100):
        await events.report(an_event())
    assert len(posted.taken()) == 25


async def test_a_successor_of_the_same_name_has_events_of_its_own(
    events: KubernetesEvents, posted: Posted, uids: dict[str, str]
) -> None:
    for _ in range(30):
        await events.report(an_event())
    uids["orders"] = "uid-2"
    await events.report(an_event())
    assert len(posted.taken()) == 26


async def test_what_is_left_out_is_counted(
    posted: Posted, uids: dict[str, str], clock: FakeClock
) -> None:
    left_out: list[bool] = []
    events = KubernetesEvents(
        posted,
        lambda identity: uids.get(identity.name),
        clock,
        limited=lambda: left_out.append(True),
    )
    for _ in range(30):
        await events.report(an_event())
    assert (len(posted.taken()), len(left_out)) == (25, 5)


async def test_what_was_noted_of_objects_that_are_gone_is_forgotten(
    events: KubernetesEvents, uids: dict[str, str], clock: FakeClock
) -> None:
    for number in range(10_000):
        uids["orders"] = f"uid-{number}"
        await events.report(an_event())
        if number % 100 == 0:
            await clock.advance(60)
    assert len(events._budgets) <= 2000


# R5.14
@pytest.mark.parametrize(
    ("broker", "related"),
    [
        pytest.param(Identity("Broker", "apps", "rabbit"), True, id="a Broker"),
        pytest.param(Identity("ClusterBroker", "", "shared"), True, id="a ClusterBroker"),
        pytest.param(Identity("BrokerConnection", "apps", "orders"), False, id="one in place"),
        pytest.param(None, False, id="none that can be used"),
    ],
)
async def test_the_broker_is_what_an_event_is_related_to(
    events: KubernetesEvents, posted: Posted, broker: Identity | None, related: bool
) -> None:
    await events.report(an_event(broker=broker))
    [content] = posted.taken()
    assert content.related == (broker if related else None)


# --- as lines of the log


# R5.14
async def test_a_line_of_the_log_has_the_servers_name(
    caplog: pytest.LogCaptureFixture, clock: FakeClock
) -> None:
    caplog.set_level(logging.DEBUG, logger="springline.core.logged_events")
    events = LoggedEvents(clock)
    for kind in EventType:
        await events.report(an_event(kind, broker=Identity("Broker", "apps", "rabbit")))
    assert {record.__dict__["server"] for record in caplog.records} == {"Broker rabbit"}
    caplog.clear()
    await events.report(an_event())
    assert "server" not in caplog.records[0].__dict__


async def test_every_event_is_logged(caplog: pytest.LogCaptureFixture, clock: FakeClock) -> None:
    caplog.set_level(logging.DEBUG, logger="springline.core.logged_events")
    events = LoggedEvents(clock)
    for kind in EventType:
        await events.report(an_event(kind))
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
    clock: FakeClock,
    kind: EventType,
    reason: Reason | None,
    level: str,
    fields: dict[str, Any],
) -> None:
    caplog.set_level(logging.DEBUG, logger="springline.core.logged_events")
    events = LoggedEvents(clock)
    await events.report(an_event(kind, reason=reason, message="words"))
    [record] = caplog.records
    assert record.levelname == level
    assert str(record.__dict__["session"]) == "apps/orders"
    assert {name: record.__dict__[name] for name in fields} == fields
    assert ("reason" in record.__dict__) == (reason is not None)


async def test_a_session_that_comes_and_goes_all_the_time_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, clock: FakeClock
) -> None:
    caplog.set_level(logging.INFO, logger="springline.core.logged_events")
    events = LoggedEvents(clock)
    for _ in range(1000):
        await events.report(an_event(EventType.BLOCKED))
    assert len(caplog.records) == 60
    await clock.advance(5.0)
    await events.report(an_event(EventType.UNBLOCKED))
    assert caplog.records[-1].__dict__["left_out"] == 940


async def test_a_line_that_nobody_would_see_is_not_counted(
    caplog: pytest.LogCaptureFixture, clock: FakeClock
) -> None:
    caplog.set_level(logging.INFO, logger="springline.core.logged_events")
    events = LoggedEvents(clock)
    for _ in range(1000):
        await events.report(an_event(EventType.ATTEMPTING))
    await events.report(an_event(EventType.CONNECTED))
    assert len(caplog.records) == 1
