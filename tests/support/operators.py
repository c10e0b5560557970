"""A running Springline operator, as a test sees it: what a process and a pod have in common."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Operator", "Page"]


@dataclass(frozen=True, slots=True)
class Page:
    """What `/healthz`, `/readyz` or `/metrics` answered."""

    code: int
    text: str


class Operator(Protocol):
    """One operator, installed by the chart. Calls block, but for those that wait."""

    @property
    def output(self) -> str:
        """Everything it has logged; on a cluster, everything since its pod was started."""

    def get(self, path: str) -> Page:
        """Ask its HTTP server. Raises `OSError` where nobody answers."""

    def start(self) -> None:
        """Start it. Idempotent."""

    def stop(self) -> None:
        """Ask it to stop, and return when it has ended. Idempotent."""

    def kill(self) -> None:
        """End it at once, as a crash of its node does."""

    def plant(self, *secrets: str) -> None:
        """Name secrets that must not show in what it logs."""

    def close(self) -> None:
        """Have done with it, and search what it logged for the secrets."""

    async def until_ready(self) -> None:
        """Wait until it says that it is ready."""

    async def until_said(self, text: str) -> None:
        """Wait until it has logged something."""
