"""What Helm says after an installation: what to do next, and what to think of."""

from pathlib import Path
from typing import Any

import pytest

from springline.standalone import loader
from support.chart import NAMESPACE, RELEASE, Helm
from support.helm import CHART

ROOT = Path(__file__).resolve().parents[2]


def notes(helm: Helm, values: dict[str, Any]) -> str:
    # Helm 3 wants a cluster for that.
    where = f"--namespace={NAMESPACE}"
    text = helm.run("install", RELEASE, CHART, where, "--dry-run=client", values=values)
    return text.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize("labelled", [True, False])
def test_the_first_connection_is_a_good_one(helm4: Helm, tmp_path: Path, labelled: bool) -> None:
    """It can be copied as it stands; its Secret has the label if one is needed."""
    text = notes(helm4, {"security": {"requireSecretLabel": labelled}})
    lines = text.partition("<<'END'\n")[2].partition("\n  END\n")[0].splitlines()
    assert all(line.startswith("  ") for line in lines)
    manifest = tmp_path / "first.yaml"
    manifest.write_text("\n".join(line.removeprefix("  ") for line in lines))
    loaded = loader.load([manifest])
    assert [str(problem) for problem in loaded.problems] == []
    assert {identity.kind for identity in loaded.objects} == {
        "Broker",
        "Secret",
        "BrokerConnection",
    }
    assert ('springline.dev/allowed: "true"' in text) == labelled


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({}, True),
        ({"security": {"requireSecretLabel": True}}, False),
        ({"watch": {"namespaces": ["orders"]}}, False),
    ],
    ids=["by default", "with labelled Secrets alone", "in a namespace alone"],
)
def test_the_risk_is_told_in_one_line(helm4: Helm, values: dict[str, Any], warned: bool) -> None:
    """Whoever may declare connections in any namespace can use its Secrets."""
    warnings = [line for line in notes(helm4, values).splitlines() if line.startswith("WARNING")]
    assert len(warnings) == warned
    assert all("security.requireSecretLabel=true" in line for line in warnings)


def test_commands_name_the_release(helm4: Helm) -> None:
    """Its namespace, and one that it looks after."""
    text = notes(helm4, {"watch": {"namespaces": ["orders", "billing"]}, "fullnameOverride": "x"})
    assert f"kubectl --namespace {NAMESPACE} rollout status deployment/x\n" in text
    assert f"helm --namespace {NAMESPACE} test {RELEASE}\n" in text
    assert "kubectl --namespace orders apply -f -" in text
    assert "kubectl --namespace orders wait --for=condition=Ready" in text
    assert "kubectl --namespace orders get brokerconnections -o wide" in text


def test_what_the_release_lacks_is_told(helm4: Helm) -> None:
    """So that nobody waits for it."""
    text = notes(helm4, {"crds": {"install": False}, "rbac": {"create": False}})
    assert "Definitions are not part of this release" in text
    assert "No Roles were created" in text
    text = notes(helm4, {})
    assert "not part of this release" not in text
    assert "No Roles were created" not in text


def test_another_release_is_told_to_leave_out_what_there_is_once(helm4: Helm) -> None:
    """Where there may be one: this looks after some namespaces only, and brings the definitions."""
    said = "crds.install=false"
    watch = {"namespaces": ["orders"]}
    assert said in notes(helm4, {"watch": watch})
    assert said not in notes(helm4, {})
    assert said not in notes(helm4, {"watch": watch, "crds": {"install": False}})


def test_the_operator_is_stopped_before_it_is_uninstalled(helm4: Helm) -> None:
    """By the commands that the documentation has, or by the chart."""
    labels = helm4.objects({})["Deployment/springline"]["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{name}={each}" for name, each in labels.items())
    kubectl = f"kubectl --namespace {NAMESPACE}"
    commands = [
        f"{kubectl} scale deployment/springline --replicas=0",
        f"{kubectl} wait pod --for=delete --timeout=60s --selector={selector}",
        f"helm --namespace {NAMESPACE} uninstall {RELEASE}",
    ]
    assert uninstalling(notes(helm4, {})) == commands
    assert uninstalling(notes(helm4, {"uninstall": {"stopFirst": True}})) == commands[-1:]
    for page in ("docs/install.md", "docs/operations.md", "charts/springline/README.md"):
        text = " ".join((ROOT / page).read_text(encoding="utf-8").replace("\\\n", "").split())
        told = [command.replace("deployment/", "deployment ") for command in commands[:2]]
        assert all(command in text for command in told), page


def uninstalling(text: str) -> list[str]:
    return [line.strip() for line in text.partition("To uninstall")[2].splitlines()[1:] if line]
