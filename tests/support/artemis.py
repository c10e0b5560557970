"""A private ActiveMQ Artemis on loopback: AMQP 1.0, with and without TLS.

Its files are written here instead of by `artemis create`, which takes a Java of its own for each.
Queues are made when an address is first used, as its defaults have it, and its administrator
speaks AMQP 1.0 with it. It knows no virtual hosts: what a client says there is not looked at. A
changed password counts at once; by default it does after ten seconds.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from xml.sax.saxutils import escape

from support.amqp10_brokers import Amqp10Broker, Endpoint, Facts
from support.identities import CLIENT_NAME
from support.java_server import JavaServer
from support.ports import LOOPBACK
from support.rabbitmq import TLSFiles
from support.waiting import PATIENCE

__all__ = ["Artemis"]

_ROLE = "clients"
_ADMINISTRATOR = "administrator"
_MANAGEMENT = "activemq.management"
# To the administrator's operations, addresses and queues of no other kind.
_ANYCAST = "ANYCAST"
_FULL = "full."

_BROKER = """<configuration xmlns="urn:activemq"><core xmlns="urn:activemq:core">
  <name>springline</name>
  <persistence-enabled>false</persistence-enabled>
  <critical-analyzer>false</critical-analyzer>
  <max-disk-usage>100</max-disk-usage>
  <security-invalidation-interval>0</security-invalidation-interval>
  <acceptors>{acceptors}</acceptors>
  <security-settings>
    <security-setting match="#">{permissions}</security-setting>
  </security-settings>
  <address-settings>
    <address-setting match="#">
      <default-address-routing-type>ANYCAST</default-address-routing-type>
      <default-queue-routing-type>ANYCAST</default-queue-routing-type>
      <auto-delete-queues>false</auto-delete-queues>
      <auto-delete-addresses>false</auto-delete-addresses>
    </address-setting>
    <address-setting match="{full}#">
      <max-size-messages>1</max-size-messages>
      <address-full-policy>BLOCK</address-full-policy>
    </address-setting>
  </address-settings>
</core></configuration>
"""
_PERMISSIONS = (
    *("createNonDurableQueue", "deleteNonDurableQueue", "createDurableQueue", "deleteDurableQueue"),
    *("createAddress", "deleteAddress", "consume", "browse", "send"),
)
_BOOTSTRAP = """<broker xmlns="http://activemq.apache.org/schema">
  <jaas-security domain="passwords" certificate-domain="certificates"/>
  <server configuration="file:{etc}/broker.xml"/>
</broker>
"""
# No administrator comes over JMX.
_JMX = """<management-context xmlns="http://activemq.apache.org/schema"/>
"""
_MODULES = "org.apache.activemq.artemis.spi.core.security.jaas"
# With a certificate one may still log in with a password.
_LOGIN = f"""passwords {{
  {_MODULES}.PropertiesLoginModule required
    reload=true
    org.apache.activemq.jaas.properties.user="users.properties"
    org.apache.activemq.jaas.properties.role="roles.properties";
}};
certificates {{
  {_MODULES}.TextFileCertificateLoginModule sufficient
    reload=true
    org.apache.activemq.jaas.textfiledn.user="certificates.properties"
    org.apache.activemq.jaas.textfiledn.role="roles.properties";
  {_MODULES}.PropertiesLoginModule sufficient
    reload=true
    org.apache.activemq.jaas.properties.user="users.properties"
    org.apache.activemq.jaas.properties.role="roles.properties";
}};
"""
_LOGGING = """rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
logger.audit.name = org.apache.activemq.audit
logger.audit.level = OFF
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %-5level [%logger] %msg%n
"""


class Artemis(JavaServer, Amqp10Broker):
    """One Artemis, on `port`, and with TLS on `tls_port`, where a client certificate is a login."""

    name: ClassVar[str] = "artemis"
    title: ClassVar[str] = "Artemis"

    def __init__(self, directory: Path, *, tls: TLSFiles) -> None:
        """Choose ports; nothing runs yet. Raises `PeerMissing`."""
        super().__init__(directory, port_count=2)
        self.tls = tls
        self.port, self.tls_port = self._lease.ports
        self._etc = self.directory / "etc"

    # What it is

    @property
    def facts(self) -> Facts:
        """Its facts."""
        return Facts(
            offers=frozenset({"PLAIN", "ANONYMOUS"}),
            offers_tls=frozenset({"EXTERNAL", "PLAIN", "ANONYMOUS"}),
            can_renew=False,
            tells_block=False,
            withholds_credit=True,
            rechecks_logins=True,
            refuses_unknown_vhost=False,
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens without TLS."""
        return Endpoint(host=LOOPBACK, port=self.port)

    @property
    def tls_endpoint(self) -> Endpoint:
        """Where it listens with TLS."""
        return Endpoint(host="localhost", port=self.tls_port)

    @property
    def virtual_host(self) -> str:
        """It has none."""
        return ""

    def address(self, queue: str) -> str:
        """Return the queue's own name."""
        return queue

    # How it runs

    def listeners(self) -> Sequence[int]:
        """Return both ports."""
        return self.port, self.tls_port

    def _prepare(self) -> None:
        self._etc.mkdir(exist_ok=True)
        permissions = [f'<permission type="{each}" roles="{_ROLE}"/>' for each in _PERMISSIONS]
        permissions.append(f'<permission type="manage" roles="{_ADMINISTRATOR}"/>')
        files = {
            "broker.xml": _BROKER.format(
                acceptors=self._acceptors(), permissions="".join(permissions), full=_FULL
            ),
            "bootstrap.xml": _BOOTSTRAP.format(etc=self._etc),
            "management.xml": _JMX,
            "login.config": _LOGIN,
            "log4j2.properties": _LOGGING,
            "certificates.properties": f"{CLIENT_NAME}=/CN={CLIENT_NAME},.*/\n",
        }
        users = {_ADMINISTRATOR: self.password, self.username: self.password}
        first = {
            "users.properties": "".join(f"{name}={text}\n" for name, text in users.items()),
            "roles.properties": (
                f"{_ROLE}={_ADMINISTRATOR},{self.username},{CLIENT_NAME}\n"
                f"{_ADMINISTRATOR}={_ADMINISTRATOR}\n"
            ),
        }
        # Users stay as they are from one start to the next.
        files |= {name: text for name, text in first.items() if not (self._etc / name).exists()}
        for name, text in files.items():
            (self._etc / name).write_text(text, encoding="utf-8")

    def _acceptors(self) -> str:
        plain = {"protocols": "AMQP", "useEpoll": "false"}
        key = self._etc / "server.pemcfg"
        key.write_text(f"source.key={self.tls.key}\nsource.cert={self.tls.certificate}\n")
        secured = {
            **plain,
            "sslEnabled": "true",
            "keyStoreType": "PEMCFG",
            "keyStorePath": str(key),
            "trustStoreType": "PEM",
            "trustStorePath": str(self.tls.ca),
            "wantClientAuth": "true",
            "saslMechanisms": "EXTERNAL,PLAIN,ANONYMOUS",
        }
        return "".join(
            f'<acceptor name="{name}">{_uri(port, options)}</acceptor>'
            for name, port, options in (
                ("amqp", self.port, plain),
                ("amqps", self.tls_port, secured),
            )
        )

    def _class_path(self) -> Sequence[str | Path]:
        return [self._etc, *super()._class_path()]

    def _properties(self) -> Mapping[str, str | Path]:
        return {
            "artemis.home": self.directory,
            "artemis.instance": self.directory,
            "artemis.instance.etc": self._etc,
            "data.dir": self.directory / "data",
            "java.security.auth.login.config": self._etc / "login.config",
            "log4j2.disableJmx": "true",
        }

    def _main(self) -> Sequence[str | Path]:
        bootstrap = f"xml:{self._etc / 'bootstrap.xml'}"
        return ["org.apache.activemq.artemis.cli.Artemis", "run", bootstrap]

    # What an administrator does

    def add_queue(self, name: str) -> str:
        """Add a durable queue. Idempotent."""
        settings = {"name": name, "address": name, "routing-type": _ANYCAST, "durable": True}
        self._call("createQueue", json.dumps(settings), True)
        return self.address(name)

    def add_small_queue(self, name: str) -> str:
        """Add a queue whose name makes it small."""
        return self.add_queue(f"{_FULL}{name}")

    def delete_queue(self, name: str) -> None:
        """Delete a queue; its consumers are closed."""
        self._call("destroyQueue", name, True)

    def message_count(self, queue: str) -> int:
        """Count what is in a queue."""
        return int(self._ask(f"queue.{queue}", "messageCount"))

    def connection_count(self) -> int:
        """Count the connections of others than the administrator."""
        return len(self._connections())

    def close_connections(self) -> int:
        """Close the connections of others than the administrator."""
        ids = self._connections()
        for each in ids:
            self._call("closeConnectionWithID", each)
        return len(ids)

    def add_user(self, name: str, password: str) -> None:
        """Add a user; its password is kept as it is."""
        self._call("addUser", name, password, _ROLE, True)

    def delete_user(self, name: str) -> None:
        """Delete a user."""
        self._call("removeUser", name)

    def change_password(self, name: str, password: str) -> None:
        """Change a user's password."""
        self._call("resetUser", name, password, _ROLE, True)

    def _connections(self) -> list[str]:
        every = json.dumps({"field": "", "operation": "", "value": ""})
        listed = json.loads(self._call("listConnections", every, 1, 1000))
        return [each["connectionID"] for each in listed["data"] if _is_client(each)]

    def _call(self, operation: str, *arguments: object) -> Any:
        """Call an operation of the broker, and return what it returns."""
        return self._request(
            {"_AMQ_ResourceName": "broker", "_AMQ_OperationName": operation}, list(arguments)
        )

    def _ask(self, resource: str, attribute: str) -> Any:
        return self._request({"_AMQ_ResourceName": resource, "_AMQ_Attribute": attribute}, [])

    def _request(self, properties: dict[str, str], arguments: list[object]) -> Any:
        # Here and not above: where the library is missing, the rest of this module still serves.
        from proton import Message
        from proton.utils import BlockingConnection, SyncRequestResponse

        connection = BlockingConnection(
            f"amqp://{LOOPBACK}:{self.port}",
            timeout=PATIENCE,
            user=_ADMINISTRATOR,
            password=self.password,
            allowed_mechs="PLAIN",
            allow_insecure_mechs=True,
        )
        try:
            client = SyncRequestResponse(connection, _MANAGEMENT)
            answer = client.call(Message(properties=properties, body=json.dumps(arguments)))
        finally:
            connection.close()
        [value] = json.loads(str(answer.body)) if answer.body else [None]
        said: Any = answer.properties
        if not said["_AMQ_OperationSucceeded"]:
            raise RuntimeError(f"Artemis: {properties}: {value}")
        return value


def _uri(port: int, options: Mapping[str, str]) -> str:
    listed = ";".join(f"{key}={value}" for key, value in options.items())
    return escape(f"tcp://{LOOPBACK}:{port}?{listed}")


def _is_client(row: Mapping[str, Any]) -> bool:
    return _ADMINISTRATOR not in str(row["users"])
