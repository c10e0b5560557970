"""Getting the brokers that run on Java: all of one or nothing of it, and why not."""

import hashlib
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support import java_peers, suites
from support.java_peers import PEERS, Artifact
from support.missing import PeerMissing

# Files below `offers` are Maven's; its `log` has what was asked.
MVN = """#!/bin/sh
echo run >>{offers}/log
for each in "$@"; do
    case $each in
    -DoutputDirectory=*) out=${{each#*=}} ;;
    --file) next=yes ;;
    *) if [ "$next" ]; then pom=$each; next=; fi ;;
    esac
done
cp "$pom" {offers}/pom
[ ! -f {offers}/broken ] || {{ echo "[ERROR] no route"; exit 1; }}
cp {offers}/*.jar {offers}/*.zip "$out"
"""
JAVA = """#!/bin/sh
echo 'openjdk version "{version}" 2020-01-01' >&2
"""


class Machine:
    """A machine with a cache of its own, and a Maven that offers what is pinned."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.cache = directory / "cache" / "springline"
        self.offers = directory / "offers"
        self.programs = directory / "bin"
        self.pins = directory / "java-peers.artifacts"
        for each in (self.offers, self.programs):
            each.mkdir()
        self.program("mvn", MVN.format(offers=self.offers))
        self.program("java", JAVA.format(version="17.0.1"))
        with zipfile.ZipFile(self.offers / "art-1.0-bin.zip", "w") as archive:
            archive.writestr("art-1.0/lib/art.jar", "a jar")
            archive.writestr("art-1.0/bin/art", "a program")
        (self.offers / "bj-2.0.jar").write_text("another jar")
        self._pin()
        monkeypatch.setattr(java_peers, "_PINS", self.pins)
        monkeypatch.setenv("XDG_CACHE_HOME", str(self.cache.parent))
        monkeypatch.setenv("PATH", f"{self.programs}:/usr/bin:/bin")
        monkeypatch.delenv("JAVA_HOME", raising=False)

    def program(self, name: str, text: str) -> None:
        """Put a program into PATH."""
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def leave_alone(self, name: str) -> None:
        """Have this program and no other in PATH."""
        for path in self.programs.iterdir():
            if path.name != name:
                path.unlink()
        self.monkeypatch.setenv("PATH", str(self.programs))

    def _pin(self) -> None:
        rows = {
            "artemis": ("g:art:1.0:zip:bin", "art-1.0-bin.zip"),
            "broker-j": ("g:bj:2.0", "bj-2.0.jar"),
        }
        lines = [
            f"{name} {coordinates} {hashlib.sha256((self.offers / file).read_bytes()).hexdigest()}"
            for name, (coordinates, file) in rows.items()
        ]
        self.pins.write_text("# What is pinned.\n\n" + "\n".join(lines) + "\n")

    @property
    def left(self) -> set[str]:
        """What is in the cache, but for locks."""
        return {path.name for path in self.cache.iterdir() if path.suffix != ".lock"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One on which everything can be had."""
    return Machine(tmp_path, monkeypatch)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert java_peers.main() == 0
    return capsys.readouterr().out.splitlines()


def test_they_are_got_once(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys) == [
        "Getting Artemis 1.0 with Maven (once)…",
        "Getting Qpid Broker-J 2.0 with Maven (once)…",
    ]
    assert machine.left == {"artemis-1.0", "broker-j-2.0"}
    assert (
        "<artifactId>bj</artifactId><version>2.0</version>" in (machine.offers / "pom").read_text()
    )
    assert {path.name for path in java_peers.find("artemis").jars.iterdir()} >= {"art.jar"}
    assert java_peers.find("broker-j").version == "2.0"
    (machine.offers / "log").unlink()
    assert said(capsys) == []
    assert not (machine.offers / "log").exists()


MISSING: dict[str, tuple[Callable[[Machine], object], str]] = {
    "no Java": (
        lambda machine: machine.monkeypatch.setenv("JAVA_HOME", "/nowhere"),
        "there is no Java here; install 17 or later.",
    ),
    "an old Java": (
        lambda machine: machine.program("java", JAVA.format(version="11.0.2")),
        'it needs Java 17 or later, and this one is openjdk version "11.0.2" 2020-01-01.',
    ),
    "no Maven": (
        lambda machine: machine.leave_alone("java"),
        "it is got with Maven, and there is no mvn here.",
    ),
    "a Maven that fails": (
        lambda machine: (machine.offers / "broken").touch(),
        "Maven could not get it; its words are above.",
    ),
    "another file of its version": (
        lambda machine: (machine.offers / "bj-2.0.jar").write_text("changed"),
        "bj-2.0.jar is not what is pinned.",
    ),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_cannot_be_had_is_said_in_one_line_and_leaves_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    """The tests that skip for it say the same."""
    spoil, why = MISSING[what]
    spoil(machine)
    assert said(capsys)[-1] == f"The tests with Qpid Broker-J 2.0 will not run: {why}"
    assert "broker-j-2.0" not in machine.left
    assert not [each for each in machine.left if each.endswith(".making")]
    with pytest.raises(PeerMissing, match=re.escape(f"Qpid Broker-J 2.0 is missing: {why}")):
        java_peers.find("broker-j")


def test_what_was_missing_can_be_had_later(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is not said to be missing any more."""
    (machine.offers / "broken").touch()
    said(capsys)
    assert machine.left == {"artemis-1.0.missing", "broker-j-2.0.missing"}
    (machine.offers / "broken").unlink()
    said(capsys)
    assert machine.left == {"artemis-1.0", "broker-j-2.0"}


@pytest.mark.usefixtures("machine")
def test_what_nobody_has_asked_for_says_what_to_do() -> None:
    with pytest.raises(PeerMissing, match=r"Artemis 1\.0 is missing: run `make amqp10-peers`"):
        java_peers.find("artemis")


def test_everything_is_pinned_to_the_bit() -> None:
    """The name of an artifact, as Maven has it, and the file that it copies."""
    for name in PEERS:
        for each in java_peers.pinned(name):
            assert re.fullmatch(r"[0-9a-f]{64}", each.sha256), each
    parsed = Artifact.parse("org.example:broker:1.2:zip:bin", "0")
    assert (parsed.version, parsed.file_name) == ("1.2", "broker-1.2-bin.zip")
    assert Artifact.parse("org.example:broker:1.2", "0").file_name == "broker-1.2.jar"


def test_every_target_whose_suite_starts_one_gets_it_first() -> None:
    """So that a fresh machine skips none of the tests; make test gets all there is."""
    makefile = (suites.TESTS.parent / "Makefile").read_text(encoding="utf-8")
    getting = set(re.findall(r"^([\w-]+):[^#\n]* amqp10-peers\b", makefile, re.MULTILINE))
    started = re.compile(
        r"^from support\.(?:artemis|broker_j|amqp10_rabbitmq) import", re.MULTILINE
    )
    starting = {
        path.relative_to(suites.TESTS).parts[0]
        for path in suites.TESTS.rglob("*.py")
        if started.search(path.read_text(encoding="utf-8"))
    } - {"support"}
    assert "broker" in starting
    assert getting >= {"test", "test-brokers", *(f"test-{each}" for each in starting)}
