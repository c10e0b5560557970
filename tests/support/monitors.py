"""The Prometheus operator's definitions of the kinds that the chart has objects of.

They are in its Go module. `make tools` puts them into a cache outside the repository; the tests
only look there, and never download.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from support.tools import ToolMissing

__all__ = ["definitions", "install"]

_MODULE = "github.com/prometheus-operator/prometheus-operator"
_VERSION = "v0.85.0"
_SUM = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
_FILES = (
    "monitoring.coreos.com_servicemonitors.yaml",
    "monitoring.coreos.com_podmonitors.yaml",
    "monitoring.coreos.com_prometheusrules.yaml",
)


def definitions() -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions. Raises `ToolMissing`."""
    if not _is_there():
        raise ToolMissing("no definitions of the Prometheus operator's kinds: run make tools")
    paths = [_directory() / name for name in _FILES]
    return [yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader) for path in paths]


def install() -> None:
    """Get what is not there. Idempotent. Raises `ToolMissing`."""
    if _is_there():
        return
    go = shutil.which("go")
    if go is None:
        raise ToolMissing("no definitions of the Prometheus operator's kinds: there is no go")
    _directory().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="monitors.", dir=_directory().parent) as temporary:
        source = _downloaded(go, Path(temporary))
        for name in _FILES:
            copy = shutil.copy(source / "example" / "prometheus-operator-crd" / name, temporary)
            Path(copy).rename(_directory() / name)


def _is_there() -> bool:
    return all((_directory() / name).is_file() for name in _FILES)


def _directory() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "springline" / f"prometheus-operator-{_VERSION}"


def _downloaded(go: str, temporary: Path) -> Path:
    """Return the module's sources. They are large, and of no use for anything else."""
    environment = {**os.environ, "GOMODCACHE": str(temporary / "go"), "GOFLAGS": "-modcacherw"}
    done = subprocess.run(
        [go, "mod", "download", "-json", f"{_MODULE}@{_VERSION}"],
        cwd=temporary,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode != 0:
        raise ToolMissing(f"{_MODULE}@{_VERSION} could not be downloaded")
    module = json.loads(done.stdout)
    if module["Sum"] != _SUM:
        raise ToolMissing(f"{_MODULE}@{_VERSION} is not what it was: {module['Sum']}")
    return Path(module["Dir"])


if __name__ == "__main__":
    try:
        install()
    except ToolMissing as error:
        print(f"The tests of the chart's monitors and alerts will not run: {error}.")
