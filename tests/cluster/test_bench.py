"""The measurements come to their end and have figures, with as few connections as it takes."""

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cluster as measured_cluster
from bench import commands, over_http, standalone
from bench.bare import USER
from bench.cluster import Site
from bench.plan import Plan
from bench.rows import Row
from support.apiserver import APIServer
from support.helm import Installed
from support.http_peers import HTTPPeerMissing
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.plugin import Plugin
from support.rabbitmq import RabbitMQNode

QUICK = Plan(idle_seconds=0.5, probe_seconds=1, quiet_seconds=0.3)
COUNT = 3


@pytest.fixture
async def site(
    cluster: APIServer,
    installed: Installed,
    springline: Operator,
    user: RabbitMQNode,
    tmp_path: Path,
) -> Site:
    """The suite's servers, as what is measured on."""
    await asyncio.to_thread(springline.stop)  # two operators would do everything twice
    operator = OperatorProcess(tmp_path, cluster, namespace=installed.release.namespace)
    return Site(server=cluster, node=user, operator=operator)


@pytest.fixture
def user(rabbitmq: RabbitMQNode) -> Iterator[RabbitMQNode]:
    """The suite's broker, with the user of the measurements."""
    standalone.declare_user(rabbitmq)
    yield rabbitmq
    rabbitmq.start()
    rabbitmq.delete_user(USER)


def figures(rows: list[Row]) -> dict[str, float]:
    assert all(row.count == COUNT for row in rows)
    return {row.what.strip(): row.ours for row in rows}


async def test_the_operator_is_measured_beside_a_script(site: Site) -> None:
    """Every row has a figure, and what is counted is as promised however many there are."""
    try:
        rows = await asyncio.to_thread(measured_cluster.measure, site, COUNT, QUICK)
    finally:
        await asyncio.to_thread(site.operator.close)
    found = figures(rows)
    assert found["status writes each"] == 1
    assert found["status writes"] == 0
    assert found["status writes to renew"] == 1
    assert found["status writes for both"] == 2
    assert found["status writes to stop"] == 1
    assert found["status writes to start"] == 1
    assert 0 < found["handshakes at once"] <= 50
    assert {row.what for row in rows if row.bare} >= {
        "applied → all Ready",
        "Secret changed → all renewed",
        "broker back → all Ready again",
        "operator starts → all Ready",
        "memory per connection",
    }
    processes = {"", "the broker", "kube-apiserver", "etcd"}
    during = {"applied → all Ready", "operator starts → all Ready", QUICK.idle}
    for step in during:
        assert {row.process for row in rows if row.during == step and row.bare is not None} >= (
            processes
        ), step


def test_commands_are_measured_beside_kubectl(kubectl: Kubectl, tmp_path: Path) -> None:
    """Each of them has a figure; nobody says how large it is here."""
    rows = commands.measure(Plugin(tmp_path / "plugin", kubectl.kubeconfig), COUNT, runs=1)
    assert figures(rows).keys() == {"kubectl springline status", "kubectl springline explain"}
    assert all(row.ours > 0 and row.ratio for row in rows)


def test_standalone_mode_is_measured_beside_aiormq(user: RabbitMQNode) -> None:
    """Every row has a reference, and every time the processor time of both processes."""
    plan = dataclasses.replace(QUICK, restarts_broker=False)
    rows = standalone.measure(standalone.Site(node=user), COUNT, plan)
    assert figures(rows).keys() >= {"declared → all Ready", "memory per connection"}
    assert [row.what for row in rows if row.bare is None] == []
    assert {row.process for row in rows if row.during} == {"", "the broker"}


def test_sessions_over_tls_are_measured_beside_aiormq(tmp_path: Path) -> None:
    """On a broker of their own, at the port that speaks nothing else."""
    with standalone.prepared_for_tls(tmp_path) as site:
        rows = standalone.measure(site, COUNT, dataclasses.replace(QUICK, restarts_broker=False))
        log = site.node.log_text()
    assert [row.what for row in rows if row.bare is None] == []
    assert f":{site.node.amqps_port})" in log
    assert f":{site.node.amqp_port})" not in log


def test_sessions_over_http_are_measured_beside_bare_libraries(tmp_path: Path) -> None:
    """Every row has a reference, what a renewal and a restart of the server take, too."""
    try:
        server = over_http.server(tmp_path)
    except HTTPPeerMissing as missing:
        pytest.skip(str(missing))
    with server:
        rows = over_http.measure(server, COUNT, QUICK)
        asked = len(server.requests)
    found = figures(rows)
    for version in ("HTTP/1.1", "HTTP/2"):
        assert found[f"{version}: memory per connection"] > 0
        assert found[f"{version}: declared → all Ready"] > 0
        assert found[f"{version}: broker back → all Ready again"] > 0
    assert [row.what for row in rows if row.bare is None] == []
    assert asked >= 2 * 2 * 2 * COUNT, "each of both versions and of both programs asked twice"
