"""SASL for AMQP 0-9-1: the mechanisms there are, and the responses they give.

The policy that drivers share decides which one is used. Nothing here reads or writes a socket, and
nothing keeps a secret longer than the exchange it is for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pamqp import encode

from springline.core.values import Credential
from springline.drivers.shared.sasl import MechanismTable
from springline.errors import RejectedError
from springline.protocols import PROTOCOLS
from springline.reasons import Reason

__all__ = ["MAX_ROUNDS", "TABLE", "Exchange", "RawText", "start"]

# Each of these sends the secret as it is (RFC 4616 §4).
_CLEAR_TEXT = frozenset({"PLAIN", "AMQPLAIN", "RABBIT-CR-DEMO"})

TABLE = MechanismTable(supported=frozenset(PROTOCOLS["amqp091"].mechanisms), clear_text=_CLEAR_TEXT)

MAX_ROUNDS = 8
"""Challenges answered before giving up on a broker that never has enough."""


class RawText(str):
    """Bytes where pamqp insists on text: a long string is octets in AMQP 0-9-1 §4.2.5.3.

    Its text is empty, so that printing a frame that holds it shows nothing.
    """

    __slots__ = ("_octets",)

    _octets: bytes

    def __new__(cls, octets: bytes) -> "RawText":
        self = super().__new__(cls)
        self._octets = octets
        return self

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002
        # The arguments are those of `str`; the octets are what they are.
        return self._octets


Response = Callable[[Credential], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """What a mechanism says first, and what it says to each challenge."""

    initial: Response
    challenged: Response | None = None
    """None where the first response has everything, so that a challenge is out of place."""


def _plain(credential: Credential) -> bytes:
    # RFC 4616 §2: [authzid] NUL authcid NUL passwd
    return b"\0" + credential.username.encode() + b"\0" + credential.secret.reveal().encode()


def _amqplain(credential: Credential) -> bytes:
    # A field table without its length: that is what RabbitMQ parses.
    table = encode.field_table(
        {"LOGIN": credential.username, "PASSWORD": credential.secret.reveal()}
    )
    return table[4:]


def _username(credential: Credential) -> bytes:
    return credential.username.encode()


def _demo_password(credential: Credential) -> bytes:
    return b"My password is " + credential.secret.reveal().encode()


def _nothing(credential: Credential) -> bytes:  # noqa: ARG001 - it has nothing to say
    return b""


_MECHANISMS: Mapping[str, Mechanism] = {
    "PLAIN": Mechanism(initial=_plain),
    "AMQPLAIN": Mechanism(initial=_amqplain),
    # RFC 4422 appendix A: an empty authorization identity asks for the certificate's own.
    "EXTERNAL": Mechanism(initial=_nothing, challenged=_nothing),
    # RFC 4505 §2: a trace of who it is may be sent, and need not be.
    "ANONYMOUS": Mechanism(initial=_nothing),
    "RABBIT-CR-DEMO": Mechanism(initial=_username, challenged=_demo_password),
}


class Exchange:
    """One authentication under way: answers until the broker has enough (R1.3)."""

    __slots__ = ("_credential", "_mechanism", "_rounds", "name")

    def __init__(self, name: str, credential: Credential) -> None:
        self.name = name
        self._mechanism = _MECHANISMS[name]
        self._credential = credential
        self._rounds = 0

    def initial(self) -> RawText:
        """Return the response that Start-Ok carries."""
        return RawText(self._mechanism.initial(self._credential))

    def respond(self) -> RawText:
        """Return the response to a challenge. Raises `RejectedError` if there should be none."""
        self._rounds += 1
        if self._mechanism.challenged is None:
            raise RejectedError(
                Reason.PROTOCOL_MISMATCH,
                f"the broker asked for more, but {self.name} has nothing more to say",
            )
        if self._rounds > MAX_ROUNDS:
            raise RejectedError(
                Reason.PROTOCOL_MISMATCH,
                f"the broker still asks for more after {MAX_ROUNDS} answers with {self.name}",
            )
        return RawText(self._mechanism.challenged(self._credential))


def start(name: str, credential: Credential) -> Exchange:
    """Begin the exchange of a chosen mechanism."""
    return Exchange(name, credential)
