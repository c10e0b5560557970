"""Each contract on imports is broken by an import that it is there to keep out, and by no other.

A copy of the package gets one import more, and import-linter judges it with the project's own
configuration.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from support.amqp10_library import MISSING

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]

LAYERS = "Layers point downwards"
DRIVERS = "A driver imports no other driver, and what drivers share imports none"
TABLE = "What speaks a protocol is found by the table of protocols alone"
AMQP091 = "aiormq, pamqp and yarl stay in the AMQP 0-9-1 driver"
PROTON = "Qpid Proton stays in the AMQP 1.0 driver"
HTTP = "h11 and h2 stay in the HTTP driver, each in one module"

# what is planted, in which module, and the contract that it breaks
PLANTED = [
    ("springline.kube.client", "core/state.py", LAYERS),
    ("springline.core.manager", "errors.py", LAYERS),
    ("springline.operator_app", "kube/paths.py", LAYERS),
    ("springline.operator_app", "app.py", LAYERS),
    ("springline.standalone.loader", "kube/paths.py", LAYERS),
    ("springline.shutdown", "sources.py", LAYERS),
    ("springline.__main__", "cli.py", LAYERS),
    ("springline.errors", "in_no_layer.py", LAYERS),
    ("springline.drivers.amqp091.errors", "drivers/another/__init__.py", DRIVERS),
    ("springline.drivers.amqp091", "drivers/another/driver.py", DRIVERS),
    ("springline.drivers.amqp091.replies", "drivers/shared/hints.py", DRIVERS),
    ("springline.drivers.amqp091.adapter", "operator_app.py", TABLE),
    ("springline.drivers.shared.line", "checking.py", TABLE),
    ("aiormq", "kube/paths.py", AMQP091),
    ("aiormq.abc", "plugin/columns.py", AMQP091),
    ("pamqp", "web.py", AMQP091),
    ("pamqp.commands", "metrics/registry.py", AMQP091),
    ("pamqp", "core/state.py", AMQP091),
    ("aiormq", "drivers/shared/line.py", AMQP091),
    ("aiormq", "drivers/amqp091/connection.py", AMQP091),
    ("yarl", "drivers/shared/line.py", AMQP091),
    ("h11", "drivers/http/connection.py", HTTP),
    ("h2.connection", "drivers/shared/line.py", HTTP),
    ("h11", "credentials/oauth2.py", HTTP),
    ("proton", "core/state.py", PROTON),
    ("proton.reactor", "drivers/shared/line.py", PROTON),
    ("proton", "drivers/amqp091/connection.py", PROTON),
    ("cproton", "drivers/amqp10/library.py", PROTON),
    ("prometheus_client", "web.py", "prometheus_client stays in metrics"),
    (
        "kopf",
        "kube/watching.py",
        "kopf and kubernetes are each imported in one module of the Kubernetes adapter",
    ),
    (
        "kubernetes.aio",
        "kube/framework.py",
        "kopf and kubernetes are each imported in one module of the Kubernetes adapter",
    ),
    (
        "aiohttp",
        "credentials/oauth2.py",
        "aiohttp stays in web, in the Kubernetes adapter and where tokens are asked for",
    ),
    ("oauthlib.oauth2", "credentials/oauth2.py", "oauthlib stays where tokens are asked for"),
    ("dns.resolver", "endpoints/srv.py", "dnspython stays in the resolver"),
    ("watchfiles", "credentials/token_files.py", "watchfiles stays where files are watched"),
    ("click", "core/session.py", "click stays in the commands"),
    ("rich.console", "core/messages.py", "rich stays where a terminal is drawn on"),
    ("pydantic", "core/values.py", "pydantic stays in the models"),
    ("yaml", "core/desired.py", "YAML stays where documents are read and written"),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, to plant imports in."""
    root = tmp_path_factory.mktemp("contracts")
    shutil.copy(ROOT / "pyproject.toml", root)
    unused = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(ROOT / "operator" / "springline", root / "springline", ignore=unused)


@pytest.fixture
def copy(package: Path) -> Iterator[Path]:
    """The copy; what a test adds to it is taken away."""
    before = {path: path.read_bytes() for path in package.rglob("*.py")}
    yield package
    for path in package.rglob("*.py"):
        if path not in before:
            path.unlink()
        elif path.read_bytes() != before[path]:
            path.write_bytes(before[path])


def plant(package: Path, name: str, module: str) -> None:
    """Import `name` in a module of the copy, which is made if there is none."""
    path = package / module
    path.parent.mkdir(exist_ok=True)
    (path.parent / "__init__.py").touch()
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\nimport {name}\n")


def broken(package: Path) -> list[str]:
    """The names of the contracts that the copy breaks."""
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--cache-dir", "cache"],
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    judged = re.findall(r"^(.+) (KEPT|BROKEN)\b", run.stdout, re.MULTILINE)
    assert [name for name, _ in judged] == [contract["name"] for contract in CONTRACTS], run.stdout
    return [name for name, verdict in judged if verdict == "BROKEN"]


def test_the_package_keeps_all_contracts(copy: Path) -> None:
    assert broken(copy) == []


@pytest.mark.parametrize(("name", "module", "contract"), PLANTED)
def test_an_import_out_of_place_breaks_its_contract_alone(
    copy: Path, name: str, module: str, contract: str
) -> None:
    plant(copy, name, module)
    assert broken(copy) == [contract]


def test_every_contract_is_tried() -> None:
    assert {contract for _, _, contract in PLANTED} == {each["name"] for each in CONTRACTS}


def test_every_library_has_a_place() -> None:
    """A new dependency gets a contract that says where it may be imported."""
    pytest.importorskip("proton", reason=MISSING)
    kept = {name for each in CONTRACTS for name in each.get("forbidden_modules", ())}
    modules: dict[str, set[str]] = {}
    for module, distributions in packages_distributions().items():
        for distribution in distributions:
            modules.setdefault(normalised(distribution), set()).add(module)
    declared = PROJECT["project"]
    lines = [*declared["dependencies"], *declared["optional-dependencies"]["amqp10"]]
    required = [re.split(r"[^\w.-]", text)[0] for text in lines]
    provided = set().union(*(modules[normalised(each)] for each in required))
    assert {module for module in provided if not module.startswith("_")} == kept


def normalised(distribution: str) -> str:
    """The name of a distribution as it compares with others."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
