"""What a peer says of itself in Open, as values of ours. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["PeerOpen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerOpen:
    """What the peer's Open says; texts as they came."""

    container_id: str
    max_frame_size: int
    channel_max: int
    idle_seconds: float
    """After how long without a sign of life it ends the connection; 0 for never."""
    locales: tuple[str, ...]
    offered_capabilities: tuple[str, ...]
    desired_capabilities: tuple[str, ...]
    properties: Mapping[str, Any]
