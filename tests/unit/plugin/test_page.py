"""docs/kubectl-plugin.md is in step with the commands."""

import re
import shlex
from pathlib import Path

import click

from springline.plugin.cli import main
from springline.plugin.errors import Exit
from support.markdown import Page

_OF_THE_PLUGIN = ("--help", "--version")

PAGE = Page(Path(__file__).parents[3] / "docs" / "kubectl-plugin.md")


def commands() -> list[list[str]]:
    """What is to be typed behind the plugin's name, word by word."""
    found = [re.split(r"kubectl[ -]springline(?= )", each, maxsplit=1) for each in PAGE.commands]
    return [shlex.split(re.split(r"[|)]", each[1])[0]) for each in found if len(each) == 2]


def test_every_command_is_shown() -> None:
    shown = {words[0] for words in commands()}
    assert shown - {*_OF_THE_PLUGIN} == main.commands.keys()


def test_shown_options_exist() -> None:
    for name, *words in commands():
        if name in _OF_THE_PLUGIN:
            continue
        parameters = main.commands[name].params
        known = {option for each in parameters for option in each.opts}
        shown = {word for word in words if word.startswith("-")}
        assert shown <= known, name
    for first, *_ in PAGE.rows("## How connections are"):
        for option in re.findall(r"`(-+[\w-]+)", first):
            status = [o for each in main.commands["status"].params for o in each.opts]
            assert option in status


def test_choices_of_the_output_are_shown() -> None:
    [output] = [each for each in main.commands["status"].params if each.name == "output"]
    assert isinstance(output.type, click.Choice)
    shown = set(re.findall(r"`-o (\w+)`", PAGE.text))
    assert shown == {*output.type.choices} - {"table"}


def test_exit_codes_are_told() -> None:
    assert [int(code) for code, _ in PAGE.rows("## Exit codes")] == sorted(Exit)
