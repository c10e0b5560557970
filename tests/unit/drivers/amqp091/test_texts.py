"""A text that was cut in the middle of a character is decoded, and what is left of it shown."""

import pamqp.frame
import pytest
from pamqp import commands as spec

from springline.drivers.amqp091 import texts


def close_frame(text: bytes, *, channel: int = 0) -> bytes:
    """Return a Close with a text that pamqp would not write."""
    numbers = b"\x00\x0a\x00\x32" if channel == 0 else b"\x00\x14\x00\x28"
    payload = numbers + (530).to_bytes(2) + bytes([len(text)]) + text + bytes(4)
    return b"\x01" + channel.to_bytes(2) + len(payload).to_bytes(4) + payload + b"\xce"


def blocked_frame(text: bytes) -> bytes:
    payload = b"\x00\x0a\x00\x3c" + bytes([len(text)]) + text
    return b"\x01\x00\x00" + len(payload).to_bytes(4) + payload + b"\xce"


CUT = "vhost 'aufträ".encode()[:-1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(CUT, "vhost 'auftr\ufffd", id="cut"),
        pytest.param(CUT + b"...", "vhost 'auftr\ufffd...", id="cut, and dots after it"),
        pytest.param(b"\xff\xfe", "\ufffd\ufffd", id="no text at all"),
        pytest.param("é".encode() * 127 + b"\xc3", "é" * 127, id="no room to say so"),
        pytest.param("vhost 'aufträge'".encode(), "vhost 'aufträge'", id="whole"),
        pytest.param(b"", "", id="empty"),
    ],
)
@pytest.mark.parametrize("channel", [0, 1])
def test_a_close_keeps_its_code_and_what_is_left_of_its_text(
    text: bytes, shown: str, channel: int
) -> None:
    frame = texts.repaired(close_frame(text, channel=channel))
    size, found, close = pamqp.frame.unmarshal(frame)
    assert isinstance(close, spec.Connection.Close | spec.Channel.Close)
    assert (size, found) == (len(frame), channel)
    assert (close.reply_code, close.reply_text) == (530, shown)
    assert (close.class_id, close.method_id) == (0, 0)


def test_a_block_keeps_what_is_left_of_its_reason() -> None:
    _, _, blocked = pamqp.frame.unmarshal(texts.repaired(blocked_frame(CUT)))
    assert isinstance(blocked, spec.Connection.Blocked)
    assert blocked.reason == "vhost 'auftr\ufffd"


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x08\x00\x00\x00\x00\x00\x00\xce", id="a heartbeat"),
        pytest.param(b"\x01\x00\x00\x00\x00\x00\x02\x00\x0a\xce", id="half a method"),
        pytest.param(b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x32\xce", id="no code"),
        pytest.param(close_frame(CUT)[:-9] + b"\xce", id="less text than it says"),
        pytest.param(pamqp.frame.marshal(spec.Connection.OpenOk(), 0), id="another method"),
    ],
)
def test_what_has_no_such_text_is_left_as_it_is(frame: bytes) -> None:
    """Whether it is a frame at all is for the decoder to say."""
    assert texts.repaired(frame) == frame
