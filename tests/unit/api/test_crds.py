"""crds/: in step with the models, explained field by field, and bounded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from springline.api import crds, rules
from springline.api.status import (
    BrokerConnectionStatus,
    BrokerStatus,
    ConnectionCounts,
    as_document,
)

CRDS = Path(__file__).resolve().parent.parent.parent.parent / "crds"


def test_the_files_are_what_the_models_say() -> None:
    """`make crds` writes them anew."""
    files = {path.name: path.read_text(encoding="utf-8") for path in CRDS.iterdir()}
    assert files == {name: crds.written(document) for name, document in crds.crds().items()}


def root(kind: str) -> dict[str, Any]:
    """The schema of a kind."""
    schema: dict[str, Any] = crds.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below a schema, with its path."""
    for name, each in schema.get("properties", {}).items():
        yield f"{path}.{name}", each
        yield from fields(each, f"{path}.{name}")
        yield from fields(each.get("items", {}), f"{path}.{name}[]")


@pytest.mark.parametrize("kind", crds.KINDS)
def test_every_field_is_explained(kind: str) -> None:
    """`kubectl explain` has a sentence for each."""
    silent = [path for path, each in fields(root(kind)) if not each.get("description")]
    assert silent == [".metadata"]


@pytest.mark.parametrize("kind", crds.KINDS)
def test_every_list_of_a_spec_is_bounded(kind: str) -> None:
    """The API server counts what a rule may cost by the longest list there can be."""
    unbounded = [
        path
        for path, each in fields(root(kind)["properties"]["spec"])
        if each.get("type") == "array" and "maxItems" not in each
    ]
    assert unbounded == []


@pytest.mark.parametrize("kind", crds.KINDS)
def test_every_rule_over_several_fields_is_in_the_schema(kind: str) -> None:
    """With its message."""
    schemas = [each for _, each in nested(root(kind), kind)]
    messages = [
        rule["message"] for each in schemas for rule in each.get("x-kubernetes-validations", ())
    ]
    for rule in rules.RULES[kind]:
        holder = root(kind)
        for part in rule.at.split("."):
            holder = holder["items"] if part == "*" else holder["properties"][part]
        assert rule.cel(holder)[1] in messages


def test_nothing_in_a_status_is_required_of_a_declaration() -> None:
    """A document without status is a good one."""
    assert all(root(kind)["required"] == ["spec"] for kind in crds.KINDS)


OBLIGATORY = {
    "status": {"observedGeneration", "state", "conditions", "connections"},
    "status.binding": {"name"},
    "status.blocked": {"since", "reason"},
    "status.connections": {"declared", "ready", "blocked"},
    "status.conditions[]": {"type", "status", "reason", "message", "lastTransitionTime"},
    "status.credentials": {"source"},
    "status.lastClose": {"at", "by", "reason", "text"},
    "status.negotiated": {"mechanism", "locale", "heartbeat", "channelMax", "frameMax"},
    "status.negotiated.amqp10": {
        *("containerID", "idleTimeout", "peerIdleTimeout", "maxFrameSize", "peerMaxFrameSize"),
        *("channelMax", "peerChannelMax", "session"),
    },
    "status.negotiated.amqp10.links[]": {"name", "role", "state", "kept"},
    "status.negotiated.amqp10.links[].source": {"durability", "expiry", "timeout", "dynamic"},
    "status.negotiated.amqp10.links[].target": {"durability", "expiry", "timeout", "dynamic"},
    "status.negotiated.amqp10.session": {
        *("incomingWindow", "outgoingWindow", "peerIncomingWindow", "peerOutgoingWindow"),
    },
    "status.negotiated.http": {"version", "keepAlive", "queueLength"},
    "status.negotiated.tls": {"version", "cipher"},
}
LISTED = {"status.conditions[].status"}


def nested(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give a schema and all that are in it, each with its path."""
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nested(each, f"{path}.{name}")
    if "items" in schema:
        yield from nested(schema["items"], f"{path}[]")
    if isinstance(others := schema.get("additionalProperties"), dict):
        yield from nested(others, f"{path}.*")


@pytest.mark.parametrize("kind", crds.KINDS)
def test_a_former_version_can_write_its_status(kind: str) -> None:
    """After a rollback of the operator alone: it writes no field and knows no value of later ones.

    So what is added to a status is optional, and no list of values is closed. A new object in it
    may have fields that it needs; add those here.
    """
    for path, schema in nested(root(kind)["properties"]["status"], "status"):
        assert set(schema.get("required", ())) <= OBLIGATORY.get(path, set()), path
        assert path in LISTED or not schema.keys() & {"enum", "pattern"}, path


def defaulted(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what the API server makes of an object of which nothing is given."""
    filled = dict(schema.get("default", {}))
    for name, each in schema.get("properties", {}).items():
        if name not in filled and "default" in each:
            filled[name] = each["default"]
    return filled


@pytest.mark.parametrize("kind", crds.KINDS)
def test_a_status_that_nobody_has_written_holds_only_what_every_status_has(kind: str) -> None:
    """What is defaulted and not written would stay in the status for ever."""
    counts = ConnectionCounts(declared=0, ready=0, blocked=0)
    least = (
        BrokerConnectionStatus(observed_generation=1, state="Connecting", conditions=())
        if kind == "BrokerConnection"
        else BrokerStatus(observed_generation=1, conditions=(), connections=counts)
    )
    status = root(kind)["properties"]["status"]
    unseen = defaulted(status)
    assert unseen["observedGeneration"] == -1
    assert unseen.keys() <= as_document(least).keys()
    assert "conditions" not in unseen  # they would need the time of a transition
    assert set(status["required"]) == set(status["default"])
