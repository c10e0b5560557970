"""Recipes of deploy/ that need no broker and no cluster to be judged."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from springline.cli import main
from springline.standalone import loader
from support import compose, recipes
from support.markdown import Page
from support.recipes import COMPOSE, DEPLOY, SIDECAR, UNIT

# systemd's own scale from 0, nothing is open to it, to 10.
MOST_EXPOSED: Final = 2.0


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there, because systemd looks for it."""
    text = UNIT.read_text(encoding="utf-8")
    program = shlex.split(recipes.service()["ExecStart"][0])[0]
    path = tmp_path / UNIT.name
    path.write_text(text.replace(program, shutil.which("true") or ""), encoding="utf-8")
    return path


def analysed(*words: str | Path) -> str:
    """Return what systemd-analyze says, and fail where it finds fault."""
    if (program := shutil.which("systemd-analyze")) is None:
        pytest.skip("there is no systemd-analyze")
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_systemd_finds_no_fault_with_the_unit(unit: Path) -> None:
    """Not even an unknown setting, which it would only warn of."""
    analysed("verify", unit)


def test_systemd_calls_the_unit_hardened(unit: Path) -> None:
    """A setting that is lost raises what it says."""
    said = analysed("security", "--offline=true", unit)
    level = re.search(r"Overall exposure level for springline\.service: ([\d.]+)", said)
    assert level is not None, said
    assert float(level[1]) <= MOST_EXPOSED, said


def test_systemd_waits_longer_than_springline_takes_to_stop() -> None:
    """Otherwise it would kill sessions that are just being closed."""
    settings = recipes.service()
    words = shlex.split(settings["ExecStart"][0])
    takes = float(words[words.index("--shutdown-timeout") + 1])
    assert float(settings["TimeoutStopSec"][0]) >= takes + 5
    assert settings["Restart"] == ["on-failure"]
    # What would end the same way each time: see the exit codes of docs/standalone.md.
    assert settings["RestartPreventExitStatus"] == ["2"]


def test_the_unit_starts_springline_with_options_that_it_has() -> None:
    """Options are those of `springline run`, and no secret is among them."""
    _, command, *words = shlex.split(recipes.service()["ExecStart"][0])
    options = {name for option in main.commands[command].params for name in option.opts}
    assert {word for word in words if word.startswith("-")} <= options


@pytest.fixture
def project() -> dict[str, Any]:
    """The compose file, as Docker Compose takes it."""
    try:
        return compose.project(COMPOSE)
    except compose.ComposeMissing as missing:
        pytest.skip(str(missing))


def test_compose_takes_the_file(project: dict[str, Any]) -> None:
    """No field is unknown to it, and images are named by whoever starts it."""
    assert project["name"] == "springline"
    assert project["services"].keys() == {"rabbitmq", "springline"}
    images = {"RABBITMQ_IMAGE": "mirror/rabbitmq:4", "SPRINGLINE_IMAGE": "team/springline:1"}
    named = compose.project(COMPOSE, images)["services"]
    assert {each["image"] for each in named.values()} == set(images.values())


def test_compose_would_notice_a_field_that_does_not_exist(tmp_path: Path) -> None:
    """Otherwise the test above would prove little."""
    path = tmp_path / "compose.yaml"
    path.write_text(COMPOSE.read_text(encoding="utf-8").replace("read_only:", "readonly:"))
    try:
        with pytest.raises(compose.ComposeRefused, match="readonly"):
            compose.project(path)
    except compose.ComposeMissing as missing:
        pytest.skip(str(missing))


def test_the_container_of_the_compose_file_has_no_rights(project: dict[str, Any]) -> None:
    """Its root cannot be written, it has no capabilities, and is told to stop early enough."""
    springline = project["services"]["springline"]
    assert springline["read_only"]
    assert springline["cap_drop"] == ["ALL"]
    assert springline["security_opt"] == ["no-new-privileges:true"]
    [manifests] = springline["volumes"]
    assert manifests["read_only"]
    assert Path(manifests["source"]) == COMPOSE.parent / "manifests"
    assert Path(springline["build"]["context"]) == COMPOSE.parents[2]
    assert [each["host_ip"] for each in springline["ports"]] == ["127.0.0.1"]
    words = springline["command"]
    takes = float(words[words.index("--shutdown-timeout") + 1])
    assert float(springline["stop_grace_period"].removesuffix("s")) >= takes + 5


def test_the_manifests_beside_the_compose_file_fit_it(project: dict[str, Any]) -> None:
    """They load and lack nothing; the broker's name and login are those of its service."""
    manifests = loader.load(loader.manifest_files(COMPOSE.parent / "manifests"))
    assert [str(problem) for problem in manifests.problems] == []
    [file] = (COMPOSE.parent / "manifests").iterdir()
    declared = {str(each["kind"]): each for each in recipes.documents(file)}
    rabbitmq = project["services"]["rabbitmq"]
    assert declared["Secret"]["stringData"] == {
        "username": rabbitmq["environment"]["RABBITMQ_DEFAULT_USER"],
        "password": rabbitmq["environment"]["RABBITMQ_DEFAULT_PASS"],
    }
    [endpoint] = declared["Broker"]["spec"]["endpoints"]
    assert endpoint["host"] in project["services"]


def test_the_manifests_of_the_sidecar_fit_together(tmp_path: Path) -> None:
    """What is in its ConfigMap and its Secret loads as one directory, and lacks nothing."""
    for document in recipes.documents(SIDECAR):
        for name, text in {**document.get("data", {}), **document.get("stringData", {})}.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
    manifests = loader.load(loader.manifest_files(tmp_path))
    assert [str(problem) for problem in manifests.problems] == []
    assert {(identity.kind, identity.name) for identity in manifests.objects} == {
        ("Broker", "rabbit"),
        ("BrokerConnection", "orders"),
        ("Secret", "orders-amqp"),
    }


def test_what_the_page_and_the_recipes_say_of_each_other_is_there() -> None:
    """Commands of the page name files of deploy/, and comments there a heading of the page."""
    page = Page(DEPLOY.parent / "docs" / "recipes.md")
    named = {name for each in page.commands for name in re.findall(r"deploy/[\w./-]+", each)}
    assert named
    assert [name for name in named if not (DEPLOY.parent / name).exists()] == []
    texts = [path.read_text(encoding="utf-8") for path in (UNIT, COMPOSE, SIDECAR)]
    anchors = {anchor for text in texts for anchor in re.findall(r"recipes\.md#([\w-]+)", text)}
    assert len(anchors) == len(texts)
    assert anchors <= page.anchors
