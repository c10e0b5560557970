"""Output that nobody may be reading: a bounded queue, and a thread that writes.

A pager, Ctrl-S on a terminal or a collector that hangs lets a write wait for ever. On the event
loop that would keep heartbeats and signals waiting, too. So whoever has something to say puts it
here and goes on; the order is kept, what does not fit is dropped and counted, and when there is
room again a line says how much that was.

It knows nothing of what is said, nor of logging.
"""

import contextlib
import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO, cast

__all__ = ["FINISH_SECONDS", "MOST_OCTETS", "Outlet", "Output"]

MOST_OCTETS: Final = 8 * 1024 * 1024
"""How much may wait to be written: some 40,000 lines."""

FINISH_SECONDS: Final = 2.0
"""How long the end of a process waits for what is queued to be written."""

_CHUNK_OCTETS: Final = 64 * 1024


class Outlet:
    """Writes to a file descriptor, in order. All methods return at once, but for `finish`."""

    def __init__(
        self,
        descriptor: int,
        *,
        name: str,
        told: Callable[[int], bytes],
        most: int = MOST_OCTETS,
        on_broken: Callable[[OSError], object] = lambda _: None,
    ) -> None:
        """`told` says how many were dropped, in the place where they would have been.

        It is called by the thread that writes, and so is `on_broken`, once, when nothing can be
        written any more.
        """
        self._descriptor = descriptor
        self._name = name
        self._told = told
        self._most = most
        self._on_broken = on_broken
        self._changed = threading.Condition()
        self._queue: deque[bytes | int] = deque()
        """What is to be written; a number stands for so many that were dropped."""
        self._octets = 0
        """How much of it there is, with what is just being written."""
        self._missing = 0
        """How many were dropped since the last that was taken."""
        self._dropped = 0
        self._is_writing = False
        self._is_broken = False
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """How many were dropped since the start."""
        return self._dropped

    @property
    def is_idle(self) -> bool:
        """Whether everything that was taken is written."""
        with self._changed:
            return self._is_done

    @property
    def _is_done(self) -> bool:
        return self._is_broken or not (self._queue or self._is_writing or self._missing)

    def put(self, data: bytes) -> None:
        """Have this written after all that was put before, or drop it where there is no room."""
        with self._changed:
            # Once something was dropped, the next is taken only when there is room for many.
            room = self._most // 2 if self._missing else self._most
            # What alone is longer than all that fits is taken if nothing else is there.
            if self._is_broken or (self._octets and self._octets + len(data) > room):
                self._missing += not self._is_broken
                self._dropped += 1
                return
            if self._missing:
                self._note_missing()
            self._queue.append(data)
            self._octets += len(data)
            self._start()
            self._changed.notify_all()

    def finish(self, *, seconds: float = FINISH_SECONDS) -> bool:
        """Wait so long for what is queued to be written, and return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_done, timeout=seconds)

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            # Where the system has no more threads, what is queued waits for the next try.
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _note_missing(self) -> None:
        self._queue.append(self._missing)
        self._missing = 0

    # --- the thread

    def _work(self) -> None:
        try:
            while True:
                self._write(self._next())
                with self._changed:
                    self._is_writing = False
                    self._changed.notify_all()
        except OSError as error:
            with self._changed:
                self._is_broken = True
                self._dropped += len(self._queue)
                self._queue.clear()
                self._changed.notify_all()
            self._on_broken(error)

    def _next(self) -> list[bytes | int]:
        """Wait for what is to be written next."""
        with self._changed:
            while not self._queue:
                if self._missing:
                    self._note_missing()
                else:
                    self._changed.wait()
            self._is_writing = True
            taken, length = [], 0
            while self._queue and length < _CHUNK_OCTETS:
                each = self._queue.popleft()
                length += len(each) if isinstance(each, bytes) else 0
                taken.append(each)
            return taken

    def _write(self, taken: list[bytes | int]) -> None:
        data = b"".join(each if isinstance(each, bytes) else self._told(each) for each in taken)
        _write_all(self._descriptor, data)
        with self._changed:
            self._octets -= sum(len(each) for each in taken if isinstance(each, bytes))


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            # Whoever shares a terminal or a pipe with us may have made it one that does not wait.
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


class Output:
    """A text stream that is written to without waiting, where it has a descriptor.

    Any other is in memory, and is written to as it is.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        name: str,
        told: Callable[[int], str],
        on_broken: Callable[[OSError], object] = lambda _: None,
    ) -> None:
        """`told` says in a line how many were dropped. The thread that writes calls both."""
        self._stream = stream
        self._outlet: Outlet | None = None
        descriptor = _descriptor(stream)
        if descriptor is not None:
            stream.flush()
            self._outlet = Outlet(
                descriptor,
                name=name,
                told=lambda count: self.encoded(f"{told(count)}\n"),
                on_broken=on_broken,
            )

    @property
    def is_idle(self) -> bool:
        """Whether everything is written."""
        return self._outlet is None or self._outlet.is_idle

    @property
    def dropped(self) -> int:
        """How many were dropped since the start."""
        return self._outlet.dropped if self._outlet is not None else 0

    def write(self, text: str) -> None:
        """Have a text written. Raises `OSError` only for a stream without a descriptor."""
        if self._outlet is not None:
            self._outlet.put(self.encoded(text))
        else:
            self._stream.write(text)
            self._stream.flush()

    def line(self, text: str) -> None:
        """Have a line written, as `write` does."""
        self.write(f"{text}\n")

    def finish(self, *, seconds: float = FINISH_SECONDS) -> bool:
        """Wait so long for what is queued to be written, and return whether it is."""
        return self._outlet is None or self._outlet.finish(seconds=seconds)

    def as_file(self) -> TextIO:
        """Return the same as a file, for a library that writes to one."""
        return self._stream if self._outlet is None else cast("TextIO", _File(self, self._stream))

    def encoded(self, text: str) -> bytes:
        """Return a text as the stream would have it."""
        return text.encode(self._stream.encoding or "utf-8", "backslashreplace")


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None


class _File(io.TextIOBase):
    """What is written between two calls of `flush` is written as a whole, or not at all."""

    def __init__(self, output: Output, stream: TextIO) -> None:
        super().__init__()
        self._output = output
        self._like = stream
        self._parts: list[str] = []

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        return self._like.encoding or sys.getdefaultencoding()

    def isatty(self) -> bool:
        return self._like.isatty()

    def fileno(self) -> int:
        return self._like.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._output.write("".join(parts))
