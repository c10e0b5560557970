"""One hostile broker beside the others: it floods whoever connects.

What must hold: the sessions with other brokers keep their connections, and Springline answers.
"""

import asyncio

from bench.measuring import resident_bytes
from chaos.world import World, condition
from support import fake_peer
from support.hostile_brokers import SCRIPTS, SECONDS
from support.running import API

__all__ = ["flood"]

_MOST_MEMORY = 12 * 1024**2
"""Bytes that the process may grow by meanwhile: half of what it is told."""

_STEADY_SECONDS = 30.0
_LOOK_SECONDS = 1.0
_LOOKS = 4
_BYSTANDERS = ("orders", "billing")

_NAME = "hostile"


async def flood(world: World, script: str) -> None:
    """Declare a session with the hostile broker for a while, and complain of what others lose."""
    await world.broker()
    await world.springline()

    if not await _is_steady(world):
        return  # other faults have left nobody who could lose anything
    before, memory = await _peers(world), resident_bytes(world.pid)
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
        await asyncio.sleep(SECONDS)  # that is how long the flood lasts
        grown = resident_bytes(world.pid) - memory
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


async def _peers(world: World) -> dict[str, int]:
    """Return the bystanders' connections, by the ports that they come from."""
    prefix = f"springline/{world.declared.namespace}/"
    names = {prefix + each: each for each in _BYSTANDERS}
    return {names[each.name]: each.peer_port for each in await world.held() if each.name in names}
