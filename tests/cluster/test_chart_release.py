"""The life of a release: what an upgrade brings, and what an uninstall leaves."""

import asyncio
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
    await eventually(lambda: not disposable_apiserver.request("GET", definitions).content["items"])


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
    await eventually(lambda: disposable_apiserver.request("GET", DEFINITION).code == 404)


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


@pytest.fixture
def namespaces(disposable_apiserver: APIServer) -> tuple[str, str]:
    """Two, for a release each."""
    for namespace in ("orders", "billing"):
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        assert disposable_apiserver.request("POST", "/api/v1/namespaces", made).code in (201, 409)
    return "orders", "billing"


def test_two_releases_can_share_a_cluster(
    disposable_apiserver: APIServer,
    release: Callable[..., Release],
    namespaces: tuple[str, str],
) -> None:
    """Under one name in two namespaces; the second leaves out what there is once in a cluster."""
    first, second = namespaces
    release(namespace=first).install({"watch": {"namespaces": [first]}})
    alone = {"crds": {"install": False}, "rbac": {"userRoles": False}}
    release(namespace=second).install({"watch": {"namespaces": [second]}, **alone})
    for namespace in namespaces:
        path = DEPLOYMENT.replace("springline-system", namespace)
        assert disposable_apiserver.request("GET", path).code == 200
    for mine, other in (namespaces, reversed(namespaces)):
        token = disposable_apiserver.token_for(mine, "springline")
        for namespace, expected in ((mine, 200), (other, 403)):
            path = f"/apis/springline.dev/v1alpha1/namespaces/{namespace}/brokerconnections"
            assert disposable_apiserver.request("GET", path, token=token).code == expected


def test_definitions_belong_to_one_release(
    release: Callable[..., Release], namespaces: tuple[str, str]
) -> None:
    """A second that brings them is refused, as docs/install.md has it, until the first is gone."""
    first, second = (release(namespace=each) for each in namespaces)
    watched = [{"watch": {"namespaces": [each]}} for each in namespaces]
    first.install(watched[0])
    with pytest.raises(HelmFailed, match="invalid ownership metadata"):
        second.install(watched[1])
    page = (CHART.parents[1] / "docs" / "install.md").read_text(encoding="utf-8")
    assert "invalid ownership metadata" in page
    first.uninstall()
    second.install(watched[1], "--take-ownership")


# Stopping the operator first


STOPPING = "/apis/batch/v1/namespaces/springline-system/jobs/springline-stop"
# Made for the Job, and nothing of it is left.
OF_STOPPING = (
    STOPPING,
    "/api/v1/namespaces/springline-system/serviceaccounts/springline-stop",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/springline-system/roles/springline-stop",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/springline-system/rolebindings/springline-stop",
)
RIGHTS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/springline"
STOP_FIRST = {"uninstall": {"stopFirst": True}}


def end_job(server: APIServer, *conditions: str, **counts: int) -> None:
    """Say how the Job has ended, as its controller does."""
    now = "2026-11-21T12:00:00Z"
    status = {
        "startTime": now,
        "conditions": [
            {"type": each, "status": "True", "lastTransitionTime": now, "reason": "Tests"}
            for each in conditions
        ],
        **({"completionTime": now} if "Complete" in conditions else {}),
        **counts,
    }
    answer = server.request("PATCH", f"{STOPPING}/status", {"status": status})
    assert answer.code == 200, answer.message


def codes(server: APIServer, *paths: str) -> list[int]:
    return [server.request("GET", path).code for path in paths]


async def until_job(server: APIServer) -> None:
    await eventually(lambda: codes(server, STOPPING) == [200], timeout=60, what="the Job is there")


async def test_the_operator_is_stopped_before_its_rights_go(
    disposable_apiserver: APIServer, release: Callable[..., Release]
) -> None:
    """Helm waits for the Job, and goes on when it has ended."""
    mine = release()
    mine.install(STOP_FIRST)
    assert codes(disposable_apiserver, *OF_STOPPING) == [404] * len(OF_STOPPING)

    async def end_well() -> None:
        await until_job(disposable_apiserver)
        assert codes(disposable_apiserver, DEPLOYMENT, RIGHTS) == [200, 200]
        end_job(disposable_apiserver, "SuccessCriteriaMet", "Complete", succeeded=1)

    await asyncio.gather(asyncio.to_thread(mine.uninstall), end_well())
    assert codes(disposable_apiserver, DEPLOYMENT, RIGHTS) == [404, 404]
    assert codes(disposable_apiserver, *OF_STOPPING) == [404] * len(OF_STOPPING)


async def test_a_job_that_cannot_be_started_can_be_gone_round(
    disposable_apiserver: APIServer, release: Callable[..., Release]
) -> None:
    """Such as one whose image is not to be had: Helm says so, and `--no-hooks` does without it."""
    mine = release()
    mine.install(STOP_FIRST)

    async def end_badly() -> None:
        await until_job(disposable_apiserver)
        end_job(disposable_apiserver, "FailureTarget", "Failed", failed=1)

    failed, ended = await asyncio.gather(
        asyncio.to_thread(mine.uninstall), end_badly(), return_exceptions=True
    )
    assert ended is None
    assert isinstance(failed, HelmFailed)
    assert codes(disposable_apiserver, STOPPING, DEPLOYMENT) == [404, 200]
    await asyncio.to_thread(mine.uninstall, "--no-hooks")
    assert codes(disposable_apiserver, DEPLOYMENT, RIGHTS) == [404, 404]
    # Helm 3 may leave what was made for the Job, as docs/install.md says.
    for path in OF_STOPPING[1:]:
        disposable_apiserver.request("DELETE", path)


def test_the_notes_are_shown(release: Callable[..., Release]) -> None:
    """With what to do next."""
    notes = release().run("install", "--create-namespace", "--dry-run=server")
    assert "wait --for=condition=Ready" in notes
