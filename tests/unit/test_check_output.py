"""`springline check` as a person or another program reads it: terminals, pipes, locales."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Final

import pytest

import springline
from support import unanswered
from support.waiting import eventually

SOURCES: Final = Path(springline.__file__).parents[1]
EVERY_COLUMN: Final = (
    *("NAMESPACE", "NAME", "READY", "BLOCKED", "STATE", "BROKER", "VHOST", "USER", "EXPIRES"),
    *("AGE", "CONFIRM", "SERVER", "HEARTBEAT", "ENDPOINT", "REASON"),
)
AT_80: Final = ("NAMESPACE", "NAME", "READY", "BLOCKED", "STATE", "AGE", "REASON")


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """One connection to a port that nobody listens on."""
    path = tmp_path / "all.yaml"
    path.write_text(unanswered.manifests(username="größe"), encoding="utf-8")
    return path


class Terminal:
    """A terminal of so many columns, which shows all that is written to it."""

    def __init__(self, columns: int) -> None:
        self._reading, self.writing = os.openpty()
        termios.tcsetwinsize(self.writing, (50, columns))
        self._shown = b""
        self._showing = threading.Thread(target=self._show)
        self._showing.start()

    def _show(self) -> None:
        with contextlib.suppress(OSError):  # when the other side is closed
            while more := os.read(self._reading, 65536):
                self._shown += more

    @property
    def rows(self) -> list[list[str]]:
        """The words of each line so far."""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown.decode(errors="ignore"))
        return [line.split() for line in plain.splitlines()]

    def text(self) -> str:
        """Return what was written, when nobody writes any more."""
        os.close(self.writing)
        self._showing.join()
        os.close(self._reading)
        return self._shown.decode().replace("\r\n", "\n")


def environment(**more: str) -> dict[str, str]:
    without = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    own = {name: value for name, value in os.environ.items() if name not in without}
    return {**own, "PYTHONPATH": str(SOURCES), "TERM": "xterm", **more}


def checked(*options: str | Path, stdout: int, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "springline", "check", *options],
        env=environment(**more),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


def on_terminal(columns: int, *options: str | Path, **more: str) -> list[str]:
    """Return the lines that a check writes to a terminal of so many columns."""
    terminal = Terminal(columns)
    try:
        done = checked(*options, stdout=terminal.writing, **more)
    finally:
        text = terminal.text()
    assert done.returncode == 1, done.stderr
    assert "pl4nted" not in text
    return text.splitlines()


@pytest.mark.parametrize(("columns", "shown"), [(80, AT_80), (200, EVERY_COLUMN)])
def test_terminal_is_shown_the_columns_that_it_is_wide_enough_for(
    manifests: Path, columns: int, shown: tuple[str, ...]
) -> None:
    header, line = on_terminal(columns, "-f", manifests)
    assert tuple(header.split()) == shown
    assert len(line) <= columns
    assert line.endswith("ConnectionRefused")


def test_pipe_gets_every_column_whatever_the_terminal_is(manifests: Path) -> None:
    done = checked("-f", manifests, stdout=subprocess.PIPE, COLUMNS="80")
    assert done.returncode == 1
    header, line = done.stdout.splitlines()
    assert tuple(header.split()) == EVERY_COLUMN
    assert line.endswith("ConnectionRefused")


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_no_colours_are_written(manifests: Path, variable: str) -> None:
    lines = on_terminal(80, "-f", manifests, **{variable: "dumb"})
    assert "\x1b" not in "".join(lines)


def test_columns_stay_aligned_in_a_locale_without_the_characters(manifests: Path) -> None:
    text = manifests.read_text(encoding="utf-8").replace(
        "  brokerRef", "  virtualHost: größe\n  brokerRef"
    )
    manifests.write_text(text, encoding="utf-8")
    header, line = on_terminal(200, "-f", manifests, PYTHONIOENCODING="ascii")
    assert line[header.index("VHOST ") :].startswith("gr\\xf6\\xdfe ")
    assert line[header.index("USER ") :].startswith("- ")


def test_sentences_have_no_character_that_the_locale_lacks(manifests: Path) -> None:
    text = manifests.read_text(encoding="utf-8").replace("  brokerRef", "  größe: 1\n  brokerRef")
    manifests.write_text(text, encoding="utf-8")
    done = checked("-f", manifests, stdout=subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert 'spec["gr\\xf6\\xdfe"]: unknown field' in done.stderr


@pytest.mark.parametrize("form", ["table", "github", "junit"])
def test_name_of_a_file_begins_no_line_of_its_own(manifests: Path, form: str) -> None:
    """CI takes commands from lines, and whoever proposes a change names its files."""
    manifests.rename(manifests.with_name("x\n::stop-commands::y\x1b[31m.yaml"))
    (manifests.parent / "empty.yaml").touch()
    with (manifests.parent / "x\n::stop-commands::y\x1b[31m.yaml").open("a") as file:
        file.write("---\napiVersion: v1\nkind: Secret\n")
    done = checked("-f", manifests.parent, "-o", form, stdout=subprocess.PIPE)
    assert done.returncode == 2
    assert "::stop-commands::" in done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    assert not any(each.startswith("::stop") for each in lines)
    assert "\x1b" not in done.stdout + done.stderr


def test_sentence_of_a_rotation_stands_below_where_it_does_not_fit(manifests: Path) -> None:
    new = manifests.parent / "new.yaml"
    new.write_text(manifests.read_text(encoding="utf-8").split("---\n")[1].replace("4", "5"))
    header, line, sentence = on_terminal(80, "-f", manifests, "--credentials", new)
    assert header.split() == ["NAMESPACE", "NAME", "OUTCOME", "USER"]
    assert line.split() == ["default", "orders", "NotTried", "-"]
    assert sentence.startswith("default/orders: not tried: ")


@pytest.mark.parametrize("columns", [80, 200])
async def test_run_shows_the_columns_of_check(manifests: Path, columns: int) -> None:
    """What a person has learned to read in the one is where it was in the other."""
    [header, _] = await asyncio.to_thread(on_terminal, columns, "-f", manifests)
    terminal = Terminal(columns)
    process = start_run(manifests.parent, terminal.writing)
    ended = asyncio.ensure_future(asyncio.to_thread(process.communicate, timeout=60))
    try:
        await eventually(lambda: header.split() in terminal.rows, what=f"the columns {header}")
    finally:
        process.terminate()
        await ended
        text = terminal.text()
    assert process.returncode == 0
    assert "pl4nted" not in text


def start_run(directory: Path, terminal: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "springline", "run", "-f", directory],
        env=environment(),
        stdout=terminal,
        stderr=subprocess.PIPE,
    )
