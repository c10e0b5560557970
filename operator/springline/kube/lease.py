"""The Lease of this replica: the sign of life that other replicas go by.

It is created at the start, renewed three times within its duration, and deleted in an orderly stop.
Nothing here waits for it and nothing ends with it: without an API server, or without the right to
keep a Lease, the sessions go on, and other replicas take this one for gone. Whether others live is
a matter of `holders`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

from springline.core import ports
from springline.errors import SpringlineError
from springline.kube import replicas
from springline.kube.client import RefusedError, RequestError
from springline.kube.replicas import LABELS, SELECTOR, LeaseState, Replica

__all__ = ["LeaseAPI", "LeaseKeeper"]

logger = logging.getLogger(__name__)

_FIELD_MANAGER: Final = "springline"

_RENEWALS = 3
"""Within the duration of the Lease, so that two may fail."""

_RETRY_SECONDS = 1.0
_SLOW_RETRY_SECONDS = 10.0
"""After a refusal that lasts until rights or objects change."""

_RELEASE_SECONDS = 2.0
_RELEASE_TRIES = 2
"""A renewal that was cancelled may have been done, so the version may be another one."""

_TIDY_SECONDS = 600.0
"""A Lease of a dead replica has to stay unchanged for that long before it is deleted."""

_LEFT: Final = timedelta(hours=1)
"""How long ago it was renewed last, by its holder's clock; a second clock that has to agree."""

_MOST_DELETED = 20
"""Leases that are deleted at once."""

_REMEMBERED = 16
"""Renewals without an answer; each may be the one that the Lease shows."""

_FORBIDDEN = 403
_NOT_FOUND = 404
_CONFLICT = 409


class LeaseAPI(Protocol):
    """The requests to the API server that a Lease takes; `kube.client.Client` has them.

    All raise `RequestError`.
    """

    async def get(self, path: str) -> Mapping[str, Any]:
        """Return the object at `path`."""

    async def list(self, path: str, **params: str) -> tuple[list[dict[str, Any]], str]:
        """Return all objects at `path`, and the version of the list."""

    async def create(
        self, path: str, document: Mapping[str, Any], **params: str
    ) -> Mapping[str, Any]:
        """Create an object in the collection at `path`, and return it."""

    async def update(
        self, path: str, document: Mapping[str, Any], **params: str
    ) -> Mapping[str, Any]:
        """Replace the object at `path` if it still has the version in `document`; return it."""

    async def delete(self, path: str, *, uid: str, version: str) -> None:
        """Delete the object at `path`, if it still is this one in this version."""


class _TakenError(SpringlineError):
    """An object of that name is not the Lease of this replica."""


class LeaseKeeper:
    """Keeps the Lease of this replica. `run` it beside everything else, then `release` it."""

    def __init__(
        self, client: LeaseAPI, clock: ports.Clock, *, replica: Replica, seconds: int
    ) -> None:
        """`seconds` after its last renewal the replica counts as gone.

        Requests of `client` must not wait behind those of sessions.
        """
        self.tried = asyncio.Event()
        """Set when the first attempt to have a Lease has ended, well or not."""
        self._client = client
        self._clock = clock
        self._replica = replica
        self._seconds = seconds
        self._every = seconds / _RENEWALS
        self._known: Mapping[str, Any] | None = None
        """The Lease as the API server last gave it; None if that has to be asked for."""
        self._confirmed = ""
        """The time of the last renewal that the API server answered."""
        self._unanswered: deque[str] = deque(maxlen=_REMEMBERED)
        self._told: bool | None = None
        """What the log has of a failure that goes on: whether it lasts."""
        self._has_told_of_twin = False
        self._left: dict[str, str] = {}
        """Leases of dead replicas that were there the last time, and their versions."""

    async def run(self) -> None:
        """Renew until cancelled, and clean up what dead replicas have left."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep(), name="lease/renewal")
            tasks.create_task(self._tidy(), name="lease/tidying")

    async def release(self) -> None:
        """Delete the Lease, so that no other replica waits for its end.

        Takes some seconds at most; call it when `run` has ended.
        """
        shown = {"lease": str(self._replica)}
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._delete()
        except TimeoutError:
            logger.debug("Lease not deleted in time; it expires by itself", extra=shown)
        except (RequestError, _TakenError) as error:
            shown["error"] = str(error)
            logger.debug("Lease not deleted; it expires by itself", extra=shown)

    # --- renewing

    async def _keep(self) -> None:
        while True:
            try:
                seconds = await self._renewed()
            except Exception:  # the top of a task: a defect here must not end the sessions
                logger.exception("Lease not renewed; trying again")
                seconds = self._every
            self.tried.set()
            await self._clock.sleep(seconds)

    async def _renewed(self) -> float:
        """Renew the Lease, and return in how many seconds to do it again."""
        try:
            async with asyncio.timeout(self._every):
                await self._renew()
        except TimeoutError:
            return self._failed("no answer in time", is_lasting=False)
        except RefusedError as error:
            if error.code == _FORBIDDEN:
                return self._failed(
                    "bind a role that allows create, get, list, update and delete of leases in "
                    f"namespace {self._replica.namespace} to Springline's ServiceAccount: {error}",
                    is_lasting=True,
                )
            if error.code in (_NOT_FOUND, _CONFLICT):
                # It went or was changed since it was read; it is read again.
                return min(_RETRY_SECONDS, self._every)
            return self._failed(str(error), is_lasting=not error.may_pass)
        except RequestError as error:
            return self._failed(str(error), is_lasting=False)
        except _TakenError as error:
            return self._failed(str(error), is_lasting=True)
        if self._told is not None:
            logger.info("Lease renewed again", extra={"lease": str(self._replica)})
            self._told = None
        return self._every

    def _failed(self, problem: str, *, is_lasting: bool) -> float:
        if self._told is not is_lasting:
            self._told = is_lasting
            logger.warning(
                "Lease not renewed; other replicas take this one for gone",
                extra={"lease": str(self._replica), "problem": problem},
            )
        return _SLOW_RETRY_SECONDS if is_lasting else min(_RETRY_SECONDS, self._every)

    async def _renew(self) -> None:
        known, self._known = self._known, None  # whatever goes wrong now, it has to be read again
        if known is None:
            try:
                created = self._fresh()
                self._known = await self._client.create(
                    replicas.collection(self._replica.namespace),
                    created,
                    fieldManager=_FIELD_MANAGER,
                )
            except RefusedError as error:
                if error.code != _CONFLICT:
                    raise
            else:
                self._answered(created)
                return
            known = await self._client.get(self._replica.lease_path)
            self._require_own(known)
            self._look_for_twin(known)
        renewed = self._renewal(known)
        self._known = await self._client.update(
            self._replica.lease_path, renewed, fieldManager=_FIELD_MANAGER
        )
        self._answered(renewed)

    def _fresh(self) -> dict[str, Any]:
        now = self._now()
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._replica.lease_name,
                "namespace": self._replica.namespace,
                "labels": dict(LABELS),
            },
            "spec": {
                "holderIdentity": str(self._replica),
                "leaseDurationSeconds": self._seconds,
                "acquireTime": now,
                "renewTime": now,
            },
        }

    def _renewal(self, known: Mapping[str, Any]) -> dict[str, Any]:
        now = self._now()
        spec = {**known["spec"], "leaseDurationSeconds": self._seconds, "renewTime": now}
        if not self._confirmed:  # left by the process before, in a container of the same pod
            spec["acquireTime"] = now
        return {**known, "spec": spec}

    def _now(self) -> str:
        now = replicas.micro_time(self._clock.now())
        self._unanswered.append(now)
        return now

    def _answered(self, written: Mapping[str, Any]) -> None:
        self._confirmed = written["spec"]["renewTime"]
        self._unanswered.clear()

    def _require_own(self, document: Mapping[str, Any]) -> None:
        state = LeaseState.of(document)
        if not state.is_ours or state.holder != str(self._replica):
            raise _TakenError(
                f"a Lease {self._replica.lease_name} that belongs to something else is in "
                f"namespace {self._replica.namespace}; give this replica another --holder"
            )

    def _look_for_twin(self, document: Mapping[str, Any]) -> None:
        """Say so if another process renews this Lease: the two cannot be told apart."""
        renewed = document["spec"].get("renewTime")
        is_from_here = renewed == self._confirmed or renewed in self._unanswered
        if self._confirmed and not is_from_here and not self._has_told_of_twin:
            self._has_told_of_twin = True
            logger.warning(
                "another process renews the Lease of this replica; give each a --holder of its own",
                extra={"lease": str(self._replica)},
            )

    # --- the end

    async def _delete(self) -> None:
        for is_last in (False,) * (_RELEASE_TRIES - 1) + (True,):
            try:
                if self._known is None:
                    self._known = await self._client.get(self._replica.lease_path)
                    self._require_own(self._known)
                state = LeaseState.of(self._known)
                await self._client.delete(
                    self._replica.lease_path, uid=state.uid, version=state.version
                )
            except RefusedError as error:
                if error.is_absence:
                    return
                if error.code != _CONFLICT or is_last:
                    raise
                self._known = None
            else:
                return

    # --- what dead replicas have left

    async def _tidy(self) -> None:
        while True:
            try:
                await self._delete_left()
            except RequestError as error:
                logger.debug("Leases not tidied", extra={"error": str(error)})
            except Exception:  # the top of a task: a defect here must not end the sessions
                logger.exception("Leases not tidied")
            await self._clock.sleep(_TIDY_SECONDS)

    async def _delete_left(self) -> None:
        """Delete what was left before and has not changed since. Raises `RequestError`."""
        path = replicas.collection(self._replica.namespace)
        items, _ = await self._client.list(path, labelSelector=SELECTOR)
        before, self._left = self._left, {}
        deleted = 0
        for state in map(LeaseState.of, items):
            is_this = state.name == self._replica.lease_name
            if is_this or not state.is_ours or self._is_recent(state):
                continue
            self._left[state.name] = state.version
            if before.get(state.name) != state.version or deleted >= _MOST_DELETED:
                continue
            deleted += 1
            try:
                await self._client.delete(
                    f"{path}/{state.name}", uid=state.uid, version=state.version
                )
            except RefusedError as error:
                if error.code not in (_NOT_FOUND, _CONFLICT):  # renewed after all, or gone
                    raise
            else:
                logger.info("Lease of a dead replica deleted", extra={"lease": state.holder})

    def _is_recent(self, state: LeaseState) -> bool:
        renewed_at = state.renewed_at
        return renewed_at is not None and self._clock.now() - renewed_at < _LEFT
