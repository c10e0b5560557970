"""What a report asks the API server for; every refusal is one short sentence."""

import base64
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from springline.api.identity import GROUP, Identity
from springline.kube import paths, replicas
from springline.kube.client import Client, RefusedError, RequestError
from springline.plugin.errors import Exit, PluginError

__all__ = ["Reading", "decoded"]

_FORBIDDEN: Final = 403
_LOG_LINES: Final = 50_000
_LOG_SECONDS: Final = 60.0


class Reading:
    """Asks with the rights of the caller. Methods raise `PluginError`.

    An empty namespace is all of them.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ours(self, kind: str, namespace: str, *, most: int) -> tuple[list[Any], bool]:
        """Return the first objects of a kind of ours, and whether these are all."""
        [(_, path)] = paths.collections(kind, [namespace] if namespace else [])
        plural = paths.PLURALS[kind]
        where = "" if kind in paths.CLUSTER_SCOPED else namespace
        with _told("list", plural, where):
            return await self._client.some(path, most=most)

    async def named(self, identity: Identity) -> dict[str, Any]:
        """Return a Secret or ConfigMap."""
        plural = f"{identity.kind.lower()}s"
        path = f"/api/v1/namespaces/{quote(identity.namespace)}/{plural}/{quote(identity.name)}"
        with _told("get", plural, identity.namespace):
            return {"kind": identity.kind, **await self._client.get(path)}

    async def events(
        self, kind: str, namespace: str, *, most: int, name: str = ""
    ) -> tuple[list[Any], bool]:
        """Return Events on objects of a kind, or on one of them."""
        selector = f"involvedObject.kind={kind}"
        if name:
            selector += f",involvedObject.name={name}"
        path = _in_namespace("/api/v1", namespace, "events")
        with _told("list", "events", namespace):
            return await self._client.some(path, most=most, fieldSelector=selector)

    async def deployments(self, namespace: str, label: str) -> list[Any]:
        """Return the Deployments with a label."""
        path = _in_namespace("/apis/apps/v1", namespace, "deployments")
        with _told("list", "deployments", namespace):
            return (await self._client.list(path, labelSelector=label))[0]

    async def leases(self, namespace: str) -> list[Any]:
        """Return the Leases of replicas."""
        with _told("list", "leases", namespace):
            path = replicas.collection(namespace)
            return (await self._client.list(path, labelSelector=replicas.SELECTOR))[0]

    async def version(self) -> dict[str, Any]:
        """Return what the API server says of its version."""
        with _told("get", "the version", ""):
            return await self._client.get("/version")

    async def definition(self, plural: str) -> dict[str, Any]:
        """Return the CustomResourceDefinition of a kind of ours."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{GROUP}"
        with _told("get", "customresourcedefinitions", ""):
            return await self._client.get(path)

    async def log(
        self,
        pod: Mapping[str, str],
        container: str,
        *,
        previous: bool,
        since_seconds: int,
        most: int,
    ) -> str:
        """Return the end of a container's log, or of the one before its last restart."""
        params = {"container": container, "timestamps": "true", "tailLines": str(_LOG_LINES)}
        # How long ago something was is of no interest where the container has ended since.
        params |= {"previous": "true"} if previous else {"sinceSeconds": str(since_seconds)}
        with _told("get", "pods/log", pod["namespace"]):
            return await self._client.tail(
                f"{_pod(pod)}/log", most=most, seconds=_LOG_SECONDS, **params
            )

    async def metrics(self, pod: Mapping[str, str], port: int, *, most: int) -> str:
        """Return the metrics of a pod, through the API server."""
        with _told("get", "pods/proxy", pod["namespace"]):
            path = f"{_pod(pod)}:{port}/proxy/metrics"
            return await self._client.tail(path, most=most, seconds=_LOG_SECONDS)


def decoded(secret: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the keys of a Secret, and their values."""
    data = secret.get("data")
    for key, value in data.items() if isinstance(data, Mapping) else ():
        with contextlib.suppress(ValueError):
            yield str(key), base64.b64decode(str(value))


def _in_namespace(group: str, namespace: str, plural: str) -> str:
    return f"{group}/namespaces/{quote(namespace)}/{plural}" if namespace else f"{group}/{plural}"


def _pod(pod: Mapping[str, str]) -> str:
    return f"/api/v1/namespaces/{quote(pod['namespace'])}/pods/{quote(pod['name'])}"


@contextlib.contextmanager
def _told(verb: str, what: str, namespace: str) -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        problem = str(error)
        if isinstance(error, RefusedError) and error.code == _FORBIDDEN:
            where = f" in namespace {namespace}" if namespace else ""
            problem = f"you may not {verb} {what}{where}"
        # Not as its cause: what is printed is all there is to know.
        raise PluginError(problem, Exit.CLUSTER) from None
