"""`Broker` and `ClusterBroker`: where a broker is, and how its clients talk to it.

The fields are checked one by one here; rules over several of them are in `rules`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field, Strict

from springline import protocols
from springline.api import labels
from springline.api.durations import Span
from springline.api.fields import (
    Between,
    DataKey,
    DomainName,
    EndpointHost,
    Entries,
    HostName,
    LocaleName,
    NamespaceName,
    ObjectName,
    Port,
    ServiceName,
    ServicePort,
)
from springline.api.labels import LabelSelector
from springline.api.meta import ApiModel, ClusterObjectMeta, Declaration

__all__ = [
    "SASL",
    "TLS",
    "AllowedNamespaces",
    "Broker",
    "BrokerSpec",
    "CAReference",
    "ClientCertificateReference",
    "ClusterBroker",
    "ClusterBrokerSpec",
    "ClusterCAReference",
    "ClusterClientCertificateReference",
    "ClusterEndpointsFrom",
    "ClusterEndpointsSecretReference",
    "ClusterServiceReference",
    "ClusterTLS",
    "ConnectLimit",
    "Endpoint",
    "EndpointsFrom",
    "EndpointsSecretReference",
    "HostPort",
    "Locale",
    "Mechanism",
    "Retry",
    "ServiceReference",
]

DEFAULT_DELAY = timedelta(seconds=10)
DEFAULT_MAX_DELAY = timedelta(seconds=60)

if TYPE_CHECKING:
    ProtocolName = str
    Mechanism = str
else:  # a type checker cannot read the table
    ProtocolName = Literal[tuple(protocols.PROTOCOLS)]
    Mechanism = Literal[protocols.MECHANISMS]


class HostPort(NamedTuple):
    """An address to connect to."""

    host: str
    port: int


class Endpoint(ApiModel):
    """One address of the broker."""

    host: EndpointHost = Field(
        description="Host name or IP address. The name is looked up again before every attempt."
    )
    port: Port | None = Field(
        default=None, description=f"TCP port. Default: {protocols.default_ports()}."
    )


class ServiceReference(ApiModel):
    """A port of a Service. What is ready behind it is tried, whatever type the Service is of."""

    name: ServiceName = Field(description="Name of the Service, in the namespace of the referrer.")
    port: ServicePort = Field(description="Port of the Service: its number, or its name.")

    def namespace_for(self, referrer: str) -> str:
        """Return the namespace to look in, given the one of the object that refers."""
        return referrer


class ClusterServiceReference(ServiceReference):
    """The same for a ClusterBroker, which has no namespace of its own."""

    name: ServiceName = Field(description="Name of the Service.")
    namespace: NamespaceName = Field(description="Namespace of the Service.")

    def namespace_for(self, referrer: str) -> str:  # noqa: ARG002 - the reference says it itself
        return self.namespace


class EndpointsSecretReference(ApiModel):
    """A Secret that says where the broker is, as the RabbitMQ cluster operator writes it."""

    name: ObjectName = Field(description="Name of the Secret, in the namespace of the referrer.")
    host_key: DataKey = Field(
        default="host", description="Key in the Secret that has the host name or IP address."
    )
    port_key: DataKey = Field(
        default="port",
        description=(
            "Key in the Secret that has the port. Without such a key it is"
            f" {protocols.default_ports()}."
        ),
    )

    def namespace_for(self, referrer: str) -> str:
        """Return the namespace to look in, given the one of the object that refers."""
        return referrer


class ClusterEndpointsSecretReference(EndpointsSecretReference):
    """The same for a ClusterBroker, which has no namespace of its own."""

    name: ObjectName = Field(description="Name of the Secret.")
    namespace: NamespaceName = Field(description="Namespace of the Secret.")

    def namespace_for(self, referrer: str) -> str:  # noqa: ARG002 - the reference says it itself
        return self.namespace


class EndpointsFrom(ApiModel):
    """Where the addresses of the broker are found; exactly one of the fields is given."""

    service: ServiceReference | None = Field(
        default=None,
        description=(
            "A Service. What is ready behind it is looked up before every attempt, and tried under"
            " the name of the Service: <service>.<namespace>.svc. Not in standalone mode."
        ),
    )
    dns_srv: DomainName | None = Field(
        default=None,
        alias="dnsSRV",
        description=(
            "Name of DNS SRV records, such as _amqps._tcp.rabbit.example.com. They are looked up"
            " before every attempt and tried in the order of their priority and weight. With TLS,"
            " hosts outside of the domain of this name are left out (TLSFailed) unless"
            " tls.serverName is given. What the records say is known only when they are looked up,"
            " so no declaration is refused for it."
        ),
    )
    secret_ref: EndpointsSecretReference | None = Field(
        default=None,
        description=(
            "A Secret with host and port. When it names another address, a new session is opened"
            " there before the old one is closed."
        ),
    )


class ClusterEndpointsFrom(EndpointsFrom):
    """Where the addresses of a ClusterBroker are found; exactly one of the fields is given."""

    service: ClusterServiceReference | None = Field(
        default=None,
        description=(
            "A Service. What is ready behind it is looked up before every attempt, and tried under"
            " the name of the Service: <service>.<namespace>.svc. Not in standalone mode."
        ),
    )
    secret_ref: ClusterEndpointsSecretReference | None = Field(
        default=None,
        description=(
            "A Secret with host and port. When it names another address, a new session is opened"
            " there before the old one is closed."
        ),
    )


class CAReference(ApiModel):
    """The certificate authorities that the broker's certificate is checked against."""

    kind: Literal["Secret", "ConfigMap"] = Field(
        default="ConfigMap", description="Kind of the object that has the certificates."
    )
    name: ObjectName = Field(description="Name of the object, in the namespace of the referrer.")
    key: DataKey = Field(
        default="ca.crt", description="Key in the object: one or more certificates in PEM."
    )

    def namespace_for(self, referrer: str) -> str:
        """Return the namespace to look in, given the one of the object that refers."""
        return referrer


class ClientCertificateReference(ApiModel):
    """The certificate with which the client shows who it is."""

    name: ObjectName = Field(
        description=(
            "Name of a Secret of type kubernetes.io/tls with tls.crt and tls.key,"
            " in the namespace of the referrer."
        )
    )

    def namespace_for(self, referrer: str) -> str:
        """Return the namespace to look in, given the one of the object that refers."""
        return referrer


class ClusterCAReference(CAReference):
    """The same for a ClusterBroker, which has no namespace of its own."""

    name: ObjectName = Field(description="Name of the object.")
    namespace: NamespaceName = Field(description="Namespace of the object.")

    def namespace_for(self, referrer: str) -> str:  # noqa: ARG002 - the reference says it itself
        return self.namespace


class ClusterClientCertificateReference(ClientCertificateReference):
    """The same for a ClusterBroker, which has no namespace of its own."""

    name: ObjectName = Field(
        description="Name of a Secret of type kubernetes.io/tls with tls.crt and tls.key."
    )
    namespace: NamespaceName = Field(description="Namespace of the Secret.")

    def namespace_for(self, referrer: str) -> str:  # noqa: ARG002 - the reference says it itself
        return self.namespace


class TLS(ApiModel):
    """How the connection to the broker is encrypted."""

    enabled: bool = Field(
        default=False, description="Whether to use TLS. The other fields here need it."
    )
    ca_ref: CAReference | None = Field(
        default=None,
        description=(
            "Certificate authorities to check the broker's certificate against."
            " Default: those of the system."
        ),
    )
    client_certificate_ref: ClientCertificateReference | None = Field(
        default=None,
        description="Certificate to present to the broker. A changed one replaces the session.",
    )
    server_name: HostName | None = Field(
        default=None,
        description=(
            "Name that the broker's certificate must have, and that is sent as SNI."
            " Default: the host of the endpoint. With endpointsFrom.dnsSRV, hosts outside of the"
            " domain of that name are used only with it."
        ),
    )
    insecure_skip_verify: bool = Field(
        default=False,
        description=(
            "Accept any certificate. Whoever is between client and broker can then read the"
            " password; for tests only."
        ),
    )


class ClusterTLS(TLS):
    """How the connection to the broker is encrypted, for a ClusterBroker."""

    ca_ref: ClusterCAReference | None = Field(
        default=None,
        description=(
            "Certificate authorities to check the broker's certificate against."
            " Default: those of the system."
        ),
    )
    client_certificate_ref: ClusterClientCertificateReference | None = Field(
        default=None,
        description="Certificate to present to the broker. A changed one replaces the session.",
    )


class SASL(ApiModel):
    """How the client logs in."""

    mechanisms: Annotated[
        tuple[Mechanism, ...],
        Strict(strict=False),
        Entries(len(protocols.MECHANISMS), distinct=True),
    ] = Field(
        default=protocols.DEFAULT_MECHANISMS,
        description=(
            "Authentication mechanisms in the order of preference. The first one that the broker"
            " offers and that suits the credentials is used."
        ),
    )
    allow_insecure: bool = Field(
        default=False,
        description=(
            "Allow mechanisms that send the password in clear text over a connection without TLS."
        ),
    )


class Locale(ApiModel):
    """The language of the broker's messages: `prefer` one, or `select` by a list."""

    prefer: LocaleName | None = Field(
        default=None,
        description=(
            "Locale to use if the broker offers it; otherwise the first one it offers is used."
            " Default: en_US, where select is not given either."
        ),
    )
    select: (
        Annotated[tuple[LocaleName, ...], Strict(strict=False), Entries(32, distinct=True)] | None
    ) = Field(
        default=None,
        description=(
            "Locales in the order of preference. The first one that the broker offers is used;"
            " if it offers none of them, the session is not opened."
        ),
    )


class Retry(ApiModel):
    """How soon a failed or lost session is tried again; the delay doubles with each attempt."""

    delay: Annotated[timedelta, Span(minimum="100ms", maximum="1h")] = Field(
        default=DEFAULT_DELAY,
        description="Time from the start of the first attempt to the start of the second.",
    )
    max_delay: Annotated[timedelta, Span(minimum="100ms", maximum="24h")] = Field(
        default=DEFAULT_MAX_DELAY,
        description="Longest time between the starts of two attempts; not less than delay.",
    )
    jitter: Annotated[float, Between(0, 1)] = Field(
        default=0.3,
        description=(
            "Share of the delay that is random, from 0 to 1, so that many clients of one broker"
            " do not all come back at the same moment. With 0 the delays are kept to the letter."
        ),
    )


class ConnectLimit(ApiModel):
    """Protection of the broker against many connection attempts at once."""

    concurrent: Annotated[int, Between(1, 10000)] = Field(
        default=50,
        description="Attempts that may run at the same time, per replica of Springline.",
    )


class AllowedNamespaces(ApiModel):
    """Whose BrokerConnections may refer to a ClusterBroker."""

    from_: Literal["All", "Selector"] = Field(
        default="All",
        alias="from",
        description="All for every namespace, Selector for those whose labels are selected.",
    )
    selector: LabelSelector | None = Field(
        default=None,
        description=(
            "Which labels a namespace must have; needed with Selector. Every namespace has the"
            " label kubernetes.io/metadata.name with its name."
        ),
    )

    def allows(self, namespace_labels: Mapping[str, str]) -> bool:
        """Whether a namespace with these labels may refer to the broker."""
        if self.from_ == "All":
            return True
        return self.selector is not None and labels.selects(self.selector, namespace_labels)


class BrokerSpec(ApiModel):
    """Where a broker is, and how its clients talk to it."""

    protocol: ProtocolName = Field(
        default=protocols.DEFAULT, description=f"Protocol to speak: {protocols.listed()}."
    )
    endpoints: Annotated[tuple[Endpoint, ...], Strict(strict=False), Entries(64)] | None = Field(
        default=None,
        description="Addresses of the broker, tried in order; this or endpointsFrom.",
    )
    endpoints_from: EndpointsFrom | None = Field(
        default=None,
        description="Where to find the addresses; this or endpoints.",
    )
    tls: TLS = Field(default=TLS(), description="Encryption of the connection.")
    sasl: SASL = Field(default=SASL(), description="How the client logs in.")
    locale: Locale = Field(
        default=Locale(),
        description=(
            "Language of the broker's messages, such as en_US. Over AMQP 1.0 a broker that has none"
            " of those that are asked for uses en_US."
        ),
    )
    connect_timeout: Annotated[timedelta, Span(minimum="100ms", maximum="10m")] = Field(
        default=timedelta(seconds=10),
        description=(
            "Limit for one attempt as a whole: name resolution, connection, TLS and the handshake."
        ),
    )
    retry: Retry = Field(
        default=Retry(), description="How soon a failed or lost session is tried again."
    )
    connect_limit: ConnectLimit = Field(
        default=ConnectLimit(),
        description="Protection of the broker against many connection attempts at once.",
    )

    @property
    def default_port(self) -> int:
        return protocols.PROTOCOLS[self.protocol].default_port(tls=self.tls.enabled)

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Those that are declared; the protocol's own where nothing but the default is."""
        declared = self.sasl.mechanisms
        if declared != protocols.DEFAULT_MECHANISMS:
            return declared
        return protocols.PROTOCOLS[self.protocol].default_mechanisms

    @property
    def addresses(self) -> tuple[HostPort, ...]:
        """The endpoints with ports filled in; empty where they come from `endpoints_from`."""
        return tuple(
            HostPort(endpoint.host, endpoint.port or self.default_port)
            for endpoint in self.endpoints or ()
        )


class ClusterBrokerSpec(BrokerSpec):
    """Where a broker is, and how its clients talk to it, for every namespace."""

    endpoints_from: ClusterEndpointsFrom | None = Field(
        default=None,
        description="Where to find the addresses; this or endpoints.",
    )
    tls: ClusterTLS = Field(default=ClusterTLS(), description="Encryption of the connection.")
    allowed_namespaces: AllowedNamespaces = Field(
        default=AllowedNamespaces(),
        description="Whose BrokerConnections may refer to this broker.",
    )


class Broker(Declaration):
    """A broker that the BrokerConnections of its namespace can refer to."""

    kind: Literal["Broker"] = Field(default="Broker", description="Kind of the object.")
    spec: BrokerSpec = Field(description="Where the broker is, and how to talk to it.")


class ClusterBroker(Declaration):
    """A broker that the BrokerConnections of every namespace can refer to."""

    kind: Literal["ClusterBroker"] = Field(
        default="ClusterBroker", description="Kind of the object."
    )
    metadata: ClusterObjectMeta
    spec: ClusterBrokerSpec = Field(description="Where the broker is, and how to talk to it.")
