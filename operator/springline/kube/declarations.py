"""What objects there are, and what they mean for the sessions.

Every object that a watch shows comes here, again and again: the first time, after each change,
after each status write of our own, and anew after every gap in the watch. Only what is new in it
goes on to the manager. An object that was deleted and created again under the same name is told
from the old one by its uid, because their events may arrive in any order.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, assert_never

from springline.api import documents, v1alpha1
from springline.api.meta import Identity
from springline.core.manager import Manager
from springline.core.values import SessionKey
from springline.errors import ManifestError
from springline.kube.known_objects import KnownObjects, Seen
from springline.kube.requests import Request
from springline.kube.stored import StoredStatus

__all__ = ["Declarations", "Shown", "Statuses", "identify"]

logger = logging.getLogger(__name__)

_LONGEST_REQUEST = 64
"""Characters of an annotation's value that count; a time stamp has fewer."""

_FORMER = 8
"""Predecessors of an object that are remembered."""


class Statuses(Protocol):
    """Where the status of declared objects is kept."""

    def declared(self, identity: Identity, *, generation: int, stored: StoredStatus) -> None:
        """The object exists; `stored` is the status that it has. Idempotent."""

    def shown(self, identity: Identity, stored: StoredStatus) -> None:
        """The object, if it was declared, has this status. Idempotent."""

    def unusable(self, identity: Identity, problem: str | None) -> None:
        """The broker's declaration cannot be used, or can be again."""

    def last_handled(self, identity: Identity, request: Request) -> str | None:
        """The value of such a request that was acted on last."""

    def handled(self, identity: Identity, request: Request, value: str) -> None:
        """The request with this value has been acted on."""

    def gone(self, identity: Identity) -> None:
        """The object is gone; nothing may be written to it any more."""


class Shown(Protocol):
    """Whoever is shown what the watches see, as `Declarations` is."""

    def appeared(self, document: Mapping[str, Any]) -> None:
        """The object is there, and this is what it is now."""

    def status_shown(self, document: Mapping[str, Any]) -> None:
        """This is the object now; most often only its status is another one."""

    def vanished(self, identity: Identity, *, uid: str) -> None:
        """The object is gone."""

    def __contains__(self, identity: Identity) -> bool:
        """Whether the object was shown before."""


class Declarations:
    """Keeps the manager and the statuses in step with the objects in the API server."""

    def __init__(
        self, manager: Manager, statuses: Statuses, known: KnownObjects | None = None
    ) -> None:
        """`known` is where the objects are noted that there are."""
        self._manager = manager
        self._statuses = statuses
        self._seen = known if known is not None else KnownObjects()
        self._frozen = False

    def freeze(self) -> None:
        """Take in no more changes: the sessions are about to be closed."""
        self._frozen = True

    def __contains__(self, identity: Identity) -> bool:
        return identity in self._seen

    def uids(self) -> dict[Identity, str]:
        """Return every declared object and its uid."""
        return {identity: seen.uid for identity, seen in self._seen.items()}

    def uid(self, identity: Identity) -> str | None:
        """Return the uid of an object, None if there is no such object."""
        return self._seen.uid(identity)

    def count(self, kind: str) -> int:
        """Return how many objects of a kind there are."""
        return sum(1 for _ in self._of_kind(kind))

    def _of_kind(self, kind: str) -> Iterator[Identity]:
        return (identity for identity in self._seen if identity.kind == kind)

    # --- what watches show

    def appeared(self, document: Mapping[str, Any]) -> None:
        """Take in an object as it is now. Idempotent."""
        if self._frozen:
            return
        identity, metadata = identify(document), document["metadata"]
        uid, generation = metadata.get("uid", ""), metadata.get("generation", 0)
        if metadata.get("deletionTimestamp"):
            # Somebody else's finalizer keeps the object; whoever deleted it wants the session gone.
            self.vanished(identity, uid=uid)
            return
        before = self._seen.get(identity)
        if before is not None and _is_late(uid, generation, seen=before):
            return
        if before is not None and before.uid != uid and identity.kind == "BrokerConnection":
            # Deleted and created again. A broker's sessions go on if nothing else has changed.
            self._manager.drop_connection(_key(identity))
        now = Seen(
            uid=uid,
            generation=generation,
            requests=_requests(metadata.get("annotations") or {}),
            former=_former(uid, before),
        )
        self._statuses.declared(identity, generation=generation, stored=StoredStatus.of(document))
        if now == before:
            return  # most often the echo of our own status write
        self._seen[identity] = now
        is_new = before is None or before.uid != uid
        if before is None or is_new or before.generation != generation:
            self._declare(identity, document, generation=generation)
        if identity.kind == "BrokerConnection":
            for request, value in now.requests.items():
                self._act_on_request(identity, request, value, is_new=is_new)

    def status_shown(self, document: Mapping[str, Any]) -> None:
        """Take in the status that an object has; what is declared is no matter here. Idempotent."""
        self._statuses.shown(identify(document), StoredStatus.of(document))

    def vanished(self, identity: Identity, *, uid: str) -> None:
        """Take in that an object is gone. Idempotent."""
        seen = self._seen.get(identity)
        if self._frozen or seen is None or seen.uid != uid:
            return
        del self._seen[identity]
        self._statuses.gone(identity)
        if identity.kind == "BrokerConnection":
            self._manager.drop_connection(_key(identity))
        else:
            self._manager.drop_broker(identity)

    # --- what they mean

    def _declare(self, identity: Identity, document: Mapping[str, Any], *, generation: int) -> None:
        try:
            parsed = documents.parse(document, unknown="ignore")
        except ManifestError as error:
            self._declare_unusable(identity, "; ".join(error.problems), generation=generation)
            return
        match parsed:
            case v1alpha1.BrokerConnection():
                self._manager.put_connection(parsed, generation=generation)
            case v1alpha1.Broker() | v1alpha1.ClusterBroker():
                self._statuses.unusable(identity, None)
                self._manager.put_broker(identity, parsed.spec)
            case _:
                raise AssertionError(f"nobody watches {identity.kind}")

    def _declare_unusable(self, identity: Identity, problem: str, *, generation: int) -> None:
        """The API server's schema lets only such documents in that an older one let in."""
        logger.warning(
            "declaration cannot be used", extra={"object": str(identity), "problem": problem}
        )
        if identity.kind == "BrokerConnection":
            self._manager.put_unusable(_key(identity), problem, generation=generation)
        else:
            # The sessions keep what the broker was declared as before.
            self._statuses.unusable(identity, problem)

    def _act_on_request(
        self, identity: Identity, request: Request, value: str, *, is_new: bool
    ) -> None:
        if value == self._statuses.last_handled(identity, request):
            return
        if not is_new:  # a new session is a fresh connection with what there is to read now
            self._ask(identity, request)
        self._statuses.handled(identity, request, value)

    def _ask(self, identity: Identity, request: Request) -> None:
        key, shown = _key(identity), {"object": str(identity)}
        match request:
            case Request.RECONNECT:
                logger.info("fresh connection requested", extra=shown)
                self._manager.reconnect(key)
            case Request.RENEW:
                logger.info("renewal requested", extra=shown)
                self._manager.renew(key)
            case _:
                assert_never(request)


def identify(document: Mapping[str, Any]) -> Identity:
    """Return which object of ours a document or its metadata is about."""
    metadata = document["metadata"]
    # Each document has its own copy of the name of a namespace, which many share.
    namespace = sys.intern(metadata.get("namespace", ""))
    return Identity(sys.intern(document["kind"]), namespace, metadata["name"])


def _requests(annotations: Mapping[str, str]) -> dict[Request, str]:
    """Return what is asked for."""
    found = {each: annotations.get(each.annotation, "")[:_LONGEST_REQUEST] for each in Request}
    return {request: value for request, value in found.items() if value}


def _is_late(uid: str, generation: int, *, seen: Seen) -> bool:
    """Whether an event is about what has been overtaken: by a list, or by a successor."""
    return uid in seen.former or (uid == seen.uid and generation < seen.generation)


def _former(uid: str, before: Seen | None) -> tuple[str, ...]:
    if before is None:
        return ()
    if before.uid == uid:
        return before.former
    return (*before.former, before.uid)[-_FORMER:]


def _key(identity: Identity) -> SessionKey:
    return SessionKey(identity.namespace, identity.name)
