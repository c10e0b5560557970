"""Which API server is trusted, and what it is shown: the same for both clients, real TLS."""

import asyncio
import base64
import contextlib
import json
import logging
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from springline.api.meta import Identity
from springline.clock import SystemClock
from springline.kube import trust
from springline.kube.access import Access, AccessError
from springline.kube.client import Client, UnreachableError
from springline.kube.operator import Operator
from springline.kube.readable import Readable
from support import authorities, fake_apiserver, leaks
from support.authorities import Authority, PlainAuthority
from support.discovery import discovering
from support.fake_apiserver import FakeAPIServer
from support.ports import LOOPBACK
from support.waiting import eventually

PATH = "/apis/springline.dev/v1alpha1/namespaces/apps/brokers/rabbit"
CLIENT_AUTHORITY = trustme.CA()
PERSON = CLIENT_AUTHORITY.issue_cert(common_name="ann")
CERTIFICATE = PERSON.cert_chain_pems[0].bytes()
KEY = PERSON.private_key_pem.bytes()
SHOWN = {
    "client-certificate-data": base64.b64encode(CERTIFICATE).decode(),
    "client-key-data": base64.b64encode(KEY).decode(),
}


@pytest.fixture(autouse=True)
def _strict_by_default(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Any:
    """Python has the defaults of 3.13; and no log shows a key."""
    authorities.be_strict(monkeypatch)
    caplog.set_level(logging.DEBUG)
    yield
    assert KEY.splitlines()[1].decode() not in caplog.text


@contextlib.asynccontextmanager
async def serving(
    authority: Authority, *names: str, asks_who: bool = False
) -> AsyncIterator[FakeAPIServer]:
    """Serve one Broker with a certificate for these names."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(tls)
    if asks_who:
        CLIENT_AUTHORITY.configure_trust(tls)
        tls.verify_mode = ssl.CERT_REQUIRED

    async with leaks.checked(), fake_apiserver.serving(tls=tls) as server:
        # Of a client that refuses its certificate it only hears that it hangs up.
        asyncio.get_running_loop().set_exception_handler(lambda _, __: None)
        server.instead = discovering
        server.put(
            "brokers",
            "apps",
            "rabbit",
            kind="Broker",
            apiVersion="springline.dev/v1alpha1",
            spec={},
        )
        yield server


def encoded(authority: Authority) -> str:
    """Return an authority as a kubeconfig has it in itself."""
    return base64.b64encode(authority.cert_pem.bytes()).decode()


async def accessed(
    server: FakeAPIServer, directory: Path, *, user: Mapping[str, str] | None = None, **cluster: Any
) -> Access:
    path = fake_apiserver.kubeconfig(server, directory, user=user, **cluster)
    access = Access(kubeconfig=str(path))
    await access.load()
    return access


# --- the two clients

Reach = Callable[[Access], Awaitable[str]]
"""Returns what has kept a client from the API server, empty if nothing has."""


async def by_kubernetes(access: Access) -> str:
    async with Client(access) as client:
        try:
            await client.get(PATH)
        except UnreachableError as error:
            return str(error)
    return ""


class Seen:
    """What kopf has shown, as `kube.declarations.Shown`."""

    def __init__(self) -> None:
        self.there: set[Identity] = set()

    def appeared(self, document: Mapping[str, Any]) -> None:
        metadata = document["metadata"]
        self.there.add(Identity(document["kind"], metadata["namespace"], metadata["name"]))

    def status_shown(self, document: Mapping[str, Any]) -> None:
        """Do nothing: no status is written here."""

    def vanished(self, identity: Identity, *, uid: str) -> None:  # noqa: ARG002 - as it is called
        self.there.discard(identity)

    def __contains__(self, identity: Identity) -> bool:
        return identity in self.there


class Refusals(logging.Handler):
    """Keeps what kopf says of requests that came to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "failed; will retry" in record.getMessage():
            self.said.append(record.getMessage())


async def by_kopf(access: Access) -> str:
    seen, refusals = Seen(), Refusals()
    logger = logging.getLogger("kopf")
    logger.addHandler(refusals)
    async with Client(access) as client:
        operator = Operator(
            access,
            seen,
            SystemClock(),
            kinds=["Broker"],
            readable=Readable(client, kinds=["Broker"], namespaces=()),
            on_gap=lambda: None,
        )
        task = asyncio.get_running_loop().create_task(operator.run())
        try:
            await eventually(lambda: seen.there or refusals.said)
        finally:
            logger.removeHandler(refusals)
            task.cancel()
            await asyncio.wait({task})
    return "" if seen.there else refusals.said[0]


@pytest.fixture(params=[by_kubernetes, by_kopf], ids=["the Kubernetes client", "kopf"])
def reach(request: pytest.FixtureRequest) -> Reach:
    found: Reach = request.param
    return found


# --- who is trusted


@pytest.mark.parametrize("make", [trustme.CA, PlainAuthority], ids=["usual", "plain"])
async def test_its_authority_needs_no_key_identifiers(
    tmp_path: Path, reach: Reach, make: Callable[[], Authority]
) -> None:
    """That of Amazon EKS has none, and kubectl takes it."""
    authority = make()
    async with serving(authority, LOOPBACK) as server:
        access = await accessed(server, tmp_path, certificate_authority_data=encoded(authority))
        assert await reach(access) == ""


async def test_default_context_would_refuse_it(tmp_path: Path) -> None:
    """So the test above means something, on every version of Python."""
    authority = PlainAuthority()
    async with serving(authority, LOOPBACK) as server:
        access = await accessed(server, tmp_path, certificate_authority_data=encoded(authority))
        access.tls = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        assert "CERTIFICATE_VERIFY_FAILED" in await by_kubernetes(access)
        assert "CERTIFICATE_VERIFY_FAILED" in await by_kopf(access)


async def test_authority_of_another_cluster_is_not_trusted(tmp_path: Path, reach: Reach) -> None:
    other = PlainAuthority()
    async with serving(PlainAuthority(), LOOPBACK) as server:
        access = await accessed(server, tmp_path, certificate_authority_data=encoded(other))
        assert "CERTIFICATE_VERIFY_FAILED" in await reach(access)


async def test_authorities_of_the_system_are_not_those_of_a_cluster(
    tmp_path: Path, reach: Reach
) -> None:
    async with serving(PlainAuthority(), LOOPBACK) as server:
        assert "CERTIFICATE_VERIFY_FAILED" in await reach(await accessed(server, tmp_path))


async def test_server_of_another_name_is_not_trusted(tmp_path: Path, reach: Reach) -> None:
    authority = PlainAuthority()
    async with serving(authority, "api.example") as server:
        access = await accessed(server, tmp_path, certificate_authority_data=encoded(authority))
        assert "IP address mismatch" in await reach(access)


async def test_kubeconfig_says_which_name_the_server_has(tmp_path: Path, reach: Reach) -> None:
    """Its address may be that of a tunnel."""
    authority = PlainAuthority()
    async with serving(authority, "api.example") as server:
        access = await accessed(
            server,
            tmp_path,
            certificate_authority_data=encoded(authority),
            tls_server_name="api.example",
        )
        assert await reach(access) == ""


async def test_intermediate_authority_can_be_what_is_trusted(tmp_path: Path, reach: Reach) -> None:
    """kubectl takes it, and the defaults of Python do from 3.13 on."""
    authority = trustme.CA().create_child_ca()
    async with serving(authority, LOOPBACK) as server:
        access = await accessed(server, tmp_path, certificate_authority_data=encoded(authority))
        assert await reach(access) == ""


async def test_any_server_is_trusted_where_that_is_asked_for(tmp_path: Path, reach: Reach) -> None:
    async with serving(PlainAuthority(), "api.example") as server:
        access = await accessed(server, tmp_path, insecure_skip_tls_verify=True)
        assert await reach(access) == ""


# --- what it is shown

Given = Callable[[Path, Authority], tuple[dict[str, Any], dict[str, Any]]]


def descriptors() -> list[str]:
    """Return what this process has open."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that listed the directory
            found.append(str(each.readlink()))
    return found


def in_files(directory: Path, authority: Authority) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return user and cluster of a kubeconfig that names files, relative to itself."""
    for name, content in (
        ("ca.crt", authority.cert_pem.bytes()),
        ("ann.crt", CERTIFICATE),
        ("ann.key", KEY),
    ):
        (directory / name).write_bytes(content)
    user = {"client-certificate": "ann.crt", "client-key": "ann.key"}
    return user, {"certificate_authority": "ca.crt"}


def from_a_program(_: Path, authority: Authority) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return user and cluster of a kubeconfig that names a program to log in with."""
    version = "client.authentication.k8s.io/v1"
    status = {"clientCertificateData": CERTIFICATE.decode(), "clientKeyData": KEY.decode()}
    answer = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
    program = {
        "apiVersion": version,
        "command": sys.executable,
        "args": ["-c", f"print({answer!r})"],
    }
    return {"exec": program}, {"certificate_authority_data": encoded(authority)}


def in_itself(_: Path, authority: Authority) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return user and cluster of a kubeconfig that has everything in itself."""
    return SHOWN, {"certificate_authority_data": encoded(authority)}


@pytest.mark.parametrize("given", [in_itself, in_files, from_a_program])
async def test_client_certificate_is_shown(
    tmp_path: Path, reach: Reach, monkeypatch: pytest.MonkeyPatch, given: Given
) -> None:
    """Nothing of it is written anywhere, so a read-only root is enough; and no key stays open."""
    authority = trustme.CA()
    user, cluster = given(tmp_path, authority)
    async with serving(authority, LOOPBACK, asks_who=True) as server:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
        access = await accessed(server, tmp_path, user=user, **cluster)
        assert not [each for each in descriptors() if "memfd" in each]
        assert await reach(access) == ""


async def test_where_files_have_to_be_written_none_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    authority = trustme.CA()
    async with serving(authority, LOOPBACK, asks_who=True) as server:
        access = await accessed(
            server, tmp_path, user=SHOWN, certificate_authority_data=encoded(authority)
        )
        assert list(place.iterdir()) == []
        assert await by_kubernetes(access) == ""


async def test_where_nothing_can_be_written_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(trustme.CA(), LOOPBACK) as server:
        monkeypatch.delattr(os, "memfd_create")
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
        with pytest.raises(AccessError) as caught:
            await accessed(server, tmp_path, user=SHOWN)
    assert str(caught.value) == (
        f"the kubeconfig {tmp_path / 'kubeconfig'} cannot be used: there is no place to hold a "
        "certificate or key for OpenSSL: this system has no files without a name, and no directory "
        "for temporary ones is writable"
    )


ENCODED_WORD = base64.b64encode(b"pl4nted").decode()


@pytest.mark.parametrize(
    ("user", "cluster", "problem"),
    [
        pytest.param(
            {},
            {"certificate_authority_data": ENCODED_WORD},
            "its certificate authority holds no certificates in PEM",
            id="an authority that is none",
        ),
        pytest.param(
            {**SHOWN, "client-key-data": ENCODED_WORD},
            {},
            "its client certificate and key are not a certificate and its unencrypted private key "
            "in PEM",
            id="a key that is none",
        ),
    ],
)
async def test_what_is_of_no_use_is_named_and_not_quoted(
    tmp_path: Path, user: dict[str, str], cluster: dict[str, str], problem: str
) -> None:
    async with serving(trustme.CA(), LOOPBACK) as server:
        with pytest.raises(AccessError) as caught:
            await accessed(server, tmp_path, user=user, **cluster)
    assert str(caught.value).endswith(f"cannot be used: {problem}")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_damaged_block_among_authorities_is_left_out_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As kubectl does, but for the log."""
    good = trustme.CA().cert_pem.bytes()
    path = tmp_path / "ca.crt"
    path.write_bytes(trustme.CA().cert_pem.bytes().replace(b"MII", b"AAA", 1) + good)
    made = trust.context(
        verify=True, authority=str(path), certificate=None, key=None, server_name=None
    )
    assert made.get_ca_certs(binary_form=True) == [ssl.PEM_cert_to_DER_cert(good.decode())]
    [record] = caplog.records
    assert record.__dict__["detail"] == (
        "what begins at line 1 is no certificate in PEM and was left out"
    )
