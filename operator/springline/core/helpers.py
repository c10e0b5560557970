"""The helpers of one session: they do the waiting, the session does the deciding.

There are five roles, and at most one helper of each: an attempt, a timer for the next one, a
prober, the tries of a renewal, and one that follows the age of the credential. Each reads a stream
of messages (streams.py) and puts them into the session's inbox as they come. A helper is a task of
the session's task group while its stream has something to do, so none outlives that, and a timer
while it pauses: of ten thousand sessions almost all do nothing but that.
"""

import asyncio
import enum
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator

from springline.core import ports
from springline.core.inbox import Inbox
from springline.core.messages import Message
from springline.core.pauses import Pause
from springline.core.values import SessionKey

__all__ = ["Helpers", "Role", "Source", "Turns"]


class Role(enum.Enum):
    """What a helper waits for. The value begins the name of its task."""

    TIMER = "timer"
    ATTEMPT = "attempt"
    PROBER = "prober"
    RENEWAL = "renewal"
    AGE = "lifetime"


class Turns(ABC):
    """What has something to do now and then."""

    __slots__ = ()

    @abstractmethod
    def turn(self) -> AsyncIterator[Message]:
        """Do what is to be done now, and yield what comes of it. Safe to cancel."""

    @abstractmethod
    def pause(self) -> Pause | None:
        """Return how long it is until the next turn, None if there is none."""


Source = AsyncIterator[Message] | Iterator[Message | Pause] | Turns
"""Where messages come from: what has to wait for others all the time, what only lets time pass, and
what does either by turns.
"""


class Helpers:
    """Starts and ends the helpers of one session."""

    __slots__ = ("_at_work", "_clock", "_group", "_inbox", "_key")

    def __init__(
        self,
        key: SessionKey,
        clock: ports.Clock,
        group: asyncio.TaskGroup,
        inbox: Inbox[Message],
    ) -> None:
        self._key = key
        self._clock = clock
        self._group = group
        self._inbox = inbox
        self._at_work: list[_Helper] = []

    async def start(self, role: Role, source: Source | None) -> None:
        """Have what comes of a stream put into the inbox, in the place of the role's last helper.

        None for none.
        """
        await self.drop(role)
        if source is not None:
            helper = _Helper(self, role, source)
            self._at_work.append(helper)
            helper.begin()

    def is_at_work(self, role: Role) -> bool:
        """Whether the helper of that role has not come to its end."""
        return self._find(role) is not None

    async def drop(self, role: Role) -> None:
        """End the helper of that role, if any, and return when it is gone."""
        helper = self._find(role)
        if helper is not None:
            self._at_work.remove(helper)
            await helper.drop()

    async def drop_all(self) -> None:
        """End every helper and return when they are gone."""
        while self._at_work:
            await self._at_work.pop().drop()

    def stop_timers(self) -> None:
        """Have no helper begin anything any more; the task group ends what has begun."""
        for helper in self._at_work:
            helper.stop_timer()

    def _find(self, role: Role) -> "_Helper | None":
        for helper in self._at_work:
            if helper.role is role:
                return helper
        return None

    # What helpers ask

    def put(self, message: Message) -> None:
        """Put a message into the inbox."""
        self._inbox.put(message)

    def work(self, helper: "_Helper") -> asyncio.Task[None]:
        """Return the task in which a helper follows its stream."""
        return self._group.create_task(helper.follow(), name=f"{helper.role.value}/{self._key}")

    def rest(self, helper: "_Helper", pause: Pause) -> ports.Timer:
        """Return the timer with which a helper goes on."""
        return self._clock.call_later(pause.seconds, helper.go_on, early=pause.early)

    def forget(self, helper: "_Helper") -> None:
        """Drop a helper that has come to its end."""
        if helper in self._at_work:
            self._at_work.remove(helper)


class _Helper:
    """One at work."""

    __slots__ = ("_helpers", "_source", "_task", "_timer", "role")

    def __init__(self, helpers: Helpers, role: Role, source: Source) -> None:
        self.role = role
        self._helpers = helpers
        self._source = source
        self._task: asyncio.Task[None] | None = None
        self._timer: ports.Timer | None = None

    def begin(self) -> None:
        """Begin in a later turn of the event loop: whoever starts it goes on first."""
        self._task = self._helpers.work(self)

    def go_on(self) -> None:
        """Do what is to be done now: at once where that takes no waiting, else in a task."""
        self._timer = None
        if not isinstance(self._source, Iterator):
            self.begin()
            return
        try:
            self._pass_on(self._source)
        except Exception as error:  # noqa: BLE001 - it is raised again, where it ends the session
            self._source = _Failed(error)
            self.begin()

    async def follow(self) -> None:
        """Read the stream to its end, or to the next pause."""
        source = self._source
        if isinstance(source, Iterator):
            self._pass_on(source)
            return
        async for message in source.turn() if isinstance(source, Turns) else source:
            self._helpers.put(message)
        self._rest(source.pause() if isinstance(source, Turns) else None)

    def _pass_on(self, schedule: Iterator[Message | Pause]) -> None:
        pause = None
        for message in schedule:
            if isinstance(message, Pause):
                pause = message
                break
            self._helpers.put(message)
        self._rest(pause)

    def _rest(self, pause: Pause | None) -> None:
        self._task = None
        if pause is not None:
            self._timer = self._helpers.rest(self, pause)
        else:
            self._helpers.forget(self)

    async def drop(self) -> None:
        """Come to an end, and return when that is there."""
        self.stop_timer()
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    def stop_timer(self) -> None:
        """Go on no more, if it is not at work just now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Failed(AsyncIterator[Message]):
    """A stream that ends with an exception."""

    __slots__ = ("_error",)

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __anext__(self) -> Message:
        raise self._error
