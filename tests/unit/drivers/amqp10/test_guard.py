"""What a peer may not send: each ends the connection with its condition, and proton sees none."""

from collections.abc import Callable

import pytest

from support.amqp10_library import MISSING

pytest.importorskip("proton", reason=MISSING)

from proton import Delivery, Described, symbol, ubyte, uint, ulong, ushort

from springline.drivers.amqp10 import codec
from springline.drivers.amqp10.amqp_sessions import EngineSession
from springline.drivers.amqp10.engine import Engine
from springline.drivers.amqp10.frames import SASL, framed
from support import amqp10_pair
from support.amqp10_pair import (
    begin,
    error,
    frames_of,
    open_frame,
    opened,
    performative,
    with_session,
)

RECEIVES, SENDS = True, False  # the peer's role


def with_links() -> tuple[Engine, EngineSession]:
    """A session with a sender "out" on the peer's handle 0, and a receiver "in" on its 1."""
    engine, session = with_session()
    session.proton.sender("out").open()
    receiver = session.proton.receiver("in")
    receiver.open()
    receiver.flow(10)
    engine.output()
    engine.receive(attach("out", uint(0), RECEIVES) + attach("in", uint(1), SENDS))
    assert engine.fault is None
    return engine, session


def attach(name: object, handle: object, role: object, *, channel: int = 0) -> bytes:
    terminus = Described(ulong(0x28), ["address"])
    target = Described(ulong(0x29), ["address"])
    fields = [name, handle, role, ubyte(2), ubyte(0), terminus, target, None, None, uint(0)]
    return performative(codec.ATTACH, fields, channel=channel)


def transfer(handle: object, number: object = uint(0), *more: object) -> bytes:
    fields = [handle, number, b"tag", uint(0), *more]
    return performative(codec.TRANSFER, fields, payload=b"\x00\x53\x77\xa1\x01a")


def flow(*fields: object, channel: int = 0) -> bytes:
    return performative(codec.FLOW, fields, channel=channel)


FLOW = (uint(0), uint(9), uint(0), uint(9))
NOT_ALLOWED, INVALID, ILLEGAL = "amqp:not-allowed", "amqp:invalid-field", "amqp:illegal-state"
DECODE, FRAMING = "amqp:decode-error", "amqp:connection:framing-error"

# Each on a connection that is open, with a session on channel 0 and two links.
VIOLATIONS: dict[str, tuple[bytes, str]] = {
    "a second Open": (open_frame(), ILLEGAL),
    "an answer to a session that is begun": (begin(0, channel=1), INVALID),
    "an answer to a session that is not": (begin(7, channel=1), INVALID),
    "a session that nobody asked for": (begin(None, channel=1), NOT_ALLOWED),
    "a session on a channel that has one": (begin(0), NOT_ALLOWED),
    "a Begin without windows": (performative(codec.BEGIN, [ushort(0)], channel=1), INVALID),
    "a Begin with texts for windows": (
        performative(codec.BEGIN, [ushort(0), "a", "b", "c"], channel=1),
        INVALID,
    ),
    "a Begin for a channel that is no number": (
        performative(codec.BEGIN, ["0", uint(0), uint(1), uint(1)], channel=1),
        INVALID,
    ),
    "an End for a channel that is not there": (performative(codec.END, [], channel=9), NOT_ALLOWED),
    "a second End": (performative(codec.END, []) * 2, NOT_ALLOWED),
    "a Flow for a channel that is not there": (flow(*FLOW, channel=9), NOT_ALLOWED),
    "a Flow after the End": (performative(codec.END, []) + flow(*FLOW), NOT_ALLOWED),
    "a Flow without windows": (flow(uint(0)), INVALID),
    "a Flow with a negative window": (flow(uint(0), -1, uint(0), uint(0)), INVALID),
    "a Flow with a window that is too large": (flow(uint(0), ulong(1 << 40), *FLOW[2:]), INVALID),
    "a Flow with a map for a window": (flow(uint(0), {}, uint(0), uint(0)), INVALID),
    "a Flow with described numbers": (
        flow(*[Described(ulong(1), uint(1))] * 4),
        INVALID,
    ),
    "a Flow for a link that there is not": (flow(*FLOW, uint(9), uint(0), uint(1)), INVALID),
    "a Flow with a text for credit": (flow(*FLOW, uint(0), uint(0), "1"), INVALID),
    "a link that nobody asked for": (attach("other", uint(2), RECEIVES), NOT_ALLOWED),
    "a link in the other direction": (attach("out", uint(2), SENDS), NOT_ALLOWED),
    "a link that is attached": (attach("out", uint(2), RECEIVES), NOT_ALLOWED),
    "a link in a session that is not there": (
        attach("out", uint(2), RECEIVES, channel=9),
        NOT_ALLOWED,
    ),
    "a link without a name": (attach(None, uint(2), RECEIVES), NOT_ALLOWED),
    "a link whose name is a number": (attach(7, uint(2), RECEIVES), NOT_ALLOWED),
    "a link whose name is a list": (attach(["out"], uint(2), RECEIVES), NOT_ALLOWED),
    "a link whose name is an array": (
        attach(codec.symbol_array(["out"]), uint(2), RECEIVES),
        NOT_ALLOWED,
    ),
    "a link without a role": (attach("out", uint(2), None), NOT_ALLOWED),
    "a link without a handle": (attach("out", None, RECEIVES), INVALID),
    "a link with a text for a handle": (attach("out", "2", RECEIVES), INVALID),
    "a Transfer on a link that there is not": (transfer(uint(9)), INVALID),
    "a Transfer without a link": (transfer(None), INVALID),
    "a Transfer on a link that the peer receives from": (transfer(uint(0)), NOT_ALLOWED),
    "a Transfer with a text for a number": (transfer(uint(1), "0"), INVALID),
    "a Transfer on a channel that is not there": (
        performative(codec.TRANSFER, [uint(1), uint(0), b"t"], channel=9),
        NOT_ALLOWED,
    ),
    "a Disposition without a role": (
        performative(codec.DISPOSITION, [None, uint(0)]),
        INVALID,
    ),
    "a Disposition without a first delivery": (performative(codec.DISPOSITION, [True]), INVALID),
    "a Disposition with a text for the last": (
        performative(codec.DISPOSITION, [True, uint(0), "9"]),
        INVALID,
    ),
    "a Detach of a link that there is not": (performative(codec.DETACH, [uint(9)]), INVALID),
    "a second Detach": (performative(codec.DETACH, [uint(0), True]) * 2, INVALID),
    "a Detach without a link": (performative(codec.DETACH, []), INVALID),
    "a frame that there is not": (performative(0x42, []), NOT_ALLOWED),
    "a frame of SASL": (framed(codec.encode(codec.SASL_OUTCOME, [ubyte(0)]), type=SASL), FRAMING),
    "a frame of another type": (framed(b"x", type=7), FRAMING),
    "an oversized frame": (framed(b"x" * amqp10_pair.MAX_FRAME), FRAMING),
    "garbage": (b"garbage, and more than eight octets of it", FRAMING),
    "a second protocol header": (b"AMQP\0\1\0\0", FRAMING),
    "a body that is no performative": (framed(b"\xa1\x01a"), DECODE),
    "a body that is cut off": (framed(codec.encode(codec.FLOW, FLOW)[:-1]), DECODE),
    "a body that is deep": (framed(b"\x00\x53\x18" + b"\x00\x44" * 30000 + b"\x45"), DECODE),
    "a condition that is no UTF-8": (
        framed(b"\x00\x53\x18\xc0\x0a\x01\x00\x53\x1d\xc0\x04\x01\xa3\x01\xff"),
        DECODE,
    ),
}


@pytest.mark.parametrize(("octets", "condition"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_violation_ends_the_connection_with_its_condition(octets: bytes, condition: str) -> None:
    """R4.2: it is told to the peer, whose frames are not looked at any more."""
    engine, session = with_links()
    engine.output()
    engine.receive(octets + flow(uint(0), uint(0), uint(0), uint(0)))
    assert engine.fault is not None
    assert engine.fault.name == condition
    assert not engine.is_open
    assert engine.has_closed
    assert session.windows is not None
    assert session.windows.incoming != 0
    close = frames_of(engine.output())[-1]
    assert close[1] == codec.CLOSE
    assert close[2][0].value[0] == condition
    engine.receive(octets)
    engine.receive_eof()
    assert engine.fault.name == condition


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(begin(0), id="Begin"),
        pytest.param(performative(codec.END, []), id="End"),
        pytest.param(flow(*FLOW), id="Flow"),
    ],
)
def test_nothing_may_come_before_open(octets: bytes) -> None:
    engine = amqp10_pair.engine()
    engine.begin(incoming_capacity=1 << 20, outgoing_window=1)
    engine.output()
    engine.receive_header()
    engine.receive(octets)
    assert engine.fault is not None
    assert engine.fault.name == ILLEGAL


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["theirs", None, "large"], id="a text for the size of frames"),
        pytest.param(["theirs", None, None, True], id="a truth for the number of channels"),
        pytest.param(["theirs", None, None, None, {}], id="a map for a time"),
        pytest.param(["theirs", None, [uint(1)]], id="a list for a number"),
    ],
)
def test_open_with_what_is_no_number_is_refused(fields: list[object]) -> None:
    engine = amqp10_pair.engine()
    engine.output()
    engine.receive_header()
    engine.receive(open_frame(*fields))
    assert engine.fault is not None
    assert engine.fault.name == DECODE
    assert engine.peer is None


@pytest.mark.parametrize("size", [0, 1, 511])
def test_open_with_frames_that_are_too_small_is_kept_as_it_is(
    size: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """§2.7.1; a broker may follow it with a Close. proton would write a line to the logs."""
    engine = amqp10_pair.engine()
    engine.output()
    engine.receive_header()
    engine.receive(open_frame("theirs", None, uint(size)))
    assert engine.fault is None
    assert engine.is_open
    assert engine.peer is not None
    assert engine.peer.max_frame_size == size
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("handle", [0x80000000, 0xFFFFFFFE, 0xFFFFFFFF], ids=hex)
def test_handle_that_is_higher_than_our_begin_says_is_refused(handle: int) -> None:
    engine, session = with_session()
    session.proton.sender("out").open()
    engine.output()
    engine.receive(attach("out", uint(handle), RECEIVES))
    assert engine.fault is not None
    assert engine.fault.name == INVALID


def test_handle_may_be_used_again_when_its_link_is_detached() -> None:
    engine, session = with_links()
    engine.receive(performative(codec.DETACH, [uint(0), True]))
    session.proton.sender("next").open()
    engine.output()
    engine.receive(attach("next", uint(0), RECEIVES))
    assert engine.fault is None


def test_channel_may_be_used_again_when_its_session_has_ended() -> None:
    engine, session = with_links()
    engine.receive(performative(codec.END, [error("amqp:internal-error")]))
    assert session.is_ended_by_peer
    engine.end(session)
    engine.output()
    other = engine.begin(incoming_capacity=1 << 20, outgoing_window=1)
    engine.output()
    engine.receive(begin(0))
    assert engine.fault is None
    assert other.is_open


def test_channel_is_used_again_by_a_peer_that_has_lost_its_end() -> None:
    """By RabbitMQ with the plugin, and only where we have ended the session that had it."""
    engine, session = with_links()
    engine.end(session)
    engine.output()
    assert _awaits_end(engine)
    other = engine.begin(incoming_capacity=1 << 20, outgoing_window=1)
    engine.output()
    engine.receive(begin(0))
    assert engine.fault is None
    assert other.is_open
    assert not _awaits_end(engine)
    # And it is that session's channel alone, for proton, too.
    engine.receive(flow(*FLOW))
    engine.receive(performative(codec.END, [error("amqp:internal-error")]))
    assert engine.fault is None
    assert other.is_ended_by_peer


def test_what_we_have_ended_is_awaited_from_the_peer() -> None:
    """Also what is not sent yet, and what the peer has not begun."""
    engine, session = with_links()
    assert not _awaits_end(engine)
    unbegun = engine.begin(incoming_capacity=1 << 20, outgoing_window=1)
    assert not _awaits_end(engine)
    engine.end(unbegun)
    assert _awaits_end(engine)
    engine.output()
    assert _awaits_end(engine)
    engine.receive(begin(1, channel=1))
    assert _awaits_end(engine)
    engine.receive(performative(codec.END, [], channel=1))
    assert not _awaits_end(engine)
    engine.end(session)
    engine.receive(performative(codec.END, []))
    assert not _awaits_end(engine)


def _awaits_end(engine: Engine) -> bool:
    """Ask it anew."""
    return engine.awaits_end


def test_what_is_in_order_reaches_the_links() -> None:
    engine, session = with_links()
    connection = session.proton.connection
    links = {}
    link = connection.link_head(0)
    while link is not None:
        links[link.name] = link
        link = link.next(0)
    engine.receive(flow(*FLOW, uint(0), uint(0), uint(3)))
    assert links["out"].credit == 3
    engine.receive(transfer(uint(1)))
    assert links["in"].recv(100) == b"\x00\x53\x77\xa1\x01a"
    delivery = links["out"].delivery("tag")
    links["out"].stream(b"x")
    links["out"].advance()
    engine.output()
    rejected = Described(ulong(0x25), [error("amqp:not-found", "no queue")])
    engine.receive(performative(codec.DISPOSITION, [True, uint(0), None, True, rejected]))
    assert delivery.remote_state == Delivery.REJECTED
    assert engine.fault is None


def _known(number: int, last: int) -> bytes:
    return performative(
        codec.DISPOSITION, [True, uint(number), uint(last), True, Described(ulong(0x24), [])]
    )


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(_known(5, 6), id="unknown"),
        pytest.param(_known(0, 0x7FFFFFFF), id="very many"),
        pytest.param(
            performative(codec.DISPOSITION, [False, uint(0), uint(9), True]), id="of the other role"
        ),
        pytest.param(
            performative(codec.DISPOSITION, [True, uint(0), uint(9), True, symbol("x")]),
            id="in a state that is none",
        ),
    ],
)
def test_disposition_for_deliveries_that_there_are_not_changes_nothing(octets: bytes) -> None:
    engine, _ = with_links()
    engine.receive(octets)
    assert engine.fault is None


@pytest.mark.parametrize("credit", ["1", uint(0xFFFFFFFF), [], None])
def test_credit_for_no_link_changes_nothing(credit: object) -> None:
    engine, _ = with_links()
    engine.receive(flow(*FLOW, None, None, credit))
    assert engine.fault is None


def _frames(make: Callable[[int], bytes]) -> bytes:
    return b"".join(map(make, range(200)))


def test_more_transfers_than_the_window_has_are_refused() -> None:
    """So that what is kept of messages that nobody asked for has an end."""
    engine, _ = with_links()
    engine.receive(_frames(lambda number: transfer(uint(1), uint(number))))
    assert engine.fault is not None
    assert engine.fault.name == "amqp:session:window-violation"


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(begin(None), id="a session"),
        pytest.param(begin(0) + attach("x", uint(0), RECEIVES), id="a link"),
    ],
)
def test_nothing_is_begun_or_attached_that_nobody_asked_for(octets: bytes) -> None:
    """A peer could do so without end."""
    engine = opened()
    engine.begin(incoming_capacity=1 << 20, outgoing_window=1)
    engine.output()
    engine.receive(octets)
    assert engine.fault is not None
    assert engine.fault.name == NOT_ALLOWED


def test_begin_without_a_channel_answers_only_a_session_that_has_been_ended() -> None:
    """proton, as a server, leaves it out when it has read the End before it answers."""
    engine = opened()
    first = engine.begin(incoming_capacity=1 << 20, outgoing_window=1)
    engine.output()
    engine.end(first)
    engine.output()
    second = engine.begin(incoming_capacity=1 << 20, outgoing_window=1)
    engine.output()
    engine.receive(begin(None, channel=4) + performative(codec.END, [], channel=4))
    engine.receive(begin(0, channel=4))
    assert engine.fault is None
    assert second.is_open
    engine.receive(begin(None, channel=5))
    assert engine.fault is not None


def test_long_descriptor_hides_nothing() -> None:
    """It is read whatever way it is written in, as proton does."""
    engine, session = with_links()
    body = codec.encode(codec.FLOW, [uint(0), uint(0), uint(0), uint(0)])
    engine.receive(framed(b"\x00\x80" + bytes(7) + body[2:]))
    assert engine.fault is None
    assert session.windows is not None
    assert session.windows.incoming == 0
