"""What the core asks of the outside: one Protocol for each role.

Drivers, credential sources, sinks and clocks implement these; the core imports none of them.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core.outcomes import AttemptOutcome, UpdateOutcome, VerificationOutcome
from springline.core.protocol_values import Parameters, ProbeTarget
from springline.core.values import (
    Block,
    CloseInfo,
    Credential,
    Endpoint,
    OpenInfo,
    OpenRequest,
    ResolvedEndpoint,
    TLSClient,
)
from springline.reasons import Reason
from springline.redaction import Secret

__all__ = [
    "Adapter",
    "Clock",
    "Connection",
    "ConnectionObserver",
    "CredentialSource",
    "DataObject",
    "Driver",
    "EndpointSource",
    "IssuedToken",
    "Meter",
    "ObjectReader",
    "Resolver",
    "ServiceAccountTokens",
    "ServiceLookup",
    "TLSSource",
    "Timer",
    "TokenFile",
    "TokenFiles",
]


class ConnectionObserver(Protocol):
    """Told what happens to an open connection. Calls are synchronous and must return at once."""

    def connection_blocked(self, connection: "Connection", block: Block) -> None:
        """The broker has stopped taking in what this connection publishes."""

    def connection_unblocked(self, connection: "Connection") -> None:
        """The broker takes in publishes again."""

    def connection_changed(self, connection: "Connection") -> None:
        """Something inside it has changed: `Connection.info` answers otherwise from now on.

        Only an open connection tells that, of `negotiated` and `server` alone, and as often as it
        likes: many calls in a row cost no more than one.
        """

    def connection_closed(self, connection: "Connection", close: CloseInfo) -> None:
        """The connection is over and its socket released. Called exactly once.

        From then on only the observer refers to it, so that it goes, with its secrets, when the
        observer lets go of it. The garbage collector looks seldom at what is as old as that.
        """


class Connection(Protocol):
    """One established connection, owned by one session."""

    @property
    def info(self) -> OpenInfo:
        """What was negotiated, with whom; readable after closing too.

        Where parts of the connection change, `negotiated` is as they are now. The endpoint stays.
        """

    @property
    def is_open(self) -> bool:
        """True from the end of the open handshake until a close begins, on either side."""

    @property
    def blocked(self) -> Block | None:
        """Why, while the broker blocks this connection; else None."""

    @property
    def cannot_renew(self) -> str:
        """Why its secret cannot be renewed in place, as far as that is known beforehand.

        Part of a sentence for people; empty if it can be.
        """

    def observe(self, observer: ConnectionObserver) -> None:
        """Name the one observer. What happened before is told at once: a block, or the end."""

    async def probe(
        self, target: Any, *, lifetime: float | None = None, timeout: float
    ) -> float | None:
        """Try whether the broker takes anything in, and return the seconds until it confirmed that.

        `target` says how; it is what the adapter of this protocol made of the declaration. What is
        published expires after `lifetime` seconds, wherever the broker keeps it.

        Returns None if the broker blocked the connection instead of confirming. While it is
        blocked, too, this is called: a driver that learns of the end of a block by itself sends
        nothing then and returns None. Raises
        `ProbeRefusedError`, which says why; `TimeoutError` after `timeout` seconds, and
        `NotOpenError`. Safe to cancel.
        """

    async def renew(self, credential: Credential, *, timeout: float) -> None:
        """Renew the secret of this live connection in place, and return when the broker says Ok.

        Not called while `cannot_renew` says why not. Raises `SecretRefusedError` if the broker
        closes the connection instead; `SecretNotSentError`, with the connection as it was, for a
        secret that cannot be put to use on it; `SecretUpdateTimeoutError` after `timeout` seconds
        or while the connection is blocked, and `NotOpenError`. Where a late Ok could be taken for
        the next one's, every further call after a time-out raises `SecretUpdateTimeoutError`:
        replace the connection.
        """

    @property
    def close_codes(self) -> Mapping[str, int]:
        """The codes that `close` sends, as in `CloseInfo.codes`."""

    async def close(self, *, text: str = "", timeout: float = 3.0) -> None:
        """Say goodbye, wait at most `timeout` seconds for the answer, and release the socket.

        Raises `NotOpenError` if it is not open (never waits for a close that somebody else began).
        If cancelled, the transport is aborted.
        """

    def abort(self) -> None:
        """Drop the transport at once, without a word to the broker. Idempotent."""


class Driver(Protocol):
    """Opens connections of one protocol. Keeps no state between calls; one serves every session."""

    async def open(self, request: OpenRequest[Any]) -> Connection:
        """Connect, log in and reach the declared place within `request.timeout` seconds.

        It is asked for one address at a time. Whether and where it goes on after an error is
        decided by the family of the error, and by whether the login had been accepted.

        Raises a `ConnectError` of the family that says what to do next, with the endpoint and the
        address in its message where that is not the broker's own. If cancelled, or on any error, no
        socket and no task stays behind.
        """


class Adapter(Protocol):
    """All that is one protocol's own. Keeps no state; one serves every session."""

    @property
    def driver(self) -> Driver:
        """Opens its connections; takes the parameters that `parameters` returns."""

    def parameters(
        self, connection: v1alpha1.BrokerConnectionSpec, broker: v1alpha1.BrokerSpec, *, name: str
    ) -> Parameters:
        """Return what a declaration asks of the broker. `name` is the name of the connection.

        Raises `TerminalError` InvalidSpec, with a sentence that names the field, for what the
        protocol has no use for.
        """

    def probe_target(self, probe: v1alpha1.Probe) -> ProbeTarget:
        """Return what a declared probe does."""


class CredentialSource(Protocol):
    """Where a session's credential comes from."""

    async def fetch(self, *, instead_of: Credential | None = None) -> Credential:
        """Return the credential as it stands now. Raises `CredentialError`.

        Where that may pass by itself it is a `CredentialUnavailableError`. A source that has
        credentials issued returns another one than `instead_of`, or raises; without it, any that
        is still valid. A source that only reads what others renew has no use for it.
        """


class TLSSource(Protocol):
    """Where a session's TLS client side comes from."""

    async def fetch(self) -> TLSClient | None:
        """Return the TLS client side as it stands now, None for plaintext.

        Raises `ConnectError` with reason TLSFailed if certificates are missing or unreadable.
        """


class EndpointSource(Protocol):
    """Where the broker's endpoints come from, asked again before every attempt."""

    async def fetch(self) -> Sequence[ResolvedEndpoint]:
        """Return the endpoints in the order to try, at least one.

        Raises `ConnectError` with reason NameResolutionFailed.
        """


class ServiceLookup(Protocol):
    """Finds what stands behind a Kubernetes Service."""

    async def endpoints(
        self, namespace: str, name: str, port: str | int
    ) -> Sequence[ResolvedEndpoint]:
        """Return the ready endpoints behind a port of the Service, given by number or by name.

        Raises `ConnectError` with reason NameResolutionFailed.
        """


class Resolver(Protocol):
    """Name lookup, asked again before every attempt.

    `namespace` is the one whose share of the lookups it takes.
    """

    async def services(
        self, name: str, *, namespace: str, own_domain: bool = False
    ) -> Sequence[Endpoint]:
        """Return the endpoints of a DNS SRV name in the order to try (RFC 2782).

        With `own_domain`, only those whose hosts are inside the domain of the name. Raises
        `TransientError` with reason NameResolutionFailed, and `RejectedError` TLSFailed where
        `own_domain` leaves none.
        """

    async def addresses(self, endpoint: Endpoint, *, namespace: str) -> Sequence[str]:
        """Return the IP addresses of an endpoint's host, at least one.

        Raises `TransientError` with reason NameResolutionFailed.
        """


class DataObject(Protocol):
    """A Secret or ConfigMap as read."""

    @property
    def version(self) -> str:
        """Changes whenever the object does; says nothing about its values."""

    def get(self, key: str) -> bytes | None:
        """The value under `key`, None if there is none."""


class ObjectReader(Protocol):
    """Reads the Secrets and ConfigMaps that declarations refer to."""

    async def read(self, identity: Identity) -> DataObject | None:
        """Return the object as it is now, None if there is none.

        Raises `ObjectUnavailableError` if the API server does not hand it out, which leaves open
        whether it exists, and `ObjectNotAllowedError` if nobody has allowed its use.
        """


class IssuedToken(Protocol):
    """A token as its issuer gave it."""

    @property
    def value(self) -> Secret:
        """The token."""

    @property
    def lifetime(self) -> float:
        """Seconds from now until it expires."""


class ServiceAccountTokens(Protocol):
    """Issues tokens of ServiceAccounts."""

    async def issue(self, namespace: str, name: str, *, audience: str, seconds: int) -> IssuedToken:
        """Return a new token for one audience, asked to be valid for so many seconds.

        Raises `CredentialError` TokenRequestFailed; where that may pass by itself it is a
        `CredentialUnavailableError`.
        """

    async def own_audiences(self) -> frozenset[str]:
        """Return what the API server takes for its own audience; no broker gets such a token."""


class TokenFile(Protocol):
    """A file with a token as read."""

    @property
    def path(self) -> str:
        """Where it is, for people."""

    @property
    def version(self) -> str:
        """Changes whenever the file does; says nothing about the token."""

    @property
    def content(self) -> bytes:
        """What is in the file."""


class TokenFiles(Protocol):
    """Reads the files of tokens that somebody else renews."""

    async def read(self, namespace: str, name: str) -> TokenFile:
        """Return the file that declarations of a namespace call so, as it is now.

        Raises `CredentialError` TokenFileNotFound, SecretMalformed, or SecretUnreadable, which may
        pass.
        """


class Clock(Protocol):
    """Time, injected so that tests decide what it is."""

    def now(self) -> datetime:
        """The wall clock, in UTC. For people, and for what others say in it; it may be set."""

    def monotonic(self) -> float:
        """Seconds that only grow, also while the machine is suspended. For measuring and pacing."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""

    def call_later(
        self, seconds: float, callback: Callable[[], object], *, early: bool = False
    ) -> "Timer":
        """Call back once after `seconds`, or a moment later; with `early`, a moment before.

        What many sessions wait for comes together in these moments, which costs less than a `sleep`
        of each. What `callback` raises is logged.
        """


class Timer(Protocol):
    """One callback that is to come."""

    def cancel(self) -> None:
        """Have nothing called. Idempotent, and without effect once it has been called."""


class Meter(Protocol):
    """Counts what happens to sessions. Every call returns at once."""

    def attempt_ended(
        self, protocol: str, *, outcome: AttemptOutcome, reason: Reason, seconds: float
    ) -> None:
        """An attempt to open a connection ended, so many seconds after it was its turn."""

    def disconnected(self, reason: Reason) -> None:
        """An open session ended, not by our doing."""

    def secret_updated(self, method: str, outcome: UpdateOutcome, seconds: float) -> None:
        """A live session was to get what has changed, by `InPlace` or `Replaced`.

        The method is `None` where it came to neither.
        """

    def verified(self, outcome: VerificationOutcome) -> None:
        """A session asked whether the broker takes a credential, before it is used."""

    def probed(self, seconds: float) -> None:
        """The broker confirmed a probe's publish after so many seconds."""
