"""How what is counted can end: the values that cross `ports.Meter`."""

import enum

__all__ = ["AttemptOutcome", "UpdateOutcome", "VerificationOutcome"]


class AttemptOutcome(enum.StrEnum):
    """What became of one attempt to open a connection."""

    OPENED = "opened"  # there is a connection
    TRANSIENT = "transient"  # it may pass by itself
    REFUSED = "refused"  # the broker said no to the credential or a name
    TERMINAL = "terminal"  # the declaration cannot work as it stands
    NO_CREDENTIAL = "no_credential"  # there was nothing to log in with; the broker was not asked
    DROPPED = "dropped"  # a newer declaration, or the end of the session, came first


class UpdateOutcome(enum.StrEnum):
    """What became of one try to bring what has changed to a live session."""

    UPDATED = "updated"  # the session has it
    REFUSED = "refused"  # it cannot be used as it is; the session keeps the old one
    FAILED = "failed"  # it could not be tried; the session keeps the old one


class VerificationOutcome(enum.StrEnum):
    """How one session got to know whether the broker takes a credential."""

    ACCEPTED = "accepted"  # by a handshake, and the broker took it
    REFUSED = "refused"  # by a handshake, and the broker did not take it
    FAILED = "failed"  # not yet: the broker could not be asked
    SHARED = "shared"  # without a handshake: somebody else has asked the same
