"""A private RabbitMQ node: its own directory, ports, cookie and epmd, on loopback only.

Used by test fixtures, demos and benchmarks. It starts, stops, freezes and kills the node; what an
administrator does to a running broker is inherited from `administration`. Calls block: use
`asyncio.to_thread` from async code. It does not install RabbitMQ (`install-rabbitmq.sh` does),
makes no certificates, and speaks no AMQP.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import ports, processes
from support.administration import Administration, Connection
from support.behaviours import Behaviour
from support.erlang import ErlangError, ErlangNode
from support.ports import LOOPBACK
from support.started import Started

__all__ = [
    "MISSING",
    "Connection",
    "ErlangError",
    "RabbitMQFailed",
    "RabbitMQMissing",
    "RabbitMQNode",
    "TLSFiles",
    "find_server",
]

MISSING = "SPRINGLINE_RABBITMQ_MISSING"
"""Set to why there is no RabbitMQ to run on, so that no other one is taken instead."""

_INSTALLED = Path("/usr/lib/rabbitmq/lib")
_POLL_SECONDS = 0.05
_SHOWN_LINES = 40


class RabbitMQMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """There is no RabbitMQ server to start."""

    def __str__(self) -> str:
        return (
            "".join(self.args)
            or os.environ.get(MISSING)
            or (
                "RabbitMQ is not installed: run tests/support/install-rabbitmq.sh as root, install "
                "rabbitmq-server 3.10 or later yourself, or point SPRINGLINE_RABBITMQ_HOME at its "
                "directory (the one that holds sbin/rabbitmq-server)."
            )
        )


class RabbitMQFailed(RuntimeError):  # noqa: N818 - as above
    """A node did not start; the text holds what it wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSFiles:
    """PEM files of a TLS listener."""

    # Whom to trust for client certificates.
    ca: Path
    certificate: Path
    key: Path


def find_server(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Find the newest installed `rabbitmq-server` script, or the one in SPRINGLINE_RABBITMQ_HOME.

    Not the one in PATH: Debian's is a wrapper that changes the user and caps file descriptors at
    1024. None where `MISSING` is set.
    """
    if environment.get(MISSING):
        return None
    home = environment.get("SPRINGLINE_RABBITMQ_HOME")
    homes = [Path(home)] if home else sorted(_INSTALLED.glob("*"), key=_version, reverse=True)
    scripts = (home / "sbin" / "rabbitmq-server" for home in homes)
    return next((script for script in scripts if script.is_file()), None)


def _version(home: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", home.name)]


class RabbitMQNode(Administration, Started):
    """One node. As a context manager it is started, and closed at the end.

    `directory` holds everything it writes and may be there already. `extra_config` are keys and
    values of rabbitmq.conf, `advanced_config` is the text of an advanced.config; both may be
    changed and count from the next start. With `tls` it listens on `amqps_port` too, and asks for a
    client certificate without insisting on one. With `management` it has the management plugin,
    whose HTTP API is on `http_port`, and on `https_port` with `tls`. `on` are the variables of
    another RabbitMQ than this process runs its tests on: those of `brokers.Broker.environment`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        plugins: Sequence[str] = (),
        extra_config: Mapping[str, str] | None = None,
        advanced_config: str | None = None,
        tls: TLSFiles | None = None,
        management: bool = False,
        on: Mapping[str, str] | None = None,
    ) -> None:
        """Choose ports and prepare the directory; nothing runs yet. Raises `RabbitMQMissing`."""
        around = {**os.environ, **(on or {})}
        server = find_server(around)
        if server is None:
            raise RabbitMQMissing(around.get(MISSING, ""))
        self.directory = directory.absolute()
        self.management = management
        self.plugins = (*plugins, *(["rabbitmq_management"] if management else []))
        self.extra_config = dict(extra_config or {})
        self.advanced_config = advanced_config
        self.tls = tls
        self._server = server
        self._path = around.get("PATH", os.defpath)
        self._lease = ports.lease(7 if management else 5)
        self.amqp_port, self.amqps_port, self._dist_port, self._epmd_port, self._tool_port = (
            self._lease.ports[:5]
        )
        self.http_port, self.https_port = self._lease.ports[5:] or (0, 0)
        self.name = f"springline-{self.amqp_port}@localhost"
        self._broker: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        # Where the log of the last start begins.
        self._log_start = 0
        self._make_directories()
        self._env = self._environment()
        self._erlang = ErlangNode(
            name=self.name, env=self._env, rabbitmqctl=server.with_name("rabbitmqctl")
        )

    # Life

    @property
    def pid(self) -> int | None:
        """The Erlang VM's process id, while it runs."""
        broker = self._broker
        return broker.pid if broker is not None and broker.poll() is None else None

    @property
    def running(self) -> bool:
        """Whether the Erlang VM's process exists, frozen or not."""
        return self.pid is not None

    def start(self, timeout: float = 90.0) -> None:
        """Start, and return once clients can connect. Idempotent.

        Ports and data are those of the last time. Raises `RabbitMQFailed` where it ends, or is not
        there in `timeout` seconds; nothing is left running then.
        """
        if self.running:
            return
        self._stop_epmd()  # still there where the broker ended by itself
        self._write_configuration()
        self._log_start = len(self.log_text())
        (self.directory / "console.log").unlink(missing_ok=True)
        deadline = time.monotonic() + timeout
        try:
            self._start_epmd(deadline)
            # Without this variable RabbitMQ's script forks, and stays to translate signals; with it
            # the script becomes the server.
            self._broker = processes.spawn(
                [self._server],
                env=self._env | {"RUNNING_UNDER_SYSTEMD": "true"},
                output=self.directory / "console.log",
            )
            self._await_clients(deadline)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 30.0) -> None:
        """Shut down in order, telling clients CONNECTION_FORCED. Idempotent.

        What has not ended after `timeout` seconds is killed.
        """
        if self._broker is not None:
            self.resume()
            processes.terminate(self._broker, timeout=timeout)
        self._stop_epmd()

    def kill(self) -> None:
        """End the node at once, as a crash does; no client is told. Idempotent."""
        if self._broker is not None:
            self._broker.kill()
            self._broker.wait()
        self._stop_epmd()

    def restart(self, timeout: float = 90.0) -> None:
        """Stop and start."""
        self.stop()
        self.start(timeout)

    def pause(self) -> None:
        """Freeze the node: nothing answers, though the kernel still accepts connections."""
        if self._broker is not None:
            processes.freeze(self._broker)

    def resume(self) -> None:
        """Let a frozen node go on. Idempotent."""
        if self._broker is not None:
            self._broker.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop, and give the ports back; the node cannot be started again. Idempotent."""
        self.stop()
        self._lease.release()

    # Asking and reading

    def eval(self, expression: str) -> str:
        """Evaluate an Erlang expression in the node and return its value as Erlang prints it.

        Raises `ErlangError` with Erlang's text.
        """
        return self._erlang.eval(expression)

    def eval_json(self, expression: str) -> object:
        """Evaluate an Erlang expression in the node and return its value by way of JSON."""
        return self._erlang.eval_json(expression)

    def ctl(self, *words: str) -> str:
        """Run `rabbitmqctl` as an administrator does, and return what it shows.

        Slower than the methods for the same, and what documentation tells. Raises `RabbitMQFailed`.
        """
        done = subprocess.run(
            [self._server.with_name("rabbitmqctl"), *words],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise RabbitMQFailed(f"rabbitmqctl {words[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    @property
    def version(self) -> tuple[int, ...]:
        """Which RabbitMQ it is."""
        text = self.eval("rabbit_misc:version()")
        return tuple(int(number) for number in re.findall(r"\d+", text)[:3])

    def has(self, behaviour: Behaviour) -> bool:
        """Whether it does what only some versions do."""
        return self.version >= behaviour.since

    @property
    def ends_expired(self) -> bool:
        """Whether it closes a connection whose token has expired."""
        return self.has(Behaviour.ENDS_EXPIRED)

    @property
    def least_frame_max(self) -> int:
        """The smallest frame-max that it takes."""
        return 8192 if self.has(Behaviour.LARGER_FIRST_FRAMES) else 4096

    def log_text(self) -> str:
        """Return the node's log, all starts together."""
        return _read(self.directory / "log" / "rabbit.log")

    def describe_failure(self) -> str:
        """Say in what state the node is, with what it wrote since its last start.

        That begins at the first error, or is the end where there is none: Erlang's report of a
        failure is so long that its end seldom tells the cause.
        """
        code = None if self._broker is None else self._broker.poll()
        state = "is running" if self.running else "is not running"
        if code is not None:
            state = f"ended with code {code}"
        # The log begins once the configuration has been read; until then the console has it all.
        written = (self._console_text() + self.log_text()[self._log_start :]).splitlines()
        tail = max(0, len(written) - _SHOWN_LINES)
        first = next((number for number, line in enumerate(written) if "[error]" in line), tail)
        shown = written[first : first + _SHOWN_LINES]
        return "\n".join([f"RabbitMQ node {self.name} {state}; it wrote:", *shown])

    def _console_text(self) -> str:
        return _read(self.directory / "console.log")

    # Making it

    def _make_directories(self) -> None:
        for name in ("home", "mnesia", "log", "schema", "conf.d"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        cookie = self.directory / "home" / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(os.urandom(16).hex(), encoding="ascii")
            # Erlang refuses a cookie that others can read.
            cookie.chmod(0o400)

    def _environment(self) -> dict[str, str]:
        """Return the whole environment: no RABBITMQ_… or ERL_… variable around us counts."""
        at = self.directory
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "PATH": self._path,
            "LANG": "C.UTF-8",
            "HOME": str(at / "home"),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_MNESIA_BASE": str(at / "mnesia"),
            "RABBITMQ_LOG_BASE": str(at / "log"),
            "RABBITMQ_LOGS": str(at / "log" / "rabbit.log"),
            "RABBITMQ_SCHEMA_DIR": str(at / "schema"),
            "RABBITMQ_CONF_ENV_FILE": str(at / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(at / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(at / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(at / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(at / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(at / "rabbit.pid"),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CTL_DIST_PORT_MIN": str(self._tool_port),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(self._tool_port),
            "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
            # Nodes share the cores with the tests: few schedulers, asleep when there is no work.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"+S 2:2 +sbwt none +pc unicode -start_epmd false {loopback}"
            ),
            # For the short-lived second node that RabbitMQ starts to make sure of epmd.
            "ERL_AFLAGS": (
                f"{loopback} -kernel inet_dist_listen_min {self._tool_port} "
                f"-kernel inet_dist_listen_max {self._tool_port}"
            ),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self._epmd_port),
            # A killed or failing node shall end, not write a dump first.
            "ERL_CRASH_DUMP_SECONDS": "0",
        }

    def _write_configuration(self) -> None:
        lines = {"listeners.tcp.1": f"{LOOPBACK}:{self.amqp_port}", "log.file.level": "info"}
        if self.tls is not None:
            lines |= {
                "listeners.ssl.1": f"{LOOPBACK}:{self.amqps_port}",
                "ssl_options.cacertfile": str(self.tls.ca),
                "ssl_options.certfile": str(self.tls.certificate),
                "ssl_options.keyfile": str(self.tls.key),
                "ssl_options.verify": "verify_peer",
                "ssl_options.fail_if_no_peer_cert": "false",
            }
        if self.management:
            lines |= self._management_configuration()
        lines |= self.extra_config
        files = {
            "rabbitmq.conf": "".join(f"{key} = {value}\n" for key, value in lines.items()),
            "advanced.config": self.advanced_config or "[].\n",
            "enabled_plugins": f"[{','.join(self.plugins)}].\n",
            "rabbitmq-env.conf": "",
        }
        for name, text in files.items():
            (self.directory / name).write_text(text, encoding="utf-8")

    def _management_configuration(self) -> dict[str, str]:
        lines = {"management.tcp.ip": LOOPBACK, "management.tcp.port": str(self.http_port)}
        if self.tls is not None:
            lines |= {
                "management.ssl.ip": LOOPBACK,
                "management.ssl.port": str(self.https_port),
                "management.ssl.cacertfile": str(self.tls.ca),
                "management.ssl.certfile": str(self.tls.certificate),
                "management.ssl.keyfile": str(self.tls.key),
            }
        return lines

    def _start_epmd(self, deadline: float) -> None:
        epmd = shutil.which("epmd", path=self._path)
        if epmd is None:
            raise RabbitMQMissing
        self._epmd = processes.spawn(
            [epmd, "-address", LOOPBACK, "-port", str(self._epmd_port)],
            env=self._env,
            output=self.directory / "epmd.log",
        )
        while not _accepts(self._epmd_port):
            if self._epmd.poll() is not None or time.monotonic() > deadline:
                said = _read(self.directory / "epmd.log")
                raise RabbitMQFailed(f"epmd did not start on port {self._epmd_port}: {said}")
            time.sleep(_POLL_SECONDS)

    def _stop_epmd(self) -> None:
        if self._epmd is not None:
            processes.terminate(self._epmd, timeout=5.0)

    def _await_clients(self, deadline: float) -> None:
        while not self._accepts_clients():
            if not self.running or time.monotonic() > deadline:
                raise RabbitMQFailed(self.describe_failure())
            time.sleep(_POLL_SECONDS)

    def _client_ports(self) -> tuple[int, ...]:
        of_management = (self.http_port, self.https_port)[: 2 if self.tls else 1]
        return (self.amqp_port, *(of_management if self.management else ()))

    def _accepts_clients(self) -> bool:
        if not all(_accepts(port) for port in self._client_ports()):
            return False
        try:
            return self.eval("rabbit:is_running()") == "true"
        except ErlangError:
            return False


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
