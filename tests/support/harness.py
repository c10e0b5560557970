"""What the contract suite needs of a protocol: a peer it can direct, and requests that reach it.

Each protocol of the table has its harness in `harnesses`, in the module of its name; no test of the
suite changes for a new one.
"""

import contextlib
import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from springline.core import ports
from springline.core.values import Block, Credential, OpenRequest
from springline.reasons import Reason

__all__ = ["Harness", "Peer", "harness_of"]


class Peer(Protocol):
    """One listening peer, directed by the test. Its behaviour counts for what comes next."""

    rejects: bool
    """Whether it refuses the credential of whoever connects."""
    answers: bool
    """Whether it says anything at all to whoever connects."""

    def request(self, **changes: Any) -> OpenRequest[Any]:
        """A request that reaches it."""

    def block(self, reason: str) -> None:
        """Block the current connection."""

    def unblock(self) -> None:
        """Take the block back."""

    def close(self, text: str) -> None:
        """Close the current connection by the protocol's own means."""

    def drop(self) -> None:
        """Break the transport."""

    def fall_silent(self) -> None:
        """Read and send nothing more on the current connection."""

    @property
    def secrets(self) -> list[str]:
        """The secrets that renewals brought, in order."""

    @property
    def said_goodbye(self) -> bool:
        """Whether the client closed the current connection by the protocol's own means."""

    answers_renewals: str
    """`yes`, `no` (refuses) or `never`."""


class Harness(Protocol):
    """One driver with its peer."""

    driver: ports.Driver
    probes: Sequence[Any]
    """What a probe can do, the plainest first."""
    renews: bool
    """Whether the secret of an open connection can be renewed in place."""
    confirms_renewals: bool
    """Whether the peer is told of a renewal, and says yes or no to it."""
    closes_as: Reason
    """The reason of an end that the peer makes by the protocol's own means."""

    def serving(self) -> contextlib.AbstractAsyncContextManager[Peer]:
        """A peer for the length of a block."""

    def credential(self, secret: str) -> Credential:
        """A credential with this secret."""

    def shown_block(self, alarm: str) -> Block:
        """What a block for this alarm is shown as; not every protocol has words for it."""

    async def ask(self, connection: ports.Connection) -> None:
        """Give the peer the occasion to say what it says only when it is asked, if need be."""


def harness_of(protocol: str) -> Callable[[], Harness]:
    """Return what makes the harness of a protocol of the table."""
    module = importlib.import_module(f"support.harnesses.{protocol}")
    harness: Callable[[], Harness] = module.HARNESS  # of this type there, where it can be checked
    return harness
