"""Output that nobody reads is bounded, keeps nobody waiting, and says what is missing."""

import asyncio
import fcntl
import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from springline.outlets import Outlet, Output
from support.waiting import eventually

SMALL = 4096


@dataclass
class Pipe:
    """A pipe of the smallest size, of which the test reads as much as it likes."""

    reading: int
    writing: int

    def read(self, count: int = 1 << 20) -> bytes:
        try:
            return os.read(self.reading, count)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        for each in (self.reading, self.writing):
            if each >= 0:
                os.close(each)
        self.reading = self.writing = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(*os.pipe())
    fcntl.fcntl(pipe.writing, fcntl.F_SETPIPE_SZ, SMALL)
    os.set_blocking(pipe.reading, False)
    yield pipe
    # Whoever still writes gets an error, so that no thread outlives the test.
    pipe.close()


def an_outlet(pipe: Pipe, *, most: int = 64 * 1024) -> Outlet:
    return Outlet(
        pipe.writing, name="test", told=lambda count: b"%d are missing\n" % count, most=most
    )


async def everything(pipe: Pipe, outlet: Outlet) -> bytes:
    """Read until all is written and read."""
    read = b""

    def more() -> bool:
        nonlocal read
        idle = outlet.is_idle
        found = pipe.read()
        read += found
        return idle and not found

    await eventually(more, what="everything is written")
    return read


async def test_what_is_put_is_written_in_order(pipe: Pipe) -> None:
    outlet = an_outlet(pipe)
    for number in range(1000):
        outlet.put(b"%d\n" % number)
    assert (await everything(pipe, outlet)).split() == [b"%d" % each for each in range(1000)]
    assert outlet.dropped == 0


async def test_what_does_not_fit_is_dropped_counted_and_told_where_it_is_missing(
    pipe: Pipe,
) -> None:
    outlet = an_outlet(pipe, most=SMALL)
    for number in range(10_000):
        outlet.put(b"%05d\n" % number)  # returns, although nobody reads
    assert outlet.dropped > 8000
    following = missing = 0
    for line in (await everything(pipe, outlet)).splitlines():
        if line.endswith(b" are missing"):
            missing += int(line.split()[0])
            following += int(line.split()[0])
        else:
            assert int(line) == following
            following += 1
    assert following == 10_000
    assert missing == outlet.dropped
    dropped = outlet.dropped
    outlet.put(b"again\n")
    assert await everything(pipe, outlet) == b"again\n"
    assert outlet.dropped == dropped


async def test_once_something_was_dropped_the_next_waits_for_room_for_many(pipe: Pipe) -> None:
    """Otherwise each line that is read would make room for one more, and one more remark."""
    outlet = an_outlet(pipe, most=SMALL)
    read = b""

    def dropping() -> bool:
        nonlocal read
        for _ in range(5):
            outlet.put(b"x" * 99 + b"\n")
        read += pipe.read(100)
        return outlet.dropped > 100

    await eventually(dropping, what="it drops while somebody reads slowly")
    read += await everything(pipe, outlet)
    assert read.count(b"are missing") < outlet.dropped / 5


async def test_without_a_thread_it_waits_for_one(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has no more, whoever has something to say goes on all the same."""

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    outlet = an_outlet(pipe)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        outlet.put(b"one\n")
    outlet.put(b"two\n")
    assert await everything(pipe, outlet) == b"one\ntwo\n"


async def test_the_end_waits_for_what_is_queued_but_not_for_ever(pipe: Pipe) -> None:
    outlet = an_outlet(pipe)
    assert outlet.finish(seconds=0)
    outlet.put(b"x" * SMALL * 2)
    assert not outlet.finish(seconds=0.1)
    reading = asyncio.ensure_future(everything(pipe, outlet))
    assert await asyncio.to_thread(outlet.finish, seconds=60)
    assert len(await reading) == SMALL * 2


async def test_a_pipe_that_was_made_one_that_does_not_wait_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    outlet = an_outlet(pipe)
    outlet.put(b"x" * SMALL * 3)
    assert len(await everything(pipe, outlet)) == SMALL * 3


async def test_what_nobody_will_read_any_more_is_given_up(pipe: Pipe) -> None:
    told: list[OSError] = []
    outlet = Outlet(pipe.writing, name="test", told=lambda _: b"", on_broken=told.append)
    os.close(pipe.reading)
    pipe.reading = -1
    outlet.put(b"one\n")
    await eventually(lambda: told, what="it is told")
    outlet.put(b"two\n")
    assert outlet.finish(seconds=0)
    assert outlet.is_idle
    assert [type(each) for each in told] == [BrokenPipeError]


def test_a_stream_in_memory_is_written_to_as_it_is() -> None:
    stream = io.StringIO()
    output = Output(stream, name="test", told=str)
    output.line("größe")
    assert stream.getvalue() == "größe\n"
    assert output.as_file() is stream
    assert output.is_idle


async def test_a_stream_has_its_own_encoding_and_a_file_writes_as_a_whole(pipe: Pipe) -> None:
    with io.TextIOWrapper(io.FileIO(pipe.writing, "w", closefd=False), "ascii") as stream:
        output = Output(stream, name="test", told=str)
        output.line("größe")
        file = output.as_file()
        file.write("a")
        file.write("b\n")
        file.flush()
        assert file.encoding == "ascii"
        assert not file.isatty()
        await eventually(lambda: output.is_idle)
    assert pipe.read() == b"gr\\xf6\\xdfe\nab\n"
