"""What brokers do each in its own way, by what they say of themselves."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.drivers.amqp10 import habits
from springline.drivers.amqp10.outcomes import Outcome
from springline.drivers.amqp10.peer import PeerOpen
from springline.redaction import Secret
from springline.veil import Veil

SECRET = "Pl4nted-s3cret+of/24=chr"


def peer(
    properties: Mapping[str, object] | None = None, *, offered: tuple[str, ...] = ()
) -> PeerOpen:
    return PeerOpen(
        container_id="theirs",
        max_frame_size=4096,
        channel_max=9,
        idle_seconds=0,
        locales=(),
        offered_capabilities=offered,
        desired_capabilities=(),
        properties=properties or {},
    )


def rabbitmq(version: object) -> PeerOpen:
    return peer({"product": "RabbitMQ", "version": version})


def veil() -> Veil:
    made = Veil()
    made.note(Secret(SECRET))
    return made


@pytest.mark.parametrize(
    ("virtual_host", "names"),
    [
        pytest.param("orders", ("vhost:orders", "orders"), id="named"),
        pytest.param("/", ("vhost:/", "/"), id="the default one of RabbitMQ"),
        pytest.param("", ("broker.example",), id="none"),
    ],
)
def test_virtual_host_is_said_as_rabbitmq_wants_it_and_then_as_others_do(
    virtual_host: str, names: tuple[str, ...]
) -> None:
    assert habits.hostnames(virtual_host, "broker.example") == names


@pytest.mark.parametrize(
    ("found", "is_rabbitmq", "shows_blocks", "renews"),
    [
        pytest.param(rabbitmq("3.10.8"), True, False, False, id="3.10"),
        pytest.param(rabbitmq("3.13.7"), True, False, False, id="3.13"),
        pytest.param(rabbitmq("4.0.5"), True, True, False, id="4.0"),
        pytest.param(rabbitmq("4.1.0"), True, True, True, id="4.1"),
        pytest.param(rabbitmq("4.3.6"), True, True, True, id="4.3"),
        pytest.param(rabbitmq("4.10.0-rc.1"), True, True, True, id="a tenth of four"),
        pytest.param(rabbitmq("10.0"), True, True, True, id="ten"),
        pytest.param(rabbitmq("next"), True, False, False, id="no number"),
        pytest.param(rabbitmq("4"), True, False, False, id="one number"),
        pytest.param(rabbitmq(4.3), True, False, False, id="version that is no text"),
        pytest.param(rabbitmq(None), True, False, False, id="no version"),
        pytest.param(
            peer({"product": "apache-activemq-artemis", "version": "4.40.0"}),
            *(False, False, False),
            id="another broker",
        ),
        pytest.param(peer({"product": ["RabbitMQ"]}), False, False, False, id="a list"),
        pytest.param(peer(), False, False, False, id="nothing said"),
    ],
)
def test_broker_does_what_its_version_does(
    found: PeerOpen, is_rabbitmq: bool, shows_blocks: bool, renews: bool
) -> None:
    broker = habits.broker(found)
    assert broker.is_rabbitmq is is_rabbitmq
    assert broker.shows_blocks is shows_blocks
    assert broker.takes_tokens_at_management is renews
    assert habits.server_info(found, Veil()).tells_blocks is shows_blocks


@pytest.mark.parametrize(
    ("offered", "host", "offers"),
    [
        pytest.param(("AMQP_CBS_V1_0",), "broker.example", True, id="it says so"),
        pytest.param((), "orders.servicebus.windows.net", True, id="Service Bus, which does not"),
        pytest.param((), "orders.azure-devices.net", True, id="IoT Hub, which does not"),
        pytest.param(("AMQP_CBS_V2_0",), "broker.example", False, id="another one"),
        pytest.param((), "servicebus.windows.net.example", False, id="a name like Azure's"),
    ],
)
def test_claims_based_security_is_used_where_it_is_offered(
    offered: tuple[str, ...], host: str, offers: bool
) -> None:
    assert habits.offers_cbs(peer(offered=offered), host) is offers


def test_server_is_shown_with_what_it_says_of_itself() -> None:
    info = habits.server_info(
        peer(
            {
                "product": "RabbitMQ",
                "version": "4.3.6",
                "platform": f"Erlang/OTP {SECRET}",
                "cluster_name": "rabbit@\x1bone",
                "node": "rabbit@two",
            }
        ),
        veil(),
    )
    assert (info.product, info.version, info.protocol_version) == ("RabbitMQ", "4.3.6", "1.0")
    assert info.cluster_name == "rabbit@ one"
    assert SECRET not in info.platform


def test_other_properties_are_shown_as_texts() -> None:
    found = habits.properties(
        peer(
            {
                "product": "RabbitMQ",
                "copyright": "a company's",
                "node": f"rabbit {SECRET}",
                "number": 7,
                "list": ["a"],
                "octets": b"x",
                "none": None,
                "": "",
            }
        ),
        veil(),
    )
    assert set(found) == {"node", "number", ""}
    assert found["number"] == "7"
    assert SECRET not in found["node"]


def test_many_properties_are_not_all_shown() -> None:
    assert len(habits.properties(peer({f"p{n}": "x" for n in range(500)}), Veil())) == 32


def test_capabilities_are_shown_as_words() -> None:
    found = ("ANONYMOUS-RELAY", f"x-{SECRET}", "LINK_PAIR_V1_0", "with\x07bell")
    shown = habits.names(found, veil())
    assert shown[0] == "ANONYMOUS-RELAY"
    assert "LINK_PAIR_V1_0" in shown
    assert not any(SECRET in each or "\x07" in each for each in shown)


def test_many_capabilities_are_not_all_shown() -> None:
    assert len(habits.names([f"C{n}" for n in range(500)], Veil())) == 32


@given(
    properties=st.dictionaries(
        st.text(max_size=20), st.text(max_size=300) | st.integers() | st.binary(), max_size=40
    ),
    offered=st.lists(st.text(max_size=300), max_size=40),
)
def test_whatever_is_said_is_shown_in_short_and_printable(
    properties: dict[str, object], offered: list[str]
) -> None:
    found = peer(properties, offered=tuple(offered))
    info = habits.server_info(found, veil())
    shown = habits.properties(found, veil())
    for text in (
        *(info.product, info.version, info.platform, info.cluster_name),
        *habits.names(offered, veil()),
        *shown,
        *shown.values(),
    ):
        assert text.isprintable()
        assert len(text.encode()) <= 256


def test_outcomes_are_told_apart_by_their_names() -> None:
    """They are shown: as they are in the specification, and two of our own."""
    assert {each.value for each in Outcome} == {
        *("accepted", "rejected", "released", "modified"),
        *("unknown", "unacknowledged", "unsent"),
    }
