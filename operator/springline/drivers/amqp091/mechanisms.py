"""SASL for AMQP 0-9-1: which mechanism to use, and the responses it gives.

Choosing is pure. Nothing here reads or writes a socket, and nothing keeps a secret longer than the
exchange it is for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from pamqp import encode

from springline.core.values import Credential, CredentialKind, SaslPolicy, TLSClient
from springline.errors import CredentialRejectedError, RejectedError, TerminalError
from springline.reasons import Reason

__all__ = [
    "CLEAR_TEXT",
    "MAX_ROUNDS",
    "SUPPORTED",
    "Exchange",
    "RawText",
    "check",
    "choose",
    "start",
]

# Each of these sends the secret as it is (RFC 4616 §4), so they need TLS or an explicit permission.
CLEAR_TEXT = frozenset({"PLAIN", "AMQPLAIN", "RABBIT-CR-DEMO"})
SUPPORTED = CLEAR_TEXT | {"EXTERNAL"}

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


def _nothing(credential: Credential) -> bytes:  # noqa: ARG001 - the certificate says who we are
    return b""


_MECHANISMS: Mapping[str, Mechanism] = {
    "PLAIN": Mechanism(initial=_plain),
    "AMQPLAIN": Mechanism(initial=_amqplain),
    # RFC 4422 appendix A: an empty authorization identity asks for the certificate's own.
    "EXTERNAL": Mechanism(initial=_nothing, challenged=_nothing),
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


def check(policy: SaslPolicy, credential: Credential, tls: TLSClient | None) -> None:
    """Raise what is certain before anything is sent: no mechanism can work, whoever answers.

    Raises `CredentialRejectedError` for a credential that no mechanism can carry, `RejectedError`
    if no declared mechanism can use it, `TerminalError` if all that can are clear text and there
    is no TLS (R2.9).
    """
    _check_credential(credential)
    usable = [name for name in policy.mechanisms if _can_use(name, credential, tls)]
    if not usable:
        raise RejectedError(
            Reason.NO_AUTHENTICATION_MECHANISM,
            f"none of the declared mechanisms {_listed(policy.mechanisms)} can use"
            f" {_described(credential, tls)}",
        )
    if not any(_is_protected(name, policy, tls) for name in usable):
        raise TerminalError(Reason.INSECURE_MECHANISM, _insecure(usable))


def choose(
    policy: SaslPolicy,
    offered: Sequence[str],
    credential: Credential,
    tls: TLSClient | None,
) -> str:
    """Return the first declared mechanism that is offered and can be used (R2.1).

    Raises `RejectedError` naming both lists if there is none (R2.2), `TerminalError` if only a
    clear-text mechanism without TLS would be left.
    """
    usable = [
        name for name in policy.mechanisms if name in offered and _can_use(name, credential, tls)
    ]
    for name in usable:
        if _is_protected(name, policy, tls):
            return name
    if usable:
        raise TerminalError(Reason.INSECURE_MECHANISM, _insecure(usable))
    raise RejectedError(
        Reason.NO_AUTHENTICATION_MECHANISM,
        f"no suitable authentication method: the broker offers {_listed(offered)}, declared are"
        f" {_listed(policy.mechanisms)}, to be used with {_described(credential, tls)}",
    )


def start(name: str, credential: Credential) -> Exchange:
    """Begin the exchange of a chosen mechanism."""
    return Exchange(name, credential)


def _can_use(name: str, credential: Credential, tls: TLSClient | None) -> bool:
    if name == "EXTERNAL":
        return tls is not None and tls.has_client_certificate
    return name in SUPPORTED and credential.kind is not CredentialKind.EXTERNAL


def _is_protected(name: str, policy: SaslPolicy, tls: TLSClient | None) -> bool:
    return name not in CLEAR_TEXT or tls is not None or policy.allow_insecure


def _check_credential(credential: Credential) -> None:
    if credential.kind is CredentialKind.EXTERNAL:
        return
    secret = credential.secret.reveal()
    # An empty name or password must not be sent: some clients turn it into `guest`, and brokers
    # with an LDAP backend take an empty password for an anonymous bind (RFC 4513 §5.1.2).
    if not secret:
        raise CredentialRejectedError(Reason.SECRET_MALFORMED, "the password or token is empty")
    if credential.kind is CredentialKind.PASSWORD and not credential.username:
        raise CredentialRejectedError(Reason.SECRET_MALFORMED, "the user name is empty")
    if "\0" in credential.username or "\0" in secret:
        raise CredentialRejectedError(
            Reason.SECRET_MALFORMED,
            "the user name or the secret contains a NUL character, which separates them in PLAIN",
        )


def _described(credential: Credential, tls: TLSClient | None) -> str:
    certificate = "a" if tls is not None and tls.has_client_certificate else "no"
    match credential.kind:
        case CredentialKind.PASSWORD:
            what = "a user name and password"
        case CredentialKind.TOKEN:
            what = "a token"
        case CredentialKind.EXTERNAL:
            what = "external credentials (EXTERNAL, with tls.clientCertificateRef)"
        case _:
            assert_never(credential.kind)
    return f"{what} and {certificate} client certificate"


def _insecure(names: Sequence[str]) -> str:
    return (
        f"{_listed(names)} would send the secret in clear text over an unencrypted connection:"
        " enable tls, or set sasl.allowInsecure: true to accept that"
    )


def _listed(names: Sequence[str]) -> str:
    return f"[{', '.join(names)}]"
