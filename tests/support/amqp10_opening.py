"""Requests for the AMQP 1.0 driver, and a connection opened with one."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

from springline.core.values import Credential, Endpoint, OpenRequest, TLSClient
from springline.drivers.amqp10.connection import Amqp10Connection
from springline.drivers.amqp10.driver import Amqp10Driver
from springline.drivers.amqp10.negotiated import Amqp10Negotiated, LinkInfo
from springline.drivers.amqp10.parameters import (
    Amqp10Parameters,
    LinkParameters,
    SourceParameters,
    TargetParameters,
)
from springline.drivers.amqp10.probe_target import Amqp10ProbeTarget
from springline.drivers.amqp10.terms import Role
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import NotOpenError
from support import opening
from support.ports import LOOPBACK

__all__ = ["link", "negotiated", "opened", "parameters", "probed", "receiver", "request", "sender"]


def parameters(*, mechanisms: tuple[str, ...] = ("PLAIN",), **changes: Any) -> Amqp10Parameters:
    """Return what is asked of a friendly broker; change what the test is about."""
    return dataclasses.replace(
        Amqp10Parameters(
            container_id="springline/orders/main",
            sasl=SaslPolicy(mechanisms=mechanisms, allow_insecure=True),
            connection_name="springline/orders/main",
        ),
        **changes,
    )


def request(
    port: int,
    *,
    host: str = "localhost",
    credential: Credential | None = None,
    tls: TLSClient | None = None,
    timeout: float = 10.0,
    **changes: Any,
) -> OpenRequest[Amqp10Parameters]:
    """Return a request that reaches a broker on this machine."""
    return OpenRequest(
        endpoint=Endpoint(host, port),
        address=LOOPBACK,
        tls=tls,
        credential=credential or opening.password(),
        parameters=parameters(**changes),
        timeout=timeout,
    )


@contextlib.asynccontextmanager
async def opened(asked: OpenRequest[Amqp10Parameters]) -> AsyncIterator[Amqp10Connection]:
    """Open a connection, and have it gone at the end, however it ended."""
    connection = await Amqp10Driver().open(asked)
    assert isinstance(connection, Amqp10Connection)
    try:
        yield connection
    finally:
        with contextlib.suppress(NotOpenError):
            await connection.close()
        connection.abort()
        await connection.wait_gone()


async def probed(
    connection: Amqp10Connection, *, lifetime: float | None = 5.0, timeout: float = 10.0
) -> float | None:
    """Probe once, as the core does."""
    return await connection.probe(Amqp10ProbeTarget(), lifetime=lifetime, timeout=timeout)


def negotiated(connection: Amqp10Connection) -> Amqp10Negotiated:
    """Return what was agreed on, as it is now."""
    found = connection.info.negotiated
    assert isinstance(found, Amqp10Negotiated)
    return found


def link(connection: Amqp10Connection, name: str) -> LinkInfo:
    """Return a declared link as it is now."""
    [found] = [each for each in negotiated(connection).links if each.name == name]
    return found


def sender(address: str, name: str = "out", **changes: Any) -> LinkParameters:
    """Return a link to an address, as it is declared."""
    target = TargetParameters(address=address)
    return LinkParameters(
        **{"name": name, "role": Role.SENDER, "target": target, "keep": True, **changes}
    )


def receiver(address: str, name: str = "in", **changes: Any) -> LinkParameters:
    """Return a link from an address, as it is declared."""
    source = SourceParameters(address=address)
    return LinkParameters(**{"name": name, "role": Role.RECEIVER, "source": source, **changes})
