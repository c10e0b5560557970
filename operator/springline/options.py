"""Options of commands that `springline` and `kubectl springline` both have.

They need nothing but click, so that a plugin that only completes a word need not load the rest.
"""

import contextlib
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["allow_addresses", "given", "log_level", "of_check", "token_dir"]

_Command = TypeVar("_Command", bound=Callable[..., None])


def given(command: _Command, *options: Callable[[_Command], _Command]) -> _Command:
    """Give a command options, which its help lists in this order."""
    for option in reversed(options):
        command = option(command)
    return command


log_level = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="Logs of this level and above go to standard error.",
)

token_dir = click.option(
    "--token-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where credentials.tokenFile finds its file: DIR/NAMESPACE/NAME.",
)


class _Network(click.ParamType[Any]):
    """A range of addresses, or one."""

    name = "network"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
            return value
        with contextlib.suppress(ValueError):
            return ipaddress.ip_network(value)
        try:
            advice = f'; did you mean "{ipaddress.ip_network(value, strict=False)}"?'
        except ValueError:
            advice = '; write it like "10.0.0.0/8" or "::1"'
        raise click.BadParameter(f'"{value}" is no range of addresses{advice}', ctx, param)


allow_addresses = click.option(
    "--allow-addresses",
    metavar="CIDR",
    type=_Network(),
    multiple=True,
    help=(
        "Connect to these addresses, too, although they are loopback, link-local, multicast, a "
        "cloud's metadata service or the API server; may be repeated."
    ),
)


def of_check(command: _Command) -> _Command:
    """Give a command what `springline check` is told: what to try, and how to print it."""
    return given(
        command,
        click.option(
            "-f",
            "--filename",
            "files",
            type=click.Path(exists=True, allow_dash=True, path_type=Path),
            multiple=True,
            required=True,
            help="Manifest file, directory of manifests, or - for standard input; may be repeated.",
        ),
        click.option(
            "--credentials",
            type=click.Path(exists=True, allow_dash=True, path_type=Path),
            multiple=True,
            help=(
                "File with changed Secrets or ConfigMaps; may be repeated. Each connection that"
                " reads one is tried with it, to say what a rotation would come to."
            ),
        ),
        click.option(
            "-o",
            "--output",
            type=click.Choice(["table", "yaml", "json", "junit", "github"]),
            default="table",
            show_default=True,
            help=(
                "How to print what was found. junit: XML for CI. github: the table, and annotations"
                " of GitHub Actions."
            ),
        ),
        token_dir,
        allow_addresses,
        log_level,
    )
