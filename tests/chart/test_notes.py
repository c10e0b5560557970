"""What Helm says after an installation: what to do next, and what to think of."""

from pathlib import Path
from typing import Any

import pytest

from springline.standalone import loader
from support.chart import NAMESPACE, RELEASE, Helm
from support.helm import CHART


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
