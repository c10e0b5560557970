"""How long a login and a renewed secret may be.

Before frame-max is negotiated, a broker has to read no more than 4096 octets of a frame
(AMQP 0-9-1, frame-min-size). RabbitMQ hangs up on a longer one after three seconds, without a word;
a token with many scopes is that long. What it reads can be configured there and is told to nobody,
so no login is refused beforehand: this is for explaining one that was hung up on.

Pure. Lengths are in octets, of a frame without its header and end, as RabbitMQ counts them.
"""

import re
from dataclasses import dataclass

from springline.core.values import ServerInfo

__all__ = ["FRAME_OVERHEAD", "MAX_SHORT_STRING", "UPDATE_REASON", "Login", "secret_limit"]

FRAME_OVERHEAD = 8  # type, channel, length and frame end, which frame-max counts too

MAX_SHORT_STRING = 255  # octets, AMQP 0-9-1 §4.2.5.3

UPDATE_REASON = "springline renewal"

# What update-secret has besides the secret: class and method, its length, the reason.
_UPDATE_OVERHEAD = 4 + 4 + 1 + len(UPDATE_REASON)

_LOGIN_LIMIT = 4096  # RabbitMQ's initial_frame_max
_LATER_LOGIN_LIMIT = 8192  # the same from RabbitMQ 4.1 on
_LATER = (4, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """The frame of a login that was sent last: Start-Ok, or Secure-Ok."""

    server: ServerInfo
    octets: int
    response_octets: int
    """How many of them are what the mechanism says, so the credential."""

    @property
    def limit(self) -> int:
        """How much of it this broker reads, as far as anybody has not configured it."""
        return _LATER_LOGIN_LIMIT if self._is_rabbitmq and self._is_later else _LOGIN_LIMIT

    @property
    def is_too_long(self) -> bool:
        """Whether its length is reason enough to hang up on it."""
        return self.octets > self.limit

    @property
    def is_too_long_without_credential(self) -> bool:
        """Whether even an empty credential would not help."""
        return self.octets - self.response_octets > self.limit

    @property
    def comparison(self) -> str:
        """The two lengths, as part of a sentence about a login."""
        name = f"{self.server.product or 'a broker'} {self.server.version}".strip()
        if self._is_rabbitmq:
            return f"{self.octets} bytes, of which {name} reads {self.limit} by default"
        return f"{self.octets} bytes, of which {name} has to read {self.limit}"

    @property
    def advice(self) -> str:
        """What to do about it."""
        if self.is_too_long_without_credential:
            shorter = "declare fewer or shorter clientProperties"
        else:
            shorter = "use a token with fewer scopes or claims, or a shorter password"
        if not self._is_rabbitmq:
            return shorter
        later = "" if self._is_later else f" ({_LATER_LOGIN_LIMIT} from RabbitMQ 4.1 on)"
        return f"{shorter}, or raise initial_frame_max in the broker's configuration{later}"

    @property
    def _is_rabbitmq(self) -> bool:
        return self.server.product == "RabbitMQ"

    @property
    def _is_later(self) -> bool:
        found = re.match(r"(\d+)\.(\d+)", self.server.version)
        return found is not None and (int(found[1]), int(found[2])) >= _LATER


def secret_limit(frame_max: int) -> int | None:
    """Return how long a secret may be in update-secret, None if the frame-max sets no limit."""
    return frame_max - FRAME_OVERHEAD - _UPDATE_OVERHEAD if frame_max else None
