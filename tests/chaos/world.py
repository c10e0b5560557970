"""What faults are done to: a broker, a link to it, and Springline as a process; and how it heals.

`standalone` and `in_cluster` say how things are declared and where status is shown. A world is
entered once and lives through many sequences; `renewed` gives it a Springline that knows nothing.
"""

import abc
import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from chaos import console
from chaos.census import Asked, Census
from chaos.console import Answer
from chaos.declared import BROKERS, CONSOLES, USERS, VHOSTS, Declared, secret_text
from chaos.links import Links
from chaos.planted import BUGS
from chaos.threads import to_its_end
from support import faketime
from support.administration import Connection as Held
from support.erlang import ErlangError
from support.faketime import WallClock
from support.rabbitmq import RabbitMQNode

__all__ = [
    "ANSWER_SECONDS",
    "Bindings",
    "Statuses",
    "Violation",
    "World",
    "slowness",
    "watched",
]

T = TypeVar("T")

_SLOWEST = 5.0
"""What bounds are multiplied with at most."""

ANSWER_SECONDS = 5.0
"""Within which `/healthz` has to answer: the time-out of the chart's liveness probe."""

_POLL_SECONDS = 0.25
_LULL_SECONDS = {"none": 0.0, "noticed": 2.0, "settled": 6.0}
_SHOWN_SECONDS = 30.0
"""How long a loss or a block may go unshown while nothing else happens."""

Statuses = Mapping[str, Mapping[str, Any]]
Bindings = Mapping[str, Sequence[str]]
"""Of each binding everything that is in it, by name."""


class Violation(AssertionError):  # noqa: N818 - what does not hold, in its text
    """Something that must hold does not."""


def slowness() -> float:
    """Return how many times longer things may take on this machine now, 1 where it is idle.

    A machine on which ten programs want each processor gives each a tenth of it; the broker and the
    API server wait no less than Springline.
    """
    wanted = os.getloadavg()[0] / (os.cpu_count() or 1)
    return min(max(wanted, 1.0), _SLOWEST)


class World(abc.ABC):
    """One Springline among things that go wrong. Everything here runs in one event loop."""

    bound: float
    """Seconds after which everything has to hold again, on an idle machine."""

    def __init__(
        self, directory: Path, node: RabbitMQNode, links: Links, *, namespace: str, bug: str = ""
    ) -> None:
        """`bug` is a defect to plant into Springline."""
        assert bug in ("", *BUGS)
        self.directory = directory
        self.node = node
        self.links = links
        ways = zip((*BROKERS, *CONSOLES), (*self.ways, *self.ways_to_console), strict=True)
        self.declared = Declared(ports=dict(ways), namespace=namespace)
        self.clock: WallClock | None = None
        self.no_clock = ""
        """Why its process has no clock that can be set, if so."""
        try:
            self.clock = WallClock(directory)
        except faketime.FaketimeMissing as error:
            self.no_clock = str(error)
        self.left_out: Counter[str] = Counter()
        """Faults by their kinds that were drawn and could not be done."""
        self.asked = Asked()
        self.bug = bug
        self.most: Census | None = None
        """What Springline's process may have."""
        self.complaints: list[str] = []
        """What did not hold while faults went on."""
        self.watching: asyncio.Future[None] | None = None
        """Who looks whether it answers."""
        self._must_answer = False
        self._turn = 0

    @property
    def ways(self) -> tuple[int, int]:
        """The ports at which the broker speaks AMQP: its own, and that of the link."""
        return self.node.amqp_port, self.links[0].port

    @property
    def ways_to_console(self) -> tuple[int, int]:
        """The same for its management interface."""
        return self.node.http_port, self.links[1].port

    # --- Springline's process

    @property
    def program_environment(self) -> dict[str, str]:
        """What the process is started with."""
        clock = dict(self.clock.environment) if self.clock is not None else {}
        bug = {"CHAOS_BUG": self.bug} if self.bug else {}
        return {**clock, **bug, "CHAOS_CENSUS": self.asked.address}

    @property
    @abc.abstractmethod
    def output(self) -> str:
        """Everything that the process has written."""

    @property
    @abc.abstractmethod
    def pid(self) -> int:
        """Of the process."""

    @property
    @abc.abstractmethod
    def is_running(self) -> bool:
        """Whether there is a process, frozen or not."""

    @abc.abstractmethod
    async def launch(self) -> None:
        """Start the process, or let a frozen one go on; it need not answer yet."""

    @abc.abstractmethod
    async def end(self, *, orderly: bool) -> None:
        """End the process, and return when it has ended; that it fails is a violation."""

    @abc.abstractmethod
    async def freeze(self) -> None:
        """Freeze the process."""

    async def springline(self) -> None:
        """Have the process run, and return when it answers."""
        if not self.is_running:
            await self.launch()
            self.most = None
        await self.launch()
        if not await self.until(self._answers, 60.0 * slowness()):
            raise Violation(f"Springline does not answer\n{self.output[-3000:]}")
        self._must_answer = True

    def excuse(self) -> None:
        """Take in that the process is about to be frozen or ended."""
        self._must_answer = False
        self._turn += 1

    async def _answers(self) -> bool:
        """Whether it can be asked, and says that it is well: a server may listen only later."""
        with contextlib.suppress(OSError):
            await to_its_end(self.asked.census, timeout=ANSWER_SECONDS)
            return not await self.healthy()
        return False

    async def healthy(self) -> str:
        """Return what is wrong with its health, within `ANSWER_SECONDS`; empty for nothing."""
        try:
            await to_its_end(self.asked.census, timeout=ANSWER_SECONDS)
        except OSError as error:
            return f"the event loop did not answer within {ANSWER_SECONDS:g} s: {error!r}"
        return ""

    async def watch_health(self) -> None:
        """Look again and again whether it answers, until cancelled; complain where it does not.

        Unless it waited for a processor for half of that time: then it is the machine.
        """
        while True:
            if self._must_answer:
                await self._ask_for_health(self._turn)
            await asyncio.sleep(2 * _POLL_SECONDS)

    async def _ask_for_health(self, turn: int) -> None:
        waited = self._waited_for_processor()
        wrong = await self.healthy()
        if wrong and self._turn == turn:
            with contextlib.suppress(OSError):  # what it waits now is counted afterwards
                await self.census()
        if wrong and self._turn == turn:
            waited = self._waited_for_processor() - waited
            if waited < ANSWER_SECONDS / 2:
                self.complaints.append(wrong)

    def _waited_for_processor(self) -> float:
        """Return how many seconds the thread of its event loop has waited for one, in all."""
        try:
            text = Path(f"/proc/{self.pid}/schedstat").read_text(encoding="ascii")
        except OSError:
            return 0.0
        return int(text.split()[1]) / 1e9

    async def census(self) -> Census:
        """Return what the process has now."""
        return await to_its_end(self.asked.census, timeout=60.0)

    # --- what is declared

    @abc.abstractmethod
    async def put(self, document: Mapping[str, Any]) -> None:
        """Declare an object, or make it what the document says."""

    @abc.abstractmethod
    async def remove(self, document: Mapping[str, Any]) -> None:
        """Declare an object no longer. Idempotent."""

    @abc.abstractmethod
    async def put_all(self) -> None:
        """Declare what is to be declared, and nothing else."""

    @abc.abstractmethod
    async def statuses(self) -> Statuses:
        """Return the status of each connection. Raises `OSError` where it cannot be read."""

    @abc.abstractmethod
    async def odd_statuses(self, statuses: Statuses) -> list[str]:
        """Say what else is wrong with them."""

    @abc.abstractmethod
    async def binding_password(self, name: str) -> str | None:
        """Return the password that applications are given by that name."""

    @abc.abstractmethod
    async def bindings(self) -> Bindings:
        """Return every binding there is, whatever it is of, and what looks like a part of one."""

    @abc.abstractmethod
    async def shown_texts(self) -> Mapping[str, str]:
        """Return everything that Springline shows but its log, by where."""

    # --- the broker

    async def at_broker(self, act: Callable[[], T]) -> T:
        """Do something as its administrator; it has to run for that."""
        await self.broker()
        return await to_its_end(act)

    async def broker(self) -> None:
        """Have the broker run."""
        await to_its_end(self.node.resume)
        await to_its_end(self.node.start)

    def grant(self, vhost: str) -> None:
        """Let every user into a virtual host, which there is afterwards. Idempotent."""
        node = self.node
        node.add_vhost(vhost)
        node.start_vhost(vhost)
        with contextlib.suppress(ErlangError):  # there is none to take away
            node.set_vhost_limit(vhost, None)
        for user in USERS:
            node.set_permissions(user, vhost)

    def grant_all(self) -> None:
        """Let every user into every virtual host. Idempotent."""
        for vhost in VHOSTS:
            self.grant(vhost)

    def know(self, user: str) -> None:
        """Make a user what is declared. Idempotent."""
        node, password = self.node, self.declared.passwords[user]
        try:
            node.change_password(user, password)
        except ErlangError:
            node.add_user(user, password, tags=("monitoring",))  # who may read of alarms
        node.set_user_limit(user, None)

    async def ask_console(self, path: str, user: str) -> Answer:
        """Ask the management interface as a user with the declared password.

        Raises `OSError` where it does not answer.
        """
        return await to_its_end(
            console.ask, self.node.http_port, path, user, self.declared.passwords[user]
        )

    async def held(self) -> list[Held]:
        """Return the broker's connections."""
        return await to_its_end(self.node.connections)

    # --- waiting

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float) -> bool:
        """Wait until something holds, and return whether it does."""
        deadline = time.monotonic() + seconds
        while not await holds():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    async def lull(self, wait: str) -> None:
        """Wait a short time for what a fault shows; that nothing does is as good."""
        before = await self._readiness()
        if wait == "noticed":
            await self.until(lambda: self._differs(before), _LULL_SECONDS[wait])
        elif wait == "settled":
            await self.until(self._is_well, _LULL_SECONDS[wait])

    async def _readiness(self) -> dict[str, tuple[str, str]]:
        with contextlib.suppress(OSError):
            found = await self.statuses()
            return {name: condition(each, "Ready") for name, each in found.items()}
        return {}

    async def _differs(self, before: Mapping[str, tuple[str, str]]) -> bool:
        return await self._readiness() != before

    async def _is_well(self) -> bool:
        found = await self._readiness()
        wanted = self.declared.expected()
        return all(
            found.get(name, ("", ""))[0] == each.conditions["Ready"][0]
            for name, each in wanted.items()
            if "Ready" in each.conditions
        )

    @property
    def can_show(self) -> bool:
        """Whether Springline runs, and can write what it has to say."""
        return self._must_answer

    @property
    def direct(self) -> list[str]:
        """The connections that no link is in the way of."""
        declared, ports = self.declared, (self.node.amqp_port, self.node.http_port)
        return [
            name
            for name, each in declared.connections.items()
            if not each.broken and declared.brokers[each.broker] in ports
        ]

    async def must_become(
        self, what: str, names: Sequence[str], is_so: Callable[[Mapping[str, Any]], bool]
    ) -> None:
        """Complain unless status becomes so while nothing else happens."""
        if not self.can_show:
            return
        found: Statuses = {}

        async def shows() -> bool:
            nonlocal found
            with contextlib.suppress(OSError):
                found = await self.statuses()
                return all(is_so(found.get(name, {})) for name in names)
            return False

        if not await self.until(shows, _SHOWN_SECONDS * slowness()) and found:
            wrong = [
                f"{name} is not shown as {what}: {_told(found.get(name, {}))}"
                for name in names
                if not is_so(found.get(name, {}))
            ]
            self.complaints += wrong

    async def must_publish(self, user: str) -> None:
        """Complain unless applications get a user's password while nothing else happens."""
        declared = self.declared.connections
        names = [
            each
            for each in self.direct
            if declared[each].binding and self.declared.user_of(declared[each].secret) == user
        ]
        if not self.can_show:
            return
        for name in names:

            async def is_published(binding: str = declared[name].binding) -> bool:
                return await self.binding_password(binding) == self.declared.passwords[user]

            if not await self.until(is_published, _SHOWN_SECONDS * slowness()):
                self.complaints.append(f"the binding of {name} was to have the new password")

    async def put_new_password(self, user: str) -> None:
        """Change a password, at the broker first."""
        self.declared.passwords[user] = secret_text()
        password = self.declared.passwords[user]
        await self.at_broker(lambda: self.node.change_password(user, password))
        await self.put(self.declared.secret(user))

    # --- the end of all faults

    async def heal(self) -> None:
        """Mend everything that faults have broken, and declare what is to be."""
        for link in self.links:
            await link.become("pass")
        if self.clock is not None:
            self.clock.set(0)
        await self.broker()
        await to_its_end(self._mend_broker)
        await self.put_all()
        await self.springline()

    def _mend_broker(self) -> None:
        self.node.clear_alarm("memory")
        self.node.clear_alarm("disk")
        for user in USERS:
            self.know(user)
        self.grant_all()

    async def renewed(self) -> None:
        """Replace Springline by one that has just been started, and mend everything."""
        self.excuse()
        await self.end(orderly=False)
        self.most = None
        self.complaints.clear()
        self.declared.reset()
        await self.heal()


@contextlib.asynccontextmanager
async def watched(world: World) -> AsyncIterator[None]:
    """Have everything run, and somebody look whether Springline answers; at the end it is ended."""
    world.watching = asyncio.ensure_future(world.watch_health())
    try:
        await world.heal()
        yield
    finally:
        world.watching.cancel()
        await asyncio.wait({world.watching})
        world.excuse()
        await world.end(orderly=False)


def condition(status: Mapping[str, Any], kind: str) -> tuple[str, str]:
    """Return status and reason of a condition; empty where it is not told."""
    for each in status.get("conditions") or ():
        if each["type"] == kind:
            return each["status"], each["reason"]
    return "", ""


def _told(status: Mapping[str, Any]) -> str:
    """Return the conditions in few words."""
    conditions = status.get("conditions") or ()
    return ", ".join(f"{each['type']} {each['status']} {each['reason']}" for each in conditions)
