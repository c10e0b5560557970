"""Where objects are in the API: kinds of ours, and the few of others that are read."""

from collections.abc import Sequence
from typing import Final

from springline.api.identity import API_VERSION, Identity

__all__ = [
    "CLUSTER_SCOPED",
    "GROUP_VERSION",
    "PLURALS",
    "collections",
    "of_object",
    "status_of",
]

GROUP_VERSION: Final = f"/apis/{API_VERSION}"

PLURALS: Final = {
    "Broker": "brokers",
    "ClusterBroker": "clusterbrokers",
    "BrokerConnection": "brokerconnections",
}

CLUSTER_SCOPED: Final = frozenset({"ClusterBroker"})


def collections(kind: str, namespaces: Sequence[str]) -> list[tuple[str, str]]:
    """Return the paths that hold the objects of a kind, each with its namespace in front.

    No namespaces means all of them: one path, whose namespace is empty, as for what has none.
    """
    plural = PLURALS[kind]
    if not namespaces or kind in CLUSTER_SCOPED:
        return [("", f"{GROUP_VERSION}/{plural}")]
    return [
        (namespace, f"{GROUP_VERSION}/namespaces/{namespace}/{plural}") for namespace in namespaces
    ]


def of_object(identity: Identity) -> str:
    """Return the path of one object of ours."""
    plural = PLURALS[identity.kind]
    if identity.kind in CLUSTER_SCOPED:
        return f"{GROUP_VERSION}/{plural}/{identity.name}"
    return f"{GROUP_VERSION}/namespaces/{identity.namespace}/{plural}/{identity.name}"


def status_of(identity: Identity) -> str:
    """Return the path of the status subresource of one object of ours."""
    return f"{of_object(identity)}/status"
