"""One number of connections over AMQP 1.0, without a cluster: Springline, and proton alone.

The broker is the newer RabbitMQ of the tests, which renews tokens in place. Both sides log in with
a token by PLAIN, and bring a second one to each connection.
"""

from pathlib import Path

from bench import children, needs, rows, sides, standalone
from bench.bare import USER
from bench.children import MeasurementFailed
from bench.plan import Plan
from bench.rows import Row
from bench.sides import Measured
from bench.told import Told
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


def measure(node: RabbitMQNode, count: int, plan: Plan, turn: int = 1) -> list[Row]:
    """Measure each side once; `node` is restarted.

    Raises `MeasurementFailed`, at once where the broker may not hold so many.
    """
    if problem := needs.too_few_of_broker(count, node):
        raise MeasurementFailed(problem)
    issuer = Issuer()

    def one(name: str, module: str) -> Measured:
        token = issuer.token(USER)
        told = Told(port=node.amqp_port, secret=token, count=count, plan=plan, speech="AMQP10")
        return sides.measured(
            name,
            children.python(module, *told.arguments),
            count,
            plan,
            standalone.steps(plan),
            servers={"the broker": lambda: node.pid},
            renewing=lambda: issuer.token(USER),
            server=sides.of_rabbitmq(node, plan, count),
        )

    bare, ours = sides.by_turns(
        turn, lambda: one("proton", "bare_amqp10"), lambda: one("Springline", "held")
    )
    return rows.beside(sides.rows_of(ours), bare=sides.rows_of(bare))
