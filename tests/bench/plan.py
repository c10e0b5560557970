"""How a measurement is made; the same for Springline and for what it is compared with."""

from dataclasses import dataclass

__all__ = ["HEARTBEAT", "HTTP_PATH", "PASSWORDS", "RETRY", "Plan"]

HEARTBEAT = "30s"
RETRY = {"delay": "1s", "maxDelay": "2s"}
PASSWORDS = ("first-password", "second-password")
"""Of the user, before and after the rotation."""


HTTP_PATH = "/either"
"""What is asked for over HTTP; the server takes both passwords there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What may be made shorter for a trial."""

    idle_seconds: float = 30.0
    probe_seconds: int = 15
    """The default of BrokerConnections."""
    quiet_seconds: float = 1.0
    """After which nothing more is taken to be on its way to the API server."""
    restarts_broker: bool = True

    @property
    def probe(self) -> dict[str, str]:
        """As a BrokerConnection declares it."""
        return {"mode": "Publish", "interval": f"{self.probe_seconds}s"}

    @property
    def idle(self) -> str:
        """What idle means, in words."""
        return f"idle, probe {self.probe_seconds} s, heartbeat {HEARTBEAT.removesuffix('s')} s"

    @staticmethod
    def seconds(count: int) -> float:
        """How long a step may take before it counts as failed: many times what it takes."""
        return 60.0 + 0.05 * count
