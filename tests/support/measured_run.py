"""`springline run` with the metrics that the operator has, for tests: `python -m` this module.

At SIGUSR1 it writes what a scrape says into the file that `SCRAPE_FILE` in the environment names.
"""

import functools
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from springline import cli
from springline.clock import SystemClock
from springline.core.environment import Environment
from springline.core.manager import Manager
from springline.metrics import Collector, Metrics

__all__ = ["SCRAPE_FILE", "main"]

SCRAPE_FILE: Final = "SCRAPE_FILE"

_managers: list[Manager] = []


def main() -> None:
    """Run until a signal ends it."""
    metrics = Metrics(SystemClock())
    collector = Collector(
        metrics,
        lambda: [view for manager in _managers for view in manager.views()],
        per_object=True,
    )

    def scrape(*_: Any) -> None:
        path = Path(os.environ[SCRAPE_FILE])
        temporary = path.with_suffix(".new")
        temporary.write_bytes(collector.collect().render()[0])
        temporary.replace(path)

    signal.signal(signal.SIGUSR1, scrape)
    _with(Environment, meter=metrics)
    _noted(Manager)
    sys.argv[0] = "springline"
    cli.main(["run", *sys.argv[1:]])


def _with(kind: type, **values: Any) -> None:
    """Have objects of a kind made with these values, whatever others say."""
    before = kind.__init__  # type: ignore[misc]  # it is this kind's own

    @functools.wraps(before)
    def made(self: Any, **others: Any) -> None:
        before(self, **{**others, **values})

    kind.__init__ = made  # type: ignore[misc]  # for this process alone


def _noted(kind: type[Manager]) -> None:
    """Keep the manager that is made."""
    before = kind.__init__

    @functools.wraps(before)
    def made(self: Manager, *arguments: Any, **others: Any) -> None:
        before(self, *arguments, **others)
        _managers.append(self)

    kind.__init__ = made  # type: ignore[method-assign]  # for this process alone


if __name__ == "__main__":
    main()
