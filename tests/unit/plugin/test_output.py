"""What commands of the plugin say, and that they wait for nobody to read it."""

import asyncio
import os
import sys

import pytest

from springline.plugin import commands
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
