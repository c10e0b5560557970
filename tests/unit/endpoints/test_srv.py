"""`endpointsFrom.dnsSRV`: what SRV records say."""

import pytest

from springline import errors
from springline.core.values import ResolvedEndpoint
from springline.endpoints.srv import SRVEndpoints
from springline.reasons import Reason
from support.builders import OTHER_RABBIT, RABBIT
from support.fakes import FakeResolver

NAME = "_amqp._tcp.example"


async def test_the_records_give_the_endpoints_in_their_order(resolver: FakeResolver) -> None:
    """Their hosts are left for the resolver to look up, one by one."""
    resolver.names[NAME] = (OTHER_RABBIT, RABBIT)
    found = await SRVEndpoints(resolver, NAME, namespace="apps", own_domain=False).fetch()
    assert found == [ResolvedEndpoint(OTHER_RABBIT), ResolvedEndpoint(RABBIT)]


async def test_the_records_are_looked_up_every_time(resolver: FakeResolver) -> None:
    source = SRVEndpoints(resolver, NAME, namespace="apps", own_domain=False)
    resolver.names[NAME] = (RABBIT,)
    await source.fetch()
    resolver.names[NAME] = (OTHER_RABBIT,)
    assert await source.fetch() == [ResolvedEndpoint(OTHER_RABBIT)]


async def test_an_unknown_name_is_no_endpoint(resolver: FakeResolver) -> None:
    with pytest.raises(errors.TransientError) as caught:
        await SRVEndpoints(resolver, NAME, namespace="apps", own_domain=False).fetch()
    assert caught.value.reason is Reason.NAME_RESOLUTION_FAILED
