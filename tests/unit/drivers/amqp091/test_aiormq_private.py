"""What is relied on of aiormq's insides is still there, and one file alone relies on it."""

import ast
import dis
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import aiormq
import pytest
from aiormq import connection as aiormq_connection

from springline.drivers.amqp091 import aiormq_private
from springline.drivers.amqp091.aiormq_private import PARTS, AiormqConnection, Outlet, Part

ALLOWED = Path(inspect.getfile(aiormq_private))
PACKAGE = ALLOWED.parents[2]

EACH_PART = pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)


def found(name: str) -> Any:
    """What `Class.attribute` is in aiormq; None if there is no such thing."""
    owner, attribute = name.split(".")
    return getattr(getattr(aiormq_connection, owner, None), attribute, None)


def code_of(name: str) -> Iterator[CodeType]:
    """The code of a function of aiormq, and of what is defined in it."""
    function = found(name)
    if isinstance(function, property):
        function = function.fget
    waiting = [inspect.unwrap(function).__code__] if function is not None else []
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]


def is_there(part: Part) -> bool:
    """Whether a class has the part, or a new object gets it."""
    owner, attribute = part.name.split(".")
    return found(part.name) is not None or any(
        step.opname == "STORE_ATTR" and step.argval == attribute
        for name in (f"{owner}.__init__", f"{owner}.connect")
        for code in code_of(name)
        for step in dis.get_instructions(code)
    )


def no_longer_using(part: Part) -> list[str]:
    """Who should use the part, and does not or is gone."""
    _, attribute = part.name.split(".")
    return [
        name
        for name in part.used_by
        if not any(attribute in code.co_names for code in code_of(name))
    ]


@EACH_PART
def test_what_is_relied_on_is_there_and_used(part: Part) -> None:
    """A release of aiormq that renames or removes one would silently go its own way."""
    assert is_there(part)
    assert part.used_by
    assert no_longer_using(part) == []


@EACH_PART
def test_a_part_that_is_gone_is_noticed(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = getattr(aiormq_connection, part.name.split(".")[0])
    attribute = part.name.split(".")[1]
    if found(part.name) is None:
        # An object gets it when it is made.
        monkeypatch.setattr(owner, "__init__", nothing)
        monkeypatch.setattr(owner, "connect", nothing)
    for base in owner.__mro__:
        if attribute in vars(base):
            monkeypatch.delattr(base, attribute)
    assert not is_there(part)


@EACH_PART
def test_a_part_that_is_no_longer_used_is_noticed(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in part.used_by:
        owner, attribute = name.split(".")
        monkeypatch.setattr(getattr(aiormq_connection, owner), attribute, nothing)
    assert no_longer_using(part) == list(part.used_by)


def nothing(self: object) -> None:
    """Stand in for another release's function."""
    del self


def test_whatever_is_replaced_is_in_the_list() -> None:
    replaced = {
        f"Connection.{name}"
        for name in vars(AiormqConnection)
        if not re.match(r"__|_abc_", name) and hasattr(aiormq.Connection, name)
    }
    assert {"Connection._rpc", "Connection.create_task"} <= replaced
    assert replaced <= {part.name for part in PARTS}


def test_whatever_is_replaced_replaces_something() -> None:
    """A misspelt name would be a method that is never called."""
    private = [name for name in vars(AiormqConnection) if re.match(r"_[^_]", name)]
    ours = [name for name in private if name.startswith(f"_{AiormqConnection.__name__}__")]
    assert [name for name in private if name not in ours and not found(f"Connection.{name}")] == []


def test_the_writer_has_whatever_aiormq_asks_of_one() -> None:
    tree = ast.parse(inspect.getsource(aiormq_connection))
    asked = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "writer"
    }
    assert {"write", "is_closing", "wait_closed"} <= asked
    assert asked <= {name for name in vars(Outlet) if not name.startswith("_")}


def of_others(tree: ast.AST) -> Iterator[str]:
    """Underscore names that are not a module's own: attributes, and mangled ones in any form."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if re.match(r"_[^_]", name):
                yield name
            case (
                ast.Constant(value=str(name))
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
            ) if re.fullmatch(r"_[A-Z][A-Za-z]*__\w+", name):
                yield name


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("connection._reader_task.cancel()", ["_reader_task"]),
        ("self._aiormq._closing", ["_closing"]),
        ("setattr(it, '_Connection__last_frame_time', 0)", ["_Connection__last_frame_time"]),
        ("class A(B):\n async def _Connection__reader(self): pass", ["_Connection__reader"]),
        ("self._line = super().__init__()", []),
    ],
)
def test_what_is_somebody_elses_is_recognised(source: str, names: list[str]) -> None:
    assert list(of_others(ast.parse(source))) == names


def test_no_other_file_of_a_driver_touches_what_is_private() -> None:
    touched = {
        path.relative_to(PACKAGE): names
        for path in (PACKAGE / "drivers").rglob("*.py")
        if path != ALLOWED and (names := list(of_others(ast.parse(path.read_text("utf-8")))))
    }
    assert touched == {}


def test_no_other_file_knows_more_of_aiormq_than_its_exceptions() -> None:
    """So no other class can have one of aiormq's for a base, and replace its methods by chance."""
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.ImportFrom(module=str(module)):
                    names = [f"{module}.{alias.name}" for alias in node.names]
                case ast.Import():
                    names = [alias.name for alias in node.names]
                case _:
                    names = []
            if path != ALLOWED:
                imported |= {name for name in names if name.split(".")[0] == "aiormq"}
    assert imported == {"aiormq.exceptions"}
