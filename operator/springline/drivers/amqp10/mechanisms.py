"""SASL for AMQP 1.0: the mechanisms there are, and the responses they give.

The policy that drivers share decides which one is used. Nothing here reads or writes a socket, and
no exchange keeps a secret longer than it needs it. SCRAM itself is in `scram`.
"""

from collections.abc import Callable
from typing import Final, Protocol

from springline.core.values import Credential
from springline.drivers.amqp10.derivations import Derivations, shared
from springline.drivers.amqp10.scram import HASHES, ScramClient, fresh_nonce
from springline.drivers.shared.sasl import MechanismTable
from springline.errors import CredentialRejectedError, RejectedError
from springline.protocols import PROTOCOLS
from springline.reasons import Reason

__all__ = ["MAX_ROUNDS", "MECHANISMS", "TABLE", "Exchange", "start"]

MECHANISMS: Final = PROTOCOLS["amqp10"].mechanisms
"""Most wanted first."""

TABLE: Final = MechanismTable(
    supported=frozenset(MECHANISMS),
    # It sends the secret as it is (RFC 4616 §4).
    clear_text=frozenset({"PLAIN"}),
    # A broker proves a token by its signature, and has no salted form of it.
    passwords_only=frozenset(HASHES),
)

MAX_ROUNDS: Final = 8
"""Challenges answered before giving up on a broker that never has enough."""


class Exchange(Protocol):
    """One authentication under way: answers until the broker has enough."""

    @property
    def name(self) -> str:
        """The mechanism."""

    def initial(self) -> bytes:
        """Return the response that sasl-init carries. Called once.

        Raises `CredentialRejectedError` for a credential that the mechanism cannot carry.
        """

    async def respond(self, challenge: bytes) -> bytes:
        """Return the response to a challenge. Not idempotent; safe to cancel, which ends the login.

        Raises `ConnectError` if there should be no such challenge, and for what a broker says in
        one.
        """

    def finish(self, additional_data: bytes | None) -> None:
        """Take in that the broker has accepted the login, with what its outcome carries.

        Raises `RejectedError` for a broker that has not proved what the mechanism asks it to prove.
        """


class _Spoken:
    """A mechanism that says one thing, and that has nothing to verify."""

    __slots__ = ("_answers_nothing", "_response", "_rounds", "name")

    def __init__(
        self, name: str, response: Callable[[], bytes], *, answers_nothing: bool = False
    ) -> None:
        """Begin; `answers_nothing` is for one that answers each challenge with no octets."""
        self.name = name
        self._response = response
        self._answers_nothing = answers_nothing
        self._rounds = 0

    def initial(self) -> bytes:
        response, self._response = self._response, bytes
        return response()

    async def respond(self, challenge: bytes) -> bytes:  # noqa: ARG002 - nothing depends on it
        self._rounds += 1
        if not self._answers_nothing:
            raise RejectedError(
                Reason.PROTOCOL_MISMATCH,
                f"the broker asked for more, but {self.name} has nothing more to say",
            )
        _check_rounds(self.name, self._rounds)
        return b""

    def finish(self, additional_data: bytes | None) -> None:  # noqa: ARG002 - it proves nothing
        self._response = bytes


class _Scram:
    """SCRAM: the broker has to prove that it knows the password, before or with its outcome."""

    __slots__ = ("_broker", "_client", "_derivations", "_rounds", "name")

    def __init__(self, client: ScramClient, derivations: Derivations | None, broker: str) -> None:
        self.name = client.mechanism
        self._client = client
        self._derivations = derivations
        self._broker = broker
        self._rounds = 0

    def initial(self) -> bytes:
        return self._client.client_first()

    async def respond(self, challenge: bytes) -> bytes:
        self._rounds += 1
        _check_rounds(self.name, self._rounds)
        if self._client.awaits_proof:
            self._client.server_final(challenge)
            return b""
        derivation = self._client.server_first(challenge)
        derivations = self._derivations or shared()
        derived = await derivations.run(self._broker, derivation.compute)
        return self._client.client_final(derived)

    def finish(self, additional_data: bytes | None) -> None:
        try:
            if additional_data:
                self._client.server_final(additional_data)
            if not self._client.is_proved:
                raise RejectedError(
                    Reason.ACCESS_REFUSED,
                    "the broker accepted the login without proving that it knows the password"
                    f" ({self.name} has it sign the login), so it may not be the one that it claims"
                    " to be",
                )
        finally:
            self._client.forget()


def start(
    name: str,
    credential: Credential,
    *,
    broker: str = "",
    derivations: Derivations | None = None,
    nonce: Callable[[], str] = fresh_nonce,
) -> Exchange:
    """Begin the exchange of a chosen mechanism.

    What takes long is computed by `derivations`, or what all logins share, in the turn of `broker`.
    """
    if name in HASHES:
        client = ScramClient(mechanism=name, credential=credential, nonce=nonce)
        return _Scram(client, derivations, broker)
    match name:
        case "PLAIN":
            return _Spoken(name, lambda: _plain(credential))
        case "EXTERNAL":
            # RFC 4422 appendix A: an empty authorization identity asks for the certificate's own.
            return _Spoken(name, bytes, answers_nothing=True)
        case "ANONYMOUS":
            # RFC 4505 §2: a trace of who it is may be sent, and need not be.
            return _Spoken(name, bytes)
        case _:
            raise ValueError(name)


def _plain(credential: Credential) -> bytes:
    """Return user name and secret (RFC 4616 §2: [authzid] NUL authcid NUL passwd)."""
    try:
        return f"\0{credential.username}\0{credential.secret.reveal()}".encode()
    except UnicodeEncodeError:
        raise CredentialRejectedError(
            Reason.SECRET_MALFORMED, "the user name or the secret is no text"
        ) from None


def _check_rounds(name: str, rounds: int) -> None:
    if rounds > MAX_ROUNDS:
        raise RejectedError(
            Reason.PROTOCOL_MISMATCH,
            f"the broker still asks for more after {MAX_ROUNDS} answers with {name}",
        )
