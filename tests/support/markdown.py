"""Pages of the documentation as a test sees them: headings, links, and blocks to copy from.

It knows as much of Markdown as our pages use: ATX headings, links in place, fenced blocks.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "Page"]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`\n]*`")
_CONTINUED = re.compile(r" *\\\n *")
_PROMPT = "$ "


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, empty if none is named, and what is in it."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """What is to be typed: the lines with a prompt, without what is shown as their output.

        A line that ends with a backslash goes on in the next one.
        """
        lines = _CONTINUED.sub(" ", self.text).splitlines()
        return [line.removeprefix(_PROMPT) for line in lines if line.startswith(_PROMPT)]


class Page:
    """One page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.prose = _FENCE.sub("", self.text)
        """The text without its blocks."""

    @property
    def blocks(self) -> list[Block]:
        """The blocks in their order, without the indentation of the list they stand in."""
        return [
            Block(match["language"], textwrap.dedent(match["text"]))
            for match in _FENCE.finditer(self.text)
        ]

    @property
    def commands(self) -> list[str]:
        """The commands of all blocks of a console."""
        blocks = (block for block in self.blocks if block.language == "console")
        return [command for block in blocks for command in block.commands]

    @property
    def code(self) -> list[str]:
        """What stands between backticks in the text and in tables, without blocks."""
        return [found.strip("`") for found in _CODE.findall(self.prose)]

    @property
    def headings(self) -> list[str]:
        """The headings, as written."""
        return _HEADING.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """What a link can name behind `#`: the headings as GitHub makes anchors of them."""
        found: set[str] = set()
        for heading in self.headings:
            anchor = base = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            number = 0
            while anchor in found:
                number += 1
                anchor = f"{base}-{number}"
            found.add(anchor)
        return found

    @property
    def links(self) -> Iterator[str]:
        """Where links lead to, as written."""
        yield from _LINK.findall(_CODE.sub("", self.prose))

    def rows(self, heading: str) -> list[list[str]]:
        """The cells of each row of the tables below a heading, without the tables' own heads."""
        _, _, rest = self.prose.partition(f"\n{heading}\n")
        below = re.split(r"^#{1,6} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
        lines = [line for line in below.splitlines() if line.startswith("|")]
        bodies = [
            line
            for number, line in enumerate(lines)
            if not any(map(_is_rule, lines[number : number + 2]))
        ]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in bodies]


def _is_rule(line: str) -> bool:
    return set(line) <= set("|- ")
