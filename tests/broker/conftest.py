"""Real brokers for the suite: RabbitMQ nodes, and all that speak AMQP 1.0.

Of the RabbitMQ nodes one stays, and one is there to stop, kill and freeze. Both know TLS with
client certificates and OAuth 2 tokens; the one that stays knows every mechanism. Of the brokers
that speak AMQP 1.0, each is started when a test first asks for it.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from support import brokers, leaks
from support.amqp10_brokers import Amqp10Broker
from support.amqp10_rabbitmq import Amqp10RabbitMQ
from support.artemis import Artemis
from support.broker_j import BrokerJ
from support.identities import CLIENT_NAME, TRUST_IN_TOKENS, Certificates, Issuer, Tenant
from support.missing import PeerMissing
from support.rabbitmq import RabbitMQMissing, RabbitMQNode

_PLUGINS = ("rabbitmq_auth_backend_oauth2", "rabbitmq_auth_mechanism_ssl")
_CONFIG = {
    "auth_mechanisms.1": "PLAIN",
    "auth_mechanisms.2": "AMQPLAIN",
    "auth_mechanisms.3": "EXTERNAL",
    "auth_backends.1": "internal",
    "auth_backends.2": "rabbit_auth_backend_oauth2",
    "ssl_cert_login_from": "common_name",
}
# A demonstration of challenges; off in every broker that nobody has told otherwise.
_CHALLENGES = {"auth_mechanisms.4": "RABBIT-CR-DEMO"}

AMQP10_BROKERS = ("rabbitmq_installed", "rabbitmq_native", "rabbitmq_newer", "artemis", "broker_j")
"""The fixtures of those that speak AMQP 1.0."""

B = TypeVar("B", bound=Amqp10Broker)

_numbers = itertools.count()


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task or a socket behind when its sessions have ended."""
    async with leaks.checked():
        yield


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for `localhost`."""
    return Certificates.issue(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    """Who signs tokens."""
    return Issuer()


@pytest.fixture(scope="session")
def broker(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[RabbitMQNode]:
    """The node that all tests share; they leave it running and without alarms."""
    yield from _node(tmp_path_factory.mktemp("rabbitmq"), certificates, _CONFIG | _CHALLENGES)


@pytest.fixture(scope="module")
def _disposable(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[RabbitMQNode]:
    yield from _node(tmp_path_factory.mktemp("disposable"), certificates, _CONFIG)


@pytest.fixture
def disposable_broker(_disposable: RabbitMQNode) -> RabbitMQNode:
    """A running node that a test may stop, kill or freeze."""
    _disposable.resume()
    _disposable.start()
    return _disposable


@pytest.fixture
def tenant(broker: RabbitMQNode) -> Iterator[Tenant]:
    """A tenant on the shared broker, gone after the test with its connections."""
    number = next(_numbers)
    tenant = Tenant(vhost=f"orders-{number}", username=f"ann-{number}", secret="pl4nted-s3cret")
    broker.add_vhost(tenant.vhost)
    broker.add_user(tenant.username, tenant.secret)
    broker.set_permissions(tenant.username, tenant.vhost)
    yield tenant
    broker.delete_user(tenant.username)
    broker.delete_vhost(tenant.vhost)


def _node(
    directory: Path, certificates: Certificates, config: Mapping[str, str]
) -> Iterator[RabbitMQNode]:
    try:
        node = RabbitMQNode(
            directory,
            plugins=_PLUGINS,
            extra_config=config,
            advanced_config=TRUST_IN_TOKENS,
            tls=certificates.files,
        )
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with node:
        node.add_user(CLIENT_NAME, "not used: the certificate speaks")
        node.set_permissions(CLIENT_NAME, "/")
        yield node


@pytest.fixture(scope="session")
def rabbitmq_installed(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Amqp10RabbitMQ]:
    """The RabbitMQ that is installed: Debian's 3.10, with its plugin for AMQP 1.0."""
    yield from _rabbitmq(tmp_path_factory, certificates, brokers.installed())


@pytest.fixture(scope="session")
def rabbitmq_native(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Amqp10RabbitMQ]:
    """RabbitMQ 4.0, the first with AMQP 1.0 of its own, which cannot renew a token."""
    yield from _rabbitmq(tmp_path_factory, certificates, brokers.native())


@pytest.fixture(scope="session")
def rabbitmq_newer(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Amqp10RabbitMQ]:
    """The newest RabbitMQ."""
    yield from _rabbitmq(tmp_path_factory, certificates, brokers.newer())


@pytest.fixture(scope="session")
def artemis(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Artemis]:
    """ActiveMQ Artemis."""
    yield from _started(lambda: Artemis(tmp_path_factory.mktemp("artemis"), tls=certificates.files))


@pytest.fixture(scope="session")
def broker_j(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[BrokerJ]:
    """Qpid Broker-J, which speaks AMQP 0-9-1 as well."""
    yield from _started(lambda: BrokerJ(tmp_path_factory.mktemp("brokerj"), tls=certificates.files))


@pytest.fixture(params=AMQP10_BROKERS)
def amqp10_broker(request: pytest.FixtureRequest) -> Amqp10Broker:
    """Each broker that speaks AMQP 1.0. Tests leave it running, without alarms and new users."""
    broker: Amqp10Broker = request.getfixturevalue(request.param)
    return broker


def _rabbitmq(
    directories: pytest.TempPathFactory, certificates: Certificates, broker: brokers.Broker
) -> Iterator[Amqp10RabbitMQ]:
    yield from _started(
        lambda: Amqp10RabbitMQ(directories.mktemp("amqp10"), tls=certificates.files, broker=broker)
    )


def _started(make: Callable[[], B]) -> Iterator[B]:
    try:
        broker = make()
    except PeerMissing as error:
        pytest.skip(str(error))
    with broker:
        yield broker
