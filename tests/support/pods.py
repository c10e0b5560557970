"""The operator's pods as the cluster has them: what is said of them, and their processes.

It changes none of them; see `on_cluster`. Calls block: use `asyncio.to_thread` from async code.
"""

import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.kubectl import Kubectl
from support.waiting import eventually

__all__ = ["Measured", "Pods"]

_DEADLINE = 180.0

Measured = Callable[[str], contextlib.AbstractContextManager[None]]
"""What measures a part of a test: `with measured("pod deleted → all Ready"):`."""


class Pods:
    """The pods with a label `app.kubernetes.io/instance` in a namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str, *, release: str = "springline") -> None:
        self.namespace = namespace
        self._kubectl = kubectl
        self._selector = f"app.kubernetes.io/instance={release},app.kubernetes.io/name=springline"

    def all(self) -> list[dict[str, Any]]:
        """Return those that are not being deleted."""
        text = self._kubectl.run(
            *("get", "pods", f"--namespace={self.namespace}", f"--selector={self._selector}"),
            "--output=json",
        )
        pods = [dict(each) for each in json.loads(text)["items"]]
        return [each for each in pods if "deletionTimestamp" not in each["metadata"]]

    def one(self) -> dict[str, Any]:
        """Return the only one."""
        [pod] = self.all()
        return pod

    def name(self) -> str:
        """Return the name of the only one."""
        return str(self.one()["metadata"]["name"])

    def restarts(self) -> int:
        """Return how often the only one's container has been started again."""
        return sum(
            each["restartCount"] for each in self.one()["status"].get("containerStatuses", ())
        )

    def warnings(self) -> list[str]:
        """Return what the cluster warns of in the namespace, as `reason: message`."""
        events = self._kubectl.events(namespace=self.namespace)
        return [f"{each['reason']}: {each['message']}" for each in events if _warns(each)]

    async def until_ready(self, *, other_than: str = "", restarts: int = 0) -> None:
        """Wait until there is one, ready, that has been restarted at least so often."""

        def is_so() -> bool:
            pods = self.all()
            return (
                len(pods) == 1
                and pods[0]["metadata"]["name"] != other_than
                and any(
                    each["ready"] and each["restartCount"] >= restarts
                    for each in pods[0]["status"].get("containerStatuses", ())
                )
            )

        await eventually(is_so, timeout=_DEADLINE, what="the operator's pod is ready")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process of the only one, from outside of its container.

        Skips the test where the processes of pods are not this machine's.
        """
        [status] = self.one()["status"]["containerStatuses"]
        container = status["containerID"].rpartition("/")[2]
        os.kill(_first_process(container), number)


def _warns(event: dict[str, Any]) -> bool:
    return bool(event["type"] == "Warning")


def _first_process(container: str) -> int:
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if container in (place / "cgroup").read_text():
                    found.append(int(place.name))
            except OSError:
                continue  # it has just ended
    if not found:
        pytest.skip("the processes of this cluster's pods are on another machine")
    return min(found)
