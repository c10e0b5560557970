"""What brokers do each in its own way, told by what they say of themselves in Open. Pure.

One table for all that is not in the specification: who wants what, since which version.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from springline.core.values import ServerInfo
from springline.drivers.amqp10.peer import PeerOpen
from springline.drivers.shared import peer_text
from springline.veil import Veil

__all__ = [
    "Broker",
    "broker",
    "hostnames",
    "names",
    "offers_cbs",
    "properties",
    "server_info",
    "shown",
]

_RABBITMQ: Final = "RabbitMQ"
_SHOWS_BLOCKS: Final = (4, 0)
"""Since when RabbitMQ closes the window of every session while an alarm holds."""
_RENEWS_IN_PLACE: Final = (4, 1)
"""Since when RabbitMQ takes tokens at /management. 4.0 ends the session there, and writes the token
into its log and its answer."""
_CBS: Final = "AMQP_CBS_V1_0"
_AZURE: Final = (".servicebus.windows.net", ".azure-devices.net")
_MOST_NAMES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Who is there, and what that means."""

    product: str
    version: tuple[int, ...]
    """Its first numbers; empty where it does not say."""

    @property
    def is_rabbitmq(self) -> bool:
        """Whether it is RabbitMQ."""
        return self.product == _RABBITMQ

    @property
    def shows_blocks(self) -> bool:
        """Whether it closes the session's window while it takes nothing in."""
        return self.is_rabbitmq and self.version >= _SHOWS_BLOCKS

    @property
    def takes_tokens_at_management(self) -> bool:
        """Whether a token can be renewed by its management node."""
        return self.is_rabbitmq and self.version >= _RENEWS_IN_PLACE


def hostnames(virtual_host: str, host: str) -> tuple[str, ...]:
    """Return what to say as the host name in Open, most likely first.

    RabbitMQ takes anything but `vhost:` and a name for its default virtual host, without a word.
    """
    return (f"vhost:{virtual_host}", virtual_host) if virtual_host else (host,)


def broker(peer: PeerOpen) -> Broker:
    """Return who it is by its own account."""
    product = _text(peer, "product")
    numbers = re.match(r"([0-9]{1,9})\.([0-9]{1,9})", _text(peer, "version"))
    version = tuple(map(int, numbers.groups())) if numbers else ()
    return Broker(product=product, version=version)


def offers_cbs(peer: PeerOpen, host: str) -> bool:
    """Whether it takes tokens at `$cbs` (AMQP Claims-based Security 1.0 §2).

    Azure's services do, and do not say so.
    """
    return _CBS in peer.offered_capabilities or host.endswith(_AZURE)


def server_info(peer: PeerOpen, veil: Veil) -> ServerInfo:
    """Return what it says of itself, fit to be shown."""
    return ServerInfo(
        product=shown(_text(peer, "product"), veil),
        version=shown(_text(peer, "version"), veil),
        platform=shown(_text(peer, "platform"), veil),
        cluster_name=shown(_text(peer, "cluster_name"), veil),
        protocol_version="1.0",
        tells_blocks=broker(peer).shows_blocks,
    )


def properties(peer: PeerOpen, veil: Veil) -> dict[str, str]:
    """Return the texts among its properties that status has no other place for, fit to be shown."""
    found: dict[str, str] = {}
    for name, value in list(peer.properties.items())[:_MOST_NAMES]:
        if isinstance(value, str | int) and str(name) not in _ELSEWHERE:
            found[shown(str(name), veil)] = shown(str(value), veil)
    return found


def names(found: Iterable[str], veil: Veil) -> tuple[str, ...]:
    """Return capabilities, fit to be shown."""
    return peer_text.words(" ".join(found), veil=veil, is_known=_CAPABILITIES.__contains__)


def shown(text: str, veil: Veil) -> str:
    """Return a text of the peer, fit to be shown."""
    return peer_text.cleaned(text, veil=veil)


_ELSEWHERE: Final = frozenset(
    {"product", "version", "platform", "cluster_name", "copyright", "information"}
)
"""Properties that status shows in another place, or that say nothing of this broker."""

_CAPABILITIES: Final = frozenset(
    {
        "ANONYMOUS-RELAY",
        "DELAYED_DELIVERY",
        "LINK_PAIR_V1_0",
        "SHARED-SUBS",
        "sole-connection-for-container",
    }
)


def _text(peer: PeerOpen, name: str) -> str:
    value = peer.properties.get(name)
    return str(value) if isinstance(value, str) else ""
