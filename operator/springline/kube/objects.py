"""Secrets and ConfigMaps: read when a session asks for one, and watched by their metadata alone.

A value is kept only while a declared connection refers to its object, so that an outage of the API
server does not lose the sessions whose broker restarts meanwhile. No repr and no error shows one.
"""

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from urllib.parse import quote

from springline import errors
from springline.api import core_v1
from springline.api.meta import Identity
from springline.core import ports
from springline.kube.client import Client, RefusedError, RequestError
from springline.kube.watching import Metadata, Watch

__all__ = ["ALLOWED_LABEL", "ObjectReader", "ObjectWatch"]

ALLOWED_LABEL: Final = "springline.dev/allowed"

_PLURALS: Final = {"Secret": "secrets", "ConfigMap": "configmaps"}

_FRESH_SECONDS = 1.0
"""A Secret that a thousand sessions share is not to be a thousand requests."""

_IMPATIENT_SECONDS = 1.0
"""For an answer where there is a value to fall back on; what a session reads one after the other
has to fit in its own limit."""

_PRUNE_SECONDS = 30.0

_ABSENT = ""
_UNREAD = "?"
"""In place of a version: it was asked for in vain, so whatever the watch says of it is news."""

_FORBIDDEN = 403
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class _Object:
    """A Secret or ConfigMap as read, as `core.ports.DataObject`."""

    version: str
    texts: Mapping[str, Any] = field(repr=False)
    encoded: Mapping[str, Any] = field(repr=False)

    def get(self, key: str) -> bytes | None:
        """Return the value under `key`; None if there is none, or none that can be decoded."""
        text = self.texts.get(key)
        if isinstance(text, str):
            # JSON can hold halves of surrogate pairs. Whoever asks finds out that this is no text.
            return text.encode(errors="surrogatepass")
        encoded = self.encoded.get(key)
        if not isinstance(encoded, str):
            return None
        try:
            return base64.b64decode(encoded, validate=True)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why an object is not handed over."""

    error: type[errors.ObjectReadError]
    message: str
    may_pass: bool = False
    """Whether the API server could not say, so that the last answer still counts."""
    version: str = ""
    """That of the object, where the watch knows it."""


@dataclass(slots=True)
class _Entry:
    """What is known of one object since its last change was noticed."""

    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    answers: int = 0
    outcome: _Object | _Refusal | None = None
    fresh_until: float = 0.0
    last: _Object | None = None
    """The last value that the API server gave."""


class ObjectReader:
    """Reads Secrets and ConfigMaps from the API server, as `core.ports.ObjectReader`."""

    def __init__(
        self,
        client: Client,
        clock: ports.Clock,
        *,
        is_read: Callable[[Identity], bool],
        require_label: bool = False,
    ) -> None:
        """`is_read` says whether a declared connection refers to an object now.

        With `require_label`, only Secrets with the label `springline.dev/allowed: "true"` are
        handed over.
        """
        self._client = client
        self._clock = clock
        self._is_read = is_read
        self.require_label = require_label
        self._entries: dict[Identity, _Entry] = {}
        self._known: dict[Identity, str] = {}
        """The version that everybody was given or told of; only of what is read."""

    async def read(self, identity: Identity) -> ports.DataObject | None:
        """Return the object as it is now, None if there is none.

        What was read less than a second ago, or is just being read, serves as well, unless a change
        has been noticed since. If the API server does not answer, the last value does. Raises
        `ObjectUnavailableError` and `ObjectNotAllowedError`. Safe to cancel.
        """
        entry = self._entries.setdefault(identity, _Entry())
        answers = entry.answers
        if self._clock.monotonic() >= entry.fresh_until:
            async with entry.asking:
                if entry.answers == answers:  # else somebody was answered while we waited
                    await self._ask(identity, entry)
        if isinstance(entry.outcome, _Refusal):
            raise entry.outcome.error(identity, entry.outcome.message)
        return entry.outcome

    def noticed(self, identity: Identity, version: str) -> bool:
        """Take note of an object's version, empty if it is gone, as a watch has it.

        Returns whether that is news to those who read it. What was read before is then not handed
        over any more.
        """
        if not self._is_read(identity):
            self._forget(identity)
            return False
        if self._known.get(identity) == version:
            return False
        self._known[identity] = version
        self._entries.pop(identity, None)
        return True

    def objects_in_use(self) -> list[Identity]:
        """The objects that have been read, or are just being read."""
        return list(self._entries.keys() | self._known.keys())

    def unread(self) -> list[Identity]:
        """The objects that were asked for in vain."""
        return [identity for identity, version in self._known.items() if version == _UNREAD]

    def prune(self) -> None:
        """Forget what no declared connection refers to any more."""
        for identity in self.objects_in_use():
            if not self._is_read(identity):
                self._forget(identity)

    def _forget(self, identity: Identity) -> None:
        self._entries.pop(identity, None)
        self._known.pop(identity, None)

    async def _ask(self, identity: Identity, entry: _Entry) -> None:
        began = self._clock.monotonic()
        outcome = await self._answer(identity, patient=entry.last is None)
        entry.answers += 1
        if isinstance(outcome, _Refusal) and outcome.may_pass and entry.last is not None:
            entry.outcome = entry.last
            return
        entry.outcome = outcome
        if not isinstance(outcome, _Refusal):
            entry.fresh_until = began + _FRESH_SECONDS
        if isinstance(outcome, _Object) or not _leaves_open(outcome):
            entry.last = outcome if isinstance(outcome, _Object) else None
        # After a change was noticed, this is an older answer, for those who asked before.
        if self._entries.get(identity) is entry and self._is_read(identity):
            self._note_read(identity, _version_of(outcome))

    def _note_read(self, identity: Identity, version: str) -> None:
        """Take note of a version that somebody was given.

        Others may have what was there before, so a change is left for the watch to tell of.
        """
        before = self._known.get(identity, _UNREAD)
        if _UNREAD in (before, version):
            self._known[identity] = version

    async def _answer(self, identity: Identity, *, patient: bool) -> _Object | _Refusal | None:
        kind, namespace, name = identity
        path = f"{_path(kind, namespace)}/{quote(name, safe='')}"
        try:
            async with asyncio.timeout(None if patient else _IMPATIENT_SECONDS):
                document = await self._client.get(path)
        except TimeoutError:
            return _unavailable("the API server does not answer", may_pass=True)
        except RefusedError as error:
            return _refused(identity, error)
        except RequestError as error:
            return _unavailable(str(error), may_pass=True)
        metadata = Metadata.of(document)
        if document.get("kind") != kind or not metadata.version:
            return _unavailable("the API server's answer is something else", may_pass=True)
        if self.require_label and kind == "Secret" and metadata.labels.get(ALLOWED_LABEL) != "true":
            return _Refusal(
                errors.ObjectNotAllowedError,
                f'it is not labelled for it; set its label {ALLOWED_LABEL} to "true"',
            )
        if why := core_v1.why_not_used(kind, document.get("type")):
            return _Refusal(errors.ObjectNotAllowedError, why, version=metadata.version)
        if kind == "Secret":
            return _Object(metadata.version, {}, _values(document, "data"))
        return _Object(metadata.version, _values(document, "data"), _values(document, "binaryData"))


class ObjectWatch:
    """Tells when an object that is read appeared, changed or went."""

    def __init__(
        self,
        client: Client,
        clock: ports.Clock,
        rng: Random,
        reader: ObjectReader,
        *,
        on_change: Callable[[Identity], None],
        on_gap: Callable[[], None] = lambda: None,
        namespaces: Sequence[str] = (),
    ) -> None:
        """Without `namespaces`, all are watched.

        `on_change` is called when `reader` would give another answer than before, and only for what
        is read now; `on_gap` when a watch was interrupted, so that others may have missed
        something, too.
        """
        self._reader = reader
        self._clock = clock
        listeners = [
            _Listener(reader, kind, namespace, on_change, on_gap)
            for kind in _PLURALS
            for namespace in (namespaces or ("",))
        ]
        self.watches = tuple(
            Watch(
                client,
                clock,
                rng,
                _path(listener.kind, listener.namespace),
                listener=listener,
                label_selector=(
                    f"{ALLOWED_LABEL}=true"
                    if reader.require_label and listener.kind == "Secret"
                    else ""
                ),
                on_resume=listener.resumed,
            )
            for listener in listeners
        )

    @property
    def is_synced(self) -> bool:
        """Whether every watch has seen what there is."""
        return all(watch.synced.is_set() for watch in self.watches)

    @property
    def last_contact(self) -> float | None:
        """When the watch that has waited longest was last up to date, None if one never was.

        By the monotonic clock; while all is well, this is about a minute ago at most.
        """
        contacts = [watch.last_contact for watch in self.watches]
        known = [contact for contact in contacts if contact is not None]
        return min(known) if len(known) == len(contacts) else None

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for watch in self.watches:
                tasks.create_task(watch.run(), name=f"watch{watch.path}")
            tasks.create_task(self._prune(), name="objects/prune")

    async def _prune(self) -> None:
        while True:
            await self._clock.sleep(_PRUNE_SECONDS)
            self._reader.prune()


@dataclass(frozen=True, slots=True)
class _Listener:
    """What a watch says of one kind, for those who read it."""

    reader: ObjectReader
    kind: str
    namespace: str
    """Empty for all of them."""
    on_change: Callable[[Identity], None]
    on_gap: Callable[[], None]

    def listed(self, items: Sequence[Metadata]) -> None:
        versions = {self._identity(item): item.version for item in items}
        for identity in self._of_this_watch(self.reader.objects_in_use()):
            self._notice(identity, versions.get(identity, _ABSENT))

    def changed(self, metadata: Metadata) -> None:
        self._notice(self._identity(metadata), metadata.version)

    def deleted(self, metadata: Metadata) -> None:
        self._notice(self._identity(metadata), _ABSENT)

    def interrupted(self) -> None:
        self.on_gap()

    def resumed(self) -> None:
        """The API server is there again: what it was asked for in vain can be asked for now."""
        for identity in self._of_this_watch(self.reader.unread()):
            self.on_change(identity)

    def _notice(self, identity: Identity, version: str) -> None:
        if self.reader.noticed(identity, version):
            self.on_change(identity)

    def _identity(self, metadata: Metadata) -> Identity:
        return Identity(self.kind, metadata.namespace, metadata.name)

    def _of_this_watch(self, identities: Iterable[Identity]) -> list[Identity]:
        return [
            identity
            for identity in identities
            if identity.kind == self.kind and self.namespace in ("", identity.namespace)
        ]


def _path(kind: str, namespace: str) -> str:
    """Return the path of all objects of a kind, in one namespace or, if it is empty, in all."""
    where = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"/api/v1{where}/{_PLURALS[kind]}"


def _values(document: Mapping[str, Any], field_name: str) -> Mapping[str, Any]:
    values = document.get(field_name)
    return values if isinstance(values, Mapping) else {}


def _refused(identity: Identity, error: RefusedError) -> _Refusal | None:
    if error.is_absence:
        return None
    if error.code == _FORBIDDEN:
        return _unavailable(
            f"Springline lacks the permission to get {_PLURALS[identity.kind]} in namespace "
            f'"{identity.namespace}"; bind a role that allows it'
        )
    return _unavailable(str(error), may_pass=error.may_pass or error.code == _NOT_FOUND)


def _unavailable(message: str, *, may_pass: bool = False) -> _Refusal:
    return _Refusal(errors.ObjectUnavailableError, message, may_pass)


def _leaves_open(outcome: _Object | _Refusal | None) -> bool:
    """Whether an answer does not say what has become of the object."""
    return isinstance(outcome, _Refusal) and outcome.error is errors.ObjectUnavailableError


def _version_of(outcome: _Object | _Refusal | None) -> str:
    if isinstance(outcome, _Object):
        return outcome.version
    if isinstance(outcome, _Refusal) and not _leaves_open(outcome):
        # Without the label it is for the watch, which selects by that, as if it were not there.
        return outcome.version or _ABSENT
    return _UNREAD if _leaves_open(outcome) else _ABSENT
