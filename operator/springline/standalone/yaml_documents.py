"""YAML or JSON text to loaded documents: safe, strict about double keys, and silent about the text.

A file may be a Secret, so no error quotes what it read; it says where and what kind of mistake.
Plain values mean what they mean to the API server, which reads JSON's types and leaves dates alone.
"""

import json
import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from springline.errors import ManifestError

__all__ = ["Loaded", "load", "load_json"]

_MOST_REPEATED = 100_000
"""How many nodes the aliases of one file may repeat. Nobody writes a tenth of that; a file of nine
lines can ask for billions."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One document of a file, and the line it begins at (the first is 1)."""

    line: int
    content: Any


def load(text: bytes, *, where: str) -> list[Loaded]:
    """Return the documents of a YAML file; empty ones are left out, Lists are opened.

    Raises `ManifestError` naming the place of the first mistake, without quoting the text.
    """
    decoded = _decoded(text, where=where)
    documents: list[Loaded] = []
    problem = ""
    aliases = _AliasBudget(_MOST_REPEATED)
    try:
        for node in yaml.compose_all(decoded, Loader=_Loader):
            aliases.spend(node)
            documents.extend(_opened(_construct(node), lines=_lines(node)))
    except _RefusedError as error:
        problem = f"is not usable YAML{error.place}: {error.problem}"
    except yaml.MarkedYAMLError as error:
        problem = f"is not valid YAML{_described(error)}"
    except yaml.YAMLError:
        problem = "is not valid YAML: it holds a character that YAML does not allow"
    except RecursionError:
        problem = "is not usable YAML: it is nested too deeply"
    except ValueError:  # PyYAML turns "\\U" and eight digits into a character unchecked
        problem = "is not valid YAML: an escape names no character"
    # Outside of `except`: the original error holds the text it stumbled over.
    if problem:
        raise ManifestError([problem], where=where)
    return documents


def load_json(text: bytes, *, where: str) -> list[Loaded]:
    """Return the document of a JSON file as `load` does for YAML, with the same errors.

    YAML's readers take most JSON, but neither tabs nor escaped characters beyond the first 65,536.
    """
    decoded = _decoded(text, where=where)
    documents: list[Loaded] = []
    problem = ""
    try:
        content = json.loads(
            decoded, object_pairs_hook=_without_doubles, parse_constant=_no_constant
        )
        documents.extend(_opened(content, lines=(1,)))
    except json.JSONDecodeError as error:
        # The message is one of a fixed set; only the error's attributes hold the text.
        problem = f"is not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}"
    except _RefusedError as error:
        problem = f"is not usable JSON: {error.problem}"
    except RecursionError:
        problem = "is not usable JSON: it is nested too deeply"
    except ValueError:
        problem = "is not usable JSON: a number has too many digits"
    if problem:
        raise ManifestError([problem], where=where)
    return documents


class _RefusedError(Exception):
    """Text that reads well and cannot be used. `problem` is a constant sentence."""

    def __init__(self, problem: str, *, place: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place


def _decoded(text: bytes, *, where: str) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        position = error.start
    # Outside of `except`: the original error holds the text.
    raise ManifestError([f"is not UTF-8 text at byte {position + 1}"], where=where)


# --- values


class _Loader(yaml.SafeLoader):
    """SafeLoader with the types of JSON and `!!binary`; it refuses keys that are given twice."""


# Without timestamps: a date is text, as it is to the API server.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or not tag.endswith((":timestamp", ":omap", ":pairs", ":set"))
}

_MERGE = "tag:yaml.org,2002:merge"
_VALUE = "tag:yaml.org,2002:value"


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    if isinstance(node, yaml.MappingNode):  # and not a list that is tagged !!map
        loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


def _construct_scalar(loader: _Loader, node: yaml.ScalarNode) -> Any:
    """Construct a bool, int or float, for which PyYAML's own errors quote the text."""
    try:
        return yaml.SafeLoader.yaml_constructors[node.tag](loader, node)
    except (ValueError, LookupError, OverflowError):  # of a float to the base of 60
        kind = node.tag.rpartition(":")[2]
    # Outside of `except`: the original error holds the value.
    return _refuse(f"a value is no usable {kind}; if it is text, quote it", node)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
for _kind in ("bool", "int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct_scalar)


def _construct(node: yaml.Node) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


# --- what is refused before anything is constructed


class _AliasBudget:
    """Limits what aliases and merge keys expand to, and refuses what no tree can have."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._repeated = 0
        self._loader = _Loader("")

    def spend(self, root: yaml.Node) -> None:
        """Count the nodes that `root` repeats. Raises `_RefusedError`."""
        sizes: dict[int, int] = {}
        self._size(root, sizes, set())

    def _size(self, node: yaml.Node, sizes: dict[int, int], within: set[int]) -> int:
        """Return how many nodes there are from this one downwards, repetitions counted."""
        if id(node) in within:
            _refuse("an anchor holds itself", node)
        if id(node) in sizes:
            self._repeated += sizes[id(node)]
            if self._repeated > self._limit:
                _refuse("aliases repeat too much of the file", node)
            return sizes[id(node)]
        size = 1
        if isinstance(node, yaml.CollectionNode):
            within.add(id(node))
            for child in self._children(node):
                size += self._size(child, sizes, within)
            within.discard(id(node))
        sizes[id(node)] = size
        return size

    def _children(self, node: yaml.CollectionNode) -> Iterator[yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            yield from node.value
            return
        # Before merge keys are resolved, because overriding a merged key is what they are for.
        seen: set[Hashable] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                _refuse("a key is not a plain value", key)
            special = key.tag in (_MERGE, _VALUE)
            plain = key.value if special else self._loader.construct_object(key)
            if plain in seen:
                _refuse("a key is given twice", key)
            seen.add(plain)
            yield key
            yield value


def _refuse(problem: str, node: yaml.Node) -> NoReturn:
    raise _RefusedError(problem, place=_place(node.start_mark))


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RefusedError("a key is given twice")
    return found


def _no_constant(_: str) -> NoReturn:
    raise _RefusedError("NaN and Infinity are no numbers of JSON")


# --- documents


def _lines(node: yaml.Node) -> Sequence[int]:
    """Return the line of the document, and those of the entries of its `items`."""
    lines = [node.start_mark.line + 1]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "items" and isinstance(value, yaml.SequenceNode):
                lines.extend(item.start_mark.line + 1 for item in value.value)
    return lines


def _opened(content: Any, *, lines: Sequence[int]) -> Iterator[Loaded]:
    """Yield the items of a `kind: List`, which `kubectl get -o yaml` writes, else the document."""
    first, *below = lines
    if content is None:
        return
    if not isinstance(content, dict) or content.get("kind") != "List":
        yield Loaded(first, content)
        return
    items = content.get("items")
    if not isinstance(items, list | None):
        raise _RefusedError("the items of a List must be a list", place=f" at line {first}")
    for position, item in enumerate(items or ()):
        yield Loaded(below[position] if position < len(below) else first, item)


# --- mistakes

_SENTENCES = (
    (r"found undefined alias", "an alias has no anchor"),
    (r"found undefined tag handle|could not determine a constructor", "a tag is not known"),
    (r"found character '\\t'", "there is a tab where only spaces may be"),
    (r"found character", "a value begins with a character that must be quoted"),
    (r"found unknown escape character", "a backslash is followed by what is no escape"),
    (r"expected escape sequence of", "an escape has too few hexadecimal digits"),
    (r"found unexpected end of stream", "a quote is not closed"),
    (r"found unexpected document separator", "a quote is not closed in its document"),
    (r"failed to", "a value is not base64"),
    (r"duplicate tag handle", "a tag handle is given twice"),
    (r"second occurrence", "an anchor is given twice"),
    (r"could not find expected ':'", "a colon is missing, or a space after it"),
    (r"expected <block end>", "the indentation does not match, or something is left over"),
    (r"expected ',' or '([]}])'", r"a comma or a closing \1 is missing"),
    # PyYAML's own words that hold nothing of the text.
    (r"((?:sequence entries|mapping keys|mapping values) are not allowed here)", r"\1"),
    (r"(expected .*?), but found", r"\1"),
    (r"(expected .* for merging)", r"\1"),
    (r"(found incompatible YAML document|found duplicate YAML directive)", r"\1"),
)
"""PyYAML's words, and ours for them: of a problem that is not listed here nothing is shown."""


def _described(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = _place(mark) if mark is not None else ""
    for pattern, sentence in _SENTENCES:
        if (match := re.match(pattern, error.problem or "")) is not None:
            return f"{place}: {match.expand(sentence)}"
    return place


def _place(mark: yaml.Mark) -> str:
    return f" at line {mark.line + 1}, column {mark.column + 1}"
