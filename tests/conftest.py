"""Which RabbitMQ a run of pytest is for: its report says so, and one that is missing is skipped.

The suites on a newer broker than the installed one are the same tests in another environment
(`support/brokers.py`). Where that broker could not be had, each of them is skipped and says why.
"""

import os

import pytest

from support import brokers
from support.rabbitmq import MISSING


def pytest_report_header() -> str:
    """Say on which RabbitMQ the tests run."""
    return os.environ.get(MISSING) or f"broker: {brokers.installed()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all that would run on another broker than this run is for."""
    if missing := os.environ.get(MISSING):
        for item in items:
            item.add_marker(pytest.mark.skip(reason=missing))
