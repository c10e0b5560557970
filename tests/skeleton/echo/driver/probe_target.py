"""What is to be done where a hub does not echo. Pure."""

from dataclasses import dataclass

from springline.errors import ProbeRefusedError

__all__ = ["EchoProbeTarget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoProbeTarget:
    """An empty line, as `core.protocol_values.ProbeTarget`."""

    def refusal(self, error: ProbeRefusedError) -> str:
        """Say what was refused, what that means, and what to do about it."""
        return f"the hub does not echo ({error}), so a hold would go unseen; set spec.probe.mode"
