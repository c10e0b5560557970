"""Part B: the operator on a real API server, with a real broker."""

import asyncio
import base64
import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from chaos import amqp10
from chaos.census import Census
from chaos.declared import MARK
from chaos.links import Links, linking_both
from chaos.threads import to_its_end
from chaos.world import ANSWER_SECONDS, Bindings, Statuses, Violation, World, watched
from support.apiserver import APIServer, APIServerFailed, APIServerMissing
from support.definitions import Definitions
from support.helm import Release
from support.operator_process import OperatorProcess
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQNode
from support.token_broker import taking_tokens

__all__ = ["ClusterWorld", "entered"]

NAMESPACE = "chaos"

_SUBJECT = Path(__file__).with_name("subject.py")
_GROUP = "/apis/springline.dev/v1alpha1"
_PLACES = {
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Broker": _GROUP + "/namespaces/{}/brokers",
    "BrokerConnection": _GROUP + "/namespaces/{}/brokerconnections",
}
_SHOWN = (
    f"{_GROUP}/brokers",
    f"{_GROUP}/brokerconnections",
    "/api/v1/configmaps",
    "/api/v1/events",
    "/apis/coordination.k8s.io/v1/leases",
)
_POOL = 24
"""Of watches and requests at once there are about 15 in a quiet time; the most seen were 19."""

_DONE = (http.client.OK, http.client.CREATED, http.client.NOT_FOUND)
_FAILED = (OSError, http.client.HTTPException)


class ClusterWorld(World):
    """The operator as its chart has it, and a namespace in which everything is declared."""

    bound = 120.0

    def __init__(
        self,
        directory: Path,
        node: RabbitMQNode,
        links: Links,
        server: APIServer,
        *,
        bug: str = "",
    ) -> None:
        super().__init__(directory, node, links, namespace=NAMESPACE, bug=bug)
        self.server = server
        settings = (f"{key}={value}" for key, value in self.program_environment.items())
        self.operator = OperatorProcess(
            directory / "operator",
            server,
            program=("/usr/bin/env", *settings, sys.executable, str(_SUBJECT)),
        )
        self._is_server_frozen = False

    # --- the process

    @property
    def output(self) -> str:
        return self.operator.output

    @property
    def pid(self) -> int:
        return self.operator.pid

    @property
    def is_running(self) -> bool:
        return self.operator.running

    @property
    def can_show(self) -> bool:
        return super().can_show and not self._is_server_frozen

    async def launch(self) -> None:
        await self.api()
        try:
            await to_its_end(self.operator.start)
        except AssertionError as error:
            raise Violation(str(error)[-3000:]) from None

    async def end(self, *, orderly: bool) -> None:
        if not orderly:
            await to_its_end(self.operator.kill)
            return
        try:
            await to_its_end(self.operator.stop)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            await to_its_end(self.operator.kill)
            raise Violation(f"it did not end as asked: {str(error)[-3000:]}") from None

    async def freeze(self) -> None:
        self.operator.pause()

    async def healthy(self) -> str:
        def asked() -> str:
            connection = http.client.HTTPConnection(
                LOOPBACK, self.operator.port, timeout=ANSWER_SECONDS
            )
            try:
                connection.request("GET", "/healthz")
                code = connection.getresponse().status
            except _FAILED as error:
                return f"/healthz did not answer within {ANSWER_SECONDS:g} s: {error!r}"
            finally:
                connection.close()
            return "" if code == http.client.OK else f"/healthz answered {code}"

        return await to_its_end(asked)

    async def census(self) -> Census:
        """Return what the process has, with at least `_POOL` connections to the API server.

        Those that were opened for a moment with much to do are kept for the next, so there are
        more or fewer of them whether or not anything is wrong. A leak is soon beyond that.
        """
        counts = dict((await super().census()).counts)
        name = f"descriptor socket to port {self.server.port}, established"
        counts[name] = max(counts.get(name, 0), _POOL)
        return Census(counts)

    # --- the API server

    async def api(self) -> None:
        """Have the API server run."""
        self._is_server_frozen = False
        await to_its_end(self.server.start)

    async def freeze_api(self) -> None:
        """Freeze the API server."""
        await self.api()
        self._is_server_frozen = True
        self.server.pause()

    async def ask(
        self, method: str, path: str, body: object = None, *, content_type: str = ""
    ) -> dict[str, Any]:
        """Ask the API server, which has to run for that. That it refuses is a violation."""
        await self.api()
        answer = await to_its_end(
            self.server.request, method, path, body, content_type=content_type
        )
        if answer.code not in _DONE:
            raise Violation(f"{method} {path}: {answer.code} {answer.message}")
        return answer.content

    def place(self, kind: str, name: str = "") -> str:
        """Return the path of an object."""
        path = _PLACES[kind].format(NAMESPACE)
        return f"{path}/{name}" if name else path

    # --- what is declared

    async def put(self, document: Mapping[str, Any]) -> None:
        path = self.place(document["kind"], document["metadata"]["name"])
        await self.ask(
            "PATCH",
            f"{path}?fieldManager=chaos&force=true",
            dict(document),
            content_type="application/apply-patch+yaml",
        )

    async def remove(self, document: Mapping[str, Any]) -> None:
        await self.ask("DELETE", self.place(document["kind"], document["metadata"]["name"]))

    async def put_all(self) -> None:
        documents = list(self.declared.documents())
        for document in documents:
            await self.put(document)
        for kind in ("Broker", "BrokerConnection"):
            wanted = {each["metadata"]["name"] for each in documents if each["kind"] == kind}
            for item in (await self.ask("GET", self.place(kind)))["items"]:
                if item["metadata"]["name"] not in wanted:
                    await self.ask("DELETE", self.place(kind, item["metadata"]["name"]))

    async def statuses(self) -> Statuses:
        if self._is_server_frozen:
            raise ConnectionError("the API server is frozen")
        items = await self._connections()
        return {each["metadata"]["name"]: each.get("status") or {} for each in items}

    async def _connections(self) -> list[dict[str, Any]]:
        try:
            answer = await to_its_end(self.server.request, "GET", self.place("BrokerConnection"))
        except _FAILED as error:
            raise ConnectionError(repr(error)) from error
        if answer.code != http.client.OK:
            raise ConnectionError(answer.message)
        return list(answer.content["items"])

    async def odd_statuses(self, statuses: Statuses) -> list[str]:  # noqa: ARG002 - with metadata
        wrong = []
        for each in await self._connections():
            status, metadata = each.get("status") or {}, each["metadata"]
            if status.get("observedGeneration") != metadata["generation"]:
                wrong.append(f"status of {metadata['name']} is of another generation")
            if status.get("holder") != self.operator.holder:
                wrong.append(f"{metadata['name']} is held by {status.get('holder')}")
        return wrong

    async def binding_password(self, name: str) -> str | None:
        data = (await self.ask("GET", self.place("Secret", name))).get("data", {})
        return base64.b64decode(data["password"]).decode() if "password" in data else None

    async def bindings(self) -> Bindings:
        found = {}
        declared = {each["metadata"]["name"] for each in self.declared.documents()}
        for item in (await self.ask("GET", "/api/v1/secrets"))["items"]:
            name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
            if namespace != NAMESPACE:
                name = f"{namespace}/{name}"
            elif name in declared:
                continue
            texts = {
                key: base64.b64decode(value).decode(errors="replace")
                for key, value in item.get("data", {}).items()
            }
            # Whoever else keeps Secrets is none of our bindings, unless something of ours is there.
            if namespace == NAMESPACE or any(MARK in text for text in texts.values()):
                found[name] = list(texts.values())
        return found

    async def shown_texts(self) -> Mapping[str, str]:
        found = {each: json.dumps(await self.ask("GET", each)) for each in _SHOWN}
        page = await to_its_end(self.operator.get, "/metrics")
        return {**found, "/metrics": page.text}


@contextlib.asynccontextmanager
async def entered(directory: Path, *, bug: str = "") -> AsyncIterator[ClusterWorld]:
    """Start everything; at the end all of it is stopped.

    Raises `APIServerMissing`, `ToolMissing` or `RabbitMQMissing`.
    """
    server = APIServer(directory / "apiserver")
    try:
        if not server.has_controllers:  # a binding goes with its connection by garbage collection
            raise APIServerMissing("no kube-controller-manager: run make apiserver")
        node = taking_tokens(directory / "rabbitmq", management=True, plugins=[amqp10.PLUGIN])
        try:
            starting = (to_its_end(node.start), to_its_end(_install, server, directory))
            for each in await asyncio.gather(*starting, return_exceptions=True):
                if each is not None:
                    raise each
            async with linking_both(node.amqp_port, node.http_port) as links:
                world = ClusterWorld(directory, node, links, server, bug=bug)
                try:
                    async with watched(world):
                        yield world
                finally:
                    world.operator.close()
        finally:
            node.resume()
            await to_its_end(node.close)
    finally:
        await to_its_end(server.close)


def _install(server: APIServer, directory: Path) -> None:
    server.start()
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig())
    Definitions(server).install()
    Release(directory / "helm", kubeconfig).install()
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    answer = server.request("POST", "/api/v1/namespaces", body)
    if answer.code != http.client.CREATED:
        raise APIServerFailed(answer.message)
