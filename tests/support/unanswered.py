"""Manifests of one connection to a port that nobody listens on."""

from typing import Final

from support import ports

__all__ = ["PLANTED", "manifests", "secret"]

PLANTED: Final = "pl4nted"
"""The password, which nothing may show."""

_BROKER: Final = """\
apiVersion: springline.dev/v1alpha1
kind: Broker
metadata: {name: rabbit}
spec:
  endpoints: [{host: 127.0.0.1, port: PORT}]
  sasl: {allowInsecure: true}
"""
_SECRET: Final = """\
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {username: USER, password: PASSWORD}
"""
_CONNECTION: Final = """\
apiVersion: springline.dev/v1alpha1
kind: BrokerConnection
metadata: {name: orders}
spec:
  brokerRef: {name: rabbit}
  credentials: {secretRef: {name: login}}
"""


def secret(*, username: str = "ann", password: str = PLANTED) -> str:
    """The Secret that the connection reads."""
    return _SECRET.replace("USER", username).replace("PASSWORD", password)


def manifests(*, username: str = "ann") -> str:
    """The Broker, the Secret and the connection; its name stands in line 15."""
    lease = ports.lease(1)
    broker = _BROKER.replace("PORT", str(lease.ports[0]))
    lease.release()
    return "---\n".join((broker, secret(username=username), _CONNECTION))
