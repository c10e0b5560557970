"""Rules over several fields find every contradiction in a document as it was written."""

import copy
from typing import Any

import pytest

from springline.api import rules
from springline.api.problems import Problem, sentences
from springline.api.rules import AtMostOneOf, ExactlyOneOf, Requires

ENDPOINTS = {"endpoints": [{"host": "rabbit"}]}
SOURCES_NEEDED = (
    "exactly one of secretRef, tokenRef, tokenFile, oauth2, serviceAccount, external and anonymous"
    " is needed"
)
SECRET = {"secretRef": {"name": "orders"}}


def found(kind: str, spec: Any) -> list[str]:
    return sentences(rules.check(kind, {"kind": kind, "spec": spec}))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(ENDPOINTS, [], id="endpoints alone"),
        pytest.param({"endpointsFrom": {"dnsSRV": "x"}}, [], id="endpointsFrom alone"),
        pytest.param(
            {"endpointsFrom": {"dnsSRV": "x"}, "tls": {"enabled": True}},
            [],
            id="SRV records with TLS: which hosts they name is not known yet",
        ),
        pytest.param(
            {},
            ["spec: exactly one of endpoints and endpointsFrom is needed, and neither is given"],
            id="no address at all",
        ),
        pytest.param(
            ENDPOINTS | {"endpointsFrom": {"dnsSRV": "x"}},
            ["spec: exactly one of endpoints and endpointsFrom is needed, and both are given"],
            id="addresses from two sides",
        ),
        pytest.param({"endpointsFrom": {"service": {}}}, [], id="a Service alone"),
        pytest.param({"endpointsFrom": {"secretRef": {}}}, [], id="a Secret alone"),
        pytest.param(
            {"endpointsFrom": {}},
            [
                (
                    "spec.endpointsFrom: exactly one of dnsSRV, service and secretRef is needed,"
                    " and none is given"
                )
            ],
            id="addresses from nowhere",
        ),
        pytest.param(
            {"endpointsFrom": {"dnsSRV": "x", "service": {}}},
            [
                (
                    "spec.endpointsFrom: exactly one of dnsSRV, service and secretRef is needed,"
                    " and dnsSRV and service are given"
                )
            ],
            id="addresses from two places",
        ),
        pytest.param(
            {"endpoints": None},
            [
                (
                    "spec: exactly one of endpoints and endpointsFrom is needed,"
                    " and endpoints has no value"
                )
            ],
            id="endpoints with nothing below",
        ),
        pytest.param(
            ENDPOINTS | {"locale": {"prefer": "de_DE", "select": ["de_DE"]}},
            ["spec.locale: at most one of prefer and select can be given, and both are"],
            id="two ways to a locale",
        ),
        pytest.param(
            ENDPOINTS | {"retry": {"delay": "30s", "maxDelay": "10s"}},
            ["spec.retry.maxDelay: 10s is less than delay (30s)"],
            id="a maximum below the delay",
        ),
        pytest.param(
            ENDPOINTS | {"retry": {"delay": "2m"}},
            ["spec.retry.maxDelay: 60s (the default) is less than delay (2m)"],
            id="a delay above the default of the maximum",
        ),
        pytest.param(
            ENDPOINTS | {"retry": {"maxDelay": "5s"}},
            ["spec.retry.maxDelay: 5s is less than delay (10s, the default)"],
            id="a maximum below the default of the delay",
        ),
        pytest.param(
            ENDPOINTS | {"retry": {"delay": "1m", "maxDelay": "60s"}}, [], id="equal delays"
        ),
        pytest.param(
            ENDPOINTS | {"retry": {"delay": "soon", "maxDelay": 5}},
            [],
            id="durations that are none are left to their fields",
        ),
        pytest.param(
            ENDPOINTS | {"tls": {"enabled": True, "serverName": "x", "caRef": {}}},
            [],
            id="fields of TLS with TLS",
        ),
        pytest.param(
            ENDPOINTS | {"tls": {"enabled": False, "insecureSkipVerify": False}},
            [],
            id="flags that are false say nothing",
        ),
        pytest.param(
            ENDPOINTS | {"tls": {"enabled": True, "caRef": {}, "insecureSkipVerify": True}},
            [
                (
                    "spec.tls: at most one of caRef and insecureSkipVerify can be given,"
                    " and both are; a certificate that is not verified needs no authority"
                )
            ],
            id="an authority for a certificate that is not verified",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["Broker", "ClusterBroker"])
def test_contradictions_of_a_broker(kind: str, spec: Any, expected: list[str]) -> None:
    assert found(kind, spec) == expected


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        pytest.param(None, [], id="nothing said"),
        pytest.param({}, [], id="the default"),
        pytest.param({"from": "All"}, [], id="all"),
        pytest.param({"from": "Selector", "selector": {}}, [], id="a selector for everything"),
        pytest.param(
            {"from": "Selector"},
            ["spec.allowedNamespaces: selector is needed with from: Selector"],
            id="no selector",
        ),
        pytest.param(
            {"selector": {}},
            [
                (
                    "spec.allowedNamespaces.selector: has no effect with from: All;"
                    ' write "from: Selector" beside it'
                )
            ],
            id="a selector beside the default",
        ),
        pytest.param({"from": "Same", "selector": {}}, [], id="what is none is left to the field"),
    ],
)
def test_a_selector_of_namespaces_stands_with_its_switch(allowed: Any, expected: list[str]) -> None:
    assert found("ClusterBroker", ENDPOINTS | {"allowedNamespaces": allowed}) == expected


@pytest.mark.parametrize(
    "field", ["caRef", "clientCertificateRef", "serverName", "insecureSkipVerify"]
)
def test_fields_of_tls_have_no_effect_without_tls(field: str) -> None:
    value = True if field == "insecureSkipVerify" else {"name": "x"}
    assert found("Broker", ENDPOINTS | {"tls": {field: value}}) == [
        f'spec.tls.{field}: has no effect without TLS; write "enabled: true" beside it'
    ]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"brokerRef": {"name": "x"}, "credentials": SECRET}, [], id="by reference"),
        pytest.param({"broker": ENDPOINTS, "credentials": SECRET}, [], id="in place"),
        pytest.param(
            {"credentials": SECRET},
            ["spec: exactly one of brokerRef and broker is needed, and neither is given"],
            id="no broker",
        ),
        pytest.param(
            {"brokerRef": {"name": "x"}, "broker": ENDPOINTS, "credentials": SECRET},
            ["spec: exactly one of brokerRef and broker is needed, and both are given"],
            id="two brokers",
        ),
        pytest.param(
            {"brokerRef": {"name": "x"}, "credentials": {}},
            [(f"spec.credentials: {SOURCES_NEEDED}, and none is given")],
            id="no source of credentials",
        ),
        pytest.param(
            {"brokerRef": {"name": "x"}, "credentials": {"external": None}},
            [(f"spec.credentials: {SOURCES_NEEDED}, and external has no value")],
            id="external with nothing below it",
        ),
        pytest.param(
            {"brokerRef": {"name": "x"}, "credentials": SECRET | {"external": {}}},
            [(f"spec.credentials: {SOURCES_NEEDED}, and secretRef and external are given")],
            id="two sources of credentials",
        ),
        pytest.param(
            {
                "brokerRef": {"name": "x"},
                "credentials": SECRET | {"external": {}, "tokenRef": {}},
            },
            [
                (
                    f"spec.credentials: {SOURCES_NEEDED},"
                    " and secretRef, tokenRef and external are given"
                )
            ],
            id="three sources of credentials",
        ),
        pytest.param(
            {
                "brokerRef": {"name": "x"},
                "credentials": SECRET,
                "binding": {"secretName": "y"},
                "rotation": {"verify": "None"},
            },
            [
                (
                    "spec.binding: needs rotation.verify: Handshake, because it holds only what was"
                    " verified"
                )
            ],
            id="a binding of what nobody verifies",
        ),
        pytest.param(
            {
                "brokerRef": {"name": "x"},
                "credentials": {"anonymous": {}},
                "binding": {"secretName": "y"},
            },
            [
                (
                    "spec.binding: cannot be used with credentials.anonymous: applications are"
                    " given what the broker has accepted, and that is nothing"
                )
            ],
            id="a binding of nothing",
        ),
        pytest.param(
            {
                "brokerRef": {"name": "x"},
                "credentials": {"serviceAccount": {"name": "z", "audience": "rabbitmq"}},
                "binding": {"secretName": "y"},
            },
            [
                (
                    "spec.binding: cannot be used with credentials.serviceAccount, whose tokens are"
                    " never written anywhere; mount a projected token in the application instead"
                )
            ],
            id="a binding with a token of a ServiceAccount",
        ),
        pytest.param(
            {
                "brokerRef": {"name": "x"},
                "credentials": SECRET,
                "binding": {"secretName": "y"},
                "rotation": {"verify": "Handshake"},
            },
            [],
            id="a binding of what is verified",
        ),
        pytest.param(
            {
                "brokerRef": {"name": "x"},
                "credentials": SECRET,
                "probe": {"mode": "OwnQueue", "exchange": "probes"},
            },
            [
                (
                    "spec.probe.exchange: has no effect with mode: OwnQueue, which publishes"
                    " through the default exchange"
                )
            ],
            id="an exchange beside a queue of its own",
        ),
        pytest.param(
            {
                "brokerRef": {"name": "x"},
                "credentials": SECRET,
                "probe": {"mode": "OwnQueue", "exchange": ""},
            },
            [],
            id="what the API server's default puts beside a queue of its own",
        ),
        pytest.param(
            {
                "brokerRef": {"name": "x"},
                "credentials": SECRET,
                "probe": {"exchange": "probes"},
            },
            [],
            id="an exchange without a queue of its own",
        ),
        pytest.param(
            {"brokerRef": {"name": "x"}, "credentials": {"external": {}}},
            [],
            id="external with a broker elsewhere, which may have a certificate",
        ),
        pytest.param(
            {"broker": ENDPOINTS, "credentials": {"external": {}}},
            [
                (
                    "spec.credentials.external: needs spec.broker.tls.clientCertificateRef, because"
                    " SASL EXTERNAL logs in with the client certificate"
                )
            ],
            id="external without a client certificate",
        ),
        pytest.param(
            {
                "broker": ENDPOINTS | {"tls": {"enabled": True, "clientCertificateRef": {}}},
                "credentials": {"external": {}},
            },
            [],
            id="external with a client certificate",
        ),
        pytest.param(
            {"broker": {"retry": {"delay": "2m"}}, "credentials": SECRET},
            [
                (
                    "spec.broker: exactly one of endpoints and endpointsFrom is needed,"
                    " and neither is given"
                ),
                "spec.broker.retry.maxDelay: 60s (the default) is less than delay (2m)",
            ],
            id="rules of a broker in place",
        ),
    ],
)
def test_contradictions_of_a_connection(spec: Any, expected: list[str]) -> None:
    assert found("BrokerConnection", spec) == expected


WEB = ENDPOINTS | {"protocol": "http"}
NO_MEANING = "has no meaning with protocol http; leave it out"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"virtualHost": "orders"}, "virtualHost"),
        ({"frameMax": 8192}, "frameMax"),
        ({"channelMax": 7}, "channelMax"),
        ({"clientProperties": {"a": "b"}}, "clientProperties"),
        ({"probe": {"exchange": "a"}}, "probe.exchange"),
        ({"probe": {"routingKey": "a"}}, "probe.routingKey"),
        ({"probe": {"mode": "OwnQueue"}}, "probe.mode"),
        ({"broker": WEB | {"locale": {"prefer": "de_DE"}}}, "broker.locale.prefer"),
        ({"broker": WEB | {"locale": {"select": ["de_DE"]}}}, "broker.locale.select"),
    ],
)
def test_what_has_no_meaning_over_http_is_refused_where_the_broker_is_known(
    spec: dict[str, Any], field: str
) -> None:
    """With a broker elsewhere the operator finds out."""
    document = {"broker": WEB, "credentials": SECRET, **spec}
    assert found("BrokerConnection", document) == [f"spec.{field}: {NO_MEANING}"]
    assert found("BrokerConnection", document | {"broker": ENDPOINTS}) == []


@pytest.mark.parametrize(
    "spec",
    [
        {"virtualHost": "/", "frameMax": 131072, "channelMax": 2047, "clientProperties": {}},
        {"probe": {"mode": "Publish", "exchange": "", "routingKey": "springline.probe"}},
        {"probe": {"mode": "None"}},
    ],
)
def test_defaults_have_a_meaning_everywhere(spec: dict[str, Any]) -> None:
    """The API server puts them beside what people write."""
    assert found("BrokerConnection", {"broker": WEB, "credentials": SECRET, **spec}) == []


@pytest.mark.parametrize("protocol", [{}, {"protocol": None}, {"protocol": "amqp091"}])
@pytest.mark.parametrize(
    "http",
    [
        {"path": "/alarms"},
        {"method": "HEAD"},
        {"expectStatus": [204]},
        {"version": "HTTP1"},
        {"persistent": False},
        {"blockedWhen": {"path": "/alarms"}},
    ],
)
def test_the_block_of_a_protocol_is_refused_with_another_one(
    http: dict[str, Any], protocol: dict[str, Any]
) -> None:
    spec = {"broker": ENDPOINTS | protocol, "credentials": SECRET, "http": http}
    assert found("BrokerConnection", spec) == [
        "spec.http: has no meaning with protocol amqp091, only with protocol http; leave it out"
    ]
    assert found("BrokerConnection", spec | {"broker": WEB}) == []


@pytest.mark.parametrize(
    "http",
    [
        None,
        {},
        {"path": "/", "method": "GET", "expectStatus": [200], "version": "Auto"},
        {"persistent": None, "blockedWhen": None},
    ],
)
def test_the_defaults_of_a_block_are_no_block(http: object) -> None:
    spec = {"broker": ENDPOINTS, "credentials": SECRET, "http": http}
    assert found("BrokerConnection", spec) == []


@pytest.mark.parametrize(
    ("protocol", "mechanisms", "expected"),
    [
        pytest.param("http", ["BEARER", "EXTERNAL"], "", id="its own"),
        pytest.param(
            "http", ["EXTERNAL", "PLAIN", "AMQPLAIN", "ANONYMOUS"], "", id="the schema's default"
        ),
        pytest.param("http", ["GSSAPI"], "", id="one of none is left to the field"),
        pytest.param("mqtt", ["PLAIN"], "", id="a protocol that there is not is, too"),
        pytest.param(
            "http",
            ["PLAIN", "BASIC", "AMQPLAIN"],
            "PLAIN and AMQPLAIN cannot be used with protocol http,"
            " which has BASIC, BEARER, EXTERNAL and ANONYMOUS",
            id="another one's",
        ),
        pytest.param(
            None,
            ["BASIC"],
            "BASIC cannot be used with protocol amqp091,"
            " which has PLAIN, AMQPLAIN, EXTERNAL, ANONYMOUS and RABBIT-CR-DEMO",
            id="another one's, with the default",
        ),
        pytest.param(
            "amqp10",
            ["AMQPLAIN", "PLAIN"],
            "AMQPLAIN cannot be used with protocol amqp10,"
            " which has EXTERNAL, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN and ANONYMOUS",
            id="another one's of the same family",
        ),
        pytest.param(
            None,
            ["SCRAM-SHA-256"],
            "SCRAM-SHA-256 cannot be used with protocol amqp091,"
            " which has PLAIN, AMQPLAIN, EXTERNAL, ANONYMOUS and RABBIT-CR-DEMO",
            id="a later one's, with the default",
        ),
    ],
)
def test_mechanisms_are_those_of_the_protocol(
    protocol: str | None, mechanisms: list[str], expected: str
) -> None:
    spec = ENDPOINTS | {"protocol": protocol, "sasl": {"mechanisms": mechanisms}}
    told = [f"spec.sasl.mechanisms: {expected}"] if expected else []
    assert found("Broker", spec) == found("ClusterBroker", spec) == told


@pytest.mark.parametrize("protocol", [None, "amqp091", "amqp10"])
@pytest.mark.parametrize("length", [127, 128])
def test_virtual_host_is_as_long_as_the_protocol_allows(protocol: str | None, length: int) -> None:
    spec = {
        "broker": ENDPOINTS | {"protocol": protocol},
        "credentials": SECRET,
        "virtualHost": "ä" * length,
    }
    told = (
        "spec.virtualHost: must not have more than 127 characters with protocol amqp091, and has"
        f" {length}"
    )
    expected = [told] if length > 127 and protocol != "amqp10" else []
    assert found("BrokerConnection", spec) == expected


@pytest.mark.parametrize("broken", [None, 5, "x", [], {"spec": []}, {"spec": {"credentials": 5}}])
@pytest.mark.parametrize("kind", [*rules.RULES, "Secret", "Deployment"])
def test_rules_leave_wrong_types_to_the_fields(kind: str, broken: Any) -> None:
    for problem in rules.check(kind, broken):
        assert problem.path == ("spec",)  # "neither is given", where there is a spec at all


def test_a_rule_does_not_change_the_document() -> None:
    document = {"spec": {"brokerRef": {"name": "x"}, "broker": {}, "credentials": {}}}
    before = copy.deepcopy(document)
    rules.check("BrokerConnection", document)
    assert document == before


def test_rules_are_values() -> None:
    """What generates the CRDs reads the same objects, so they say where they belong."""
    for kind in rules.RULES:
        for rule in rules.RULES[kind]:
            assert rule.at.startswith("spec")
            assert hash(rule) == hash(copy.copy(rule))
            assert not isinstance(rule, AtMostOneOf | ExactlyOneOf) or len(rule.fields) > 1


def test_a_rule_is_usable_by_itself() -> None:
    rule = Requires(at="spec", when=("a.b",), needs="c", sentence="needs c")
    assert list(rule.check({"spec": {"a": {"b": 1}}})) == [Problem(("spec", "a", "b"), "needs c")]
    assert list(rule.check({"spec": {"a": {"b": 1}, "c": 0}})) == []
