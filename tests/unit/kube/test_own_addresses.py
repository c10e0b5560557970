"""Where the API server is."""

import asyncio

import pytest

from springline import errors
from springline.kube.access import Access
from springline.kube.own_addresses import APIServerAddresses
from springline.reasons import Reason
from support.fake_clock import FakeClock
from support.fakes import FakeResolver


@pytest.fixture(autouse=True)
def no_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def addresses(url: str, resolver: FakeResolver, clock: FakeClock) -> APIServerAddresses:
    access = Access()
    access.configuration.host = url
    return APIServerAddresses(access, resolver, clock)


async def test_an_address_is_known_without_a_lookup(clock: FakeClock) -> None:
    resolver = FakeResolver()
    own = addresses("https://10.0.0.7:6443", resolver, clock)
    assert own.known() == {"10.0.0.7"}
    await own.look()
    assert resolver.lookups == []


async def test_the_service_of_the_cluster_is_known(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    own = addresses("https://[fd00::7]:6443", FakeResolver(), clock)
    assert own.known() == {"10.96.0.1", "fd00::7"}


async def test_a_name_is_looked_up_again_and_again(clock: FakeClock) -> None:
    """The addresses of a managed API server change."""
    resolver = FakeResolver()
    resolver.hosts["api.example"] = ("192.0.2.7", "192.0.2.8")
    own = addresses("https://api.example", resolver, clock)
    await own.look()
    assert own.known() == {"192.0.2.7", "192.0.2.8"}
    task = asyncio.ensure_future(own.run())
    resolver.hosts["api.example"] = ("192.0.2.9",)
    await clock.advance(60)
    assert own.known() == {"192.0.2.9"}
    task.cancel()


async def test_a_name_that_is_not_found_keeps_its_addresses(clock: FakeClock) -> None:
    resolver = FakeResolver()
    own = addresses("https://api.example", resolver, clock)
    await own.look()
    before = own.known()
    resolver.hosts["api.example"] = errors.TransientError(Reason.NAME_RESOLUTION_FAILED, "no")
    await own.look()
    assert own.known() == before != frozenset()
