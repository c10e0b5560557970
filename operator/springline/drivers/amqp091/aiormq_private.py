"""aiormq's handshake, bent where it loses or hides what Springline reports. It decides nothing.

aiormq sends the protocol header, reads and decodes the frames of the open handshake, holds them to
their order and cleans up after a failure. What it is told and what it tells goes through an
`Owner`. On the open connection it has no part: its reader, its writer, their queue and their locks
take more memory than the rest of a session, for channels that a session does not have. No other
file touches what is private to aiormq:

    what of aiormq                         how it is used here
    Connection._credentials_class          replaced: hands Start over
    Connection._rpc                        replaced: hands the rest of the handshake over
    Connection.create_task                 replaced: names its task, and begins none that is to read
    what it does with its writer           replaced: writes at once, has no part in the end

`PARTS` has the reasons. They belong to the 7.2 release line, which pyproject.toml pins;
tests/unit/drivers/amqp091/test_aiormq_private.py asks the installed aiormq for each of them.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, NamedTuple, Protocol, cast

import aiormq
from aiormq.abc import TaskType
from aiormq.auth import AuthMechanism
from aiormq.connection import FrameReceiver
from pamqp import commands as spec
from pamqp.base import Frame
from pamqp.frame import FrameTypes
from yarl import URL

from springline.drivers.amqp091 import frames
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
        "Connection._Connection__close_writer",
        ("Connection.connect",),
        "It waits without a limit for TLS to say goodbye or for a peer that does not read, in the"
        " middle of our deadline. The methods of the writer that it is given bound that.",
    ),
    Part(
        "Connection.create_task",
        ("Connection.connect",),
        "Its last two begin aiormq's reader and writer. The reader leaves Close-Ok to a writer that"
        " it then cancels, keeps Blocked to itself, loses the class and method of a Close, and"
        " fails no update-secret that waits.",
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

# What the steps of aiormq's `connect` wait for; nothing answers the others.
_ANSWERS: Final[dict[type[Frame], type[Frame]]] = {
    spec.Connection.StartOk: spec.Connection.Tune,
    spec.Connection.Open: spec.Connection.OpenOk,
}


class Owner(Protocol):
    """Who decides. No call waits."""

    def handshake_frame(self, frame: FrameTypes) -> None:
        """Take in a frame of the handshake and answer it. What it raises ends the attempt."""

    def handshake_failed(self, error: Exception) -> None:
        """Handle what ends the attempt, as long as something can be sent."""


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
        return self._line.transport


class _Connected(aiormq.TransportFactory):
    """Gives aiormq a line that is connected already."""

    def __init__(self, line: Line[FrameReader]) -> None:
        self._line = line

    async def create(
        self,
        url: URL,  # noqa: ARG002 - aiormq's; where the line goes is decided
        **kwargs: Any,  # noqa: ARG002 - aiormq's own idea of TLS
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return cast("asyncio.StreamReader", self._line.reader), cast(
            "asyncio.StreamWriter", Outlet(self._line)
        )

    def let_go(self) -> None:
        """Let go of the line, which was taken or is not wanted any more."""
        del self._line


class _NotBegun:
    """In place of a task that is not begun, and so never ends."""

    __slots__ = ()

    def add_done_callback(self, callback: object) -> None:
        """Let go of it. A future would keep aiormq's connection, which keeps the future."""


_NOT_BEGUN: Final = _NotBegun()


class AiormqConnection(aiormq.Connection):
    """One open handshake, made by `connect`; only `Owner.handshake_frame` sends anything in it.

    Drop it when it is over: what aiormq keeps for channels is a multiple of what the rest needs.
    """

    # What is ours has two underscores, so that no attribute of another aiormq can have its name.
    __slots__ = ("__connected", "__frames", "__is_open", "__owner", "__task_name")

    def __init__(self, owner: Owner, line: Line[FrameReader], *, task_name: str) -> None:
        connected = _Connected(line)
        super().__init__(_URL, transport_factory=connected)
        self.__connected = connected
        self.__owner = owner
        self.__frames = line.reader
        self.__task_name = task_name
        self.__is_open = False

    def let_go(self) -> None:
        """Let go of the owner and its line, once `connect` has ended, whatever came of it.

        Where aiormq's objects refer to each other, as after a failure, they stay until the garbage
        collector comes by, and what they refer to would stay with them.
        """
        self.__connected.let_go()
        del self.__owner, self.__frames

    # What aiormq calls before and in its `connect`

    def create_task(self, coro: Coroutine[Any, None, Any]) -> TaskType:
        """Begin the handshake, under the connection's name; nothing of what would follow it."""
        if self.__is_open:
            coro.close()
            return cast("TaskType", _NOT_BEGUN)
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
        frame_receiver: FrameReceiver,  # noqa: ARG002 - aiormq's; it reads Start alone
        wait_response: bool = True,  # noqa: ARG002 - aiormq's; the request says it
    ) -> FrameTypes | None:
        answer = _ANSWERS.get(type(request))
        if answer is None:
            return None
        while True:
            try:
                # aiormq would take it apart in three pieces and put it together again.
                frame = frames.unmarshalled(await self.__frames.read_frame())
                self.__owner.handshake_frame(frame)
            except Exception as error:
                self.__owner.handshake_failed(error)
                raise
            if isinstance(frame, answer):
                break
        self.__is_open = isinstance(frame, spec.Connection.OpenOk)
        return frame
