"""The recipe of a container next to a service in a real pod, with a real broker in another one."""

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from support import recipes
from support.identities import Tenant
from support.kubectl import Kubectl
from support.recipes import SIDECAR
from support.shared_broker import SharedBroker
from support.springline_process import searched
from support.waiting import eventually

pytestmark = pytest.mark.kind

# The kubelet brings volumes up to date about once a minute.
DEADLINE = 240.0
NEW_PASSWORD = "n3w-s3cret"

# In the place of the service: it prints the length of the password whenever that is another one.
SERVICE = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
file = pathlib.Path(os.environ["SERVICE_BINDING_ROOT"], "orders-binding", "password")
seen = None
while True:
    found = len(file.read_text()) if file.exists() else None
    if found != seen:
        print("password of", found, flush=True)
        seen = found
    time.sleep(0.2)
"""


class Scene:
    """The recipe in a namespace, with the images and the broker that there are here."""

    def __init__(
        self, kubectl: Kubectl, namespace: str, rabbit: SharedBroker, tenant: Tenant
    ) -> None:
        self.kubectl = kubectl
        self.namespace = namespace
        self.documents = {each["kind"]: each for each in recipes.documents(SIDECAR)}
        spec = self.documents["Deployment"]["spec"]["template"]["spec"]
        for container in (*spec["initContainers"], *spec["containers"]):
            container["image"] = os.environ["SPRINGLINE_TEST_IMAGE"]
            container["imagePullPolicy"] = "Never"
        spec["containers"][0]["command"] = ["python", "-c", SERVICE]
        data = self.documents["ConfigMap"]["data"]
        where = f"host: {rabbit.host}, port: {rabbit.port}"
        data["connections.yaml"] = _replaced(
            data["connections.yaml"],
            {
                "host: rabbitmq.messaging.svc, port: 5672": where,
                "virtualHost: /": f"virtualHost: {tenant.vhost}",
            },
        )
        self.username = tenant.username
        self.log_in_with(tenant.secret)

    def log_in_with(self, password: str) -> None:
        login = f"username: {self.username}, password: {password}"
        [text] = [
            each["stringData"]["login.yaml"]
            for each in recipes.documents(SIDECAR)
            if each["kind"] == "Secret"
        ]
        changed = _replaced(text, {"username: orders, password: change-me": login})
        self.documents["Secret"]["stringData"]["login.yaml"] = changed

    def apply(self) -> None:
        self.kubectl.apply(yaml.safe_dump_all(self.documents.values()), namespace=self.namespace)

    def pod(self) -> dict[str, Any]:
        """Return the only Pod that is not being deleted, empty while there is none."""
        pods = self.kubectl.list_json("pods", namespace=self.namespace)
        living = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
        return living[0] if len(living) == 1 else {}

    def said(self, container: str) -> str:
        where = (f"--namespace={self.namespace}", f"--container={container}")
        return self.kubectl.run("logs", *where, self.pod()["metadata"]["name"])

    def status(self) -> dict[str, Any]:
        """Return the connection's status, as the sidecar has written it."""
        path = "/run/springline/status/BrokerConnection.default.orders.yaml"
        where = (f"--namespace={self.namespace}", "deployment/orders", "--container=orders")
        text = self.kubectl.run("exec", *where, "--", "cat", path)
        status: dict[str, Any] = yaml.safe_load(text)["status"]
        return status


def _replaced(text: str, by: dict[str, str]) -> str:
    for old, new in by.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture
def scene(
    kubectl: Kubectl, namespace: str, rabbit: SharedBroker, tenant: Tenant
) -> Iterator[Scene]:
    """The recipe, applied to a namespace as strict as can be."""
    kubectl.run("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    scene = Scene(kubectl, namespace, rabbit, tenant)
    scene.apply()
    yield scene
    kubectl.delete("deployment", "orders", namespace=namespace)


async def test_a_service_has_its_login_from_the_sidecar_and_keeps_its_session_when_it_changes(
    scene: Scene, rabbit: SharedBroker, tenant: Tenant
) -> None:
    """Neither container is restarted, and both end in order when the Pod goes."""

    def is_ready() -> bool:
        statuses = scene.pod().get("status", {})
        every = [*statuses.get("initContainerStatuses", ()), *statuses.get("containerStatuses", ())]
        return len(every) == 2 and all(each["ready"] for each in every)

    await eventually(is_ready, timeout=DEADLINE, what="both containers are ready")
    told = f"password of {len(tenant.secret)}\n"
    await eventually(lambda: told in scene.said("orders"), timeout=DEADLINE, what="it has a login")
    before = await asyncio.to_thread(scene.status)
    assert before["state"] == "Connected"
    rabbit.administration.change_password(tenant.username, NEW_PASSWORD)
    scene.log_in_with(NEW_PASSWORD)
    await asyncio.to_thread(scene.apply)
    told = f"password of {len(NEW_PASSWORD)}\n"
    await eventually(
        lambda: told in scene.said("orders"), timeout=DEADLINE, what="it has the new login"
    )
    after = await asyncio.to_thread(scene.status)
    assert after["connectedSince"] == before["connectedSince"]
    assert [each["restartCount"] for each in scene.pod()["status"]["initContainerStatuses"]] == [0]
    searched(scene.said("springline") + json.dumps(after), tenant.secret, NEW_PASSWORD)
