"""YAML or JSON text to loaded documents: what kubectl would send, and where each part of it stands.

A file may be a Secret, so no error quotes what it read; it says where and what kind of mistake.
What kubectl drops without a word is refused: a key given twice, and text after a document's end.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final, NoReturn

import yaml

from springline.api.problems import Path
from springline.errors import ManifestError
from springline.positions import Position
from springline.standalone import json_syntax, yaml_values
from springline.standalone.yaml_syntax import IMPLICIT, AliasNode, Reader
from springline.standalone.yaml_values import MERGE, UnusableError

__all__ = ["Loaded", "load"]

_MOST_REPEATED = 100_000
"""How many nodes the aliases of one file may repeat. Nobody writes a tenth of that; a file of nine
lines can ask for billions."""

_SEPARATOR: Final = re.compile(r"^---([^\n]*)(?:\n|\Z)", re.MULTILINE)
_HALF: Final = re.compile("[\ud800-\udfff]")

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Loaded:
    """One document of a file, and where it and its fields begin.

    A place is a line and a column; the first ones are 1.
    """

    content: Any
    begin: Place
    places: Mapping[Path, Place] = field(default_factory=dict)
    """Where the names of fields and the entries of lists stand."""

    def place(self, path: Path = ()) -> Place:
        """Return where a field or entry is, or, if it is missing, the next that would hold it."""
        for length in range(len(path), 0, -1):
            if (found := self.places.get(path[:length])) is not None:
                return found
        return self.begin


def load(text: bytes, *, path: FilePath, is_json: bool = False) -> list[Loaded]:
    """Return the documents of a file; empty ones are left out, Lists are opened.

    Text that begins with a brace is JSON if it can be, as it is to kubectl; `is_json` decides only
    which mistake is told where it is neither.

    Raises `ManifestError` with the place of the first mistake, without quoting the text.
    """
    decoded = _decoded(text, path)
    lines = _Lines(decoded)
    found: list[Loaded] = []
    mistake: _RefusedError | None = None
    try:
        for document in _documents(decoded, lines, is_json=is_json):
            found.extend(_opened(document))
    except _RefusedError as error:
        mistake = _RefusedError(error.problem, error.at)
    # Outside of `except`: the original error holds the text it stumbled over.
    if mistake is not None:
        line, column = lines.place(mistake.at) if isinstance(mistake.at, int) else mistake.at
        raise ManifestError([mistake.problem], position=Position(path, line, column))
    return found


class _RefusedError(Exception):
    """Text that cannot be read or used. `problem` quotes nothing, `at` may be an index."""

    def __init__(self, problem: str, at: int | Place) -> None:
        super().__init__(problem)
        self.problem = problem
        self.at = at


class _Lines:
    """Lines and columns as editors count them, the byte order mark left out."""

    def __init__(self, text: str) -> None:
        self._begins = [0, *(match.end() for match in re.finditer("\n", text))]
        self._end = len(text)
        self._marked = text.startswith("\ufeff")

    def place(self, at: int) -> Place:
        at = min(at, self._end)
        line = bisect_right(self._begins, at)
        column = at - self._begins[line - 1] + 1
        return line, max(1, column - 1) if self._marked and line == 1 else column


def _decoded(text: bytes, path: FilePath) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        position = error.start
    # Outside of `except`: the original error holds the text.
    before = text[:position].decode()
    line, column = _Lines(before).place(len(before))
    raise ManifestError(["is not UTF-8 text"], position=Position(path, line, column))


def _documents(text: str, lines: _Lines, *, is_json: bool) -> Iterator[Loaded]:
    at, mistake = 0, None
    if text.lstrip().startswith("{"):
        read: list[Loaded] = []
        at, mistake = _json_documents(text, lines, read)
        yield from read
        if mistake is not None and len(read) > 1:
            raise mistake
    elif is_json and text.strip():
        _, mistake = _json_documents(text, lines, [])
    if at == len(text):
        return
    try:
        yield from list(_yaml_documents(text, at, lines))
    except _RefusedError as error:
        raise (mistake if is_json and mistake is not None else error) from None


# --- JSON


def _json_documents(
    text: str, lines: _Lines, found: list[Loaded]
) -> tuple[int, _RefusedError | None]:
    """Add the JSON documents to `found`; return where they end, and why if the text does not."""
    at = 0
    try:
        while (value := json_syntax.read(text, at)) is not None:
            places = {path: lines.place(index) for path, index in value.places.items()}
            if value.content is not None:
                found.append(Loaded(value.content, lines.place(value.begin), places))
            at = value.end
    except json.JSONDecodeError as error:
        # The message is one of a fixed set; only the error's attributes hold the text.
        return at, _RefusedError(f"is not valid JSON: {error.msg}", error.pos)
    except json_syntax.RefusedError as error:
        raise _RefusedError(f"is not usable JSON: {error.problem}", error.at) from None
    except RecursionError:
        raise _RefusedError("is not usable JSON: it is nested too deeply", at) from None
    return len(text), None


# --- YAML


def _yaml_documents(text: str, at: int, lines: _Lines) -> Iterator[Loaded]:
    aliases = _AliasBudget(_MOST_REPEATED)
    for begin, end in _parts(text, at):
        # kubectl ends every line, also the last one, which a block scalar then holds.
        ended = "" if text[begin:end].endswith("\n") else "\n"
        node = _Part(text[begin:end] + ended, begin).node()
        if node is not None:
            document = _Document(begin, aliases)
            content = document.content(node)
            places = {path: lines.place(index) for path, index in document.spots.paths()}
            if content is not None:
                yield Loaded(content, lines.place(begin + node.start_mark.index), places)


def _parts(text: str, at: int) -> Iterator[tuple[int, int]]:
    """Yield where the documents begin and end: kubectl looks for `---` before it reads YAML."""
    for match in _SEPARATOR.finditer(text, at):
        behind = match[1].strip()
        if behind and not behind.startswith("#"):
            problem = "is not usable YAML: only a comment may follow --- on its line"
            raise _RefusedError(problem, text.index(behind, match.start(1)))
        yield at, match.start()
        at = match.end()
    yield at, len(text)


class _Part:
    """The text between two separators."""

    def __init__(self, text: str, begin: int) -> None:
        self._text = text
        self._begin = begin

    def node(self) -> yaml.Node | None:
        """Return the root of its document. Raises `_RefusedError`."""
        reader: Reader | None = None
        try:
            reader = Reader(self._text)
            node = reader.get_node() if reader.check_node() else None
        except yaml.reader.ReaderError as error:
            self._refuse("it holds a character that YAML does not allow", error.position)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._refuse(_described(error), mark.index if mark is not None else 0)
        except RecursionError:
            problem = "is not usable YAML: it is nested too deeply"
            raise _RefusedError(problem, self._begin) from None
        except ValueError:  # PyYAML turns "\\U" and eight digits into a character unchecked
            at = reader.index if reader is not None else 0
            self._refuse("an escape names no character", at)
        if reader.check_rest():
            at = reader.index if node is None else node.end_mark.index
            rest = re.compile(r"(?:\s|#[^\n]*(?:\n|\Z)|\.\.\.(?=\s))*").match(self._text, at)
            problem = "is not usable YAML: there is text after the end of the document"
            raise _RefusedError(problem, self._begin + (rest.end() if rest is not None else at))
        return node

    def _refuse(self, problem: str, at: int) -> NoReturn:
        words = f": {problem}" if problem else ""
        raise _RefusedError(f"is not valid YAML{words}", self._begin + at) from None


class _AliasBudget:
    """Limits what aliases and merge keys expand to."""

    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self, at: int) -> None:
        """Count one node that is repeated. Raises `_RefusedError`."""
        self._left -= 1
        if self._left < 0:
            raise _RefusedError("is not usable YAML: aliases repeat too much of the file", at)


@dataclass(slots=True)
class _Spot:
    """Where a part of a document stands, and its own parts; what overrides one takes its place."""

    at: int
    parts: "dict[str | int, _Spot]" = field(default_factory=dict)

    def part(self, name: str | int, at: int) -> "_Spot":
        """Note where a part begins, in the place of an earlier one of that name."""
        found = self.parts[name] = _Spot(at)
        return found

    def paths(self) -> Iterator[tuple[Path, int]]:
        """Yield the path and place of all parts, each before its own."""
        waiting: list[tuple[Path, _Spot]] = [((), self)]
        while waiting:
            path, spot = waiting.pop()
            if path:
                yield path, spot.at
            parts = [((*path, name), part) for name, part in spot.parts.items()]
            waiting += reversed(parts)


class _Document:
    """Builds the content of one document, and notes where its parts stand."""

    def __init__(self, begin: int, aliases: _AliasBudget) -> None:
        self.spots = _Spot(begin)
        self._begin = begin
        self._aliases = aliases
        self._within: list[yaml.Node] = []  # what aliases have led to

    def content(self, node: yaml.Node) -> Any:
        """Raises `_RefusedError`."""
        try:
            return self._value(node, self.spots)
        except RecursionError:
            self._refuse("it is nested too deeply", node)

    def _value(self, node: yaml.Node, spot: _Spot) -> Any:
        if self._within:
            self._aliases.spend(self._at(node))
        match node:
            case AliasNode():
                return self._aliased(node, spot)
            case yaml.MappingNode():
                return self._mapping(node, spot)
            case yaml.SequenceNode():
                return [self._entry(each, n, spot) for n, each in enumerate(node.value)]
            case _:
                if _HALF.search(node.value):  # PyYAML takes half a character from an escape
                    self._refuse("an escape names no character", node)
                try:
                    return yaml_values.scalar(node.tag, _text(node))
                except UnusableError as error:
                    self._refuse(error.problem, node)

    def _entry(self, node: yaml.Node, number: int, spot: _Spot) -> Any:
        return self._value(node, spot.part(number, self._at(node)))

    def _aliased(self, node: AliasNode, spot: _Spot) -> Any:
        with self._following(node) as target:
            return self._value(target, spot)

    def _mapping(self, node: yaml.MappingNode, spot: _Spot) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._fill(node, spot, found)
        return found

    def _fill(self, node: yaml.MappingNode, spot: _Spot, found: dict[str, Any]) -> None:
        """Add the fields of a mapping. As in Go, what comes later wins, be it merged or not."""
        own: set[str] = set()
        for name, value in node.value:
            if _is_merge(name):
                self._merge(value, spot, found)
                continue
            key = self._key(name)
            if key in own:
                self._refuse("a key is given twice", name)
            own.add(key)
            found[key] = self._value(value, spot.part(key, self._at(name)))

    def _merge(self, node: yaml.Node, spot: _Spot, found: dict[str, Any]) -> None:
        # The first of several wins.
        for each in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(each, AliasNode):
                with self._following(each) as target:
                    self._merge_one(target, each, spot, found)
            else:
                self._merge_one(each, each, spot, found)

    def _merge_one(
        self, node: yaml.Node, named: yaml.Node, spot: _Spot, found: dict[str, Any]
    ) -> None:
        if not isinstance(node, yaml.MappingNode):
            self._refuse("only mappings can be merged", named)
        self._aliases.spend(self._at(named))
        self._fill(node, spot, found)

    def _key(self, node: yaml.Node) -> str:
        scalar = node.value if isinstance(node, AliasNode) else node
        if not isinstance(scalar, yaml.ScalarNode):
            self._refuse("a key is not a plain value", node)
        if _HALF.search(scalar.value):
            self._refuse("an escape names no character", node)
        try:
            return yaml_values.key(scalar.tag, _text(scalar))
        except UnusableError as error:
            self._refuse(error.problem, node)

    @contextmanager
    def _following(self, node: AliasNode) -> Iterator[yaml.Node]:
        if any(each is node.value for each in self._within):
            self._refuse("an anchor holds itself", node)
        self._within.append(node.value)
        try:
            yield node.value
        finally:
            self._within.pop()

    def _at(self, node: yaml.Node) -> int:
        return self._begin + int(node.start_mark.index)

    def _refuse(self, problem: str, node: yaml.Node) -> NoReturn:
        raise _RefusedError(f"is not usable YAML: {problem}", self._at(node)) from None


def _is_merge(node: yaml.Node) -> bool:
    return (
        isinstance(node, yaml.ScalarNode) and node.value == "<<" and node.tag in (IMPLICIT, MERGE)
    )


def _text(node: yaml.Node) -> str:
    return str(node.value)


# --- documents


def _opened(document: Loaded) -> Iterator[Loaded]:
    """Yield the items of a `kind: List`, which `kubectl get -o yaml` writes, else the document."""
    content = document.content
    if not isinstance(content, dict) or content.get("kind") != "List":
        yield document
        return
    items = content.get("items") or []
    if not isinstance(items, list):
        problem = "is not usable: the items of a List must be a list"
        raise _RefusedError(problem, document.place(("items",)))
    places: list[dict[Path, Place]] = [{} for _ in items]
    for path, place in document.places.items():
        if len(path) > 1 and path[0] == "items" and isinstance(path[1], int):
            places[path[1]][path[2:]] = place
    for item, below in zip(items, places, strict=True):
        if item is not None:
            yield Loaded(item, below[()], below)


# --- mistakes

_SENTENCES = (
    (r"found undefined alias", "an alias has no anchor"),
    (r"found undefined tag handle", "a tag is not known"),
    (r"found character '\\t'", "there is a tab where only spaces may be"),
    (r"found character", "a value begins with a character that must be quoted"),
    (r"found unknown escape character", "a backslash is followed by what is no escape"),
    (r"expected escape sequence of", "an escape has too few hexadecimal digits"),
    (r"found unexpected end of stream", "a quote is not closed"),
    (r"found unexpected document separator", "a quote is not closed in its document"),
    (r"duplicate tag handle", "a tag handle is given twice"),
    (r"could not find expected ':'", "a colon is missing, or a space after it"),
    (r"expected <block end>", "the indentation does not match, or something is left over"),
    (r"expected ',' or '([]}])'", r"a comma or a closing \1 is missing"),
    # PyYAML's own words that hold nothing of the text.
    (r"((?:sequence entries|mapping keys|mapping values) are not allowed here)", r"\1"),
    (r"(expected .*?), but found", r"\1"),
    (r"(found incompatible YAML document|found duplicate YAML directive)", r"\1"),
)
"""PyYAML's words, and ours for them: of a problem that is not listed here nothing is shown."""


def _described(error: yaml.MarkedYAMLError) -> str:
    for pattern, sentence in _SENTENCES:
        if (match := re.match(pattern, error.problem or "")) is not None:
            return match.expand(sentence)
    return ""
