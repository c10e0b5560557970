"""The metrics of what there is now, made anew for each scrape from what was read for it.

So there is nothing to be kept in step, and nothing is left behind by a session that is gone. The
series of single sessions are each.py's.
"""

import platform
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from springline import __version__
from springline.api.conditions import ConditionStatus
from springline.core.state import Phase
from springline.core.view import SessionView
from springline.metrics import catalogue
from springline.metrics.catalogue import MetricInfo

__all__ = ["LookedUp", "State", "Unwritten", "families"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwritten:
    """How much status waits to be written, and how much is another replica's to write."""

    objects: int
    oldest_seconds: float
    held_elsewhere: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp:
    """How many name lookups run and wait, and how many were given up that never began."""

    running: int
    waiting: int
    not_started: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a scrape reads on the event loop. Nothing in it changes any more."""

    views: Sequence[SessionView]
    lag_seconds: float
    dropped_lines: int
    tasks: int
    unwritten: Unwritten | None
    """None where no status is written to an API server."""
    lookups: LookedUp | None
    missing: Mapping[tuple[str, str], int] | None
    """How many fields the API server's definitions lack, by kind and part; None as above."""


def families(state: State) -> Iterator[Metric]:
    """Give the metrics whose number of series does not grow with the sessions."""
    yield from _counted(state.views)
    yield from _operator(state)


def _counted(views: Sequence[SessionView]) -> Iterator[Metric]:
    """Give how many sessions there are of each sort."""
    phases = Tally((_protocol(view), view.state.phase) for view in views)
    ready = Tally(_protocol(view) for view in views if view.is_ready)
    blocked = Tally(view.state.blocked.reason for view in views if _is_blocked(view))
    protocols = sorted({protocol for protocol, _ in phases})

    family = _gauge(catalogue.SESSIONS)
    for protocol in protocols:
        for phase in Phase:
            family.add_metric((protocol, phase), phases[protocol, phase])
    yield family
    family = _gauge(catalogue.SESSIONS_READY)
    for protocol in protocols:
        family.add_metric((protocol,), ready[protocol])
    yield family
    family = _gauge(catalogue.SESSIONS_BLOCKED)
    for reason in catalogue.BLOCKED:
        family.add_metric((reason,), blocked[reason])
    yield family


def _protocol(view: SessionView) -> str:
    return view.spec.target.protocol if view.spec is not None else "unknown"


def _is_blocked(view: SessionView) -> bool:
    return view.state.blocked.status is ConditionStatus.TRUE


def _operator(state: State) -> Iterator[Metric]:
    """Give how the operator itself goes."""
    if state.unwritten is not None:
        yield _single(catalogue.STATUS_WAITING, state.unwritten.objects)
        yield _single(catalogue.STATUS_OLDEST, state.unwritten.oldest_seconds)
        yield _single(catalogue.HELD_ELSEWHERE, state.unwritten.held_elsewhere)
    if state.missing is not None:
        family = _gauge(catalogue.DEFINITIONS_MISSING)
        for labels, number in sorted(state.missing.items()):
            family.add_metric(labels, number)
        yield family
    if state.lookups is not None:
        family = _gauge(catalogue.LOOKUPS)
        family.add_metric(("running",), state.lookups.running)
        family.add_metric(("waiting",), state.lookups.waiting)
        yield family
        counted = CounterMetricFamily(
            catalogue.LOOKUPS_NOT_STARTED.name.removesuffix("_total"),
            catalogue.LOOKUPS_NOT_STARTED.help,
            state.lookups.not_started,
        )
        yield counted
    build = _info(catalogue.BUILD_INFO)
    build.add_metric((), {"version": __version__, "python": platform.python_version()})
    yield build
    yield _single(catalogue.LOOP_LAG, state.lag_seconds)
    dropped = catalogue.LOG_DROPPED
    name = dropped.name.removesuffix("_total")
    yield CounterMetricFamily(name, dropped.help, state.dropped_lines)
    yield _single(catalogue.TASKS, state.tasks)


# --- as the catalogue describes them


def _gauge(metric: MetricInfo) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.label_names)


def _single(metric: MetricInfo, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, value)


def _info(metric: MetricInfo) -> InfoMetricFamily:
    return InfoMetricFamily(metric.name.removesuffix("_info"), metric.help, labels=())
