"""Springline as `python -m springline` runs it, with somebody inside who counts.

What it is told comes by environment variables, which Springline itself does not read:
`CHAOS_CENSUS` is where it answers (`census`), `CHAOS_BUG` is a defect to plant (`planted`). It is
run by its path.
"""

import asyncio
import concurrent.futures
import os
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

from chaos import census, planted  # noqa: E402

_THREADS = 6


def main() -> None:
    """Run the command line."""
    if bug := os.environ.get("CHAOS_BUG"):
        planted.plant(bug)
    unchanged = asyncio.run

    def run(main: Coroutine[Any, Any, Any], **options: Any) -> Any:
        # Threads that have an event loop of their own for a while are counted as threads.
        is_first = threading.current_thread() is threading.main_thread()
        return unchanged(_counted(main) if is_first else main, **options)

    asyncio.run = run  # as the command line calls it
    from springline.cli import main as command_line

    command_line(prog_name="springline")


async def _counted(main: Coroutine[Any, Any, Any]) -> Any:
    """Run it beside the census."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(_warm_executor())
    census.serve(os.environ["CHAOS_CENSUS"], loop)
    return await main


def _warm_executor() -> concurrent.futures.ThreadPoolExecutor:
    """Return asyncio's threads with all of them started, so that none counts as new later."""
    executor = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="asyncio")
    barrier = threading.Barrier(_THREADS)
    concurrent.futures.wait([executor.submit(barrier.wait) for _ in range(_THREADS)])
    return executor


if __name__ == "__main__":
    main()
