"""Requests for the HTTP driver, and a session opened with one."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

from springline.core import ports
from springline.core.values import Credential, Endpoint, OpenRequest, TLSClient
from springline.drivers.http.client import HttpClient
from springline.drivers.http.driver import HttpDriver
from springline.drivers.http.parameters import HttpParameters
from springline.drivers.http.probe_target import HttpProbeTarget
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import NotOpenError
from support import opening
from support.ports import LOOPBACK

__all__ = ["opened", "parameters", "probed", "request"]


def parameters(**changes: Any) -> HttpParameters:
    """Return what is asked of a friendly server; change what the test is about."""
    return dataclasses.replace(
        HttpParameters(
            sasl=SaslPolicy(
                mechanisms=("BASIC", "BEARER", "EXTERNAL", "ANONYMOUS"), allow_insecure=True
            ),
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
) -> OpenRequest[HttpParameters]:
    """Return a request that reaches a server on this machine."""
    return OpenRequest(
        endpoint=Endpoint(host, port),
        address=LOOPBACK,
        tls=tls,
        credential=credential or opening.password(),
        parameters=parameters(**changes),
        timeout=timeout,
    )


async def probed(connection: ports.Connection, *, timeout: float = 10.0) -> float | None:
    """Probe once; None too where the session has ended."""
    with contextlib.suppress(NotOpenError):
        return await connection.probe(HttpProbeTarget(), timeout=timeout)
    return None


@contextlib.asynccontextmanager
async def opened(request: OpenRequest[HttpParameters]) -> AsyncIterator[HttpClient]:
    """Open a session for the length of a block."""
    connection = await HttpDriver().open(request)
    try:
        yield connection
    finally:
        connection.abort()
        await connection.wait_gone()
