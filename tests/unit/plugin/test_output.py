"""What commands of the plugin say, and that they wait for nobody to read it."""

import asyncio
import os
import sys

import click
import pytest

from springline.plugin import columns, commands
from springline.plugin.connection import Connection
from springline.plugin.page import Page
from support.waiting import PATIENCE


def test_page_is_printed_once_in_its_order(capsys: pytest.CaptureFixture[str]) -> None:
    page = Page()
    page.say("one")
    page.say("a note", err=True)
    page.say("two\n", nl=False)
    page.say()
    assert capsys.readouterr() == ("", "")
    page.print()
    page.print()
    assert capsys.readouterr() == ("one\ntwo\n\n", "a note\n")


async def test_a_line_that_nobody_reads_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop goes on, and all of it is there for whoever reads later."""
    reader, writer = os.pipe()
    lines = 2000
    with os.fdopen(reader, encoding="utf-8") as read, os.fdopen(writer, "w") as written:
        monkeypatch.setattr(sys, "stdout", written)
        async with asyncio.timeout(PATIENCE), commands._saying() as say:
            for number in range(lines):
                say(f"{number} {'x' * 80}")
            reading = asyncio.get_running_loop().run_in_executor(
                None, lambda: [read.readline() for _ in range(lines)]
            )
        found = await reading
    assert [int(each.split()[0]) for each in found] == list(range(lines))


async def test_output_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: ASYNC230, PTH123 - it blocks nobody
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space left"):
            async with commands._saying() as say:
                say("done")


async def test_output_that_nobody_wants_any_more_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of `head`, which has had enough."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        async with commands._saying() as say:
            say("done")


CONNECTION = Connection(
    {
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"brokerRef": {"name": "rabbit"}, "virtualHost": "a-long-name-of-a-place"},
        "status": {
            "state": "Connected",
            "conditions": [{"type": "Ready", "status": "True", "reason": "Connected"}],
            "credentials": {"username": "a-long-name-of-a-user"},
        },
    }
)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_table_fits_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The columns that say least are left out, and what was asked for with -o wide never is."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    page = Page()
    commands._say_table(page, [CONNECTION], namespaces=True, wide=False)
    page.print()
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= width
    assert {"NAMESPACE", "NAME", "READY", "STATE"} <= set(lines[0].split())
    assert ("USER" in lines[0]) is (width == 200)
    commands._say_table(page, [CONNECTION], namespaces=True, wide=True)
    page.print()
    assert "HOLDER" in capsys.readouterr().out


def test_table_in_a_pipe_has_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    page = Page()
    commands._say_table(page, [CONNECTION], namespaces=True, wide=False)
    page.print()
    assert tuple(capsys.readouterr().out.splitlines()[0].split()) == columns.header(
        namespaces=True, wide=False
    )
