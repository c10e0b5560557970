"""Recipes of deploy/ that need no broker and no cluster to be judged."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from springline.cli import main
from support import recipes
from support.recipes import UNIT

# systemd's own scale from 0, nothing is open to it, to 10.
MOST_EXPOSED: Final = 2.0


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there, because systemd looks for it."""
    text = UNIT.read_text(encoding="utf-8")
    program = shlex.split(recipes.service()["ExecStart"][0])[0]
    path = tmp_path / UNIT.name
    path.write_text(text.replace(program, shutil.which("true") or ""), encoding="utf-8")
    return path


def analysed(*words: str | Path) -> str:
    """Return what systemd-analyze says, and fail where it finds fault."""
    if (program := shutil.which("systemd-analyze")) is None:
        pytest.skip("there is no systemd-analyze")
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_systemd_finds_no_fault_with_the_unit(unit: Path) -> None:
    """Not even an unknown setting, which it would only warn of."""
    analysed("verify", unit)


def test_systemd_calls_the_unit_hardened(unit: Path) -> None:
    """A setting that is lost raises what it says."""
    said = analysed("security", "--offline=true", unit)
    level = re.search(r"Overall exposure level for springline\.service: ([\d.]+)", said)
    assert level is not None, said
    assert float(level[1]) <= MOST_EXPOSED, said


def test_systemd_waits_longer_than_springline_takes_to_stop() -> None:
    """Otherwise it would kill sessions that are just being closed."""
    settings = recipes.service()
    words = shlex.split(settings["ExecStart"][0])
    takes = float(words[words.index("--shutdown-timeout") + 1])
    assert float(settings["TimeoutStopSec"][0]) >= takes + 5
    assert settings["Restart"] == ["on-failure"]
    # What would end the same way each time: see the exit codes of docs/standalone.md.
    assert settings["RestartPreventExitStatus"] == ["2"]


def test_the_unit_starts_springline_with_options_that_it_has() -> None:
    """Options are those of `springline run`, and no secret is among them."""
    _, command, *words = shlex.split(recipes.service()["ExecStart"][0])
    options = {name for option in main.commands[command].params for name in option.opts}
    assert {word for word in words if word.startswith("-")} <= options
