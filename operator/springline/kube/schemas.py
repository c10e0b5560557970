"""Schemas of CustomResourceDefinitions: what they take of a value, and what one lacks of another.

Pure. It knows every keyword of a structural schema but rules in CEL and combinations of schemas:
of those the API server alone is the judge. A schema is a mapping as it stands in the definition.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Fitted", "Schema", "compact", "fitted", "lacking"]

Schema = Mapping[str, Any]

_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"

_OF_VALUES: Final = frozenset(
    {
        *("type", "nullable", "enum", "pattern", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        *("minItems", "maxItems", "minProperties", "maxProperties"),
        *(_PRESERVE, _INT_OR_STRING),
    }
)
"""Keywords that say something about a value itself, and nothing of what is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A value as far as a schema takes it."""

    value: dict[str, Any]
    left_out: tuple[str, ...] = ()
    """Paths of what is missing in it, such as `status.server.version`."""


class _Nothing:
    """What is left of a value of which the schema takes nothing."""


_NOTHING: Final = _Nothing()


def compact(schema: object) -> Schema:
    """Return a schema without what says nothing about values, so that two can be compared."""
    if not isinstance(schema, Mapping):
        return {}
    result = {key: value for key, value in schema.items() if key in _OF_VALUES}
    if "default" in schema:
        result["default"] = True  # that there is one is enough to know
    if isinstance(required := schema.get("required"), Collection):
        result["required"] = sorted(str(name) for name in required)
    if isinstance(properties := schema.get("properties"), Mapping):
        result["properties"] = {str(name): compact(each) for name, each in properties.items()}
    if "items" in schema:
        result["items"] = compact(schema["items"])
    if others := schema.get("additionalProperties"):
        result["additionalProperties"] = True if others is True else compact(others)
    return result


def lacking(ours: Schema, theirs: Schema, path: str) -> Iterator[str]:
    """Give the paths of the fields of `ours` that `theirs` lacks, or has as another type.

    Of a field that is missing as a whole, that of the whole. `path` is that of both.
    """
    for name, each in ours.get("properties", {}).items():
        yield from _lacking(each, _member(theirs, name), f"{path}.{name}")
    if isinstance(others := ours.get("additionalProperties"), Mapping):
        yield from _lacking(others, _member(theirs, "*"), f"{path}.*")
    if "items" in ours:
        yield from _lacking(ours["items"], theirs.get("items", {}), f"{path}[]")


def _lacking(ours: Schema, theirs: Schema | None, path: str) -> Iterator[str]:
    if theirs is None or ("type" in theirs and theirs["type"] != ours.get("type")):
        yield path
    elif not _is_open(theirs):
        yield from lacking(ours, theirs, path)


def fitted(value: Mapping[str, Any], schema: Schema, path: str) -> Fitted:
    """Return what the schema takes of a status, and what had to be left out of it.

    What the schema does not take is left out at the smallest level that works: a field; the object
    around it that cannot be without it; an item of a list. The status itself cannot be left out, so
    what it has to have stays in it, whatever that is: perhaps the API server takes it, because it
    has it already.
    """
    left_out: list[str] = []
    kept = _members(value, schema, path, left_out)
    for name in schema.get("required", ()):
        if name in value and name not in kept:
            kept[name] = value[name]
            left_out.remove(f"{path}.{name}")
    return Fitted(value=kept, left_out=tuple(dict.fromkeys(left_out)))


def _is_open(schema: Schema) -> bool:
    """Whether anything can be in it."""
    return bool(schema.get(_PRESERVE)) or schema.get("additionalProperties") is True


def _member(schema: Schema, name: str) -> Schema | None:
    """Return the schema of a field; None if there may be no such field."""
    found = schema.get("properties", {}).get(name)
    if found is None:
        found = schema.get("additionalProperties")
    if isinstance(found, Mapping):
        return found
    return {_PRESERVE: True} if _is_open(schema) else None


def _fit(value: Any, schema: Schema, path: str, left_out: list[str]) -> Any:
    """Return what the schema takes of a value, and note what of it is left out."""
    if not _has_type(value, schema) or not _is_within(value, schema):
        return _NOTHING
    match value:
        case Mapping():
            kept = _members(value, schema, path, left_out)
            return _NOTHING if _is_incomplete(kept, schema) else kept
        case list() | tuple():
            return _items(value, schema, path, left_out)
        case _:
            return value


def _members(
    value: Mapping[str, Any], schema: Schema, path: str, left_out: list[str]
) -> dict[str, Any]:
    kept = {}
    named = schema.get("properties", {})
    for name, each in value.items():
        member = _member(schema, name)
        if member is None:
            left_out.append(f"{path}.{name}")
            continue
        # Map keys are free text: told one by one, they would be fields without an end.
        at = f"{path}.{name}" if name in named else f"{path}.*"
        fits = _noted(each, member, at, left_out)
        if fits is not _NOTHING:
            kept[name] = fits
    return kept


def _items(value: Sequence[Any], schema: Schema, path: str, left_out: list[str]) -> Any:
    items = schema.get("items", {})
    fits = [_noted(each, items, f"{path}[]", left_out) for each in value]
    kept = [each for each in fits if each is not _NOTHING]
    if len(kept) > (most := schema.get("maxItems", len(kept))):
        left_out.append(f"{path}[]")
        kept = kept[:most]
    return kept if len(kept) >= schema.get("minItems", 0) else _NOTHING


def _noted(value: Any, schema: Schema, path: str, left_out: list[str]) -> Any:
    """As `_fit`; if nothing is left, that is noted in place of what is missing inside."""
    before = len(left_out)
    fits = _fit(value, schema, path, left_out)
    if fits is _NOTHING:
        left_out[before:] = [path]
    return fits


def _is_incomplete(value: Mapping[str, Any], schema: Schema) -> bool:
    """Whether something is missing that the API server does not fill in."""
    if len(value) < schema.get("minProperties", 0):
        return True
    properties = schema.get("properties", {})
    return any(
        name not in value and "default" not in properties.get(name, {})
        for name in schema.get("required", ())
    )


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (Mapping,),
    "array": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _has_type(value: Any, schema: Schema) -> bool:
    if value is None:
        return bool(schema.get("nullable")) or _PRESERVE in schema
    if schema.get(_INT_OR_STRING):
        return isinstance(value, int | str) and not isinstance(value, bool)
    wanted = str(schema.get("type"))
    if isinstance(value, bool):  # which is a number, too
        return wanted == "boolean" or wanted not in _TYPES
    return wanted not in _TYPES or isinstance(value, _TYPES[wanted])


def _is_within(value: Any, schema: Schema) -> bool:
    """Whether a value is one of those that the keywords about values allow."""
    if "enum" in schema and value not in schema["enum"]:
        return False
    match value:
        case bool() | None:
            return True
        case str():
            return _is_text_within(value, schema)
        case int() | float():
            return _is_number_within(value, schema)
        case Mapping():
            return bool(len(value) <= schema.get("maxProperties", len(value)))
        case _:
            return True


def _is_text_within(value: str, schema: Schema) -> bool:
    length = len(value)
    if not schema.get("minLength", 0) <= length <= schema.get("maxLength", length):
        return False
    if "pattern" not in schema:
        return True
    try:
        return re.search(schema["pattern"], value) is not None
    except re.error:
        return True  # its dialect is not quite Python's; the API server knows


def _is_number_within(value: float, schema: Schema) -> bool:
    if "minimum" in schema:
        least: float = schema["minimum"]
        if value < least or (value == least and schema.get("exclusiveMinimum")):
            return False
    if "maximum" in schema:
        most: float = schema["maximum"]
        return value < most or (value == most and not schema.get("exclusiveMaximum"))
    return True
