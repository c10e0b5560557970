"""What each reason means and what to do, as the documentation has it.

`reasons.json` beside this module is taken from docs/status.md and docs/troubleshooting.md by
`make reasons`; a test holds it in step.
"""

import difflib
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from springline.plugin.errors import Exit, PluginError

__all__ = ["Explanation", "Meaning", "all_of_them", "find", "overview", "text"]

_FILE: Final = "reasons.json"

# Links of Markdown, and what is made of them where they cannot be followed.
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)\s]*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a reason says in one condition."""

    condition: str
    status: str
    meaning: str
    advice: str = ""
    retry: str = ""
    """Which family it is of, or which ones; they say when it is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything on one reason."""

    reason: str
    meanings: tuple[Meaning, ...]
    section: str
    """Of the page on troubleshooting, in Markdown; empty where nothing is wrong."""


@functools.cache
def all_of_them() -> Mapping[str, Explanation]:
    """Return every reason, in the order of the documentation."""
    return {
        reason: Explanation(
            reason=reason,
            meanings=tuple(Meaning(**each) for each in found["meanings"]),
            section=found["section"],
        )
        for reason, found in _content()["reasons"].items()
    }


@functools.cache
def _content() -> dict[str, Any]:
    file = resources.files("springline.plugin") / _FILE
    return dict(json.loads(file.read_text(encoding="utf-8")))


def find(name: str) -> Explanation:
    """Return one reason, in whatever case it is written. Raises `PluginError`."""
    known = {reason.lower(): reason for reason in all_of_them()}
    if name.lower() in known:
        return all_of_them()[known[name.lower()]]
    near = [known[each] for each in difflib.get_close_matches(name.lower(), known)]
    near += [known[each] for each in known if name.lower() in each and known[each] not in near]
    message = f'there is no reason "{name}"'
    message += f"; did you mean {' or '.join(near)}?" if near else "; without a name all are listed"
    raise PluginError(message, Exit.UNUSABLE)


def overview() -> list[tuple[str, ...]]:
    """Return a table of all reasons, its head included."""
    rows: list[tuple[str, ...]] = [("CONDITION", "REASON", "STATUS", "MEANING")]
    for explanation in all_of_them().values():
        for each in explanation.meanings:
            meaning = _plain(each.meaning)
            rows.append((each.condition, explanation.reason, each.status or "-", meaning))
    kinds = list(dict.fromkeys(row[0] for row in rows))
    return sorted(rows, key=lambda row: kinds.index(row[0]))


def text(explanation: Explanation) -> str:
    """Return all that is known of a reason, to be read."""
    parts = [explanation.reason]
    for each in explanation.meanings:
        status = f" {each.status}" if each.status else ""
        parts.append(f"{each.condition}{status}: {_plain(each.meaning)}")
        if each.advice:
            parts.append(f"What to do: {_plain(each.advice)}")
        if each.retry:
            parts.append(f"Tried again: {_tried_again(each.retry)}")
    if explanation.section:
        parts.append(_plain(explanation.section))
    return "\n\n".join(parts)


def _tried_again(retry: str) -> str:
    """Return when what is of a family is tried again, or of one of several."""
    families: dict[str, str] = _content()["families"]
    if retry in families:
        return families[retry]
    meant = [f"  {word}: {sentence}" for word, sentence in families.items() if word in retry]
    return "\n".join([_plain(retry), *meant])


def _plain(markdown: str) -> str:
    """Return Markdown as a terminal shows it best: blocks indented, and links as words."""
    lines, in_block = [], False
    for line in markdown.splitlines():
        if line.lstrip().startswith("```"):
            in_block = not in_block
        elif in_block:
            lines.append(f"    {line.strip() if line.startswith('  ') else line}".rstrip())
        else:
            lines.append(_LINK.sub(_link_in_words, line))
    return "\n".join(lines)


def _link_in_words(link: re.Match[str]) -> str:
    words, target = link[1], link[2]
    page, _, anchor = target.partition("#")
    if page in ("", "troubleshooting.md") and anchor.lower() in map(str.lower, all_of_them()):
        return words
    where = target if target.startswith("https://") else f"docs/{target}"
    return f"{words} ({where})" if page else words
