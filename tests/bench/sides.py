"""One side of a measurement: a child that holds connections, step by step, and what that takes.

It knows neither what the child is nor what its server is. Beside the child's own figures it counts
the processor seconds of the servers, each with its descendants. `sides` of one measurement take
turns: `by_turns`.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from bench import broker_log, children
from bench.children import Child, MeasurementFailed
from bench.measuring import Processors
from bench.plan import Plan
from bench.rows import Row, Step
from support.nginx import Nginx
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQNode

__all__ = [
    "OWN",
    "Measured",
    "Pids",
    "Restartable",
    "Took",
    "by_turns",
    "idle",
    "measured",
    "of_nginx",
    "of_rabbitmq",
    "rows_of",
    "rows_of_step",
]

T = TypeVar("T")

OWN = ""
"""The process that holds the connections, among those whose processor seconds are counted."""

_LOG_SECONDS = 10.0
_POLL_SECONDS = 0.02

Pids = Mapping[str, Callable[[], int | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one step took."""

    seconds: float
    processors: Mapping[str, float]
    """Seconds of each process by its name, `OWN` among them."""


@dataclass(slots=True, kw_only=True)
class Measured:
    """What one side took; memory in octets."""

    count: int
    before: float = 0.0
    """Memory with the one connection beside the others."""
    resident: float = 0.0
    """Memory with all of them."""
    peak: float | None = None
    """The most memory, everything that was measured included."""
    took: dict[Step, Took] = field(default_factory=dict)

    @property
    def each(self) -> float:
        """Memory for each connection."""
        return (self.resident - self.before) / self.count


@dataclass(frozen=True, slots=True)
class Restartable:
    """A server that can be restarted under its clients."""

    stop: Callable[[], None]
    start: Callable[[], None]
    listening: Callable[[], Callable[[], float | None]]
    """Called before the start; what it returns says when clients could connect, once they can."""

    def started(self, then: Callable[[], None]) -> float:
        """Start it, do `then` as soon as clients can connect, and return when that was.

        Seconds since 1970. Raises `MeasurementFailed` where that is not told.
        """
        since = self.listening()
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(self.start)
            deadline = None
            while (at := since()) is None:
                if deadline is None and starting.done():
                    starting.result()
                    deadline = time.monotonic() + _LOG_SECONDS  # what a log tells comes late
                if deadline is not None and time.monotonic() > deadline:
                    raise MeasurementFailed("the server does not say when it listens")
                time.sleep(_POLL_SECONDS)
            then()
            starting.result()
        return at


def of_rabbitmq(node: RabbitMQNode, plan: Plan, count: int) -> Restartable:
    """Return how RabbitMQ is restarted; its log says when it listens."""
    log = node.directory / "log" / "rabbit.log"

    def listening() -> Callable[[], float | None]:
        written = log.stat().st_size
        return lambda: broker_log.listens_since(_text_after(log, written))

    return Restartable(lambda: node.stop(plan.seconds(count)), node.start, listening)


def _text_after(path: Path, octets: int) -> str:
    with path.open("rb") as log:
        log.seek(octets)
        return log.read().decode(errors="replace")


def of_nginx(web: Nginx, port: int) -> Restartable:
    """Return how nginx is restarted; it listens when it takes a connection at the port."""

    def listens() -> float | None:
        with contextlib.suppress(OSError):
            socket.create_connection((LOOPBACK, port), timeout=1.0).close()
            return time.time()
        return None

    return Restartable(web.stop, web.start, lambda: listens)


def measured(
    name: str,
    command: Sequence[str | Path],
    count: int,
    plan: Plan,
    steps: Sequence[Step],
    *,
    servers: Pids,
    renewing: Callable[[], str],
    server: Restartable | None = None,
    first_line: str = "",
) -> Measured:
    """Have a child do the steps one after the other, and return what each took.

    `renewing` makes a new secret good and returns it. Nothing is restarted without a `server`.
    """
    limit = len(steps) * plan.seconds(count) + plan.idle_seconds
    closing = plan.seconds(count)
    with children.started(name, command, seconds=limit, closing_seconds=closing) as child:
        if first_line:
            child.tell(first_line)  # by a pipe, because everybody sees command lines
        found = Measured(count=count, before=child.figures()["resident"])
        processors = Processors({OWN: lambda: child.pid, **servers})
        for step in steps:
            if step.told == "survive":
                if server is not None:
                    _survived(child, step, server, processors, found)
                continue
            secret = f" {renewing()}" if step.told == "renew" else ""
            _done(child, step, secret, processors, found)
        return found


def _done(child: Child, step: Step, secret: str, processors: Processors, found: Measured) -> None:
    if step.is_prepared:
        child.tell(step.told)
        child.figures()
    processors.start()
    child.tell(step.told + secret)
    figures = child.figures()
    # Its own figure is finer than that of the system.
    used = {**processors.seconds, OWN: figures["cpu"]}
    found.took[step] = Took(seconds=figures["wall"], processors=used)
    if step.told == "open":
        found.resident = figures["resident"]
    found.peak = figures.get("peak")


def _survived(
    child: Child, step: Step, server: Restartable, processors: Processors, found: Measured
) -> None:
    child.tell(step.told)
    child.figures()
    server.stop()
    child.figures()
    listens_at = server.started(processors.start)
    figures = child.figures()
    found.took[step] = Took(seconds=figures["at"] - listens_at, processors=processors.seconds)
    found.peak = figures.get("peak")


def by_turns(turn: int, *sides: Callable[[], T]) -> list[T]:
    """Measure each side, in every second turn in reverse; return what they took in their order."""
    order = list(enumerate(sides))
    found = {place: side() for place, side in (order if turn % 2 else reversed(order))}
    return [found[place] for place, _ in order]


# Rows


def idle(plan: Plan, *, reach: str = "") -> Step:
    """Return the step in which nothing happens; its row is the share of a core, and no time."""
    return Step(
        what=plan.idle,
        told="idle",
        own=plan.idle,
        others=" while idle",
        is_prepared=True,
        reach=reach,
    )


def rows_of(found: Measured, *, title: str = "") -> list[Row]:
    """Return what one side took as rows, whose names begin with a title."""

    def row(what: str, ours: float, unit: str, *, is_each: bool = False) -> Row:
        return Row(
            what=what, count=found.count, ours=ours, unit=unit, is_each=is_each, is_fitted=is_each
        )

    rows = [
        row("memory per connection", found.each / 1000, "KB", is_each=True),
        row("memory before the first", found.before / 1e6, "MB"),
    ]
    if found.peak is not None:
        rows.append(row("peak memory", found.peak / 1e6, "MB"))
    for step, took in found.took.items():
        rows += rows_of_step(step, took, found.count)
    return [replace(each, what=f"{title}{each.what}") for each in rows]


def rows_of_step(step: Step, took: Took, count: int) -> Iterator[Row]:
    """Yield the time, the processor time of each process, and what is done in a second."""

    is_idle = step.told == "idle"
    if not is_idle:
        yield Row(
            what=step.what,
            count=count,
            unit="s",
            ours=took.seconds,
            is_fitted=True,
            reach=step.reach,
        )
    for process, used in took.processors.items():
        yield Row(
            what=step.row(process),
            count=count,
            unit="% of a core" if is_idle else "s",
            ours=used / took.seconds * 100 if is_idle else used,
            reach=step.reach if is_idle and process == OWN else "",
            during=step.what,
            process=process,
        )
    if step.told in ("open", "survive"):
        what = f"  handshakes a second{step.others}"
        yield Row(what=what, count=count, unit="1/s", ours=count / took.seconds)
