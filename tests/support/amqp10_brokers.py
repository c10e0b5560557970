"""The brokers that speak AMQP 1.0 to the tests, with what they have in common.

Five of them, each with a module of its own or a version of RabbitMQ: a test asks one of them for an
address, a count of messages or a new password, and does not know which one it is. What differs is a
fact that the test can read. `make amqp10-peers` gets them; one that cannot be had raises
`PeerMissing`. Calls block: use `asyncio.to_thread` from async code.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from support.missing import PeerMissing
from support.started import Started

__all__ = ["Amqp10Broker", "Endpoint", "Facts", "PeerMissing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a broker listens, on loopback."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """In what the brokers differ, for a client that logs in and keeps a connection."""

    offers: frozenset[str]
    """SASL mechanisms that it offers without TLS."""

    offers_tls: frozenset[str]
    """SASL mechanisms that it offers to a client with a certificate."""

    can_renew: bool
    """Whether a connection can be given another token while it lives."""

    tells_block: bool
    """Whether a session is told of an alarm by an incoming window of 0."""

    withholds_credit: bool
    """Whether a sender to a queue that is full gets no more credit."""

    rechecks_logins: bool
    """Whether a connection that stays loses its rights when its user's password changes."""

    refuses_unknown_vhost: bool
    """Whether a virtual host that is not there ends the connection."""


class Amqp10Broker(Started):
    """One broker. As a context manager it is started, and closed at the end."""

    title: ClassVar[str]

    username: ClassVar[str] = "springline"
    password: ClassVar[str] = "pl4nted-s3cret"

    unknown_virtual_host: ClassVar[str] = "nowhere"

    # What it is

    @property
    @abstractmethod
    def version(self) -> str:
        """Which one it is, such as 4.0.5."""

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """In what it differs from the others."""

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """Where it listens without TLS."""

    @property
    @abstractmethod
    def tls_endpoint(self) -> Endpoint:
        """Where it listens with TLS, and takes a client certificate as a login."""

    @property
    @abstractmethod
    def virtual_host(self) -> str:
        """The name of the virtual host to open, as people have it; empty where it has none."""

    @property
    def hostname(self) -> str:
        """What a client says in Open to get there; empty for nothing."""
        return self._hostname(self.virtual_host)

    @property
    def unknown_hostname(self) -> str:
        """What a client says in Open for a virtual host that is not there."""
        return self._hostname(self.unknown_virtual_host)

    def _hostname(self, virtual_host: str) -> str:
        return virtual_host

    @abstractmethod
    def address(self, queue: str) -> str:
        """Return the address of a queue that is there, for a source or a target."""

    # Life

    @abstractmethod
    def stop(self) -> None:
        """Shut it down in order, and wait until it has ended. Idempotent."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once, as a crash does. Idempotent."""

    @abstractmethod
    def pause(self) -> None:
        """Freeze it: nothing answers, though the kernel still accepts connections."""

    @abstractmethod
    def resume(self) -> None:
        """Let it go on when it is frozen. Idempotent."""

    @abstractmethod
    def log_text(self) -> str:
        """Return what it has written, all starts together."""

    # What an administrator does

    @abstractmethod
    def add_queue(self, name: str) -> str:
        """Add a queue, and return its address. Idempotent."""

    @abstractmethod
    def delete_queue(self, name: str) -> None:
        """Delete a queue with what is in it."""

    @abstractmethod
    def message_count(self, queue: str) -> int:
        """Count the messages that are in a queue, also those that are not settled yet."""

    @abstractmethod
    def connection_count(self) -> int:
        """Count the connections of clients; those of this object do not count."""

    @abstractmethod
    def close_connections(self) -> int:
        """Close the connections of clients by force, and return how many there were."""

    @abstractmethod
    def add_user(self, name: str, password: str) -> None:
        """Add a user who may do everything in the virtual host."""

    @abstractmethod
    def delete_user(self, name: str) -> None:
        """Delete a user."""

    @abstractmethod
    def change_password(self, name: str, password: str) -> None:
        """Change a user's password; connections stay, with rights as `Facts` says."""

    def add_small_queue(self, name: str) -> str:
        """Add a queue that is full with one message, and return its address.

        Raises `NotImplementedError` where `Facts.withholds_credit` is false.
        """
        raise NotImplementedError(f"{self.title} withholds no credit")

    def raise_alarm(self) -> None:
        """Raise an alarm that blocks publishers, and wait until it is in force. Idempotent.

        Raises `NotImplementedError` where there are no alarms.
        """
        raise NotImplementedError(f"{self.title} has no alarms")

    def clear_alarm(self) -> None:
        """Clear the alarm, and wait until it is gone. Idempotent."""
        raise NotImplementedError(f"{self.title} has no alarms")
