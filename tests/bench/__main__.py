"""`make bench`: Springline beside the bare minimum and a peer, as tables, JSON and a picture.

The numbers of connections are given as arguments, for example `python -m bench 500 1000`. All
servers are private, on loopback, and stopped at the end, on Ctrl-C too.
"""

import argparse
import asyncio
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import cluster, commands, over_amqp10, over_http, picture, rows, standalone
from bench.children import MeasurementFailed
from bench.plan import Plan
from bench.rows import Row
from support.apiserver import APIServerMissing
from support.http_peers import HTTPPeerMissing
from support.missing import PeerMissing
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.tools import ToolMissing

RESULTS = Path("bench-results")
DEFAULT_COUNTS = (500, 1000, 2000)
DEFAULT_HTTP_COUNTS = (1000,)
"""One alone, as each takes more than a minute: idling is measured of what is beside it, too."""
DEFAULT_AMQP10_COUNTS = (500,)
PARTS = ("standalone", "http", "amqp10", "commands", "cluster")
MOST = 5000
"""More needs more ports and files than one machine gives to one broker by default."""
BESIDE = 500
"""Descriptors of a process beside its connections: its program, its logs, its other sockets."""


def main(arguments: Sequence[str]) -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, metavar="N", help="numbers of connections")
    parser.add_argument("--only", choices=PARTS, help="leave the others out")
    parser.add_argument("--picture", type=Path, help="where to draw the figures (SVG)")
    given = parser.parse_args(arguments)
    counts = given.counts or DEFAULT_COUNTS
    if not all(0 < count <= MOST for count in counts):
        parser.error(f"numbers of connections are between 1 and {MOST}")
    if problem := too_few_descriptors(max(counts)):
        raise SystemExit(problem)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        with tempfile.TemporaryDirectory(prefix="springline-bench-") as directory:
            parts = (given.only,) if given.only else PARTS
            if "standalone" in parts:
                report("standalone", without_cluster(Path(directory), counts))
            if "http" in parts:
                report("http", over_http_too(Path(directory), given.counts or DEFAULT_HTTP_COUNTS))
            if "amqp10" in parts:
                numbers = given.counts or DEFAULT_AMQP10_COUNTS
                report("amqp10", over_amqp10_too(Path(directory), numbers))
            if "commands" in parts:
                report("commands", of_commands(Path(directory)))
            if "cluster" in parts:
                measured = in_cluster(Path(directory), counts)
                report("cluster", measured)
                picture.draw(given.picture or RESULTS / "performance.svg", measured)
    except (MeasurementFailed, RabbitMQMissing) as error:
        raise SystemExit(f"make bench: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("stopped") from None


def too_few_descriptors(count: int) -> str:
    """Allow as many files as may be had, and say so where that is not enough."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    needed = count + BESIDE
    if most == resource.RLIM_INFINITY or most >= needed:
        return ""
    return (
        f"make bench: {count} connections need {needed} file descriptors and this shell allows "
        f"{most}; raise the limit (ulimit -Hn), or measure fewer: make bench BENCH_ARGS='500'"
    )


def without_cluster(directory: Path, counts: Sequence[int]) -> list[Row]:
    """Measure standalone mode with each number of connections."""
    program = standalone.go_program()
    found: list[Row] = []
    with RabbitMQNode(directory / "standalone") as node:
        standalone.declare_user(node)
        for count in counts:
            print(f"measuring {count} connections without a cluster …", flush=True)
            found += standalone.measure(node, count, Plan(), program)
    return found


def over_http_too(directory: Path, counts: Sequence[int]) -> list[Row]:
    """Measure sessions over HTTP with each number; nothing where there is no server."""
    found: list[Row] = []
    plan = Plan()
    plan = replace(plan, idle_seconds=plan.probe_seconds)  # each session is probed once meanwhile
    try:
        server = over_http.server(directory / "http")
    except HTTPPeerMissing as error:
        print(f"sessions over HTTP are not measured: {error}.", flush=True)
        return found
    with server:
        for count in counts:
            print(f"measuring {count} connections over HTTP …", flush=True)
            found += over_http.measure(server, count, plan)
    return found


def over_amqp10_too(directory: Path, counts: Sequence[int]) -> list[Row]:
    """Measure sessions over AMQP 1.0 with each number; nothing where there is no broker."""
    found: list[Row] = []
    try:
        node = over_amqp10.broker(directory / "amqp10")
    except PeerMissing as error:
        print(f"sessions over AMQP 1.0 are not measured: {error}.", flush=True)
        return found
    with node:
        for count in counts:
            print(f"measuring {count} connections over AMQP 1.0 …", flush=True)
            found += over_amqp10.measure(node, count, Plan())
    return found


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


def in_cluster(directory: Path, counts: Sequence[int]) -> list[Row]:
    """Measure the operator with each number of connections; nothing where there is no cluster."""
    found: list[Row] = []
    try:
        with cluster.prepared(directory / "cluster") as site:
            for count in counts:
                print(f"measuring {count} connections in a cluster …", flush=True)
                found += asyncio.run(cluster.measure(site, count, Plan()))
    except (APIServerMissing, ToolMissing) as error:
        print(f"the operator in a cluster is not measured: {error}.", flush=True)
    return found


def report(name: str, measured: Sequence[Row]) -> None:
    """Print the table and write it as JSON."""
    if not measured:
        return
    path = RESULTS / f"{name}.json"
    rows.write(path, measured)
    print(f"\n{name}\n{rows.table(measured)}\nwritten to {path}\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
