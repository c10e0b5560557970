"""Run the suites side by side, each as a pytest of its own, and say how each of them went.

`make test` is this. The suites that start servers wait most of the time, so that two at once fill
two cores. All of them run, whatever becomes of the others. What a suite writes is shown when it has
ended, in one piece, and a table of all comes last.

A suite is a folder, and what the tests of brokers have in common with others is run once more on a
newer RabbitMQ (`brokers`). It installs nothing, and knows nothing else of a suite.
"""

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from support import brokers, processes

__all__ = ["CHOOSING", "ON_NEWER", "SUITES", "main"]

TESTS = Path(__file__).resolve().parents[1]

# The longest first: what is started last decides when all is over.
SUITES = (
    *("cluster", "broker-newer", "broker", "chaos", "unit", "fuzz", "chart", "image"),
    *("contract", "faults"),
)

ON_NEWER = {
    "broker-newer": (
        "broker",
        "cluster/test_amqp10.py",
        "cluster/test_binding.py",
        "cluster/test_blocked.py",
        "cluster/test_connections.py",
        "cluster/test_http.py",
        "cluster/test_oauth2.py",
        "cluster/test_rotation_page.py",
        "cluster/test_secrets.py",
        "cluster/test_service_account_tokens.py",
        "cluster/test_token_files.py",
    ),
}
"""Suites that run on the newer RabbitMQ, with what they run of other suites.

All tests of the broker, and of those of the cluster the ones whose outcome the broker decides: what
it refuses, blocks, takes in place and ends. To the others any broker is as good.
"""

CHOOSING = ("broker/test_amqp10_*.py", "broker/test_amqp091_broker_j.py")
"""Tests that choose their brokers themselves; they run once, on whichever a suite is."""

AT_ONCE = min(2, os.cpu_count() or 1)

_OPTIONS = ("--durations=15", "--durations-min=1")
_POLL_SECONDS = 0.1
# How often it says what still runs; CI stops what is silent for long.
_NEWS_SECONDS = 60.0
# How long an interrupted suite may take to stop its servers.
_GRACE_SECONDS = 60.0

_INTERRUPTED = 130
"""The exit code of what was ended by Ctrl-C, in every shell."""

# "3 failed, 120 passed, 2 skipped in 12.34s", as pytest closes with, between rules.
_CLOSING = re.compile(r"^=+ (.+) in [\d.]+s\b.*=+$", re.MULTILINE)
_FAILURE = re.compile(r"^(?:FAILED|ERROR) \S.*$", re.MULTILINE)
_COUNT = re.compile(r"(\d+) ([a-z]+)")
_ONE = {"errors": "error", "warnings": "warning"}
_PROGRESS = re.compile(r"\[ *(\d+)%\]$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a suite went."""

    name: str
    seconds: float
    # Of pytest; negative for a signal.
    code: int
    counts: str
    """Pytest's own, such as `3 failed, 120 passed`; empty where it did not come so far."""
    failures: tuple[str, ...]
    """Pytest's line on each test that failed."""

    on: str = ""
    """On which broker it ran, or why on none; empty where it is the one that is installed."""

    @property
    def passed(self) -> bool:
        """Whether its report is whole, and says of no test that it failed."""
        return self.code == 0 and bool(self.counts)

    @property
    def verdict(self) -> str:
        """In one word."""
        if not self.passed:
            return "FAILED"
        kinds = {what for _, what in _COUNT.findall(self.counts)}
        return "passed" if kinds - {"skipped", "deselected"} else "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What one pytest runs."""

    name: str
    paths: tuple[Path, ...]
    # What differs from ours.
    environment: Mapping[str, str] = field(default_factory=dict)
    # Of pytest.
    options: tuple[str, ...] = ()
    on: str = ""
    """Which broker that is, or why it is missing; empty where it is the one that is installed."""

    @classmethod
    def named(cls, name: str, tests: Path, options: Sequence[str]) -> "Suite":
        """Return the suite of that name: one on the newer broker, or a folder."""
        if name not in ON_NEWER:
            return cls(name=name, paths=(tests / name,), options=tuple(options))
        broker = brokers.newer()
        return cls(
            name=name,
            paths=tuple(tests / path for path in ON_NEWER[name]),
            environment=broker.environment,
            options=(*(f"--ignore-glob={tests / each}" for each in CHOOSING), *options),
            on=str(broker),
        )


class Run:
    """One suite while it runs; what it writes goes to a file."""

    def __init__(self, suite: Suite, output: Path) -> None:
        """Start it."""
        self.name = suite.name
        self._on = suite.on
        self._output = output
        self._began = time.monotonic()
        # A cache each: two that end at one moment would write over each other.
        cache = f"cache_dir={Path('.pytest_cache', self.name)}"
        color = ["--color=yes"] if sys.stdout.isatty() else []
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process: subprocess.Popen[bytes] = processes.spawn(
            [
                *(sys.executable, "-m", "pytest"),
                *suite.paths,
                *_OPTIONS,
                *("-o", cache),
                *color,
                *suite.options,
            ],
            env={**environment, **suite.environment},
            output=output,
        )

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._began

    @property
    def text(self) -> str:
        """What it has written so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def progress(self) -> str:
        """How far it has come, as pytest says it."""
        found = _PROGRESS.findall(self.text)
        return f"{self.name} {found[-1] if found else 0} %"

    def ended(self) -> Result | None:
        """Return how it went, or None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        text = _plain(self.text)
        closing = _CLOSING.findall(text)
        return Result(
            name=self.name,
            seconds=self.seconds,
            code=code,
            counts=closing[-1] if closing else "",
            failures=tuple(_FAILURE.findall(text)),
            on=self._on,
        )

    def interrupt(self) -> None:
        """Do what Ctrl-C does: pytest stops its servers and closes its report."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End it at once; its servers end with it. Idempotent."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # Its whole process group, as a terminal does.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line names, and return the exit code."""
    parser = argparse.ArgumentParser(
        description="Run the suites side by side.", epilog="What follows -- is pytest's, in each."
    )
    parser.add_argument("suites", nargs="*", default=SUITES, metavar="SUITE")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, metavar="N")
    parser.add_argument("--tests", type=Path, default=TESTS, metavar="DIRECTORY")
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    given, options = parser.parse_args(words[:end]), words[end + 1 :]
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)
    with tempfile.TemporaryDirectory(prefix="springline-suites-") as directory:
        suites = [Suite.named(name, given.tests, options) for name in given.suites]
        return _run(suites, Path(directory), at_once=max(given.at_once, 1))


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's
    raise KeyboardInterrupt


def _run(suites: Sequence[Suite], directory: Path, *, at_once: int) -> int:
    began = time.monotonic()
    waiting = list(suites)
    running: list[Run] = []
    results: list[Result] = []
    news_at = began + _NEWS_SECONDS
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                suite = waiting.pop(0)
                running.append(Run(suite, directory / f"{suite.name}.log"))
                _say(f"{suite.name} has begun{f' ({suite.on})' if suite.on else ''}")
            results += _take_ended(running)
            if time.monotonic() > news_at:
                news_at += _NEWS_SECONDS
                _say(f"after {_clock(time.monotonic() - began)}: {', '.join(_news(running))}")
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        results += _stop(running)
        _say(_table(results, time.monotonic() - began))
        _say("interrupted")
        return _INTERRUPTED
    finally:
        for each in running:
            each.kill()
    _say(_table(results, time.monotonic() - began))
    return 0 if all(each.passed for each in results) else 1


def _take_ended(running: list[Run]) -> Iterator[Result]:
    """Take out what has ended, show what it wrote, and yield how it went."""
    for each in list(running):
        if (result := each.ended()) is not None:
            running.remove(each)
            _say(f"\n######## {each.name}\n{each.text}")
            yield result


def _stop(running: list[Run]) -> list[Result]:
    """Interrupt what runs, wait until it has cleaned up, and return how it went.

    Interrupted once more, or after a while, it returns at once.
    """
    results: list[Result] = []
    for each in running:
        each.interrupt()
    deadline = time.monotonic() + _GRACE_SECONDS
    with contextlib.suppress(KeyboardInterrupt):
        while running and time.monotonic() < deadline:
            results += _take_ended(running)
            time.sleep(_POLL_SECONDS)
    return results


def _news(running: Sequence[Run]) -> list[str]:
    return [each.progress for each in running]


def _table(results: Sequence[Result], seconds: float) -> str:
    """Return how each suite went, and all of them together in pytest's words."""
    width = max((len(each.name) for each in results), default=0)
    rows = [
        f"{each.name:<{width}}  {each.verdict}  {_clock(each.seconds):>6}  {each.counts}".rstrip()
        for each in results
    ]
    failures = [line for each in results for line in each.failures]
    on = [f"{each.name}: {each.on}" for each in results if each.on]
    total: Counter[str] = Counter()
    for each in results:
        for number, what in _COUNT.findall(each.counts):
            total[_ONE.get(what, what)] += int(number)
    counts = ", ".join(f"{number} {what}" for what, number in sorted(total.items()))
    closing = f"==== {counts or 'no tests ran'} in {seconds:.2f}s ({_clock(seconds)}) ===="
    return "\n".join(["", *failures, *rows, *on, closing])


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _plain(text: str) -> str:
    """Remove what colours it."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
