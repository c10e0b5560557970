"""An event's reason is the one of the condition that it is about."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from springline import errors
from springline.core import event_texts, status
from springline.core.backoff import Retry
from springline.core.events import Event, EventType, Severity
from springline.core.logged_events import MESSAGES
from springline.core.session import Unusable
from springline.core.state import Failure
from springline.core.values import SessionKey
from springline.reasons import Reason
from support.builders import (
    PROBE,
    a_target,
    a_token,
    credential_refused,
    no_secret,
    probe_refused,
    refused,
    server_close,
    terminal,
    transport_close,
    unreachable,
)
from support.fake_clock import EIGHT
from support.stage import Stage

HOUR = timedelta(hours=1)

Story = Callable[[Stage], Awaitable[object]]


def attempt_fails(error: errors.ConnectError) -> Story:
    async def story(stage: Stage) -> None:
        stage.driver.then(error)
        await stage.declare(retry=Retry(delay=60.0, max_delay=60.0, jitter=0.0))

    return story


async def nothing_to_log_in_with(stage: Stage) -> None:
    stage.credentials.answer = no_secret()
    await stage.declare()


def unusable(reason: Reason) -> Story:
    async def story(stage: Stage) -> None:
        problem = Failure(reason=reason, message="it cannot be used")
        stage.session.declare(Unusable(generation=1, problem=problem))
        await stage.clock.settle()

    return story


def ends_young(ending: Callable[[], object]) -> Story:
    async def story(stage: Stage) -> None:
        connection = await stage.connect(retry=Retry(delay=60.0, max_delay=60.0, jitter=0.0))
        connection.end(ending())  # type: ignore[arg-type]
        await stage.clock.settle()

    return story


def blocked(text: str, reason: Reason) -> Story:
    async def story(stage: Stage) -> None:
        (await stage.connect(probe=PROBE)).block(text, reason)
        await stage.clock.settle()

    return story


async def probe_is_refused(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = probe_refused()
    await stage.clock.advance(15.0)


async def new_secret_is_refused(stage: Stage) -> None:
    await stage.connect()
    stage.driver.then(credential_refused())
    await stage.change_credential()


async def change_is_refused(stage: Stage) -> None:
    await stage.connect()
    stage.driver.otherwise = refused()
    await stage.declare(generation=2, target=a_target(virtual_host="other"))


async def secret_is_deleted(stage: Stage) -> None:
    await stage.connect()
    stage.credentials.answer = no_secret()
    stage.session.credential_changed()
    await stage.clock.settle()


def token_gets_old(share: float) -> Story:
    async def story(stage: Stage) -> None:
        stage.credentials.answer = a_token(
            "first", username="app", issued_at=EIGHT, expires_at=EIGHT + HOUR
        )
        await stage.connect()
        await stage.clock.advance(share * HOUR.total_seconds())

    return story


STORIES: dict[str, tuple[EventType, Reason, Story]] = {
    "a wrong password": (
        EventType.CONNECT_FAILED,
        Reason.ACCESS_REFUSED,
        attempt_fails(credential_refused()),
    ),
    "nobody listens": (
        EventType.CONNECT_FAILED,
        Reason.CONNECTION_REFUSED,
        attempt_fails(unreachable()),
    ),
    "no mechanism in common": (
        EventType.CONNECT_FAILED,
        Reason.NO_AUTHENTICATION_MECHANISM,
        attempt_fails(terminal()),
    ),
    "a virtual host that is not there": (
        EventType.CHANGE_REFUSED,
        Reason.VIRTUAL_HOST_NOT_FOUND,
        change_is_refused,
    ),
    "no Secret": (EventType.CONNECT_FAILED, Reason.SECRET_NOT_FOUND, nothing_to_log_in_with),
    "no broker": (
        EventType.INVALID_SPEC,
        Reason.BROKER_NOT_FOUND,
        unusable(Reason.BROKER_NOT_FOUND),
    ),
    "a broker for others": (
        EventType.INVALID_SPEC,
        Reason.NAMESPACE_NOT_ALLOWED,
        unusable(Reason.NAMESPACE_NOT_ALLOWED),
    ),
    "a contradiction": (
        EventType.INVALID_SPEC,
        Reason.INVALID_SPEC,
        unusable(Reason.INVALID_SPEC),
    ),
    "closed by an operator": (
        EventType.DISCONNECTED,
        Reason.CONNECTION_FORCED,
        ends_young(server_close),
    ),
    "lost": (EventType.DISCONNECTED, Reason.PEER_CLOSED, ends_young(transport_close)),
    "low on memory": (
        EventType.BLOCKED,
        Reason.LOW_ON_MEMORY,
        blocked("low on memory", Reason.LOW_ON_MEMORY),
    ),
    "blocked in words of its own": (
        EventType.BLOCKED,
        Reason.BLOCKED_BY_BROKER,
        blocked("out of cheese", Reason.BLOCKED_BY_BROKER),
    ),
    "the probe may not publish": (
        EventType.PROBE_REFUSED,
        Reason.PROBE_DISABLED,
        probe_is_refused,
    ),
    "a new password is wrong": (
        EventType.SECRET_REJECTED,
        Reason.REJECTED,
        new_secret_is_refused,
    ),
    "the Secret is deleted": (
        EventType.SECRET_REJECTED,
        Reason.SECRET_NOT_FOUND,
        secret_is_deleted,
    ),
    "a token is not renewed": (
        EventType.CREDENTIALS_EXPIRING,
        Reason.EXPIRING,
        token_gets_old(0.9),
    ),
    "a token is over": (EventType.CREDENTIALS_EXPIRED, Reason.EXPIRED, token_gets_old(1.1)),
}

ELSEWHERE = {EventType.BINDING_FAILED}
"""Warnings about bindings carry the reason of the verdict that becomes the condition."""


def test_every_warning_is_in_the_table() -> None:
    warnings = {kind for kind in EventType if kind.severity is Severity.WARNING}
    assert {kind for kind, _, _ in STORIES.values()} | ELSEWHERE == warnings


@pytest.mark.parametrize(("kind", "reason", "story"), STORIES.values(), ids=STORIES)
async def test_a_warning_has_the_reason_of_a_condition(
    stage: Stage, kind: EventType, reason: Reason, story: Story
) -> None:
    await story(stage)
    event = stage.events.of(kind)[-1]
    conditions = status.conditions(stage.view, now=stage.clock.now())
    assert event_texts.reason_of(event) == reason
    assert reason in {condition.reason for condition in conditions}


def an_event(kind: EventType, reason: Reason | None = None) -> Event:
    return Event(
        type=kind, key=SessionKey("apps", "orders"), at=EIGHT, message="words", reason=reason
    )


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind.severity is Severity.NORMAL])
def test_what_goes_well_is_its_own_reason(kind: EventType) -> None:
    event = an_event(kind)
    assert (event_texts.reason_of(event), event_texts.message_of(event)) == (str(kind), "words")


@pytest.mark.parametrize("kind", EventType)
def test_the_message_tells_what_happened_where_the_reason_does_not(kind: EventType) -> None:
    event = an_event(kind, Reason.REJECTED)
    assert event_texts.reason_of(event) == "Rejected"
    assert event_texts.message_of(event) == f"{MESSAGES[kind]}: words"


def test_the_message_does_not_say_again_what_the_reason_says() -> None:
    event = an_event(EventType.INVALID_SPEC, Reason.INVALID_SPEC)
    assert event_texts.message_of(event) == "words"
