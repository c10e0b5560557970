"""Prometheus metrics: what there is now, read at scrape time, and what has happened, counted.

What metrics there are, what they mean and what to ask of them stands in catalogue.py, and
docs/metrics.md is made from it. Nothing outside this package knows who writes the text.
"""

from springline.metrics.collector import Backlog, Collector
from springline.metrics.exposition import Snapshot
from springline.metrics.registry import Metrics

__all__ = ["Backlog", "Collector", "Metrics", "Snapshot"]
