"""One hostile broker beside the others: it floods whoever connects, within bounds of its own.

What must hold: the sessions with other brokers keep their connections, and Springline answers.
Each flood ends after some seconds or some bytes, whichever comes first, so that the machine is not
what gives way.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pamqp.frame
from pamqp import commands as spec
from pamqp.heartbeat import Heartbeat

from chaos.world import World, condition
from support import fake_peer
from support.fake_peer import Talk
from support.running import API

__all__ = ["SCRIPTS", "flood"]

_SECONDS = 12.0
"""Longer than two heartbeats of those beside it."""

_MOST_BYTES = 24 * 1024**2
_PIECE = 16384
_MOST_MEMORY = 12 * 1024**2
"""Bytes that the process may grow by meanwhile: half of what it is told."""

_STEADY_SECONDS = 30.0
_LOOK_SECONDS = 1.0
_LOOKS = 4
_BYSTANDERS = ("orders", "billing")

_NAME = "hostile"


async def _said(talk: Talk, octets: bytes) -> None:
    """Say the same again and again."""
    octets *= max(_PIECE // len(octets), 1)
    deadline = time.monotonic() + _SECONDS
    left = _MOST_BYTES
    while left > 0 and time.monotonic() < deadline:
        talk.raw(octets)
        await talk.writer.drain()
        left -= len(octets)
    await talk.until_gone()


async def _heartbeats(talk: Talk) -> None:
    await talk.handshake()
    await _said(talk, pamqp.frame.marshal(Heartbeat(), 0))


async def _blocks(talk: Talk) -> None:
    await talk.handshake()
    both = (spec.Connection.Blocked("low on memory"), spec.Connection.Unblocked())
    await _said(talk, b"".join(pamqp.frame.marshal(each, 0) for each in both))


async def _large_frame(talk: Talk) -> None:
    """Agree on no limit, announce a frame that never ends, and begin it."""
    await talk.greet()
    await talk.log_in()
    await talk.tune(frame_max=0)
    talk.send(spec.Connection.OpenOk())
    talk.raw(b"\x03\x00\x01" + (2**31 - 1).to_bytes(4))
    await _said(talk, b"x" * _PIECE)


async def _closes(talk: Talk) -> None:
    """Close whatever is opened, at once."""
    await talk.handshake()
    talk.send(spec.Connection.Close(320, "CONNECTION_FORCED - for fun", 0, 0))
    await talk.until_gone()


async def _garbage(talk: Talk) -> None:
    await _said(talk, bytes(range(256)))


SCRIPTS: Mapping[str, Callable[[Talk], Awaitable[None]]] = {
    "heartbeats": _heartbeats,
    "blocks": _blocks,
    "large-frame": _large_frame,
    "closes": _closes,
    "garbage": _garbage,
}


async def flood(world: World, script: str) -> None:
    """Declare a session with the hostile broker for a while, and complain of what others lose."""
    await world.broker()
    await world.springline()

    if not await _is_steady(world):
        return  # other faults have left nobody who could lose anything
    before, memory = await _peers(world), _memory(world)
    async with fake_peer.serving(SCRIPTS[script]) as peer:
        broker = {
            "apiVersion": API,
            "kind": "Broker",
            "metadata": {"name": _NAME, "namespace": world.declared.namespace},
            "spec": {**world.declared.broker("rabbit")["spec"], "endpoints": [_at(peer.port)]},
        }
        connection = world.declared.connection("billing")
        connection["metadata"] = {**connection["metadata"], "name": _NAME}
        connection["spec"] |= {"brokerRef": {"name": _NAME}, "frameMax": 2**31 - 1}
        await world.put(broker)
        await world.put(connection)
        await asyncio.sleep(_SECONDS)  # that is how long the flood lasts
        grown = _memory(world) - memory
        await world.remove(connection)
        await world.remove(broker)
    after = await _peers(world)
    statuses = await world.statuses()
    lost = [
        f"{name} ({statuses.get(name, {}).get('lastClose')})"
        for name, peer in before.items()
        if after.get(name) != peer
    ]
    if lost:
        world.complaints.append(f"beside a flood of {script}, connections were lost: {lost}")
    if grown > _MOST_MEMORY:
        world.complaints.append(f"a flood of {script} took {grown / 1024**2:.0f} MB of memory")


async def _is_steady(world: World) -> bool:
    """Wait until nothing that was declared before moves the bystanders any more.

    One whose new credential is still on its way is not in sync: Springline replaces its connection
    where that one is blocked, whether or not there is a flood.
    """
    looks: list[dict[str, int]] = []

    async def looked() -> bool:
        await asyncio.sleep(_LOOK_SECONDS)  # the time for which they have to stay
        looks.append(await _peers(world) if await _are_in_sync(world) else {})
        last = looks[-_LOOKS:]
        return (
            len(last) == _LOOKS and len(last[0]) == len(_BYSTANDERS) and last == _LOOKS * last[:1]
        )

    return await world.until(looked, _STEADY_SECONDS)


async def _are_in_sync(world: World) -> bool:
    try:
        found = await world.statuses()
    except OSError:
        return False
    return all(condition(found.get(each, {}), "Synced")[0] == "True" for each in _BYSTANDERS)


def _at(port: int) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": port}


def _memory(world: World) -> int:
    """Return the bytes that are resident of Springline's process."""
    text = Path(f"/proc/{world.pid}/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _peers(world: World) -> dict[str, int]:
    """Return the bystanders' connections, by the ports that they come from."""
    prefix = f"springline/{world.declared.namespace}/"
    names = {prefix + each: each for each in _BYSTANDERS}
    return {names[each.name]: each.peer_port for each in await world.held() if each.name in names}
