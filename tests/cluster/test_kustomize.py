"""What kustomize builds, at a real API server that knows nothing of Springline yet."""

from pathlib import Path

import pytest

from support.apiserver import APIServer
from support.kubectl import Kubectl
from support.kustomize_base import BASE, EXAMPLE
from support.tools import ToolMissing

DEPLOYMENT = "/apis/apps/v1/namespaces/{}/deployments/springline"
CONNECTIONS = "/apis/springline.dev/v1alpha1/namespaces/{}/brokerconnections"


@pytest.fixture
def administrators(disposable_apiserver: APIServer, tmp_path: Path) -> Kubectl:
    """kubectl on a cluster of its own."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(disposable_apiserver.kubeconfig())
    try:
        return Kubectl(tmp_path, kubeconfig)
    except ToolMissing as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("directory", "namespace"),
    [(BASE, "springline-system"), (EXAMPLE, "messaging")],
    ids=["the base", "an overlay"],
)
def test_it_is_applied_in_one_command_and_again(
    administrators: Kubectl, disposable_apiserver: APIServer, directory: Path, namespace: str
) -> None:
    """No field is unknown, nothing is warned of, and the ServiceAccount has the chart's rights."""
    strict = ("--validate=strict", "--warnings-as-errors")
    command = ("apply", "--server-side", *strict, "-k", str(directory))
    said = administrators.run(*command)
    assert f"namespace/{namespace} serverside-applied" in said
    assert disposable_apiserver.request("GET", DEPLOYMENT.format(namespace)).code == 200
    before = disposable_apiserver.request("GET", DEPLOYMENT.format(namespace)).content["metadata"]
    administrators.run(*command)
    after = disposable_apiserver.request("GET", DEPLOYMENT.format(namespace)).content["metadata"]
    assert after["generation"] == before["generation"]
    administrators.run(
        *("wait", "--for=condition=Established", "--timeout=60s"),
        *("crd/brokerconnections.springline.dev", "crd/brokers.springline.dev"),
    )
    token = disposable_apiserver.token_for(namespace, "springline")
    found = disposable_apiserver.request("GET", CONNECTIONS.format("default"), token=token)
    assert found.code == 200, found.message
    administrators.run("delete", "-k", str(directory), "--wait=false")


def test_a_dry_run_is_accepted_before_anything_is_there(administrators: Kubectl) -> None:
    """The definitions alone, which those who administer the cluster may want to see first."""
    said = administrators.run(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict"),
        *("-k", str(BASE.parent / "crds")),
    )
    assert said.count("serverside-applied (server dry run)") == 3
