"""aiormq's connection, bent where it loses or hides what Springline reports. It decides nothing.

aiormq connects the frames to the socket, reads them, beats and cleans up after an end. What it is
told and what it tells goes through an `Owner`. No other file touches what is private to aiormq:

    what of aiormq                         how it is used here
    Connection._credentials_class          replaced: hands Start over
    Connection._rpc                        replaced: hands the rest of the handshake over
    FrameReceiver.get_frame                replaced on an open connection: hands each frame over
    what it does with its writer           replaced: writes at once, has no part in the end
    Connection.is_connection_was_stuck     replaced: two heartbeats without a frame
    Connection.heartbeat_timeout           set: what was negotiated
    Connection.close                       extended: tells that the tasks are gone
    Connection.create_task                 extended: names the tasks
    Connection.server_properties           dropped: a kilobyte of the server's prose

`PARTS` has the reasons. They belong to the 7.2 release line, which pyproject.toml pins;
tests/unit/drivers/amqp091/test_aiormq_private.py asks the installed aiormq for each of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol, cast

import aiormq
from aiormq.abc import ExceptionType, TaskType
from aiormq.auth import AuthMechanism
from aiormq.connection import FrameReceiver, ReceivedFrame
from pamqp import commands as spec
from pamqp.base import Frame
from pamqp.frame import FrameTypes
from pamqp.heartbeat import Heartbeat
from yarl import URL

from springline.drivers.amqp091.frame_reader import FrameReader
from springline.drivers.shared.line import Line

__all__ = ["PARTS", "AiormqConnection", "Outlet", "Owner", "Part"]


class Part(NamedTuple):
    """One part of aiormq that this file relies on although nobody has promised it."""

    name: str
    """A class of aiormq.connection, and the attribute."""
    used_by: tuple[str, ...]
    """Where aiormq has to use it, named in the same way, or all of this is in vain."""
    why: str


PARTS: Final = (
    Part(
        "Connection._credentials_class",
        ("Connection.connect",),
        "It is the one place that sees Start. aiormq chooses the mechanism by its URL, and knows"
        " PLAIN and EXTERNAL only.",
    ),
    Part(
        "Connection._rpc",
        ("Connection.connect",),
        "It loses the code and text of a Close and does not answer it, answers no Secure, always"
        " asks for the locale en_US, takes every limit as proposed, and takes a heartbeat that"
        " comes before Open-Ok for an error.",
    ),
    Part(
        "FrameReceiver.get_frame",
        ("FrameReceiver.__anext__",),
        "aiormq's reader leaves Close-Ok to a writer that it then cancels, keeps Blocked to"
        " itself, loses the class and method of a Close, and fails no update-secret that waits. A"
        " channel of its own costs a task, waits without a limit, and logs confirms that are late.",
    ),
    Part(
        "Connection._Connection__close_writer",
        ("Connection.connect", "Connection._Connection__writer"),
        "It waits without a limit for TLS to say goodbye or for a peer that does not read, in the"
        " middle of our deadline. The methods of the writer that it is given bound that.",
    ),
    Part(
        "Connection._Connection__check_writer",
        ("Connection._Connection__writer",),
        "A writer that is cancelled sends a Close of its own unless its writer says that it is"
        " closing. Ours always does.",
    ),
    Part(
        "Connection.is_connection_was_stuck",
        ("Connection._Connection__heartbeat", "Connection._Connection__reader"),
        "aiormq's limit is three heartbeats, computed before anything is negotiated.",
    ),
    Part(
        "Connection.heartbeat_timeout",
        ("Connection._Connection__reader", "Connection._Connection__heartbeat"),
        "aiormq takes it from the URL; it is negotiated after that.",
    ),
    Part(
        "Connection.close",
        ("Connection._on_reader_done",),
        "It is what aiormq ends with, whatever the reader has stopped at.",
    ),
    Part(
        "Connection.create_task",
        ("Connection.connect",),
        "All-tasks dumps tell connections apart by the names.",
    ),
    Part(
        "Connection.server_properties",
        ("Connection.connect",),
        "Thousands of connections would keep it.",
    ),
)

# aiormq logs frames with their payload at DEBUG, which shows passwords and tokens, and repeats at
# WARNING and ERROR what we report with our own words. Nothing of it may reach a handler, whatever
# level somebody sets on the root logger. pamqp has loggers of its own.
for _quiet in map(logging.getLogger, ("aiormq", "pamqp")):
    _quiet.setLevel(logging.CRITICAL + 1)
    _quiet.propagate = False
    _quiet.addHandler(logging.NullHandler())

# aiormq takes its settings from a URL. Ours are in the request, and secrets in no URL at all.
_URL: Final = URL("amqp://broker:5672?heartbeat=0")

_NO_PROPERTIES: Final[dict[str, Any]] = {"capabilities": {}}

# What the steps of aiormq's `connect` wait for; nothing answers the others.
_ANSWERS: Final[dict[type[Frame], type[Frame]]] = {
    spec.Connection.StartOk: spec.Connection.Tune,
    spec.Connection.Open: spec.Connection.OpenOk,
}

_NOTHING_TO_DO: Final[ReceivedFrame] = (8, 0, Heartbeat())
"""What aiormq's reader gets in place of every frame of an open connection."""

# AMQP 0-9-1 §4.2.7: "If a peer detects no incoming traffic (i.e. received octets) for two heartbeat
# intervals or longer, it should close the connection".
_GRACE_HEARTBEATS: Final = 2


class Owner(Protocol):
    """Who decides. No call waits."""

    def handshake_frame(self, frame: FrameTypes) -> None:
        """Take in a frame of the handshake and answer it. What it raises ends the attempt."""

    def handshake_failed(self, error: Exception) -> None:
        """Handle what ends the attempt, as long as something can be sent."""

    def open_frame(self, channel: int, frame: FrameTypes) -> bool:
        """Take in a frame of the open connection, and return whether another one is due."""

    def reading_ended(self, error: BaseException) -> None:
        """Handle that nothing more is read from the open connection, and why."""

    def tasks_ended(self) -> None:
        """Handle that aiormq's tasks are gone. It may come more than once."""


class Outlet:
    """What aiormq is given for a writer: it may send, and has no part in the end of the line."""

    __slots__ = ("_line",)

    def __init__(self, line: Line[FrameReader]) -> None:
        self._line = line

    def write(self, data: bytes) -> None:
        """Send, or queue where the peer does not read."""
        self._line.write(data)

    async def drain(self) -> None:
        """Wait for nothing: what aiormq sends is short."""

    def is_closing(self) -> bool:
        """Return True: there is nothing left for aiormq to say or to close."""
        return True

    def can_write_eof(self) -> bool:
        """Return False: half an end is none."""
        return False

    def write_eof(self) -> None:
        """Do nothing; nobody calls what cannot be done."""

    def close(self) -> None:
        """Drop the line, unless its end has begun."""
        if not self._line.is_ending:
            self._line.abort()

    async def wait_closed(self) -> None:
        """Wait until the line is gone, which is bounded."""
        await self._line.wait_lost()

    @property
    def transport(self) -> asyncio.WriteTransport:
        """What aiormq aborts when nothing was heard for too long."""
        return self._line.writer.transport


class _Connected(aiormq.TransportFactory):
    """Gives aiormq a line that is connected already."""

    def __init__(self, line: Line[FrameReader]) -> None:
        self._line = line

    async def create(
        self,
        url: URL,  # noqa: ARG002 - aiormq's; where the line goes is decided
        **kwargs: Any,  # noqa: ARG002 - aiormq's own idea of TLS
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return self._line.reader, cast("asyncio.StreamWriter", Outlet(self._line))


class AiormqConnection(aiormq.Connection):
    """A connection for one attempt; aiormq cannot use an object twice.

    `connect` makes the open handshake. Only `Owner.handshake_frame` sends anything in it.
    """

    # What is ours has two underscores, so that no attribute of another aiormq can have its name.
    # With slots, it stays out of a dictionary that aiormq fills to the last entry that is cheap.
    __slots__ = ("__heard_at", "__owner", "__receive", "__task_name")

    __receive: Callable[[], Awaitable[ReceivedFrame]]

    def __init__(self, owner: Owner, line: Line[FrameReader], *, task_name: str) -> None:
        super().__init__(_URL, transport_factory=_Connected(line))
        self.__owner = owner
        self.__task_name = task_name
        self.__heard_at = self.loop.time()

    def forget_server(self) -> None:
        """Drop what the server says of itself, once it is connected to."""
        self.server_properties = _NO_PROPERTIES

    # What aiormq calls before and in its `connect`

    def create_task(self, coro: Coroutine[Any, None, Any]) -> TaskType:
        """Create a task of aiormq's, under the connection's name."""
        task = super().create_task(coro)
        task.set_name(self.__task_name)
        return task

    def _credentials_class(self, start_frame: spec.Connection.Start) -> AuthMechanism:
        self.__owner.handshake_frame(start_frame)
        # For the Start-Ok that aiormq makes. The one that counts has been sent.
        return AuthMechanism.EXTERNAL

    async def _rpc(  # type: ignore[override]  # a static method there; called as self._rpc only
        self,
        request: Frame,
        writer: asyncio.StreamWriter,  # noqa: ARG002 - aiormq's; nothing is sent here
        frame_receiver: FrameReceiver,
        wait_response: bool = True,  # noqa: ARG002 - aiormq's; the request says it
    ) -> FrameTypes | None:
        answer = _ANSWERS.get(type(request))
        if answer is None:
            return None
        while True:
            try:
                _, _, frame = await frame_receiver.get_frame()
                self.__owner.handshake_frame(frame)
            except Exception as error:
                self.__owner.handshake_failed(error)
                raise
            if isinstance(frame, answer):
                break
        if isinstance(frame, spec.Connection.OpenOk):
            self.__heard_at = self.loop.time()
            self.__receive = frame_receiver.get_frame
            frame_receiver.get_frame = self.__next_frame  # type: ignore[method-assign]
        return frame

    # What aiormq calls on an open connection

    async def __next_frame(self) -> ReceivedFrame:
        """Take in one frame. aiormq's reader has nothing left to do but to call again."""
        try:
            _, channel, frame = await self.__receive()
            self.__heard_at = self.loop.time()
            if not self.__owner.open_frame(channel, frame):
                raise StopAsyncIteration  # noqa: TRY301 - it ends the reader
        except BaseException as error:
            self.__owner.reading_ended(error)
            raise
        return _NOTHING_TO_DO

    @property
    def silence_limit(self) -> int:
        """How many seconds the peer may be silent; 0 without heartbeats, for any time."""
        return _GRACE_HEARTBEATS * self.heartbeat_timeout

    @property
    def is_connection_was_stuck(self) -> bool:
        """Whether the peer has been silent for too long."""
        limit = self.silence_limit
        return limit > 0 and self.loop.time() - self.__heard_at > limit

    async def close(
        self,
        exc: ExceptionType | None = asyncio.CancelledError,
        timeout: float | None = None,
    ) -> None:
        """End aiormq's tasks, and tell that they are gone. aiormq alone calls it."""
        await super().close(exc, timeout)
        self.__owner.tasks_ended()
