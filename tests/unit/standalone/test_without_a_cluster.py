"""What Kubernetes brings, where there is none: Services are refused, namespaces come from files."""

from springline.api.conditions import ConditionType
from springline.reasons import Reason
from support.running import a_broker, a_connection, a_secret
from support.standalone import Scene

SHOPS = {"matchLabels": {"team": "shop"}}


async def test_a_service_of_kubernetes_is_refused_with_what_to_write_instead(scene: Scene) -> None:
    """There is no cluster to look it up in."""
    broker = a_broker(5672)
    del broker["spec"]["endpoints"]
    broker["spec"]["endpointsFrom"] = {"service": {"name": "rabbit", "port": "amqp"}}
    await scene.apply(broker, a_secret("ann", "x"), a_connection("orders"))
    connected = scene.shown("orders").condition(ConditionType.CONNECTED)
    assert connected.reason is Reason.NAME_RESOLUTION_FAILED
    assert "use endpoints or endpointsFrom.dnsSRV here" in connected.message


async def test_a_cluster_broker_is_for_the_namespaces_that_its_selector_selects(
    scene: Scene,
) -> None:
    """A Namespace in the manifests says which labels there are."""
    broker = a_broker(5672, allowedNamespaces={"from": "Selector", "selector": SHOPS})
    broker |= {"kind": "ClusterBroker"}
    reference = {"kind": "ClusterBroker", "name": "rabbit"}
    declared = [broker, a_secret("ann", "x"), a_connection("orders", brokerRef=reference)]
    await scene.apply(*declared)
    connected = scene.shown("orders").condition(ConditionType.CONNECTED)
    assert connected.reason is Reason.NAMESPACE_NOT_ALLOWED
    labelled = {"name": "default", "labels": {"team": "shop"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": labelled}
    await scene.apply(*declared, namespace)
    assert scene.shown("orders").is_ready
