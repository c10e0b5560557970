"""What a session does and shows about a credential that expires."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core.backoff import Retry
from springline.core.desired import RotationSettings
from springline.core.events import EventType
from springline.core.session import Unusable
from springline.core.state import Failure, Phase
from springline.core.values import Credential, OpenRequest
from springline.core.view import CredentialUse
from springline.reasons import Reason
from support.builders import (
    PROBE,
    a_credential,
    a_token,
    credential_refused,
    no_new_token,
    no_secret,
    probe_refused,
    server_close,
    transport_close,
)
from support.fake_clock import EIGHT
from support.fakes import SILENCE, FakeConnection
from support.stage import Stage

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
VERIFICATION = " (verification)"


def token(secret: str = "first", *, issued_at: datetime = EIGHT) -> Credential:
    """A token of one hour."""
    return a_token(secret, username="app", issued_at=issued_at, expires_at=issued_at + HOUR)


def use(stage: Stage) -> CredentialUse:
    shown = stage.view.credential
    assert shown is not None
    return shown


def renew_at(stage: Stage) -> datetime:
    shown = use(stage).renew_at
    assert shown is not None
    return shown


def shown(stage: Stage) -> tuple[ConditionStatus, Reason]:
    verdict = stage.state().credentials
    return verdict.status, verdict.reason


def is_ready(stage: Stage) -> bool:
    return stage.view.is_ready


def secrets(connection: FakeConnection) -> list[str]:
    return [each.secret.reveal() for each in connection.updates]


def verifications(stage: Stage) -> list[str]:
    """The secrets that were tried on throw-away handshakes."""
    return [
        each.credential.secret.reveal()
        for each in stage.driver.requests
        if each.parameters.connection_name.endswith(VERIFICATION)
    ]


async def until(stage: Stage, when: datetime) -> None:
    await stage.clock.advance((when - stage.clock.now()).total_seconds())


async def connect(
    stage: Stage, credential: Credential | None = None, **spec: object
) -> FakeConnection:
    stage.credentials.answer = credential or token()
    return await stage.connect(**spec)


VALID = (ConditionStatus.TRUE, Reason.ACCEPTED)
VERIFIED = (ConditionStatus.TRUE, Reason.VERIFIED)
EXPIRING = (ConditionStatus.TRUE, Reason.EXPIRING)
EXPIRED = (ConditionStatus.FALSE, Reason.EXPIRED)
REJECTED = (ConditionStatus.FALSE, Reason.REJECTED)


# --- a source that has tokens issued


async def test_a_token_is_renewed_in_place_when_its_time_has_come(stage: Stage) -> None:
    live = await connect(stage)
    due, first = renew_at(stage), use(stage).credential
    second = token("second", issued_at=due)
    stage.credentials.issue(second)
    await until(stage, due - SECOND)
    assert stage.credentials.instead_of == [None]
    await until(stage, due)
    assert stage.credentials.instead_of == [None, first]
    assert stage.connection() is live
    assert secrets(live) == ["second"]
    assert verifications(stage) == ["second"]
    assert shown(stage) == VERIFIED
    assert use(stage).credential == second
    assert use(stage).method == "InPlace"
    assert use(stage).applied_at == use(stage).verified_at == due
    assert renew_at(stage) > due


@pytest.mark.parametrize(
    ("username", "method"),
    [("app", "InPlace"), ("other", "Replaced")],
    ids=["in place", "replaced"],
)
async def test_a_new_token_is_never_shown_beside_what_was_known_of_the_old_one(
    stage: Stage, username: str, method: str
) -> None:
    """Whoever writes status looks at the session at any time, also in the middle of a renewal."""
    await connect(stage, probe=PROBE)
    first = ("Handshake", VALID)
    seen: list[tuple[str | None, tuple[ConditionStatus, Reason]]] = [first]

    async def look() -> None:
        while True:
            now = (use(stage).method, shown(stage))
            if now != seen[-1]:
                seen.append(now)
            await asyncio.sleep(0)

    due = renew_at(stage)
    second = a_token("second", username=username, issued_at=due, expires_at=due + HOUR)
    stage.credentials.issue(second)
    looking = asyncio.create_task(look())
    await stage.clock.advance((due - stage.clock.now()).total_seconds())
    looking.cancel()
    assert seen == [first, (method, VERIFIED)]


async def test_a_token_is_renewed_again_and_again(stage: Stage) -> None:
    live = await connect(stage)
    for number in range(5):
        due = renew_at(stage)
        stage.credentials.issue(token(f"token {number}", issued_at=due))
        await until(stage, due)
    assert secrets(live) == [f"token {number}" for number in range(5)]
    assert stage.connection() is live
    assert EventType.CREDENTIALS_EXPIRING not in stage.events.types


async def test_an_issuer_that_is_away_is_asked_again_with_growing_pauses(stage: Stage) -> None:
    """The session keeps what it has, and says that it expires, and why that is not renewed."""
    live = await connect(stage)
    due = renew_at(stage)
    stage.credentials.issue(no_new_token("first no"), no_new_token("second no"))
    stage.credentials.issue(token("second", issued_at=due))
    await until(stage, due)
    assert shown(stage) == EXPIRING
    assert stage.state().credentials.message == (
        "it expires at 2026-11-21T09:00:00Z and is not renewed: first no"
    )
    assert is_ready(stage)
    await until(stage, due + 10 * SECOND)
    assert stage.state().credentials.message.endswith("second no")
    await until(stage, due + 29 * SECOND)
    assert not live.updates
    await until(stage, due + 30 * SECOND)
    assert secrets(live) == ["second"]
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRING)) == 1


async def test_a_recovery_before_the_end_leaves_no_trace(stage: Stage) -> None:
    await connect(stage)
    due = renew_at(stage)
    stage.credentials.issue(no_new_token(), token("second", issued_at=due))
    await until(stage, due + 60 * SECOND)
    assert shown(stage) == VERIFIED
    await until(stage, EIGHT + HOUR + SECOND)
    assert EventType.CREDENTIALS_EXPIRED not in stage.events.types
    assert EventType.SECRET_REJECTED not in stage.events.types
    assert is_ready(stage)


async def test_an_issuer_that_stays_away_lets_the_token_expire(stage: Stage) -> None:
    """It is asked on, and its last words stay to be seen."""
    live = await connect(stage)
    stage.credentials.issue(*[no_new_token("the issuer is away")] * 100)
    await until(stage, EIGHT + HOUR - SECOND)
    assert shown(stage) == EXPIRING
    assert is_ready(stage)
    await until(stage, EIGHT + HOUR)
    assert shown(stage) == EXPIRED
    assert "2026-11-21T09:00:00Z" in stage.state().credentials.message
    assert "the issuer is away" in stage.state().credentials.message
    assert not is_ready(stage)
    assert stage.state().phase is Phase.CONNECTED
    await until(stage, EIGHT + HOUR * 1.2)
    assert shown(stage) == EXPIRED
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRING)) == 1
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRED)) == 1
    asked = len(stage.credentials.instead_of)
    await until(stage, EIGHT + HOUR * 1.3)
    assert len(stage.credentials.instead_of) > asked
    assert stage.connection() is live


async def test_an_issuer_that_comes_back_late_makes_the_session_ready_again(stage: Stage) -> None:
    live = await connect(stage)
    stage.credentials.issue(*[no_new_token()] * 20)
    await until(stage, EIGHT + HOUR)
    assert shown(stage) == EXPIRED
    stage.credentials._issued.clear()
    stage.credentials.issue(token("late", issued_at=EIGHT + HOUR))
    await until(stage, EIGHT + HOUR + 61 * SECOND)
    assert secrets(live) == ["late"]
    assert shown(stage) == VERIFIED
    assert is_ready(stage)


async def test_a_renewal_that_is_due_when_the_token_expires_is_not_said_to_expire_afterwards(
    stage: Stage,
) -> None:
    """The last warning would come after the end."""
    stage.credentials.issue(*[no_new_token()] * 5)
    await connect(stage, token(issued_at=EIGHT - 2 * HOUR))
    await stage.clock.advance(60.0)
    assert shown(stage) == EXPIRED
    assert EventType.CREDENTIALS_EXPIRING not in stage.events.types
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRED)) == 1


async def test_an_issued_token_that_is_refused_keeps_the_old_one_and_is_asked_for_anew(
    stage: Stage,
) -> None:
    """Its issuer may have signed it with a key that the broker will never know."""
    live = await connect(stage)
    due = renew_at(stage)
    second, third = token("second", issued_at=due), token("third", issued_at=due)
    stage.credentials.issue(second, third)
    stage.driver.refuses = only("first", "third")
    await until(stage, due)
    assert shown(stage) == REJECTED
    assert stage.connection() is live
    assert not live.updates
    await until(stage, due + 11 * SECOND)
    assert stage.credentials.instead_of[-1] == second
    assert secrets(live) == ["third"]
    assert shown(stage) == VERIFIED


async def test_an_attempt_that_is_refused_with_an_issued_token_asks_for_another(
    stage: Stage,
) -> None:
    first, second = token("first"), token("second")
    stage.credentials.answer = first
    stage.credentials.issue(second)
    stage.driver.refuses = only("second")
    await stage.declare()
    assert stage.state().phase is Phase.REJECTED
    await stage.clock.advance(60.0)
    assert stage.credentials.instead_of == [None, first]
    assert stage.state().phase is Phase.CONNECTED
    assert use(stage).credential == second


async def test_an_attempt_after_an_open_session_is_asked_for_nothing_special(stage: Stage) -> None:
    """A token that a connection was open with is good for the next one."""
    first = token("first")
    stage.credentials.answer = first
    stage.credentials.issue(token("second"))
    stage.driver.then(credential_refused(), None)
    stage.driver.refuses = only("first", "second")
    await stage.declare()
    await stage.clock.advance(60.0)
    assert stage.state().phase is Phase.CONNECTED
    stage.driver.connection.end(transport_close())
    await stage.clock.advance(60.0)
    assert stage.credentials.instead_of == [None, first, None]


async def test_a_failing_source_does_not_make_the_refused_one_good_again(stage: Stage) -> None:
    first = token("first")
    stage.credentials.answer = first
    stage.credentials.issue(no_new_token(), token("second"))
    stage.driver.refuses = only("second")
    await stage.declare()
    await stage.clock.advance(120.0)
    assert stage.credentials.instead_of[:3] == [None, first, first]
    assert stage.state().phase is Phase.CONNECTED


# --- a source that somebody else renews


async def test_a_token_that_nobody_renews_is_warned_of_and_then_expires(stage: Stage) -> None:
    live = await connect(stage)
    due = renew_at(stage)
    await until(stage, due)
    assert shown(stage) == EXPIRING
    assert is_ready(stage)
    [warning] = stage.events.of(EventType.CREDENTIALS_EXPIRING)
    assert warning.message == stage.state().credentials.message
    assert not live.updates
    assert len(stage.driver.requests) == 1
    await until(stage, EIGHT + HOUR)
    assert shown(stage) == EXPIRED
    assert not is_ready(stage)
    [expired] = stage.events.of(EventType.CREDENTIALS_EXPIRED)
    assert expired.message == stage.state().credentials.message
    assert stage.connection() is live
    await until(stage, EIGHT + 2 * HOUR)
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRING)) == 1
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRED)) == 1


async def test_a_new_token_makes_an_expired_session_ready_in_place(stage: Stage) -> None:
    """The probe that the broker refused with the expired one is tried again."""
    live = await connect(stage, probe=PROBE)
    live.probe_answer = probe_refused("403 token has expired")
    await until(stage, EIGHT + HOUR)
    assert shown(stage) == EXPIRED
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED
    probes = len(live.probes)
    live.probe_answer = 0.002
    stage.credentials.answer = token("second", issued_at=EIGHT + HOUR)
    stage.session.credential_changed()
    await stage.clock.advance(PROBE.interval)
    assert stage.connection() is live
    assert secrets(live) == ["second"]
    assert shown(stage) == VERIFIED
    assert is_ready(stage)
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
    assert len(live.probes) > probes


async def test_the_next_token_is_followed_in_its_turn(stage: Stage) -> None:
    await connect(stage)
    await until(stage, EIGHT + HOUR)
    stage.credentials.answer = token("second", issued_at=EIGHT + HOUR)
    stage.session.credential_changed()
    await until(stage, EIGHT + 2 * HOUR)
    assert shown(stage) == EXPIRED
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRING)) == 2
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRED)) == 2


async def test_a_refused_new_token_is_not_hidden_by_the_end_of_the_old_one(stage: Stage) -> None:
    await connect(stage)
    stage.driver.otherwise = credential_refused("no such key")
    stage.credentials.answer = token("second", issued_at=EIGHT + HOUR / 2)
    await until(stage, EIGHT + HOUR / 2)
    stage.session.credential_changed()
    await stage.clock.settle()
    due = renew_at(stage)
    await until(stage, due)
    assert shown(stage) == REJECTED
    assert stage.state().credentials.message == "no such key"


async def test_a_refused_token_that_is_taken_back_when_the_old_one_is_due_is_no_longer_shown(
    stage: Stage,
) -> None:
    """What is shown then is that the old one is not renewed."""
    await connect(stage)
    first, due = use(stage).credential, renew_at(stage)
    stage.driver.otherwise = credential_refused()
    stage.credentials.answer = token("second")
    await until(stage, due)
    assert shown(stage) == REJECTED
    stage.credentials.answer = first
    stage.session.credential_changed()
    await stage.clock.settle()
    assert shown(stage) == EXPIRING
    assert is_ready(stage)


async def test_a_secret_that_is_gone_is_not_hidden_by_the_renewal(stage: Stage) -> None:
    await connect(stage)
    stage.credentials.answer = no_secret()
    await until(stage, renew_at(stage))
    assert stage.state().credentials.reason is Reason.SECRET_NOT_FOUND


async def test_a_token_that_expires_while_the_new_one_is_refused_is_said_to_be_expired_once(
    stage: Stage,
) -> None:
    await connect(stage)
    due = renew_at(stage)
    stage.driver.otherwise = credential_refused()
    stage.credentials.answer = token("second")
    await until(stage, due)
    await until(stage, EIGHT + HOUR * 1.5)
    assert stage.state().credentials.status is ConditionStatus.FALSE
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRED)) == 1


# --- at the end of its lifetime


def only(*accepted: str) -> Callable[[OpenRequest[Any]], Exception | None]:
    """A broker that takes these secrets and no others."""

    def refuses(request: OpenRequest[Any]) -> Exception | None:
        if request.credential.secret.reveal() in accepted:
            return None
        return credential_refused(f"refused {request.credential.secret}")

    return refuses


EXPIRED_CLOSE = server_close("CONNECTION_FORCED - credential expired", says_expired=True)


async def test_a_broker_that_ends_the_connection_at_the_end_is_reconnected_to(
    stage: Stage,
) -> None:
    """With another token, even if by our own clock the old one has not expired."""
    live = await connect(stage)
    first = use(stage).credential
    stage.credentials.issue(token("second", issued_at=EIGHT + HOUR / 2))
    await until(stage, EIGHT + HOUR / 2)
    stage.events.hold(EventType.DISCONNECTED)
    live.end(EXPIRED_CLOSE)
    await stage.clock.settle()
    stage.events.release()
    await stage.clock.settle()
    assert stage.credentials.instead_of == [None, first]
    assert stage.state().phase is Phase.CONNECTED
    assert use(stage).credential.secret.reveal() == "second"
    assert shown(stage) == VALID
    [expired] = stage.events.of(EventType.CREDENTIALS_EXPIRED)
    assert expired.message == (
        "the broker says it has expired (CONNECTION_FORCED - credential expired)"
        " and has not been renewed"
    )
    assert stage.view.last_close is not None
    assert stage.view.last_close.info == EXPIRED_CLOSE


async def test_an_expired_token_is_shown_until_there_is_another(stage: Stage) -> None:
    """The broker ends the connection, and refuses the next."""
    live = await connect(stage)
    await until(stage, EIGHT + HOUR)
    stage.driver.otherwise = credential_refused()
    live.end(EXPIRED_CLOSE)
    await stage.clock.settle()
    assert stage.state().phase is Phase.REJECTED
    assert shown(stage) == EXPIRED
    assert "login refused" in stage.state().credentials.message
    assert not is_ready(stage)
    await stage.clock.advance(300.0)
    assert shown(stage) == EXPIRED
    stage.driver.otherwise = None
    stage.credentials.answer = token("second", issued_at=EIGHT + HOUR)
    stage.session.credential_changed()
    await stage.clock.settle()
    assert stage.state().phase is Phase.CONNECTED
    assert shown(stage) == VALID
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRED)) == 1


async def test_a_close_for_another_reason_says_nothing_of_the_credential(stage: Stage) -> None:
    live = await connect(stage)
    stage.driver.then(SILENCE)
    live.end(server_close("CONNECTION_FORCED - by an operator"))
    await stage.clock.settle()
    assert shown(stage) == VALID
    assert EventType.CREDENTIALS_EXPIRED not in stage.events.types


async def test_an_attempt_with_an_expired_token_is_refused_as_expired(stage: Stage) -> None:
    stage.credentials.answer = token(issued_at=EIGHT - 2 * HOUR)
    stage.driver.otherwise = credential_refused()
    await stage.declare()
    assert stage.state().phase is Phase.REJECTED
    assert shown(stage) == EXPIRED
    assert stage.state().credentials.message == "it has expired; login refused"


async def test_an_attempt_with_a_token_that_is_valid_by_our_clock_is_refused_as_rejected(
    stage: Stage,
) -> None:
    stage.credentials.answer = token()
    stage.driver.otherwise = credential_refused()
    await stage.declare()
    assert shown(stage) == REJECTED


async def test_a_token_that_is_renewed_in_the_moment_of_its_end_has_not_expired(
    stage: Stage,
) -> None:
    """That its lifetime is over is told when another one is in use already."""
    live = await connect(stage)
    stage.driver.then(SILENCE, None)
    await until(stage, EIGHT + HOUR - 5 * SECOND)
    stage.credentials.answer = token("second", issued_at=EIGHT + HOUR / 2)
    stage.session.credential_changed()
    await until(stage, EIGHT + HOUR - SECOND)
    stage.events.hold(EventType.SECRET_UPDATED)
    stage.driver.release()
    await stage.clock.settle()
    await until(stage, EIGHT + HOUR)
    stage.events.release()
    await stage.clock.settle()
    assert secrets(live) == ["second"]
    assert shown(stage) == VERIFIED
    assert EventType.CREDENTIALS_EXPIRED not in stage.events.types


async def test_news_of_the_end_that_waited_behind_a_renewal_is_old(stage: Stage) -> None:
    live = await connect(stage)
    live.update_answer = SILENCE
    await until(stage, EIGHT + HOUR - 5 * SECOND)
    stage.credentials.answer = token("second", issued_at=EIGHT + HOUR / 2)
    stage.session.credential_changed()
    await stage.clock.settle()
    # The session is busy with something else while the update is confirmed and the time comes.
    stage.events.hold(EventType.BLOCKED)
    live.block()
    live.unblock()
    await stage.clock.settle()
    live.confirm_update()
    await until(stage, EIGHT + HOUR)
    stage.events.release()
    await stage.clock.settle()
    assert secrets(live) == ["second"]
    assert shown(stage) == VERIFIED
    assert EventType.CREDENTIALS_EXPIRED not in stage.events.types


# --- the broker says so


SAYS_EXPIRED = probe_refused(
    "403 ACCESS_REFUSED - token has expired", errors.ProbeRefusal.CREDENTIAL_EXPIRED
)


async def test_a_probe_that_is_refused_for_an_expired_token_renews_it_at_once(
    stage: Stage,
) -> None:
    """By our clock it is good for another half an hour; the broker's word counts."""
    live = await connect(stage, probe=PROBE)
    first = use(stage).credential
    await until(stage, EIGHT + HOUR / 2)
    live.probe_answer = SAYS_EXPIRED
    stage.credentials.issue(token("second", issued_at=EIGHT + HOUR / 2))
    live.update_answer = SILENCE
    await stage.clock.advance(PROBE.interval)
    assert stage.credentials.instead_of == [None, first]
    assert shown(stage) == EXPIRED
    assert "(403 ACCESS_REFUSED - token has expired)" in stage.state().credentials.message
    assert not is_ready(stage)
    assert "has expired" in stage.state().blocked.message
    live.probe_answer = 0.002
    live.confirm_update()
    await stage.clock.settle()
    assert secrets(live) == ["second"]
    assert stage.connection() is live
    assert shown(stage) == VERIFIED
    assert is_ready(stage)
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
    assert EventType.PROBE_REFUSED not in stage.events.types
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRED)) == 1


async def test_a_token_that_the_broker_calls_expired_stays_so_until_there_is_another(
    stage: Stage,
) -> None:
    """The issuer is asked on, and its words stand beside the broker's."""
    live = await connect(stage, probe=PROBE)
    live.probe_answer = SAYS_EXPIRED
    stage.credentials.issue(*[no_new_token("the issuer is away")] * 3)
    await stage.clock.advance(PROBE.interval)
    assert shown(stage) == EXPIRED
    assert "token has expired" in stage.state().credentials.message
    assert stage.state().credentials.message.endswith("the issuer is away")
    assert EventType.CREDENTIALS_EXPIRING not in stage.events.types
    stage.credentials._issued.clear()
    stage.credentials.issue(token("second"))
    live.probe_answer = 0.002
    await stage.clock.advance(60.0)
    assert secrets(live) == ["second"]
    assert shown(stage) == VERIFIED


async def test_a_token_that_somebody_else_renews_stays_expired_when_it_is_read_again(
    stage: Stage,
) -> None:
    live = await connect(stage, probe=PROBE)
    live.probe_answer = SAYS_EXPIRED
    await stage.clock.advance(PROBE.interval)
    assert shown(stage) == EXPIRED
    stage.session.credential_changed()
    await stage.clock.settle()
    assert shown(stage) == EXPIRED
    live.probe_answer = 0.002
    stage.credentials.answer = token("second")
    stage.session.credential_changed()
    await stage.clock.settle()
    assert shown(stage) == VERIFIED
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


async def test_a_token_that_the_broker_takes_after_all_is_valid_again(stage: Stage) -> None:
    """Such as when the broker's clock was wrong and has been put right."""
    live = await connect(stage, probe=PROBE)
    live.probe_answer = SAYS_EXPIRED
    await stage.clock.advance(PROBE.interval)
    live.probe_answer = 0.002
    stage.session.renew()
    await stage.clock.settle()
    assert shown(stage) == VERIFIED
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


async def test_a_broker_that_calls_every_token_expired_is_not_given_one_after_the_other(
    stage: Stage,
) -> None:
    """Its clock is wrong: the second in a row takes the time of an attempt, and the next more."""
    retry = Retry(delay=10.0, max_delay=40.0, jitter=0.0)
    rotation = RotationSettings(verify=False)
    live = await connect(stage, probe=PROBE, retry=retry, rotation=rotation)
    live.probe_answer = SAYS_EXPIRED
    stage.credentials.issue(*[token(f"token {number}") for number in range(100)])
    await stage.clock.advance(PROBE.interval)
    assert len(live.updates) == 1
    await stage.clock.advance(8.0)
    assert len(live.updates) == 1
    await stage.clock.advance(2.0)
    assert len(live.updates) == 2
    await stage.clock.advance(600.0)
    assert len(live.updates) < 20
    assert stage.connection() is live


async def test_a_new_secret_does_not_wait_for_the_pause_of_the_one_before(stage: Stage) -> None:
    live = await connect(stage, probe=PROBE, rotation=RotationSettings(verify=False))
    live.probe_answer = SAYS_EXPIRED
    stage.credentials.issue(token("second"))
    await stage.clock.advance(PROBE.interval)
    assert secrets(live) == ["second"]
    live.probe_answer = 0.002
    stage.credentials.answer = token("third")
    stage.session.credential_changed()
    await stage.clock.settle()
    assert secrets(live) == ["second", "third"]
    assert is_ready(stage)


async def test_a_new_token_that_has_expired_already_is_said_to_and_another_is_asked_for(
    stage: Stage,
) -> None:
    live = await connect(stage)
    due = renew_at(stage)
    stale, good = token("stale", issued_at=EIGHT - 2 * HOUR), token("good", issued_at=due)
    stage.credentials.issue(stale, good)
    stage.driver.refuses = only("first", "good")
    seen: list[tuple[ConditionStatus, Reason]] = []
    await until(stage, due)
    seen.extend(
        (each.state.credentials.status, each.state.credentials.reason) for each in stage.changes
    )
    assert EXPIRED in seen
    assert REJECTED not in seen
    assert "the new one has expired; refused Secret(***)" in {
        each.state.credentials.message for each in stage.changes
    }
    assert stage.credentials.instead_of[-1] == stale
    assert secrets(live) == ["good"]
    assert shown(stage) == VERIFIED


async def test_a_connection_that_ends_for_an_expired_token_during_an_update_is_opened_with_the_new(
    stage: Stage,
) -> None:
    """The broker has accepted the new one on a handshake; if it calls that expired, it says so."""
    live = await connect(stage)
    first, due = use(stage).credential, renew_at(stage)
    stage.credentials.issue(token("second", issued_at=due))
    live.update_answer = SILENCE
    await until(stage, due)
    assert secrets(live) == ["second"]
    live.end(EXPIRED_CLOSE)
    await stage.clock.settle()
    assert stage.credentials.instead_of[-1] == first
    assert use(stage).credential.secret.reveal() == "second"
    assert is_ready(stage)
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRED)) == 1


async def test_a_login_that_is_refused_for_an_expired_token_is_tried_at_once_with_another(
    stage: Stage,
) -> None:
    first, second = token("first"), token("second")
    stage.credentials.answer = first
    stage.credentials.issue(second)
    stage.driver.then(
        errors.CredentialRejectedError(
            Reason.ACCESS_REFUSED, "403 your token has expired", says_expired=True
        )
    )
    await stage.declare()
    assert stage.credentials.instead_of == [None, first]
    assert stage.state().phase is Phase.CONNECTED
    assert use(stage).credential == second


async def test_a_token_that_the_connection_was_ended_for_is_refused_as_expired(
    stage: Stage,
) -> None:
    """What the broker has said once it need not say again."""
    live = await connect(stage)
    stage.driver.otherwise = credential_refused()
    live.end(EXPIRED_CLOSE)
    await stage.clock.advance(300.0)
    assert shown(stage) == EXPIRED
    assert stage.state().credentials.message == "it has expired; login refused"


# --- the wall clock is set


@pytest.mark.parametrize("ahead", [-HOUR, -24 * HOUR], ids=["an hour", "a day"])
async def test_a_wall_clock_that_is_set_back_puts_no_renewal_off(
    stage: Stage, ahead: timedelta
) -> None:
    live = await connect(stage)
    due = renew_at(stage)
    stage.credentials.issue(token("second"))
    await stage.clock.advance(1800.0)
    stage.clock.ahead = ahead
    await stage.clock.advance((due - EIGHT).total_seconds() - 1801.0)
    assert not live.updates
    await stage.clock.advance(1.0)
    assert secrets(live) == ["second"]
    assert is_ready(stage)
    assert EventType.CREDENTIALS_EXPIRED not in stage.events.types


async def test_a_token_expires_in_its_time_although_the_wall_clock_was_set_back(
    stage: Stage,
) -> None:
    await connect(stage)
    stage.credentials.issue(*[no_new_token("the issuer is away")] * 100)
    await stage.clock.advance(1800.0)
    stage.clock.ahead = -HOUR
    await stage.clock.advance(1800.0)
    assert shown(stage) == EXPIRED
    assert "the clock here, which was set back, says 2026-11-21T09:00:00Z" in (
        stage.state().credentials.message
    )


async def test_a_token_that_is_read_again_does_not_live_longer_for_a_clock_that_was_set_back(
    stage: Stage,
) -> None:
    live = await connect(stage)
    stage.clock.ahead = -HOUR
    stage.session.credential_changed()
    await stage.clock.settle()
    stage.driver.then(SILENCE)
    live.end(transport_close())
    await stage.clock.advance(3600.0)
    assert not is_ready(stage)
    assert stage.state().phase is Phase.CONNECTED
    assert shown(stage) == EXPIRED


async def test_a_token_that_the_broker_takes_at_its_end_was_read_with_a_wrong_clock(
    stage: Stage,
) -> None:
    """The clock was ahead when it was read, and is right now."""
    stage.clock.ahead = HOUR - timedelta(minutes=1)
    live = await connect(stage, token(issued_at=EIGHT))
    stage.clock.ahead = timedelta()
    await stage.clock.advance(120.0)
    assert shown(stage) == EXPIRED
    live.end(transport_close())
    await stage.clock.advance(60.0)
    assert is_ready(stage)
    await until(stage, EIGHT + HOUR)
    assert shown(stage) == EXPIRED


async def test_a_wall_clock_that_is_set_forward_renews_once_and_expires_nothing(
    stage: Stage,
) -> None:
    live = await connect(stage)
    stage.clock.ahead = 2 * HOUR
    stage.credentials.issue(token("second", issued_at=EIGHT + 2 * HOUR))
    await stage.clock.advance(60.0)
    assert secrets(live) == ["second"]
    await stage.clock.advance(1800.0)
    assert secrets(live) == ["second"]
    assert is_ready(stage)
    assert EventType.CREDENTIALS_EXPIRED not in stage.events.types


async def test_a_wall_clock_that_is_set_forward_expires_no_token_that_is_fresh(
    stage: Stage,
) -> None:
    """Nobody renews it, and so there is a warning."""
    await connect(stage)
    stage.clock.ahead = 2 * HOUR
    await stage.clock.advance(3599.0)
    assert shown(stage) == EXPIRING
    assert is_ready(stage)
    assert len(stage.events.of(EventType.CREDENTIALS_EXPIRING)) == 1
    await stage.clock.advance(1.0)
    assert shown(stage) == EXPIRED


# --- rotation.renewAt


async def test_another_share_moves_the_renewal_and_not_the_session(stage: Stage) -> None:
    live = await connect(stage)
    assert renew_at(stage) > EIGHT + HOUR * 0.7
    await stage.declare(generation=2, rotation=RotationSettings(renew_at=0.3))
    moved = renew_at(stage)
    assert EIGHT + HOUR * 0.2 < moved <= EIGHT + HOUR * 0.3
    assert stage.connection() is live
    assert len(stage.driver.requests) == 1
    stage.credentials.issue(token("second", issued_at=moved))
    await until(stage, moved)
    assert secrets(live) == ["second"]


async def test_a_share_that_has_passed_already_renews_at_once(stage: Stage) -> None:
    live = await connect(stage)
    await until(stage, EIGHT + HOUR / 2)
    stage.credentials.issue(token("second", issued_at=EIGHT + HOUR / 2))
    await stage.declare(generation=2, rotation=RotationSettings(renew_at=0.2))
    await stage.clock.settle()
    assert secrets(live) == ["second"]


async def test_a_later_share_takes_a_warning_back(stage: Stage) -> None:
    await connect(stage, rotation=RotationSettings(renew_at=0.2))
    await until(stage, EIGHT + HOUR / 2)
    assert shown(stage) == EXPIRING
    await stage.declare(generation=2, rotation=RotationSettings(renew_at=0.9))
    assert shown(stage) == VALID
    await until(stage, EIGHT + HOUR * 0.9)
    assert shown(stage) == EXPIRING


async def test_another_share_counts_from_where_the_lifetime_began(stage: Stage) -> None:
    """Also where only the session knows when that was."""
    await connect(stage, a_token(username="app", expires_at=EIGHT + HOUR))
    await until(stage, EIGHT + HOUR / 2)
    await stage.declare(generation=2, rotation=RotationSettings(renew_at=0.5))
    assert renew_at(stage) <= EIGHT + HOUR / 2


# --- somebody asks for a renewal


async def test_a_renewal_that_is_asked_for_tries_an_unchanged_value_once(stage: Stage) -> None:
    live = await connect(stage, a_credential())
    await stage.clock.advance(100.0)
    stage.session.renew()
    await stage.clock.settle()
    assert verifications(stage) == ["first"]
    assert not live.updates
    assert shown(stage) == VERIFIED
    assert use(stage).verified_at == EIGHT + 100 * SECOND
    assert use(stage).applied_at == EIGHT
    assert use(stage).method == "Handshake"
    await stage.change_credential("first")
    assert verifications(stage) == ["first"], "asked for once"


async def test_a_renewal_that_is_asked_for_has_a_token_issued(stage: Stage) -> None:
    live = await connect(stage)
    stage.credentials.issue(token("second"))
    stage.session.renew()
    await stage.clock.settle()
    assert stage.credentials.instead_of == [None, token()]
    assert secrets(live) == ["second"]
    assert verifications(stage) == ["second"]


async def test_an_unchanged_value_that_is_refused_now_is_said_so(stage: Stage) -> None:
    """The session stays open; it could not be opened again."""
    live = await connect(stage, a_credential())
    stage.driver.then(credential_refused())
    stage.session.renew()
    await stage.clock.settle()
    assert shown(stage) == REJECTED
    assert live.is_open
    await stage.clock.advance(10.0)
    assert shown(stage) == VERIFIED


async def test_a_warning_stays_where_what_was_asked_for_brought_nothing_new(
    stage: Stage,
) -> None:
    """That the broker takes it now does not renew it."""
    await connect(stage)
    due = renew_at(stage)
    await until(stage, due + 60 * SECOND)
    assert shown(stage) == EXPIRING
    stage.session.renew()
    await stage.clock.settle()
    assert verifications(stage) == ["first"]
    assert shown(stage) == EXPIRING
    assert use(stage).verified_at == due + 60 * SECOND


async def test_a_renewal_that_is_asked_for_is_not_put_off_by_an_earlier_refusal(
    stage: Stage,
) -> None:
    """Somebody has put it right at the broker, and does not want to wait."""
    live = await connect(stage, a_credential(), retry=Retry(delay=60.0, max_delay=60.0, jitter=0.0))
    stage.driver.then(credential_refused(), None)
    await stage.change_credential("second")
    await stage.clock.advance(1.0)
    stage.session.renew()
    await stage.clock.settle()
    assert secrets(live) == ["second"]


async def test_a_renewal_that_is_asked_for_during_an_update_is_not_lost(stage: Stage) -> None:
    live = await connect(stage, a_credential())
    live.update_answer = SILENCE
    await stage.change_credential("second")
    await stage.clock.advance(1.0)
    stage.session.renew()
    await stage.clock.settle()
    assert verifications(stage) == ["second"]
    live.confirm_update()
    await stage.clock.settle()
    assert verifications(stage) == ["second", "second"]
    assert use(stage).verified_at == EIGHT + SECOND
    assert secrets(live) == ["second"]


async def test_a_renewal_that_is_asked_for_while_not_connected_is_an_attempt(
    stage: Stage,
) -> None:
    stage.driver.then(credential_refused(), None)
    await stage.declare()
    assert stage.state().phase is Phase.REJECTED
    stage.session.renew()
    await stage.clock.settle()
    assert stage.state().phase is Phase.CONNECTED
    await stage.change_credential("first")
    assert not verifications(stage), "opening it was an answer"


async def test_a_renewal_that_is_asked_for_while_suspended_is_over_with_it(stage: Stage) -> None:
    await stage.declare(suspend=True)
    stage.session.renew()
    await stage.clock.settle()
    assert not stage.driver.requests
    await stage.connect(generation=2)
    await stage.change_credential("first")
    assert not verifications(stage)


async def test_a_renewal_whose_connection_ends_is_over_with_it(stage: Stage) -> None:
    live = await connect(stage, a_credential())
    stage.driver.then(SILENCE)
    stage.session.renew()
    await stage.clock.settle()
    live.end(transport_close())
    await stage.clock.advance(60.0)
    before = len(verifications(stage))
    await stage.change_credential("first")
    assert len(verifications(stage)) == before


async def test_a_failing_issuer_is_told_to_who_asked(stage: Stage) -> None:
    await connect(stage)
    stage.credentials.issue(*[no_new_token("no more tokens")] * 2)
    stage.session.renew()
    await stage.clock.settle()
    assert shown(stage) == EXPIRING
    assert stage.state().credentials.message.endswith("no more tokens")


# --- not verified


async def test_an_update_that_nobody_verifies_is_sent_unseen_and_said_to_be(stage: Stage) -> None:
    live = await connect(stage, rotation=RotationSettings(verify=False))
    await stage.change_credential("second")
    await stage.clock.settle()
    assert not verifications(stage)
    assert len(stage.driver.requests) == 2, "another kind of credential is a new session"
    live = stage.driver.connection
    await stage.change_credential("third")
    assert secrets(live) == ["third"]
    assert not verifications(stage)
    assert shown(stage) == VALID
    assert "spec.rotation.verify is None" in stage.state().credentials.message


async def test_verification_that_is_switched_off_lets_a_refused_one_through(stage: Stage) -> None:
    """Such as where the broker allows a user one connection only."""
    live = await connect(stage, a_credential())
    stage.driver.otherwise = credential_refused()
    await stage.change_credential("second")
    assert shown(stage) == REJECTED
    await stage.declare(generation=2, rotation=RotationSettings(verify=False))
    await stage.clock.settle()
    assert secrets(live) == ["second"]
    assert shown(stage) == VALID


# --- whose lifetime is followed


async def test_a_replaced_session_has_its_lifetime_followed(stage: Stage) -> None:
    """And nothing is heard of the one before."""
    old = await connect(stage)
    await until(stage, EIGHT + HOUR / 2)
    new = a_token("hers", username="other", issued_at=EIGHT + HOUR / 2, expires_at=EIGHT + 2 * HOUR)
    stage.credentials.answer = new
    stage.session.credential_changed()
    await stage.clock.settle()
    assert not old.is_open
    assert renew_at(stage) > EIGHT + HOUR
    await until(stage, EIGHT + HOUR + SECOND)
    assert shown(stage) == VERIFIED
    await until(stage, EIGHT + 2 * HOUR)
    assert shown(stage) == EXPIRED


async def test_a_credential_without_an_end_after_one_with_an_end_is_not_followed(
    stage: Stage,
) -> None:
    await connect(stage)
    await stage.change_credential("password")
    await until(stage, EIGHT + 2 * HOUR)
    assert shown(stage) == VERIFIED
    assert use(stage).renew_at is None


@pytest.mark.parametrize("how", ["suspended", "unusable", "closed"])
async def test_a_session_that_has_ended_renews_nothing(stage: Stage, how: str) -> None:
    await connect(stage)
    fetches = stage.credentials.fetches
    match how:
        case "suspended":
            await stage.declare(suspend=True)
        case "unusable":
            stage.session.declare(
                Unusable(generation=2, problem=Failure(reason=Reason.INVALID_SPEC, message="no"))
            )
        case _:
            await stage.close()
    await until(stage, EIGHT + 2 * HOUR)
    assert stage.credentials.fetches == fetches
    assert EventType.CREDENTIALS_EXPIRED not in stage.events.types


async def test_a_lost_session_renews_nothing_until_it_is_back(stage: Stage) -> None:
    live = await connect(stage)
    due = renew_at(stage)
    await until(stage, due - SECOND)
    stage.driver.otherwise = SILENCE
    live.end(transport_close())
    await until(stage, EIGHT + HOUR + SECOND)
    assert all(each is None for each in stage.credentials.instead_of)
    assert EventType.CREDENTIALS_EXPIRING not in stage.events.types


# --- shown to nobody


async def test_no_secret_is_shown_on_the_way(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    await connect(stage, token("pl4nted-one"))
    due = renew_at(stage)
    stage.credentials.issue(no_new_token(), token("pl4nted-two", issued_at=due))
    stage.driver.refuses = only("pl4nted-one")
    await until(stage, EIGHT + HOUR + SECOND)
    seen = [repr(stage.changes), repr(stage.events.events), caplog.text, repr(stage.view)]
    assert "pl4nted" not in "\n".join(seen)


async def test_what_was_asked_for_is_over_when_a_newer_secret_follows(stage: Stage) -> None:
    """That one is no renewal that somebody asked for."""
    live = await connect(stage)
    stage.credentials.issue(token("second"), token("third"))
    live.update_answer = SILENCE
    stage.session.renew()
    await stage.clock.settle()
    await stage.clock.advance(1.0)
    stage.session.credential_changed()
    await stage.clock.settle()
    live.confirm_update()
    await stage.clock.settle()
    assert secrets(live) == ["second"]
    assert stage.credentials.instead_of == [None, token(), None]
