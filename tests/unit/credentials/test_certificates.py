"""The TLS client side: what certificates are taken, what is said of others, and who shares them."""

import asyncio
import contextlib
import errno
import gc
import os
import ssl
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from springline import errors
from springline.api import v1alpha1
from springline.api.broker import ClusterTLS
from springline.api.meta import Identity
from springline.core.values import TLSClient
from springline.credentials import certificates
from springline.credentials.certificates import CertificateSource, PreparedClients
from springline.drivers.shared import tls_failures
from springline.errors import RejectedError
from springline.reasons import Reason
from support import authorities
from support.authorities import Authority, PlainAuthority
from support.objects import FakeReader
from support.waiting import PATIENCE, eventually

AUTHORITY = trustme.CA()
CA = AUTHORITY.cert_pem.bytes()
ISSUED = AUTHORITY.issue_cert("client", common_name="client")
CERTIFICATE = b"".join(blob.bytes() for blob in ISSUED.cert_chain_pems)
KEY = ISSUED.private_key_pem.bytes()
OTHER_KEY = AUTHORITY.issue_cert("other").private_key_pem.bytes()
ENCRYPTED_KEY = serialization.load_pem_private_key(KEY, None).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"pl4nted"),
)

CA_REF = {"kind": "ConfigMap", "name": "ca"}
CLIENT_REF = {"name": "client"}


class Tls:
    """Certificates of one process."""

    def __init__(self, reader: FakeReader) -> None:
        self.reader = reader
        self.clients = PreparedClients()

    def put_ca(self, content: bytes = CA, *, kind: str = "ConfigMap") -> None:
        self.reader.put("ca", {"ca.crt": content}, kind=kind)

    def put_client(self, certificate: bytes = CERTIFICATE, key: bytes = KEY) -> None:
        self.reader.put("client", {"tls.crt": certificate, "tls.key": key})

    async def fetch(self, *, namespace: str = "apps", **tls: Any) -> TLSClient | None:
        declared = v1alpha1.TLS.model_validate({"enabled": True, **tls})
        return await CertificateSource(self.reader, self.clients, namespace, declared).fetch()

    async def client(self, **tls: Any) -> TLSClient:
        found = await self.fetch(**tls)
        assert found is not None
        return found

    async def refused(self, **tls: Any) -> str:
        """Return why there is no TLS client; the key must not be seen anywhere in it."""
        with pytest.raises(RejectedError) as caught:
            await self.fetch(**tls)
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert "PRIVATE KEY" not in shown
        assert "pl4nted" not in shown
        assert KEY.splitlines()[1].decode() not in shown
        assert caught.value.reason is Reason.TLS_FAILED
        return caught.value.message


@pytest.fixture
def tls(reader: FakeReader) -> Tls:
    return Tls(reader)


def files_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@contextlib.contextmanager
def serving(authority: Authority = AUTHORITY) -> Iterator[ssl.SSLContext]:
    """A server's side that asks for a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(context)
    yield context


def shake_hands(client: TLSClient, server: ssl.SSLContext) -> dict[str, Any]:
    """Carry out a handshake in memory and return the certificate that the server saw."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.context.wrap_bio(to_client, to_server, server_hostname="localhost")
    far = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (near, far):
            if side not in done:
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                    done.add(side)
    assert len(done) == 2
    seen = far.getpeercert()
    assert seen
    return dict(seen)


# --- what is declared


async def test_there_is_nothing_without_tls(tls: Tls) -> None:
    assert await tls.fetch(enabled=False) is None


async def test_system_trust_is_used_without_a_ca(tls: Tls) -> None:
    client = await tls.client()
    assert client.context.verify_mode is ssl.CERT_REQUIRED
    assert client.context.check_hostname
    assert client.context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert (client.server_name, client.has_client_certificate) == (None, False)


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_declared_ca_is_trusted_and_no_other(tls: Tls, kind: str) -> None:
    tls.put_ca(kind=kind)
    client = await tls.client(caRef={**CA_REF, "kind": kind})
    assert len(client.context.get_ca_certs()) == 1


async def test_key_of_the_ca_may_have_another_name(tls: Tls) -> None:
    tls.reader.put("ca", {"root.pem": CA}, kind="ConfigMap")
    client = await tls.client(caRef={**CA_REF, "key": "root.pem"})
    assert len(client.context.get_ca_certs()) == 1


async def test_bundle_may_have_comments_in_any_language(tls: Tls) -> None:
    bundle = "# Főtanúsítvány\n".encode() + CA + b"\xff\n" + trustme.CA().cert_pem.bytes()
    tls.put_ca(bundle)
    client = await tls.client(caRef=CA_REF)
    assert len(client.context.get_ca_certs()) == 2


async def test_name_to_verify_is_handed_on(tls: Tls) -> None:
    assert (await tls.client(serverName="rabbit.example")).server_name == "rabbit.example"


async def test_verification_can_be_turned_off(tls: Tls) -> None:
    client = await tls.client(insecureSkipVerify=True)
    assert client.context.verify_mode is ssl.CERT_NONE
    assert not client.context.check_hostname


async def test_objects_are_read_in_the_namespace_of_the_connection(tls: Tls) -> None:
    tls.put_ca()
    assert 'in namespace "other"' in await tls.refused(namespace="other", caRef=CA_REF)


async def test_cluster_broker_says_itself_where_its_objects_are(tls: Tls) -> None:
    tls.put_ca()
    declared = ClusterTLS.model_validate(
        {"enabled": True, "caRef": {**CA_REF, "namespace": "apps"}}
    )
    source = CertificateSource(tls.reader, tls.clients, "other", declared)
    assert await source.fetch() is not None


async def test_client_certificate_is_shown_to_the_server(tls: Tls) -> None:
    tls.put_ca()
    tls.put_client()
    client = await tls.client(caRef=CA_REF, clientCertificateRef=CLIENT_REF)
    assert client.has_client_certificate
    with serving() as server:
        seen = shake_hands(client, server)
    assert ("commonName", "client") in [pair for [pair] in seen["subject"]]


async def test_authority_needs_no_key_identifiers(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of many a private authority have none; a newer Python is no reason to refuse them."""
    authorities.be_strict(monkeypatch)
    authority = PlainAuthority()
    tls.put_ca(authority.cert_pem.bytes())
    tls.put_client()
    client = await tls.client(caRef=CA_REF, clientCertificateRef=CLIENT_REF)
    with serving(authority) as server:
        assert shake_hands(client, server)
        client.context.verify_flags |= ssl.VERIFY_X509_STRICT
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(client, server)


async def test_encrypted_connection_works_where_files_have_to_be_written(
    tls: Tls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the system has no files without a name; afterwards none is left."""

    def forbidden(*_: object) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", forbidden)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tls.put_ca()
    tls.put_client()
    client = await tls.client(caRef=CA_REF, clientCertificateRef=CLIENT_REF)
    with serving() as server:
        assert shake_hands(client, server)
    assert files_in(tmp_path) == set()


async def test_key_never_touches_a_file_system_on_linux(
    tls: Tls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So a read-only one is enough."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    tls.put_client()
    before = files_in(Path("/proc/self/fd"))
    assert (await tls.client(clientCertificateRef=CLIENT_REF)).has_client_certificate
    assert files_in(Path("/proc/self/fd")) == before


# --- what is missing or wrong


async def test_missing_object_is_named(tls: Tls) -> None:
    assert await tls.refused(caRef=CA_REF) == (
        'there is no ConfigMap "ca" in namespace "apps"; create it'
    )
    assert await tls.refused(clientCertificateRef=CLIENT_REF) == (
        'there is no Secret "client" in namespace "apps"; create it'
    )


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key"])
async def test_missing_key_is_named(tls: Tls, missing: str) -> None:
    values = {"tls.crt": CERTIFICATE, "tls.key": KEY}
    del values[missing]
    tls.reader.put("client", values)
    assert await tls.refused(clientCertificateRef=CLIENT_REF) == (
        f'Secret "client" has no key "{missing}"; add it'
    )


@pytest.mark.parametrize("content", [b"", b" \n"])
async def test_empty_value_is_named(tls: Tls, content: bytes) -> None:
    tls.put_ca(content)
    assert await tls.refused(caRef=CA_REF) == 'key "ca.crt" of ConfigMap "ca" is empty; correct it'


BROKEN = {
    "no PEM": b"pl4nted",
    "a word that Python would print": b"None",
    "a certificate cut off": CA[: len(CA) // 2],
    "a certificate with wrong bytes": CA.replace(b"MII", b"!!!", 1),
    "DER": ssl.PEM_cert_to_DER_cert(CA.decode()),
    "a private key": KEY,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
async def test_what_holds_no_certificates_is_no_ca(tls: Tls, content: bytes) -> None:
    await tls.client()  # what is prepared without a CA is never taken for it
    tls.put_ca(content)
    assert (await tls.refused(caRef=CA_REF)).startswith(
        "tls.caRef does not hold certificates in PEM"
    )


MISTAKEN = {
    "cut off": (CA[: len(CA) // 2], "what begins at line 1 is no certificate in PEM"),
    "DER": (ssl.PEM_cert_to_DER_cert(CA.decode()), "it seems to be DER"),
    "UTF-16": (CA.decode().encode("utf-16"), "it is text in UTF-16"),
}


@pytest.mark.parametrize(("content", "says"), MISTAKEN.values(), ids=MISTAKEN.keys())
async def test_usual_mistakes_in_a_bundle_are_named(tls: Tls, content: bytes, says: str) -> None:
    tls.put_ca(content)
    assert says in await tls.refused(caRef=CA_REF)


HARMLESS = {
    "another one behind it without a line break": CA.rstrip() + trustme.CA().cert_pem.bytes(),
    "a broken one in front of it without a line break": CA[: len(CA) // 2].rstrip() + CA + CA,
    "indented lines": b"".join(b"    " + line + b"\n" for line in (CA + CA).splitlines()),
    "CRLF": CA.replace(b"\n", b"\r\n"),
    "a byte order mark": b"\xef\xbb\xbf" + CA,
}


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS.keys())
async def test_authority_is_found_whatever_stands_around_it(tls: Tls, content: bytes) -> None:
    tls.put_ca(content)
    tls.put_client()
    client = await tls.client(caRef=CA_REF, clientCertificateRef=CLIENT_REF)
    with serving() as server:
        shake_hands(client, server)


async def test_expired_intermediate_in_a_bundle_does_not_stand_in_the_way(tls: Tls) -> None:
    """The broker sends the renewed one. OpenSSL would take the expired one of the bundle first."""
    root = authorities.Renewable("root")
    intermediate = authorities.Renewable("intermediate", root)
    tls.put_client()
    for bundle in (
        root.certificate() + intermediate.certificate(is_expired=True),
        intermediate.certificate(is_expired=True) + root.certificate(),
    ):
        tls.put_ca(bundle)
        client = await tls.client(caRef=CA_REF, clientCertificateRef=CLIENT_REF)
        with serving(intermediate) as server:
            shake_hands(client, server)
        assert "has expired and was left out" in client.left_out


async def test_bundle_in_which_all_have_expired_says_so(tls: Tls) -> None:
    root = authorities.Renewable("root")
    tls.put_ca(root.certificate(is_expired=True))
    client = await tls.client(caRef=CA_REF)
    with serving(root) as server, pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake_hands(client, server)
    error = tls_failures.translated(caught.value, where="there", left_out=client.left_out)
    assert "certificate has expired" in error.message


async def test_authority_that_expires_meanwhile_is_left_out_from_then_on(
    reader: FakeReader,
) -> None:
    tls = Tls(reader)
    times = [time.time()]
    tls.clients = PreparedClients(now=lambda: times[0])
    old, new = authorities.Renewable("old"), authorities.Renewable("new")
    tls.put_ca(old.certificate() + new.certificate(days=30))
    first = await tls.client(caRef=CA_REF)
    times[0] += 7 * 24 * 3600
    second = await tls.client(caRef=CA_REF)
    assert [len(each.context.get_ca_certs()) for each in (first, second)] == [2, 1]


DAMAGED = {
    "wrong bytes": CA.replace(b"MII", b"AAA", 1),
    "no base64": CA.replace(b"MII", b"!!!", 1),
    "cut off": CA[: len(CA) // 2] + b"\n",
    "a first line with a dash too few": CA.replace(b"-----BEGIN", b"----BEGIN", 1),
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED.keys())
async def test_a_damaged_block_is_left_out_and_named(
    tls: Tls, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are trusted: a bundle is put together from many places."""
    first, third = trustme.CA().cert_pem.bytes(), trustme.CA().cert_pem.bytes()
    tls.put_ca(b"# ours\n" + first + damaged + third)
    client = await tls.client(caRef=CA_REF)
    assert len(client.context.get_ca_certs()) == 2
    line = 2 + len(first.splitlines())
    said = f"what begins at line {line} is no certificate in PEM and was left out"
    assert client.left_out == said
    await tls.client(caRef=CA_REF)
    [record] = caplog.records
    assert (record.__dict__["bundle"], record.__dict__["detail"]) == ("ConfigMap apps/ca", said)


async def test_what_is_left_out_is_said_where_a_certificate_is_then_refused(tls: Tls) -> None:
    tls.put_ca(trustme.CA().cert_pem.bytes() + DAMAGED["wrong bytes"])
    client = await tls.client(caRef=CA_REF)
    with serving() as server, pytest.raises(ssl.SSLCertVerificationError) as caught:
        shake_hands(client, server)
    error = tls_failures.translated(caught.value, where="there", left_out=client.left_out)
    assert "(see tls.caRef and tls.serverName; of tls.caRef, what begins at line" in error.message
    assert error.message.endswith("is no certificate in PEM and was left out)")


async def test_intermediate_authority_is_trusted_without_its_root(tls: Tls) -> None:
    """As Go and `openssl verify -partial_chain` have it, and on every version of Python."""
    intermediate = AUTHORITY.create_child_ca()
    tls.put_ca(intermediate.cert_pem.bytes())
    tls.put_client()
    client = await tls.client(caRef=CA_REF, clientCertificateRef=CLIENT_REF)
    with serving(intermediate) as server:
        shake_hands(client, server)
    with serving(trustme.CA()) as server, pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server)


PAIRS = {
    "the key of another certificate": (CERTIFICATE, OTHER_KEY),
    "an encrypted key": (CERTIFICATE, ENCRYPTED_KEY),
    "no PEM for a key": (CERTIFICATE, b"pl4nted"),
    "no PEM for a certificate": (b"pl4nted", KEY),
    "exchanged parts": (KEY, CERTIFICATE),
    "a key cut off": (CERTIFICATE, KEY[: len(KEY) // 2]),
}


@pytest.mark.parametrize(("certificate", "key"), PAIRS.values(), ids=PAIRS.keys())
async def test_pair_that_does_not_fit_is_refused(
    tls: Tls, certificate: bytes, key: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """OpenSSL would ask for the password of an encrypted key on the terminal."""
    tls.put_client(certificate, key)
    assert await tls.refused(clientCertificateRef=CLIENT_REF) == (
        "tls.clientCertificateRef: tls.crt and tls.key are not a certificate and its unencrypted "
        "private key in PEM"
    )
    assert capfd.readouterr() == ("", "")


# --- who shares it


async def test_same_certificates_are_prepared_once(tls: Tls) -> None:
    tls.put_ca()
    tls.put_client()
    declared = {"caRef": CA_REF, "clientCertificateRef": CLIENT_REF}
    first = await tls.client(**declared)
    assert await tls.client(**declared) is first
    tls.put_ca()  # another version of the same content
    assert await tls.client(**declared) is first


async def test_a_changed_comment_is_no_change(tls: Tls) -> None:
    """No session is replaced for it, and no token asked for."""
    other = trustme.CA().cert_pem.bytes()
    tls.put_ca(CA + other)
    tls.put_client()
    declared = {"caRef": CA_REF, "clientCertificateRef": CLIENT_REF}
    first = await tls.client(**declared)
    tls.put_ca(b"# renewed\r\n" + other + b"\n\n" + CA.replace(b"\n", b"\r\n") + CA)
    tls.put_client(b"subject=client\n" + CERTIFICATE)
    assert await tls.client(**declared) is first


async def test_a_damaged_block_that_is_added_is_no_change_either(tls: Tls) -> None:
    tls.put_ca()
    first = await tls.client(caRef=CA_REF)
    tls.put_ca(CA + DAMAGED["cut off"])
    second = await tls.client(caRef=CA_REF)
    assert second.left_out
    assert first.same_as(second)


async def test_whatever_differs_is_prepared_on_its_own(tls: Tls) -> None:
    tls.put_ca()
    tls.put_client()
    declared = {"caRef": CA_REF, "clientCertificateRef": CLIENT_REF}
    clients = [
        await tls.client(),
        await tls.client(caRef=CA_REF),
        await tls.client(**declared),
        await tls.client(**declared, serverName="rabbit.example"),
        await tls.client(insecureSkipVerify=True),
    ]
    other = trustme.CA()
    tls.put_ca(other.cert_pem.bytes())
    clients.append(await tls.client(caRef=CA_REF))
    assert len({id(client) for client in clients}) == len(clients)


async def test_what_nobody_holds_any_more_is_released(tls: Tls) -> None:
    tls.put_ca()
    client = await tls.client(caRef=CA_REF)
    released = weakref.ref(client)
    assert len(tls.clients._clients) == 1
    del client
    gc.collect()
    assert released() is None
    assert len(tls.clients._clients) == 0


async def test_certificates_that_cannot_be_read_now_may_be_readable_later(tls: Tls) -> None:
    tls.reader.failure = errors.ObjectUnavailableError(
        Identity("ConfigMap", "apps", "ca"), "the API server is away"
    )
    with pytest.raises(errors.TransientError) as caught:
        await tls.fetch(caRef=CA_REF)
    assert caught.value.reason is Reason.TLS_FAILED
    assert caught.value.message == (
        'ConfigMap "ca" in namespace "apps" cannot be read: the API server is away'
    )


async def test_certificates_that_nobody_has_allowed_wait_for_somebody(tls: Tls) -> None:
    tls.reader.failure = errors.ObjectNotAllowedError(
        Identity("Secret", "apps", "client"), "label it"
    )
    assert await tls.refused(clientCertificateRef=CLIENT_REF) == (
        'Secret "client" in namespace "apps" may not be used: label it'
    )


async def test_preparing_holds_nobody_up_and_is_done_once(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL reads files, and a disk may not answer."""
    entered, answer = threading.Event(), threading.Event()
    made: list[ssl.SSLContext] = []
    real = certificates._context

    def slow(**parts: Any) -> ssl.SSLContext:
        entered.set()
        answer.wait(PATIENCE)
        made.append(real(**parts))
        return made[-1]

    monkeypatch.setattr(certificates, "_context", slow)
    tls.put_ca()
    fetching = [asyncio.ensure_future(tls.client(caRef=CA_REF)) for _ in range(5)]
    await eventually(entered.is_set, what="the disk is asked")
    assert not any(each.done() for each in fetching)
    answer.set()
    clients = await asyncio.gather(*fetching)
    assert len(made) == 1
    assert all(each is clients[0] for each in clients)


async def test_what_is_offered_on_top_of_tls_is_not_shared_with_others() -> None:
    """Of the same certificates, each list of protocols has a context of its own."""
    clients = PreparedClients()

    async def client(*alpn: str) -> TLSClient:
        return await clients.client(
            ca=CA, certificate=None, key=None, server_name=None, verify=True, alpn=alpn
        )

    plain, http, again = await client(), await client("h2", "http/1.1"), await client()
    assert plain is again
    assert not plain.same_as(http)
    assert http is await client("h2", "http/1.1")
    assert http is not await client("http/1.1")
