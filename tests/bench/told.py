"""What a child is told by its command line: one way to write it, and one to read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from bench.plan import Plan

__all__ = ["Told"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Where the server is, and how many connections are to be held in what way."""

    port: int
    secret: str
    """A password or a token, which is good on the server of the measurement alone."""
    count: int
    plan: Plan
    speech: str = ""
    """What is spoken, where that is not AMQP 0-9-1: a name in `objects.PROTOCOLS`."""
    authorities: str = ""
    """The file with whom to trust; without one there is no TLS."""

    @property
    def arguments(self) -> list[str]:
        """As they are written on a command line."""
        plan = self.plan
        told = (self.port, self.secret, self.count, plan.idle_seconds, plan.probe_seconds)
        return [*map(str, told), self.speech, self.authorities]

    @classmethod
    def read(cls, arguments: Sequence[str]) -> Self:
        """Return what the arguments say."""
        port, secret, count, idle_seconds, probe_seconds, speech, authorities = arguments
        return cls(
            port=int(port),
            secret=secret,
            count=int(count),
            plan=Plan(idle_seconds=float(idle_seconds), probe_seconds=int(probe_seconds)),
            speech=speech,
            authorities=authorities,
        )
