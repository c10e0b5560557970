"""Status files: what is in them, when they are written, and when they go."""

import logging
from pathlib import Path
from typing import Any

import pytest

from springline.api.meta import Identity
from springline.core import status
from springline.core.view import SessionView
from springline.standalone import report
from support import builders
from support.running import a_broker, a_connection, a_secret
from support.standalone import Scene

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
    real = report._write_atomically

    def noted(path: Path, content: dict[str, Any]) -> None:
        writes.append(path.name)
        real(path, content)

    monkeypatch.setattr(report, "_write_atomically", noted)
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
    scene.report.flush()
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
    assert '"half of a character: \\uD800"' in (scene.status_dir / ORDERS_FILE).read_text()


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
    real = Path.write_text

    def full(path: Path, text: str, encoding: str) -> int:
        real(path, text[: len(text) // 2], encoding=encoding)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        scene.driver.connection.block()
        await scene.clock.advance(1)
        assert scene.written(ORDERS_FILE) == before
        assert scene.files == {BROKER_FILE, ORDERS_FILE}
    await scene.clock.advance(10)
    assert scene.written(ORDERS_FILE) != before


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
