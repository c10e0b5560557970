"""The table of protocols is the only list of them."""

import typing

import pytest

from springline import protocols
from springline.adapters import adapters
from springline.api import v1alpha1
from springline.protocols import ProtocolInfo


def test_each_protocol_of_the_table_has_what_speaks_it() -> None:
    assert adapters().keys() == protocols.PROTOCOLS.keys()


def test_what_can_be_declared_is_in_the_table() -> None:
    field = v1alpha1.BrokerSpec.model_fields["protocol"]
    assert typing.get_args(field.annotation) == tuple(protocols.PROTOCOLS)
    assert field.default in protocols.PROTOCOLS


@pytest.mark.parametrize(("tls", "port"), [(True, 5671), (False, 5672)])
def test_the_port_of_an_endpoint_without_one_is_that_of_its_protocol(tls: bool, port: int) -> None:
    assert protocols.PROTOCOLS["amqp091"].default_port(tls=tls) == port


def test_protocols_with_the_same_ports_are_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert protocols.default_ports() == "5671 where tls.enabled is true, else 5672"
    [first] = protocols.PROTOCOLS.values()
    other = ProtocolInfo(name="amqp10", title="AMQP 1.0", port=5672, tls_port=5671)
    monkeypatch.setattr(protocols, "_TABLE", (first, other))
    assert protocols.default_ports() == "5671 where tls.enabled is true, else 5672"
    web = ProtocolInfo(name="http", title="HTTP", port=80, tls_port=443)
    monkeypatch.setattr(protocols, "_TABLE", (first, other, web))
    assert protocols.default_ports() == (
        "for amqp091 and amqp10 5671 where tls.enabled is true, else 5672;"
        " for http 443 where tls.enabled is true, else 80"
    )
    assert protocols.listed() == "amqp091 is AMQP 0-9-1, amqp10 is AMQP 1.0, http is HTTP"
