"""Reading YAML and JSON: what comes out, and that a mistake is placed without quoting the text."""

import traceback
from typing import Any

import pytest

from springline.errors import ManifestError
from springline.standalone import yaml_documents

PLANTED = "pl4nted-s3cret"


def contents(text: str) -> list[Any]:
    return [loaded.content for loaded in yaml_documents.load(text.encode(), where="a.yaml")]


def lines(text: str) -> list[int]:
    return [loaded.line for loaded in yaml_documents.load(text.encode(), where="a.yaml")]


def refused(text: str | bytes) -> str:
    """Return the one sentence about a file, which must not hold what was planted in it."""
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ManifestError) as caught:
        yaml_documents.load(content, where="a.yaml")
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    chain = caught.value.__cause__, caught.value.__context__
    assert chain == (None, None), "the original error holds the text"
    assert "pl4nted" not in shown
    assert "s3cret" not in shown
    [sentence] = caught.value.problems
    return sentence


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
        "is not usable YAML at line 1: the items of a List must be a list"
    )


def test_byte_order_mark_is_not_part_of_the_text() -> None:
    assert contents("\ufeffkind: A\n") == [{"kind": "A"}]


def test_dates_are_text_as_they_are_to_the_api_server() -> None:
    text = "a: 2026-11-21\nb: 2026-13-45\nc: 2026-11-21T08:00:00Z\n"
    assert contents(text) == [{"a": "2026-11-21", "b": "2026-13-45", "c": "2026-11-21T08:00:00Z"}]


def test_binary_value_is_decoded() -> None:
    assert contents("a: !!binary cGxhaW4=\n") == [{"a": b"plain"}]


def test_anchors_and_merge_keys_repeat_what_they_name() -> None:
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, z: 3}\n"
    assert contents(text) == [
        {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 2, "z": 3}}
    ]


def test_own_key_overrides_a_merged_one() -> None:
    """That is what merge keys are for, so it is not a key given twice."""
    nested = "base: {inner: &x {<<: &y {k: 1}, k: 2}}\nother: {<<: *x, k: 3}\nlast: *y\n"
    [content] = contents(nested)
    assert content["base"]["inner"] == {"k": 2}
    assert content["other"] == {"k": 3}
    assert content["last"] == {"k": 1}


# --- mistakes

QUOTE_IT = "; if it is text, quote it"

MISTAKES = {
    "an alias without an anchor": (
        f"password: *{PLANTED}\n",
        "is not valid YAML at line 1, column 11: an alias has no anchor",
    ),
    "an unknown tag": (
        f"password: !{PLANTED} x\n",
        "is not valid YAML at line 1, column 11: a tag is not known",
    ),
    "a tag with quotes in it": (
        f"password: !a%22b'{PLANTED} x\n",
        "is not valid YAML at line 1, column 11: a tag is not known",
    ),
    "a tag of Python": (
        f"password: !!python/object/apply:os.system [{PLANTED}]\n",
        "is not valid YAML at line 1, column 11: a tag is not known",
    ),
    "an undefined tag handle": (
        f"password: !{PLANTED}!x y\n",
        "is not valid YAML at line 1, column 11: a tag is not known",
    ),
    "a tag that is not closed": (
        f"password: !<{PLANTED} x\n",
        "is not valid YAML at line 1, column 27: expected '>'",
    ),
    "a tab in the indentation": (
        f"data:\n\tpassword: {PLANTED}\n",
        "is not valid YAML at line 2, column 1: there is a tab where only spaces may be",
    ),
    "a double quote that is not closed": (
        f'password: "{PLANTED}\n',
        "is not valid YAML at line 2, column 1: a quote is not closed",
    ),
    "a single quote that is not closed": (
        f"password: '{PLANTED}\n",
        "is not valid YAML at line 2, column 1: a quote is not closed",
    ),
    "a quote that is not closed before the next document": (
        f"password: '{PLANTED}\n---\nkind: A\n",
        "is not valid YAML at line 2, column 1: a quote is not closed in its document",
    ),
    "an unknown escape": (
        f'password: "\\q{PLANTED}"\n',
        "is not valid YAML at line 1, column 13: a backslash is followed by what is no escape",
    ),
    "an escape with too few digits": (
        f'password: "\\x{PLANTED}"\n',
        "is not valid YAML at line 1, column 14: an escape has too few hexadecimal digits",
    ),
    "an escape for no character": (
        f'password: "\\U00110000{PLANTED}"\n',
        "is not valid YAML: an escape names no character",
    ),
    "a value that begins with a reserved character": (
        f"password: @{PLANTED}\n",
        (
            "is not valid YAML at line 1, column 11: a value begins with a character that must be "
            "quoted"
        ),
    ),
    "a colon in a plain value": (
        f"password: {PLANTED}: x\n",
        "is not valid YAML at line 1, column 25: mapping values are not allowed here",
    ),
    "a line without a colon": (
        f"data:\n  password {PLANTED}\n  username: x\n",
        "is not valid YAML at line 3, column 11: mapping values are not allowed here",
    ),
    "a simple key over two lines": (
        f"a:\n  - b\n{PLANTED}\n",
        "is not valid YAML at line 4, column 1: a colon is missing, or a space after it",
    ),
    "a flow mapping that is not closed": (
        f"data: {{password: {PLANTED}\n",
        "is not valid YAML at line 2, column 1: a comma or a closing } is missing",
    ),
    "a flow sequence that is not closed": (
        f"data: [{PLANTED}\nx: y\n",
        "is not valid YAML at line 2, column 2: a comma or a closing ] is missing",
    ),
    "an indentation that does not match": (
        f"data:\n    password: {PLANTED}\n  username: x\n",
        (
            "is not valid YAML at line 3, column 3: the indentation does not match, or something "
            "is left over"
        ),
    ),
    "a block scalar with a wrong indicator": (
        f"password: |{PLANTED}\n",
        "is not valid YAML at line 1, column 12: expected chomping or indentation indicators",
    ),
    "an anchor given twice": (
        f"a: &{PLANTED} 1\nb: &{PLANTED} 2\n",
        "is not valid YAML at line 2, column 4: an anchor is given twice",
    ),
    "a key given twice": (
        f"data:\n  {PLANTED}: 1\n  {PLANTED}: 2\n",
        "is not usable YAML at line 3, column 3: a key is given twice",
    ),
    "a key given twice in two ways of writing": (
        f"0x10: {PLANTED}\n16: x\n",
        "is not usable YAML at line 2, column 1: a key is given twice",
    ),
    "a key that is a list": (
        f"? [{PLANTED}]\n: x\n",
        "is not usable YAML at line 1, column 3: a key is not a plain value",
    ),
    "a key that is a mapping": (
        f"{{{{ {PLANTED} }}}}: x\n",
        "is not usable YAML at line 1, column 1: a key is not a plain value",
    ),
    "a number that is none": (
        f"password: !!int {PLANTED}\n",
        "is not usable YAML at line 1, column 11: a value is no usable int" + QUOTE_IT,
    ),
    "a truth value that is none": (
        f"password: !!bool {PLANTED}\n",
        "is not usable YAML at line 1, column 11: a value is no usable bool" + QUOTE_IT,
    ),
    "a float that is none": (
        f"password: !!float {PLANTED}\n",
        "is not usable YAML at line 1, column 11: a value is no usable float" + QUOTE_IT,
    ),
    "a number with too many digits": (
        f"password: {'9' * 5000}\n",
        "is not usable YAML at line 1, column 11: a value is no usable int" + QUOTE_IT,
    ),
    "a float with more parts to the base of 60 than fit": (
        f"password: {'1:' * 300}1.5\n",
        "is not usable YAML at line 1, column 11: a value is no usable float" + QUOTE_IT,
    ),
    "a timestamp that is declared as one": (
        f"password: !!timestamp {PLANTED}\n",
        "is not valid YAML at line 1, column 11: a tag is not known",
    ),
    "base64 that is none": (
        f"password: !!binary {PLANTED}é\n",
        "is not valid YAML at line 1, column 11: a value is not base64",
    ),
    "base64 of a wrong length": (
        "password: !!binary pl4nted\n",
        "is not valid YAML at line 1, column 11: a value is not base64",
    ),
    "text that is tagged as a mapping": (
        f"data: !!map {PLANTED}\n",
        "is not valid YAML at line 1, column 7: expected a mapping node",
    ),
    "a list that is tagged as a mapping": (
        f"data: !!map [{PLANTED}]\n",
        "is not valid YAML at line 1, column 7: expected a mapping node",
    ),
    "a merge of what is no mapping": (
        f"data:\n  <<: {PLANTED}\n",
        "is not valid YAML at line 2, column 7: expected a mapping or list of mappings for merging",
    ),
    "a directive of another version": (
        f"%YAML 3.0\n---\npassword: {PLANTED}\n",
        "is not valid YAML at line 1, column 1: found incompatible YAML document",
    ),
    "text after a directive": (
        f"%YAML 1.1 {PLANTED}\n---\na: b\n",
        "is not valid YAML at line 1, column 11: expected a comment or a line break",
    ),
    "a character that YAML forbids": (
        f"password: {PLANTED}\x07\n",
        "is not valid YAML: it holds a character that YAML does not allow",
    ),
    "an anchor that holds itself": (
        f"data: &{PLANTED} [*{PLANTED}]\n",
        "is not usable YAML at line 1, column 7: an anchor holds itself",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_placed_and_the_text_is_not_shown(text: str, sentence: str) -> None:
    assert refused(text) == sentence


def test_text_that_is_not_utf8_is_placed_by_byte() -> None:
    assert refused(b"password: pl4nted-s3cret\xff\n") == "is not UTF-8 text at byte 25"


def test_mistake_in_a_later_document_is_placed_in_the_file() -> None:
    sentence = refused(f"kind: A\n---\nkind: B\n---\npassword: *{PLANTED}\n")
    assert sentence == "is not valid YAML at line 5, column 11: an alias has no anchor"


@pytest.mark.parametrize("text", ["[" * 1_500, "- " * 1_500 + "x", "{a: " * 1_500])
def test_deep_nesting_is_refused(text: str) -> None:
    assert refused(text) == "is not usable YAML: it is nested too deeply"


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
    return [each.content for each in yaml_documents.load_json(text.encode(), where="a.json")]


def json_refused(text: str | bytes) -> str:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ManifestError) as caught:
        yaml_documents.load_json(content, where="a.json")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "pl4nted" not in str(caught.value)
    [sentence] = caught.value.problems
    return sentence


def test_json_may_be_indented_with_tabs_and_escape_every_character() -> None:
    """Two things that YAML readers do not take."""
    assert json_contents('{\n\t"a": "\\ud83d\\ude00", "b": "\\/"\n}') == [{"a": "😀", "b": "/"}]


def test_json_list_is_opened() -> None:
    assert json_contents('{"kind": "List", "items": [{"a": 1}, {"a": 2}]}') == [{"a": 1}, {"a": 2}]


JSON_MISTAKES = {
    "cut off": ('{"a":\n "b', "is not valid JSON at line 2, column 2: Unterminated string"),
    "a comma too many": ('{"a": "pl4nted",}', "is not valid JSON at line 1, column"),
    "text after it": ("{}\npl4nted", "is not valid JSON at line 2, column 1: Extra data"),
    "a key given twice": ('{"a": 1, "a": "pl4nted"}', "is not usable JSON: a key is given twice"),
    "a number that is none": ("[NaN]", "is not usable JSON: NaN and Infinity are no numbers"),
    "items that are no list": (
        '{"kind": "List", "items": "pl4nted"}',
        "is not usable JSON: the items of a List must be a list",
    ),
    "deep nesting": ("[" * 100_000, "is not usable JSON: it is nested too deeply"),
    "too many digits": ("9" * 5_000, "is not usable JSON: a number has too many digits"),
    "a control character": ('{"a": "pl4nted\n"}', "is not valid JSON at line 1, column"),
}


@pytest.mark.parametrize(("text", "sentence"), JSON_MISTAKES.values(), ids=JSON_MISTAKES.keys())
def test_mistake_in_json_is_placed_and_the_text_is_not_shown(text: str, sentence: str) -> None:
    assert json_refused(text).startswith(sentence)


def test_json_that_is_not_utf8_is_placed_by_byte() -> None:
    assert json_refused(b'{"a": "pl4nted\xff"}') == "is not UTF-8 text at byte 15"
