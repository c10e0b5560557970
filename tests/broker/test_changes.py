"""Changes that are pushed under an open session, at a real broker: those that cannot work, too.

The session stays as it is, the status says at once what of the change cannot be used and in whose
words, and the end of that is told as well.
"""

from typing import Any

import pytest
import trustme

from springline.core.events import EventType
from support.identities import Certificates, Tenant
from support.rabbitmq import RabbitMQNode
from support.running import Running, a_broker, a_connection, a_secret, running
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("nothing_left")

CA = {"name": "rabbit-ca"}


def authority(pem: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "rabbit-ca"},
        "data": {"ca.crt": pem.decode()},
    }


def over_tls(node: RabbitMQNode, **spec: Any) -> dict[str, Any]:
    return a_broker(
        node.amqps_port,
        **{
            "endpoints": [{"host": "localhost", "port": node.amqps_port}],
            "tls": {"enabled": True, "caRef": CA},
            **spec,
        },
    )


def of(tenant: Tenant, **spec: Any) -> dict[str, Any]:
    return a_connection("orders", **{"virtualHost": tenant.vhost, **spec})


def plainly(node: RabbitMQNode, tenant: Tenant, **spec: Any) -> dict[str, dict[str, Any]]:
    """Without TLS, by what each document is."""
    return {
        "broker": a_broker(node.amqp_port),
        "secret": a_secret(tenant.username, tenant.secret),
        "connection": of(tenant, **spec),
    }


async def refused(held: Running, reason: str) -> str:
    """Wait until the change is shown as one that cannot work; return what is said of it."""
    message = await held.until_reason("orders", "Synced", reason)
    assert held.condition("orders", "Ready")["status"] == "False"
    assert held.condition("orders", "Connected")["status"] == "True"
    return message


async def test_each_change_that_cannot_work_is_shown_and_the_session_stays(
    broker: RabbitMQNode, tenant: Tenant, certificates: Certificates
) -> None:
    good = {
        "broker": over_tls(broker),
        "ca": authority(certificates.authority.cert_pem.bytes()),
        "secret": a_secret(tenant.username, tenant.secret),
        "connection": of(tenant),
    }
    client = {"clientCertificateRef": {"name": "login"}, "caRef": CA, "enabled": True}
    gone = [{"host": "nowhere.invalid", "port": broker.amqps_port}]
    nobody = [{"host": "localhost", "port": 1}]
    pushed: list[tuple[dict[str, Any], str, str]] = [
        ({"ca": authority(trustme.CA().cert_pem.bytes())}, "TLSFailed", "certificate"),
        ({"ca": authority(b"no certificate at all")}, "TLSFailed", "PEM"),
        ({"broker": over_tls(broker, tls=client)}, "TLSFailed", "tls.crt"),
        ({"broker": over_tls(broker, endpoints=gone)}, "NameResolutionFailed", "nowhere.invalid"),
        ({"broker": over_tls(broker, endpoints=nobody)}, "ConnectionRefused", "localhost:1"),
        ({"connection": of(tenant, virtualHost="not-there")}, "VirtualHostNotFound", "not-there"),
        ({"secret": a_secret(tenant.username, "wrong")}, "Rejected", "refused"),
        ({"secret": a_secret("nobody", tenant.secret)}, "Rejected", "refused"),
        ({"secret": a_secret("", "")}, "SecretMalformed", "login"),
        ({"connection": of(tenant, frameMax=16384, channelMax=1)}, "InSync", ""),
    ]
    async with running(*good.values()) as held:
        await held.until_ready("orders")
        [before] = opened(broker, tenant)
        for change, reason, words in pushed[:-1]:
            held.apply(*(good | change).values())
            assert words.lower() in (await refused(held, reason)).lower()
            assert opened(broker, tenant) == [before]
            held.apply(*good.values())
            await held.until_reason("orders", "Synced", "InSync")
            await held.until_ready("orders")
            assert opened(broker, tenant) == [before]
            types = held.types("orders")
            assert types[-1] is EventType.IN_SYNC
        assert held.types("orders").count(EventType.IN_SYNC) == len(pushed) - 1
        assert EventType.DISCONNECTED not in held.types("orders")
        change, reason, _ = pushed[-1]
        held.apply(*(good | change).values())
        await eventually(
            lambda: opened(broker, tenant) not in ([], [before]), what="another session is open"
        )
        await held.until_reason("orders", "Synced", reason)


def opened(node: RabbitMQNode, tenant: Tenant) -> list[str]:
    """The connections of the tenant, told apart by the broker's own processes."""
    return [each.pid for each in node.connections() if each.user == tenant.username]


async def test_a_limit_that_is_reached_is_named_and_then_waited_for(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    documents = plainly(broker, tenant)
    broker.set_user_limit(tenant.username, 1)
    async with running(*documents.values()) as held:
        await held.until_ready("orders")
        broker.change_password(tenant.username, "the second one")
        secret = {"secret": a_secret(tenant.username, "the second one")}
        held.apply(*(documents | secret).values())
        message = await refused(held, "ConnectionLimitReached")
        assert "limit (1) is reached" in message
        assert "whenLimited" in message
        broker.set_user_limit(tenant.username, None)
        await held.until_reason("orders", "CredentialsValid", "Verified")
        assert held.status("orders")["credentials"]["method"] == "InPlace"
        await held.until_ready("orders")
        assert held.types("orders").count(EventType.CHANGE_REFUSED) == 1


async def test_a_secret_may_go_untried_to_a_session_where_a_limit_is_reached(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    documents = plainly(broker, tenant, rotation={"whenLimited": "UpdateUnverified"})
    broker.set_user_limit(tenant.username, 1)
    async with running(*documents.values()) as held:
        await held.until_ready("orders")
        [before] = opened(broker, tenant)
        broker.change_password(tenant.username, "the second one")
        secret = {"secret": a_secret(tenant.username, "the second one")}
        held.apply(*(documents | secret).values())
        await eventually(
            lambda: held.status("orders")["credentials"]["method"] == "InPlace",
            what="the session has the new secret",
        )
        assert "UpdateUnverified" in held.condition("orders", "CredentialsValid")["message"]
        assert opened(broker, tenant) == [before]


async def test_a_session_may_be_closed_first_where_a_limit_is_reached(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    documents = plainly(broker, tenant, rotation={"whenLimited": "CloseFirst"})
    broker.set_user_limit(tenant.username, 1)
    async with running(*documents.values()) as held:
        await held.until_ready("orders")
        broker.change_password(tenant.username, "the second one")
        secret = {"secret": a_secret(tenant.username, "the second one")}
        held.apply(*(documents | secret).values())
        await eventually(
            lambda: "whenLimited" in held.status("orders").get("lastClose", {}).get("text", ""),
            what="the session was closed",
        )
        await held.until_ready("orders")
        assert held.status("orders")["credentials"]["method"] == "Handshake"
