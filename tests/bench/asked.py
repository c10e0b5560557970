"""What a user has asked the API server, read from its audit log as it grows."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bench.children import MeasurementFailed

__all__ = ["Asked", "Asking"]

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests, each counted once, by verb and resource: `patch brokerconnections/status`."""

    counts: Counter[str]
    # By the same names, when the first of them came, in seconds since 1970.
    first_at: dict[str, float] = field(default_factory=dict)

    @property
    def status_writes(self) -> int:
        """How often the status of a connection was written."""
        return self.counts["patch brokerconnections/status"]


class Asking:
    """Reads on where it stopped."""

    def __init__(self, log: Path, user: str, *, quiet_seconds: float = 1.0) -> None:
        self._log = log
        self._quiet_seconds = quiet_seconds
        self._user = user
        self._read_to = log.stat().st_size if log.exists() else 0

    def since_last(self) -> Asked:
        """Return what was asked since the last call."""
        if not self._log.exists():
            return Asked(Counter())
        with self._log.open("rb") as log:
            log.seek(self._read_to)
            whole_lines = log.read().rpartition(b"\n")[0].splitlines(keepends=True)
        self._read_to += sum(len(line) for line in whole_lines) + bool(whole_lines)
        counts: Counter[str] = Counter()
        first_at: dict[str, float] = {}
        for event in map(json.loads, whole_lines):
            # A watch has another line when it ends.
            is_end_of_watch = event["verb"] == "watch" and event["stage"] == "ResponseComplete"
            if event["user"].get("username") != self._user or is_end_of_watch:
                continue
            name = _name(event)
            counts[name] += 1
            received = datetime.fromisoformat(event["requestReceivedTimestamp"])
            first_at.setdefault(name, received.timestamp())
        return Asked(counts, first_at)

    async def until_quiet(self, *, seconds: float) -> Asked:
        """Return what was asked since the last call once nothing is asked for a while.

        Watches do not count. Raises `MeasurementFailed` after `seconds`.
        """
        loop = asyncio.get_running_loop()
        counts: Counter[str] = Counter()
        first_at: dict[str, float] = {}
        deadline, quiet_since = loop.time() + seconds, loop.time()
        while loop.time() - quiet_since < self._quiet_seconds:
            if loop.time() > deadline:
                raise MeasurementFailed(f"the operator goes on asking: {dict(counts)}")
            await asyncio.sleep(_POLL_SECONDS)
            more = self.since_last()
            counts += more.counts
            first_at = more.first_at | first_at
            if any(not name.startswith("watch ") for name in more.counts):
                quiet_since = loop.time()
        return Asked(counts, first_at)


def _name(event: dict[str, dict[str, str]]) -> str:
    of = event.get("objectRef", {})
    parts = (of.get("resource", "other"), of.get("subresource", ""))
    return f"{event['verb']} {'/'.join(filter(None, parts))}"
