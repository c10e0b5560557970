"""The binding Secrets: what applications log in with, kept in step with what brokers accept.

A session says that it changed; when it is the connection's turn, its Secret is written if it
differs from what is there. What the broker refuses, an outage and `suspend` leave it as it was. A
watch of the Secrets that Springline has written tells when somebody else changed or deleted one.
That of a connection which another live replica holds is that replica's.
At most one write a connection is in flight.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from springline.api.conditions import ConditionStatus
from springline.api.meta import Identity
from springline.core import binding, desired, ports
from springline.core.binding import Content, Publication
from springline.core.desired import SessionSpec
from springline.core.events import Event, EventSink, EventType
from springline.core.manager import Manager
from springline.core.session import Session
from springline.core.values import SessionKey
from springline.core.verified import IncompleteError, ServicePorts, Verified
from springline.core.view import SessionView
from springline.kube.bound_secrets import (
    MANAGED,
    BoundSecrets,
    Holder,
    NotOursError,
    holder_of,
    path_of,
)
from springline.kube.client import Client, RefusedError, RequestError
from springline.kube.turns import Queue
from springline.kube.watching import Metadata, Watch
from springline.reasons import Reason

__all__ = ["BindingWatch", "BindingWriter"]

logger = logging.getLogger(__name__)

_GATHER_SECONDS = 0.05
"""How long changes of a session are gathered; below what a person notices."""

_REFUSED_SECONDS = (1.0, 5.0, 20.0, 60.0)
"""Pauses before the Secret of one connection is tried again that could not be written."""

_SOON_SECONDS = 1.0
"""After somebody else was faster, or while the cluster is cleaning up."""

_HELD_ELSEWHERE_SECONDS = 10.0
"""How often a Secret that another live replica keeps is looked at, lest that one is gone."""

_PRUNE_SECONDS = 30.0

_FORBIDDEN = 403
_NOT_FOUND = 404
_CONFLICT = 409


@dataclass(slots=True)
class _Entry:
    """One connection and its Secret."""

    holder: Holder
    verified: Verified
    name: str = ""
    """The Secret that is declared; empty for none."""
    written: Content | None = None
    """What the Secret is known to hold."""
    version: str | None = None
    """Of the Secret, when it was last looked at; empty if there was none."""
    publication: Publication | None = None
    refusals: int = 0
    """How often in a row it could not be written."""

    def forget_secret(self) -> None:
        """Look at the Secret anew the next time."""
        self.written = self.version = None


class BindingWriter:
    """Keeps the binding Secrets, as `core.binding.Publications`. `run` it beside the manager."""

    def __init__(
        self,
        secrets: BoundSecrets,
        manager: Manager,
        clock: ports.Clock,
        *,
        uid_of: Callable[[Identity], str | None],
        reader: ports.ObjectReader,
        services: ServicePorts,
        events: EventSink,
        on_change: Callable[[Session], None],
        is_held_elsewhere: Callable[[Identity], bool],
    ) -> None:
        """`on_change` is told whenever a publication is not what it was.

        `is_held_elsewhere` says of a connection whether another live replica looks after it.
        """
        self._secrets = secrets
        self._manager = manager
        self._clock = clock
        self._uid_of = uid_of
        self._reader = reader
        self._services = services
        self._events = events
        self._on_change = on_change
        self._is_held_elsewhere = is_held_elsewhere
        self._entries: dict[SessionKey, _Entry] = {}
        self._wanted: dict[Identity, set[SessionKey]] = {}
        """Who declares a Secret; more than one by mistake."""
        self._seen: dict[Identity, Metadata] = {}
        """The Secrets that we have written, as the watch has them."""
        self._owned: dict[SessionKey, dict[str, Metadata]] = {}
        """The same by connection and name."""
        self._in_flight: set[Identity] = set()
        self._queue = Queue(clock, in_flight=self._in_flight.__len__)
        self._pace = self._queue.pace
        self._changed: set[Identity] = set()
        """Whose turn has to come again, because something changed during it."""

    # --- what there is to do

    def session_changed(self, session: Session) -> None:
        """Note that a session is not what it was. Returns at once."""
        key = session.key
        if key in self._entries or key in self._owned:
            self._touch(key)
            return
        spec = session.view.spec
        if spec is not None and spec.binding is not None:
            self._touch(key)

    def publication(self, key: SessionKey) -> Publication | None:
        """Return what has become of a connection's binding; None while nobody has looked."""
        entry = self._entries.get(key)
        return entry.publication if entry is not None else None

    # --- what the watch says

    def listed(self, namespace: str, items: Sequence[Metadata]) -> None:
        """Take in all our Secrets of a namespace, or of all of them if it is empty."""
        found = {_identity(item) for item in items}
        for identity in [each for each in self._seen if namespace in ("", each.namespace)]:
            if identity not in found:
                self.deleted(self._seen[identity])
        for item in items:
            self.appeared(item)
        for key in self._entries:
            if namespace in ("", key.namespace):
                self._touch(key)  # some may be gone that were never listed

    def appeared(self, secret: Metadata) -> None:
        """Take in a Secret of ours that is there, or has changed."""
        self._forget_secret(secret)
        self._seen[_identity(secret)] = secret
        if (holder := holder_of(secret)) is not None:
            self._owned.setdefault(holder.key, {})[secret.name] = secret
            self._touch(holder.key)

    def deleted(self, secret: Metadata) -> None:
        """Take in that a Secret of ours is gone, or has lost its label."""
        self._forget_secret(secret)
        for key in self._wanted.get(_identity(secret), ()):
            self._touch(key)

    def _forget_secret(self, secret: Metadata) -> None:
        before = self._seen.pop(_identity(secret), None)
        holder = holder_of(before) if before is not None else None
        if holder is None or (owned := self._owned.get(holder.key)) is None:
            return
        owned.pop(secret.name, None)
        if not owned:
            del self._owned[holder.key]
        self._touch(holder.key)

    # --- whose turn it is

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._prune(), name="bindings/prune")
            while True:
                await self._queue.until_due()
                while (identity := self._queue.take()) is not None:
                    self._in_flight.add(identity)
                    tasks.create_task(self._take_turn(identity), name=f"binding/{identity}")

    async def _prune(self) -> None:
        """Forget connections that went, and so what they log in with."""
        while True:
            await self._clock.sleep(_PRUNE_SECONDS)
            for key in [key for key in self._entries if self._manager.session(key) is None]:
                self._forget(key)

    def _touch(self, key: SessionKey) -> None:
        """Have the connection's turn come soon."""
        identity = Identity("BrokerConnection", key.namespace, key.name)
        if identity in self._in_flight:
            self._changed.add(identity)
        else:
            self._schedule(identity, seconds=_GATHER_SECONDS)

    def _schedule(self, identity: Identity, *, seconds: float) -> None:
        self._queue.put(identity, at=self._clock.monotonic() + seconds)

    async def _take_turn(self, identity: Identity) -> None:
        try:
            again_in = await self._look_after(SessionKey(identity.namespace, identity.name))
        except Exception:  # the top of a task: a defect in one binding must not end the others
            logger.exception("binding not looked after", extra={"object": str(identity)})
            again_in = _REFUSED_SECONDS[-1]
        finally:
            self._in_flight.discard(identity)
            self._queue.ended()
        if again_in is not None:
            self._schedule(identity, seconds=again_in)
        if identity in self._changed:
            self._changed.discard(identity)
            self._schedule(identity, seconds=_GATHER_SECONDS)

    # --- a turn

    async def _look_after(self, key: SessionKey) -> float | None:
        """Do what there is to do, and return in how many seconds to do it again; None for never."""
        session = self._manager.session(key)
        identity = Identity("BrokerConnection", key.namespace, key.name)
        uid = self._uid_of(identity)
        if session is None or uid is None:
            self._forget(key)  # its Secret goes with it: the cluster sees to that
            return None
        if self._is_held_elsewhere(identity):
            return _HELD_ELSEWHERE_SECONDS
        view = session.view
        if view.spec is None:
            return None  # nobody can tell what it is to be
        holder = Holder(key, uid)
        entry = self._entries.get(key)
        if entry is None or entry.holder != holder:
            self._forget(key)
            entry = self._entries[key] = _Entry(holder, Verified(self._reader, self._services))
        try:
            again_in = await self._publish(entry, view, view.spec, session)
            await self._retire(entry)
        except RequestError as error:
            return await self._not_done(entry, error, session)
        self._pace.answered()
        if not entry.name:
            self._forget(key)
        return again_in

    def _forget(self, key: SessionKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._rename(entry, "")

    def _rename(self, entry: _Entry, name: str) -> None:
        """Note which Secret is declared now."""
        key = entry.holder.key
        if entry.name:
            before = Identity("Secret", key.namespace, entry.name)
            self._wanted[before].discard(key)
            if not self._wanted[before]:
                del self._wanted[before]
        if name:
            self._wanted.setdefault(Identity("Secret", key.namespace, name), set()).add(key)
        entry.name = name
        entry.forget_secret()

    async def _publish(
        self, entry: _Entry, view: SessionView, spec: SessionSpec, session: Session
    ) -> float | None:
        """Have the declared Secret hold what was verified last."""
        name = spec.binding or ""
        if entry.name != name:
            self._rename(entry, name)
        if not name:
            await self._show(entry, None, session)
            return None
        if Identity("Secret", view.key.namespace, name) in desired.references(spec):
            message = f'Secret "{name}" is what is read here; give spec.binding another secretName'
            await self._show(entry, binding.not_ours(message), session)
            return None
        try:
            before = entry.written
            await entry.verified.note(view)
            was_written = await self._write(entry)
        except IncompleteError as error:
            await self._show(entry, self._failed(entry, error.message), session)
            return self._pause(entry)
        except NotOursError as error:
            entry.forget_secret()
            news = binding.not_ours(error.message)
            await self._show(entry, news, session, quietly=error.will_pass)
            return _SOON_SECONDS if error.will_pass else _REFUSED_SECONDS[-1]
        entry.refusals = 0
        news = binding.published(name) if entry.version else binding.NOTHING_VERIFIED
        await self._show(entry, news, session)
        if was_written:
            message = f'Secret "{name}" was written'
            is_routine = before is not None and before.is_same_but_token(entry.written)
            await self._report(entry, EventType.BINDING_PUBLISHED, message, is_routine=is_routine)
        return None

    async def _write(self, entry: _Entry) -> bool:
        """Write the Secret if it is not as it should be, and return whether that was so."""
        key, name = entry.holder.key, entry.name
        seen = self._owned.get(key, {}).get(name)
        version = seen.version if seen is not None and entry.holder.owns(seen) else ""
        content = entry.verified.content
        if entry.version == version and entry.written == content:
            return False
        ensured = await self._secrets.ensure(entry.holder, name, content, is_known=bool(version))
        entry.version = ensured.version if ensured is not None else ""
        entry.written = content
        return ensured is not None and ensured.was_written

    async def _retire(self, entry: _Entry) -> None:
        """Delete the connection's Secrets of other names. Raises `RequestError`."""
        for secret in list(self._owned.get(entry.holder.key, {}).values()):
            if secret.name == entry.name or not entry.holder.owns(secret):
                continue
            try:
                await self._secrets.delete(secret)
            except RefusedError as error:
                if not error.is_absence:
                    raise
            logger.info(
                "binding deleted", extra={"session": entry.holder.key, "secret": secret.name}
            )

    # --- what goes wrong

    async def _not_done(self, entry: _Entry, error: RequestError, session: Session) -> float:
        """Say why, and return in how many seconds to try again."""
        entry.forget_secret()  # whatever was answered, it may have been done
        shown = {"session": entry.holder.key, "error": str(error)}
        if not isinstance(error, RefusedError) or error.may_pass:
            retry_after = error.retry_after if isinstance(error, RefusedError) else None
            if self._pace.failing_since is None:
                logger.warning("binding not written; trying again", extra=shown)
            return self._pace.failed(retry_after=retry_after)
        self._pace.answered()
        if error.code in (_CONFLICT, _NOT_FOUND):
            # Somebody else was faster; or the namespace is gone, and soon the connection.
            logger.debug("binding not written", extra=shown)
            return self._pause(entry)
        message = _refusal(error, entry)
        logger.debug("binding refused", extra=shown)
        if entry.name:
            await self._show(entry, self._failed(entry, message), session)
        return self._pause(entry)

    def _pause(self, entry: _Entry) -> float:
        seconds = _REFUSED_SECONDS[min(entry.refusals, len(_REFUSED_SECONDS) - 1)]
        entry.refusals += 1
        return seconds

    def _failed(self, entry: _Entry, message: str) -> Publication:
        before = entry.publication
        name = before.name if before is not None and before.name == entry.name else None
        return binding.failed(message, name=name)

    # --- telling

    async def _show(
        self,
        entry: _Entry,
        publication: Publication | None,
        session: Session,
        *,
        quietly: bool = False,
    ) -> None:
        before, entry.publication = entry.publication, publication
        if before == publication:
            return
        self._on_change(session)
        if publication is None or quietly:
            return
        verdict = publication.verdict
        if before is not None and before.verdict == verdict:
            return
        if verdict.status is ConditionStatus.FALSE:
            await self._report(
                entry, EventType.BINDING_FAILED, verdict.message, reason=verdict.reason
            )

    async def _report(
        self,
        entry: _Entry,
        kind: EventType,
        message: str,
        *,
        reason: Reason | None = None,
        is_routine: bool = False,
    ) -> None:
        key = entry.holder.key
        session = self._manager.session(key)
        event = Event(
            type=kind,
            key=key,
            at=self._clock.now(),
            message=message,
            reason=reason,
            is_routine=is_routine,
            broker=session.broker if session is not None else None,
        )
        try:
            await self._events.report(event)
        except Exception:  # a sink's defect must not end what it reports on
            logger.exception("event sink failed", extra={"session": key})


def _refusal(error: RefusedError, entry: _Entry) -> str:
    """Say what the API server does not do, and who can help."""
    where = f'in namespace "{entry.holder.key.namespace}"'
    if error.code == _FORBIDDEN:
        message = (
            f"Springline may not write Secrets {where}: set binding.enabled in the chart, or bind a"
            " role that allows create, update and delete of secrets"
        )
    else:
        message = f'the API server does not take Secret "{entry.name}" {where}'
    said = f": {error.message}" if error.message and not _quotes(error, entry) else ""
    return f"{message} ({error.code} {error.reason}{said})"


def _quotes(error: RefusedError, entry: _Entry) -> bool:
    """Whether whoever refuses shows what was refused."""
    content = entry.verified.content
    entries = content.entries if content is not None else {}
    secrets = [entries[key] for key in ("password", "uri", "uris") if key in entries]
    encoded = [base64.b64encode(secret.encode()).decode() for secret in secrets]
    return any(secret in error.message for secret in (*secrets, *encoded))


def _identity(secret: Metadata) -> Identity:
    return Identity("Secret", secret.namespace, secret.name)


class BindingWatch:
    """Tells a writer what becomes of the Secrets that it has written."""

    def __init__(
        self,
        client: Client,
        clock: ports.Clock,
        rng: Random,
        writer: BindingWriter,
        *,
        namespaces: Sequence[str] = (),
    ) -> None:
        """Without `namespaces`, all are watched."""
        label: Final = "=".join(MANAGED)
        self.watches = tuple(
            Watch(
                client,
                clock,
                rng,
                path_of(namespace),
                listener=_Listener(writer, namespace),
                label_selector=label,
            )
            for namespace in (namespaces or ("",))
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for watch in self.watches:
                tasks.create_task(watch.run(), name=f"watch{watch.path}/bindings")


@dataclass(frozen=True, slots=True)
class _Listener:
    """Hands over what a watch says of one namespace, or of all if it is empty."""

    writer: BindingWriter
    namespace: str

    def listed(self, items: Sequence[Metadata]) -> None:
        self.writer.listed(self.namespace, items)

    def changed(self, metadata: Metadata) -> None:
        self.writer.appeared(metadata)

    def deleted(self, metadata: Metadata) -> None:
        self.writer.deleted(metadata)

    def interrupted(self) -> None:
        pass  # what was missed is in the next list
