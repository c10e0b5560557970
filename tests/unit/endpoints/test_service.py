"""`endpointsFrom.service`: what is ready behind a Service."""

import pytest

from springline import errors
from springline.core.values import Endpoint, ResolvedEndpoint
from springline.endpoints.service import ServiceEndpoints
from springline.reasons import Reason
from springline.standalone.services import NoServices
from support.fakes import FakeServices


@pytest.mark.parametrize("port", ["amqp", 5672])
async def test_what_is_ready_is_tried_under_the_name_of_the_service(
    services: FakeServices, port: str | int
) -> None:
    """With the addresses that are known already."""
    ready = [ResolvedEndpoint(Endpoint("rabbit.apps.svc", 5672), ("192.0.2.7", "192.0.2.8"))]
    services.ready["apps", "rabbit", port] = ready
    assert await ServiceEndpoints(services, "apps", "rabbit", port).fetch() == ready


async def test_a_service_with_nothing_ready_may_have_something_soon(services: FakeServices) -> None:
    with pytest.raises(errors.TransientError) as caught:
        await ServiceEndpoints(services, "apps", "rabbit", "amqp").fetch()
    assert caught.value.reason is Reason.NAME_RESOLUTION_FAILED
    assert caught.value.message == 'Service "rabbit" in namespace "apps" has no ready endpoint'


async def test_without_a_cluster_there_are_no_services() -> None:
    """The message says what to write instead."""
    with pytest.raises(errors.RejectedError) as caught:
        await ServiceEndpoints(NoServices(), "apps", "rabbit", "amqp").fetch()
    assert caught.value.reason is Reason.NAME_RESOLUTION_FAILED
    assert caught.value.message == (
        'port amqp of Service "rabbit" in namespace "apps" can only be looked up in a cluster; use'
        " endpoints or endpointsFrom.dnsSRV here"
    )
