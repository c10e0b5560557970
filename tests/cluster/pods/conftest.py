"""What only pods show: how the operator starts, is disturbed, upgraded and removed in a real one.

These tests run on an existing cluster alone, such as that of `make test-node`; elsewhere they are
not collected. Times that are measured on the way are printed at the end of the run.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.helm import Installed, Release
from support.kubectl import Kubectl
from support.operators import Operator
from support.pods import Measured, Pods

if not os.environ.get("SPRINGLINE_TEST_KUBECONFIG"):
    collect_ignore_glob = ["test_*.py"]

_measured: list[tuple[str, float]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what waits for a token's whole life last, so that the others run meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what has been measured."""
    if _measured:
        terminalreporter.section("measured in pods")
        for what, seconds in _measured:
            terminalreporter.write_line(f"{seconds:6.1f} s  {what}")


@pytest.fixture
def measured() -> Measured:
    """What measures a part of a test: `with measured("pod deleted → all Ready"):`."""

    @contextlib.contextmanager
    def measuring(what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        _measured.append((what, time.monotonic() - began))

    return measuring


@pytest.fixture
def pods(kubectl: Kubectl, installed: Installed, springline: Operator) -> Pods:
    """The pods of the operator, which is ready."""
    assert springline is not None, "it is there before its pods are looked at"
    return Pods(kubectl, installed.release.namespace)


@pytest.fixture
def second(kubectl: Kubectl, tmp_path: Path) -> Iterator[Callable[[str], Release]]:
    """What makes a release for the namespace of that name; it is uninstalled at the end."""
    made: list[Release] = []

    def make(namespace: str) -> Release:
        release = Release(
            tmp_path / "second", kubectl.kubeconfig, name="second", namespace=namespace
        )
        made.append(release)
        return release

    yield make
    for release in made:
        release.uninstall()
