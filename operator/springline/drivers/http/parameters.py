"""What is declared for a connection over HTTP, as its driver takes it. Pure."""

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Self

from springline.api import places, v1alpha1
from springline.core.protocol_values import Offer, Place
from springline.drivers.http.connection import Version
from springline.drivers.shared import sasl, unused
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import TerminalError
from springline.protocols import PROTOCOLS
from springline.reasons import Reason

__all__ = ["BlockedWhen", "HttpParameters"]

_INFO: Final = PROTOCOLS["http"]
_NEVER_REFUSED: Final = frozenset({"heartbeat_seconds", "connection_name", "blocked_when"})
"""Parameters that no server refuses a credential for. What is not here counts."""
_ALPN: Final = {
    Version.AUTO: ("h2", "http/1.1"),
    Version.HTTP1: ("http/1.1",),
    Version.HTTP2: ("h2",),
}
"""RFC 7301 §6, RFC 9113 §3.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedWhen:
    """What is asked to learn whether the broker is blocked."""

    target: str
    """Path with query."""
    statuses: frozenset[int]
    """Those that mean that it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpParameters:
    """What is asked of the server, as `core.protocol_values.Parameters`."""

    target: str = "/"
    """Path with query."""
    method: str = "GET"
    expected: frozenset[int] = frozenset({200})
    """Statuses that mean that all is well."""
    version: Version = Version.AUTO
    persistent: bool | None = None
    blocked_when: BlockedWhen | None = None
    heartbeat_seconds: int = 0
    """Of HTTP/2; 0 sends no PING."""
    server_name: str = ""
    """The host that is asked for, where another one than that of the endpoint is verified."""
    sasl: SaslPolicy
    connection_name: str

    @classmethod
    def declared(
        cls, connection: v1alpha1.BrokerConnectionSpec, broker: v1alpha1.BrokerSpec, *, name: str
    ) -> Self:
        """Return what a declaration asks for. `name` is what the server is told of it.

        Raises `TerminalError` for what has no meaning here.
        """
        title = _INFO.title
        if connection.virtual_host != places.DEFAULT:
            raise TerminalError(
                Reason.INVALID_SPEC,
                f"spec.virtualHost: {title} has no virtual hosts to open; leave it out, and write"
                " what is asked for into spec.http.path",
            )
        unused.refuse(
            connection,
            ("channel_max", "frame_max", "client_properties"),
            at="spec.",
            title=title,
        )
        unused.refuse(connection.probe, ("exchange", "routing_key"), at="spec.probe.", title=title)
        unused.refuse(broker, ("locale",), title=title)
        if connection.probe.mode == "OwnQueue":
            raise TerminalError(
                Reason.INVALID_SPEC,
                f"spec.probe.mode: {title} has no queues; write Publish, which repeats the request"
                " of spec.http, or None",
            )
        http = connection.http
        blocked = http.blocked_when
        return cls(
            target=http.path,
            method=http.method,
            expected=frozenset(http.expect_status),
            version=Version(http.version),
            persistent=http.persistent,
            blocked_when=(
                BlockedWhen(target=blocked.path, statuses=frozenset(blocked.status))
                if blocked is not None
                else None
            ),
            heartbeat_seconds=int(connection.heartbeat.total_seconds()),
            server_name=broker.tls.server_name or "",
            sasl=sasl.declared(broker),
            connection_name=name,
        )

    def with_name(self, name: str) -> Self:
        """Return the same under another connection name."""
        return dataclasses.replace(self, connection_name=name)

    @property
    def acceptance(self) -> Hashable:
        """All but what no server refuses a credential for: a new parameter counts unless named."""
        names = (each.name for each in dataclasses.fields(self))
        return tuple(getattr(self, name) for name in names if name not in _NEVER_REFUSED)

    @property
    def alone(self) -> str:
        """Nothing: a server keeps no account of them."""
        return ""

    @property
    def alpn(self) -> tuple[str, ...]:
        """What the version leaves to agree on."""
        return _ALPN[self.version]

    @property
    def path(self) -> str:
        """The path without its query, which may hold what is not to be shown."""
        return self.target.split("?", 1)[0]

    @property
    def place(self) -> Place:
        """The path."""
        return Place(_INFO.place, self.path)

    def offer(self, *, provider: str, tls: bool) -> Offer:
        """Return what applications are told: the server, without the path that is probed.

        Credentials do not belong into an HTTP URI (RFC 9110 §4.2.4).
        """
        del provider  # what serves HTTP is not what is served
        return Offer(type="http", scheme="https" if tls else "http", path="", has_login=False)
