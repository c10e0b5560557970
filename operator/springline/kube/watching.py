"""Metadata-only list and watch: what objects of one resource there are, and what becomes of them.

The API server may restart, refuse, fall silent or forget the past; a watch goes on until it is
cancelled. It knows no kinds and keeps no objects: a listener is told, and remembers what it needs.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple, Protocol, Self

from springline.core import backoff, ports
from springline.core.backoff import Retry
from springline.kube import client
from springline.kube.client import Client, RefusedError, RequestError

__all__ = ["Listener", "Metadata", "Owner", "Watch"]

logger = logging.getLogger(__name__)

_RETRY: Final = Retry(delay=1.0, max_delay=10.0, jitter=0.3)
"""After an outage, changes are noticed that much later at most."""

_SLOW_RETRY: Final = Retry(delay=30.0, max_delay=30.0, jitter=0.3)

_LONGEST_RETRY_AFTER = 120.0

_SPACING_SECONDS = 1.0
"""Between the starts of two watches: what ends at once must not become load."""

_SILENT_SHARE = 0.9
"""Of the silence after which a connection counts as dead: what breaks later was most likely so."""

_UNREACHABLE = 0
_FORBIDDEN = 403
_NOT_FOUND = 404
_GONE = 410

_SENTENCES: Final = {
    _UNREACHABLE: "the API server cannot be reached; what changes is noticed when it is back",
    _FORBIDDEN: (
        "watching is forbidden; bind a role that allows list and watch of this resource to "
        "Springline's ServiceAccount"
    ),
    _NOT_FOUND: "the API server does not know this resource",
}


class Owner(NamedTuple):
    """The object that another one belongs to."""

    group: str  # of the API, without its version
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a watch says of an object. Annotations may hold a copy of a Secret and are left out."""

    namespace: str
    """Empty for what belongs to the whole cluster."""
    name: str
    version: str
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    controller: Owner | None = None
    """Whom it belongs to, if anybody."""
    is_ending: bool = False
    """Whether it is being deleted, and still there."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read the metadata of an object."""
        metadata = document.get("metadata")
        if not isinstance(metadata, Mapping):
            metadata = {}
        return cls(
            namespace=metadata.get("namespace", ""),
            name=metadata.get("name", ""),
            version=metadata.get("resourceVersion", ""),
            uid=metadata.get("uid", ""),
            labels=metadata.get("labels") or {},
            controller=_controller(metadata.get("ownerReferences")),
            is_ending=bool(metadata.get("deletionTimestamp")),
        )


def _controller(references: object) -> Owner | None:
    """Return the one owner among all that manages the object."""
    if not isinstance(references, Sequence):
        return None
    for each in references:
        if isinstance(each, Mapping) and each.get("controller") is True:
            version, kind = str(each.get("apiVersion", "")), str(each.get("kind", ""))
            group = version.rpartition("/")[0]
            return Owner(group, kind, str(each.get("name", "")), str(each.get("uid", "")))
    return None


class Listener(Protocol):
    """Told what there is and what happens. Calls are synchronous and must return at once."""

    def listed(self, items: Sequence[Metadata]) -> None:
        """These are all objects that there are: at the start, and whenever the watch began anew."""

    def changed(self, metadata: Metadata) -> None:
        """An object appeared or changed; not every version of it need be told."""

    def deleted(self, metadata: Metadata) -> None:
        """An object went, or is no longer selected."""

    def interrupted(self) -> None:
        """The API server was out of reach or forgot the past: deletions may have been missed.

        Told once; `listed` follows when the API server answers again.
        """


class Watch:
    """Follows the objects of one resource at one path, of the cluster or of one namespace."""

    def __init__(
        self,
        client: Client,
        clock: ports.Clock,
        rng: Random,
        path: str,
        *,
        listener: Listener,
        label_selector: str = "",
        on_resume: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_resume` is called when the watch goes on where it broke, so that nothing was missed.

        Other requests may have failed in between.
        """
        self.path = path
        self.synced = asyncio.Event()
        """Set when the listener has been told what there is, and then for good."""
        self.last_contact: float | None = None
        """When the API server last said something, by the monotonic clock.

        While all is well it says something about every minute: at least that a watch is over.
        """
        self._client = client
        self._listener = listener
        self._on_resume = on_resume
        self._clock = clock
        self._rng = rng
        self._params = {"labelSelector": label_selector} if label_selector else {}
        self._version: str | None = None
        """Where to go on; None if everything has to be listed."""
        self._has_begun = False
        """Whether the request that runs has been answered."""
        self._is_broken = False
        """Whether the last watch ended by an error, and the next one has not begun."""
        self._failures = 0
        self._told: int | None = None
        """The code of the refusal that the log has already."""

    async def run(self) -> None:
        """Follow until cancelled, whatever happens to the API server."""
        while True:
            started = self._clock.monotonic()
            self._has_begun = False
            try:
                if self._version is None:
                    await self._list()
                    continue
                await self._watch(self._version)
                delay = 0.0
            except RequestError as error:
                self._is_broken = True
                if self._is_loss(error):
                    self._lose(error)
                delay = self._delay(error)
            except Exception:  # the top of a task: a defect of a listener must not end the watch
                logger.exception("watch failed; listing again", extra={"path": self.path})
                self._version = None
                delay = self._next_delay()
            spacing = started + _SPACING_SECONDS - self._clock.monotonic()
            await self._clock.sleep(max(delay, spacing, 0.0))

    async def _list(self) -> None:
        items, version = await self._client.list_metadata(self.path, **self._params)
        self._contacted()
        self._listener.listed([Metadata.of(item) for item in items])
        self._version = version
        if self._told == _UNREACHABLE:
            self._goes_on()
        if not self.synced.is_set():
            self.synced.set()
            logger.debug("watching", extra={"path": self.path, "objects": len(items)})

    async def _watch(self, since: str) -> None:
        """Tell what happens until the API server ends the watch."""
        events = self._client.watch(
            self.path,
            since=since,
            seconds=client.watch_seconds(self._rng),
            on_begin=self._begins,
            **self._params,
        )
        async with contextlib.aclosing(events):
            async for event in events:
                self._heard(str(event.get("type", "")), event.get("object"))
                self._works()
        self._works()

    def _heard(self, kind: str, document: object) -> None:
        if not isinstance(document, Mapping):
            return
        metadata = Metadata.of(document)
        match kind:
            case "ADDED" | "MODIFIED":
                self._listener.changed(metadata)
            case "DELETED":
                self._listener.deleted(metadata)
            case _:
                pass  # a bookmark, which only says how far we are
        # Only now: what a listener fails at is not passed over.
        self._version = metadata.version or self._version

    def _contacted(self) -> None:
        self.last_contact = self._clock.monotonic()
        self._has_begun = True

    def _begins(self) -> None:
        self._contacted()
        if self._is_broken:
            self._is_broken = False
            self._on_resume()

    def _works(self) -> None:
        self._contacted()
        self._failures = 0
        self._goes_on()

    def _goes_on(self) -> None:
        if self._told is not None:
            self._told = None
            logger.info("watch goes on", extra={"path": self.path})

    def _is_loss(self, error: RequestError) -> bool:
        """Whether more happened than the end of a watch, which the next one makes up for."""
        if isinstance(error, RefusedError) or not self._has_begun or self.last_contact is None:
            return True
        silence = self._clock.monotonic() - self.last_contact
        return silence > _SILENT_SHARE * client.SILENCE_SECONDS

    def _lose(self, error: RequestError) -> None:
        code = error.code if isinstance(error, RefusedError) else _UNREACHABLE
        if code != _GONE and self._told != code:
            self._told = code
            sentence = _SENTENCES.get(code, "the API server refuses the watch; trying again")
            logger.warning(sentence, extra={"path": self.path, "error": str(error)})
        if self._version is not None:
            self._version = None
            self._listener.interrupted()

    def _delay(self, error: RequestError) -> float:
        if not isinstance(error, RefusedError):
            return self._next_delay()
        if error.code in (_FORBIDDEN, _NOT_FOUND):
            # Somebody has to do something about it.
            self._failures += 1
            return backoff.slow_delay(_SLOW_RETRY, rng=self._rng)
        wait = min(error.retry_after or 0.0, _LONGEST_RETRY_AFTER)
        return max(self._next_delay(), wait)

    def _next_delay(self) -> float:
        self._failures += 1
        return backoff.spaced_delay(_RETRY, failures=self._failures, rng=self._rng)
