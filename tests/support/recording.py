"""The picture of a terminal in the documentation, from a real run: `make recording`.

It starts a private API server, a private RabbitMQ and the operator, types what somebody who looks
after connections would type, and draws what was answered. What is typed waits for what it is about
to show; nothing of the answers is changed. Where a part is missing, it says so and writes nothing.
"""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from support import ports, processes, springline_process, tools
from support.apiserver import APIServer, APIServerMissing
from support.definitions import Definitions
from support.kubectl import Kubectl
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.tools import ToolMissing

__all__ = ["PICTURE", "main"]

PICTURE: Final = Path(__file__).parents[2] / "docs" / "images" / "terminal.svg"

_COLUMNS: Final = 92
_USERS: Final = ("audit", "billing", "orders")
_GOOD, _TYPO, _NEW = "a-good-password", "a-typo", "a-new-password"
_REJECTED: Final = "--field-selector=reason=Rejected"

# Text and boxes alone: the picture asks nobody for a font.
_FORMAT: Final = """\
<svg class="terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; \
font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Terminal:
    """Runs commands, and keeps them with what they answered."""

    def __init__(self, directory: Path, kubeconfig: Path) -> None:
        self._console = Console(
            record=True,
            width=_COLUMNS,
            file=io.StringIO(),
            color_system="truecolor",
            highlight=False,
        )
        path = os.pathsep.join([str(tools.kubectl().parent), os.environ.get("PATH", os.defpath)])
        self._env = {"PATH": path, "HOME": str(directory), "KUBECONFIG": str(kubeconfig)}

    def say(self, text: str) -> None:
        """Write a comment."""
        self._console.print(Text(f"# {text}", style="bright_black"))

    def type(self, command: str) -> None:
        """Run a command, as it is shown."""
        self._console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        done = subprocess.run(
            ["sh", "-c", command], env=self._env, capture_output=True, text=True, check=True
        )
        self._console.print(Text(done.stdout.rstrip("\n")))

    def rest(self) -> None:
        """Leave a line free."""
        self._console.print()

    def picture(self) -> str:
        """Return what was written as SVG."""
        return self._console.export_svg(
            title="Springline", code_format=_FORMAT, unique_id="terminal"
        )


def play(terminal: Terminal, kubectl: Kubectl, rabbitmq: RabbitMQNode) -> None:
    """What is shown, and what is waited for in between."""

    def wait(name: str, condition: str, value: str = "True") -> None:
        kubectl.run(
            "wait", f"bconn/{name}", f"--for=condition={condition}={value}", "--timeout=30s"
        )

    for name in _USERS:
        wait(name, "Ready")
        wait(name, "Blocked", "False")
    terminal.type("kubectl get bconn")
    terminal.rest()
    terminal.say("A typo in a password. It is tried beside the session first, and goes no further.")
    terminal.type(_patch("orders", _TYPO))
    wait("orders", "CredentialsValid", "False")
    terminal.type("kubectl get bconn orders")
    kubectl.run("wait", "event", _REJECTED, "--for=create", "--timeout=30s")
    terminal.type(f"kubectl get event {_REJECTED} -o custom-columns=WHY:.message")
    terminal.rest()
    rabbitmq.change_password("orders", _NEW)
    terminal.say("The password that the broker has. The open session gets it, and stays open.")
    terminal.type(_patch("orders", _NEW))
    kubectl.run(
        *("wait", "bconn/orders", "--timeout=30s"),
        "--for=jsonpath={.status.credentials.method}=InPlace",
    )
    terminal.type("kubectl get bconn orders -o custom-columns=RENEWED:.status.credentials.method")
    terminal.rest()
    rabbitmq.set_alarm("memory")
    for name in _USERS:
        wait(name, "Blocked")
    terminal.say("The broker is low on memory, and takes no messages.")
    terminal.type("kubectl get bconn")


def _patch(user: str, password: str) -> str:
    secret = '{"stringData":{"password":"' + password + '"}}'
    return f"kubectl patch secret {user}-amqp -p '{secret}'"


def _declared(rabbitmq: RabbitMQNode) -> Iterator[dict[str, Any]]:
    def document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
        metadata = {"name": name}
        return {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": kind,
            "metadata": metadata,
            "spec": spec,
        }

    endpoints = [{"host": LOOPBACK, "port": rabbitmq.amqp_port}]
    yield document("Broker", "rabbit", endpoints=endpoints, sasl={"allowInsecure": True})
    for user in _USERS:
        yield {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{user}-amqp"},
            "stringData": {"username": user, "password": _GOOD},
        }
        yield document(
            "BrokerConnection",
            user,
            brokerRef={"name": "rabbit"},
            virtualHost=user,
            credentials={"secretRef": {"name": f"{user}-amqp"}},
            probe={"interval": "1s"},
        )


def _record(directory: Path) -> str:
    with ExitStack() as stack:
        rabbitmq = stack.enter_context(RabbitMQNode(directory / "rabbitmq"))
        server = stack.enter_context(APIServer(directory / "apiserver"))
        Definitions(server).install()
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(server.kubeconfig(), encoding="utf-8")
        kubectl = Kubectl(directory / "kubectl", kubeconfig)
        for user in _USERS:
            rabbitmq.add_vhost(user)
            rabbitmq.add_user(user, _GOOD)
            rabbitmq.set_permissions(user, user)
        kubectl.apply(_declared(rabbitmq))
        lease = ports.lease(1)
        stack.callback(lease.release)
        operator = processes.spawn(
            springline_process.command(
                "operator",
                *("--listen", f"{LOOPBACK}:{lease.ports[0]}"),
                *springline_process.ALLOW_LOOPBACK,
            ),
            env={**springline_process.environment(), "KUBECONFIG": str(kubeconfig)},
            output=directory / "operator.log",
        )
        stack.callback(processes.terminate, operator, timeout=20.0)
        terminal = Terminal(directory, kubeconfig)
        play(terminal, kubectl, rabbitmq)
        return terminal.picture()


def main() -> int:
    """Write the picture. Return the exit code."""
    try:
        with tempfile.TemporaryDirectory(prefix="springline-recording-") as directory:
            picture = _record(Path(directory))
    except (APIServerMissing, RabbitMQMissing, ToolMissing) as error:
        print(error, file=sys.stderr)
        return 1
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
