"""`core.ports.Driver` for Echo: one attempt under one deadline. It keeps nothing between calls."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from springline.core.values import OpenInfo, OpenRequest, ServerInfo
from springline.drivers.echo import errors, lines
from springline.drivers.echo.connection import EchoConnection
from springline.drivers.echo.errors import EchoProgress, EchoStep
from springline.drivers.echo.negotiated import EchoNegotiated
from springline.drivers.echo.parameters import EchoParameters
from springline.drivers.shared import dialling, peer_text, sasl, tls_handshake
from springline.drivers.shared.line import Line
from springline.drivers.shared.sasl import MechanismTable
from springline.errors import CredentialRejectedError, RejectedError
from springline.protocols import PROTOCOLS
from springline.reasons import Reason
from springline.veil import Veil

__all__ = ["EchoDriver"]

_MECHANISMS: Final = MechanismTable(
    supported=frozenset(PROTOCOLS["echo"].mechanisms),
    clear_text=frozenset(PROTOCOLS["echo"].mechanisms),
)


class EchoDriver:
    """Opens Echo connections."""

    __slots__ = ()

    async def open(self, request: OpenRequest[EchoParameters]) -> EchoConnection:
        """Connect, log in and enter the hub within `request.timeout` seconds. Safe to cancel."""
        parameters = request.parameters
        sasl.check(_MECHANISMS, parameters.sasl, request.credential, request.tls)
        request.veil.note(request.credential.secret)
        request.veil.know(
            request.credential.username, parameters.hub, request.endpoint.host, request.address
        )
        progress = EchoProgress(endpoint=request.endpoint, timeout=request.timeout)
        with errors.translated(progress):
            async with asyncio.timeout(request.timeout):
                reader = asyncio.StreamReader(limit=parameters.longest_line)
                line = await dialling.dial(request, progress, reader)
                try:
                    info = await _enter(line, request, progress)
                except BaseException:
                    line.abort()
                    await line.wait_lost()
                    raise
        return EchoConnection(line, info, request.veil)


async def _enter(
    line: Line[asyncio.StreamReader], request: OpenRequest[EchoParameters], progress: EchoProgress
) -> OpenInfo:
    parameters, credential, veil = request.parameters, request.credential, request.veil
    progress.step = EchoStep.GREETING
    greeting = await _expected(line, "hello")
    offered = tuple(map(peer_text.cleaned, greeting.get("mechanisms", ())))
    name = sasl.choose(_MECHANISMS, parameters.sasl, offered, credential, request.tls)
    progress.step = EchoStep.LOGIN
    secret = credential.secret.reveal()
    line.write(lines.written("login", by=name, user=credential.username, secret=secret))
    if (answer := await lines.received(line.reader))["say"] == "no":
        raise CredentialRejectedError(Reason.ACCESS_REFUSED, _refusal("the login", answer, veil))
    progress.step = EchoStep.ENTRY
    line.write(
        lines.written(
            "enter",
            hub=parameters.hub,
            name=parameters.connection_name,
            longest=parameters.longest_line,
            beat=parameters.heartbeat_seconds,
        )
    )
    if (answer := await lines.received(line.reader))["say"] == "no":
        raise RejectedError(
            Reason.VIRTUAL_HOST_NOT_FOUND, _refusal("the entry", answer, veil), authenticated=True
        )
    return OpenInfo(
        endpoint=request.endpoint,
        address=progress.address,
        negotiated=EchoNegotiated(
            mechanism=name,
            heartbeat_seconds=int(answer["beat"]),
            longest_line=int(answer["longest"]),
            tls=tls_handshake.tls_info(line.transport, request.tls),
        ),
        server=ServerInfo(
            product=peer_text.cleaned(greeting.get("product"), veil=veil),
            version=peer_text.cleaned(greeting.get("version"), veil=veil),
            protocol_version="1",
            mechanisms=tuple(peer_text.cleaned(each, veil=veil) for each in offered),
        ),
        proved=True,
    )


async def _expected(line: Line[asyncio.StreamReader], verb: str) -> Mapping[str, Any]:
    found = await lines.received(line.reader)
    if found["say"] != verb:
        raise errors.mismatch()
    return found


def _refusal(what: str, answer: Mapping[str, Any], veil: Veil) -> str:
    return f"the hub refused {what}: {peer_text.cleaned(answer.get('why'), veil=veil)}"
