"""What a peer may not send, and the Close that says so (R1.14)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands as spec
from pamqp import exceptions as pamqp_errors
from pamqp.base import Frame

from springline.drivers.amqp091 import errors, objections
from springline.drivers.amqp091.objections import NO_METHOD, Method, Rules
from springline.drivers.amqp091.replies import Close
from springline.errors import RejectedError, TransientError
from springline.reasons import Reason

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
PROBE = 1

METHODS = st.one_of(
    st.builds(Method, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
    st.sampled_from([Method(index >> 16, index & 0xFFFF) for index in spec.INDEX_MAPPING]),
)


def of(frame: type[Frame]) -> Method:
    return Method(frame.index >> 16, frame.index & 0xFFFF)


def probing() -> Rules:
    """The rules of a connection that has opened the probe's channel."""
    rules = Rules()
    rules.opened(PROBE)
    return rules


@pytest.mark.parametrize(
    ("channel", "frame"),
    [
        *((0, getattr(spec.Connection, name)) for name in ("Close", "CloseOk", "Blocked")),
        *((0, getattr(spec.Connection, name)) for name in ("Unblocked", "UpdateSecretOk")),
        *((PROBE, getattr(spec.Channel, name)) for name in ("OpenOk", "Close", "CloseOk")),
        *((PROBE, getattr(spec.Basic, name)) for name in ("Ack", "Nack", "Return")),
        (PROBE, spec.Confirm.SelectOk),
        (PROBE, spec.Queue.DeclareOk),
    ],
)
def test_what_a_broker_says_to_a_probing_connection_is_right(
    channel: int, frame: type[Frame]
) -> None:
    assert probing().find(METHOD, channel, of(frame)) is None


def test_a_heartbeat_is_right_on_channel_0_alone() -> None:
    assert probing().find(HEARTBEAT, 0, NO_METHOD) is None
    violation = probing().find(HEARTBEAT, PROBE, NO_METHOD)
    assert violation == (501, "a heartbeat on channel 1")


def test_a_channel_counts_from_the_first_word_on_it() -> None:
    rules = Rules()
    violation = rules.find(METHOD, PROBE, of(spec.Channel.OpenOk))
    assert violation == (504, "Channel.OpenOk on channel 1, which is not open")
    rules.opened(PROBE)
    assert rules.find(METHOD, PROBE, of(spec.Channel.OpenOk)) is None


def test_content_of_one_channel_does_not_matter_to_another() -> None:
    rules = probing()
    rules.opened(2)
    assert rules.find(METHOD, PROBE, of(spec.Basic.Return)) is None
    assert rules.find(METHOD, 2, of(spec.Basic.Ack)) is None
    assert rules.find(HEADER, PROBE, NO_METHOD) is None
    assert rules.find(BODY, 2, NO_METHOD) == (505, "content where none is due")


# R1.14
@given(
    kind=st.sampled_from([METHOD, HEADER, BODY, HEARTBEAT]),
    channel=st.integers(0, 0xFFFF),
    method=METHODS,
)
def test_every_objection_names_the_method_and_fits_into_a_close(
    kind: int, channel: int, method: Method
) -> None:
    """A reply text has at most 255 octets."""
    if kind != METHOD:
        method = NO_METHOD
    violation = probing().find(kind, channel, method)
    if violation is None:
        return
    text = errors.mismatch(violation.what).message
    close = objections.close(violation.code, text, method)
    assert 501 <= close.code <= 505
    assert (close.class_id, close.method_id) == method
    assert len(close.text.encode()) <= 255


# R1.14
@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(struct.error("4 bytes"), 502, id="a field that is cut off"),
        pytest.param(pamqp_errors.UnmarshalingException("x", "y"), 502, id="what pamqp refuses"),
        pytest.param(errors.unexpected_frame("Connection.Tune", "x"), 503, id="out of turn"),
        pytest.param(None, None, id="an end without an error"),
        pytest.param(ConnectionResetError("gone"), None, id="the transport's end"),
        pytest.param(
            RejectedError(Reason.ACCESS_REFUSED, "no"), None, id="what the broker refused"
        ),
        pytest.param(TransientError(Reason.PEER_CLOSED, "bye"), None, id="what may pass"),
    ],
)
def test_what_the_peer_has_done_wrong_is_told_from_what_just_happened(
    error: BaseException | None, code: int | None
) -> None:
    close = objections.of_error(error, Method(10, 30))
    if code is None:
        assert close is None
        return
    assert isinstance(close, Close)
    assert (close.code, close.class_id, close.method_id) == (code, 10, 30)
    assert close.text.startswith("the peer sent ")
