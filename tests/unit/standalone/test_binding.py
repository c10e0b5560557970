"""Bindings as files: written like a Secret in a volume, and nobody else's are touched."""

import os
import secrets
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from springline.api.conditions import ConditionType
from springline.api.meta import Identity
from springline.core.events import EventType
from springline.reasons import Reason
from springline.standalone import binding_directory
from support.builders import credential_refused, server_close, unreachable
from support.fake_clock import FakeClock
from support.standalone import Scene, playing

BROKER = {
    "apiVersion": "springline.dev/v1alpha1",
    "kind": "Broker",
    "metadata": {"name": "rabbit"},
    "spec": {"endpoints": [{"host": "rabbit-0.example"}]},
}
BINDING: dict[str, Any] = {"binding": {"secretName": "orders-binding"}}


def secret(password: str = "first") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "orders-amqp"},
        "stringData": {"username": "ann", "password": password},
    }


def connection(name: str = "orders", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "metadata": {"name": name},
        "spec": {
            "brokerRef": {"name": "rabbit"},
            "credentials": {"secretRef": {"name": "orders-amqp"}},
            "probe": {"mode": "None"},
            **spec,
        },
    }


@pytest.fixture
def bound(tmp_path: Path) -> Path:
    """The directory of all bindings."""
    return tmp_path / "bindings"


@pytest.fixture
async def scene(clock: FakeClock, bound: Path) -> AsyncIterator[Scene]:
    async with playing(clock, binding_dir=bound) as scene:
        yield scene


@pytest.fixture
async def published(scene: Scene) -> Scene:
    """One connection whose binding is written."""
    await scene.apply(BROKER, secret(), connection(**BINDING))
    assert reason(scene) is Reason.PUBLISHED
    scene.events.events.clear()
    return scene


def reason(scene: Scene, name: str = "orders") -> Reason:
    return scene.shown(name).condition(ConditionType.BINDING_PUBLISHED).reason


def values(bound: Path, name: str = "orders-binding") -> dict[str, str]:
    """Return what a reader of the files sees."""
    return {
        path.name: path.read_text()
        for path in (bound / "default" / name).iterdir()
        if not path.name.startswith("..")
    }


def is_there(bound: Path) -> bool:
    return bound.exists()


def put_in_the_way(bound: Path) -> None:
    bound.write_text("a file")


def remove(bound: Path) -> None:
    bound.unlink()


def versions(bound: Path) -> list[str]:
    """Return the hidden directories that hold the values."""
    found = (bound / "default" / "orders-binding").iterdir()
    return [path.name for path in found if path.is_dir() and not path.is_symlink()]


# --- writing


async def test_a_verified_credential_is_written(scene: Scene, bound: Path) -> None:
    """A file for each key, and the status says so."""
    await scene.apply(BROKER, secret(), connection(**BINDING))
    assert values(bound) == {
        "type": "rabbitmq",
        "provider": "rabbitmq",
        "host": "rabbit-0.example",
        "port": "5672",
        "username": "ann",
        "password": "first",
        "vhost": "/",
        "uri": "amqp://ann:first@rabbit-0.example:5672/%2F",
        "uris": "amqp://ann:first@rabbit-0.example:5672/%2F",
    }
    document = scene.report.connection_document(scene.shown("orders").view.key)
    assert document["status"]["binding"] == {"name": "orders-binding"}
    assert reason(scene) is Reason.PUBLISHED
    assert len(scene.events.of(EventType.BINDING_PUBLISHED)) == 1


async def test_the_files_are_like_those_of_a_volume(published: Scene, bound: Path) -> None:
    """Links into `..data`, which leads to one directory: so they change together."""
    directory = bound / "default" / "orders-binding"
    assert str((directory / "password").readlink()) == "..data/password"
    current = (directory / "..data").readlink()
    assert [current.name] == versions(bound)
    await published.apply(BROKER, secret("second"), connection(**BINDING))
    assert values(bound)["password"] == "second"
    assert len(versions(bound)) == 1
    assert [current.name] != versions(bound)


async def test_nobody_else_may_read_them(published: Scene, bound: Path) -> None:  # noqa: ARG001
    for path in (bound / "default").rglob("*"):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path


async def test_a_refused_password_leaves_them_as_they_were(published: Scene, bound: Path) -> None:
    published.driver.otherwise = credential_refused()
    await published.apply(BROKER, secret("second"), connection(**BINDING))
    await published.clock.advance(60)
    assert values(bound)["password"] == "first"
    assert reason(published) is Reason.PUBLISHED


async def test_an_outage_leaves_them_as_they_were(published: Scene, bound: Path) -> None:
    published.driver.otherwise = unreachable()
    published.driver.connection.end(server_close())
    await published.clock.advance(120)
    assert values(bound)["password"] == "first"
    assert reason(published) is Reason.PUBLISHED


async def test_nothing_is_written_before_the_broker_has_answered(scene: Scene, bound: Path) -> None:
    scene.driver.otherwise = credential_refused()
    await scene.apply(BROKER, secret(), connection(**BINDING))
    assert reason(scene) is Reason.NOTHING_VERIFIED
    assert not is_there(bound)


async def test_what_somebody_else_does_to_them_is_set_right(published: Scene, bound: Path) -> None:
    """Within a while, in which nothing else is written."""
    data = bound / "default" / "orders-binding" / "..data"
    before = data.readlink()
    await published.clock.advance(60)
    assert data.readlink() == before
    (data / "password").write_text("garbage")
    await published.clock.advance(60)
    assert values(bound)["password"] == "first"
    binding_directory.remove(bound / "default" / "orders-binding")
    await published.clock.advance(60)
    assert values(bound)["password"] == "first"


async def test_a_disk_that_takes_nothing_is_told(scene: Scene, bound: Path) -> None:
    put_in_the_way(bound)
    await scene.apply(BROKER, secret(), connection(**BINDING))
    assert reason(scene) is Reason.BINDING_FAILED
    assert len(scene.events.of(EventType.BINDING_FAILED)) == 1
    remove(bound)
    await scene.clock.advance(60)
    assert values(bound)["password"] == "first"


# --- whose they are


async def test_what_is_not_ours_is_never_touched(scene: Scene, bound: Path) -> None:
    theirs = bound / "default" / "orders-binding" / "password"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    await scene.apply(BROKER, secret(), connection(**BINDING))
    assert reason(scene) is Reason.SECRET_NOT_OURS
    assert values(bound) == {"password": "theirs"}
    await scene.apply(BROKER, secret())
    assert values(bound) == {"password": "theirs"}


async def test_of_two_connections_the_first_keeps_the_name(published: Scene) -> None:
    two = connection("billing", **BINDING)
    await published.apply(BROKER, secret(), connection(**BINDING), two)
    assert (reason(published), reason(published, "billing")) == (
        Reason.PUBLISHED,
        Reason.SECRET_NOT_OURS,
    )
    await published.apply(BROKER, secret(), two)
    await published.clock.advance(60)
    assert reason(published, "billing") is Reason.PUBLISHED


async def test_what_is_read_is_not_written(scene: Scene, bound: Path) -> None:
    own = connection(binding={"secretName": "orders-amqp"})
    await scene.apply(BROKER, secret(), own)
    assert reason(scene) is Reason.SECRET_NOT_OURS
    assert not is_there(bound)


# --- when they go


async def test_another_name_takes_the_place_of_the_old_one(published: Scene, bound: Path) -> None:
    await published.apply(BROKER, secret(), connection(binding={"secretName": "other"}))
    assert [path.name for path in (bound / "default").iterdir()] == ["other"]


async def test_what_is_no_longer_declared_goes(published: Scene, bound: Path) -> None:
    await published.apply(BROKER, secret(), connection())
    assert not list((bound / "default").iterdir())
    assert "binding" not in str(published.shown("orders").conditions)


async def test_what_is_from_an_earlier_run_goes(scene: Scene, bound: Path) -> None:
    """Unless something cannot be read that may declare it."""
    left = bound / "default" / "earlier"
    binding_directory.write(left, {"type": "rabbitmq"})
    nobody = {Identity("BrokerConnection", "default", "broken"): "no spec"}
    await scene.apply(BROKER, secret(), unusable=nobody)
    assert left.exists()
    await scene.apply(BROKER, secret())
    assert not left.exists()


async def test_after_a_restart_without_a_broker_they_are_still_published(
    scene: Scene, bound: Path
) -> None:
    binding_directory.write(bound / "default" / "orders-binding", {"type": "rabbitmq"})
    scene.driver.otherwise = unreachable()
    await scene.apply(BROKER, secret(), connection(**BINDING))
    assert reason(scene) is Reason.PUBLISHED


async def test_without_a_directory_a_binding_says_what_it_needs(clock: FakeClock) -> None:
    async with playing(clock) as scene:
        await scene.apply(BROKER, secret(), connection(**BINDING))
        condition = scene.shown("orders").condition(ConditionType.BINDING_PUBLISHED)
        assert condition.reason is Reason.BINDING_FAILED
        assert "--binding-dir" in condition.message
        assert scene.shown("orders").is_ready


# --- a directory


def test_what_somebody_has_put_beside_our_files_stays(tmp_path: Path) -> None:
    directory = tmp_path / "apps" / "a"
    binding_directory.write(directory, {"type": "rabbitmq", "password": "x"})
    (directory / "README").write_text("theirs")
    binding_directory.write(directory, {"type": "rabbitmq"})
    assert sorted(path.name for path in directory.iterdir() if path.name[:2] != "..") == [
        "README",
        "type",
    ]
    binding_directory.remove(directory)
    assert [path.name for path in directory.iterdir()] == ["README"]
    binding_directory.remove(directory)


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "apps" / "a"
    binding_directory.write(directory, {"password": "first"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(binding_directory, "_write_private", full)
    with pytest.raises(OSError, match="No space"):
        binding_directory.write(directory, {"password": "second"})
    assert binding_directory.read(directory) == {"password": "first"}
    assert len(list(directory.glob("..springline-*"))) == 1


@pytest.mark.parametrize("what", ["the directory of the namespace", "its own directory"])
def test_link_in_the_place_of_a_directory_is_not_followed(tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    directory = tmp_path / "bindings" / "apps" / "a"
    link = directory.parent if what == "the directory of the namespace" else directory
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError):
        binding_directory.write(directory, {"password": "pl4nted"})
    assert list(elsewhere.iterdir()) == []


def test_link_in_the_place_of_a_new_file_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    directory = tmp_path / "bindings" / "apps" / "a"
    binding_directory.write(directory, {"password": "first"})
    monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
    (directory / "..springline-guessed").symlink_to(tmp_path)
    with pytest.raises(FileExistsError):
        binding_directory.write(directory, {"password": "second"})
    assert victim.read_text() == "precious"
    assert binding_directory.read(directory) == {"password": "first"}


def test_link_that_was_left_by_a_write_that_was_cut_off_goes(tmp_path: Path) -> None:
    directory = tmp_path / "bindings" / "apps" / "a"
    binding_directory.write(directory, {"password": "first"})
    (directory / "..springline-new").symlink_to("..data/password")
    binding_directory.write(directory, {"password": "second"})
    assert binding_directory.read(directory) == {"password": "second"}
    assert len(list(directory.glob("..springline-*"))) == 1


def test_directory_of_somebody_else_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner could put other files in the place of ours."""
    directory = tmp_path / "bindings" / "apps" / "a"
    directory.mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: directory.stat().st_uid + 1)
    monkeypatch.setattr(binding_directory, "_ROOT", -1)
    with pytest.raises(PermissionError):
        binding_directory.write(directory, {"password": "pl4nted"})
    assert list(directory.iterdir()) == []


async def test_disk_that_does_not_answer_keeps_nobody_waiting(scene: Scene, bound: Path) -> None:
    await scene.apply(BROKER, secret(), connection(**BINDING))
    scene.off_loop.disk.clear()
    await scene.apply(BROKER, secret("second"), connection(**BINDING))
    assert scene.shown("orders").is_ready
    assert values(bound)["password"] == "first"
    scene.off_loop.disk.set()
    await scene.clock.advance(60)
    assert values(bound)["password"] == "second"


class KilledError(BaseException):
    """Ends a write where it is, as SIGKILL would."""


def killed(*_: object, **__: object) -> None:
    raise KilledError


async def test_values_before_the_current_ones_do_not_outlive_a_killed_process(
    published: Scene, bound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = bound / "default" / "orders-binding"
    entries = values(bound)
    binding_directory.write(directory, {**entries, "password": "former"})
    with monkeypatch.context() as patched:
        patched.setattr(binding_directory, "_remove_version", killed)
        with pytest.raises(KilledError):
            binding_directory.write(directory, entries)
    assert "former" in [path.read_text() for path in directory.glob("*/password")]
    await published.clock.advance(31.0)
    assert values(bound) == entries
    assert len([*directory.glob("..springline-*")]) == 1, "only what the links lead to"


async def test_first_write_that_was_killed_is_in_nobodys_way(
    scene: Scene, bound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = bound / "default" / "orders-binding"
    with monkeypatch.context() as patched:
        patched.setattr(binding_directory, "_point", killed)
        with pytest.raises(KilledError):
            binding_directory.write(directory, {"password": "left"})
    await scene.apply(BROKER, secret(), connection(**BINDING))
    assert reason(scene) is Reason.PUBLISHED
    assert values(bound)["password"] == "first"
    assert len([*directory.glob("..springline-*")]) == 1, "only what the links lead to"
