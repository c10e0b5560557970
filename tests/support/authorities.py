"""Certificate authorities: as they usually are, and as those that leave out what RFC 5280 asks for.

The authorities of some clusters, Amazon EKS among them, and many private ones give their
certificates no key identifiers. From Python 3.13 on `ssl.create_default_context` refuses those.
"""

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "PlainAuthority", "Renewable", "be_strict"]


class Authority(Protocol):
    """What `trustme.CA` is, as far as it is used here."""

    @property
    def cert_pem(self) -> trustme.Blob: ...

    def issue_cert(
        self, *names: str, common_name: str | None = None, organization_name: str | None = None
    ) -> trustme.LeafCert: ...


class PlainAuthority:
    """Issues certificates without key identifiers, and has none itself."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plain")])
        certificate = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.cert_pem = _pem(certificate)

    def issue_cert(
        self, *names: str, common_name: str | None = None, organization_name: str | None = None
    ) -> trustme.LeafCert:
        """Issue a certificate for host names and addresses, or for a person."""
        return _leaf(
            self._name,
            self._key,
            names,
            common_name=common_name,
            organization_name=organization_name,
        )


class Renewable:
    """An authority whose certificate is issued again for the same key, as a renewed one is."""

    def __init__(self, name: str, above: "Renewable | None" = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._above = above

    @property
    def cert_pem(self) -> trustme.Blob:
        return trustme.Blob(self.certificate())

    def certificate(self, *, is_expired: bool = False, days: int = 1) -> bytes:
        """Return a certificate in PEM, valid for so many days or not any more."""
        above = self._above or self
        lifetime = timedelta(days=-1 if is_expired else days)
        return (
            _builder(self._name, above._name, self._key.public_key(), lifetime=lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(above._key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def issue_cert(
        self, *names: str, common_name: str | None = None, organization_name: str | None = None
    ) -> trustme.LeafCert:
        """Issue a certificate for host names, with the chain up to the root."""
        chain: list[bytes] = []
        above: Renewable | None = self
        while above is not None:
            chain.append(above.certificate())
            above = above._above
        leaf = _leaf(
            self._name,
            self._key,
            names,
            common_name=common_name,
            organization_name=organization_name,
        )
        return trustme.LeafCert(
            leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes(), chain[:-1]
        )


def be_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Python's default TLS contexts be those of Python 3.13, whatever version this is."""
    usual = ssl.create_default_context

    def strict(
        purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH,
        *,
        cafile: str | None = None,
        capath: str | None = None,
        cadata: str | bytes | None = None,
    ) -> ssl.SSLContext:
        context = usual(purpose, cafile=cafile, capath=capath, cadata=cadata)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)


def _leaf(
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    *,
    common_name: str | None,
    organization_name: str | None,
) -> trustme.LeafCert:
    subject = [
        x509.NameAttribute(oid, value)
        for oid, value in (
            (NameOID.ORGANIZATION_NAME, organization_name),
            (NameOID.COMMON_NAME, common_name or names[0]),
        )
        if value is not None
    ]
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(x509.Name(subject), issuer, key.public_key())
    if names:
        alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return trustme.LeafCert(private, _pem(builder.sign(issuer_key, hashes.SHA256())).bytes(), [])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    lifetime: timedelta = timedelta(days=1),
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + lifetime) - timedelta(hours=1))
        .not_valid_after(now + lifetime)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> trustme.Blob:
    return trustme.Blob(certificate.public_bytes(serialization.Encoding.PEM))
