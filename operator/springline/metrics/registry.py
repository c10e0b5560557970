"""What has happened, counted as it is told."""

from collections.abc import Iterator
from typing import Final

import prometheus_client
from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Metric,
    ProcessCollector,
)

from springline.core import ports
from springline.core.outcomes import AttemptOutcome, UpdateOutcome, VerificationOutcome
from springline.metrics import catalogue
from springline.metrics.catalogue import MetricInfo
from springline.pulse import Pulse
from springline.reasons import Reason

__all__ = ["Metrics"]

# When a series began is written beside each one otherwise, by a clock that is not ours.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations

_CONNECT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PROBE_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

# Series that exist from the start, so that the first of each is an increase.
_UPDATES: Final = (
    ("InPlace", UpdateOutcome.UPDATED),
    ("Replaced", UpdateOutcome.UPDATED),
    ("None", UpdateOutcome.REFUSED),
    ("None", UpdateOutcome.FAILED),
)
_ENDS: Final = (
    Reason.HEARTBEAT_MISSED,
    Reason.PEER_CLOSED,
    Reason.CONNECTION_FORCED,
    Reason.SERVER_SHUTDOWN,
)


class Metrics:
    """The counters of a process, in a registry of their own, as `core.ports.Meter`."""

    def __init__(self, clock: ports.Clock) -> None:
        """Run `pulse` beside the sessions."""
        self.pulse = Pulse(clock)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._attempts = self._counter(catalogue.ATTEMPTS)
        self._connecting = self._histogram(catalogue.CONNECT_DURATION, _CONNECT_SECONDS)
        self._disconnects = self._counter(catalogue.DISCONNECTS)
        self._updates = self._counter(catalogue.UPDATES)
        self._updating = self._histogram(catalogue.UPDATE_DURATION, _CONNECT_SECONDS)
        self._verifications = self._counter(catalogue.VERIFICATIONS)
        self._probing = self._histogram(catalogue.PROBE_DURATION, _PROBE_SECONDS)
        self._status_writes = self._counter(catalogue.STATUS_WRITES)
        self._events = self._counter(catalogue.EVENTS)
        self._http_dropped = self._counter(catalogue.HTTP_DROPPED)
        for method, outcome in _UPDATES:
            self._updates.labels(method, outcome)
        for reason in _ENDS:
            self._disconnects.labels(reason)
        _begin(self._updating, catalogue.UPDATE_DURATION)
        _begin(self._verifications, catalogue.VERIFICATIONS)
        _begin(self._status_writes, catalogue.STATUS_WRITES)
        _begin(self._events, catalogue.EVENTS)
        _begin(self._http_dropped, catalogue.HTTP_DROPPED)

    def _counter(self, metric: MetricInfo) -> Counter:
        return Counter(metric.name, metric.help, metric.label_names, registry=self._registry)

    def _histogram(self, metric: MetricInfo, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            metric.name,
            metric.help,
            metric.label_names,
            buckets=buckets,
            registry=self._registry,
        )

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

    def verified(self, outcome: VerificationOutcome) -> None:
        self._verifications.labels(outcome).inc()

    def probed(self, seconds: float) -> None:
        self._probing.observe(seconds)

    def status_written(self, outcome: str) -> None:
        """Count a write of a status: written, unchanged, gone or failed."""
        self._status_writes.labels(outcome).inc()

    def event_posted(self, outcome: str, events: int = 1) -> None:
        """Count Kubernetes Events by what became of them, which may be that they were not."""
        self._events.labels(outcome).inc(events)

    def http_dropped(self, why: str) -> None:
        """Count a connection to the port of health and metrics that was dropped."""
        self._http_dropped.labels(why).inc()

    def families(self) -> Iterator[Metric]:
        """Yield what was counted, to be written."""
        yield from self._registry.collect()


def _begin(metric: Counter | Histogram, described: MetricInfo) -> None:
    """Have the series of every value of its one label."""
    [label] = described.labels
    for value in label.values:
        metric.labels(value)
