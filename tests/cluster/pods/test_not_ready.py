"""What keeps a pod from getting ready, shown by the cluster as docs/troubleshooting.md has it.

Each is tried on a release of its own, which Helm does not wait for.
"""

import asyncio
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from support.helm import Installed, Release
from support.kubectl import Kubectl
from support.markdown import Page
from support.pods import Pods
from support.port_forward import forwarded
from support.ports import LOOPBACK
from support.waiting import eventually

pytestmark = pytest.mark.kind

PAGE: Final = Page(Path(__file__).parents[3] / "docs" / "troubleshooting.md")
ABSENT: Final = {"repository": "localhost/absent", "tag": "0"}
_SECONDS: Final = 120.0


async def install(release: Release, installed: Installed, kubectl: Kubectl, **values: Any) -> Pods:
    """Install a release for its own namespace, and return its pods."""
    watch = {"namespaces": [release.namespace]}
    own = {"watch": watch, "crds": {"install": False}, "rbac": {"userRoles": False}}
    await asyncio.to_thread(release.install, {**installed.values, **own, **values})
    return Pods(kubectl, release.namespace, release=release.name)


@pytest.mark.parametrize(
    ("values", "status", "message"),
    [
        pytest.param(
            {"image": {**ABSENT, "pullPolicy": "Never"}},
            "ErrImageNeverPull",
            "is not present with pull policy of Never",
            id="the node has no such image",
        ),
        pytest.param(
            {"image": {**ABSENT, "pullPolicy": "IfNotPresent"}},
            "ImagePullBackOff",
            "Back-off pulling image",
            id="no registry has it",
        ),
        pytest.param(
            {"extraEnvFrom": [{"secretRef": {"name": "absent"}}]},
            "CreateContainerConfigError",
            'secret "absent" not found',
            id="a Secret is missing",
        ),
        pytest.param(
            {"extraArgs": ["--nope"]}, "CrashLoopBackOff", "", id="there is no such option"
        ),
        pytest.param(
            {"resources": {"requests": {"memory": "24Mi"}, "limits": {"memory": "32Mi"}}},
            "OOMKilled",
            "",
            id="it may not have the memory that it takes",
        ),
        pytest.param({"nodeSelector": {"absent": "yes"}}, "Pending", "", id="no node is right"),
    ],
)
async def test_why_a_pod_does_not_start_is_documented(
    installed: Installed,
    kubectl: Kubectl,
    namespace: str,
    second: Callable[[str], Release],
    values: dict[str, Any],
    status: str,
    message: str,
) -> None:
    """What the cluster calls it has a row, and the page has the words of the message."""
    pods = await install(second(namespace), installed, kubectl, **values)
    await eventually(
        lambda: any((status, message) in said(each, message) for each in pods.all()),
        timeout=_SECONDS,
        what=f"the pod is {status}, with {message!r}",
    )
    assert any(f"`{status}`" in first for first, _ in PAGE.rows("## The pod"))
    assert message.replace("absent", "…") in PAGE.text


def said(pod: Mapping[str, Any], message: str) -> set[tuple[str, str]]:
    """Return the reasons that a pod has for its state, each with the message if it is there."""
    found = {(pod["status"]["phase"], "")}
    for container in pod["status"].get("containerStatuses", ()):
        for state in (*container["state"].values(), *container["lastState"].values()):
            told = message if message in state.get("message", "") else ""
            found.add((state.get("reason", ""), told))
    return found


async def test_a_pod_that_is_not_ready_says_why(
    installed: Installed,
    kubectl: Kubectl,
    namespace: str,
    second: Callable[[str], Release],
    tmp_path: Path,
) -> None:
    """By a forwarded port, since the Service leads to no such pod; the page has the answer."""
    release = second(namespace)
    # Everywhere, and with no right to anything: a namespace without a Role would be left out.
    everywhere = {"watch": {"namespaces": []}, "rbac": {"create": False, "userRoles": False}}
    pods = await install(release, installed, kubectl, **everywhere)
    await eventually(
        lambda: any(started(each) for each in pods.all()),
        timeout=_SECONDS,
        what="it has passed its startup probe, so it answers",
    )
    [block] = [each for each in PAGE.blocks if "port-forward" in each.text]
    shown = block.text.partition("readyz?verbose'\n")[2]
    deployment = f"{release.name}-springline"
    async with forwarded(kubectl, tmp_path, namespace=namespace, deployment=deployment) as port:
        answer = await eventually(
            lambda: readiness(port), timeout=_SECONDS, what="it answers whether it is ready"
        )
    assert answer == (http.client.SERVICE_UNAVAILABLE, shown)


def started(pod: Mapping[str, Any]) -> bool:
    return any(each["started"] for each in pod["status"].get("containerStatuses", ()))


def readiness(port: int) -> tuple[int, str] | None:
    """Return the code and the text of an answer, None without one."""
    try:
        with urllib.request.urlopen(
            f"http://{LOOPBACK}:{port}/readyz?verbose", timeout=5
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()
    except OSError:
        return None
