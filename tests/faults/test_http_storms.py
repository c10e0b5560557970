"""HTTP connections under servers and callers that do anything at any time.

Whatever happens, every call ends with one of the outcomes that are promised, what was answered was
asked for, and nothing is left behind. The seed of a run is its name.
"""

import asyncio
import itertools
import random
from collections import Counter

import pytest
from h2.exceptions import H2Error

from springline.drivers.http.connection import Change, HttpConnection, Version
from springline.drivers.http.errors import RetryRequestError
from springline.drivers.http.messages import Response
from springline.errors import ConnectError
from support import fake_peer, scripted_http
from support.fake_peer import Talk
from support.scripted_http import Http2Talk, connection, frame, get, post

CALLS = 40
SEEDS = range(12)


def stormy(chance: random.Random) -> fake_peer.Script:
    """A server of HTTP/1.1 that answers most requests, and does something else now and then."""

    async def script(talk: Talk) -> None:
        while True:
            asked = await scripted_http.request(talk)
            match chance.randrange(30):
                case 0:
                    return
                case 1:
                    talk.reset()
                    return
                case 2:
                    talk.raw(chance.randbytes(chance.randrange(1, 60)))
                case 3:
                    talk.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                    return
                case 4:
                    scripted_http.answer(talk, asked, fields="connection: close\r\n")
                    return
                case 5:
                    await asyncio.sleep(chance.random() / 20)
                    scripted_http.answer(talk, asked)
                case 6:
                    talk.raw(b"HTTP/1.1 100 Continue\r\n\r\n")
                    scripted_http.answer(talk, asked)
                case _:
                    scripted_http.answer(talk, asked)

    return script


async def act(server: Http2Talk, stream: int, chance: random.Random) -> bool:
    """Answer a stream, or do something else; whether to go on."""
    talk = server.talk
    match chance.randrange(40):
        case 0:
            return False
        case 1:
            talk.reset()
            return False
        case 2:
            talk.raw(frame(chance.randrange(11), chance.randbytes(8), stream_id=stream))
        case 3:
            last = stream if chance.random() < 0.5 else 0
            talk.raw(frame(7, last.to_bytes(4) + bytes(4)))
            server.answer(stream, b"GET " + server.paths[stream])
        case 4:
            talk.raw(frame(3, bytes([0, 0, 0, chance.randrange(14)]), stream_id=stream))
        case 5:
            await asyncio.sleep(chance.random() / 20)
            server.answer(stream, b"GET " + server.paths[stream])
        case 6:
            pass  # never answered
        case _:
            server.answer(stream, b"GET " + server.paths[stream])
    return True


def stormy2(chance: random.Random) -> fake_peer.Script:
    """The same of HTTP/2, in any order."""

    async def script(talk: Talk) -> None:
        server = Http2Talk(talk)
        await server.start()
        try:
            while True:
                streams = await server.requested()
                more, server.requests = server.requests, []
                streams += more
                chance.shuffle(streams)
                for stream in streams:
                    if not await act(server, stream, chance):
                        return
        except H2Error:
            return  # the client has called off what is answered here

    return script


async def caller(
    client: HttpConnection, chance: random.Random, number: int, outcomes: Counter[str]
) -> None:
    path = f"/{number}"
    request = post(path) if chance.random() < 0.2 else get(path)
    await asyncio.sleep(chance.random() / 10)
    pending = asyncio.ensure_future(client.call(request, timeout=0.5 + chance.random()))
    if chance.random() < 0.1:
        await asyncio.sleep(chance.random() / 20)
        pending.cancel()
    try:
        answer = await pending
    except (RetryRequestError, ConnectError, TimeoutError) as error:
        outcomes[type(error).__name__] += 1
    except asyncio.CancelledError:
        outcomes["cancelled"] += 1
    else:
        assert isinstance(answer, Response)
        assert answer.body.endswith(path.encode()), (path, answer.body)
        outcomes["answered"] += 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("version", [Version.HTTP1, Version.HTTP2], ids=["1.1", "2"])
async def test_every_call_has_an_outcome_and_nothing_is_left(version: Version, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's
    script = stormy(chance) if version is Version.HTTP1 else stormy2(chance)
    outcomes: Counter[str] = Counter()
    finalised: list[int] = []
    async with fake_peer.serving(script) as peer:
        client = connection(
            peer,
            version=version,
            persistent=chance.choice([True, True, None]),
            half_close=chance.random() < 0.5,
            heartbeat=0.3,
            finalise=lambda: finalised.append(seed),
        )
        changes: list[Change] = []
        client.notify(changes.append)
        callers = [
            asyncio.ensure_future(caller(client, chance, number, outcomes))
            for number in range(CALLS)
        ]
        await asyncio.sleep(chance.random() / 5)
        match chance.randrange(4):
            case 0:
                client.shutdown()
            case 1:
                client.close()
            case 2:
                client.abort()
        await asyncio.gather(*callers)
        client.shutdown()
        if client.length:  # what nobody waits for any more has time left
            client.close()
        await client.wait_closed()
    assert sum(outcomes.values()) == CALLS
    assert client.length == 0
    assert not client._futures
    assert not client._timers
    assert finalised == [seed]
    steps = [b.length - a.length for a, b in itertools.pairwise(changes)]
    assert all(abs(each) <= 1 for each in steps)
