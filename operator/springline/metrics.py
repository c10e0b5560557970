"""Prometheus metrics: what there is now, read at scrape time, and what has happened, counted.

Gauges of sessions are made from the sessions' views when somebody asks, so nothing has to be kept
in step with transitions. Counters and histograms are fed by the core through `ports.Meter`. Label
values come from closed sets, except for the names of objects and what a broker says of itself,
which only the series of single sessions carry; those can be turned off.

A scrape has two halves: `Metrics.collect` reads the state and belongs on the event loop,
`Snapshot.render` writes the text and may run in a thread.
"""

import asyncio
import platform
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from springline import __version__
from springline.api.conditions import ConditionStatus
from springline.core import ports
from springline.core.outcomes import AttemptOutcome, UpdateOutcome
from springline.core.state import Phase
from springline.core.view import SessionView
from springline.pulse import Pulse
from springline.reasons import Reason

__all__ = ["Metrics", "Snapshot"]

# When a series began is written beside each one otherwise, by a clock that is not ours.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations

_CONNECT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PROBE_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

_BLOCKS: Final = (
    Reason.LOW_ON_MEMORY,
    Reason.LOW_ON_DISK,
    Reason.LOW_ON_MEMORY_AND_DISK,
    Reason.BLOCKED_BY_BROKER,
)

_UPDATES: Final = (
    ("InPlace", UpdateOutcome.UPDATED),
    ("Replaced", UpdateOutcome.UPDATED),
    ("None", UpdateOutcome.REFUSED),
    ("None", UpdateOutcome.FAILED),
)

_KEY: Final = ("namespace", "name")

_LONGEST_TEXT: Final = 128
"""Of what a broker says of itself; it may say anything."""


class Metrics:
    """All metrics of a process, in a registry of their own, as `core.ports.Meter`."""

    def __init__(
        self,
        sessions: Callable[[], Iterable[SessionView]],
        *,
        per_object: bool,
        clock: ports.Clock,
    ) -> None:
        """`sessions` gives what there is at a scrape. Run `pulse` beside them."""
        self.pulse = Pulse(clock)
        registry = CollectorRegistry()
        self._registry = registry
        registry.register(_Sessions(sessions, per_object=per_object))
        registry.register(_Process(self.pulse))
        ProcessCollector(registry=registry)
        self._attempts = Counter(
            "springline_connect_attempts",
            "Attempts to open a connection, those to verify a credential included.",
            ("protocol", "outcome", "reason"),
            registry=registry,
        )
        self._connecting = Histogram(
            "springline_connect_duration_seconds",
            "Time from an attempt's turn to the open connection.",
            buckets=_CONNECT_SECONDS,
            registry=registry,
        )
        self._disconnects = Counter(
            "springline_disconnects",
            "Open sessions that ended, not by Springline's doing.",
            ("reason",),
            registry=registry,
        )
        self._updates = Counter(
            "springline_secret_updates",
            "Tries to bring a changed credential, certificate or endpoint to a live session.",
            ("method", "outcome"),
            registry=registry,
        )
        self._updating = Histogram(
            "springline_secret_update_duration_seconds",
            "Time from reading what has changed until the live session uses it.",
            ("method",),
            buckets=_CONNECT_SECONDS,
            registry=registry,
        )
        self._probing = Histogram(
            "springline_probe_duration_seconds",
            "Time until the broker confirmed a probe's publish.",
            buckets=_PROBE_SECONDS,
            registry=registry,
        )
        self._status_writes = Counter(
            "springline_status_writes",
            "Writes of a status to the API server.",
            ("outcome",),
            registry=registry,
        )
        for method, outcome in _UPDATES:
            self._updates.labels(method, outcome)  # so that the first one is an increase
        for method in ("InPlace", "Replaced"):
            self._updating.labels(method)

    # --- what happens

    def attempt_ended(
        self, protocol: str, *, outcome: AttemptOutcome, reason: Reason, seconds: float
    ) -> None:
        self._attempts.labels(protocol, outcome, reason).inc()
        if outcome is AttemptOutcome.OPENED:
            self._connecting.observe(seconds)

    def disconnected(self, reason: Reason) -> None:
        self._disconnects.labels(reason).inc()

    def secret_updated(self, method: str, outcome: UpdateOutcome, seconds: float) -> None:
        self._updates.labels(method, outcome).inc()
        if outcome is UpdateOutcome.UPDATED:
            self._updating.labels(method).observe(seconds)

    def probed(self, seconds: float) -> None:
        self._probing.observe(seconds)

    def status_written(self, outcome: str) -> None:
        """Count a write of a status: written, unchanged, gone or failed."""
        self._status_writes.labels(outcome).inc()

    # --- a scrape

    def collect(self) -> "Snapshot":
        """Read everything as it is now. Call it from the event loop that the sessions run on."""
        return Snapshot(tuple(self._registry.collect()))

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics and their content type for what an Accept header asks for."""
        return self.collect().render(accept)


class Snapshot:
    """The metrics of one moment."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Give the families, as a collector does."""
        return self._families

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text and its content type: OpenMetrics where preferred, else the classic one.

        May be called from any thread.
        """
        wanted = "application/openmetrics-text; version=1.0.0" if _is_open(accept) else ""
        encode, content_type = choose_encoder(wanted)
        return encode(self), content_type


def _is_open(accept: str) -> bool:
    """Whether OpenMetrics 1.0.0 is wanted at least as much as the classic text format."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for each in accept.lower().split(","):
        media, *parameters = (part.strip() for part in each.split(";"))
        named = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media not in weights:
            continue
        if media == "application/openmetrics-text" and named.get("version", "1.0.0") != "1.0.0":
            continue
        weights[media] = max(weights[media], _weight(named.get("q", "1")))
    openmetrics, classic = weights.values()
    return 0 < openmetrics >= classic


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


class _Process(Collector):
    """Which program this is, and whether it keeps up."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse

    def collect(self) -> Iterator[Metric]:
        build = {"version": __version__, "python": platform.python_version()}
        yield InfoMetricFamily("springline_build", "Which Springline this is.", build)
        yield GaugeMetricFamily(
            "springline_event_loop_lag_seconds",
            "The longest that the event loop was late within the last minute.",
            self._pulse.lag(),
        )
        yield GaugeMetricFamily(
            "springline_tasks", "Tasks on the event loop.", len(asyncio.all_tasks())
        )


class _Sessions(Collector):
    """What there is to see of the sessions at a scrape."""

    def __init__(self, sessions: Callable[[], Iterable[SessionView]], *, per_object: bool) -> None:
        self._sessions = sessions
        self._per_object = per_object

    def collect(self) -> Iterator[Metric]:
        views = list(self._sessions())
        yield from _counted(views)
        if self._per_object:
            yield from _each(views)


def _counted(views: Sequence[SessionView]) -> Iterator[Metric]:
    """Give the series whose number does not grow with the sessions."""
    phases = Tally((_protocol(view), view.state.phase) for view in views)
    ready = Tally(_protocol(view) for view in views if view.is_ready)
    blocked = Tally(view.state.blocked.reason for view in views if _is_blocked(view))
    protocols = sorted({protocol for protocol, _ in phases})

    family = GaugeMetricFamily(
        "springline_sessions", "Declared sessions by state.", labels=("protocol", "state")
    )
    for protocol in protocols:
        for phase in Phase:
            family.add_metric((protocol, phase), phases[protocol, phase])
    yield family
    family = GaugeMetricFamily(
        "springline_sessions_ready", "Sessions that are Ready.", labels=("protocol",)
    )
    for protocol in protocols:
        family.add_metric((protocol,), ready[protocol])
    yield family
    family = GaugeMetricFamily(
        "springline_sessions_blocked", "Sessions that the broker blocks.", labels=("reason",)
    )
    for reason in _BLOCKS:
        family.add_metric((reason,), blocked[reason])
    yield family


def _each(views: Sequence[SessionView]) -> Iterator[Metric]:
    """Give the series of every single session."""
    ready = GaugeMetricFamily(
        "springline_session_ready", "Whether the session is Ready.", labels=_KEY
    )
    blocked = GaugeMetricFamily(
        "springline_session_blocked",
        "Whether the broker blocks the session; the reason is condition Blocked's.",
        labels=(*_KEY, "reason"),
    )
    seconds = CounterMetricFamily(
        "springline_session_blocked_seconds",
        "How long the session has been blocked, all blocks together.",
        labels=_KEY,
    )
    expiration = GaugeMetricFamily(
        "springline_credentials_expiration_timestamp_seconds",
        "When the credential in use expires, in seconds since 1970; absent if it does not.",
        labels=_KEY,
    )
    renewal = GaugeMetricFamily(
        "springline_credentials_renewal_timestamp_seconds",
        "When the credential in use is to be renewed, in seconds since 1970; absent if it does not"
        " expire.",
        labels=_KEY,
    )
    info = InfoMetricFamily("springline_session", "What an open session agreed on with its broker.")
    for view in views:
        key = (view.key.namespace, view.key.name)
        ready.add_metric(key, view.is_ready)
        blocked.add_metric((*key, view.state.blocked.reason), _is_blocked(view))
        seconds.add_metric(key, view.blocked_seconds)
        use = view.credential
        if use is not None and use.method is not None:  # else it was only tried
            if use.credential.expires_at is not None:
                expiration.add_metric(key, use.credential.expires_at.timestamp())
            if use.renew_at is not None:
                renewal.add_metric(key, use.renew_at.timestamp())
        if (agreed := _agreed(view)) is not None:
            info.add_metric((), agreed)
    yield from (ready, blocked, seconds, expiration, renewal, info)


def _agreed(view: SessionView) -> dict[str, str] | None:
    if view.info is None or view.spec is None:
        return None
    negotiated, server = view.info.negotiated, view.info.server
    return {
        "namespace": view.key.namespace,
        "name": view.key.name,
        "broker_kind": view.spec.broker.kind,
        "broker": view.spec.broker.name,
        "protocol": view.spec.target.protocol,
        "endpoint": str(view.info.endpoint),
        "mechanism": _text(negotiated.mechanism),
        "heartbeat_seconds": str(negotiated.heartbeat_seconds),
        "tls_version": _text(negotiated.tls.version) if negotiated.tls is not None else "",
        "server_product": _text(server.product),
        "server_version": _text(server.version),
    }


def _text(said: str) -> str:
    """Make a label value of what a broker says of itself."""
    return said[:_LONGEST_TEXT].encode("utf-8", "replace").decode()


def _protocol(view: SessionView) -> str:
    return view.spec.target.protocol if view.spec is not None else "unknown"


def _is_blocked(view: SessionView) -> bool:
    return view.state.blocked.status is ConditionStatus.TRUE
