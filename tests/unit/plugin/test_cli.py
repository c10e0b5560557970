"""The command line: what it takes, how soon it answers, and its exit codes."""

import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from springline import cli as program
from springline import logs
from springline.plugin import completion
from springline.plugin.cli import main


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine has no cluster of its own, and the tests' logs stay as they are."""
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_option_is_explained(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    for parameter in main.commands[command].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_check_takes_what_springline_check_takes() -> None:
    def options(command: click.Command) -> set[str]:
        return {name for each in command.params for name in each.opts}

    assert options(program.main.commands["check"]) < options(main.commands["check"])


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["status"], 3, "none cannot be used: there is no such file"),
        (["report"], 3, "cannot be used"),
        (["status", "broker/rabbit"], 2, "only a BrokerConnection has a session"),
        (["watch", "bconn/a/b", "bconn/c/d"], 2, "followed with --all-namespaces"),
        (["status", "-n", "a", "bconn/b/c"], 2, "another namespace than --namespace a"),
        (["explain", "Open", "Rejectd"], 2, "did you mean Rejected?"),
        (["report", "--since", "soon"], 2, "is not a duration"),
        (["status", "orders", "-A"], 2, "in one namespace"),
        (["status", "orders", "-l", "a=b"], 2, "names, or --selector"),
        (["reconnect"], 2, "say which connections"),
        (["reconnect", "--all", "--timeout", "soon"], 2, "is not a duration"),
        (["explain", "Rejectd"], 2, "did you mean Rejected?"),
        (["-n", "shop", "suspend", "orders"], 3, "cannot be used"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_said(args: list[str], code: int, words: str) -> None:
    """2 for how it was asked, 3 for the cluster."""
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_several_reasons_are_explained() -> None:
    """Each once, in the order in which they were asked for."""
    result = invoke("explain", "Open", "Rejected", "Open")
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line in ("Open", "Rejected")] == [
        "Open",
        "Rejected",
    ]


@pytest.mark.parametrize("words", [["-h"], *([each, "-h"] for each in main.commands)], ids=" ".join)
def test_short_help_is_everywhere(words: list[str]) -> None:
    result = invoke(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: ")


def test_check_in_the_cluster_takes_no_second_input(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("")
    result = invoke("check", "--in-cluster", "-f", str(file), "--credentials", str(file))
    assert result.exit_code == 2
    assert "--credentials cannot be used with --in-cluster" in result.stderr


def test_colours_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR counts even on a terminal."""
    coloured = CliRunner().invoke(main, ["explain", "Open"], color=True)
    assert "\x1b[" in coloured.stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in CliRunner().invoke(main, ["explain", "Open"], color=True).stdout


@pytest.mark.parametrize("shell", sorted(completion.SHELLS))
def test_every_shell_gets_a_script(shell: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "kubectl-springline" in result.stdout
    assert completion.VARIABLE in result.stdout


@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        (["re"], ["reconnect", "renew", "report", "resume", ":4"]),
        (["explain", "tls"], ["TLSFailed", ":4"]),
        (["status", "-o", "w"], ["wide", ":4"]),
        (["status", "or"], [":4"]),
        (["check", "-f", ""], [":0"]),
        ([], [*sorted(main.commands), ":4"]),
    ],
    ids=lambda value: " ".join(value) or "nothing",
)
def test_kubectl_is_told_what_fits(
    typed: list[str],
    proposed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A value and what it is, then what the shell is to do; without a cluster no names."""
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-springline", *typed])
    completion.main()
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == proposed
