"""`endpointsFrom.secretRef`: host and port from a Secret, and what cannot be one."""

import traceback

import pytest

from springline import errors
from springline.api.meta import Identity
from springline.api.v1alpha1 import EndpointsSecretReference
from springline.core.values import Endpoint, ResolvedEndpoint
from springline.endpoints.secret import SecretEndpoints
from springline.reasons import Reason
from support.objects import FakeReader

IDENTITY = Identity("Secret", "apps", "rabbit")


def source(reader: FakeReader, **keys: str) -> SecretEndpoints:
    return SecretEndpoints(reader, "apps", EndpointsSecretReference(name="rabbit", **keys), 5671)


async def refused(reader: FakeReader) -> str:
    """Return why there is no endpoint; what was read must not be seen anywhere in it."""
    with pytest.raises(errors.RejectedError) as caught:
        await source(reader).fetch()
    assert caught.value.reason is Reason.NAME_RESOLUTION_FAILED
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "pl4nted" not in shown
    return caught.value.message


@pytest.mark.parametrize(
    ("values", "endpoint"),
    [
        pytest.param(
            {"host": b"rabbit.apps.svc", "port": b"5673"},
            Endpoint("rabbit.apps.svc", 5673),
            id="host and port",
        ),
        pytest.param(
            {"host": b"rabbit.apps.svc"},
            Endpoint("rabbit.apps.svc", 5671),
            id="no port means that of the protocol",
        ),
        pytest.param(
            {"host": b"192.0.2.7\n", "port": b" 5673\n"},
            Endpoint("192.0.2.7", 5673),
            id="with line breaks, as tools write them",
        ),
        pytest.param({"host": b"::1", "port": b"1"}, Endpoint("::1", 1), id="an IPv6 address"),
        pytest.param(
            {"host": b"rabbit", "port": b"65535"}, Endpoint("rabbit", 65535), id="the highest port"
        ),
    ],
)
async def test_the_secret_says_where(
    reader: FakeReader, values: dict[str, bytes], endpoint: Endpoint
) -> None:
    """The host is left for the resolver to look up."""
    reader.put("rabbit", values)
    assert await source(reader).fetch() == [ResolvedEndpoint(endpoint, ())]


async def test_keys_may_have_other_names(reader: FakeReader) -> None:
    reader.put("rabbit", {"address": b"rabbit", "amqp": b"5673"})
    found = await source(reader, host_key="address", port_key="amqp").fetch()
    assert found == [ResolvedEndpoint(Endpoint("rabbit", 5673))]


async def test_the_secret_is_read_anew_every_time(reader: FakeReader) -> None:
    endpoints = source(reader)
    reader.put("rabbit", {"host": b"old"})
    await endpoints.fetch()
    reader.put("rabbit", {"host": b"new"})
    assert await endpoints.fetch() == [ResolvedEndpoint(Endpoint("new", 5671))]


async def test_a_missing_secret_is_named(reader: FakeReader) -> None:
    assert await refused(reader) == (
        'endpointsFrom.secretRef: there is no Secret "rabbit" in namespace "apps"; create it'
    )


async def test_a_missing_host_is_named(reader: FakeReader) -> None:
    reader.put("rabbit", {"hostname": b"pl4nted", "port": b"5672"})
    assert (
        await refused(reader)
        == 'endpointsFrom.secretRef: Secret "rabbit" has no key "host"; add it'
    )


@pytest.mark.parametrize(
    "host", [b"", b"pl4nted one", b"amqp://pl4nted", b"pl4nted:5672", b"pl4nted\xff", b"pl4nted\0"]
)
async def test_what_is_no_host_is_not_shown(reader: FakeReader, host: bytes) -> None:
    reader.put("rabbit", {"host": host})
    assert await refused(reader) == (
        'endpointsFrom.secretRef: key "host" of Secret "rabbit" is not a host name or an IP'
        " address; correct it"
    )


@pytest.mark.parametrize(
    "port", [b"", b"0", b"65536", b"-1", b"+5672", b"5_672", b"amqp", b"pl4nted", b"9" * 5000]
)
async def test_what_is_no_port_is_not_shown(reader: FakeReader, port: bytes) -> None:
    reader.put("rabbit", {"host": b"rabbit", "port": port})
    assert await refused(reader) == (
        'endpointsFrom.secretRef: key "port" of Secret "rabbit" is not a port number between 1 and'
        " 65535; correct it"
    )


async def test_a_secret_that_cannot_be_read_now_may_be_readable_later(reader: FakeReader) -> None:
    reader.failure = errors.ObjectUnavailableError(IDENTITY, "the API server is away")
    with pytest.raises(errors.TransientError) as caught:
        await source(reader).fetch()
    assert caught.value.reason is Reason.NAME_RESOLUTION_FAILED
    assert caught.value.message == (
        'Secret "rabbit" in namespace "apps" cannot be read: the API server is away'
    )


async def test_a_secret_that_may_not_be_used_waits_for_somebody(reader: FakeReader) -> None:
    reader.failure = errors.ObjectNotAllowedError(IDENTITY, "label it")
    assert await refused(reader) == (
        'endpointsFrom.secretRef: Secret "rabbit" in namespace "apps" may not be used: label it'
    )
