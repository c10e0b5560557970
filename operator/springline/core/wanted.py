"""What a session is told to do: what is declared, and with what it is to be done."""

import contextlib
from dataclasses import dataclass, field

from springline.core import ports
from springline.core.attempt import Means
from springline.core.desired import SessionSpec
from springline.core.environment import Environment
from springline.core.state import Failure
from springline.veil import Veil

__all__ = ["Desired", "Unusable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What one session is to do now, and with what."""

    spec: SessionSpec
    credentials: ports.CredentialSource
    tls: ports.TLSSource
    endpoints: ports.EndpointSource
    limit: contextlib.AbstractAsyncContextManager[None]
    """Shared by the sessions of one broker: how many attempts run at once."""
    veil: Veil = field(default_factory=Veil, compare=False)
    """The session's own, whatever is declared of it."""

    def means(self, environment: Environment) -> Means:
        """Return what an attempt is made with."""
        return Means(
            driver=environment.adapters[self.spec.target.protocol].driver,
            resolver=environment.resolver,
            clock=environment.clock,
            credentials=self.credentials,
            tls=self.tls,
            endpoints=self.endpoints,
            limit=self.limit,
            addresses=environment.addresses,
            verifications=environment.verifications,
            meter=environment.meter,
            turns=environment.turns,
            veil=self.veil,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A declaration that no session can be opened for, and why."""

    generation: int
    problem: Failure
