"""Finding objects that went while nobody was looking.

A watch that was interrupted begins with a list, and a list does not say what is missing in it. So
after every gap, and now and again in any case, the objects there are are compared with those that
were taken in. Only metadata is asked for.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from springline.api.meta import Identity
from springline.core import ports
from springline.kube import paths
from springline.kube.client import RefusedError, RequestError, UnreachableError
from springline.kube.declarations import Declarations
from springline.kube.readable import is_forbidden

__all__ = ["Lister", "Sweeper"]

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 300.0
"""Nobody notices a gap after which there is nothing left to list; it costs a few requests."""

_GATHER_SECONDS = 1.0
"""A gap in one watch is most often one in all of them."""

_RETRY_SECONDS = 5.0

_LOOK_AGAIN_SECONDS = 5.0
"""How long the watches may take to bring what there is before it is asked for again."""

_POLL_SECONDS = 0.1


class Lister(Protocol):
    """Whoever lists metadata of objects in the API server."""

    async def list_metadata(self, path: str) -> tuple[list[dict[str, Any]], str]:
        """Return the metadata of all objects, and the list's version. Raises `RequestError`."""


class Sweeper:
    """Compares what there is with what was taken in. `run` it beside the watches."""

    def __init__(
        self,
        client: Lister,
        declarations: Declarations,
        clock: ports.Clock,
        *,
        kinds: Sequence[str],
        namespaces: Sequence[str],
    ) -> None:
        self._client = client
        self._declarations = declarations
        self._clock = clock
        self._kinds = kinds
        self._namespaces = namespaces
        self._wanted = asyncio.Event()
        self.is_synced = False
        """Whether everything that there was at the start has been taken in."""

    def request(self) -> None:
        """Ask for a comparison soon. Idempotent."""
        self._wanted.set()

    async def run(self) -> None:
        """Compare when asked to, and now and again, until cancelled."""
        await self._first_sync()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._wanted.wait()
            await self._clock.sleep(_GATHER_SECONDS)
            self._wanted.clear()
            if await self._sweep() is None:
                self._wanted.set()
                await self._clock.sleep(_RETRY_SECONDS)

    async def _first_sync(self) -> None:
        """Return when the watches have brought everything that there is."""
        while not self.is_synced:
            there_is = await self._sweep()
            if there_is is None:
                await self._clock.sleep(_RETRY_SECONDS)
            else:
                self.is_synced = await self._taken_in(there_is)
        logger.info(
            "declarations taken in",
            extra={kind: self._declarations.count(kind) for kind in self._kinds},
        )

    async def _taken_in(self, there_is: Collection[Identity]) -> bool:
        """Wait until all of these are declared; False if some are not, perhaps gone again."""
        missing = set(there_is)
        look_again_at = self._clock.monotonic() + _LOOK_AGAIN_SECONDS
        while missing := {each for each in missing if each not in self._declarations}:
            if self._clock.monotonic() >= look_again_at:
                return False
            await self._clock.sleep(_POLL_SECONDS)
        return True

    async def _sweep(self) -> dict[Identity, str] | None:
        """Drop what is gone, and return what there is; None if that could not be found out."""
        # Taken before the list is asked for: what is declared later may be missing in the list.
        before = self._declarations.uids()
        there_is: dict[Identity, str] = {}
        unknown: set[str] = set()  # namespaces that cannot be read
        try:
            for kind in self._kinds:
                for namespace, path in paths.collections(kind, self._namespaces):
                    try:
                        there_is.update(await self._list(kind, path))
                    except RefusedError as error:
                        if not namespace or not is_forbidden(error):
                            raise
                        unknown.add(namespace)
        except RequestError as error:
            logger.debug("objects not compared", extra={"error": str(error)})
            return None
        for identity, uid in before.items():
            if there_is.get(identity) != uid and identity.namespace not in unknown:
                self._declarations.vanished(identity, uid=uid)
        return {
            identity: uid for identity, uid in there_is.items() if identity.namespace not in unknown
        }

    async def _list(self, kind: str, path: str) -> dict[Identity, str]:
        """Return the objects at the path and their uids. Raises `RequestError`."""
        items, version = await self._client.list_metadata(path)
        if not version:
            # Somebody else answered. To take it for an empty list would end everything.
            logger.warning("objects not compared: no list", extra={"path": path})
            raise UnreachableError("what answers is no list")
        return {
            Identity(kind, metadata.get("namespace", ""), metadata["name"]): metadata["uid"]
            for metadata in (item["metadata"] for item in items)
            if not metadata.get("deletionTimestamp")
        }
