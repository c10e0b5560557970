"""The series of every single session, written straight as text.

There are several for each of thousands of sessions. Made into objects first, as all others are,
they would keep the interpreter busy for several times as long, and its garbage collector, which
holds up the event loop even while a scrape is rendered in a thread.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from springline.api.conditions import ConditionStatus
from springline.core.state import Phase
from springline.core.view import SessionView
from springline.metrics import catalogue
from springline.metrics.catalogue import Kind, MetricInfo

__all__ = ["written"]

_LONGEST_TEXT: Final = 128
"""Of what a broker says of itself; it may say anything."""

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

# What of a metric's name is left out where OpenMetrics describes it.
_SUFFIXES: Final = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


def written(views: Sequence[SessionView], *, is_open: bool) -> bytes:
    """Return the series in OpenMetrics if `is_open`, else in the classic text format."""
    return "".join(each.text(is_open=is_open) for each in _series(views)).encode()


def _series(views: Sequence[SessionView]) -> "Sequence[_Series]":
    ready = _Series(catalogue.SESSION_READY)
    suspended = _Series(catalogue.SESSION_SUSPENDED)
    blocked = _Series(catalogue.SESSION_BLOCKED)
    out_of_sync = _Series(catalogue.SESSION_OUT_OF_SYNC)
    seconds = _Series(catalogue.SESSION_BLOCKED_SECONDS)
    disconnects = _Series(catalogue.SESSION_DISCONNECTS)
    expiration = _Series(catalogue.CREDENTIALS_EXPIRATION)
    renewal = _Series(catalogue.CREDENTIALS_RENEWAL)
    info = _Series(catalogue.SESSION_INFO)
    for view in views:
        key = _labels({"namespace": view.key.namespace, "name": view.key.name})
        is_blocked = view.state.blocked.status is ConditionStatus.TRUE
        ready.add(key, int(view.is_ready))
        if view.state.phase is Phase.SUSPENDED:
            suspended.add(key, 1)
        blocked.add(f'{key},reason="{view.state.blocked.reason}"', int(is_blocked))
        if view.state.synced.status is ConditionStatus.FALSE:
            out_of_sync.add(f'{key},reason="{view.state.synced.reason}"', 1)
        seconds.add(key, view.blocked_seconds)
        disconnects.add(key, view.disconnects)
        use = view.credential
        if use is not None and use.method is not None:  # else it was only tried
            if use.credential.expires_at is not None:
                expiration.add(key, use.credential.expires_at.timestamp())
            if use.renew_at is not None:
                renewal.add(key, use.renew_at.timestamp())
        if (agreed := _agreed(view)) is not None:
            info.add(f"{key},{_labels(agreed)}", 1)
    return (
        *(ready, suspended, out_of_sync, blocked, seconds),
        *(disconnects, expiration, renewal, info),
    )


class _Series:
    """The series of one metric, as they are written."""

    __slots__ = ("_lines", "_metric", "_name")

    def __init__(self, metric: MetricInfo) -> None:
        self._metric = metric
        self._name = metric.name
        self._lines: list[str] = []

    def add(self, labels: str, value: float) -> None:
        # A float, as in the other series of the scrape.
        self._lines.append(f"{self._name}{{{labels}}} {float(value)}\n")

    def text(self, *, is_open: bool) -> str:
        name, kind = self._name, self._metric.kind
        if is_open:
            name = name.removesuffix(_SUFFIXES.get(kind, ""))
        elif kind is Kind.INFO:
            kind = Kind.GAUGE
        head = f"# HELP {name} {self._metric.help}\n# TYPE {name} {kind}\n"
        return head + "".join(self._lines)


def _labels(values: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in values.items())


def _agreed(view: SessionView) -> Mapping[str, str] | None:
    if view.info is None or view.spec is None:
        return None
    negotiated, server = view.info.negotiated, view.info.server
    return {
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
