"""What a frame holds, as values of our own."""

import gc

import pytest

pytest.importorskip("proton", exc_type=ImportError)

from springline.drivers.amqp10 import codec
from springline.drivers.amqp10.codec import UndecodableError
from support.amqp10_types import Described, ULong, composite, encoded


def test_octets_stay_when_what_they_were_read_from_is_gone() -> None:
    """What proton hands out for a binary is its own memory."""
    octets = encoded(composite("sasl_challenge", challenge=b"x" * 200))
    found = [codec.decode(octets) for _ in range(200)]
    gc.collect()
    assert all(fields == [b"x" * 200] for _, fields in found)
    assert all(type(fields[0]) is bytes for _, fields in found)


def test_octets_inside_of_something_stay_as_well() -> None:
    value = [b"a", {"k": b"b"}, [b"c"], Described(ULong(1), b"d")]
    _, [one, mapped, [three], four] = codec.decode(encoded(Described(ULong(0x45), value)))
    kept = (one, mapped["k"], three, four.value)
    assert kept == (b"a", b"b", b"c", b"d")
    assert {type(each) for each in kept} == {bytes}


@pytest.mark.parametrize(
    "octets",
    [b"", b"\x40", b"\x00\x53\x10\x40", b"\x00\x53\x18\xc0\xff\xff", b"\x00" * 400],
    ids=["nothing", "no descriptor", "no list", "a short list", "descriptors"],
)
def test_what_makes_no_sense_is_one_error(octets: bytes) -> None:
    with pytest.raises(UndecodableError):
        codec.decode(octets)


def test_a_text_that_is_none_makes_no_sense() -> None:
    octets = b"\x00\x53\x18\xc0\x0c\x01\x00\x53\x1d\xc0\x06\x01\xa3\x02\xff\xfe\x40"
    with pytest.raises(UndecodableError):
        codec.decode(octets)
