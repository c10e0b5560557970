"""What became of a message that was sent (part 3 §3.4, R4.9, R4.15). Pure."""

import enum

__all__ = ["Outcome"]


class Outcome(enum.Enum):
    """The outcomes, and the two ways of having none."""

    ACCEPTED = "accepted"  # also of what was sent settled
    REJECTED = "rejected"
    RELEASED = "released"
    MODIFIED = "modified"
    UNKNOWN = "unknown"  # a state that is not among these
    UNACKNOWLEDGED = "unacknowledged"  # it was sent, and nothing came back
    UNSENT = "unsent"  # there was no credit for it
