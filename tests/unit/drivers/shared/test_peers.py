"""What a peer speaks is told by its first bytes, whichever protocol is expected."""

import pytest

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
            "the peer does not speak MQTT 5.0; its first bytes are b'220 mail\\r\\n'",
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
