"""What a frame holds: as Python values, and whatever makes no sense as one error without a word."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.amqp10_library import MISSING

pytest.importorskip("proton", reason=MISSING)

from proton import UNDESCRIBED, Array, Data, Described, symbol, ubyte, uint, ulong, ushort

from springline.drivers.amqp10 import codec
from springline.drivers.amqp10.codec import UndecodableError

FIELDS = [
    "text",
    symbol("symbol"),
    None,
    True,
    False,
    uint(7),
    ushort(7),
    ubyte(7),
    ulong(7),
    b"octets",
    1.5,
    uuid.UUID(int=7),
    [],
    ["nested", [uint(1)]],
    {symbol("key"): "value"},
    Described(ulong(0x1D), [symbol("amqp:internal-error"), "why"]),
    Array(UNDESCRIBED, Data.SYMBOL, symbol("a"), symbol("b")),
]


def test_performative_comes_out_as_it_was_put_in() -> None:
    octets = codec.encode(codec.OPEN, FIELDS)
    assert codec.descriptor(octets) == codec.OPEN
    code, fields = codec.decode(octets)
    assert code == codec.OPEN
    assert fields == FIELDS
    assert [type(each) for each in fields] == [type(each) for each in FIELDS]


def test_octets_stay_as_they_are_when_others_have_been_decoded() -> None:
    """proton hands out its own memory, which it gives to the next."""
    holder = [b"first" * 8, [b"nested" * 8], {"key": b"value" * 8}]
    holder += [Described(ulong(7), b"described" * 8), Array(UNDESCRIBED, Data.BINARY, b"in" * 8)]
    fields = codec.decode(codec.encode(codec.OPEN, holder))[1]
    for _ in range(100):
        codec.decode(codec.encode(codec.OPEN, [b"other" * 8]))
    assert fields == holder
    assert isinstance(fields[0], bytes)


def test_what_follows_a_performative_is_left_to_others() -> None:
    octets = codec.encode(codec.TRANSFER, [uint(1)])
    assert codec.decode(octets + b"\0garbage") == (codec.TRANSFER, [uint(1)])
    assert codec.decode_section(octets + b"rest") == (codec.TRANSFER, [uint(1)], len(octets))


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param("0053" + "10" + "45", id="short"),
        pytest.param("0080" + "0000000000000010" + "45", id="long"),
        pytest.param("005310" + "c00100", id="with a list that says how long it is"),
        pytest.param("005310" + "d00000000400000000", id="with a list that says it in words"),
    ],
)
def test_descriptor_may_be_written_in_several_ways(octets: str) -> None:
    """proton reads all of them, so that a frame must not pass because it is written in another."""
    assert codec.decode(bytes.fromhex(octets)) == (codec.OPEN, [])


@pytest.mark.parametrize(
    ("octets", "found"),
    [
        pytest.param(b"\x00\x53\x12\x45", codec.ATTACH, id="short"),
        pytest.param(b"\x00\x80\0\0\0\0\0\0\0\x12\x45", None, id="long"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"\x00\x53", None, id="cut off"),
    ],
)
def test_descriptor_of_a_frame_of_ours_is_seen_at_a_glance(
    octets: bytes, found: int | None
) -> None:
    assert codec.descriptor(octets) == found


def _encoded(value: object) -> bytes:
    data = Data()
    data.put_object(value)
    octets: bytes = data.encode()
    return octets


SENSELESS = {
    "nothing": b"",
    "no description": b"\x45",
    "a text": b"\xa1\x03abc",
    "described by a symbol": _encoded(Described(symbol("amqp:open:list"), [])),
    "described by a uint": _encoded(Described(uint(0x10), [])),
    "a map": _encoded(Described(ulong(0x10), {"key": "value"})),
    "an array": _encoded(Described(ulong(0x10), Array(UNDESCRIBED, Data.UINT, uint(1)))),
    "another description": _encoded(Described(ulong(0x10), Described(ulong(0x10), []))),
    "cut off": codec.encode(codec.OPEN, FIELDS)[:-1],
    "text that is no UTF-8": b"\x00\x53\x10\xc0\x05\x01\xa1\x02\xff\xfe",
    "symbol that is no ASCII": b"\x00\x53\x10\xc0\x05\x01\xa3\x02\xc3\xbc",
    "symbol that is no UTF-8": b"\x00\x53\x10\xc0\x05\x01\xa3\x02\xff\xfe",
    "key that is a list": b"\x00\x53\x10\xc0\x06\x01\xc1\x03\x02\x45\x40",
    "key that is a map": b"\x00\x53\x10\xc0\x08\x01\xc1\x05\x02\xc1\x01\x00\x40",
    "character that there is not": b"\x00\x53\x10\xc0\x06\x01\x73\xff\xff\xff\xff",
    "unknown type": b"\x00\x53\x10\xc0\x02\x01\x46",
    "too deep": b"\x00\x53\x10" + b"\x00\x44" * 30000 + b"\x45",
    "too many": b"\x00\x53\x10\xf0\0\0\0\x05\xff\xff\xff\xff\x40",
}


@pytest.mark.parametrize("octets", SENSELESS.values(), ids=SENSELESS)
def test_what_makes_no_sense_is_one_error_without_a_word_of_it(octets: bytes) -> None:
    with pytest.raises(UndecodableError) as caught:
        codec.decode(octets)
    assert "abc" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param(None, (), id="none"),
        pytest.param(symbol("one"), ("one",), id="one"),
        pytest.param(
            Array(UNDESCRIBED, Data.SYMBOL, symbol("a"), symbol("b")), ("a", "b"), id="array"
        ),
        pytest.param([symbol("a"), 7, None], ("a",), id="list with something else"),
        pytest.param({"a": "b"}, (), id="map"),
        pytest.param(7, (), id="number"),
        pytest.param(Described(ulong(7), [symbol("a")]), (), id="described"),
        pytest.param(b"octets", (), id="octets"),
    ],
)
def test_one_or_many_symbols_are_read_and_nothing_else(
    value: object, found: tuple[str, ...]
) -> None:
    assert codec.symbols(value) == found


def test_last_fields_may_be_left_out_and_each_may_be_null() -> None:
    assert codec.field(["a", None], 0) == "a"
    assert codec.field(["a", None], 1, 7) == 7
    assert codec.field(["a", None], 2, 7) == 7
    assert codec.field(["a", None], 2) is None


def test_symbols_are_written_as_such() -> None:
    octets = codec.encode(codec.OPEN, [codec.symbol_map({"k": "v"}), codec.symbol_array(["a"])])
    fields = codec.decode(octets)[1]
    assert [type(key) for key in fields[0]] == [symbol]
    assert codec.symbols(fields[1]) == ("a",)


@given(octets=st.binary(max_size=100))
def test_any_octets_are_decoded_or_refused(octets: bytes) -> None:
    for each in (octets, b"\x00\x53\x10" + octets, b"\x00\x53\x10\xc0" + octets):
        try:
            _, fields = codec.decode(each)
        except UndecodableError:
            continue
        assert isinstance(fields, list)
