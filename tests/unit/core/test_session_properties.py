"""What holds for a session whatever happens to it, in any order and at any moment."""

import asyncio
import dataclasses
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from springline.api.conditions import ConditionStatus
from springline.core import lifetime
from springline.core.desired import RotationSettings
from springline.core.events import EventType
from springline.core.session import Unusable
from springline.core.state import Failure, Phase
from springline.core.values import Credential, OpenRequest
from springline.reasons import Reason
from support.builders import (
    OTHER_RABBIT,
    PROBE,
    RABBIT,
    a_credential,
    a_target,
    a_token,
    credential_refused,
    no_new_token,
    no_secret,
    probe_refused,
    secret_refused,
    server_close,
    terminal,
    transport_close,
    unreachable,
)
from support.fake_clock import FakeClock
from support.fakes import SILENCE, FakeConnection
from support.stage import Stage, staged

LIVES = {
    EventType.CONNECTED,
    EventType.SESSION_REPLACED,
    EventType.DISCONNECTED,
    EventType.CLOSED,
}


@dataclasses.dataclass(frozen=True)
class Act:
    """One thing that happens; `at_once` leaves no time for anything to follow from it."""

    name: str
    do: Callable[[Stage], object]
    at_once: bool = False

    def __repr__(self) -> str:
        return f"{self.name}{' at once' if self.at_once else ''}"


def declare(**changes: Any) -> Callable[[Stage], None]:
    return lambda stage: stage.session.declare(stage.desired(**changes))


def unusable(stage: Stage) -> None:
    failure = Failure(reason=Reason.INVALID_SPEC, message="it contradicts itself")
    stage.session.declare(Unusable(generation=9, problem=failure))


def credential(secret: str, username: str = "app") -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        stage.credentials.answer = a_credential(secret, username=username)
        stage.session.credential_changed()

    return change


def a_new_token(stage: Stage, secret: str, seconds: float) -> Credential:
    now = stage.clock.now()
    return a_token(
        secret, username="app", issued_at=now, expires_at=now + timedelta(seconds=seconds)
    )


def token(secret: str, seconds: float) -> Callable[[Stage], None]:
    def change(stage: Stage) -> None:
        stage.credentials.answer = a_new_token(stage, secret, seconds)
        stage.session.credential_changed()

    return change


def issue(secret: str, seconds: float) -> Callable[[Stage], None]:
    return lambda stage: stage.credentials.issue(a_new_token(stage, secret, seconds))


def refuse(is_refused: Callable[[OpenRequest[Any]], bool]) -> Callable[[Stage], None]:
    def refusal(request: OpenRequest[Any]) -> Exception | None:
        return credential_refused() if is_refused(request) else None

    def act(stage: Stage) -> None:
        stage.driver.refuses = refusal

    return act


def is_verification(request: OpenRequest[Any]) -> bool:
    return str(request.parameters.connection_name).endswith(" (verification)")


def without_credential(stage: Stage) -> None:
    stage.credentials.answer = no_secret()
    stage.session.credential_changed()


def on_connection(do: Callable[[FakeConnection], None]) -> Callable[[Stage], None]:
    def act(stage: Stage) -> None:
        for connection in stage.driver.open_connections[:1]:
            do(connection)

    return act


def answer_update(answer: Any) -> Callable[[Stage], None]:
    def act(connection: FakeConnection) -> None:
        connection.update_answer = answer

    return on_connection(act)


def answer_probe(answer: Any) -> Callable[[Stage], None]:
    def act(connection: FakeConnection) -> None:
        connection.probe_answer = answer

    return on_connection(act)


ACTS: dict[str, Callable[[Stage], object]] = {
    "declare": declare(),
    "declare with a probe": declare(generation=2, probe=PROBE),
    "declare two endpoints": declare(target=a_target(endpoints=(RABBIT, OTHER_RABBIT))),
    "declare another virtual host": declare(target=a_target(virtual_host="other")),
    "declare suspended": declare(suspend=True),
    "declare to verify nothing": declare(rotation=RotationSettings(verify=False)),
    "declare to renew early": declare(rotation=RotationSettings(renew_at=0.2)),
    "declare to stay closed": declare(stay_closed=True),
    "declare nonsense": unusable,
    "second secret": credential("second"),
    "third secret": credential("third"),
    "other user": credential("first", "other"),
    "no secret": without_credential,
    "a token of a minute": token("one minute", 60.0),
    "a token of two minutes": token("two minutes", 120.0),
    "another token will be issued": issue("another", 60.0),
    "yet another token will be issued": issue("yet another", 30.0),
    "no token will be issued": lambda stage: stage.credentials.issue(no_new_token()),
    "renew": lambda stage: stage.session.renew(),
    "verifications are refused": refuse(is_verification),
    "everything is refused": refuse(lambda _: True),
    "nothing is refused": refuse(lambda _: False),
    "updates are confirmed": on_connection(lambda connection: connection.confirm_update()),
    "server closes what has expired": on_connection(
        lambda connection: connection.end(server_close("CONNECTION_FORCED - credential expired"))
    ),
    "reconnect": lambda stage: stage.session.reconnect(),
    "next is silent": lambda stage: stage.driver.then(SILENCE),
    "next is unreachable": lambda stage: stage.driver.then(unreachable()),
    "next is refused": lambda stage: stage.driver.then(credential_refused()),
    "next is hopeless": lambda stage: stage.driver.then(terminal()),
    "the silent one succeeds": lambda stage: stage.driver.release(),
    "the silent one fails": lambda stage: stage.driver.release(unreachable()),
    "server closes": on_connection(lambda connection: connection.end(server_close())),
    "transport is lost": on_connection(lambda connection: connection.end(transport_close())),
    "blocked": on_connection(lambda connection: connection.block()),
    "unblocked": on_connection(lambda connection: connection.unblock()),
    "updates are silent": answer_update(SILENCE),
    "updates are refused": answer_update(secret_refused()),
    "probes are silent": answer_probe(SILENCE),
    "probes are refused": answer_probe(probe_refused()),
    "sink is slow": lambda stage: stage.events.hold(*EventType),
    "sink is quick": lambda stage: stage.events.release(),
}

# What a rotation is made of, which would be rare among all the rest.
ROTATION = (
    "second secret",
    "third secret",
    "a token of a minute",
    "a token of two minutes",
    "another token will be issued",
    "renew",
    "updates are silent",
    "updates are confirmed",
    "blocked",
    "sink is slow",
    "sink is quick",
)


def acts(names: Collection[str]) -> st.SearchStrategy[Act]:
    return st.builds(
        lambda name, at_once: Act(name, ACTS[name], at_once),
        st.sampled_from(sorted(names)),
        st.booleans(),
    )


STEPS = st.one_of(acts(ACTS), acts(ROTATION), st.sampled_from([1.0, 15.0, 60.0]))
ENDS = st.sampled_from(["close", "close at once", "close with the connection", "cancel"])


# What asks for the open connection to be closed, whatever becomes of the next.
CLOSES = {
    "declare",
    "declare with a probe",
    "declare to verify nothing",
    "declare to renew early",
    "declare to stay closed",
    "declare two endpoints",
    "declare another virtual host",
    "declare suspended",
    "declare nonsense",
    "reconnect",
}


class Watching:
    """Sees what the session does to its connections, and what it was asked for.

    The rule of a rotation: nothing reaches the live connection that has not opened one of its own,
    and the live connection is closed only after its replacement is open.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._accepted: list[OpenRequest[Any]] = []
        self._requests: dict[FakeConnection, OpenRequest[Any]] = {}
        self._current: set[FakeConnection] = set()
        self._virtual_host = "orders"
        self.may_close = False
        """Whether something was asked for since the last rest that explains a close."""
        self._may_send_unverified = False
        self._verifies = True
        self.violations: list[str] = []
        """Kept, because whoever is watched may catch what is raised."""

    def asked(self, act: str) -> None:
        """Take in what is about to be asked for."""
        if act in CLOSES:
            self.may_close |= self._closes(act)
        if act.startswith("declare") and act != "declare nonsense":
            self._verifies = act != "declare to verify nothing"
            self._may_send_unverified |= not self._verifies

    def _closes(self, act: str) -> bool:
        """Whether it does; a declaration that the open connection fits does not."""
        if act in ("reconnect", "declare suspended", "declare nonsense"):
            return True
        before = self._virtual_host
        self._virtual_host = "other" if act == "declare another virtual host" else "orders"
        return before != self._virtual_host

    def rested(self) -> None:
        """Take in that everything that was asked for has been carried out."""
        self.may_close = False
        self._may_send_unverified = not self._verifies

    def see(self) -> None:
        current = self._stage.session.connection
        if isinstance(current, FakeConnection):
            self._current.add(current)

    # --- Witness

    def opened(self, connection: FakeConnection, request: OpenRequest[Any]) -> None:
        self.see()
        self._accepted.append(request)
        self._requests[connection] = request

    def to_be_updated(self, connection: FakeConnection, credential: Credential) -> None:
        self.see()
        if connection.blocked is not None:
            self.violations.append("an update that the broker does not read")
        if connection.is_updating:
            self.violations.append("an update during another")
        elif connection.credential is None:
            self.violations.append("an update after one that nobody has answered")
        elif connection.credential.same_value(credential):
            self.violations.append("an update with what it has already")
        host = self._requests[connection].parameters.virtual_host
        has_been_tried = any(
            each.credential.same_value(credential) and each.parameters.virtual_host == host
            for each in self._accepted
        )
        if not has_been_tried and not self._may_send_unverified:
            self.violations.append("an update that nobody has tried")

    def to_be_closed(self, connection: FakeConnection) -> None:
        self.see()
        if connection not in self._current or self.may_close:
            return
        others = [
            each
            for each in self._stage.driver.open_connections
            if each is not connection and not is_verification(self._requests[each])
        ]
        if not others:
            self.violations.append(f"{connection} is closed before its replacement is open")


@settings(max_examples=200)
@given(steps=st.lists(STEPS, max_size=20), end=ENDS)
def test_whatever_happens_a_session_holds_one_connection_and_leaves_nothing(
    steps: list[Act | float], end: str
) -> None:
    asyncio.run(play(steps, end))


async def play(steps: list[Act | float], end: str) -> None:
    clock = FakeClock()
    with clock.drives(asyncio.get_running_loop()):
        async with staged(clock) as stage:
            watching = Watching(stage)
            stage.driver.witness = watching
            declare()(stage)
            await asyncio.sleep(0)
            for step in steps:
                if isinstance(step, float):
                    await clock.advance(step)
                else:
                    watching.asked(step.name)
                    step.do(stage)
                    if step.at_once:
                        continue
                    await clock.settle()
                check_at_rest(stage)
                assert not watching.violations
                if not stage.events.is_slow:
                    watching.rested()
            if end == "close":
                await calm_down(stage)
                check_at_rest(stage)
                check_that_nothing_was_lost(stage)
            assert not watching.violations
            watching.may_close = True
            await finish(stage, end)
        assert not watching.violations
        check_events(stage)


async def calm_down(stage: Stage) -> None:
    """Let everything work again, and give it the time that it needs."""
    stage.events.release()
    stage.driver.otherwise = None
    stage.driver._script.clear()  # what was to be answered next
    stage.driver.release()
    refuse(lambda _: False)(stage)
    for connection in stage.driver.open_connections:
        connection.confirm_update()
        if connection.blocked is not None:
            connection.unblock()
    stage.credentials._issued.clear()
    await stage.clock.advance(300.0)


def check_that_nothing_was_lost(stage: Stage) -> None:
    """What is to be used is used in the end."""
    if stage.state().standing or not isinstance(stage.credentials.answer, Credential):
        return
    assert stage.state().phase is Phase.CONNECTED
    use = stage.view.credential
    assert use is not None
    assert use.credential.same_value(stage.credentials.answer)
    has_expired = lifetime.has_expired(use.credential, stage.clock)
    assert stage.view.is_ready == (not has_expired)


async def finish(stage: Stage, end: str) -> None:
    """End the session; that nothing is left is proven by the stage."""
    assert stage.task is not None
    match end:
        case "close":
            await stage.clock.settle()
            closing = asyncio.ensure_future(stage.session.close())
        case "close at once":
            # Asked for without giving way to what has just happened.
            stage.events.release()
            await stage.session.close()
            closing = asyncio.ensure_future(stage.session.close_finished())
        case "close with the connection":
            stage.session.close_when_current_connection_is_closed()
            stage.events.release()
            await stage.clock.settle()
            on_connection(lambda connection: connection.end(server_close()))(stage)
            closing = asyncio.ensure_future(stage.session.close_finished())
        case _:
            stage.task.cancel()
            closing = asyncio.ensure_future(stage.session.close_finished())
    stage.events.release()
    await stage.clock.settle()
    assert closing.done()
    assert stage.is_closed()
    assert stage.connection() is None
    assert not stage.driver.open_connections, "released by the time close returns"
    requests = len(stage.driver.requests)
    await stage.clock.advance(600.0)
    assert len(stage.driver.requests) == requests, "no attempt after the end"


def check_at_rest(stage: Stage) -> None:
    """Hold whenever nothing can go on without time, a peer or a sink."""
    assert stage.task is not None
    assert not stage.task.done()
    if stage.events.is_slow:
        return
    connection, current = stage.connection(), stage.state()
    assert (connection is not None) == (current.phase is Phase.CONNECTED)
    assert stage.driver.open_connections == ([connection] if connection is not None else [])
    assert stage.driver.running <= 1
    view = stage.view
    assert (view.info is not None) == (connection is not None)
    assert (view.connected_since is not None) == (connection is not None)
    assert (view.blocked_since is not None) == (
        connection is not None and connection.blocked is not None
    )
    check_credential(stage)
    if current.standing:
        assert stage.driver.running == 0
        assert view.retry_at is None
    elif connection is None:
        is_waiting = view.retry_at is not None
        assert is_waiting or stage.driver.running == 1, "somebody must be on the way"


def check_credential(stage: Stage) -> None:
    """What is shown of the credential is what the broker knows of it."""
    connection, use = stage.connection(), stage.view.credential
    if not isinstance(connection, FakeConnection):
        return
    assert use is not None
    assert use.method is not None
    if connection.credential is not None:
        assert use.credential.same_value(connection.credential)
    verdict = stage.state().credentials
    if lifetime.has_expired(use.credential, stage.clock):
        assert verdict.status is ConditionStatus.FALSE
    else:
        assert verdict.reason is not Reason.EXPIRED or verdict.message.startswith("the new one")
    if verdict.reason is Reason.EXPIRING:
        is_due = lifetime.is_due(use.credential, use.renew_at, stage.clock)
        assert is_due or stage.credentials.fetches > 1


def check_events(stage: Stage) -> None:
    connected = False
    for kind in stage.events.types:
        if kind not in LIVES:
            continue
        assert connected == (kind is not EventType.CONNECTED), stage.events.types
        connected = kind in (EventType.CONNECTED, EventType.SESSION_REPLACED)
    begun: str | None = None
    for entry in stage.journal:
        if entry.endswith(" begins"):
            begun = entry.removesuffix(" begins")
        elif entry.endswith(" is handled"):
            assert entry.removesuffix(" is handled") == begun, "one event at a time"
