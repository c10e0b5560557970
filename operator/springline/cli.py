"""The command line: flags and SPRINGLINE_* variables in, a call of app, an exit code out.

Each command imports what it needs itself: the others, and --help, do without its libraries.
"""

import asyncio
import io
import json
import os
import shutil
import socket
import sys
from collections.abc import Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
import yaml

from springline import __version__, logs, many_connections, options
from springline.errors import ManifestError
from springline.positions import STANDARD_INPUT
from springline.settings import CheckSettings, Network, OperatorSettings, RunSettings

if TYPE_CHECKING:
    from springline.standalone import ci_reports
    from springline.web import ListenAddress

__all__ = ["main"]

T = TypeVar("T")

_NOT_READY = 1
_UNUSABLE_INPUT = 2
_SIGNALLED = 128

_DOCUMENTS = frozenset({"yaml", "json"})
_TABLES = frozenset({"table", "github"})
_OF_CI = frozenset({"junit", "github"})


@click.group(
    context_settings={
        "auto_envvar_prefix": "SPRINGLINE",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    }
)
@click.version_option(__version__, prog_name="springline")
def main() -> None:
    """Keep broker client connections that are declared as Kubernetes resources.

    Every option can also be given as an environment variable: --log-level of `run` is
    SPRINGLINE_RUN_LOG_LEVEL.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Where the encoding has no such letters, as standard error does it.
        sys.stdout.reconfigure(errors="backslashreplace")


@main.command()
@click.option(
    "-f",
    "--filename",
    "--manifests",
    "manifests",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Directory of YAML or JSON manifests; changes to its files are followed.",
)
@click.option(
    "--status-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write the status of every resource to, as YAML.",
)
@options.token_dir
@click.option(
    "--binding-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where spec.binding has its files written: DIR/NAMESPACE/SECRETNAME/KEY.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where /healthz, /readyz and /metrics are served. Default: nowhere.",
)
@click.option(
    "--output",
    type=click.Choice(["auto", "table", "lines"]),
    default="auto",
    show_default=True,
    help="What to show: a live table, or a line for each event. auto: a table on a terminal.",
)
@click.option("--steps", is_flag=True, help="Also show how each attempt proceeds.")
@click.option(
    "--shutdown-timeout",
    type=click.FloatRange(min=0.1, max=600),
    default=10.0,
    show_default=True,
    help="Seconds that sessions may take to close when Springline is stopped.",
)
@options.allow_addresses
@options.log_level
@click.option(
    "--log-format",
    type=click.Choice(["plain", "json"]),
    default="plain",
    show_default=True,
    help="json: one object a line, for logs and for the lines of --output.",
)
def run(
    manifests: Path,
    status_dir: Path | None,
    token_dir: Path | None,
    binding_dir: Path | None,
    listen: str | None,
    output: str,
    steps: bool,
    shutdown_timeout: float,
    allow_addresses: tuple[Network, ...],
    log_level: str,
    log_format: logs.Format,
) -> None:
    """Hold the connections that a directory of manifests declares, without a cluster.

    Runs until SIGTERM or Ctrl-C, then closes every connection in an orderly way.
    """
    from springline import app  # noqa: PLC0415

    logs.configure(log_level, format=log_format)
    address = _address(listen) if listen is not None else None
    if status_dir is not None:
        _prepare_status_dir(status_dir, manifests)
    if binding_dir is not None:
        _prepare_binding_dir(binding_dir)
    settings = RunSettings(
        manifests=manifests,
        status_dir=status_dir,
        token_dir=token_dir,
        binding_dir=binding_dir,
        allow_addresses=allow_addresses,
        listen_host=address.host if address is not None else "",
        listen_port=address.port if address is not None else None,
        json_lines=log_format == "json",
        table=output == "table" or (output == "auto" and sys.stdout.isatty()),
        steps=steps,
        shutdown_seconds=shutdown_timeout,
    )
    many_connections.prepare()
    running = app.run(settings, sys.stdout)
    if address is None:
        asyncio.run(running)
    else:
        _run_listening(running)
    _end_output()


def _address(listen: str) -> "ListenAddress":
    from springline.web import ListenAddress  # noqa: PLC0415

    try:
        return ListenAddress.parse(listen)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error


def _run_listening(work: Coroutine[Any, Any, None]) -> None:
    from springline.web import ListenError  # noqa: PLC0415

    try:
        asyncio.run(work)
    except ListenError as error:
        _end_unusable(f"error: {error}")


def _end_unusable(*lines: str) -> NoReturn:
    _tell(lines)
    raise SystemExit(_UNUSABLE_INPUT) from None


def _tell(lines: Iterable[str]) -> None:
    """Print lines to standard error, each as one, in characters that the terminal has.

    The name of a file may hold a line break, and what it begins be a command to the CI that reads.
    """
    from springline.api.texts import printable  # noqa: PLC0415

    encoding = sys.stderr.encoding or "utf-8"
    for line in lines:
        # click takes ASCII for UTF-8.
        click.echo(printable(line).encode(encoding, "backslashreplace").decode(encoding), err=True)


def _end_output() -> None:
    """Flush standard output. That nobody reads it any more is no failure of the sessions."""
    try:
        sys.stdout.flush()
    except OSError:
        # What is left in its buffer would make the interpreter fail at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare_binding_dir(binding_dir: Path) -> None:
    try:
        binding_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(
            f"--binding-dir {binding_dir} cannot be created: {error.strerror}"
        ) from error


def _prepare_status_dir(status_dir: Path, manifests: Path) -> None:
    if status_dir.resolve() == manifests.resolve():
        raise click.UsageError("--status-dir must not be the directory of the manifests")
    try:
        status_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(
            f"--status-dir {status_dir} cannot be created: {error.strerror}"
        ) from error


@main.command()
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAME",
    help="Look after this namespace only; may be repeated. Default: all namespaces.",
)
@click.option(
    "--cluster-brokers/--no-cluster-brokers",
    default=None,
    help="Whether ClusterBrokers are looked after. Default: yes, unless --namespace is given.",
)
@click.option(
    "--require-secret-label",
    is_flag=True,
    help='Use only Secrets with the label springline.dev/allowed: "true".',
)
@options.allow_addresses
@options.token_dir
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="0.0.0.0:8080",
    show_default=True,
    help="Where /healthz, /readyz and /metrics are served.",
)
@click.option(
    "--holder",
    default=socket.gethostname,
    metavar="NAME",
    help=(
        "What this replica is called in status, events and its Lease; each needs a name of its own."
        " Default: the name of the host."
    ),
)
@click.option(
    "--lease-namespace",
    metavar="NAME",
    help=(
        "Where this replica keeps its Lease. Default: the namespace of the pod, or of the "
        "kubeconfig's context."
    ),
)
@click.option(
    "--lease-duration",
    type=click.IntRange(min=3, max=300),
    default=15,
    show_default=True,
    help=(
        "Seconds after which this replica counts as gone when it does not renew its Lease; it does "
        "so three times within them."
    ),
)
@click.option(
    "--name-lookups",
    type=click.IntRange(min=2, max=1024),
    default=64,
    show_default=True,
    help="Names that are looked up at once, each in a thread; those of one namespace take half.",
)
@click.option(
    "--per-object-metrics/--no-per-object-metrics",
    default=True,
    show_default=True,
    help="Whether there are metrics for each connection.",
)
@click.option(
    "--least-retry-delay",
    type=click.FloatRange(min=0.0, max=3600),
    default=1.0,
    show_default=True,
    help="Seconds between attempts to connect at least, also where a broker declares less.",
)
@click.option(
    "--least-renewal-interval",
    type=click.FloatRange(min=0.0, max=3600),
    default=5.0,
    show_default=True,
    help="Seconds between renewals of a credential at least, however short it lives.",
)
@click.option(
    "--attempts-at-once",
    type=click.IntRange(min=2, max=10_000),
    default=400,
    show_default=True,
    help="How many attempts to connect run at once; half of them of one namespace at most.",
)
@click.option(
    "--kubeconfig",
    metavar="PATH",
    help=(
        "How to reach the cluster. Default: $KUBECONFIG, the pod's ServiceAccount, ~/.kube/config."
    ),
)
@click.option("--context", metavar="NAME", help="Context of the kubeconfig. Default: its own.")
@click.option(
    "--shutdown-timeout",
    type=click.FloatRange(min=0.1, max=600),
    default=20.0,
    show_default=True,
    help="Seconds that sessions may take to close when Springline is stopped.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Logs of this level and above go to standard error.",
)
@click.option(
    "--log-format",
    type=click.Choice(["plain", "json"]),
    default="plain",
    show_default=True,
    help="json: one object a line.",
)
def operator(
    namespaces: tuple[str, ...],
    cluster_brokers: bool | None,
    require_secret_label: bool,
    allow_addresses: tuple[Network, ...],
    token_dir: Path | None,
    listen: str,
    holder: str,
    lease_namespace: str | None,
    lease_duration: int,
    name_lookups: int,
    per_object_metrics: bool,
    least_retry_delay: float,
    least_renewal_interval: float,
    attempts_at_once: int,
    kubeconfig: str | None,
    context: str | None,
    shutdown_timeout: float,
    log_level: str,
    log_format: logs.Format,
) -> None:
    """Hold the connections that a Kubernetes cluster declares, and keep their status.

    Runs until SIGTERM or Ctrl-C, then closes every connection in an orderly way and says so in
    their status.
    """
    from springline import operator_app  # noqa: PLC0415
    from springline.kube.access import AccessError  # noqa: PLC0415

    logs.configure(log_level, format=log_format)
    address = _address(listen)
    settings = OperatorSettings(
        namespaces=tuple(dict.fromkeys(namespaces)),
        cluster_brokers=not namespaces if cluster_brokers is None else cluster_brokers,
        require_secret_label=require_secret_label,
        allow_addresses=allow_addresses,
        token_dir=token_dir,
        listen_host=address.host,
        listen_port=address.port,
        holder=holder,
        lease_namespace=lease_namespace or "",
        lease_seconds=lease_duration,
        name_lookups=name_lookups,
        per_object_metrics=per_object_metrics,
        least_retry_delay=least_retry_delay,
        least_renewal_interval=least_renewal_interval,
        attempts_at_once=attempts_at_once,
        kubeconfig=kubeconfig,
        context=context,
        shutdown_seconds=shutdown_timeout,
    )
    many_connections.prepare()
    try:
        _run_listening(operator_app.operate(settings))
    except AccessError as error:
        _end_unusable(f"error: {error}")


@main.command()
@options.of_check
def check(
    files: tuple[Path, ...],
    credentials: tuple[Path, ...],
    output: str,
    token_dir: Path | None,
    allow_addresses: tuple[Network, ...],
    log_level: str,
) -> None:
    """Open each declared connection once and print its status.

    The exit code is 0 only if all connections are Ready, 1 if one is not, and 2 if a manifest
    cannot be used.

    With --credentials, open each connection that reads what is changed, and print whether and how
    a rotation would get it to the session. The exit code is 0 only if it would for all of them.
    """
    logs.configure(log_level)
    settings = CheckSettings(
        files=tuple(map(_input, files)),
        credentials=tuple(map(_input, credentials)),
        token_dir=token_dir,
        allow_addresses=allow_addresses,
    )
    try:
        is_good = _rehearse(settings, output) if credentials else _check(settings, output)
    except ManifestError as error:
        _print_mistakes(error, output)
        _end_unusable(*error.lines())
    if not is_good:
        raise SystemExit(_NOT_READY)


def _input(path: Path) -> Path:
    return STANDARD_INPUT if path == Path("-") else path


def _check(settings: CheckSettings, output: str) -> bool:
    from springline import checking  # noqa: PLC0415
    from springline.standalone import table  # noqa: PLC0415

    checked = _answer(checking.check(settings))
    _tell(checked.ignored)
    if output in _DOCUMENTS:
        _print_documents(checked.documents, output)
        return checked.all_ready
    if output in _TABLES:
        click.echo(table.plain(checked.shown, now=checked.at, to=_columns(), encoding=_encoding()))
        _tell(table.explanations(checked.shown))
    if output in _OF_CI:
        from springline.standalone import ci_reports  # noqa: PLC0415

        cases = ci_reports.of_checked(checked.shown, checked.positions)
        _print_cases(cases, output, at=checked.at)
    return checked.all_ready


def _rehearse(settings: CheckSettings, output: str) -> bool:
    from springline import checking  # noqa: PLC0415
    from springline.standalone import rehearsals  # noqa: PLC0415

    rehearsed = _answer(checking.rehearse(settings))
    _tell(rehearsed.ignored)
    if output in _DOCUMENTS:
        _print_documents([rehearsals.document(each) for each in rehearsed.rehearsals], output)
    if output in _TABLES:
        click.echo(rehearsals.plain(rehearsed.rehearsals, to=_columns(), encoding=_encoding()))
    if output in _OF_CI:
        from springline.standalone import ci_reports  # noqa: PLC0415

        cases = ci_reports.of_rehearsed(rehearsed.rehearsals, rehearsed.positions)
        _print_cases(cases, output, at=rehearsed.at)
    return rehearsed.all_would_succeed


def _print_mistakes(error: ManifestError, output: str) -> None:
    """Tell CI what is wrong with the manifests; people read it on standard error."""
    if output not in _OF_CI:
        return
    from springline.standalone import ci_reports  # noqa: PLC0415

    _print_cases(ci_reports.of_mistakes(error), output, at=datetime.now(UTC))


def _print_cases(cases: "Sequence[ci_reports.Case]", output: str, *, at: datetime) -> None:
    from springline.standalone import ci_reports  # noqa: PLC0415

    base = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
    if output == "junit":
        click.echo(ci_reports.junit(cases, at=at, base=base))
        return
    for line in ci_reports.annotations(cases, base=base):
        click.echo(line)


def _columns() -> int | None:
    """Return how wide the terminal is; None for a pipe or a file, which take all there is."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _encoding() -> str:
    return sys.stdout.encoding or "utf-8"


def _answer(work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns. Broken off by a signal there is no answer, and 0 would be one.

    The exit code is then that of a shell for a process that the signal has ended.
    """
    from springline import shutdown  # noqa: PLC0415

    try:
        return asyncio.run(shutdown.unless_signalled(work))
    except shutdown.SignalledError as signalled:
        raise SystemExit(_SIGNALLED + signalled.number) from None


def _print_documents(items: Sequence[dict[str, Any]], output: str) -> None:
    documents = {"apiVersion": "v1", "kind": "List", "items": list(items)}
    if output == "json":
        click.echo(json.dumps(documents, indent=2, ensure_ascii=False))
    else:
        click.echo(yaml.safe_dump(documents, sort_keys=False, allow_unicode=True), nl=False)
