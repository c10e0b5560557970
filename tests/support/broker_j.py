"""A private Qpid Broker-J on loopback: AMQP 1.0 and 0-9-1, with and without TLS.

Everything that it holds is in memory, and gone with it, but for what `_configuration` says. Its
administrator speaks to its HTTP management.
"""

import base64
import http.client
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from support.amqp10_brokers import Amqp10Broker, Endpoint, Facts
from support.java_server import JavaServer
from support.ports import LOOPBACK
from support.rabbitmq import TLSFiles
from support.waiting import PATIENCE

__all__ = ["BrokerJ"]

_ADMINISTRATOR = "administrator"
_VIRTUAL_HOST = "orders"
_READY = "BRK-1004"
_OK = (200, 201)
_PROTOCOLS = ["AMQP_0_9_1", "AMQP_1_0"]
_AUTO_CREATION = [
    {
        "pattern": ".*",
        "nodeType": "queue",
        "createdOnPublish": True,
        "createdOnConsume": True,
        "attributes": {},
    }
]


class BrokerJ(JavaServer, Amqp10Broker):
    """One Broker-J, on `port`, and with TLS on `tls_port`, where a client certificate is a login.

    Queues are made when an address is first used.
    """

    name: ClassVar[str] = "broker-j"
    title: ClassVar[str] = "Qpid Broker-J"

    def __init__(self, directory: Path, *, tls: TLSFiles) -> None:
        """Choose ports; nothing runs yet. Raises `PeerMissing`."""
        super().__init__(directory, port_count=3)
        self.tls = tls
        self.port, self.tls_port, self.http_port = self._lease.ports
        self._key_store = self.directory / "server.p12"
        # Where the log of the last start begins.
        self._log_start = 0

    # What it is

    @property
    def facts(self) -> Facts:
        """Its facts."""
        return Facts(
            offers=frozenset({"PLAIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"}),
            offers_tls=frozenset({"EXTERNAL"}),
            can_renew=False,
            tells_block=False,
            withholds_credit=True,
            rechecks_logins=False,
            refuses_unknown_vhost=True,
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens without TLS."""
        return Endpoint(host=LOOPBACK, port=self.port)

    @property
    def tls_endpoint(self) -> Endpoint:
        """Where it listens with TLS; there a certificate is the only login."""
        return Endpoint(host="localhost", port=self.tls_port)

    @property
    def virtual_host(self) -> str:
        """The only one; it is opened where a client names none as well."""
        return _VIRTUAL_HOST

    def address(self, queue: str) -> str:
        """Return the queue's own name."""
        return queue

    # How it runs

    def listeners(self) -> Sequence[int]:
        """Return all ports."""
        return self.port, self.tls_port, self.http_port

    def _is_ready(self) -> bool:
        return _READY in self.log_text()[self._log_start :] and super()._is_ready()

    def _prepare(self) -> None:
        self._log_start = len(self.log_text())
        self._write_key_store()
        text = json.dumps(self._configuration(), indent=1)
        (self.directory / "configuration.json").write_text(text, encoding="utf-8")

    def _write_key_store(self) -> None:
        """Write the server's certificate and key as PKCS#12: of PEM files it takes RSA alone."""
        key = serialization.load_pem_private_key(self.tls.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        self._key_store.write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"server",
                key,
                x509.load_pem_x509_certificate(self.tls.certificate.read_bytes()),
                None,
                serialization.BestAvailableEncryption(self.password.encode()),
            )
        )

    def _configuration(self) -> dict[str, Any]:
        users = (_ADMINISTRATOR, self.username)
        listener = {
            "bindingAddress": LOOPBACK,
            "authenticationProvider": "passwords",
            "virtualhostaliases": [
                {"name": each, "type": each} for each in ("nameAlias", "defaultAlias")
            ],
        }
        secured = {
            "authenticationProvider": "certificates",
            "transports": ["SSL"],
            "keyStore": "server",
            "trustStores": ["authority"],
            "needClientAuth": True,
        }
        return {
            "name": "springline",
            "modelVersion": "9.1",
            "keystores": [
                {
                    "name": "server",
                    "type": "FileKeyStore",
                    "keyStoreType": "PKCS12",
                    "storeUrl": str(self._key_store),
                    "password": self.password,
                }
            ],
            "truststores": [
                {
                    "name": "authority",
                    "type": "NonJavaTrustStore",
                    "certificatesUrl": self.tls.ca.as_uri(),
                }
            ],
            "authenticationproviders": [
                {
                    "name": "passwords",
                    "type": "Plain",
                    "secureOnlyMechanisms": [],
                    "users": [
                        {"name": each, "type": "managed", "password": self.password}
                        for each in users
                    ],
                },
                {"name": "certificates", "type": "External"},
            ],
            "ports": [
                {"name": "amqp", "port": self.port, "protocols": _PROTOCOLS, **listener},
                {
                    "name": "amqps",
                    "port": self.tls_port,
                    "protocols": _PROTOCOLS,
                    **listener,
                    **secured,
                },
                {
                    "name": "http",
                    "port": self.http_port,
                    "protocols": ["HTTP"],
                    "bindingAddress": LOOPBACK,
                    "authenticationProvider": "passwords",
                },
            ],
            "plugins": [
                {"name": "http", "type": "MANAGEMENT-HTTP", "httpBasicAuthenticationEnabled": True}
            ],
            "virtualhostnodes": [
                {
                    "name": _VIRTUAL_HOST,
                    "type": "Memory",
                    "defaultVirtualHostNode": True,
                    "virtualHostInitialConfiguration": json.dumps(
                        {"type": "Memory", "nodeAutoCreationPolicies": _AUTO_CREATION}
                    ),
                }
            ],
        }

    def _properties(self) -> Mapping[str, str | Path]:
        return {}

    def _main(self) -> Sequence[str | Path]:
        return [
            *("org.apache.qpid.server.Main", "--store-type", "Memory"),
            *("--initial-config-path", self.directory / "configuration.json"),
            *("--config-property", f"qpid.work_dir={self.directory / 'work'}"),
        ]

    # What an administrator does

    def add_queue(self, name: str) -> str:
        """Add a queue. Idempotent."""
        return self._add_queue(name)

    def add_small_queue(self, name: str) -> str:
        """Add a queue that stops its producers when it has a message."""
        return self._add_queue(
            name,
            overflowPolicy="PRODUCER_FLOW_CONTROL",
            maximumQueueDepthMessages=0,
        )

    def delete_queue(self, name: str) -> None:
        """Delete a queue; its consumers are detached."""
        self._request("DELETE", "queue", _VIRTUAL_HOST, _VIRTUAL_HOST, name)

    def message_count(self, queue: str) -> int:
        """Count what is in a queue."""
        found = self._request("GET", "queue", _VIRTUAL_HOST, _VIRTUAL_HOST, queue)
        [row] = found if isinstance(found, list) else [found]
        return int(row["statistics"]["queueDepthMessages"])

    def connection_count(self) -> int:
        """Count the connections of AMQP."""
        return len(self._connections())

    def close_connections(self) -> int:
        """Close the connections of AMQP."""
        rows = self._connections()
        for row in rows:
            self._request("DELETE", "connection", "amqp", query={"id": row["id"]})
        return len(rows)

    def add_user(self, name: str, password: str) -> None:
        """Add a user."""
        body = {"name": name, "password": password, "type": "managed"}
        self._request("POST", "user", "passwords", body=body)

    def delete_user(self, name: str) -> None:
        """Delete a user."""
        self._request("DELETE", "user", "passwords", name)

    def change_password(self, name: str, password: str) -> None:
        """Change a user's password."""
        self._request("POST", "user", "passwords", name, body={"password": password})

    def _add_queue(self, name: str, **attributes: object) -> str:
        path = ("queue", _VIRTUAL_HOST, _VIRTUAL_HOST, name)
        self._request("PUT", *path, body={"name": name, "type": "standard", **attributes})
        return self.address(name)

    def _connections(self) -> list[dict[str, Any]]:
        rows = self._request("GET", "connection")
        assert isinstance(rows, list)
        return rows

    def _request(
        self,
        method: str,
        *path: str,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Ask its management, and return what it answers; `path` is a category and names."""
        target = "/".join(["/api/latest", *(quote(each, safe="") for each in path)])
        login = base64.b64encode(f"{_ADMINISTRATOR}:{self.password}".encode()).decode()
        connection = http.client.HTTPConnection(LOOPBACK, self.http_port, timeout=PATIENCE)
        try:
            connection.request(
                method,
                f"{target}?{urlencode(query)}" if query else target,
                json.dumps(body) if body is not None else None,
                {"Authorization": f"Basic {login}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status not in _OK:
            raise RuntimeError(f"Broker-J: {method} {target}: {answer.status} {text[:500]}")
        return json.loads(text) if text else None
