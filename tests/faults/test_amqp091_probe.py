"""The publish probe against peers that confirm late, refuse, block, or do not answer."""

import asyncio
from typing import Any

import pytest
from pamqp import commands as spec
from pamqp.header import ContentHeader

from springline.errors import NotOpenError, ProbeRefusal, ProbeRefusedError
from support import fake_peer, opening
from support.amqp091 import DEADLINE, channel_open, opened
from support.fake_peer import Script, Talk
from support.waiting import eventually


async def test_a_probe_is_confirmed_again_and_again_on_one_channel() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, _ = await opened(peer)
        for _ in range(3):
            seconds = await opening.probe(connection, exchange="", routing_key="x", timeout=5)
            assert seconds is not None
            assert seconds >= 0
        assert peer.talk.count(spec.Channel.Open) == 1
        assert peer.talk.count(spec.Basic.Publish) == 3
        publish = peer.talk.last(spec.Basic.Publish)
        assert publish is not None
        assert (publish.exchange, publish.routing_key) == ("", "x")
        assert not publish.mandatory
        await connection.close()


async def test_the_first_probe_waits_for_nothing_before_it_publishes() -> None:
    """A broker that has to answer in between would cost each session two more turns."""

    async def script(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Channel.Open)
        await talk.expect(spec.Confirm.Select)
        await talk.expect(spec.Basic.Publish)
        assert isinstance(await talk.frame(), ContentHeader)
        for answer in (spec.Channel.OpenOk(), spec.Confirm.SelectOk(), spec.Basic.Ack(1)):
            talk.send(answer, 1)
        await talk.expect(spec.Basic.Publish)
        talk.send(spec.Basic.Ack(2), 1)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        for _ in range(2):
            assert (
                await opening.probe(connection, exchange="", routing_key="x", timeout=5) is not None
            )
        assert peer.talk.count(spec.Channel.Open) == 1
        assert peer.talk.count(spec.Basic.Publish) == 2
        await connection.close()


@pytest.mark.parametrize("is_early", [True, False], ids=["before the channel is open", "after it"])
async def test_a_block_that_ends_the_first_probe_leaves_the_channel_in_use(is_early: bool) -> None:
    """The next probe waits for what answers the first, and takes no late confirm for its own."""
    unblock, asked = asyncio.Event(), asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Channel.Open)
        await talk.expect(spec.Confirm.Select)
        await talk.expect(spec.Basic.Publish)
        assert isinstance(await talk.frame(), ContentHeader)
        talk.send(spec.Connection.Blocked(reason="low on memory"))
        await unblock.wait()
        talk.send(spec.Connection.Unblocked())
        if is_early:
            await asked.wait()
        for answer in (spec.Channel.OpenOk(), spec.Confirm.SelectOk(), spec.Basic.Ack(1)):
            talk.send(answer, 1)
        await talk.expect(spec.Basic.Publish)
        talk.send(spec.Basic.Ack(2), 1)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, recorder = await opened(peer)
        assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is None
        unblock.set()
        await eventually(lambda: connection.blocked is None)
        if not is_early:
            await eventually(lambda: _has_open_channel(connection))
        probing = asyncio.create_task(
            opening.probe(connection, exchange="", routing_key="x", timeout=5)
        )
        await asyncio.sleep(0)
        asked.set()
        assert await probing is not None
        assert peer.talk.count(spec.Channel.Open) == 1
        assert peer.talk.count(spec.Basic.Publish) == 2
        assert recorder.told == ["blocked: low on memory", "unblocked"]
        await connection.close()


async def test_a_probe_that_is_blocked_instead_says_so() -> None:
    async def block(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        await talk.expect(spec.Basic.Publish)
        talk.send(spec.Connection.Blocked(reason="low on memory"))
        await unblock.wait()
        talk.send(spec.Connection.Unblocked())
        talk.send(spec.Basic.Ack(delivery_tag=1), 1)
        await talk.frame()  # the content header of the first publish
        await talk.expect(spec.Basic.Publish)
        talk.send(spec.Basic.Ack(delivery_tag=2), 1)
        await talk.serve()

    unblock = asyncio.Event()
    async with asyncio.timeout(DEADLINE), fake_peer.serving(block) as peer:
        connection, recorder = await opened(peer)
        assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is None
        assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is None
        assert peer.talk.count(spec.Basic.Publish) == 1
        unblock.set()
        await eventually(lambda: connection.blocked is None)
        assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is not None
        assert recorder.told == ["blocked: low on memory", "unblocked"]
        await connection.close()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        pytest.param(403, ProbeRefusal.NO_PERMISSION, id="no permission"),
        pytest.param(404, ProbeRefusal.PLACE_MISSING, id="no exchange"),
        pytest.param(406, ProbeRefusal.OTHER, id="anything else"),
    ],
)
async def test_a_refused_probe_closes_only_its_channel(code: int, why: ProbeRefusal) -> None:
    async def refuse(talk: Talk) -> None:
        await talk.handshake()
        for _ in range(2):
            await channel_open(talk)
            await talk.expect(spec.Basic.Publish)
            await talk.frame()
            talk.send(spec.Channel.Close(code, "SOME - reason", 60, 40), 1)
            await talk.expect(spec.Channel.CloseOk)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(refuse) as peer:
        connection, _ = await opened(peer)
        for _ in range(2):
            with pytest.raises(ProbeRefusedError) as caught:
                await opening.probe(connection, exchange="x", routing_key="x", timeout=5)
            assert (caught.value.why, caught.value.text) == (why, f"{code} SOME - reason")
        assert connection.is_open
        assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is not None
        await connection.close()


async def test_what_comes_for_a_channel_that_is_closed_is_not_answered() -> None:
    async def close_twice(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        await talk.expect(spec.Basic.Publish)
        await talk.frame()
        for _ in range(2):
            talk.send(spec.Channel.Close(404, "NOT_FOUND - no exchange", 60, 40), 1)
        talk.send(spec.Basic.Ack(delivery_tag=1), 1)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(close_twice) as peer:
        connection, _ = await opened(peer)
        with pytest.raises(ProbeRefusedError):
            await opening.probe(connection, exchange="x", routing_key="x", timeout=5)
        assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is not None
        assert peer.talk.count(spec.Channel.CloseOk) == 1
        await connection.close()


async def late_confirms(talk: Talk) -> None:
    await talk.handshake()
    await channel_open(talk)
    await talk.expect(spec.Basic.Publish)
    await talk.frame()
    await talk.expect(spec.Channel.Close)
    talk.send(spec.Basic.Ack(delivery_tag=1), 1)
    talk.send(spec.Channel.CloseOk(), 1)
    await talk.serve()


async def test_a_probe_in_time_out_gets_a_new_channel_and_a_late_confirm_does_no_harm() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving(late_confirms) as peer:
        connection, _ = await opened(peer)
        with pytest.raises(TimeoutError):
            await opening.probe(connection, exchange="", routing_key="x", timeout=0.1)
        assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is not None
        assert peer.talk.count(spec.Channel.Open) == 2
        assert peer.talk.count(spec.Channel.Close) == 1
        await connection.close()


async def test_a_channel_closed_by_both_sides_at_once_is_free_again() -> None:
    async def close_too(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        await talk.expect(spec.Basic.Publish)
        await talk.frame()
        await talk.expect(spec.Channel.Close)
        talk.send(spec.Channel.Close(404, "NOT_FOUND - too late", 60, 40), 1)
        await talk.expect(spec.Channel.CloseOk)
        talk.send(spec.Channel.CloseOk(), 1)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(close_too) as peer:
        connection, _ = await opened(peer)
        with pytest.raises(TimeoutError):
            await opening.probe(connection, exchange="", routing_key="x", timeout=0.1)
        assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is not None
        await connection.close()


async def test_a_channel_that_never_opens_costs_the_probes_time_out() -> None:
    async def ignore(talk: Talk) -> None:
        await talk.handshake()
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore) as peer:
        connection, _ = await opened(peer)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await opening.probe(connection, exchange="", routing_key="x", timeout=0.1)
        assert peer.talk.count(spec.Channel.Open) == 1
        await connection.close(timeout=0.1)


async def test_a_cancelled_probe_does_not_disturb_the_next() -> None:
    async def once_late(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        await talk.expect(spec.Basic.Publish)
        await talk.frame()
        await talk.expect(spec.Basic.Publish)
        # Were the first's confirm taken for the second's, the block would come too late.
        talk.send(spec.Basic.Ack(delivery_tag=1), 1)
        talk.send(spec.Connection.Blocked(reason="low on memory"))
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(once_late) as peer:
        connection, _ = await opened(peer)
        first = asyncio.create_task(
            opening.probe(connection, exchange="", routing_key="x", timeout=5)
        )
        await eventually(lambda: peer.talk.count(spec.Basic.Publish))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is None
        await connection.close()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_probe_ends_with_the_connection(how: str) -> None:
    async def ignore(talk: Talk) -> None:
        await talk.handshake()
        await talk.serve(confirm=False)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore) as peer:
        connection, _ = await opened(peer)
        probe = asyncio.create_task(
            opening.probe(connection, exchange="", routing_key="x", timeout=60)
        )
        await eventually(lambda: peer.talk.count(spec.Basic.Publish))
        getattr(peer.talk, how)()
        with pytest.raises(NotOpenError):
            await probe


async def test_a_broker_without_confirms_is_not_asked_for_them() -> None:
    """The unknown method would end the whole connection (540)."""

    async def without(talk: Talk) -> None:
        await talk.greet(capabilities={})
        await talk.log_in()
        await talk.tune()
        talk.send(spec.Connection.OpenOk())
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(without) as peer:
        connection, _ = await opened(peer)
        with pytest.raises(ProbeRefusedError):
            await opening.probe(connection, exchange="", routing_key="x", timeout=5)
        assert peer.talk.count(spec.Channel.Open) == 0
        await connection.close()


# --- into a queue of its own

OWN: dict[str, Any] = {
    "exchange": "",
    "routing_key": "springline.probe",
    "own_queue": True,
    "lifetime": 7.5,
    "timeout": 5,
}


async def declared(talk: Talk) -> str:
    """Let a probe's queue be declared, and return its name; Basic.Publish is next."""
    declare = await talk.expect(spec.Queue.Declare)
    # Under another name, because pamqp makes no answer with every name that there may be.
    talk.send(spec.Queue.DeclareOk(queue="it", message_count=0, consumer_count=0), 1)
    return str(declare.queue)


async def confirmed(talk: Talk, number: int) -> spec.Basic.Publish:
    publish = await talk.expect(spec.Basic.Publish)
    await talk.frame()
    talk.send(spec.Basic.Ack(delivery_tag=number), 1)
    return publish


async def test_an_own_queue_is_declared_once_and_is_the_connections_alone() -> None:
    async def script(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        name = await declared(talk)
        for number in (1, 2, 3):
            publish = await confirmed(talk, number)
            assert (publish.exchange, publish.routing_key) == ("", name)
            assert publish.mandatory
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        for _ in range(3):
            assert await opening.probe(connection, **OWN) is not None
        declare = peer.talk.last(spec.Queue.Declare)
        assert declare is not None
        assert declare.queue.startswith("springline.probe.")
        assert (declare.exclusive, declare.auto_delete, declare.durable) == (True, True, False)
        assert declare.arguments["x-max-length"] == 1
        await connection.close()


async def test_a_message_that_comes_back_has_the_queue_declared_again() -> None:
    async def script(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        name = await declared(talk)
        await talk.expect(spec.Basic.Publish)
        await talk.frame()
        talk.send(
            spec.Basic.Return(reply_code=312, reply_text="NO_ROUTE", exchange="", routing_key=name),
            1,
        )
        talk.send(ContentHeader(body_size=0), 1)
        talk.send(spec.Basic.Ack(delivery_tag=1), 1)
        assert await declared(talk) == name
        await confirmed(talk, 2)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        for _ in range(2):
            assert await opening.probe(connection, **OWN) is not None
        assert peer.talk.count(spec.Queue.Declare) == 2
        await connection.close()


async def test_a_declaration_that_is_refused_is_a_refused_probe() -> None:
    async def script(talk: Talk) -> None:
        await talk.handshake()
        for _ in range(2):
            await channel_open(talk)
            await talk.expect(spec.Queue.Declare)
            talk.send(spec.Channel.Close(403, "ACCESS_REFUSED - no", 50, 10), 1)
            await talk.expect(spec.Channel.CloseOk)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        for _ in range(2):
            with pytest.raises(ProbeRefusedError) as caught:
                await opening.probe(connection, **OWN)
            assert caught.value.why is ProbeRefusal.NO_PERMISSION
            assert caught.value.text == "403 ACCESS_REFUSED - no"
        assert peer.talk.count(spec.Basic.Publish) == 0
        assert connection.is_open
        await connection.close()


async def test_a_declaration_that_is_not_answered_costs_the_time_out_and_its_channel() -> None:
    async def script(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        await talk.expect(spec.Queue.Declare)
        await talk.expect(spec.Channel.Close)
        talk.send(spec.Channel.CloseOk(), 1)
        await channel_open(talk)
        await declared(talk)
        await confirmed(talk, 1)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        with pytest.raises(TimeoutError):
            await opening.probe(connection, **{**OWN, "timeout": 0.1})
        assert await opening.probe(connection, **OWN) is not None
        await connection.close()


async def test_a_cancelled_declaration_is_the_next_probes() -> None:
    async def script(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        declare = await talk.expect(spec.Queue.Declare)
        await cancelled.wait()
        name = declare.queue
        talk.send(spec.Queue.DeclareOk(queue=name, message_count=0, consumer_count=0), 1)
        await confirmed(talk, 1)
        await talk.serve()

    cancelled = asyncio.Event()
    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        first = asyncio.create_task(opening.probe(connection, **OWN))
        await eventually(lambda: peer.talk.count(spec.Queue.Declare))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(opening.probe(connection, **OWN))
        await asyncio.sleep(0)
        cancelled.set()
        assert await second is not None
        assert peer.talk.count(spec.Queue.Declare) == 1
        await connection.close()


async def test_a_queue_of_another_name_takes_the_place_of_the_one_before() -> None:
    async def script(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        first = await declared(talk)
        await confirmed(talk, 1)
        delete = await talk.expect(spec.Queue.Delete)
        assert (delete.queue, delete.nowait) == (first, True)
        assert (await declared(talk)).startswith("orders.")
        await confirmed(talk, 2)
        await talk.expect(spec.Queue.Delete)
        assert not (await confirmed(talk, 3)).mandatory
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        assert await opening.probe(connection, **OWN) is not None
        assert await opening.probe(connection, **{**OWN, "routing_key": "orders"}) is not None
        assert await opening.probe(connection, **{**OWN, "own_queue": False}) is not None
        await connection.close()


@pytest.mark.parametrize("prefix", ["x" * 255, "é" * 127])
async def test_the_name_is_never_longer_than_the_protocol_takes(prefix: str) -> None:
    async def script(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        name = await declared(talk)
        assert len(name.encode()) <= 255
        await confirmed(talk, 1)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        assert await opening.probe(connection, **{**OWN, "routing_key": prefix}) is not None
        await connection.close()


async def test_an_exchange_may_have_any_name_that_a_broker_knows() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, _ = await opened(peer)
        name = "Aufträge & mehr!"
        assert (
            await opening.probe(connection, exchange=name, routing_key="x", timeout=5) is not None
        )
        publish = peer.talk.last(spec.Basic.Publish)
        assert publish is not None
        assert publish.exchange == name
        await connection.close()


@pytest.mark.parametrize("own_queue", [True, False])
async def test_a_message_says_when_it_expires(own_queue: bool) -> None:
    """In milliseconds, as a text."""
    seen: list[Any] = []

    async def script(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        if own_queue:
            await declared(talk)
        await talk.expect(spec.Basic.Publish)
        seen.append(await talk.frame())
        talk.send(spec.Basic.Ack(delivery_tag=1), 1)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        assert await opening.probe(connection, **{**OWN, "own_queue": own_queue}) is not None
        [header] = seen
        assert header.properties.expiration == "7500"
        await connection.close()


async def too_many_channels(talk: Talk) -> None:
    await talk.expect(spec.Channel.Open)
    text = "NOT_ALLOWED - number of channels opened for user 'ann' has reached the maximum"
    talk.send(spec.Connection.Close(530, text, 0, 0))


async def no_confirms(talk: Talk) -> None:
    await talk.expect(spec.Channel.Open)
    talk.send(spec.Channel.OpenOk(), 1)
    await talk.expect(spec.Confirm.Select)
    talk.send(spec.Connection.Close(540, "NOT_IMPLEMENTED", 85, 10))


@pytest.mark.parametrize(
    "answer", [too_many_channels, no_confirms], ids=lambda script: script.__name__
)
async def test_a_probe_that_ends_the_connection_says_so(answer: Script) -> None:
    """The connection after it has to do without."""

    async def script(talk: Talk) -> None:
        await talk.handshake()
        await answer(talk)
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(NotOpenError):
            await opening.probe(connection, exchange="", routing_key="x", timeout=5)
        await eventually(lambda: recorder.closes)
        [close] = recorder.closes
        assert close.probe_refused.startswith("the broker ended the connection because of the")


async def test_a_connection_that_is_forced_to_end_during_a_probe_is_not_the_probes_fault() -> None:
    async def script(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Channel.Open)
        talk.send(spec.Connection.Close(320, "CONNECTION_FORCED - bye", 0, 0))
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(NotOpenError):
            await opening.probe(connection, exchange="", routing_key="x", timeout=5)
        await eventually(lambda: recorder.closes)
        assert not recorder.closes[0].probe_refused


@pytest.mark.parametrize(
    ("exchange", "passes"),
    [
        pytest.param("", True, id="the default exchange"),
        pytest.param("probes", False, id="a declared exchange"),
    ],
)
async def test_an_exchange_that_is_not_found_passes_where_there_always_is_one(
    exchange: str, passes: bool
) -> None:
    async def script(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        await talk.expect(spec.Basic.Publish)
        await talk.frame()
        talk.send(spec.Channel.Close(404, "NOT_FOUND - no exchange", 60, 40), 1)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        with pytest.raises(ProbeRefusedError) as caught:
            await opening.probe(connection, exchange=exchange, routing_key="x", timeout=5)
        assert (caught.value.why is ProbeRefusal.TROUBLE) is passes
        await connection.close()


@pytest.mark.parametrize("tells", [True, False])
async def test_whether_a_broker_tells_of_blocks_is_read_from_its_greeting(tells: bool) -> None:
    async def script(talk: Talk) -> None:
        await talk.greet(capabilities={"publisher_confirms": True, "connection.blocked": tells})
        await talk.log_in()
        await talk.tune()
        talk.send(spec.Connection.OpenOk())
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, _ = await opened(peer)
        assert connection.info.server.tells_blocks is tells
        await connection.close()


def _has_open_channel(connection: Any) -> bool:
    return str(connection._probe._state) == "_State.OPEN"
