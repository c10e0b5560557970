"""Composition roots make each part after what it needs, so that none is bound late."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import springline

PACKAGE = Path(springline.__file__).parent
ROOTS = ["app.py", "operator_app.py", "checking.py"]


def late_bound(source: str) -> Iterator[str]:
    """Yield the lambdas that use what is made only after them, or may be."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        made = {
            node.id: node.lineno
            for node in reversed(list(ast.walk(function)))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        for node in ast.walk(function):
            if not isinstance(node, ast.Lambda):
                continue
            own = {each.arg for each in node.args.args}
            for used in ast.walk(node.body):
                if not isinstance(used, ast.Name) or used.id in own:
                    continue
                if used.id == "self" or made.get(used.id, 0) > node.lineno:
                    yield ast.unparse(node)


@pytest.mark.parametrize("root", ROOTS)
def test_no_part_is_bound_late(root: str) -> None:
    assert list(late_bound((PACKAGE / root).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "planted",
    [
        "def __init__(self):\n    self.a = A(lambda: self.b)\n    self.b = B()",
        "def run():\n    shown = Shown(lambda: parts.report)\n    parts = Parts(shown)",
        "def run():\n    shown = Shown(lambda key: parts.report(key))\n    parts = Parts(shown)",
    ],
)
def test_a_late_bound_part_is_found(planted: str) -> None:
    assert list(late_bound(planted))


def test_a_part_that_is_there_already_may_be_used() -> None:
    source = "def run():\n    news = Event()\n    parts.follow(lambda _: news.set())"
    assert list(late_bound(source)) == []
