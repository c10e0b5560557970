"""The closed sets of AMQP 1.0, in the words in which they are declared and shown. Pure."""

import enum

__all__ = [
    "Delivery",
    "Distribution",
    "Durability",
    "Expiry",
    "LinkState",
    "ReceiverSettle",
    "Role",
    "SenderSettle",
]


class Role(enum.StrEnum):
    """Which way messages go over a link (AMQP 1.0 §2.8.1)."""

    SENDER = "Sender"  # to the broker
    RECEIVER = "Receiver"  # from the broker


class Delivery(enum.StrEnum):
    """What is asked for of a link, in one word."""

    AT_LEAST_ONCE = "AtLeastOnce"  # the sender waits for the outcome: unsettled, first
    AT_MOST_ONCE = "AtMostOnce"  # the sender does not: settled, first


class Durability(enum.StrEnum):
    """What of a terminus outlives a restart of the broker (AMQP 1.0 §3.5.5)."""

    NONE = "None"  # nothing
    CONFIGURATION = "Configuration"  # that it is there, and how
    UNSETTLED_STATE = "UnsettledState"  # its deliveries too


class Expiry(enum.StrEnum):
    """When the time-out of a terminus begins to run (AMQP 1.0 §3.5.6)."""

    LINK_DETACH = "LinkDetach"  # when its link is detached
    SESSION_END = "SessionEnd"  # when the session ends
    CONNECTION_CLOSE = "ConnectionClose"  # when the connection closes
    NEVER = "Never"  # not at all


class Distribution(enum.StrEnum):
    """What a message is for others once one link gets it (AMQP 1.0 §3.5.7)."""

    MOVE = "Move"  # gone
    COPY = "Copy"  # still there


class SenderSettle(enum.StrEnum):
    """How a link's sender settles what it sends (AMQP 1.0 §2.8.2)."""

    UNSETTLED = "Unsettled"  # it waits for the outcome
    SETTLED = "Settled"  # it does not
    MIXED = "Mixed"  # now this, now that


class ReceiverSettle(enum.StrEnum):
    """When a link's receiver settles what it gets (AMQP 1.0 §2.8.3)."""

    FIRST = "First"  # at once
    SECOND = "Second"  # after the sender has


class LinkState(enum.StrEnum):
    """What became of a declared link."""

    ATTACHING = "Attaching"  # the broker has not answered yet
    ATTACHED = "Attached"  # it is there
    DETACHED = "Detached"  # it was there; for a receiver that is not kept, as it should be
    REFUSED = "Refused"  # the broker did not want it
