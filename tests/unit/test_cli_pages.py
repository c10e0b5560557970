"""The reference of a command line: any group of click, as a page."""

import click

from support import cli_pages


@click.group(context_settings={"auto_envvar_prefix": "TOOL"})
def tool() -> None:
    """Do things."""


@tool.command()
@click.argument("name")
@click.option("--colour", type=click.Choice(["red", "green"]), default="red", help="Which.")
@click.option("--depth", type=click.IntRange(1, 9), default=3, help="How deep, in <layers>.")
@click.option("--dry-run", is_flag=True, help="Only say it.")
@click.option("--where", metavar="DIR", required=True)
@click.option("--secret-door", hidden=True)
def dig(**_: object) -> None:
    """Dig a hole.

    \b
    tool dig here
    tool dig there
    """


@tool.command(hidden=True)
def cheat() -> None:
    """Have it dug."""


PAGE = """\
## tool

```text
tool [OPTIONS] COMMAND [ARGS]...
```

Do things.

### tool dig

```text
tool dig [OPTIONS] NAME
```

Dig a hole.

```text
tool dig here
tool dig there
```

| option | environment variable | default | meaning |
|---|---|---|---|
| `--colour COLOUR` | `TOOL_DIG_COLOUR` | `red` | Which. One of `red`, `green`. |
| `--depth NUMBER` | `TOOL_DIG_DEPTH` | `3` | How deep, in &lt;layers>. From 1 to 9. |
| `--dry-run` | `TOOL_DIG_DRY_RUN` | no | Only say it. |
| `--where DIR` | `TOOL_DIG_WHERE` | **required** | |
"""


def test_every_command_has_a_table_of_its_options() -> None:
    """What is hidden stays hidden, and examples stay as they are written."""
    assert cli_pages.sections(tool, "tool") == PAGE


def test_without_variables_there_is_no_column_for_them() -> None:
    """As for a program that takes none."""
    alone = click.Group("tool", commands={"dig": dig}, help="Do things.")
    page = cli_pages.sections(alone, "other tool")
    assert "### other tool dig" in page
    assert "| option | default | meaning |\n|---|---|---|\n| `--colour COLOUR` | `red` |" in page
