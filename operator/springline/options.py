"""Options of commands that `springline` and `kubectl springline` both have.

They need nothing but click, so that a plugin that only completes a word need not load the rest.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

__all__ = ["given", "log_level", "of_check", "token_dir"]

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
            type=click.Choice(["table", "yaml", "json"]),
            default="table",
            show_default=True,
            help="How to print what was found.",
        ),
        token_dir,
        log_level,
    )
