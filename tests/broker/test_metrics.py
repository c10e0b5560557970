"""What Prometheus would read while sessions live at a real broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from random import SystemRandom
from typing import Any

import aiohttp
import pytest

from springline.adapters import adapters
from springline.api import documents
from springline.clock import SystemClock
from springline.core.addresses import LOOPBACK, AddressPolicy
from springline.core.environment import Environment
from springline.core.events import Event
from springline.core.manager import Manager
from springline.credentials.token_files import DirectoryOfTokens
from springline.metrics import Collector, Metrics
from springline.resolver import SystemResolver
from springline.sources import DeclaredSources
from springline.standalone.loader import Manifests
from springline.standalone.reconciler import ManifestReader, Reconciler
from springline.standalone.services import NoServices
from springline.standalone.tokens import NoTokens
from springline.web import Health, ListenAddress, serve
from support import ports, scrapes
from support.identities import Tenant
from support.prometheus import PrometheusMissing
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection, a_secret

pytestmark = pytest.mark.usefixtures("nothing_left")

KEY = {"namespace": "default", "name": "orders"}
NUMBER = 20


class Unheard:
    """Nobody listens to events here, as `core.events.EventSink`."""

    async def report(self, event: Event) -> None:
        pass


class Scraped:
    """Sessions that follow what `apply` declares, and what a scrape says of them."""

    def __init__(self, address: ListenAddress) -> None:
        clock, rng = SystemClock(), SystemRandom()
        resolver = SystemResolver(rng)
        self.metrics = Metrics(clock)
        environment = Environment(
            adapters=adapters(),
            resolver=resolver,
            clock=clock,
            rng=rng,
            events=Unheard(),
            addresses=AddressPolicy(LOOPBACK),
            meter=self.metrics,
        )
        reader = ManifestReader()
        sources = DeclaredSources(
            reader,
            clock=clock,
            resolver=resolver,
            addresses=AddressPolicy(LOOPBACK),
            services=NoServices(),
            tokens=NoTokens(),
            token_files=DirectoryOfTokens(None),
        )
        self.manager = Manager(environment, sources)
        self.collector = Collector(self.metrics, self.manager.views, per_object=True)
        self._reconciler = Reconciler(self.manager, reader)
        self._url = f"http://{address}/metrics"

    def apply(self, *written: Any) -> None:
        """Declare these documents and no others."""
        parsed = (documents.parse(each) for each in written)
        self._reconciler.apply(Manifests(objects={each.identity: each for each in parsed}))

    async def text(self, accept: str = "text/plain") -> str:
        """Scrape, and return what is answered."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as client,
            client.get(self._url, headers={"Accept": accept}) as response,
        ):
            return await response.text()

    async def value(self, name: str, /, **labels: str) -> float | None:
        """Scrape, and return the value of the one series with exactly these labels."""
        text = await self.text()
        samples = (each for family in scrapes.read(text) for each in family.samples)
        found = [each.value for each in samples if each.name == name and each.labels == labels]
        return found[0] if found else None

    async def until(self, expected: float | None, name: str, /, **labels: str) -> None:
        """Wait until a scrape says so."""
        seen: list[float | None] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                while (value := await self.value(name, **labels)) != expected:
                    seen.append(value)
                    await asyncio.sleep(0.05)
                return
        raise AssertionError(f"{name}{labels} is {seen[-1:]}, not {expected}")


@pytest.fixture
async def scraped() -> AsyncIterator[Scraped]:
    lease = ports.lease(1)
    address = ListenAddress(ports.LOOPBACK, lease.ports[0])
    scraped = Scraped(address)
    async with serve(address, Health(), scraped.collector), asyncio.TaskGroup() as tasks:
        tasks.create_task(scraped.manager.run())
        yield scraped
        scraped.manager.stop()
    lease.release()


@pytest.fixture
def alarmed(broker: RabbitMQNode) -> Iterator[RabbitMQNode]:
    """A broker whose alarm is cleared after the test."""
    yield broker
    broker.clear_alarm("memory")


def declared(node: RabbitMQNode, tenant: Tenant, *, password: str = "") -> list[dict[str, Any]]:
    """The documents of one connection that probes often."""
    return [
        a_broker(node.amqp_port),
        a_secret(tenant.username, password or tenant.secret),
        a_connection("orders", virtualHost=tenant.vhost, probe={"interval": "1s"}),
    ]


def a_fleet(node: RabbitMQNode, tenant: Tenant, *, password: str = "") -> list[dict[str, Any]]:
    """The documents of connections that share a Secret."""
    declared_broker, secret, _ = declared(node, tenant, password=password)
    connections = [
        a_connection(f"orders-{number}", virtualHost=tenant.vhost, probe={"interval": "1s"})
        for number in range(NUMBER)
    ]
    return [declared_broker, secret, *connections]


async def test_attempts_are_counted_as_the_broker_answers(
    scraped: Scraped, broker: RabbitMQNode, tenant: Tenant
) -> None:
    """A wrong password is refused again and again; the right one opens."""
    attempts = "springline_connect_attempts_total"
    refused = {"protocol": "amqp091", "outcome": "refused", "reason": "AccessRefused"}
    scraped.apply(*declared(broker, tenant, password="wrong"))
    await scraped.until(2.0, attempts, **refused)
    assert await scraped.value("springline_session_ready", **KEY) == 0.0
    scraped.apply(*declared(broker, tenant))
    await scraped.until(1.0, "springline_session_ready", **KEY)
    opened = {"protocol": "amqp091", "outcome": "opened", "reason": "Open"}
    assert await scraped.value(attempts, **opened) == 1.0
    assert await scraped.value("springline_connect_duration_seconds_count") == 1.0
    state = {"protocol": "amqp091", "state": "Connected"}
    assert await scraped.value("springline_sessions", **state) == 1.0


async def test_an_alarm_is_a_block_with_its_reason_until_it_is_over(
    scraped: Scraped, alarmed: RabbitMQNode, tenant: Tenant
) -> None:
    name, seconds = "springline_session_blocked", "springline_session_blocked_seconds_total"
    scraped.apply(*declared(alarmed, tenant))
    await scraped.until(0.0, name, **KEY, reason="NotBlocked")
    assert await scraped.value(seconds, **KEY) == 0.0
    await asyncio.to_thread(alarmed.set_alarm, "memory")
    await scraped.until(1.0, name, **KEY, reason="LowOnMemory")
    assert await scraped.value("springline_session_ready", **KEY) == 1.0
    await asyncio.to_thread(alarmed.clear_alarm, "memory")
    await scraped.until(0.0, name, **KEY, reason="NotBlocked")
    assert (total := await scraped.value(seconds, **KEY))
    assert await scraped.value(seconds, **KEY) == total, "the block is over"


async def test_a_closed_connection_is_counted_and_opened_again(
    scraped: Scraped, broker: RabbitMQNode, tenant: Tenant
) -> None:
    scraped.apply(*declared(broker, tenant))
    await scraped.until(1.0, "springline_session_ready", **KEY)
    [connection] = await asyncio.to_thread(
        lambda: [each for each in broker.connections() if each.user == tenant.username]
    )
    await asyncio.to_thread(broker.close_connection, connection.pid, "by an operator")
    await scraped.until(1.0, "springline_disconnects_total", reason="ConnectionForced")
    await scraped.until(1.0, "springline_session_ready", **KEY)
    assert await scraped.value("springline_session_disconnects_total", **KEY) == 1.0


async def test_sessions_that_share_a_secret_share_the_handshake_that_tries_it(
    scraped: Scraped, broker: RabbitMQNode, tenant: Tenant
) -> None:
    """And what they show is as the catalogue and promtool want it, also when they are gone."""
    fleet = {"protocol": "amqp091", "state": "Connected"}
    scraped.apply(*a_fleet(broker, tenant))
    await scraped.until(NUMBER, "springline_sessions", **fleet)
    await asyncio.to_thread(broker.change_password, tenant.username, "second")
    scraped.apply(*a_fleet(broker, tenant, password="second"))
    updates, asked = "springline_secret_updates_total", "springline_verifications_total"
    await scraped.until(NUMBER, updates, method="InPlace", outcome="updated")
    assert await scraped.value(asked, outcome="accepted") == 1.0
    assert await scraped.value(asked, outcome="shared") == NUMBER - 1
    text = await scraped.text()
    assert text.count("springline_session_ready{") == NUMBER
    assert scrapes.contradictions(text) == []
    assert scrapes.contradictions(await scraped.text("application/openmetrics-text")) == []
    scraped.apply()
    await scraped.until(None, "springline_sessions", **fleet)
    after = await scraped.text()
    assert "orders-" not in after
    try:
        assert [scrapes.complaints(each) for each in (text, after)] == ["", ""]
    except PrometheusMissing as missing:
        pytest.skip(str(missing))


async def test_a_new_password_is_an_update_in_place(
    scraped: Scraped, broker: RabbitMQNode, tenant: Tenant
) -> None:
    scraped.apply(*declared(broker, tenant))
    await scraped.until(1.0, "springline_session_ready", **KEY)
    await asyncio.to_thread(broker.change_password, tenant.username, "second")
    scraped.apply(*declared(broker, tenant, password="second"))
    updates = "springline_secret_updates_total"
    await scraped.until(1.0, updates, method="InPlace", outcome="updated")
    opened = {"protocol": "amqp091", "outcome": "opened", "reason": "Open"}
    assert await scraped.value("springline_connect_attempts_total", **opened) == 2.0
