"""The dashboard of the chart, asked of a real Prometheus that scrapes a real operator."""

import asyncio
import functools
import json
import math
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from support.chart_files import CHART
from support.chosen import EVERYTHING, Chosen, expressions, label_values, one_of
from support.identities import Issuer, Tenant
from support.operator_process import OperatorProcess
from support.ports import LOOPBACK
from support.prometheus import Prometheus, PrometheusMissing
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.shared_broker import SharedBroker
from support.team import CONNECTIONS, Team
from support.token_broker import taking_tokens
from support.waiting import eventually

DASHBOARD = json.loads((CHART / "files" / "dashboards" / "springline.json").read_text("utf-8"))
JOB = "springline/metrics"
TOKEN_SECONDS = 3600


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """A broker that takes passwords and tokens."""
    try:
        node = taking_tokens(tmp_path_factory.mktemp("dashboard"))
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with node:
        yield node


@pytest.fixture
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, process: OperatorProcess
) -> Iterator[Prometheus]:
    """Prometheus, scraping the operator as docs/metrics.md has it."""
    scraped = {
        "job_name": JOB,
        "honor_labels": True,
        "static_configs": [{"targets": [f"{LOOPBACK}:{process.port}"]}],
    }
    try:
        prometheus = Prometheus(
            tmp_path_factory.mktemp("prometheus"), {"scrape_configs": [scraped]}
        )
    except PrometheusMissing as error:
        pytest.skip(f"the dashboard was not tried: {error}")
    with prometheus:
        yield prometheus


@pytest.fixture
async def fleet(team: Team, node: RabbitMQNode, tenant: Tenant) -> AsyncIterator[Team]:
    """A team whose connections are in every state that the dashboard tells apart."""
    node.add_vhost(tenant.vhost)
    node.add_user(tenant.username, tenant.secret)
    node.set_permissions(tenant.username, tenant.vhost)
    fleet = team.at(SharedBroker(administration=node, host=LOOPBACK, port=node.amqp_port))
    await fleet.declare("orders")
    await fleet.declare("audit", probe={"mode": "None"})
    await fleet.declare("archive", suspend=True)
    await fleet.put_secret("not the password", name="outdated")
    await fleet.declare("billing", credentials={"secretRef": {"name": "outdated"}})
    await fleet.declare("stock")
    await put_token(fleet)
    await fleet.declare("shipping", virtualHost="/", credentials={"tokenRef": {"name": "token"}})
    await fleet.until_ready("orders", "audit", "shipping", "stock")
    await fleet.patch(CONNECTIONS, "stock", {"spec": {"virtualHost": "not-there"}})
    await fleet.until_condition("stock", "Synced", "False", "VirtualHostNotFound")
    await fleet.until_condition("billing", "CredentialsValid", "False", "Rejected")
    yield fleet
    node.clear_alarm("memory")


async def put_token(team: Team) -> None:
    """Put a new token in place."""
    token = Issuer().token("ann", seconds=TOKEN_SECONDS)
    await team.apply(
        "secrets",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "token"},
            "stringData": {"token": token},
        },
    )


def shown(prometheus: Prometheus, chosen: Chosen, expression: str) -> bool:
    """Whether an expression says anything at any moment of the time that is chosen."""
    found = prometheus.query_range(chosen.filled(expression), start=chosen.start, end=time.time())
    return any(math.isfinite(value) for series in found for _, value in series.values)


async def test_everything_on_the_dashboard_has_something_to_show(
    prometheus: Prometheus, fleet: Team, node: RabbitMQNode
) -> None:
    """While connections are ready, refused, blocked, lost and renewed, no panel stays empty."""
    start = time.time()
    up = functools.partial(prometheus.wait_for, "springline_session_ready == 1")
    await asyncio.to_thread(up)

    [lost] = [each for each in await fleet.held() if each.name == "orders"]
    await asyncio.to_thread(node.close_connection, lost.pid, "by an operator")
    await fleet.until_ready("orders")
    await put_token(fleet)
    renewed = 'springline_secret_updates_total{method="InPlace",outcome="updated"} > 0'
    await asyncio.to_thread(prometheus.wait_for, renewed)
    await asyncio.to_thread(node.set_alarm, "memory")
    await fleet.until_condition("orders", "Blocked", "True", "LowOnMemory")

    chosen = Chosen(
        start=start,
        end=start + 60,
        values={"job": one_of(JOB), "namespace": one_of(fleet.namespace), "name": EVERYTHING},
    )
    for title, expression in expressions(DASHBOARD):
        await eventually(
            functools.partial(shown, prometheus, chosen, expression),
            what=f"{title} shows something: {chosen.filled(expression)}",
        )


async def test_variables_offer_what_there_is(prometheus: Prometheus, fleet: Team) -> None:
    """The operator, the namespaces of its connections, and the connections of those chosen."""
    up = f'springline_session_ready{{namespace="{fleet.namespace}"}}'
    await asyncio.to_thread(prometheus.wait_for, up)
    values = {"job": one_of(JOB), "namespace": one_of(fleet.namespace)}
    offered = {
        each["name"]: options(prometheus, each["query"]["query"], values)
        for each in DASHBOARD["templating"]["list"]
        if each["type"] == "query"
    }
    assert offered["job"] == {JOB}
    assert fleet.namespace in offered["namespace"]
    assert offered["name"] == {"archive", "audit", "billing", "orders", "shipping", "stock"}


def options(prometheus: Prometheus, query: str, values: dict[str, str]) -> set[str]:
    expression, label = label_values(query)
    filled = Chosen(start=0, end=1, values=values).filled(expression)
    return {sample.labels[label] for sample in prometheus.query(filled)}
