"""The compose file's container: run by podman with what the file says, beside a real RabbitMQ.

Compose itself reads the file, see `support.compose`. There is one network here, this machine's, so
the ports are others.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import compose, ports, recipes
from support.images import Images
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.recipes import COMPOSE
from support.waiting import eventually

NAME = "springline-compose"
USER, PASSWORD = "orders", "change-me"


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    """What the file says of the container."""
    try:
        found: dict[str, Any] = compose.project(COMPOSE)["services"]["springline"]
    except compose.ComposeMissing as missing:
        pytest.skip(str(missing))
    return found


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """A broker with the login of the file."""
    try:
        node = RabbitMQNode(tmp_path_factory.mktemp("rabbitmq"))
    except RabbitMQMissing as missing:
        pytest.skip(str(missing))
    with node:
        node.add_user(USER, PASSWORD)
        node.set_permissions(USER, "/")
        yield node


@pytest.fixture
def port() -> Iterator[int]:
    """In the place of 8080."""
    lease = ports.lease(1)
    yield lease.ports[0]
    lease.release()


@pytest.fixture
def manifests(rabbitmq: RabbitMQNode, tmp_path: Path) -> Path:
    """The file's own, readable for the container's user alone, with the port of the broker."""
    [file] = (COMPOSE.parent / "manifests").iterdir()
    text = file.read_text(encoding="utf-8")
    assert "port: 5672" in text
    directory = tmp_path / "manifests"
    directory.mkdir()
    copy = directory / file.name
    copy.write_text(text.replace("port: 5672", f"port: {rabbitmq.amqp_port}"), encoding="utf-8")
    for path, mode in ((directory, 0o750), (copy, 0o640)):
        path.chmod(mode)
    return directory


@pytest.fixture
def container(
    builder: Images, image: str, service: dict[str, Any], manifests: Path, port: int
) -> Iterator[Images]:
    """The container, running."""
    [volume] = service["volumes"]
    options = [
        *("--read-only", "--network", "host", "--add-host", f"rabbitmq:{LOOPBACK}"),
        *(word for each in service["cap_drop"] for word in ("--cap-drop", each)),
        # Docker has a colon there, and podman an equals sign or nothing.
        *(word for each in service["security_opt"] for word in ("--security-opt", flag(each))),
        *(word for each in service["tmpfs"] for word in ("--tmpfs", each)),
        *("--volume", f"{manifests}:{volume['target']}:ro"),
        # Who may read the manifests, as in a group of the host.
        *("--group-add", str(manifests.stat().st_gid)),
    ]
    command = recipes.replaced(service["command"], {"0.0.0.0:8080": f"{LOOPBACK}:{port}"})
    started = builder.call("run", "--detach", "--name", NAME, *options, image, *command)
    assert started.returncode == 0, started.stderr
    yield builder
    builder.call("rm", "--force", "--time", "0", NAME)


def flag(option: str) -> str:
    """Return a security option as podman writes it."""
    name, _, value = option.partition(":")
    assert value == "true"
    return name


async def test_the_container_becomes_healthy_holds_its_connection_and_ends_in_order(
    container: Images, service: dict[str, Any], rabbitmq: RabbitMQNode, port: int
) -> None:
    """By the file's health check, with a root that cannot be written and no capabilities."""
    kind, *check = service["healthcheck"]["test"]
    assert kind == "CMD"
    asked = [word.replace(":8080/", f":{port}/") for word in check]
    assert asked != check
    await eventually(
        lambda: container.call("exec", NAME, *asked).returncode == 0, what="it is healthy"
    )
    await eventually(
        lambda: any(each.user == USER for each in rabbitmq.connections()), what="it is connected"
    )
    status = "/run/springline/status/BrokerConnection.default.orders.yaml"
    await eventually(
        lambda: "state: Connected" in container.call("exec", NAME, "cat", status).stdout,
        what="status says so",
    )
    limit = service["stop_grace_period"].removesuffix("s")
    assert container.call("stop", "--time", limit, NAME).returncode == 0
    ended = container.call("inspect", "--format", "{{json .State}}", NAME)
    assert json.loads(ended.stdout)["ExitCode"] == 0
    await eventually(lambda: not rabbitmq.connections(), what="the broker has no connection")
    logged = container.call("logs", NAME)
    assert '"session":"default/orders"' in (logged.stdout + logged.stderr).replace(" ", "")
    assert PASSWORD not in logged.stdout + logged.stderr
    assert "client unexpectedly closed" not in rabbitmq.log_text()


async def test_the_health_check_fails_while_springline_is_not_there(
    container: Images, service: dict[str, Any]
) -> None:
    """Nobody listens on the file's own port here."""
    _, *check = service["healthcheck"]["test"]
    assert container.call("exec", NAME, *check).returncode != 0
