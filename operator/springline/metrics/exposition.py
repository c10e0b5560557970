"""Writing metrics: in the text format of Prometheus, or in OpenMetrics where that is preferred."""

from collections.abc import Callable, Iterable
from functools import cached_property

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder

__all__ = ["Snapshot"]


class Snapshot:
    """The metrics of one moment."""

    def __init__(
        self, families: Callable[[], Iterable[Metric]], *, before: Callable[[bool], bytes]
    ) -> None:
        """`families` makes the metrics of what was read, once, when they are wanted.

        `before` gives text to put in front of them, in OpenMetrics if it is told so.
        """
        self._make = families
        self._before = before

    @cached_property
    def _families(self) -> tuple[Metric, ...]:
        return tuple(self._make())

    def collect(self) -> Iterable[Metric]:
        """Give the families, as a collector does."""
        return self._families

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the text and its content type: OpenMetrics where preferred, else the classic one.

        May be called from any thread, by one at a time.
        """
        is_open = _is_open(accept)
        wanted = "application/openmetrics-text; version=1.0.0" if is_open else ""
        encode, content_type = choose_encoder(wanted)
        return self._before(is_open) + encode(self), content_type


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
