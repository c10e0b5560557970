"""The AMQP 0-9-1 driver against a real RabbitMQ: login, the virtual host, and how it is refused."""

import asyncio
import datetime
import logging
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pamqp.frame
import pytest
from pamqp import commands as spec

from springline.core.values import ClosedBy, Credential
from springline.drivers.amqp091.connection import Amqp091Connection
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    NotOpenError,
    RejectedError,
    TerminalError,
    TransientError,
)
from springline.reasons import Reason
from support import leaks, opening
from support.identities import CLIENT_NAME, Certificates, Issuer, Tenant
from support.opening import Recorder
from support.rabbitmq import RabbitMQNode
from support.relay import relaying
from support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.broker

DRIVER = Amqp091Driver()
DEADLINE = PATIENCE

# Every kind of character that URLs, SASL or Erlang could trip over.
AWKWARD = "p%40s@s/w:o?r#d& +\\'\"`{}[]<>|~^ ünï→😀 "


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with asyncio.timeout(DEADLINE), leaks.checked():
        yield


async def opened(
    node: RabbitMQNode, tenant: Tenant, **changes: Any
) -> tuple[Amqp091Connection, Recorder]:
    changes = {"virtual_host": tenant.vhost, "credential": tenant.credential, **changes}
    port = node.amqps_port if changes.get("tls") else node.amqp_port
    connection = await DRIVER.open(opening.request(port, **changes))
    recorder = Recorder()
    connection.observe(recorder)
    return connection, recorder


async def refused(node: RabbitMQNode, tenant: Tenant, **changes: Any) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await opened(node, tenant, **changes)
    text = "".join(traceback.format_exception(caught.value))
    assert tenant.secret not in text
    return caught.value


def seen(node: RabbitMQNode, tenant: Tenant) -> Any:
    """Return the tenant's one connection as the broker sees it."""
    (connection,) = [each for each in node.connections() if each.user == tenant.username]
    return connection


# R1.1, R1.2, R1.4, R1.5, R1.6, R1.7, R2.5
async def test_what_was_negotiated_is_what_the_broker_sees(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    connection, recorder = await opened(
        broker,
        tenant,
        heartbeat_seconds=17,
        channel_max=100,
        frame_max=8192,
        client_properties={"team": "orders"},
    )
    assert connection.is_open
    info = connection.info
    assert info.address == "127.0.0.1"
    assert info.server.product == "RabbitMQ"
    assert info.server.version.count(".") == 2
    assert info.server.platform.startswith("Erlang/OTP")
    assert info.server.cluster_name
    assert info.server.protocol_version == "0-9-1"
    assert {"PLAIN", "AMQPLAIN", "RABBIT-CR-DEMO"} <= set(info.server.mechanisms)
    assert info.server.as_status().locales == ("en_US",)
    negotiated = opening.agreed(connection)
    assert (negotiated.mechanism, negotiated.locale, negotiated.tls) == ("PLAIN", "en_US", None)
    theirs = seen(broker, tenant)
    assert theirs.name == "springline/orders/main"
    assert theirs.vhost == tenant.vhost
    assert theirs.auth_mechanism == "PLAIN"
    assert theirs.heartbeat == negotiated.heartbeat_seconds == 17
    assert theirs.channel_max == negotiated.channel_max == 100
    assert theirs.frame_max == negotiated.frame_max == 8192
    assert theirs.client_properties["team"] == "orders"
    assert theirs.client_properties["capabilities"]["connection.blocked"] is True
    await connection.close()
    assert recorder.told == ["closed"]
    assert recorder.closes[0].by is ClosedBy.CLIENT


# R1.8, R1.9, R2.7
async def test_closing_is_orderly_in_the_brokers_eyes(broker: RabbitMQNode, tenant: Tenant) -> None:
    connection, _ = await opened(broker, tenant)
    path = seen(broker, tenant).path
    await connection.close(text="suspended")
    assert not connection.is_open
    with pytest.raises(NotOpenError):
        await connection.close()
    # RabbitMQ warns of clients that go without a Close.
    await eventually(lambda: f"({path}" in broker.log_text())
    mine = [line for line in broker.log_text().splitlines() if path in line]
    assert not [line for line in mine if "[warning]" in line or "[error]" in line]


# R1.9, R1.14
async def test_a_close_that_names_a_mistake_is_orderly_in_the_brokers_eyes(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    """It is answered with Close-Ok; a client that goes without one is warned of."""
    tune = pamqp.frame.marshal(spec.Connection.Tune(channel_max=1), 0)
    async with relaying(broker.amqp_port) as relay:
        connection = await DRIVER.open(
            opening.request(relay.port, virtual_host=tenant.vhost, credential=tenant.credential)
        )
        recorder = Recorder()
        connection.observe(recorder)
        path = seen(broker, tenant).path
        relay.slip_in(tune)
        await eventually(lambda: recorder.told == ["closed"])
    [info] = recorder.closes
    assert (info.by, info.codes) == (
        ClosedBy.CLIENT,
        {"code": 503, "classID": 10, "methodID": 30},
    )
    closing = "closing AMQP connection"

    def mine() -> list[str]:
        return [line for line in broker.log_text().splitlines() if path in line]

    await eventually(lambda: any(closing in line for line in mine()), what="it has gone")
    assert not [line for line in mine() if "[warning]" in line or "[error]" in line]


# R1.5
@pytest.mark.parametrize(
    ("declared", "agreed"),
    [
        pytest.param({"heartbeat_seconds": 600}, 60, id="capped by the broker's"),
        pytest.param({"heartbeat_seconds": 0}, 0, id="turned off"),
    ],
)
async def test_the_heartbeat_is_settled(
    broker: RabbitMQNode, tenant: Tenant, declared: dict[str, int], agreed: int
) -> None:
    connection, _ = await opened(broker, tenant, **declared)
    assert connection.info.negotiated.heartbeat_seconds == agreed
    assert seen(broker, tenant).heartbeat == agreed
    await connection.close()


# R1.4, R1.5
async def test_no_declared_limit_takes_the_brokers(broker: RabbitMQNode, tenant: Tenant) -> None:
    connection, _ = await opened(broker, tenant, channel_max=0, frame_max=0)
    negotiated = opening.agreed(connection)
    assert (negotiated.channel_max, negotiated.frame_max) == (2047, 131072)
    await connection.close()


async def test_a_frame_max_below_the_minimum_is_not_even_tried(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    """RabbitMQ 3.10 hangs up on it without a word; later ones say 530."""
    error = await refused(broker, tenant, frame_max=4095)
    assert type(error) is TerminalError
    assert error.reason is Reason.NEGOTIATION_FAILED
    assert "4096" in error.message


# R1.3, R2.1
@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN", "RABBIT-CR-DEMO"])
@pytest.mark.parametrize("secret", ["s3cret", AWKWARD, "%2F%00", "a" * 200], ids=repr)
async def test_every_mechanism_logs_in_with_any_password(
    broker: RabbitMQNode, tenant: Tenant, mechanism: str, secret: str
) -> None:
    broker.change_password(tenant.username, secret)
    connection, _ = await opened(
        broker,
        tenant,
        mechanisms=(mechanism,),
        credential=opening.password(tenant.username, secret),
    )
    assert connection.info.negotiated.mechanism == mechanism
    assert seen(broker, tenant).auth_mechanism == mechanism
    await connection.close()
    error = await refused(
        broker,
        tenant,
        mechanisms=(mechanism,),
        credential=opening.password(tenant.username, secret + "x"),
    )
    assert type(error) is CredentialRejectedError


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN", "RABBIT-CR-DEMO"])
async def test_an_awkward_user_name_logs_in(broker: RabbitMQNode, mechanism: str) -> None:
    name = f"usër {mechanism}@%2F:/'"
    broker.add_user(name, "s3cret")
    try:
        broker.set_permissions(name, "/")
        connection, _ = await opened(
            broker, Tenant(vhost="/", username=name, secret="s3cret"), mechanisms=(mechanism,)
        )
        await connection.close()
    finally:
        broker.delete_user(name)


# R1.6
@pytest.mark.parametrize(
    "name", ["/", "a/b", "/lead", "with space", "%2F", "ünï→😀", "q'uote\"", "x" * 127], ids=repr
)
async def test_any_virtual_host_opens(broker: RabbitMQNode, tenant: Tenant, name: str) -> None:
    if name != "/":
        broker.add_vhost(name)
    try:
        broker.set_permissions(tenant.username, name)
        connection, _ = await opened(broker, tenant, virtual_host=name)
        assert seen(broker, tenant).vhost == name
        await connection.close()
    finally:
        if name != "/":
            broker.delete_vhost(name)


async def test_a_virtual_host_longer_than_the_protocol_allows_is_not_sent(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    error = await refused(broker, tenant, virtual_host="x" * 128)
    assert type(error) is TerminalError
    assert error.reason is Reason.INVALID_SPEC


# R1.7
async def test_a_wrong_password_is_a_rejected_credential(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    error = await refused(
        broker, tenant, credential=opening.password(tenant.username, "wr0ng-s3cret")
    )
    assert type(error) is CredentialRejectedError
    assert error.reason is Reason.ACCESS_REFUSED
    assert not error.authenticated
    assert "403 ACCESS_REFUSED" in error.message
    assert "wr0ng-s3cret" not in "".join(traceback.format_exception(error))


# R1.7
async def test_an_unknown_virtual_host_is_not_found(broker: RabbitMQNode, tenant: Tenant) -> None:
    error = await refused(broker, tenant, virtual_host="nowhere")
    assert type(error) is RejectedError
    assert error.reason is Reason.VIRTUAL_HOST_NOT_FOUND
    assert error.authenticated


# R1.7
async def test_a_virtual_host_without_permission_is_refused(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    error = await refused(broker, tenant, virtual_host="/")
    assert type(error) is RejectedError
    assert error.reason is Reason.ACCESS_REFUSED
    assert error.authenticated


# R1.7
async def test_a_virtual_host_that_is_down_is_transient(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    broker.stop_vhost(tenant.vhost)
    try:
        error = await refused(broker, tenant)
    finally:
        broker.start_vhost(tenant.vhost)
    assert type(error) is TransientError
    assert error.reason is Reason.VIRTUAL_HOST_DOWN
    assert error.authenticated


# R1.7
@pytest.mark.parametrize("whose", ["vhost", "user"])
async def test_a_connection_limit_is_transient(
    broker: RabbitMQNode, tenant: Tenant, whose: str
) -> None:
    if whose == "vhost":
        broker.set_vhost_limit(tenant.vhost, 0)
    else:
        broker.set_user_limit(tenant.username, 0)
    error = await refused(broker, tenant)
    assert type(error) is TransientError
    assert error.reason is Reason.CONNECTION_LIMIT_REACHED
    assert error.authenticated


# R2.2
async def test_no_mechanism_in_common_names_both_lists(disposable_broker: RabbitMQNode) -> None:
    error = await refused(
        disposable_broker,
        Tenant(vhost="/", username="guest", secret="guest-is-no-secret"),
        mechanisms=("RABBIT-CR-DEMO",),
    )
    assert type(error) is RejectedError
    assert error.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "[RABBIT-CR-DEMO]" in error.message
    assert "PLAIN" in error.message
    assert "AMQPLAIN" in error.message


# R2.9
async def test_plain_over_tls_needs_no_permission_and_shows_the_tls(
    broker: RabbitMQNode, tenant: Tenant, certificates: Certificates
) -> None:
    connection, recorder = await opened(
        broker, tenant, tls=certificates.client(), allow_insecure=False
    )
    tls = connection.info.negotiated.tls
    assert tls is not None
    assert tls.version in ("TLSv1.2", "TLSv1.3")
    assert tls.cipher
    assert tls.peer_certificate_not_after is not None
    assert tls.peer_certificate_not_after > datetime.datetime.now(datetime.UTC)
    assert seen(broker, tenant).tls
    assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is not None
    await connection.close()
    assert recorder.closes[0].by is ClosedBy.CLIENT


# R2.9
async def test_plain_without_tls_is_refused_without_permission(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    error = await refused(broker, tenant, allow_insecure=False)
    assert type(error) is TerminalError
    assert error.reason is Reason.INSECURE_MECHANISM


# R2.1
@pytest.mark.parametrize(
    "credential", [opening.external(), opening.password("ann", "not used")], ids=lambda c: c.kind
)
async def test_a_client_certificate_logs_in_with_external(
    broker: RabbitMQNode, certificates: Certificates, credential: Credential
) -> None:
    connection, _ = await opened(
        broker,
        Tenant(vhost="/", username=CLIENT_NAME, secret="not used"),
        credential=credential,
        mechanisms=("EXTERNAL", "PLAIN"),
        tls=certificates.client(with_certificate=True),
        allow_insecure=False,
    )
    assert connection.info.negotiated.mechanism == "EXTERNAL"
    (theirs,) = [each for each in broker.connections() if each.user == CLIENT_NAME]
    assert theirs.auth_mechanism == "EXTERNAL"
    await connection.close()


async def test_who_has_no_login_is_let_in_where_the_broker_offers_that(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    """RabbitMQ does from 4.0 on, as its `anonymous_login_user`; nothing is proved by it."""
    known, _ = await opened(broker, tenant)
    offers = "ANONYMOUS" in known.info.server.mechanisms
    await known.close()
    nobody = {
        "credential": opening.anonymous(),
        "mechanisms": ("PLAIN", "ANONYMOUS"),
        "virtual_host": "/",
    }
    if not offers:
        error = await refused(broker, tenant, **nobody)
        assert error.reason is Reason.NO_AUTHENTICATION_MECHANISM
        assert "anonymous credentials" in error.message
        return
    connection, _ = await opened(broker, tenant, **nobody)
    assert connection.info.negotiated.mechanism == "ANONYMOUS"
    assert not connection.info.proved
    await connection.close()


async def test_an_untrusted_certificate_is_refused(
    broker: RabbitMQNode, tenant: Tenant, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Certificates.issue(tmp_path_factory.mktemp("stranger"))
    error = await refused(broker, tenant, tls=stranger.client())
    assert type(error) is RejectedError
    assert error.reason is Reason.TLS_FAILED
    assert "certificate" in error.message


async def test_plaintext_to_the_tls_port_is_recognised(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    request = opening.request(broker.amqps_port, credential=tenant.credential)
    with pytest.raises(RejectedError) as caught:
        await DRIVER.open(request)
    assert caught.value.reason is Reason.PROTOCOL_MISMATCH
    assert "speaks TLS" in caught.value.message


async def test_tls_to_the_plaintext_port_is_recognised(
    broker: RabbitMQNode, tenant: Tenant, certificates: Certificates
) -> None:
    request = opening.request(
        broker.amqp_port, credential=tenant.credential, tls=certificates.client()
    )
    with pytest.raises(RejectedError) as caught:
        await DRIVER.open(request)
    assert caught.value.reason is Reason.TLS_FAILED
    assert "does not speak TLS" in caught.value.message


async def test_a_token_logs_in(broker: RabbitMQNode, issuer: Issuer) -> None:
    connection, _ = await opened(
        broker,
        Tenant(vhost="/", username="", secret="-"),
        credential=opening.token(issuer.token()),
    )
    assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is not None
    await connection.close()


async def test_an_expired_token_is_a_rejected_credential(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    expired = issuer.token(seconds=-60)
    error = await refused(
        broker,
        Tenant(vhost="/", username="", secret=expired),
        credential=opening.token(expired),
    )
    assert type(error) is CredentialRejectedError


def _held(held: object) -> str:
    """What the attributes of an object show."""
    return str([getattr(held, name, None) for name in type(held).__slots__])  # type: ignore[attr-defined]


async def test_no_secret_is_logged_at_any_level(
    broker: RabbitMQNode, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    connection, _ = await opened(broker, tenant)
    await connection.renew(opening.password(tenant.username, "an0ther-s3cret"), timeout=5)
    shown = repr(connection) + repr(connection.info) + _held(connection._wire)
    await connection.close()
    await refused(broker, tenant, virtual_host="nowhere")
    for secret in (tenant.secret, "an0ther-s3cret"):
        assert secret not in caplog.text
        assert secret not in shown
    assert not [record for record in caplog.records if record.name.startswith("aiormq")]
