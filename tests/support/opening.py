"""Requests for drivers and an observer that remembers: what every driver test begins with."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from springline.core.ports import Connection
from springline.core.values import (
    Block,
    CloseInfo,
    Credential,
    CredentialKind,
    Endpoint,
    OpenRequest,
    TLSClient,
)
from springline.drivers.amqp091.connection import Amqp091Connection
from springline.drivers.amqp091.negotiated import Amqp091Negotiated
from springline.drivers.amqp091.parameters import Amqp091Parameters, LocalePreference
from springline.drivers.amqp091.probe_target import Amqp091ProbeTarget
from springline.drivers.shared.sasl import SaslPolicy
from springline.reasons import Reason
from springline.redaction import Secret
from support.ports import LOOPBACK
from support.waiting import PATIENCE

__all__ = [
    "Recorder",
    "agreed",
    "anonymous",
    "block",
    "external",
    "password",
    "probe",
    "probe_until_blocked",
    "request",
    "token",
]


def password(username: str = "guest", secret: str = "guest") -> Credential:
    """Return a user name and password."""
    return Credential(
        kind=CredentialKind.PASSWORD, source="secretRef", username=username, secret=Secret(secret)
    )


def token(secret: str, username: str = "") -> Credential:
    """Return a bearer token."""
    return Credential(
        kind=CredentialKind.TOKEN, source="tokenRef", username=username, secret=Secret(secret)
    )


def block(alarm: str) -> Block:
    """Return the block for an alarm of RabbitMQ, where the protocol has its words."""
    reasons = {"low on memory": Reason.LOW_ON_MEMORY, "low on disk": Reason.LOW_ON_DISK}
    return Block(reason=reasons[alarm], text=alarm)


def external() -> Credential:
    """Return the credential that is the client certificate."""
    return Credential(kind=CredentialKind.EXTERNAL, source="external")


def anonymous() -> Credential:
    """Return the credential of who has no login."""
    return Credential(kind=CredentialKind.ANONYMOUS, source="anonymous")


def request(
    port: int,
    *,
    host: str = "localhost",
    address: str = LOOPBACK,
    credential: Credential | None = None,
    tls: TLSClient | None = None,
    timeout: float = 10.0,
    mechanisms: tuple[str, ...] = ("PLAIN",),
    allow_insecure: bool = True,
    locale: LocalePreference | None = None,
    virtual_host: str = "/",
    client_properties: Mapping[str, str] | None = None,
    **parameters: Any,
) -> OpenRequest[Amqp091Parameters]:
    """Return a request that opens on a friendly broker; change what the test is about."""
    return OpenRequest(
        endpoint=Endpoint(host, port),
        address=address,
        tls=tls,
        credential=credential or password(),
        parameters=dataclasses.replace(
            Amqp091Parameters(
                virtual_host=virtual_host,
                heartbeat_seconds=60,
                channel_max=2047,
                frame_max=131072,
                sasl=SaslPolicy(mechanisms=mechanisms, allow_insecure=allow_insecure),
                locale=locale or LocalePreference(),
                connection_name="springline/orders/main",
                client_properties=client_properties or {},
            ),
            **parameters,
        ),
        timeout=timeout,
    )


def agreed(connection: Connection) -> Amqp091Negotiated:
    """Return what came of the handshake, with what AMQP 0-9-1 alone has."""
    negotiated = connection.info.negotiated
    assert isinstance(negotiated, Amqp091Negotiated)
    return negotiated


async def probe(
    connection: Amqp091Connection,
    *,
    exchange: str,
    routing_key: str,
    own_queue: bool = False,
    lifetime: float | None = None,
    timeout: float,
) -> float | None:
    """Probe once."""
    target = Amqp091ProbeTarget(exchange=exchange, routing_key=routing_key, own_queue=own_queue)
    return await connection.probe(target, lifetime=lifetime, timeout=timeout)


async def probe_until_blocked(connection: Amqp091Connection, **probing: Any) -> None:
    """Probe until the broker tells of an alarm, and confirms no more.

    An alarm takes a moment to come to connections, and a confirm may overtake the news of it.
    `probing` is what `probe` takes.
    """
    confirmed: float | None = 0.0
    async with asyncio.timeout(PATIENCE):
        while confirmed is not None or connection.blocked is None:
            confirmed = await probe(connection, **probing)


class Recorder:
    """An observer that remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.closes: list[CloseInfo] = []

    def connection_blocked(self, connection: Connection, block: Block) -> None:
        """Remember a block."""
        assert connection.blocked == block
        self.told.append(f"blocked: {block.text}")

    def connection_unblocked(self, connection: Connection) -> None:
        """Remember the end of a block."""
        assert connection.blocked is None
        self.told.append("unblocked")

    def connection_changed(self, connection: Connection) -> None:
        """Remember that something inside it has changed."""
        assert connection.is_open
        self.told.append("changed")

    def connection_closed(self, connection: Connection, close: CloseInfo) -> None:
        """Remember the end."""
        assert not connection.is_open
        self.told.append("closed")
        self.closes.append(close)
