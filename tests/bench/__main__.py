"""`make bench`: Springline beside the bare minimum and a peer, as tables, JSON and a picture.

The numbers of connections are given as arguments, for example `python -m bench 500 1000`. Within
one run Springline and what is beside it take turns, and each figure is the median of its turns. All
servers are private, on loopback, and stopped at the end, on Ctrl-C too.
"""

import argparse
import functools
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from bench import (
    cluster,
    commands,
    costs,
    needs,
    over_amqp10,
    over_http,
    picture,
    rows,
    standalone,
    tables,
)
from bench.children import MeasurementFailed
from bench.plan import Plan
from bench.rows import Row
from bench.tables import PREFERRED
from support.apiserver import APIServerMissing
from support.http_peers import HTTPPeerMissing
from support.missing import PeerMissing
from support.rabbitmq import RabbitMQMissing
from support.tools import ToolMissing

RESULTS = Path("bench-results")
DEFAULT_COUNTS = (500, 1000, 2000)
FEWER = {"tls": (1000,), "http": (1000,), "amqp10": (1000,)}
"""Parts that the page has with one size: with it no other is measured, unless `--only` says so."""
PARTS = ("standalone", "tls", "http", "amqp10", "commands", "cluster")
MOST = 10_000
"""More needs more ports and files than one machine gives to one broker by default."""
MOST_OF_PART = {"tls": 5000, "http": 5000, "amqp10": 5000, "cluster": 5000}
"""Of the others MOST."""
TIMES = 3
"""Turns of the size that the documentation has in full, where none are asked for; the others have
one, or the whole would take an hour."""

Site = TypeVar("Site")

Measuring = Callable[[Path, Sequence[int], int | None], list[Row]]
"""Measures one part, with files in a folder, with each number of connections, in so many turns."""


class Incomplete(MeasurementFailed):
    """A size was not measured to its end; `found` is what was measured before."""

    def __init__(self, text: str, found: list[Row]) -> None:
        super().__init__(text)
        self.found = found


def main(arguments: Sequence[str]) -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, metavar="N", help="numbers of connections")
    parser.add_argument("--only", choices=PARTS, help="leave the others out")
    parser.add_argument(
        "--times",
        type=int,
        help=f"turns, whose median counts; if unsaid, {TIMES} with {PREFERRED} and 1 with others",
    )
    parser.add_argument("--picture", type=Path, help="where to draw the figures (SVG)")
    given = parser.parse_args(arguments)
    if not all(0 < count <= MOST for count in given.counts):
        parser.error(f"numbers of connections are between 1 and {MOST}")
    if given.times is not None and given.times < 1:
        parser.error("--times is at least 1")
    if problem := needs.too_few_descriptors(max(given.counts or DEFAULT_COUNTS)):
        raise SystemExit(f"make bench: {problem}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    began = time.monotonic()
    failed: list[str] = []
    found: dict[str, list[Row]] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="springline-bench-") as directory:
            for part in (given.only,) if given.only else PARTS:
                asked = given.counts if given.only else enough(part, given.counts)
                try:
                    measured = measure(part, Path(directory), asked, given.times)
                except Incomplete as error:
                    print(f"{error}; on with the next part.", flush=True)
                    failed.append(str(error))
                    measured = error.found
                report(part, measured)
                found[part] = measured
                if part == "cluster":
                    picture.draw(given.picture or RESULTS / "performance.svg", measured)
    except (MeasurementFailed, RabbitMQMissing) as error:
        raise SystemExit(f"make bench: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("stopped") from None
    report_costs(found)
    print(f"all of it took {(time.monotonic() - began) / 60:.0f} minutes", flush=True)
    if failed:
        raise SystemExit(f"make bench: {'; '.join(failed)}")


def turns(count: int, times: int | None) -> int:
    """Return how often each side is measured with so many connections."""
    if times is not None:
        return times
    return TIMES if count == PREFERRED else 1


def enough(part: str, asked: Sequence[int]) -> Sequence[int]:
    """Return those of the sizes that a part is measured with where all parts are."""
    return [count for count in asked if count in FEWER.get(part, asked)] or asked


def sizes(part: str, asked: Sequence[int]) -> list[int]:
    """Return with how many connections a part is measured; say which are left out, and why."""
    most = MOST_OF_PART.get(part, MOST)
    found = []
    for count in asked or FEWER.get(part, DEFAULT_COUNTS):
        if count <= most:
            found.append(count)
        else:
            print(f"{part}: {count} connections are left out, {most} are the most.", flush=True)
    return needs.possible(found)


def measure(part: str, directory: Path, asked: Sequence[int], times: int | None) -> list[Row]:
    """Measure one part; nothing where its servers cannot be had."""
    if part == "commands":
        return of_commands(directory)
    counts = sizes(part, asked)
    if not counts:
        return []
    try:
        return MEASURES[part](directory / part, counts, times)
    except (APIServerMissing, ToolMissing, HTTPPeerMissing, PeerMissing) as error:
        print(f"{part} is not measured: {error}.", flush=True)
        return []


def in_turns(
    part: str, counts: Sequence[int], times: int | None, once: Callable[[int, Plan, int], list[Row]]
) -> list[Row]:
    """Measure each size in its turns; `once` takes the size, the plan, and which turn, from 1.

    Raises `Incomplete` where a turn fails; turns of the same size are lost, smaller sizes are not.
    """
    found: list[Row] = []
    for count in counts:
        number = turns(count, times)
        taken = []
        for turn in range(1, number + 1):
            print(f"{part}: {count} connections, turn {turn} of {number} …", flush=True)
            began = time.monotonic()
            try:
                taken.append(once(count, Plan().of_turn(turn), turn))
            except MeasurementFailed as error:
                raise Incomplete(f"{part}, {count} connections: {error}", found) from None
            print(f"  {time.monotonic() - began:.0f} s", flush=True)
        found += rows.medians(taken)
    return found


def on(
    part: str,
    prepared: Callable[[Path], AbstractContextManager[Site]],
    once: Callable[[Site, int, Plan, int], list[Row]],
) -> Measuring:
    """Return what measures a part on servers that are prepared once for all sizes and turns."""

    def measuring(directory: Path, counts: Sequence[int], times: int | None) -> list[Row]:
        with prepared(directory) as site:
            return in_turns(part, counts, times, functools.partial(once, site))

    return measuring


MEASURES: dict[str, Measuring] = {
    "standalone": on("standalone", standalone.prepared, standalone.measure),
    "tls": on("tls", standalone.prepared_for_tls, standalone.measure),
    "http": on("http", over_http.server, over_http.measure),
    "amqp10": on("amqp10", over_amqp10.broker, over_amqp10.measure),
    "cluster": on("cluster", cluster.prepared, cluster.measure),
}


def of_commands(directory: Path) -> list[Row]:
    """Measure how long commands take; nothing where there is no cluster."""
    print(f"measuring commands, with {commands.COUNT} connections …", flush=True)
    place = directory / "commands"
    place.mkdir()
    try:
        return commands.measured(place)
    except (APIServerMissing, ToolMissing) as error:
        print(f"commands are not measured: {error}.", flush=True)
    return []


def report(name: str, measured: Sequence[Row]) -> None:
    """Print the table, and write it as JSON and as the page of the documentation has it."""
    if not measured:
        return
    path = RESULTS / f"{name}.json"
    rows.write(path, measured)
    page = path.with_suffix(".md")
    document = tables.document(name, measured)
    page.write_text(document, encoding="utf-8")
    print(
        f"\n{name}\n{rows.table(measured)}\n\n{document}\nwritten to {path} and {page}\n",
        flush=True,
    )


def report_costs(measured: Mapping[str, Sequence[Row]]) -> None:
    """Print and write what a thousand connections cost, of all parts that were measured."""
    if written := costs.document(measured):
        page = RESULTS / "costs.md"
        page.write_text(written, encoding="utf-8")
        print(f"{written}\nwritten to {page}\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
