"""From documents to what one session is to do, and to the objects it reads."""

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from springline.adapters import adapters
from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core import desired
from springline.core.backoff import Retry
from springline.core.desired import SessionSpec
from springline.core.limits import Limits
from springline.core.state import Failure
from springline.core.values import Endpoint, SessionKey
from springline.drivers.amqp091.parameters import Amqp091Parameters, LocalePreference
from springline.drivers.shared.sasl import SaslPolicy
from springline.reasons import Reason
from support.builders import BROKER, OTHER_RABBIT, RABBIT, a_probe, a_spec, a_target

RABBIT_SPEC = v1alpha1.BrokerSpec(endpoints=(v1alpha1.Endpoint(host="rabbit-0.example"),))
ADAPTERS = adapters()
SECRET = v1alpha1.Credentials(secret_ref=v1alpha1.SecretReference(name="orders-amqp"))


def document(**spec: Any) -> v1alpha1.BrokerConnection:
    fields: dict[str, Any] = {
        "broker_ref": v1alpha1.BrokerReference(name="rabbit"),
        "credentials": SECRET,
    }
    fields |= spec
    return v1alpha1.BrokerConnection(
        metadata=v1alpha1.ObjectMeta(name="orders", namespace="apps"),
        spec=v1alpha1.BrokerConnectionSpec(**fields),
    )


def resolved(
    declared: v1alpha1.BrokerConnection,
    broker: v1alpha1.BrokerSpec | None = RABBIT_SPEC,
    *,
    labels: Mapping[str, str] | None = None,
    limits: Limits = desired.NO_LIMITS,
) -> SessionSpec:
    spec = desired.session_spec(
        declared,
        generation=1,
        adapters=ADAPTERS,
        find_broker=lambda _: broker,
        namespace_labels=labels or {},
        limits=limits,
    )
    assert isinstance(spec, SessionSpec)
    return spec


def asked(spec: SessionSpec) -> Amqp091Parameters:
    """What the broker is asked."""
    assert isinstance(spec.target.parameters, Amqp091Parameters)
    return spec.target.parameters


def problem(
    declared: v1alpha1.BrokerConnection,
    broker: v1alpha1.BrokerSpec | None = RABBIT_SPEC,
    *,
    labels: Mapping[str, str] | None = None,
) -> Failure:
    failure = desired.session_spec(
        declared,
        generation=1,
        adapters=ADAPTERS,
        find_broker=lambda _: broker,
        namespace_labels=labels or {},
    )
    assert isinstance(failure, Failure)
    return failure


# --- the broker


@pytest.mark.parametrize(
    ("declared", "broker"),
    [
        pytest.param(document(), BROKER, id="a Broker of the same namespace"),
        pytest.param(
            document(broker_ref=v1alpha1.BrokerReference(kind="ClusterBroker", name="shared")),
            Identity("ClusterBroker", "", "shared"),
            id="a ClusterBroker has no namespace",
        ),
        pytest.param(
            document(broker_ref=None, broker=RABBIT_SPEC),
            Identity("BrokerConnection", "apps", "orders"),
            id="a broker in place belongs to this connection alone",
        ),
    ],
)
def test_which_broker_a_connection_is_declared_for(
    declared: v1alpha1.BrokerConnection, broker: Identity
) -> None:
    assert desired.broker_of(declared) == broker
    assert resolved(declared).broker == broker


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        pytest.param(
            v1alpha1.BrokerReference(name="rabbit"),
            'there is no Broker named "rabbit" in namespace "apps"',
            id="Broker",
        ),
        pytest.param(
            v1alpha1.BrokerReference(kind="ClusterBroker", name="shared"),
            'there is no ClusterBroker named "shared"',
            id="ClusterBroker",
        ),
    ],
)
def test_a_broker_that_is_not_there_is_named(
    reference: v1alpha1.BrokerReference, words: str
) -> None:
    failure = problem(document(broker_ref=reference), None)
    assert failure.reason is Reason.BROKER_NOT_FOUND
    assert failure.message == f"spec.brokerRef: {words}"


def test_a_broker_in_place_is_not_looked_for() -> None:
    spec = resolved(document(broker_ref=None, broker=RABBIT_SPEC), None)
    assert spec.target.endpoints == (RABBIT,)


@pytest.mark.parametrize(
    "tls",
    [
        pytest.param(v1alpha1.TLS(), id="no TLS at all"),
        pytest.param(v1alpha1.TLS(enabled=True), id="TLS without a client certificate"),
    ],
)
def test_external_needs_a_client_certificate(tls: v1alpha1.TLS) -> None:
    external = v1alpha1.Credentials(external=v1alpha1.External())
    failure = problem(document(credentials=external), RABBIT_SPEC.model_copy(update={"tls": tls}))
    assert failure.reason is Reason.INVALID_SPEC
    assert 'Broker "rabbit" in namespace "apps" declares none' in failure.message
    assert "tls.clientCertificateRef" in failure.message


def test_external_with_a_client_certificate_is_usable() -> None:
    tls = v1alpha1.TLS(
        enabled=True,
        client_certificate_ref=v1alpha1.ClientCertificateReference(name="client-tls"),
    )
    external = v1alpha1.Credentials(external=v1alpha1.External())
    spec = resolved(document(credentials=external), RABBIT_SPEC.model_copy(update={"tls": tls}))
    assert spec.credentials.external is not None


# --- every field


def test_everything_declared_reaches_the_session() -> None:
    broker = v1alpha1.BrokerSpec(
        endpoints=(
            v1alpha1.Endpoint(host="rabbit-0.example"),
            v1alpha1.Endpoint(host="rabbit-1.example", port=5673),
        ),
        tls=v1alpha1.TLS(enabled=True, server_name="rabbit.example"),
        sasl=v1alpha1.SASL(mechanisms=("PLAIN",), allow_insecure=True),
        locale=v1alpha1.Locale(prefer="de_DE"),
        connect_timeout=timedelta(seconds=7),
        retry=v1alpha1.Retry(
            delay=timedelta(seconds=2), max_delay=timedelta(seconds=30), jitter=0.1
        ),
        connect_limit=v1alpha1.ConnectLimit(concurrent=3),
    )
    declared = document(
        virtual_host="orders",
        heartbeat=timedelta(seconds=30),
        channel_max=100,
        frame_max=8192,
        client_properties={"team": "orders"},
        probe=v1alpha1.Probe(
            interval=timedelta(seconds=20),
            timeout=timedelta(seconds=4),
            exchange="probes",
            routing_key="here",
        ),
        suspend=True,
        when_closed="StayClosed",
    )
    spec = desired.session_spec(
        declared, generation=7, adapters=ADAPTERS, find_broker=lambda _: broker, namespace_labels={}
    )
    assert isinstance(spec, SessionSpec)
    parameters = asked(spec)
    assert spec.key == SessionKey("apps", "orders")
    assert spec.generation == 7
    assert spec.target.protocol == "amqp091"
    assert spec.target.endpoints == (
        Endpoint("rabbit-0.example", 5671),
        Endpoint("rabbit-1.example", 5673),
    )
    assert spec.target.endpoints_from is None
    assert spec.target.default_port == 5671
    assert spec.target.tls.server_name == "rabbit.example"
    assert parameters.virtual_host == "orders"
    assert parameters.heartbeat_seconds == 30
    assert parameters.channel_max == 100
    assert parameters.frame_max == 8192
    assert parameters.sasl == SaslPolicy(mechanisms=("PLAIN",), allow_insecure=True)
    assert parameters.locale == LocalePreference(prefer="de_DE")
    assert parameters.connection_name == "springline/apps/orders"
    assert parameters.client_properties == {"team": "orders"}
    assert spec.credentials == SECRET
    assert spec.connect_timeout == 7.0
    assert spec.retry == Retry(delay=2.0, max_delay=30.0, jitter=0.1)
    assert spec.concurrent == 3
    assert spec.probe == a_probe(interval=20.0, timeout=4.0, exchange="probes", routing_key="here")
    assert spec.suspend
    assert spec.stay_closed


def test_defaults_are_those_of_the_contract() -> None:
    spec = resolved(document())
    assert spec.target.endpoints == (RABBIT,)
    assert asked(spec).virtual_host == "/"
    assert asked(spec).heartbeat_seconds == 60
    assert spec.connect_timeout == 10.0
    assert spec.retry == Retry(delay=10.0, max_delay=60.0, jitter=0.3)
    assert spec.concurrent == 50
    assert spec.probe == a_probe(
        interval=15.0, timeout=5.0, exchange="", routing_key="springline.probe"
    )
    assert not spec.suspend
    assert not spec.stay_closed


def test_a_delay_below_what_an_administrator_allows_counts_as_that() -> None:
    broker = RABBIT_SPEC.model_copy(
        update={
            "retry": v1alpha1.Retry(
                delay=timedelta(milliseconds=100), max_delay=timedelta(milliseconds=500)
            )
        }
    )
    assert resolved(document(), broker).retry == Retry(delay=0.1, max_delay=0.5)
    limited = resolved(document(), broker, limits=Limits(least_retry_delay=2.0))
    assert limited.retry == Retry(delay=2.0, max_delay=2.0)
    unlimited = resolved(document(), limits=Limits(least_retry_delay=2.0))
    assert unlimited.retry == resolved(document()).retry


def test_a_probe_may_have_a_queue_of_its_own() -> None:
    spec = resolved(document(probe=v1alpha1.Probe(mode="OwnQueue", routing_key="orders.probe")))
    assert spec.probe == a_probe(
        interval=15.0, timeout=5.0, exchange="", routing_key="orders.probe", own_queue=True
    )


def test_without_a_probe_there_are_no_settings_for_one() -> None:
    assert resolved(document(probe=v1alpha1.Probe(mode="None"))).probe is None


SRV = v1alpha1.EndpointsFrom(dns_srv="_amqp._tcp.rabbit.example")
SERVICE = v1alpha1.EndpointsFrom(service=v1alpha1.ServiceReference(name="rabbit", port="amqp"))
FROM_SECRET = v1alpha1.EndpointsFrom(
    secret_ref=v1alpha1.EndpointsSecretReference(name="rabbit-default-user")
)


def test_where_endpoints_are_found_takes_the_place_of_endpoints() -> None:
    spec = resolved(document(), v1alpha1.BrokerSpec(endpoints_from=SRV))
    assert spec.target.endpoints_from == SRV
    assert spec.target.endpoints == ()
    assert spec.target.default_port == 5672


# --- who may refer to a ClusterBroker

SHARED = document(broker_ref=v1alpha1.BrokerReference(kind="ClusterBroker", name="shared"))
FOR_SHOPS = v1alpha1.ClusterBrokerSpec(
    endpoints=RABBIT_SPEC.endpoints,
    allowed_namespaces=v1alpha1.AllowedNamespaces(
        from_="Selector", selector=v1alpha1.LabelSelector(match_labels={"team": "shop"})
    ),
)


def test_a_namespace_with_the_labels_may_refer_to_a_cluster_broker() -> None:
    assert resolved(SHARED, FOR_SHOPS, labels={"team": "shop"}).target.endpoints == (RABBIT,)


@pytest.mark.parametrize(
    "broker",
    [
        pytest.param(FOR_SHOPS, id="other labels"),
        pytest.param(
            FOR_SHOPS.model_copy(
                update={"allowed_namespaces": v1alpha1.AllowedNamespaces(from_="Selector")}
            ),
            id="a selector that was lost selects nobody",
        ),
    ],
)
def test_a_namespace_without_the_labels_may_not(broker: v1alpha1.BrokerSpec) -> None:
    """The message says who is meant, and what to do."""
    failure = problem(SHARED, broker, labels={"team": "books"})
    assert failure.reason is Reason.NAMESPACE_NOT_ALLOWED
    assert failure.message == (
        'spec.brokerRef: ClusterBroker "shared" is not for namespace "apps", whose labels its'
        " allowedNamespaces.selector does not select; label the namespace, or have the selector"
        " changed"
    )


def test_every_namespace_may_by_default() -> None:
    broker = v1alpha1.ClusterBrokerSpec(endpoints=RABBIT_SPEC.endpoints)
    assert resolved(SHARED, broker).target.endpoints == (RABBIT,)


@pytest.mark.parametrize(
    ("locale", "preference"),
    [
        pytest.param(
            v1alpha1.Locale(), LocalePreference(prefer="en_US"), id="en_US is preferred by default"
        ),
        pytest.param(
            v1alpha1.Locale(select=("de_DE", "en_US")),
            LocalePreference(prefer=None, select=("de_DE", "en_US")),
            id="a list leaves nothing to prefer",
        ),
    ],
)
def test_one_of_both_ways_to_ask_for_a_locale(
    locale: v1alpha1.Locale, preference: LocalePreference
) -> None:
    spec = resolved(document(), RABBIT_SPEC.model_copy(update={"locale": locale}))
    assert asked(spec).locale == preference


# --- whether an open connection still fits


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        pytest.param({}, True, id="nothing changed"),
        pytest.param({"endpoints": (RABBIT, OTHER_RABBIT)}, True, id="one more endpoint"),
        pytest.param({"endpoints": (OTHER_RABBIT, RABBIT)}, True, id="another order"),
        pytest.param({"endpoints": (OTHER_RABBIT,)}, False, id="the one in use is gone"),
        pytest.param({"virtual_host": "other"}, False, id="another virtual host"),
        pytest.param({"heartbeat_seconds": 10}, False, id="another heartbeat"),
        pytest.param({"client_properties": {"a": "b"}}, False, id="other client properties"),
        pytest.param({"sasl": SaslPolicy(mechanisms=())}, False, id="other mechanisms"),
        pytest.param({"tls": v1alpha1.TLS(enabled=True)}, False, id="TLS switched on"),
        pytest.param({"protocol": "amqp10"}, False, id="another protocol"),
        pytest.param({"endpoints_from": SRV, "endpoints": ()}, False, id="SRV records instead"),
    ],
)
def test_what_an_open_connection_survives(change: dict[str, Any], fits: bool) -> None:
    assert a_target().fits(a_target(**change), connected_to=RABBIT) is fits


@pytest.mark.parametrize("declared", [SRV, SERVICE, FROM_SECRET])
def test_where_endpoints_are_found_any_of_them_fits(declared: v1alpha1.EndpointsFrom) -> None:
    """Which ones they are is known only to the next lookup."""
    target = a_target(endpoints_from=declared, endpoints=())
    other = dataclasses.replace(
        target, endpoints_from=declared.model_copy(deep=True), default_port=1
    )
    assert target.fits(other, connected_to=RABBIT)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(SRV, id="from elsewhere"),
        pytest.param(
            v1alpha1.EndpointsFrom(service=v1alpha1.ServiceReference(name="rabbit", port=5672)),
            id="the same port by its number",
        ),
    ],
)
def test_endpoints_that_are_found_in_another_way_do_not_fit(other: v1alpha1.EndpointsFrom) -> None:
    target = a_target(endpoints_from=SERVICE, endpoints=())
    assert not target.fits(a_target(endpoints_from=other, endpoints=()), connected_to=RABBIT)


@pytest.mark.parametrize(
    ("declared", "is_told"),
    [(None, False), (SRV, False), (SERVICE, False), (FROM_SECRET, True)],
)
def test_only_a_secret_tells_an_open_session_to_move(
    declared: v1alpha1.EndpointsFrom | None, is_told: bool
) -> None:
    """SRV records and what is ready behind a Service change without a reason to move."""
    assert a_target(endpoints_from=declared).is_told_where is is_told


# --- what it reads


@pytest.mark.parametrize(
    ("spec", "reads"),
    [
        pytest.param(a_spec(), {Identity("Secret", "apps", "orders-amqp")}, id="a Secret"),
        pytest.param(
            a_spec(
                credentials=v1alpha1.Credentials(
                    token_ref=v1alpha1.TokenReference(name="orders-token")
                )
            ),
            {Identity("Secret", "apps", "orders-token")},
            id="a token",
        ),
        pytest.param(
            a_spec(credentials=v1alpha1.Credentials(external=v1alpha1.External())),
            set(),
            id="EXTERNAL reads nothing itself",
        ),
        pytest.param(
            a_spec(
                target=a_target(
                    tls=v1alpha1.TLS(
                        enabled=True,
                        ca_ref=v1alpha1.CAReference(name="rabbit-ca"),
                        client_certificate_ref=v1alpha1.ClientCertificateReference(
                            name="client-tls"
                        ),
                    )
                )
            ),
            {
                Identity("Secret", "apps", "orders-amqp"),
                Identity("ConfigMap", "apps", "rabbit-ca"),
                Identity("Secret", "apps", "client-tls"),
            },
            id="certificates from the namespace of the connection",
        ),
        pytest.param(
            a_spec(
                target=a_target(
                    tls=v1alpha1.ClusterTLS(
                        enabled=True,
                        ca_ref=v1alpha1.ClusterCAReference(
                            kind="Secret", name="rabbit-ca", namespace="platform"
                        ),
                        client_certificate_ref=v1alpha1.ClusterClientCertificateReference(
                            name="client-tls", namespace="platform"
                        ),
                    )
                )
            ),
            {
                Identity("Secret", "apps", "orders-amqp"),
                Identity("Secret", "platform", "rabbit-ca"),
                Identity("Secret", "platform", "client-tls"),
            },
            id="certificates of a ClusterBroker from the namespace it names",
        ),
        pytest.param(
            a_spec(target=a_target(endpoints_from=FROM_SECRET, endpoints=())),
            {
                Identity("Secret", "apps", "orders-amqp"),
                Identity("Secret", "apps", "rabbit-default-user"),
            },
            id="endpoints from a Secret in the namespace of the connection",
        ),
        pytest.param(
            a_spec(
                target=a_target(
                    endpoints=(),
                    endpoints_from=v1alpha1.ClusterEndpointsFrom(
                        secret_ref=v1alpha1.ClusterEndpointsSecretReference(
                            name="rabbit", namespace="platform"
                        )
                    ),
                )
            ),
            {
                Identity("Secret", "apps", "orders-amqp"),
                Identity("Secret", "platform", "rabbit"),
            },
            id="endpoints of a ClusterBroker from a Secret in the namespace it names",
        ),
    ],
)
def test_the_objects_that_a_session_reads(spec: SessionSpec, reads: set[Identity]) -> None:
    assert desired.references(spec) == reads


def test_kind_of_broker_that_nobody_looks_after_is_named() -> None:
    """Whoever looks for the missing ClusterBroker is told that it would not be seen."""
    reference = v1alpha1.BrokerReference(kind="ClusterBroker", name="shared")
    spec = desired.session_spec(
        document(broker_ref=reference),
        generation=1,
        adapters=ADAPTERS,
        find_broker=lambda _: None,
        namespace_labels={},
        unserved=("ClusterBroker",),
    )
    assert isinstance(spec, Failure)
    assert spec.reason is Reason.BROKER_NOT_FOUND
    assert "does not look after ClusterBrokers" in spec.message
