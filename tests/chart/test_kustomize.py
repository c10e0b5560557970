"""The operator without Helm: what kustomize builds from deploy/kustomize is what the chart is."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import kustomize_base, tools
from support.chart import NAMESPACE, Helm
from support.chart_files import CRDS
from support.kustomize_base import BASE, DIRECTORY, EXAMPLE
from support.markdown import Page

HELMS_OWN = {"app.kubernetes.io/managed-by", "helm.sh/chart"}

Objects = dict[str, dict[str, Any]]


def built(directory: Path) -> Objects:
    """Return what `kubectl kustomize` makes of a directory, by kind and name."""
    try:
        kubectl = tools.kubectl()
    except tools.ToolMissing as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [kubectl, "kustomize", directory], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    documents = yaml.load_all(done.stdout, Loader=yaml.CSafeLoader)
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in documents}


def test_the_base_is_in_step_with_the_chart(helm: Helm) -> None:
    """`make kustomize` writes it anew; either line of Helm renders the same."""
    expected = kustomize_base.written(helm)
    assert {path: (DIRECTORY / path).read_text(encoding="utf-8") for path in expected} == expected
    copied = {path.relative_to(DIRECTORY) for path in (DIRECTORY / "crds").glob("springline*")}
    assert copied == {path for path in expected if path.parts[0] == "crds"}


def test_the_base_is_the_operator_with_its_definitions(helm4: Helm) -> None:
    """The chart's objects without Helm's labels, the definitions of crds/, and the namespace."""
    objects = built(BASE)
    namespace = objects.pop(f"Namespace/{NAMESPACE}")
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    for path in CRDS.glob("*.yaml"):
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert objects.pop(f"CustomResourceDefinition/{definition['metadata']['name']}") == (
            definition
        )
    expected = helm4.objects({"crds": {"install": False}, "tests": {"enabled": False}})
    for each in expected.values():
        for label in HELMS_OWN:
            del each["metadata"]["labels"][label]
    assert objects == expected


def test_nothing_of_the_base_says_that_helm_manages_it() -> None:
    """Neither a label nor an annotation; hooks would never run."""
    for name, each in built(BASE).items():
        metadata = each["metadata"]
        keys = {*metadata.get("labels", {}), *metadata.get("annotations", {})}
        assert [key for key in keys if "helm" in key or key in HELMS_OWN] == [], name


def test_an_overlay_moves_it_to_another_namespace_and_image() -> None:
    """Bindings follow, or the operator would have no rights there."""
    objects = built(EXAMPLE)
    assert "Namespace/messaging" in objects
    assert objects["Namespace/messaging"]["metadata"]["labels"]
    placed = {each["metadata"].get("namespace") for each in objects.values()}
    assert placed == {None, "messaging"}
    for binding in ("ClusterRoleBinding/springline", "RoleBinding/springline-lease"):
        [subject] = objects[binding]["subjects"]
        assert (subject["name"], subject["namespace"]) == ("springline", "messaging")
    [container] = objects["Deployment/springline"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/team/springline:0.1.0"
    assert container["args"][-1] == "--require-secret-label"


def test_the_overlay_of_the_documentation_is_the_example(tmp_path: Path) -> None:
    """Beside the folder `deploy`, as the page has it."""
    shutil.copytree(DIRECTORY, tmp_path / "deploy" / "kustomize")
    page = Page(DIRECTORY.parents[1] / "docs" / "install.md")
    [text] = [block.text for block in page.blocks if "kind: Kustomization" in block.text]
    file = tmp_path / text.splitlines()[0].removeprefix("# ")
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    assert built(file.parent) == built(EXAMPLE)


def test_an_overlay_changes_nothing_else() -> None:
    """The definitions above all."""
    base, example = built(BASE), built(EXAMPLE)
    del base[f"Namespace/{NAMESPACE}"], example["Namespace/messaging"]
    assert base.keys() == example.keys()
    same = {name for name in base if base[name] == example[name]}
    assert {name for name in base if name.startswith(("CustomResource", "ClusterRole/"))} <= same
