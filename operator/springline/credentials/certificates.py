"""The TLS client side that a broker's `tls` declares: CA certificates and client certificate.

A prepared TLS client is expensive in time and memory, so sessions with the same certificates share
one. It is kept only as long as a session holds it. OpenSSL reads files for it, so it is made off
the event loop.
"""

import asyncio
import dataclasses
import functools
import hashlib
import logging
import ssl
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from springline import ca_bundles, errors, private_files
from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core import ports
from springline.core.values import TLSClient
from springline.reasons import Reason
from springline.threads import OffLoop, Threads

__all__ = ["CertificateSource", "PreparedClients", "place"]

logger = logging.getLogger(__name__)


class PreparedClients:
    """Prepared TLS clients by what they were made of; shared by all sources of a process."""

    def __init__(
        self, off_loop: OffLoop | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        """`now` returns seconds since the epoch: authorities that have expired are left out."""
        self._clients: weakref.WeakValueDictionary[bytes, TLSClient] = weakref.WeakValueDictionary()
        self._bundles = ca_bundles.Bundles()
        self._told: dict[str, str] = {}  # what was left out of which bundle
        self._off_loop = off_loop or Threads(at_once=1, name="certificates")
        self._making = asyncio.Lock()
        self._now = now

    async def client(
        self,
        *,
        ca: bytes | None,
        certificate: bytes | None,
        key: bytes | None,
        server_name: str | None,
        verify: bool,
        alpn: tuple[str, ...] = (),
        ca_place: str = "tls.caRef",
    ) -> TLSClient:
        """Return the TLS client of these parts, made anew if nobody holds one.

        Authorities count by their certificates, whatever else is in the bundle. A block in it that
        is none is left out, logged once, and named by `TLSClient.left_out`. `ca_place` is where the
        bundle is, for the log. `alpn` is part of what is shared: whoever offers another protocol
        has another client.

        Raises `ConnectError` TLSFailed for parts that OpenSSL does not take. Safe to cancel.
        """
        left_out = ""
        authorities: tuple[bytes, ...] | None = None
        if ca is not None:
            bundle = self._bundles.read(ca).at(self._now())
            authorities, ca = bundle.identity, bundle.pem.encode()
            left_out = bundle.left_out
            self._tell(ca_place, left_out)
            if not authorities:
                flaw = f": {left_out}" if left_out else ""
                raise _failed(f"tls.caRef does not hold certificates in PEM{flaw}")
        digest = _digest(authorities, _chain(certificate), key, server_name, verify, alpn)
        client = self._known(digest, left_out)
        if client is not None:
            return client
        # One after the other: of many who want the same, the first makes it.
        async with self._making:
            client = self._known(digest, left_out)
            if client is None:
                making = functools.partial(
                    _context, ca=ca, certificate=certificate, key=key, verify=verify, alpn=alpn
                )
                client = TLSClient(
                    context=await self._off_loop.run(making),
                    server_name=server_name,
                    has_client_certificate=certificate is not None,
                    left_out=left_out,
                )
                self._clients[digest] = client
            return client

    def _known(self, digest: bytes, left_out: str) -> TLSClient | None:
        client = self._clients.get(digest)
        if client is not None and client.left_out != left_out:
            client = self._clients[digest] = dataclasses.replace(client, left_out=left_out)
        return client

    def _tell(self, place: str, left_out: str) -> None:
        if left_out == self._told.get(place, ""):
            return
        if not left_out:
            del self._told[place]
            return
        self._told[place] = left_out
        logger.warning(
            "part of a bundle of certificate authorities is left out",
            extra={"bundle": place, "detail": left_out},
        )


@dataclass(frozen=True, slots=True)
class CertificateSource:
    """Reads certificates, as `core.ports.TLSSource`."""

    reader: ports.ObjectReader
    clients: PreparedClients
    namespace: str
    tls: v1alpha1.TLS
    alpn: tuple[str, ...] = ()
    """What is offered as the protocol on top of TLS, most wanted first."""

    async def fetch(self) -> TLSClient | None:
        """Return the TLS client of the certificates as they are now, None without TLS.

        Raises `ConnectError` TLSFailed for what is missing, withheld or unusable.
        """
        tls = self.tls
        if not tls.enabled:
            return None
        ca = certificate = key = None
        ca_place = ""
        if tls.ca_ref is not None:
            identity = Identity(
                tls.ca_ref.kind, tls.ca_ref.namespace_for(self.namespace), tls.ca_ref.name
            )
            ca = await self._value(identity, tls.ca_ref.key)
            ca_place = place(identity)
        if tls.client_certificate_ref is not None:
            reference = tls.client_certificate_ref
            identity = Identity("Secret", reference.namespace_for(self.namespace), reference.name)
            certificate = await self._value(identity, "tls.crt")
            key = await self._value(identity, "tls.key")
        return await self.clients.client(
            ca=ca,
            certificate=certificate,
            key=key,
            server_name=tls.server_name,
            verify=not tls.insecure_skip_verify,
            alpn=self.alpn,
            ca_place=ca_place,
        )

    async def _value(self, identity: Identity, key: str) -> bytes:
        try:
            found = await self.reader.read(identity)
        except errors.ObjectUnavailableError as error:
            raise errors.TransientError(Reason.TLS_FAILED, str(error)) from error
        except errors.ObjectNotAllowedError as error:
            raise _failed(str(error)) from error
        where = f'{identity.kind} "{identity.name}"'
        if found is None:
            raise _failed(f'there is no {where} in namespace "{identity.namespace}"; create it')
        value = found.get(key)
        if value is None:
            raise _failed(f'{where} has no key "{key}"; add it')
        if not value.strip():
            raise _failed(f'key "{key}" of {where} is empty; correct it')
        return value


def place(identity: Identity) -> str:
    """Return where an object is, for the log."""
    return f"{identity.kind} {identity.namespace}/{identity.name}"


def _chain(certificate: bytes | None) -> bytes | tuple[bytes, ...] | None:
    """Return what counts of a client certificate: the chain, without what stands around it."""
    if certificate is None:
        return None
    bundle = ca_bundles.parsed(certificate)
    return certificate if bundle.left_out else bundle.certificates or certificate


def _digest(*parts: bytes | tuple[bytes, ...] | tuple[str, ...] | str | bool | None) -> bytes:
    digest = hashlib.blake2b()
    for part in parts:
        value = repr(part).encode()  # with the type: b'None' is not None
        digest.update(len(value).to_bytes(8))
        digest.update(value)
    return digest.digest()


def _context(
    *,
    ca: bytes | None,
    certificate: bytes | None,
    key: bytes | None,
    verify: bool,
    alpn: tuple[str, ...],
) -> ssl.SSLContext:
    # Not `ssl.create_default_context`: from Python 3.13 on it refuses certificates without key
    # identifiers (RFC 5280 §4.2.1.1). Many private authorities have none, other clients take them,
    # and a manifest that works must not stop to because the image has a newer Python.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # As Go has it and Python from 3.13 on: whoever names an intermediate authority trusts that one,
    # and need not know the root above it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(alpn)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        try:
            context.load_verify_locations(cadata=ca.decode())
        except (ssl.SSLError, ValueError) as error:
            raise _failed("tls.caRef does not hold certificates in PEM") from error
    if certificate is not None and key is not None:
        with (
            private_files.holding(certificate) as certificate_path,
            private_files.holding(key) as key_path,
        ):
            try:
                # The password callback keeps OpenSSL from asking on a terminal.
                context.load_cert_chain(certificate_path, key_path, password=lambda: "")
            except (ssl.SSLError, ValueError) as error:
                raise _failed(
                    "tls.clientCertificateRef: tls.crt and tls.key are not a certificate and its "
                    "unencrypted private key in PEM"
                ) from error
    return context


def _failed(message: str) -> errors.RejectedError:
    return errors.RejectedError(Reason.TLS_FAILED, message)
