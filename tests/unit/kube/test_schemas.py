"""What a schema takes of a value, and what one schema lacks of another."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.api import crds
from springline.kube import schemas

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


def an_object(*required: str, **properties: Any) -> dict[str, Any]:
    """Return the schema of an object."""
    return {"type": "object", "properties": properties, "required": list(required)}


SERVER = an_object("version", version=TEXT, product=TEXT)
CONDITION = an_object("type", "status", type=TEXT, status={**TEXT, "enum": ["True", "False"]})

TAKEN: dict[str, tuple[Any, Any]] = {
    "a text": (TEXT, "words"),
    "a number": (NUMBER, 7),
    "a truth": ({"type": "boolean"}, True),
    "a fraction": ({"type": "number"}, 0.5),
    "a whole number for a number": ({"type": "number"}, 1),
    "a number for a number or a text": ({"x-kubernetes-int-or-string": True}, 5672),
    "a text for a number or a text": ({"x-kubernetes-int-or-string": True}, "amqp"),
    "null where it may be": ({**TEXT, "nullable": True}, None),
    "one of the values": ({**TEXT, "enum": ["a", "b"]}, "b"),
    "a text that matches": ({**TEXT, "pattern": "^[a-z]+$"}, "abc"),
    "a text with a pattern of another dialect": ({**TEXT, "pattern": r"^\pN+$"}, "7"),
    "a text of the longest": ({**TEXT, "maxLength": 3}, "äöü"),
    "a number at the limits": ({**NUMBER, "minimum": 1, "maximum": 1}, 1),
    "anything where anything may be": ({"x-kubernetes-preserve-unknown-fields": True}, {"a": [1]}),
    "any names": ({"type": "object", "additionalProperties": TEXT}, {"a": "1", "b": "2"}),
    "any names and any values": ({"type": "object", "additionalProperties": True}, {"a": [1]}),
    "what is missing and has a default": (
        an_object("level", level={**TEXT, "default": "None"}),
        {},
    ),
    "as many items as there may be": ({"type": "array", "items": TEXT, "maxItems": 2}, ["a", "b"]),
}


@pytest.mark.parametrize(("schema", "value"), TAKEN.values(), ids=TAKEN)
def test_what_a_schema_allows_stays_as_it_is(schema: Any, value: Any) -> None:
    fitted = schemas.fitted({"it": value}, an_object(it=schema), "status")
    assert fitted.value == {"it": value}
    assert fitted.left_out == ()


NOT_TAKEN: dict[str, tuple[Any, Any]] = {
    "a number for a text": (TEXT, 7),
    "a truth for a number": (NUMBER, True),
    "a truth for a number or a text": ({"x-kubernetes-int-or-string": True}, True),
    "a text for an object": (SERVER, "RabbitMQ"),
    "an object for a list": ({"type": "array", "items": TEXT}, {}),
    "null": (TEXT, None),
    "none of the values": ({**TEXT, "enum": ["a", "b"]}, "c"),
    "a text that does not match": ({**TEXT, "pattern": "^[a-z]+$"}, "a1"),
    "a text that is too long": ({**TEXT, "maxLength": 3}, "four"),
    "a text that is too short": ({**TEXT, "minLength": 1}, ""),
    "a number that is too small": ({**NUMBER, "minimum": 1}, 0),
    "a number that is too large": ({**NUMBER, "maximum": 1}, 2),
    "a number at a limit that is out": ({**NUMBER, "minimum": 1, "exclusiveMinimum": True}, 1),
    "a number at the other limit": ({**NUMBER, "maximum": 1, "exclusiveMaximum": True}, 1),
    "too many names": ({"type": "object", "maxProperties": 1}, {"a": 1, "b": 2}),
    "an object without what it has to have": (SERVER, {"product": "RabbitMQ"}),
    "an object whose obligatory field is not taken": (SERVER, {"version": 4, "product": "x"}),
    "an object with too little left": (
        {"type": "object", "minProperties": 1, "properties": {}},
        {"a": 1},
    ),
    "a list with too little left": ({"type": "array", "items": TEXT, "minItems": 1}, [7]),
}


@pytest.mark.parametrize(("schema", "value"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_what_a_schema_does_not_allow_is_left_out_as_a_whole(schema: Any, value: Any) -> None:
    fitted = schemas.fitted({"it": value, "also": "x"}, an_object(it=schema, also=TEXT), "status")
    assert fitted.value == {"also": "x"}
    assert fitted.left_out == ("status.it",)


PARTLY: dict[str, tuple[Any, Any, Any, str]] = {
    "a field that it lacks": (
        an_object(version=TEXT),
        {"version": "4", "product": "x"},
        {"version": "4"},
        "status.it.product",
    ),
    "a field inside a field": (
        an_object(tls=SERVER),
        {"tls": {"version": "4", "cipher": "x"}},
        {"tls": {"version": "4"}},
        "status.it.tls.cipher",
    ),
    "a field of every item": (
        {"type": "array", "items": CONDITION},
        [{"type": "A", "status": "True", "new": 1}, {"type": "B", "status": "True", "new": 1}],
        [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}],
        "status.it[].new",
    ),
    "an item that cannot be without it": (
        {"type": "array", "items": CONDITION},
        [{"type": "A", "status": "Perhaps"}, {"type": "B", "status": "True"}],
        [{"type": "B", "status": "True"}],
        "status.it[]",
    ),
    "items above the limit": (
        {"type": "array", "items": TEXT, "maxItems": 1},
        ["a", "b"],
        ["a"],
        "status.it[]",
    ),
    "a value under any name": (
        {"type": "object", "additionalProperties": NUMBER},
        {"one": 1, "two": "2"},
        {"one": 1},
        "status.it.*",
    ),
}


@pytest.mark.parametrize(("schema", "value", "left", "path"), PARTLY.values(), ids=PARTLY)
def test_no_more_is_left_out_than_has_to_be(schema: Any, value: Any, left: Any, path: str) -> None:
    fitted = schemas.fitted({"it": value}, an_object(it=schema), "status")
    assert fitted.value == {"it": left}
    assert fitted.left_out == (path,)


def test_what_a_status_has_to_have_stays_in_it() -> None:
    """There is nothing smaller to leave out; and perhaps the API server has that value already."""
    schema = an_object("state", "holder", state={**TEXT, "enum": ["Closed"]}, holder=TEXT)
    fitted = schemas.fitted({"state": "Open", "more": 1}, schema, "status")
    assert fitted.value == {"state": "Open"}
    assert fitted.left_out == ("status.more",)


def schema_of(kind: str) -> schemas.Schema:
    [version] = crds.crd(kind)["spec"]["versions"]
    return schemas.compact(version["schema"]["openAPIV3Schema"])


@pytest.mark.parametrize("kind", crds.KINDS)
def test_a_schema_lacks_nothing_of_itself(kind: str) -> None:
    assert list(schemas.lacking(schema_of(kind), schema_of(kind), "it")) == []


LACKING: dict[str, tuple[Any, Any, list[str]]] = {
    "a field": (an_object(a=TEXT, b=TEXT), an_object(a=TEXT), ["it.b"]),
    "an object with all that is in it": (an_object(a=SERVER), an_object(), ["it.a"]),
    "a field inside": (
        an_object(a=SERVER),
        an_object(a=an_object(version=TEXT)),
        ["it.a.product"],
    ),
    "a field of items": (
        an_object(a={"type": "array", "items": SERVER}),
        an_object(a={"type": "array", "items": an_object(version=TEXT)}),
        ["it.a[].product"],
    ),
    "any names": (
        an_object(a={"type": "object", "additionalProperties": TEXT}),
        an_object(a={"type": "object"}),
        ["it.a.*"],
    ),
    "another type": (an_object(a=TEXT), an_object(a=NUMBER), ["it.a"]),
    "another type of items": (
        an_object(a={"type": "array", "items": TEXT}),
        an_object(a={"type": "array", "items": NUMBER}),
        ["it.a[]"],
    ),
    "nothing where anything may be": (
        an_object(a=SERVER),
        an_object(a={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        [],
    ),
    "nothing where any name may be": (
        an_object(a=SERVER),
        an_object(a={"type": "object", "additionalProperties": TEXT}),
        [],
    ),
    "nothing but a limit": (an_object(a=TEXT), an_object(a={**TEXT, "maxLength": 1}), []),
}


@pytest.mark.parametrize(("ours", "theirs", "paths"), LACKING.values(), ids=LACKING)
def test_lacking_fields_are_named_by_their_paths(ours: Any, theirs: Any, paths: list[str]) -> None:
    assert list(schemas.lacking(ours, theirs, "it")) == paths


def test_only_what_says_something_about_values_is_compared() -> None:
    """Words for people may change; that there is a default matters, not which."""
    one = {"description": "One.", **an_object("b", "a", a={**TEXT, "default": 1})}
    other = {"description": "Other.", **an_object("a", "b", a={**TEXT, "default": 2})}
    assert schemas.compact(one) == schemas.compact(other)
    assert schemas.compact(one) != schemas.compact(an_object("b", "a", a=TEXT))
    assert schemas.compact("no schema") == {}


# --- whatever the schema, what is left is taken

LEAVES = st.sampled_from([TEXT, NUMBER, {**TEXT, "enum": ["a"]}, {**TEXT, "maxLength": 1}])
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda properties, required: {
                "type": "object",
                "properties": properties,
                "required": [name for name in required if name in properties],
            },
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            st.lists(st.sampled_from("abc"), unique=True, max_size=2),
        ),
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda other: {"type": "object", "additionalProperties": other}, inner),
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.one_of(st.sampled_from(["a", "bb", 1, None, True])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(schema=SCHEMAS, value=VALUES)
def test_what_is_left_is_taken_whole(schema: Any, value: Any) -> None:
    root = an_object(it=schema)
    once = schemas.fitted({"it": value}, root, "status")
    again = schemas.fitted(once.value, root, "status")
    assert again.value == once.value
    assert again.left_out == ()
    assert (once.value == {"it": value}) is (once.left_out == ())
