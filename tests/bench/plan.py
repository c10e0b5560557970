"""How a measurement is made; the same for Springline and for what it is compared with."""

from dataclasses import dataclass, replace

__all__ = ["AT_ONCE", "HEARTBEAT", "HTTP_PATH", "PASSWORDS", "PAUSE_SECONDS", "RETRY", "Plan"]

AT_ONCE = 50
"""Handshakes under way together, as connectLimit.concurrent is by default."""

HEARTBEAT = "30s"
RETRY = {"delay": "1s", "maxDelay": "2s"}
PAUSE_SECONDS = 2.0
"""Of what is beside Springline, between tries while a server is away, give or take thirty per cent:
as RETRY has it."""
PASSWORDS = ("first-password", "second-password")
"""Of the user, before and after the rotation."""


HTTP_PATH = "/either"
"""What is asked for over HTTP; the server takes both passwords there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What may be made shorter for a trial."""

    probe_seconds: int = 15
    """The default of BrokerConnections."""
    idle_seconds: float = 15.0
    """So that each session is probed once meanwhile, and sends one heartbeat; 0 leaves it out."""
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

    def of_turn(self, turn: int) -> "Plan":
        """Return the plan of a turn: idling is the same in each, so that the first is enough."""
        return self if turn == 1 else replace(self, idle_seconds=0.0)

    @staticmethod
    def seconds(count: int) -> float:
        """How long a step may take before it counts as failed: many times what it takes."""
        return 60.0 + 0.05 * count
