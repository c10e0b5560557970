"""What to do when what a session reads has changed while it is open: credential, certificates,
endpoint. Pure.

The rule behind every line: nothing reaches the live connection that has not been verified on a
handshake of its own, and the live connection is closed only after its replacement is open.
"""

import enum

from springline.core.values import Credential, CredentialKind

__all__ = ["Plan", "plan"]


class Plan(enum.Enum):
    """How a new credential gets to an open session."""

    NONE = "none"  # the value is the same
    VERIFY_AND_UPDATE = "verify and update"  # throw-away handshake, then update-secret in place
    REPLACE = "replace"  # open a new session with it, then close the old one


def plan(
    current: Credential,
    new: Credential,
    *,
    blocked: bool,
    same_certificates: bool = True,
    same_endpoint: bool = True,
) -> Plan:
    """Return how `new` gets to a session that is open with `current`.

    A blocked connection is no longer read by the broker, so update-secret would never be answered;
    a user cannot change in place; a client certificate counts only in the TLS handshake; and
    another endpoint is another connection.
    """
    if not (same_certificates and same_endpoint):
        return Plan.REPLACE
    if current.same_value(new):
        return Plan.NONE
    if current.kind is not new.kind or current.username != new.username:
        return Plan.REPLACE
    if current.kind is CredentialKind.EXTERNAL or blocked:
        return Plan.REPLACE
    return Plan.VERIFY_AND_UPDATE
