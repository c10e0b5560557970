"""What the chart is made of: in step with the repository, and clean in Helm's eyes."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import springline
from springline.api import crds
from support import chart_files
from support.chart import NAMESPACE, Helm, HelmFailed, with_all
from support.chart_files import CHART
from support.chart_values import EVERYTHING, EXTRA_OBJECTS, MODES, POD_MONITOR


@pytest.mark.parametrize("path", chart_files.written(), ids=str)
def test_what_is_written_from_elsewhere_is_in_step(path: Path) -> None:
    """`make chart` writes it anew."""
    assert (CHART / path).read_text(encoding="utf-8") == chart_files.written()[path]


def test_there_are_no_other_definitions() -> None:
    """A kind that is gone from crds/ is gone from the chart."""
    crds = Path("files", "crds")
    copied = {path.relative_to(CHART) for path in (CHART / crds).iterdir()}
    assert copied == {path for path in chart_files.written() if path.is_relative_to(crds)}


def test_the_versions_are_springlines(helm4: Helm) -> None:
    """A chart installs the operator of its own version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == springline.__version__
    [container] = helm4.objects({})["Deployment/springline"]["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"].endswith(f":{springline.__version__}")


@pytest.mark.parametrize("mode", MODES)
def test_helm_has_nothing_to_find_fault_with(helm: Helm, mode: str) -> None:
    """Not even a warning."""
    for values in ({}, EVERYTHING, with_all([EVERYTHING, EXTRA_OBJECTS, POD_MONITOR])):
        helm.run("lint", "--strict", CHART, values=with_all([values, MODES[mode]]))


def test_helm_of_both_lines_renders_the_same(helm: Helm, helm4: Helm) -> None:
    """Object by object, in the same order."""
    assert helm.template(EVERYTHING) == helm4.template(EVERYTHING)


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("1.30.9", False), ("1.31.0", True), ("1.33.4-gke.1000", True), ("1.36.0", True)],
)
def test_the_version_of_kubernetes_counts(helm: Helm, version: str, accepted: bool) -> None:
    """Also where a provider has put its own behind it."""
    command = ("template", "springline", CHART, f"--kube-version={version}")
    if accepted:
        helm.run(*command)
        return
    with pytest.raises(HelmFailed, match=r"incompatible with Kubernetes v1\.30\.9"):
        helm.run(*command)


# The definitions


def definitions(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        each["metadata"]["name"]: each
        for each in objects
        if each["kind"] == "CustomResourceDefinition"
    }


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_definitions_are_those_of_the_models(helm: Helm, values: dict[str, Any]) -> None:
    """The chart adds metadata and changes nothing."""
    rendered = definitions(helm.template(values))
    expected = {each["metadata"]["name"]: each for each in crds.crds().values()}
    assert rendered.keys() == expected.keys()
    for name, each in expected.items():
        metadata = rendered[name].pop("metadata")
        wanted = each["metadata"]
        assert metadata["labels"].items() >= wanted.get("labels", {}).items()
        assert metadata["annotations"].items() >= wanted.get("annotations", {}).items()
        assert rendered[name] == {key: part for key, part in each.items() if key != "metadata"}


def test_the_definitions_outlive_the_release_unless_told_otherwise(helm4: Helm) -> None:
    """With them would go every Broker and BrokerConnection."""
    for crd in definitions(helm4.template({})).values():
        assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    for crd in definitions(helm4.template({"crds": {"keep": False}})).values():
        assert "annotations" not in crd["metadata"]


def test_nothing_in_a_definition_is_a_template(helm: Helm, tmp_path: Path) -> None:
    """A description may show braces, and a definition may bring labels and annotations."""
    chart = tmp_path / "springline"
    shutil.copytree(CHART, chart)
    path = next((chart / "files" / "crds").iterdir())
    crd = yaml.safe_load(path.read_text(encoding="utf-8"))
    text = 'Such as {{ .Values.nothing }} and {{ fail "no" }}.\nspec:\n'
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = text
    crd["metadata"] |= {"labels": {"own": "label"}, "annotations": {"own": "annotation"}}
    path.write_text(yaml.safe_dump(crd, sort_keys=False), encoding="utf-8")
    [rendered] = [
        each
        for name, each in definitions(helm.template(EVERYTHING, chart=chart)).items()
        if name == crd["metadata"]["name"]
    ]
    assert rendered["spec"] == crd["spec"]
    assert rendered["metadata"]["labels"].items() >= {"own": "label", "kept": "yes"}.items()
    assert rendered["metadata"]["annotations"] == {
        "own": "annotation",
        "example.com/why": "crds",
        "example.com/owner": "platform",
        "helm.sh/resource-policy": "keep",
    }


# What users add


def test_every_object_carries_the_annotations_for_all(helm: Helm) -> None:
    """Its own count more. The operator's Pod is left out, or it would be replaced."""
    mine = {"example.com/owner": "platform", "example.com/why": "all"}
    values = with_all([EVERYTHING, {"commonAnnotations": mine}])
    objects = helm.objects(values)
    for name, each in objects.items():
        annotations = each["metadata"]["annotations"]
        assert annotations["example.com/owner"] == "platform", name
        assert all(isinstance(text, str) for text in annotations.values()), name
    deployment = objects["Deployment/springline"]
    assert deployment["metadata"]["annotations"]["example.com/why"] == "deployment"
    assert objects["Pod/springline-ready"]["metadata"]["annotations"]["helm.sh/hook"] == "test"
    pod = deployment["spec"]["template"]["metadata"]["annotations"]
    assert "example.com/owner" not in pod


def test_objects_of_the_users_own_are_taken_as_they_are(helm: Helm) -> None:
    """An object is no template, a text is one; neither is given labels or a name."""
    objects = helm.objects(with_all([EXTRA_OBJECTS, {"commonLabels": {"team": "platform"}}]))
    assert objects["ConfigMap/certificates"] == EXTRA_OBJECTS["extraObjects"][0]
    assert objects["ConfigMap/more"] == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "more", "namespace": NAMESPACE},
        "data": {"image": f"ghcr.io/springline/springline:{springline.__version__}"},
    }


# In other hands


def test_the_chart_can_be_a_part_of_another(helm: Helm, tmp_path: Path) -> None:
    """Helm hands `global` down, and a condition's value; neither is refused."""
    parent = tmp_path / "platform"
    (parent / "charts").mkdir(parents=True)
    shutil.copytree(CHART, parent / "charts" / "springline")
    dependency = {"name": "springline", "version": "*", "condition": "springline.enabled"}
    (parent / "Chart.yaml").write_text(
        json.dumps(
            {
                "apiVersion": "v2",
                "name": "platform",
                "version": "1.0.0",
                "dependencies": [dependency],
            }
        )
    )
    values = {"global": {"site": "north"}, "springline": {"enabled": True}}
    kinds = {each["kind"] for each in helm.template(values, chart=parent)}
    assert {"Deployment", "CustomResourceDefinition"} <= kinds
    values = {"springline": {"enabled": False}}
    assert helm.template(values, chart=parent) == []


def test_the_packed_chart_is_the_chart(helm: Helm, tmp_path: Path) -> None:
    """Nothing that templates need is left out of the archive."""
    helm.run("package", CHART, f"--destination={tmp_path}")
    [archive] = tmp_path.glob("*.tgz")
    assert archive.name == f"springline-{springline.__version__}.tgz"
    assert helm.template(EVERYTHING, chart=archive) == helm.template(EVERYTHING)


@pytest.mark.parametrize("name", ["123", "yes", "null", "n" * 53])
def test_any_name_of_a_release_and_a_namespace_stays_a_name(helm: Helm, name: str) -> None:
    """Not a number, a truth or nothing; and no longer than Kubernetes takes them."""
    values = with_all([EVERYTHING, {"watch": {"namespaces": [name]}}])
    for each in helm.template(values, release=name, namespace=name):
        metadata = each["metadata"]
        assert isinstance(metadata["name"], str)
        assert isinstance(metadata.get("namespace", ""), str)
        assert all(isinstance(label, str) for label in metadata["labels"].values())
        assert all(len(label) <= 63 for label in metadata["labels"].values())
        if not each["kind"].startswith(("ClusterRole", "CustomResource")):
            assert len(metadata["name"]) <= 63


def test_every_object_carries_the_labels_that_are_recommended(helm4: Helm) -> None:
    """One can tell by them what belongs to the release."""
    for each in helm4.template(EVERYTHING):
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "springline", each["kind"]
        assert re.fullmatch("springline(-test|-stop)?", labels["app.kubernetes.io/name"])
        assert "team" in labels, each["kind"]


def test_names_can_be_chosen(helm4: Helm) -> None:
    """All objects follow, and what refers to them."""
    values = with_all([EVERYTHING, {"fullnameOverride": "lines", "namespaceOverride": "other"}])
    objects = helm4.objects(values)
    named = {name for name in objects if not name.startswith("CustomResource")}
    assert {re.sub(r"^\w+/lines(-.*)?$", "", name) for name in named} == {""}
    assert objects["ClusterRoleBinding/lines"]["subjects"][0]["namespace"] == "other"
    assert objects["ServiceMonitor/lines"]["spec"]["namespaceSelector"]["matchNames"] == ["other"]
    assert helm4.objects({}, release="mine").keys() & {"Deployment/mine-springline"}
