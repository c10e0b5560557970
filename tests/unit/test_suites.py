"""`make test`: every suite runs, whatever becomes of the others, and the end says how each went."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from support import brokers, suites
from support.waiting import PATIENCE, eventually

ROOT = suites.TESTS.parent
PASSES = "def test_it():\n    assert True\n"
FAILS = "def test_it():\n    assert 1 == 2, 'as it must'\n"
# It says that it has begun, and that it has cleaned up.
HANGS = """
import pathlib, time, pytest

@pytest.fixture
def server():
    pathlib.Path("begun").touch()
    yield
    pathlib.Path("stopped").touch()

def test_it(server):
    time.sleep(600)
"""


def started(directory: Path, tests: Mapping[str, str], *options: str) -> "subprocess.Popen[str]":
    """Start the runner on suites of one module each."""
    for name, text in tests.items():
        (directory / name).mkdir()
        (directory / name / "test_one.py").write_text(text)
    environment = {key: each for key, each in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.Popen(
        [sys.executable, "-m", "support.suites", "--tests", directory, *options, *tests],
        cwd=directory,
        env={**environment, "PYTHONPATH": str(suites.TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=PATIENCE)
    return output


def rows(output: str) -> list[list[str]]:
    """The table at the end: suite, verdict, time and counts."""
    row = r"^([\w-]+) +(passed|skipped|FAILED) +\d+:\d\d *(.*)$"
    found = re.findall(row, output, re.MULTILINE)
    return sorted([name, verdict, counts] for name, verdict, counts in found)


def test_every_suite_is_run_by_make_test_and_has_a_target_of_its_own() -> None:
    """A folder with tests is a suite."""
    folders = {path.relative_to(suites.TESTS).parts[0] for path in suites.TESTS.rglob("test_*.py")}
    assert set(suites.SUITES) - set(suites.ON_NEWER) == folders
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^test-(\w+):.*\n\t@\$\(PYTEST\) tests/(\w+) ", makefile, re.MULTILINE)
    assert {suite for suite, folder in targets if suite == folder} == folders


def test_what_brokers_decide_is_run_on_both_of_them() -> None:
    """By make test, and by a target of their own; what is named is there."""
    assert set(suites.ON_NEWER) < set(suites.SUITES)
    paths = [path for each in suites.ON_NEWER.values() for path in each]
    assert "broker" in paths
    assert [path for path in paths if not (suites.TESTS / path).exists()] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [both] = re.findall(r"^test-brokers:.*\n(?:\t.*\n)+", makefile, re.MULTILINE)
    assert {"broker", *suites.ON_NEWER} <= set(both.split())


def test_what_chooses_its_brokers_is_run_once() -> None:
    """Not again on the newer RabbitMQ."""
    options = suites.Suite.named("broker-newer", suites.TESTS, []).options
    for each in suites.CHOOSING:
        assert list(suites.TESTS.glob(each))
        assert f"--ignore-glob={suites.TESTS / each}" in options
    assert suites.Suite.named("broker", suites.TESTS, []).options == ()


def test_a_broker_that_is_missing_is_said_to_be_and_its_tests_are_counted(tmp_path: Path) -> None:
    """Skipped, each for the same reason, and no other broker is taken in its place."""
    told = f"RabbitMQ {brokers.pinned_version(brokers.NEWER)} is missing: run `make brokers`"
    done = subprocess.run(
        [sys.executable, "-m", "support.suites", "broker-newer", "--", "-k", "deleted"],
        cwd=ROOT,
        env={
            **{key: each for key, each in os.environ.items() if not key.startswith("PYTEST_")},
            "PYTHONPATH": str(suites.TESTS),
            "XDG_CACHE_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"broker-newer has begun ({told})" in done.stdout
    [[name, verdict, counts]] = rows(done.stdout)
    assert (name, verdict) == ("broker-newer", "skipped")
    assert re.fullmatch(r"\d+ skipped, \d+ deselected", counts)
    *_, reason, total = done.stdout.splitlines()
    assert reason == f"broker-newer: {told}"
    assert re.match(r"==== \d+ deselected, \d+ skipped in ", total)


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_a_suite_that_fails_stops_no_other(tmp_path: Path, at_once: str) -> None:
    """The exit code is that something failed, the end says what, and pytest's reports are whole."""
    tests = {"one": FAILS, "two": PASSES, "three": PASSES + "\n" + PASSES.replace("_it", "_that")}
    process = started(tmp_path, tests, "--at-once", at_once)
    output = finished(process)
    assert process.returncode == 1, output
    assert rows(output) == [
        ["one", "FAILED", "1 failed"],
        ["three", "passed", "2 passed"],
        ["two", "passed", "1 passed"],
    ]
    assert "assert 1 == 2" in output
    reports = re.findall(r"^=+ .*\d (?:passed|failed) in [\d.]+s =+$", output, re.MULTILINE)
    assert len(reports) == len(tests)
    *_, failure, _, _, _, total = output.splitlines()
    assert "test_one.py::test_it - AssertionError: as it must" in failure
    assert total.startswith("==== 1 failed, 3 passed in ")


def test_when_all_pass_it_says_so(tmp_path: Path) -> None:
    """With the exit code that make and CI wait for."""
    process = started(tmp_path, {"one": PASSES, "two": PASSES})
    output = finished(process)
    assert process.returncode == 0, output
    assert output.splitlines()[-1].startswith("==== 2 passed in ")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("", "no tests ran", id="no tests"),
        pytest.param("raise SystemExit(0)\n", "", id="a module that ends it"),
        pytest.param("import os\nos._exit(0)\n", "", id="an end without a report"),
        pytest.param("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "", id="killed"),
        pytest.param("import nowhere\n", "1 error", id="a module that cannot be imported"),
    ],
)
def test_what_did_not_run_has_not_passed(tmp_path: Path, text: str, what: str) -> None:
    """A suite without tests, or one that breaks off, is no success."""
    process = started(tmp_path, {"one": text})
    output = finished(process)
    assert process.returncode == 1, output
    [[name, verdict, counts]] = rows(output)
    assert (name, verdict) == ("one", "FAILED")
    assert what in counts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    """Pytest stops its servers and writes its report; what has not begun does not begin."""
    process = started(tmp_path, {"one": HANGS, "two": PASSES}, "--at-once", "1")
    await eventually((tmp_path / "begun").exists, what="the suite runs")
    process.send_signal(number)
    output = finished(process)
    assert process.returncode == 130, output
    assert (tmp_path / "stopped").exists()
    assert "two has begun" not in output
    assert [name for name, *_ in rows(output)] == ["one"]
    assert output.splitlines()[-1] == "interrupted"


def test_a_suite_can_be_interrupted_however_it_was_started(tmp_path: Path) -> None:
    """nohup and a shell's `&` have a program ignore signals, and what it starts as well."""
    text = (
        "import signal\n\ndef test_it():\n"
        "    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL\n"
    )
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGHUP)}
    try:
        process = started(tmp_path, {"one": text})
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    output = finished(process)
    assert process.returncode == 0, output


async def test_nothing_outlives_it(tmp_path: Path) -> None:
    """Not even when it is killed."""
    note = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
    process = started(tmp_path, {"one": f"{note}time.sleep(600)\n"})
    await eventually(lambda: _read(tmp_path / "pid"), what="the suite runs")
    suite = Path("/proc", _read(tmp_path / "pid"))
    process.kill()
    process.communicate(timeout=PATIENCE)
    await eventually(lambda: not suite.exists(), what="the suite has ended")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
