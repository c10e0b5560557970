"""What a command says at its end: gathered while it works, printed when its event loop has ended.

A pager or a stopped terminal may take nothing for a long time, and a signal has to be obeyed
meanwhile.
"""

import click

__all__ = ["Page"]


class Page:
    """Lines for standard output and standard error, in their order."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, bool, bool]] = []

    def say(self, text: str = "", *, err: bool = False, nl: bool = True) -> None:
        """Add a line, or without `nl` a text that ends in one."""
        self._parts.append((text, err, nl))

    def print(self) -> None:
        """Print all that was added since the last time."""
        parts, self._parts = self._parts, []
        for text, err, nl in parts:
            click.echo(text, err=err, nl=nl)
