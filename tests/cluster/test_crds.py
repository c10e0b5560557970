"""The resources at a real API server: it accepts and refuses what standalone mode does."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from springline.api import documents
from springline.errors import ManifestError
from support.apiserver import Answer, APIServer
from support.definitions import Definitions

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
API = "/apis/springline.dev/v1alpha1"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def cluster(disposable_apiserver: APIServer) -> APIServer:
    """An API server with our resources and no operator, which would write a status of its own."""
    Definitions(disposable_apiserver).install()
    return disposable_apiserver


def create(cluster: APIServer, document: dict[str, Any]) -> Answer:
    """Let the API server judge and default a document, without keeping it."""
    kind, namespace = document["kind"], document["metadata"].get("namespace", "default")
    plural = f"{kind.lower()}s"
    where = f"/{plural}" if kind == "ClusterBroker" else f"/namespaces/{namespace}/{plural}"
    path = f"{API}{where}?dryRun=All&fieldValidation=Strict"
    return cluster.request("POST", path, document)


def _of_examples() -> Iterator[Any]:
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        for number, document in enumerate(yaml.safe_load_all(path.read_text())):
            if document and document["apiVersion"].startswith("springline.dev/"):
                yield pytest.param(document, id=f"{path.relative_to(EXAMPLES)}:{number}")


@pytest.mark.parametrize("document", list(_of_examples()))
def test_every_example_is_accepted_and_means_the_same(
    cluster: APIServer, document: dict[str, Any]
) -> None:
    """What the API server fills in is what the models take for granted."""
    namespace = document["metadata"].get("namespace", "default")
    if namespace != "default":
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        assert cluster.request("POST", "/api/v1/namespaces", made).code in (201, 409)
    answer = create(cluster, document)
    assert answer.code == 201, answer.message
    declared, stored = documents.parse(document), documents.parse(answer.content)
    assert declared.model_dump(include={"spec"}) == stored.model_dump(include={"spec"})


BROKER: dict[str, Any] = {
    "apiVersion": "springline.dev/v1alpha1",
    "kind": "Broker",
    "metadata": {"name": "rabbit"},
    "spec": {"endpoints": [{"host": "rabbit.example.com"}]},
}
CLUSTER_BROKER = BROKER | {"kind": "ClusterBroker"}
CONNECTION: dict[str, Any] = {
    "apiVersion": "springline.dev/v1alpha1",
    "kind": "BrokerConnection",
    "metadata": {"name": "orders"},
    "spec": {"brokerRef": {"name": "rabbit"}, "credentials": {"secretRef": {"name": "orders"}}},
}
INLINE = {"endpoints": [{"host": "rabbit.example.com"}]}


def with_spec(document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    changed["spec"] |= fields
    return {**changed, "spec": {key: each for key, each in changed["spec"].items() if each != ...}}


SERVICE: dict[str, Any] = {"name": "rabbit", "port": "amqp"}


def found_by(document: dict[str, Any], **ways: Any) -> dict[str, Any]:
    """A broker whose endpoints are found in these ways."""
    return with_spec(document, endpoints=..., endpointsFrom=ways)


def allowing(namespaces: dict[str, Any]) -> dict[str, Any]:
    """A ClusterBroker for these namespaces."""
    return with_spec(CLUSTER_BROKER, allowedNamespaces=namespaces)


SOURCE_NEEDED = (
    "exactly one of secretRef, tokenRef, tokenFile, oauth2, serviceAccount, external and anonymous"
    " is needed"
)
OAUTH2: dict[str, Any] = {
    "tokenURL": "https://login.example.com/token",
    "clientRef": {"name": "orders-client"},
}
ACCOUNT: dict[str, Any] = {"name": "orders", "audience": "rabbitmq"}


def by_oauth2(**fields: Any) -> dict[str, Any]:
    """A connection with tokens of an OAuth 2 server."""
    return with_spec(CONNECTION, credentials={"oauth2": _given(OAUTH2 | fields)})


def by_account(**fields: Any) -> dict[str, Any]:
    """A connection with tokens of a ServiceAccount."""
    return with_spec(CONNECTION, credentials={"serviceAccount": _given(ACCOUNT | fields)})


WEB: dict[str, Any] = {"protocol": "http", **INLINE}


def over_http(**fields: Any) -> dict[str, Any]:
    """A connection with a broker in place that speaks HTTP."""
    return with_spec(CONNECTION, brokerRef=..., broker=WEB, **fields)


def asking(**http: Any) -> dict[str, Any]:
    """A connection with a request of its own, to a broker that is declared elsewhere."""
    return with_spec(CONNECTION, http=http)


def asking_beside(**blocked: Any) -> dict[str, Any]:
    """A connection with a second request."""
    return asking(blockedWhen={"path": "/alarms", **blocked})


QUEUES: dict[str, Any] = {"protocol": "amqp10", **INLINE}
OUT: dict[str, Any] = {"name": "out", "role": "Sender", "target": {"address": "/queues/orders"}}
IN: dict[str, Any] = {"name": "in", "role": "Receiver", "source": {"address": "/queues/orders"}}
SELECTOR = "apache.org:selector-filter:string"


def over_amqp10(**fields: Any) -> dict[str, Any]:
    """A connection with a broker in place that speaks AMQP 1.0."""
    return with_spec(CONNECTION, brokerRef=..., broker=QUEUES, **fields)


def linked(*links: Any) -> dict[str, Any]:
    """A connection with links, to a broker that is declared elsewhere."""
    return with_spec(CONNECTION, amqp10={"links": list(links)})


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in fields.items() if each != ...}


# What is wrong, and the words that both answers have in common.
REFUSED: list[Any] = [
    pytest.param(
        with_spec(CONNECTION, broker=INLINE),
        "exactly one of brokerRef and broker is needed",
        id="both brokerRef and broker",
    ),
    pytest.param(
        with_spec(CONNECTION, brokerRef=...),
        "exactly one of brokerRef and broker is needed",
        id="neither brokerRef nor broker",
    ),
    pytest.param(
        with_spec(CONNECTION, credentials={"secretRef": {"name": "a"}, "external": {}}),
        SOURCE_NEEDED,
        id="two sources of credentials",
    ),
    pytest.param(
        with_spec(CONNECTION, credentials={}),
        SOURCE_NEEDED,
        id="no source of credentials",
    ),
    pytest.param(with_spec(CONNECTION, credentials=...), "equired", id="credentials left out"),
    *(
        pytest.param(by_oauth2(tokenURL=url), "tokenURL", id=f"token URL {what}")
        for url, what in (
            ("http://login.example.com/token", "without TLS"),
            ("login.example.com/token", "without a scheme"),
            ("https://user:secret@login.example.com/token", "with a user"),
            ("https://login.example.com/token#part", "with a fragment"),
            ("https://login.example.com/to ken", "with a space"),
            ("https://", "without a host"),
            ("", "empty"),
        )
    ),
    pytest.param(by_oauth2(scopes=["a b"]), "scopes", id="two scopes in one entry"),
    pytest.param(by_oauth2(scopes=["a", "a"]), "more than once", id="a scope twice"),
    pytest.param(by_oauth2(scopes=[f"s{n}" for n in range(65)]), "64", id="too many scopes"),
    pytest.param(by_oauth2(audience="a b"), "audience", id="a space in an audience"),
    pytest.param(
        by_oauth2(clientAuthentication="JWT"), "clientAuthentication", id="a way there is not"
    ),
    pytest.param(by_oauth2(clientRef=...), "clientRef", id="no client"),
    pytest.param(by_account(audience=...), "audience", id="a ServiceAccount for nobody"),
    pytest.param(by_account(expiration="9m"), "expiration", id="a lifetime too short"),
    pytest.param(by_account(expiration="25h"), "expiration", id="a lifetime too long"),
    pytest.param(
        with_spec(CONNECTION, credentials={"tokenFile": {"name": "../token"}}),
        "tokenFile.name",
        id="a path for a file of tokens",
    ),
    *(
        pytest.param(
            with_spec(CONNECTION, rotation={"renewAt": share}), "renewAt", id=f"renewAt {share}"
        )
        for share in ("0%", "100%", "80", "8.5%", "-1%", "")
    ),
    pytest.param(
        with_spec(CONNECTION, rotation={"verify": "Always"}), "verify", id="a bad verification"
    ),
    pytest.param(
        with_spec(CONNECTION, rotation={"verify": "None"}, binding={"secretName": "a"}),
        "needs rotation.verify: Handshake",
        id="a binding of what nobody verifies",
    ),
    pytest.param(
        with_spec(CONNECTION, credentials={"serviceAccount": ACCOUNT}, binding={"secretName": "a"}),
        "cannot be used with credentials.serviceAccount",
        id="a binding with a token of a ServiceAccount",
    ),
    pytest.param(
        with_spec(CONNECTION, binding={"secretName": "A"}), "secretName", id="a bad binding"
    ),
    pytest.param(
        with_spec(CONNECTION, credentials={"anonymous": {}}, binding={"secretName": "orders-app"}),
        "cannot be used with credentials.anonymous",
        id="a binding without a login",
    ),
    pytest.param(
        with_spec(CONNECTION, brokerRef=..., broker=INLINE, credentials={"external": {}}),
        "needs spec.broker.tls.clientCertificateRef",
        id="external without a client certificate",
    ),
    pytest.param(
        with_spec(CONNECTION, brokerRef=..., broker={}),
        "exactly one of endpoints and endpointsFrom is needed",
        id="a broker in place without endpoints",
    ),
    pytest.param(
        with_spec(CONNECTION, brokerRef={"name": "Rabbit_1"}), "brokerRef.name", id="a bad name"
    ),
    pytest.param(
        with_spec(CONNECTION, brokerRef={"name": "rabbit", "kind": "Server"}),
        "brokerRef.kind",
        id="a kind that there is not",
    ),
    pytest.param(with_spec(CONNECTION, heartbeat="30"), "heartbeat", id="a bare number"),
    pytest.param(with_spec(CONNECTION, heartbeat="500ms"), "heartbeat", id="a heartbeat too short"),
    pytest.param(
        with_spec(CONNECTION, heartbeat="1500ms"), "heartbeat", id="half a second too much"
    ),
    pytest.param(with_spec(CONNECTION, heartbeat="20h"), "heartbeat", id="a heartbeat too long"),
    pytest.param(with_spec(CONNECTION, heartbeat=30), "heartbeat", id="a number for a duration"),
    pytest.param(with_spec(CONNECTION, channelMax=70000), "channelMax", id="a channel too high"),
    pytest.param(with_spec(CONNECTION, frameMax=100), "frameMax", id="a frame too small"),
    pytest.param(with_spec(CONNECTION, virtualHost=""), "virtualHost", id="an empty virtual host"),
    pytest.param(
        with_spec(CONNECTION, virtualHost="ö" * 200), "255 bytes", id="a virtual host too long"
    ),
    pytest.param(with_spec(CONNECTION, virtualHost="a\0b"), "NUL", id="a NUL in the virtual host"),
    pytest.param(
        with_spec(CONNECTION, clientProperties={"product": "x"}),
        "use another name",
        id="a property that Springline sets",
    ),
    pytest.param(
        with_spec(CONNECTION, clientProperties={f"p{n}": "" for n in range(65)}),
        "64",
        id="too many properties",
    ),
    pytest.param(
        with_spec(CONNECTION, clientProperties={f"p{n}": "é" * 100 for n in range(41)}),
        "must not have more than 8192 bytes, names and values together",
        id="properties too long together",
    ),
    pytest.param(with_spec(CONNECTION, probe={"mode": "Ping"}), "probe.mode", id="a bad mode"),
    pytest.param(
        with_spec(CONNECTION, probe={"mode": "OwnQueue", "exchange": "probes"}),
        "has no effect with mode: OwnQueue",
        id="an exchange for a queue of its own",
    ),
    pytest.param(
        with_spec(CONNECTION, probe={"interval": "10ms"}), "probe.interval", id="a busy probe"
    ),
    pytest.param(with_spec(CONNECTION, whenClosed="Later"), "whenClosed", id="a bad policy"),
    pytest.param(with_spec(CONNECTION, hartbeat="30s"), "spec.hartbeat", id="a misspelled field"),
    pytest.param(
        with_spec(BROKER, endpointsFrom={"dnsSRV": "_amqp._tcp.rabbit"}),
        "exactly one of endpoints and endpointsFrom is needed",
        id="both endpoints and endpointsFrom",
    ),
    pytest.param(with_spec(BROKER, endpoints=[]), "endpoints", id="no endpoint"),
    pytest.param(
        with_spec(BROKER, endpoints=[{"host": "amqp://rabbit"}]), "host", id="a URL for a host"
    ),
    pytest.param(
        with_spec(BROKER, endpoints=[{"host": "rabbit:5672"}]), "host", id="a port in the host"
    ),
    pytest.param(
        with_spec(BROKER, endpoints=[{"host": "[::1]"}]), "host", id="brackets around an address"
    ),
    pytest.param(
        with_spec(BROKER, endpoints=[{"host": "rabbit", "port": 0}]), "port", id="port nought"
    ),
    pytest.param(
        with_spec(BROKER, endpoints=..., endpointsFrom={"dnsSRV": "10.0.0.1"}),
        "dnsSRV",
        id="an address for an SRV name",
    ),
    pytest.param(with_spec(BROKER, protocol="mqtt"), "protocol", id="a protocol there is not"),
    pytest.param(with_spec(BROKER, sasl={"mechanisms": []}), "mechanisms", id="no mechanism"),
    pytest.param(
        with_spec(BROKER, sasl={"mechanisms": ["PLAIN", "PLAIN"]}),
        "more than once",
        id="a mechanism twice",
    ),
    pytest.param(
        with_spec(BROKER, sasl={"mechanisms": ["GSSAPI"]}), "mechanisms", id="an unknown mechanism"
    ),
    pytest.param(
        with_spec(BROKER, tls={"serverName": "rabbit"}),
        "has no effect without TLS",
        id="a server name without TLS",
    ),
    pytest.param(
        with_spec(
            BROKER, tls={"enabled": True, "caRef": {"name": "a"}, "insecureSkipVerify": True}
        ),
        "at most one of caRef and insecureSkipVerify",
        id="an authority that is not asked",
    ),
    pytest.param(
        with_spec(BROKER, locale={"prefer": "en_US", "select": ["en_US"]}),
        "at most one of prefer and select",
        id="both ways to choose a locale",
    ),
    pytest.param(
        with_spec(BROKER, retry={"delay": "2m"}), "maxDelay", id="a delay above the longest delay"
    ),
    pytest.param(with_spec(BROKER, retry={"jitter": 2}), "jitter", id="too much jitter"),
    pytest.param(
        with_spec(BROKER, connectTimeout="11m"), "connectTimeout", id="a time-out too long"
    ),
    pytest.param(
        with_spec(BROKER, connectLimit={"concurrent": 0}), "concurrent", id="nobody may connect"
    ),
    pytest.param(
        with_spec(CLUSTER_BROKER, tls={"enabled": True, "caRef": {"name": "ca"}}),
        "namespace",
        id="a reference of a cluster's broker without a namespace",
    ),
    pytest.param(
        found_by(BROKER),
        "exactly one of dnsSRV, service and secretRef is needed",
        id="endpoints from nowhere",
    ),
    pytest.param(
        found_by(BROKER, service=SERVICE, dnsSRV="_amqp._tcp.rabbit"),
        "exactly one of dnsSRV, service and secretRef is needed",
        id="endpoints from two places",
    ),
    pytest.param(
        with_spec(CONNECTION, brokerRef=..., broker={"endpointsFrom": {}}),
        "exactly one of dnsSRV, service and secretRef is needed",
        id="endpoints from nowhere for a broker in place",
    ),
    *(
        pytest.param(found_by(BROKER, service={"name": "rabbit", "port": port}), says, id=what)
        for port, says, what in (
            (0, "between 1 and 65535", "port nought of a Service"),
            (65536, "between 1 and 65535", "a port of a Service too high"),
            (1.5, "service.port", "a fraction for the port of a Service"),
            (True, "service.port", "a flag for the port of a Service"),
            ("5672", "service.port", "a number in quotes for the port of a Service"),
            ("AMQP", "name of a port", "a name of a port in capitals"),
            ("", "name of a port", "an empty name of a port"),
            ("a" * 64, "name of a port", "a name of a port too long"),
        )
    ),
    pytest.param(
        found_by(BROKER, service={"name": "rabbit"}), "service.port", id="a Service without a port"
    ),
    pytest.param(
        found_by(BROKER, service=SERVICE | {"name": "a.b"}), "service.name", id="a dot in a Service"
    ),
    pytest.param(
        found_by(BROKER, service=SERVICE | {"namespace": "other"}),
        "service.namespace",
        id="a Service of another namespace",
    ),
    pytest.param(
        found_by(CLUSTER_BROKER, service=SERVICE),
        "service.namespace",
        id="a Service of no namespace",
    ),
    pytest.param(
        found_by(CLUSTER_BROKER, secretRef={"name": "rabbit"}),
        "secretRef.namespace",
        id="a Secret of no namespace",
    ),
    pytest.param(
        found_by(BROKER, secretRef={"name": "rabbit", "hostKey": "a b"}),
        "secretRef.hostKey",
        id="a bad key",
    ),
    pytest.param(
        with_spec(BROKER, allowedNamespaces={}), "allowedNamespaces", id="a Broker for others"
    ),
    pytest.param(
        allowing({"from": "Selector"}),
        "selector is needed with from: Selector",
        id="nothing to select by",
    ),
    pytest.param(
        allowing({"selector": {}}), "has no effect with from: All", id="a selector without use"
    ),
    pytest.param(allowing({"from": "Same"}), "allowedNamespaces.from", id="a way there is not"),
    *(
        pytest.param(allowing({"from": "Selector", "selector": selector}), says, id=what)
        for selector, says, what in (
            ({"matchLabels": {"a/b/c": "d"}}, "matchLabels", "a bad key of a label"),
            ({"matchLabels": {"": "d"}}, "matchLabels", "an empty key of a label"),
            ({"matchLabels": {"a": "b c"}}, "matchLabels", "a bad value of a label"),
            ({"matchLabels": {"a": "b" * 64}}, "matchLabels", "a value of a label too long"),
            ({"matchLabels": {f"a{n}": "b" for n in range(65)}}, "64", "too many labels"),
            (
                {"matchExpressions": [{"key": "a", "operator": "In"}]},
                "values are needed with In and NotIn",
                "nothing to compare with",
            ),
            (
                {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
                "values are needed with In and NotIn",
                "values that nothing is compared with",
            ),
            (
                {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]},
                "operator",
                "an operator there is not",
            ),
            (
                {"matchExpressions": [{"key": "a b", "operator": "Exists"}]},
                "key",
                "a bad key of an expression",
            ),
        )
    ),
    pytest.param(
        with_spec(CONNECTION, brokerRef=..., broker=INLINE, virtualHost="ä" * 128),
        "must not have more than 127 characters",
        id="a virtual host too long for AMQP 0-9-1",
    ),
    *(
        pytest.param(over_http(**fields), "has no meaning with protocol http", id=f"HTTP: {what}")
        for fields, what in (
            ({"virtualHost": "orders"}, "a virtual host"),
            ({"frameMax": 8192}, "frames"),
            ({"channelMax": 7}, "channels"),
            ({"clientProperties": {"a": "b"}}, "properties"),
            ({"probe": {"exchange": "a"}}, "an exchange"),
            ({"probe": {"routingKey": "a"}}, "a routing key"),
            ({"probe": {"mode": "OwnQueue"}}, "a queue"),
        )
    ),
    *(
        pytest.param(with_spec(broker, protocol="http", locale=locale), "no meaning", id=what)
        for broker, locale, what in (
            (BROKER, {"prefer": "de_DE"}, "HTTP: a preferred locale"),
            (BROKER, {"select": ["de_DE"]}, "HTTP: locales to select"),
            (CLUSTER_BROKER, {"prefer": "de_DE"}, "HTTP: a preferred locale for all"),
        )
    ),
    *(
        pytest.param(
            with_spec(BROKER, protocol=protocol, sasl={"mechanisms": mechanisms}),
            f"with protocol {named}",
            id=f"mechanisms {' '.join(mechanisms)} with protocol {protocol}",
        )
        for protocol, mechanisms, named in (
            ("amqp10", ["PLAIN", "AMQPLAIN"], "amqp10"),
            ("amqp091", ["SCRAM-SHA-256"], "amqp091"),
            ("http", ["BASIC", "PLAIN"], "http"),
            ("amqp091", ["BASIC"], "amqp091"),
            (..., ["BEARER", "EXTERNAL"], "amqp091"),
        )
    ),
    *(
        pytest.param(
            with_spec(CONNECTION, brokerRef=..., broker=INLINE | broker, http=http),
            "only with protocol http; leave it out",
            id=f"http {' '.join(http)} with protocol {broker.get('protocol')}",
        )
        for broker, http in (
            ({"protocol": "amqp091"}, {"path": "/alarms"}),
            ({}, {"method": "HEAD"}),
            ({}, {"expectStatus": [204]}),
            ({}, {"version": "HTTP1"}),
            ({}, {"persistent": False}),
            ({}, {"blockedWhen": {"path": "/alarms"}}),
        )
    ),
    *(
        pytest.param(request(path=path), f"{where}path", id=f"{where}path {what}")
        for request, where in ((asking, "http."), (asking_beside, "http.blockedWhen."))
        for path, what in (
            ("", "that is empty"),
            ("api/whoami", "without a slash in front"),
            ("http://rabbit/api", "that is a URL"),
            ("*", "that is a star"),
            ("/a#b", "with a fragment"),
            ("/a b", "with a space"),
            ("/a\tb", "with a tab"),
            ("/a\r\nHost: b", "with a field of its own"),
            ("/a\n", "with a line feed at the end"),
            ("/a\x7f", "with a DEL"),
            ("/ä", "that is not encoded"),
            ("/" + 2048 * "a", "that is too long"),
            (5, "that is a number"),
        )
    ),
    *(
        pytest.param(request(**{field: statuses}), says, id=f"{field} {what}")
        for request, field, least in (
            (asking, "expectStatus", 200),
            (asking_beside, "status", 201),
        )
        for statuses, says, what in (
            ([], field, "without one"),
            ([least - 1], field, "too low"),
            ([600], field, "too high"),
            (["200"], field, "in quotes"),
            ([204.5], field, "with a fraction"),
            ([204, 204], "more than once", "with one twice"),
            (list(range(300, 317)), "16", "with too many"),
            (503, field, "that is no list"),
        )
    ),
    pytest.param(asking(method="POST"), "http.method", id="a method that changes something"),
    pytest.param(asking(version="HTTP3"), "http.version", id="a version there is not"),
    pytest.param(asking(persistent="yes"), "http.persistent", id="a word for a flag"),
    pytest.param(asking(headers={}), "http.headers", id="a field of HTTP there is not"),
    pytest.param(asking(blockedWhen={}), "blockedWhen.path", id="a second request without a path"),
    pytest.param(
        asking_beside(method="HEAD"), "blockedWhen.method", id="a method for the second request"
    ),
    *(
        pytest.param(
            over_amqp10(probe=probe), "has no meaning with protocol amqp10", id=f"AMQP 1.0: {what}"
        )
        for probe, what in (
            ({"exchange": "a"}, "an exchange"),
            ({"routingKey": "a"}, "a routing key"),
            ({"mode": "OwnQueue"}, "a queue"),
        )
    ),
    *(
        pytest.param(
            with_spec(CONNECTION, brokerRef=..., broker=INLINE | broker, amqp10=own),
            "only with protocol amqp10; leave it out",
            id=f"amqp10 {' '.join(own)} with protocol {broker.get('protocol')}",
        )
        for broker, own in (
            ({"protocol": "http"}, {"containerID": "orders"}),
            ({}, {"session": {"incomingCapacity": 4096}}),
            ({}, {"session": {"outgoingWindow": 7}}),
            ({}, {"soleConnection": True}),
            ({}, {"links": [OUT]}),
            ({}, {"probe": {"address": "a"}}),
        )
    ),
    *(
        pytest.param(
            with_spec(CONNECTION, amqp10={"session": {"incomingCapacity": capacity}}),
            "must be a number of bytes between 512 and 2147483647, or a quantity such as 512Ki",
            id=f"a capacity of {capacity!r}",
        )
        for capacity in (0, 511, 2147483648, -1, "", "1", "Mi", "1mi", "1 Mi", "1.5Mi", "2Gi", "1E")
    ),
    *(
        pytest.param(with_spec(CONNECTION, amqp10=own), says, id=f"amqp10: {what}")
        for own, says, what in (
            ({"containerID": ""}, "containerID", "an empty container id"),
            ({"containerID": 128 * "ä"}, "255 bytes", "a long container id"),
            ({"session": {"outgoingWindow": 0}}, "outgoingWindow", "no outgoing window"),
            ({"probe": {"receive": True}}, "probe.address", "a probe without an address"),
            ({"probe": {"address": 513 * "ä"}}, "1024 bytes", "a probe with a long address"),
            ({"links": [OUT | {"name": f"out-{n}"} for n in range(17)]}, "16", "many links"),
        )
    ),
    *(
        pytest.param(linked(IN | {"name": "first"}, link), says, id=f"a link {what}")
        for link, says, what in (
            ({**OUT, "target": {}}, "target.address is needed", "to nowhere"),
            ({**OUT, "target": {"dynamic": False}}, "target.address is needed", "to no new node"),
            ({"name": "in", "role": "Receiver"}, "source.address is needed", "from nowhere"),
            (
                {**OUT, "target": {"address": "a", "dynamic": True}},
                "at most one of address and dynamic",
                "to a new node with an address",
            ),
            (
                {**IN, "source": {"address": "a", "dynamic": True}},
                "at most one of address and dynamic",
                "from a new node with an address",
            ),
            ({**IN, "target": {"dynamic": True}}, "only with role: Sender", "to a node of ours"),
            (
                {**OUT, "source": {"dynamic": True}},
                "only with role: Receiver",
                "from a node of ours",
            ),
            (
                {**OUT, "source": {"filter": {SELECTOR: "a"}}},
                "only with role: Receiver",
                "that sends by a filter",
            ),
            (
                {**OUT, "durableSubscription": "a"},
                "only with role: Receiver",
                "that sends to a subscription",
            ),
            ({**IN, "durableSubscription": "first"}, "durableSubscription", "named like another"),
            ({**IN, "name": "first"}, "amqp10.links", "of the name of another"),
            ({**OUT, "name": "first"}, "amqp10.links", "of the name of one the other way"),
            ({**OUT, "name": "a\0b"}, "NUL", "with a NUL in its name"),
            ({**OUT, "role": "Both"}, "role", "that goes both ways"),
            ({**OUT, "delivery": "ExactlyOnce"}, "delivery", "that promises too much"),
            ({**OUT, "prefetch": 1}, "prefetch", "with messages"),
            (
                {**IN, "source": {"address": "a", "filter": {"a b": "c"}}},
                "filter",
                "with a space in the name of a filter",
            ),
            (
                {**IN, "source": {"address": "a", "filter": {str(n): "" for n in range(9)}}},
                "8",
                "with many filters",
            ),
            (
                {**IN, "source": {"address": "a", "timeout": "1500ms"}},
                "timeout",
                "with a part of a second",
            ),
        )
    ),
]


@pytest.mark.parametrize(("document", "says"), REFUSED)
def test_what_is_refused_here_is_refused_there(
    cluster: APIServer, document: dict[str, Any], says: str
) -> None:
    """Both name the same thing."""
    answer = create(cluster, document)
    assert answer.code in (400, 422), answer.content
    assert says in answer.message
    with pytest.raises(ManifestError) as caught:
        documents.parse(document)
    assert says in str(caught.value)


ACCEPTED: list[Any] = [
    pytest.param(with_spec(CONNECTION, heartbeat=value), id=f"heartbeat {value}")
    for value in ("0s", "0m", "1s", "1m30s", "18h", "60.0s")
] + [
    pytest.param(with_spec(CONNECTION, virtualHost="a/b %ö"), id="a virtual host of any letters"),
    pytest.param(with_spec(CONNECTION, probe={"mode": "None"}), id="no probe"),
    pytest.param(
        with_spec(CONNECTION, probe={"mode": "OwnQueue", "exchange": "", "routingKey": "orders"}),
        id="a probe with a queue of its own",
    ),
    pytest.param(
        with_spec(CONNECTION, probe={"exchange": "probes"}), id="a probe to another exchange"
    ),
    pytest.param(by_oauth2(), id="an OAuth 2 client"),
    pytest.param(
        by_oauth2(
            tokenURL="https://[::1]:8443/realms/a%20b/token?x=1&y=2",
            clientRef={"name": "c", "idKey": "id", "secretKey": "s"},
            clientAuthentication="Post",
            scopes=["rabbitmq.read:*/*", "api://orders/.default"],
            audience="https://rabbit.example.com",
            caRef={"kind": "Secret", "name": "ca"},
        ),
        id="an OAuth 2 client with everything",
    ),
    pytest.param(by_oauth2(scopes=[]), id="no scopes"),
    pytest.param(by_account(), id="a ServiceAccount"),
    pytest.param(by_account(expiration="24h"), id="a ServiceAccount for a day"),
    pytest.param(
        with_spec(CONNECTION, credentials={"tokenFile": {"name": "rabbit"}}), id="a file of tokens"
    ),
    pytest.param(
        with_spec(CONNECTION, rotation={"verify": "None", "renewAt": "1%"}), id="trusting early"
    ),
    pytest.param(
        with_spec(
            CONNECTION,
            rotation={"verify": "Handshake", "renewAt": "99%"},
            binding={"secretName": "a"},
        ),
        id="a binding",
    ),
    pytest.param(with_spec(BROKER, endpoints=[{"host": "::1", "port": 5672}]), id="an address"),
    pytest.param(with_spec(BROKER, endpoints=[{"host": "a_b.example.com."}]), id="a full name"),
    pytest.param(with_spec(BROKER, retry={"delay": "2m", "maxDelay": "2m"}), id="a steady delay"),
    pytest.param(with_spec(BROKER, locale={"select": ["de_DE", "en_US"]}), id="a list of locales"),
    pytest.param(found_by(BROKER, service=SERVICE), id="a port of a Service by its name"),
    pytest.param(found_by(BROKER, service=SERVICE | {"port": 5672}), id="a port by its number"),
    pytest.param(found_by(BROKER, service=SERVICE | {"port": 65535}), id="the highest port"),
    pytest.param(found_by(BROKER, service=SERVICE | {"port": "5a-5"}), id="a name with digits"),
    pytest.param(found_by(BROKER, secretRef={"name": "rabbit"}), id="endpoints from a Secret"),
    pytest.param(
        found_by(CLUSTER_BROKER, service=SERVICE | {"namespace": "rabbits"}),
        id="a Service of the namespace that is named",
    ),
    pytest.param(allowing({}), id="every namespace, by default"),
    pytest.param(allowing({"from": "All"}), id="every namespace"),
    pytest.param(allowing({"from": "Selector", "selector": {}}), id="a selector for everything"),
    pytest.param(
        allowing(
            {
                "from": "Selector",
                "selector": {
                    "matchLabels": {"example.com/team": "shop", "stage": ""},
                    "matchExpressions": [
                        {
                            "key": "kubernetes.io/metadata.name",
                            "operator": "NotIn",
                            "values": ["a"],
                        },
                        {"key": "tier", "operator": "Exists"},
                    ],
                },
            }
        ),
        id="a selector with labels and expressions",
    ),
    pytest.param(
        asking(
            path="/" + 2047 * "a",
            method="OPTIONS",
            expectStatus=[200, *range(585, 600)],
            version="HTTP2",
            persistent=False,
            blockedWhen={"path": '/a?b="c"&d=%20', "status": [201, *range(300, 315)]},
        ),
        id="a request with everything",
    ),
    pytest.param(over_http(http={"path": "/api/whoami"}), id="a broker in place over HTTP"),
    pytest.param(
        over_http(
            virtualHost="/",
            frameMax=131072,
            channelMax=2047,
            clientProperties={},
            probe={"mode": "None", "exchange": "", "routingKey": "springline.probe"},
        ),
        id="over HTTP defaults of what has no meaning there",
    ),
    pytest.param(
        with_spec(
            CONNECTION,
            brokerRef=...,
            broker=INLINE,
            http={"path": "/", "method": "GET", "expectStatus": [200], "version": "Auto"},
        ),
        id="over AMQP 0-9-1 the defaults of HTTP",
    ),
    *(
        pytest.param(
            with_spec(BROKER, protocol=protocol, sasl={"mechanisms": mechanisms}),
            id=f"mechanisms {' '.join(mechanisms)} with protocol {protocol}",
        )
        for protocol, mechanisms in (
            ("http", ["EXTERNAL", "PLAIN", "AMQPLAIN", "ANONYMOUS"]),  # the default of the schema
            ("http", ["BEARER", "BASIC", "EXTERNAL"]),
            (..., ["RABBIT-CR-DEMO", "PLAIN"]),
            ("amqp10", ["EXTERNAL", "PLAIN", "AMQPLAIN", "ANONYMOUS"]),  # the schema's default
            ("amqp10", ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]),
        )
    ),
    pytest.param(
        over_amqp10(
            virtualHost="orders",
            frameMax=8192,
            channelMax=7,
            clientProperties={"a": "b"},
            probe={"mode": "Publish", "exchange": "", "routingKey": "springline.probe"},
            amqp10={
                "containerID": "orders-1",
                "session": {"incomingCapacity": "64Ki", "outgoingWindow": 16},
                "soleConnection": True,
                "links": [
                    OUT,
                    IN
                    | {
                        "source": {
                            "address": "/topics/orders",
                            "durability": "Configuration",
                            "expiry": "Never",
                            "timeout": "1h",
                            "filter": {SELECTOR: "colour = 'red'"},
                            "distribution": "Copy",
                        },
                        "delivery": "AtMostOnce",
                        "durableSubscription": "all orders",
                        "keep": True,
                    },
                    {"name": "all orders", "role": "Sender", "target": {"dynamic": True}},
                ],
                "probe": {"address": "/queues/probe", "receive": True},
            },
        ),
        id="over AMQP 1.0 with everything",
    ),
    pytest.param(over_amqp10(), id="over AMQP 1.0 with nothing"),
    *(
        pytest.param(
            with_spec(CONNECTION, amqp10={"session": {"incomingCapacity": capacity}}),
            id=f"a capacity of {capacity!r}",
        )
        for capacity in (512, "512", "4k", "512Ki", "1Mi", 1048576, "2M", "1G", 2147483647)
    ),
    pytest.param(
        linked(*(OUT | {"name": f"{n}".rjust(255, "x")} for n in range(16))), id="many long links"
    ),
    pytest.param(
        with_spec(
            CONNECTION,
            brokerRef=...,
            broker=INLINE,
            amqp10={
                "session": {"incomingCapacity": "1Mi", "outgoingWindow": 2048},
                "soleConnection": False,
                "links": [],
            },
        ),
        id="over AMQP 0-9-1 the defaults of AMQP 1.0",
    ),
]


@pytest.mark.parametrize("document", ACCEPTED)
def test_what_is_accepted_here_is_accepted_there(
    cluster: APIServer, document: dict[str, Any]
) -> None:
    """With the same meaning."""
    answer = create(cluster, document)
    assert answer.code == 201, answer.message
    declared, stored = documents.parse(document), documents.parse(answer.content)
    assert declared.model_dump(include={"spec"}) == stored.model_dump(include={"spec"})


def test_the_schemas_are_structural(cluster: APIServer) -> None:
    """Otherwise nothing is pruned and nothing defaulted."""
    for definition in cluster.request("GET", DEFINITIONS).content["items"]:
        conditions = {each["type"]: each["status"] for each in definition["status"]["conditions"]}
        assert conditions["NamesAccepted"] == "True"
        assert "NonStructuralSchema" not in conditions


@pytest.fixture
def stored(cluster: APIServer) -> Iterator[str]:
    """A stored connection with a status, by its path."""
    connections = f"{API}/namespaces/default/brokerconnections"
    assert cluster.request("POST", connections, CONNECTION).code == 201
    path = f"{connections}/orders"
    status = {
        "observedGeneration": 1,
        "state": "Connected",
        "endpoint": "rabbit.example.com:5671 (192.0.2.1)",
        "negotiated": {
            "mechanism": "PLAIN",
            "locale": "en_US",
            "heartbeat": "30s",
            "channelMax": 2047,
            "frameMax": 131072,
        },
        "server": {"product": "RabbitMQ", "version": "4.0.5"},
        "credentials": {
            "source": "oauth2",
            "username": "ann",
            "expiresAt": "2026-11-21T09:00:00Z",
            "renewAt": "2026-11-21T08:48:00Z",
        },
        "attempts": 0,
        "binding": {"name": "orders-binding"},
        "holder": "springline-0",
        "lastHandled": {"reconnectRequestedAt": "now", "renewRequestedAt": "then"},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Connected",
                "message": "the session is open",
                "lastTransitionTime": "2026-11-21T08:00:00Z",
                "observedGeneration": 1,
            }
        ],
    }
    answer = cluster.request("PATCH", f"{path}/status", {"status": status}, strict=True)
    assert answer.code == 200, answer.message
    yield path
    assert cluster.request("DELETE", path).code == 200


def test_a_status_as_springline_writes_it_is_kept_whole(cluster: APIServer, stored: str) -> None:
    """Nothing of it is pruned."""
    status = cluster.request("GET", stored).content["status"]
    assert status["negotiated"]["heartbeat"] == "30s"
    assert status["conditions"][0]["reason"] == "Connected"
    assert status["holder"] == "springline-0"
    assert status["lastHandled"] == {"reconnectRequestedAt": "now", "renewRequestedAt": "then"}
    assert status["credentials"]["renewAt"] == "2026-11-21T08:48:00Z"
    assert status["binding"] == {"name": "orders-binding"}


def test_a_declaration_cannot_bring_its_own_status(cluster: APIServer, stored: str) -> None:
    """Status is a subresource of its own."""
    cluster.request("PATCH", stored, {"status": {"state": "Closed"}})
    assert cluster.request("GET", stored).content["status"]["state"] == "Connected"


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("selector", "count"),
    [
        ("spec.brokerRef.name=rabbit", 1),
        ("spec.brokerRef.name=other", 0),
        ("status.state=Connected", 1),
        ("status.state!=Connected", 0),
    ],
)
def test_connections_can_be_selected_by_broker_and_state(
    cluster: APIServer, selector: str, count: int
) -> None:
    """As `kubectl get --field-selector` does."""
    path = (
        f"{API}/namespaces/default/brokerconnections?fieldSelector={selector.replace('!', '%21')}"
    )
    assert len(cluster.request("GET", path).content["items"]) == count


@pytest.mark.usefixtures("stored")
def test_the_columns_are_those_of_the_documentation(cluster: APIServer) -> None:
    """What `kubectl get` and `kubectl get -o wide` print."""
    path = f"{API}/namespaces/default/brokerconnections"
    answer = cluster.request("GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    columns = answer.content["columnDefinitions"]
    normal = [each["name"] for each in columns if each["priority"] == 0]
    wide = [each["name"] for each in columns if each["priority"] == 1]
    assert normal == [
        "Name",
        "Ready",
        "Blocked",
        "State",
        "Broker",
        "VHost",
        "User",
        "Expires",
        "Age",
    ]
    assert wide == ["Server", "Heartbeat", "Endpoint", "Reason"]
    [row] = answer.content["rows"]
    cells = dict(zip((each["name"] for each in columns), row["cells"], strict=True))
    assert (cells["Ready"], cells["State"], cells["Broker"]) == ("True", "Connected", "rabbit")
    assert (cells["User"], cells["Heartbeat"], cells["Reason"]) == ("ann", "30s", "Connected")
