"""From one set of manifests to the next: what the manager is told, in which order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from springline.api import documents, v1alpha1
from springline.api.meta import Identity
from springline.core.manager import Manager
from springline.core.values import SessionKey
from springline.errors import ObjectNotAllowedError
from springline.positions import Position
from springline.standalone.loader import Manifests, Problem
from springline.standalone.reconciler import ManifestReader, Reconciler
from support.running import a_broker, a_connection, a_secret

LOGIN = Identity("Secret", "default", "login")
RABBIT = Identity("Broker", "default", "rabbit")
ORDERS = Identity("BrokerConnection", "default", "orders")
INVOICES = Identity("BrokerConnection", "default", "invoices")


class RecordingManager:
    """Writes down what it is told, with the version that the reader gives at that moment."""

    def __init__(self, reader: ManifestReader) -> None:
        self.told: list[str] = []
        self._reader = reader

    def take(self) -> list[str]:
        """Return what was told since the last time."""
        told, self.told = self.told, []
        return told

    def put_broker(self, identity: Identity, spec: v1alpha1.BrokerSpec) -> None:
        self.told.append(f"put {identity.kind} {identity.name} at {spec.addresses[0][1]}")

    def drop_broker(self, identity: Identity) -> None:
        self.told.append(f"drop {identity.kind} {identity.name}")

    def put_connection(self, document: v1alpha1.BrokerConnection, *, generation: int) -> None:
        self.told.append(f"put {document.name} generation {generation}")

    def put_unusable(self, key: SessionKey, problem: str, *, generation: int) -> None:
        self.told.append(f"unusable {key.name} generation {generation}: {problem}")

    def drop_connection(self, key: SessionKey) -> None:
        self.told.append(f"drop {key.name}")

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        self.told.append(f"put namespace {name} with {dict(labels)}")

    def drop_namespace(self, name: str) -> None:
        self.told.append(f"drop namespace {name}")

    def object_changed(self, identity: Identity) -> None:
        found = self._reader._objects.get(identity)
        version = f"version {found.version}" if found is not None else "gone"
        self.told.append(f"changed {identity.kind} {identity.name} {version}")


class Scene:
    """A reconciler, and everything around it."""

    def __init__(self) -> None:
        self.reader = ManifestReader()
        self.manager = RecordingManager(self.reader)
        self.reconciler = Reconciler(cast("Manager", self.manager), self.reader)

    def apply(self, *written: dict[str, Any], unusable: dict[Identity, str] | None = None) -> None:
        parsed = [documents.parse(each) for each in written]
        problems = [
            Problem(Position(Path("a.yaml"), 1), sentence, identity)
            for identity, sentence in (unusable or {}).items()
        ]
        self.reconciler.apply(
            Manifests(
                objects={each.identity: each for each in parsed},
                problems=tuple(problems),
                files={Path("a.yaml"): cast("Any", None)},
            )
        )


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_referred_to_comes_before_what_refers_to_it(scene: Scene) -> None:
    """Whatever the order of the files, so that no session starts without its Secret."""
    scene.apply(a_connection("orders"), a_broker(5672), a_secret("ann", "x"))
    assert scene.manager.take() == [
        "changed Secret login version 1",
        "put Broker rabbit at 5672",
        "put orders generation 1",
    ]


def test_what_is_referred_to_goes_after_what_refers_to_it(scene: Scene) -> None:
    """Else a session that is to end would first report that its Secret is missing."""
    scene.apply(a_secret("ann", "x"), a_broker(5672), a_connection("orders"))
    scene.manager.take()
    scene.apply()
    told = scene.manager.take()
    assert told[0] == "drop orders"
    assert sorted(told[1:]) == ["changed Secret login gone", "drop Broker rabbit"]


def test_what_takes_a_place_comes_before_what_leaves_it(scene: Scene) -> None:
    """A connection that moves to a renamed Broker never sees that there is none."""
    scene.apply(a_broker(5672), a_connection("orders"))
    scene.manager.take()
    scene.apply(a_broker(5672, name="hare"), a_connection("orders", brokerRef={"name": "hare"}))
    assert scene.manager.take() == [
        "put Broker hare at 5672",
        "put orders generation 2",
        "drop Broker rabbit",
    ]


def test_nothing_is_told_of_what_did_not_change(scene: Scene) -> None:
    everything = [a_secret("ann", "x"), a_broker(5672), a_connection("orders")]
    scene.apply(*everything)
    scene.manager.take()
    scene.apply(*reversed(everything))
    assert scene.manager.take() == []


def test_only_the_changed_connection_is_told_with_the_next_generation(scene: Scene) -> None:
    scene.apply(a_connection("orders"), a_connection("invoices"))
    scene.manager.take()
    scene.apply(a_connection("orders", virtualHost="/new"), a_connection("invoices"))
    assert scene.manager.take() == ["put orders generation 2"]
    assert scene.reconciler.generation(ORDERS) == 2
    assert scene.reconciler.generation(INVOICES) == 1
    assert scene.reconciler.generation(RABBIT) == 0


def test_generation_goes_on_when_a_connection_comes_back(scene: Scene) -> None:
    """A status of an earlier life is never taken for the current one."""
    scene.apply(a_connection("orders"))
    scene.apply()
    scene.apply(a_connection("orders"))
    assert scene.manager.take() == [
        "put orders generation 1",
        "drop orders",
        "put orders generation 2",
    ]


async def test_changed_secret_has_a_new_version_and_value(scene: Scene) -> None:
    scene.apply(a_secret("ann", "old"))
    scene.apply(a_secret("ann", "new"))
    assert scene.manager.take() == [
        "changed Secret login version 1",
        "changed Secret login version 2",
    ]
    found = await scene.reader.read(LOGIN)
    assert found is not None
    assert (found.version, found.get("password")) == ("2", b"new")


async def test_deleted_secret_is_gone(scene: Scene) -> None:
    scene.apply(a_secret("ann", "x"))
    scene.apply()
    assert scene.manager.take()[1:] == ["changed Secret login gone"]
    assert await scene.reader.read(LOGIN) is None


async def test_config_map_is_read_as_a_secret_is(scene: Scene) -> None:
    scene.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "ca"},
            "data": {"ca.crt": "pem"},
        }
    )
    assert scene.manager.take() == ["changed ConfigMap ca version 1"]
    found = await scene.reader.read(Identity("ConfigMap", "default", "ca"))
    assert found is not None
    assert (found.get("ca.crt"), found.get("other")) == (b"pem", None)


def test_changed_broker_is_told_without_its_connections(scene: Scene) -> None:
    """The manager knows who uses it."""
    scene.apply(a_broker(5672), a_connection("orders"))
    scene.manager.take()
    scene.apply(a_broker(5673), a_connection("orders"))
    assert scene.manager.take() == ["put Broker rabbit at 5673"]


def test_unusable_connection_becomes_usable_and_goes(scene: Scene) -> None:
    scene.apply(unusable={ORDERS: "a mistake"})
    assert scene.manager.take() == ["unusable orders generation 1: a mistake"]
    scene.apply(unusable={ORDERS: "a mistake"})
    assert scene.manager.take() == []
    scene.apply(unusable={ORDERS: "another one"})
    assert scene.manager.take() == ["unusable orders generation 2: another one"]
    scene.apply(a_connection("orders"))
    assert scene.manager.take() == ["put orders generation 3"]
    scene.apply()
    assert scene.manager.take() == ["drop orders"]


def test_unusable_connection_goes_without_ever_having_been_usable(scene: Scene) -> None:
    scene.apply(unusable={ORDERS: "a mistake"})
    scene.apply()
    assert scene.manager.take()[1:] == ["drop orders"]


def test_usable_connection_whose_file_went_can_be_unusable_elsewhere(scene: Scene) -> None:
    """Its session is not dropped: its status says what is wrong with the new document."""
    scene.apply(a_connection("orders"))
    scene.apply(unusable={ORDERS: "a mistake"})
    assert scene.manager.take()[1:] == ["unusable orders generation 2: a mistake"]


def test_mistake_beside_a_good_version_is_no_matter_of_the_session(scene: Scene) -> None:
    scene.apply(a_connection("orders"))
    scene.apply(a_connection("orders"), unusable={ORDERS: "a mistake"})
    assert scene.manager.take() == ["put orders generation 1"]


def test_nothing_is_told_of_unusable_documents_that_nobody_connects_with(scene: Scene) -> None:
    scene.apply(unusable={LOGIN: "a mistake", RABBIT: "a mistake"})
    scene.apply()
    assert scene.manager.take() == []


async def test_good_secret_goes_although_an_unusable_one_has_its_name(scene: Scene) -> None:
    """Its file was deleted, so its values are no longer declared."""
    scene.apply(a_secret("ann", "x"))
    scene.apply(unusable={LOGIN: "a mistake"})
    assert await scene.reader.read(LOGIN) is None
    assert scene.manager.take()[1:] == ["changed Secret login gone"]


def a_namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def test_the_labels_of_a_namespace_are_told_before_the_brokers_that_ask_for_them(
    scene: Scene,
) -> None:
    scene.apply(a_broker(5672), a_namespace("shop", team="shop"))
    assert scene.manager.take() == [
        "put namespace shop with {'team': 'shop'}",
        "put Broker rabbit at 5672",
    ]
    scene.apply(a_broker(5672), a_namespace("shop"))
    assert scene.manager.take() == ["put namespace shop with {}"]
    scene.apply(a_broker(5672))
    assert scene.manager.take() == ["drop namespace shop"]


async def test_secret_of_a_type_for_something_else_is_not_handed_over(scene: Scene) -> None:
    secret = {**a_secret("ann", "x"), "type": "kubernetes.io/service-account-token"}
    scene.apply(secret)
    with pytest.raises(ObjectNotAllowedError, match="holds a token of the API server"):
        await scene.reader.read(LOGIN)
    scene.apply({**secret, "type": "Opaque"})
    assert await scene.reader.read(LOGIN) is not None
