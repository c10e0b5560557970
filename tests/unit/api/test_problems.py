"""Whatever is wrong with a document is said in one sentence each, and all of them at once."""

import datetime
from typing import Any

import pytest

from springline.api import documents, problems
from springline.api.problems import Problem
from springline.errors import ManifestError

HEAD = {"apiVersion": "springline.dev/v1alpha1"}


def connection(**spec: Any) -> dict[str, Any]:
    base = {"brokerRef": {"name": "rabbit"}, "credentials": {"secretRef": {"name": "orders"}}}
    return {
        **HEAD,
        "kind": "BrokerConnection",
        "metadata": {"name": "orders"},
        "spec": base | spec,
    }


def broker(**spec: Any) -> dict[str, Any]:
    base = {"endpoints": [{"host": "rabbit"}]}
    return {**HEAD, "kind": "Broker", "metadata": {"name": "rabbit"}, "spec": base | spec}


def endpoint(host: object) -> dict[str, Any]:
    return broker(endpoints=[{"host": host}])


def secret(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders"}, **fields}


def found(document: object) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        documents.parse(document)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        pytest.param(
            connection(heartbeat="30"),
            'spec.heartbeat: "30" is not a duration; write "30s"',
            id="a duration without its unit",
        ),
        pytest.param(
            connection(heartbeat=30),
            'spec.heartbeat: 30 is not a duration; write "30s"',
            id="a number for a duration",
        ),
        pytest.param(
            connection(heartbeat=["30s"]),
            'spec.heartbeat: must be a duration such as "30s", "2m" or "1h30m"',
            id="a list for a duration",
        ),
        pytest.param(
            connection(hartbeat="30s"),
            'spec.hartbeat: unknown field; did you mean "heartbeat"?',
            id="a misspelt field",
        ),
        pytest.param(
            connection(virtualhost="/"),
            'spec.virtualhost: unknown field; did you mean "virtualHost"?',
            id="a field in the wrong case",
        ),
        pytest.param(
            connection(virtual_host="/"),
            'spec.virtual_host: unknown field; did you mean "virtualHost"?',
            id="a field by its Python name",
        ),
        pytest.param(connection(xyzzy=1), "spec.xyzzy: unknown field", id="a field like no other"),
        pytest.param(
            connection(hartbeat=None),
            'spec.hartbeat: unknown field; did you mean "heartbeat"?',
            id="a misspelt field without a value",
        ),
        pytest.param(
            broker(endpoints=[{"host": "a"}, {"host": "b", "prot": 1}]),
            'spec.endpoints[1].prot: unknown field; did you mean "port"?',
            id="a misspelt field in a list",
        ),
        pytest.param(
            connection(brokerRef={"kind": "Broker"}),
            "spec.brokerRef.name: required",
            id="a missing field",
        ),
        pytest.param(
            connection(channelMax=70000),
            "spec.channelMax: 70000 is out of range; it must be between 1 and 65535",
            id="a number out of range",
        ),
        pytest.param(
            connection(channelMax=2**80),
            "spec.channelMax: a number of that size is out of range;"
            " it must be between 1 and 65535",
            id="a number that nobody wants to see",
        ),
        pytest.param(
            connection(channelMax="2047"),
            'spec.channelMax: "2047" is not a whole number; write it without quotes',
            id="a number in quotes",
        ),
        pytest.param(
            connection(channelMax="many"),
            'spec.channelMax: "many" is not a whole number',
            id="a word for a number",
        ),
        pytest.param(
            connection(virtualHost=["/"]),
            "spec.virtualHost: must be a string, not a list",
            id="a list for a string",
        ),
        pytest.param(
            connection(clientProperties=[]),
            "spec.clientProperties: must be a mapping, not a list",
            id="a list for a map",
        ),
        pytest.param(
            connection(channelMax=True),
            "spec.channelMax: true is not a whole number",
            id="a flag for a number",
        ),
        pytest.param(
            connection(suspend="true"),
            'spec.suspend: "true" is not true or false; write it without quotes',
            id="a flag in quotes",
        ),
        pytest.param(
            connection(suspend={}),
            "spec.suspend: must be true or false, not a mapping",
            id="a mapping for a flag",
        ),
        pytest.param(
            connection(virtualHost=5),
            "spec.virtualHost: 5 is not a string; put it in quotes",
            id="a number for a string",
        ),
        pytest.param(
            connection(virtualHost=datetime.date(2026, 11, 21)),
            "spec.virtualHost: 2026-11-21 is not a string; put it in quotes",
            id="a date for a string",
        ),
        pytest.param(
            connection(virtualHost=""), "spec.virtualHost: must not be empty", id="an empty string"
        ),
        pytest.param(
            connection(virtualHost="a\0b"),
            "spec.virtualHost: must not hold a NUL character",
            id="a NUL character",
        ),
        pytest.param(
            connection(virtualHost="é" * 128),
            f'spec.virtualHost: "{"é" * 59}…" is longer than 255 bytes',
            id="a long value is cut",
        ),
        pytest.param(
            connection(virtualHost="a\ud800"),
            "spec.virtualHost: must be text that UTF-8 can express",
            id="half a character",
        ),
        pytest.param(
            connection(whenClosed="reconnect"),
            'spec.whenClosed: "reconnect" is not accepted; it must be Reconnect or StayClosed',
            id="a choice in the wrong case",
        ),
        pytest.param(
            connection(whenClosed="\x1b[31m\u202ex"),
            r'spec.whenClosed: "\\x1b[31m\\u202ex" is not accepted;'
            " it must be Reconnect or StayClosed",
            id="nothing reaches the terminal that moves it",
        ),
        pytest.param(
            connection(brokerRef={"name": "Rabbit_1"}),
            'spec.brokerRef.name: "Rabbit_1" is not a valid name; use lower-case letters, digits,'
            ' "-" and ".", and begin and end with a letter or digit',
            id="a name that Kubernetes refuses",
        ),
        pytest.param(
            connection(clientProperties={"product": "x"}),
            "spec.clientProperties.product: is set by Springline; use another name",
            id="a reserved client property",
        ),
        pytest.param(
            connection(clientProperties={"team": None}),
            "spec.clientProperties.team: must be a string, not null",
            id="a client property without a value",
        ),
        pytest.param(
            connection(clientProperties={"a": "é" * 4096}),
            "spec.clientProperties: must not have more than 8192 bytes, names and values together",
            id="client properties that are too long together",
        ),
        pytest.param(
            connection(clientProperties={5: "x"}),
            "spec.clientProperties[5]: 5 is not a string; put it in quotes",
            id="a client property with a number for a name",
        ),
        pytest.param(
            connection() | {True: 1},
            'names of fields must be strings; put those like "on" and "1" in quotes',
            id="a name that YAML takes for a flag",
        ),
        pytest.param(
            broker(endpoints=[]),
            "spec.endpoints: must have at least one entry",
            id="an empty list",
        ),
        pytest.param(
            broker(endpoints={"host": "rabbit"}),
            "spec.endpoints: must be a list, not a mapping",
            id="a mapping for a list",
        ),
        pytest.param(
            broker(endpoints="rabbit"),
            'spec.endpoints: "rabbit" is not a list',
            id="a string for a list",
        ),
        pytest.param(
            broker(endpoints=["rabbit"]),
            'spec.endpoints[0]: "rabbit" is not a mapping',
            id="a string for a mapping",
        ),
        pytest.param(
            broker(endpoints=[None]),
            "spec.endpoints[0]: must be a mapping, not null",
            id="nothing for a mapping",
        ),
        pytest.param(
            broker(tls=[]), "spec.tls: must be a mapping, not a list", id="a list for a mapping"
        ),
        pytest.param(
            endpoint("amqp://rabbit"),
            'spec.endpoints[0].host: "amqp://rabbit" is a URL; write only the host name',
            id="a URL for a host",
        ),
        pytest.param(
            endpoint("rabbit:5672"),
            'spec.endpoints[0].host: "rabbit:5672" has a port;'
            ' write "rabbit" here and 5672 under port',
            id="a host with a port",
        ),
        pytest.param(
            broker(tls={"enabled": True, "serverName": "rabbit:5671"}),
            'spec.tls.serverName: "rabbit:5671" has a port; write only the host name',
            id="a server name with a port",
        ),
        pytest.param(
            broker(tls={"enabled": True, "serverName": "u@rabbit"}),
            "spec.tls.serverName: must be a host name, without a user or password",
            id="a server name with a login",
        ),
        pytest.param(
            endpoint("[::1]:5672"),
            'spec.endpoints[0].host: "[::1]:5672" is not a host name;'
            " write an IPv6 address without brackets, and the port under port",
            id="an IPv6 address in brackets",
        ),
        pytest.param(
            endpoint("rabbit one"),
            'spec.endpoints[0].host: "rabbit one" is not a host name',
            id="a host with a space",
        ),
        pytest.param(
            broker(endpoints=None, endpointsFrom={"dnsSRV": "10.0.0.1"}),
            'spec.endpointsFrom.dnsSRV: "10.0.0.1" is an address, which has no SRV records',
            id="an address for SRV records",
        ),
        pytest.param(
            broker(endpoints=None, endpointsFrom={"service": {"name": "rabbit", "port": "5672"}}),
            'spec.endpointsFrom.service.port: "5672" is no name of a port;'
            " write a number without quotes",
            id="a number in quotes for the port of a Service",
        ),
        pytest.param(
            broker(endpoints=None, endpointsFrom={"service": {"name": "rabbit", "port": True}}),
            "spec.endpointsFrom.service.port:"
            " must be a port number between 1 and 65535, or the name of a port",
            id="a flag for the port of a Service",
        ),
        pytest.param(
            broker(sasl={"mechanisms": ["PLAIN", "plain"]}),
            'spec.sasl.mechanisms[1]: "plain" is not accepted;'
            " it must be PLAIN, AMQPLAIN, EXTERNAL, ANONYMOUS, RABBIT-CR-DEMO,"
            " SCRAM-SHA-256, SCRAM-SHA-1, BASIC or BEARER",
            id="an unknown mechanism",
        ),
        pytest.param(
            broker(sasl={"mechanisms": ["PLAIN", "AMQPLAIN", "PLAIN"]}),
            'spec.sasl.mechanisms: has "PLAIN" more than once',
            id="a mechanism twice",
        ),
        pytest.param(
            broker(sasl={"mechanisms": []}),
            "spec.sasl.mechanisms: must have at least one entry",
            id="no mechanism",
        ),
        pytest.param(
            broker(retry={"jitter": 1.5}),
            "spec.retry.jitter: 1.5 is out of range; it must be between 0 and 1",
            id="too much jitter",
        ),
        pytest.param(
            broker(retry={"jitter": float("nan")}),
            "spec.retry.jitter: nan is not a number",
            id="not a number",
        ),
        pytest.param(
            secret(stringData={"password": 12345}),
            "stringData.password: must be a string; put it in quotes",
            id="a password that YAML takes for a number",
        ),
        pytest.param(
            secret(data={"password": "correct horse"}),
            "data.password: not base64; put clear text under stringData",
            id="clear text for base64",
        ),
        pytest.param(
            secret(data={"tls.crt": 5}),
            'data["tls.crt"]: must be a string of base64; put clear text under stringData',
            id="a number for base64",
        ),
    ],
)
def test_a_mistake_is_said_in_one_sentence(document: object, sentence: str) -> None:
    assert found(document) == [sentence]


def test_all_mistakes_are_said_at_once_in_the_order_of_their_paths() -> None:
    document = connection(
        broker={"endpoints": [{"host": "a"}] * 10 + [{"host": "b:1"}, {"host": "c://d"}]},
        channelMax=0,
        hartbeat="30s",
    )
    document["metadata"]["name"] = "Orders"
    assert [sentence.partition(": ")[0] for sentence in found(document)] == [
        "metadata.name",
        "spec",
        "spec.broker.endpoints[10].host",
        "spec.broker.endpoints[11].host",
        "spec.channelMax",
        "spec.hartbeat",
    ]


def test_entries_that_are_refused_do_not_make_a_list_empty() -> None:
    assert found(broker(endpoints=[{"host": "a b"}])) == [
        'spec.endpoints[0].host: "a b" is not a host name'
    ]


def test_the_same_sentence_is_said_once() -> None:
    problem = Problem(("spec",), "required")
    assert problems.sentences([problem, problem]) == ["spec: required"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param((), "", id="the document itself"),
        pytest.param(("spec", "endpoints", 0, "host"), "spec.endpoints[0].host", id="in a list"),
        pytest.param(("data", "ca.crt"), 'data["ca.crt"]', id="a name with a dot"),
        pytest.param(("x\n",), r'["x\\n"]', id="a name with a line break"),
        pytest.param(("x" * 80,), "x" * 59 + "…", id="a name without an end"),
    ],
)
def test_a_path_reads_as_people_write_it(path: problems.Path, text: str) -> None:
    assert problems.formatted(path) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("amqp://u:hunter2@rabbit", '"amqp://***@rabbit"', id="a URL with a login"),
        pytest.param("u:hunter2@rabbit", '"***@rabbit"', id="a login without a URL"),
        pytest.param("amqp://u:hunt@er2@rabbit", '"amqp://***@rabbit"', id="a password with an @"),
        pytest.param("amqp://r/?password=hunter2", '"amqp://r/"', id="a password in a query"),
        pytest.param({"password": "hunter2"}, None, id="a mapping"),
        pytest.param(["hunter2"], None, id="a list"),
        pytest.param(b"hunter2", None, id="bytes"),
    ],
)
def test_a_value_is_quoted_without_what_may_be_a_login(value: object, text: str | None) -> None:
    assert problems.quoted(value) == text
