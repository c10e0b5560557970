"""Which IP addresses may be connected to, whoever declares them.

A declaration is written by people who may have no access of their own to what the process can
reach: its own machine, the metadata service of a cloud, which hands out credentials, and the API
server. So addresses are checked after every lookup, whatever the protocol.
"""

import functools
import ipaddress
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from springline import errors
from springline.reasons import Reason
from springline.settings import Network

__all__ = ["LOOPBACK", "AddressPolicy", "Network", "is_address"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK: Final[tuple[Network, ...]] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)

_METADATA: Final = "an address of a cloud's metadata service"

_REFUSED: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ipaddress.ip_network(network), what)
    for network, what in (
        ("169.254.169.254/32", _METADATA),
        ("100.100.100.200/32", _METADATA),  # Alibaba Cloud
        ("168.63.129.16/32", _METADATA),  # Azure
        ("192.0.0.192/32", _METADATA),  # Oracle Cloud
        ("fd00:ec2::/32", _METADATA),  # Amazon
        ("fd20:ce::254/128", _METADATA),  # Google Cloud
        ("0.0.0.0/8", "an unspecified address"),  # Linux connects to itself
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "a broadcast address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("fe80::/10", "a link-local address"),
        ("ff00::/8", "a multicast address"),
    )
)

_TRANSLATED: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "64:ff9b::/96",  # RFC 6052
            "64:ff9b:1::/48",  # RFC 8215, as far as the IPv4 address is at the end
            "::ffff:0:0:0/96",  # RFC 2765
        ),
    )
)
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")  # RFC 4291 §2.5.5.1


class AddressPolicy:
    """Refuses addresses that no broker has; what an administrator allows is never refused."""

    def __init__(
        self,
        allowed: Iterable[Network] = (),
        *,
        api_server: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`api_server` returns the addresses of the API server as far as they are known now."""
        self._allowed = tuple(allowed)
        self._api_server = api_server

    def permitted(self, host: str, addresses: Sequence[str]) -> Sequence[str]:
        """Return those addresses of a host that may be connected to, in their order.

        Raises `RejectedError` AddressNotAllowed if there is none.
        """
        refused = {each: what for each in addresses if (what := self._refusal(each))}
        if not refused:
            return addresses
        if left := [each for each in addresses if each not in refused]:
            return left
        address, what = next(iter(refused.items()))
        where = f"{address} is" if address == host else f'the address of "{host}", {address}, is'
        raise errors.RejectedError(
            Reason.ADDRESS_NOT_ALLOWED,
            f"{where} {what}, which Springline does not connect to; if a broker is there, its"
            f" administrator can allow it with --allow-addresses",
        )

    def _refusal(self, address: str) -> str:
        """Return what an address is that may not be connected to; empty if it may be."""
        try:
            written = _read(address)
        except ValueError:
            return ""  # whoever connects says that it is none
        meant = _meant(written)
        if any(each in network for network in self._allowed for each in (written, meant)):
            return ""
        for network, what in _REFUSED:
            if meant in network:
                return what
        own = {_meant(_read(each)) for each in self._api_server()}
        return "an address of the Kubernetes API server" if meant in own else ""


def is_address(text: str) -> bool:
    """Whether a text is an IP address, and so no name to be looked up."""
    try:
        _read(text)
    except ValueError:
        return False
    return True


@functools.lru_cache(maxsize=1024)
def _read(text: str) -> _Address:
    """Return an address. Sessions have few, and each attempt asks more than once."""
    return ipaddress.ip_address(text)


def _meant(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 address stands for, where it does, without a zone."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if (mapped := address.ipv4_mapped or address.sixtofour) is not None:
        return mapped
    plain = ipaddress.IPv6Address(int(address))
    if any(plain in each for each in _TRANSLATED) or (plain in _COMPATIBLE and int(plain) > 1):
        return ipaddress.IPv4Address(int(plain) & 0xFFFFFFFF)
    return plain
