"""Mutations that keep JSON whole: a value becomes another one, or another one joins it."""

import copy
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

__all__ = ["change_value"]

_TEXTS = (
    *("", " ", "0", "-1", "9" * 5000, "x" * 3000, "\x00", "\u202egnp.exe", "\ud800", "\x1b[2J"),
    *("\N{GRINNING FACE}" * 200, "a\nb", "true", "null", "2026-01-01T00:00:00Z", "../..", "%s%n"),
)

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 10**400, 1e308, -1.5, 5e-324),
    *_TEXTS,
    *([], {}, [None], {"": None}, [[]], {"a": {"b": []}}, [0] * 300),
)


def change_value(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    """Change one value of the part, or of one of its lines, if there is JSON in it."""
    lines = part.split(b"\n")
    candidates = [(part, None), *((line, at) for at, line in enumerate(lines))]
    rng.shuffle(candidates)
    for text, at in candidates[:6]:
        document = _loaded(text)
        if document is None:
            continue
        changed = _changed(rng, document, _loaded(rng.choice(others)))
        made = json.dumps(changed).encode()
        if at is None:
            return made
        return b"\n".join([*lines[:at], made, *lines[at + 1 :]])
    return part


def _loaded(text: bytes) -> Any:
    """Return the object or list that a text is; None if it is none."""
    if text[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _changed(rng: Random, document: Any, other: Any) -> Any:
    places = list(_places(document))
    if not places:
        return rng.choice(_VALUES)
    holder, key = rng.choice(places)
    if isinstance(holder[key], str) and rng.random() < 0.5:
        holder[key] = rng.choice((holder[key], "")) + rng.choice(_TEXTS)
        return document
    match rng.randrange(6):
        case 0 if isinstance(holder, dict):
            del holder[key]
        case 1:
            holder[key] = [holder[key]]
        case 2 if isinstance(other, dict | list) and (found := list(_places(other))):
            from_holder, from_key = rng.choice(found)
            holder[key] = copy.deepcopy(from_holder[from_key])
        case 3 if isinstance(holder, dict):
            holder[rng.choice(("", "type", "kind", "exp", "x", "a" * 300))] = holder[key]
        case _:
            holder[key] = copy.deepcopy(rng.choice(_VALUES))
    return document


def _places(document: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    if depth > 40:
        return
    keys: Any = ()
    if isinstance(document, dict):
        keys = list(document)
    elif isinstance(document, list):
        keys = range(len(document))
    for key in keys:
        yield document, key
        yield from _places(document[key], depth + 1)
