"""The table of protocols is the only list of them."""

import ast
import dataclasses
import typing
from pathlib import Path

import pytest

import springline
from springline import checking, protocols
from springline.adapters import adapters
from springline.api import crds, v1alpha1
from springline.app import Standalone
from springline.metrics import catalogue
from support.fakes import RecordingEvents


def test_each_protocol_of_the_table_has_what_speaks_it() -> None:
    assert adapters().keys() == protocols.PROTOCOLS.keys()


def test_what_can_be_declared_is_in_the_table() -> None:
    field = v1alpha1.BrokerSpec.model_fields["protocol"]
    assert typing.get_args(field.annotation) == tuple(protocols.PROTOCOLS)
    assert field.default in protocols.PROTOCOLS


@pytest.mark.parametrize("kind", ["Broker", "ClusterBroker", "BrokerConnection"])
def test_the_schema_takes_what_is_in_the_table(kind: str) -> None:
    """No more protocols, no other mechanisms, and the defaults of the first one."""
    [version] = crds.crd(kind)["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    broker = (spec["properties"]["broker"] if kind == "BrokerConnection" else spec)["properties"]
    assert broker["protocol"]["enum"] == list(protocols.PROTOCOLS)
    assert broker["protocol"]["default"] == protocols.DEFAULT
    mechanisms = broker["sasl"]["properties"]["mechanisms"]
    assert mechanisms["items"]["enum"] == list(protocols.MECHANISMS)
    assert mechanisms["maxItems"] == len(protocols.MECHANISMS)
    assert tuple(mechanisms["default"]) == protocols.DEFAULT_MECHANISMS
    for each in protocols.PROTOCOLS.values():
        assert set(each.mechanisms) <= set(protocols.MECHANISMS)
        assert set(each.default_mechanisms) <= set(each.mechanisms)


def test_the_labels_of_metrics_are_those_of_the_table() -> None:
    labels = {
        label.name: label
        for section in catalogue.SECTIONS
        for metric in section.metrics
        for label in metric.labels
    }
    assert labels["protocol"].values.keys() == {*protocols.PROTOCOLS, "unknown"}


def test_what_runs_without_a_cluster_speaks_every_protocol_of_the_table() -> None:
    """So does `check`, which is made of the same parts."""
    parts = Standalone(RecordingEvents())
    assert parts.environment.adapters.keys() == protocols.PROTOCOLS.keys()
    assert vars(checking)["Standalone"] is Standalone


def test_nobody_but_the_table_chooses_what_speaks_a_protocol() -> None:
    """Each place where sessions get their adapters takes them all: the operator's, too."""
    package = Path(springline.__file__).parent
    given = [
        ast.unparse(keyword.value)
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Environment")
        for keyword in node.keywords
        if keyword.arg == "adapters"
    ]
    assert given == ["adapters()", "adapters()"]  # app and operator_app


@pytest.mark.parametrize(("tls", "port"), [(True, 5671), (False, 5672)])
def test_the_port_of_an_endpoint_without_one_is_that_of_its_protocol(tls: bool, port: int) -> None:
    assert protocols.PROTOCOLS["amqp091"].default_port(tls=tls) == port


def test_protocols_with_the_same_ports_are_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = protocols.PROTOCOLS["amqp091"]
    other = dataclasses.replace(first, name="amqp10", title="AMQP 1.0")
    monkeypatch.setattr(protocols, "_TABLE", (first, other))
    assert protocols.default_ports() == "5671 where tls.enabled is true, else 5672"
    web = dataclasses.replace(first, name="http", title="HTTP", port=80, tls_port=443)
    monkeypatch.setattr(protocols, "_TABLE", (first, other, web))
    assert protocols.default_ports() == (
        "for amqp091 and amqp10 5671 where tls.enabled is true, else 5672;"
        " for http 443 where tls.enabled is true, else 80"
    )
    assert protocols.listed() == "amqp091 is AMQP 0-9-1, amqp10 is AMQP 1.0, http is HTTP"
