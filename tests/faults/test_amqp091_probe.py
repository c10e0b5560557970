"""The publish probe against peers that confirm late, refuse, block, or do not answer."""

import asyncio

import pytest
from pamqp import commands as spec

from springline.errors import NotOpenError, ProbeRefusedError
from support import fake_peer
from support.amqp091 import DEADLINE, channel_open, opened
from support.fake_peer import Talk
from support.waiting import eventually


async def test_a_probe_is_confirmed_again_and_again_on_one_channel() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, _ = await opened(peer)
        for _ in range(3):
            seconds = await connection.probe(exchange="", routing_key="x", timeout=5)
            assert seconds is not None
            assert seconds >= 0
        assert peer.talk.count(spec.Channel.Open) == 1
        assert peer.talk.count(spec.Basic.Publish) == 3
        publish = peer.talk.last(spec.Basic.Publish)
        assert publish is not None
        assert (publish.exchange, publish.routing_key) == ("", "x")
        assert not publish.mandatory
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
        assert await connection.probe(exchange="", routing_key="x", timeout=5) is None
        assert await connection.probe(exchange="", routing_key="x", timeout=5) is None
        assert peer.talk.count(spec.Basic.Publish) == 1
        unblock.set()
        await eventually(lambda: connection.blocked is None)
        assert await connection.probe(exchange="", routing_key="x", timeout=5) is not None
        assert recorder.told == ["blocked: low on memory", "unblocked"]
        await connection.close()


@pytest.mark.parametrize("code", [403, 404])
async def test_a_refused_probe_closes_only_its_channel(code: int) -> None:
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
                await connection.probe(exchange="x", routing_key="x", timeout=5)
            assert (caught.value.code, caught.value.text) == (code, "SOME - reason")
        assert connection.is_open
        assert await connection.probe(exchange="", routing_key="x", timeout=5) is not None
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
            await connection.probe(exchange="", routing_key="x", timeout=0.1)
        assert await connection.probe(exchange="", routing_key="x", timeout=5) is not None
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
            await connection.probe(exchange="", routing_key="x", timeout=0.1)
        assert await connection.probe(exchange="", routing_key="x", timeout=5) is not None
        await connection.close()


async def test_a_channel_that_never_opens_costs_the_probes_time_out() -> None:
    async def ignore(talk: Talk) -> None:
        await talk.handshake()
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore) as peer:
        connection, _ = await opened(peer)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await connection.probe(exchange="", routing_key="x", timeout=0.1)
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
        first = asyncio.create_task(connection.probe(exchange="", routing_key="x", timeout=5))
        await eventually(lambda: peer.talk.count(spec.Basic.Publish))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await connection.probe(exchange="", routing_key="x", timeout=5) is None
        await connection.close()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_probe_ends_with_the_connection(how: str) -> None:
    async def ignore(talk: Talk) -> None:
        await talk.handshake()
        await talk.serve(confirm=False)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore) as peer:
        connection, _ = await opened(peer)
        probe = asyncio.create_task(connection.probe(exchange="", routing_key="x", timeout=60))
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
            await connection.probe(exchange="", routing_key="x", timeout=5)
        assert peer.talk.count(spec.Channel.Open) == 0
        await connection.close()
