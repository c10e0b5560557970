"""What standalone mode shows while it runs: lines, or a table on a terminal."""

import asyncio
import contextlib
import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from springline import logs
from springline.core.events import Event, EventType
from springline.core.values import SessionKey
from springline.positions import Position
from springline.reasons import Reason
from springline.standalone import display
from springline.standalone.display import LineDisplay, TableDisplay
from springline.standalone.loader import Problem
from support.fake_clock import EIGHT, FakeClock
from support.running import a_broker, a_connection, a_secret
from support.standalone import Scene

EVERYTHING = (a_secret("ann", "pl4nted"), a_broker(5672), a_connection("orders"))


def an_event(
    kind: EventType = EventType.CONNECTED,
    message: str = "connected to RabbitMQ",
    *,
    reason: Reason | None = None,
    name: str = "orders",
) -> Event:
    return Event(type=kind, key=SessionKey("apps", name), at=EIGHT, message=message, reason=reason)


# --- lines


def test_event_is_one_line_with_time_session_type_and_message() -> None:
    assert display.line(an_event()) == (
        "2026-11-21T08:00:00Z  apps/orders                   Connected             "
        "connected to RabbitMQ"
    )


def test_reason_is_the_conditions_and_the_message_says_what_happened() -> None:
    event = an_event(EventType.CONNECT_FAILED, "nobody listens", reason=Reason.CONNECTION_REFUSED)
    assert display.line(event).endswith("  ConnectionRefused     attempt failed: nobody listens")


def test_text_of_a_broker_cannot_make_a_second_line() -> None:
    line = display.line(an_event(message="one\r\ntwo\x1b[2J"))
    assert line.isprintable()
    assert line.endswith("one\\r\\ntwo\\x1b[2J")


class Lines:
    """A line display, and what it wrote."""

    def __init__(self, *, steps: bool = False, json_lines: bool = False) -> None:
        self.written: list[str] = []
        self.display = LineDisplay(
            FakeClock(), self.written.append, steps=steps, json_lines=json_lines
        )


async def test_every_event_is_one_line() -> None:
    lines = Lines()
    kinds = [kind for kind in EventType if kind not in display._STEPS]
    for kind in kinds:
        await lines.display.report(an_event(kind))
    assert [line.split()[2] for line in lines.written] == [kind.value for kind in kinds]


@pytest.mark.parametrize("kind", [EventType.ATTEMPTING, EventType.OBTAINED_ADDRESS])
async def test_steps_of_an_attempt_are_shown_only_on_demand(kind: EventType) -> None:
    without, with_steps = Lines(), Lines(steps=True)
    for lines in (without, with_steps):
        await lines.display.report(an_event(kind))
    assert without.written == []
    assert len(with_steps.written) == 1


def a_problem(path: str, *place: int, sentence: str = "is empty") -> Problem:
    return Problem(Position(Path(path), *place), sentence)


def test_problem_is_told_when_it_comes_and_when_it_is_solved() -> None:
    lines = Lines()
    a, b, c = (a_problem(f"{name}.yaml") for name in "abc")
    for problems in ([a, b], [a, b], [b, c], [b], [], [a]):
        lines.display.problems(problems)
    assert [line.partition("  ")[2] for line in lines.written] == [
        "problem: a.yaml: is empty",
        "problem: b.yaml: is empty",
        "solved: a.yaml: is empty",
        "problem: c.yaml: is empty",
        "solved: c.yaml: is empty",
        "solved: b.yaml: is empty",
        "problem: a.yaml: is empty",
    ]


def test_line_about_a_problem_has_its_time() -> None:
    lines = Lines()
    lines.display.problems([a_problem("a.yaml")])
    lines.display.note("closing")
    assert lines.written == [
        "2026-11-21T08:00:00Z  problem: a.yaml: is empty",
        "2026-11-21T08:00:00Z  closing",
    ]


def test_problem_that_moves_to_another_line_is_neither_solved_nor_new() -> None:
    lines = Lines()
    for number in (3, 4):
        lines.display.problems([a_problem("a.yaml", number, 5, sentence="spec: unknown field")])
    lines.display.problems([])
    assert [line.partition("  ")[2] for line in lines.written] == [
        "problem: a.yaml:3:5: spec: unknown field",
        "solved: a.yaml:4:5: spec: unknown field",
    ]


async def test_lines_of_json_have_the_keys_of_the_log() -> None:
    lines = Lines(json_lines=True)
    refused = Reason.CONNECTION_REFUSED
    await lines.display.report(
        an_event(EventType.CONNECT_FAILED, "nobody\nlistens", reason=refused)
    )
    lines.display.problems([a_problem("a.yaml")])
    lines.display.note("closing")
    beside = {"time": "2026-11-21T08:00:00.000Z", "logger": "springline.standalone.display"}
    assert [json.loads(line) for line in lines.written] == [
        {
            **beside,
            "level": "warning",
            "message": "attempt failed",
            "session": "apps/orders",
            "detail": "nobody\nlistens",
            "reason": "ConnectionRefused",
        },
        {**beside, "level": "warning", "message": "problem", "detail": "a.yaml: is empty"},
        {**beside, "level": "info", "message": "closing"},
    ]


async def test_output_that_nobody_reads_is_given_up_with_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Sessions go on: a pipe may end where the sessions are still wanted."""
    attempts = 0

    def write(_: str) -> None:
        nonlocal attempts
        attempts += 1
        raise BrokenPipeError(32, "Broken pipe")

    lines = LineDisplay(FakeClock(), write)
    await lines.report(an_event())
    await lines.report(an_event())
    lines.problems([a_problem("a.yaml")])
    assert attempts == 1
    assert [record.message for record in caplog.records] == ["output not written any more"]


async def test_line_display_runs_until_it_is_cancelled(scene: Scene) -> None:
    running = asyncio.ensure_future(Lines().display.run(scene.report))
    await asyncio.sleep(0)
    assert not running.done()
    running.cancel()


# --- a table


class FakeTerminal(io.StringIO):
    """A terminal of 200 columns as far as rich asks."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LINES", "50")
    return FakeTerminal()


@contextlib.asynccontextmanager
async def shown(scene: Scene, out: io.StringIO) -> AsyncIterator[TableDisplay]:
    """Run a table display of the scene, cancelled at the end."""
    shown = TableDisplay(scene.clock, out)
    running = asyncio.ensure_future(shown.run(scene.report))
    try:
        yield shown
    finally:
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()


async def test_table_follows_the_sessions(scene: Scene, terminal: FakeTerminal) -> None:
    await scene.apply(*EVERYTHING)
    async with shown(scene, terminal):
        await scene.clock.advance(0.3)
        assert "Connected" in terminal.getvalue()
        assert "invoices" not in terminal.getvalue()
        await scene.apply(*EVERYTHING, a_connection("invoices"))
        await scene.clock.advance(0.3)
        assert "invoices" in terminal.getvalue()
    assert "pl4nted" not in terminal.getvalue()


async def test_problems_notes_and_last_events_stand_below_the_table(
    scene: Scene, terminal: FakeTerminal
) -> None:
    async with shown(scene, terminal) as table:
        table.problems([a_problem("a.yaml")])
        table.note("closing")
        for number in range(20):
            await table.report(an_event(name=f"n{number}"))
        await table.report(an_event(EventType.ATTEMPTING, name="step"))
        await scene.clock.advance(0.3)
    last = terminal.getvalue().rpartition("NAMESPACE")[2]
    assert "a.yaml: is empty" in last
    assert "apps/n19" in last
    assert "apps/n11" not in last
    assert "apps/step" not in last


async def test_solved_problem_leaves_the_table_and_is_told_below_it(
    scene: Scene, terminal: FakeTerminal
) -> None:
    async with shown(scene, terminal) as table:
        table.problems([a_problem("a.yaml")])
        table.problems([])
        await scene.clock.advance(0.3)
    last = terminal.getvalue().rpartition("NAMESPACE")[2]
    assert last.count("a.yaml: is empty") == 2
    assert "Z  problem: a.yaml: is empty" in last
    assert "Z  solved: a.yaml: is empty" in last


async def test_last_picture_is_what_was_true_at_the_end(
    scene: Scene, terminal: FakeTerminal
) -> None:
    async with shown(scene, terminal) as table:
        await scene.clock.advance(0.3)
        table.note("dropping the sessions")
    assert "dropping the sessions" in terminal.getvalue().rpartition("NAMESPACE")[2]


async def test_table_into_a_file_is_written_once_without_escapes(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    out = io.StringIO()
    async with shown(scene, out):
        await scene.clock.advance(10)
    assert out.getvalue().count("NAMESPACE") == 1
    assert "\x1b" not in out.getvalue()


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("restored_logging")
async def test_logs_go_above_the_table_on_a_terminal(
    scene: Scene, terminal: FakeTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    logs.configure("warning")
    async with shown(scene, terminal):
        await scene.clock.advance(0.3)
        logging.getLogger("springline.test").warning("something happened")
        await scene.clock.advance(0.3)
    assert terminal.getvalue().count("something happened") == 1
    last = terminal.getvalue().rpartition("NAMESPACE")[2]
    assert "something happened" not in last


@pytest.mark.usefixtures("restored_logging")
async def test_logs_into_a_file_stay_out_of_the_table(
    scene: Scene, terminal: FakeTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    logs.configure("warning")
    async with shown(scene, terminal):
        await scene.clock.advance(0.3)
        logging.getLogger("springline.test").warning("something happened")
        await scene.clock.advance(0.3)
    assert "something happened" in file.getvalue()
    assert "something happened" not in terminal.getvalue()
