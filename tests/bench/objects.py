"""The objects that are measured, as documents: a Broker, a Secret, connections, their status."""

from typing import Any

from bench.bare import USER
from bench.plan import HEARTBEAT, HTTP_PATH, RETRY, Plan

__all__ = [
    "CONNECTIONS",
    "PROTOCOLS",
    "authorities",
    "broker",
    "connection",
    "name_of",
    "secret",
    "status_of",
]

AUTHORITIES = "authorities"
API_VERSION = "springline.dev/v1alpha1"
CONNECTIONS = "brokerconnections"
PROTOCOLS = {"": "amqp091", "HTTP1": "http", "HTTP2": "http", "AMQP10": "amqp10"}
"""By how the children are told of it."""


def broker(port: int, *, speech: str = "", over_tls: bool = False) -> dict[str, Any]:
    """Return a Broker at a port of this machine; over TLS it needs `authorities`, too."""
    guarded: dict[str, Any] = {"sasl": {"allowInsecure": True}}
    if over_tls:
        guarded = {
            "tls": {
                "enabled": True,
                "caRef": {"name": AUTHORITIES},
                "serverName": "localhost",
            }
        }
    return {
        "apiVersion": API_VERSION,
        "kind": "Broker",
        "metadata": {"name": "rabbit"},
        "spec": {
            "protocol": PROTOCOLS[speech],
            "endpoints": [{"host": "127.0.0.1", "port": port}],
            **guarded,
            "connectTimeout": "60s",
            "retry": RETRY,
        },
    }


def authorities(certificates: str) -> dict[str, Any]:
    """Return the ConfigMap with whom to trust over TLS."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": AUTHORITIES},
        "data": {"ca.crt": certificates},
    }


def secret(password: str) -> dict[str, Any]:
    """Return the Secret that all connections share."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": USER},
        "stringData": {"username": USER, "password": password},
    }


def name_of(number: int) -> str:
    """Return what a connection is called."""
    return f"connection-{number}"


def connection(number: int, plan: Plan, speech: str = "") -> dict[str, Any]:
    """Return a BrokerConnection for one of `PROTOCOLS`; over AMQP 1.0 the password is a token."""
    login: dict[str, Any] = {"secretRef": {"name": USER}}
    more: dict[str, Any] = {}
    match PROTOCOLS[speech]:
        case "http":
            more = {"http": {"path": HTTP_PATH, "version": speech}}
        case "amqp10":
            login = {"tokenRef": {"name": USER, "key": "password"}}
        case _:
            pass
    return {
        "apiVersion": API_VERSION,
        "kind": "BrokerConnection",
        "metadata": {"name": name_of(number)},
        "spec": {
            "brokerRef": {"name": "rabbit"},
            "credentials": login,
            "heartbeat": HEARTBEAT,
            "probe": plan.probe,
            **more,
        },
    }


def status_of(number: int, version: int) -> dict[str, Any]:
    """Return a status as Springline would write it; another version is another status."""
    now = "2026-01-01T00:00:00Z"
    conditions = (
        ("Ready", "True", "Connected", "the session is connected with valid credentials"),
        ("Connected", "True", "Open", "the connection is open"),
        ("CredentialsValid", "True", "Accepted", "the broker accepted them when it was opened"),
        ("Blocked", "False", "NotBlocked", "the broker takes what is published"),
    )
    return {
        "apiVersion": API_VERSION,
        "kind": "BrokerConnection",
        "metadata": {"name": name_of(number)},
        "status": {
            "observedGeneration": 1,
            "state": "Connected",
            "conditions": [
                {"type": kind, "status": status, "reason": reason, "message": message,
                 "lastTransitionTime": now, "observedGeneration": 1}
                for kind, status, reason, message in conditions
            ],
            "connectedSince": now,
            "endpoint": "127.0.0.1:5672",
            "negotiated": {"mechanism": "PLAIN", "locale": "en_US", "heartbeat": HEARTBEAT,
                           "channelMax": 2047, "frameMax": 131072},
            "server": {"product": "RabbitMQ", "version": "3.10.8", "clusterName": "bench"},
            "credentials": {"source": "secretRef", "username": USER, "method": "Handshake",
                            "observedVersion": str(version), "appliedAt": now},
            "attempts": 0,
            "holder": "bench",
        },
    }  # fmt: skip
