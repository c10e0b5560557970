"""SCRAM, the client's side, without I/O (RFC 5802, RFC 7677).

The password never leaves the process, and the server proves in the end that it knows the password,
too. There is no channel binding: the header says that the client has none ("n").

`ScramClient` writes and reads the three messages. The one computation that takes long is a value
of its own, `Derivation`, so that whoever has an event loop can make it elsewhere.
"""

import base64
import binascii
import enum
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from springline.core.values import Credential
from springline.drivers.amqp10.saslprep import SaslprepError, prepared
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    RejectedError,
    TransientError,
)
from springline.reasons import Reason

__all__ = [
    "HASHES",
    "LEAST_ITERATIONS",
    "MOST_ITERATIONS",
    "MOST_MESSAGE_OCTETS",
    "MOST_NONCE_OCTETS",
    "MOST_SALT_OCTETS",
    "Derivation",
    "HashName",
    "ScramClient",
    "fresh_nonce",
]

HashName = Literal["sha1", "sha256"]

HASHES: Final[Mapping[str, HashName]] = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
"""By mechanism."""

LEAST_ITERATIONS: Final = 4096
"""Fewer are refused: who has recorded an exchange tries passwords against it, and a server that
asks for one iteration would make that cheap (RFC 7677 §4, which servers are to begin with)."""

MOST_ITERATIONS: Final = 600_000
"""More are refused, since any server could keep a processor busy for hours: this many take about
half a second, and are what is recommended for passwords that are stored (SHA-256)."""

MOST_MESSAGE_OCTETS: Final = 4096
"""Of one message of the server. A frame of SASL has 512 octets (AMQP 1.0 §5.3.1)."""

MOST_NONCE_OCTETS: Final = 1024
"""Of both nonces together; servers add some 30 octets to ours."""

MOST_SALT_OCTETS: Final = 1024
"""Of the salt; servers have 16 to 64 octets."""

_GS2_HEADER: Final = b"n,,"  # RFC 5802 §7: no channel binding, no other identity to act as
_NONCE_OCTETS: Final = 24  # random ones, as Base64 in 32 characters

# RFC 5802 §7. What follows the iteration count or the verifier are extensions that may be ignored.
_NONCE: Final = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")
_COUNT: Final = re.compile(rb"[1-9][0-9]{0,9}")
_EXTENSION: Final = re.compile(rb"[A-Za-z]=[^\x00,]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """What an error of the server means for the login."""

    family: type[ConnectError]
    reason: Reason


_CREDENTIAL: Final = _Refusal(family=CredentialRejectedError, reason=Reason.ACCESS_REFUSED)
_MECHANISM: Final = _Refusal(family=RejectedError, reason=Reason.NO_AUTHENTICATION_MECHANISM)

# Those of RFC 5802 §7. A server need not be precise, and may say `other-error` to any login.
_SERVER_ERRORS: Final[Mapping[bytes, _Refusal]] = {
    b"invalid-encoding": _Refusal(family=RejectedError, reason=Reason.PROTOCOL_MISMATCH),
    b"extensions-not-supported": _MECHANISM,
    b"invalid-proof": _CREDENTIAL,
    b"channel-bindings-dont-match": _MECHANISM,
    b"server-does-support-channel-binding": _MECHANISM,
    b"channel-binding-not-supported": _MECHANISM,
    b"unsupported-channel-binding-type": _MECHANISM,
    b"unknown-user": _CREDENTIAL,
    b"invalid-username-encoding": _CREDENTIAL,
    b"no-resources": _Refusal(family=TransientError, reason=Reason.ACCESS_REFUSED),
    b"other-error": _CREDENTIAL,
}


class _Step(enum.Enum):
    """What has been said."""

    NOTHING = enum.auto()
    FIRST = enum.auto()  # the client's first message
    DERIVING = enum.auto()  # the server's first message has been read
    FINAL = enum.auto()  # the client's proof
    PROVED = enum.auto()  # the server's proof, and it is right
    FAILED = enum.auto()  # nothing more: an error has been raised


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Derivation:
    """What is to be computed of the password: `Hi` of RFC 5802 §2.2, in up to a second."""

    hash_name: HashName
    password: bytes
    salt: bytes
    iterations: int

    def compute(self) -> bytes:
        """Return the salted password. Blocks; safe to call in a thread."""
        return hashlib.pbkdf2_hmac(self.hash_name, self.password, self.salt, self.iterations)

    def __repr__(self) -> str:
        return f"Derivation({self.hash_name}, ***, {self.iterations} iterations)"


def fresh_nonce() -> str:
    """Return a nonce that nobody can guess: printable ASCII without a comma."""
    return base64.b64encode(secrets.token_bytes(_NONCE_OCTETS)).decode("ascii")


@dataclass(slots=True, kw_only=True, repr=False)
class ScramClient:
    """One login. Its steps are made in the order in which they stand here.

    A step raises `ConnectError` where the login cannot go on; afterwards every step does. The
    password is forgotten with `server_first`, everything else when the login is over.
    """

    mechanism: str
    credential: Credential | None
    nonce: Callable[[], str] = fresh_nonce
    _step: _Step = field(default=_Step.NOTHING, init=False)
    _own_nonce: bytes = field(default=b"", init=False)
    _password: bytes = field(default=b"", init=False)
    _messages: list[bytes] = field(default_factory=list, init=False)
    """What both sign, as far as it has been said: RFC 5802 §3, AuthMessage."""
    _server_signature: bytes = field(default=b"", init=False)

    def __repr__(self) -> str:
        return f"ScramClient({self.mechanism}, {self._step.name.lower()})"

    @property
    def is_proved(self) -> bool:
        """Whether the server has proved that it knows the password."""
        return self._step is _Step.PROVED

    @property
    def awaits_proof(self) -> bool:
        """Whether the server's last message is due, rather than its first one."""
        return self._step in (_Step.FINAL, _Step.PROVED)

    def client_first(self) -> bytes:
        """Return the message that begins the login.

        Raises `CredentialRejectedError` if SCRAM cannot carry the user name or the password.
        """
        self._enter(_Step.NOTHING, _Step.FIRST)
        credential, self.credential = self.credential, None
        if credential is None:  # as it was begun
            raise self._malformed("is out of turn")
        user = self._prepared(credential.username, "user name", allow_unassigned=True)
        password = self._prepared(credential.secret.reveal(), "password", allow_unassigned=False)
        self._password = password.encode()
        self._own_nonce = self.nonce().encode("ascii")
        # §5.1: what would end the name or begin an escape is escaped.
        name = user.replace("=", "=3D").replace(",", "=2C").encode()
        bare = b"n=" + name + b",r=" + self._own_nonce
        self._messages.append(bare)
        return _GS2_HEADER + bare

    def server_first(self, message: bytes) -> Derivation:
        """Read the server's first message; return what is to be computed of it."""
        self._enter(_Step.FIRST, _Step.DERIVING)
        nonce, salt, iterations = self._read_first(message)
        self._messages += [
            message,
            b"c=" + base64.b64encode(_GS2_HEADER) + b",r=" + nonce,
        ]
        password, self._password = self._password, b""
        return Derivation(
            hash_name=HASHES[self.mechanism],
            password=password,
            salt=salt,
            iterations=iterations,
        )

    def client_final(self, salted_password: bytes) -> bytes:
        """Return the message with the client's proof."""
        self._enter(_Step.DERIVING, _Step.FINAL)
        hash_name = HASHES[self.mechanism]
        signed = b",".join(self._messages)
        without_proof = self._messages[-1]
        self._messages.clear()
        # RFC 5802 §3.
        client_key = hmac.digest(salted_password, b"Client Key", hash_name)
        stored_key = hashlib.new(hash_name, client_key).digest()
        client_signature = hmac.digest(stored_key, signed, hash_name)
        server_key = hmac.digest(salted_password, b"Server Key", hash_name)
        self._server_signature = hmac.digest(server_key, signed, hash_name)
        proof = bytes(a ^ b for a, b in zip(client_key, client_signature, strict=True))
        return without_proof + b",p=" + base64.b64encode(proof)

    def server_final(self, message: bytes) -> None:
        """Read the server's last message, which may come twice, and verify its proof.

        Raises `CredentialRejectedError` for what the server calls a wrong credential,
        `RejectedError` for a server that could not prove that it knows the password.
        """
        if self._step is not _Step.PROVED:
            self._enter(_Step.FINAL, _Step.PROVED)
        name, value = self._attributes(message)[0]
        if name == b"e":
            raise self._server_error(value)
        if name != b"v":
            raise self._malformed("has no proof")
        if not hmac.compare_digest(self._decoded(value), self._server_signature):
            raise self._failed(
                RejectedError(
                    Reason.ACCESS_REFUSED,
                    f"the broker could not prove that it knows the password ({self.mechanism}:"
                    " its signature is wrong), so it may not be the one that it claims to be",
                )
            )

    def forget(self) -> None:
        """Forget what is left of the login. Idempotent."""
        self.credential = None
        self._password = self._own_nonce = self._server_signature = b""
        self._messages.clear()
        self._step = _Step.FAILED

    def _enter(self, due: _Step, then: _Step) -> None:
        """Go on to the next step. Raises `RejectedError` for one out of turn."""
        if self._step is not due:
            raise self._malformed("is out of turn")
        self._step = then

    def _prepared(self, text: str, what: str, *, allow_unassigned: bool) -> str:
        """Return a user name or a password as SASLprep has it."""
        try:
            found = prepared(text, allow_unassigned=allow_unassigned)
        except SaslprepError as error:
            problem = f"contains {error}"
        else:
            if found:
                return found
            problem = "is empty, or made of characters that count for nothing"
        raise self._failed(
            CredentialRejectedError(
                Reason.SECRET_MALFORMED,
                f"{self.mechanism} cannot carry the {what}: it {problem}; change it, or leave"
                f" {self.mechanism} out of sasl.mechanisms",
            )
        ) from None

    def _read_first(self, message: bytes) -> tuple[bytes, bytes, int]:
        """Return nonce, salt and iterations."""
        attributes = self._attributes(message)
        if attributes[0][0] == b"e":
            raise self._server_error(attributes[0][1])
        names = [name for name, _ in attributes]
        if names[:3] != [b"r", b"s", b"i"] or len(set(names)) != len(names):
            raise self._malformed("has not nonce, salt and iterations")
        nonce, salt, count = (value for _, value in attributes[:3])
        if not _NONCE.fullmatch(nonce) or len(nonce) > MOST_NONCE_OCTETS:
            raise self._malformed("has a nonce that is none, or is too long")
        # §5.1: it is what makes the server's messages fresh, and the client's for this server.
        if not nonce.startswith(self._own_nonce) or len(nonce) == len(self._own_nonce):
            raise self._malformed("has not our nonce, with one of its own behind it")
        octets = self._decoded(salt)
        if not 0 < len(octets) <= MOST_SALT_OCTETS:
            raise self._malformed(f"has a salt that is empty, or over {MOST_SALT_OCTETS} octets")
        return nonce, octets, self._iterations(count)

    def _iterations(self, count: bytes) -> int:
        if not _COUNT.fullmatch(count):
            raise self._malformed("has a number of iterations that is none, or is too large")
        iterations = int(count)
        if LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            return iterations
        few = iterations < LEAST_ITERATIONS
        danger = "passwords could be guessed from" if few else "would keep the processor busy"
        raise self._failed(
            RejectedError(
                Reason.NO_AUTHENTICATION_MECHANISM,
                f"the broker asks for {iterations} iterations of {self.mechanism}, which {danger};"
                f" {LEAST_ITERATIONS} to {MOST_ITERATIONS} are accepted",
            )
        )

    def _attributes(self, message: bytes) -> list[tuple[bytes, bytes]]:
        """Return the attributes of a message in their order; there is at least one."""
        if len(message) > MOST_MESSAGE_OCTETS:
            raise self._malformed(f"is over {MOST_MESSAGE_OCTETS} octets")
        found = []
        for each in message.split(b","):
            if not _EXTENSION.fullmatch(each):
                raise self._malformed("is not made of attributes")
            if each.startswith(b"m="):
                # §5.1: nobody who does not know the extension may go on.
                raise self._malformed("demands an extension that is not known here")
            found.append((each[:1], each[2:]))
        return found

    def _decoded(self, value: bytes) -> bytes:
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            raise self._malformed("has what should be Base64, and is not") from None

    def _server_error(self, value: bytes) -> ConnectError:
        """Return what the server's error means, in no words but those of RFC 5802."""
        refusal = _SERVER_ERRORS.get(value)
        said = value.decode("ascii") if refusal is not None else "with an error of its own"
        refusal = refusal or _CREDENTIAL
        return self._failed(
            refusal.family(
                refusal.reason, f"the broker refused the login: {self.mechanism}, {said}"
            )
        )

    def _malformed(self, how: str) -> ConnectError:
        """Return the error for a message that is none, without an octet of it."""
        return self._failed(
            RejectedError(
                Reason.PROTOCOL_MISMATCH, f"a message of the broker for {self.mechanism} {how}"
            )
        )

    def _failed(self, error: ConnectError) -> ConnectError:
        """End the login; return the error that is raised for it."""
        self.forget()
        return error
