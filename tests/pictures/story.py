"""Two minutes in the life of a fleet: it comes up, is blocked, renewed, cut off and misdeclared.

Everything is real: API server, operator, broker, OAuth 2 server and Prometheus. What is drawn of it
is the business of `drawing`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.apiserver import APIServer
from support.definitions import Definitions
from support.helm import Release
from support.identities import Tenant
from support.operator_process import OperatorProcess
from support.ports import LOOPBACK
from support.prometheus import Prometheus
from support.rabbitmq import RabbitMQNode
from support.shared_broker import SharedBroker
from support.team import Team
from support.token_broker import taking_tokens
from support.token_server import Registered, TokenServer, serving

__all__ = ["JOB", "NAMESPACE_TO_LOOK_AT", "Moment", "Stage", "Told", "play", "stage"]

JOB = "springline"
NAMESPACE_TO_LOOK_AT = "orders"
SIZES = {"orders": 8, "billing": 12, "shipping": 16}

# Short enough that two minutes show some renewals.
TOKEN_SECONDS = 50
RENEW_AT = "60%"
CALM_SECONDS = 12
ALARM_SECONDS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When something was done, in Unix seconds, and what."""

    at: float
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The story: its beginning and end, in Unix seconds, and what happened between."""

    start: float
    end: float
    moments: Sequence[Moment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that takes part."""

    node: RabbitMQNode
    prometheus: Prometheus
    tokens: TokenServer
    teams: dict[str, Team]


@contextlib.asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    """Start everything, with nothing declared yet."""
    async with contextlib.AsyncExitStack() as started:
        _say("The API server, RabbitMQ and the operator are started …")
        server = started.enter_context(APIServer(directory / "apiserver"))
        node = started.enter_context(taking_tokens(directory / "rabbitmq"))
        operator = _installed(server, directory)
        started.callback(operator.close)
        operator.start()
        await operator.until_ready()
        scraped = {
            "job_name": JOB,
            "honor_labels": True,
            "static_configs": [{"targets": [f"{LOOPBACK}:{operator.port}"]}],
        }
        prometheus = started.enter_context(
            Prometheus(directory / "prometheus", {"scrape_configs": [scraped]})
        )
        tokens = await started.enter_async_context(serving({"shipping": Registered(secret="s3")}))
        tokens.seconds = TOKEN_SECONDS
        rabbit = SharedBroker(administration=node, host=LOOPBACK, port=node.amqp_port)
        teams = {}
        for name in SIZES:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            server.request("POST", "/api/v1/namespaces", namespace)
            tenant = Tenant(vhost=name, username=name, secret=f"first-of-{name}")
            node.add_vhost(tenant.vhost)
            node.add_user(tenant.username, tenant.secret)
            node.set_permissions(tenant.username, tenant.vhost)
            teams[name] = Team(server, name, rabbit, tenant)
        yield Stage(node=node, prometheus=prometheus, tokens=tokens, teams=teams)


def _installed(server: APIServer, directory: Path) -> OperatorProcess:
    Definitions(server).install()
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig())
    Release(directory / "helm", kubeconfig).install()
    return OperatorProcess(directory / "operator", server)


async def play(stage: Stage) -> Told:
    """Let it happen, and return when what."""
    moments: list[Moment] = []
    start = time.time()

    def now(what: str) -> None:
        _say(what)
        moments.append(Moment(at=time.time(), what=what))

    await asyncio.sleep(CALM_SECONDS / 2)
    now(f"{sum(SIZES.values())} connections are declared")
    await _declare_all(stage)
    await _all_ready(stage)
    await asyncio.sleep(CALM_SECONDS)

    now("alarm: low on memory")
    await asyncio.to_thread(stage.node.set_alarm, "memory")
    await asyncio.sleep(ALARM_SECONDS)
    now("the alarm is over")
    await asyncio.to_thread(stage.node.clear_alarm, "memory")
    await asyncio.sleep(CALM_SECONDS)

    now("new password of orders")
    orders = stage.teams["orders"]
    await asyncio.to_thread(stage.node.change_password, "orders", "second-of-orders")
    await orders.put_secret("second-of-orders")
    await asyncio.sleep(CALM_SECONDS)

    now("the broker restarts")
    await asyncio.to_thread(stage.node.stop)
    await asyncio.to_thread(stage.node.start)
    await _all_ready(stage)
    await asyncio.sleep(CALM_SECONDS)

    now("a wrong password is declared")
    billing = stage.teams["billing"]
    await billing.put_secret("not the password", name="returns-amqp")
    await billing.declare_connections(
        "returns", credentials={"secretRef": {"name": "returns-amqp"}}
    )
    await asyncio.sleep(2 * CALM_SECONDS)
    return Told(start=start, end=time.time(), moments=moments)


def _names(namespace: str) -> list[str]:
    return [f"{namespace}-{number:02}" for number in range(1, SIZES[namespace] + 1)]


async def _declare_all(stage: Stage) -> None:
    for namespace in ("orders", "billing"):
        await stage.teams[namespace].declare(*_names(namespace))
    shipping = stage.teams["shipping"]
    client = {"client-id": "shipping", "client-secret": "s3"}
    authority = {"ca.crt": stage.tokens.ca.decode()}
    core = {"apiVersion": "v1", "metadata": {"name": "client"}}
    await shipping.apply("secrets", {**core, "kind": "Secret", "stringData": client})
    await shipping.apply("configmaps", {**core, "kind": "ConfigMap", "data": authority})
    oauth2 = {
        "tokenURL": stage.tokens.url,
        "clientRef": {"name": "client"},
        "caRef": {"name": "client"},
        "audience": "rabbitmq",
    }
    await shipping.declare(
        *_names("shipping"), credentials={"oauth2": oauth2}, rotation={"renewAt": RENEW_AT}
    )


async def _all_ready(stage: Stage) -> None:
    async with asyncio.TaskGroup() as waiting:
        for name, team in stage.teams.items():
            waiting.create_task(team.until_ready(*_names(name)))


def _say(text: str) -> None:
    print(text, flush=True)
