"""kopf, embedded: it watches our own kinds, and everything it shows goes to `declarations`.

Only `on.event` handlers are registered, so kopf writes nothing onto anybody's objects; they are
there to say what is watched, and what is shown comes here before kopf makes more of it. Whatever
ends it, it is started again, while the sessions go on.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from springline.api.v1alpha1 import GROUP, VERSION
from springline.core import ports
from springline.kube import client, embedding, paths
from springline.kube.access import Access, AccessError
from springline.kube.declarations import Shown, identify
from springline.kube.framework import kopf
from springline.kube.own_writes import OwnWrites
from springline.kube.readable import Readable

__all__ = ["Operator"]

logger = logging.getLogger(__name__)

_RESTART_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
_STABLE_SECONDS = 60.0
_LOGIN_RETRY_SECONDS = 5.0
_ERROR_BACKOFFS = (1.0, 2.0, 3.0, 5.0, 5.0)
"""Pauses between tries of one request."""

_LOOK_AGAIN_SECONDS = 30.0
"""How often it is looked whether other namespaces can be read than before."""


_FAILED = "watching failed; starting it again"


class _Undiffed(kopf.DiffBaseStorage):
    """What kopf remembers of objects, to see how they changed: nothing.

    No handler here asks how. Otherwise each object would be copied whenever it is shown.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class _Connection(kopf.ConnectionInfo):
    """The way to the API server, with a TLS context that is there already.

    Not `kopf.AiohttpSession`: kopf compares what it is given with what was refused before, and
    every session is another one.
    """

    tls: ssl.SSLContext = field(compare=False, repr=False)

    def as_ssl_context(self) -> ssl.SSLContext:
        return self.tls


async def _at_once() -> None:
    """Wait for nothing."""


async def _nothing(**_: Any) -> None:
    """Handle nothing; see `embedding`."""


class Operator:
    """Watches our kinds until cancelled."""

    def __init__(
        self,
        access: Access,
        declarations: Shown,
        clock: ports.Clock,
        *,
        kinds: Sequence[str],
        readable: Readable,
        on_gap: Callable[[], None],
        own_writes: OwnWrites | None = None,
        before_start: Callable[[], Awaitable[None]] = _at_once,
        after_start: Callable[[], None] = lambda: None,
    ) -> None:
        """Events with the versions of `own_writes` are dropped.

        `before_start` returns when all kinds are served: kopf looks for them only at its start.

        `after_start` is called, without a pause, when kopf has put up its signal handlers.
        """
        self._access = access
        self._declarations = declarations
        self._clock = clock
        self._kinds = kinds
        self._readable = readable
        self._on_gap = on_gap
        self._own_writes = own_writes if own_writes is not None else OwnWrites()
        self._before_start = before_start
        self._after_start = after_start
        self._has_logged_in = False
        self._is_winding_down = False

    def wind_down(self) -> None:
        """Do not watch again what cannot be watched any more: soon nothing will be."""
        self._is_winding_down = True

    async def run(self) -> None:
        """Watch until cancelled, whatever happens to kopf."""
        failures = 0
        while True:
            await self._before_start()
            started = self._clock.monotonic()
            try:
                await self._watch()
            except embedding.REFUSALS as error:
                if not self._is_winding_down:
                    told = {"error": embedding.reason_of(error)}
                    logger.error(_FAILED, extra=told)  # noqa: TRY400 - it is no defect
            except Exception:  # the top of a task: no defect of a watch may end the sessions
                logger.exception(_FAILED)
            if self._is_winding_down:
                await asyncio.Event().wait()
            if self._clock.monotonic() - started > _STABLE_SECONDS:
                failures = 0
            await self._clock.sleep(_RESTART_SECONDS[min(failures, len(_RESTART_SECONDS) - 1)])
            failures += 1
            self._on_gap()

    async def _watch(self) -> None:
        """Watch the namespaces that can be read, until those are others."""
        namespaces = await self._readable.now()
        if self._readable.is_limited and not namespaces:
            return
        watching = asyncio.ensure_future(
            embedding.run(
                self._registry(),
                self._settings(),
                namespaces=namespaces,
                handlers=embedding.WatchHandlers(
                    on_status=self._on_status,
                    on_event=self._on_event,
                    own_writes=self._own_writes,
                ),
                after_start=self._after_start,
            )
        )
        try:
            while not watching.done():
                seconds = _LOOK_AGAIN_SECONDS if self._readable.is_limited else None
                await asyncio.wait({watching}, timeout=seconds)
                if not watching.done() and await self._readable.now() != namespaces:
                    return
            await watching
            logger.error("watching ended; starting it again")
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        log_in = kopf.on.login(id="springline", registry=registry, backoff=_LOGIN_RETRY_SECONDS)
        log_in(self._log_in)
        for kind in self._kinds:
            plural = paths.PLURALS[kind]
            kopf.on.event(GROUP, VERSION, plural, id=plural, registry=registry)(_nothing)
        return registry

    def _on_event(self, event: Mapping[str, Any]) -> None:
        try:
            self._take_in(event["type"], event["object"])
        except Exception:  # a defect in this must not end the watch
            logger.exception("declaration not taken in")

    def _take_in(self, kind: str | None, document: Mapping[str, Any]) -> None:
        """Take in an event; it has no kind where the object was listed."""
        identity = identify(document)
        if kind == "DELETED":
            self._declarations.vanished(identity, uid=document["metadata"].get("uid", ""))
            return
        if kind is None and identity in self._declarations:
            self._on_gap()  # listed again, so the watch was interrupted
        self._declarations.appeared(document)

    def _on_status(self, document: Mapping[str, Any]) -> None:
        try:
            self._declarations.status_shown(document)
        except Exception:  # a defect in this must not end the watch
            logger.exception("status not taken in")

    async def _log_in(self, **_: Any) -> kopf.ConnectionInfo:
        """Give kopf the credentials as they are now; it asks again when they are refused."""
        if self._has_logged_in:
            try:
                await self._access.renew(seen=self._access.renewals)
            except AccessError as error:
                # As anything else it would be logged with a traceback each time.
                raise kopf.TemporaryError(str(error), delay=_LOGIN_RETRY_SECONDS) from None
        self._has_logged_in = True
        return _Connection(
            server=self._access.configuration.host,
            tls=self._access.tls,
            token=await self._access.token(),
            proxy_url=self._access.proxy,
            default_namespace="default",
        )

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        # Our kinds and namespaces are known; looking for others would need more rights.
        settings.scanning.disabled = True
        # It would kill the process ten minutes after a restart of the watches.
        settings.process.ultimate_exiting_timeout = None
        # Never to be found on anybody's object, so that kopf never takes it off one.
        settings.persistence.finalizer = f"{GROUP}/none"
        settings.persistence.diffbase_storage = _Undiffed()
        settings.networking.request_timeout = 30
        settings.networking.connect_timeout = 10
        settings.networking.error_backoffs = _ERROR_BACKOFFS
        settings.watching.connect_timeout = 10
        settings.watching.server_timeout = int(client.WATCH_SECONDS)
        settings.watching.inactivity_timeout = client.SILENCE_SECONDS
        settings.watching.chunk_size = 500
        settings.watching.reconnect_backoff = 0.5
        settings.posting.enabled = False  # Events go another way, see `event_posting`
        settings.queueing.idle_timeout = 0.5
        return settings
