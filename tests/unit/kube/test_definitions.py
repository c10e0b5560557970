"""The API server's definitions beside those of this version: what is known, told and counted."""

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from springline.api import crds
from springline.kube import definitions as module
from springline.kube.client import RefusedError, RequestError, UnreachableError
from springline.kube.definitions import Definitions
from support.fake_clock import FakeClock

KINDS = ("Broker", "BrokerConnection")
PATH = "/openapi/v3/apis/springline.dev/v1alpha1"
STATUS = {
    "observedGeneration": 1,
    "state": "Connected",
    "conditions": [],
    "holder": "pod-1",
    "server": {"product": "RabbitMQ", "version": "4.0.5"},
}


def schemas() -> dict[str, Any]:
    """Return the schemas of this version's definitions, by kind."""
    found = {}
    for kind in crds.KINDS:
        [version] = crds.crd(kind)["spec"]["versions"]
        found[kind] = copy.deepcopy(version["schema"]["openAPIV3Schema"])
    return found


def document(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document as an API server makes one of such schemas."""
    of = {"group": "springline.dev", "version": "v1alpha1"}
    components = {
        f"dev.springline.v1alpha1.{kind}": {
            **schema,
            "x-kubernetes-group-version-kind": [of | {"kind": kind}],
        }
        for kind, schema in found.items()
    }
    lists = {
        "dev.springline.v1alpha1.BrokerList": {
            "x-kubernetes-group-version-kind": [of | {"kind": "BrokerList"}]
        },
        "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions": {
            "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Broker"}]
        },
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"type": "string"},
    }
    return {"openapi": "3.0.0", "components": {"schemas": {**components, **lists}}}


class FakeReader:
    """An API server's OpenAPI document, as `kube.definitions.Reader`."""

    def __init__(self) -> None:
        self.schemas = schemas()
        self.raises: RequestError | None = None
        self.answer: Any = None
        """In place of the document."""
        self.asked: list[str] = []
        """The tags."""
        self.tag = "1"
        self.hangs = False

    def install(self, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        """Change the definitions of this version."""
        self.schemas = schemas()
        change(self.schemas)
        self.tag += "1"

    async def get_unless(self, path: str, tag: str) -> tuple[Mapping[str, Any] | None, str]:
        assert path == PATH
        self.asked.append(tag)
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.raises is not None:
            raise self.raises
        if self.answer is not None:
            return self.answer, ""
        return (None if tag == self.tag else document(self.schemas)), self.tag


class Scene:
    """Definitions that are read from a fake, and what is told of them."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.reader = FakeReader()
        self.changes = 0
        self.definitions = Definitions(self.reader, kinds=KINDS, on_change=self._changed)

    def _changed(self) -> None:
        self.changes += 1

    async def install(self, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        """Change the definitions and have them read."""
        self.reader.install(change)
        await self.clock.result(self.definitions.look(), within=0.1)

    @property
    def missing(self) -> dict[tuple[str, str], int]:
        return {key: number for key, number in self.definitions.missing.items() if number}


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[None]:
    task = asyncio.create_task(scene.definitions.run())
    await scene.clock.settle()
    try:
        yield
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
async def scene(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Scene]:
    """Definitions of this version, which have been read."""
    caplog.set_level(logging.INFO, logger=module.__name__)
    scene = Scene(clock)
    async with running(scene):
        yield scene


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Return what was logged: the level, the kind and the fields."""
    return [
        (each.levelname, getattr(each, "kind", ""), getattr(each, "fields", ""))
        for each in caplog.records
    ]


def older(found: dict[str, Any]) -> None:
    properties = found["BrokerConnection"]["properties"]
    del properties["status"]["properties"]["holder"]
    del properties["status"]["properties"]["server"]["properties"]["version"]
    del properties["spec"]["properties"]["whenClosed"]


def newer(found: dict[str, Any]) -> None:
    properties = found["BrokerConnection"]["properties"]
    properties["status"]["properties"]["shade"] = {"type": "string"}
    properties["spec"]["properties"]["colour"] = {"type": "string"}


def strict(found: dict[str, Any]) -> None:
    status = found["BrokerConnection"]["properties"]["status"]["properties"]
    status["server"]["properties"]["product"]["enum"] = ["QuackMQ"]


async def test_definitions_of_this_version_take_everything(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """The status is not even looked through, and nothing is told."""
    fitted = scene.definitions.fitted("BrokerConnection", STATUS)
    assert fitted.value is STATUS
    assert fitted.left_out == ()
    assert scene.missing == {}
    assert scene.definitions.missing.keys() == {
        (kind, part) for kind in KINDS for part in ("spec", "status")
    }
    assert told(caplog) == []


async def test_definitions_of_this_version_cost_next_to_nothing(scene: Scene) -> None:
    """A request in five minutes, whose answer has no content."""
    await scene.clock.advance(3600)
    assert scene.reader.asked == ["", *["1"] * 12]
    assert scene.changes == 1


async def test_older_definitions_are_told_once_and_counted(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Each kind has a line with all that it lacks, in declarations as in status."""
    await scene.install(older)
    for _ in range(3):
        fitted = scene.definitions.fitted("BrokerConnection", STATUS)
        assert fitted.value.keys() == STATUS.keys() - {"holder"}
        assert fitted.value["server"] == {"product": "RabbitMQ"}
        await scene.clock.advance(100)
    fields = "spec.whenClosed, status.holder, status.server.version"
    assert told(caplog) == [("WARNING", "BrokerConnection", fields)]
    assert "apply the CustomResourceDefinitions of this version" in caplog.text
    assert scene.missing == {("BrokerConnection", "spec"): 1, ("BrokerConnection", "status"): 2}


async def test_upgraded_definitions_are_noticed_by_themselves(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Soon, and that is told, too."""
    await scene.install(older)
    changes, edition = scene.changes, scene.definitions.edition
    caplog.clear()
    scene.reader.install()
    await scene.clock.advance(10)
    assert scene.changes == changes + 1
    assert scene.definitions.edition == edition + 1
    assert scene.definitions.fitted("BrokerConnection", STATUS).value is STATUS
    assert scene.missing == {}
    assert told(caplog) == [("INFO", "BrokerConnection", "")]


async def test_another_set_of_missing_fields_is_told_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.install(older)
    await scene.install(lambda found: found["Broker"]["properties"]["spec"].update(properties={}))
    assert [(level, kind) for level, kind, _ in told(caplog)] == [
        ("WARNING", "BrokerConnection"),
        ("WARNING", "Broker"),
        ("INFO", "BrokerConnection"),
    ]


async def test_newer_definitions_are_told_once_and_take_everything(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.install(newer)
    await scene.clock.advance(1000)
    assert scene.definitions.fitted("BrokerConnection", STATUS).value == STATUS
    assert told(caplog) == [("INFO", "BrokerConnection", "spec.colour, status.shade")]
    assert scene.missing == {}


async def test_a_value_that_they_do_not_take_is_told_once_and_counted(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """It is known only when it comes up; from then on they are read more often."""
    await scene.install(strict)
    assert scene.missing == {}
    for _ in range(3):
        fitted = scene.definitions.fitted("BrokerConnection", STATUS)
        assert fitted.value["server"] == {"version": "4.0.5"}
    assert told(caplog) == [("WARNING", "BrokerConnection", "status.server.product")]
    assert scene.missing == {("BrokerConnection", "status"): 1}
    await scene.clock.advance(1)
    scene.reader.install()
    await scene.clock.advance(10)
    assert scene.definitions.fitted("BrokerConnection", STATUS).value is STATUS
    assert told(caplog)[1:] == [("INFO", "BrokerConnection", "")]


async def test_free_keys_of_a_map_are_told_as_one_field(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as those of client properties: the log would not end."""

    def unnamed(found: dict[str, Any]) -> None:
        status = found["BrokerConnection"]["properties"]["status"]["properties"]
        del status["negotiated"]["properties"]["clientProperties"]["additionalProperties"]

    await scene.install(unnamed)
    negotiated = {
        "mechanism": "PLAIN",
        "locale": "en_US",
        "heartbeat": "30s",
        "channelMax": 1,
        "frameMax": 1,
        "clientProperties": {"team": "orders", "stage": "test"},
    }
    fitted = scene.definitions.fitted("BrokerConnection", {**STATUS, "negotiated": negotiated})
    assert fitted.value["negotiated"] == {**negotiated, "clientProperties": {}}
    field = "status.negotiated.clientProperties.*"
    assert told(caplog) == [("WARNING", "BrokerConnection", field)]
    assert scene.missing == {("BrokerConnection", "status"): 1}


async def test_definitions_without_a_status_take_nothing_of_it(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.install(lambda found: found["Broker"]["properties"].pop("status"))
    fitted = scene.definitions.fitted("Broker", STATUS)
    assert fitted.value == {}
    assert fitted.left_out == ("status",)
    assert told(caplog) == [("WARNING", "Broker", "status")]
    assert scene.missing == {("Broker", "status"): 1}


async def test_other_words_in_them_are_no_change(scene: Scene) -> None:
    """Nor is another kind in the group."""

    def reworded(found: dict[str, Any]) -> None:
        found["Broker"]["properties"]["status"]["description"] = "Other words."
        found["Other"] = {"type": "object"}

    await scene.install(reworded)
    assert scene.changes == 1


async def test_a_kind_that_is_not_installed_counts_as_one_of_this_version(scene: Scene) -> None:
    await scene.install(lambda found: found.pop("Broker"))
    assert scene.definitions.fitted("Broker", STATUS).value is STATUS
    assert {kind for kind, _ in scene.definitions.missing} == {"BrokerConnection"}


async def test_so_many_fields_are_shortened(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def much_newer(found: dict[str, Any]) -> None:
        fields = {f"field{number:02}": {"type": "string"} for number in range(50)}
        found["Broker"]["properties"]["spec"]["properties"] |= fields

    await scene.install(much_newer)
    [(_, _, fields)] = told(caplog)
    assert fields.endswith("spec.field39 and 10 more")


# --- reading them


async def test_nothing_is_left_out_before_they_have_been_read(clock: FakeClock) -> None:
    scene = Scene(clock)
    assert scene.definitions.fitted("BrokerConnection", STATUS).value is STATUS
    assert scene.definitions.missing == {}


AWAY = UnreachableError("connection refused")
NOT_INSTALLED = RefusedError(404, "NotFound", "")


@pytest.mark.parametrize("error", [AWAY, NOT_INSTALLED], ids=["away", "not installed"])
async def test_what_is_known_stays_while_they_cannot_be_read(
    scene: Scene, caplog: pytest.LogCaptureFixture, error: RequestError
) -> None:
    """An outage is told elsewhere, and so are definitions that are missing."""
    await scene.install(older)
    caplog.clear()
    scene.reader.raises = error
    await scene.clock.advance(100)
    assert "holder" not in scene.definitions.fitted("BrokerConnection", STATUS).value
    scene.reader.raises = None
    scene.reader.install()
    await scene.clock.advance(10)
    assert "holder" in scene.definitions.fitted("BrokerConnection", STATUS).value
    assert [level for level, _, _ in told(caplog)] == ["INFO"]


async def test_that_they_may_not_be_read_is_told_once(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As where `system:discovery` was taken away."""
    scene = Scene(clock)
    scene.reader.raises = RefusedError(403, "Forbidden", "no")
    async with running(scene):
        await clock.advance(1000)
        assert [level for level, _, _ in told(caplog)] == ["WARNING"]
        assert scene.definitions.fitted("BrokerConnection", STATUS).value is STATUS


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"components": None},
        {"components": {"schemas": {"a": {"x-kubernetes-group-version-kind": [{}]}}}},
        {"components": {"schemas": ["no schema"]}},
        {"components": {"schemas": {"a": {"x-kubernetes-group-version-kind": None}}}},
        {"components": {"schemas": {"a": "no schema"}}},
    ],
)
async def test_an_answer_that_is_something_else_does_no_harm(
    scene: Scene, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    """What is known stays."""
    await scene.install(older)
    caplog.clear()
    scene.reader.answer = answer
    await scene.clock.result(scene.definitions.look(), within=1)
    assert "holder" not in scene.definitions.fitted("BrokerConnection", STATUS).value
    assert told(caplog) == []


async def test_a_look_shows_what_they_are_now(scene: Scene) -> None:
    """Not what a reading brings that had begun before."""
    first = asyncio.create_task(scene.definitions.look())
    await asyncio.sleep(0)
    scene.reader.install(older)
    await scene.clock.result(scene.definitions.look(), within=0.1)
    assert "holder" not in scene.definitions.fitted("BrokerConnection", STATUS).value
    await first


async def test_those_who_look_together_cost_one_request(scene: Scene) -> None:
    asked = len(scene.reader.asked)
    await asyncio.gather(*(scene.definitions.look() for _ in range(20)))
    assert len(scene.reader.asked) == asked + 1


async def test_an_api_server_that_does_not_answer_ends_a_look(scene: Scene) -> None:
    scene.reader.hangs = True
    await scene.clock.result(scene.definitions.look(), within=5)
