"""A document becomes one frozen object, or an error that says everything and gives away nothing."""

import base64
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from springline.api import documents, rules
from springline.api.core_v1 import ConfigMap, Namespace, Secret
from springline.api.meta import ApiModel, Resource
from springline.api.v1alpha1 import (
    Broker,
    BrokerConnection,
    BrokerSpec,
    ClusterBroker,
    Endpoint,
    HostPort,
    Identity,
    Locale,
)
from springline.errors import ManifestError
from springline.positions import Position

PLANTED = "correct-horse-battery-staple"


def load(text: str) -> Any:
    return documents.parse(yaml.safe_load(text))


def problems_of(document: object, *, where: documents.Where | None = None) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        documents.parse(document, where=where)
    return str(caught.value).splitlines()


def test_a_connection_with_little_has_the_documented_defaults() -> None:
    connection = load("""
        apiVersion: springline.dev/v1alpha1
        kind: BrokerConnection
        metadata: {name: orders}
        spec:
          brokerRef: {name: rabbit}
          credentials: {secretRef: {name: orders-amqp}}
    """)
    assert isinstance(connection, BrokerConnection)
    assert connection.identity == Identity("BrokerConnection", "default", "orders")
    assert (connection.namespace, connection.name) == ("default", "orders")
    spec = connection.spec
    assert spec.broker_ref is not None
    assert (spec.broker_ref.kind, spec.broker) == ("Broker", None)
    assert spec.virtual_host == "/"
    assert spec.heartbeat == timedelta(seconds=60)
    assert (spec.channel_max, spec.frame_max) == (2047, 131072)
    assert spec.client_properties == {}
    assert (spec.suspend, spec.when_closed) == (False, "Reconnect")
    assert spec.probe.mode == "Publish"
    assert spec.probe.interval == timedelta(seconds=15)
    assert spec.probe.timeout == timedelta(seconds=5)
    assert (spec.probe.exchange, spec.probe.routing_key) == ("", "springline.probe")
    reference = spec.credentials.secret_ref
    assert reference is not None
    assert (reference.username_key, reference.password_key) == ("username", "password")


def test_a_connection_with_everything_is_read() -> None:
    connection = load("""
        apiVersion: springline.dev/v1alpha1
        kind: BrokerConnection
        metadata: {name: orders, namespace: shop, labels: {team: orders}, generation: 7, uid: u-1}
        spec:
          broker:
            endpoints: [{host: rabbit}]
            tls: {enabled: true, clientCertificateRef: {name: tls}}
          virtualHost: orders
          credentials: {external: {}}
          heartbeat: 0s
          channelMax: 100
          frameMax: 4096
          clientProperties: {team: orders}
          probe: {mode: None, interval: 1m, timeout: 500ms, exchange: probes, routingKey: ""}
          suspend: true
          whenClosed: StayClosed
    """)
    assert isinstance(connection, BrokerConnection)
    assert connection.metadata.labels == {"team": "orders"}
    assert (connection.metadata.generation, connection.metadata.uid) == (7, "u-1")
    spec = connection.spec
    assert spec.credentials.external is not None
    assert spec.broker is not None
    assert spec.broker.addresses == (HostPort("rabbit", 5671),)
    assert spec.heartbeat == timedelta(0)
    assert spec.probe.mode == "None"
    assert (spec.suspend, spec.when_closed) == (True, "StayClosed")


def test_a_broker_with_little_has_the_documented_defaults() -> None:
    broker = load("""
        apiVersion: springline.dev/v1alpha1
        kind: Broker
        metadata: {name: rabbit, namespace: shop}
        spec: {endpointsFrom: {dnsSRV: _amqps._tcp.rabbit.example.com}}
    """)
    assert isinstance(broker, Broker)
    spec = broker.spec
    assert spec.protocol == "amqp091"
    assert spec.endpoints_from is not None
    assert spec.endpoints_from.dns_srv == "_amqps._tcp.rabbit.example.com"
    assert spec.addresses == ()
    assert (spec.tls.enabled, spec.tls.insecure_skip_verify) == (False, False)
    assert spec.sasl.mechanisms == ("EXTERNAL", "PLAIN", "AMQPLAIN", "ANONYMOUS")
    assert spec.sasl.allow_insecure is False
    assert spec.connect_timeout == timedelta(seconds=10)
    assert (spec.retry.delay, spec.retry.max_delay) == (timedelta(seconds=10), timedelta(minutes=1))
    assert spec.retry.jitter == pytest.approx(0.3)
    assert spec.connect_limit.concurrent == 50


@pytest.mark.parametrize("port", [1, 65535, "amqp", "amqps-tls"])
def test_the_port_of_a_service_is_a_number_or_a_name(port: int | str) -> None:
    spec = BrokerSpec.model_validate(
        {"endpointsFrom": {"service": {"name": "rabbit", "port": port}}}
    )
    assert spec.endpoints_from is not None
    assert spec.endpoints_from.service is not None
    assert spec.endpoints_from.service.port == port


def test_a_secret_with_endpoints_has_the_keys_of_the_cluster_operator() -> None:
    spec = BrokerSpec.model_validate({"endpointsFrom": {"secretRef": {"name": "rabbit"}}})
    assert spec.endpoints_from is not None
    reference = spec.endpoints_from.secret_ref
    assert reference is not None
    assert (reference.host_key, reference.port_key) == ("host", "port")
    assert reference.namespace_for("shop") == "shop"


def test_a_namespace_has_labels() -> None:
    """As `kubectl get namespace -o yaml` shows it."""
    namespace = load("""
        apiVersion: v1
        kind: Namespace
        metadata:
          name: shop
          labels: {team: shop}
          resourceVersion: "7"
        spec: {finalizers: [kubernetes]}
        status: {phase: Active}
    """)
    assert isinstance(namespace, Namespace)
    assert namespace.identity == Identity("Namespace", "", "shop")
    assert namespace.metadata.labels == {"team": "shop"}


def test_the_name_of_a_namespace_has_no_dots() -> None:
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}
    [problem] = problems_of(document)
    assert problem.startswith('metadata.name: "a.b" is not a valid namespace')


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        pytest.param(False, [HostPort("a", 5672), HostPort("b", 1)], id="without TLS 5672"),
        pytest.param(True, [HostPort("a", 5671), HostPort("b", 1)], id="with TLS 5671"),
    ],
)
def test_the_port_follows_from_tls_unless_it_is_given(tls: bool, expected: list[HostPort]) -> None:
    spec = BrokerSpec.model_validate(
        {"endpoints": [{"host": "a"}, {"host": "b", "port": 1}], "tls": {"enabled": tls}}
    )
    assert list(spec.addresses) == expected
    assert spec.endpoints is not None
    assert spec.endpoints[0].port is None


@pytest.mark.parametrize(
    ("given", "prefer", "select"),
    [
        pytest.param({}, None, None, id="neither is given"),
        pytest.param({"prefer": "de_DE"}, "de_DE", None, id="one is preferred"),
        pytest.param({"select": ["fr_FR", "en_US"]}, None, ("fr_FR", "en_US"), id="a list"),
    ],
)
def test_a_locale_is_preferred_or_selected(  # R2.3
    given: dict[str, Any], prefer: str | None, select: tuple[str, ...] | None
) -> None:
    """Which one is preferred where neither is given, the protocol says."""
    locale = Locale.model_validate(given)
    assert (locale.prefer, locale.select) == (prefer, select)


@pytest.mark.parametrize(
    "host", ["rabbit", "rabbit-0.rabbit.svc", "my_rabbit", "Rabbit.", "10.0.0.1", "::1", "fe80::1"]
)
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert Endpoint(host=host).host == host


def test_references_of_a_cluster_broker_name_their_namespace() -> None:
    document = yaml.safe_load("""
        apiVersion: springline.dev/v1alpha1
        kind: ClusterBroker
        metadata: {name: rabbit}
        spec:
          endpoints: [{host: rabbit}]
          tls: {enabled: true, caRef: {name: ca}, clientCertificateRef: {name: tls}}
    """)
    assert problems_of(document) == [
        "spec.tls.caRef.namespace: required",
        "spec.tls.clientCertificateRef.namespace: required",
    ]
    document["spec"]["tls"]["caRef"]["namespace"] = "certificates"
    document["spec"]["tls"]["clientCertificateRef"]["namespace"] = "keys"
    broker = documents.parse(document)
    assert isinstance(broker, ClusterBroker)
    assert broker.identity == Identity("ClusterBroker", "", "rabbit")
    assert broker.spec.tls.ca_ref is not None
    assert broker.spec.tls.ca_ref.namespace_for("") == "certificates"
    assert broker.spec.tls.client_certificate_ref is not None
    assert broker.spec.tls.client_certificate_ref.namespace_for("") == "keys"


def test_references_of_a_broker_stay_in_its_namespace() -> None:
    document = yaml.safe_load("""
        apiVersion: springline.dev/v1alpha1
        kind: Broker
        metadata: {name: rabbit}
        spec:
          endpoints: [{host: rabbit}]
          tls: {enabled: true, caRef: {name: ca, namespace: elsewhere}}
    """)
    [problem] = problems_of(document)
    assert problem.startswith("spec.tls.caRef.namespace: unknown field; ")
    del document["spec"]["tls"]["caRef"]["namespace"]
    broker = documents.parse(document)
    assert isinstance(broker, Broker)
    assert broker.spec.tls.ca_ref is not None
    assert (broker.spec.tls.ca_ref.kind, broker.spec.tls.ca_ref.key) == ("ConfigMap", "ca.crt")
    assert broker.spec.tls.ca_ref.namespace_for("shop") == "shop"


def test_a_cluster_broker_has_no_namespace() -> None:
    document = yaml.safe_load("""
        apiVersion: springline.dev/v1alpha1
        kind: ClusterBroker
        metadata: {name: rabbit, namespace: shop}
        spec: {endpoints: [{host: rabbit}]}
    """)
    assert problems_of(document) == [
        "metadata.namespace: must be left out; the whole cluster is meant"
    ]


def test_what_an_api_server_adds_is_accepted_and_forgotten() -> None:
    broker = load("""
        apiVersion: springline.dev/v1alpha1
        kind: Broker
        metadata:
          name: rabbit
          annotations:
            kubectl.kubernetes.io/last-applied-configuration: "{}"
            team: orders
          creationTimestamp: 2026-11-21T08:00:00Z
          deletionTimestamp: null
          finalizers: []
          managedFields: [{manager: kubectl}]
          ownerReferences: []
          resourceVersion: "48213"
          selfLink: /x
        spec: {endpoints: [{host: rabbit}], tls: }
        status: {anything: goes}
    """)
    assert broker.metadata.annotations == {"team": "orders"}


def test_other_metadata_is_refused() -> None:
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "lables": {}},
    }
    assert problems_of(document) == ['metadata.lables: unknown field; did you mean "labels"?']


def test_objects_do_not_change() -> None:
    broker = Broker.model_validate(
        {"metadata": {"name": "rabbit"}, "spec": {"endpoints": [{"host": "a"}]}}
    )
    with pytest.raises(ValidationError):
        broker.spec.sasl.allow_insecure = True  # type: ignore[misc]


def test_defaults_are_shared_between_objects() -> None:
    """Thousands of connections are held at once."""
    assert BrokerSpec().retry is BrokerSpec().retry


def test_a_secret_comes_out_as_bytes_with_string_data_on_top() -> None:
    secret = load("""
        apiVersion: v1
        kind: Secret
        metadata: {name: orders}
        type: kubernetes.io/basic-auth
        data: {username: b3JkZXJz, password: b2xk, "wrapped": "YWJj\\nZGVm\\n", bin: !!binary AAE=}
        stringData: {password: néw}
    """)
    assert isinstance(secret, Secret)
    assert secret.type == "kubernetes.io/basic-auth"
    assert secret.data == {
        "username": b"orders",
        "password": "néw".encode(),
        "wrapped": b"abcdef",
        "bin": b"\x00\x01",
    }
    assert secret.string_data == {}
    assert secret.get("username") == b"orders"
    assert secret.get("token") is None


def test_what_a_password_must_be_is_not_decided_here() -> None:
    secret = load(
        'apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: "", b: "\\0"}'
    )
    assert secret.data == {"a": b"", "b": b"\0"}


def test_a_config_map_gives_bytes_too() -> None:
    config = load("""
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: ca}
        data: {ca.crt: PEM}
        binaryData: {der: AAE=}
    """)
    assert isinstance(config, ConfigMap)
    assert (config.get("ca.crt"), config.get("der"), config.get("x")) == (b"PEM", b"\0\1", None)


def test_binary_data_that_is_none_is_refused() -> None:
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x"},
        "binaryData": {"a": "not base64"},
    }
    assert problems_of(document) == ["binaryData.a: not base64; put clear text under data"]


READ = "Broker, BrokerConnection, ClusterBroker, ConfigMap, Namespace and Secret"


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        pytest.param(
            {"apiVersion": "apps/v1", "kind": "Deployment"},
            f'kind "Deployment" (apps/v1) is not one Springline reads; it reads {READ}',
            id="another kind",
        ),
        pytest.param(
            {"kind": "Deployment"},
            f'kind "Deployment" is not one Springline reads; it reads {READ}',
            id="another kind without a version",
        ),
        pytest.param({}, f"kind: required; Springline reads {READ}", id="no kind"),
        pytest.param({"kind": 5}, "kind: must be a string", id="a kind that is none"),
        pytest.param(
            {"kind": "Broker"},
            "apiVersion: required; write springline.dev/v1alpha1",
            id="no version",
        ),
        pytest.param(
            {"kind": "Broker", "apiVersion": 1},
            "apiVersion: must be a string; write springline.dev/v1alpha1",
            id="a version that is none",
        ),
        pytest.param(
            {"kind": "Broker", "apiVersion": "springline.dev/v1"},
            'apiVersion: "springline.dev/v1" is not a version Springline has;'
            " write springline.dev/v1alpha1",
            id="another version",
        ),
        pytest.param(
            {"kind": "Broker", "apiVersion": "eventing.knative.dev/v1"},
            'apiVersion: "eventing.knative.dev/v1" has no Broker Springline reads;'
            " write springline.dev/v1alpha1",
            id="the same kind of another group",
        ),
        pytest.param(
            {"kind": "Secret", "apiVersion": "springline.dev/v1alpha1"},
            'apiVersion: "springline.dev/v1alpha1" has no Secret Springline reads; write v1',
            id="a core kind in our group",
        ),
        pytest.param(
            {"kind": "Secret", "apiVersion": "v1"}, "metadata.name: required", id="no metadata"
        ),
        pytest.param(
            {"kind": "Secret", "apiVersion": "v1", "metadata": None},
            "metadata.name: required",
            id="metadata without a value",
        ),
        pytest.param(
            {"kind": "Secret", "apiVersion": "v1", "metadata": []},
            "metadata: must be a mapping, not a list",
            id="metadata that is none",
        ),
        pytest.param(
            {"kind": "Broker", "apiVersion": "springline.dev/v1alpha1", "metadata": {"name": "x"}},
            "spec: required",
            id="no spec",
        ),
        pytest.param([], "must be a mapping with apiVersion, kind, metadata and spec", id="a list"),
        pytest.param(None, "must be a mapping with apiVersion, kind, metadata and spec", id="null"),
    ],
)
def test_a_document_that_is_none_of_ours_is_refused(document: object, sentence: str) -> None:
    assert problems_of(document) == [sentence]


def test_the_error_says_where_the_document_is() -> None:
    assert problems_of({"kind": "Secret"}, where=lambda _: Position(Path("a.yaml"), 7)) == [
        "a.yaml:7: apiVersion: required; write v1"
    ]


@pytest.mark.parametrize(
    ("document", "identity"),
    [
        pytest.param(
            {"kind": "Broker", "metadata": {"name": "x", "namespace": "shop"}, "spec": 5},
            Identity("Broker", "shop", "x"),
            id="a broken spec does not matter",
        ),
        pytest.param(
            {"kind": "Broker", "metadata": {"name": "x"}},
            Identity("Broker", "default", "x"),
            id="the namespace has a default",
        ),
        pytest.param(
            {"kind": "ClusterBroker", "metadata": {"name": "x", "namespace": "shop"}},
            Identity("ClusterBroker", "", "x"),
            id="a ClusterBroker has none",
        ),
        pytest.param(
            {"kind": "Namespace", "metadata": {"name": "x"}},
            Identity("Namespace", "", "x"),
            id="a Namespace is in none",
        ),
        pytest.param(
            {"kind": "Broker", "apiVersion": "springline.dev/v9", "metadata": {"name": "x"}},
            Identity("Broker", "default", "x"),
            id="another version of ours does not matter",
        ),
        pytest.param(
            {"kind": "Broker", "apiVersion": "eventing.knative.dev/v1", "metadata": {"name": "x"}},
            None,
            id="a Broker of another group is another object",
        ),
        pytest.param({"kind": "Broker", "metadata": {}}, None, id="no name"),
        pytest.param({"kind": "Broker", "metadata": {"name": ""}}, None, id="an empty name"),
        pytest.param({"kind": "Broker", "metadata": {"name": 5}}, None, id="a number for a name"),
        pytest.param(
            {"kind": "Broker", "metadata": {"name": "x", "namespace": 5}},
            None,
            id="a number for a namespace",
        ),
        pytest.param({"kind": "Broker", "metadata": []}, None, id="metadata that is none"),
        pytest.param({"kind": "Pod", "metadata": {"name": "x"}}, None, id="a kind not read"),
        pytest.param({"kind": [], "metadata": {"name": "x"}}, None, id="a kind that is none"),
        pytest.param("Broker", None, id="no mapping"),
    ],
)
def test_a_broken_document_still_says_which_object_it_is_about(
    document: object, identity: Identity | None
) -> None:
    assert documents.identify(document) == identity


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret_document(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, **fields}


def connection_document(credentials: object) -> dict[str, Any]:
    return {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "metadata": {"name": "x"},
        "spec": {"brokerRef": {"name": "x"}, "credentials": credentials},
    }


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(secret_document(data={"password": PLANTED}), id="clear text for base64"),
        pytest.param(secret_document(data={f"password:{PLANTED}": None}), id="no space in between"),
        pytest.param(secret_document(data=PLANTED), id="a value for the mapping"),
        pytest.param(secret_document(stringData=[PLANTED]), id="a list for the mapping"),
        pytest.param(secret_document(stringData={"password": {"x": PLANTED}}), id="too deep"),
        pytest.param(secret_document(stringData={"password": f"{PLANTED}\ud800"}), id="no text"),
        pytest.param(secret_document(password=PLANTED), id="an unknown field"),
        pytest.param(secret_document(type={"x": PLANTED}), id="in the type"),
        pytest.param(secret_document(immutable=PLANTED), id="in a flag"),
        pytest.param(
            secret_document(metadata={"name": f"{PLANTED}!", "annotations": {"x": [PLANTED]}}),
            id="in the metadata",
        ),
        pytest.param(
            secret_document(stringData={"password": PLANTED, "user": 5}), id="beside a mistake"
        ),
        pytest.param(connection_document(PLANTED), id="a password for the credentials"),
        pytest.param(connection_document({"password": PLANTED}), id="a password among them"),
        pytest.param(connection_document({"secretRef": PLANTED}), id="for the reference"),
        pytest.param(connection_document({f"password:{PLANTED}": None}), id="as a name"),
        pytest.param(
            connection_document({"secretRef": {"name": f"{PLANTED}!"}}), id="for the name"
        ),
        pytest.param(
            connection_document({"secretRef": {"name": "x", "passwordKey": f"{PLANTED}="}}),
            id="for the key",
        ),
        pytest.param(connection_document({"external": PLANTED}), id="for external"),
    ],
)
def test_an_error_gives_no_secret_away(document: dict[str, Any]) -> None:
    with pytest.raises(ManifestError) as caught:
        documents.parse(document, where=lambda _: Position(Path("secrets.yaml")))
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join([str(error), repr(error), *error.problems, *traceback.format_exception(error)])
    assert PLANTED not in shown
    assert encoded(PLANTED) not in shown


def test_a_secret_does_not_show_its_values() -> None:
    secret = documents.parse(
        secret_document(
            data={"password": encoded(PLANTED)},
            stringData={"token": PLANTED},
            metadata={
                "name": "x",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": PLANTED},
            },
        )
    )
    assert isinstance(secret, Secret)
    for shown in (repr(secret), str(secret), f"{secret}", repr(secret.identity)):
        assert PLANTED not in shown
        assert encoded(PLANTED) not in shown


def test_pydantics_own_error_hides_what_it_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        Secret.model_validate(secret_document(stringData={"password": [PLANTED]}))
    assert PLANTED not in str(caught.value)


ANY_TEXT = st.text(st.characters())  # lone surrogates too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "host", "tls", "broker", "endpoints", "credentials", "data", "retry"]
            )
            | ANY_TEXT
            | st.integers()
            | st.booleans(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


ANY_DOCUMENT = JSON | st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(list(documents.MODELS)) | JSON,
        "apiVersion": st.sampled_from(["v1", "springline.dev/v1alpha1"]) | JSON,
        "metadata": st.just({"name": "x"}) | JSON,
        "spec": JSON,
        "data": JSON,
        "stringData": JSON,
    },
)


def outcome(document: object) -> documents.Document | ManifestError:
    try:
        return documents.parse(document)
    except ManifestError as error:
        return error


@given(ANY_DOCUMENT)
def test_any_document_is_an_object_or_a_manifest_error(document: object) -> None:
    identity = documents.identify(document)
    match outcome(document):
        case ManifestError() as error:
            assert error.problems
            assert str(error).encode()  # can be printed, whatever came in
        case parsed:
            assert parsed.identity == identity


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"stringData": {"a": "\ud800"}}, id="stringData.a"),
        pytest.param({"data": {"a": "\ud800"}}, id="data.a"),
        pytest.param(
            {"metadata": {"name": "x", "labels": {"a": "\ud800"}}}, id="metadata.labels.a"
        ),
    ],
)
def test_half_a_character_is_refused_where_it_stands(
    document: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    [problem] = problems_of(secret_document(**document))
    assert problem.startswith(f"{request.node.callspec.id}: ")


def models(root: type[BaseModel]) -> list[type[BaseModel]]:
    return [root, *(found for child in root.__subclasses__() for found in models(child))]


def test_every_field_of_a_spec_has_a_description() -> None:
    """It is what `kubectl explain` shows."""
    described = {
        f"{model.__name__}.{name}": field.description or ""
        for model in models(ApiModel)
        if not issubclass(model, Resource)
        for name, field in model.model_fields.items()
    }
    assert "BrokerConnectionSpec.heartbeat" in described
    wrong = [
        name
        for name, text in described.items()
        if not text[:1].isupper() or not text.endswith((".", "{}"))
    ]
    assert wrong == []


def test_the_schema_has_the_limits_that_are_checked() -> None:
    """The generated CRDs refuse what standalone mode refuses."""
    definitions = BrokerConnection.model_json_schema()["$defs"]
    spec = definitions["BrokerConnectionSpec"]["properties"]
    assert (spec["channelMax"]["minimum"], spec["channelMax"]["maximum"]) == (1, 65535)
    assert (spec["virtualHost"]["minLength"], spec["virtualHost"]["maxLength"]) == (1, 255)
    assert spec["heartbeat"]["type"] == "string"
    assert definitions["SASL"]["properties"]["mechanisms"]["maxItems"] == 9
    assert definitions["SecretReference"]["properties"]["name"]["pattern"].startswith("^")


# --- fields that only a newer CustomResourceDefinition knows


def from_an_api_server(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "Broker",
        "metadata": {
            "name": "rabbit",
            "namespace": "apps",
            "uid": "4711",
            "generation": 3,
            "managedFields": [{"manager": "kubectl"}],
            "sparkle": True,
        },
        "spec": {"endpoints": [{"host": "rabbit.example", "glitter": 1}], **spec},
        "status": {"anything": True},
    }


def test_unknown_fields_can_be_ignored_wherever_they_are() -> None:
    document = from_an_api_server(sparkle={"much": True}, tls={"enabled": True, "glitter": 1})
    before = yaml.safe_dump(document)
    broker = documents.parse(document, unknown="ignore")
    assert isinstance(broker, Broker)
    assert broker.spec.endpoints == (Endpoint(host="rabbit.example"),)
    assert broker.spec.tls.enabled
    assert yaml.safe_dump(document) == before, "the document itself stays as it is"


def test_unless_told_otherwise_unknown_fields_are_mistakes() -> None:
    problems = problems_of(from_an_api_server(sparkle=True))
    assert [line.partition(":")[0] for line in problems] == [
        "metadata.sparkle",
        "spec.endpoints[0].glitter",
        "spec.sparkle",
    ]


def test_ignoring_unknown_fields_hides_no_other_mistake() -> None:
    document = from_an_api_server(sparkle=True, connectTimeout="soon")
    with pytest.raises(ManifestError) as caught:
        documents.parse(document, where=lambda _: Position(Path("here")), unknown="ignore")
    assert len(caught.value.problems) == 1
    assert "spec.connectTimeout" in str(caught.value)
    assert "here" in str(caught.value)
    assert "sparkle" not in str(caught.value)


def test_without_unknown_fields_ignoring_them_makes_no_difference() -> None:
    document = from_an_api_server(connectTimeout="soon")
    del document["metadata"]["sparkle"], document["spec"]["endpoints"][0]["glitter"]
    with pytest.raises(ManifestError) as caught:
        documents.parse(document, unknown="ignore")
    assert str(caught.value).splitlines() == problems_of(document)


def a_shown_connection(name: str, **spec: Any) -> dict[str, Any]:
    """A connection as an API server shows it."""
    return {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "metadata": {"name": name, "namespace": "apps", "uid": f"uid-{name}", "generation": 1},
        "spec": {
            "brokerRef": {"name": "rabbit"},
            "credentials": {"secretRef": {"name": "login"}},
            "clientProperties": {"team": "orders"},
            **spec,
        },
    }


def test_connections_that_declare_the_same_share_it_and_are_not_mixed_up() -> None:
    """So it is in a fleet, and an API server shows each one again and again."""
    one, other, another = (
        documents.parse(document, unknown="ignore")
        for document in (
            a_shown_connection("one"),
            a_shown_connection("other"),
            a_shown_connection("another", virtualHost="/else"),
        )
    )
    assert isinstance(one, BrokerConnection)
    assert isinstance(other, BrokerConnection)
    assert isinstance(another, BrokerConnection)
    assert one.spec is other.spec
    assert (one.name, other.name) == ("one", "other")
    assert one.metadata.uid == "uid-one"
    assert another.spec.virtual_host == "/else"
    assert one == documents.parse(a_shown_connection("one"))


@pytest.mark.parametrize(
    "wrong",
    [{"heartbeat": "soon"}, {"broker": {}}, {"virtualHost": 5}, {"channelMax": True}],
    ids=["a value", "a rule", "a type", "a type like another"],
)
def test_what_is_wrong_is_told_each_time_and_of_nobody_else(wrong: dict[str, Any]) -> None:
    documents.parse(a_shown_connection("right", channelMax=1), unknown="ignore")
    document = a_shown_connection("wrong", **wrong)
    for _ in range(2):
        with pytest.raises(ManifestError) as caught:
            documents.parse(document, unknown="ignore")
        assert str(caught.value).splitlines() == problems_of(document)


def test_unknown_fields_beside_what_is_known_are_ignored() -> None:
    for _ in range(2):
        document = a_shown_connection("one", probe={"mode": "None", "glitter": 1})
        document["metadata"]["sparkle"] = True
        connection = documents.parse(document, unknown="ignore")
        assert isinstance(connection, BrokerConnection)
        assert connection.spec.probe.mode == "None"
        plain = a_shown_connection("one")
        plain["metadata"]["sparkle"] = True
        assert documents.parse(plain, unknown="ignore").name == "one"


def test_rules_of_a_connection_are_about_nothing_but_its_spec() -> None:
    """Else it could not be checked once for many."""
    assert {rule.at.partition(".")[0] for rule in rules.RULES["BrokerConnection"]} == {"spec"}


def test_parts_that_are_declared_alike_are_kept_once() -> None:
    """Most connections of a fleet differ in a few fields, and there may be thousands of them."""

    def declared(name: str, user: str) -> BrokerConnection:
        parsed = documents.parse(
            {
                "apiVersion": "springline.dev/v1alpha1",
                "kind": "BrokerConnection",
                "metadata": {"name": name},
                "spec": {
                    "brokerRef": {"name": "rabbit"},
                    "credentials": {"secretRef": {"name": user}},
                    "probe": {"interval": "20s"},
                    "rotation": {"renewAt": "70%"},
                },
            }
        )
        assert isinstance(parsed, BrokerConnection)
        return parsed

    orders, invoices, other = declared("orders", "a"), declared("invoices", "a"), declared("o", "b")
    assert orders.metadata != invoices.metadata
    assert orders.spec == invoices.spec
    for part in ("broker_ref", "credentials", "probe", "rotation"):
        assert getattr(orders.spec, part) is getattr(invoices.spec, part)
    assert other.spec.credentials != orders.spec.credentials
    assert other.spec.probe is orders.spec.probe
