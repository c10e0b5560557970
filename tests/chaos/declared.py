"""What is declared in a chaos run, what the broker is told of it, and what status then has to say.

A world holds one `Declared`. Faults change it, for a time or for the rest of a sequence; what is
in it is how things are to be when all faults are over.
"""

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.identities import Issuer
from support.running import API

__all__ = [
    "BROKEN",
    "BROKERS",
    "CONSOLES",
    "FREE",
    "HELD",
    "LINKED",
    "MARK",
    "VHOSTS",
    "WAYS_TO_BREAK",
    "Connection",
    "Declared",
    "Expected",
    "Wanted",
    "secret_text",
]

MARK = "pl4nted-"
"""What every secret begins with, so that a part of one is found, too."""

VHOSTS = ("shop", "post")
USERS = {"ann": "ann-login", "bob": "bob-login", "carl": "carl-login"}
"""The users that log in with a password, and their Secrets."""

BROKERS = ("rabbit", "linked")
CONSOLES = ("console", "linked-console")
"""The same broker over HTTP: its management interface, directly and behind a link."""

HELD = ("orders", "billing", "mail", "stock")
"""The connections over AMQP that faults are aimed at."""

FREE = (*HELD, "watch", "panel")
"""All that faults are aimed at; those two are over HTTP."""

LINKED = ("mail", "stock", "panel")
"""Those of them whose broker is behind a link at the beginning."""

BROKEN = {
    "no-broker": "no-broker",
    "no-secret": "no-secret",
    "no-vhost": "no-vhost",
    "wrong-password": "wrong-password",
    "asleep": "asleep",
}
"""Connections that are never as they should be, and in which way."""

WAYS_TO_BREAK = tuple(BROKEN)

Wanted = Mapping[str, tuple[str, tuple[str, ...]]]
"""Of each condition its status and the reasons it may have; any where there are none."""

_BROKEN_SHOWN: Mapping[str, Wanted] = {
    "no-broker": {"Ready": ("False", ("BrokerNotFound",))},
    "no-secret": {
        "Ready": ("False", ("SecretNotFound",)),
        "CredentialsValid": ("False", ("SecretNotFound",)),
    },
    "no-vhost": {"Ready": ("False", ("VirtualHostNotFound",))},
    "wrong-password": {
        "Ready": ("False", ("AccessRefused", "Rejected")),
        "CredentialsValid": ("False", ("Rejected",)),
    },
    "asleep": {"Connected": ("False", ("Suspended",))},
}
_WELL: Wanted = {
    "Ready": ("True", ("Connected",)),
    "Connected": ("True", ("Open",)),
    "CredentialsValid": ("True", ()),
    "Synced": ("True", ("InSync",)),
    "Blocked": ("False", ("NotBlocked",)),
}
_NO_PATH_SHOWN: Wanted = {"Ready": ("False", ("UnexpectedStatus",))}
"""What stands for `no-vhost` where there are no virtual hosts."""

_KEEPS_WHAT_IT_HAS = ("no-secret", "no-vhost", "wrong-password")
"""A session that was open before it was declared so stays open, until something else ends it."""

_RETRY = {"delay": "200ms", "maxDelay": "2s"}
_PROBE = {"mode": "Publish", "interval": "1s", "timeout": "5s"}
_PATHS = {"shop": "/api/whoami", "post": "/api/extensions"}
"""What is asked for over HTTP in the place of a virtual host."""
_ALARMS = "/api/health/checks/alarms"
_PROBE_OF_CONSOLE = {**_PROBE, "timeout": "3s"}
"""Three of them show that a frozen broker is lost: there are no heartbeats."""
_TOKEN_SECONDS = 6 * 3600

_numbers = itertools.count()


def secret_text() -> str:
    """Return a secret that was never used before."""
    return f"{MARK}{next(_numbers)}-{os.urandom(6).hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is to be seen of a connection."""

    conditions: Wanted
    is_held: bool | None
    """Whether the broker holds it; None where status is to be believed."""
    is_answered: bool = False
    """Whether the management interface has to say the same as status."""
    password: str | None = None
    """What its binding has."""


@dataclass(slots=True, kw_only=True)
class Connection:
    """One connection as it is declared now."""

    broker: str
    vhost: str
    secret: str
    heartbeat: int = 10
    binding: str = ""
    broken: str = ""
    """One of `WAYS_TO_BREAK`, or as it should be."""

    @property
    def is_over_http(self) -> bool:
        """Whether it is a client of the management interface, which the broker does not list."""
        return self.broker in CONSOLES

    @property
    def path(self) -> str:
        """What it asks for over HTTP."""
        return "/api/nowhere" if self.broken == "no-vhost" else _PATHS[self.vhost]

    def spec(self) -> dict[str, Any]:
        """Return what is declared of it."""
        how = self.broken
        kind = "tokenRef" if self.secret == "reports-token" else "secretRef"
        secret = {"no-secret": "nowhere", "wrong-password": "wrong-login"}.get(how, self.secret)
        return {
            "brokerRef": {"name": "nowhere" if how == "no-broker" else self.broker},
            "credentials": {kind: {"name": secret}},
            "heartbeat": f"{self.heartbeat}s",
            **self._place(),
            **({"binding": {"secretName": self.binding}} if self.binding else {}),
            **({"suspend": True} if how == "asleep" else {}),
        }

    def _place(self) -> dict[str, Any]:
        """Return what is declared of the place that it is for, and how that is probed."""
        if self.is_over_http:
            http = {"path": self.path, "blockedWhen": {"path": _ALARMS}}
            return {"http": http, "probe": _PROBE_OF_CONSOLE}
        vhost = "nowhere" if self.broken == "no-vhost" else self.vhost
        return {"virtualHost": vhost, "probe": _PROBE}


@dataclass(slots=True, kw_only=True)
class Declared:
    """Everything that is declared, and what the broker is to know of it."""

    ports: Mapping[str, int]
    """Where the brokers are, by their names: `BROKERS` and `CONSOLES`."""
    namespace: str
    passwords: dict[str, str] = field(default_factory=dict)
    token: str = ""
    connections: dict[str, Connection] = field(default_factory=dict)
    brokers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.passwords = {user: secret_text() for user in USERS}
        self.renew_token()
        self.reset()

    def reset(self) -> None:
        """Declare what a sequence begins with. Passwords and token stay as they are."""
        self.brokers = dict(self.ports)
        self.connections = {
            "orders": Connection(
                broker="rabbit", vhost="shop", secret="ann-login", heartbeat=4, binding="orders-app"
            ),
            "billing": Connection(broker="rabbit", vhost="shop", secret="ann-login"),
            "mail": Connection(
                broker="linked", vhost="post", secret="bob-login", heartbeat=4, binding="mail-app"
            ),
            "stock": Connection(
                broker="linked", vhost="post", secret="carl-login", binding="stock-app"
            ),
            "reports": Connection(broker="rabbit", vhost="shop", secret="reports-token"),
            "watch": Connection(
                broker="console", vhost="shop", secret="ann-login", binding="watch-app"
            ),
            "panel": Connection(broker="linked-console", vhost="shop", secret="carl-login"),
        }
        for name, how in BROKEN.items():
            self.connections[name] = Connection(
                broker="rabbit", vhost="shop", secret="ann-login", broken=how
            )

    def renew_token(self) -> None:
        """Take a new token for the connection that logs in with one."""
        self.token = Issuer().token("reports", seconds=_TOKEN_SECONDS, note=secret_text())

    def user_of(self, secret: str) -> str | None:
        """Return who logs in with a Secret."""
        return next((user for user, each in USERS.items() if each == secret), None)

    # The documents

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield every document: what is referred to before what refers to it."""
        for name in self.brokers:
            yield self.broker(name)
        for user in self.passwords:
            yield self.secret(user)
        yield self._secret("reports-token", token=self.token)
        yield self._secret("wrong-login", username="ann", password=f"{MARK}wrong")
        for name in self.connections:
            yield self.connection(name)

    def broker(self, name: str) -> dict[str, Any]:
        """Return a Broker."""
        endpoint = {"host": "127.0.0.1", "port": self.brokers[name]}
        spec = {
            "endpoints": [endpoint],
            "sasl": {"allowInsecure": True},
            "retry": _RETRY,
            "connectTimeout": "4s",
            **({"protocol": "http"} if name in CONSOLES else {}),
        }
        return self._document(API, "Broker", name, spec=spec)

    def secret(self, user: str, password: str | None = None) -> dict[str, Any]:
        """Return a user's Secret, with another password if told."""
        text = self.passwords[user] if password is None else password
        return self._secret(USERS[user], username=user, password=text)

    def token_secret(self) -> dict[str, Any]:
        """Return the Secret with the token."""
        return self._secret("reports-token", token=self.token)

    def connection(self, name: str, **metadata: Any) -> dict[str, Any]:
        """Return a BrokerConnection, with more of its metadata."""
        spec = self.connections[name].spec()
        return self._document(API, "BrokerConnection", name, metadata=metadata, spec=spec)

    def _secret(self, name: str, **texts: str) -> dict[str, Any]:
        return self._document("v1", "Secret", name, stringData=texts)

    def _document(
        self,
        version: str,
        kind: str,
        name: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        named = {"name": name, "namespace": self.namespace, **(metadata or {})}
        return {"apiVersion": version, "kind": kind, "metadata": named, **more}

    # What is to be seen

    def expected(self) -> dict[str, Expected]:
        """Return what is to be seen of each connection when all faults are over."""
        return {name: self._expected(each) for name, each in self.connections.items()}

    def _expected(self, declared: Connection) -> Expected:
        is_over_http = declared.is_over_http
        if declared.broken:
            shown = _BROKEN_SHOWN[declared.broken]
            if is_over_http and declared.broken == "no-vhost":
                shown = _NO_PATH_SHOWN
            keeps = declared.broken in _KEEPS_WHAT_IT_HAS and not is_over_http
            return Expected(conditions=shown, is_held=None if keeps else False)
        user = self.user_of(declared.secret)
        password = self.passwords[user] if declared.binding and user else None
        return Expected(
            conditions=_WELL,
            is_held=not is_over_http,
            is_answered=is_over_http,
            password=password,
        )
