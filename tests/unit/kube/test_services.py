"""Where the pods behind a Service are."""

import traceback
from random import Random
from typing import Any

import pytest

from springline.core import ports
from springline.core.values import Endpoint, ResolvedEndpoint
from springline.errors import ConnectError, RejectedError, TransientError
from springline.kube.client import Client
from springline.kube.services import KubernetesServices
from springline.reasons import Reason
from support.fake_apiserver import FakeAPIServer, closing, refusing

AMQP = {"name": "amqp", "port": 5672, "protocol": "TCP"}
AMQPS = {"name": "amqps", "port": 5671, "protocol": "TCP"}
WHERE = 'Service "rabbit" in namespace "apps"'


@pytest.fixture
def services(client: Client) -> KubernetesServices:
    return KubernetesServices(client, Random(1))  # noqa: S311  # the same every time


def service(server: FakeAPIServer, *declared: dict[str, Any], **spec: Any) -> None:
    """Put the Service in place."""
    server.put("services", "apps", "rabbit", spec={"ports": list(declared), **spec})


def pod(*addresses: str, **conditions: bool | None) -> dict[str, Any]:
    return {"addresses": list(addresses), "conditions": conditions}


def endpoint_slice(
    server: FakeAPIServer,
    *pods: dict[str, Any],
    name: str = "rabbit-1",
    of: str = "rabbit",
    family: str = "IPv4",
    listening: Any = ({"name": "amqp", "port": 5672}, {"name": "amqps", "port": 5671}),
) -> None:
    """Put an EndpointSlice in place."""
    server.put(
        "endpointslices",
        "apps",
        name,
        labels={"kubernetes.io/service-name": of},
        addressType=family,
        endpoints=list(pods),
        ports=listening,
    )


async def found(services: KubernetesServices, port: str | int = "amqp") -> set[tuple[int, str]]:
    """Return port and address of everything found, which is all under the Service's name."""
    endpoints = await services.endpoints("apps", "rabbit", port)
    assert {each.endpoint.host for each in endpoints} == {"rabbit.apps.svc"}
    return {(each.endpoint.port, address) for each in endpoints for address in each.addresses}


async def failure(services: KubernetesServices, port: str | int = "amqp") -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await services.endpoints("apps", "rabbit", port)
    assert caught.value.reason is Reason.NAME_RESOLUTION_FAILED
    assert "planted-token" not in "".join(traceback.format_exception(caught.value))
    return caught.value


async def test_ready_pods_are_found_under_the_name_of_the_service(
    server: FakeAPIServer, services: KubernetesServices
) -> None:
    service(server, AMQP)
    endpoint_slice(server, pod("192.0.2.1", ready=True))
    assert await services.endpoints("apps", "rabbit", "amqp") == [
        ResolvedEndpoint(Endpoint("rabbit.apps.svc", 5672), ("192.0.2.1",))
    ]


@pytest.mark.parametrize(("port", "number"), [("amqp", 5672), (15672, 5672), ("amqps", 5671)])
async def test_port_is_given_by_name_or_number(
    server: FakeAPIServer, services: KubernetesServices, port: str | int, number: int
) -> None:
    """The number is that of the Service; pods may listen on another."""
    service(server, {"name": "amqp", "port": 15672, "targetPort": 5672}, AMQPS)
    endpoint_slice(server, pod("192.0.2.1"))
    assert await found(services, port) == {(number, "192.0.2.1")}


@pytest.mark.parametrize("port", ["amqp", 15672])
async def test_the_service_itself_answers_at_its_own_port(
    server: FakeAPIServer, services: KubernetesServices, port: str | int
) -> None:
    """Which is for those who are not told of pods; without an address of its own there is none."""
    declared = {"name": "amqp", "port": 15672, "targetPort": 5672}
    service(server, declared, clusterIP="192.0.2.9")
    assert await services.port_number("apps", "rabbit", port) == 15672
    service(server, declared, clusterIP="None")
    assert await services.port_number("apps", "rabbit", port) is None


@pytest.mark.parametrize("name", [None, ""])
async def test_single_port_may_have_no_name(
    server: FakeAPIServer, services: KubernetesServices, name: str | None
) -> None:
    service(server, {"port": 5672})
    endpoint_slice(server, pod("192.0.2.1"), listening=[{"name": name, "port": 5672}])
    assert await found(services, 5672) == {(5672, "192.0.2.1")}


@pytest.mark.parametrize(
    ("conditions", "is_found"),
    [
        ({"ready": True}, True),
        ({}, True),
        ({"ready": None}, True),
        ({"ready": False}, False),
        ({"ready": True, "terminating": True}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
    ],
)
async def test_only_ready_pods_are_found(
    server: FakeAPIServer,
    services: KubernetesServices,
    conditions: dict[str, bool | None],
    is_found: bool,
) -> None:
    service(server, AMQP)
    endpoint_slice(server, pod("192.0.2.1", **conditions), pod("192.0.2.2"))
    assert ((5672, "192.0.2.1") in await found(services)) is is_found


async def test_all_slices_of_the_service_count_and_no_others(
    server: FakeAPIServer, services: KubernetesServices
) -> None:
    service(server, AMQP)
    endpoint_slice(server, pod("192.0.2.1"), pod("192.0.2.2"), name="rabbit-1")
    endpoint_slice(server, pod("192.0.2.2"), pod("192.0.2.3"), name="rabbit-2")
    endpoint_slice(server, pod("192.0.2.4"), name="other-1", of="other")
    assert await found(services) == {(5672, f"192.0.2.{n}") for n in (1, 2, 3)}


async def test_both_address_families_are_found(
    server: FakeAPIServer, services: KubernetesServices
) -> None:
    """IPv6 addresses are as a socket takes them, without brackets."""
    service(server, AMQP)
    endpoint_slice(server, pod("192.0.2.1"), name="four")
    endpoint_slice(server, pod("2001:db8::1"), name="six", family="IPv6")
    endpoint_slice(server, pod("rabbit.example"), name="name", family="FQDN")
    assert await found(services) == {(5672, "192.0.2.1"), (5672, "2001:db8::1")}


async def test_pods_that_listen_on_different_ports_are_different_endpoints(
    server: FakeAPIServer, services: KubernetesServices
) -> None:
    """A named target port may be another number in each pod."""
    service(server, AMQP)
    for number in (5673, 5672):
        endpoint_slice(
            server,
            pod(f"192.0.2.{number - 5670}"),
            name=f"rabbit-{number}",
            listening=[{"name": "amqp", "port": number}],
        )
    assert await services.endpoints("apps", "rabbit", "amqp") == [
        ResolvedEndpoint(Endpoint("rabbit.apps.svc", 5672), ("192.0.2.2",)),
        ResolvedEndpoint(Endpoint("rabbit.apps.svc", 5673), ("192.0.2.3",)),
    ]


async def test_sessions_spread_over_the_pods(
    server: FakeAPIServer, services: KubernetesServices
) -> None:
    service(server, AMQP)
    addresses = [f"192.0.2.{n}" for n in (1, 2, 3)]
    endpoint_slice(server, *(pod(address) for address in addresses))
    first = set()
    for _ in range(30):
        [endpoint] = await services.endpoints("apps", "rabbit", "amqp")
        assert sorted(endpoint.addresses) == addresses
        first.add(endpoint.addresses[0])
    assert first == set(addresses)


async def test_many_pods_come_in_pages(
    server: FakeAPIServer, services: KubernetesServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("springline.kube.client._PAGE", 2)
    service(server, AMQP)
    for number in range(1, 6):
        endpoint_slice(server, pod(f"192.0.2.{number}"), name=f"rabbit-{number}")
    assert len(await found(services)) == 5


async def test_absent_service_is_said_so(services: KubernetesServices) -> None:
    error = await failure(services)
    assert isinstance(error, TransientError)
    assert error.message == f"there is no {WHERE}; create it"


@pytest.mark.parametrize(
    ("declared", "port", "there_are"),
    [
        ((AMQP, AMQPS), "amqpz", "5672 (amqp), 5671 (amqps)"),
        ((AMQP, AMQPS), 5673, "5672 (amqp), 5671 (amqps)"),
        ((AMQP,), "5672", "5672 (amqp)"),
        (({"port": 5672},), "amqp", "5672"),
        (({"name": "dns", "port": 53, "protocol": "UDP"},), 53, "none"),
        ((), "amqp", "none"),
    ],
)
async def test_absent_port_is_said_with_those_there_are(
    server: FakeAPIServer,
    services: KubernetesServices,
    declared: tuple[dict[str, Any], ...],
    port: str | int,
    there_are: str,
) -> None:
    service(server, *declared)
    error = await failure(services, port)
    assert isinstance(error, RejectedError)
    assert error.message == f"{WHERE} has no TCP port {port}; it has {there_are}"


async def test_service_without_a_ready_pod_is_said_so(
    server: FakeAPIServer, services: KubernetesServices
) -> None:
    service(server, AMQP)
    error = await failure(services)
    assert isinstance(error, TransientError)
    assert error.message == f"nothing behind port amqp of {WHERE} is ready"
    endpoint_slice(server, pod("192.0.2.1", ready=False))
    assert (await failure(services)).message == error.message


async def test_service_that_is_only_another_name_is_said_so(
    server: FakeAPIServer, services: KubernetesServices
) -> None:
    service(server, AMQP, type="ExternalName", externalName="rabbit.example.com")
    error = await failure(services)
    assert isinstance(error, RejectedError)
    assert error.message == (
        f"{WHERE} only stands for another name; give that name in endpoints instead"
    )


@pytest.mark.parametrize(
    ("resource", "permission"),
    [("services", "get services"), ("endpointslices", "list endpointslices")],
)
async def test_missing_permission_is_named(
    server: FakeAPIServer, services: KubernetesServices, resource: str, permission: str
) -> None:
    service(server, AMQP)
    server.instead = lambda asked: (
        refusing(403, "Forbidden", "forbidden") if f"/{resource}" in asked.path else None
    )
    error = await failure(services)
    assert isinstance(error, RejectedError)
    assert error.message == (
        f'Springline lacks the permission to {permission} in namespace "apps"; bind a role that '
        "allows it"
    )


@pytest.mark.parametrize("resource", ["services", "endpointslices"])
async def test_outage_of_the_api_server_may_pass(
    server: FakeAPIServer, services: KubernetesServices, resource: str
) -> None:
    service(server, AMQP)
    server.instead = lambda asked: closing if f"/{resource}" in asked.path else None
    error = await failure(services)
    assert isinstance(error, TransientError)
    assert error.message.startswith("the API server cannot be reached: ")


@pytest.mark.parametrize(
    "content",
    [
        {"ports": None, "endpoints": None},
        {"ports": [{"name": "amqp"}], "endpoints": [{}]},
        {"ports": [{"name": "amqp", "port": 5672}], "endpoints": [{"addresses": ["?"]}]},
    ],
    ids=["nothing", "nothing in it", "no address"],
)
async def test_slice_without_what_a_slice_has_does_no_harm(
    server: FakeAPIServer, services: KubernetesServices, content: dict[str, Any]
) -> None:
    service(server, AMQP)
    server.put(
        "endpointslices",
        "apps",
        "odd",
        labels={"kubernetes.io/service-name": "rabbit"},
        addressType="IPv4",
        **content,
    )
    endpoint_slice(server, pod("192.0.2.1"))
    assert await found(services) == {(5672, "192.0.2.1")}


def test_lookup_is_what_the_core_asks_for(services: KubernetesServices) -> None:
    _: ports.ServiceLookup = services
