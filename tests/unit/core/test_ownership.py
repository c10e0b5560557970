"""Who may change what in the core, and who may call whom: held by the shape of the source.

Each mutable field has one owner, the object that it is a field of. What a session uses is called by
it and calls nobody back: it returns what happened, or hands out a stream of it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import springline.core

CORE = Path(springline.core.__file__).parent
MODULES = sorted(path.name for path in CORE.glob("*.py"))

PARTS = ["keeper", "renewal", "lifetime", "told", "notes", "cycle", "helpers", "streams", "probing"]
"""What a session is made of, beside what decides (state, rotation, verdicts)."""

OBSERVERS = {"on_change", "observe"}
"""How the session is watched, and watches its connection: the ports of both say when."""


def foreign_writes(source: str) -> Iterator[str]:
    """Yield what is assigned to another object than the one that it is a field of.

    Records of a class that is private to the module belong to it.
    """
    tree = ast.parse(source)
    private = {
        field.target.id
        for record in ast.walk(tree)
        if isinstance(record, ast.ClassDef) and record.name.startswith("_")
        for field in record.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Store | ast.Del):
            continue
        is_own = isinstance(node.value, ast.Name) and node.value.id == "self"
        if not is_own and node.attr not in private:
            yield ast.unparse(node)


def callbacks(source: str) -> Iterator[str]:
    """Yield the parameters and fields of public things that are there to be called."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                is_private = name.startswith("_") and name != "__init__"
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                for each in arguments:
                    if not is_private and each.annotation and _is_callable(each.annotation):
                        yield f"{name}({each.arg})"
            case ast.AnnAssign(annotation=annotation) if _is_callable(annotation):
                yield ast.unparse(node.target)
            case _:
                pass


def _is_callable(annotation: ast.expr) -> bool:
    names = {each.id for each in ast.walk(annotation) if isinstance(each, ast.Name)}
    return bool(names & {"Callable", "Coroutine", "Awaitable"})


def handed_out(source: str) -> Iterator[str]:
    """Yield what is handed to others of the one who calls them: itself, or one of its methods."""
    tree = ast.parse(source)
    for session in (each for each in ast.walk(tree) if isinstance(each, ast.ClassDef)):
        methods = {
            each.name
            for each in session.body
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            and not any(
                isinstance(one, ast.Name) and one.id == "property" for one in each.decorator_list
            )
        }
        for call in (each for each in ast.walk(session) if isinstance(each, ast.Call)):
            if _called(call).lstrip("_") in OBSERVERS:
                continue
            for given in [*call.args, *(each.value for each in call.keywords)]:
                match given:
                    case ast.Name(id="self") | ast.Lambda():
                        yield ast.unparse(call)
                    case ast.Attribute(value=ast.Name(id="self"), attr=name) if name in methods:
                        yield ast.unparse(call)
                    case _:
                        pass


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


@pytest.mark.parametrize("module", MODULES)
def test_each_mutable_field_is_written_by_its_owner_alone(module: str) -> None:
    assert list(foreign_writes((CORE / module).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("part", PARTS)
def test_what_a_session_uses_is_given_nothing_to_call(part: str) -> None:
    assert list(callbacks((CORE / f"{part}.py").read_text(encoding="utf-8"))) == []


def test_a_session_hands_neither_itself_nor_a_method_to_what_it_calls() -> None:
    assert list(handed_out((CORE / "session.py").read_text(encoding="utf-8"))) == []


# --- the rules are seen to bite


@pytest.mark.parametrize(
    "planted",
    [
        "def f(self):\n    self.notes.retry_at = None",
        "def f(keeper):\n    keeper.live += 1",
        "def f(view):\n    del view.state",
        "class _Other:\n    mine: int\ndef f(entry):\n    entry.yours = 1",
    ],
)
def test_a_write_from_outside_is_found(planted: str) -> None:
    assert list(foreign_writes(planted))


@pytest.mark.parametrize(
    "planted",
    [
        "def __init__(self, advance: Callable[[StateEvent], Awaitable[None]]): ...",
        "def run(self, *, refused: Callable[[Refusal], None] | None = None): ...",
        "class Part:\n    emit: Callable[[str], None]",
    ],
)
def test_a_callback_is_found(planted: str) -> None:
    assert list(callbacks(planted))


@pytest.mark.parametrize(
    "planted",
    ["Part(self)", "Part(advance=self._advance)", "part.run(lambda: self._state)"],
)
def test_a_way_back_that_is_handed_out_is_found(planted: str) -> None:
    source = f"class Session:\n    def run(self):\n        {planted}\n    def _advance(self): ..."
    assert list(handed_out(source))
