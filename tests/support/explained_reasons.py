"""The reasons as `kubectl springline explain` has them, taken from the documentation.

Run `python -m support.explained_reasons` (`make reasons`) to write the file anew; a test holds it
in step.
"""

import json
import re
from pathlib import Path
from typing import Any

from support.markdown import Page

__all__ = ["FILE", "written"]

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "operator" / "springline" / "plugin" / "reasons.json"
STATUS = ROOT / "docs" / "status.md"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"

_CONDITIONS = (
    *("Ready", "Reachable", "Connected", "CredentialsValid", "Synced"),
    *("Blocked", "BindingPublished"),
)
# Words of the column "family", and of which row of the table of families each is.
_FAMILIES = {"passes": "may pass", "refused": "refused", "declaration": "cannot work"}


def written() -> str:
    """Return the file as it should be."""
    content = {"families": _families(), "reasons": _reasons()}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _families() -> dict[str, str]:
    rows = Page(STATUS).rows("## How Springline goes on")
    found = {}
    for word, beginning in _FAMILIES.items():
        [(_, following, ends)] = [row for row in rows if row[0].startswith(beginning)]
        if ends == "the same":
            ends = rows[0][2]
        until = ends.replace("when", "until", 1)
        found[word] = f"not {until}" if following == "none" else f"{following}, {until}"
    return found


def _reasons() -> dict[str, dict[str, Any]]:
    page, found = Page(STATUS), dict[str, dict[str, Any]]()
    for condition in _CONDITIONS:
        for names, *cells in page.rows(f"## {condition}"):
            for reason in re.findall(r"`(\w+)`", names):
                entry = found.setdefault(reason, {"meanings": [], "section": _section(reason)})
                entry["meanings"].append({"condition": condition, **_meaning(reason, cells)})
    return found


def _meaning(reason: str, cells: list[str]) -> dict[str, str]:
    if len(cells) == 3:  # of Connected: what it means, what to do, the family
        meaning, advice, family = cells
        status = "True" if reason == "Open" else "False"
        return {"status": status, "meaning": meaning, "advice": advice, "retry": family}
    status, meaning = cells
    return {"status": status, "meaning": meaning}


def _section(reason: str) -> str:
    """Return what the page on troubleshooting has below the reason's heading."""
    _, found, rest = Page(TROUBLESHOOTING).text.partition(f"\n### {reason}\n")
    return re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0].strip() if found else ""


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
