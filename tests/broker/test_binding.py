"""Bindings as files beside a real broker: what is in them really logs in."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiormq
import pytest

from support.identities import CLIENT_NAME, Certificates, Issuer, Tenant
from support.rabbitmq import RabbitMQNode
from support.springline_process import Springline, running

pytestmark = pytest.mark.usefixtures("nothing_left")

BINDING = {"secretName": "orders-binding"}


def document(kind: str, name: str, **content: Any) -> dict[str, Any]:
    group = "v1" if kind in ("Secret", "ConfigMap") else "springline.dev/v1alpha1"
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name}, **content}


def login(tenant: Tenant, password: str | None = None) -> dict[str, Any]:
    data = {"username": tenant.username, "password": password or tenant.secret}
    return document("Secret", "orders-amqp", stringData=data)


def a_broker(broker: RabbitMQNode, certificates: Certificates) -> list[dict[str, Any]]:
    """The broker by TLS, with its authority."""
    authority = {"ca.crt": certificates.authority.cert_pem.bytes().decode()}
    spec = {
        "endpoints": [{"host": "localhost", "port": broker.amqps_port}],
        "tls": {"enabled": True, "caRef": {"name": "rabbit-ca"}},
        "retry": {"delay": "1s", "maxDelay": "1s"},
    }
    return [
        document("ConfigMap", "rabbit-ca", data=authority),
        document("Broker", "rabbit", spec=spec),
    ]


def a_connection(virtual_host: str, **spec: Any) -> dict[str, Any]:
    spec = {
        "brokerRef": {"name": "rabbit"},
        "virtualHost": virtual_host,
        "credentials": {"secretRef": {"name": "orders-amqp"}},
        "binding": BINDING,
        **spec,
    }
    return document("BrokerConnection", "orders", spec=spec)


def entry(bound: Path, key: str) -> str:
    """Return a value as an application reads it; empty while there is none."""
    path = bound / "default" / "orders-binding" / key
    return path.read_text() if path.exists() else ""


async def log_in(bound: Path) -> str:
    """Log in with nothing but the files, and return whom the broker takes us for."""
    context = ssl.create_default_context(cadata=entry(bound, "ca.crt"))
    async with asyncio.timeout(20):
        connection = await aiormq.connect(entry(bound, "uri"), context=context)
        try:
            return str(connection.server_properties["product"])
        finally:
            await connection.close()


async def until_published(springline: Springline) -> None:
    await springline.until("BindingPublished", "True", "Published")


async def test_files_log_in_and_rotate_with_the_broker(
    broker: RabbitMQNode, certificates: Certificates, tenant: Tenant, tmp_path: Path
) -> None:
    """By TLS, with the authority that is among them; a refused password changes nothing."""
    new, bound = f"{tenant.secret}-new", tmp_path / "bindings"
    options = ("--binding-dir", str(bound))
    async with running(tmp_path, tenant.secret, new, options=options) as springline:
        springline.write("rabbit.yaml", *a_broker(broker, certificates))
        springline.write("orders.yaml", login(tenant), a_connection(tenant.vhost))
        await until_published(springline)
        assert await log_in(bound) == "RabbitMQ"
        assert springline.status()["binding"] == {"name": "orders-binding"}
        springline.write("orders.yaml", login(tenant, new), a_connection(tenant.vhost))
        await springline.until("CredentialsValid", "False", "Rejected")
        assert entry(bound, "password") == tenant.secret
        await asyncio.to_thread(broker.change_password, tenant.username, new)
        await springline.eventually(lambda: entry(bound, "password") == new, "the new one is there")
        assert await log_in(bound) == "RabbitMQ"


async def test_a_token_logs_in(
    broker: RabbitMQNode, certificates: Certificates, issuer: Issuer, tmp_path: Path
) -> None:
    """As a password; and it says until when."""
    token, bound = issuer.token(), tmp_path / "bindings"
    async with running(tmp_path, token, options=("--binding-dir", str(bound))) as springline:
        secret = document("Secret", "orders-token", stringData={"token": token})
        credentials = {"tokenRef": {"name": "orders-token", "key": "token"}}
        springline.write("rabbit.yaml", *a_broker(broker, certificates))
        springline.write("orders.yaml", secret, a_connection("/", credentials=credentials))
        await until_published(springline)
        assert entry(bound, "username") == "ann"
        assert entry(bound, "expires-at") == springline.status()["credentials"]["expiresAt"]
        assert await log_in(bound) == "RabbitMQ"


async def test_what_a_restart_finds_is_left_or_removed(
    broker: RabbitMQNode, certificates: Certificates, tenant: Tenant, tmp_path: Path
) -> None:
    """The same files stay as they are; those of what is not declared any more go."""
    bound = tmp_path / "bindings"
    options = ("--binding-dir", str(bound))
    links = bound / "default" / "orders-binding" / "..data"
    async with running(tmp_path, tenant.secret, options=options) as springline:
        springline.write("rabbit.yaml", *a_broker(broker, certificates))
        springline.write("orders.yaml", login(tenant), a_connection(tenant.vhost))
        await until_published(springline)
        before = links.readlink()
    manifests = tmp_path / "again"
    manifests.mkdir()
    async with running(manifests, tenant.secret, options=options) as springline:
        springline.write("rabbit.yaml", *a_broker(broker, certificates))
        springline.write("orders.yaml", login(tenant), a_connection(tenant.vhost))
        await springline.until("Ready", "True")
        await until_published(springline)
        assert links.readlink() == before
        springline.write("orders.yaml", login(tenant), a_connection(tenant.vhost, binding=None))
        await springline.eventually(lambda: not list(bound.glob("*/*")), "they are removed")


async def test_a_client_certificate_is_not_handed_on(
    broker: RabbitMQNode, certificates: Certificates, tmp_path: Path
) -> None:
    """What is published has no login in it."""
    issued = certificates.authority.issue_cert(CLIENT_NAME, common_name=CLIENT_NAME)
    pem = {
        "tls.crt": b"".join(each.bytes() for each in issued.cert_chain_pems).decode(),
        "tls.key": issued.private_key_pem.bytes().decode(),
    }
    bound = tmp_path / "bindings"
    async with running(tmp_path, options=("--binding-dir", str(bound))) as springline:
        authority, rabbit = a_broker(broker, certificates)
        rabbit["spec"]["tls"]["clientCertificateRef"] = {"name": "client"}
        client = document("Secret", "client", stringData=pem)
        springline.write("rabbit.yaml", authority, rabbit, client)
        springline.write("orders.yaml", a_connection("/", credentials={"external": {}}))
        await until_published(springline)
        assert entry(bound, "uri") == f"amqps://localhost:{broker.amqps_port}/%2F"
        assert not entry(bound, "username")
        assert "PRIVATE KEY" not in "".join(
            path.read_text() for path in bound.rglob("*") if path.is_file()
        )
