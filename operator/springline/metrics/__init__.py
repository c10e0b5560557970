"""Prometheus metrics: what there is now, read at scrape time, and what has happened, counted.

What metrics there are, what they mean and what to ask of them stands in catalogue.py, and
docs/metrics.md is made from it. Nothing outside this package knows who writes the text.
"""

from springline.metrics.exposition import Snapshot
from springline.metrics.registry import Backlog, Metrics

__all__ = ["Backlog", "Metrics", "Snapshot"]
