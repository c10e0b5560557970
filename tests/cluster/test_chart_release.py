"""The life of a release: what an upgrade brings, and what an uninstall leaves."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.apiserver import APIServer
from support.chart import VERSIONS
from support.helm import CHART, HelmFailed, Release
from support.tools import ToolMissing
from support.waiting import eventually

DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/brokers.springline.dev"
DEPLOYMENT = "/apis/apps/v1/namespaces/springline-system/deployments/springline"


@pytest.fixture(params=VERSIONS)
async def release(
    request: pytest.FixtureRequest, disposable_apiserver: APIServer, tmp_path: Path
) -> AsyncIterator[Callable[..., Release]]:
    """Releases on a cluster of their own; nothing of them is left for the next test."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(disposable_apiserver.kubeconfig())
    made: list[Release] = []

    def make(**options: Any) -> Release:
        try:
            helm = VERSIONS[request.param]()
        except ToolMissing as error:
            pytest.skip(f"the releases were not tried: {error}")
        made.append(Release(tmp_path / "helm", kubeconfig, helm=helm, **options))
        return made[-1]

    yield make
    for each in made:
        each.uninstall()
    definitions = DEFINITION.rpartition("/")[0]
    for each in disposable_apiserver.request("GET", definitions).content["items"]:
        disposable_apiserver.request("DELETE", f"{definitions}/{each['metadata']['name']}")
    await eventually(
        lambda: not disposable_apiserver.request("GET", definitions).content["items"], timeout=30
    )


def description(server: APIServer) -> str:
    """What the API server has as the description of a Broker."""
    [version] = server.request("GET", DEFINITION).content["spec"]["versions"]
    return str(version["schema"]["openAPIV3Schema"]["description"])


def test_an_upgrade_brings_new_definitions(
    disposable_apiserver: APIServer, release: Callable[..., Release], tmp_path: Path
) -> None:
    """They are part of the release, unlike what Helm has a directory of its own for."""
    older = tmp_path / "springline"
    shutil.copytree(CHART, older)
    path = older / "files" / "crds" / "springline.dev_brokers.yaml"
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    now, schema["description"] = schema["description"], "Of long ago."
    path.write_text(yaml.safe_dump(definition), encoding="utf-8")
    release(chart=older).install()
    assert description(disposable_apiserver) == "Of long ago."
    release().install()
    assert description(disposable_apiserver) == now


def test_the_definitions_stay_when_the_release_goes(
    disposable_apiserver: APIServer, release: Callable[..., Release]
) -> None:
    """With what was declared; the next release of that name takes them on."""
    release().install()
    release().uninstall()
    assert disposable_apiserver.request("GET", DEPLOYMENT).code == 404
    assert disposable_apiserver.request("GET", DEFINITION).code == 200
    release().install()
    assert disposable_apiserver.request("GET", DEPLOYMENT).code == 200


async def test_the_definitions_go_with_the_release_if_told_so(
    disposable_apiserver: APIServer, release: Callable[..., Release]
) -> None:
    """For clusters that are thrown away."""
    release().install({"crds": {"keep": False}})
    release().uninstall()
    # The API server takes its time to remove what was declared.
    await eventually(
        lambda: disposable_apiserver.request("GET", DEFINITION).code == 404, timeout=30
    )


def test_definitions_of_others_are_taken_over_only_if_told_so(
    disposable_apiserver: APIServer, release: Callable[..., Release]
) -> None:
    """As after `kubectl apply`."""
    definition = yaml.safe_load(
        (CHART / "files" / "crds" / "springline.dev_brokers.yaml").read_text(encoding="utf-8")
    )
    made = disposable_apiserver.request("POST", DEFINITION.rpartition("/")[0], definition)
    assert made.code == 201, made.message
    with pytest.raises(HelmFailed, match=r"brokers\.springline\.dev"):
        release().install()
    release().install(None, "--take-ownership")
    annotations = disposable_apiserver.request("GET", DEFINITION).content["metadata"]["annotations"]
    assert annotations["meta.helm.sh/release-name"] == "springline"


def test_two_releases_can_share_a_cluster(
    disposable_apiserver: APIServer, release: Callable[..., Release]
) -> None:
    """Under one name in two namespaces; the second leaves out what there is once in a cluster."""
    for namespace in ("orders", "billing"):
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        assert disposable_apiserver.request("POST", "/api/v1/namespaces", made).code in (201, 409)
    release(namespace="orders").install({"watch": {"namespaces": ["orders"]}})
    alone = {"crds": {"install": False}, "rbac": {"userRoles": False}}
    release(namespace="billing").install({"watch": {"namespaces": ["billing"]}, **alone})
    for namespace in ("orders", "billing"):
        path = DEPLOYMENT.replace("springline-system", namespace)
        assert disposable_apiserver.request("GET", path).code == 200


def test_the_notes_are_shown(release: Callable[..., Release]) -> None:
    """With what to do next."""
    notes = release().run("install", "--create-namespace", "--dry-run=server")
    assert "wait --for=condition=Ready" in notes
