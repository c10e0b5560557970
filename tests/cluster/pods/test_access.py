"""How a pod logs in to the API server: by a kubeconfig with everything in it, by rotated tokens."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.helm import Installed, Release
from support.kubectl import Kubectl
from support.operators import Operator
from support.pods import Measured, Pods
from support.team import Team
from support.waiting import eventually

pytestmark = pytest.mark.kind

MOUNTED = "/etc/springline"
NAMESPACE = "rotating"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
LIFETIME_SECONDS = 600
"""The shortest that the API allows; the kubelet renews a token after four fifths of it."""


async def test_a_kubeconfig_with_embedded_certificates_works_without_a_place_to_write(
    team: Team, pods: Pods, kubectl: Kubectl, configured: Callable[..., None]
) -> None:
    """The container's file system is read-only, and nothing has to be written for it."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login"},
        "stringData": {"kubeconfig": embedded(kubectl.kubeconfig)},
    }
    kubectl.apply(secret, namespace=pods.namespace)
    await asyncio.to_thread(
        configured,
        serviceAccount={"automount": False},
        extraVolumes=[{"name": "login", "secret": {"secretName": "login"}}],
        extraVolumeMounts=[{"name": "login", "mountPath": MOUNTED}],
        extraEnv=[{"name": "KUBECONFIG", "value": f"{MOUNTED}/kubeconfig"}],
    )
    await pods.until_ready()
    [container] = pods.one()["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert [each["mountPath"] for each in container["volumeMounts"]] == [MOUNTED]
    await team.declare("orders")
    await team.until_ready("orders")
    kubectl.delete("secret", "login", namespace=pods.namespace)


def embedded(kubeconfig: Path) -> str:
    """Return a kubeconfig for pods, with everything in it that the other one has in files."""
    document: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    [cluster], [user] = document["clusters"], document["users"]
    for entry in (cluster["cluster"], user["user"]):
        for key in ("certificate-authority", "client-certificate", "client-key"):
            if path := entry.pop(key, None):
                entry[f"{key}-data"] = base64.b64encode(Path(path).read_bytes()).decode()
    # The one that it has may be for the machine alone.
    cluster["cluster"]["server"] = "https://kubernetes.default.svc"
    return yaml.safe_dump(document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotating:
    """A pod whose token soon ends, and that token."""

    pods: Pods
    first: str


@pytest.fixture(scope="session")
def rotating(
    tmp_path_factory: pytest.TempPathFactory, kubectl: Kubectl, installed: Installed
) -> Iterator[Rotating]:
    """A release of its own; what it looks after stays empty until its first token has ended."""
    kubectl.run("create", "namespace", NAMESPACE)
    release = Release(
        tmp_path_factory.mktemp("rotating"), kubectl.kubeconfig, name=NAMESPACE, namespace=NAMESPACE
    )
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": LIFETIME_SECONDS}},
        {"configMap": authority},
    ]
    values = {
        "watch": {"namespaces": [NAMESPACE]},
        "crds": {"install": False},
        "serviceAccount": {"automount": False},
        "extraVolumes": [{"name": "account", "projected": {"sources": sources}}],
        "extraVolumeMounts": [{"name": "account", "mountPath": ACCOUNT, "readOnly": True}],
    }
    release.install({**installed.values, **values}, "--wait")
    pods = Pods(kubectl, NAMESPACE, release=NAMESPACE)
    yield Rotating(pods=pods, first=token(kubectl, pods))
    release.uninstall()
    kubectl.delete("namespace", NAMESPACE, wait=False)


@pytest.fixture(autouse=True)
def _begun(rotating: Rotating) -> None:
    """Begin to wait with the first test here, long before the last one."""
    assert rotating.first


def token(kubectl: Kubectl, pods: Pods) -> str:
    """Return the token that the pod logs in with now."""
    where = [f"--namespace={pods.namespace}", pods.name()]
    return kubectl.run("exec", *where, "--", "cat", f"{ACCOUNT}/token")


def is_accepted(kubectl: Kubectl, token: str) -> bool:
    """Ask the API server whether a token still counts."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token},
    }
    options = ["--filename=-", "--output=json"]
    answer = json.loads(kubectl.run("create", *options, given=json.dumps(review)))
    return bool(answer["status"].get("authenticated"))


@pytest.mark.last
async def test_a_token_that_the_kubelet_rotates_is_read_again(
    rotating: Rotating, springline: Operator, team: Team, kubectl: Kubectl, measured: Measured
) -> None:
    """When its first token has ended, the operator still reads, watches and writes."""
    restarts = rotating.pods.restarts()
    with measured("wait for the end of a ServiceAccount token"):
        await eventually(
            lambda: not is_accepted(kubectl, rotating.first),
            timeout=LIFETIME_SECONDS + 120,
            what="the first token ends",
        )
    assert is_accepted(kubectl, token(kubectl, rotating.pods))
    await asyncio.to_thread(springline.stop)  # it looks after all namespaces
    inside = team.inside(NAMESPACE)
    await inside.declare("orders")
    await inside.until_ready("orders")
    await inside.until_held("orders")
    assert rotating.pods.restarts() == restarts
