"""An open AMQP 1.0 connection against scripted peers: how it ends, waits, beats and is blocked."""

import asyncio
import base64
import functools
import logging
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from support.amqp10_library import MISSING

pytest.importorskip("proton", reason=MISSING)

from springline.core.values import ClosedBy, CloseInfo
from springline.drivers.amqp10 import links, termini
from springline.drivers.amqp10.conditions import Condition
from springline.drivers.amqp10.connection import Amqp10Connection
from springline.drivers.amqp10.endpoints import EndedError, Origin
from springline.drivers.amqp10.engine import Engine
from springline.drivers.amqp10.parameters import ProbeParameters
from springline.drivers.amqp10.terms import LinkState
from springline.drivers.amqp10.wire import Wire
from springline.errors import NotOpenError
from springline.reasons import Reason
from support import amqp10_opening, amqp10_peer, opening
from support.amqp10 import DRIVER, SHORT, Opened, closed, opened, rabbitmq, refused
from support.amqp10_broker import IGNORED, Broker
from support.amqp10_opening import negotiated, probed, receiver, sender
from support.amqp10_peer import AMQP_HEADER, Amqp10Talk, Frame, frame
from support.amqp10_types import composite, error
from support.opening import Recorder
from support.waiting import PATIENCE, eventually


def wire_of(connection: Amqp10Connection) -> Wire:
    return connection._wire


def never() -> int | None:
    """Return what a wait is not over with."""
    return None


def is_told_once(found: Opened, close: CloseInfo) -> None:
    assert found.recorder.closes == [close]
    assert found.recorder.told.count("closed") == 1
    assert found.recorder.told[-1] == "closed"


# The end, by us


# R4.7
async def test_closing_is_orderly_and_closing_again_says_not_open() -> None:
    async with opened() as found:
        await found.connection.close(text="done")
        assert not found.connection.is_open
        close = await closed(found.recorder)
        assert close == CloseInfo(by=ClosedBy.CLIENT, reason=Reason.CLIENT_CLOSED, text="done")
        is_told_once(found, close)
        [said] = found.talk.all("close")
        assert said.error is None
        for again in (found.connection.close(), probed(found.connection)):
            with pytest.raises(NotOpenError):
                await again


# R4.7
async def test_closing_may_say_that_it_is_an_error() -> None:
    async with opened() as found:
        await found.connection.close(condition="amqp:connection:forced", text="the token is old")
        [said] = found.talk.all("close")
        assert said.error.condition == "amqp:connection:forced"
        assert said.error.description == "the token is old"
        is_told_once(found, await closed(found.recorder))


# R4.7, R4.14
@pytest.mark.parametrize("is_reading", [True, False], ids=["says nothing", "reads nothing"])
async def test_closing_waits_no_longer_than_told(is_reading: bool) -> None:
    async def step(talk: Amqp10Talk, _: Frame) -> None:
        if not is_reading:
            await talk.silent()

    async with opened(Broker(on={"close": step})) as found:
        await found.connection.close(timeout=SHORT)
        assert wire_of(found.connection).is_over
        close = await closed(found.recorder)
        assert close.reason is Reason.CLIENT_CLOSED
        is_told_once(found, close)


async def test_closing_can_be_cancelled() -> None:
    async with opened(Broker(on={"close": IGNORED})) as found:
        closing = asyncio.ensure_future(found.connection.close(timeout=PATIENCE))
        await eventually(lambda: found.talk.all("close"))
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await found.connection.wait_gone()
        is_told_once(found, await closed(found.recorder))


# R4.7
async def test_dropping_says_nothing_and_is_told() -> None:
    async with opened() as found:
        found.connection.abort()
        found.connection.abort()
        assert not found.connection.is_open
        await found.connection.wait_gone()
        close = await closed(found.recorder)
        assert (close.by, close.reason) == (ClosedBy.CLIENT, Reason.CLIENT_CLOSED)
        is_told_once(found, close)
        assert found.talk.all("close") == []


# The end, by the peer

CLOSES = {
    "no reason": (None, Reason.PEER_CLOSED, "no reason given"),
    "forced": (
        error("amqp:connection:forced", "bye"),
        Reason.CONNECTION_FORCED,
        "amqp:connection:forced: bye",
    ),
    "an operator of RabbitMQ": (
        error("amqp:internal-error", 'Connection forced: "bye bye"'),
        Reason.CONNECTION_FORCED,
        'amqp:internal-error: Connection forced: "bye bye"',
    ),
    "an expired credential": (
        error("amqp:unauthorized-access", "credential expired"),
        Reason.CONNECTION_FORCED,
        "amqp:unauthorized-access: credential expired",
    ),
    "not allowed": (error("amqp:not-allowed"), Reason.ACCESS_REFUSED, "amqp:not-allowed"),
    "something else": (error("a:b", "c"), Reason.PEER_CLOSED, "a:b: c"),
}


# R4.7
@pytest.mark.parametrize("hangs_up", [False, True], ids=["waits", "hangs up"])
@pytest.mark.parametrize(("said", "reason", "text"), CLOSES.values(), ids=CLOSES.keys())
async def test_a_close_of_the_peer_is_answered_and_told_once(
    said: Any, reason: Reason, text: str, hangs_up: bool
) -> None:
    """What it says comes before what the transport shows."""
    async with opened() as found:
        found.talk.close(said)
        if hangs_up:
            found.talk.hang_up()
        close = await closed(found.recorder)
        assert (close.by, close.reason, close.text) == (ClosedBy.SERVER, reason, text)
        assert close.says_expired is ("expired" in text)
        is_told_once(found, close)
        if not hangs_up:
            await eventually(lambda: found.talk.all("close"), what="it is answered")
        with pytest.raises(NotOpenError):
            await found.connection.close()


# R4.7
# Remote before local.
async def test_a_close_of_the_peer_comes_before_our_drop() -> None:
    async with opened() as found:
        found.talk.close(error("amqp:not-allowed", "go"))
        await eventually(lambda: not found.connection.is_open)
        found.connection.abort()
        close = await closed(found.recorder)
        assert (close.by, close.text) == (ClosedBy.SERVER, "amqp:not-allowed: go")


# R4.7
@pytest.mark.parametrize("breaks", [False, True], ids=["ends", "resets"])
async def test_a_drop_by_the_peer_is_told_as_one(breaks: bool) -> None:
    async with opened() as found:
        if breaks:
            found.talk.reset()
        else:
            found.talk.hang_up()
        close = await closed(found.recorder)
        assert (close.by, close.reason) == (ClosedBy.TRANSPORT, Reason.PEER_CLOSED)
        assert "the peer" in close.text
        is_told_once(found, close)


@pytest.mark.parametrize("answers", [True, False], ids=["answers", "does not answer"])
@pytest.mark.parametrize(
    ("said", "reason", "text"),
    [
        (None, Reason.PEER_CLOSED, "the broker ended the session: no reason given"),
        (
            error("amqp:internal-error", "shutdown"),
            Reason.SERVER_SHUTDOWN,
            "the broker ended the session: amqp:internal-error: shutdown",
        ),
        (
            error("amqp:session:window-violation", "you"),
            Reason.PEER_CLOSED,
            "the broker ended the session: amqp:session:window-violation: you",
        ),
    ],
    ids=["no reason", "a shutdown", "something else"],
)
async def test_the_end_of_the_session_ends_the_connection(
    said: Any, reason: Reason, text: str, answers: bool
) -> None:
    """Whether or not the peer answers our Close, and even if it still sends signs of life."""
    broker = Broker() if answers else Broker(on={"close": IGNORED, "end": IGNORED})
    async with opened(broker) as found:
        found.talk.end(0, said)
        close = await closed(found.recorder)
        assert (close.by, close.reason, close.text) == (ClosedBy.SERVER, reason, text)
        is_told_once(found, close)
        assert found.talk.all("close")


# R4.7, R4.8
async def test_a_detached_link_leaves_the_connection_alone() -> None:
    async with opened(Broker(), links=(sender("a"),)) as found:
        await eventually(lambda: state(found, "out") is LinkState.ATTACHED)
        found.talk.detach(found.talk.link("out"), error=error("amqp:resource-deleted", "gone"))
        await eventually(lambda: state(found, "out") is LinkState.DETACHED)
        assert "amqp:resource-deleted: gone" in amqp10_opening.link(found.connection, "out").message
        assert found.connection.is_open


def state(found: Opened, name: str) -> LinkState:
    return amqp10_opening.link(found.connection, name).state


BROKEN = {
    "a frame over the limit": frame(kind=0, size=1 << 24, body=b""),
    "a frame of SASL": frame(composite("sasl_outcome", code=0)),
    "garbage": b"\xff" * 32,
    "another header": AMQP_HEADER,
    "a frame that cannot be decoded": frame(body=b"\x00\x53\x13\xc0\xff\xff"),
    "a second Open": frame(composite("open", container_id="x")),
    "a session that nobody began": frame(
        composite("begin", next_outgoing_id=0, incoming_window=1, outgoing_window=1), channel=7
    ),
    "a link that nobody asked for": frame(composite("attach", name="x", handle=0, role=True)),
    "a transfer on no link": frame(composite("transfer", handle=3)),
    "an end of no session": frame(composite("end"), channel=9),
}


@pytest.mark.parametrize("hangs_up", [False, True], ids=["waits", "hangs up"])
@pytest.mark.parametrize("octets", BROKEN.values(), ids=BROKEN.keys())
async def test_what_makes_no_sense_ends_the_connection(octets: bytes, hangs_up: bool) -> None:
    async with opened(Broker(on={"close": IGNORED})) as found:
        found.talk.raw(octets)
        if hangs_up:
            found.talk.hang_up()
        close = await closed(found.recorder)
        assert (close.by, close.reason) == (ClosedBy.CLIENT, Reason.PROTOCOL_MISMATCH)
        is_told_once(found, close)
        if not hangs_up:
            await eventually(lambda: found.talk.all("close"), what="the peer is told")
            assert found.talk.all("close")[0].error is not None


async def test_a_flood_ends_the_connection() -> None:
    async with opened() as found:
        flooding = asyncio.ensure_future(found.talk.flood(1000 * frame(), most=100))
        close = await closed(found.recorder)
        assert (close.by, close.reason) == (ClosedBy.CLIENT, Reason.FLOODED)
        is_told_once(found, close)
        await asyncio.gather(flooding, return_exceptions=True)


async def test_an_observer_that_comes_after_the_end_is_told_of_it_once() -> None:
    async with opened() as found:
        # One that has not been named is told nothing.
        late = Recorder()
        found.connection.observe(late)
        found.talk.close(error("amqp:connection:forced", "bye"))
        await closed(late)
        assert found.recorder.told == []
        later = Recorder()
        found.connection.observe(later)
        assert late.told == ["closed"]

    async with amqp10_peer.serving(Broker()) as peer:
        connection = await DRIVER.open(amqp10_opening.request(peer.port))
        assert isinstance(connection, Amqp10Connection)
        connection.abort()
        await connection.wait_gone()
        for _ in range(3):
            await asyncio.sleep(0)  # it is told in a later turn
        recorder = Recorder()
        connection.observe(recorder)
        connection.observe(Recorder())
        assert recorder.told == ["closed"]


# Waiting


# R4.14
async def test_waits_of_nothing_of_a_while_and_for_ever() -> None:
    async with opened() as found:
        wire = wire_of(found.connection)
        assert await wire.until(lambda: 7, timeout=0) == 7
        for limit in (0.0, 0.01):
            with pytest.raises(TimeoutError):
                await wire.until(never, timeout=limit)
        wanted: list[int] = []
        for longest in (PATIENCE, None):
            waiting = asyncio.ensure_future(
                wire.until(lambda: wanted[0] if wanted else None, timeout=longest)
            )
            await asyncio.sleep(0)
            assert not waiting.done()
            wanted.append(3)
            found.talk.beat()  # whatever comes, conditions are looked at
            assert await waiting == 3
            wanted.clear()


ENDS: dict[str, tuple[Callable[[Opened], Any], Origin, Condition | None, bool]] = {
    "the peer closes": (lambda found: found.talk.close(), Origin.REMOTE, None, False),
    "the peer closes with an error": (
        lambda found: found.talk.close(error("amqp:not-allowed", "go")),
        Origin.REMOTE,
        Condition("amqp:not-allowed", "go"),
        True,
    ),
    "we close": (lambda found: found.connection.close(), Origin.LOCAL, None, False),
    "the transport ends": (lambda found: found.talk.reset(), Origin.TRANSPORT, None, True),
}


# R4.7, R4.14
@pytest.mark.parametrize("limit", [None, PATIENCE], ids=["for ever", "a while"])
@pytest.mark.parametrize(("does", "origin", "why", "is_error"), ENDS.values(), ids=ENDS.keys())
async def test_a_wait_tells_an_end_from_an_error_from_a_time_out(
    does: Callable[[Opened], Any],
    origin: Origin,
    why: Condition | None,
    is_error: bool,
    limit: float | None,
) -> None:
    async with opened() as found:
        wire = wire_of(found.connection)
        waiting = asyncio.ensure_future(wire.until(never, timeout=limit))
        await asyncio.sleep(0)
        done = does(found)
        if asyncio.iscoroutine(done):
            await done
        with pytest.raises(EndedError) as caught:
            await waiting
        assert caught.value.origin is origin
        assert caught.value.is_error is is_error
        if why is not None:
            assert caught.value.condition == why
        # And so does one that comes later; by then the peer has answered our Close.
        with pytest.raises(EndedError) as caught:
            await wire.until(never, timeout=0)
        assert caught.value.origin is (Origin.REMOTE if origin is Origin.LOCAL else origin)
        assert caught.value.is_error is is_error


async def test_one_who_stops_waiting_as_the_end_comes_leaves_no_unseen_error() -> None:
    """The fixture of this folder fails for an error that nobody has looked at."""
    async with opened() as found:
        wire = wire_of(found.connection)
        first = asyncio.ensure_future(wire.until(never))
        await asyncio.sleep(0)

        def cancels() -> int | None:
            if wire.is_ending:
                first.cancel()
            return None

        second = asyncio.ensure_future(wire.until(cancels))
        await asyncio.sleep(0)
        found.talk.close()
        await asyncio.gather(first, second, return_exceptions=True)
        assert first.cancelled()


# Signs of life


# R4.3
async def test_a_peer_that_falls_silent_is_missed() -> None:
    async with opened(Broker(beats=False), heartbeat_seconds=SHORT) as found:
        close = await closed(found.recorder)
        assert (close.by, close.reason) == (ClosedBy.TRANSPORT, Reason.HEARTBEAT_MISSED)
        assert close.text == "nothing was heard for 0.6 s, two heartbeats of 0.3 s"
        is_told_once(found, close)
        await eventually(lambda: found.talk.all("close"), what="the peer is told")


# R4.3
async def test_a_peer_that_gives_signs_of_life_is_not_missed() -> None:
    async with opened(heartbeat_seconds=SHORT / 3) as found:
        wire = wire_of(found.connection)
        with pytest.raises(TimeoutError):
            await wire.until(never, timeout=4 * SHORT)
        assert found.connection.is_open


# R4.3
async def test_signs_of_life_come_as_often_as_the_peer_demands() -> None:
    async with opened(Broker(opened={"idle_time_out": 1000})) as found:
        assert negotiated(found.connection).peer_idle_timeout.total_seconds() == 1
        await eventually(lambda: len(found.talk.all("empty")) >= 3)
        assert found.connection.is_open


# Blocks


async def test_a_closed_window_blocks_until_it_opens() -> None:
    async with opened(rabbitmq()) as found:
        session = found.talk.sessions[0]
        found.talk.flow(session, incoming_window=0)
        await eventually(lambda: found.connection.blocked)
        block = found.connection.blocked
        assert block is not None
        assert block.reason is Reason.WINDOW_CLOSED
        assert await probed(found.connection) is None
        assert negotiated(found.connection).session.peer_incoming == 0
        found.talk.flow(session, incoming_window=5)
        await eventually(lambda: not found.connection.blocked)
        assert negotiated(found.connection).session.peer_incoming == 5
        assert found.recorder.told == [f"blocked: {block.text}", "changed", "unblocked", "changed"]


async def test_a_window_that_is_closed_from_the_beginning_is_told_at_once() -> None:
    async with opened(rabbitmq(begun={"incoming_window": 0})) as found:
        assert found.connection.blocked is not None
        assert len(found.recorder.told) == 1
        await found.connection.close()
        assert found.connection.blocked is None


async def test_a_window_that_goes_up_and_down_is_no_news() -> None:
    async with opened(rabbitmq()) as found:
        for window in (7, 3, 9, 1):
            found.talk.flow(found.talk.sessions[0], incoming_window=window)
        windows = found.connection._session
        await eventually(lambda: windows.windows and windows.windows.incoming == 1)
        assert found.recorder.told == []


async def test_a_sender_without_credit_blocks_until_it_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "_CREDIT_SECONDS", 0.05)
    async with opened(Broker(credit=0), links=(sender("a"), receiver("b", keep=True))) as found:
        await eventually(lambda: found.connection.blocked)
        block = found.connection.blocked
        assert block is not None
        assert block.reason is Reason.NO_CREDIT
        assert '"out"' in block.text
        assert '"in"' not in block.text
        found.talk.grant(found.talk.link("out"), 10)
        await eventually(lambda: not found.connection.blocked)
        assert amqp10_opening.link(found.connection, "out").credit == 10
        told = [each for each in found.recorder.told if each != "changed"]
        assert told == [f"blocked: {block.text}", "unblocked"]


async def test_as_much_credit_as_there_can_be_is_credit() -> None:
    broker = Broker(credit=0xFFFFFFFF)
    probe = ProbeParameters(address="q")
    async with opened(broker, links=(sender("q"),), probe=probe) as found:
        await eventually(lambda: amqp10_opening.link(found.connection, "out").credit == 0x7FFFFFFF)
        assert await probed(found.connection) is not None


async def test_a_sender_has_a_moment_to_get_its_credit() -> None:
    async with opened(Broker(credit=0), links=(sender("a"),)) as found:
        await eventually(lambda: state(found, "out") is LinkState.ATTACHED)
        assert found.connection.blocked is None


async def test_a_block_ends_with_the_link_that_had_no_credit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "_CREDIT_SECONDS", 0.0)
    async with opened(Broker(credit=0), links=(sender("a"),)) as found:
        await eventually(lambda: found.connection.blocked)
        found.talk.detach(found.talk.link("out"))
        await eventually(lambda: not found.connection.blocked)


# Secrets that the peer says back

SECRET = "0ld/Pl4nted+s3cret-with-32-chars!"


def _numbers(text: str) -> str:
    return ",".join(str(each) for each in text.encode())


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in upper case": str.upper,
    "in character codes": lambda text: f"[{_numbers(text)}]",
    "in a binary of Erlang": lambda text: f"<<{_numbers(text)}>>",
    "in a reason of RabbitMQ 3.10": lambda text: (
        f"{{shutdown,{{connection_closing,{{server_initiated_close,320,[{_numbers(text)}]}}}}}}"
    ),
    "for a URL": lambda text: quote(text, safe=""),
    "in Base64": lambda text: base64.b64encode(f"\0ann\0{text}".encode()).decode(),
    "in hex": lambda text: text.encode().hex(),
}


def shows_none(shown: str) -> None:
    """No twelve characters of it may be there, in any form."""
    shown = shown.lower()
    numbers = _numbers(SECRET)
    plain = (SECRET, quote(SECRET, safe=""), SECRET.encode().hex(), FORMS["in Base64"](SECRET))
    for text in (*plain, numbers, numbers.replace(",", ", ")):
        pieces = (text[start : start + 12].lower() for start in range(len(text) - 11))
        assert [each for each in pieces if each in shown] == []


# R4.5
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
async def test_a_secret_that_the_peer_says_back_is_never_shown(
    form: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    words = form(SECRET)
    shown: list[str] = []
    broker = Broker(
        opened={
            "container_id": words,
            "properties": {"product": words, "version": words, words: words, "zone": words},
            "offered_capabilities": (words, "X"),
            "desired_capabilities": words,
        },
        refused={"refused": error(words, f"because of {words}")},
        attached={
            "source": composite("source", address=words, filter={words: words}),
            "target": composite("target", address=words),
        },
    )
    declared = (
        sender("a"),
        sender("refused", "refused"),
        receiver("c", keep=True),
    )
    credential = opening.password("ann", SECRET)
    async with opened(broker, credential=credential, links=declared) as found:
        await eventually(
            lambda: {state(found, each) for each in ("out", "in")} == {LinkState.ATTACHED}
        )
        await eventually(lambda: state(found, "refused") is LinkState.REFUSED)
        shown.append(negotiated(found.connection).as_status().model_dump_json())
        shown.append(repr(found.connection.info))
        found.talk.detach(found.talk.link("in"), error=error(words, words))
        await eventually(lambda: state(found, "in") is LinkState.DETACHED)
        shown.append(negotiated(found.connection).as_status().model_dump_json())
        waiting = asyncio.ensure_future(wire_of(found.connection).until(never))
        await asyncio.sleep(0)
        found.talk.close(error(words, f"because of {words}"))
        close = await closed(found.recorder)
        with pytest.raises(EndedError) as caught:
            await waiting
        shown.append("".join(traceback.format_exception(caught.value)))
        shown.append(repr(close))
    shown += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert any("because of" in each for each in shown)
    shows_none("\n".join(shown))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("step", ["open", "begin"])
async def test_a_secret_is_not_in_why_there_is_no_connection(
    form: Callable[[str], str], step: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    words = form(SECRET)
    broker = Broker(on={step: lambda talk, _: talk.close(error(words, words))})
    failure = await refused(broker, credential=opening.password("ann", SECRET))
    shown = ["".join(traceback.format_exception(failure)), repr(failure)]
    shown += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    shows_none("\n".join(shown))


async def test_what_is_left_of_a_secret_by_a_cut_is_not_shown_either() -> None:
    """A peer may say as much as a frame holds, and white space is not shown."""
    credential = opening.password("ann", SECRET)
    async with opened(credential=credential) as found:
        found.talk.close(error("amqp:connection:forced", f"bye{' ' * 8180}{SECRET}"))
        close = await closed(found.recorder)
    assert close.text == "amqp:connection:forced: bye ***"


# What costs time, or is no message


async def test_the_terms_of_a_link_are_read_once_however_much_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A peer may confirm thousands of filters, and send a sign of life many times a second."""
    read = 0

    def seen(*args: Any) -> Any:
        nonlocal read
        read += 1
        return original(*args)

    original = termini.seen
    monkeypatch.setattr(termini, "seen", seen)
    async with opened(links=(sender("q"),)) as found:

        def has_credit(credit: int) -> bool:
            return amqp10_opening.link(found.connection, "out").credit == credit

        await eventually(functools.partial(has_credit, 100))
        for credit in range(1, 40):
            found.talk.beat()
            found.talk.grant(found.talk.links[0], credit)
            await eventually(functools.partial(has_credit, credit))
    assert read == 1


async def test_a_defect_of_ours_costs_one_connection_and_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError

    async with opened() as found:
        monkeypatch.setattr(Engine, "receive", fails)
        found.talk.beat()
        close = await closed(found.recorder)
    assert close.reason is Reason.INTERNAL_ERROR
    assert "see Springline's log" in close.text
    assert "reading failed unexpectedly" in caplog.text


async def test_a_message_that_is_aborted_is_none() -> None:
    """Of the probe's own, so that the probe goes on with what comes next."""

    async def aborted_first(talk: Amqp10Talk, flow: Frame) -> None:
        session = talk.sessions.get(flow.channel)
        link = session and session.links.get(flow.handle)
        if link and not link.is_sender and not aborted:
            aborted.append(link)
            talk.transfer(link, b"", aborted=True)
            return
        await broker.usual(talk, flow)

    aborted: list[Any] = []
    broker = Broker(on={"flow": aborted_first})
    probe = ProbeParameters(address="q", receive=True)
    async with opened(broker, probe=probe) as found:
        assert await probed(found.connection) is not None
        assert aborted
