"""What GitOps tools make of an object: the library kstatus, and Argo CD with a script in Lua.

kstatus is a program of Go around the library itself; `python -m support.gitops` (`make tools`)
builds it, and the tests only look for it. Argo CD's part is a real Lua of the version that Argo CD
has, with no more of Lua's library than a script gets there.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import lupa.lua51  # type: ignore[import-untyped]  # it brings no types along

from support.go_program import GoProgram

__all__ = ["KstatusMissing", "argo", "kstatus"]

_PROGRAM: Final = GoProgram("kstatus", Path(__file__).resolve().parents[1] / "cluster" / "kstatus")
_SECONDS: Final = 60.0

# What is open to a script that is not trusted; of `os`, `io`, `string` and `math` it has nothing.
_OPEN: Final = (
    *("_G", "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall"),
    *("rawequal", "rawget", "rawset", "select", "setmetatable", "table", "tonumber", "tostring"),
    *("type", "unpack", "xpcall"),
)
_HEALTHS: Final = frozenset(
    {"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}
)


class KstatusMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """The program is not there; the text says why."""


def kstatus(*documents: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Return status and message of each object. Raises `KstatusMissing`."""
    if not _PROGRAM.path.is_file():
        raise KstatusMissing("kstatus has not been built: run make tools, with Go")
    done = subprocess.run(
        [_PROGRAM.path],
        input="\n".join(map(json.dumps, documents)),
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    words = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(words) == len(documents)
    return [(word["status"], word["message"]) for word in words]


def argo(script: str, document: Mapping[str, Any]) -> tuple[str, str]:
    """Return health and message of an object, by a script of Argo CD's kind."""
    if "deletionTimestamp" in document["metadata"]:
        return "Progressing", "Pending deletion"  # it says so itself, and asks no script
    lua = lupa.lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False)
    for name in set(lua.globals()) - set(_OPEN):
        lua.globals()[name] = None
    lua.globals()["obj"] = _table(lua, document)
    answer = lua.execute(script)
    health, message = answer["status"], answer["message"]
    assert health in _HEALTHS, f"Argo CD knows no health {health!r}"
    return health, message or ""


def _table(lua: Any, value: Any) -> Any:
    """Return JSON as Argo CD hands it to Lua: objects and lists are tables, null is nothing."""
    match value:
        case Mapping():
            return lua.table_from({key: _table(lua, each) for key, each in value.items()})
        case list():
            return lua.table_from([_table(lua, each) for each in value])
        case _:
            return value


def main() -> None:
    """Build the program, unless it is there, or say why it cannot be had."""
    _PROGRAM.provide("kstatus", lost="The tests of what GitOps tools see will not run")


if __name__ == "__main__":
    main()
