"""What must hold when all faults of a sequence are over.

Each function looks once, and says in words what does not hold; `hold` waits for all of them.
"""

import asyncio
import base64
import collections
import contextlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chaos.console import ALARMS, WHOAMI
from chaos.declared import HELD, MARK, Expected
from chaos.threads import to_its_end
from chaos.truth import answered_otherwise, closed_otherwise, differences
from chaos.world import Bindings, Violation, World, condition, slowness
from support.erlang import ErlangError

__all__ = ["Read", "hold", "settled"]

_POLL_SECONDS = 0.3
_SAMPLES = 4
_LOOKS = 3
"""How often in a row everything has to hold: what is true by chance is not for long."""

_OPEN = ("running", "flow", "blocking", "blocked")
_DEFECTS = (
    "Traceback (most recent call last)",
    "exception was never retrieved",
    "was never awaited",
    "Task was destroyed but it is pending",
    "Unclosed ",
)


def _forms(secret: str) -> list[str]:
    """Return how a text shows when it is written as it is, as hex, or inside of base64."""
    found = [secret, secret.encode().hex()]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret.encode()).decode()
        # The first characters depend on what comes before, the last ones on what follows.
        found.append(encoded[-(-8 * before // 6) : (before + len(secret)) * 8 // 6])
    return found


_SECRET = re.compile("|".join(re.escape(each) for each in _forms(MARK)))


class Read:
    """How far a log has been read."""

    def __init__(self) -> None:
        self._read = 0

    def rest(self, text: str) -> str:
        """Return what has not been read yet, and a little of what was before it."""
        start, self._read = max(self._read - 200, 0), len(text)
        return text[start:]

    def skip(self, text: str) -> None:
        """Read everything."""
        self._read = len(text)


async def settled(world: World) -> None:
    """Wait until all is as declared, and take what the process has then as its measure.

    Raises `Violation`.
    """
    await _wait(world, with_census=False)
    if world.most is None:
        most = await world.census()
        for _ in range(_SAMPLES):
            await asyncio.sleep(_POLL_SECONDS)
            most = most.most(await world.census())
        world.most = most


async def hold(world: World, log: Read) -> float:
    """Wait until everything holds, and return the seconds that it took. Raises `Violation`.

    What the process has is counted when everything is declared as it was at the beginning: what
    was declared so that it cannot work is tried again and again until then.
    """
    began = time.monotonic()
    await _wait(world, with_census=False)
    seconds = time.monotonic() - began
    world.declared.reset()
    await world.put_all()
    await _wait(world, with_census=False)
    await _close(world)
    await _wait(world, with_census=True)
    wrong = [*world.complaints, *_in_log(log.rest(world.output))]
    for where, text in (await world.shown_texts()).items():
        if _SECRET.search(text):
            wrong.append(f"a planted secret is in {where}")
    world.complaints.clear()
    if world.watching is None or world.watching.done():
        wrong.append(f"nobody looks whether it answers any more: {world.watching}")
    if wrong:
        raise Violation("\n".join(wrong))
    return seconds


async def _close(world: World) -> None:
    """Close connections by force, and wait until `lastClose` says so of each: none is forgotten."""
    texts = {name: f"told by chaos as {secrets.token_hex(4)}" for name in HELD}
    prefix = f"springline/{world.declared.namespace}/"
    for name, text in texts.items():
        await to_its_end(world.node.close_connection, prefix + name, text)

    async def untold() -> list[str]:
        try:
            statuses = await world.statuses()
        except OSError as error:
            return [f"cannot be asked: {error}"]
        told = {
            name: closed_otherwise(statuses.get(name, {}), text) for name, text in texts.items()
        }
        return [f"{name}: {each}" for name, each in told.items() if each]

    await _until_nothing(world, untold, looks=1)


async def _wait(world: World, *, with_census: bool) -> None:
    asked: set[str] = set()

    async def look() -> list[str]:
        wrong = await _wrong(world, with_census=with_census)
        if any("ProbeDisabled" in each for each in wrong):
            await _have_probes_repeated(world, asked)
        return wrong

    await _until_nothing(world, look, looks=_LOOKS)


async def _have_probes_repeated(world: World, asked: set[str]) -> None:
    """Ask once, as an administrator would, for what a refused probe waits minutes for by itself."""
    with contextlib.suppress(OSError):
        for name, status in (await world.statuses()).items():
            is_off = condition(status, "Blocked")[1] == "ProbeDisabled"
            if is_off and name in world.declared.connections and name not in asked:
                asked.add(name)
                now = datetime.now(UTC).isoformat()
                request = {"springline.dev/renew-requested-at": now}
                await world.put(world.declared.connection(name, annotations=request))


async def _until_nothing(
    world: World, look: Callable[[], Awaitable[list[str]]], *, looks: int
) -> None:
    """Wait until nothing is wrong, so many looks in a row. Raises `Violation`."""
    began = time.monotonic()
    good = 0
    while good < looks:
        wrong = await look()
        good = 0 if wrong else good + 1
        if not world.is_running:
            raise Violation(f"Springline has ended by itself\n{world.output[-3000:]}")
        if wrong and time.monotonic() - began > (bound := world.bound * slowness()):
            raise Violation("\n".join([f"not within {bound:.0f} s:", *wrong]))
        await asyncio.sleep(_POLL_SECONDS)


async def _wrong(world: World, *, with_census: bool) -> list[str]:
    expected = world.declared.expected()
    try:
        statuses = await world.statuses()
        held = await world.held()
    except (OSError, ErlangError) as error:
        return [f"cannot be asked: {error}"]
    names = [
        each.name if each.state in _OPEN else f"{each.name} ({each.state})"
        for each in held
        if each.name.startswith("springline/") or not each.name
    ]
    wrong = _in_statuses(expected, statuses)
    prefix = f"springline/{world.declared.namespace}/"
    wrong += _at_broker(expected, statuses, names, prefix=prefix)
    if wrong:
        return wrong
    wrong = await world.odd_statuses(statuses)
    connections = {each.name: each for each in held}
    for name, each in expected.items():
        if each.is_held:
            declared = world.declared.connections[name]
            port = world.declared.brokers[declared.broker]
            found = differences(statuses[name], connections[prefix + name], declared, port)
            wrong += [f"{name}: {one}" for one in found]
        if each.is_answered:
            wrong += [f"{name}: {one}" for one in await _asked(world, name, statuses[name])]
        binding = world.declared.connections[name].binding
        if each.password and await world.binding_password(binding) != each.password:
            wrong.append(f"the binding of {name} has another password")
    if with_census:
        wrong += _in_bindings(world, await world.bindings())
    if not wrong and with_census and world.most is not None:
        wrong = [f"more than before: {each}" for each in (await world.census()).beyond(world.most)]
    return wrong


async def _asked(world: World, name: str, status: Mapping[str, Any]) -> list[str]:
    """Say in what the management interface answers its user otherwise than status has it."""
    declared = world.declared.connections[name]
    user = world.declared.user_of(declared.secret)
    assert user is not None
    try:
        answers = [await world.ask_console(path, user) for path in (declared.path, ALARMS, WHOAMI)]
    except OSError as error:
        return [f"the management interface cannot be asked: {error}"]
    port = world.declared.brokers[declared.broker]
    return answered_otherwise(status, answers, port)


def _in_statuses(
    expected: Mapping[str, Expected], statuses: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    wrong = [f"{name} is shown and not declared" for name in statuses.keys() - expected.keys()]
    for name, each in expected.items():
        status = statuses.get(name, {})
        for kind, (value, reasons) in each.conditions.items():
            found, reason = condition(status, kind)
            if found != value or (reasons and reason not in reasons):
                wrong.append(f"{name}: {kind} is {found} {reason}, not {value} {reasons}")
    return wrong


def _at_broker(
    expected: Mapping[str, Expected],
    statuses: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    *,
    prefix: str,
) -> list[str]:
    wanted: collections.Counter[str] = collections.Counter()
    for name, each in expected.items():
        is_open = condition(statuses.get(name, {}), "Connected")[0] == "True"
        wanted[prefix + name] = int(is_open if each.is_held is None else each.is_held)
    found = collections.Counter(names)
    return [
        f"the broker holds {name or 'one without a name'} {found[name]} times, not {wanted[name]}"
        for name in sorted(wanted.keys() | found.keys())
        if found[name] != wanted[name]
    ]


def _in_bindings(world: World, bindings: Bindings) -> list[str]:
    """Say what is in bindings beyond the credential that each is of, and which are odd."""
    expected = world.declared.expected()
    passwords = {
        world.declared.connections[name].binding: each.password
        for name, each in expected.items()
        if each.password
    }
    wrong = [f"the binding {name} is missing" for name in passwords.keys() - bindings.keys()]
    for name, texts in bindings.items():
        if name not in passwords:
            wrong.append(f"{name} is there, and nobody declares it")
        elif any(MARK in text.replace(passwords[name] or "", "") for text in texts):
            wrong.append(f"the binding {name} has a secret that is not its own")
    return wrong


def _in_log(text: str) -> list[str]:
    wrong = ["a planted secret is in the log"] if _SECRET.search(text) else []
    for defect in _DEFECTS:
        if (place := text.find(defect)) >= 0:
            wrong.append(f"in the log:\n{text[max(place - 600, 0) : place + 3000]}")
            break
    return wrong
