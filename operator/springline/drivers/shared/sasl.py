"""Which SASL mechanism to use: the client's order decides, and no secret goes in clear text.

Pure. Which of them the secret shows in, and what they say, is the driver's: it hands in a table of
theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from springline import protocols
from springline.api import v1alpha1
from springline.core.values import Credential, CredentialKind, TLSClient
from springline.errors import CredentialRejectedError, RejectedError, TerminalError
from springline.reasons import Reason

__all__ = ["MechanismTable", "SaslPolicy", "check", "choose", "declared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SaslPolicy:
    """Which authentication mechanisms may be used, most wanted first."""

    mechanisms: tuple[str, ...]
    allow_insecure: bool = False
    """Whether clear-text mechanisms may be used on an unencrypted transport."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MechanismTable:
    """The mechanisms that a driver can speak."""

    supported: frozenset[str]
    clear_text: frozenset[str]
    """Those that send the secret as it is: they need TLS, or an explicit permission."""
    passwords_only: frozenset[str] = frozenset()
    """Those that have no room for a token."""


def declared(broker: v1alpha1.BrokerSpec) -> SaslPolicy:
    """Return what is declared of a broker, or what its protocol has for want of that.

    Raises `TerminalError` InvalidSpec for a mechanism that the protocol does not have.
    """
    protocol = protocols.PROTOCOLS[broker.protocol]
    foreign = [name for name in broker.mechanisms if name not in protocol.mechanisms]
    if foreign:
        raise TerminalError(
            Reason.INVALID_SPEC,
            f"sasl.mechanisms: {protocol.title} has no {' and no '.join(foreign)}; it has"
            f" {_listed(protocol.mechanisms)}",
        )
    return SaslPolicy(mechanisms=broker.mechanisms, allow_insecure=broker.sasl.allow_insecure)


def check(
    table: MechanismTable, policy: SaslPolicy, credential: Credential, tls: TLSClient | None
) -> None:
    """Raise what is certain before anything is sent: no mechanism can work, whoever answers.

    Raises `CredentialRejectedError` for a credential that no mechanism can carry, `RejectedError`
    if no declared mechanism can use it, `TerminalError` if all that can are clear text and there
    is no TLS (R2.9).
    """
    _check_credential(credential)
    usable = [name for name in policy.mechanisms if _can_use(table, name, credential, tls)]
    if not usable:
        raise RejectedError(
            Reason.NO_AUTHENTICATION_MECHANISM,
            f"none of the declared mechanisms {_listed(policy.mechanisms)} can use"
            f" {_described(credential, tls)}",
        )
    if not any(_is_protected(table, name, policy, tls) for name in usable):
        raise TerminalError(Reason.INSECURE_MECHANISM, _insecure(usable))


def choose(
    table: MechanismTable,
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
        name
        for name in policy.mechanisms
        if name in offered and _can_use(table, name, credential, tls)
    ]
    for name in usable:
        if _is_protected(table, name, policy, tls):
            return name
    if usable:
        raise TerminalError(Reason.INSECURE_MECHANISM, _insecure(usable))
    raise RejectedError(
        Reason.NO_AUTHENTICATION_MECHANISM,
        f"no suitable authentication method: the broker offers {_listed(offered)}, declared are"
        f" {_listed(policy.mechanisms)}, to be used with {_described(credential, tls)}",
    )


def _can_use(
    table: MechanismTable, name: str, credential: Credential, tls: TLSClient | None
) -> bool:
    if name not in table.supported:
        return False
    if credential.kind is CredentialKind.ANONYMOUS or name == "ANONYMOUS":
        return credential.kind is CredentialKind.ANONYMOUS and name == "ANONYMOUS"
    if name == "EXTERNAL":
        return tls is not None and tls.has_client_certificate
    if name in table.passwords_only:
        return credential.kind is CredentialKind.PASSWORD
    return credential.kind is not CredentialKind.EXTERNAL


def _is_protected(
    table: MechanismTable, name: str, policy: SaslPolicy, tls: TLSClient | None
) -> bool:
    return name not in table.clear_text or tls is not None or policy.allow_insecure


def _check_credential(credential: Credential) -> None:
    if credential.kind in (CredentialKind.EXTERNAL, CredentialKind.ANONYMOUS):
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
        case CredentialKind.ANONYMOUS:
            return "anonymous credentials (ANONYMOUS)"
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
