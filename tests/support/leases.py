"""Leases that an API server of the test's keeps, and what goes wrong with them."""

import copy
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from springline.kube import replicas
from springline.kube.client import RefusedError
from springline.kube.replicas import LABELS, LeaseState, Replica
from support.fake_clock import FakeClock
from support.fakes import SILENCE, Silence

__all__ = ["FakeLeaseAPI", "refusal"]


def refusal(code: int) -> RefusedError:
    """Return what the client makes of such an answer."""
    reasons = {403: "Forbidden", 404: "NotFound", 409: "Conflict"}
    return RefusedError(code, reasons.get(code, "Reason"), "words")


class FakeLeaseAPI:
    """Keeps Leases, as `kube.lease.LeaseAPI`.

    `then` answers the next requests, one by one; else `otherwise`. None is a success.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.leases: dict[str, dict[str, Any]] = {}
        """By path."""
        self.asked: list[tuple[str, str]] = []
        """Verb and path of every request."""
        self.otherwise: Exception | Silence | None = None
        self.done_in_spite: bool = False
        """Whether writes that are answered by an error are done all the same."""
        self._clock = clock
        self._script: deque[Exception | Silence | None] = deque()
        self._version = 100

    def then(self, *answers: Exception | Silence | None) -> None:
        """Answer the next requests so, one by one."""
        self._script.extend(answers)

    def verbs(self) -> list[str]:
        """Return the verbs of the requests since the last call, in order."""
        found = [verb for verb, _ in self.asked]
        self.asked.clear()
        return found

    # --- what others do

    def state(self, replica: Replica) -> LeaseState | None:
        """Return what the Lease of a replica says, None if there is none."""
        found = self.leases.get(replica.lease_path)
        return LeaseState.of(found) if found is not None else None

    def put(self, replica: Replica, *, seconds: int = 15, **more: Any) -> None:
        """Create or renew the Lease of another replica."""
        now = replicas.micro_time(self._clock.now())
        spec = {
            "holderIdentity": str(replica),
            "leaseDurationSeconds": seconds,
            "renewTime": now,
            **more.pop("spec", {}),
        }
        metadata = {
            "name": replica.lease_name,
            "namespace": replica.namespace,
            "labels": dict(LABELS),
            **more,
        }
        self._store(replica.lease_path, {"metadata": metadata, "spec": spec})

    def remove(self, replica: Replica) -> None:
        """Delete the Lease of a replica."""
        del self.leases[replica.lease_path]

    # --- the port

    async def get(self, path: str) -> Mapping[str, Any]:
        await self._answer("get", path)
        if path not in self.leases:
            raise refusal(404)
        return copy.deepcopy(self.leases[path])

    async def list(self, path: str, **params: str) -> tuple[list[dict[str, Any]], str]:
        assert params == {"labelSelector": replicas.SELECTOR}
        await self._answer("list", path)
        items = [
            copy.deepcopy(each) for where, each in self.leases.items() if where.startswith(path)
        ]
        return items, str(self._version)

    async def create(
        self, path: str, document: Mapping[str, Any], **params: str
    ) -> Mapping[str, Any]:
        assert params == {"fieldManager": "springline"}
        where = f"{path}/{document['metadata']['name']}"

        def done() -> Mapping[str, Any]:
            if where in self.leases:
                raise refusal(409)
            return self._store(where, document)

        return await self._written("create", where, done)

    async def update(
        self, path: str, document: Mapping[str, Any], **params: str
    ) -> Mapping[str, Any]:
        assert params == {"fieldManager": "springline"}

        def done() -> Mapping[str, Any]:
            if path not in self.leases:
                raise refusal(404)
            there = self.leases[path]["metadata"]
            if document["metadata"]["resourceVersion"] != there["resourceVersion"]:
                raise refusal(409)
            return self._store(path, document)

        return await self._written("update", path, done)

    async def delete(self, path: str, *, uid: str, version: str) -> None:
        def done() -> Mapping[str, Any]:
            if path not in self.leases:
                raise refusal(404)
            there = self.leases[path]["metadata"]
            if (uid, version) != (there["uid"], there["resourceVersion"]):
                raise refusal(409)
            return self.leases.pop(path)

        await self._written("delete", path, done)

    async def _written(
        self, verb: str, path: str, done: Callable[[], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        try:
            await self._answer(verb, path)
        except BaseException:
            if self.done_in_spite:
                done()
            raise
        return done()

    async def _answer(self, verb: str, path: str) -> None:
        self.asked.append((verb, path))
        answer = self._script.popleft() if self._script else self.otherwise
        if answer is SILENCE:
            await self._clock.sleep(3600)
        elif isinstance(answer, Exception):
            raise answer

    def _store(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        self._version += 1
        stored = copy.deepcopy(dict(document))
        before = self.leases.get(path, {}).get("metadata", {})
        stored["metadata"] = {
            **stored["metadata"],
            "uid": before.get("uid") or f"uid-{self._version}",
            "resourceVersion": str(self._version),
        }
        self.leases[path] = stored
        return copy.deepcopy(stored)
