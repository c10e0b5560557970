"""One number of connections without a cluster: Springline, aiormq alone, amqp091-go alone.

Over TLS the broker's certificate is verified, with one TLS context for all connections of a
process, and there is no amqp091-go.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench import children, needs, peer, rows, sides
from bench.bare import USER
from bench.children import MeasurementFailed
from bench.plan import PASSWORDS, Plan
from bench.rows import Row, Step
from bench.sides import Measured
from bench.told import Told
from support.identities import Certificates
from support.rabbitmq import RabbitMQNode, TLSFiles

__all__ = [
    "Site",
    "broker",
    "declare_user",
    "measure",
    "prepared",
    "prepared_for_tls",
    "said",
    "steps",
]

_LOG_SECONDS = 10.0
_POLL_SECONDS = 0.1
_OPEN = Step(what="declared → all Ready", told="open", own="  processor time", others="")
_RENEW = Step(
    what="Secret changed → all renewed",
    told="renew",
    own="  processor time to renew",
    others=" to renew",
)
_SURVIVE = Step(
    what="broker back → all Ready again",
    told="survive",
    own="  processor time to reconnect",
    others=" to reconnect",
)
_HOLDS_MOST = {"vm_memory_high_watermark.relative": "0.9"}
"""So that ten thousand connections are no alarm on a small machine."""


def broker(directory: Path, *, tls: TLSFiles | None = None) -> RabbitMQNode:
    """Return the broker, not started. Raises `RabbitMQMissing`."""
    return RabbitMQNode(directory, extra_config=_HOLDS_MOST, tls=tls)


def steps(plan: Plan, *, idle_reach: str = "") -> list[Step]:
    """Return what is measured without a cluster, over any protocol."""
    idle = [sides.idle(plan, reach=idle_reach)] if plan.idle_seconds else []
    return [_OPEN, *idle, _RENEW, *([_SURVIVE] if plan.restarts_broker else [])]


def declare_user(node: RabbitMQNode) -> None:
    """Add the user that everything is measured with."""
    node.add_user(USER, PASSWORDS[0])
    node.set_permissions(USER, "/")


def said(node: RabbitMQNode, read: Callable[[str], float | None], *, since: int) -> float:
    """Return what the broker's log tells after so many characters; it comes a little late."""
    deadline = time.monotonic() + _LOG_SECONDS
    while (found := read(node.log_text()[since:])) is None:
        if time.monotonic() > deadline:
            raise MeasurementFailed("the broker's log does not say when it happened")
        time.sleep(_POLL_SECONDS)
    return found


def _go_program() -> Path | None:
    """Return the Go program, or say in one line why there is none."""
    try:
        return peer.program()
    except peer.GoMissing as error:
        print(f"amqp091-go is not measured: {error}.", flush=True)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is measured on. The broker has the user."""

    node: RabbitMQNode
    program: Path | None = None
    """Of Go, where it could be built."""
    authorities: Path | None = None
    """Whom to trust, where connections are over TLS."""


@contextlib.contextmanager
def prepared(directory: Path) -> Iterator[Site]:
    """Build the Go program and start the broker; stop it afterwards. Raises `RabbitMQMissing`."""
    program = _go_program()
    with broker(directory) as node:
        declare_user(node)
        yield Site(node=node, program=program)


@contextlib.contextmanager
def prepared_for_tls(directory: Path) -> Iterator[Site]:
    """Start the broker with a certificate; stop it afterwards. Raises `RabbitMQMissing`."""
    directory.mkdir(parents=True, exist_ok=True)
    files = Certificates.issue(directory).files
    with broker(directory / "broker", tls=files) as node:
        declare_user(node)
        yield Site(node=node, authorities=files.ca)


def measure(site: Site, count: int, plan: Plan, turn: int = 1) -> list[Row]:
    """Measure each side once; the broker is restarted.

    Raises `MeasurementFailed`, at once where the broker may not hold so many.
    """
    node = site.node
    if problem := needs.too_few_of_broker(count, node):
        raise MeasurementFailed(problem)
    told = Told(port=node.amqp_port, secret=PASSWORDS[0], count=count, plan=plan)
    if site.authorities is not None:
        told = replace(told, port=node.amqps_port, authorities=str(site.authorities))
    server = sides.of_rabbitmq(node, plan, count)

    def one(name: str, module: str, renewing: Callable[[], str]) -> Measured:
        return sides.measured(
            name,
            children.python(module, *told.arguments),
            count,
            plan,
            steps(plan, idle_reach="≤ 2 % at 1,000"),
            servers={"the broker": lambda: node.pid},
            renewing=renewing,
            server=server,
        )

    def changed() -> str:
        node.change_password(USER, PASSWORDS[1])
        return PASSWORDS[1]

    def springline() -> Measured:
        found = one("Springline", "held", changed)
        node.change_password(USER, PASSWORDS[0])
        return found

    peered, bare, ours = sides.by_turns(
        turn,
        lambda: _measure_peer(site.program, node, count, plan),
        lambda: one("aiormq", "bare", lambda: PASSWORDS[0]),
        springline,
    )
    assert bare is not None
    assert ours is not None
    return rows.beside(
        sides.rows_of(ours),
        bare=sides.rows_of(bare),
        go=sides.rows_of(peered) if peered else (),
    )


def _measure_peer(
    program: Path | None, node: RabbitMQNode, count: int, plan: Plan
) -> Measured | None:
    """Measure opening and renewing with amqp091-go; None where there is no Go."""
    if program is None:
        return None
    seconds = 4 * plan.seconds(count)
    return sides.measured(
        "the Go program",
        [program, str(node.amqp_port), USER, PASSWORDS[0], str(count), str(seconds)],
        count,
        plan,
        [_OPEN, _RENEW],
        servers={"the broker": lambda: node.pid},
        renewing=lambda: PASSWORDS[0],
    )
