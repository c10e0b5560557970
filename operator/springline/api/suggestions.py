"""Words of other tools for what a field has another name for here, or what stands elsewhere.

A field that is close to the one that was written is found without this table. What is far from it
is here: `vhost`, `username`, `ssl`, an address as a URL.
"""

from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["BY_MODEL", "suggestion"]

_LOGIN: Final = (
    'a login is in a Secret: "credentials.secretRef.name" names it,'
    " and it has username and password"
)
_LOGIN_OF_CONNECTION: Final = (
    'a login is in a Secret, which "credentials.secretRef" of the BrokerConnection names'
)
_LOGIN_IN_SECRET: Final = 'it is in the Secret that "secretRef.name" names'
_ADDRESS: Final = (
    'where the broker is, a Broker says: "brokerRef.name" names it, or "broker.endpoints" has the'
    " addresses in place"
)
_URL: Final = (
    'there is no URL: "brokerRef" names the Broker, "virtualHost" and "credentials" say the rest'
)
_URL_OF_BROKER: Final = 'there is no URL: "endpoints" has host and port, "tls.enabled" is for TLS'
_OF_THE_BROKER: Final = 'it is a field of the Broker: "{}"'
_SAME_NAMESPACE: Final = (
    "a Broker is of the connection's own namespace; for one broker of several namespaces there is"
    ' kind ClusterBroker, with "allowedNamespaces"'
)
_OWN_NAMESPACE: Final = "it is of the referrer's own namespace; only a ClusterBroker names another"
_NOTHING_CONSUMED: Final = "Springline holds the connection, and consumes nothing"
_NAME: Final = "a connection is called as its object is, at the broker, too"

# The name of a model, then words as they are compared: in lower case, without `_` and `-`. A text
# without a space is the field that is meant, seen from there; any other one is a sentence.
BY_MODEL: Final[Mapping[str, Mapping[str, str]]] = {
    "BrokerConnectionSpec": {
        **dict.fromkeys(("vhost", "vhostname", "virtualhostname"), "virtualHost"),
        **dict.fromkeys(("user", "username", "login", "password", "pass", "passwd"), _LOGIN),
        **dict.fromkeys(("auth", "authentication"), "credentials"),
        **dict.fromkeys(("secret", "secretref", "secretname", "existingsecret"), _LOGIN),
        **dict.fromkeys(("credentialssecret", "credentialsecret", "authsecret"), _LOGIN),
        **dict.fromkeys(("token", "tokenref"), "credentials.tokenRef"),
        "oauth2": "credentials.oauth2",
        "serviceaccount": "credentials.serviceAccount",
        "serviceaccountname": "credentials.serviceAccount.name",
        **dict.fromkeys(("url", "uri", "amqpurl", "amqpuri", "brokerurl", "dsn"), _URL),
        **dict.fromkeys(("connectionstring", "connectionurl", "connectionuri"), _URL),
        **dict.fromkeys(("host", "hostname", "port", "address", "server"), _ADDRESS),
        **dict.fromkeys(("hosts", "endpoints", "addresses", "servers", "service"), _ADDRESS),
        **dict.fromkeys(("brokername", "cluster", "clustername", "clusterref"), "brokerRef.name"),
        **dict.fromkeys(("rabbitmqcluster", "rabbitmqclusterreference"), _ADDRESS),
        **dict.fromkeys(("tls", "ssl", "usetls", "usessl"), _OF_THE_BROKER.format("tls")),
        **dict.fromkeys(("mechanism", "mechanisms", "sasl"), _OF_THE_BROKER.format("sasl")),
        "protocol": _OF_THE_BROKER.format("protocol"),
        **dict.fromkeys(
            ("retry", "backoff", "reconnect", "reconnectdelay", "retrydelay", "maxretries"),
            _OF_THE_BROKER.format("retry"),
        ),
        **dict.fromkeys(
            ("timeout", "connecttimeout", "connectiontimeout", "blockedconnectiontimeout"),
            _OF_THE_BROKER.format("connectTimeout"),
        ),
        **dict.fromkeys(("pause", "paused", "suspended", "disabled", "enabled"), "suspend"),
        **dict.fromkeys(("prefetch", "prefetchcount", "qos", "queue", "queues"), _NOTHING_CONSUMED),
        **dict.fromkeys(("name", "connectionname", "clientname"), _NAME),
        **dict.fromkeys(("keepalive", "heartbeatinterval", "requestedheartbeat"), "heartbeat"),
        **dict.fromkeys(("properties", "connectionproperties"), "clientProperties"),
        **dict.fromkeys(("bindingsecret", "writesecret", "outputsecret"), "binding.secretName"),
    },
    "BrokerReference": {
        "namespace": _SAME_NAMESPACE,
        **dict.fromkeys(("apiversion", "apigroup", "group"), 'only "kind" and "name" are given'),
    },
    "BrokerSpec": {
        **dict.fromkeys(("host", "hostname", "address", "server"), "endpoints[].host"),
        "port": "endpoints[].port",
        **dict.fromkeys(("hosts", "addresses", "servers", "nodes", "brokers"), "endpoints"),
        **dict.fromkeys(("url", "uri", "urls", "uris", "amqpurl"), _URL_OF_BROKER),
        **dict.fromkeys(("service", "serviceref", "servicename"), "endpointsFrom.service"),
        **dict.fromkeys(("srv", "dnssrv"), "endpointsFrom.dnsSRV"),
        **dict.fromkeys(("secretref", "connectionsecret"), "endpointsFrom.secretRef"),
        **dict.fromkeys(("ssl", "usetls", "usessl"), "tls"),
        **dict.fromkeys(("ca", "cacert", "cafile", "cabundle", "cacertfile"), "tls.caRef"),
        **dict.fromkeys(("mechanism", "mechanisms", "auth", "authmechanism"), "sasl.mechanisms"),
        **dict.fromkeys(("timeout", "connectiontimeout"), "connectTimeout"),
        **dict.fromkeys(("backoff", "reconnect", "reconnectdelay"), "retry"),
        **dict.fromkeys(
            ("user", "username", "password", "credentials", "login", "secret"), _LOGIN_OF_CONNECTION
        ),
        **dict.fromkeys(("vhost", "virtualhost"), '"virtualHost" is of the BrokerConnection'),
        "heartbeat": '"heartbeat" is of the BrokerConnection',
    },
    "ClusterBrokerSpec": {
        **dict.fromkeys(("namespaces", "namespaceselector"), "allowedNamespaces"),
    },
    "Endpoint": {
        **dict.fromkeys(("url", "uri"), _URL_OF_BROKER),
        **dict.fromkeys(("address", "ip", "server", "name"), "host"),
        **dict.fromkeys(("tls", "ssl"), 'all endpoints have the same: "tls" of the Broker'),
    },
    "TLS": {
        **dict.fromkeys(("ca", "cacert", "cafile", "cabundle", "cacertfile", "cacerts"), "caRef"),
        **dict.fromkeys(("casecret", "casecretname", "casecretref", "rootca"), "caRef"),
        **dict.fromkeys(("cert", "certfile", "certificate", "clientcert"), "clientCertificateRef"),
        **dict.fromkeys(("key", "keyfile", "secretname", "secretref"), "clientCertificateRef"),
        **dict.fromkeys(("sni", "servernameindication", "verifyhostname"), "serverName"),
        **dict.fromkeys(("insecure", "skipverify", "verify", "verifypeer"), "insecureSkipVerify"),
    },
    "Credentials": {
        **dict.fromkeys(("user", "username", "password", "pass", "passwd"), _LOGIN),
        **dict.fromkeys(("secret", "secretname", "existingsecret", "name"), "secretRef.name"),
        **dict.fromkeys(("token", "jwt", "bearertoken"), "tokenRef"),
        **dict.fromkeys(("oauth", "oidc"), "oauth2"),
        "serviceaccountname": "serviceAccount.name",
        **dict.fromkeys(("certificate", "clientcertificate", "mtls", "x509"), "external"),
        **dict.fromkeys(("none", "guest"), "anonymous"),
    },
    "SecretReference": {
        **dict.fromkeys(("user", "username"), "usernameKey"),
        **dict.fromkeys(("pass", "password"), "passwordKey"),
        "namespace": _OWN_NAMESPACE,
        "secretname": "name",
    },
    "TokenReference": {"namespace": _OWN_NAMESPACE, "secretname": "name", "tokenkey": "key"},
    "ClientReference": {"namespace": _OWN_NAMESPACE, "secretname": "name"},
    "CAReference": {
        "namespace": _OWN_NAMESPACE,
        **dict.fromkeys(("secretname", "configmapname"), "name"),
    },
    "ClientCertificateReference": {"namespace": _OWN_NAMESPACE, "secretname": "name"},
    "EndpointsSecretReference": {"namespace": _OWN_NAMESPACE, "secretname": "name"},
    "ServiceReference": {"namespace": _OWN_NAMESPACE, "servicename": "name"},
    "OAuth2": {
        **dict.fromkeys(("url", "tokenuri", "tokenendpoint", "endpoint"), "tokenURL"),
        **dict.fromkeys(("issuer", "issuerurl"), 'there is no discovery: "tokenURL" is needed'),
        **dict.fromkeys(("clientid", "clientsecret"), "clientRef"),
        "scope": "scopes",
    },
    "Binding": {**dict.fromkeys(("name", "secret", "secretref"), "secretName")},
}


def suggestion(models: Iterable[str], word: str) -> str:
    """Return what is to be said of a word that is no field of a model, empty if it is not known.

    `models` are the model's names and those of its bases, its own first.
    """
    compared = word.lower().replace("_", "").replace("-", "")
    for model in models:
        found = BY_MODEL.get(model, {}).get(compared)
        if found:
            return found if " " in found else f'did you mean "{found}"?'
    return ""
