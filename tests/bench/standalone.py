"""One number of connections without a cluster: Springline, aiormq alone, amqp091-go alone."""

import time
from collections.abc import Callable
from pathlib import Path

from bench import children, needs, peer, rows, sides
from bench.bare import USER
from bench.children import MeasurementFailed
from bench.plan import PASSWORDS, Plan
from bench.rows import Row, Step
from bench.sides import Measured
from support.rabbitmq import RabbitMQNode

__all__ = ["broker", "declare_user", "go_program", "measure", "said", "steps"]

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


def broker(directory: Path) -> RabbitMQNode:
    """Return the broker, not started. Raises `RabbitMQMissing`."""
    return RabbitMQNode(directory, extra_config=_HOLDS_MOST)


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


def go_program() -> Path | None:
    """Return the Go program, or say in one line why there is none."""
    try:
        return peer.program()
    except peer.GoMissing as error:
        print(f"amqp091-go is not measured: {error}.", flush=True)
        return None


def measure(
    node: RabbitMQNode, count: int, plan: Plan, program: Path | None, *, turn: int = 1
) -> list[Row]:
    """Measure each side once; `node` has the user, and is restarted.

    Raises `MeasurementFailed`, at once where the broker may not hold so many.
    """
    if problem := needs.too_few_of_broker(count, node):
        raise MeasurementFailed(problem)
    told = (node.amqp_port, PASSWORDS[0], count, plan.idle_seconds, plan.probe_seconds)
    server = sides.of_rabbitmq(node, plan, count)

    def one(name: str, module: str, renewing: Callable[[], str]) -> Measured:
        return sides.measured(
            name,
            children.python(module, *told),
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
        lambda: _measure_peer(program, node, count, plan),
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
