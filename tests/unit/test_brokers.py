"""Getting the newer RabbitMQ, and saying which one is here: all of it or nothing, and why not."""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import brokers, suites
from support.behaviours import Behaviour
from support.brokers import NATIVE, NEWER
from support.waiting import PATIENCE, eventually

SUPPORT = suites.TESTS / "support"
SCRIPT = "install-newer-rabbitmq.sh"

# What apt-get, dpkg and dpkg-deb answer; files below `offers` are Debian's packages, and its `log`
# has what was asked. A package's file is put where dpkg-deb would unpack it.
APT_GET = """
echo "$@" >>{offers}/log
while [ "${{1#-}}" != "$1" ]; do shift 2; done
case $1 in
indextargets) cat {offers}/mirror ;;
update)
    if [ -f {offers}/hangs ]; then touch {offers}/begun; exec sleep 600; fi
    test -s {offers}/mirror ;;
download) shift
    if [ "$1" = --print-uris ]; then shift; only_asked=yes; fi
    for each in "$@"; do
        [ -f "{offers}/$each" ] || {{ echo "E: no version of $each" >&2; exit 100; }}
    done
    [ -z "$only_asked" ] || exit 0
    [ ! -f {offers}/broken ] || {{ echo "E: failed to fetch" >&2; exit 100; }}
    for each in "$@"; do cp "{offers}/$each" "./$each.deb"; done ;;
esac
"""
APT_CACHE = "echo 'rabbitmq-server | 4.9.1-1 | a mirror'"
DPKG = "cat {offers}/architecture"
DPKG_DEB = """
mkdir -p "$3/usr/lib/erlang/bin"
case $2 in *rabbitmq*) printf '#!/bin/sh\\n%s\\n' "$(cat "$2")" >"$3/usr/lib/erlang/bin/erl" ;; esac
chmod +x "$3"/usr/lib/erlang/bin/* 2>/dev/null || true
"""
RUNS = "printf 4.9.0"


class Machine:
    """A machine with a cache of its own, and a Debian that offers what a test puts there."""

    def __init__(self, directory: Path, pins: str = NEWER) -> None:
        self.pins = pins
        self.cache = directory / "cache" / "springline"
        self.root = self.cache / "rabbitmq-4.9.0"
        self.offers = directory / "offers"
        self._scripts = directory / "support"
        self._programs = directory / "bin"
        for each in (self.offers, self._scripts, self._programs):
            each.mkdir()
        shutil.copy(SUPPORT / SCRIPT, self._scripts)
        for name, text in {
            "apt-get": APT_GET,
            "apt-cache": APT_CACHE,
            "dpkg": DPKG,
            "dpkg-deb": DPKG_DEB,
        }.items():
            program = self._programs / name
            program.write_text(f"#!/bin/sh\n{text.format(offers=self.offers)}")
            program.chmod(0o755)
        (self.offers / "mirror").write_text("http://mirror.example/debian/\n")
        (self.offers / "architecture").write_text("amd64\n")
        self.pin(**{"rabbitmq-server": RUNS, "erlang-base": "an Erlang"})

    def pin(self, **packages: str) -> None:
        """Pin packages with these contents, and offer them."""
        lines = ["# What is pinned.", "", "suites sid forky"]
        for name, text in packages.items():
            wanted = "4.9.0-1" if name == "rabbitmq-server" else "1:29.0+dfsg-1"
            (self.offers / f"{name}={wanted}").write_text(text)
            lines.append(f"{name} {wanted} {hashlib.sha256(text.encode()).hexdigest()}")
        (self._scripts / self.pins).write_text("\n".join(lines) + "\n")

    def start(self) -> "subprocess.Popen[str]":
        """Start the script."""
        return subprocess.Popen(
            [self._scripts / SCRIPT, *([] if self.pins == NEWER else [self.pins])],
            env={
                "PATH": f"{self._programs}:{os.environ['PATH']}",
                "HOME": "/nowhere",
                "XDG_CACHE_HOME": str(self.cache.parent),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self) -> str:
        """Run the script to its end; it never fails. Return what it says."""
        process = self.start()
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said
        return said

    @property
    def left(self) -> set[str]:
        """What is in the cache, but for the lock."""
        return {path.name for path in self.cache.iterdir() if path.suffix != ".lock"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One on which everything can be had."""
    return Machine(tmp_path)


def test_it_is_got_once(machine: Machine) -> None:
    """With lines on what is done; then it is there, and nothing is asked or said."""
    said = machine.run()
    assert said.splitlines() == [
        "Getting RabbitMQ 4.9.0 with its Erlang from Debian's packages (about 60 MB, once)…",
        "Unpacking RabbitMQ 4.9.0…",
        "RabbitMQ 4.9.0 is there, beside the one that is installed.",
    ]
    assert machine.left == {"rabbitmq-4.9.0"}
    (machine.offers / "log").unlink()
    assert machine.run() == ""
    assert not (machine.offers / "log").exists()


def test_a_file_of_pins_that_is_named_is_what_is_got(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "older.packages")
    assert "RabbitMQ 4.9.0 is there" in machine.run()
    assert machine.left == {"rabbitmq-4.9.0"}


MISSING: dict[str, tuple[Callable[[Machine], object], str]] = {
    "nothing of its version": (
        lambda machine: (machine.offers / "rabbitmq-server=4.9.0-1").unlink(),
        "4.9.0-1 is pinned, and Debian's sid forky offer 4.9.1-1.",
    ),
    "another file of its version": (
        lambda machine: (machine.offers / "rabbitmq-server=4.9.0-1").write_text("printf 4.9.0 "),
        "what Debian offers is not what is pinned.",
    ),
    "another file of its Erlang": (
        lambda machine: (machine.offers / "erlang-base=1:29.0+dfsg-1").write_text("changed"),
        "what Debian offers is not what is pinned.",
    ),
    "an Erlang that does not run": (
        lambda machine: machine.pin(**{"rabbitmq-server": "exit 1", "erlang-base": "an Erlang"}),
        "its Erlang does not run here; its words are above.",
    ),
    "another RabbitMQ than it says": (
        lambda machine: machine.pin(**{"rabbitmq-server": "printf 4.8", "erlang-base": "x"}),
        "its Erlang does not run here; its words are above.",
    ),
    "a mirror that breaks off": (
        lambda machine: (machine.offers / "broken").touch(),
        "its packages cannot be fetched; apt-get's words are above.",
    ),
    "no mirror of Debian": (
        lambda machine: (machine.offers / "mirror").write_text(""),
        "it comes from Debian's packages, and apt-get knows no mirror of Debian here.",
    ),
    "another architecture": (
        lambda machine: (machine.offers / "architecture").write_text("arm64\n"),
        "it is pinned for amd64 only.",
    ),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_cannot_be_had_is_said_in_one_line_and_leaves_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The tests that skip for it say the same."""
    spoil, why = MISSING[what]
    spoil(machine)
    assert machine.run().splitlines()[-1] == f"The tests on RabbitMQ 4.9.0 will not run: {why}"
    assert machine.left == {"rabbitmq-4.9.0.missing"}
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.cache.parent))
    monkeypatch.setattr(brokers, "pinned_version", lambda _pins: "4.9.0")
    broker = brokers.newer()
    assert str(broker) == f"RabbitMQ 4.9.0 is missing: {why}"
    assert list(broker.environment.values()) == [str(broker)]


def test_a_cache_that_cannot_be_made_is_said_to(machine: Machine) -> None:
    """What fails in a way of its own makes tests skip, too."""
    machine.cache.parent.write_text("a file is here")
    words, missing = machine.run().splitlines()
    assert "mkdir" in words
    assert missing.endswith("it could not be got; the last words on it are above.")


def test_an_erlang_that_debian_has_moved_on_from_is_replaced(machine: Machine) -> None:
    """RabbitMQ is the one that is pinned all the same, and a line says what is not."""
    (machine.offers / "erlang-base=1:29.0+dfsg-1").rename(machine.offers / "erlang-base")
    said = machine.run()
    assert "Debian has moved on from the Erlang that is pinned with it" in said
    assert machine.left == {"rabbitmq-4.9.0"}


def test_what_was_missing_can_be_had_later(machine: Machine) -> None:
    """And is not said to be missing any more."""
    (machine.offers / "mirror").write_text("")
    machine.run()
    (machine.offers / "mirror").write_text("http://mirror.example/debian/\n")
    machine.run()
    assert machine.left == {"rabbitmq-4.9.0"}


async def test_an_interrupt_leaves_nothing_half_done(machine: Machine) -> None:
    (machine.offers / "hangs").touch()
    process = machine.start()
    await eventually((machine.offers / "begun").exists, what="it fetches")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert machine.left == set()


async def test_a_run_after_one_that_was_killed_starts_over(machine: Machine) -> None:
    """Nothing of it counts as there, and the lock is free."""
    (machine.offers / "hangs").touch()
    process = machine.start()
    await eventually((machine.offers / "begun").exists, what="it fetches")
    machine.root.mkdir()  # without what says that it is whole
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    (machine.offers / "hangs").unlink()
    assert "is there" in machine.run()
    assert machine.left == {"rabbitmq-4.9.0"}


async def test_two_at_once_get_it_once(machine: Machine) -> None:
    machine.cache.mkdir(parents=True)
    with (machine.cache / "rabbitmq-4.9.0.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        processes = [machine.start(), machine.start()]
        assert all(each.poll() is None for each in processes)
    said = [each.communicate(timeout=PATIENCE)[0] for each in processes]
    assert sorted(bool(each) for each in said) == [False, True]
    assert machine.left == {"rabbitmq-4.9.0"}


async def test_one_that_waits_can_be_interrupted_without_harm(machine: Machine) -> None:
    """It takes nothing away from the one it waits for."""
    (machine.offers / "hangs").touch()
    first = machine.start()
    await eventually((machine.offers / "begun").exists, what="it fetches")
    second = machine.start()
    await eventually(lambda: b"flock" in _commands_of(second.pid), what="it waits")
    os.killpg(second.pid, signal.SIGTERM)
    second.communicate(timeout=PATIENCE)
    assert second.returncode == 143
    assert machine.left == {"rabbitmq-4.9.0.making"}
    os.killpg(first.pid, signal.SIGTERM)
    first.communicate(timeout=PATIENCE)
    assert machine.left == set()


def _commands_of(pid: int) -> bytes:
    """Return what the children of a process are called with."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return b"\n".join(Path(f"/proc/{each}/cmdline").read_bytes() for each in children)


@pytest.mark.parametrize(("pins", "pinned"), [(NEWER, brokers.newer), (NATIVE, brokers.native)])
def test_the_pinned_one_is_what_is_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pins: str,
    pinned: Callable[[], brokers.Broker],
) -> None:
    """Its server, and its Erlang before any other."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = tmp_path / "springline" / f"rabbitmq-{brokers.pinned_version(pins)}"
    root.mkdir(parents=True)
    (root / "complete").touch()
    broker = pinned()
    assert not broker.missing
    assert broker.environment["SPRINGLINE_RABBITMQ_HOME"].startswith(str(root))
    first, *others = broker.environment["PATH"].split(os.pathsep)
    assert first == str(root / "usr" / "lib" / "erlang" / "bin")
    assert others == os.environ["PATH"].split(os.pathsep)


def test_the_documentation_says_which_versions_are_tested_and_what_differs() -> None:
    """A row for each version from which a behaviour is another one."""
    page = (suites.TESTS.parent / "docs" / "concepts.md").read_text(encoding="utf-8")
    [section] = re.findall(r"^## Which RabbitMQ\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert brokers.pinned_version(NEWER) in section
    rows = set(re.findall(r"^\| (\d\S*) \|", section, re.MULTILINE))
    assert rows == {each.since_text for each in Behaviour}
