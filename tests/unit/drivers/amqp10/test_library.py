"""The library for AMQP 1.0: imported when it is needed, and missed in one sentence."""

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from springline.drivers.amqp10 import library
from springline.errors import TerminalError
from springline.reasons import Reason
from support.amqp10_library import MISSING

needs_library = pytest.mark.skipif(importlib.util.find_spec("proton") is None, reason=MISSING)

MODULES = ("proton", "cproton", "cproton_ffi", "_cffi_backend")


@pytest.fixture
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library has not been imported yet, whatever other tests did."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "proton":
            monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("_forgotten")
def test_missing_library_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, with a reason of its own, and not tried again: an installation is needed."""
    monkeypatch.setitem(sys.modules, "proton", None)
    with pytest.raises(TerminalError) as caught:
        library.load()
    assert caught.value.reason is Reason.PROTOCOL_NOT_INSTALLED
    assert caught.value.message == (
        "protocol amqp10 needs the library python-qpid-proton, which is not installed:"
        ' pip install "springline[amqp10]", or use the image, which has it'
    )


class Broken:
    """Finds the library, and cannot import it."""

    def __init__(self, error: ImportError) -> None:
        self._error = error

    def find_spec(self, name: str, *_: object) -> None:
        if name == "proton":
            raise self._error


@pytest.mark.usefixtures("_forgotten")
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(
            ImportError("libexample.so.2: cannot open shared object file"),
            id="a library of the system is missing",
        ),
        pytest.param(
            ModuleNotFoundError("No module named 'cproton_ffi'", name="cproton_ffi"),
            id="a part of it is missing",
        ),
    ],
)
def test_library_that_cannot_be_loaded_is_not_called_missing(
    monkeypatch: pytest.MonkeyPatch, error: ImportError
) -> None:
    """To install what is installed would change nothing, so the cause is named."""
    monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])
    with pytest.raises(TerminalError) as caught:
        library.load()
    assert caught.value.reason is Reason.PROTOCOL_NOT_INSTALLED
    assert f"which is installed but cannot be loaded ({error})" in caught.value.message


@pytest.mark.usefixtures("_forgotten")
def test_library_that_is_installed_meanwhile_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is not kept: a new declaration is enough after an installation."""
    monkeypatch.setitem(sys.modules, "proton", None)
    with pytest.raises(TerminalError):
        library.load()
    installed = ModuleType("proton")
    monkeypatch.setitem(sys.modules, "proton", installed)
    assert library.load() is installed


@pytest.mark.parametrize(
    "imports",
    [
        "springline.cli, springline.operator_app",
        "springline.cli, springline.app, springline.checking",
        "springline.plugin.cli, springline.plugin.commands",
        "springline.drivers.amqp10.library",
        "springline.adapters; springline.adapters.adapters()",
    ],
    ids=["operator", "standalone mode", "plugin", "this module", "adapters of all protocols"],
)
def test_nothing_of_it_is_imported_before_a_connection_is_opened(imports: str) -> None:
    """Each in a fresh interpreter, because what has been imported stays."""
    code = f"import {imports}; import sys; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "springline.reasons" in done.stdout.splitlines()
    imported = {name.partition(".")[0] for name in done.stdout.splitlines()}
    assert imported.isdisjoint(MODULES)


@needs_library
def test_library_is_loaded() -> None:
    loaded = library.load()
    assert loaded is sys.modules["proton"]
    assert loaded is library.load()


@needs_library
def test_library_is_built_without_what_is_not_used_of_it() -> None:
    """TLS is Python's own, and logins are ours: no OpenSSL and no Cyrus SASL are linked with it.

    With Cyrus it logs in by the plug-ins of the machine alone, and by nothing where there are none.
    """
    proton = library.load()
    assert not proton.SASL.extended()
    assert not proton.SSL.present()
