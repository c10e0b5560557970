"""The TLS client side that a broker's `tls` declares: CA certificates and client certificate.

A prepared TLS client is expensive in time and memory, so sessions with the same certificates share
one. It is kept only as long as a session holds it.
"""

import hashlib
import ssl
import weakref
from dataclasses import dataclass

from springline import errors, private_files
from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core import ports
from springline.core.values import TLSClient
from springline.reasons import Reason

__all__ = ["CertificateSource", "PreparedClients"]


class PreparedClients:
    """Prepared TLS clients by what they were made of; shared by all sources of a process."""

    def __init__(self) -> None:
        self._clients: weakref.WeakValueDictionary[bytes, TLSClient] = weakref.WeakValueDictionary()

    def client(
        self,
        *,
        ca: bytes | None,
        certificate: bytes | None,
        key: bytes | None,
        server_name: str | None,
        verify: bool,
    ) -> TLSClient:
        """Return the TLS client of these parts, made anew if nobody holds one.

        Raises `ConnectError` TLSFailed for parts that OpenSSL does not take.
        """
        digest = _digest(ca, certificate, key, server_name, verify)
        client = self._clients.get(digest)
        if client is None:
            client = TLSClient(
                context=_context(ca=ca, certificate=certificate, key=key, verify=verify),
                server_name=server_name,
                has_client_certificate=certificate is not None,
            )
            self._clients[digest] = client
        return client


@dataclass(frozen=True, slots=True)
class CertificateSource:
    """Reads certificates, as `core.ports.TLSSource`."""

    reader: ports.ObjectReader
    clients: PreparedClients
    namespace: str
    tls: v1alpha1.TLS

    async def fetch(self) -> TLSClient | None:
        """Return the TLS client of the certificates as they are now, None without TLS.

        Raises `ConnectError` TLSFailed for what is missing, withheld or unusable.
        """
        tls = self.tls
        if not tls.enabled:
            return None
        ca = certificate = key = None
        if tls.ca_ref is not None:
            identity = Identity(
                tls.ca_ref.kind, tls.ca_ref.namespace_for(self.namespace), tls.ca_ref.name
            )
            ca = await self._value(identity, tls.ca_ref.key)
        if tls.client_certificate_ref is not None:
            reference = tls.client_certificate_ref
            identity = Identity("Secret", reference.namespace_for(self.namespace), reference.name)
            certificate = await self._value(identity, "tls.crt")
            key = await self._value(identity, "tls.key")
        return self.clients.client(
            ca=ca,
            certificate=certificate,
            key=key,
            server_name=tls.server_name,
            verify=not tls.insecure_skip_verify,
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


def _digest(*parts: bytes | str | bool | None) -> bytes:
    digest = hashlib.blake2b()
    for part in parts:
        value = repr(part).encode()  # with the type: b'None' is not None
        digest.update(len(value).to_bytes(8))
        digest.update(value)
    return digest.digest()


def _context(
    *, ca: bytes | None, certificate: bytes | None, key: bytes | None, verify: bool
) -> ssl.SSLContext:
    # Not `ssl.create_default_context`: from Python 3.13 on it refuses certificates without key
    # identifiers (RFC 5280 §4.2.1.1). Many private authorities have none, other clients take them,
    # and a manifest that works must not stop to because the image has a newer Python.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        try:
            # Bundles have comments with names in any language; PEM itself is ASCII.
            context.load_verify_locations(cadata=ca.decode("ascii", "ignore"))
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
