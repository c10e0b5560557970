"""The CustomResourceDefinitions that the API server has, compared with those of this version.

They may be older, or newer: they are installed apart from the operator and change while it runs.
The API server publishes them in its OpenAPI document, which every ServiceAccount may read; to read
the definitions themselves would take one more right. The document is read at the start, when a
write was refused, and now and again; as long as it is the same, that is an answer without content.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from springline.api import crds
from springline.api.v1alpha1 import GROUP, VERSION
from springline.kube import paths, schemas
from springline.kube.client import RefusedError, RequestError
from springline.kube.schemas import Fitted, Schema

__all__ = ["Definitions", "Reader"]

logger = logging.getLogger(__name__)

_PATH: Final = f"/openapi/v3{paths.GROUP_VERSION}"

_EVERY_SECONDS = 300.0
"""How often they are read where nothing is missing: that they become older shows in refusals."""

_SOON_SECONDS = 10.0
"""How often they are read while something is left out, or while nothing is known of them."""

_LOOK_SECONDS = 5.0
"""How long a write that was refused waits for what they are now."""

_SHOWN = 40
"""Fields that a line of the log names."""

_NOT_FOUND = 404

_OLDER: Final = (
    "the API server's definitions are older than this version: fields that they lack are left out "
    "of status and cannot be declared; apply the CustomResourceDefinitions of this version"
)
_NEWER: Final = (
    "the API server's definitions are newer than this version: it ignores fields that it does not "
    "know"
)
_CAUGHT_UP: Final = "the API server's definitions know every field of this version"
_REFUSED: Final = (
    "the API server's definitions do not take a value: it is left out of status; apply the "
    "CustomResourceDefinitions of this version"
)
_UNREADABLE: Final = (
    "the API server's definitions cannot be read; if they are older than this version, it refuses "
    "status"
)


class Reader(Protocol):
    """Reads documents of the API server."""

    async def get_unless(self, path: str, tag: str) -> tuple[Mapping[str, Any] | None, str]:
        """Return a document and its tag, None if it still has this tag. Raises `RequestError`."""


@dataclass(frozen=True, slots=True)
class _Definition:
    """What a definition says of the objects of one kind."""

    spec: Schema
    status: Schema | None
    """None if they have none."""

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Self:
        properties = _mapping(schema.get("properties"))
        status = properties.get("status")
        return cls(
            schemas.compact(properties.get("spec")),
            schemas.compact(status) if status is not None else None,
        )

    def lacking(self, other: "_Definition") -> tuple[str, ...]:
        """Return the paths of the fields that `other` does not have."""
        found = set(schemas.lacking(self.spec, other.spec, "spec"))
        if self.status is not None:
            if other.status is None:
                found.add("status")
            else:
                found.update(schemas.lacking(self.status, other.status, "status"))
        return tuple(sorted(found))


class Definitions:
    """Knows the definitions, and what of a status they take. `run` it before anything is written.

    Until they have been read, they count as those of this version.
    """

    def __init__(
        self,
        client: Reader,
        *,
        kinds: Sequence[str],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` is called when they have become other ones than they were."""
        self._client = client
        self._on_change = on_change
        self._ours = {kind: _ours(kind) for kind in kinds}
        self._theirs: dict[str, _Definition] = {}
        self._alike: frozenset[str] = frozenset()
        """Kinds whose status is defined as in this version. Comparing them takes long."""
        self._lacking: dict[str, tuple[str, ...]] = {}
        """Fields of ours that they lack, by kind."""
        self._unknown: dict[str, tuple[str, ...]] = {}
        """Fields of theirs that this version does not know."""
        self._refused: dict[str, set[str]] = {}
        """Fields with a value that they do not take, as far as one has come up."""
        self._tag = ""
        self._is_readable = True
        self._wanted = asyncio.Event()
        self._read = asyncio.Event()
        """Set at the end of the reading that begins next."""
        self.edition = 0
        """Counts how often they have become other ones."""

    # --- what they take

    def fitted(self, kind: str, status: dict[str, Any]) -> Fitted:
        """Return the status as they take it; where nothing of it is, it is empty."""
        theirs = self._theirs.get(kind)
        if theirs is None or kind in self._alike:
            return Fitted(value=status)
        if theirs.status is None:
            return Fitted(value={}, left_out=("status",))
        fitted = schemas.fitted(status, theirs.status, "status")
        for path in fitted.left_out:
            self._note(kind, path)
        return fitted

    def _note(self, kind: str, path: str) -> None:
        """Tell what is left out, if that is not known from the fields that they lack."""
        refused = self._refused.setdefault(kind, set())
        if path not in refused and not _is_one_of(path, self._lacking[kind]):
            refused.add(path)
            logger.warning(_REFUSED, extra={"kind": kind, "fields": path})
            self._wanted.set()  # from now on they are read more often

    @property
    def missing(self) -> Mapping[tuple[str, str], int]:
        """How many fields each of them lacks or does not take, by kind and part of the object.

        Of kinds whose definition has not been read, nothing.
        """
        counts = {}
        for kind in self._theirs:
            fields = {*self._lacking[kind], *self._refused.get(kind, ())}
            for part in ("spec", "status"):
                counts[kind, part] = sum(path.partition(".")[0] == part for path in fields)
        return counts

    # --- reading them

    async def run(self) -> None:
        """Read them now, and whenever there is a reason to, until cancelled."""
        while True:
            read, self._read = self._read, asyncio.Event()
            self._wanted.clear()
            try:
                await self._look()
            except Exception:  # the top of a task: whatever they are, status is written
                logger.exception("definitions not compared")
            read.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds):
                    await self._wanted.wait()

    async def look(self) -> None:
        """Have them read, and return when that is done, or does not come to an end in time."""
        self._wanted.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._read.wait()

    @property
    def _pause_seconds(self) -> float:
        is_well = self._theirs and not any(self._lacking.values()) and not self._refused
        return _EVERY_SECONDS if is_well else _SOON_SECONDS

    async def _look(self) -> None:
        try:
            document, self._tag = await self._client.get_unless(_PATH, self._tag)
        except RequestError as error:
            self._fail(error)
            return
        self._is_readable = True
        if document is not None and (found := _found(document, self._ours)):
            self._learn(found)

    def _fail(self, error: RequestError) -> None:
        """Keep what is known; if reading was refused, say so once."""
        self._tag = ""
        level = logging.DEBUG
        if self._is_readable and isinstance(error, RefusedError) and error.code != _NOT_FOUND:
            self._is_readable = False
            level = logging.WARNING
        logger.log(level, _UNREADABLE, extra={"error": str(error)})

    def _learn(self, theirs: dict[str, _Definition]) -> None:
        if theirs == self._theirs:
            return
        self._theirs = theirs
        self._alike = frozenset(
            kind for kind, each in theirs.items() if each.status == self._ours[kind].status
        )
        refused, self._refused = self._refused, {}
        for kind, each in theirs.items():
            self._compare(kind, each, has_refused=kind in refused)
        self.edition += 1
        self._on_change()

    def _compare(self, kind: str, theirs: _Definition, *, has_refused: bool) -> None:
        lacking, unknown = self._ours[kind].lacking(theirs), theirs.lacking(self._ours[kind])
        had_lacked = self._lacking.get(kind, ())
        had_unknown = self._unknown.get(kind, ())
        self._lacking[kind], self._unknown[kind] = lacking, unknown
        if lacking and lacking != had_lacked:
            logger.warning(_OLDER, extra={"kind": kind, "fields": _listed(lacking)})
        if not lacking and (had_lacked or has_refused):
            logger.info(_CAUGHT_UP, extra={"kind": kind})
        if unknown and unknown != had_unknown:
            logger.info(_NEWER, extra={"kind": kind, "fields": _listed(unknown)})


@functools.cache
def _ours(kind: str) -> _Definition:
    """Return the definition of this version."""
    [version] = crds.crd(kind)["spec"]["versions"]
    return _Definition.of(version["schema"]["openAPIV3Schema"])


def _found(document: Mapping[str, Any], kinds: Collection[str]) -> dict[str, _Definition]:
    """Return what an OpenAPI document says of our kinds. Others, such as their lists, are in it."""
    found = {}
    for schema in _mapping(_mapping(document.get("components")).get("schemas")).values():
        for each in _mapping(schema).get("x-kubernetes-group-version-kind") or ():
            kind = each.get("kind")
            if kind in kinds and (each.get("group"), each.get("version")) == (GROUP, VERSION):
                found[kind] = _Definition.of(schema)
    return found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_one_of(path: str, fields: Collection[str]) -> bool:
    """Whether a path is that of one of the fields, or of what any name may stand for in one."""
    return path in fields or any(
        each.endswith(".*") and path.startswith(each.removesuffix("*")) for each in fields
    )


def _listed(fields: Sequence[str]) -> str:
    more = len(fields) - _SHOWN
    return ", ".join(fields[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
