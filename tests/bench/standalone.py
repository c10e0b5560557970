"""One number of connections without a cluster: Springline, aiormq alone, amqp091-go alone."""

import time
from collections.abc import Callable
from pathlib import Path

from bench import broker_log, children, peer
from bench.bare import USER
from bench.children import Child, MeasurementFailed
from bench.plan import PASSWORDS, Plan
from bench.rows import Row
from support.rabbitmq import RabbitMQNode

__all__ = ["declare_user", "measure", "reopened", "restarted", "said"]

_LOG_SECONDS = 10.0
_POLL_SECONDS = 0.1


def declare_user(node: RabbitMQNode) -> None:
    """Add the user that everything is measured with."""
    node.add_user(USER, PASSWORDS[0])
    node.set_permissions(USER, "/")


def restarted(node: RabbitMQNode) -> float:
    """Restart the broker and return when it could take connections, in seconds since 1970."""
    written = len(node.log_text())
    node.stop()
    node.start()
    return said(node, broker_log.listens_since, since=written)


def said(node: RabbitMQNode, read: Callable[[str], float | None], *, since: int) -> float:
    """Return what the broker's log tells after so many characters; it comes a little late."""
    deadline = time.monotonic() + _LOG_SECONDS
    while (found := read(node.log_text()[since:])) is None:
        if time.monotonic() > deadline:
            raise MeasurementFailed("the broker's log does not say when it happened")
        time.sleep(_POLL_SECONDS)
    return found


def reopened(child: Child, node: RabbitMQNode, plan: Plan) -> float | None:
    """Restart the broker under a child, if that is planned.

    Return for how long it had been back when all was open again.
    """
    if not plan.restarts_broker:
        return None
    child.tell("restart")
    child.figures()
    back_at = restarted(node)
    return child.figures()["at"] - back_at


def _measure_peer(
    program: Path | None, node: RabbitMQNode, count: int, *, seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Return what opening and renewing takes amqp091-go; nothing where there is no Go."""
    if program is None:
        return {}, {}
    command: list[str | Path] = [program, str(node.amqp_port), USER, PASSWORDS[0], str(count)]
    with children.started("the Go program", command, seconds=seconds) as child:
        return child.figures(), child.figures()


def go_program() -> Path | None:
    """Return the Go program, or say in one line why there is none."""
    try:
        return peer.program()
    except peer.GoMissing as error:
        print(f"amqp091-go is not measured: {error}.", flush=True)
        return None


def measure(node: RabbitMQNode, count: int, plan: Plan, program: Path | None) -> list[Row]:
    """Measure it; `node` has the user, and is restarted."""
    port, (first, second) = node.amqp_port, PASSWORDS
    limit = 4 * plan.seconds(count) + plan.idle_seconds
    go, go_renewed = _measure_peer(program, node, count, seconds=limit)

    command = children.python("bare", port, first, count)
    with children.started("aiormq", command, seconds=limit) as child:
        bare, bare_renewed = child.figures(), child.figures()
        bare_back = reopened(child, node, plan)

    command = children.python("held", port, first, count, plan.idle_seconds, plan.probe_seconds)
    with children.started("Springline", command, seconds=limit) as child:
        ours = child.figures()
        node.change_password(USER, second)
        child.tell(second)
        renewed = child.figures()
        back = reopened(child, node, plan)
    node.change_password(USER, first)

    rows = [
        Row(what="memory per connection", count=count, unit="KB", is_fitted=True, is_each=True,
            ours=ours["memory"] / 1000, bare=bare["memory"] / 1000,
            go=go["memory"] / 1000 if go else None),
        Row(what="declared → all Ready", count=count, unit="s", is_fitted=True,
            ours=ours["wall"], bare=bare["wall"], go=go.get("wall")),
        Row(what="  processor time", count=count, unit="s",
            ours=ours["cpu"], bare=bare["cpu"], go=go.get("cpu")),
        Row(what=plan.idle, count=count, unit="% of a core", reach="≤ 2 % at 1,000",
            ours=ours["idle"] * 100),
        Row(what="Secret changed → all renewed", count=count, unit="s", is_fitted=True,
            ours=renewed["wall"], bare=bare_renewed["wall"], go=go_renewed.get("wall")),
        Row(what="  processor time to renew", count=count, unit="s",
            ours=renewed["cpu"], bare=bare_renewed["cpu"], go=go_renewed.get("cpu")),
    ]  # fmt: skip
    if back is not None:
        what = "broker back → all Ready again"
        rows.append(Row(what=what, count=count, unit="s", ours=back, bare=bare_back))
    return rows
