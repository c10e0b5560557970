"""Tune against what is declared: what Tune-Ok says. Pure; no frames, no errors.

A limit the broker finds unacceptable is its to refuse; replies.py knows those texts.
"""

from dataclasses import dataclass

__all__ = ["Limits", "negotiate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The three values that Tune proposes and Tune-Ok settles. 0 is no limit, or no heartbeat."""

    channel_max: int
    frame_max: int
    heartbeat_seconds: int


def negotiate(*, proposed: Limits, declared: Limits) -> Limits:
    """Return what both can live with (R1.4, R1.5; AMQP 0-9-1 §4.2.7, connection.tune-ok).

    Channel-max and frame-max: the lower one where both limit, else the one that does. Heartbeat:
    as declared, but no slower than the broker proposes; declared 0 turns it off.
    """
    return Limits(
        channel_max=_lower(proposed.channel_max, declared.channel_max),
        frame_max=_lower(proposed.frame_max, declared.frame_max),
        heartbeat_seconds=declared.heartbeat_seconds
        and _lower(proposed.heartbeat_seconds, declared.heartbeat_seconds),
    )


def _lower(one: int, other: int) -> int:
    """Return the lower of two limits, where 0 limits nothing."""
    return min(one, other) if one and other else one or other
