"""What the broker's Start says of itself, and what our Start-Ok says of us.

Pure. The mechanism is chosen in mechanisms.py.
"""

import functools
import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pamqp.common import FieldTable

import springline
from springline.drivers.amqp091 import lengths
from springline.drivers.amqp091.negotiated import Amqp091ServerInfo
from springline.drivers.amqp091.parameters import Amqp091Parameters, LocalePreference
from springline.drivers.shared import peer_text
from springline.errors import RejectedError
from springline.reasons import Reason
from springline.veil import WITHHELD, Veil

__all__ = [
    "CAPABILITIES",
    "can_confirm",
    "choose_locale",
    "client_properties",
    "has_extensions",
    "server_info",
    "words",
]

PRODUCT = "Springline"
PLATFORM = f"{platform.python_implementation()} {platform.python_version()}"

CAPABILITIES: Final[FieldTable] = {
    # Without this one RabbitMQ drops a refused login silently instead of saying 403.
    "authentication_failure_close": True,
    # Without this one nobody tells us that we are blocked.
    "connection.blocked": True,
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
}

# Products, versions, platforms, SASL mechanisms and locales.
_USUAL: Final = re.compile(
    r"RabbitMQ|[0-9.]+|Erlang/OTP [0-9.]+|PLAIN|AMQPLAIN|EXTERNAL|ANONYMOUS|RABBIT-CR-DEMO"
    r"|[a-z]{2}_[A-Z]{2}"
)

_SHOWN: Final = ("product", "version", "platform", "cluster_name")
"""What is shown of the broker's properties."""

_MOST_SHARED: Final = 4096
"""Characters that are kept of what a broker says, so that it need not be read again."""


def server_info(
    properties: Mapping[str, Any], *, mechanisms: object, locales: object, veil: Veil
) -> Amqp091ServerInfo:
    """Return what Start says of the broker (R1.1). Equal brokers share one value.

    It comes before our login; a broker that has had one before may say it all the same.
    """
    said = (*map(properties.get, _SHOWN), mechanisms, locales)
    tells_blocks = _can(properties, "connection.blocked")
    # Octets that are not UTF-8, for example, are read and searched by themselves.
    if all(each is None or isinstance(each, str) for each in said):
        whole = "\n".join(each for each in said if isinstance(each, str))
        if len(whole) <= _MOST_SHARED and veil.over(whole) == whole:
            # No secret is in any of it, so it reads alike for all sessions.
            return _read_alike(said, tells_blocks=tells_blocks)
    return _shared(_read(said, tells_blocks=tells_blocks, veil=veil))


def _read(
    said: tuple[object, ...], *, tells_blocks: bool, veil: Veil | None = None
) -> Amqp091ServerInfo:
    """Read what is shown of the broker's properties, its mechanisms and its locales."""

    def shown(said: object) -> str:
        text = peer_text.cleaned(said, veil=veil, is_known=_is_usual)
        return "" if text == WITHHELD else text

    product, version, platform, cluster_name, mechanisms, locales = said
    return Amqp091ServerInfo(
        product=shown(product),
        version=shown(version),
        platform=shown(platform),
        cluster_name=shown(cluster_name),
        protocol_version="0-9-1",
        mechanisms=words(mechanisms, veil),
        locales=words(locales, veil),
        tells_blocks=tells_blocks,
    )


_read_alike = functools.lru_cache(maxsize=128)(_read)


def can_confirm(properties: Mapping[str, Any]) -> bool:
    """Whether Start's properties say that the broker confirms what is published."""
    return _can(properties, "publisher_confirms")


def has_extensions(properties: Mapping[str, Any]) -> bool:
    """Whether Start's properties tell of any extension of AMQP 0-9-1; RabbitMQ has always done so.

    Not of update-secret, which has no word there.
    """
    return bool(properties.get("capabilities"))


def _can(properties: Mapping[str, Any], capability: str) -> bool:
    capabilities = properties.get("capabilities")
    return isinstance(capabilities, dict) and bool(capabilities.get(capability))


def words(text: object, veil: Veil | None = None) -> tuple[str, ...]:
    """Split a list as Start has it: words between spaces (AMQP 0-9-1, connection.start)."""
    return peer_text.words(text, veil=veil, is_known=_is_usual)


def _is_usual(text: str) -> bool:
    """Whether a text of Start is one that many brokers say."""
    return _USUAL.fullmatch(text) is not None


def choose_locale(preference: LocalePreference, offered: Sequence[str]) -> str:
    """Return the locale to ask for (R2.3).

    The preferred one if it is offered, else the first offered; or the first of a declared list
    that is offered. Raises `RejectedError` naming both lists if none is.
    """
    # Start has room for any word, and Start-Ok, which would have to say it, has not.
    offered = [each for each in offered if len(each.encode()) <= lengths.MAX_SHORT_STRING]
    if not preference.select:
        if preference.prefer is not None and preference.prefer in offered:
            return preference.prefer
        if offered:
            return offered[0]
        # A Start without locales breaks the specification; ours is what every broker has.
        return preference.prefer or "en_US"
    for locale in preference.select:
        if locale in offered:
            return locale
    raise RejectedError(
        Reason.NEGOTIATION_FAILED,
        f"no suitable locale: the broker offers [{', '.join(offered)}], declared are"
        f" [{', '.join(preference.select)}]",
    )


def client_properties(parameters: Amqp091Parameters) -> dict[str, str]:
    """Return what we say of ourselves, without the capability table.

    The declared properties are added; ours cannot be replaced by them.
    """
    return {
        **parameters.client_properties,
        "product": PRODUCT,
        "version": springline.__version__,
        "platform": PLATFORM,
        "connection_name": parameters.connection_name,
    }


@functools.lru_cache(maxsize=128)
def _shared(info: Amqp091ServerInfo) -> Amqp091ServerInfo:
    """Return one object for equal values: thousands of connections go to few brokers."""
    return info
