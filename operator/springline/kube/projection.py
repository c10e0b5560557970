"""One declared object: what its status is, as far as the API server has it, and what it should be.

It writes nothing and decides nothing; the writer asks when it is an object's turn.
"""

from dataclasses import dataclass
from typing import Any

from springline.api import status as api_status
from springline.api.conditions import Condition
from springline.api.meta import Identity
from springline.core import binding, ports, stalling
from springline.core import status as projection
from springline.core.binding import Publication, Publications
from springline.core.budgets import Budget
from springline.core.manager import Manager
from springline.core.values import SessionKey
from springline.core.view import SessionView
from springline.kube.requests import Request
from springline.kube.status_texts import Digest
from springline.kube.stored import StoredStatus

__all__ = ["Entry", "Projection"]


@dataclass(slots=True)
class Entry:
    """One declared object and its status."""

    identity: Identity
    uid: str
    generation: int
    conditions: tuple[Condition, ...]
    handled: dict[Request, str]
    """The requests that were acted on last."""
    problem: str | None = None
    """Why the broker's declaration cannot be used."""
    written: Digest | None = None
    """What the API server has; None if that is not known."""
    written_at: float = float("-inf")
    is_deferred: bool = False
    """Whether a count is left to write; a status with nothing else new can wait."""
    is_cut: bool = False
    """Whether something of it is left out that the API server's definitions do not take."""
    small_until: float = float("-inf")
    """Until when only the least of it is written, because the object has no room for the rest."""
    refusals: int = 0
    """How often in a row the API server did not take the write of this object."""
    not_before: float = float("-inf")
    """When it may be asked again to take it, whatever changes until then."""
    version: str = ""
    """The version of the object that the next write is decided on; empty if it is not known."""
    shown: bytes | None = None
    """The status that the API server has, whoever wrote it; None if it is not known."""
    sent: tuple[bytes, ...] = ()
    """What was sent last, and before it what has not been answered."""
    later: StoredStatus | None = None
    """What the API server showed while a write was in flight."""
    other: str = ""
    """The other replica that the API server's status names as its holder; empty if none does."""
    budget: Budget | None = None
    """How many writes it may have, once it has had one."""
    is_limited: bool = False
    """Whether it has none left, which was told."""
    overwrites: int = 0
    """How often the status was written over by another writer, of late."""
    overwritten_at: float = float("-inf")
    left_until: float = float("-inf")
    """Until when the status is left to the other writer."""
    stalls_at: float | None = None
    """When the status changes by the mere passing of time, unless its turn is seen to."""
    broker: Identity | None = None
    """The broker that the session was last seen with."""
    binding: Publication | None = None
    """What was shown last of the Secret for applications."""
    view: SessionView | None = None
    """What the status was made of last."""
    made: bytes | None = None
    """The digest of what came of it; None if anything else of it is another one by now."""


class Projection:
    """Makes the status of objects from what the manager's sessions are."""

    def __init__(
        self,
        manager: Manager,
        clock: ports.Clock,
        *,
        holder: str,
        publications: Publications,
    ) -> None:
        self._manager = manager
        self._clock = clock
        self._holder = holder
        self._publications = publications

    def view(self, entry: Entry) -> SessionView | None:
        """Return what the session of a connection is now; None while there is none."""
        identity = entry.identity
        if identity.kind != "BrokerConnection":
            return None
        session = self._manager.session(SessionKey(identity.namespace, identity.name))
        return session.view if session is not None else None

    def is_written(self, entry: Entry, view: SessionView | None) -> bool:
        """Whether the API server has what the session is now, as far as that takes no projection.

        Many changes of a session change nothing that is shown.
        """
        if entry.made is None or entry.written is None or entry.written.whole != entry.made:
            return False
        if view is None or view != entry.view:
            return False
        return binding.current(view, self._publications, before=entry.binding) == entry.binding

    def of(self, entry: Entry, view: SessionView | None) -> dict[str, Any] | None:
        """Return the status as it is now, None for a connection whose session is not there yet.

        The conditions are kept in the entry: their times depend on those before.
        """
        entry.made = None
        if entry.identity.kind != "BrokerConnection":
            return self._of_broker(entry)
        if view is None:
            return None
        entry.view = view
        stalls_in = stalling.stalls_in(view)
        entry.stalls_at = self._clock.monotonic() + stalls_in if stalls_in is not None else None
        entry.binding = binding.current(view, self._publications, before=entry.binding)
        entry.conditions = projection.conditions(
            view, previous=entry.conditions, binding=entry.binding, now=self._clock.now()
        )
        handled = None
        if entry.handled:
            handled = api_status.LastHandledStatus(
                reconnect_requested_at=entry.handled.get(Request.RECONNECT),
                renew_requested_at=entry.handled.get(Request.RENEW),
            )
        return projection.connection_status(
            view,
            entry.conditions,
            holder=self._holder,
            last_handled=handled,
            binding=entry.binding,
        )

    def _of_broker(self, entry: Entry) -> dict[str, Any]:
        sessions = self._manager.sessions(entry.identity)
        status, entry.conditions = projection.broker_status(
            [session.view for session in sessions],
            generation=entry.generation,
            problem=entry.problem,
            previous=entry.conditions,
            holder=self._holder,
            now=self._clock.now(),
        )
        return api_status.as_document(status)
