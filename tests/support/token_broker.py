"""A private RabbitMQ node that takes passwords, and the tokens of `identities.Issuer`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from support.identities import TRUST_IN_TOKENS
from support.rabbitmq import RabbitMQNode

__all__ = ["taking_tokens"]


def taking_tokens(
    directory: Path,
    *,
    management: bool = False,
    plugins: Sequence[str] = (),
    on: Mapping[str, str] | None = None,
) -> RabbitMQNode:
    """Return the node, not started yet; with its management interface and more plugins if told.

    `on` is as `RabbitMQNode` has it. Raises `RabbitMQMissing`.
    """
    return RabbitMQNode(
        directory,
        plugins=("rabbitmq_auth_backend_oauth2", *plugins),
        management=management,
        on=on,
        extra_config={
            "auth_backends.1": "internal",
            "auth_backends.2": "rabbit_auth_backend_oauth2",
        },
        advanced_config=TRUST_IN_TOKENS,
    )
