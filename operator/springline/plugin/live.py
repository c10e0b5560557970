"""Connections as they change: a table on a terminal, a line for each change elsewhere."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol, TextIO, assert_never

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from springline import shutdown
from springline.api.times import rfc3339
from springline.plugin import columns
from springline.plugin.account import Tone
from springline.plugin.connection import Connection
from springline.plugin.errors import PluginError
from springline.plugin.following import Changed, Deleted, Interrupted, Listed, News
from springline.standalone.table import FittingTable

__all__ = ["Board", "Lines", "Table", "until_stopped"]

_REFRESH_SECONDS = 0.5
_RECENT: Final = 6
_FEWEST_LINES: Final = 3
_STYLES: Final[dict[Tone, str]] = {
    "good": "green",
    "bad": "red",
    "notice": "yellow",
    "faint": "dim",
    "": "",
}


class Board:
    """What is known of the connections, and what of that is new to a person."""

    def __init__(self) -> None:
        self.problem = ""
        """Why nothing is heard of now; empty while all is well."""
        self._known: dict[tuple[str, str], Connection] = {}

    @property
    def connections(self) -> list[Connection]:
        """All of them, by namespace and name."""
        return [self._known[key] for key in sorted(self._known)]

    def take(self, news: News) -> list[str]:
        """Take news in, and return a sentence for each change that is worth one."""
        match news:
            case Listed(documents):
                now = {_key(each): each for each in map(Connection, documents)}
                gone = [each for key, each in self._known.items() if key not in now]
                said = ["followed again"] if self.problem else []
                self.problem = ""
                said += [self._went(each) for each in gone]
                return said + [said for each in now.values() for said in self._changed(each)]
            case Changed(document):
                return self._changed(Connection(document))
            case Deleted(document):
                return [self._went(Connection(document))]
            case Interrupted(problem):
                self.problem = problem
                return [f"not followed: {problem}"]
            case _:
                assert_never(news)

    def _changed(self, connection: Connection) -> list[str]:
        before = self._known.get(_key(connection))
        self._known[_key(connection)] = connection
        sentence = _sentence(connection)
        return [] if before is not None and _sentence(before) == sentence else [sentence]

    def _went(self, connection: Connection) -> str:
        self._known.pop(_key(connection), None)
        return f"{_where(connection):<28}  deleted"


class Screen(Protocol):
    """Where it is shown."""

    def show(self, board: Board, said: Sequence[str]) -> None:
        """Show what there is, and what is new."""

    async def run(self) -> None:
        """Keep it up to date until cancelled."""


class Lines:
    """One line for each change: for pipes and files."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def show(self, board: Board, said: Sequence[str]) -> None:  # noqa: ARG002 - the table shows it
        for each in said:
            self._write(f"{rfc3339(datetime.now(UTC))}  {each}")

    async def run(self) -> None:
        await asyncio.Event().wait()


class Table:
    """A table that is drawn anew, with what is wrong and what happened last below it."""

    def __init__(
        self,
        out: TextIO,
        *,
        namespaces: bool,
        wide: bool,
        is_seen: Callable[[], bool] = lambda: True,
    ) -> None:
        """A picture is drawn only if the one before `is_seen`."""
        self._out = out
        self._is_seen = is_seen
        self._namespaces = namespaces
        self._wide = wide
        self._board = Board()
        self._recent: deque[str] = deque(maxlen=_RECENT)

    def show(self, board: Board, said: Sequence[str]) -> None:
        # What is there at the start is no news to whoever sees the table.
        if self._board is board:
            self._recent.extend(f"{rfc3339(datetime.now(UTC))}  {each}" for each in said)
        self._board = board

    async def run(self) -> None:
        console = Console(file=self._out)
        live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        with live:
            while True:
                if self._is_seen():
                    picture = self.picture(console.height, now=datetime.now(UTC))
                    live.update(picture, refresh=True)
                await asyncio.sleep(_REFRESH_SECONDS)

    def picture(self, height: int, *, now: datetime) -> RenderableType:
        """Return what is to be seen on so many lines; those that are not Ready come first."""
        connections = self._board.connections
        below = [Text(each, style="yellow") for each in columns.explanations(connections)]
        below = below[: max(height // 3, _FEWEST_LINES)]
        if self._board.problem:
            below.append(Text(f"not followed: {self._board.problem}", style="red"))
        below += [Text(each, style="dim") for each in self._recent]
        room = max(height - len(below) - 2, _FEWEST_LINES)
        if len(connections) > room:
            connections.sort(key=lambda each: each.is_ready)
            hidden = connections[room:]
            ready = sum(each.is_ready for each in hidden)
            below.insert(0, Text(f"… and {len(hidden)} more, {ready} of them Ready", style="dim"))
        elif not connections:
            below.insert(0, Text("there is no BrokerConnection", style="dim"))
        header = columns.header(namespaces=self._namespaces, wide=self._wide)
        rows = [self._row(each, header, now) for each in connections[:room]]
        return Group(FittingTable(header, rows, left_out_first=columns.LEFT_OUT_FIRST), *below)

    def _row(self, connection: Connection, header: Sequence[str], now: datetime) -> list[Text]:
        cells = columns.row(connection, now=now, namespaces=self._namespaces, wide=self._wide)
        tones = columns.tones(connection)
        return [
            Text(cell, style=_STYLES[tones.get(column, "")])
            for column, cell in zip(header, cells, strict=True)
        ]


async def until_stopped(
    all_news: AsyncGenerator[News, None], screen: Screen, unread: Awaitable[None]
) -> None:
    """Show the news until a signal, such as Ctrl-C, asks for the end.

    Raises what `unread` raises, once nobody reads what is shown any more.
    """
    board = Board()

    async def take() -> None:
        async with contextlib.aclosing(all_news):
            async for news in all_news:
                screen.show(board, board.take(news))

    async def read() -> None:
        await unread

    with shutdown.on_signal(asyncio.Event()) as stopping:
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(take(), name="watch/news"),
                    tasks.create_task(screen.run(), name="watch/screen"),
                    tasks.create_task(read(), name="watch/output"),
                ]
                await stopping.wait()
                for task in running:
                    task.cancel()
        except* (PluginError, OSError) as group:
            problem = group.exceptions[0]
        else:
            return
    raise problem  # as it is, for those who say what it means


def _sentence(connection: Connection) -> str:
    """Say how a connection is; it changes only with what a person would call a change."""
    ready, blocked = connection.readiness, connection.condition("Blocked")
    said = connection.state or "no status"
    if said != "Suspended":
        said += f", Ready {ready.status or 'Unknown'}"
    if connection.is_blocked:
        said += f", blocked ({blocked.reason})"
    if ready.reason and ready.status != "True":
        said += f": {ready.reason}: {ready.message}"
    return f"{_where(connection):<28}  {said}"


def _where(connection: Connection) -> str:
    return f"{connection.namespace}/{connection.name}"


def _key(connection: Connection) -> tuple[str, str]:
    return connection.namespace, connection.name
