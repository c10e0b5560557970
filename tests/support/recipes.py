"""The recipes of deploy/ as the tests read them: a unit of systemd, and the files beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

__all__ = ["COMPOSE", "DEPLOY", "SIDECAR", "UNIT", "documents", "replaced", "service"]

DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy"
UNIT: Final = DEPLOY / "systemd" / "springline.service"
COMPOSE: Final = DEPLOY / "compose" / "compose.yaml"
SIDECAR: Final = DEPLOY / "sidecar" / "orders.yaml"


def service() -> dict[str, list[str]]:
    """Return the settings of the unit's section [Service], each with all of its values."""
    section = ""
    settings: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif section == "Service" and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def replaced(words: Sequence[str], by: Mapping[str, str]) -> list[str]:
    """Return a command line with some of its words, or their beginnings, replaced.

    Each has to be there, so that a recipe that changes is noticed.
    """
    found = list(words)
    for old, new in by.items():
        changed = [new + word.removeprefix(old) if word.startswith(old) else word for word in found]
        assert changed != found, f"{old} is not in {found}"
        found = changed
    return found


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a file of YAML."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
