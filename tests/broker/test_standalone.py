"""`springline run` and `springline check` as a user has them: files in, status files out."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import ports, springline_process
from support.identities import Tenant
from support.listening import Port
from support.rabbitmq import Connection, RabbitMQNode
from support.running import a_broker, a_connection, a_secret
from support.springline_process import Springline
from support.waiting import eventually

pytestmark = pytest.mark.broker

NAME = "springline/default/orders"
WRONG = "wr0ng-s3cret"


class Scene:
    """A process with one connection declared, and the broker's view of it."""

    def __init__(self, node: RabbitMQNode, tenant: Tenant, process: Springline) -> None:
        self.node = node
        self.tenant = tenant
        self.process = process
        self._log_start = len(node.log_text())

    def declare(self, *, password: str | None = None, **spec: Any) -> None:
        """Write the usual three files; `spec` is the connection's."""
        self.process.write("broker.yaml", a_broker(self.node.amqp_port))
        self.put_secret(password or self.tenant.secret)
        self.put_connection(**spec)

    def put_secret(self, password: str) -> None:
        self.process.write("secret.yaml", a_secret(self.tenant.username, password))

    def put_connection(self, **spec: Any) -> None:
        document = a_connection("orders", **{"virtualHost": self.tenant.vhost, **spec})
        self.process.write("orders.yaml", document)

    async def ready(self, **spec: Any) -> str:
        """Declare it, wait until it is Ready, and return the broker's process for it."""
        self.declare(**spec)
        await self.process.until("Ready", "True")
        return self.connection.pid

    @property
    def connections(self) -> list[Connection]:
        """Those of this tenant."""
        return [each for each in self.node.connections() if each.user == self.tenant.username]

    @property
    def connection(self) -> Connection:
        [found] = self.connections
        return found

    async def until_gone(self) -> None:
        await eventually(lambda: not self.connections, what="the broker has no connection")

    @property
    def log(self) -> list[str]:
        """What the broker has logged of this tenant's connections since the test began."""
        lines = self.node.log_text()[self._log_start :].splitlines()
        # The first process that a line names is the connection's own, in RabbitMQ 3.10 as in 4.0.
        mine = re.compile(rf"^[^<]*(<[0-9.]+>) .* connection .*user:? '{self.tenant.username}'")
        pids = {match[1] for line in lines if (match := mine.search(line))}
        return [line for line in lines if any(f" {pid} " in line for pid in pids)]

    async def until_closed_in_order(self, *, count: int = 1) -> None:
        """Wait until so many connections have said goodbye; none may end in another way."""
        await eventually(
            lambda: sum(" closing AMQP connection " in line for line in self.log) >= count,
            what=f"the broker's log has the end of {count} connections",
        )
        assert all("[info]" in line for line in self.log), self.log
        assert not any("unexpectedly" in line or "abruptly" in line for line in self.log)
        assert sum(" closing AMQP connection " in line for line in self.log) == count


@pytest.fixture
async def process(tmp_path: Path, tenant: Tenant) -> AsyncIterator[Springline]:
    async with springline_process.running(tmp_path, tenant.secret, WRONG) as process:
        yield process


@pytest.fixture
def scene(broker: RabbitMQNode, tenant: Tenant, process: Springline) -> Scene:
    """A process and the broker that stays."""
    return Scene(broker, tenant, process)


@pytest.fixture
def own_tenant(disposable_broker: RabbitMQNode) -> Iterator[Tenant]:
    """A tenant on the broker that may be stopped."""
    tenant = Tenant(vhost="orders", username="ann", secret="pl4nted-s3cret")
    disposable_broker.add_vhost(tenant.vhost)
    disposable_broker.add_user(tenant.username, tenant.secret)
    disposable_broker.set_permissions(tenant.username, tenant.vhost)
    yield tenant
    disposable_broker.resume()
    disposable_broker.start()
    disposable_broker.delete_user(tenant.username)
    disposable_broker.delete_vhost(tenant.vhost)


@pytest.fixture
def fragile(disposable_broker: RabbitMQNode, own_tenant: Tenant, tmp_path: Path) -> Iterator[Scene]:
    """A process that the test starts, and a broker that it may stop."""
    process = Springline(tmp_path, own_tenant.secret)
    yield Scene(disposable_broker, own_tenant, process)
    process.close()


# --- following the files


async def test_directory_of_manifests_becomes_open_connections(scene: Scene) -> None:
    await scene.ready(clientProperties={"team": "orders"})
    assert scene.connection.name == NAME
    assert scene.connection.vhost == scene.tenant.vhost
    assert scene.connection.client_properties["team"] == "orders"
    status = scene.process.status()
    assert status["state"] == "Connected"
    assert status["credentials"]["username"] == scene.tenant.username
    assert status["server"]["product"] == "RabbitMQ"
    await scene.process.until("Blocked", "False", "NotBlocked")
    await eventually(
        lambda: scene.process.status("rabbit", "Broker").get("connections"),
        what="the broker has a status",
    )
    assert scene.process.status("rabbit", "Broker")["connections"] == {
        "declared": 1,
        "ready": 1,
        "blocked": 0,
    }
    assert scene.process.files == {
        "Broker.default.rabbit.yaml",
        "BrokerConnection.default.orders.yaml",
    }


async def test_wrong_password_is_rejected_until_the_secret_is_corrected(scene: Scene) -> None:
    scene.declare(password=WRONG)
    status = await scene.process.until_state("Rejected")
    assert scene.process.condition("Ready") == ("False", "AccessRefused")
    assert scene.process.condition("CredentialsValid") == ("False", "Rejected")
    [ready] = [each for each in status["conditions"] if each["type"] == "Ready"]
    assert "ACCESS_REFUSED" in ready["message"]
    scene.put_secret(scene.tenant.secret)
    await scene.process.until("Ready", "True")


async def test_missing_secret_is_named_until_it_is_created(scene: Scene) -> None:
    scene.process.write("broker.yaml", a_broker(scene.node.amqp_port))
    scene.put_connection()
    await scene.process.until("Ready", "False", "SecretNotFound")
    assert scene.process.condition("Connected") == ("False", "NoCredentials")
    assert scene.process.condition("CredentialsValid") == ("False", "SecretNotFound")
    assert scene.connections == []
    scene.put_secret(scene.tenant.secret)
    await scene.process.until("Ready", "True")


async def test_missing_broker_is_named_until_it_is_created(scene: Scene) -> None:
    scene.put_secret(scene.tenant.secret)
    scene.put_connection()
    await scene.process.until("Ready", "False", "BrokerNotFound")
    scene.process.write("broker.yaml", a_broker(scene.node.amqp_port))
    await scene.process.until("Ready", "True")


async def test_edited_virtual_host_moves_the_connection(scene: Scene) -> None:
    other = f"{scene.tenant.vhost}-new"
    scene.node.add_vhost(other)
    scene.node.set_permissions(scene.tenant.username, other)
    try:
        await scene.ready()
        scene.put_connection(virtualHost=other)
        await eventually(
            lambda: [each.vhost for each in scene.connections] == [other], what="it has moved"
        )
        await scene.process.eventually(
            lambda: scene.process.status().get("observedGeneration") == 2, "the status is new"
        )
        await scene.process.until("Ready", "True")
        await scene.until_closed_in_order()
    finally:
        scene.node.delete_vhost(other)


async def test_virtual_host_that_is_not_there_is_named(scene: Scene) -> None:
    scene.declare(virtualHost="nowhere")
    await scene.process.until("Ready", "False", "VirtualHostNotFound")
    scene.put_connection()
    await scene.process.until("Ready", "True")


async def test_deleted_file_closes_its_connection_and_removes_its_status(scene: Scene) -> None:
    await scene.ready()
    scene.process.remove("orders.yaml")
    await scene.until_gone()
    await scene.process.eventually(
        lambda: scene.process.files == {"Broker.default.rabbit.yaml"}, "its status is gone"
    )
    await scene.until_closed_in_order()


async def test_all_files_deleted_at_once_end_without_a_complaint(scene: Scene) -> None:
    """A session that is to end does not first report that its Secret is missing."""
    await scene.ready()
    for name in ("secret.yaml", "broker.yaml", "orders.yaml"):
        scene.process.remove(name)
    await scene.until_gone()
    await scene.process.eventually(lambda: not scene.process.files, "no status is left")
    await scene.until_closed_in_order()
    assert "not taken up" not in scene.process.output


async def test_renamed_file_keeps_its_connection(scene: Scene) -> None:
    pid = await scene.ready()
    scene.process.rename("orders.yaml", "another.yaml")
    # Something that comes of the same or a later set of files.
    scene.process.write("late.yaml", a_connection("late", virtualHost=scene.tenant.vhost))
    await scene.process.until("Ready", "True", name="late")
    assert pid in {each.pid for each in scene.connections}
    assert scene.process.status()["observedGeneration"] == 1


async def test_half_written_file_keeps_its_connections_and_shows_the_mistake(
    scene: Scene,
) -> None:
    pid = await scene.ready()
    scene.process.write_text("orders.yaml", "apiVersion: springline.dev/v1alpha1\nkind: [Brok")
    await scene.process.until_said("orders.yaml:2:12: is not valid YAML")
    scene.process.write_text("secret.yaml", f'password: "{WRONG}')
    await scene.process.until_said("secret.yaml:1:")
    assert scene.connection.pid == pid
    scene.put_connection(clientProperties={"team": "new"})
    await eventually(
        lambda: [each.client_properties.get("team") for each in scene.connections] == ["new"],
        what="the mended file counts",
    )


async def test_unusable_connection_has_a_status_that_says_why(scene: Scene) -> None:
    scene.declare(hartbeat="30s")
    status = await scene.process.until("Ready", "False", "InvalidSpec")
    [ready] = [each for each in status["conditions"] if each["type"] == "Ready"]
    assert 'spec.hartbeat: unknown field; did you mean "heartbeat"?' in ready["message"]
    scene.put_connection()
    await scene.process.until("Ready", "True")


async def test_suspended_connection_closes_and_comes_back(scene: Scene) -> None:
    await scene.ready()
    scene.put_connection(suspend=True)
    await scene.process.until_state("Suspended")
    await scene.until_gone()
    assert scene.process.condition("Connected") == ("False", "Suspended")
    scene.put_connection(suspend=False)
    await scene.process.until("Ready", "True")
    await scene.until_closed_in_order()


async def test_leftover_status_of_an_earlier_run_is_removed(
    fragile: Scene,
) -> None:
    fragile.process.status_dir.mkdir()
    (fragile.process.status_dir / "BrokerConnection.default.gone.yaml").touch()
    fragile.declare()
    fragile.process.start()
    await fragile.process.until("Ready", "True")
    assert "BrokerConnection.default.gone.yaml" not in fragile.process.files


# --- what the broker does


async def test_broker_that_restarts_is_waited_for(fragile: Scene) -> None:
    fragile.process.start()
    await fragile.ready()
    fragile.node.stop()
    status = await fragile.process.until_state("Waiting")
    assert status["lastClose"]["reason"] == "ServerShutdown"
    assert fragile.process.condition("Ready")[0] == "False"
    fragile.node.start()
    status = await fragile.process.until_state("Connected")
    await fragile.process.until("Ready", "True")
    assert fragile.connection.name == NAME


async def test_alarm_of_the_broker_blocks_and_passes(fragile: Scene) -> None:
    fragile.process.start()
    await fragile.ready()
    await fragile.process.until("Blocked", "False", "NotBlocked")
    fragile.node.set_alarm("memory")
    try:
        status = await fragile.process.until("Blocked", "True", "LowOnMemory")
        assert status["state"] == "Connected"
        assert status["blocked"]["since"]
        assert fragile.process.condition("Ready") == ("True", "Connected")
    finally:
        fragile.node.clear_alarm("memory")
    status = await fragile.process.until("Blocked", "False", "NotBlocked")
    assert "blocked" not in status


# --- stopping


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGINT, id="SIGINT"),
        pytest.param(signal.SIGHUP, id="the terminal is closed"),
    ],
)
async def test_signal_closes_every_connection_in_order(
    scene: Scene, number: signal.Signals
) -> None:
    await scene.ready()
    for position in range(5):
        name = f"more-{position}"
        scene.process.write(f"{name}.yaml", a_connection(name, virtualHost=scene.tenant.vhost))
    for position in range(5):
        await scene.process.until("Ready", "True", name=f"more-{position}")
    scene.process.signal(number)
    assert await scene.process.ended() == 0
    await scene.until_gone()
    await scene.until_closed_in_order(count=6)
    assert "closing 6 session(s); a second signal drops them at once" in scene.process.output
    assert "Traceback" not in scene.process.output
    assert scene.process.status()["state"] == "Closed"
    assert scene.process.condition("Ready") == ("False", "ClientClosed")


async def test_process_that_is_killed_says_goodbye_to_nobody(scene: Scene) -> None:
    """Which shows that the tests for the opposite would fail."""
    await scene.ready()
    scene.process.signal(signal.SIGKILL)
    await scene.until_gone()
    await eventually(lambda: any("unexpectedly" in line for line in scene.log), what="a complaint")


async def test_signal_before_anything_is_open_ends_it(fragile: Scene) -> None:
    fragile.node.pause()  # its port still accepts, and nothing answers
    fragile.process.start()
    fragile.declare()
    await fragile.process.until_state("Connecting")
    fragile.process.signal(signal.SIGTERM)
    assert await fragile.process.ended() == 0
    assert "Traceback" not in fragile.process.output


async def test_second_signal_ends_it_although_the_broker_hangs(fragile: Scene) -> None:
    fragile.process.start("--shutdown-timeout", "600")
    await fragile.ready(heartbeat="60s")
    fragile.node.pause()
    fragile.process.signal(signal.SIGTERM)
    await fragile.process.until_said("a second signal drops them at once")
    fragile.process.signal(signal.SIGTERM)
    assert await fragile.process.ended() == 0
    assert "dropping the sessions that have not closed yet" in fragile.process.output
    assert "Traceback" not in fragile.process.output


async def test_shutdown_timeout_ends_it_although_the_broker_hangs(fragile: Scene) -> None:
    fragile.process.start("--shutdown-timeout", "0.2")
    await fragile.ready(heartbeat="60s")
    fragile.node.pause()
    fragile.process.signal(signal.SIGTERM)
    assert await fragile.process.ended() == 0
    assert "dropping the sessions that have not closed yet" in fragile.process.output
    assert "Traceback" not in fragile.process.output


async def test_process_that_is_being_stopped_is_alive_and_not_ready(fragile: Scene) -> None:
    lease = ports.lease(1)
    port = Port(lease.ports[0])
    fragile.process.start("--shutdown-timeout", "600", "--listen", port.address)
    await fragile.ready(heartbeat="60s")
    assert await port.ask("/readyz") == (200, "ok")
    fragile.node.pause()
    fragile.process.signal(signal.SIGTERM)
    await fragile.process.until_said("a second signal drops them at once")
    code, text = await port.ask("/readyz?verbose")
    assert (code, "Springline is being stopped" in text) == (503, True)
    assert await port.ask("/healthz") == (200, "ok")
    fragile.process.signal(signal.SIGTERM)
    assert await fragile.process.ended() == 0
    lease.release()


# --- secrets

DEFECTIVE = """
import sys
from springline import cli
from springline.drivers.amqp091.driver import Amqp091Driver

async def open(self, request):
    secret = request.credential.secret.reveal()
    raise RuntimeError(f"a defect with {request!r}")

Amqp091Driver.open = open
sys.argv[0] = "springline"
cli.main(["run", *sys.argv[1:]])
"""


async def test_traceback_of_a_defect_shows_no_secret(fragile: Scene) -> None:
    """The process is searched for secrets when it is closed, as in every test."""
    fragile.process.start(program=[sys.executable, "-c", DEFECTIVE])
    fragile.declare()
    await fragile.process.until_said("RuntimeError: a defect with OpenRequest(")
    await fragile.process.until_said("Traceback")
    fragile.process.signal(signal.SIGTERM)
    await fragile.process.ended()


async def test_steps_show_how_an_attempt_proceeds_and_no_secret(fragile: Scene) -> None:
    fragile.process.start("--steps")
    await fragile.ready()
    await fragile.process.until_said("ObtainedAddress       127.0.0.1")
    output = fragile.process.output
    assert (
        output.index("  Attempting  ")
        < output.index("ObtainedAddress")
        < output.index("  Connected  ")
    )


# --- check


def check(directory: Path, tenant: Tenant, *options: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        springline_process.command("check", "-f", directory, "--log-level", "debug", *options),
        env=springline_process.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    springline_process.searched(done.stdout + done.stderr, tenant.secret, WRONG)
    return done


@pytest.fixture
def manifests(scene: Scene) -> Path:
    """The usual files; the process that runs on them is not needed here."""
    scene.process.signal(signal.SIGKILL)
    scene.declare()
    return scene.process.manifests


async def test_check_of_a_good_connection_succeeds_and_closes_it(
    scene: Scene, manifests: Path
) -> None:
    done = check(manifests, scene.tenant)
    assert done.returncode == 0
    header, row = done.stdout.splitlines()
    cells = dict(zip(header.split(), row.split(), strict=False))
    assert (cells["NAME"], cells["READY"], cells["BLOCKED"]) == ("orders", "True", "False")
    assert (cells["USER"], cells["VHOST"]) == (scene.tenant.username, scene.tenant.vhost)
    assert scene.connections == []
    await scene.until_closed_in_order()


async def test_check_prints_what_status_would_be(scene: Scene, manifests: Path) -> None:
    done = check(manifests, scene.tenant, "-o", "json")
    assert done.returncode == 0
    [item] = json.loads(done.stdout)["items"]
    assert item["status"]["state"] == "Connected"
    assert item["status"]["negotiated"]["mechanism"] == "PLAIN"


async def test_check_of_a_rejected_connection_says_why(scene: Scene, manifests: Path) -> None:
    scene.put_secret(WRONG)
    scene.process.write("good.yaml", a_secret(scene.tenant.username, scene.tenant.secret, name="g"))
    scene.process.write(
        "other.yaml",
        a_connection(
            "other",
            virtualHost=scene.tenant.vhost,
            credentials={"secretRef": {"name": "g"}},
        ),
    )
    done = check(manifests, scene.tenant)
    assert done.returncode == 1
    rows = {line.split()[1]: line.split()[2] for line in done.stdout.splitlines()[1:]}
    assert rows == {"orders": "False", "other": "True"}
    [explanation] = [line for line in done.stderr.splitlines() if line.startswith("default/")]
    assert explanation.startswith("default/orders: ")
    assert "ACCESS_REFUSED" in explanation


async def test_check_of_an_unusable_file_connects_to_nothing(scene: Scene, manifests: Path) -> None:
    scene.process.write_text("broken.yaml", f"password: *{WRONG}\n")
    done = check(manifests, scene.tenant)
    assert (done.returncode, done.stdout) == (2, "")
    assert "broken.yaml:1:11: error: is not valid YAML" in done.stderr
    assert scene.log == []
