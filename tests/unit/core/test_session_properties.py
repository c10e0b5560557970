"""What holds for a session whatever happens to it, in any order and at any moment."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from springline import errors
from springline.core.events import EventType
from springline.core.session import Unusable
from springline.core.state import Failure, Phase
from springline.reasons import Reason
from support.builders import (
    OTHER_RABBIT,
    PROBE,
    RABBIT,
    a_credential,
    a_target,
    credential_refused,
    no_secret,
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
    "declare to stay closed": declare(stay_closed=True),
    "declare nonsense": unusable,
    "second secret": credential("second"),
    "third secret": credential("third"),
    "other user": credential("first", "other"),
    "no secret": without_credential,
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
    "updates are refused": answer_update(errors.SecretRefusedError(code=530, text="NOT_ALLOWED")),
    "probes are silent": answer_probe(SILENCE),
    "probes are refused": answer_probe(errors.ProbeRefusedError(code=403, text="ACCESS_REFUSED")),
    "sink is slow": lambda stage: stage.events.hold(*EventType),
    "sink is quick": lambda stage: stage.events.release(),
}

STEPS = st.one_of(
    st.builds(
        lambda name, at_once: Act(name, ACTS[name], at_once),
        st.sampled_from(sorted(ACTS)),
        st.booleans(),
    ),
    st.sampled_from([1.0, 15.0, 60.0]),
)
ENDS = st.sampled_from(["close", "close at once", "close with the connection", "cancel"])


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(STEPS, max_size=20), end=ENDS)
def test_whatever_happens_a_session_holds_one_connection_and_leaves_nothing(
    steps: list[Act | float], end: str
) -> None:
    asyncio.run(play(steps, end))


async def play(steps: list[Act | float], end: str) -> None:
    clock = FakeClock()
    with clock.drives(asyncio.get_running_loop()):
        async with staged(clock) as stage:
            declare()(stage)
            await asyncio.sleep(0)
            for step in steps:
                if isinstance(step, float):
                    await clock.advance(step)
                else:
                    step.do(stage)
                    if step.at_once:
                        continue
                    await clock.settle()
                check_at_rest(stage)
            await finish(stage, end)
        check_events(stage)


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
    if current.standing:
        assert stage.driver.running == 0
        assert view.retry_at is None
    elif connection is None:
        is_waiting = view.retry_at is not None
        assert is_waiting or stage.driver.running == 1, "somebody must be on the way"


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
