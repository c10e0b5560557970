"""Files of tokens on a real file system: which are read, which are not, and what changes."""

import asyncio
import contextlib
import os
import shutil
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from springline.api.meta import Identity
from springline.core.desired import TOKEN_FILE
from springline.credentials import token_files
from springline.credentials.token_files import DirectoryOfTokens
from springline.errors import CredentialError, CredentialUnavailableError
from springline.reasons import Reason
from support import leaks
from support.hasty_clock import HastyClock
from support.volumes import Volume
from support.waiting import eventually

PLANTED = "pl4nted-t0ken"
RABBIT = Identity(TOKEN_FILE, "orders", "rabbit")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory of tokens with one file."""
    write(tmp_path / "tokens" / "orders" / "rabbit", PLANTED)
    return tmp_path / "tokens"


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


async def read(directory: Path | None, namespace: str = "orders", name: str = "rabbit") -> str:
    return (await DirectoryOfTokens(directory).read(namespace, name)).content.decode()


async def refusal(directory: Path | None, name: str = "rabbit") -> CredentialError:
    """Return why a file is not read; nothing of it may show."""
    with pytest.raises(CredentialError) as caught:
        await read(directory, name=name)
    assert PLANTED not in "".join(traceback.format_exception(caught.value))
    return caught.value


# --- which file is read


async def test_file_is_read_in_the_directory_named_like_the_namespace(directory: Path) -> None:
    write(directory / "payments" / "rabbit", "another")
    found = await DirectoryOfTokens(directory).read("orders", "rabbit")
    assert found.content.decode() == PLANTED
    assert found.path == str(directory / "orders" / "rabbit")
    assert PLANTED not in repr(found)
    assert await read(directory, namespace="payments") == "another"


async def test_version_changes_with_the_file_and_not_by_itself(directory: Path) -> None:
    tokens = DirectoryOfTokens(directory)
    first = await tokens.read("orders", "rabbit")
    assert (await tokens.read("orders", "rabbit")).version == first.version
    write(directory / "orders" / ".new", PLANTED)
    (directory / "orders" / ".new").rename(directory / "orders" / "rabbit")
    second = await tokens.read("orders", "rabbit")
    assert second.content == first.content
    assert second.version != first.version


async def test_volume_may_be_mounted_for_each_namespace(tmp_path: Path) -> None:
    Volume(tmp_path / "orders").write("rabbit", "first")
    assert await read(tmp_path) == "first"


async def test_one_volume_may_hold_all_namespaces(tmp_path: Path) -> None:
    """Its paths have the namespace in them, and so the namespace's directory is a link."""
    Volume(tmp_path / "tokens").write("orders/rabbit", "first")
    assert (tmp_path / "tokens" / "orders").is_symlink()
    assert await read(tmp_path / "tokens") == "first"


async def test_directory_may_be_a_link_itself(directory: Path) -> None:
    link = directory.with_name("current")
    link.symlink_to(directory)
    assert await read(link) == PLANTED


async def test_directory_may_be_relative(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory.parent)
    assert await read(Path("tokens")) == PLANTED


LEADING_OUT = {
    "a link to a file": ("orders/rabbit", "{elsewhere}/secret"),
    "a relative link": ("orders/rabbit", "../../elsewhere/secret"),
    "a link of the namespace": ("orders", "{elsewhere}"),
    "a link by way of another": ("orders", "../tokens/../elsewhere"),
}


@pytest.mark.parametrize(("link", "target"), LEADING_OUT.values(), ids=LEADING_OUT.keys())
async def test_link_that_leads_out_of_the_directory_is_not_followed(
    tmp_path: Path, link: str, target: str
) -> None:
    """Whoever can put a link there could have any file of the machine sent to a broker."""
    directory, elsewhere = tmp_path / "tokens", tmp_path / "elsewhere"
    for name in ("secret", "rabbit"):
        write(elsewhere / name, PLANTED)
    (directory / link).parent.mkdir(parents=True)
    (directory / link).symlink_to(target.format(elsewhere=elsewhere))
    error = await refusal(directory)
    assert error.reason is Reason.TOKEN_FILE_NOT_FOUND
    assert error.message == (
        f'file "{directory}/orders/rabbit" is a link that leads out of "{directory}"; put the '
        "token itself there"
    )


async def test_link_that_is_changed_while_the_file_is_opened_leads_nowhere_else(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it leads is looked up first, and opening the file follows no link any more."""
    write(tmp_path / "elsewhere" / "rabbit", PLANTED)
    write(directory / "orders" / "rabbit", "good")
    real = os.path.realpath

    def looked_up(path: Path, *, strict: bool) -> str:
        found = real(path, strict=strict)
        if path == directory / "orders" / "rabbit" and not (directory / "orders").is_symlink():
            shutil.rmtree(directory / "orders")
            (directory / "orders").symlink_to(tmp_path / "elsewhere")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os.path, "realpath", looked_up)
        with pytest.raises(CredentialError) as caught:
            await read(directory)
    assert "leads out of" in caught.value.message


async def test_volume_that_is_brought_up_to_date_while_a_file_is_opened_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the link led to a moment ago is gone."""
    volume = Volume(tmp_path / "orders")
    volume.write("rabbit", "first")
    real, swaps = os.path.realpath, iter(["second"])

    def looked_up(path: Path, *, strict: bool) -> str:
        found = real(path, strict=strict)
        if path.name == "rabbit":
            for content in swaps:
                volume.write("rabbit", content)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(os.path, "realpath", looked_up)
        assert await read(tmp_path) == "second"


@pytest.mark.parametrize("name", ["", "..", "../payments/rabbit", "/etc/hostname", ".hidden"])
async def test_name_that_no_declaration_can_have_is_not_even_looked_for(
    directory: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="no name of a file"):
        await read(directory, name=name)
    with pytest.raises(ValueError, match="no name of a file"):
        await read(directory, namespace=name)


# --- what cannot be read


async def test_without_a_directory_there_is_no_file() -> None:
    error = await refusal(None)
    assert error.reason is Reason.TOKEN_FILE_NOT_FOUND
    assert error.message == (
        "credentials.tokenFile names a file in the directory of tokens, and Springline was started "
        "without one; start it with --token-dir"
    )


async def test_missing_file_is_named(directory: Path) -> None:
    error = await refusal(directory, "other")
    assert error.reason is Reason.TOKEN_FILE_NOT_FOUND
    assert error.message == f'there is no file "{directory}/orders/other"; put the token there'


@pytest.mark.parametrize("made", ["nothing", "file", "dangling link"])
async def test_missing_directory_is_a_missing_file(tmp_path: Path, made: str) -> None:
    match made:
        case "file":
            write(tmp_path / "orders", PLANTED)
        case "dangling link":
            (tmp_path / "orders").symlink_to("nowhere")
        case _:
            pass
    error = await refusal(tmp_path)
    assert error.reason is Reason.TOKEN_FILE_NOT_FOUND
    assert "there is no file" in error.message


async def test_links_in_a_circle_are_told(tmp_path: Path) -> None:
    (tmp_path / "orders").symlink_to("orders")
    error = await refusal(tmp_path)
    assert error.reason is Reason.SECRET_UNREADABLE
    assert "Too many levels of symbolic links" in error.message


@pytest.mark.parametrize("kind", ["directory", "pipe"])
async def test_what_is_no_file_is_refused(directory: Path, kind: str) -> None:
    """A pipe is not waited for: nobody may ever write into it."""
    path = directory / "orders" / "other"
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    error = await refusal(directory, "other")
    assert error.reason is Reason.SECRET_MALFORMED
    assert error.message == f'file "{path}" is not a regular file; correct it'


async def test_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orders").mkdir()
    monkeypatch.chdir(tmp_path / "orders")  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("rabbit")
        error = await refusal(tmp_path)
    assert error.reason is Reason.SECRET_UNREADABLE


async def test_file_may_have_64_kib_and_no_more(directory: Path) -> None:
    path = directory / "orders" / "rabbit"
    write(path, "x" * 65536)
    assert len(await read(directory)) == 65536
    write(path, "x" * 65537)
    error = await refusal(directory)
    assert error.reason is Reason.SECRET_MALFORMED
    assert error.message == f'file "{path}" is longer than 64 KiB; correct it'


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """Give up the rights of root, which may read everything; other users have none to give up."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield os.geteuid()
    finally:
        os.seteuid(before)


async def test_file_that_may_not_be_read_says_who_must_be_let(directory: Path) -> None:
    """It may pass by itself: somebody may be about to give the right."""
    path = directory / "orders" / "rabbit"
    path.chmod(0)
    with nobody() as user:
        error = await refusal(directory)
    assert isinstance(error, CredentialUnavailableError)
    assert error.reason is Reason.SECRET_UNREADABLE
    assert error.message == (
        f'file "{path}" cannot be read: Permission denied; let user {user}, which Springline runs '
        "as, read it"
    )


def open_descriptors() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


async def test_nothing_stays_open(directory: Path) -> None:
    os.mkfifo(directory / "orders" / "pipe")
    before = open_descriptors()
    await read(directory)
    for name in ("other", "pipe"):
        await refusal(directory, name)
    assert open_descriptors() == before


# --- what changes


class Watched:
    """A directory that is watched, and what was told of it."""

    def __init__(self, directory: Path) -> None:
        self.tokens = DirectoryOfTokens(directory)
        self.told: list[Identity] = []
        self.is_read = True

    async def until_told(self) -> None:
        """Wait for news, and forget them."""
        await eventually(lambda: self.told, what="a change is told")
        assert set(self.told) == {RABBIT}
        self.told.clear()

    async def content(self) -> str:
        return (await self.tokens.read("orders", "rabbit")).content.decode()


@contextlib.asynccontextmanager
async def watching(directory: Path) -> AsyncIterator[Watched]:
    """Watch a directory, which is compared as often as it can be."""
    watched = Watched(directory)
    async with leaks.checked():
        task = asyncio.ensure_future(
            watched.tokens.watch(
                HastyClock(), is_read=lambda _: watched.is_read, on_change=watched.told.append
            )
        )
        try:
            yield watched
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def compared(monkeypatch: pytest.MonkeyPatch, *, times: int) -> AsyncIterator[None]:
    """Wait at the end until everything has been compared so often."""
    count = 0
    real = token_files._stamps

    def counted(*args: object) -> object:
        nonlocal count
        count += 1
        return real(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(token_files, "_stamps", counted)
        yield
        await eventually(lambda: count >= times, what="it was compared")


@pytest.mark.parametrize("one_for_all", [False, True], ids=["for each namespace", "for all"])
async def test_volume_that_is_brought_up_to_date_is_told(tmp_path: Path, one_for_all: bool) -> None:
    volume = Volume(tmp_path / ("tokens" if one_for_all else "tokens/orders"))
    path = "orders/rabbit" if one_for_all else "rabbit"
    volume.write(path, "first")
    async with watching(tmp_path / "tokens") as watched:
        assert await watched.content() == "first"
        for content in ("second", "third"):
            volume.write(path, content)
            await watched.until_told()
            assert await watched.content() == content


async def test_file_put_in_place_by_rename_is_told(directory: Path) -> None:
    async with watching(directory) as watched:
        assert await watched.content() == PLANTED
        write(directory / "orders" / ".rabbit.new", "second")
        (directory / "orders" / ".rabbit.new").rename(directory / "orders" / "rabbit")
        await watched.until_told()
        assert await watched.content() == "second"


async def test_file_that_is_written_into_is_told(directory: Path) -> None:
    async with watching(directory) as watched:
        assert await watched.content() == PLANTED
        write(directory / "orders" / "rabbit", "second")
        await watched.until_told()
        assert await watched.content() == "second"


async def test_file_that_comes_later_is_told_and_that_it_goes(tmp_path: Path) -> None:
    """With the directory itself, as a volume that is mounted late."""
    async with watching(tmp_path / "tokens") as watched:
        with pytest.raises(CredentialError, match="there is no file"):
            await watched.content()
        write(tmp_path / "tokens" / "orders" / "rabbit", "first")
        await watched.until_told()
        assert await watched.content() == "first"
        shutil.rmtree(tmp_path / "tokens")
        await watched.until_told()
        write(tmp_path / "tokens" / "orders" / "rabbit", "second")
        await watched.until_told()
        assert await watched.content() == "second"


def exchange(directory: Path) -> None:
    """Put a copy of the directory in its place."""
    directory.rename(directory.with_name("former"))
    shutil.copytree(directory.with_name("former"), directory)


async def test_directory_in_the_place_of_another_is_told(directory: Path) -> None:
    async with watching(directory) as watched:
        await watched.content()
        exchange(directory)
        await watched.until_told()


async def test_nothing_is_told_while_nothing_changes(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(directory) as watched:
        await watched.content()
        async with compared(monkeypatch, times=5):
            write(directory / "orders" / "other", "not read")
        assert watched.told == []


async def test_change_that_another_session_has_read_is_told_all_the_same(directory: Path) -> None:
    """The sessions that had read the file before would never hear of it otherwise."""
    watched = Watched(directory)
    await watched.content()
    write(directory / "orders" / "rabbit", "second")
    assert await watched.content() == "second"
    async with leaks.checked():
        task = asyncio.ensure_future(
            watched.tokens.watch(
                HastyClock(), is_read=lambda _: True, on_change=watched.told.append
            )
        )
        await watched.until_told()
        task.cancel()


async def test_file_that_nobody_reads_any_more_is_not_looked_at(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(directory) as watched:
        await watched.content()
        watched.is_read = False
        await eventually(lambda: not watched.tokens._seen, what="it is forgotten")
        monkeypatch.setattr(token_files, "_stamps", None)  # calling it would fail
        write(directory / "orders" / "rabbit", "second")
        assert watched.told == []


async def test_without_a_directory_nothing_is_watched() -> None:
    tokens = DirectoryOfTokens(None)
    await tokens.watch(HastyClock(), is_read=lambda _: True, on_change=lambda _: None)


async def test_file_system_that_hangs_holds_nothing_up(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that gives up in time is the caller's; the loop goes on meanwhile."""
    go_on = threading.Event()
    real = token_files._stamp

    def stuck(path: Path) -> object:
        assert go_on.wait(60)
        return real(path)

    monkeypatch.setattr(token_files, "_stamp", stuck)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await read(directory)
    finally:
        go_on.set()


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and the system has no more threads."""

    def start(thread: threading.Thread) -> None:  # noqa: ARG001 - none is started
        raise RuntimeError("can't start new thread")

    return lambda: monkeypatch.setattr(threading.Thread, "start", start)


async def test_file_is_read_again_later_where_the_system_has_no_more_threads(
    directory: Path, no_threads: Callable[[], None]
) -> None:
    no_threads()
    error = await refusal(directory)
    assert isinstance(error, CredentialUnavailableError)
    assert error.reason is Reason.SECRET_UNREADABLE
    assert "the system has no more threads" in error.message


async def test_watch_outlives_a_system_without_threads(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = threading.Thread.start, 0

    def start(thread: threading.Thread) -> None:
        nonlocal failures
        if thread.name == "token-files" and failures < 3:
            failures += 1
            raise RuntimeError("can't start new thread")
        real(thread)

    write(directory / "orders" / "rabbit", "first")
    async with watching(directory) as watched:
        await watched.content()
        monkeypatch.setattr(threading.Thread, "start", start)
        await eventually(lambda: failures == 3, what="no thread was to be had")
        write(directory / "orders" / "rabbit", "another")
        await watched.until_told()
