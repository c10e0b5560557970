"""The group `springline.dev` in version `v1alpha1`: the one import for users of the resources."""

from typing import Final

from springline.api.broker import (
    SASL,
    TLS,
    Broker,
    BrokerSpec,
    CAReference,
    ClientCertificateReference,
    ClusterBroker,
    ClusterBrokerSpec,
    ClusterCAReference,
    ClusterClientCertificateReference,
    ClusterTLS,
    ConnectLimit,
    Endpoint,
    EndpointsFrom,
    HostPort,
    Locale,
    Mechanism,
    Retry,
)
from springline.api.connection import (
    BrokerConnection,
    BrokerConnectionSpec,
    BrokerReference,
    Credentials,
    External,
    Probe,
    SecretReference,
    TokenReference,
)
from springline.api.meta import ClusterObjectMeta, Identity, ObjectMeta

__all__ = [
    "API_VERSION",
    "GROUP",
    "SASL",
    "TLS",
    "VERSION",
    "Broker",
    "BrokerConnection",
    "BrokerConnectionSpec",
    "BrokerReference",
    "BrokerSpec",
    "CAReference",
    "ClientCertificateReference",
    "ClusterBroker",
    "ClusterBrokerSpec",
    "ClusterCAReference",
    "ClusterClientCertificateReference",
    "ClusterObjectMeta",
    "ClusterTLS",
    "ConnectLimit",
    "Credentials",
    "Endpoint",
    "EndpointsFrom",
    "External",
    "HostPort",
    "Identity",
    "Locale",
    "Mechanism",
    "ObjectMeta",
    "Probe",
    "Retry",
    "SecretReference",
    "TokenReference",
]

GROUP: Final = "springline.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
