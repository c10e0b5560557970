"""`spec.amqp10`: what may be declared of links, windows and a probe, and what is refused."""

from typing import Any

import pytest

from springline.api import documents, rules
from springline.api.amqp10 import AMQP10
from springline.api.problems import sentences
from springline.api.v1alpha1 import BrokerConnection
from springline.errors import ManifestError

BROKER = {"endpoints": [{"host": "broker"}], "protocol": "amqp10"}
SENDER = {"name": "out", "role": "Sender", "target": {"address": "/queues/orders"}}
RECEIVER = {"name": "in", "role": "Receiver", "source": {"address": "/queues/orders"}}
SELECTOR = "apache.org:selector-filter:string"


def document(own: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "metadata": {"name": "orders"},
        "spec": {
            "broker": BROKER,
            "credentials": {"secretRef": {"name": "orders"}},
            "amqp10": own,
            **spec,
        },
    }


def declared(**own: Any) -> AMQP10:
    found = documents.parse(document(own))
    assert isinstance(found, BrokerConnection)
    return found.spec.amqp10


def refusals(**own: Any) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        documents.parse(document(own))
    return list(caught.value.problems)


def test_nothing_is_asked_for_unless_it_is_declared() -> None:
    """And the settings of a terminus are those of AMQP 1.0 (§3.5.3, §3.5.4)."""
    own = declared()
    assert (own.container_id, own.sole_connection, own.links, own.probe) == (None, False, (), None)
    assert (own.session.incoming_capacity, own.session.outgoing_window) == (1024 * 1024, 2048)
    [link] = declared(links=[RECEIVER]).links
    assert (link.delivery, link.durable_subscription, link.keep) == ("AtLeastOnce", None, False)
    for end in (link.source, link.target):
        assert (end.durability, end.expiry) == ("None", "SessionEnd")
        assert (end.timeout.total_seconds(), end.dynamic) == (0, False)
    assert (link.source.filter, link.source.distribution) == ({}, None)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (512, 512),
        (65536, 65536),
        ("65536", 65536),
        ("512Ki", 512 * 1024),
        ("1Mi", 1024 * 1024),
        ("1Gi", 1024**3),
        ("2M", 2_000_000),
        ("4k", 4000),
        ("1G", 10**9),
        (2147483647, 2147483647),
    ],
)
def test_a_capacity_is_a_number_of_bytes_or_a_quantity(written: object, size: int) -> None:
    assert declared(session={"incomingCapacity": written}).session.incoming_capacity == size


@pytest.mark.parametrize(
    "written", [0, 511, 2147483648, -1, True, 1.5, "", "1", "Mi", "1mi", "1 Mi", "1.5Mi", "2Gi", []]
)
def test_a_capacity_is_bounded(written: object) -> None:
    [sentence] = refusals(session={"incomingCapacity": written})
    assert sentence == (
        "spec.amqp10.session.incomingCapacity: must be a number of bytes between 512 and"
        " 2147483647, or a quantity such as 512Ki or 1Mi"
    )


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        pytest.param(
            SENDER | {"target": {}},
            "target.address is needed with role: Sender, or target.dynamic: true for a node that"
            " the broker creates",
            id="a sender without a target",
        ),
        pytest.param(
            {"name": "out", "role": "Sender", "source": {"address": "/queues/orders"}},
            "target.address is needed with role: Sender, or target.dynamic: true for a node that"
            " the broker creates",
            id="a sender with its address at the wrong end",
        ),
        pytest.param(
            {"name": "in", "role": "Receiver"},
            "source.address is needed with role: Receiver, or source.dynamic: true for a node that"
            " the broker creates",
            id="a receiver without a source",
        ),
    ],
)
def test_a_link_says_where_the_broker_is_to_send_or_take_messages(
    link: dict[str, Any], sentence: str
) -> None:
    assert refusals(links=[link]) == [f"spec.amqp10.links[0]: {sentence}"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param(
            {"source": {"address": "a", "dynamic": True}},
            "source: at most one of address and dynamic can be given, and both are; the broker"
            " names the node that it creates",
            id="an address for a node that the broker names",
        ),
        pytest.param(
            {"target": {"dynamic": True}},
            "target.dynamic: has a meaning only with role: Sender; leave it out",
            id="a dynamic node at the client's end",
        ),
        pytest.param({"name": ""}, "name: must not be empty", id="no name"),
        pytest.param(
            {"role": "Both"},
            'role: "Both" is not accepted; it must be Sender or Receiver',
            id="a role that there is not",
        ),
        pytest.param(
            {"source": {"address": "a", "filter": {"two words": "x"}}},
            'source.filter["two words"]: "two words" is not a name of a filter; use printable ASCII'
            " without spaces",
            id="a filter whose name is no symbol",
        ),
        pytest.param(
            {"source": {"address": "a", "filter": {f"f{n}": "x" for n in range(9)}}},
            "source.filter: must not have more than 8 entries",
            id="many filters",
        ),
        pytest.param(
            {"source": {"address": "ä" * 513}},
            "source.address: must not be longer than 1024 bytes",
            id="a long address",
        ),
        pytest.param(
            {"source": {"address": "a", "timeout": "1500ms"}},
            'source.timeout: "1500ms" has a fraction of a second; write whole seconds',
            id="a time that cannot be sent",
        ),
        pytest.param(
            {"target": {"filter": {}}},
            "target.filter: unknown field",
            id="a filter of a target",
        ),
        pytest.param(
            {"prefetch": 10}, "prefetch: unknown field", id="credit, since nothing is received"
        ),
    ],
)
def test_what_a_receiver_cannot_have(changes: dict[str, Any], sentence: str) -> None:
    [found] = refusals(links=[SENDER, RECEIVER | changes])
    where = "spec.amqp10.links[1]."
    if "longer than" in sentence:  # the value is quoted, and cut
        assert found.startswith(f"{where}source.address: ")
        assert found.endswith(" is longer than 1024 bytes")
    else:
        assert found == f"{where}{sentence}"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"source": {"filter": {SELECTOR: "colour = 'red'"}}}, "source.filter"),
        ({"source": {"dynamic": True}}, "source.dynamic"),
        ({"durableSubscription": "orders"}, "durableSubscription"),
    ],
)
def test_what_only_receivers_have(changes: dict[str, Any], field: str) -> None:
    assert refusals(links=[SENDER | changes]) == [
        f"spec.amqp10.links[0].{field}: has a meaning only with role: Receiver; leave it out"
    ]
    [link] = declared(links=[RECEIVER | {"source": {"dynamic": True}}]).links
    assert link.source.dynamic


def test_defaults_of_the_schema_are_no_contradiction() -> None:
    """The API server writes them into every link."""
    ends = {"durability": "None", "expiry": "SessionEnd", "timeout": "0s", "dynamic": False}
    for link, end in ((SENDER, "target"), (RECEIVER, "source")):
        filled = {"source": ends, "target": ends, "keep": False, **link}
        filled[end] = {**ends, "address": "/queues/orders"}
        assert declared(links=[filled]) == declared(links=[link])


@pytest.mark.parametrize(
    "links",
    [
        pytest.param([SENDER, SENDER], id="two names"),
        pytest.param([SENDER, RECEIVER | {"name": "out"}], id="two names of different roles"),
    ],
)
def test_a_name_names_one_link(links: list[dict[str, Any]]) -> None:
    assert refusals(links=links) == ['spec.amqp10.links: has "out" more than once']


def test_a_subscription_is_one_link() -> None:
    """It is the name that the broker knows the link by, for each direction (§2.6.1)."""
    subscribed = [
        RECEIVER | {"name": name, "durableSubscription": "orders"} for name in ("one", "two")
    ]
    sentence = (
        'spec.amqp10.links: has "orders" more than once as a name or durableSubscription in one'
        " role"
    )
    assert refusals(links=subscribed) == [sentence]
    assert refusals(links=[subscribed[0], RECEIVER | {"name": "orders"}]) == [sentence]
    assert len(declared(links=[subscribed[0], SENDER | {"name": "orders"}]).links) == 2


def test_there_are_not_many_links() -> None:
    links = [SENDER | {"name": f"out-{number}"} for number in range(17)]
    assert refusals(links=links) == ["spec.amqp10.links: must not have more than 16 entries"]
    assert len(declared(links=links[:16]).links) == 16


@pytest.mark.parametrize("text", ["", "x" * 256, "a\0b"])
def test_a_container_id_can_be_sent(text: str) -> None:
    [sentence] = refusals(containerID=text)
    assert sentence.startswith("spec.amqp10.containerID: ")
    assert declared(containerID="x" * 255).container_id == "x" * 255


def test_a_probe_needs_an_address() -> None:
    assert refusals(probe={"receive": True}) == ["spec.amqp10.probe.address: required"]
    assert refusals(probe={"address": ""}) == ["spec.amqp10.probe.address: must not be empty"]


@pytest.mark.parametrize(
    ("probe", "field"),
    [
        ({"exchange": "orders"}, "exchange"),
        ({"routingKey": "orders"}, "routingKey"),
        ({"mode": "OwnQueue"}, "mode"),
    ],
)
def test_what_other_probes_do_has_no_meaning(probe: dict[str, Any], field: str) -> None:
    found = sentences(rules.check("BrokerConnection", document({}, probe=probe)))
    assert found == [f"spec.probe.{field}: has no meaning with protocol amqp10; leave it out"]


@pytest.mark.parametrize("mode", ["Publish", "None"])
def test_a_connection_can_do_without_a_probe(mode: str) -> None:
    """Publish is the default, so that it is there says nothing."""
    assert sentences(rules.check("BrokerConnection", document({}, probe={"mode": mode}))) == []


@pytest.mark.parametrize("protocol", ["amqp091", "http"])
@pytest.mark.parametrize(
    "own",
    [
        {"containerID": "orders"},
        {"session": {"incomingCapacity": "2Mi"}},
        {"session": {"outgoingWindow": 7}},
        {"soleConnection": True},
        {"links": [SENDER]},
        {"probe": {"address": "a"}},
    ],
)
def test_the_block_has_a_meaning_only_with_its_protocol(own: dict[str, Any], protocol: str) -> None:
    spec = document(own, broker=BROKER | {"protocol": protocol})
    sentence = f"has no meaning with protocol {protocol}, only with protocol amqp10; leave it out"
    assert sentences(rules.check("BrokerConnection", spec)) == [f"spec.amqp10: {sentence}"]
    assert sentences(rules.check("BrokerConnection", document(own))) == []


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"session": None, "links": None},
        {
            "session": {"incomingCapacity": "1Mi", "outgoingWindow": 2048},
            "soleConnection": False,
            "links": [],
        },
    ],
)
def test_the_defaults_of_the_block_are_no_block(own: dict[str, Any]) -> None:
    spec = document(own, broker=BROKER | {"protocol": "amqp091"})
    assert sentences(rules.check("BrokerConnection", spec)) == []


@pytest.mark.parametrize(
    "links", [5, "x", [5], [None], [{"role": 5}], [{"role": "Sender", "target": 5}], {"a": 1}]
)
def test_rules_leave_wrong_types_of_links_to_the_fields(links: object) -> None:
    for sentence in sentences(rules.check("BrokerConnection", document({"links": links}))):
        assert "target.address is needed" in sentence
