"""The group `springline.dev` in version `v1alpha1`: the one import for users of the resources."""

from typing import Final

from springline.api.broker import (
    SASL,
    TLS,
    AllowedNamespaces,
    Broker,
    BrokerSpec,
    CAReference,
    ClientCertificateReference,
    ClusterBroker,
    ClusterBrokerSpec,
    ClusterCAReference,
    ClusterClientCertificateReference,
    ClusterEndpointsFrom,
    ClusterEndpointsSecretReference,
    ClusterServiceReference,
    ClusterTLS,
    ConnectLimit,
    Endpoint,
    EndpointsFrom,
    EndpointsSecretReference,
    HostPort,
    Locale,
    Mechanism,
    Retry,
    ServiceReference,
)
from springline.api.connection import (
    Binding,
    BrokerConnection,
    BrokerConnectionSpec,
    BrokerReference,
    Probe,
    Rotation,
)
from springline.api.credentials import (
    ClientReference,
    Credentials,
    External,
    OAuth2,
    SecretReference,
    ServiceAccountReference,
    TokenFile,
    TokenReference,
)
from springline.api.labels import LabelSelector
from springline.api.labels import Requirement as LabelRequirement
from springline.api.meta import ClusterObjectMeta, Identity, ObjectMeta

__all__ = [
    "API_VERSION",
    "GROUP",
    "SASL",
    "TLS",
    "VERSION",
    "AllowedNamespaces",
    "Binding",
    "Broker",
    "BrokerConnection",
    "BrokerConnectionSpec",
    "BrokerReference",
    "BrokerSpec",
    "CAReference",
    "ClientCertificateReference",
    "ClientReference",
    "ClusterBroker",
    "ClusterBrokerSpec",
    "ClusterCAReference",
    "ClusterClientCertificateReference",
    "ClusterEndpointsFrom",
    "ClusterEndpointsSecretReference",
    "ClusterObjectMeta",
    "ClusterServiceReference",
    "ClusterTLS",
    "ConnectLimit",
    "Credentials",
    "Endpoint",
    "EndpointsFrom",
    "EndpointsSecretReference",
    "External",
    "HostPort",
    "Identity",
    "LabelRequirement",
    "LabelSelector",
    "Locale",
    "Mechanism",
    "OAuth2",
    "ObjectMeta",
    "Probe",
    "Retry",
    "Rotation",
    "SecretReference",
    "ServiceAccountReference",
    "ServiceReference",
    "TokenFile",
    "TokenReference",
]

GROUP: Final = "springline.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
