"""Following a directory: real files, what the kernel tells of them, and what it does not."""

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

import pytest
import watchfiles

from springline.standalone import watcher
from springline.standalone.loader import Manifests
from support import leaks
from support.waiting import PATIENCE, eventually

DEADLINE = PATIENCE


def a_secret(name: str, password: str = "x") -> str:
    return (
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\n"
        f"stringData: {{password: {password}}}\n"
    )


def move(directory: Path, to: Path) -> None:
    directory.rename(to)


def delete(directory: Path) -> None:
    shutil.rmtree(directory)


def make(directory: Path, name: str, text: str) -> None:
    directory.mkdir()
    (directory / name).write_text(text)


class Follower:
    """Takes in every set that `follow` yields."""

    def __init__(self) -> None:
        self.sets: list[Manifests] = []

    @property
    def names(self) -> set[str]:
        return {identity.name for identity in self.sets[-1].objects} if self.sets else set()

    @property
    def problems(self) -> list[str]:
        return [str(problem) for problem in self.sets[-1].problems] if self.sets else []

    async def until(self, predicate: Callable[[], bool], what: str) -> None:
        await eventually(predicate, timeout=DEADLINE, what=what)

    async def until_names(self, *names: str) -> None:
        await self.until(lambda: self.names == set(names), f"exactly {names} are declared")

    async def until_problem(self, text: str) -> None:
        await self.until(
            lambda: any(text in problem for problem in self.problems), f"a problem: {text}"
        )


@contextlib.asynccontextmanager
async def following(directory: Path) -> AsyncIterator[Follower]:
    follower = Follower()

    async def follow() -> None:
        async for manifests in watcher.follow(directory):
            follower.sets.append(manifests)

    async with leaks.checked():
        task = asyncio.get_running_loop().create_task(follow())
        try:
            await eventually(lambda: follower.sets or task.done(), what="a first set")
            yield follower
            assert not task.done(), "it ended"
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "manifests"
    path.mkdir()
    return path


@pytest.fixture
async def follower(folder: Path) -> AsyncIterator[Follower]:
    (folder / "a.yaml").write_text(a_secret("one"))
    async with following(folder) as follower:
        await follower.until_names("one")
        yield follower


async def test_empty_directory_declares_nothing(folder: Path) -> None:
    async with following(folder) as follower:
        assert follower.sets == [Manifests()]
        (folder / "a.yaml").write_text(a_secret("one"))
        await follower.until_names("one")


async def test_edit_is_followed(folder: Path, follower: Follower) -> None:
    (folder / "a.yaml").write_text(a_secret("two"))
    await follower.until_names("two")


async def test_new_file_is_followed(folder: Path, follower: Follower) -> None:
    (folder / "b.yaml").write_text(a_secret("two"))
    await follower.until_names("one", "two")


async def test_deleted_file_is_followed(folder: Path, follower: Follower) -> None:
    (folder / "a.yaml").unlink()
    await follower.until_names()


async def test_rename_is_one_set_in_which_nothing_is_missing(
    folder: Path, follower: Follower
) -> None:
    (folder / "a.yaml").rename(folder / "b.yaml")
    (folder / "z.yaml").write_text(a_secret("last"))
    await follower.until_names("one", "last")
    assert all("one" in {each.name for each in found.objects} for found in follower.sets)


async def test_file_put_in_place_by_rename_is_followed(folder: Path, follower: Follower) -> None:
    """As editors and configuration tools do."""
    temporary = folder / ".a.yaml.swp"
    temporary.write_text(a_secret("two"))
    temporary.replace(folder / "a.yaml")
    await follower.until_names("two")


async def test_mounted_config_map_is_followed(folder: Path) -> None:
    """Kubernetes writes a new folder, and moves one hidden symbolic link to it."""
    for version in ("one", "two"):
        (folder / f"..{version}").mkdir()
        (folder / f"..{version}" / "a.yaml").write_text(a_secret(version))
    (folder / "..data").symlink_to("..one")
    (folder / "a.yaml").symlink_to("..data/a.yaml")
    async with following(folder) as follower:
        await follower.until_names("one")
        (folder / "..data_tmp").symlink_to("..two")
        (folder / "..data_tmp").rename(folder / "..data")
        await follower.until_names("two")


async def test_no_change_is_lost_between_the_first_set_and_the_watch(folder: Path) -> None:
    """Every step is as early as it can be: at once after a set has been yielded."""
    sets = watcher.follow(folder)
    async with leaks.checked(), asyncio.timeout(DEADLINE):
        for number in range(5):
            manifests = await anext(sets)
            while len(manifests.objects) < number:
                manifests = await anext(sets)
            (folder / f"{number}.yaml").write_text(a_secret(f"s{number}"))
        assert isinstance(sets, AsyncGenerator)
        await sets.aclose()


async def test_no_change_is_lost_where_the_first_look_takes_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine, where the thread that looks comes after the one that reads."""
    look, has_read = watcher._signature, threading.Event()

    def late(directory: Path) -> object:
        has_read.wait(1.0)
        return look(directory)

    monkeypatch.setattr(watcher, "_signature", late)
    sets = watcher.follow(folder)
    async with asyncio.timeout(DEADLINE):
        await anext(sets)
        (folder / "new.yaml").write_text(a_secret("new"))
        has_read.set()
        manifests = await anext(sets)
        assert len(manifests.objects) == 1
        assert isinstance(sets, AsyncGenerator)
        await sets.aclose()


async def test_many_changes_at_once_end_with_all_of_them(folder: Path, follower: Follower) -> None:
    for number in range(200):
        (folder / f"n{number}.yaml").write_text(a_secret(f"s{number}"))
    await follower.until(lambda: len(follower.names) == 201, "all of them are declared")
    assert len(follower.sets) < 200


async def test_half_written_file_keeps_what_it_held_and_says_so(
    folder: Path, follower: Follower
) -> None:
    (folder / "a.yaml").write_text("kind: [")
    await follower.until_problem("a.yaml:1:8: is not valid YAML")
    assert follower.names == {"one"}
    (folder / "a.yaml").write_text(a_secret("one"))
    await follower.until(lambda: not follower.problems, "the problem is gone")


async def test_directory_that_vanishes_for_a_while_keeps_what_it_held(
    folder: Path, follower: Follower
) -> None:
    away = folder.with_name("away")
    move(folder, away)
    await follower.until_problem(
        f"{folder}: cannot be read: No such file or directory; what it held before is kept"
    )
    assert follower.names == {"one"}
    (away / "b.yaml").write_text(a_secret("two"))
    move(away, folder)
    await follower.until_names("one", "two")
    assert follower.problems == []
    (folder / "c.yaml").write_text(a_secret("three"))
    await follower.until_names("one", "two", "three")


async def test_directory_that_vanishes_solves_no_mistake(folder: Path, follower: Follower) -> None:
    """Whatever it declared is declared still, also what has no good version."""
    unusable = (
        "apiVersion: springline.dev/v1alpha1\nkind: BrokerConnection\nmetadata: {name: two}\n"
    )
    (folder / "b.yaml").write_text(unusable)
    mistake = f"{folder}/b.yaml:1:1: BrokerConnection default/two: spec: required"
    await follower.until_problem(mistake)
    away = folder.with_name("away")
    move(folder, away)
    unlisted = f"{folder}: cannot be read: No such file or directory; what it held before is kept"
    await follower.until(lambda: follower.problems == [unlisted, mistake], "both are told")
    assert [each.name for each in follower.sets[-1].unusable] == ["two"]
    move(away, folder)
    await follower.until(lambda: follower.problems == [mistake], "the mistake alone is told")


async def test_directory_that_is_deleted_and_made_anew_is_followed(
    folder: Path, follower: Follower
) -> None:
    delete(folder)
    await follower.until_problem("cannot be read")
    make(folder, "b.yaml", a_secret("two"))
    await follower.until_names("two")
    (folder / "b.yaml").write_text(a_secret("three"))
    await follower.until_names("three")


# --- what the kernel does not tell


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare what is there more often than a person would notice."""
    monkeypatch.setattr(watcher, "_COMPARE_MILLISECONDS", 50)


@pytest.mark.usefixtures("quick")
async def test_directory_behind_a_symbolic_link_may_be_another_one(tmp_path: Path) -> None:
    """A deployment that moves one link does not touch the directory that is watched."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(a_secret(version))
    link = tmp_path / "current"
    link.symlink_to("one")
    async with following(link) as follower:
        await follower.until_names("one")
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(link)
        await follower.until_names("two")
        (tmp_path / "two" / "a.yaml").write_text(a_secret("three"))
        await follower.until_names("three")


@pytest.mark.usefixtures("quick")
async def test_file_behind_a_symbolic_link_is_followed(tmp_path: Path, folder: Path) -> None:
    target = tmp_path / "elsewhere.yaml"
    target.write_text(a_secret("one"))
    (folder / "a.yaml").symlink_to(target)
    async with following(folder) as follower:
        await follower.until_names("one")
        target.write_text(a_secret("other-name"))
        await follower.until_names("other-name")


@pytest.mark.usefixtures("quick")
async def test_nothing_is_yielded_while_nothing_changes(folder: Path) -> None:
    comparisons = 0
    real = watcher._signature

    def counted(directory: Path) -> object:
        nonlocal comparisons
        comparisons += 1
        return real(directory)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(watcher, "_signature", counted)
        async with following(folder) as follower:
            await follower.until(lambda: comparisons > 5, "it has compared several times")
            assert len(follower.sets) == 1


async def test_directory_is_compared_where_the_system_has_no_watch_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def exhausted(*_: object, **__: object) -> AsyncGenerator[object, None]:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(watchfiles, "awatch", exhausted)
    monkeypatch.setattr(watcher, "_UNWATCHED_SECONDS", 0.01)
    async with following(folder) as follower:
        (folder / "a.yaml").write_text(a_secret("one"))
        await follower.until_names("one")
        os.truncate(folder / "a.yaml", 0)
        await follower.until_problem("a.yaml:1:1: is empty")
    assert [record.message for record in caplog.records] == ["directory not watched"]


async def test_cancelling_while_files_are_read_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = asyncio.Event()
    loop = asyncio.get_running_loop()
    real = watcher._loaded

    def told(directory: Path, before: Manifests) -> Manifests:
        loop.call_soon_threadsafe(reading.set)
        return real(directory, before)

    monkeypatch.setattr(watcher, "_loaded", told)
    async with leaks.checked(), asyncio.timeout(DEADLINE):
        sets = watcher.follow(folder)
        first = asyncio.ensure_future(anext(sets))
        await reading.wait()
        first.cancel()
        await asyncio.wait({first})
