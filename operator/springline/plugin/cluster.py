"""Requests to the API server with the caller's rights, and what a person is told of refusals."""

import contextlib
import difflib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from springline import protocols
from springline.api.identity import Identity
from springline.api.texts import printable
from springline.kube import paths
from springline.kube.access import Access, AccessError
from springline.kube.client import Client, RefusedError, RequestError, UnreachableError
from springline.plugin import following
from springline.plugin.connection import Connection
from springline.plugin.errors import Exit, PluginError
from springline.plugin.reading import Reading
from springline.threads import Threads

__all__ = ["OPERATOR_LABEL", "OPERATOR_NAMESPACE", "Cluster", "Target", "opened"]

OPERATOR_LABEL: Final = "app.kubernetes.io/name=springline"
OPERATOR_NAMESPACE: Final = "springline-system"
"""Where the operator is looked for by those who may not look everywhere."""

FIELD_MANAGER: Final = "kubectl-springline"

_KIND = "BrokerConnection"
_PLURAL = paths.PLURALS[_KIND]

_FORBIDDEN = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which cluster, and which part of it, as options say it; what is None is kubectl's default."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    all_namespaces: bool = False

    @property
    def file(self) -> str | None:
        """The kubeconfig; as for kubectl, the home directory's comes before the rights of a pod."""
        home = Path("~/.kube/config").expanduser()
        named = self.kubeconfig or os.environ.get("KUBECONFIG")
        return named or (str(home) if home.is_file() else None)


@contextlib.asynccontextmanager
async def opened(target: Target) -> AsyncIterator["Cluster"]:
    """Reach the cluster. Raises `PluginError`."""
    kubeconfig = await Threads(at_once=1, name="kubeconfig").run(lambda: target.file)
    access = Access(kubeconfig=kubeconfig, context=target.context)
    try:
        await access.load()
    except AccessError as error:
        raise PluginError(str(error), Exit.CLUSTER) from error
    namespace = target.namespace or access.namespace or "default"
    async with Client(access) as client:
        where = "" if target.all_namespaces else namespace
        yield Cluster(client, where, described=_described(access))


def _described(access: Access) -> str:
    """Say which cluster it is, for those who may have meant another one."""
    address = urlsplit(access.configuration.host)
    url = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    return f'context "{printable(access.context)}" has it at {url}' if access.context else ""


class Cluster:
    """One namespace of a cluster, or all of them. Methods raise `PluginError`."""

    def __init__(self, client: Client, namespace: str, *, described: str = "") -> None:
        """`namespace` is empty for all of them; `described` says which cluster it is."""
        self._client = client
        self._described = described
        self.namespace = namespace

    def at(self, namespace: str) -> "Cluster":
        """Return the same cluster in another namespace; an empty one is this one."""
        if not namespace:
            return self
        return Cluster(self._client, namespace, described=self._described)

    @property
    def reading(self) -> Reading:
        """What a report asks it for."""
        return Reading(self._client)

    # --- connections

    async def connections(self, *, selector: str = "") -> list[Connection]:
        """Return the connections there are, with these labels."""
        with self._translated("list", _PLURAL, self.namespace):
            items, _ = await self._client.list(self._collection, **_selected(selector))
        return [_complete(item) for item in items]

    async def connection(self, name: str) -> Connection:
        """Return one connection. That there is none says which ones have similar names."""
        try:
            with self._translated("get", _PLURAL, self.namespace):
                return Connection(await self._client.get(self._path(name)))
        except _AbsentError:
            raise await self._not_found(name) from None

    async def change(self, name: str, change: Mapping[str, Any]) -> Connection:
        """Merge a change into a connection, and return it as it is then."""
        try:
            with self._translated("patch", _PLURAL, self.namespace):
                return Connection(
                    await self._client.merge(self._path(name), change, manager=FIELD_MANAGER)
                )
        except _AbsentError:
            raise await self._not_found(name) from None

    async def follow(
        self, *, selector: str = "", name: str = ""
    ) -> AsyncGenerator[following.News, None]:
        """Yield what there is and what becomes of it, until closed."""
        params = {"fieldSelector": f"metadata.name={name}"} if name else {}
        news = following.follow(self._client, self._collection, **params, **_selected(selector))
        async with contextlib.aclosing(news):
            with self._translated("watch", _PLURAL, self.namespace):
                async for each in news:
                    yield each

    # --- what else there is to know

    async def protocol(self, connection: Connection) -> str:
        """Return what a connection's broker is declared to speak; the default where it is not said.

        So it is of a broker that cannot be looked at: a word depends on it, and nothing else.
        """
        declared = connection.get("spec", "broker")
        kind = connection.text("spec", "brokerRef", "kind") or "Broker"
        if declared is None and kind in paths.PLURALS:
            name = connection.text("spec", "brokerRef", "name")
            namespace = "" if kind in paths.CLUSTER_SCOPED else connection.namespace
            with contextlib.suppress(RequestError):
                broker = await self._client.get(paths.of_object(Identity(kind, namespace, name)))
                declared = broker.get("spec")
        return Connection({"spec": declared}).text("spec", "protocol") or protocols.DEFAULT

    async def events(self, connection: Connection) -> list[dict[str, Any]] | str:
        """Return the Events of a connection, or a sentence that says why not."""
        path = f"/api/v1/namespaces/{connection.namespace}/events"
        selector = f"involvedObject.kind={_KIND},involvedObject.uid={connection.uid}"
        return await self._or_why_not(path, "events", connection.namespace, fieldSelector=selector)

    async def operator_pods(self, namespace: str | None) -> list[dict[str, Any]] | str:
        """Return the operator's pods, or a sentence that says why not.

        Without a namespace they are looked for in all of them, and by those who may not do that
        in the one that the documentation proposes.
        """
        if namespace is None:
            found = await self._or_why_not("/api/v1/pods", "pods", "", labelSelector=OPERATOR_LABEL)
            if not isinstance(found, str):
                return found
        where = namespace or OPERATOR_NAMESPACE
        path = f"/api/v1/namespaces/{where}/pods"
        return await self._or_why_not(path, "pods", where, labelSelector=OPERATOR_LABEL)

    async def namespaces(self) -> list[str]:
        """Return the names of all namespaces."""
        with self._translated("list", "namespaces", ""):
            items, _ = await self._client.list_metadata("/api/v1/namespaces")
        return [_complete(item).name for item in items]

    # ---

    @property
    def _collection(self) -> str:
        [(_, path)] = paths.collections(_KIND, [self.namespace] if self.namespace else [])
        return path

    def _path(self, name: str) -> str:
        return paths.of_object(Identity(_KIND, self.namespace, name))

    @contextlib.contextmanager
    def _translated(self, verb: str, plural: str, namespace: str) -> Iterator[None]:
        """Say what went wrong with a request as a person needs it."""
        try:
            yield
        except RequestError as error:
            problem = _plugin_error(error, verb, plural, namespace)
            is_elsewhere = isinstance(error, UnreachableError) or (
                isinstance(error, RefusedError) and error.is_unknown
            )
            if is_elsewhere and self._described:
                problem = PluginError(f"{problem}\n{self._described}", problem.code)
            # Not as its cause: what is printed is all there is to know.
            raise problem from None

    async def _or_why_not(
        self, path: str, plural: str, namespace: str, **params: str
    ) -> list[dict[str, Any]] | str:
        try:
            items, _ = await self._client.list(path, **params)
        except RequestError as error:
            if isinstance(error, RefusedError) and error.code == _FORBIDDEN:
                return f"you may not list {plural}{_inside(namespace)}"
            return str(error)
        return items

    async def _not_found(self, name: str) -> PluginError:
        message = f'there is no BrokerConnection "{name}"{_inside(self.namespace)}'
        known: Sequence[str] = ()
        with contextlib.suppress(PluginError):
            known = [each.name for each in await self.connections()]
        near = difflib.get_close_matches(name, known)
        if near:
            message += f"; did you mean {' or '.join(near)}?"
        return PluginError(message, Exit.UNUSABLE)


class _AbsentError(PluginError):
    """There is no such object."""


def _plugin_error(error: RequestError, verb: str, plural: str, namespace: str) -> PluginError:
    if not isinstance(error, RefusedError):
        return PluginError(str(error), Exit.CLUSTER)
    if error.is_absence:
        return _AbsentError(str(error), Exit.UNUSABLE)
    match error.code:
        case 401:
            message = "the API server does not know who you are: log in again (401 Unauthorized)"
        case 403:
            role = "springline-edit" if verb == "patch" else "springline-view"
            message = (
                f"you may not {verb} {plural}{_inside(namespace)}; the ClusterRole {role} of the "
                f"chart has the right to\n{error.message}"
            )
        case 404:
            message = (
                "this cluster does not know BrokerConnections: is Springline installed, with its "
                'CustomResourceDefinitions? "kubectl get crds" lists those that there are'
            )
        case 422 | 400:
            return PluginError(f"the API server refuses it: {error.message}", Exit.UNUSABLE)
        case _:
            message = str(error)
    return PluginError(message, Exit.CLUSTER)


def _inside(namespace: str) -> str:
    return f' in namespace "{namespace}"' if namespace else " in all namespaces"


def _selected(selector: str) -> dict[str, str]:
    return {"labelSelector": selector} if selector else {}


def _complete(item: Mapping[str, Any]) -> Connection:
    """Return an item of a list with what only single objects say of themselves."""
    return Connection({"apiVersion": "springline.dev/v1alpha1", "kind": _KIND, **item})
