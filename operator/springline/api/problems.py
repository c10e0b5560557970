"""What is wrong with a document, in sentences.

    spec.hartbeat: unknown field; did you mean "heartbeat"?

A problem is the path of a field and a sentence about it. They come from two sides: pydantic's
errors about single fields, translated here, and the cross-field rules of `rules`. This module also
has the other end of that translation, `refused`, with which our own validators hand over theirs.

An offending value is quoted only where no secret can stand: never for a Secret, never at or below
`spec.credentials`, and elsewhere without whatever precedes an `@`. Paths are always shown, but
where values are hidden, so are names that cannot be one: `{password:hunter2}` lacks a space.
"""

import dataclasses
import datetime
import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from springline.api import suggestions
from springline.api.texts import printable

__all__ = [
    "NOT_TEXT",
    "Path",
    "Problem",
    "by_sentence",
    "from_validation",
    "quoted",
    "refused",
    "sentences",
]

Path = tuple[str | int, ...]

NOT_TEXT: Final = "must be text that UTF-8 can express"  # a lone surrogate is not

LONGEST: Final = 60  # characters of a value that are shown

CLOSE: Final = 0.65  # "hostname" is close to "host", "namespace" is not to "name"

# pydantic's type of error -> what the value is not
NOUNS: Final = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a number",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_type": "a string",
    "tuple_type": "a list",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, and a sentence that continues after `path: `."""

    path: Path
    sentence: str
    at: Path | None = dataclasses.field(default=None, repr=False, compare=False)
    """The whole path, where parts of the other one are hidden."""

    def __str__(self) -> str:
        path = formatted(self.path)
        return f"{path}: {self.sentence}" if path else self.sentence


def refused(complaint: str, *, expected: str) -> PydanticCustomError:
    """Return the error with which a validator refuses a value.

    `complaint` follows the quoted value (`"30" is not a duration`), `expected` stands alone where
    the value must not or cannot be shown (`must be a duration`). With an empty `complaint` the
    value is never shown.
    """
    return PydanticCustomError(
        "refused", "{expected}", {"complaint": complaint, "expected": expected}
    )


def sentences(problems: Iterable[Problem]) -> list[str]:
    """Return the problems as text in the order of their paths, each once."""
    return list(by_sentence(problems))


def by_sentence(problems: Iterable[Problem]) -> dict[str, Path]:
    """Return what `sentences` does, each with the whole path of what it is about."""
    ordered = sorted(problems, key=lambda problem: (_position(problem.path), problem.sentence))
    found: dict[str, Path] = {}
    for problem in ordered:
        found.setdefault(str(problem), problem.path if problem.at is None else problem.at)
    return found


def from_validation(
    error: ValidationError, model: type[BaseModel], *, secret: bool
) -> Iterator[Problem]:
    """Translate what pydantic found in a document of type `model`; `secret` hides every value."""
    for details in error.errors(include_url=False):
        path = details["loc"]
        hidden = secret or path[:2] == ("spec", "credentials")
        if path and path[-1] == "[key]":
            path = path[:-1]
        sentence = _sentence(details, model, path, hidden=hidden)
        if not sentence:
            continue
        if details["type"] == "invalid_key":
            path = path[:-1]  # it has no text, so it is not part of a path
        yield Problem(_plausible(path) if hidden else path, sentence, at=path)


def quoted(value: object) -> str | None:
    """Return a value as a sentence shows it, or None where it is not a scalar."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 64:
            return "a number of that size"  # Python refuses to print the largest ones
        case int() | float():
            return str(value)
        case datetime.date():
            return value.isoformat()
        case str():
            return json.dumps(printable(_cut(_without_login(value))), ensure_ascii=False)
        case _:
            return None


def formatted(path: Path) -> str:
    """Write a path as people do: `spec.endpoints[0].host`, `data["ca.crt"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", part):
            text += f".{_cut(part)}"
        else:
            text += f"[{json.dumps(printable(_cut(part)), ensure_ascii=False)}]"
    return text.removeprefix(".")


def _sentence(
    details: ErrorDetails, model: type[BaseModel], path: Path, *, hidden: bool
) -> str | None:
    """Return the sentence for one error, or None where another one says it already."""
    value = details["input"]
    shown = None if hidden else quoted(value)
    context: Mapping[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "missing":
            return "required"
        case "extra_forbidden":
            return _unknown(model, path)
        case "refused" if shown and context["complaint"]:
            return f"{shown} {context['complaint']}"
        case "refused":
            return str(context["expected"])
        case "literal_error":
            expected = "must be " + str(context["expected"]).replace("'", "")
            return f"{shown} is not accepted; it {expected}" if shown else expected
        case "string_unicode":
            return NOT_TEXT
        case "invalid_key":
            return 'names of fields must be strings; put those like "on" and "1" in quotes'
        case kind if kind in NOUNS:
            return _mistyped(NOUNS[kind], value, shown)
        case _:
            return "is not accepted" if hidden else details["msg"]


def _plausible(path: Path) -> Path:
    """Hide the parts of a path that cannot be the name of a field or key."""
    return tuple(
        part if isinstance(part, int) or re.fullmatch(r"[-._/A-Za-z0-9]+", part) else "…"
        for part in path
    )


def _mistyped(noun: str, value: object, shown: str | None) -> str:
    if isinstance(value, Mapping):
        return f"must be {noun}, not a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return f"must be {noun}, not a list"
    if value is None:
        return f"must be {noun}, not null"
    sentence = f"{shown} is not {noun}" if shown else f"must be {noun}"
    if noun == "a string":
        return f"{sentence}; put it in quotes"
    if isinstance(value, str) and noun in {"a whole number", "a number", "true or false"}:
        return f"{sentence}; write it without quotes" if _unquotes_to(noun, value) else sentence
    return sentence


def _unquotes_to(noun: str, text: str) -> bool:
    if noun == "true or false":
        return text in {"true", "false"}
    return re.fullmatch(r"[0-9]+" if noun == "a whole number" else r"[0-9.]+", text) is not None


def _unknown(model: type[BaseModel], path: Path) -> str:
    """Say that a field is unknown, and which one was probably meant."""
    holder = _model_at(model, path[:-1])
    name = path[-1]
    if holder is None or not isinstance(name, str):
        return "unknown field"
    known = suggestions.suggestion((each.__name__ for each in holder.__mro__), name)
    if known:
        return f"unknown field; {known}"
    names = {(field.alias or key).lower(): field.alias or key for key, field in _fields(holder)}
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=CLOSE)
    return f'unknown field; did you mean "{names[close[0]]}"?' if close else "unknown field"


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """Return the model that describes the object at `path`, or None where that is not an object."""
    found: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue  # an entry of the list whose type the field before already gave
        if found is None:
            return None
        annotations = (
            field.annotation for name, field in _fields(found) if part == (field.alias or name)
        )
        found = _model_within(next(annotations, None))
    return found


def _model_within(annotation: object) -> type[BaseModel] | None:
    """Return the model in `Model`, `Model | None`, `tuple[Model, ...]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    within = (_model_within(argument) for argument in get_args(annotation))
    return next((model for model in within if model), None)


def _fields(model: type[BaseModel]) -> Iterable[tuple[str, Any]]:
    return model.model_fields.items()


def _position(path: Path) -> tuple[tuple[bool, int, str], ...]:
    """Order paths: an object before its fields, entries by number, names by the alphabet."""
    return tuple((False, part, "") if isinstance(part, int) else (True, 0, part) for part in path)


def _without_login(text: str) -> str:
    """Take user, password and query out of what may be a URL."""
    text = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", r"\1***@", text, flags=re.DOTALL)
    return text.partition("?")[0] if "://" in text else text


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
