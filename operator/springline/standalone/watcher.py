"""Follows a directory of manifests: every change is read as a whole set and applied.

A rename is a file gone and a file come in one set, so a session that moved with it stays open.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from pathlib import Path

import watchfiles

from springline.errors import ManifestError
from springline.standalone import loader
from springline.standalone.loader import Manifests, Problem
from springline.threads import Threads

__all__ = ["follow"]

logger = logging.getLogger(__name__)

_UNWATCHED_SECONDS = 0.5
"""How often to compare while there is nothing to watch."""

_COMPARE_MILLISECONDS = 5_000
"""How often to compare what is there, for changes that the kernel does not tell."""


async def follow(directory: Path) -> AsyncIterator[Manifests]:
    """Yield the manifests of a directory now, and again after every change of its files.

    If the directory cannot be listed for a while, the last good set is kept and the problem is
    reported with it. Safe to cancel.
    """
    manifests = Manifests()
    files = Threads(at_once=2, name="manifests")
    # What the files looked like before they are read for the first time is what later looks are
    # compared with, so that no change falls between the reading and the beginning of the watch.
    events = _changes(directory, files, seen=await files.run(partial(_signature, directory)))
    try:
        while True:
            next_change = asyncio.ensure_future(_next(events))
            try:
                # In a thread, because sessions have to go on while thousands of documents are read,
                # and the disk may not answer.
                manifests = await files.run(partial(_loaded, directory, manifests))
                yield manifests
                await next_change
            finally:
                next_change.cancel()
                await asyncio.wait({next_change})
    finally:
        await events.aclose()


async def _next(events: AsyncGenerator[None, None]) -> None:
    await anext(events)


def _loaded(directory: Path, before: Manifests) -> Manifests:
    try:
        return loader.load(loader.manifest_files(directory), previous=before)
    except ManifestError as error:
        problem = Problem(error.position, error.problems[0] + "; what it held before is kept")
        # With its mistakes: nobody has mended them, and they are why something has no session.
        kept = before.problems if before.is_listed else before.problems[1:]
        return Manifests(
            objects=before.objects,
            problems=(problem, *kept),
            files=before.files,
            is_listed=False,
        )


async def _changes(directory: Path, files: Threads, *, seen: object) -> AsyncGenerator[None, None]:
    """Yield whenever something in the directory may have changed since its signature was `seen`.

    The kernel tells of changes of what the path meant when the watch began: not of a directory
    that took its place, not of what a symbolic link in it points at, and on some network file
    systems of nothing. So what is there is compared with what was there, too.
    """
    complaint = ""
    while True:
        watched = await files.run(partial(_identity, directory))
        try:
            async with contextlib.aclosing(_watch(directory)) as watching:
                async for changes in watching:
                    complaint = ""
                    found = await files.run(partial(_signature, directory))
                    if changes or found != seen:
                        seen = found
                        yield
                    if await files.run(partial(_identity, directory)) != watched:
                        break
        except (OSError, RuntimeError) as error:  # RuntimeError: watchfiles' own
            if str(error) != complaint and watched is not None:
                logger.warning("directory not watched", extra={"path": directory, "error": error})
            complaint = str(error)
            await asyncio.sleep(_UNWATCHED_SECONDS)
            if (found := await files.run(partial(_signature, directory))) != seen:
                seen = found
                yield


def _watch(directory: Path) -> AsyncGenerator[set[watchfiles.main.FileChange], None]:
    return watchfiles.awatch(
        directory,
        watch_filter=None,  # mounted ConfigMaps change by a hidden symbolic link
        debounce=200,  # milliseconds: at most this long after the first change
        step=20,  # milliseconds without a further change
        rust_timeout=_COMPARE_MILLISECONDS,
        yield_on_timeout=True,
        recursive=False,
    )


def _identity(directory: Path) -> tuple[int, int] | None:
    """Return what the path means now, None for nothing."""
    try:
        found = directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _signature(directory: Path) -> object:
    """Return something that differs when a file has been changed, added or removed."""
    try:
        files = [(path, path.stat()) for path in loader.manifest_files(directory)]
    except (ManifestError, OSError):
        return None
    return [(path, found.st_ino, found.st_size, found.st_mtime_ns) for path, found in files]
