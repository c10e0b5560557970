"""JSON text to values, each with its place: the standard library's reader says where nothing is."""

import json
import math
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final

from springline.api.problems import Path
from springline.standalone import yaml_values

__all__ = ["RefusedError", "Value", "read"]

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_CONSTANTS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_LONGEST: Final = 400
"""Digits of a number. The largest one that JSON's readers know has 309."""


class RefusedError(ValueError):
    """JSON that reads well and cannot be used. `problem` quotes nothing, `at` is an index."""

    def __init__(self, problem: str, at: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.at = at


class Value:
    """One value, where it ends, and where everything in it begins, by its path."""

    def __init__(self, text: str, at: int) -> None:
        """Read the value at `at`. Raises `json.JSONDecodeError` and `RefusedError`."""
        self._text = text
        self.places: dict[Path, int] = {}
        self.begin = self._next(at)
        self.content, self.end = self._value(self.begin, ())

    def _value(self, at: int, path: Path) -> tuple[Any, int]:
        self.places.setdefault(path, at)
        match self._text[at : at + 1]:
            case "{":
                return self._object(at + 1, path)
            case "[":
                return self._array(at + 1, path)
            case '"':
                return self._string(at)
        for word, value in _CONSTANTS.items():
            if self._text.startswith(word, at):
                return value, at + len(word)
        if (match := _NUMBER.match(self._text, at)) is None:
            raise json.JSONDecodeError("Expecting value", self._text, at)
        return self._number(match[0], at), match.end()

    def _number(self, text: str, at: int) -> int | float:
        whole = text.lstrip("-").isdecimal()
        value = int(text) if whole and len(text) < _LONGEST else float(text)
        try:
            fits = math.isfinite(value)
        except OverflowError:
            fits = False
        if not fits:
            raise RefusedError("a number is too large", at)
        return yaml_values.number(value)

    def _string(self, at: int) -> tuple[str, int]:
        if self._text[at : at + 1] != '"':
            raise json.JSONDecodeError(
                "Expecting property name enclosed in double quotes", self._text, at
            )
        found, end = scanstring(self._text, at + 1, True)
        return re.sub("[\ud800-\udfff]", "\ufffd", found), end  # as Go does with half a character

    def _object(self, at: int, path: Path) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = self._next(at)
        if self._text[at : at + 1] == "}":
            return found, at + 1
        while True:
            begin = at
            name, at = self._string(at)
            if name in found:
                raise RefusedError("a key is given twice", begin)
            self.places[*path, name] = begin
            at = self._next(self._expected(":", self._next(at)))
            found[name], at = self._value(at, (*path, name))
            at = self._next(at)
            if self._text[at : at + 1] == "}":
                return found, at + 1
            at = self._next(self._expected(",", at))

    def _array(self, at: int, path: Path) -> tuple[list[Any], int]:
        found: list[Any] = []
        at = self._next(at)
        if self._text[at : at + 1] == "]":
            return found, at + 1
        while True:
            value, at = self._value(at, (*path, len(found)))
            found.append(value)
            at = self._next(at)
            if self._text[at : at + 1] == "]":
                return found, at + 1
            at = self._next(self._expected(",", at))

    def _expected(self, delimiter: str, at: int) -> int:
        if self._text[at : at + 1] != delimiter:
            raise json.JSONDecodeError(f"Expecting {delimiter!r} delimiter", self._text, at)
        return at + 1

    def _next(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return at if match is None else match.end()


def read(text: str, at: int) -> Value | None:
    """Return the value that begins at `at` or after white space, or None where the text ends.

    Raises `json.JSONDecodeError`, whose message is one of a fixed set, and `RefusedError`.
    """
    match = _SPACE.match(text, at)
    return None if match is not None and match.end() == len(text) else Value(text, at)
