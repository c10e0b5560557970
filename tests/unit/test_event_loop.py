"""No coroutine of Springline opens a file or writes output: those are calls that may never return.

Files are read and written in threads (`threads`), and output is queued (`outlets`). What is not,
is listed here with the reason.
"""

from pathlib import Path

import pytest

from support import blocking

ON_LOOP = {
    "drivers/shared/dialling:_numeric": "it takes a number for an address, and asks nobody",
}
"""What coroutines call, and why that does not block."""

APART = {
    "kube/access:Access._reading": "in a thread, in which `Access._read_now` runs it",
    "kube/access:Access._read_into": "called by `Access._reading` alone",
}
"""Coroutines in an event loop of their own."""

ELSEWHERE = {
    "api/crds": "a program of its own",
    "checking": "in a thread",
    "cli": "before an event loop runs, or after it",
    "credentials/certificates": "in a thread",
    "credentials/files": "in a thread",
    "credentials/token_files": "in a thread",
    "drivers/shared/dialling": ON_LOOP["drivers/shared/dialling:_numeric"],
    "entry": "before an event loop runs",
    "kube/access": "in a thread",
    "kube/kubeconfigs": "in a thread, by `kube/access`",
    "kube/trust": "in a thread, by `kube/access`",
    "outlets": "in the thread of an outlet",
    "plugin/bundle": "in a thread",
    "plugin/cli": "before an event loop runs, or after it",
    "plugin/cluster": "in a thread",
    "plugin/completion": "after an event loop has run",
    "plugin/page": "after an event loop has run",
    "plugin/reasons": "no event loop runs",
    "plugin/remote": "in a thread",
    "private_files": "in a thread, by `kube/access` and `credentials/certificates`",
    "standalone/binding": "in a thread",
    "standalone/binding_directory": "in a thread",
    "standalone/loader": "in a thread",
    "standalone/report": "in a thread",
    "standalone/status_files": "in a thread",
    "standalone/watcher": "in a thread",
}
"""The modules with calls that may block, and where those run."""


def test_no_coroutine_makes_a_call_that_may_block() -> None:
    assert blocking.read().on_loop(apart=APART).keys() == ON_LOOP.keys()


def test_calls_that_may_block_are_where_they_are_known_to_be() -> None:
    """Not only coroutines run in the event loop: also what the loop and kopf call back."""
    assert {each.module for each in blocking.read().blocking()} == ELSEWHERE.keys()


PLANTED = {
    "in a coroutine": "async def f():\n    print('x')\n",
    "in what it calls": "async def f():\n    g()\ndef g():\n    open('x')\n",
    "in a method": (
        "class A:\n    async def f(self):\n        self.g()\n"
        "    def g(self):\n        self.path.read_text()\n"
    ),
    "in another module": "from springline import other\nasync def f():\n    other.g()\n",
    "in what is imported": "from springline.other import g\nasync def f():\n    g()\n",
    "in a class that is made": (
        "class A:\n    def __init__(self):\n        os.stat('x')\nasync def f():\n    A()\n"
    ),
}


@pytest.mark.parametrize("text", PLANTED.values(), ids=PLANTED)
def test_planted_call_is_found(tmp_path: Path, text: str) -> None:
    """Otherwise the tests above would say nothing."""
    (tmp_path / "other.py").write_text("def g():\n    os.listdir('x')\n")
    (tmp_path / "planted.py").write_text(text)
    [way] = blocking.read(tmp_path).on_loop().values()
    assert way.startswith("planted:")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("async def f():\n    await run(lambda: open('x'))\n", id="given to a thread"),
        pytest.param("async def f():\n    await run(g)\ndef g():\n    open('x')\n", id="by name"),
        pytest.param("async def f(c):\n    c.load_verify_locations(cadata='')\n", id="in memory"),
    ],
)
def test_call_that_does_not_block_is_not_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "planted.py").write_text(text)
    assert not blocking.read(tmp_path).on_loop()
