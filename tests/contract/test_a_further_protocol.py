"""A further protocol is one folder and one line, and one more parameter that folder and the model.

A copy of the tree gets Echo (`skeleton/echo`): its driver in `drivers`, its harness beside those of
the other protocols, and its line in the table. Then the copy is asked what every change is asked:
format, lint, types and layers, the contract suite, and whether it runs. What would have to change
besides is a defect of the seam between the protocols and the rest.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SKELETON = ROOT / "tests" / "skeleton" / "echo"
TOOLS = Path(sys.executable).parent

LINE = (
    '    ProtocolInfo(name="echo", title="Echo", port=7, tls_port=8, place="hub",'
    ' mechanisms=("CHANT",)),\n'
)

MODEL = "operator/springline/api/connection.py"
PARAMETERS = "operator/springline/drivers/echo/parameters.py"
HARNESS = "tests/support/harnesses/echo.py"

BLOCK = '''
class Echo(ApiModel):
    """What Echo alone has."""

    volume: Annotated[int, Between(1, 11)] = Field(
        default=1, description="How loud the hub answers."
    )


'''.lstrip()
FIELD = """
    echo: Shared[Echo] = Field(default=Echo(), description="What Echo alone has.")
""".lstrip("\n")

# file, what comes into it, and before what
ONE_MORE_PARAMETER = [
    (MODEL, BLOCK, "class BrokerConnectionSpec(ApiModel):\n"),
    (MODEL, FIELD, "    suspend: bool = Field("),
    (PARAMETERS, "    volume: int\n", "    longest_line: int\n"),
    (PARAMETERS, " " * 12 + "volume=connection.echo.volume,\n", " " * 12 + "longest_line="),
    (HARNESS, " " * 16 + "volume=1,\n", " " * 16 + "longest_line="),
]


@dataclass(frozen=True, slots=True)
class Tree:
    """A copy of the repository, to be changed and asked."""

    root: Path

    def run(self, tool: str, *arguments: str | Path) -> str:
        """Run a tool in it; return what it says. It has to be content."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        paths = {
            "PYTHONPATH": os.pathsep.join(str(self.root / name) for name in ("operator", "tests")),
            "MYPYPATH": "examples/demo",
        }
        done = subprocess.run(
            [TOOLS / tool, *arguments],
            cwd=self.root,
            env={**kept, **paths},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{tool}:\n{said}"
        return said

    def check(self) -> None:
        """Ask what `make check` asks of code."""
        self.run("ruff", "format", "--check", ".")
        self.run("ruff", "check", ".")
        self.run("mypy", "operator", "tests", "examples/demo", "image")
        self.run("lint-imports", "--no-logo")

    def passed(self, *arguments: str) -> list[str]:
        """Run tests; return the names of those that passed, which have to be all."""
        said = self.run("pytest", "-v", "-p", "no:cacheprovider", *arguments)
        assert " skipped" not in said
        return re.findall(r"::(\S+) PASSED", said)

    def insert(self, name: str, text: str, *, before: str) -> None:
        """Put a text into a file."""
        path = self.root / name
        there = path.read_text(encoding="utf-8")
        assert there.count(before) == 1, f"{before!r} in {name}"
        path.write_text(there.replace(before, text + before), encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The copy, with Echo."""
    root = tmp_path_factory.mktemp("further") / "tree"
    # mypy's findings on all that is as it was are taken along, where there are any.
    unused = shutil.ignore_patterns(
        *(".git", ".venv", ".cache", "build", "dist", "htmlcov", "bench-results"),
        *("__pycache__", ".pytest_cache", ".hypothesis"),
    )
    shutil.copytree(ROOT, root, ignore=unused)
    tree = Tree(root)
    shutil.copytree(SKELETON / "driver", root / "operator/springline/drivers/echo")
    shutil.copy(SKELETON / "harness.py", root / "tests/support/harnesses/echo.py")
    table = root / "operator/springline/protocols.py"
    before, opening, after = table.read_text(encoding="utf-8").partition("_TABLE: Final = (\n")
    entries, end, rest = after.partition("\n)\n")
    table.write_text(f"{before}{opening}{entries}\n{LINE}{end[1:]}{rest}", encoding="utf-8")
    return tree


def test_its_code_is_as_all_code_has_to_be(tree: Tree) -> None:
    tree.check()


def test_it_keeps_what_every_driver_promises(tree: Tree) -> None:
    passed = tree.passed("tests/contract/test_driver_contract.py", "-k", "echo")
    assert len(passed) > 10
    assert all(name.endswith("[echo]") for name in passed)


def test_it_is_in_whatever_is_made_of_the_table(tree: Tree) -> None:
    """What is generated, is generated; no test and no other source knows which protocols there
    are."""
    tree.run("python", "-m", "springline.api.crds", "crds")
    tree.run("python", "-m", "support.chart_files")
    tree.run("python", "-m", "support.reference_pages")
    tree.run("python", "-m", "support.metrics_page")
    assert "- echo\n" in (tree.root / "crds/springline.dev_brokers.yaml").read_text("utf-8")
    tree.passed(
        "tests/unit/test_protocols.py",
        "tests/unit/test_words_of_protocols.py",
        "tests/unit/test_docs.py",
        "tests/unit/api/test_crds.py",
        "tests/unit/core/test_another_protocol.py",
        "tests/unit/core/test_desired.py",
        "tests/unit/plugin/test_account.py",
        "tests/unit/standalone/test_table.py",
    )


def test_it_runs_without_a_cluster(tree: Tree) -> None:
    shutil.copy(SKELETON / "running.py", tree.root / "tests/contract/test_running.py")
    assert len(tree.passed("tests/contract/test_running.py")) == 4


def test_one_more_parameter_is_its_folder_and_the_model(tree: Tree) -> None:
    """What is verified takes it in by itself, and no other protocol has to refuse it."""
    for name, text, before in ONE_MORE_PARAMETER:
        tree.insert(name, text, before=before)
    shutil.copy(SKELETON / "one_more_parameter.py", tree.root / "tests/contract/test_parameter.py")
    assert len(tree.passed("tests/contract/test_parameter.py")) >= 6
    tree.check()
