"""Whether the replicas live that the status of objects names as holders.

A Lease says so: as long as it changes, its holder lives, and it is gone when its Lease is deleted
or has stayed as it is for its whole duration, by the monotonic clock here. Times in a Lease are
those of another clock and decide nothing. Only holders that a status names are looked for, and
only as long as one does, so a replica that is alone asks nothing. What follows for a status is
`status`' matter.
"""

import asyncio
import contextlib
import enum
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from springline.core import ports
from springline.kube.client import RefusedError, RequestError
from springline.kube.replicas import LeaseState, Replica

__all__ = ["Holders", "LeaseReader", "Life"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
"""Between two looks at a Lease whose holder may live; soon after its end, its objects are ours."""

_SLOW_LOOK_SECONDS = 30.0
"""The same where no answer is expected to change."""

_ANSWER_SECONDS = 5.0
"""How long one Lease may keep the others waiting."""

_BLIND_SECONDS = 3.0
"""Time between two looks counts up to this. During an outage of the API server, or while this
process was frozen, a Lease was not seen unchanged; it was not seen at all."""

_NOT_FOUND = 404


class Life(enum.Enum):
    """What is known of a holder."""

    ALIVE = "alive"  # its Lease was seen to change, within its duration
    GONE = "gone"  # it has no Lease, or none that changes
    UNREADABLE = "unreadable"  # its Lease cannot be read with the rights that there are


class LeaseReader(Protocol):
    """Reads objects of the API server."""

    async def get(self, path: str) -> Mapping[str, Any]:
        """Return the object at `path`. Raises `RequestError`."""


@dataclass(slots=True)
class _Record:
    """One holder, and its Lease as it was seen last."""

    holder: str
    replica: Replica
    life: Life | None = None
    state: LeaseState | None = None
    unchanged_seconds: float = 0.0
    """For how long the Lease has been seen as it is."""
    looked_at: float = float("-inf")
    """When the API server last answered."""
    next_at: float = float("-inf")


class Holders:
    """Follows the Leases of other replicas. `run` it beside the statuses."""

    def __init__(
        self,
        client: LeaseReader,
        clock: ports.Clock,
        *,
        namespace: str,
        named: Callable[[], Collection[str]],
        on_change: Callable[[str], None],
    ) -> None:
        """`named` gives the holders, other than this replica, that the status of an object names.

        `on_change` is told of a holder of which something else is known than before. `namespace`
        is that of this replica.
        """
        self._client = client
        self._clock = clock
        self._namespace = namespace
        self._named = named
        self._on_change = on_change
        self._records: dict[str, _Record] = {}
        self._wake = asyncio.Event()

    def life(self, holder: str) -> Life | None:
        """Return what is known of a holder; None if that has still to be found out.

        `on_change` follows then.
        """
        record = self._records.get(holder)
        if record is not None:
            return record.life
        replica = Replica.parse(holder, namespace=self._namespace)
        if replica is None:
            return Life.GONE  # not what any replica would write
        self._records[holder] = _Record(holder, replica)
        self._wake.set()
        return None

    async def run(self) -> None:
        """Follow the Leases until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._round()
            except Exception:  # the top of a task: a defect here must not end the sessions
                logger.exception("Leases of other replicas not looked at")
                await self._clock.sleep(_SLOW_LOOK_SECONDS)
            await self._next_round()

    async def _round(self) -> None:
        named = self._named()
        for holder in self._records.keys() - set(named):
            del self._records[holder]
        for record in list(self._records.values()):
            if record.next_at <= self._clock.monotonic():
                await self._look(record)

    async def _next_round(self) -> None:
        """Return when a Lease has to be looked at."""
        next_at = min((each.next_at for each in self._records.values()), default=None)
        seconds = None if next_at is None else max(next_at - self._clock.monotonic(), 0.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _look(self, record: _Record) -> None:
        """Look at one Lease, and tell what has changed."""
        state: LeaseState | None = None
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                state = LeaseState.of(await self._client.get(record.replica.lease_path))
        except TimeoutError:
            life = record.life
        except RefusedError as error:
            life = _life_behind(error, before=record.life)
        except RequestError:
            life = record.life
        else:
            life = self._judged(record, state)
        now = self._clock.monotonic()
        is_slow = life in (Life.GONE, Life.UNREADABLE)
        record.next_at = now + (_SLOW_LOOK_SECONDS if is_slow else _LOOK_SECONDS)
        if life is not record.life:
            _note(record, life)
            record.life = life
            self._on_change(record.holder)

    def _judged(self, record: _Record, state: LeaseState) -> Life | None:
        """Return what a Lease says, beside what was seen of it before."""
        now = self._clock.monotonic()
        elapsed, record.looked_at = now - record.looked_at, now
        before, record.state = record.state, state
        if not state.is_ours or state.holder != str(record.replica):
            return Life.GONE
        if before is None:
            return None  # it may be a dead replica's
        if (before.uid, before.version) != (state.uid, state.version):
            record.unchanged_seconds = 0.0
            return Life.ALIVE
        record.unchanged_seconds += min(elapsed, _BLIND_SECONDS)
        return Life.GONE if record.unchanged_seconds >= state.seconds else record.life


def _life_behind(error: RefusedError, *, before: Life | None) -> Life | None:
    """Return what a refusal says of the holder, beside what was known before."""
    if error.is_absence:
        return Life.GONE
    if error.may_pass or error.code == _NOT_FOUND:  # which may be a proxy's
        return before
    return Life.UNREADABLE


def _note(record: _Record, life: Life | None) -> None:
    shown = {"holder": record.holder}
    match life:
        case Life.ALIVE:
            logger.warning(
                "another replica lives and holds objects that this one looks after, too; its "
                "status is left alone, and sessions are open twice",
                extra=shown,
            )
        case Life.UNREADABLE:
            logger.warning(
                "whether the holder of some objects lives cannot be told; bind a role that allows "
                "get of leases in its namespace to Springline's ServiceAccount",
                extra=shown,
            )
        case Life.GONE if record.life is Life.ALIVE:
            logger.info("the other replica is gone; its objects are taken over", extra=shown)
        case _:
            logger.debug("the holder of objects is gone", extra=shown)
