"""From a declaration to the source of its endpoints."""

import pytest

from springline.api import v1alpha1
from springline.core.values import Endpoint, ResolvedEndpoint
from springline.endpoints.declared import DeclaredEndpoints
from springline.endpoints.secret import SecretEndpoints
from springline.endpoints.service import ServiceEndpoints
from springline.endpoints.sources import EndpointSources
from springline.endpoints.srv import SRVEndpoints
from support import builders
from support.fakes import FakeResolver, FakeServices
from support.objects import FakeReader

NAMESPACE = builders.KEY.namespace
SERVICE = v1alpha1.ServiceReference(name="rabbit", port="amqp")
SECRET = v1alpha1.EndpointsSecretReference(name="rabbit-default-user")


@pytest.fixture
def sources(reader: FakeReader, resolver: FakeResolver, services: FakeServices) -> EndpointSources:
    return EndpointSources(reader, resolver=resolver, services=services)


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        pytest.param(None, DeclaredEndpoints, id="endpoints"),
        pytest.param(v1alpha1.EndpointsFrom(dns_srv="x"), SRVEndpoints, id="dnsSRV"),
        pytest.param(v1alpha1.EndpointsFrom(service=SERVICE), ServiceEndpoints, id="service"),
        pytest.param(v1alpha1.EndpointsFrom(secret_ref=SECRET), SecretEndpoints, id="secretRef"),
    ],
)
def test_each_way_to_find_endpoints_has_its_source(
    sources: EndpointSources, declared: v1alpha1.EndpointsFrom | None, kind: type
) -> None:
    spec = builders.a_spec(target=builders.a_target(endpoints_from=declared))
    assert isinstance(sources.endpoints(spec), kind)


async def test_declared_endpoints_are_given_as_they_are(sources: EndpointSources) -> None:
    target = builders.a_target(endpoints=(builders.RABBIT, builders.OTHER_RABBIT))
    found = await sources.endpoints(builders.a_spec(target=target)).fetch()
    assert [each.endpoint for each in found] == [builders.RABBIT, builders.OTHER_RABBIT]
    assert not any(each.addresses for each in found)


async def test_a_broker_refers_to_the_namespace_of_the_connection(
    sources: EndpointSources, reader: FakeReader, services: FakeServices
) -> None:
    """References never cross namespaces."""
    ready = [ResolvedEndpoint(Endpoint("rabbit.apps.svc", 5672), ("192.0.2.7",))]
    services.ready[NAMESPACE, "rabbit", "amqp"] = ready
    reader.put("rabbit-default-user", {"host": b"rabbit"}, namespace=NAMESPACE)
    behind = v1alpha1.EndpointsFrom(service=SERVICE)
    told = v1alpha1.EndpointsFrom(secret_ref=SECRET)
    for declared, expected in ((behind, ready[0].endpoint), (told, Endpoint("rabbit", 5672))):
        spec = builders.a_spec(target=builders.a_target(endpoints_from=declared))
        [found] = await sources.endpoints(spec).fetch()
        assert found.endpoint == expected


async def test_a_cluster_broker_names_the_namespace(
    sources: EndpointSources, reader: FakeReader, services: FakeServices
) -> None:
    ready = [ResolvedEndpoint(Endpoint("rabbit.platform.svc", 5672), ("192.0.2.7",))]
    services.ready["platform", "rabbit", 5672] = ready
    reader.put("rabbit-default-user", {"host": b"rabbit"}, namespace="platform")
    behind = v1alpha1.ClusterEndpointsFrom(
        service=v1alpha1.ClusterServiceReference(name="rabbit", namespace="platform", port=5672)
    )
    told = v1alpha1.ClusterEndpointsFrom(
        secret_ref=v1alpha1.ClusterEndpointsSecretReference(
            name="rabbit-default-user", namespace="platform"
        )
    )
    for declared, expected in ((behind, ready[0].endpoint), (told, Endpoint("rabbit", 5672))):
        spec = builders.a_spec(target=builders.a_target(endpoints_from=declared))
        [found] = await sources.endpoints(spec).fetch()
        assert found.endpoint == expected


@pytest.mark.parametrize(
    ("tls", "own_domain"),
    [
        pytest.param(v1alpha1.TLS(), False, id="without TLS, which proves nothing"),
        pytest.param(v1alpha1.TLS(enabled=True), True, id="the certificate has the host's name"),
        pytest.param(
            v1alpha1.TLS(enabled=True, server_name="rabbit.example"),
            False,
            id="the certificate has a name that is declared",
        ),
        pytest.param(
            v1alpha1.TLS(enabled=True, insecure_skip_verify=True), False, id="nothing is verified"
        ),
    ],
)
async def test_srv_targets_must_be_inside_the_domain_where_they_name_the_certificate(
    sources: EndpointSources, resolver: FakeResolver, tls: v1alpha1.TLS, own_domain: bool
) -> None:
    resolver.names["_amqps._tcp.example"] = (builders.RABBIT,)
    declared = v1alpha1.EndpointsFrom(dns_srv="_amqps._tcp.example")
    target = builders.a_target(endpoints_from=declared, tls=tls)
    await sources.endpoints(builders.a_spec(target=target)).fetch()
    assert resolver.own_domain == [own_domain]
