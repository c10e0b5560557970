"""TLS on a connected socket, and what it agreed on.

Which authorities, certificates and versions count is in the context that the core hands over. What
a failed handshake means is in tls_failures.py.
"""

import asyncio
import socket
import ssl
from datetime import UTC, datetime

from springline.core.protocol_values import Parameters
from springline.core.values import OpenRequest, TLSClient, TLSInfo
from springline.drivers.shared import tls_failures
from springline.drivers.shared.line import CLOSE_GRACE, PIECE_OCTETS
from springline.errors import RejectedError
from springline.reasons import Reason

__all__ = ["secure", "tls_info"]


async def secure(
    connected: socket.socket,
    protocol: asyncio.BaseProtocol,
    request: OpenRequest[Parameters],
    tls: TLSClient,
    *,
    where: str,
) -> asyncio.Transport:
    """Make the TLS handshake and return the transport.

    Raises `RejectedError` for a name that cannot be verified, and for a certificate that may be
    refused because of what was left out of the authorities; and what ssl and the system raise.
    """
    # A name in DNS may end in a dot; no certificate names one (RFC 5280 §4.2.1.6).
    name = (tls.server_name or request.endpoint.host).removesuffix(".")
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: protocol,
            sock=connected,
            ssl=tls.context,
            server_hostname=name,
            # The attempt's own deadline comes first.
            ssl_handshake_timeout=request.timeout + 1,
            ssl_shutdown_timeout=CLOSE_GRACE,
        )
    except ssl.SSLCertVerificationError as error:  # a ValueError, too
        if not tls.left_out:
            raise
        raise tls_failures.translated(error, where=where, left_out=tls.left_out) from error
    except ValueError as error:
        raise RejectedError(
            Reason.TLS_FAILED, f"{name!r} cannot be verified as a server name: {error}"
        ) from error
    # asyncio would go on to receive up to 256 KB, still encrypted, when the reader has had enough.
    transport.set_read_buffer_limits(high=PIECE_OCTETS)  # type: ignore[attr-defined]  # TLS has it
    return transport


def tls_info(transport: asyncio.BaseTransport, tls: TLSClient | None) -> TLSInfo | None:
    """Return what the TLS handshake agreed on, None without TLS."""
    tls_object = transport.get_extra_info("ssl_object")
    if tls is None or tls_object is None:
        return None
    cipher = tls_object.cipher()
    verified = tls.context.verify_mode is not ssl.CERT_NONE
    not_after = (tls_object.getpeercert() or {}).get("notAfter") if verified else None
    return TLSInfo(
        version=tls_object.version() or "",
        cipher=cipher[0] if cipher else "",
        peer_certificate_not_after=(
            datetime.fromtimestamp(ssl.cert_time_to_seconds(not_after), UTC) if not_after else None
        ),
    )
