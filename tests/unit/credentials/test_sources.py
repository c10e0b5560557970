"""From a declaration to its sources."""

import pytest

from springline.api import v1alpha1
from springline.clock import SystemClock
from springline.core.addresses import AddressPolicy
from springline.credentials.certificates import CertificateSource
from springline.credentials.external import ExternalSource
from springline.credentials.issued import SharedIssuer
from springline.credentials.secret import SecretSource
from springline.credentials.sources import CredentialSources
from springline.credentials.token import TokenSource
from springline.credentials.token_file import TokenFileSource
from springline.credentials.token_files import DirectoryOfTokens
from springline.standalone.tokens import NoTokens
from support import builders
from support.fakes import FakeResolver
from support.objects import FakeReader

DECLARED = {
    "secretRef": (
        v1alpha1.Credentials(secret_ref=v1alpha1.SecretReference(name="x")),
        SecretSource,
    ),
    "tokenRef": (v1alpha1.Credentials(token_ref=v1alpha1.TokenReference(name="x")), TokenSource),
    "tokenFile": (
        v1alpha1.Credentials(token_file=v1alpha1.TokenFile(name="x")),
        TokenFileSource,
    ),
    "serviceAccount": (
        v1alpha1.Credentials(
            service_account=v1alpha1.ServiceAccountReference(name="x", audience="y")
        ),
        SharedIssuer,
    ),
    "external": (v1alpha1.Credentials(external=v1alpha1.External()), ExternalSource),
}


def made(reader: FakeReader) -> CredentialSources:
    """Sources whose objects are in `reader`."""
    return CredentialSources(
        reader,
        clock=SystemClock(),
        tokens=NoTokens(),
        token_files=DirectoryOfTokens(None),
        resolver=FakeResolver(),
        addresses=AddressPolicy(),
    )


@pytest.mark.parametrize(("credentials", "source"), DECLARED.values(), ids=DECLARED.keys())
def test_declared_kind_of_credentials_has_its_source(
    reader: FakeReader, credentials: v1alpha1.Credentials, source: type
) -> None:
    spec = builders.a_spec(credentials=credentials)
    assert isinstance(made(reader).credentials(spec), source)


async def test_secret_is_read_in_the_namespace_of_the_connection(reader: FakeReader) -> None:
    """References never cross namespaces."""
    namespace = builders.KEY.namespace
    reader.put("orders-amqp", {"username": b"ann", "password": b"x"}, namespace=namespace)
    credential = await made(reader).credentials(builders.a_spec()).fetch()
    assert credential.username == "ann"
    assert {identity.namespace for identity in reader.reads} == {namespace}


def test_tokens_of_service_accounts_are_shared_between_sessions(reader: FakeReader) -> None:
    """A thousand of them are one client of the API server."""
    credentials, _ = DECLARED["serviceAccount"]
    spec, sources = builders.a_spec(credentials=credentials), made(reader)
    assert sources.credentials(spec) is sources.credentials(spec)


async def test_broker_without_tls_needs_no_certificates(reader: FakeReader) -> None:
    source = made(reader).tls(builders.a_spec())
    assert isinstance(source, CertificateSource)
    assert await source.fetch() is None
    assert reader.reads == []


async def test_sessions_of_one_process_share_what_is_prepared(reader: FakeReader) -> None:
    spec = builders.a_spec(target=builders.a_target(tls=v1alpha1.TLS(enabled=True)))
    sources = made(reader)
    first = await sources.tls(spec).fetch()
    assert first is not None
    assert await sources.tls(spec).fetch() is first
