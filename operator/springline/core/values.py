"""The values that cross the ports: endpoints, credentials, what was negotiated, how a connection
ended.

All are frozen. Nothing here knows a protocol library, Kubernetes or a file.
"""

import abc
import enum
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from springline.api.status import NegotiatedStatus, ServerStatus, TLSStatus
from springline.core.protocol_values import Parameters
from springline.reasons import Reason
from springline.redaction import Secret
from springline.veil import Veil

__all__ = [
    "Block",
    "CloseInfo",
    "ClosedBy",
    "Credential",
    "CredentialKind",
    "Endpoint",
    "Instant",
    "Negotiated",
    "OpenInfo",
    "OpenRequest",
    "ResolvedEndpoint",
    "ServerInfo",
    "SessionKey",
    "TLSClient",
    "TLSInfo",
    "same_tls",
]

ParametersT_co = TypeVar("ParametersT_co", bound=Parameters, covariant=True)


@dataclass(frozen=True, slots=True, order=True)
class SessionKey:
    """The declared connection a session belongs to, shown as `namespace/name`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A host name or IP address with a port, shown as `host:port`."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ResolvedEndpoint:
    """An endpoint to try, with what is known of its addresses."""

    endpoint: Endpoint
    addresses: tuple[str, ...] = ()
    """IP addresses in the order to try; empty where the host is still to be looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """What both clocks said at one moment."""

    wall: datetime
    monotonic: float


class CredentialKind(enum.Enum):
    """What a credential proves itself with."""

    PASSWORD = "password"  # a user name and a password
    TOKEN = "token"  # a bearer token; the user is whoever the token says
    EXTERNAL = "external"  # the transport: the client certificate of the TLS handshake
    ANONYMOUS = "anonymous"  # nothing: the broker lets anybody in


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a session logs in with. Its repr shows the user, never the secret."""

    kind: CredentialKind
    source: str
    """The field of `spec.credentials` it came from, for example `secretRef`."""
    username: str = ""
    secret: Secret = field(default_factory=lambda: Secret(""))
    version: str = ""
    """The version of the object it was read from; says nothing about the value."""
    issued_at: datetime | None = None
    """Where its lifetime begins, as far as that is known."""
    expires_at: datetime | None = None
    received: Instant | None = field(default=None, compare=False, repr=False)
    """When we got it, or asked for it where it was issued for us: its lifetime is measured from
    there by the monotonic clock. None until a session has it."""

    def same_value(self, other: "Credential") -> bool:
        """Whether both log in as the same user with the same secret, whatever their version."""
        return (self.kind, self.username) == (other.kind, other.username) and (
            self.secret == other.secret
        )


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True, eq=False)
class TLSClient:
    """A prepared TLS client side, shared by the sessions with the same certificates."""

    context: ssl.SSLContext
    server_name: str | None = None
    """Name to ask for and to verify; the endpoint's host where None."""
    has_client_certificate: bool = False
    left_out: str = ""
    """What of the declared authorities is not trusted because it is no certificate, as part of a
    sentence; empty if nothing is left out."""

    def same_as(self, other: "TLSClient | None") -> bool:
        """Whether both are made of the same certificates."""
        return other is not None and self.context is other.context


def same_tls(one: TLSClient | None, other: TLSClient | None) -> bool:
    """Whether both are no TLS, or TLS with the same certificates."""
    return other is None if one is None else one.same_as(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest(Generic[ParametersT_co]):
    """Everything one `Driver.open` needs. One endpoint, at one of its addresses."""

    endpoint: Endpoint
    address: str
    """The IP address to connect to, looked up just now."""
    tls: TLSClient | None
    credential: Credential
    parameters: ParametersT_co
    """The protocol's own."""
    timeout: float
    """Seconds for everything: connect, TLS and the open handshake."""
    veil: Veil = field(default_factory=Veil, compare=False)
    """The session's own: what the peer says is shown through it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSInfo:
    """What the TLS handshake agreed on."""

    version: str
    cipher: str
    peer_certificate_not_after: datetime | None = None
    """None where the peer's certificate was not verified."""

    def as_status(self) -> TLSStatus:
        """Return how status shows it."""
        return TLSStatus(
            version=self.version,
            cipher=self.cipher,
            peer_certificate_not_after=self.peer_certificate_not_after,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Negotiated(abc.ABC):
    """What both peers agreed on in the open handshake. Each protocol has a class of its own."""

    mechanism: str
    heartbeat_seconds: int
    """0 where there are no heartbeats."""
    tls: TLSInfo | None = None

    @abc.abstractmethod
    def as_status(self) -> NegotiatedStatus:
        """Return how status shows it, with what else the protocol has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What the broker says of itself."""

    product: str = ""
    version: str = ""
    platform: str = ""
    cluster_name: str = ""
    protocol_version: str = ""
    mechanisms: tuple[str, ...] = ()
    tells_blocks: bool = False
    """Whether it tells a connection that it blocks it; else an unanswered probe may be a block."""

    def as_status(self) -> ServerStatus:
        """Return how status shows it; a protocol with more to say has a class of its own."""
        return ServerStatus(
            product=self.product or None,
            version=self.version or None,
            cluster_name=self.cluster_name or None,
            platform=self.platform or None,
            protocol_version=self.protocol_version or None,
            mechanisms=self.mechanisms or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInfo:
    """An open connection as people see it."""

    endpoint: Endpoint
    address: str
    """The IP address connected to."""
    negotiated: Negotiated
    server: ServerInfo
    proved: bool
    """Whether the broker asked for the credential and accepted it, rather than let anybody in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Why the broker takes in nothing of what a connection publishes."""

    reason: Reason
    """What the driver makes of it; BlockedByBroker where it knows no better."""
    text: str
    """The broker's own words, or the driver's where the protocol has none; for people."""


class ClosedBy(enum.StrEnum):
    """Who ended a connection."""

    SERVER = "Server"  # the broker sent a Close
    CLIENT = "Client"  # Springline closed it on purpose
    TRANSPORT = "Transport"  # nobody said anything: reset, end of file, missed heartbeats


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseInfo:
    """How an open connection ended, with the codes of the protocol's close where there was one."""

    by: ClosedBy
    reason: Reason
    text: str
    codes: Mapping[str, int] = field(default_factory=dict)
    """The numbers that came with it, by the names that `status.lastClose` has for them; empty where
    nobody said anything, or the protocol has none."""
    says_expired: bool = False
    """Whether the broker ended it because the lifetime of its credential is over."""
    probe_refused: str = ""
    """Where the broker ended it because of what a probe asks for: a sentence that says so, and what
    to do. Else empty."""
