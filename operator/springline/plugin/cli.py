"""The command line of `kubectl springline`: options in, text and an exit code out.

What a command needs is imported when it runs, so that `--help` and completion answer at once.
"""

import functools
import os
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from springline import __version__, options
from springline.plugin import completion
from springline.plugin.errors import Exit, PluginError

if TYPE_CHECKING:
    from springline.plugin.actions import Action
    from springline.plugin.choices import Choice
    from springline.plugin.cluster import Target
    from springline.settings import Network

__all__ = ["main", "run"]

T = TypeVar("T")
Command = Callable[..., None]

_PROGRAM = "kubectl springline"
_SIGNALLED = 128


def _of_the_cluster(command: Command) -> Command:
    """Give a command kubectl's own options for which cluster and namespace are meant."""
    return options.given(
        command,
        click.option(
            "-n",
            "--namespace",
            metavar="NAME",
            shell_complete=completion.namespaces,
            help="Namespace. Default: that of the context.",
        ),
        click.option(
            "--context",
            metavar="NAME",
            shell_complete=completion.contexts,
            help="Context of the kubeconfig. Default: its current one.",
        ),
        click.option(
            "--kubeconfig",
            metavar="PATH",
            type=click.Path(dir_okay=False),
            help="How to reach the cluster. Default: $KUBECONFIG, ~/.kube/config.",
        ),
    )


def _targeted(command: Command) -> Command:
    """Pass the options of `_of_the_cluster` on as one value, `target`."""

    @functools.wraps(command)
    def wrapped(
        *,
        namespace: str | None,
        context: str | None,
        kubeconfig: str | None,
        all_namespaces: bool = False,
        **others: Any,
    ) -> None:
        from springline.plugin.cluster import Target  # noqa: PLC0415 - large libraries

        target = Target(
            kubeconfig=kubeconfig,
            context=context,
            namespace=namespace,
            all_namespaces=all_namespaces,
        )
        command(target=target, **others)

    return _of_the_cluster(wrapped)


_all_namespaces = click.option(
    "-A", "--all-namespaces", is_flag=True, help="In all namespaces, whatever --namespace says."
)
_selector = click.option(
    "-l", "--selector", metavar="LABELS", default="", help="Only those with these labels."
)
_names = click.argument(
    "names", metavar="[[TYPE/]NAME]...", nargs=-1, shell_complete=completion.connections
)


def _choosing(command: Command) -> Command:
    """Take which connections are meant; names and labels are passed on as one value, `choice`."""
    return options.given(_chosen(command), _names, _all_namespaces, _selector)


def _chosen(command: Command) -> Command:
    @functools.wraps(command)
    def wrapped(
        *, names: tuple[str, ...], selector: str, all_of_them: bool = False, **others: Any
    ) -> None:
        from springline.plugin.choices import Choice  # noqa: PLC0415 - large libraries

        command(choice=Choice(names=names, selector=selector, all=all_of_them), **others)

    return wrapped


_operator_namespace = click.option(
    "--operator-namespace",
    metavar="NAME",
    shell_complete=completion.namespaces,
    help="Where the operator's pods are. Default: looked for, then springline-system.",
)


def run() -> None:
    """Be `kubectl springline`, whatever the file that was started is called."""
    main.main(prog_name=_PROGRAM, complete_var=completion.VARIABLE)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name=_PROGRAM)
@_of_the_cluster
@click.pass_context
def main(context: click.Context, /, **given: str | None) -> None:
    """See and steer the broker connections of a cluster.

    It works with your rights, and asks the API server alone. A connection is named as NAME, as
    TYPE/NAME like kubectl does, or as TYPE/NAMESPACE/NAME, which status -A -o name prints.

    Ends with 0; with 1 if what was waited for or checked did not come about, with 2 if it cannot
    be done as it was asked for, with 3 if the cluster was not reached or does not allow it.
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
    if "utf" not in (sys.stdout.encoding or "").lower() and hasattr(sys.stdout, "reconfigure"):
        # Where the encoding has no such letters, as standard error does it.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Options may stand in front of the command, too; behind it they count more.
    context.default_map = {
        name: {key: value for key, value in given.items() if value is not None}
        for name in main.commands
    }


# --- seeing


@main.command()
@_choosing
@click.option(
    "-o",
    "--output",
    type=click.Choice(["account", "table", "wide", "json", "yaml", "name"]),
    help="How to print it. Default: an account of a single NAME, else a table.",
)
@_operator_namespace
@_targeted
def status(
    target: "Target",
    choice: "Choice",
    output: str | None,
    operator_namespace: str | None,
) -> None:
    """Say how connections are, and why.

    Of one NAME it tells everything: since when, connected to what, with which credential and until
    when, how the session ended last, who holds it, what happened.
    """
    from springline.plugin import commands  # noqa: PLC0415 - large libraries
    from springline.plugin.page import Page  # noqa: PLC0415 - with the others

    page = Page()
    telling = commands.status(
        target, choice, page, output=output or "", operator_namespace=operator_namespace
    )
    code = _run(telling)
    page.print()
    raise SystemExit(code)


@main.command()
@_choosing
@click.option("--wide", is_flag=True, help="With more columns, where the terminal has room.")
@_targeted
def watch(target: "Target", choice: "Choice", wide: bool) -> None:
    """Follow connections until Ctrl-C.

    On a terminal as a live table, elsewhere as a line for each change.
    """
    from springline.plugin import commands  # noqa: PLC0415 - large libraries

    _run(commands.watch(target, choice, wide=wide), when_signalled=Exit.DONE)


@main.command()
@click.argument("explained", metavar="[REASON]...", nargs=-1, shell_complete=completion.reasons)
def explain(explained: tuple[str, ...]) -> None:
    """Say what reasons mean.

    It says what to do, too, and when Springline tries again by itself. Without REASON, all are
    listed.
    """
    from springline.plugin import reasons  # noqa: PLC0415 - reads a file
    from springline.standalone.lines import aligned  # noqa: PLC0415 - reads tables of characters

    if not explained:
        click.echo(aligned(reasons.overview()))
        return
    try:
        found = [reasons.find(each) for each in dict.fromkeys(explained)]
    except PluginError as error:
        _fail(error)
    for number, each in enumerate(found):
        title, _, rest = reasons.text(each).partition("\n")
        click.echo("\n" * (number > 0) + click.style(title, bold=True))
        click.echo(rest)


@main.command()
@options.of_check
@click.option(
    "--in-cluster",
    is_flag=True,
    help=(
        "Connect from the operator's pod instead of from here, by kubectl exec. --token-dir is one"
        " of the pod then, and --credentials cannot be used."
    ),
)
@_operator_namespace
@_targeted
def check(
    target: "Target",
    files: tuple[Path, ...],
    credentials: tuple[Path, ...],
    output: str,
    token_dir: Path | None,
    allow_addresses: "tuple[Network, ...]",
    log_level: str,
    in_cluster: bool,
    operator_namespace: str | None,
) -> None:
    """Try connections that files declare.

    Each is opened once, to say how it went. The same as `springline check`: the files also hold
    the brokers and Secrets, and nothing is taken from the cluster. No session that the operator
    holds is touched.
    """
    how = [f"--output={output}", f"--log-level={log_level}"]
    if token_dir is not None:
        how.append(f"--token-dir={token_dir}")
    how += [f"--allow-addresses={each}" for each in allow_addresses]
    if not in_cluster:
        from springline import cli  # noqa: PLC0415 - large libraries

        named = [f"--filename={each}" for each in files]
        named += [f"--credentials={each}" for each in credentials]
        cli.main.main(["check", *named, *how], prog_name="springline")
    if credentials:
        _fail(PluginError("--credentials cannot be used with --in-cluster", Exit.UNUSABLE))
    from springline.plugin import commands  # noqa: PLC0415 - large libraries

    code = _run(
        commands.check_in_cluster(target, files, how, operator_namespace=operator_namespace)
    )
    raise SystemExit(code)


@main.command()
@_choosing
@click.option(
    "-o",
    "--output",
    "path",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help=(
        "What to write: an archive if it ends in .tar.gz, else a directory. It must not be there"
        " yet. Default: springline-report-TIME.tar.gz here."
    ),
)
@click.option(
    "--since",
    metavar="DURATION",
    default="24h",
    show_default=True,
    callback=lambda _, __, value: _duration(value),
    help="How far logs go back.",
)
@click.option(
    "--timeout",
    metavar="DURATION",
    default="2m",
    show_default=True,
    callback=lambda _, __, value: _duration(value),
    help="When to do with what there is.",
)
@_operator_namespace
@_targeted
def report(
    target: "Target",
    choice: "Choice",
    path: Path | None,
    since: timedelta,
    timeout: timedelta,
    operator_namespace: str | None,
) -> None:
    """Gather what helps to find a fault, without secrets.

    Objects and Events; logs, metrics and versions of the operator. Secrets are left out and masked.
    What you may not read is named in it.
    """
    from springline.plugin import commands  # noqa: PLC0415 - large libraries

    made = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    gathering = commands.report(
        target,
        choice,
        path or Path(f"springline-report-{made}.tar.gz"),
        limit=timeout.total_seconds(),
        since=max(since.total_seconds(), 1.0),
        operator_namespace=operator_namespace,
    )
    raise SystemExit(_run(gathering))


# --- steering


def _acting(command: Command) -> Command:
    """Give a command the options of everything that asks something of connections."""
    return options.given(
        _targeted(_chosen(command)),
        _names,
        click.option("--all", "all_of_them", is_flag=True, help="All of the namespace."),
        _selector,
        _all_namespaces,
        click.option("--wait", is_flag=True, help="Wait until it is done."),
        click.option(
            "--timeout",
            metavar="DURATION",
            default="60s",
            show_default=True,
            callback=lambda _, __, value: _duration(value),
            help="How long to wait.",
        ),
    )


@main.command()
@_acting
def reconnect(**given: Any) -> None:
    """Have sessions opened anew."""
    from springline.plugin.actions import Action  # noqa: PLC0415 - large libraries

    _act(Action.RECONNECT, **given)


@main.command()
@_acting
def renew(**given: Any) -> None:
    """Have credentials renewed.

    They are read again, or new tokens are issued, and tried; sessions are not closed.
    """
    from springline.plugin.actions import Action  # noqa: PLC0415 - large libraries

    _act(Action.RENEW, **given)


@main.command()
@_acting
def suspend(**given: Any) -> None:
    """Have sessions closed, and kept closed."""
    from springline.plugin.actions import Action  # noqa: PLC0415 - large libraries

    _act(Action.SUSPEND, **given)


@main.command()
@_acting
def resume(**given: Any) -> None:
    """Have suspended sessions opened again."""
    from springline.plugin.actions import Action  # noqa: PLC0415 - large libraries

    _act(Action.RESUME, **given)


def _act(
    action: "Action",
    *,
    target: "Target",
    choice: "Choice",
    wait: bool,
    timeout: timedelta,
) -> None:
    from springline.plugin import commands  # noqa: PLC0415 - large libraries

    limit = timeout.total_seconds()
    code = _run(commands.act(target, choice, action, wait=wait, limit=limit))
    raise SystemExit(code)


def _duration(text: str) -> timedelta:
    from springline.api import duration_texts  # noqa: PLC0415 - not for --help

    try:
        return duration_texts.parse(text)
    except ValueError as error:
        raise click.BadParameter(f'"{text}" {error}') from None


# --- the shell


@main.command(name="completion")
@click.argument("shell", type=click.Choice(list(completion.SHELLS)))
def completion_(shell: str) -> None:
    """Print a script for the shell.

    With it, Tab completes `kubectl-springline`. For `kubectl springline`, kubectl's own completion
    finds kubectl_complete-springline in PATH.
    """
    click.echo(completion.for_shell(shell, main))


# ---


def _run(coroutine: Coroutine[Any, Any, T], *, when_signalled: int | None = None) -> T:
    """Run a command; what keeps it from being done is said, and is its exit code.

    `when_signalled` is the exit code for a signal, by default that of a shell for a process that
    the signal has ended.
    """
    import asyncio  # noqa: PLC0415 - not for --help

    from springline import logs, shutdown  # noqa: PLC0415 - with it

    logs.configure("error")
    try:
        return asyncio.run(shutdown.unless_signalled(coroutine))
    except PluginError as error:
        _fail(error)
    except shutdown.SignalledError as signalled:
        code = _SIGNALLED + signalled.number if when_signalled is None else when_signalled
        raise SystemExit(code) from None


def _fail(error: PluginError) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    raise SystemExit(error.code) from None
