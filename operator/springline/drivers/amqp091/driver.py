"""`core.ports.Driver` for AMQP 0-9-1: one attempt under one deadline.

It keeps nothing between calls. Retrying, limits and what to do about an error are the core's.
"""

import asyncio

from springline.core.values import OpenInfo, OpenRequest
from springline.drivers.amqp091 import errors, lengths, mechanisms
from springline.drivers.amqp091.connection import Amqp091Connection
from springline.drivers.amqp091.errors import HandshakeProgress
from springline.drivers.amqp091.frame_reader import FrameReader
from springline.drivers.amqp091.handshake import Agreed, Handshake
from springline.drivers.amqp091.negotiated import Amqp091Negotiated
from springline.drivers.amqp091.parameters import Amqp091Parameters
from springline.drivers.amqp091.wire import WireConnection
from springline.drivers.shared import dialling, sasl, tls_handshake
from springline.drivers.shared.line import Line
from springline.errors import TerminalError
from springline.protocols import PROTOCOLS
from springline.reasons import Reason

__all__ = ["Amqp091Driver"]

_MIN_FRAME_MAX = 4096  # AMQP 0-9-1 constant `frame-min-size`


class Amqp091Driver:
    """Opens AMQP 0-9-1 connections."""

    __slots__ = ()

    async def open(self, request: OpenRequest[Amqp091Parameters]) -> Amqp091Connection:
        """Connect, log in and open the virtual host within `request.timeout` seconds (R2.4).

        What cannot work is refused before anything is sent. Safe to cancel.
        """
        parameters = request.parameters
        sasl.check(mechanisms.TABLE, parameters.sasl, request.credential, request.tls)
        _check(parameters)
        progress = HandshakeProgress(endpoint=request.endpoint, timeout=request.timeout)
        request.veil.note(request.credential.secret)
        request.veil.know(
            request.credential.username,
            parameters.virtual_host,
            request.endpoint.host,
            request.address,
        )
        with errors.translated(progress):
            async with asyncio.timeout(request.timeout):
                reader = FrameReader(asyncio.get_running_loop())
                line = await dialling.dial(request, progress, reader)
                handshake = Handshake(request, progress)
                wire = WireConnection(
                    line, handshake, name=parameters.connection_name, veil=request.veil
                )
                agreed = await wire.establish()
        return Amqp091Connection(
            wire,
            _info(request, progress, agreed, line),
            frame_max=agreed.limits.frame_max,
            can_confirm=agreed.can_confirm,
            has_extensions=agreed.has_extensions,
            veil=request.veil,
        )


def _check(parameters: Amqp091Parameters) -> None:
    """Raise what the protocol rules out, whoever answers: brokers hang up on it without a word."""
    name, frame_max = parameters.virtual_host, parameters.frame_max
    longest = PROTOCOLS["amqp091"].longest_place
    if len(name) > longest or len(name.encode()) > lengths.MAX_SHORT_STRING:
        raise TerminalError(
            Reason.INVALID_SPEC,
            f"virtualHost has {len(name)} characters; AMQP 0-9-1 allows {longest}",
        )
    if 0 < frame_max < _MIN_FRAME_MAX:
        raise TerminalError(
            Reason.NEGOTIATION_FAILED,
            f"frameMax is {frame_max}; AMQP 0-9-1 needs at least {_MIN_FRAME_MAX}",
        )


def _info(
    request: OpenRequest[Amqp091Parameters],
    progress: HandshakeProgress,
    agreed: Agreed,
    line: Line[FrameReader],
) -> OpenInfo:
    return OpenInfo(
        endpoint=request.endpoint,
        address=progress.address,
        negotiated=Amqp091Negotiated(
            mechanism=agreed.mechanism,
            locale=agreed.locale,
            heartbeat_seconds=agreed.limits.heartbeat_seconds,
            channel_max=agreed.limits.channel_max,
            frame_max=agreed.limits.frame_max,
            client_properties=agreed.client_properties,
            tls=tls_handshake.tls_info(line.transport, request.tls),
        ),
        server=agreed.server,
        # Each of the other mechanisms shows the broker the credential.
        proved=agreed.mechanism != "ANONYMOUS",
    )
