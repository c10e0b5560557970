"""A session over AMQP 1.0 with the broker for a while, and what that protocol alone can lose.

It has a virtual host and a user of its own, so that nothing that other faults have left is in its
way: it must be up before, show what is done to it, and be up again by itself.
"""

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from chaos.declared import secret_text
from chaos.world import World, condition
from support import erlang
from support.erlang import ErlangError
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQNode
from support.running import API

__all__ = ["PLUGIN", "WAYS", "meet"]

PLUGIN: Final = "rabbitmq_amqp1_0"
"""What the broker has to have."""

_PLACE: Final = "over-amqp10"
"""The virtual host, and the user."""
_QUEUE: Final = "kept"

_numbers = itertools.count()


def _has_link(status: Mapping[str, Any], *states: str) -> bool:
    """Whether it is connected, and its link is in one of these states."""
    negotiated = (status.get("negotiated") or {}).get("amqp10") or {}
    found = {each["state"] for each in negotiated.get("links") or ()}
    return condition(status, "Ready")[0] == "True" and bool(found) and found <= set(states)


def _is_up(status: Mapping[str, Any]) -> bool:
    return _has_link(status, "Attached")


def _lacks_link(status: Mapping[str, Any]) -> bool:
    return _has_link(status, "Refused", "Detached")


def _has_lost_session(status: Mapping[str, Any]) -> bool:
    """It is up again and tells of it: a session that has ended is opened anew at once."""
    return _is_up(status) and "ended the session" in (status.get("lastClose") or {}).get("text", "")


async def _queue_deleted(world: World, name: str) -> None:
    """The plugin tells no consumer; with the next session there is nothing to attach to."""
    await world.at_broker(lambda: _delete_queue(world.node))
    await world.at_broker(lambda: _end_sessions(world.node))
    await world.must_become("without its link", [name], _lacks_link)
    await world.at_broker(lambda: _add_queue(world.node))


async def _session_ended(world: World, name: str) -> None:
    """What the management interface does to close a connection ends the session alone."""
    await world.at_broker(lambda: _end_sessions(world.node))
    await world.must_become("one whose session was ended", [name], _has_lost_session)


WAYS: Final[Mapping[str, Callable[[World, str], Awaitable[None]]]] = {
    "queue-deleted": _queue_deleted,
    "session-ended": _session_ended,
}
"""What happens to a session."""


async def meet(world: World, way: str) -> None:
    """Declare such a session for a while, and complain of what status does not show.

    `way` is one of `WAYS`.
    """
    await world.springline()
    # A name of its own, so that nothing that is still shown of another one counts.
    name = f"amqp10-{next(_numbers)}"
    async with _place(world) as password:
        documents = _documents(world, name, password)
        for document in documents:
            await world.put(document)
        await world.must_become("up", [name], _is_up)
        await WAYS[way](world, name)
        await world.must_become("up again", [name], _is_up)
        for document in reversed(documents):
            await world.remove(document)


@contextlib.asynccontextmanager
async def _place(world: World) -> AsyncIterator[str]:
    """Have the virtual host with its queue, and the user, with the password that is yielded."""
    node, password = world.node, secret_text()

    def add() -> None:
        node.add_vhost(_PLACE)
        with contextlib.suppress(ErlangError):
            node.add_user(_PLACE, password)
        node.change_password(_PLACE, password)
        node.set_permissions(_PLACE, _PLACE)
        _add_queue(node)

    await world.at_broker(add)
    try:
        yield password
    finally:
        await world.at_broker(lambda: node.delete_vhost(_PLACE))


def _documents(world: World, name: str, password: str) -> list[dict[str, Any]]:
    """Return a Secret, a Broker and a BrokerConnection with a link, in this order."""
    metadata = {"name": name, "namespace": world.declared.namespace}
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "stringData": {"username": _PLACE, "password": password},
        },
        {
            "apiVersion": API,
            "kind": "Broker",
            "metadata": metadata,
            "spec": {
                **world.declared.broker("rabbit")["spec"],
                "protocol": "amqp10",
                "endpoints": [{"host": LOOPBACK, "port": world.node.amqp_port}],
            },
        },
        {
            "apiVersion": API,
            "kind": "BrokerConnection",
            "metadata": metadata,
            "spec": {
                "brokerRef": {"name": name},
                "virtualHost": _PLACE,
                "credentials": {"secretRef": {"name": name}},
                "probe": {"mode": "None"},
                "amqp10": {
                    "links": [
                        {
                            "name": "in",
                            "role": "Receiver",
                            "source": {"address": f"/amq/queue/{_QUEUE}"},
                            "keep": True,
                        }
                    ]
                },
            },
        },
    ]


_RESOURCE: Final = f"rabbit_misc:r({erlang.binary(_PLACE)}, queue, {erlang.binary(_QUEUE)})"
_BY_CHAOS: Final = erlang.binary("chaos")


def _add_queue(node: RabbitMQNode) -> None:
    node.eval(f"rabbit_amqqueue:declare({_RESOURCE}, true, false, [], none, {_BY_CHAOS}), ok")


def _delete_queue(node: RabbitMQNode) -> None:
    node.eval(
        f"case rabbit_amqqueue:lookup({_RESOURCE}) of "
        f"{{ok, Queue}} -> rabbit_amqqueue:delete(Queue, false, false, {_BY_CHAOS}), ok; "
        "_ -> ok end"
    )


def _end_sessions(node: RabbitMQNode) -> None:
    """End those of this virtual host: each has a connection of its own within the broker."""
    node.eval(
        '[catch amqp_direct_connection:server_close(Pid, 320, <<"closed by chaos">>) || '
        "Tracked <- rabbit_connection_tracking:list(), "
        f"lists:member({erlang.binary(_PLACE)}, tuple_to_list(Tracked)), "
        "Pid <- tuple_to_list(Tracked), is_pid(Pid)], ok"
    )
