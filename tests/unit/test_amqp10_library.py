"""How the library for AMQP 1.0 is built into the virtual environment: support/install-amqp10.sh.

On a machine of the test's own: a Python that writes down what it is asked, and some commands.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_PYTHON = """#!/bin/sh
# `-` is the question whether the library is there.
case $1 in
    -) cat >/dev/null; [ -f {directory}/there ] ;;
    -c) echo {directory}/include ;;
    -m)
        echo "$PKG_CONFIG_PATH|$PKG_CONFIG_LIBDIR|$*" >>{directory}/asked
        echo 'error: command cc failed'
        {outcome}
        ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine without Debian's packages."""

    directory: Path

    def install(self, *, outcome: str = "exit 1") -> str:
        """Run the script, and return what it says. It never fails."""
        python = self.directory / "python"
        python.write_text(_PYTHON.format(directory=self.directory, outcome=outcome), "utf-8")
        python.chmod(0o755)
        done = subprocess.run(
            [ROOT / "tests" / "support" / "install-amqp10.sh", python],
            env={"PATH": str(self.directory / "bin"), "PKG_CONFIG_PATH": "/usr/share/pkgconfig"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @property
    def asked(self) -> list[str]:
        """What pip was asked, with the paths of pkg-config before it."""
        path = self.directory / "asked"
        return path.read_text("utf-8").splitlines() if path.exists() else []

    def has_compiler(self) -> None:
        (self.directory / "bin" / "cc").touch(mode=0o755)
        include = self.directory / "include"
        include.mkdir()
        (include / "Python.h").touch()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One without a compiler."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "sed", "dirname", "cat", "tail", "mktemp", "rm", "id"):
        tool = shutil.which(name)
        assert tool is not None
        (programs / name).symlink_to(tool)
    return Machine(tmp_path)


def test_library_that_is_there_is_left_alone(machine: Machine) -> None:
    (machine.directory / "there").touch()
    assert machine.install() == ""
    assert machine.asked == []


def test_without_a_compiler_one_line_says_what_will_not_run(machine: Machine) -> None:
    said = machine.install()
    assert said == (
        "The tests with AMQP 1.0 will not run: there is no C compiler;"
        " install gcc libc6-dev or run this as root on Debian.\n"
    )
    assert machine.asked == []


def test_build_finds_nothing_that_is_not_used_of_it(machine: Machine) -> None:
    """No headers of Cyrus SASL or OpenSSL, and nothing that was built with them before."""
    machine.has_compiler()
    said = machine.install(outcome=f": >{machine.directory}/there")
    assert said.startswith("Building python-qpid-proton ")
    assert said.count("\n") == 1
    [asked] = machine.asked
    assert asked.startswith("|/dev/null|")
    for option in ("--no-cache-dir", "--force-reinstall", "--no-binary python-qpid-proton"):
        assert option in asked
    assert f"--constraint {ROOT / 'constraints.txt'} " in asked


def test_failed_build_is_told_with_its_last_words(machine: Machine) -> None:
    machine.has_compiler()
    said = machine.install()
    assert "error: command cc failed" in said
    assert said.splitlines()[-1] == (
        "The tests with AMQP 1.0 will not run: python-qpid-proton could not be built;"
        " the last words on it are above."
    )


def test_build_that_is_of_no_use_is_told(machine: Machine) -> None:
    machine.has_compiler()
    said = machine.install(outcome="exit 0")
    assert said.splitlines()[-1].endswith(" was built and cannot be used.")
