"""The structure of encoded values: whatever is taken is as proton reads it, and nothing is deep."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.drivers.amqp10 import structure
from springline.drivers.amqp10.structure import MAX_DEPTH, MAX_VALUES, MalformedValueError
from support.amqp10_library import MISSING


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param("40", id="null"),
        pytest.param("5601", id="boolean with an octet"),
        pytest.param("70000000ff", id="uint"),
        pytest.param("98" + "00" * 16, id="uuid"),
        pytest.param("a103616263", id="string"),
        pytest.param("b100000003616263", id="long string"),
        pytest.param("45", id="empty list"),
        pytest.param("c003024142", id="list"),
        pytest.param("d000000006000000024142", id="long list"),
        pytest.param("c10702a10161a10162", id="map"),
        pytest.param("e00602a301610162", id="array of symbols"),
        pytest.param("e0020440", id="array of nulls"),
        pytest.param("005310c0020141", id="described list"),
        pytest.param("00a30178a10161", id="described by a symbol"),
    ],
)
def test_well_formed_value_is_as_long_as_it_is(octets: str) -> None:
    value = bytes.fromhex(octets)
    assert structure.value_octets(value) == len(value)
    assert structure.value_octets(value + b"payload") == len(value)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        pytest.param("", "cut off", id="nothing"),
        pytest.param("70000000", "cut off", id="cut number"),
        pytest.param("a10461", "cut off", id="cut string"),
        pytest.param("b1ffffffff61", "cut off", id="string of four gibibytes"),
        pytest.param("d0ffffffff00000001", "cut off", id="list of four gibibytes"),
        pytest.param("c00302", "cut off", id="cut list"),
        pytest.param("c001014041", "cut off", id="element after the end of its list"),
        pytest.param("c0", "cut off", id="list without a length"),
        pytest.param("c003014142", "not as long", id="list with more than it says"),
        pytest.param("c0020341", "cut off", id="list with less than it says"),
        pytest.param("d000000004ffffffff", "too many", id="huge count"),
        pytest.param("f000000005ffffffff40", "too many", id="huge array of nulls"),
        pytest.param("f000000005ffffffff45", "too many", id="huge array of empty lists"),
        pytest.param("e0024140", "too many", id="array of nulls that costs only who reads it"),
        pytest.param("e0024141", "too many", id="array of truths that costs only who reads it"),
        pytest.param("e0040450aa", "cut off", id="array with less than it says"),
        pytest.param("e0050150aabb", "cut off", id="cut array"),
        pytest.param("e0040150aabb", "not as long", id="array with more than it says"),
        pytest.param("e00201c0", "no simple type", id="array of lists"),
        pytest.param("e0020100", "no simple type", id="array of described values"),
        pytest.param("c1020140", "no value", id="map with half a pair"),
        pytest.param("3f", "unknown", id="unknown type"),
        pytest.param("46", "unknown", id="unknown type without octets"),
        pytest.param("00", "cut off", id="description of nothing"),
    ],
)
def test_malformed_value_is_refused(octets: str, why: str) -> None:
    with pytest.raises(MalformedValueError, match=why):
        structure.value_octets(bytes.fromhex(octets))


def _listed(depth: int) -> bytes:
    value = b"\x40"
    for _ in range(depth):
        value = b"\xd0" + (len(value) + 4).to_bytes(4) + b"\0\0\0\1" + value
    return value


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(_listed(MAX_DEPTH + 1), id="a level too deep"),
        pytest.param(_listed(7000), id="lists"),
        pytest.param(b"\x00\x44" * 32000 + b"\x40", id="described values"),
        pytest.param(b"\x00" * 65000 + b"\x40", id="descriptors"),
    ],
)
def test_deep_value_is_refused(octets: bytes) -> None:
    """proton would call itself for each level, and a stack has an end."""
    with pytest.raises(MalformedValueError, match="too deep"):
        structure.value_octets(octets)


def test_as_deep_and_as_many_as_there_may_be_is_taken() -> None:
    value = _listed(MAX_DEPTH)
    assert structure.value_octets(value) == len(value)
    count = MAX_VALUES - 1
    value = b"\xd0" + (4 + count).to_bytes(4) + count.to_bytes(4) + b"\x40" * count
    assert structure.value_octets(value) == len(value)


_VALUES = st.recursive(
    st.sampled_from([b"\x40", b"\x41", b"\x43", b"\x52\x07", b"\xa1\x01a", b"\xa3\x02bc", b"\x45"]),
    lambda inner: (
        st.lists(inner, max_size=6).map(
            lambda found: (
                b"\xd0"
                + (4 + sum(map(len, found))).to_bytes(4)
                + len(found).to_bytes(4)
                + b"".join(found)
            )
        )
        | inner.map(lambda value: b"\x00\x53\x10" + value)
    ),
    max_leaves=20,
)


@given(value=_VALUES, at=st.integers(0, 200), octet=st.integers(0, 255))
def test_what_is_taken_is_read_by_proton_with_the_same_length(
    value: bytes, at: int, octet: int
) -> None:
    """Whatever one octet is changed to: else the two would not speak of the same frame."""
    proton = pytest.importorskip("proton", reason=MISSING)
    changed = bytearray(value)
    changed[at % len(value)] = octet
    try:
        taken = structure.value_octets(bytes(changed))
    except MalformedValueError:
        return
    assert proton.Data().decode(bytes(changed)) == taken


@given(octets=st.binary(max_size=100))
def test_any_octets_are_judged_without_another_exception(octets: bytes) -> None:
    with contextlib.suppress(MalformedValueError):
        assert 0 < structure.value_octets(octets) <= len(octets)
