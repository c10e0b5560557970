"""The recipes for standalone mode, run on a real broker with the command lines that they have."""

import asyncio
import http.client
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import ports, processes, recipes
from support.identities import Tenant
from support.plugin import SCRIPTS
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection, a_secret
from support.springline_process import environment, searched
from support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.broker

# argv: the most open files, then the command. What of the unit's sandbox a process can give to
# itself: no new rights, no memory that is both written and executed, a limit of open files.
CONFINED = """
import ctypes, os, resource, sys
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
prctl(PR_SET_MDWE, 1, 0, 0, 0)  # Linux has it from 6.3 on
limit = min(int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])
"""


def asked(port: int, path: str) -> tuple[int, str]:
    """Return status and body of an answer; 0 while nobody listens."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except ConnectionError:
        return 0, ""
    finally:
        connection.close()


@pytest.fixture
def port() -> Iterator[int]:
    """One to listen on."""
    lease = ports.lease(1)
    yield lease.ports[0]
    lease.release()


class Service:
    """The unit's process, where the unit's paths are below a directory of the test."""

    def __init__(self, directory: Path, port: int) -> None:
        self.manifests = directory / "etc"
        self.status = directory / "run" / "status"
        self.output = directory / "journal"
        self.port = port
        settings = recipes.service()
        self._command = recipes.replaced(
            shlex.split(settings["ExecStart"][0]),
            {
                "/opt/springline/bin": str(SCRIPTS),
                "/etc/springline": str(self.manifests),
                "/run/springline/status": str(self.status),
                "127.0.0.1:8080": f"{LOOPBACK}:{port}",
            },
        )
        [self._files] = settings["LimitNOFILE"]
        self.status.parent.mkdir(parents=True)
        self.manifests.mkdir()

    def start(self) -> None:
        program = [sys.executable, "-c", CONFINED, self._files, *self._command]
        self.process = processes.spawn(program, env=environment(), output=self.output)

    def shown(self) -> dict[str, Any]:
        """Return the status of the connection, empty before the first one."""
        path = self.status / "BrokerConnection.default.orders.yaml"
        if not path.exists():
            return {}
        status: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["status"]
        return status


@pytest.fixture
async def service(tmp_path: Path, port: int) -> AsyncIterator[Service]:
    """The service, not started yet; nothing that it has printed is a secret."""
    service = Service(tmp_path, port)
    yield service
    if service.process.poll() is None:
        service.process.kill()
        service.process.wait()
    searched(service.output.read_text(encoding="utf-8"), "pl4nted-s3cret")


async def test_the_unit_of_systemd_holds_a_connection_and_ends_in_order(
    broker: RabbitMQNode, tenant: Tenant, service: Service
) -> None:
    """Its command line as it stands, within what a process can take on of its sandbox."""
    declared = [
        a_broker(broker.amqp_port),
        a_secret(tenant.username, tenant.secret),
        a_connection("orders", virtualHost=tenant.vhost),
    ]
    text = yaml.safe_dump_all(declared)
    (service.manifests / "orders.yaml").write_text(text, encoding="utf-8")
    service.start()
    await eventually(lambda: asked(service.port, "/readyz")[0] == 200, what="it is ready")
    await eventually(lambda: service.shown().get("state") == "Connected", what="it is connected")
    ready = 'springline_session_ready{namespace="default",name="orders"} 1'
    await eventually(lambda: ready in asked(service.port, "/metrics")[1], what="metrics say so")
    began = len(broker.log_text())
    service.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(service.process.wait, PATIENCE) == 0
    assert service.shown()["state"] == "Closed"
    # Goodbye was said: RabbitMQ warns of what just goes away.
    bye = "closing AMQP connection"
    await eventually(lambda: bye in broker.log_text()[began:], what="the broker is told")
    assert "client unexpectedly closed" not in broker.log_text()[began:]
