"""How GitOps tools judge our objects in every state: kstatus itself, and Argo CD's script in Lua.

The tables and the script of docs/gitops.md say what is right. Each row is brought about for real,
and the object is judged as the API server gives it.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from springline.api import conditions, crds
from springline.core import status as projection
from springline.core.stalling import GRACE_SECONDS
from springline.core.state import Declared, Failure, Opened, RenewalRefused, SessionState
from springline.core.values import SessionKey
from springline.core.view import SessionView
from springline.reasons import Reason
from support import gitops, states
from support.builders import credential_refused
from support.builders import refused as refused_name
from support.definitions import Definitions
from support.kubectl import Kubectl, rows
from support.markdown import Page
from support.operator_process import OperatorProcess
from support.ports import LOOPBACK
from support.team import CONNECTIONS, RETRY, Team, condition

pytestmark = pytest.mark.usefixtures("mended")

PAGE: Final = Page(Path(__file__).resolve().parents[2] / "docs" / "gitops.md")
FINALIZER: Final = "example.com/holds"
NOWHERE: Final = {"host": LOOPBACK, "port": 1}
WRONG: Final = "not-the-password"
NO_BROKER: Final = Failure(reason=Reason.BROKER_NOT_FOUND, message="there is none")


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What people and tools see of an object."""

    ready: str
    other: str
    """STATE of a connection, REACHABLE of a broker."""
    kstatus: str
    argo: str


def documented(heading: str) -> dict[str, Judgement]:
    """Return what a table of the page says, by what is so."""
    return {
        what: Judgement(*(cell.strip("`") for cell in cells)) for what, *cells in PAGE.rows(heading)
    }


CONNECTION_STATES: Final = documented("## Every state of a connection")
BROKER_STATES: Final = documented("## Every state of a broker")


def script(kind: str) -> str:
    """Return the script that the page puts into Argo CD's ConfigMap for a kind."""
    [text] = [block.text for block in PAGE.blocks if "kind: ConfigMap" in block.text]
    data: dict[str, str] = yaml.safe_load(text)["data"]
    return data[f"resource.customizations.health.springline.dev_{kind}"]


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Lines that are printed at the end: what was judged, and how."""
    lines: list[str] = []
    yield lines
    print("", *lines, sep="\n")


class Scene:
    """Brings things about, and judges what comes of them."""

    def __init__(
        self,
        team: Team,
        process: OperatorProcess,
        kubectl: Kubectl,
        definitions: Definitions,
        table: list[str],
    ) -> None:
        self.team = team
        self.process = process
        self.definitions = definitions
        self._kubectl = kubectl
        self._table = table

    async def judged(self, plural: str, name: str, *, what: str) -> Judgement:
        """Judge an object; all of it is about the same version of it."""
        document = await self.team.get(plural, name)
        namespace = self.team.namespace if plural != "clusterbrokers" else None
        # The group, because other operators have brokers, too.
        table = self._kubectl.table(f"{plural}.springline.dev", name, namespace=namespace)
        [row] = rows(table)
        try:
            [(status, message)] = gitops.kstatus(document)
        except gitops.KstatusMissing as error:
            pytest.skip(str(error))
        kind = document["kind"]
        health, words = gitops.argo(script(kind), document)
        other = row["STATE" if plural == CONNECTIONS else "REACHABLE"]
        found = Judgement(row["READY"], other, status, health)
        cells = (found.ready, found.other, found.kstatus, found.argo)
        self._table.append(
            f"{kind:17} {what:60} " + " ".join(f"{cell or '-':12}" for cell in cells) + words[:50]
        )
        assert message
        # Of no condition of ours can be said that it is as old as time.
        for each in document.get("status", {}).get("conditions", ()):
            assert not each["lastTransitionTime"].startswith("1970")
        return found

    async def broker(self, plural: str, **spec: Any) -> str:
        """Declare a broker, and return its name."""
        kind, name = "Broker", "rabbit"
        if plural == "clusterbrokers":
            kind, name = "ClusterBroker", f"rabbit-{self.team.namespace}"
        document = self.team.rabbit.document(name=name, retry=RETRY)
        document["spec"] |= spec
        await self.team.apply(plural, {**document, "kind": kind})
        return name

    async def declare_in_place(self, broker: dict[str, Any], **spec: Any) -> None:
        """Declare a connection with its broker in place."""
        document = self.team.connection("orders", broker=broker, **spec)
        del document["spec"]["brokerRef"]
        await self.team.apply(CONNECTIONS, document)

    async def hold(self, plural: str, name: str) -> None:
        """Delete an object that somebody's finalizer holds."""
        await self.team.patch(plural, name, {"metadata": {"finalizers": [FINALIZER]}})
        await self.team.delete(plural, name)

    async def five_minutes_later(self, state: SessionState) -> None:
        """Have the status as it is when the state of the session has lasted for five minutes.

        The operator is killed, and the status put where it would write it, by its field manager.
        """
        await asyncio.to_thread(self.process.kill)
        document = await self.team.get(CONNECTIONS, "orders")
        found = document["status"]
        view = SessionView(
            key=SessionKey(self.team.namespace, "orders"),
            generation=document["metadata"]["generation"],
            spec=None,
            state=state,
            refused_seconds=GRACE_SECONDS,
        )
        told = projection.conditions(
            view, previous=conditions.stored(found["conditions"]), now=datetime.now(UTC)
        )
        [stalled] = [each.as_dict() for each in told if each.type == "Stalled"]
        path = f"{self.team._path(CONNECTIONS, 'orders')}/status"
        changed = {
            **{key: document[key] for key in ("apiVersion", "kind")},
            "metadata": {"name": "orders"},
            "status": {**found, "conditions": [*found["conditions"], stalled]},
        }
        answer = await self.team.ask(
            "PATCH",
            f"{path}?fieldManager=springline&force=true",
            changed,
            content_type="application/apply-patch+yaml",
        )
        assert answer.code == 200, answer.message


@pytest.fixture
async def scene(
    team: Team,
    process: OperatorProcess,
    kubectl: Kubectl,
    definitions: Definitions,
    table: list[str],
) -> AsyncIterator[Scene]:
    """A scene that leaves nothing behind which the test's namespace does not take along."""
    scene = Scene(team, process, kubectl, definitions, table)
    yield scene
    for plural, name in (
        (CONNECTIONS, "orders"),
        ("brokers", "rabbit"),
        ("clusterbrokers", f"rabbit-{team.namespace}"),
    ):
        if await team.get(plural, name):
            await team.patch(plural, name, {"metadata": {"finalizers": []}})
    if await team.get("clusterbrokers", f"rabbit-{team.namespace}"):
        await team.delete("clusterbrokers", f"rabbit-{team.namespace}")


# The script --------------------------------------------------------------------------------------


def test_the_script_gets_into_argo_cd_as_documented(
    kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    """What is in its ConfigMap stays there, and all three kinds get the same script."""
    data = {"url": "https://argocd.example.com"}
    there = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm"},
        "data": data,
    }
    kubectl.apply(there, namespace=namespace)
    [text] = [block.text for block in PAGE.blocks if "kind: ConfigMap" in block.text]
    file = tmp_path / "argocd-cm.yaml"
    file.write_text(text.replace("namespace: argocd", f"namespace: {namespace}"))
    [command] = [each for each in PAGE.commands if "argocd-cm" in each]
    _, *words = command.split()
    words = [{"argocd": namespace, "argocd-cm.yaml": str(file)}.get(each, each) for each in words]
    kubectl.run(*words)
    found = kubectl.get_json("configmap", "argocd-cm", namespace=namespace)["data"]
    assert found.pop("url") == data["url"]
    assert len(found) == len(crds.KINDS)
    assert set(found.values()) == {script(kind) for kind in crds.KINDS}


# Connections -------------------------------------------------------------------------------------


async def never_seen(scene: Scene) -> None:
    await asyncio.to_thread(scene.process.stop)
    await scene.team.declare("orders")


@contextlib.asynccontextmanager
async def silence() -> AsyncIterator[dict[str, Any]]:
    """A broker, declared in place, that takes connections and says nothing."""
    ended = asyncio.Event()

    async def wait(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(wait, LOOPBACK, 0)
    host, port, *_ = server.sockets[0].getsockname()
    try:
        yield {
            "endpoints": [{"host": host, "port": port}],
            "sasl": {"allowInsecure": True},
            "connectTimeout": "5m",
        }
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


async def connecting(scene: Scene, broker: dict[str, Any]) -> None:
    await scene.team.put_secret()
    await scene.declare_in_place(broker)
    await scene.team.until_condition("orders", "Ready", "False", "Connecting")


async def is_open(scene: Scene) -> None:
    await scene.team.declare("orders")
    await scene.team.until_ready("orders")


async def is_blocked(scene: Scene) -> None:
    await is_open(scene)
    await asyncio.to_thread(scene.team.rabbit.administration.set_alarm, "memory")
    await scene.team.until_condition("orders", "Blocked", "True")


async def is_open_with_a_refused_password(scene: Scene) -> None:
    await is_open(scene)
    await scene.team.put_secret(WRONG)
    await scene.team.until_condition("orders", "Ready", "False", "Rejected")


async def is_open_and_moved_to_nowhere(scene: Scene) -> None:
    await is_open(scene)
    await scene.team.patch(CONNECTIONS, "orders", {"spec": {"virtualHost": "not-there"}})
    await scene.team.until_condition("orders", "Synced", "False", "VirtualHostNotFound")


async def unreachable(scene: Scene) -> None:
    await scene.team.put_secret()
    await scene.broker("brokers", endpoints=[NOWHERE])
    await scene.team.declare_connections("orders")
    await scene.team.until_condition("orders", "Ready", "False", "ConnectionRefused")


async def refused(scene: Scene) -> None:
    await scene.team.put_secret(WRONG)
    await scene.broker("brokers")
    await scene.team.declare_connections("orders")
    await scene.team.until_condition("orders", "Ready", "False", "AccessRefused")


async def without_secret(scene: Scene) -> None:
    await scene.broker("brokers")
    await scene.team.declare_connections("orders")
    await scene.team.until_condition("orders", "Ready", "False", "SecretNotFound")


async def without_broker(scene: Scene) -> None:
    await scene.team.put_secret()
    await scene.team.declare_connections("orders")
    await scene.team.until_condition("orders", "Ready", "False", "BrokerNotFound")


def lax(definition: dict[str, Any]) -> None:
    """Have the API server let in what it refuses, as the definitions of another version may."""
    [version] = definition["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["x-kubernetes-validations"]
    if "endpoints" in spec["properties"]:
        del spec["properties"]["endpoints"]["items"]["properties"]["port"]["maximum"]


async def contradicting_itself(scene: Scene) -> None:
    await asyncio.to_thread(scene.definitions.install, lax)
    broker = {"endpoints": [NOWHERE], "sasl": {"allowInsecure": True}}
    await scene.declare_in_place(broker, credentials={"external": {}})
    await scene.team.until_condition("orders", "Ready", "False", "InvalidSpec")


async def suspended(scene: Scene) -> None:
    await is_open(scene)
    await scene.team.patch(CONNECTIONS, "orders", {"spec": {"suspend": True}})
    await scene.team.until_condition("orders", "Connected", "False", "Suspended")


async def stayed_closed(scene: Scene) -> None:
    await scene.team.declare("orders", whenClosed="StayClosed")
    await scene.team.until_ready("orders")
    [held] = await scene.team.until_held("orders")
    close = scene.team.rabbit.administration.close_connection
    await asyncio.to_thread(close, held.pid, "somebody has to look")
    await scene.team.until_condition("orders", "Ready", "False", "StayClosed")


async def left(scene: Scene) -> None:
    await is_open(scene)
    await asyncio.to_thread(scene.process.stop)
    await scene.team.until_condition("orders", "Ready", "False", "ClientClosed")


async def held(scene: Scene) -> None:
    await is_open(scene)
    await asyncio.to_thread(scene.process.kill)  # the operator closes what is being deleted
    await scene.hold(CONNECTIONS, "orders")


def later(
    made: Callable[[Scene], Awaitable[None]], state: SessionState
) -> Callable[[Scene], Awaitable[None]]:
    """The same, for five minutes."""

    async def made_for_long(scene: Scene) -> None:
        await made(scene)
        await scene.five_minutes_later(state)

    return made_for_long


OF_A_CONNECTION: Final[dict[str, Callable[[Scene], Awaitable[None]]]] = {
    "no operator has seen it": never_seen,
    "it is open": is_open,
    "it is open, and the broker blocks it": is_blocked,
    "it is open, and a new password is refused": is_open_with_a_refused_password,
    "it is open, and a new password is refused for five minutes": later(
        is_open_with_a_refused_password,
        states.after(Opened(), RenewalRefused(error=credential_refused())),
    ),
    "it is open, and a change of its declaration is refused": is_open_and_moved_to_nowhere,
    "it is open, and a change of its declaration is refused for five minutes": later(
        is_open_and_moved_to_nowhere,
        states.after(Opened(), RenewalRefused(error=refused_name())),
    ),
    "the broker cannot be reached": unreachable,
    "the login is refused": refused,
    "the login is refused for five minutes": later(refused, states.REJECTED),
    "the Secret is missing": without_secret,
    "the Secret is missing for five minutes": later(without_secret, states.WITHOUT_SECRET),
    "the Broker is missing": without_broker,
    "the Broker is missing for five minutes": later(
        without_broker, states.after(Declared(problem=NO_BROKER))
    ),
    "its declaration cannot be used": contradicting_itself,
    "it is suspended": suspended,
    "it was closed and is to stay so": stayed_closed,
    "the operator has stopped": left,
    "it is deleted, and a finalizer holds it": held,
}
CONNECTING: Final = "the first attempt is under way"


def test_every_documented_state_of_a_connection_is_brought_about() -> None:
    """So that a row that is added has to be true."""
    assert CONNECTION_STATES.keys() == OF_A_CONNECTION.keys() | {CONNECTING}


@pytest.mark.parametrize("what", OF_A_CONNECTION)
async def test_a_connection_is_judged_rightly(scene: Scene, what: str) -> None:
    """By people, by Flux and by Argo CD."""
    try:
        await OF_A_CONNECTION[what](scene)
        found = await scene.judged(CONNECTIONS, "orders", what=what)
    finally:
        await asyncio.to_thread(scene.team.rabbit.administration.clear_alarm, "memory")
    assert found == CONNECTION_STATES[what]


async def test_a_connection_that_waits_for_its_broker_is_judged_rightly(scene: Scene) -> None:
    """It is on its way, whatever comes of it."""
    async with silence() as broker:
        await connecting(scene, broker)
        found = await scene.judged(CONNECTIONS, "orders", what=CONNECTING)
        await scene.team.delete(CONNECTIONS, "orders")
    assert found == CONNECTION_STATES[CONNECTING]


async def test_what_is_stalled_stays_so_under_another_operator(scene: Scene) -> None:
    """And is no longer when it is mended; nobody has to wait for another five minutes."""
    await refused(scene)
    await scene.five_minutes_later(states.REJECTED)
    before = await scene.team.status("orders")
    scene.process.start()
    await scene.process.until_ready()
    status = await scene.team.until(
        "orders",
        lambda status: (
            status.get("holder") not in ("", before["holder"])
            and condition(status, "Ready") == ("False", "AccessRefused")
        ),
        "the new operator has written it",
    )
    [then], [now] = stalled(before), stalled(status)
    assert (now["reason"], now["lastTransitionTime"]) == (
        then["reason"],
        then["lastTransitionTime"],
    )
    await scene.team.put_secret()
    await scene.team.until_ready("orders")
    assert stalled(await scene.team.status("orders")) == []


def stalled(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the condition Stalled, if it is there."""
    return [each for each in status["conditions"] if each["type"] == "Stalled"]


async def test_what_nobody_has_seen_is_seen_without_a_trace(scene: Scene) -> None:
    """Nothing of the default stays in the status, and it counts as nobody else's."""
    await never_seen(scene)
    unseen = {"orders": CONNECTIONS, "rabbit": "brokers"}
    unseen_status = {"observedGeneration": -1, "state": "Pending", "attempts": 0}
    assert await scene.team.status("orders") == unseen_status
    assert await scene.team.status("rabbit", "brokers") == {"observedGeneration": -1}
    selected = f"{scene.team._path(CONNECTIONS, '')}?fieldSelector=status.state%3DPending"
    items = (await scene.team.ask("GET", selected)).content["items"]
    assert [each["metadata"]["name"] for each in items] == ["orders"]
    said = len(scene.process.output)
    scene.process.start()
    await scene.process.until_ready()
    await scene.team.until_ready("orders")
    await scene.team.until_condition("rabbit", "Reachable", "True", plural="brokers")
    for name, plural in unseen.items():
        document = await scene.team.get(plural, name)
        writers = {
            each["manager"]
            for each in document["metadata"]["managedFields"]
            if each.get("subresource") == "status"
        }
        assert writers == {"springline"}
        assert document["status"]["observedGeneration"] == document["metadata"]["generation"]
    assert "written by another writer" not in scene.process.output[said:]


# Brokers -----------------------------------------------------------------------------------------


async def broker_never_seen(scene: Scene, plural: str) -> str:
    await asyncio.to_thread(scene.process.stop)
    return await scene.broker(plural)


async def broker_unused(scene: Scene, plural: str) -> str:
    name = await scene.broker(plural)
    await scene.team.until_condition(name, "Reachable", "Unknown", plural=plural)
    return name


async def use(scene: Scene, plural: str, name: str) -> None:
    """Declare a connection to a broker."""
    kind = "ClusterBroker" if plural == "clusterbrokers" else "Broker"
    await scene.team.put_secret()
    await scene.team.declare_connections("orders", brokerRef={"kind": kind, "name": name})


async def broker_reachable(scene: Scene, plural: str) -> str:
    name = await scene.broker(plural)
    await use(scene, plural, name)
    await scene.team.until_condition(name, "Reachable", "True", plural=plural)
    return name


async def broker_unreachable(scene: Scene, plural: str) -> str:
    name = await scene.broker(plural, endpoints=[NOWHERE])
    await use(scene, plural, name)
    await scene.team.until_condition(name, "Reachable", "False", "ConnectionRefused", plural=plural)
    return name


async def broker_unusable(scene: Scene, plural: str) -> str:
    await asyncio.to_thread(scene.definitions.install, lax)
    name = await scene.broker(plural, endpoints=[{"host": LOOPBACK, "port": 70000}])
    await scene.team.until_condition(name, "Ready", "False", "InvalidSpec", plural=plural)
    return name


async def broker_held(scene: Scene, plural: str) -> str:
    name = await broker_unused(scene, plural)
    await asyncio.to_thread(scene.process.kill)
    await scene.hold(plural, name)
    return name


OF_A_BROKER: Final[dict[str, Callable[[Scene, str], Awaitable[str]]]] = {
    "no operator has seen it": broker_never_seen,
    "nobody uses it": broker_unused,
    "a session is open": broker_reachable,
    "no session gets through": broker_unreachable,
    "its declaration cannot be used": broker_unusable,
    "it is deleted, and a finalizer holds it": broker_held,
}


def test_every_documented_state_of_a_broker_is_brought_about() -> None:
    """As above."""
    assert BROKER_STATES.keys() == OF_A_BROKER.keys()


@pytest.mark.parametrize("what", OF_A_BROKER)
@pytest.mark.parametrize("plural", ["brokers", "clusterbrokers"])
async def test_a_broker_is_judged_rightly(scene: Scene, plural: str, what: str) -> None:
    """Of both kinds."""
    name = await OF_A_BROKER[what](scene, plural)
    assert await scene.judged(plural, name, what=what) == BROKER_STATES[what]
