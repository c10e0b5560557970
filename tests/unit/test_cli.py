"""The command line: what it takes, what it prints where, and its exit codes."""

import asyncio
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import TextIO

import pytest
import yaml
from click.testing import CliRunner, Result

import springline
from springline import app, checking, cli
from springline.settings import CheckSettings, RunSettings
from support import ports, waiting

PLANTED = "pl4nted-s3cret"
SOURCES = Path(springline.__file__).parents[1]


def invoke(*args: str | Path, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.main, [str(arg) for arg in args], env=env)


def refused(*args: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Return what is said about wrong usage."""
    result = invoke(*args, env=env)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr.rpartition("Error: ")[2].strip()


def a_broker(port: int) -> str:
    return f"""\
apiVersion: springline.dev/v1alpha1
kind: Broker
metadata: {{name: rabbit}}
spec:
  endpoints: [{{host: 127.0.0.1, port: {port}}}]
  sasl: {{allowInsecure: true}}
  connectTimeout: 5s
"""


def a_connection(name: str = "orders", extra: str = "") -> str:
    return f"""\
apiVersion: springline.dev/v1alpha1
kind: BrokerConnection
metadata: {{name: {name}}}
spec:
  brokerRef: {{name: rabbit}}
  credentials: {{secretRef: {{name: login}}}}
{extra}"""


SECRET = f"""\
apiVersion: v1
kind: Secret
metadata: {{name: login}}
stringData: {{username: ann, password: {PLANTED}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "manifests"
    path.mkdir()
    return path


@pytest.fixture
def unreachable(folder: Path) -> Path:
    """Manifests of one connection to a port that nobody listens on."""
    lease = ports.lease(1)
    text = "---\n".join([a_broker(lease.ports[0]), SECRET, a_connection()])
    (folder / "all.yaml").write_text(text)
    lease.release()
    return folder


# --- help


def test_help_lists_the_commands() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    assert "Keep broker client connections" in result.stdout
    for command in ("check", "run"):
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("command", [(), ("run",), ("operator",), ("check",)])
def test_help_has_a_short_option(command: tuple[str, ...]) -> None:
    assert invoke(*command, "-h").stdout == invoke(*command, "--help").stdout


@pytest.mark.parametrize("command", ["run", "check"])
def test_help_explains_every_option(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    for parameter in cli.main.commands[command].params:
        assert any(option in result.stdout for option in parameter.opts)
        assert getattr(parameter, "help", None), parameter.name


def test_version_is_told() -> None:
    result = invoke("--version")
    assert result.stdout == f"springline, version {springline.__version__}\n"


def test_package_can_be_run_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "springline", "--version"],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"springline, version {springline.__version__}\n"
    assert done.stderr == ""


# --- run: what it takes


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[RunSettings]:
    """The settings that `run` would have run with."""
    taken: list[RunSettings] = []

    async def run(settings: RunSettings, _: TextIO) -> None:
        taken.append(settings)

    monkeypatch.setattr(app, "run", run)
    return taken


def test_run_has_defaults_for_all_but_the_directory(
    settings: list[RunSettings], folder: Path
) -> None:
    assert invoke("run", "--manifests", folder).exit_code == 0
    assert settings == [
        RunSettings(
            manifests=folder, status_dir=None, table=False, steps=False, shutdown_seconds=10.0
        )
    ]


@pytest.mark.parametrize("option", ["-f", "--filename", "--manifests"])
def test_directory_of_run_is_named_as_the_files_of_check(
    settings: list[RunSettings], folder: Path, option: str
) -> None:
    """And as it was named before, too."""
    assert invoke("run", option, folder).exit_code == 0
    assert settings[0].manifests == folder


def test_run_takes_every_option(settings: list[RunSettings], folder: Path, tmp_path: Path) -> None:
    status_dir = tmp_path / "a" / "status"
    result = invoke(
        *("run", "--manifests", folder, "--status-dir", status_dir, "--output", "table"),
        *("--steps", "--shutdown-timeout", "2.5", "--log-level", "error"),
        *("--token-dir", tmp_path / "tokens"),
        *("--listen", "127.0.0.1:8080", "--log-format", "json"),
        *("--allow-addresses", "169.254.20.0/24", "--allow-addresses", "fe80::1"),
    )
    assert result.exit_code == 0
    assert settings == [
        RunSettings(
            manifests=folder,
            status_dir=status_dir,
            table=True,
            steps=True,
            shutdown_seconds=2.5,
            token_dir=tmp_path / "tokens",  # which may come later
            listen_host="127.0.0.1",
            listen_port=8080,
            json_lines=True,
            allow_addresses=(ip_network("169.254.20.0/24"), ip_network("fe80::1")),
        )
    ]
    assert status_dir.is_dir()


def test_every_option_of_run_is_a_variable_too(
    settings: list[RunSettings], folder: Path, tmp_path: Path
) -> None:
    result = invoke(
        "run",
        env={
            "SPRINGLINE_RUN_MANIFESTS": str(folder),
            "SPRINGLINE_RUN_STATUS_DIR": str(tmp_path / "status"),
            "SPRINGLINE_RUN_OUTPUT": "table",
            "SPRINGLINE_RUN_STEPS": "true",
            "SPRINGLINE_RUN_SHUTDOWN_TIMEOUT": "3",
            "SPRINGLINE_RUN_LOG_LEVEL": "debug",
            "SPRINGLINE_RUN_TOKEN_DIR": "tokens",
            "SPRINGLINE_RUN_LISTEN": ":9090",
            "SPRINGLINE_RUN_LOG_FORMAT": "json",
            "SPRINGLINE_RUN_ALLOW_ADDRESSES": "169.254.20.0/24 fe80::1",
        },
    )
    assert result.exit_code == 0
    assert settings == [
        RunSettings(
            manifests=folder,
            status_dir=tmp_path / "status",
            table=True,
            steps=True,
            shutdown_seconds=3.0,
            token_dir=Path("tokens"),
            listen_port=9090,
            json_lines=True,
            allow_addresses=(ip_network("169.254.20.0/24"), ip_network("fe80::1")),
        )
    ]


def test_option_wins_over_variable(settings: list[RunSettings], folder: Path) -> None:
    env = {"SPRINGLINE_RUN_SHUTDOWN_TIMEOUT": "3"}
    assert invoke("run", "--manifests", folder, "--shutdown-timeout", "4", env=env).exit_code == 0
    assert settings[0].shutdown_seconds == 4.0


@pytest.mark.parametrize(("output", "table"), [("auto", False), ("lines", False), ("table", True)])
def test_table_is_shown_on_a_terminal_or_on_demand(
    settings: list[RunSettings], folder: Path, output: str, table: bool
) -> None:
    assert invoke("run", "--manifests", folder, "--output", output).exit_code == 0
    assert settings[0].table is table


# --- run: what it refuses


def test_run_needs_a_directory() -> None:
    assert refused("run").startswith("Missing option '-f'")


def test_directory_must_be_there(tmp_path: Path) -> None:
    message = refused("run", "-f", tmp_path / "none")
    assert message.startswith("Invalid value for '-f'")
    assert "does not exist" in message


def test_directory_must_be_one(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.touch()
    assert "is a file" in refused("run", "--manifests", path)


@pytest.mark.parametrize("path", ["{}", "{}/", "{}/../manifests", "{}/../link"])
def test_status_must_not_be_written_where_manifests_are_read(folder: Path, path: str) -> None:
    (folder.parent / "link").symlink_to(folder)
    message = refused("run", "--manifests", folder, "--status-dir", path.format(folder))
    assert message == "--status-dir must not be the directory of the manifests"


def test_status_directory_must_be_creatable(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "status"
    assert refused("run", "--manifests", folder, "--status-dir", path) == (
        f"--status-dir {path} cannot be created: Not a directory"
    )


def test_status_directory_must_not_be_a_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in refused("run", "--manifests", folder, "--status-dir", tmp_path / "file")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--output", "html"),
        ("--log-level", "loud"),
        ("--log-format", "xml"),
        ("--listen", "8080"),
        ("--listen", "127.0.0.1:none"),
        ("--shutdown-timeout", "0"),
        ("--shutdown-timeout", "601"),
        ("--shutdown-timeout", "soon"),
    ],
)
def test_value_that_an_option_does_not_have_is_refused(
    folder: Path, option: str, value: str
) -> None:
    told = refused("run", "-f", folder, option, value)
    assert re.match(f"Invalid value for '?{option}", told)


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("10.0.0.1/8", 'did you mean "10.0.0.0/8"?'),
        ("rabbit.example", 'write it like "10.0.0.0/8" or "::1"'),
        ("", 'write it like "10.0.0.0/8" or "::1"'),
    ],
)
def test_what_is_no_range_of_addresses_is_refused(folder: Path, value: str, advice: str) -> None:
    assert refused("run", "--manifests", folder, "--allow-addresses", value) == (
        f"Invalid value for '--allow-addresses': \"{value}\" is no range of addresses; {advice}"
    )


def test_unknown_option_and_command_are_refused() -> None:
    assert refused("run", "--manifest", "x").startswith("No such option '--manifest'")
    assert refused("walk") == "No such command 'walk'."


# --- check


def test_check_needs_a_file() -> None:
    assert refused("check").startswith("Missing option '-f'")


def test_checked_file_must_be_there(tmp_path: Path) -> None:
    assert "does not exist" in refused("check", "-f", tmp_path / "none.yaml")


def test_checked_files_may_be_given_as_a_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken: list[CheckSettings] = []

    async def check(settings: CheckSettings) -> checking.Checked:
        taken.append(settings)
        return checking.Checked(shown=(), documents=(), ignored=(), at=datetime.now(UTC))

    monkeypatch.setattr(checking, "check", check)
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.touch()
    env = {"SPRINGLINE_CHECK_FILES": os.pathsep.join(map(str, paths))}
    assert invoke("check", env=env).exit_code == 0
    assert taken == [CheckSettings(files=tuple(paths))]


def test_every_mistake_of_every_file_is_listed(folder: Path) -> None:
    """The exit code is 2, and standard output stays empty."""
    (folder / "a.yaml").write_text(a_connection(extra="  hartbeat: 3\n  nope: 1\n"))
    (folder / "b.yaml").write_text(f"password: *{PLANTED}\n")
    other = folder.parent / "c.yaml"
    other.write_text("kind: Deployment\n")
    result = invoke("check", "-f", folder, "-f", other)
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert [line.partition(": error: ")[0] for line in lines] == [
        f"{folder}/a.yaml:7:3",
        f"{folder}/a.yaml:8:3",
        f"{folder}/b.yaml:1:11",
        f"{other}:1:1",
    ]
    assert PLANTED not in result.output


def test_file_without_a_connection_cannot_be_checked(folder: Path) -> None:
    (folder / "a.yaml").write_text(SECRET)
    result = invoke("check", "-f", folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: there is no BrokerConnection to check\n"


def test_directory_that_cannot_be_read_is_a_mistake(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: Path) -> None:
        raise PermissionError(13, "Permission denied")  # permissions do not count for root

    monkeypatch.setattr(Path, "iterdir", denied)
    result = invoke("check", "-f", folder)
    assert result.exit_code == 2
    assert result.stderr == f"{folder}: error: cannot be read: Permission denied\n"


def test_connection_that_is_not_ready_is_exit_code_1(unreachable: Path) -> None:
    """The table goes to standard output, the explanation to standard error."""
    result = invoke("check", "-f", unreachable)
    assert result.exit_code == 1
    header, row = result.stdout.splitlines()
    assert header.split()[:3] == ["NAMESPACE", "NAME", "READY"]
    assert row.split()[:3] == ["default", "orders", "False"]
    assert row.endswith("ConnectionRefused")
    assert result.stderr.startswith("default/orders: ")
    assert PLANTED not in result.output


def test_connection_without_its_broker_is_exit_code_1(folder: Path) -> None:
    (folder / "a.yaml").write_text(a_connection())
    result = invoke("check", "-f", folder / "a.yaml")
    assert result.exit_code == 1
    assert "there is no Broker named" in result.stderr


def test_documents_may_be_spread_over_files_in_any_order(unreachable: Path) -> None:
    text = (unreachable / "all.yaml").read_text()
    paths = []
    for number, document in enumerate(text.split("---\n")):
        paths.append(unreachable.parent / f"{number}.yaml")
        paths[-1].write_text(document)
    arguments = [part for path in reversed(paths) for part in ("-f", path)]
    result = invoke("check", *arguments)
    assert result.exit_code == 1
    assert "ConnectionRefused" in result.stdout


DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: orders}\n"


def test_documents_that_others_read_are_ignored(unreachable: Path) -> None:
    """The directory that one applies to a cluster can be checked as it is."""
    (unreachable / "deployment.yaml").write_text(DEPLOYMENT)
    result = invoke("check", "-f", unreachable)
    assert result.exit_code == 1
    assert "ConnectionRefused" in result.stdout
    assert result.stderr.startswith(
        f'{unreachable}/deployment.yaml:2:1: ignored: kind "Deployment" (apps/v1)'
    )


def test_misspelled_kind_of_ours_is_a_mistake(unreachable: Path) -> None:
    """It would be missing without a word."""
    misspelled = DEPLOYMENT.replace("apps/v1", "springline.dev/v1alpha1")
    (unreachable / "misspelled.yaml").write_text(misspelled)
    assert invoke("check", "-f", unreachable).exit_code == 2


def test_documents_may_come_from_standard_input(unreachable: Path) -> None:
    """As `kubectl apply -f -` takes them."""
    result = subprocess.run(
        [sys.executable, "-m", "springline", "check", "-f", "-"],
        input=(unreachable / "all.yaml").read_text(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "ConnectionRefused" in result.stdout


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_status_is_printed_as_a_list_of_documents(unreachable: Path, output: str) -> None:
    result = invoke("check", "-f", unreachable, "-o", output)
    assert result.exit_code == 1
    assert result.stderr == ""
    read = json.loads if output == "json" else yaml.safe_load
    found = read(result.stdout)
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    [item] = found["items"]
    assert item["kind"] == "BrokerConnection"
    assert item["metadata"] == {"name": "orders", "namespace": "default"}
    conditions = {each["type"]: each["reason"] for each in item["status"]["conditions"]}
    assert conditions["Ready"] == "ConnectionRefused"
    assert PLANTED not in result.output


def test_value_that_output_does_not_have_is_refused(folder: Path) -> None:
    assert "Invalid value for '-o'" in refused("check", "-f", folder, "-o", "wide")


# --- check --credentials


def a_secret(name: str = "login", password: str = PLANTED, kind: str = "Secret") -> str:
    text = "stringData" if kind == "Secret" else "data"
    return f"""\
apiVersion: v1
kind: {kind}
metadata: {{name: {name}}}
{text}: {{username: ann, password: {password}}}
"""


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A file with another password."""
    path = tmp_path / "new.yaml"
    path.write_text(a_secret(password=f"{PLANTED}-2"))
    return path


def rehearsed(manifests: Path, *new: Path, options: tuple[str, ...] = ()) -> Result:
    given = [part for path in new for part in ("--credentials", path)]
    result = invoke("check", "-f", manifests, *given, *options)
    assert PLANTED not in result.output
    return result


def test_changed_credentials_may_be_given_as_a_variable(
    monkeypatch: pytest.MonkeyPatch, new: Path, unreachable: Path
) -> None:
    taken: list[CheckSettings] = []

    async def rehearse(settings: CheckSettings) -> checking.Rehearsed:
        taken.append(settings)
        return checking.Rehearsed(rehearsals=(), ignored=(), at=datetime.now(UTC))

    monkeypatch.setattr(checking, "rehearse", rehearse)
    env = {"SPRINGLINE_CHECK_CREDENTIALS": os.pathsep.join([str(new), "-"])}
    assert invoke("check", "-f", unreachable, env=env).exit_code == 0
    [settings] = taken
    assert settings.credentials == (new, Path("/dev/stdin"))


def test_rotation_that_nobody_could_be_asked_about_is_exit_code_1(
    unreachable: Path, new: Path
) -> None:
    result = rehearsed(unreachable, new)
    assert result.exit_code == 1
    header, row = result.stdout.splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "OUTCOME", "USER", "ROTATION"]
    assert row.split()[:4] == ["default", "orders", "NotTried", "-"]
    assert "  not tried: 127.0.0.1:" in row


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_rotation_is_printed_as_a_list_of_documents(
    unreachable: Path, new: Path, output: str
) -> None:
    result = rehearsed(unreachable, new, options=("-o", output))
    assert result.exit_code == 1
    read = json.loads if output == "json" else yaml.safe_load
    [item] = read(result.stdout)["items"]
    assert item["kind"] == "BrokerConnection"
    assert item["metadata"] == {"name": "orders", "namespace": "default"}
    rotation = item["rotation"]
    assert (rotation["outcome"], rotation["reason"]) == ("NotTried", "ConnectionRefused")
    assert rotation["message"].startswith("not tried: ")
    assert rotation.keys() == {"outcome", "reason", "message"}


def test_rotation_to_the_same_values_is_exit_code_0(unreachable: Path, new: Path) -> None:
    """There is nothing to ask the broker."""
    new.write_text(a_secret())
    result = rehearsed(unreachable, new)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].endswith("nothing would change")


def test_what_no_connection_reads_is_a_mistake(unreachable: Path, new: Path) -> None:
    """Each is named: whoever gives it expects an answer."""
    documents = [a_secret("logn"), a_secret("login", kind="ConfigMap"), a_connection("more")]
    new.write_text("---\n".join([a_secret(), *documents]))
    result = rehearsed(unreachable, new)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "error: Secret default/logn: no declared connection reads it",
        "error: ConfigMap default/login: no declared connection reads it",
        "error: BrokerConnection default/more: --credentials takes Secrets and ConfigMaps only",
    ]


def test_documents_that_others_read_are_no_credentials(unreachable: Path, new: Path) -> None:
    new.write_text(DEPLOYMENT)
    result = rehearsed(unreachable, new)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: --credentials: there is no Secret and no ConfigMap\n"


def test_changed_credentials_that_cannot_be_used_are_told_by_place(
    unreachable: Path, new: Path
) -> None:
    new.write_text(f"{a_secret()}passwrd: {PLANTED}\n")
    result = rehearsed(unreachable, new)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{new}:5:1: error: ")


def test_connection_without_its_broker_is_not_tried(folder: Path, new: Path) -> None:
    """That it reads the Secret is known all the same."""
    (folder / "a.yaml").write_text(a_connection())
    result = rehearsed(folder, new)
    assert result.exit_code == 1
    assert "not tried: spec.brokerRef: there is no Broker named" in result.stdout


def test_suspended_connection_is_not_tried(unreachable: Path, new: Path) -> None:
    text = (unreachable / "all.yaml").read_text()
    (unreachable / "all.yaml").write_text(f"{text}  suspend: true\n")
    result = rehearsed(unreachable, new)
    assert result.exit_code == 1
    assert "not tried: spec.suspend is true" in result.stdout


def test_changed_credentials_may_come_from_standard_input(unreachable: Path) -> None:
    """As `kubectl create secret --dry-run=client -o yaml` writes them."""
    result = subprocess.run(
        [sys.executable, "-m", "springline", "check", "-f", unreachable, "--credentials", "-"],
        input=a_secret(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0
    assert "Unchanged" in result.stdout


# --- as a process


def start(
    *args: str | Path, stdout: int, encoding: str = "utf-8", stderr: int = subprocess.PIPE
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "springline", *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONIOENCODING": encoding},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )


async def test_run_goes_on_when_nobody_reads_its_output(unreachable: Path, tmp_path: Path) -> None:
    """Sessions matter more than their reports; ended by a signal it is a success as ever."""
    reading, writing = os.pipe()
    os.close(reading)
    status_dir = tmp_path / "status"
    process = start("run", "--manifests", unreachable, "--status-dir", status_dir, stdout=writing)
    os.close(writing)
    try:
        path = status_dir / "BrokerConnection.default.orders.yaml"
        await waiting.eventually(lambda: exists_with(path, "ConnectionRefused"), what="a status")
        process.send_signal(signal.SIGTERM)
        _, err = await asyncio.to_thread(process.communicate, timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert err.count(b"output not written any more") == 1
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


def exists_with(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text()


# --- when nothing reads what it writes


async def test_run_goes_on_and_ends_while_nothing_reads_its_output(
    folder: Path, tmp_path: Path
) -> None:
    """A pager that waits, Ctrl-S, a collector that hangs: sessions, files and signals go on."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    # More than the pipe holds, so that a write waits: on both, as on a terminal.
    for number in range(200):
        (folder / f"{number}.yaml").write_text(a_connection(f"orders-{number}"))
    status_dir = tmp_path / "status"
    options = ("--log-level", "debug", "--manifests", folder, "--status-dir", status_dir)
    process = start("run", *options, stdout=writing, stderr=writing)
    os.close(writing)
    try:
        path = status_dir / "BrokerConnection.default.orders-199.yaml"
        await waiting.eventually(lambda: exists_with(path, "BrokerNotFound"), what="a status")
        (folder / "more.yaml").write_text(a_connection("late"))
        path = status_dir / "BrokerConnection.default.late.yaml"
        await waiting.eventually(lambda: exists_with(path, "BrokerNotFound"), what="a late one")
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 60)
    finally:
        process.kill()
        process.wait()
        os.close(reading)
    assert process.returncode == 0
