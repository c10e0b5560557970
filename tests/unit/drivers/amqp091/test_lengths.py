"""How much of a login a broker reads, and how long a secret fits into update-secret."""

import pamqp.frame
import pytest
from pamqp import commands as spec

from springline.core.values import ServerInfo
from springline.drivers.amqp091 import lengths
from springline.drivers.amqp091.lengths import Login


def a_login(octets: int, *, product: str = "RabbitMQ", version: str = "3.10.8") -> Login:
    server = ServerInfo(product=product, version=version)
    return Login(server=server, octets=octets, response_octets=octets // 2)


@pytest.mark.parametrize(
    ("version", "limit"),
    [
        ("3.10.8", 4096),
        ("3.13.7", 4096),
        ("4.0.5", 4096),
        ("4.1.0", 8192),
        ("4.1.0-rc.1", 8192),
        ("4.10.0", 8192),
        ("5.0.0", 8192),
        ("10.0", 8192),
        ("", 4096),
        ("newest", 4096),
    ],
)
def test_what_rabbitmq_reads_depends_on_its_version(version: str, limit: int) -> None:
    assert a_login(1, version=version).limit == limit
    assert not a_login(limit, version=version).is_too_long
    assert a_login(limit + 1, version=version).is_too_long


def test_other_brokers_have_to_read_what_the_protocol_says() -> None:
    """Their versions mean nothing here, and their configuration is theirs."""
    login = a_login(4097, product="Other", version="4.1.0")
    assert login.is_too_long
    assert login.comparison == "4097 bytes, of which Other 4.1.0 has to read 4096"
    assert "initial_frame_max" not in login.advice


def test_a_broker_that_says_nothing_of_itself_is_a_broker() -> None:
    login = a_login(5000, product="", version="")
    assert login.comparison == "5000 bytes, of which a broker has to read 4096"


def test_a_later_rabbitmq_is_not_advised() -> None:
    assert "from RabbitMQ 4.1 on" in a_login(9000, version="4.0.5").advice
    assert "from RabbitMQ 4.1 on" not in a_login(9000, version="4.2.0").advice


@pytest.mark.parametrize("frame_max", [4096, 131072])
def test_the_longest_secret_fills_a_frame(frame_max: int) -> None:
    """The frame-max counts the header and the end of a frame."""
    limit = lengths.secret_limit(frame_max)
    assert limit is not None
    update = spec.Connection.UpdateSecret(new_secret="x" * limit, reason=lengths.UPDATE_REASON)
    assert len(pamqp.frame.marshal(update, 0)) == frame_max


def test_without_a_frame_max_there_is_no_limit() -> None:
    assert lengths.secret_limit(0) is None
