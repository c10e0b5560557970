"""The recipe of a container next to a service, at a real API server: all of it is accepted."""

import copy
from typing import Any

import pytest
import yaml

from support import recipes
from support.kubectl import Kubectl, KubectlFailed
from support.recipes import SIDECAR

STRICT = ("--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors")


@pytest.fixture
def restricted(kubectl: Kubectl, namespace: str) -> str:
    """A namespace with the strictest Pod Security Standard."""
    kubectl.run("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    # Made in a moment by a controller, and needed for Pods.
    kubectl.run("wait", "--for=create", "serviceaccount/default", "--namespace", namespace)
    return namespace


def test_every_object_of_the_recipe_is_accepted(kubectl: Kubectl, restricted: str) -> None:
    """As it stands, with no unknown field and no warning."""
    said = kubectl.run("apply", *STRICT, f"--namespace={restricted}", f"--filename={SIDECAR}")
    assert said.count("serverside-applied (server dry run)") == len(recipes.documents(SIDECAR))


def test_its_pod_is_let_into_a_restricted_namespace(kubectl: Kubectl, restricted: str) -> None:
    """Pod Security is enforced on Pods, not on what makes them."""
    kubectl.run("apply", *STRICT, f"--namespace={restricted}", "-f-", given=yaml.safe_dump(pod()))
    loose = pod()
    del loose["spec"]["initContainers"][0]["securityContext"]["capabilities"]
    with pytest.raises(KubectlFailed, match="violates PodSecurity"):
        kubectl.run(
            "apply", *STRICT, f"--namespace={restricted}", "-f-", given=yaml.safe_dump(loose)
        )


def test_springline_goes_on_beside_the_service() -> None:
    """It is a sidecar by its restart policy, and ends before it is killed."""
    spec = pod()["spec"]
    [sidecar] = spec["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    [takes] = [
        float(each.partition("=")[2]) for each in sidecar["args"] if "--shutdown-timeout" in each
    ]
    assert spec["terminationGracePeriodSeconds"] >= takes + 5
    assert not spec["automountServiceAccountToken"]


def pod() -> dict[str, Any]:
    """Return the Pod that the recipe's Deployment makes."""
    [deployment] = [each for each in recipes.documents(SIDECAR) if each["kind"] == "Deployment"]
    template = copy.deepcopy(deployment["spec"]["template"])
    metadata = {**template["metadata"], "name": "orders"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
