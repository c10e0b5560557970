"""The project's front page, command by command as it is written, on a broker as it is installed."""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import springline_process
from support.kubectl import Kubectl
from support.markdown import Page
from support.ports import LOOPBACK
from support.rabbitmq import ErlangError, RabbitMQNode

README = Page(Path(__file__).parents[2] / "README.md")


@pytest.fixture
def rabbit_yaml(rabbitmq: RabbitMQNode, tmp_path: Path) -> Iterator[Path]:
    """The page's manifest, with the broker that has the page's user."""
    [manifest] = [block.text for block in README.blocks if block.language == "yaml"]
    assert "host: localhost, port: 5672" in manifest
    text = manifest.replace(
        "host: localhost, port: 5672", f"host: {LOOPBACK}, port: {rabbitmq.amqp_port}"
    )
    path = tmp_path / "manifests" / "rabbit.yaml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    for command in README.commands:
        if command.startswith("rabbitmqctl "):
            rabbitmq.ctl(*command.removeprefix("rabbitmqctl ").replace("'", "").split())
    yield path
    with contextlib.suppress(ErlangError):
        rabbitmq.delete_user("orders")


@pytest.mark.usefixtures("springline")
async def test_in_a_cluster_the_first_connection_becomes_ready(
    kubectl: Kubectl, rabbit_yaml: Path
) -> None:
    """The chart is installed as the page does it; only the broker's address is another one."""
    commands = [command.split() for command in README.commands if command.startswith("kubectl ")]
    assert [verb for _, verb, *_ in commands] == ["apply", "wait", "get"]
    try:
        for _, *words in commands:
            given = [str(rabbit_yaml) if word == "rabbit.yaml" else word for word in words]
            shown = await asyncio.to_thread(kubectl.run, *given)
        assert shown.splitlines()[1].split()[:7] == [
            *("orders", "True", "False", "Connected", "rabbit", "/", "orders")
        ]
    finally:
        await asyncio.to_thread(kubectl.run, "delete", "--filename", str(rabbit_yaml))


def test_without_a_cluster_the_first_connection_becomes_ready(rabbit_yaml: Path) -> None:
    """The same manifest."""
    assert ".venv/bin/springline check -f manifests" in README.commands
    done = subprocess.run(
        springline_process.command("check", "-f", rabbit_yaml.parent),
        env=springline_process.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
