"""`core.ports.Driver` for AMQP 1.0: one attempt."""

from springline.core import ports
from springline.core.values import OpenRequest
from springline.drivers.amqp10.parameters import Amqp10Parameters
from springline.errors import TerminalError
from springline.reasons import Reason

__all__ = ["Amqp10Driver"]


class Amqp10Driver:
    """Opens connections over AMQP 1.0."""

    async def open(self, request: OpenRequest[Amqp10Parameters]) -> ports.Connection:
        """Connect, log in and begin a session."""
        raise TerminalError(
            Reason.INVALID_SPEC, f"{request.endpoint}: AMQP 1.0 cannot be spoken by this version"
        )
