"""Our CustomResourceDefinitions in an API server: installed, deleted, or not as they should be.

Calls block: use `asyncio.to_thread` from async code.
"""

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from support.apiserver import APIServer
from support.waiting import PATIENCE

__all__ = ["Definitions"]

_CRDS = Path(__file__).resolve().parent.parent.parent / "crds"
_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_DEADLINE = PATIENCE
_POLL_SECONDS = 0.05
_DONE = (http.client.OK, http.client.CREATED)

# As if Helm had installed them with the chart, so that it can do so afterwards.
_LABELS = {"app.kubernetes.io/managed-by": "Helm"}
_ANNOTATIONS = {
    "meta.helm.sh/release-name": "springline",
    "meta.helm.sh/release-namespace": "springline-system",
}


class Definitions:
    """The files of crds/ in one API server."""

    def __init__(self, server: APIServer) -> None:
        self._server = server

    def install(self, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        """Install what crds/ holds, and wait until it is served. Idempotent.

        `change` makes something else of a definition before.
        """
        definitions = [yaml.safe_load(path.read_text()) for path in sorted(_CRDS.glob("*.yaml"))]
        for definition in definitions:
            metadata = definition["metadata"]
            metadata["labels"] = metadata.get("labels", {}) | _LABELS
            metadata["annotations"] = metadata.get("annotations", {}) | _ANNOTATIONS
            change(definition)
            answer = self._server.request(
                "PATCH",
                f"{_PATH}/{metadata['name']}?fieldManager=helm",
                definition,
                content_type="application/apply-patch+yaml",
            )
            assert answer.code in _DONE, answer.message
        names = [definition["metadata"]["name"] for definition in definitions]
        _until(lambda: all(self._is_served(name) for name in names), "all of them are served")

    def delete(self) -> None:
        """Delete all of them with every object, and wait until they are gone. Idempotent."""
        names = [yaml.safe_load(path.read_text())["metadata"]["name"] for path in _CRDS.glob("*")]
        for name in names:
            self._server.request("DELETE", f"{_PATH}/{name}")
        _until(lambda: all(self._is_gone(name) for name in names), "all of them are gone")

    def _is_gone(self, name: str) -> bool:
        return self._server.request("GET", f"{_PATH}/{name}").code == http.client.NOT_FOUND

    def _is_served(self, name: str) -> bool:
        status = self._server.request("GET", f"{_PATH}/{name}").content.get("status", {})
        conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
        plural, _, group = name.partition(".")
        served = (
            self._server.request("GET", f"/apis/{group}/v1alpha1/{plural}").code == http.client.OK
        )
        return conditions.get("Established") == "True" and served


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not within {_DEADLINE:g} s: {what}"
        time.sleep(_POLL_SECONDS)
