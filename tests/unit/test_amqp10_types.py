"""The types of AMQP 1.0 that scripted peers use are those of proton, octet by octet and back."""

import math
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import amqp10_types as types
from support.amqp10_types import (
    Array,
    Byte,
    Composite,
    Described,
    Int,
    Raw,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
    composite,
    decoded,
    encoded,
)

SIMPLE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(0, 2**32 - 1).map(UInt)
    | st.integers(0, 2**64 - 1).map(ULong)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300)
    | st.text(alphabet="abc:-", max_size=300).map(Symbol)
    | st.uuids()
)
VALUES = st.recursive(
    SIMPLE,
    lambda values: (
        st.lists(values, max_size=5)
        | st.dictionaries(st.text(max_size=5), values, max_size=5)
        | st.lists(st.text(), min_size=1, max_size=5).map(Array)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_encoded_is_decoded(value: Any) -> None:
    found, rest = decoded(encoded(value) + b"rest")
    assert found == value
    assert type(found) is type(value)
    assert rest == b"rest"


@pytest.mark.parametrize(
    "value",
    [UByte(200), UShort(40000), Byte(-100), Short(-30000), Int(-(2**31)), Timestamp(-1), Int(5)],
    ids=repr,
)
def test_a_type_stays_the_same(value: Any) -> None:
    found, _ = decoded(encoded(value))
    assert found == value
    assert type(found) is type(value)


def test_proton_understands_each_type() -> None:
    proton = pytest.importorskip("proton", exc_type=ImportError)
    values = [
        None,
        True,
        -(2**63),
        UInt(2**32 - 1),
        UByte(7),
        "täxt" * 100,
        Symbol("s" * 300),
        b"\0" * 300,
        math.pi,
        uuid.UUID(int=5),
        ["a", [1, 2]],
        {"k": b"v"},
    ]
    data = proton.Data()
    octets = encoded(values)
    while octets:
        octets = octets[data.decode(octets) :]
    data.rewind()
    data.next()
    assert data.get_object() == values


def test_what_proton_says_is_understood() -> None:
    """It uses the small forms, where ours are the large ones."""
    proton = pytest.importorskip("proton", exc_type=ImportError)
    data = proton.Data()
    data.put_list()
    data.enter()
    for number in (0, 200, 2**31):
        data.put_uint(number)
        data.put_ulong(number)
        data.put_int(-number)
        data.put_long(-number)
    data.put_float(0.5)
    data.put_symbol(proton.symbol("s"))
    data.put_char("ä")
    data.put_array(False, proton.Data.SYMBOL)
    data.enter()
    data.put_symbol(proton.symbol("one"))
    data.put_symbol(proton.symbol("two"))
    data.exit()
    data.exit()
    found, rest = decoded(data.encode())
    assert found == [
        *(each for number in (0, 200, 2**31) for each in (number, number, -number, -number)),
        0.5,
        "s",
        "ä",
        ["one", "two"],
    ]
    assert rest == b""


def test_fields_have_the_types_of_the_specification() -> None:
    """AMQP 1.0 §2.7.1."""
    octets = encoded(
        composite("open", container_id="c", channel_max=7, offered_capabilities=("a", "b"))
    )
    described, _ = decoded(octets)
    assert described == Composite(
        "open", {"container_id": "c", "channel_max": 7, "offered_capabilities": ["a", "b"]}
    )
    assert type(described.channel_max) is UShort
    assert types.symbols(described.offered_capabilities) == ["a", "b"]
    assert described.hostname is None
    with pytest.raises(AttributeError):
        _ = described.handle


def test_a_field_that_there_is_not_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="close has no condition"):
        composite("close", condition="amqp:not-found")


def test_raw_octets_go_out_as_they_are() -> None:
    assert encoded(composite("close", error=Raw(b"\xff"))).endswith(b"\xff")


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x70\0", b"\xff", b"\xa1\x05abc", b"\xc0\x03\x02\x40", b"\x0f"],
    ids=["nothing", "half a number", "cut", "a short text", "a short list", "no type"],
)
def test_what_is_no_value_is_a_mistake(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|no type"):
        decoded(octets)


def test_messages_have_sections() -> None:
    octets = types.message(
        "body",
        header={"ttl": 5000},
        properties={"message_id": "1", "to": "/q"},
        application_properties={"k": "v"},
    )
    found = types.sections(octets)
    assert list(found) == ["header", "properties", "application_properties", "value"]
    assert found["header"].ttl == 5000
    assert found["properties"].to == "/q"
    assert found["value"] == "body"
    assert types.sections(types.message(data=b"octets")) == {"data": b"octets"}
    assert decoded(encoded(Described(ULong(1), 2))) == (Described(1, 2), b"")
