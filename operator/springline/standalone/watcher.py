"""Follows a directory of manifests: every change is read as a whole set and applied.

A rename is a file gone and a file come in one set, so a session that moved with it stays open.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

import watchfiles

from springline.errors import ManifestError
from springline.standalone import loader
from springline.standalone.loader import Manifests, Problem

__all__ = ["follow"]

logger = logging.getLogger(__name__)


async def follow(
    directory: Path,
    *,
    changes: Callable[[Path], AsyncGenerator[object, None]] | None = None,
) -> AsyncIterator[Manifests]:
    """Yield the manifests of a directory now, and again after every change of its files.

    If the directory cannot be listed for a while, the last good set is kept and the problem is
    reported with it. Safe to cancel.
    """
    manifests = Manifests()
    events = (changes or _changes)(directory)
    try:
        while True:
            # The watch is on before the files are read, so that no change falls between the two.
            next_change = asyncio.ensure_future(_next(events))
            await asyncio.sleep(0)
            try:
                manifests = _loaded(directory, manifests)
                yield manifests
                if not await next_change:
                    return
            finally:
                next_change.cancel()
                await asyncio.wait({next_change})
    finally:
        await events.aclose()


async def _next(events: AsyncGenerator[object, None]) -> bool:
    try:
        await anext(events)
    except StopAsyncIteration:
        return False
    return True


def _loaded(directory: Path, before: Manifests) -> Manifests:
    try:
        return loader.load(loader.manifest_files(directory), previous=before)
    except ManifestError as error:
        problem = Problem(error.where, error.problems[0] + "; what it held before is kept")
        return Manifests(objects=before.objects, problems=(problem,), files=before.files)


def _changes(directory: Path) -> AsyncGenerator[object, None]:
    return watchfiles.awatch(
        directory,
        watch_filter=None,  # mounted ConfigMaps change by a hidden symbolic link
        debounce=200,  # milliseconds: at most this long after the first change
        step=20,  # milliseconds without a further change
        recursive=False,
        stop_event=None,
    )
