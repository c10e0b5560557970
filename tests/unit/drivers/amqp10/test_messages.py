"""Messages: sections out and in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.amqp10_library import MISSING

pytest.importorskip("proton", reason=MISSING)

import proton
from proton import Described, symbol, ulong

from springline.drivers.amqp10 import codec, messages
from springline.drivers.amqp10.codec import UndecodableError
from springline.drivers.amqp10.messages import Message

MESSAGE = Message(
    message_id="id",
    to="$cbs",
    subject="PUT",
    reply_to="$me",
    correlation_id="other",
    ttl=1.5,
    application={"operation": "put-token", "size": 7},
    body="a secret",
)


def test_another_implementation_reads_what_is_sent() -> None:
    read = proton.Message()
    read.decode(MESSAGE.encoded())
    assert (read.id, read.address, read.subject) == ("id", "$cbs", "PUT")
    assert (read.reply_to, read.correlation_id) == ("$me", "other")
    assert (read.ttl, read.durable, read.priority) == (1.5, False, 4)
    assert read.properties == {"operation": "put-token", "size": 7}
    assert read.body == "a secret"


@pytest.mark.parametrize(
    ("ttl", "sent"),
    [
        pytest.param(None, 0.0, id="none"),
        pytest.param(0.0015, 0.001, id="less than two milliseconds"),
        pytest.param(1e9, 4294967.295, id="longer than can be said"),
    ],
)
def test_lifetime_is_said_in_milliseconds(ttl: float | None, sent: float) -> None:
    read = proton.Message()
    read.decode(Message(ttl=ttl).encoded())
    assert read.ttl == pytest.approx(sent)


def test_what_is_read_is_what_is_of_use() -> None:
    """Where it goes to and how long it lives is nothing that an answer is looked at for."""
    assert messages.read(MESSAGE.encoded()) == Message(
        message_id="id",
        subject="PUT",
        correlation_id="other",
        application={"operation": "put-token", "size": 7},
        body="a secret",
    )


def test_octets_as_a_body_come_out_as_they_went_in() -> None:
    assert bytes(messages.read(Message(body=b"token").encoded()).body) == b"token"


def test_message_of_another_implementation_is_read() -> None:
    """With sections that are not looked at, and an id that is no text."""
    sent = proton.Message(body="x", subject="204", correlation_id="other", id=7)
    sent.annotations = {symbol("x-opt"): 1}
    read = messages.read(sent.encode())
    assert read == Message(subject="204", correlation_id="other", body="x")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(codec.encode(0x73, []), id="empty properties"),
        pytest.param(codec.encode(0x74, []), id="application properties that are no map"),
        pytest.param(codec.encode(0x75, []), id="another section"),
    ],
)
def test_message_without_anything_of_use_is_empty(octets: bytes) -> None:
    assert messages.read(octets) == Message()


def test_properties_that_are_no_list_are_none() -> None:
    data = proton.Data()
    data.put_object(Described(ulong(0x73), "text"))
    assert messages.read(data.encode()) == Message()


def test_body_shows_in_no_repr() -> None:
    assert "a secret" not in repr(MESSAGE)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(MESSAGE.encoded()[:-1], id="cut off"),
        pytest.param(MESSAGE.encoded() + b"\0", id="something behind it"),
        pytest.param(b"\xa1\x01a", id="no section"),
        pytest.param(b"\x00\xa3\x01a\x40", id="section described by a symbol"),
        pytest.param(b"\x00\x53\x77" + b"\x00\x44" * 30000 + b"\x40", id="deep body"),
    ],
)
def test_what_makes_no_sense_is_one_error(octets: bytes) -> None:
    with pytest.raises(UndecodableError):
        messages.read(octets)


@given(octets=st.binary(max_size=60), keep=st.integers(0, 200))
def test_any_octets_are_read_or_refused(octets: bytes, keep: int) -> None:
    try:
        read = messages.read(MESSAGE.encoded()[:keep] + octets)
    except UndecodableError:
        return
    assert isinstance(read.subject, str)
    assert isinstance(read.application, dict)


def test_message_of_sections_without_end_is_refused() -> None:
    """Sixty thousand octets of short ones took most of a second to read."""
    sections = b"\x00\x53\x77\x40"
    assert messages.read(64 * sections) == Message()
    with pytest.raises(UndecodableError):
        messages.read(65 * sections)
