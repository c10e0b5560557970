"""Springline is uninstalled while it runs: its rights and its ServiceAccount go before its pod.

Helm deletes them together, and the kubelet ends the pod a moment later. An API server takes a token
for some seconds after its ServiceAccount is gone, so the last status is answered 403 or 401.
"""

import asyncio
import http.client
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.apiserver import APIServer
from support.helm import Release
from support.identities import Tenant
from support.operator_process import OperatorProcess
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQNode
from support.shared_broker import SharedBroker
from support.team import Team, condition
from support.tools import ToolMissing
from support.waiting import eventually

PLANTED = "pl4nted-s3cret"
NAMES = [f"orders-{number}" for number in range(8)]
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
ACCOUNT = "/api/v1/namespaces/springline-system/serviceaccounts/springline"


@pytest.fixture(scope="module")
def release(disposable_apiserver: APIServer, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The chart on an API server of this module's own."""
    directory = tmp_path_factory.mktemp("helm")
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(disposable_apiserver.kubeconfig())
    try:
        return Release(directory / "home", kubeconfig)
    except ToolMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def operator(
    disposable_apiserver: APIServer, release: Release, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """The operator, as installed anew and started."""
    release.install()
    operator = OperatorProcess(tmp_path / "operator", disposable_apiserver, PLANTED)
    operator.start()
    yield operator
    operator.close()


@pytest.fixture
async def team(
    operator: OperatorProcess, disposable_apiserver: APIServer, rabbitmq: RabbitMQNode
) -> AsyncIterator[Team]:
    """A team whose connections are open."""
    await operator.until_ready()
    tenant = Tenant(vhost="uninstalled", username="ann", secret=PLANTED)
    rabbitmq.add_vhost(tenant.vhost)
    rabbitmq.add_user(tenant.username, tenant.secret)
    rabbitmq.set_permissions(tenant.username, tenant.vhost)
    broker = SharedBroker(administration=rabbitmq, host=LOOPBACK, port=rabbitmq.amqp_port)
    team = Team(disposable_apiserver, "default", broker, tenant)
    await team.declare(*NAMES)
    # The one before could not write its last status, nor give its Lease back.
    for name in NAMES:
        await team.until(
            name,
            lambda status: (
                status.get("holder") == operator.holder
                and condition(status, "Ready") == ("True", "Connected")
            ),
            "is Ready, and this operator says so",
        )
    await team.until_held(*NAMES)
    yield team
    rabbitmq.delete_user(tenant.username)
    rabbitmq.delete_vhost(tenant.vhost)


async def delete_rights(server: APIServer) -> None:
    """Delete what binds roles to its ServiceAccount, as Helm does."""
    bindings = server.request("GET", BINDINGS).content["items"]
    names = [each["metadata"]["name"] for each in bindings]
    ours = [name for name in names if name.startswith("springline")]
    assert ours
    for name in ours:
        assert server.request("DELETE", f"{BINDINGS}/{name}").code == http.client.OK


async def delete_account(server: APIServer, operator: OperatorProcess) -> None:
    """Delete its ServiceAccount, too, and wait until its token is worth nothing."""
    await delete_rights(server)
    assert server.request("DELETE", ACCOUNT).code == http.client.OK
    await eventually(
        lambda: (
            server.request("GET", "/api", token=operator.token).code == http.client.UNAUTHORIZED
        ),
        timeout=60,
        what="its token is refused",
    )


async def stopped(operator: OperatorProcess, rabbitmq: RabbitMQNode, team: Team) -> str:
    """Stop it as the kubelet does, and return what it says then; brokers hear a goodbye."""
    said, logged = len(operator.output), len(rabbitmq.log_text())
    await asyncio.to_thread(operator.stop)
    await team.until_held()
    assert "client unexpectedly closed" not in rabbitmq.log_text()[logged:]
    return operator.output[said:]


@pytest.mark.parametrize("knows_it", [True, False], ids=["without rights", "unknown"])
async def test_it_ends_without_waiting_for_what_it_may_no_longer_do(
    disposable_apiserver: APIServer,
    operator: OperatorProcess,
    rabbitmq: RabbitMQNode,
    team: Team,
    knows_it: bool,
) -> None:
    """Its sessions are closed in order; one line says that this could not be written."""
    begin = len(operator.output)
    if knows_it:
        await delete_rights(disposable_apiserver)
    else:
        await delete_account(disposable_apiserver, operator)
    said = await stopped(operator, rabbitmq, team)
    assert said.count("last status not written") == 1
    assert "last status not written: the API server does not let Springline write it" in said
    assert "Traceback" not in operator.output[begin:]


async def test_it_does_not_take_being_forbidden_for_an_outage_then(
    disposable_apiserver: APIServer,
    operator: OperatorProcess,
    rabbitmq: RabbitMQNode,
    team: Team,
) -> None:
    """Normally an API server that has just been away may forbid everything for a moment."""
    await asyncio.to_thread(disposable_apiserver.stop)
    await asyncio.to_thread(disposable_apiserver.start)
    await delete_rights(disposable_apiserver)
    said = await stopped(operator, rabbitmq, team)
    assert said.count("last status not written") == 1
    assert "last status not written in time" not in said
