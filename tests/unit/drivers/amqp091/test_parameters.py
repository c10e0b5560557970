"""Parameters as the core sees them: what they ask, where they lead, what else may be refused."""

import dataclasses
from typing import Any

import pytest

from springline.drivers.amqp091.parameters import Amqp091Parameters, LocalePreference
from springline.drivers.shared.sasl import SaslPolicy

PARAMETERS = Amqp091Parameters(
    virtual_host="orders",
    heartbeat_seconds=60,
    channel_max=2047,
    frame_max=131072,
    sasl=SaslPolicy(mechanisms=("PLAIN",)),
    locale=LocalePreference(),
    connection_name="springline/apps/orders",
)

OTHERWISE: dict[str, tuple[Any, bool]] = {
    "virtual_host": ("other", True),
    "heartbeat_seconds": (30, False),
    "channel_max": (1, True),
    "frame_max": (4096, True),
    "sasl": (SaslPolicy(mechanisms=("EXTERNAL",)), True),
    "locale": (LocalePreference(prefer="de_DE"), True),
    "connection_name": ("other", False),
    "client_properties": ({"team": "orders"}, False),
}
"""Another value of each parameter, and whether a broker may answer otherwise for it."""


def test_it_is_known_of_each_parameter_whether_a_broker_may_answer_otherwise_for_it() -> None:
    assert OTHERWISE.keys() == {each.name for each in dataclasses.fields(Amqp091Parameters)}


@pytest.mark.parametrize("name", OTHERWISE)
def test_an_answer_serves_for_those_parameters_alone_that_no_broker_refuses(name: str) -> None:
    value, counts = OTHERWISE[name]
    other = dataclasses.replace(PARAMETERS, **{name: value})
    assert (other.acceptance != PARAMETERS.acceptance) is counts


def test_what_a_verification_answers_for_can_be_a_key() -> None:
    other = dataclasses.replace(PARAMETERS, client_properties={"team": "orders"})
    assert {PARAMETERS.acceptance: 1} == {other.acceptance: 1}


def test_another_name_changes_nothing_else() -> None:
    named = PARAMETERS.with_name("other")
    assert named.connection_name == "other"
    assert named.with_name(PARAMETERS.connection_name) == PARAMETERS


def test_the_place_is_the_virtual_host() -> None:
    assert str(PARAMETERS.place) == 'virtual host "orders"'
    assert PARAMETERS.place.name == "orders"


@pytest.mark.parametrize(
    ("provider", "kind"), [("rabbitmq", "rabbitmq"), ("lavinmq", "amqp"), ("", "amqp")]
)
def test_only_rabbitmq_is_offered_as_such(provider: str, kind: str) -> None:
    assert PARAMETERS.offer(provider=provider, tls=False).type == kind


@pytest.mark.parametrize(("tls", "scheme"), [(True, "amqps"), (False, "amqp")])
def test_an_offer_leads_to_the_virtual_host(tls: bool, scheme: str) -> None:
    offer = PARAMETERS.offer(provider="rabbitmq", tls=tls)
    assert (offer.scheme, offer.path, offer.entries) == (scheme, "orders", {"vhost": "orders"})
