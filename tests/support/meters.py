"""Who counts what happens to sessions, for a test to look at."""

from dataclasses import dataclass, field

from springline.core.outcomes import AttemptOutcome, UpdateOutcome, VerificationOutcome
from springline.reasons import Reason

__all__ = ["RecordingMeter"]


@dataclass
class RecordingMeter:
    """Writes down what it is told, as `core.ports.Meter`."""

    attempts: list[tuple[str, AttemptOutcome, Reason, float]] = field(default_factory=list)
    disconnects: list[Reason] = field(default_factory=list)
    updates: list[tuple[str, UpdateOutcome, float]] = field(default_factory=list)
    verifications: list[VerificationOutcome] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)

    def attempt_ended(
        self, protocol: str, *, outcome: AttemptOutcome, reason: Reason, seconds: float
    ) -> None:
        self.attempts.append((protocol, outcome, reason, seconds))

    def disconnected(self, reason: Reason) -> None:
        self.disconnects.append(reason)

    def secret_updated(self, method: str, outcome: UpdateOutcome, seconds: float) -> None:
        self.updates.append((method, outcome, seconds))

    def verified(self, outcome: VerificationOutcome) -> None:
        self.verifications.append(outcome)

    def probed(self, seconds: float) -> None:
        self.probes.append(seconds)

    @property
    def outcomes(self) -> list[tuple[AttemptOutcome, Reason]]:
        return [(outcome, reason) for _, outcome, reason, _ in self.attempts]
