"""From commands of click to a page of the documentation: every command with its options.

It takes any group, so that whatever has a command line of its own is described in the same way.
`reference_pages` writes the files.
"""

import inspect
import re
from collections.abc import Iterator

import click

__all__ = ["sections"]

_EVERYWHERE = {"help", "version"}
# What click takes as: leave the lines of this paragraph as they are.
_AS_IT_IS = "\b\n"


def sections(group: click.Group, name: str) -> str:
    """Return the part of a page that a group makes, under the name that it is called by."""
    context = click.Context(group, info_name=name, **group.context_settings)
    return "\n\n".join(_command(group, context)) + "\n"


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    depth = 2
    parent = context
    while parent.parent is not None:
        parent, depth = parent.parent, depth + 1
    yield f"{'#' * depth} {context.command_path}"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```"
    yield _text(command.help or "")
    options = [
        each
        for each in command.params
        if isinstance(each, click.Option) and each.name not in _EVERYWHERE and not each.hidden
    ]
    if options:
        yield _table(options, context)
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            if not each.hidden:
                inner = click.Context(each, info_name=name, parent=context, **each.context_settings)
                yield from _command(each, inner)


def _text(written: str) -> str:
    paragraphs = re.split(r"\n{2,}", inspect.cleandoc(written))
    return "\n\n".join(
        f"```text\n{paragraph.removeprefix(_AS_IT_IS)}\n```"
        if paragraph.startswith(_AS_IT_IS)
        else _prose(paragraph)
        for paragraph in paragraphs
    )


def _table(options: list[click.Option], context: click.Context) -> str:
    rows = [_row(option, context) for option in options]
    lines: list[tuple[str, ...]] = [("option", "environment variable", "default", "meaning"), *rows]
    if not any(variable for _, variable, _, _ in rows):
        lines = [(names, *rest) for names, _, *rest in lines]
    texts = [f"| {' | '.join(cells)} |".replace("  ", " ") for cells in lines]
    texts.insert(1, f"|{'---|' * len(lines[0])}")
    return "\n".join(texts)


def _row(option: click.Option, context: click.Context) -> tuple[str, str, str, str]:
    names = [*option.opts, *option.secondary_opts]
    value = "" if option.is_flag else f" {_value(option, context)}"
    written = ", ".join(f"`{name}{value}`" for name in names)
    variable = _variable(option, context)
    meaning = [_prose(option.help or "")]
    if isinstance(option.type, click.Choice):
        meaning.append(f"One of {', '.join(f'`{each}`' for each in option.type.choices)}.")
    if isinstance(option.type, click.FloatRange | click.IntRange):
        meaning.append(f"From {option.type.min:g} to {option.type.max:g}.")
    return written, f"`{variable}`" if variable else "", _default(option), " ".join(meaning).strip()


def _value(option: click.Option, context: click.Context) -> str:
    if option.metavar is None and isinstance(option.type, click.Choice):
        return str(option.name).rpartition("_")[2].upper()
    if option.metavar is None and isinstance(option.type, click.FloatRange | click.IntRange):
        return "SECONDS" if "timeout" in str(option.name) else "NUMBER"
    return option.make_metavar(context)


def _variable(option: click.Option, context: click.Context) -> str:
    if option.envvar is not None:
        return option.envvar if isinstance(option.envvar, str) else ", ".join(option.envvar)
    if context.auto_envvar_prefix is None or not option.allow_from_autoenv:
        return ""
    return f"{context.auto_envvar_prefix}_{str(option.name).upper()}"


def _default(option: click.Option) -> str:
    if option.required:
        return "**required**"
    if option.is_flag and not option.secondary_opts:
        return "yes" if option.default is True else "no"
    match option.default:
        case bool(value):
            return "yes" if value else "no"
        case str(value) if value:
            return f"`{value}`"
        case int(value) | float(value):
            return f"`{value:g}`"
        case _:
            return ""


def _prose(text: str) -> str:
    """Keep a sentence from being taken for HTML or for another cell."""
    assert "|" not in text, text
    return text.replace("<", "&lt;").replace("\n", " ")
