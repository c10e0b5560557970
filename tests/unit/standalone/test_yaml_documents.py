"""Reading YAML and JSON: what comes out, and that a mistake is placed without quoting the text."""

import traceback
from pathlib import Path
from typing import Any

import pytest

from springline.errors import ManifestError
from springline.standalone import yaml_documents
from support import yaml_readings

PLANTED = "pl4nted-s3cret"


def contents(text: str) -> list[Any]:
    return [loaded.content for loaded in yaml_documents.load(text.encode(), path=Path("a.yaml"))]


def lines(text: str) -> list[int]:
    return [loaded.begin[0] for loaded in yaml_documents.load(text.encode(), path=Path("a.yaml"))]


def refused(text: str | bytes) -> str:
    """Return place and sentence about a file, which must not hold what was planted in it."""
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ManifestError) as caught:
        yaml_documents.load(content, path=Path("a.yaml"))
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    chain = caught.value.__cause__, caught.value.__context__
    assert chain == (None, None), "the original error holds the text"
    assert "pl4nted" not in shown
    assert "s3cret" not in shown
    [sentence] = caught.value.problems
    [position] = caught.value.positions
    assert position is not None
    return f"{position.line}:{position.column}: {sentence}"


# --- what comes out


def test_documents_come_in_order_each_with_the_line_it_begins_at() -> None:
    text = "# first\nkind: A\n---\n# second\n\nkind: B\n---\nkind: C\n"
    assert contents(text) == [{"kind": "A"}, {"kind": "B"}, {"kind": "C"}]
    assert lines(text) == [2, 6, 8]


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n", "---\n---\n", "null\n", "~"])
def test_empty_documents_are_left_out(text: str) -> None:
    assert contents(text) == []


def test_list_is_opened_and_every_item_has_its_own_line() -> None:
    text = "---\napiVersion: v1\nkind: List\nitems:\n- kind: A\n\n- {kind: B}\n"
    assert contents(text) == [{"kind": "A"}, {"kind": "B"}]
    assert lines(text) == [5, 7]


@pytest.mark.parametrize("items", ["items: []", "items:", ""])
def test_list_without_items_holds_nothing(items: str) -> None:
    assert contents(f"kind: List\n{items}\n") == []


@pytest.mark.parametrize("items", ["5", PLANTED, "{a: b}", "true"])
def test_list_whose_items_are_no_list_is_refused(items: str) -> None:
    assert refused(f"kind: List\nitems: {items}\n") == (
        "2:1: is not usable: the items of a List must be a list"
    )


def test_byte_order_mark_is_not_part_of_the_text() -> None:
    assert contents("\ufeffkind: A\n") == [{"kind": "A"}]


def test_dates_are_text_as_they_are_to_the_api_server() -> None:
    text = "a: 2026-11-21\nb: 2026-13-45\nc: 2026-11-21T08:00:00Z\n"
    assert contents(text) == [{"a": "2026-11-21", "b": "2026-13-45", "c": "2026-11-21T08:00:00Z"}]


def test_binary_value_is_decoded_to_text() -> None:
    assert contents("a: !!binary cGxhaW4=\n") == [{"a": "plain"}]


def test_anchors_and_merge_keys_repeat_what_they_name() -> None:
    text = "a: &a {x: 1, w: 2}\nb: *a\nc: {<<: *a, z: 3}\n"
    assert contents(text) == [
        {"a": {"x": 1, "w": 2}, "b": {"x": 1, "w": 2}, "c": {"x": 1, "w": 2, "z": 3}}
    ]


def test_own_key_overrides_a_merged_one() -> None:
    """That is what merge keys are for, so it is not a key given twice."""
    nested = "base: {inner: &x {<<: &y {k: 1}, k: 2}}\nother: {<<: *x, k: 3}\nlast: *y\n"
    [content] = contents(nested)
    assert content["base"]["inner"] == {"k": 2}
    assert content["other"] == {"k": 3}
    assert content["last"] == {"k": 1}


# --- as kubectl reads it; a test with a real API server judges the table


def values(text: str) -> Any:
    try:
        found = yaml_documents.load(text.encode(), path=Path("a.yaml"))
    except ManifestError:
        return yaml_readings.REFUSED
    return [each.content["value"] for each in found]


@pytest.mark.parametrize(("text", "expected"), yaml_readings.SCALARS.items())
def test_scalar_is_what_it_is_to_kubectl(text: str, expected: Any) -> None:
    found = values(f"value: {text}\n")
    assert found == (expected if expected is yaml_readings.REFUSED else [expected])
    if expected is not yaml_readings.REFUSED:
        assert isinstance(found[0], bool) == isinstance(expected, bool), "1 is not true"


@pytest.mark.parametrize(("text", "expected"), yaml_readings.KEYS.items())
def test_key_is_what_it_is_to_kubectl(text: str, expected: Any) -> None:
    found = values(f"value:\n  {text}: x\n")
    assert found == (expected if expected is yaml_readings.REFUSED else [{expected: "x"}])


@pytest.mark.parametrize(
    ("text", "expected"), yaml_readings.DOCUMENTS.values(), ids=yaml_readings.DOCUMENTS.keys()
)
def test_text_is_what_it_is_to_kubectl(text: str, expected: Any) -> None:
    assert values(text) == expected


@pytest.mark.parametrize("text", yaml_readings.DROPPED.values(), ids=yaml_readings.DROPPED.keys())
def test_text_of_which_kubectl_drops_a_part_is_refused(text: str) -> None:
    assert values(text) is yaml_readings.REFUSED


# --- where fields stand

PLACED = """\
# a comment
kind: A
spec:
  list: [one, {two: 3}]
  "quoted": {inner: x}
  lines:
    - first
    - key: *anchor
      also: 1
"""


def placed(text: str) -> yaml_documents.Loaded:
    [loaded] = yaml_documents.load(text.encode(), path=Path("a.yaml"))
    return loaded


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), (2, 1)),
        (("kind",), (2, 1)),
        (("spec",), (3, 1)),
        (("spec", "list"), (4, 3)),
        (("spec", "list", 0), (4, 10)),
        (("spec", "list", 1), (4, 15)),
        (("spec", "list", 1, "two"), (4, 16)),
        (("spec", "quoted", "inner"), (5, 14)),
        (("spec", "lines", 0), (7, 7)),
        (("spec", "lines", 1, "also"), (9, 7)),
        (("spec", "lines", 1, "missing", "below"), (8, 7)),
        (("spec", "missing"), (3, 1)),
        (("missing",), (2, 1)),
    ],
)
def test_field_has_the_place_of_its_name_or_of_what_lacks_it(
    path: tuple[str | int, ...], place: tuple[int, int]
) -> None:
    assert placed(PLACED.replace("*anchor", "5")).place(path) == place


def test_field_in_json_has_the_place_of_its_name() -> None:
    loaded = placed('{\n\t"kind": "A",\n\t"list": [1, {"b": 2}]\n}')
    assert loaded.place() == (1, 1)
    assert loaded.place(("kind",)) == (2, 2)
    assert loaded.place(("list", 1)) == (3, 14)
    assert loaded.place(("list", 1, "b")) == (3, 15)


def test_byte_order_mark_takes_no_column() -> None:
    assert placed("\ufeffkind: A\n").place(("kind",)) == (1, 1)
    assert refused("\ufeffkind: *A\n").startswith("1:7: ")


def test_lines_are_counted_as_editors_do() -> None:
    """YAML 1.1 has more characters that end a line."""
    assert placed('a: "x\u2028y"\r\nb: 1\r\n').place(("b",)) == (2, 1)


def test_columns_are_characters() -> None:
    assert placed("{é: 😀, b: 1}").place(("b",)) == (1, 8)


def test_what_an_alias_brings_in_stands_at_its_anchor_and_the_alias_where_it_is() -> None:
    loaded = placed("a: &a {x: 1}\nb:\n- *a\nc: {<<: *a}\n")
    assert loaded.place(("b", 0)) == (3, 3)
    assert loaded.place(("b", 0, "x")) == (1, 8)
    assert loaded.place(("c", "x")) == (1, 8)


def test_overridden_field_stands_where_it_was_given_last() -> None:
    loaded = placed("a: &a {x: {y: 1}}\nb:\n  <<: *a\n  x: {z: 1}\n")
    assert loaded.place(("b", "x")) == (4, 3)
    assert loaded.place(("b", "x", "y")) == (4, 3)


def test_fields_of_an_item_of_a_list_have_their_own_places() -> None:
    text = b"kind: List\nitems:\n- kind: A\n-   kind: B\n    spec: {x: 1}\n"
    first, second = yaml_documents.load(text, path=Path("a.yaml"))
    assert first.place(("kind",)) == (3, 3)
    assert (second.begin, second.place(("spec", "x"))) == ((4, 5), (5, 12))


# --- mistakes

QUOTE_IT = "; if it is text, quote it"

MISTAKES = {
    "an alias without an anchor": (
        f"password: *{PLANTED}\n",
        "1:11: is not valid YAML: an alias has no anchor",
    ),
    "an undefined tag handle": (
        f"password: !{PLANTED}!x y\n",
        "1:11: is not valid YAML: a tag is not known",
    ),
    "a tag that is not closed": (
        f"password: !<{PLANTED} x\n",
        "1:27: is not valid YAML: expected '>'",
    ),
    "a tab in the indentation": (
        f"data:\n\tpassword: {PLANTED}\n",
        "2:1: is not valid YAML: there is a tab where only spaces may be",
    ),
    "a double quote that is not closed": (
        f'password: "{PLANTED}\n',
        "2:1: is not valid YAML: a quote is not closed",
    ),
    "a single quote that is not closed": (
        f"password: '{PLANTED}\n",
        "2:1: is not valid YAML: a quote is not closed",
    ),
    "a quote that is not closed before the next document": (
        f"password: '{PLANTED}\n---\nkind: A\n",
        "2:1: is not valid YAML: a quote is not closed",
    ),
    "an unknown escape": (
        f'password: "\\q{PLANTED}"\n',
        "1:13: is not valid YAML: a backslash is followed by what is no escape",
    ),
    "an escape with too few digits": (
        f'password: "\\x{PLANTED}"\n',
        "1:14: is not valid YAML: an escape has too few hexadecimal digits",
    ),
    "an escape for no character": (
        f'password: "\\U00110000{PLANTED}"\n',
        "1:14: is not valid YAML: an escape names no character",
    ),
    "a value that begins with a reserved character": (
        f"password: @{PLANTED}\n",
        ("1:11: is not valid YAML: a value begins with a character that must be quoted"),
    ),
    "a colon in a plain value": (
        f"password: {PLANTED}: x\n",
        "1:25: is not valid YAML: mapping values are not allowed here",
    ),
    "a line without a colon": (
        f"data:\n  password {PLANTED}\n  username: x\n",
        "3:11: is not valid YAML: mapping values are not allowed here",
    ),
    "a simple key over two lines": (
        f"a:\n  - b\n{PLANTED}\n",
        "4:1: is not valid YAML: a colon is missing, or a space after it",
    ),
    "a flow mapping that is not closed": (
        f"data: {{password: {PLANTED}\n",
        "2:1: is not valid YAML: a comma or a closing } is missing",
    ),
    "a flow sequence that is not closed": (
        f"data: [{PLANTED}\nx: y\n",
        "2:2: is not valid YAML: a comma or a closing ] is missing",
    ),
    "an indentation that does not match": (
        f"data:\n    password: {PLANTED}\n  username: x\n",
        ("3:3: is not valid YAML: the indentation does not match, or something is left over"),
    ),
    "a block scalar with a wrong indicator": (
        f"password: |{PLANTED}\n",
        "1:12: is not valid YAML: expected a comment or a line break",
    ),
    "a key given twice": (
        f"data:\n  {PLANTED}: 1\n  {PLANTED}: 2\n",
        "3:3: is not usable YAML: a key is given twice",
    ),
    "a key given twice in two ways of writing": (
        f"0x10: {PLANTED}\n16: x\n",
        "2:1: is not usable YAML: a key is given twice",
    ),
    "a key that is a list": (
        f"? [{PLANTED}]\n: x\n",
        "1:3: is not usable YAML: a key is not a plain value",
    ),
    "a key that is a mapping": (
        f"{{{{ {PLANTED} }}}}: x\n",
        "1:1: is not usable YAML: a key is not a plain value",
    ),
    "a number that is none": (
        f"password: !!int {PLANTED}\n",
        "1:11: is not usable YAML: a value is no usable int" + QUOTE_IT,
    ),
    "a truth value that is none": (
        f"password: !!bool {PLANTED}\n",
        "1:11: is not usable YAML: a value is no usable bool" + QUOTE_IT,
    ),
    "a float that is none": (
        f"password: !!float {PLANTED}\n",
        "1:11: is not usable YAML: a value is no usable float" + QUOTE_IT,
    ),
    "a timestamp that is declared as one": (
        f"password: !!timestamp {PLANTED}\n",
        "1:11: is not usable YAML: a value is no usable timestamp" + QUOTE_IT,
    ),
    "base64 that is none": (
        f"password: !!binary {PLANTED}é\n",
        "1:11: is not usable YAML: a value is not base64",
    ),
    "base64 of a wrong length": (
        "password: !!binary pl4nted\n",
        "1:11: is not usable YAML: a value is not base64",
    ),
    "a merge of what is no mapping": (
        f"data:\n  <<: {PLANTED}\n",
        "2:7: is not usable YAML: only mappings can be merged",
    ),
    "a directive of another version": (
        f"%YAML 3.0\n---\npassword: {PLANTED}\n",
        "1:1: is not valid YAML: found incompatible YAML document",
    ),
    "text after a directive": (
        f"%YAML 1.1 {PLANTED}\n---\na: b\n",
        "1:11: is not valid YAML: expected a comment or a line break",
    ),
    "a character that YAML forbids": (
        f"password: {PLANTED}\x07\n",
        "1:25: is not valid YAML: it holds a character that YAML does not allow",
    ),
    "an anchor that holds itself": (
        f"data: &{PLANTED} [*{PLANTED}]\n",
        "1:24: is not usable YAML: an anchor holds itself",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_placed_and_the_text_is_not_shown(text: str, sentence: str) -> None:
    assert refused(text) == sentence


def test_text_that_is_not_utf8_is_placed() -> None:
    assert refused(b"password: pl4nted-s3cret\xff\n") == "1:25: is not UTF-8 text"


def test_mistake_in_a_later_document_is_placed_in_the_file() -> None:
    sentence = refused(f"kind: A\n---\nkind: B\n---\npassword: *{PLANTED}\n")
    assert sentence == "5:11: is not valid YAML: an alias has no anchor"


@pytest.mark.parametrize("text", ["[" * 1_500, "- " * 1_500 + "x", "{a: " * 1_500])
def test_deep_nesting_is_refused(text: str) -> None:
    assert refused(text) == "1:1: is not usable YAML: it is nested too deeply"


def expanding(levels: int, *, item: str, first: str) -> str:
    """Return a file in which every level repeats the one before nine times."""
    rows = [f"a0: &a0 {first}"]
    for level in range(1, levels):
        repeated = ",".join([f"*a{level - 1}"] * 9)
        rows.append(f"a{level}: &a{level} {item % repeated}")
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("item", "first"),
    [("[%s]", f"[{PLANTED}]"), ("{<<: [%s]}", f"{{k: {PLANTED}}}")],
    ids=["aliases", "merge keys"],
)
def test_few_lines_that_expand_to_billions_are_refused(item: str, first: str) -> None:
    """The limit is on what aliases repeat, so it does not bound files without any."""
    assert "aliases repeat too much of the file" in refused(expanding(12, item=item, first=first))
    assert len(contents(expanding(4, item=item, first=first))) == 1


def test_documents_of_one_file_share_the_limit_of_repetition() -> None:
    text = "\n---\n".join([expanding(5, item="[%s]", first="[x]")] * 20)
    assert "aliases repeat too much of the file" in refused(text)


def test_file_without_aliases_may_be_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_documents, "_MOST_REPEATED", 10)
    [content] = contents("items:\n" + "- {a: 1, b: 2}\n" * 100)
    assert len(content["items"]) == 100


# --- JSON


def json_contents(text: str) -> list[Any]:
    return [
        each.content
        for each in yaml_documents.load(text.encode(), path=Path("a.json"), is_json=True)
    ]


def json_refused(text: str | bytes) -> str:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ManifestError) as caught:
        yaml_documents.load(content, path=Path("a.json"), is_json=True)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "pl4nted" not in str(caught.value)
    [sentence] = caught.value.problems
    [position] = caught.value.positions
    assert position is not None
    return f"{position.line}:{position.column}: {sentence}"


def test_json_may_be_indented_with_tabs_and_escape_every_character() -> None:
    """Two things that YAML readers do not take."""
    assert json_contents('{\n\t"a": "\\ud83d\\ude00", "b": "\\/"\n}') == [{"a": "😀", "b": "/"}]


def test_json_list_is_opened() -> None:
    assert json_contents('{"kind": "List", "items": [{"a": 1}, {"a": 2}]}') == [{"a": 1}, {"a": 2}]


JSON_MISTAKES = {
    "cut off": ('{"a":\n "b', "2:2: is not valid JSON: Unterminated string"),
    "two commas": (
        '{"a": "pl4nted",,}',
        "1:17: is not valid JSON: Expecting property name enclosed in double quotes",
    ),
    "a colon that is missing": ('{"a" ["pl4nted"]}', "1:6: is not valid JSON: Expecting ':'"),
    "a bracket after it": ("{}\n]", "2:1: is not valid JSON: Expecting value"),
    "a key given twice": (
        '{"a": 1, "a": "pl4nted"}',
        "1:10: is not usable JSON: a key is given twice",
    ),
    "a number that is none": ('{"a": NaN, ]', "1:7: is not valid JSON: Expecting value"),
    "items that are no list": (
        '{"kind": "List", "items": "pl4nted"}',
        "1:18: is not usable: the items of a List must be a list",
    ),
    "deep nesting": ('{"a":' * 100_000, "1:1: is not usable JSON: it is nested too deeply"),
    "too many digits": (
        '{"a": %s}' % ("9" * 5_000),
        "1:7: is not usable JSON: a number is too large",
    ),
    "a control character": (
        '{"a": "pl4nted\x07"}',
        "1:15: is not valid JSON: Invalid control character at",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), JSON_MISTAKES.values(), ids=JSON_MISTAKES.keys())
def test_mistake_in_json_is_placed_and_the_text_is_not_shown(text: str, sentence: str) -> None:
    assert json_refused(text).startswith(sentence)


def test_json_that_is_not_utf8_is_placed() -> None:
    assert json_refused(b'{"a": "pl4nted\xff"}') == "1:15: is not UTF-8 text"
