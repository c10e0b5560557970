"""The brokers that speak AMQP 1.0 to the tests: that they do, and that what is said of them is so.

What Springline does with them is in other modules. Here an independent client speaks, proton's own.
"""

import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import proton
import pytest
from proton import ConnectionException, Data, Described, Message, Timeout, symbol, ulong
from proton.utils import BlockingConnection, LinkDetached

from support.amqp10_brokers import Amqp10Broker, Endpoint
from support.amqp10_rabbitmq import Amqp10RabbitMQ
from support.identities import Certificates
from support.waiting import PATIENCE

pytestmark = pytest.mark.broker

# AMQP 1.0 §5.3.1, §5.3.3: the header of the protocol, and what is said in it.
_SASL = b"AMQP\x03\x01\x00\x00"
_MECHANISMS, _INIT, _OUTCOME = 0x40, 0x41, 0x44
_OK = 0
# Long enough to see that nothing comes.
_BRIEFLY = 1.0


@contextmanager
def connected(
    broker: Amqp10Broker,
    *,
    hostname: str | None = None,
    user: str = Amqp10Broker.username,
    password: str = Amqp10Broker.password,
) -> Iterator[BlockingConnection]:
    connection = BlockingConnection(
        f"amqp://{broker.endpoint.host}:{broker.endpoint.port}",
        timeout=PATIENCE,
        allowed_mechs="PLAIN",
        allow_insecure_mechs=True,
        virtual_host=(broker.hostname if hostname is None else hostname) or None,
        user=user,
        password=password,
    )
    try:
        yield connection
    finally:
        connection.close()


class Login:
    """SASL by hand: what a broker offers, and its word on one login."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None = None) -> None:
        """Connect, and read what is offered."""
        self._socket = socket.create_connection((endpoint.host, endpoint.port), timeout=PATIENCE)
        if context is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname=endpoint.host)
        self._socket.sendall(_SASL)
        assert self._read(len(_SASL)) == _SASL
        [offered] = self._frame(_MECHANISMS)
        self.offered = frozenset(
            map(str, [offered] if isinstance(offered, str) else offered.elements)
        )

    def external(self) -> int:
        """Log in with the certificate, and return the outcome's code."""
        data = Data()
        data.put_py_described(Described(ulong(_INIT), [symbol("EXTERNAL"), b""]))
        body = data.encode()
        self._socket.sendall(struct.pack(">IBBH", 8 + len(body), 2, 1, 0) + body)
        return int(self._frame(_OUTCOME)[0])

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _frame(self, code: int) -> list[Any]:
        size, offset, kind, _ = struct.unpack(">IBBH", self._read(8))
        assert (offset, kind) == (2, 1)
        data = Data()
        data.decode(self._read(size - 8))
        data.rewind()
        data.next()
        described = data.get_py_described()
        assert described.descriptor == code
        value: Any = described.value
        return list(value)

    def _read(self, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            piece = self._socket.recv(count - len(octets))
            assert piece, "the broker hung up"
            octets += piece
        return octets


def wait(predicate: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_message_comes_back_from_a_queue(amqp10_broker: Amqp10Broker) -> None:
    address = amqp10_broker.add_queue("back")
    assert amqp10_broker.add_queue("back") == address
    with connected(amqp10_broker) as connection:
        connection.create_sender(address).send(Message(body="hello"))
        assert amqp10_broker.message_count("back") == 1
        receiver = connection.create_receiver(address)
        assert receiver.receive(timeout=PATIENCE).body == "hello"
        receiver.accept()
    wait(lambda: amqp10_broker.message_count("back") == 0)
    amqp10_broker.delete_queue("back")


def test_it_offers_the_mechanisms_that_are_said(amqp10_broker: Amqp10Broker) -> None:
    login = Login(amqp10_broker.endpoint)
    login.close()
    assert login.offered == amqp10_broker.facts.offers


def test_a_client_certificate_is_a_login(
    amqp10_broker: Amqp10Broker, certificates: Certificates
) -> None:
    context = certificates.client(with_certificate=True).context
    login = Login(amqp10_broker.tls_endpoint, context)
    assert login.offered == amqp10_broker.facts.offers_tls
    assert login.external() == _OK
    login.close()


def test_a_new_password_counts_from_the_next_login(amqp10_broker: Amqp10Broker) -> None:
    """A connection stays; it keeps its rights, unless it is said that they are looked at again."""
    amqp10_broker.add_user("ann", "first")
    with connected(amqp10_broker, user="ann", password="first") as connection:
        amqp10_broker.change_password("ann", "second")
        with (
            pytest.raises(ConnectionException),
            connected(amqp10_broker, user="ann", password="first"),
        ):
            pass
        with connected(amqp10_broker, user="ann", password="second"):
            pass
        address = amqp10_broker.add_queue("stays")
        try:
            connection.create_sender(address).send(Message(body="still here"))
        except LinkDetached:
            assert amqp10_broker.facts.rechecks_logins
        else:
            assert not amqp10_broker.facts.rechecks_logins
    amqp10_broker.delete_queue("stays")
    amqp10_broker.delete_user("ann")


def test_connections_are_counted_and_closed_by_force(amqp10_broker: Amqp10Broker) -> None:
    """They count from their first session."""
    address = amqp10_broker.add_queue("counted")
    wait(lambda: amqp10_broker.connection_count() == 0)
    with connected(amqp10_broker) as connection:
        connection.create_sender(address)
        wait(lambda: amqp10_broker.connection_count() == 1)
        assert amqp10_broker.close_connections() == 1
        with pytest.raises(ConnectionException):
            connection.wait(lambda: False, timeout=PATIENCE)
    wait(lambda: amqp10_broker.connection_count() == 0)
    amqp10_broker.delete_queue("counted")


def test_what_the_management_of_the_plugin_closes_is_a_session(
    rabbitmq_installed: Amqp10RabbitMQ,
) -> None:
    """With an error; the connection stays."""
    if rabbitmq_installed.facts.tells_block:
        pytest.skip("the RabbitMQ that is installed speaks AMQP 1.0 without the plugin")
    address = rabbitmq_installed.add_queue("ended")
    with connected(rabbitmq_installed) as connection:
        connection.create_sender(address)
        wait(lambda: rabbitmq_installed.connection_count() == 1)
        assert rabbitmq_installed.end_sessions() == 1
        conn: Any = connection.conn
        ended = proton.Endpoint.LOCAL_ACTIVE | proton.Endpoint.REMOTE_CLOSED
        connection.wait(lambda: conn.session_head(ended) is not None)
        assert conn.session_head(ended).remote_condition.name == "amqp:internal-error"
        assert conn.state & proton.Endpoint.REMOTE_ACTIVE
    rabbitmq_installed.delete_queue("ended")


def test_an_unknown_virtual_host_is_refused_where_that_is_said(amqp10_broker: Amqp10Broker) -> None:
    address = amqp10_broker.add_queue("inside")

    def opens(hostname: str) -> bool:
        try:
            with connected(amqp10_broker, hostname=hostname) as connection:
                # RabbitMQ 3.10 looks at it when a session begins.
                connection.create_receiver(address)
        except ConnectionException:
            return False
        return True

    assert opens(amqp10_broker.hostname)
    refuses = not opens(amqp10_broker.unknown_hostname)
    assert refuses is amqp10_broker.facts.refuses_unknown_vhost


def test_an_alarm_closes_the_window_where_that_is_said(amqp10_broker: Amqp10Broker) -> None:
    if amqp10_broker.facts.withholds_credit:
        with pytest.raises(NotImplementedError):
            amqp10_broker.raise_alarm()
    if not amqp10_broker.facts.tells_block:
        return
    address = amqp10_broker.add_queue("window")
    with connected(amqp10_broker) as connection:
        sender = connection.create_sender(address)
        sender.send(Message(body="before"))
        amqp10_broker.raise_alarm()
        try:
            # Until the client has read it.
            with pytest.raises(Timeout):
                connection.wait(lambda: False, timeout=_BRIEFLY)
            with pytest.raises(Timeout):
                sender.send(Message(body="amid"), timeout=_BRIEFLY)
            assert amqp10_broker.message_count("window") == 1
        finally:
            amqp10_broker.clear_alarm()
        sender.send(Message(body="after"))
        assert amqp10_broker.message_count("window") == 3
    amqp10_broker.delete_queue("window")


def test_a_full_queue_gives_no_credit_where_that_is_said(amqp10_broker: Amqp10Broker) -> None:
    if not amqp10_broker.facts.withholds_credit:
        with pytest.raises(NotImplementedError):
            amqp10_broker.add_small_queue("small")
        return
    address = amqp10_broker.add_small_queue("small")
    with connected(amqp10_broker) as connection:
        connection.create_sender(address).send(Message(body="fills it"))
    with connected(amqp10_broker) as connection:
        sender = connection.create_sender(address)
        with pytest.raises(Timeout):
            sender.send(Message(body="too much"), timeout=_BRIEFLY)
        # What waits for credit is taken off already.
        assert sender.link.credit <= 0


def test_it_comes_back_where_it_was(amqp10_broker: Amqp10Broker) -> None:
    """However it ended; and it listens below the ports that clients get."""
    endpoint = amqp10_broker.endpoint
    assert max(endpoint.port, amqp10_broker.tls_endpoint.port) < 32768
    for end in (amqp10_broker.stop, amqp10_broker.kill):
        end()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((endpoint.host, endpoint.port))
        amqp10_broker.start()
        with connected(amqp10_broker):
            assert amqp10_broker.log_text()
