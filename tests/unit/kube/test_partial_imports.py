"""Importing a part of a library: what is left out, and that others find it whole.

Each in a fresh interpreter, because what has been imported stays.
"""

import subprocess
import sys

import pytest


def printed(code: str) -> list[str]:
    """Run code and return the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


LOADED = "import sys; print(*sys.modules, sep='\\n')"


@pytest.mark.parametrize(
    "unused",
    [
        "certifi",
        "dns",
        "kubernetes.aio.client.api",
        "kubernetes.aio.dynamic",
        "kubernetes.client",
        "kubernetes.config",
        "oauthlib",
        "pygments",
        "requests",
        "rich",
        "urllib3",
        "watchfiles",
        "websocket",
    ],
)
def test_the_operator_imports_only_what_it_uses(operator_modules: set[str], unused: str) -> None:
    """What it imports it pays for at each start, and in memory as long as it runs."""
    assert not {each for each in operator_modules if f"{each}.".startswith(f"{unused}.")}


@pytest.fixture(scope="module")
def operator_modules() -> set[str]:
    """What `springline operator` has imported when it begins."""
    return set(printed(f"import springline.cli, springline.operator_app; {LOADED}"))


def test_no_model_of_the_client_is_imported(operator_modules: set[str]) -> None:
    """There are hundreds of them, and documents are what is worked with here."""
    prefix = "kubernetes.aio.client.models."
    assert not {each for each in operator_modules if each.startswith(prefix)}


def test_the_plugin_does_without_kopf() -> None:
    """It only asks the API server."""
    loaded = set(
        printed(f"import springline.plugin.cluster, springline.plugin.following; {LOADED}")
    )
    assert "kubernetes.aio.client.api_client" in loaded
    assert not loaded & {"kopf", "kubernetes.client"}


@pytest.mark.parametrize("before", ["", "import kubernetes.aio"], ids=["later", "before"])
def test_others_find_the_library_whole(before: str) -> None:
    """With the same classes as ours, whether they import it before or later."""
    assert printed(
        f"""
{before}
from springline.kube import framework, kubernetes_client as ours
import kubernetes.aio
print(kubernetes.aio.client.Configuration is ours.Configuration)
print(kubernetes.aio.config is ours.config)
print(kubernetes.aio.client.V1Pod.__name__, kubernetes.client.V1Pod.__name__)
"""
    ) == ["True", "True", "V1Pod V1Pod"]


def test_what_is_not_installed_is_named() -> None:
    """As an import would name it."""
    assert printed(
        """
from springline.kube import partial_imports
try:
    with partial_imports.code_of_packages_not_run("kubernetes", "kubernetes.nothing"):
        pass
except ModuleNotFoundError as error:
    print(error.name)
import sys
print("kubernetes" in sys.modules)
"""
    ) == ["kubernetes.nothing", "False"]


def test_absent_packages_are_there_again_afterwards() -> None:
    """Those that had been imported, and those that had not."""
    assert printed(
        """
import json, sys
from springline.kube import partial_imports
with partial_imports.absent("json", "wave"):
    for name in ("json", "wave"):
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            print(error.name)
print(sys.modules["json"] is json, "wave" in sys.modules)
import wave
"""
    ) == ["json", "wave", "True False"]
