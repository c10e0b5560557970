"""RabbitMQ as one of the brokers that speak AMQP 1.0: with a plugin up to 3.13, by itself later."""

from pathlib import Path
from typing import ClassVar

from support import erlang
from support.amqp10_brokers import Amqp10Broker, Endpoint, Facts
from support.brokers import Broker
from support.identities import CLIENT_NAME, TRUST_IN_TOKENS
from support.missing import PeerMissing
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQMissing, RabbitMQNode, TLSFiles

__all__ = ["Amqp10RabbitMQ"]

_VIRTUAL_HOST = "orders"
_PLUGINS = ("rabbitmq_amqp1_0", "rabbitmq_auth_backend_oauth2", "rabbitmq_auth_mechanism_ssl")
_CONFIG = {
    "auth_mechanisms.1": "PLAIN",
    "auth_mechanisms.2": "ANONYMOUS",
    "auth_mechanisms.3": "EXTERNAL",
    "auth_backends.1": "internal",
    "auth_backends.2": "rabbit_auth_backend_oauth2",
    "ssl_cert_login_from": "common_name",
}
# The processes of all connections of any protocol; which field that is depends on the version.
_CONNECTIONS = (
    "[Pid || Tracked <- rabbit_connection_tracking:list(), "
    "Pid <- tuple_to_list(Tracked), is_pid(Pid)]"
)
_FORCED = "closed by the administrator"
# AMQP 1.0 of its own, and windows that close while an alarm is in force.
_NATIVE = (4, 0)
# Tokens that are renewed over AMQP 1.0.
_RENEWS = (4, 1)


class Amqp10RabbitMQ(Amqp10Broker):
    """A node of a RabbitMQ; `node` has what is its own."""

    title: ClassVar[str] = "RabbitMQ"

    def __init__(self, directory: Path, *, tls: TLSFiles, broker: Broker) -> None:
        """Choose ports; nothing runs yet. Raises `PeerMissing`."""
        if broker.missing:
            raise PeerMissing(str(broker))
        self._broker = broker
        self._number = tuple(int(part) for part in broker.version.split(".")[:2])
        config = dict(_CONFIG)
        if self._number < _NATIVE:
            # It has no mechanism of that name for 0-9-1; in AMQP 1.0 a default user stands for it.
            del config["auth_mechanisms.2"]
        try:
            self.node = RabbitMQNode(
                directory,
                plugins=_PLUGINS,
                extra_config=config,
                advanced_config=TRUST_IN_TOKENS,
                tls=tls,
                on=broker.environment,
            )
        except RabbitMQMissing as error:
            raise PeerMissing(str(error)) from None

    # What it is

    @property
    def version(self) -> str:
        """Which one it is."""
        return self._broker.version

    @property
    def facts(self) -> Facts:
        """Its facts."""
        offers = frozenset({"PLAIN", "ANONYMOUS"})
        return Facts(
            offers=offers,
            offers_tls=offers | {"EXTERNAL"},
            can_renew=self._number >= _RENEWS,
            tells_block=self._number >= _NATIVE,
            withholds_credit=False,
            rechecks_logins=False,
            refuses_unknown_vhost=True,
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens without TLS."""
        return Endpoint(host=LOOPBACK, port=self.node.amqp_port)

    @property
    def tls_endpoint(self) -> Endpoint:
        """Where it listens with TLS."""
        return Endpoint(host="localhost", port=self.node.amqps_port)

    @property
    def virtual_host(self) -> str:
        """The virtual host of the tests."""
        return _VIRTUAL_HOST

    def _hostname(self, virtual_host: str) -> str:
        return f"vhost:{virtual_host}"

    def address(self, queue: str) -> str:
        """Return the address in the form of its version."""
        return f"/queues/{queue}" if self._number >= _NATIVE else f"/amq/queue/{queue}"

    # Life

    def start(self) -> None:
        """Start it, and add the users when it is new. Idempotent."""
        self.node.start()
        self.node.add_vhost(_VIRTUAL_HOST)
        user = erlang.binary(self.username)
        if self.node.eval(f"rabbit_auth_backend_internal:exists({user})") == "false":
            self.add_user(self.username, self.password)
            self.add_user(CLIENT_NAME, self.password)

    def close(self) -> None:
        """Stop it and give the ports back. Idempotent."""
        self.node.close()

    def stop(self) -> None:
        """Shut it down in order."""
        self.node.stop()

    def kill(self) -> None:
        """End it at once."""
        self.node.kill()

    def pause(self) -> None:
        """Freeze it."""
        self.node.pause()

    def resume(self) -> None:
        """Let it go on."""
        self.node.resume()

    def log_text(self) -> str:
        """Return the node's log."""
        return self.node.log_text()

    # What an administrator does

    def add_queue(self, name: str) -> str:
        """Add a durable queue. Idempotent."""
        self.node.add_queue(_VIRTUAL_HOST, name)
        return self.address(name)

    def delete_queue(self, name: str) -> None:
        """Delete a queue; its consumers are told."""
        self.node.delete_queue(_VIRTUAL_HOST, name)

    def message_count(self, queue: str) -> int:
        """Count what is in a queue."""
        return self.node.message_count(_VIRTUAL_HOST, queue)

    def connection_count(self) -> int:
        """Count the connections that have opened a virtual host."""
        return int(self.node.eval(f"length({_CONNECTIONS})"))

    def close_connections(self) -> int:
        """Close all connections, as an administrator does."""
        if self._number < _NATIVE:
            ports = (self.node.amqp_port, self.node.amqps_port)
            return sum(self.node.close_clients(port, _FORCED) for port in ports)
        closing = f'rabbit_reader:shutdown(Pid, "{_FORCED}")'
        return int(self.node.eval(f"length([catch {closing} || Pid <- {_CONNECTIONS}])"))

    def end_sessions(self) -> int:
        """Do what the management plugin of 3.10 does to close a connection of AMQP 1.0.

        It ends the session with an error, and leaves the connection. Returns how many there were.
        """
        closing = f'amqp_direct_connection:server_close(Pid, 320, <<"{_FORCED}">>)'
        return int(self.node.eval(f"length([catch {closing} || Pid <- {_CONNECTIONS}])"))

    def add_user(self, name: str, password: str) -> None:
        """Add a user."""
        self.node.add_user(name, password)
        self.node.set_permissions(name, _VIRTUAL_HOST)

    def delete_user(self, name: str) -> None:
        """Delete a user; its connections are closed."""
        self.node.delete_user(name)

    def change_password(self, name: str, password: str) -> None:
        """Change a user's password."""
        self.node.change_password(name, password)

    def raise_alarm(self) -> None:
        """Raise a memory alarm."""
        self.node.set_alarm("memory")

    def clear_alarm(self) -> None:
        """Clear the memory alarm."""
        self.node.clear_alarm("memory")
