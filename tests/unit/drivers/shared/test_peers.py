"""What a peer speaks is told by its first bytes, whichever protocol is expected."""

import logging

import pytest

from springline import protocols
from springline.drivers.shared import peers
from springline.drivers.shared.peers import Expected

AMQP091 = Expected(protocol="AMQP 0-9-1", port="AMQP")
AMQP10 = Expected(protocol="AMQP 1.0", port="AMQP")
OTHER = Expected(protocol="MQTT 5.0", port="MQTT")


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "speaks HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "speaks TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "speaks SSH"),
        (b"AMQP\x00\x00\x09\x01", "refuses our version"),
        (b"AMQP\x00\x01\x00\x00", "AMQP 1.0: set protocol: amqp10"),
        (b"AMQP\x03\x01\x00\x00", "AMQP 1.0 and wants SASL"),
        (b"AMQP\x02\x01\x00\x00", "AMQP 1.0 and wants TLS"),
        (b"AMQP\x01\x01\x00\x0a", "AMQP 0-10"),
        (b"AMQP\x01\x01\x00\x09", "AMQP 0-9,"),
        (b"AMQP\x01\x01\x08\x00", "AMQP 0-8"),
        (b"AMQP\x00\x07\x07\x07", "another version (7-7-7)"),
        (b"AMQP", "another version"),
        (b"220 mail.example.com ESMTP\r\n", "does not speak AMQP 0-9-1"),
        (b"\x00", "does not speak AMQP 0-9-1"),
    ],
)
def test_a_peer_is_recognised_by_its_first_bytes(sample: bytes, says: str) -> None:
    assert says in peers.describe(sample, AMQP091)


@pytest.mark.parametrize(
    ("sample", "expected", "says"),
    [
        pytest.param(
            b"HTTP/1.1 400 Bad Request\r\n",
            OTHER,
            "the peer speaks HTTP: the port is not the broker's MQTT port",
            id="another protocol's port",
        ),
        pytest.param(
            b"220 mail\r\n",
            OTHER,
            "the peer does not speak MQTT 5.0; Springline's debug log has its first bytes",
            id="nothing that is known",
        ),
        pytest.param(
            b"AMQP\x00\x00\x09\x01",
            AMQP10,
            "the peer speaks AMQP 0-9-1: set protocol: amqp091",
            id="the other AMQP",
        ),
        pytest.param(
            b"AMQP\x00\x01\x00\x00",
            AMQP10,
            "the peer speaks AMQP 1.0, and refuses our version of it",
            id="the expected one",
        ),
        pytest.param(
            b"AMQP\x03\x01\x00\x00",
            AMQP10,
            "the peer speaks AMQP 1.0 and wants SASL first",
            id="the expected one, after SASL",
        ),
    ],
)
def test_sentence_is_about_the_expected_protocol(
    sample: bytes, expected: Expected, says: str
) -> None:
    assert peers.describe(sample, expected) == says


def test_a_protocol_is_advised_only_where_it_can_be_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The schema refuses any other."""
    wants_sasl = b"AMQP\x03\x01\x00\x00"
    assert peers.describe(wants_sasl, AMQP091) == (
        "the peer speaks AMQP 1.0 and wants SASL first: set protocol: amqp10"
    )
    # Another table, not another entry: taken out and put back, it would be the last one.
    others = {name: each for name, each in protocols.PROTOCOLS.items() if name != "amqp10"}
    monkeypatch.setattr(protocols, "PROTOCOLS", others)
    assert peers.describe(wants_sasl, AMQP091) == (
        "the peer speaks AMQP 1.0 and wants SASL first, which is not supported"
    )


def test_every_protocol_that_is_advised_is_in_the_table() -> None:
    for octets in (b"\0\0\x09\x01", b"\0\x01\0\0", b"\x01\x01\x00\x0a", b"\x01\x01\x08\0"):
        said = peers.describe(b"AMQP" + octets, OTHER)
        _, advises, name = said.partition("set protocol: ")
        assert name in protocols.PROTOCOLS or not advises


@pytest.mark.parametrize(
    ("port", "says"),
    [
        (15672, " Port 15672 is usually for RabbitMQ's management interface, which speaks HTTP."),
        (5672, ""),
    ],
)
def test_a_port_that_is_usually_for_something_else_is_named(port: int, says: str) -> None:
    assert peers.usual_use(port) == says


def test_bytes_of_an_unknown_service_go_to_the_debug_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Or who may declare a connection could read any service's banner in status."""
    caplog.set_level(logging.DEBUG)
    assert "secret" not in peers.describe(b"+secret banner\r\n", AMQP091)
    [record] = caplog.records
    assert record.levelno == logging.DEBUG
    assert b"secret" in vars(record)["first_bytes"]
