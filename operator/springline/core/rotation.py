"""What to do when something has changed under an open session: credential, certificates,
endpoint, anything that is declared of its connection. Pure.

The rule behind every line: nothing reaches the live connection that has not been verified on a
handshake of its own, and the live connection is closed only after its replacement is open.
"""

import enum
from dataclasses import dataclass

from springline.core.values import Credential, CredentialKind

__all__ = ["Situation", "Step", "next_step"]


class Step(enum.Enum):
    """What is done next; afterwards the situation is looked at again."""

    VERIFY = "verify"  # try the new credential on a connection of its own, and close that again
    UPDATE = "update"  # renew the live connection with it, in place
    REPLACE = "replace"  # open a new session with it, then close the old one


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that the next step depends on, as it is now."""

    current: Credential
    """What the live connection uses."""
    new: Credential
    """What was read."""
    is_blocked: bool = False
    """Whether the broker has stopped reading from the live connection."""
    same_certificates: bool = True
    same_endpoint: bool = True
    """Whether the live connection is where it should be."""
    same_target: bool = True
    """Whether it serves everything else that is declared of it, its place at the broker for one."""
    can_update: bool = True
    """Whether the live connection can be renewed in place, by what its driver says; not after that
    went wrong once."""
    must_verify: bool = True
    """Whether a new credential is tried before it is used."""
    is_verified: bool = False
    """Whether the broker has accepted the new credential on a handshake."""
    is_asked_for: bool = False
    """Whether somebody wants to know if even an unchanged credential is accepted."""

    @property
    def has_moved(self) -> bool:
        """Whether the live connection is another one than what is declared."""
        return not (self.same_certificates and self.same_endpoint and self.same_target)


def next_step(situation: Situation) -> Step | None:
    """Return how `new` gets closer to the live session; None if it is there.

    A blocked connection is no longer read by the broker, so a renewal would never be answered; a
    user cannot change in place; a client certificate counts only in the TLS handshake; and
    another endpoint, place or heartbeat is another connection.
    """
    current, new = situation.current, situation.new
    has_changed = not current.same_value(new)
    has_moved = situation.has_moved
    if situation.is_asked_for and not has_changed and not situation.is_verified:
        return Step.VERIFY
    if not has_changed:
        return Step.REPLACE if has_moved else None
    if situation.must_verify and not situation.is_verified:
        return Step.VERIFY
    if has_moved or situation.is_blocked or not situation.can_update:
        return Step.REPLACE
    if current.kind is not new.kind or current.username != new.username:
        return Step.REPLACE
    has_secret = new.kind in (CredentialKind.PASSWORD, CredentialKind.TOKEN)
    return Step.UPDATE if has_secret else Step.REPLACE
