"""YAML text to loaded documents: safe, strict about double keys, and silent about the text itself.

A file may be a Secret, so no error quotes what it read; it says where and what kind of mistake.
"""

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from springline.errors import ManifestError

__all__ = ["Loaded", "load"]

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True, slots=True)
class Loaded:
    """One document of a file, and the line it begins at (the first is 1)."""

    line: int
    content: Any


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML forbids and PyYAML takes."""


def _construct_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    loader.flatten_mapping(node)
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(
                None, None, "a key is not a plain value", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, "a key is given twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def load(text: bytes, *, where: str) -> list[Loaded]:
    """Return the documents of a YAML (or JSON) file; empty ones are left out, Lists are opened.

    Raises `ManifestError` naming the place of the first mistake, without quoting the text.
    """
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError([f"is not UTF-8 text at byte {error.start}"], where=where) from None
    documents: list[Loaded] = []
    problem = ""
    try:
        for node in yaml.compose_all(decoded, Loader=_StrictLoader):
            content = _construct(node)
            if content is not None:
                documents.extend(_opened(content, line=node.start_mark.line + 1))
    except yaml.MarkedYAMLError as error:
        problem = _described(error)
    except yaml.YAMLError:
        problem = "is not valid YAML: it holds a character that YAML does not allow"
    except RecursionError:
        problem = "is not usable YAML: it is nested too deeply"
    except ValueError:
        problem = "is not usable YAML: a value looks like a date or number and is none; quote it"
    # Outside of `except`: the original error holds the text it stumbled over.
    if problem:
        raise ManifestError([problem], where=where)
    return documents


def _construct(node: yaml.Node) -> Any:
    loader = _StrictLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _opened(content: Any, *, line: int) -> Iterator[Loaded]:
    """Yield the items of a `kind: List`, which `kubectl get -o yaml` writes, else the document."""
    if isinstance(content, dict) and content.get("kind") == "List":
        for item in content.get("items") or ():
            yield Loaded(line, item)
    else:
        yield Loaded(line, content)


def _described(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    problem = _QUOTED.sub("…", error.problem or error.context or "it cannot be read")
    return f"is not valid YAML{place}: {problem}"
