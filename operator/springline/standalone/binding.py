"""The bindings without a cluster: a directory of files for each, as a volume would show it.

`--binding-dir` is Springline's own. What is no longer declared is removed from it, what was not
written by Springline is left alone. Files are read and written off the event loop.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from springline.api import v1alpha1
from springline.api.conditions import ConditionStatus
from springline.api.meta import Identity
from springline.core import binding, desired, ports
from springline.core.binding import Content, Publication
from springline.core.desired import SessionSpec
from springline.core.events import Event, EventSink, EventType
from springline.core.manager import Manager
from springline.core.session import Session
from springline.core.values import SessionKey
from springline.core.verified import IncompleteError, Verified
from springline.errors import SpringlineError
from springline.reasons import Reason
from springline.standalone import binding_directory
from springline.standalone.loader import Manifests
from springline.threads import OffLoop, Threads

__all__ = ["BindingFiles", "NoBindings"]

logger = logging.getLogger(__name__)

_GATHER_SECONDS = 0.05
"""How long changes of sessions are gathered; below what a person notices."""

_LOOK_AGAIN_SECONDS = 30.0
"""How often it is looked whether somebody else has changed the files."""

_ADVICE: Final = "give spec.binding another secretName"

_NEEDS_DIRECTORY: Final = binding.failed(
    "without a cluster a binding needs --binding-dir of springline run"
)


class NoBindings:
    """Says that there are none, as `core.binding.Publications`."""

    def publication(self, key: SessionKey) -> Publication | None:  # noqa: ARG002 - the same for all
        """Return that nothing is published."""
        return _NEEDS_DIRECTORY


@dataclass(slots=True)
class _Entry:
    """One connection that declares a binding."""

    verified: Verified
    path: Path | None = None
    publication: Publication | None = None

    @property
    def has_the_name(self) -> bool:
        """Whether it was the first to declare its path."""
        publication = self.publication
        return publication is not None and (
            publication.verdict.reason is not Reason.SECRET_NOT_OURS
        )


class BindingFiles:
    """Keeps the files, as `core.binding.Publications`. `run` it beside the manager."""

    def __init__(
        self,
        directory: Path,
        manager: Manager,
        clock: ports.Clock,
        *,
        reader: ports.ObjectReader,
        events: EventSink,
        on_change: Callable[[Session], None],
        off_loop: OffLoop | None = None,
    ) -> None:
        """`on_change` is told whenever a publication is not what it was."""
        self._off_loop = off_loop or Threads(at_once=1, name="binding-files")
        self._directory = directory
        self._manager = manager
        self._clock = clock
        self._reader = reader
        self._events = events
        self._on_change = on_change
        self._entries: dict[SessionKey, _Entry] = {}
        self._changed: set[SessionKey] = set()
        self._declared: frozenset[Path] | None = None
        """What may be there; None as long as nothing is to be removed."""
        self._wake = asyncio.Event()

    def publication(self, key: SessionKey) -> Publication | None:
        """Return what has become of a connection's binding; None while nobody has looked."""
        entry = self._entries.get(key)
        return entry.publication if entry is not None else None

    def session_changed(self, session: Session) -> None:
        """Note that a session is not what it was. Returns at once."""
        self._touch([session.key])

    def declare(self, manifests: Manifests) -> None:
        """Say what is declared now; the files of everything else are removed."""
        if not all(problem.is_foreign for problem in manifests.problems):
            return  # what cannot be read may declare what is there from an earlier run
        self._declared = frozenset(
            self._path(document.namespace, document.spec.binding.secret_name)
            for document in manifests.objects.values()
            if isinstance(document, v1alpha1.BrokerConnection) and document.spec.binding is not None
        )
        self._touch(self._entries)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                    await self._wake.wait()
                    await self._clock.sleep(_GATHER_SECONDS)
            self._wake.clear()
            await self._remove_others()
            changed, self._changed = self._changed, set()
            for key in changed or list(self._entries):
                try:
                    await self._look_after(key)
                except Exception:  # a defect of ours must not end the sessions
                    logger.exception("binding not looked after", extra={"session": key})

    def _touch(self, keys: Iterable[SessionKey]) -> None:
        self._changed.update(keys)
        self._wake.set()

    def _path(self, namespace: str, name: str) -> Path:
        return self._directory / namespace / name

    async def _remove_others(self) -> None:
        """Remove every binding that is not declared, also those of an earlier run."""
        declared, self._declared = self._declared, None
        if declared is not None:
            await self._off_loop.run(functools.partial(_tidy, self._directory, declared))

    # --- one binding

    async def _look_after(self, key: SessionKey) -> None:
        session = self._manager.session(key)
        if session is None:
            self._entries.pop(key, None)
            return
        spec = session.view.spec
        if spec is None:
            return  # nobody can tell what it is to be
        if spec.binding is None:
            if self._entries.pop(key, None) is not None:
                self._on_change(session)
            return
        entry = self._entries.setdefault(key, _Entry(Verified(self._reader)))
        entry.path = path = self._path(key.namespace, spec.binding)
        was_written = False
        try:
            self._require_name(spec, path)
            await entry.verified.note(session.view)
            update = functools.partial(_brought_up_to_date, path, entry.verified.content)
            found = await self._off_loop.run(update)
            was_written = found.was_written
        except _NotOursError as error:
            news = binding.not_ours(error.message)
        except IncompleteError as error:
            news = binding.failed(error.message, name=await self._name(path))
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            news = binding.failed(message, name=await self._name(path))
        else:
            news = binding.published(path.name) if found.is_there else binding.NOTHING_VERIFIED
        await self._show(session, entry, news)
        if was_written:
            await self._report(key, EventType.BINDING_PUBLISHED, f"{path} was written")

    async def _name(self, path: Path) -> str | None:
        is_there = await self._off_loop.run(functools.partial(binding_directory.is_ours, path))
        return path.name if is_there else None

    def _require_name(self, spec: SessionSpec, path: Path) -> None:
        if Identity("Secret", path.parent.name, path.name) in desired.references(spec):
            raise _NotOursError(f'Secret "{path.name}" is what is read here; {_ADVICE}')
        for other, entry in self._entries.items():
            # Whoever came first keeps it.
            if other != spec.key and entry.path == path and entry.has_the_name:
                raise _NotOursError(
                    f'"{path.name}" is the binding of BrokerConnection "{other.name}"; {_ADVICE}'
                )

    # --- telling

    async def _show(self, session: Session, entry: _Entry, publication: Publication) -> None:
        before, entry.publication = entry.publication, publication
        if before == publication:
            return
        self._on_change(session)
        verdict = publication.verdict
        if verdict.status is ConditionStatus.FALSE:
            await self._report(
                session.key, EventType.BINDING_FAILED, verdict.message, reason=verdict.reason
            )

    async def _report(
        self, key: SessionKey, kind: EventType, message: str, *, reason: Reason | None = None
    ) -> None:
        session = self._manager.session(key)
        event = Event(
            type=kind,
            key=key,
            at=self._clock.now(),
            message=message,
            reason=reason,
            broker=session.broker if session is not None else None,
        )
        await self._events.report(event)


# --- off the event loop


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What there is at a path, after it was seen to."""

    was_written: bool
    is_there: bool


def _brought_up_to_date(path: Path, content: Content | None) -> _Found:
    """Write the files if they are not as they should be.

    Raises `_NotOursError` for what somebody else has put there, and `OSError`.
    """
    is_ours = binding_directory.is_ours(path)
    if not is_ours and path.exists() and any(path.iterdir()):
        raise _NotOursError(
            f"{path} is there already and was not written by Springline; remove it, or {_ADVICE}"
        )
    if content is None or (is_ours and binding_directory.read(path) == content.entries):
        if is_ours:
            binding_directory.tidy(path)
        return _Found(was_written=False, is_there=is_ours)
    binding_directory.write(path, content.entries)
    return _Found(was_written=True, is_there=True)


def _tidy(directory: Path, declared: Collection[Path]) -> None:
    for path in directory.glob("*/*"):
        if path not in declared and binding_directory.is_ours(path):
            binding_directory.remove(path)
            logger.info("binding deleted", extra={"path": path})


class _NotOursError(SpringlineError):
    """There are files of that name, and they are not the connection's."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message
