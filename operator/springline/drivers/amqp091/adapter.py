"""`core.ports.Adapter` for AMQP 0-9-1: what the rest of Springline knows of the protocol."""

from dataclasses import dataclass
from typing import Final

from springline.core import ports
from springline.drivers.amqp091.driver import Amqp091Driver

__all__ = ["ADAPTER", "Amqp091Adapter"]


@dataclass(frozen=True, slots=True)
class Amqp091Adapter:
    """The driver of AMQP 0-9-1, and what is declared for it."""

    driver: ports.Driver


ADAPTER: Final[ports.Adapter] = Amqp091Adapter(Amqp091Driver())
"""What the table of protocols finds."""
