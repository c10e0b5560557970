"""Keeps the status of every declared resource, and writes it to files where that is asked for.

Sessions say that they changed; what they have become is projected once for all changes of the last
moment, so a burst costs one projection and one write.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import yaml

from springline.api import status as api_status
from springline.api import v1alpha1
from springline.api.conditions import Condition, ConditionStatus, ConditionType
from springline.api.meta import Identity
from springline.core import binding, ports, stalling
from springline.core import status as projection
from springline.core.binding import Publication, Publications
from springline.core.manager import Manager
from springline.core.session import Session
from springline.core.state import Phase
from springline.core.values import SessionKey
from springline.core.view import SessionView

__all__ = ["Report", "Shown"]

logger = logging.getLogger(__name__)

_GATHER_SECONDS = 0.05
"""How long changes are gathered before they are projected; well below what a person notices."""

_RETRY_SECONDS = 5.0
"""How long to wait before a status that could not be written is written again."""

_BATCH = 25
"""How many files are written before others get a turn on the event loop."""

_KINDS = ("Broker", "ClusterBroker", "BrokerConnection")

_LONGEST_NAME = 200
"""Of a file; file systems take 255 bytes, and the temporary file's name is longer."""

# The C one where PyYAML was built with it: ten times as fast, the same text.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One declared connection as it was last projected."""

    view: SessionView
    conditions: tuple[Condition, ...]
    binding: Publication | None = None
    """What has become of the files for applications."""

    def condition(self, kind: ConditionType) -> Condition:
        """The condition of that type, where there always is one: Connected, Blocked."""
        return next(condition for condition in self.conditions if condition.type is kind)

    @property
    def readiness(self) -> Condition:
        """Why it is Ready, or is not: while it is suspended there is only Connected to say so."""
        is_suspended = self.view.state.phase is Phase.SUSPENDED
        return self.condition(ConditionType.CONNECTED if is_suspended else ConditionType.READY)

    @property
    def is_ready(self) -> bool:
        return self.readiness.status is ConditionStatus.TRUE


class Report:
    """The current status of everything declared. `run` it next to the manager."""

    def __init__(
        self,
        manager: Manager,
        clock: ports.Clock,
        *,
        status_dir: Path | None = None,
        generation: Callable[[Identity], int] = lambda _: 1,
        publications: Publications,
    ) -> None:
        self._manager = manager
        self._clock = clock
        self._status_dir = status_dir
        self._generation = generation
        self._publications = publications
        self._shown: dict[SessionKey, Shown] = {}
        self._brokers: dict[Identity, tuple[api_status.BrokerStatus, tuple[Condition, ...]]] = {}
        self._changed: dict[SessionKey, Session] = {}
        self._changed_brokers: set[Identity] = set()
        self._problems: Mapping[Identity, Sequence[str]] = {}
        self._stalls_at: dict[SessionKey, float] = {}
        """When a status changes by the mere passing of time, on the monotonic clock."""
        self._wake = asyncio.Event()
        self._written: dict[Path, dict[str, Any]] = {}
        self._unwritten: dict[Path, dict[str, Any]] = {}
        self._is_failing = False

    @property
    def shown(self) -> Mapping[SessionKey, Shown]:
        """Every declared connection as it was last projected."""
        return self._shown

    def current(self) -> list[Shown]:
        """Return what is shown, with figures that change too often to be projected each time."""
        found = ((shown, self._manager.session(key)) for key, shown in self._shown.items())
        return [
            replace(shown, view=session.view) if session is not None else shown
            for shown, session in found
        ]

    def session_changed(self, session: Session) -> None:
        """Note that a session is not what it was. Returns at once."""
        self._changed[session.key] = session
        broker = self._manager.broker_of(session)
        if broker in self._brokers:
            self._changed_brokers.add(broker)
        self._wake.set()

    def declare(
        self,
        identities: Collection[Identity],
        *,
        unusable: Mapping[Identity, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """Say which resources there are now; the status of all others is forgotten.

        `unusable` says what is wrong with those among them that cannot be used.
        """
        self._problems = unusable
        declared = {identity for identity in identities if identity.kind in _KINDS}
        for key in list(self._shown):
            if Identity("BrokerConnection", key.namespace, key.name) not in declared:
                del self._shown[key]
                self._changed.pop(key, None)
                self._stalls_at.pop(key, None)
        for broker in self._brokers.keys() - declared:
            del self._brokers[broker]
            self._changed_brokers.discard(broker)
        for identity in declared:
            if identity.kind != "BrokerConnection":
                # A new Broker has a status before anything connects to it.
                self._brokers.setdefault(identity, _empty_broker_status())
                self._changed_brokers.add(identity)
        if self._status_dir is not None:
            names = {_file_name(identity) for identity in declared}
            _remove_others(self._status_dir, names)
            self._unwritten = {
                path: content for path, content in self._unwritten.items() if path.name in names
            }
            self._written = {
                path: content for path, content in self._written.items() if path.exists()
            }
        self._wake.set()

    async def run(self) -> None:
        """Project and write until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds):
                    await self._wake.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            try:
                self._project_changed()
                for batch in _batches(self._unwritten):
                    self._write_out(batch)
                    await asyncio.sleep(0)
            except Exception:  # a defect of ours must not end the sessions that it reports on
                logger.exception("status not reported")

    @property
    def _pause_seconds(self) -> float | None:
        """How long nothing has to be done unless something changes; None for ever."""
        pauses = [_RETRY_SECONDS] if self._unwritten else []
        if self._stalls_at:
            first = min(self._stalls_at.values()) - self._clock.monotonic()
            pauses.append(max(first, 0.0))
        return min(pauses, default=None)

    def flush(self) -> None:
        """Project and write what has changed, now."""
        self._project_changed()
        self._write_out(list(self._unwritten))

    def _project_changed(self) -> None:
        self._wake.clear()
        changed, self._changed = self._changed, {}
        now = self._clock.monotonic()
        for key in [key for key, at in self._stalls_at.items() if at <= now]:
            del self._stalls_at[key]
            if (session := self._manager.session(key)) is not None:
                changed.setdefault(key, session)
        brokers, self._changed_brokers = self._changed_brokers, set()
        for key, session in changed.items():
            if self._manager.session(key) is session:
                self._project(session)
        for broker in brokers & self._brokers.keys():
            self._project_broker(broker)

    def connection_document(self, key: SessionKey) -> dict[str, Any]:
        """Return the BrokerConnection's identity and status as a document."""
        shown = self._shown[key]
        status = projection.connection_status(shown.view, shown.conditions, binding=shown.binding)
        return _document(
            Identity("BrokerConnection", key.namespace, key.name), api_status.as_document(status)
        )

    def _project(self, session: Session) -> None:
        before = self._shown.get(session.key)
        view = session.view
        published = binding.current(
            view, self._publications, before=before.binding if before else None
        )
        if before is not None and self._is_told(before, view, published):
            return
        conditions = projection.conditions(
            view,
            previous=before.conditions if before else (),
            binding=published,
            now=self._clock.now(),
        )
        self._shown[session.key] = Shown(view=view, conditions=conditions, binding=published)
        if (seconds := stalling.stalls_in(view)) is not None:
            self._stalls_at[session.key] = self._clock.monotonic() + seconds
        else:
            self._stalls_at.pop(session.key, None)
        self._write(
            Identity("BrokerConnection", session.key.namespace, session.key.name),
            lambda: self.connection_document(session.key),
        )

    def _is_told(self, before: Shown, view: SessionView, published: Publication | None) -> bool:
        """Whether what a session is now is shown, and written where it is written.

        Many changes of a session change nothing that is shown.
        """
        if (before.view, before.binding) != (view, published):
            return False
        if self._status_dir is None:
            return True
        key = view.key
        identity = Identity("BrokerConnection", key.namespace, key.name)
        path = self._status_dir / _file_name(identity)
        return path in self._written or path in self._unwritten

    def _project_broker(self, broker: Identity) -> None:
        if self._status_dir is None:
            return  # nothing else shows it, and it costs a look at every session of the broker
        _, previous = self._brokers[broker]
        status, conditions = projection.broker_status(
            [session.view for session in self._manager.sessions(broker)],
            generation=self._generation(broker),
            problem="; ".join(self._problems.get(broker, ())) or None,
            previous=previous,
            now=self._clock.now(),
        )
        self._brokers[broker] = (status, conditions)
        self._write(broker, lambda: _document(broker, api_status.as_document(status)))

    def _write(self, identity: Identity, document: Callable[[], dict[str, Any]]) -> None:
        if self._status_dir is None:
            return
        path = self._status_dir / _file_name(identity)
        content = document()
        if self._written.get(path) == content:
            self._unwritten.pop(path, None)
        else:
            self._unwritten[path] = content

    def _write_out(self, paths: Sequence[Path]) -> None:
        """Write these files. What cannot be written stays to be written later."""
        for path in paths:
            content = self._unwritten.get(path)
            if content is None:
                continue  # no longer declared
            try:
                _write_atomically(path, content)
            except OSError as error:
                # Sessions matter more than their reports.
                if not self._is_failing:
                    logger.warning(
                        "status not written; trying again until it is",
                        extra={"path": path, "error": error.strerror},
                    )
                self._is_failing = True
            else:
                self._written[path] = content
                del self._unwritten[path]
        if self._is_failing and not self._unwritten:
            logger.info("status written again", extra={"path": self._status_dir})
            self._is_failing = False


def _batches(paths: Iterable[Path]) -> list[list[Path]]:
    ordered = list(paths)
    return [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]


def _empty_broker_status() -> tuple[api_status.BrokerStatus, tuple[Condition, ...]]:
    counts = api_status.ConnectionCounts(declared=0, ready=0, blocked=0)
    return api_status.BrokerStatus(observed_generation=0, conditions=(), connections=counts), ()


def _document(identity: Identity, status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": identity.name}
    if identity.namespace:
        metadata["namespace"] = identity.namespace
    return {
        "apiVersion": v1alpha1.API_VERSION,
        "kind": identity.kind,
        "metadata": metadata,
        "status": status,
    }


def _file_name(identity: Identity) -> str:
    # Of a document that cannot be used the name may be anything, a path for example.
    parts = [quote(part, safe="", errors="surrogatepass") for part in identity if part]
    name = ".".join(parts)
    if len(name) > _LONGEST_NAME:
        digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        name = f"{name[:_LONGEST_NAME]}-{digest}"
    return f"{name}.yaml"


def _write_atomically(path: Path, content: dict[str, Any]) -> None:
    """A reader sees the old status or the new one, never half of one."""
    temporary = path.with_name(f".{path.name}.new")
    text = _text(content)
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _text(content: dict[str, Any]) -> str:
    for dumper in (_Dumper, yaml.SafeDumper):
        # The C one cannot escape what is no text, such as half of a character in a broker's words.
        with contextlib.suppress(UnicodeEncodeError):
            return str(yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True))
    raise AssertionError("SafeDumper escapes everything")


def _remove_others(directory: Path, names: Collection[str]) -> None:
    """Remove status files, also those of an earlier run, of what is no longer declared."""
    for path in [*directory.glob("*.yaml"), *directory.glob(".*.yaml.new")]:
        kind = path.name.lstrip(".").split(".", 1)[0]
        if kind in _KINDS and path.name not in names:
            with contextlib.suppress(OSError):
                path.unlink()
