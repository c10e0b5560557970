"""A report on Springline in a cluster: everything that helps whoever looks for a fault, no secret.

What may not be read, or does not come in time, is told in the report and to whoever asked for it,
and the rest is gathered all the same. What is left out and masked is `masking`'s business.
"""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from springline import __version__
from springline.api.identity import Identity
from springline.api.times import rfc3339
from springline.plugin import columns, masking, reading
from springline.plugin.bundle import Bundle
from springline.plugin.choices import Choice
from springline.plugin.cluster import OPERATOR_LABEL, OPERATOR_NAMESPACE, Cluster
from springline.plugin.connection import Connection
from springline.plugin.errors import Exit, PluginError
from springline.plugin.masking import Mask
from springline.standalone.lines import aligned

__all__ = ["MOST_BYTES", "Gathering"]

T = TypeVar("T")

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of all files together, before they are compressed."""

_MOST_OBJECTS: Final = 5000
"""Of a kind."""
_MOST_REFERENCES: Final = 1000
"""Secrets and ConfigMaps that are looked at."""
_MOST_PODS: Final = 10
_LOG_BYTES: Final = 4 * 1024 * 1024
"""Of the log of one container, its end."""
_METRICS_BYTES: Final = 8 * 1024 * 1024

_REFERENCES: Final = {
    "secretRef": "Secret",
    "tokenRef": "Secret",
    "clientRef": "Secret",
    "clientCertificateRef": "Secret",
    "caRef": "ConfigMap",
}
"""Fields that name an object, and of which kind it is if they do not say so."""

_METRICS_PORT: Final = ("springline", "http")
"""Its container and the name of the port, as the chart has them."""

_DEFINITIONS: Final = ("brokerconnections", "brokers", "clusterbrokers")

_README: Final = """\
A report on Springline, made by kubectl springline report {version} at {at}.

  versions.json          of the cluster, of Springline's definitions, of this command
  connections.txt        the connections as a table
  objects/               BrokerConnections, Brokers and ClusterBrokers
  secrets.json           Secrets and ConfigMaps that they name: names, types, keys and sizes
  events.json            Events on these objects, and on the operator's pods
  operator/              the operator's Deployments, Pods and Leases
  operator/logs/         their logs, each container's also before its last restart
  operator/metrics/      their metrics
  missing.txt            what could not be read, and why

No value of a Secret, a ConfigMap, somebody else's annotation, an environment variable or a client
property is in it; of such only the length is told. managedFields and what kubectl keeps of the last
apply are left out. Logins in URIs, tokens, private keys and what is called a password are masked
with ***. So is, everywhere, what stands in one of the Secrets that could be read, if it has 8
characters or more.
{unread}Names of objects, hosts and users are in it: look through it before you pass it on.
"""
_UNREAD: Final = """\
Some of these Secrets could not be read: what stands in them was masked by its form alone.
"""


class Gathering:
    """Asks for one thing after the other until the time is over, and says how far it is."""

    def __init__(
        self,
        cluster: Cluster,
        say: Callable[[str], None],
        *,
        seconds: float,
        since_seconds: int,
        operator_namespace: str | None,
    ) -> None:
        """Of the logs, the last `since_seconds` are asked for."""
        self._cluster = cluster
        self._reading = cluster.reading
        self._say = say
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._since_seconds = since_seconds
        self._operator_namespace = operator_namespace
        self._mask = Mask()
        self._missing: list[str] = []
        self._has_unread_secrets = False
        self.bundle = Bundle(self._mask, most_bytes=MOST_BYTES)

    @property
    def missing(self) -> int:
        """How many things could not be read."""
        return len(self._missing)

    async def gather(self, choice: Choice, at: datetime) -> Exit:
        """Fill the bundle, and return whether all that were named are there.

        Raises `PluginError` where not even the connections can be asked for.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                connections, problems = await choice.found(self._cluster)
        except TimeoutError:
            raise PluginError("the connections did not come in time", Exit.CLUSTER) from None
        for problem in problems:
            self._note(str(problem))
        self._say(f"connections: {len(connections)}")
        places = self._places(connections)
        brokers = await self._all_of("Broker", places)
        shared = await self._all_of("ClusterBroker", [""])
        self._say(f"brokers: {len(brokers)}, cluster brokers: {len(shared)}")
        documents = [each.document for each in connections]
        # Before anything is taken in: what Secrets hold is looked for in everything.
        references = await self._references([*documents, *brokers, *shared])
        self._take_in("connections.txt", _table(connections, at))
        for plural, found in (
            ("brokerconnections", documents),
            ("brokers", brokers),
            ("clusterbrokers", shared),
        ):
            self._add(f"objects/{plural}.json", [masking.own_object(each) for each in found])
        self._add("secrets.json", references)
        pods = await self._operator(connections)
        await self._events(places, pods)
        await self._versions()
        for pod in pods[:_MOST_PODS]:
            await self._logs(pod)
            await self._metrics(pod)
        if len(pods) > _MOST_PODS:
            self._note(f"logs and metrics of {len(pods) - _MOST_PODS} further pods")
        self._finish(at)
        return max((problem.code for problem in problems), default=Exit.DONE)

    # --- what is asked for

    async def _all_of(self, kind: str, places: Sequence[str]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for place in places:
            asked = self._reading.ours(kind, place, most=_MOST_OBJECTS)
            found += self._first(await self._asked(f"{kind}s", asked), f"{kind}s")
        return found

    async def _references(self, documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Read what objects name, to say how it is made, and to know what has to be masked."""
        named = list(dict.fromkeys(each for document in documents for each in _named_by(document)))
        if len(named) > _MOST_REFERENCES:
            self._note(f"{len(named) - _MOST_REFERENCES} further Secrets and ConfigMaps")
            named, self._has_unread_secrets = named[:_MOST_REFERENCES], True
        answers = await asyncio.gather(
            *(self._asked(str(each), self._reading.named(each)) for each in named)
        )
        shown = []
        for identity, answer in zip(named, answers, strict=True):
            if answer is None:
                self._has_unread_secrets |= identity.kind == "Secret"
                continue
            shown.append(masking.keys_and_sizes(answer))
            if identity.kind == "Secret":
                for key, value in reading.decoded(answer):
                    self._mask.learn(key, value)
        self._say(f"Secrets and ConfigMaps that they name: {len(shown)} of {len(named)}")
        return shown

    async def _operator(self, connections: Sequence[Connection]) -> list[Connection]:
        answer = await self._asked(
            "pods of the operator", self._cluster.operator_pods(self._operator_namespace)
        )
        if isinstance(answer, str):
            self._note(f"pods of the operator: {answer}")
        elif answer == []:
            self._note(f"pods of the operator: there are none with the label {OPERATOR_LABEL}")
        found = answer if isinstance(answer, list) else []
        pods = [Connection({"kind": "Pod", **each}) for each in found]
        self._say(f"pods of the operator: {len(pods)}")
        self._add("operator/pods.json", [masking.workload(each.document) for each in pods])
        deployments, leases = list[Any](), list[Any]()
        for place in self._operator_places(connections, pods):
            asked = self._reading.deployments(place, OPERATOR_LABEL)
            deployments += await self._asked("deployments", asked) or []
            leases += await self._asked("leases", self._reading.leases(place)) or []
        workloads = [masking.workload({"kind": "Deployment", **each}) for each in deployments]
        self._add("operator/deployments.json", workloads)
        self._add("operator/leases.json", [masking.own_object(each) for each in leases])
        return pods

    def _operator_places(
        self, connections: Sequence[Connection], pods: Sequence[Connection]
    ) -> list[str]:
        """Return the namespaces that the operator is in, as far as somebody says so."""
        if pods:
            return sorted({each.namespace for each in pods})
        holders = (each.text("status", "holder").rpartition("/")[0] for each in connections)
        return sorted({self._operator_namespace or OPERATOR_NAMESPACE, *filter(None, holders)})

    async def _events(self, places: Sequence[str], pods: Sequence[Connection]) -> None:
        found: list[Mapping[str, Any]] = []
        for place in places:
            for kind in ("BrokerConnection", "Broker", *(() if place else ("ClusterBroker",))):
                asked = self._reading.events(kind, place, most=_MOST_OBJECTS)
                found += self._first(await self._asked(f"events on {kind}s", asked), "events")
        for pod in pods[:_MOST_PODS]:
            asked = self._reading.events("Pod", pod.namespace, most=_MOST_OBJECTS, name=pod.name)
            found += self._first(await self._asked(f"events on {pod.name}", asked), "events")
        self._say(f"events: {len(found)}")
        self._add("events.json", [_event(each) for each in found])

    async def _versions(self) -> None:
        definitions = [
            await self._asked(f"definition of {each}", self._reading.definition(each))
            for each in _DEFINITIONS
        ]
        versions = {
            "plugin": {"version": __version__, "python": platform.python_version()},
            "kubernetes": await self._asked("version", self._reading.version()),
            "definitions": [_definition(each) for each in definitions if each],
        }
        self._add("versions.json", versions)

    async def _logs(self, pod: Connection) -> None:
        where = {"namespace": pod.namespace, "name": pod.name}
        for container, restarts in _containers(pod):
            for previous in (False, True) if restarts else (False,):
                asked = self._reading.log(
                    where,
                    container,
                    previous=previous,
                    since_seconds=self._since_seconds,
                    most=_LOG_BYTES,
                )
                which = " before its last restart" if previous else ""
                what = f"log of {pod.name}, {container}{which}"
                text = await self._asked(what, asked)
                if text is not None:
                    ending = "previous.log" if previous else "log"
                    name = f"{pod.namespace}.{pod.name}.{container}.{ending}"
                    self._take_in(f"operator/logs/{name}", text)
                    self._say(f"{what}: {_size(len(text))}")

    async def _metrics(self, pod: Connection) -> None:
        where = {"namespace": pod.namespace, "name": pod.name}
        for port in _metrics_ports(pod):
            what = f"metrics of {pod.name}"
            asked = self._reading.metrics(where, port, most=_METRICS_BYTES)
            text = await self._asked(what, asked)
            if text is not None:
                self._take_in(f"operator/metrics/{pod.namespace}.{pod.name}.txt", text)
                self._say(f"{what}: {_size(len(text))}")

    # --- how it is asked for, and kept

    def _places(self, connections: Sequence[Connection]) -> list[str]:
        """Return the namespaces that are looked into; an empty one is all of them."""
        if not self._cluster.namespace:
            return [""]
        return sorted({each.namespace for each in connections} or {self._cluster.namespace})

    async def _asked(self, what: str, asked: Awaitable[T]) -> T | None:
        """Return what the cluster answers; None if it does not, which is noted."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await asked
        except PluginError as error:
            self._note(f"{what}: {error}")
        except TimeoutError:
            self._note(f"{what}: the time is over")
        return None

    def _first(self, answer: tuple[list[Any], bool] | None, what: str) -> list[Any]:
        if answer is None:
            return []
        found, is_all = answer
        if not is_all:
            self._note(f"{what}: there are more than {len(found)}")
        return found

    def _note(self, problem: str) -> None:
        if problem not in self._missing:
            self._missing.append(problem)
            self._say(f"not read: {problem}")

    def _add(self, name: str, document: Any) -> None:
        if not self.bundle.add_document(name, document):
            self._note(f"{name}: the report would be larger than {_size(MOST_BYTES)}")

    def _take_in(self, name: str, text: str) -> None:
        if not self.bundle.add(name, text):
            self._note(f"the beginning of {name}: the report has {_size(MOST_BYTES)} already")

    def _finish(self, at: datetime) -> None:
        unread = _UNREAD if self._has_unread_secrets else ""
        readme = _README.format(version=__version__, at=rfc3339(at), unread=unread)
        missing = "".join(f"{each}\n" for each in self._missing) or "nothing\n"
        self.bundle.add("README.txt", readme, always=True)
        self.bundle.add("missing.txt", missing, always=True)


def _named_by(document: Mapping[str, Any]) -> Iterator[Identity]:
    """Yield the Secrets and ConfigMaps that an object names."""
    view = Connection(document)
    namespace = view.namespace

    def within(value: Any) -> Iterator[Identity]:
        if isinstance(value, list):
            for each in value:
                yield from within(each)
        if not isinstance(value, Mapping):
            return
        for key, each in value.items():
            if key in _REFERENCES and isinstance(each, Mapping) and each.get("name"):
                kind, where = each.get("kind", _REFERENCES[key]), each.get("namespace", namespace)
                if kind in ("Secret", "ConfigMap") and where:
                    yield Identity(kind, str(where), str(each["name"]))
            else:
                yield from within(each)

    yield from within(view.get("spec"))
    if secret := view.get("spec", "binding", "secretName"):
        yield Identity("Secret", namespace, str(secret))


def _table(connections: Sequence[Connection], at: datetime) -> str:
    header = columns.header(namespaces=True, wide=True)
    rows = [columns.row(each, now=at, namespaces=True, wide=True) for each in connections]
    return "\n".join([aligned([header, *rows]), *columns.explanations(connections), ""])


def _event(document: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("type", "reason", "message", "count", "series", "involvedObject", "source")
    times = ("eventTime", "firstTimestamp", "lastTimestamp", "reportingComponent")
    return {
        "namespace": Connection(document).namespace,
        **{key: document[key] for key in (*kept, *times) if document.get(key) is not None},
    }


def _definition(document: Mapping[str, Any]) -> dict[str, Any]:
    versions = Connection(document).get("spec", "versions")
    return {
        "name": Connection(document).name,
        "versions": [
            {key: each.get(key) for key in ("name", "served", "storage", "deprecated")}
            for each in (versions if isinstance(versions, list) else ())
        ],
        "storedVersions": Connection(document).get("status", "storedVersions"),
        "metadata": masking.own_object(document)["metadata"],
    }


def _containers(pod: Connection) -> Iterator[tuple[str, int]]:
    """Yield the names of a pod's containers, and how often each was restarted."""
    restarts = {
        view.text("name"): view.number("restartCount")
        for view in _views(pod.get("status", "containerStatuses"))
    }
    for view in _views(pod.get("spec", "containers")):
        yield view.text("name"), restarts.get(view.text("name"), 0)


def _metrics_ports(pod: Connection) -> Iterator[int]:
    container, name = _METRICS_PORT
    for view in _views(pod.get("spec", "containers")):
        for port in _views(view.get("ports")):
            if (view.text("name"), port.text("name")) == (container, name):
                yield port.number("containerPort")


def _views(value: Any) -> Iterator[Connection]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, Mapping):
            yield Connection(each)


def _size(count: int) -> str:
    if count < 10 * 1024:
        return f"{count} bytes"
    return f"{count // 1024} KiB" if count < 10 * 1024 * 1024 else f"{count // 1024 // 1024} MiB"
