"""What a session shows of itself, written down: statuses, events, metrics, and what a broker sees.

The text has a line for each thing that happened and for each field that became another one, and
nothing else: of how the session does it there is not a word.
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from springline.api.conditions import Condition
from springline.core import binding, stalling, status
from springline.core.binding import Surroundings
from springline.core.events import Event
from springline.core.outcomes import AttemptOutcome, UpdateOutcome, VerificationOutcome
from springline.core.view import SessionView
from springline.reasons import Reason
from support.fake_clock import EIGHT, FakeClock
from support.stage import Stage

__all__ = ["JournalMeter", "Transcript", "WatchedClock"]

_WHOLE: Final = ("negotiated", "server")
"""What of status is on one line, because all of it becomes another one at once."""


class WatchedClock(FakeClock):
    """A clock that says when everything has settled at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.watcher: Transcript | None = None

    async def settle(self) -> None:
        await super().settle()
        if self.watcher is not None:
            self.watcher.write()


class JournalMeter:
    """Notes what it is told among all else that happens, as `core.ports.Meter`."""

    def __init__(self) -> None:
        self.journal: list[str] = []

    def attempt_ended(
        self, protocol: str, *, outcome: AttemptOutcome, reason: Reason, seconds: float
    ) -> None:
        self._note(f"attempt ended: {protocol} {outcome.value} {reason} {seconds:g} s")

    def disconnected(self, reason: Reason) -> None:
        self._note(f"disconnected: {reason}")

    def secret_updated(self, method: str, outcome: UpdateOutcome, seconds: float) -> None:
        self._note(f"secret updated: {method} {outcome.value} {seconds:g} s")

    def verified(self, outcome: VerificationOutcome) -> None:
        self._note(f"verified: {outcome.value}")

    def probed(self, seconds: float) -> None:
        self._note(f"probed: {seconds:g} s")

    def _note(self, text: str) -> None:
        self.journal.append(f"meter {text}")


class Transcript:
    """Writes down what has happened on a stage since the last time."""

    def __init__(self, stage: Stage, told: list[str]) -> None:
        self._stage = stage
        self._told = told
        self._told_before = 0
        self._read = 0
        self._opens = 0
        self._events = 0
        self._changes = 0
        self._fetches = 0
        self._said: Counter[str] = Counter()
        """How often each connection was updated or closed."""
        self._conditions: tuple[Condition, ...] = ()
        self._stalls_at: float | None = None
        self._shown: dict[str, str] = {}
        self._status: dict[str, str] = {}
        self._lines: list[str] = []

    def take(self) -> list[str]:
        """Return what was written since the last time."""
        lines, self._lines = self._lines, []
        return lines

    def write(self) -> None:
        """Write what has happened by now, everything being at rest."""
        happened = [*self._happened(), *self._waiters()]
        changed = list(self._changed())
        if happened or changed:
            self._lines += [f"at {self._stage.clock.elapsed:g}", *happened, *changed]

    def _happened(self) -> Iterator[str]:
        journal = self._stage.journal[self._read :]
        self._read += len(journal)
        for line in journal:
            match line.split(maxsplit=1):
                case ["open", _]:
                    yield self._opened(line)
                case ["read", _]:
                    yield self._fetched(line)
                case [_, "begins"]:
                    yield _told(self._stage.events.events[self._events])
                    self._events += 1
                case ["look", _] | [_, "is handled"]:
                    pass
                case ["connection", _]:
                    yield self._done(line)
                case _:
                    yield line

    def _opened(self, line: str) -> str:
        request = self._stage.driver.requests[self._opens]
        self._opens += 1
        parameters, credential = request.parameters, request.credential
        tls = " over TLS" if request.tls is not None else ""
        login = f"{credential.username} with {credential.secret.reveal()}"
        return f"{line}{tls}, {parameters.virtual_host}, {parameters.connection_name}, {login}"

    def _done(self, line: str) -> str:
        """What was done to an open connection: updated, closed, or dropped."""
        name, _, what = line.partition(": ")
        connection = self._stage.driver.connections[int(name.removeprefix("connection ")) - 1]
        number = self._said[line]
        self._said[line] += 1
        match what:
            case "update secret":
                return f"{line} to {connection.updates[number].secret.reveal()}"
            case "close":
                return f"{line}, {connection.close_texts[number]}"
            case _:
                return line

    def _fetched(self, line: str) -> str:
        other = self._stage.credentials.instead_of[self._fetches]
        self._fetches += 1
        return line if other is None else f"{line} instead of {other.secret.reveal()}"

    def _waiters(self) -> Iterator[str]:
        told = self._told[self._told_before :]
        self._told_before += len(told)
        return (f"told {each}" for each in told)

    def _changed(self) -> Iterator[str]:
        view = self._stage.view
        now = self._stage.clock.monotonic()
        changes = len(self._stage.changes)
        is_stalling = self._stalls_at is not None and now >= self._stalls_at
        if changes != self._changes or is_stalling:
            self._changes = changes
            self._status = self._projected(view)
            seconds = stalling.stalls_in(view)
            self._stalls_at = now + seconds if seconds is not None else None
        shown = self._status | self._beside_status(view)
        for name, value in shown.items():
            if value != self._shown.get(name):
                yield f"  {name}: {value}"
        if gone := [name for name in self._shown if name not in shown]:
            yield f"  gone: {', '.join(gone)}"
        self._shown = shown

    def _projected(self, view: SessionView) -> dict[str, str]:
        now = self._stage.clock.now()
        self._conditions = status.conditions(view, previous=self._conditions, now=now)
        document = status.connection_status(view, self._conditions)
        conditions = {
            each["type"]: _condition(each, view.generation)
            for each in document.pop("conditions", ())
        }
        return conditions | dict(_flat(document))

    def _beside_status(self, view: SessionView) -> dict[str, str]:
        """What else is shown of the session: to metrics, `check`, and applications."""
        content = binding.content(view, Surroundings())
        elapsed = self._stage.clock.elapsed
        stalls_in = stalling.stalls_in(view)
        blocked = view.blocked_seconds if view.blocked_since is None else None
        shown = {
            "is ready": view.is_ready,
            "has result": view.has_result,
            "is closed": self._stage.is_closed(),
            "disconnects": view.disconnects,
            "confirm seconds": view.confirm_seconds,
            "blocked seconds": blocked,
            "retry at": _since_eight(view.retry_at) if view.retry_at is not None else None,
            "stalls at": f"{elapsed + stalls_in:g}" if stalls_in is not None else None,
            "binding": json.dumps(dict(content.entries), sort_keys=True) if content else None,
        }
        return {name: str(value) for name, value in shown.items() if value is not None}


def _told(event: Event) -> str:
    reason = f" {event.reason}" if event.reason is not None else ""
    routine = " (routine)" if event.is_routine else ""
    return f"event {event.type}{reason}{routine}: {event.message}"


def _condition(condition: dict[str, Any], generation: int) -> str:
    since = _short(condition["lastTransitionTime"])
    observed = condition["observedGeneration"]
    of = "" if observed == generation else f" of generation {observed}"
    return f"{condition['status']} {condition['reason']} since {since}{of}: {condition['message']}"


def _flat(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        if isinstance(value, dict) and key not in _WHOLE:
            for inner, each in value.items():
                yield f"{key}.{inner}", _shortly(each)
        else:
            yield key, _shortly(value)


def _shortly(value: Any) -> str:
    return _short(value) if isinstance(value, str) else json.dumps(value)


def _since_eight(at: datetime) -> str:
    return f"{(at - EIGHT).total_seconds():g}"


def _short(text: str) -> str:
    """Leave the day out of a time."""
    return text.removeprefix(f"{EIGHT:%Y-%m-%d}T")
