"""Every kind of fault: what is drawn for it, and what it does to a world.

A fault needs what it needs running, and sees to that first; so any part of a sequence is one. What
it leaves behind (a broker that is down, a link that is cut, a clock that is wrong) stays so until
another fault needs it otherwise, or until the world heals.
"""

import contextlib
import importlib.util
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from chaos import amqp10, floods, web
from chaos.declared import BROKERS, CONSOLES, FREE, HELD, USERS, VHOSTS, WAYS_TO_BREAK, secret_text
from chaos.in_cluster import ClusterWorld
from chaos.sequences import WAITS, Drawing, Fault
from chaos.standalone import StandaloneWorld
from chaos.threads import to_its_end
from chaos.world import World, condition
from support import hostile_brokers

__all__ = ["KINDS", "Kind", "act", "drawings"]

Given = Mapping[str, Any]

_EITHER: tuple[type[World], ...] = (StandaloneWorld, ClusterWorld)
_FILES: tuple[type[World], ...] = (StandaloneWorld,)
_CLUSTER: tuple[type[World], ...] = (ClusterWorld,)

_HOUR = 3600
_SHORT_HEARTBEAT = 4  # seconds
_MODES = ("refused", "silent", "deaf", "slow")
_GARBAGE = ("00", "41", "ffffffffffffffff", "0800000000000000", "48545450", "01000000000000ce")
"""In hex; the last one is a well-formed frame with nothing in it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault, and in which worlds there is such a thing."""

    act: Callable[[Any, Given], Awaitable[None]]
    draw: Drawing
    where: tuple[type[World], ...] = _EITHER
    weight: int = 1
    """How often it is drawn, beside those with 1."""


# What is drawn


def _nothing(rng: Random) -> Given:  # noqa: ARG001 - as every drawing
    return {}


def _waiting(rng: Random) -> Given:
    return {"wait": rng.choice(WAITS)}


def _free(rng: Random) -> Given:
    return {"name": rng.choice(FREE), **_waiting(rng)}


def _held(rng: Random) -> Given:
    return {"name": rng.choice(HELD), **_waiting(rng)}


def _user(rng: Random) -> Given:
    return {"user": rng.choice(sorted(USERS)), **_waiting(rng)}


def _vhost(rng: Random) -> Given:
    return {"vhost": rng.choice(VHOSTS), **_waiting(rng)}


def _watched(rng: Random) -> Given:
    return {"is_watched": rng.random() < 0.5}


# The broker


async def _broker_killed(world: World, given: Given) -> None:
    await world.broker()
    await to_its_end(world.node.kill)
    if given["is_watched"]:
        await world.must_become(
            "lost", world.direct, lambda status: condition(status, "Ready")[0] != "True"
        )


async def _broker_frozen(world: World, given: Given) -> None:
    await world.broker()
    world.node.pause()
    if given["is_watched"]:  # two heartbeats are missed, which may be long ones, or three probes
        declared = world.declared.connections
        await world.must_become(
            "lost",
            [
                each
                for each in world.direct
                if declared[each].is_over_http or declared[each].heartbeat <= _SHORT_HEARTBEAT
            ],
            lambda status: condition(status, "Ready")[0] != "True",
        )


async def _broker_restarted(world: World, given: Given) -> None:  # noqa: ARG001
    await world.broker()
    await to_its_end(world.node.restart)


async def _alarm_set(world: World, given: Given) -> None:
    source = given["source"]
    await world.at_broker(lambda: world.node.set_alarm(source))
    if given["is_watched"]:
        with contextlib.suppress(OSError):
            found = await world.statuses()
            ready = [
                each
                for each in world.direct
                if condition(found.get(each, {}), "Ready")[0] == "True"
            ]
            await world.must_become(
                "blocked",
                ready,
                lambda status: (
                    condition(status, "Blocked")[0] == "True"
                    or condition(status, "Connected")[0] != "True"
                ),
            )


async def _alarms_cleared(world: World, given: Given) -> None:  # noqa: ARG001
    await world.at_broker(lambda: world.node.clear_alarm("memory"))
    await world.at_broker(lambda: world.node.clear_alarm("disk"))


def _alarm(rng: Random) -> Given:
    return {"source": rng.choice(["memory", "disk"]), **_watched(rng)}


# Users, permissions, virtual hosts


async def _password_at_broker_first(world: World, given: Given) -> None:
    user = given["user"]
    world.declared.passwords[user] = secret_text()
    await world.at_broker(lambda: world.know(user))
    await world.lull(given["wait"])
    await world.put(world.declared.secret(user))
    await _must_be_published(world, given)


async def _password_in_secret_first(world: World, given: Given) -> None:
    user = given["user"]
    world.declared.passwords[user] = secret_text()
    await world.put(world.declared.secret(user))
    await world.lull(given["wait"])
    await world.at_broker(lambda: world.know(user))
    await _must_be_published(world, given)


async def _must_be_published(world: World, given: Given) -> None:
    """Where it is watched: applications get the new password while nothing else happens."""
    if given["is_watched"]:
        await world.must_publish(given["user"])


def _watched_user(rng: Random) -> Given:
    return {**_user(rng), **_watched(rng)}


async def _wrong_password_in_secret(world: World, given: Given) -> None:
    await world.put(world.declared.secret(given["user"], secret_text()))
    await world.lull(given["wait"])
    await world.put(world.declared.secret(given["user"]))


async def _user_recreated(world: World, given: Given) -> None:
    user = given["user"]
    await world.at_broker(lambda: world.node.delete_user(user))
    await world.lull(given["wait"])
    await world.at_broker(lambda: world.know(user))
    await world.at_broker(world.grant_all)


async def _permissions_taken(world: World, given: Given) -> None:
    user, vhost = given["user"], given["vhost"]
    await world.at_broker(lambda: world.node.clear_permissions(user, vhost))
    await world.lull(given["wait"])
    await world.at_broker(lambda: world.grant(vhost))


def _user_and_vhost(rng: Random) -> Given:
    return {**_user(rng), **_vhost(rng)}


async def _vhost_recreated(world: World, given: Given) -> None:
    vhost = given["vhost"]
    await world.at_broker(lambda: world.node.delete_vhost(vhost))
    await world.lull(given["wait"])
    await world.at_broker(lambda: world.grant(vhost))


async def _vhost_down(world: World, given: Given) -> None:
    vhost = given["vhost"]
    await world.at_broker(lambda: world.node.stop_vhost(vhost))
    await world.lull(given["wait"])
    await world.at_broker(lambda: world.grant(vhost))


async def _vhost_full(world: World, given: Given) -> None:
    vhost = given["vhost"]
    await world.at_broker(lambda: world.node.set_vhost_limit(vhost, given["limit"]))
    await world.at_broker(lambda: world.node.close_all_connections("limited"))
    await world.lull(given["wait"])
    await world.at_broker(lambda: world.grant(vhost))


def _limited_vhost(rng: Random) -> Given:
    return {**_vhost(rng), "limit": rng.choice([0, 1])}


async def _user_limited(world: World, given: Given) -> None:
    user = given["user"]
    await world.at_broker(lambda: world.node.set_user_limit(user, given["limit"]))
    await world.put_new_password(user)
    await world.lull(given["wait"])
    await world.at_broker(lambda: world.node.set_user_limit(user, None))


def _limited_user(rng: Random) -> Given:
    return {**_user(rng), "limit": rng.choice([0, 1])}


# Connections and links


async def _connection_closed(world: World, given: Given) -> None:
    name = f"springline/{world.declared.namespace}/{given['name']}"

    def close() -> None:
        with contextlib.suppress(LookupError):  # it is not there just now
            world.node.close_connection(name, "closed by chaos")

    await world.at_broker(close)


async def _all_closed(world: World, given: Given) -> None:  # noqa: ARG001
    await world.at_broker(lambda: world.node.close_all_connections("maintenance"))


async def _link_is(world: World, given: Given) -> None:
    for link in world.links:
        await link.become(given["mode"])


def _mode(rng: Random) -> Given:
    return {"mode": rng.choice(_MODES)}


async def _link_mended(world: World, given: Given) -> None:  # noqa: ARG001
    for link in world.links:
        await link.become("pass")


async def _link_reset(world: World, given: Given) -> None:  # noqa: ARG001
    for link in world.links:
        link.reset()


async def _link_garbled(world: World, given: Given) -> None:
    for link in world.links:
        link.garble(bytes.fromhex(given["octets"]))


def _octets(rng: Random) -> Given:
    return {"octets": rng.choice(_GARBAGE)}


async def _link_cut(world: World, given: Given) -> None:
    for link in world.links:
        link.cut_after(given["after"])


def _cut(rng: Random) -> Given:
    return {"after": rng.choice([rng.randint(1, 40), rng.randint(41, 400)])}


# What is declared

_LACKING = ("user", "permissions", "vhost", "nothing")
"""What the broker is told of a login only after it is declared, if anything."""


async def _login_changed(world: World, given: Given) -> None:
    """Declare another user and virtual host, before or after the broker knows of them."""
    user, vhost, node = given["user"], given["vhost"], world.node
    match given["lacking"]:
        case "user":
            await world.at_broker(lambda: node.delete_user(user))
        case "permissions":
            await world.at_broker(lambda: node.clear_permissions(user, vhost))
        case "vhost":
            await world.at_broker(lambda: node.delete_vhost(vhost))
    declared = world.declared.connections[given["name"]]
    declared.secret, declared.vhost = USERS[user], vhost
    await world.put(world.declared.connection(given["name"]))
    await world.lull(given["wait"])
    await world.at_broker(lambda: world.know(user))
    await world.at_broker(world.grant_all)


def _login(rng: Random) -> Given:
    return {**_free(rng), **_user_and_vhost(rng), "lacking": rng.choice(_LACKING)}


async def _connection_edited(world: World, given: Given) -> None:
    world.declared.connections[given["name"]].heartbeat = given["heartbeat"]
    await world.put(world.declared.connection(given["name"]))


def _edit(rng: Random) -> Given:
    return {"name": rng.choice(FREE), "heartbeat": rng.randint(3, 30)}


async def _connection_moved(world: World, given: Given) -> None:
    declared = world.declared.connections[given["name"]]
    declared.vhost = VHOSTS[1 - VHOSTS.index(declared.vhost)]
    await world.put(world.declared.connection(given["name"]))


async def _broker_moved(world: World, given: Given) -> None:
    """Declare it at the other way to the same broker: directly, or by the link."""
    brokers = world.declared.brokers
    ways = world.ways_to_console if given["broker"] in CONSOLES else world.ways
    brokers[given["broker"]] = ways[1 - ways.index(brokers[given["broker"]])]
    await world.put(world.declared.broker(given["broker"]))


def _one_broker(rng: Random) -> Given:
    return {"broker": rng.choice([*BROKERS, *CONSOLES]), **_waiting(rng)}


async def _broker_misled(world: World, given: Given) -> None:
    document = world.declared.broker(given["broker"])
    document["spec"]["endpoints"] = [{"host": "127.0.0.1", "port": 1}]
    await world.put(document)
    await world.lull(given["wait"])
    await world.put(world.declared.broker(given["broker"]))


async def _broker_removed(world: World, given: Given) -> None:
    document = world.declared.broker(given["broker"])
    await world.remove(document)
    await world.lull(given["wait"])
    await world.put(document)


async def _connection_removed(world: World, given: Given) -> None:
    document = world.declared.connection(given["name"])
    await world.remove(document)
    await world.lull(given["wait"])
    await world.put(document)


async def _connection_suspended(world: World, given: Given) -> None:
    document = world.declared.connection(given["name"])
    document["spec"]["suspend"] = True
    await world.put(document)
    await world.lull(given["wait"])
    await world.put(world.declared.connection(given["name"]))


async def _connection_broken(world: World, given: Given) -> None:
    """Declare it so that it cannot be, for the rest of the sequence."""
    world.declared.connections[given["name"]].broken = given["how"]
    await world.put(world.declared.connection(given["name"]))


def _breaking(rng: Random) -> Given:
    return {"name": rng.choice(FREE), "how": rng.choice(WAYS_TO_BREAK)}


async def _secret_removed(world: World, given: Given) -> None:
    document = world.declared.secret(given["user"])
    await world.remove(document)
    await world.lull(given["wait"])
    await world.put(document)


async def _token_renewed(world: World, given: Given) -> None:  # noqa: ARG001
    world.declared.renew_token()
    await world.put(world.declared.token_secret())


async def _reopening_asked_for(world: World, given: Given) -> None:
    key = f"springline.dev/{given['what']}-requested-at"
    document = world.declared.connection(given["name"], annotations={key: given["at"]})
    await world.put(document)


def _request(rng: Random) -> Given:
    at = f"2026-01-01T00:00:{rng.randint(10, 59)}Z"
    return {"name": rng.choice(FREE), "what": rng.choice(["reconnect", "renew"]), "at": at}


# Springline itself


async def _springline_frozen(world: World, given: Given) -> None:
    await world.springline()
    world.excuse()
    await world.freeze()
    await world.lull(given["wait"])
    if not given["stays"]:
        await world.springline()


def _freezing(rng: Random) -> Given:
    return {**_waiting(rng), "stays": rng.random() < 0.5}


async def _springline_restarted(world: World, given: Given) -> None:
    await world.springline()
    world.excuse()
    await world.end(orderly=given["orderly"])
    await world.springline()


def _ending(rng: Random) -> Given:
    return {"orderly": rng.random() < 0.5}


async def _clock_set(world: World, given: Given) -> None:
    if world.clock is not None:
        world.clock.set(given["seconds"])
    else:
        world.left_out["clock-set"] += 1


def _offset(rng: Random) -> Given:
    return {"seconds": rng.choice([-3 * _HOUR, -300, 300, 3 * _HOUR, 0])}


# Files


async def _file_half_written(world: StandaloneWorld, given: Given) -> None:
    document = world.declared.connection(given["name"])
    await world.put(document)
    path = world.path(document)
    text = path.read_text(encoding="utf-8")
    world.files.write_text(path.name, text[: int(len(text) * given["share"])])
    await world.lull(given["wait"])
    world.files.write_text(path.name, text)


def _share(rng: Random) -> Given:
    return {**_free(rng), "share": round(rng.uniform(0.05, 0.95), 2)}


async def _file_renamed(world: StandaloneWorld, given: Given) -> None:
    document = world.declared.connection(given["name"])
    await world.put(document)
    path = world.path(document)
    world.files.rename(path.name, f"moved-{path.name}")
    await world.lull(given["wait"])
    world.files.rename(f"moved-{path.name}", path.name)


# The cluster


async def _api_killed(world: ClusterWorld, given: Given) -> None:
    await world.api()
    await to_its_end(world.server.kill)
    await world.lull(given["wait"])


async def _api_frozen(world: ClusterWorld, given: Given) -> None:
    await world.freeze_api()
    await world.lull(given["wait"])


async def _api_restarted(world: ClusterWorld, given: Given) -> None:  # noqa: ARG001
    await world.api()
    await to_its_end(world.server.stop)
    await world.api()


async def _history_lost(world: ClusterWorld, given: Given) -> None:
    """What changes meanwhile is in no watch."""
    await world.springline()
    document = world.declared.connection(given["name"])
    world.excuse()
    await world.freeze()
    await world.remove(document)
    world.declared.connections[given["name"]].heartbeat = 17
    await world.put(world.declared.connection(given["name"]))
    await to_its_end(world.server.forget_history)
    await world.springline()


async def _status_overwritten(world: ClusterWorld, given: Given) -> None:
    path = f"{world.place('BrokerConnection', given['name'])}/status?fieldManager=somebody"
    await world.ask("PATCH", path, {"status": {"state": "Closed", "holder": "nobody", **_LIE}})
    await world.lull(given["wait"])


_LIE: Given = {
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "AccessRefused",
            "message": "a lie",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]
}


async def _leases_deleted(world: ClusterWorld, given: Given) -> None:  # noqa: ARG001
    namespace = world.operator.namespace
    await world.ask("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")


async def _binding_spoiled(world: ClusterWorld, given: Given) -> None:
    name = world.declared.connections[given["name"]].binding
    path = world.place("Secret", name)
    if given["is_deleted"]:
        await world.ask("DELETE", path)
    else:
        await world.ask("PATCH", path, {"stringData": {"password": secret_text()}})


def _bound(rng: Random) -> Given:
    return {"name": rng.choice(["orders", "stock", "watch"]), "is_deleted": rng.random() < 0.5}


async def _account_token_spoiled(world: ClusterWorld, given: Given) -> None:
    await world.springline()
    world.operator.replace_token("no-token-at-all")
    await world.lull(given["wait"])
    await world.api()
    await to_its_end(world.operator.renew_token)


# One server of HTTP that has its own ways


def _way(name: str) -> Kind:
    async def act(world: World, given: Given) -> None:  # noqa: ARG001
        await web.meet(world, name)

    return Kind(act, _nothing)


# One session over AMQP 1.0


def _of_amqp10(name: str) -> Kind:
    async def act(world: World, given: Given) -> None:  # noqa: ARG001
        if importlib.util.find_spec("proton") is None:
            world.left_out[f"amqp10-{name}"] += 1
            return
        await amqp10.meet(world, name)

    return Kind(act, _nothing)


# One hostile broker


def _flood(script: str) -> Kind:
    async def act(world: World, given: Given) -> None:  # noqa: ARG001
        await floods.flood(world, script)

    return Kind(act, _nothing)


KINDS: Mapping[str, Kind] = {
    "broker-killed": Kind(_broker_killed, _watched),
    "broker-frozen": Kind(_broker_frozen, _watched),
    "broker-restarted": Kind(_broker_restarted, _nothing),
    "alarm-set": Kind(_alarm_set, _alarm),
    "alarms-cleared": Kind(_alarms_cleared, _nothing),
    "password-at-broker-first": Kind(_password_at_broker_first, _watched_user, weight=3),
    "password-in-secret-first": Kind(_password_in_secret_first, _watched_user, weight=2),
    "wrong-password-in-secret": Kind(_wrong_password_in_secret, _user),
    "user-recreated": Kind(_user_recreated, _user),
    "user-limited": Kind(_user_limited, _limited_user),
    "permissions-taken": Kind(_permissions_taken, _user_and_vhost),
    "vhost-recreated": Kind(_vhost_recreated, _vhost),
    "vhost-down": Kind(_vhost_down, _vhost),
    "vhost-full": Kind(_vhost_full, _limited_vhost),
    "connection-closed": Kind(_connection_closed, _held),
    "all-closed": Kind(_all_closed, _nothing),
    "link-is": Kind(_link_is, _mode),
    "link-mended": Kind(_link_mended, _nothing),
    "link-reset": Kind(_link_reset, _nothing),
    "link-garbled": Kind(_link_garbled, _octets),
    "link-cut": Kind(_link_cut, _cut),
    "connection-edited": Kind(_connection_edited, _edit, weight=2),
    "connection-moved": Kind(_connection_moved, _free, weight=2),
    "login-changed": Kind(_login_changed, _login, weight=2),
    "connection-removed": Kind(_connection_removed, _free),
    "connection-suspended": Kind(_connection_suspended, _free),
    "connection-broken": Kind(_connection_broken, _breaking),
    "broker-moved": Kind(_broker_moved, _one_broker),
    "broker-misled": Kind(_broker_misled, _one_broker),
    "broker-removed": Kind(_broker_removed, _one_broker),
    "secret-removed": Kind(_secret_removed, _user),
    "token-renewed": Kind(_token_renewed, _nothing),
    "reopening-asked-for": Kind(_reopening_asked_for, _request),
    "springline-frozen": Kind(_springline_frozen, _freezing),
    "springline-restarted": Kind(_springline_restarted, _ending),
    "clock-set": Kind(_clock_set, _offset),
    "file-half-written": Kind(_file_half_written, _share, _FILES),
    "file-renamed": Kind(_file_renamed, _free, _FILES),
    "api-killed": Kind(_api_killed, _waiting, _CLUSTER),
    "api-frozen": Kind(_api_frozen, _waiting, _CLUSTER),
    "api-restarted": Kind(_api_restarted, _nothing, _CLUSTER),
    "history-lost": Kind(_history_lost, _free, _CLUSTER),
    "status-overwritten": Kind(_status_overwritten, _free, _CLUSTER),
    "leases-deleted": Kind(_leases_deleted, _nothing, _CLUSTER),
    "binding-spoiled": Kind(_binding_spoiled, _bound, _CLUSTER),
    "account-token-spoiled": Kind(_account_token_spoiled, _waiting, _CLUSTER),
    **{f"web-{each}": _way(each) for each in web.WAYS},
    **{f"amqp10-{each}": _of_amqp10(each) for each in amqp10.WAYS},
    **{f"flood-of-{each}": _flood(each) for each in hostile_brokers.SCRIPTS},
}
"""All of them, by name."""


def drawings(world: type[World]) -> list[tuple[str, Drawing]]:
    """Return what can be drawn for a world, as often as it is to be."""
    return [
        (name, kind.draw)
        for name, kind in sorted(KINDS.items())
        if issubclass(world, kind.where)
        for _ in range(kind.weight)
    ]


async def act(world: World, fault: Fault) -> None:
    """Do what a fault says to a world, and wait as it says."""
    await KINDS[fault.kind].act(world, fault.given)
    await world.lull(fault.wait)
