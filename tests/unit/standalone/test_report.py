"""Status files: what is in them, when they are written, and when they go."""

import asyncio
import logging
import secrets
import shutil
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from springline.api.meta import Identity
from springline.app import Standalone
from springline.clock import SystemClock
from springline.core import status
from springline.core.view import SessionView
from springline.standalone import status_files
from springline.standalone.binding import NoBindings
from springline.standalone.report import Report
from support import builders
from support.fakes import RecordingEvents
from support.running import a_broker, a_connection, a_secret
from support.standalone import Scene
from support.waiting import PATIENCE, eventually

PLANTED = "pl4nted-s3cret"

BROKER_FILE = "Broker.default.rabbit.yaml"
ORDERS_FILE = "BrokerConnection.default.orders.yaml"
RABBIT = Identity("Broker", "default", "rabbit")
ORDERS = Identity("BrokerConnection", "default", "orders")

EVERYTHING = (a_secret("ann", PLANTED), a_broker(5672), a_connection("orders"))


async def test_open_connection_has_its_status_in_a_file(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    written = scene.written(ORDERS_FILE)
    status = written.pop("status")
    assert written == {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "metadata": {"name": "orders", "namespace": "default"},
    }
    assert status["state"] == "Connected"
    assert status["observedGeneration"] == 1
    assert status["credentials"]["username"] == "ann"
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Ready": "True",
        "Connected": "True",
        "CredentialsValid": "True",
        "Synced": "True",
        "Blocked": "False",
    }


async def test_change_that_changes_nothing_shown_is_not_even_projected(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.apply(*EVERYTHING)
    [session] = scene.manager.sessions()
    projected: list[SessionView] = []
    project = status.conditions

    def counted(view: SessionView, **options: Any) -> Any:
        projected.append(view)
        return project(view, **options)

    monkeypatch.setattr(status, "conditions", counted)
    scene.report.session_changed(session)
    await scene.clock.advance(1)
    assert projected == []
    scene.driver.connection.block()
    await scene.clock.advance(1)
    shown = scene.written(ORDERS_FILE)["status"]["conditions"]
    assert {each["type"]: each["status"] for each in shown}["Blocked"] == "True"


async def test_file_that_somebody_removed_is_written_again_where_nothing_is_new(
    scene: Scene,
) -> None:
    """After the next manifests, with the next message to the session."""
    await scene.apply(*EVERYTHING)
    assert scene.status_dir is not None
    (scene.status_dir / ORDERS_FILE).unlink()
    await scene.apply(*EVERYTHING, a_secret("ann", PLANTED, name="another"))
    [session] = scene.manager.sessions()
    scene.report.session_changed(session)
    await scene.clock.advance(1)
    assert scene.written(ORDERS_FILE)["status"]["state"] == "Connected"


async def test_broker_has_the_counts_of_its_connections_in_a_file(scene: Scene) -> None:
    await scene.apply(*EVERYTHING, a_connection("invoices", suspend=True))
    status = scene.written(BROKER_FILE)["status"]
    assert status["connections"] == {"declared": 2, "ready": 1, "blocked": 0}
    assert status["server"]["version"] == "4.0.5"
    assert status["conditions"][1]["message"] == "1 of 2 sessions are open"
    scene.driver.connection.block()
    await scene.clock.advance(1)
    assert scene.written(BROKER_FILE)["status"]["connections"]["blocked"] == 1


async def test_broker_has_a_status_before_anything_connects_to_it(scene: Scene) -> None:
    await scene.apply(a_broker(5672))
    status = scene.written(BROKER_FILE)["status"]
    assert status["observedGeneration"] == 1
    assert status["connections"] == {"declared": 0, "ready": 0, "blocked": 0}
    assert [each["reason"] for each in status["conditions"]] == ["Usable", "NotChecked"]


async def test_broker_that_cannot_be_reached_says_why(scene: Scene) -> None:
    scene.driver.otherwise = builders.unreachable("nobody listens")
    await scene.apply(*EVERYTHING)
    [ready, reachable] = scene.written(BROKER_FILE)["status"]["conditions"]
    assert (ready["status"], ready["reason"]) == ("True", "Usable")
    assert (reachable["status"], reachable["reason"]) == ("False", "ConnectionRefused")


async def test_broker_that_cannot_be_used_has_its_mistakes_in_a_file(scene: Scene) -> None:
    await scene.apply(unusable={RABBIT: "spec.nope: unknown field"})
    conditions = scene.written(BROKER_FILE)["status"]["conditions"]
    assert [(each["type"], each["status"]) for each in conditions] == [
        ("Ready", "False"),
        ("Reachable", "Unknown"),
        ("Stalled", "True"),
    ]
    assert conditions[-1]["message"] == "spec.nope: unknown field"


async def test_refusal_is_stalled_after_five_minutes_though_nothing_else_happens(
    scene: Scene,
) -> None:
    """The time alone brings it into the file."""
    await scene.apply(a_broker(5672, retry={"maxDelay": "1h"}), a_connection("orders"))

    def stalled() -> list[str]:
        conditions = scene.written(ORDERS_FILE)["status"]["conditions"]
        return [each["reason"] for each in conditions if each["type"] == "Stalled"]

    await scene.clock.advance(298)
    assert stalled() == []
    await scene.clock.advance(3)
    assert stalled() == ["SecretNotFound"]
    await scene.apply(*EVERYTHING)
    assert stalled() == []


async def test_changed_broker_is_shown_with_its_generation(scene: Scene) -> None:
    await scene.apply(a_broker(5672))
    await scene.apply(a_broker(5673))
    assert scene.written(BROKER_FILE)["status"]["observedGeneration"] == 2


async def test_cluster_broker_has_a_file_without_a_namespace(scene: Scene) -> None:
    await scene.apply({**a_broker(5672), "kind": "ClusterBroker"})
    assert scene.files == {"ClusterBroker.rabbit.yaml"}
    assert scene.written("ClusterBroker.rabbit.yaml")["metadata"] == {"name": "rabbit"}


async def test_unusable_connection_has_its_mistakes_in_a_file(scene: Scene) -> None:
    await scene.apply(unusable={ORDERS: "spec.nope: unknown field"})
    status = scene.written(ORDERS_FILE)["status"]
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("InvalidSpec", "spec.nope: unknown field")


async def test_no_file_holds_a_secret(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    assert scene.status_dir is not None
    for path in scene.status_dir.iterdir():
        assert PLANTED not in path.read_text()
    assert PLANTED not in repr(scene.report.shown)


# --- when it is written


async def test_changes_of_one_moment_are_written_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.apply(*EVERYTHING)
    writes: list[str] = []
    real = status_files.write

    def noted(path: Path, content: Mapping[str, Any]) -> None:
        writes.append(path.name)
        real(path, content)

    monkeypatch.setattr(status_files, "write", noted)
    for _ in range(3):
        scene.driver.connection.block()
        await scene.clock.settle()
        scene.driver.connection.unblock()
        await scene.clock.settle()
    scene.driver.connection.block()
    await scene.clock.advance(0.5)
    assert sorted(writes) == [BROKER_FILE, ORDERS_FILE]


async def test_file_is_not_written_again_while_it_says_the_same(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    assert scene.status_dir is not None
    before = (scene.status_dir / ORDERS_FILE).stat().st_ino
    await scene.apply(*EVERYTHING, a_secret("x", "y", name="other"))
    await scene.clock.advance(60)
    assert (scene.status_dir / ORDERS_FILE).stat().st_ino == before


async def test_reader_sees_the_old_status_or_the_new_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one is written beside the old one, and put into its place whole."""
    await scene.apply(*EVERYTHING)
    before = scene.written(ORDERS_FILE)
    seen: list[tuple[bool, bool]] = []
    real = Path.replace

    def looked_at(path: Path, target: Path) -> Path:
        if target.name == ORDERS_FILE:
            whole = "conditions" in path.read_text()
            seen.append((scene.written(ORDERS_FILE) == before, whole))
        return real(path, target)

    monkeypatch.setattr(Path, "replace", looked_at)
    scene.driver.connection.block()
    await scene.clock.advance(1)
    assert seen == [(True, True)]
    assert scene.files == {BROKER_FILE, ORDERS_FILE}


async def test_status_after_the_last_moment_is_written_when_the_program_ends(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    scene.driver.connection.block("low on memory")
    await scene.clock.settle()
    await scene.report.finish(limit=1)
    assert scene.written(ORDERS_FILE)["status"]["blocked"]["reason"]


# --- when it goes


async def test_file_goes_with_what_it_is_about(scene: Scene) -> None:
    await scene.apply(*EVERYTHING, a_connection("invoices"))
    assert len(scene.files) == 3
    await scene.apply(a_secret("ann", PLANTED), a_connection("invoices"))
    assert scene.files == {"BrokerConnection.default.invoices.yaml"}
    assert len(scene.report.shown) == 1


async def test_leftovers_of_an_earlier_run_are_removed_and_nothing_else(scene: Scene) -> None:
    assert scene.status_dir is not None
    for name in (
        "BrokerConnection.default.gone.yaml",
        "ClusterBroker.gone.yaml",
        ".BrokerConnection.default.gone.yaml.new",
        "notes.yaml",
        "BrokerConnection.txt",
        ".hidden.yaml",
    ):
        (scene.status_dir / name).touch()
    await scene.apply(a_broker(5672))
    assert scene.files == {BROKER_FILE, "notes.yaml", "BrokerConnection.txt", ".hidden.yaml"}


async def test_status_of_a_connection_that_comes_back_is_written_again(scene: Scene) -> None:
    await scene.apply(*EVERYTHING)
    await scene.apply(*EVERYTHING[:2])
    await scene.apply(*EVERYTHING)
    assert scene.written(ORDERS_FILE)["status"]["observedGeneration"] == 2


# --- names


async def test_name_of_an_unusable_document_cannot_leave_the_directory(scene: Scene) -> None:
    """It may be anything: a path, or nothing that a file can be called."""
    names = ["../../evil", "..", "a/b", "a\0b", "é", "\ud800", "x" * 300, "y" * 253]
    await scene.apply(
        unusable={Identity("BrokerConnection", "../up", name): "a mistake" for name in names}
    )
    assert scene.status_dir is not None
    assert len(scene.files) == len(names)
    assert {path.name for path in scene.status_dir.parent.iterdir()} == {"status"}
    assert all(path.name.startswith("BrokerConnection.") for path in scene.status_dir.iterdir())
    await scene.apply()
    assert scene.files == set()


async def test_longest_names_that_are_allowed_have_files_of_their_own(scene: Scene) -> None:
    names = [".".join(["n" * 60] * 4) + end for end in ("a", "b")]
    await scene.apply(*(a_connection(name) for name in names))
    assert len(scene.files) == 2


async def test_half_of_a_character_in_the_words_of_a_broker_is_escaped(scene: Scene) -> None:
    scene.driver.otherwise = builders.unreachable("half of a character: \ud800")
    await scene.apply(*EVERYTHING)
    assert scene.status_dir is not None
    assert r"half of a character: \ud800" in (scene.status_dir / ORDERS_FILE).read_text()


# --- when it cannot be written


async def test_defect_in_a_report_is_logged_and_ends_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(status, "conditions", None)
        await scene.apply(*EVERYTHING)
    assert [record.message for record in caplog.records] == ["status not reported"]
    assert caplog.records[0].exc_info is not None
    scene.driver.connection.block()
    await scene.clock.advance(1)
    assert scene.shown("orders").is_ready


async def test_unwritable_directory_is_survived_with_one_line_in_the_log(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert scene.status_dir is not None
    scene.status_dir.rmdir()
    await scene.apply(*EVERYTHING)
    scene.driver.connection.block()
    await scene.clock.advance(60)
    assert scene.shown("orders").is_ready
    messages = [record.message for record in caplog.records]
    assert messages == ["status not written; trying again until it is"]
    assert caplog.records[0].levelno == logging.WARNING
    assert vars(caplog.records[0])["error"] == "No such file or directory"

    scene.status_dir.mkdir()
    await scene.clock.advance(10)
    assert scene.written(ORDERS_FILE)["status"]["blocked"]["reason"]
    assert scene.files == {BROKER_FILE, ORDERS_FILE}
    assert [record.message for record in caplog.records][1:] == ["status written again"]


async def test_directory_that_was_deleted_has_all_files_again_once_it_is_made_again(
    scene: Scene,
) -> None:
    """Also those in which nothing has changed."""
    assert scene.status_dir is not None
    await scene.apply(*EVERYTHING, a_connection("others"))
    before = scene.files
    shutil.rmtree(scene.status_dir)
    scene.driver.connection.block()  # of one of the two
    await scene.clock.advance(20)
    scene.status_dir.mkdir()
    await scene.clock.advance(10)
    assert scene.files == before


async def test_what_could_not_be_written_goes_when_it_is_no_longer_declared(scene: Scene) -> None:
    assert scene.status_dir is not None
    scene.status_dir.rmdir()
    await scene.apply(*EVERYTHING)
    await scene.apply(a_broker(5672))
    scene.status_dir.mkdir()
    await scene.clock.advance(10)
    assert scene.files == {BROKER_FILE}


async def test_full_disk_leaves_no_half_written_file(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.apply(*EVERYTHING)
    before = scene.written(ORDERS_FILE)
    real = status_files._fill

    def full(descriptor: int, text: str) -> None:
        real(descriptor, text[: len(text) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(status_files, "_fill", full)
        scene.driver.connection.block()
        await scene.clock.advance(1)
        assert scene.written(ORDERS_FILE) == before
        assert scene.files == {BROKER_FILE, ORDERS_FILE}
    await scene.clock.advance(10)
    assert scene.written(ORDERS_FILE) != before


async def test_disk_that_does_not_answer_keeps_nobody_waiting(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Sessions go on, the newest status waits for it, and the end waits for it a moment only."""
    caplog.set_level(logging.INFO)
    await scene.apply(*EVERYTHING)
    before = scene.written(ORDERS_FILE)
    scene.off_loop.disk.clear()
    for number in range(100):
        scene.driver.connection.block(f"alarm {number}")
        await scene.clock.advance(1)
        scene.driver.connection.unblock()
        await scene.clock.advance(1)
    assert scene.shown("orders").is_ready
    assert [record.message for record in caplog.records] == [
        "status not written: the disk does not answer"
    ]
    finishing = asyncio.ensure_future(scene.report.finish(limit=5))
    await scene.clock.result(finishing, within=5)
    assert caplog.records[-1].message == "last status not written in time"
    assert scene.written(ORDERS_FILE) == before
    scene.driver.connection.block("the last")
    scene.off_loop.disk.set()
    await scene.clock.advance(1)
    assert scene.written(ORDERS_FILE)["status"]["blocked"]["reason"] == "the last"
    assert caplog.records[-1].message == "status written again"


async def test_real_disk_that_does_not_answer_does_not_hold_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are written by a thread, and the end does not wait for it for long."""
    entered, answer = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        entered.set()
        answer.wait(PATIENCE)

    monkeypatch.setattr(status_files, "remove_others", slow)
    clock = SystemClock()
    report = Report(
        Standalone(RecordingEvents()).manager,
        clock,
        status_dir=tmp_path,
        publications=NoBindings(),
    )
    report.declare([Identity("Broker", "default", "rabbit")])
    running = asyncio.ensure_future(report.run())
    try:
        await eventually(entered.is_set, what="the disk is asked")
        assert not running.done()
        running.cancel()
        await asyncio.wait({running})
        await report.finish(limit=0.1)
    finally:
        answer.set()


# --- in a directory that others may write to, too


async def test_link_in_the_place_of_a_new_file_is_not_followed(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    assert scene.status_dir is not None
    monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
    for name in (f".{ORDERS_FILE}.new", f".{ORDERS_FILE}.guessed.new", ORDERS_FILE):
        (scene.status_dir / name).symlink_to(victim)
    status_files.write(scene.status_dir / BROKER_FILE, {"kind": "Broker"})
    with pytest.raises(FileExistsError):
        status_files.write(scene.status_dir / ORDERS_FILE, {"kind": "BrokerConnection"})
    await scene.apply(*EVERYTHING)
    assert victim.read_text() == "precious"
    assert not (scene.status_dir / ORDERS_FILE).is_symlink()
    assert scene.written(ORDERS_FILE)["status"]
    assert scene.files == {BROKER_FILE, ORDERS_FILE}


async def test_name_of_a_new_file_cannot_be_known_before(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    real = Path.replace

    def noted(path: Path, target: Path) -> Path:
        seen.add(path.name)
        return real(path, target)

    monkeypatch.setattr(Path, "replace", noted)
    assert scene.status_dir is not None
    for number in range(10):
        status_files.write(scene.status_dir / ORDERS_FILE, {"number": number})
    assert len(seen) == 10
    mode = (scene.status_dir / ORDERS_FILE).stat().st_mode
    assert not mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_IXUSR)


async def test_a_confirm_that_says_nothing_new_is_current_and_costs_no_projection(
    scene: Scene,
) -> None:
    await scene.apply(*EVERYTHING)
    [before] = scene.report.shown.values()
    scene.driver.connection.probe_answer = 0.25
    await scene.clock.advance(2)
    [after] = scene.report.shown.values()
    assert after is before
    [current] = scene.report.current()
    assert current.view.confirm_seconds == 0.25
