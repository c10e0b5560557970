"""One number of connections over AMQP 1.0, without a cluster: Springline, and proton alone.

The broker is the newer RabbitMQ of the tests, which renews tokens in place. Both sides log in with
a token by PLAIN, and bring a second one to each connection.
"""

from pathlib import Path

from bench import children
from bench.bare import USER
from bench.plan import Plan
from bench.rows import Row
from support import brokers
from support.identities import Issuer
from support.missing import PeerMissing
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.token_broker import taking_tokens

__all__ = ["broker", "measure"]


def broker(directory: Path) -> RabbitMQNode:
    """Return the broker, not started. Raises `PeerMissing`."""
    newer = brokers.newer()
    if newer.missing:
        raise PeerMissing(str(newer))
    try:
        return taking_tokens(directory, on=newer.environment)
    except RabbitMQMissing as error:
        raise PeerMissing(str(error)) from None


def measure(node: RabbitMQNode, count: int, plan: Plan) -> list[Row]:
    """Measure so many connections."""
    limit = 4 * plan.seconds(count) + plan.idle_seconds
    issuer = Issuer()
    told = (node.amqp_port, issuer.token(USER), count, plan.idle_seconds, plan.probe_seconds)

    command = children.python("bare_amqp10", *told)
    with children.started("proton", command, seconds=limit) as child:
        bare = child.figures()
        child.tell(issuer.token(USER))
        bare_renewed = child.figures()
    command = children.python("held", *told, "AMQP10")
    with children.started("Springline", command, seconds=limit) as child:
        ours = child.figures()
        child.tell(issuer.token(USER))
        renewed = child.figures()

    return [
        Row(what="memory per connection", count=count, unit="KB", is_fitted=True, is_each=True,
            ours=ours["memory"] / 1000, bare=bare["memory"] / 1000),
        Row(what="declared → all Ready", count=count, unit="s", is_fitted=True,
            ours=ours["wall"], bare=bare["wall"]),
        Row(what="  processor time", count=count, unit="s",
            ours=ours["cpu"], bare=bare["cpu"]),
        Row(what=plan.idle, count=count, unit="% of a core",
            ours=ours["idle"] * 100, bare=bare["idle"] * 100),
        Row(what="Secret changed → all renewed", count=count, unit="s", is_fitted=True,
            ours=renewed["wall"], bare=bare_renewed["wall"]),
        Row(what="  processor time to renew", count=count, unit="s",
            ours=renewed["cpu"], bare=bare_renewed["cpu"]),
    ]  # fmt: skip
