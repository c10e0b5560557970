"""What Start says of the broker, as it is shown."""

from typing import Any

from springline.drivers.amqp091 import greeting
from springline.drivers.amqp091.negotiated import Amqp091ServerInfo
from springline.redaction import Secret
from springline.veil import Veil

RABBITMQ = {"product": "RabbitMQ", "version": "3.10.8", "platform": "Erlang/OTP 25.2.3"}


def shown(properties: dict[str, Any], *, secret: str = "first-password") -> Amqp091ServerInfo:
    veil = Veil()
    veil.note(Secret(secret))
    return greeting.server_info(properties, mechanisms="PLAIN AMQPLAIN", locales="en_US", veil=veil)


def test_sessions_share_what_one_broker_says_whatever_their_secrets() -> None:
    info = shown(RABBITMQ)
    assert (info.product, info.version, info.cluster_name) == ("RabbitMQ", "3.10.8", "")
    assert (info.mechanisms, info.locales) == (("PLAIN", "AMQPLAIN"), ("en_US",))
    assert shown(RABBITMQ, secret="another-password") is info


def test_octets_that_are_not_utf_8_are_shown_as_far_as_they_can_be() -> None:
    assert shown({**RABBITMQ, "cluster_name": b"M\xfcnchen"}).cluster_name == "M\ufffdnchen"


def test_what_is_no_text_is_left_out() -> None:
    info = shown({**RABBITMQ, "cluster_name": 7, "version": ["3", "10"]})
    assert (info.product, info.version, info.cluster_name) == ("RabbitMQ", "", "")


def test_a_secret_in_one_of_them_is_masked_there_and_the_others_are_shown() -> None:
    info = shown({**RABBITMQ, "cluster_name": "of first-password"})
    assert (info.product, info.cluster_name) == ("RabbitMQ", "of ***")
