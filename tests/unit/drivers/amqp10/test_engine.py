"""One connection without a socket: opened, used and closed, against proton as its server."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.amqp10_library import MISSING

pytest.importorskip("proton", reason=MISSING)

from proton import Condition as ProtonCondition
from proton import Described, Endpoint, symbol, uint, ushort

from springline.drivers.amqp10 import codec
from springline.drivers.amqp10.amqp_sessions import EngineSession
from springline.drivers.amqp10.conditions import LOCAL_IDLE_TIMEOUT, TOO_MUCH, Condition
from springline.drivers.amqp10.engine import Engine, NoRoomError, Windows
from springline.drivers.amqp10.frames import AMQP_HEADER, framed
from support import amqp10_pair
from support.amqp10_pair import Pair, begin, error, frames_of, open_frame, opened, performative


def begun(engine: Engine) -> EngineSession:
    return engine.begin(incoming_capacity=amqp10_pair.CAPACITY, outgoing_window=amqp10_pair.WINDOW)


# Open


def test_both_sides_open() -> None:
    pair = Pair(amqp10_pair.engine())
    assert pair.engine.is_open
    assert not pair.engine.has_closed
    assert not pair.engine.is_closed_by_peer
    assert pair.engine.peer is not None
    assert pair.engine.peer.container_id == "theirs"
    assert pair.server.remote_container == "ours"
    assert pair.server.remote_hostname == "vhost:orders"


def test_connection_is_not_open_before_the_peer_has_opened() -> None:
    pair = Pair(amqp10_pair.engine(), is_open=False)
    pair.run()
    assert not pair.engine.is_open
    assert pair.engine.peer is None


def test_open_says_what_is_declared() -> None:
    engine = amqp10_pair.engine(
        heartbeat_seconds=10,
        max_frame_size=8192,
        channel_max=7,
        locales=("de-AT", "en-US"),
        properties={"product": "Springline"},
        desired_capabilities=("sole-connection-for-container",),
    )
    octets = engine.output()
    assert octets.startswith(AMQP_HEADER)
    [(_, code, fields)] = frames_of(octets)
    assert code == codec.OPEN
    assert fields[:5] == ["ours", "vhost:orders", uint(8192), ushort(7), uint(10000)]
    assert codec.symbols(fields[6]) == ("de-AT", "en-US")
    assert codec.symbols(fields[8]) == ("sole-connection-for-container",)
    assert fields[9] == {symbol("product"): "Springline"}
    assert engine.output() == b""


def test_open_with_locales_is_understood_by_another_implementation() -> None:
    """proton has no place for them, so its Open is written anew."""
    pair = Pair(amqp10_pair.engine(locales=("de-AT",), properties={"product": "Springline"}))
    assert pair.engine.is_open
    assert pair.server.remote_properties == {symbol("product"): "Springline"}


def test_begin_behind_an_open_with_locales_is_sent() -> None:
    """With Open in one piece, which is how it is said where nobody waits for an answer."""
    engine = amqp10_pair.engine(locales=("de-AT",))
    session = begun(engine)
    codes = [code for _, code, _ in frames_of(engine.output())]
    assert codes[:2] == [codec.OPEN, codec.BEGIN]
    assert session.own_windows is not None


def test_all_that_the_peer_says_in_open_is_kept_to_the_letter() -> None:
    engine = amqp10_pair.engine()
    engine.receive_header()
    engine.receive(
        open_frame(
            *("theirs", "host", uint(4096), ushort(9), uint(1500)),
            *(symbol("en_US"), codec.symbol_array(["de"])),
            *(codec.symbol_array(["A", "B"]), symbol("C"), {symbol("product"): "RabbitMQ"}),
        )
    )
    peer = engine.peer
    assert peer is not None
    assert (peer.container_id, peer.max_frame_size, peer.channel_max) == ("theirs", 4096, 9)
    assert peer.idle_seconds == 1.5
    assert peer.locales == ("en_US",)
    assert peer.offered_capabilities == ("A", "B")
    assert peer.desired_capabilities == ("C",)
    assert peer.properties == {"product": "RabbitMQ"}


def test_what_the_peer_leaves_out_of_open_has_the_specified_values() -> None:
    peer = opened().peer
    assert peer is not None
    assert (peer.max_frame_size, peer.channel_max) == (0xFFFFFFFF, 0xFFFF)
    assert (peer.idle_seconds, peer.locales, peer.properties) == (0, (), {})


@pytest.mark.parametrize("value", [["list"], "text", 7, Described(symbol("x"), {})], ids=repr)
def test_properties_that_are_no_map_are_none(value: object) -> None:
    engine = amqp10_pair.engine()
    engine.receive_header()
    engine.receive(open_frame("theirs", *[None] * 8, value))
    assert engine.is_open
    assert engine.peer is not None
    assert engine.peer.properties == {}


# Octets


def conversation() -> bytes:
    """What a server says that opens, begins, ends, and closes."""
    return (
        open_frame("theirs", None, uint(4096), ushort(9))
        + begin(0)
        + framed(b"")
        + performative(codec.FLOW, [uint(0), uint(0), uint(0), uint(100)])
        + performative(codec.END, [error("amqp:internal-error", "why")])
        + performative(codec.CLOSE, [error("amqp:connection:forced", "bye")])
    )


@given(cuts=st.lists(st.integers(0, len(conversation()))))
def test_pieces_in_which_octets_come_make_no_difference(cuts: list[int]) -> None:
    """R4.1"""
    engine = amqp10_pair.engine()
    session = begun(engine)
    engine.output()
    engine.receive_header()
    octets = conversation()
    for start, end in itertools.pairwise(sorted({0, len(octets), *cuts})):
        engine.receive(octets[start:end])
    assert engine.fault is None
    assert engine.peer is not None
    assert engine.peer.channel_max == 9
    assert session.windows == Windows(incoming=0, outgoing=100)
    assert session.is_ended_by_peer
    assert session.remote_condition == Condition("amqp:internal-error", "why")
    assert engine.is_closed_by_peer
    assert engine.remote_condition == Condition("amqp:connection:forced", "bye")


def test_octets_after_a_close_change_nothing() -> None:
    engine, session = amqp10_pair.with_session()
    close = performative(codec.CLOSE, [])
    engine.receive(close + close + performative(codec.END, []) + open_frame())
    assert engine.fault is None
    assert engine.is_closed_by_peer
    assert not session.is_ended_by_peer


def test_end_of_the_stream_before_close_is_a_plain_fault() -> None:
    """The wire knows it anyway, and better: it looks for these words to tell it from others."""
    engine = opened()
    engine.receive_eof()
    engine.tick(1.0)
    assert engine.fault is not None
    assert engine.fault.name == "amqp:connection:framing-error"
    assert "aborted" in engine.fault.text
    assert not engine.is_open


def test_end_of_the_stream_after_close_is_none() -> None:
    engine = opened()
    engine.receive(performative(codec.CLOSE, []))
    engine.close()
    engine.output()
    engine.receive_eof()
    assert engine.fault is None


# Sessions


def test_several_sessions_are_told_apart() -> None:
    pair = Pair(amqp10_pair.engine())
    sessions = [begun(pair.engine) for _ in range(3)]
    pair.to_server()
    assert not any(each.is_open for each in sessions)
    accepted = pair.accept()
    pair.run()
    assert all(each.is_open for each in sessions)
    accepted[1].condition = ProtonCondition("amqp:internal-error", "the second")
    accepted[1].close()
    pair.run()
    assert [each.is_ended_by_peer for each in sessions] == [False, True, False]
    assert sessions[1].remote_condition == Condition("amqp:internal-error", "the second")
    assert sessions[0].remote_condition is None


def test_windows_are_those_of_begin_and_then_of_each_flow() -> None:
    engine, session = amqp10_pair.with_session()
    assert session.own_windows is not None
    assert session.own_windows.outgoing == amqp10_pair.WINDOW
    assert session.own_windows.incoming == amqp10_pair.CAPACITY // amqp10_pair.MAX_FRAME
    assert session.windows == Windows(incoming=100, outgoing=100)
    flow = performative(codec.FLOW, [uint(0), uint(0), uint(0), uint(7)])
    engine.receive(flow)
    assert session.windows == Windows(incoming=0, outgoing=7)
    engine.receive(performative(codec.FLOW, [None, uint(0xFFFFFFFF), uint(0), uint(0)]))
    assert session.windows == Windows(incoming=0xFFFFFFFF, outgoing=0)


def test_capabilities_of_a_session_stay_when_its_windows_change() -> None:
    engine = opened()
    session = begun(engine)
    engine.output()
    capabilities = codec.symbol_array(["X"])
    engine.receive(
        performative(codec.BEGIN, [ushort(0), uint(0), uint(1), uint(1), None, capabilities])
    )
    engine.receive(performative(codec.FLOW, [uint(0), uint(5), uint(0), uint(5)]))
    assert session.windows == Windows(incoming=5, outgoing=5, offered_capabilities=("X",))


def test_flow_of_one_session_leaves_the_others_alone() -> None:
    """Whatever channels the peer takes for its side."""
    engine = opened()
    first, second = begun(engine), begun(engine)
    engine.output()
    engine.receive(begin(1, channel=0) + begin(0, channel=5))
    engine.receive(performative(codec.FLOW, [uint(0), uint(0), uint(0), uint(0)], channel=5))
    assert first.windows == Windows(incoming=0, outgoing=0)
    assert second.windows == Windows(incoming=100, outgoing=100)


def test_there_are_as_many_sessions_as_both_sides_take() -> None:
    engine = amqp10_pair.engine(channel_max=7)
    engine.receive_header()
    engine.receive(open_frame("theirs", None, None, ushort(1)))
    assert engine.max_channels == 2
    first, _ = begun(engine), begun(engine)
    with pytest.raises(NoRoomError, match="2 sessions"):
        begun(engine)
    engine.end(first)
    engine.end(first)  # once
    begun(engine)
    with pytest.raises(NoRoomError):
        begun(engine)


def test_no_more_sessions_are_counted_on_than_proton_can_carry() -> None:
    engine = opened(channel_max=0xFFFF)
    assert engine.max_channels == 0x8000


def test_session_that_was_ended_before_it_was_begun_takes_nobody_elses_channel() -> None:
    pair = Pair(amqp10_pair.engine())
    first = pair.engine.begin(incoming_capacity=1 << 20, outgoing_window=1)
    pair.engine.end(first)
    second = pair.engine.begin(incoming_capacity=1 << 20, outgoing_window=2)
    pair.to_server()
    pair.accept()
    pair.run()
    assert pair.engine.fault is None
    assert second.is_open
    assert second.own_windows is not None
    assert second.own_windows.outgoing == 2


def test_late_answer_to_a_session_that_has_been_ended_is_no_fault() -> None:
    """A peer may be slow: a probe gives up, and the next one is to have a session of its own."""
    engine = opened()
    first = begun(engine)
    engine.output()
    engine.end(first)
    engine.output()
    second = begun(engine)
    engine.output()
    # Both have our channel 0, and the peer answers in order.
    engine.receive(begin(0, channel=3, incoming=1))
    engine.receive(performative(codec.FLOW, [uint(0), uint(9), uint(0), uint(9)], channel=3))
    engine.receive(performative(codec.END, [], channel=3) + begin(0, channel=3, incoming=2))
    assert engine.fault is None
    assert second.is_open
    assert second.windows == Windows(incoming=2, outgoing=100)
    assert not second.is_ended_by_peer


def test_late_answer_to_a_link_that_has_been_released_is_no_fault() -> None:
    pair = Pair(amqp10_pair.engine())
    session = pair.begun()
    link = session.proton.sender("link")
    link.open()
    pair.to_server()
    pair.accept()
    link.close()
    link.free()
    pair.engine.end(session)
    pair.engine.output()
    pair.to_engine()
    assert pair.engine.fault is None
    assert pair.engine.is_open
    assert pair.begun().is_open


def test_many_sessions_one_after_the_other_are_kept_nowhere() -> None:
    """A session is begun for each probe, for as long as a connection lives."""
    pair = Pair(amqp10_pair.engine(channel_max=1))
    for _ in range(300):
        session = pair.begun()
        assert session.is_open
        pair.engine.end(session)
        pair.run()
        while (ended := pair.server.session_head(Endpoint.REMOTE_CLOSED)) is not None:
            ended.close()
            ended.free()
        pair.run()
    guard = pair.engine._guard
    assert not guard._by_channel
    assert not guard._by_peer_channel
    assert not guard._unanswered
    assert not guard._unbegun


# The end


def test_peer_closes_with_a_condition() -> None:
    pair = Pair(amqp10_pair.engine())
    pair.server.condition = ProtonCondition("amqp:connection:forced", "bye")
    pair.server.close()
    pair.to_engine()
    assert pair.engine.is_closed_by_peer
    assert not pair.engine.is_open
    assert pair.engine.fault is None
    assert pair.engine.remote_condition == Condition("amqp:connection:forced", "bye")


def test_peer_closes_without_a_condition() -> None:
    pair = Pair(amqp10_pair.engine())
    pair.server.close()
    pair.to_engine()
    assert pair.engine.is_closed_by_peer
    assert pair.engine.remote_condition is None


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(None, id="in order"),
        pytest.param(Condition("amqp:connection:forced", "enough"), id="with a text"),
        pytest.param(Condition("amqp:connection:forced"), id="without a text"),
    ],
)
def test_we_close_and_the_peer_answers(condition: Condition | None) -> None:
    pair = Pair(amqp10_pair.engine())
    pair.engine.close(condition)
    pair.engine.close(Condition("amqp:internal-error", "once"))
    assert pair.engine.has_closed
    pair.to_server()
    assert Condition.of(pair.server.remote_condition) == condition
    pair.server.close()
    pair.run()
    assert pair.engine.is_closed_by_peer
    assert pair.engine.fault is None


def test_peer_that_refuses_closes_right_after_its_open() -> None:
    """§2.4.1: it has to send an Open first, and may say all in one piece."""
    engine = amqp10_pair.engine()
    engine.output()
    engine.receive_header()
    engine.receive(open_frame() + performative(codec.CLOSE, [error("amqp:not-allowed", "no")]))
    assert engine.fault is None
    assert engine.is_closed_by_peer
    assert engine.remote_condition == Condition("amqp:not-allowed", "no")


def test_close_without_an_open_is_heard() -> None:
    engine = amqp10_pair.engine()
    engine.output()
    engine.receive_header()
    engine.receive(performative(codec.CLOSE, [error("amqp:not-allowed", "no")]))
    assert engine.remote_condition == Condition("amqp:not-allowed", "no")
    assert engine.peer is None


# Signs of life


def test_connection_ends_when_nothing_is_heard_for_two_heartbeats() -> None:
    engine = opened(heartbeat_seconds=10)
    assert engine.tick(100.0) == 120.0
    engine.receive(framed(b""))
    assert engine.tick(119.0) == 139.0
    assert engine.is_open
    engine.tick(139.0)
    assert engine.fault is not None
    assert LOCAL_IDLE_TIMEOUT in engine.fault.text


def test_frames_that_are_not_looked_at_are_signs_of_life_too() -> None:
    engine = opened(heartbeat_seconds=10)
    session = begun(engine)
    engine.output()
    engine.receive(begin(0))
    engine.end(session)
    engine.output()
    engine.tick(100.0)
    engine.receive(performative(codec.FLOW, [uint(0), uint(1), uint(0), uint(1)]))
    assert engine.tick(119.0) == 139.0
    assert engine.fault is None


def test_peer_gets_a_sign_of_life_in_half_the_time_after_which_it_would_end() -> None:
    engine = amqp10_pair.engine()
    engine.output()
    engine.receive_header()
    engine.receive(open_frame("theirs", None, None, None, uint(8000)))
    assert engine.tick(100.0) == 104.0
    assert engine.output() == b""
    assert engine.tick(104.0) == 108.0
    assert engine.output() == framed(b"")


def test_without_heartbeats_nothing_is_ever_due() -> None:
    engine = opened()
    assert engine.tick(100.0) is None
    assert engine.tick(1e6) is None
    assert engine.fault is None


# Too much


def test_flood_ends_the_connection_and_is_told_to_the_peer() -> None:
    left = iter(["", "", "more than 2 frames at once"])
    engine = opened(charge=lambda _: next(left))
    engine.receive(framed(b"") + framed(b"") + framed(b""))
    assert engine.fault == Condition(TOO_MUCH, "the peer sent more than 2 frames at once")
    [(_, code, fields)] = frames_of(engine.output())
    assert code == codec.CLOSE
    assert fields[0].value[0] == TOO_MUCH
    assert not engine.is_open


def test_each_frame_is_charged_with_all_its_octets() -> None:
    charged: list[int] = []

    def charge(octets: int) -> str:
        charged.append(octets)
        return ""

    opened(charge=charge).receive(framed(b"") * 2)
    assert charged == [len(open_frame()), 8, 8]


def test_first_fault_stays() -> None:
    engine = opened()
    engine.refuse_flood("the peer sent too many pieces")
    engine.refuse_flood("another")
    engine.receive(b"garbage")
    engine.receive_eof()
    assert engine.fault == Condition(TOO_MUCH, "the peer sent too many pieces")
