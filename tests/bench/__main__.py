"""`make bench`: sessions held by Springline beside bare aiormq, as a table and as JSON.

Each figure comes from a child process of its own against the same private broker. The sizes are
given as arguments, for example `python -m bench 500 1000`.
"""

import contextlib
import json
import math
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from support.rabbitmq import RabbitMQNode

RESULTS = Path("bench-results")
DEFAULT_SIZES = (250, 500, 1000)
CHILD_SECONDS = 180
NEW_PASSWORD = "another-guest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement beside its reference."""

    what: str
    count: int
    unit: str
    ours: float
    bare: float | None
    reach: str

    @property
    def ratio(self) -> float | None:
        return self.ours / self.bare if self.bare else None


@contextlib.contextmanager
def child(module: str, port: int, count: int) -> Iterator[tuple[IO[str], IO[str]]]:
    """Run a child and give its input and output; it is gone afterwards."""
    command = [sys.executable, "-m", f"bench.{module}", str(port), str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdin, process.stdout
            process.stdin.close()
            process.wait(CHILD_SECONDS)
        finally:
            process.kill()
    if process.returncode != 0:
        raise SystemExit(f"bench.{module} with {count} connections failed; see above")


def figures(out: IO[str]) -> dict[str, float]:
    """Return the next figures that a child reports."""
    line = out.readline()
    if not line:
        raise SystemExit("a measurement ended early; see above")
    return dict(json.loads(line))


def measure(node: RabbitMQNode, count: int) -> list[Row]:
    """Measure one size."""
    with child("bare", node.amqp_port, count) as (_, out):
        bare = figures(out)
    with child("held", node.amqp_port, count) as (to_child, out):
        ours = figures(out)
        node.change_password("guest", NEW_PASSWORD)
        print(NEW_PASSWORD, file=to_child, flush=True)
        renewed = figures(out)
        print("\n", file=to_child, end="", flush=True)
        node.stop()
        figures(out)
        node.start()
        print("\n", file=to_child, end="", flush=True)
        again = figures(out)
    node.change_password("guest", "guest")
    return [
        Row(what="memory per connection", count=count, unit="KB", reach="≤ 45 KB",
            ours=ours["memory"] / 1000, bare=bare["memory"] / 1000),
        Row(what="declared → all Ready", count=count, unit="s", reach="",
            ours=ours["wall"], bare=bare["wall"]),
        Row(what="processor time for that", count=count, unit="s", reach="",
            ours=ours["cpu"], bare=bare["cpu"]),
        Row(what="idle, probe 15 s, heartbeat 30 s", count=count, unit="% of a core",
            reach="≤ 2 % at 1,000", ours=ours["idle"] * 100, bare=None),
        Row(what="Secret changed → all renewed", count=count, unit="s", reach="",
            ours=renewed["wall"], bare=bare["rotation"]),
        Row(what="processor time to renew", count=count, unit="s", reach="",
            ours=renewed["cpu"], bare=bare["rotation_cpu"]),
        Row(what="broker back → all Ready again", count=count, unit="s", reach="",
            ours=again["wall"], bare=None),
    ]  # fmt: skip


def growth(rows: Sequence[Row], what: str) -> float | None:
    """Return the exponent of the growth with the number of connections (1 is linear)."""
    points = [(math.log(row.count), math.log(row.ours)) for row in rows if row.what == what]
    if len(points) < 2:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    print(f"\n{'what':<34}{'N':>6}{'Springline':>14}{'aiormq':>12}{'ratio':>8}   unit, reach")
    for row in rows:
        bare = f"{row.bare:.2f}" if row.bare is not None else "-"
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else "-"
        print(
            f"{row.what:<34}{row.count:>6}{row.ours:>14.2f}{bare:>12}{ratio:>8}   "
            f"{row.unit} {row.reach}".rstrip()
        )
    exponent = growth(rows, "processor time for that")
    if exponent is not None:
        print(f"\nprocessor time to open grows with N to the power of {exponent:.2f} (reach ≤ 1.1)")


def main(sizes: Sequence[int]) -> None:
    """Measure all sizes against one broker."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="springline-bench-") as directory,
        RabbitMQNode(Path(directory)) as node,
    ):
        for count in sizes:
            print(f"measuring {count} connections …", flush=True)
            rows += measure(node, count)
    show(rows)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "standalone.json"
    document = [
        {"what": row.what, "connections": row.count, "unit": row.unit, "springline": row.ours,
         "aiormq": row.bare, "ratio": row.ratio}
        for row in rows
    ]  # fmt: skip
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or DEFAULT_SIZES)
