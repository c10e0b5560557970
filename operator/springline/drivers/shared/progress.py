"""How far an attempt has come: a transport first, then what the protocol has for steps.

A value that the attempt writes and the translation of failures reads. What a failure at a step
means is in failures.py, and in the driver for the driver's own steps.
"""

import enum
from dataclasses import dataclass
from typing import Generic, TypeVar

from springline.core.values import Endpoint

__all__ = ["Progress", "TransportStep"]

StepT = TypeVar("StepT", bound=enum.Enum)


class TransportStep(enum.Enum):
    """The steps before a driver's own; the value says what was missing when it ended there."""

    TCP = "no TCP connection"
    TLS = "connected, but the TLS handshake was not completed; does the port speak TLS?"


@dataclass(slots=True, kw_only=True)
class Progress(Generic[StepT]):
    """What one attempt has reached; a driver names its further steps, with values alike."""

    endpoint: Endpoint
    timeout: float
    address: str = ""
    step: TransportStep | StepT = TransportStep.TCP

    @property
    def authenticated(self) -> bool:
        """Whether the broker has accepted the login. A driver knows at which step that is."""
        return False

    @property
    def where(self) -> str:
        """The peer as people see it."""
        at = f" ({self.address})" if self.address not in ("", self.endpoint.host) else ""
        return f"{self.endpoint}{at}"
