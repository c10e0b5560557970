"""Brokers in pods of the same cluster: behind a Service, and with TLS and client certificates."""

import asyncio
from collections.abc import Iterator

import pytest
import trustme

from support.identities import CLIENT_NAME
from support.kubectl import Kubectl
from support.on_cluster import RabbitMQPod
from support.pods import Pods
from support.shared_broker import SharedBroker
from support.team import RETRY, Team

pytestmark = pytest.mark.kind

SERVER = "secured.{namespace}.svc"
MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: secured}
data:
  rabbitmq.conf: |
    listeners.tcp = none
    listeners.ssl.default = 5671
    ssl_options.cacertfile = /etc/broker/ca.crt
    ssl_options.certfile = /etc/broker/tls.crt
    ssl_options.keyfile = /etc/broker/tls.key
    ssl_options.verify = verify_peer
    ssl_options.fail_if_no_peer_cert = true
    auth_mechanisms.1 = EXTERNAL
    ssl_cert_login_from = common_name
  enabled_plugins: "[rabbitmq_auth_mechanism_ssl]."
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: secured}
spec:
  selector: {matchLabels: {app: secured}}
  template:
    metadata: {labels: {app: secured}}
    spec:
      containers:
        - name: rabbitmq
          image: rabbitmq:4.0
          ports: [{containerPort: 5671}]
          readinessProbe:
            tcpSocket: {port: 5671}
            periodSeconds: 2
          volumeMounts:
            - {name: configuration, mountPath: /etc/rabbitmq}
            - {name: certificates, mountPath: /etc/broker}
      volumes:
        - name: configuration
          configMap: {name: secured}
        - name: certificates
          secret: {secretName: secured}
---
apiVersion: v1
kind: Service
metadata: {name: secured}
spec:
  selector: {app: secured}
  ports: [{name: amqps, port: 5671}]
"""


async def test_the_pods_behind_a_service_are_connected_to(team: Team, rabbit: SharedBroker) -> None:
    """The session is open on the address of a pod, which the EndpointSlices name."""
    service, namespace, _ = rabbit.host.split(".")
    broker = rabbit.document(f"shared-{team.namespace}", retry=RETRY)
    broker["kind"] = "ClusterBroker"
    del broker["spec"]["endpoints"]
    broker["spec"]["endpointsFrom"] = {
        "service": {"name": service, "namespace": namespace, "port": rabbit.port}
    }
    await team.apply("clusterbrokers", broker)
    try:
        await team.put_secret()
        reference = {"kind": "ClusterBroker", "name": broker["metadata"]["name"]}
        await team.declare_connections("orders", brokerRef=reference)
        await team.until_ready("orders")
        await team.until_held("orders")
    finally:
        await team.delete("clusterbrokers", broker["metadata"]["name"])


@pytest.fixture
def secured(kubectl: Kubectl, namespace: str) -> Iterator[RabbitMQPod]:
    """A broker that takes certificates alone, with its files and a client's in Secrets."""
    authority = trustme.CA()
    server = authority.issue_cert(SERVER.format(namespace=namespace))
    client = authority.issue_cert(CLIENT_NAME, common_name=CLIENT_NAME)
    for name, certificate in (("secured", server), ("client", client)):
        kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": {"name": name},
                "stringData": {
                    "ca.crt": authority.cert_pem.bytes().decode(),
                    "tls.crt": certificate.cert_chain_pems[0].bytes().decode(),
                    "tls.key": certificate.private_key_pem.bytes().decode(),
                },
            },
            namespace=namespace,
        )
    kubectl.apply(MANIFEST, namespace=namespace)
    where, limit = f"--namespace={namespace}", "--timeout=180s"
    kubectl.run("rollout", "status", "deployment/secured", where, limit, timeout=200)
    broker = RabbitMQPod(kubectl, namespace=namespace, deployment="secured")
    broker.add_user(CLIENT_NAME, "not-used")
    broker.set_permissions(CLIENT_NAME, "/")
    yield broker
    kubectl.delete("deployment", "secured", namespace=namespace, wait=False)


async def test_a_client_certificate_logs_in_from_a_read_only_container(
    team: Team, secured: RabbitMQPod, pods: Pods
) -> None:
    """The key comes from a Secret and is in no file, because there is no place for one."""
    [container] = pods.one()["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    host = SERVER.format(namespace=team.namespace)
    await team.apply(
        "brokers",
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": "secured"},
            "spec": {
                "endpoints": [{"host": host, "port": 5671}],
                "tls": {
                    "enabled": True,
                    "caRef": {"kind": "Secret", "name": "secured"},
                    "clientCertificateRef": {"name": "client"},
                },
                "sasl": {"mechanisms": ["EXTERNAL"]},
                "retry": RETRY,
            },
        },
    )
    await team.declare_connections(
        "orders",
        brokerRef={"name": "secured"},
        virtualHost="/",
        credentials={"external": {}},
    )
    await team.until_ready("orders")
    status = await team.status("orders")
    assert status["negotiated"]["tls"]["version"].startswith("TLSv1.")
    names = [each.user for each in await asyncio.to_thread(secured.connections)]
    assert names == [CLIENT_NAME]
