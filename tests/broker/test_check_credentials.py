"""`springline check --credentials`: what a rotation would come to, with nothing touched."""

import asyncio
import itertools
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from support import erlang, springline_process, token_server
from support.identities import Certificates, Issuer, Tenant
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection, a_secret, running
from support.token_server import Registered, TokenServer
from support.waiting import eventually

NAME = "springline/default/orders"
VERIFICATION = f"{NAME} (verification)"
OTHER = "0ther-s3cret"
CA_REF = {"name": "rabbit-ca"}

_numbers = itertools.count()


class Rotation:
    """Manifests of a tenant's connections, and a file with what is to come."""

    def __init__(
        self, directory: Path, node: RabbitMQNode, tenant: Tenant, *, log_start: int
    ) -> None:
        self.node = node
        self.tenant = tenant
        self.manifests = directory / "manifests.yaml"
        self.new = directory / "new.yaml"
        self.output = ""
        """All that was said, on both streams."""
        self._log_start = log_start

    def declare(self, *documents: dict[str, Any]) -> None:
        """Write the manifests, with a broker."""
        written = (a_broker(self.node.amqp_port), *documents)
        self.manifests.write_text(yaml.safe_dump_all(written), encoding="utf-8")

    def connection(self, name: str = "orders", **spec: Any) -> dict[str, Any]:
        return a_connection(name, **{"virtualHost": self.tenant.vhost, **spec})

    def secret(self, password: str = "", *, name: str = "login") -> dict[str, Any]:
        return a_secret(self.tenant.username, password or self.tenant.secret, name=name)

    def run(self, *new: dict[str, Any], options: tuple[str, ...] = (), code: int) -> str:
        """Rehearse the rotation to these documents, and return what was printed."""
        self.new.write_text(yaml.safe_dump_all(new), encoding="utf-8")
        arguments = ("check", "-f", self.manifests, "--credentials", self.new)
        done = subprocess.run(
            springline_process.command(*arguments, "--log-level", "debug", *options),
            env=springline_process.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.output += done.stdout + done.stderr
        springline_process.searched(self.output, self.tenant.secret, OTHER, *secrets_of(*new))
        assert done.returncode == code, done.stderr
        return done.stdout

    def rehearse(self, *new: dict[str, Any], code: int) -> dict[str, str]:
        """Return what machines are told of the connection `orders`."""
        items = json.loads(self.run(*new, options=("-o", "json"), code=code))["items"]
        [item] = [each for each in items if each["metadata"]["name"] == "orders"]
        return dict(item["rotation"])

    async def opened(self) -> list[str]:
        """Return the names of the connections that the broker was asked for since the start.

        Each must have been closed in an orderly way.
        """
        log = (await whole_log(self.node))[self._log_start :]
        named = re.findall(r"\[info\] (<[\d.]+>) .* has a client-provided name: (.+)", log)
        pids = [f" {pid} " for pid, _ in named]
        mine = [line for line in log.splitlines() if any(pid in line for pid in pids)]
        assert not any("unexpectedly" in line or "abruptly" in line for line in mine)
        return [name for _, name in named]


async def whole_log(node: RabbitMQNode) -> str:
    """Return the broker's log with all that it has been told until now."""
    end = f"looked at, {next(_numbers)}"
    await asyncio.to_thread(node.eval, f"logger:notice({erlang.string(end)})")
    await eventually(lambda: end in node.log_text(), what="the log is written")
    return node.log_text()


def secrets_of(*documents: dict[str, Any]) -> list[str]:
    data = [each.get("stringData", {}) for each in documents]
    return [
        value
        for each in data
        for key, value in each.items()
        if key not in ("username", "client-id")
    ]


def a_token_secret(token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login"},
        "stringData": {"token": token},
    }


@pytest.fixture
async def rotation(tmp_path: Path, broker: RabbitMQNode, tenant: Tenant) -> Rotation:
    """A connection that logs in by password is declared."""
    rotation = Rotation(tmp_path, broker, tenant, log_start=len(await whole_log(broker)))
    rotation.declare(rotation.secret(), rotation.connection())
    return rotation


@pytest.fixture
def by_token(rotation: Rotation, issuer: Issuer) -> Rotation:
    """A connection that logs in by token is declared."""
    rotation.declare(
        a_token_secret(issuer.token("ann")),
        a_connection("orders", credentials={"tokenRef": {"name": "login"}}),
    )
    return rotation


@pytest.fixture
def other_user(broker: RabbitMQNode) -> Iterator[str]:
    """A user who may log in, and do nothing yet."""
    broker.add_user("ben", OTHER)
    yield "ben"
    broker.delete_user("ben")


# --- passwords


async def test_a_new_password_would_be_renewed_in_place(rotation: Rotation) -> None:
    """One handshake under a name of its own, closed in an orderly way."""
    rotation.node.change_password(rotation.tenant.username, OTHER)
    header, row = rotation.run(rotation.secret(OTHER), code=0).splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "OUTCOME", "USER", "ROTATION"]
    assert row.split()[:4] == ["default", "orders", "InPlace", rotation.tenant.username]
    assert row.endswith("would be renewed in place")
    assert await rotation.opened() == [VERIFICATION]


def test_a_password_that_the_broker_does_not_know_is_refused(rotation: Rotation) -> None:
    """The broker's own words say why; no user name is shown that nobody has accepted."""
    [_, row] = rotation.run(rotation.secret("wr0ng"), code=1).splitlines()
    assert row.split()[:4] == ["default", "orders", "Refused", "-"]
    assert "  refused: " in row
    assert "ACCESS_REFUSED" in row
    assert row.endswith("; the session would keep what it has")


def test_another_user_would_replace_the_session(rotation: Rotation, other_user: str) -> None:
    rotation.node.set_permissions(other_user, rotation.tenant.vhost)
    assert rotation.rehearse(a_secret(other_user, OTHER), code=0) == {
        "outcome": "Replaced",
        "reason": "Verified",
        "message": f"would be replaced (another user: {other_user})",
        "username": other_user,
    }


def test_a_user_without_permission_is_refused(rotation: Rotation, other_user: str) -> None:
    """The password is right, the virtual host is not for this user."""
    found = rotation.rehearse(a_secret(other_user, OTHER), code=1)
    assert (found["outcome"], found["reason"]) == ("Refused", "AccessRefused")
    assert f"'{rotation.tenant.vhost}' refused for user '{other_user}'" in found["message"]


async def test_a_secret_without_the_key_is_told_without_asking_the_broker(
    rotation: Rotation,
) -> None:
    incomplete = rotation.secret()
    incomplete["stringData"] = {"username": "ann", "passwrd": "pl4nted"}
    found = rotation.rehearse(incomplete, code=1)
    assert (found["outcome"], found["reason"]) == ("Refused", "SecretKeyMissing")
    assert found["message"].startswith('cannot be used: Secret "login" has no key "password"')
    assert await rotation.opened() == []


async def test_the_same_values_change_nothing(rotation: Rotation) -> None:
    """Nobody needs to be asked."""
    found = rotation.rehearse(rotation.secret(), code=0)
    assert (found["outcome"], found["message"]) == ("Unchanged", "nothing would change")
    assert await rotation.opened() == []


def test_what_is_not_compared_with_anything_is_only_accepted(rotation: Rotation) -> None:
    """The manifests need not have the Secret of now; then nobody knows how it would get there."""
    rotation.declare(rotation.connection())
    found = rotation.rehearse(rotation.secret(), code=0)
    assert found["outcome"] == "Accepted"
    assert found["username"] == rotation.tenant.username


async def test_only_connections_that_read_it_are_opened(rotation: Rotation) -> None:
    """The others are not even named; one of several that fails is enough for the exit code."""
    own = {"secretRef": {"name": "own"}}
    rotation.declare(
        rotation.secret(),
        rotation.connection("orders"),
        rotation.connection("billing", virtualHost="/"),
        rotation.connection("invoices", credentials=own),
        rotation.secret(name="own"),
    )
    rotation.node.change_password(rotation.tenant.username, OTHER)
    rows = [line.split()[1:3] for line in rotation.run(rotation.secret(OTHER), code=1).splitlines()]
    assert rows[1:] == [["orders", "InPlace"], ["billing", "Refused"]]
    assert sorted(await rotation.opened()) == [
        "springline/default/billing (verification)",
        VERIFICATION,
    ]


async def test_a_live_session_does_not_notice(rotation: Rotation) -> None:
    """Neither an accepted nor a refused password reaches it: its status stays word for word."""
    declared = (a_broker(rotation.node.amqp_port), rotation.secret(), rotation.connection())
    async with running(*declared) as held:
        await held.until_ready("orders")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        before, events = held.status("orders"), len(held.events)
        [connection] = [each for each in rotation.node.connections() if each.name == NAME]
        await asyncio.to_thread(rotation.run, rotation.secret("wr0ng"), code=1)
        rotation.node.change_password(rotation.tenant.username, OTHER)
        await asyncio.to_thread(rotation.run, rotation.secret(OTHER), code=0)
        mine = [each for each in rotation.node.connections() if each.name.startswith(NAME)]
        assert [each.pid for each in mine] == [connection.pid]
        assert held.status("orders") == before
        assert len(held.events) == events


# --- tokens


def test_a_new_token_would_be_renewed_in_place(by_token: Rotation, issuer: Issuer) -> None:
    """And it is told until when it would last."""
    found = by_token.rehearse(a_token_secret(issuer.token("ann", exp=4102444800)), code=0)
    assert found == {
        "outcome": "InPlace",
        "reason": "Verified",
        "message": "would be renewed in place",
        "username": "ann",
        "expiresAt": "2100-01-01T00:00:00Z",
    }


def test_a_token_of_another_subject_would_replace_the_session(
    by_token: Rotation, issuer: Issuer
) -> None:
    found = by_token.rehearse(a_token_secret(issuer.token("ben")), code=0)
    assert found["message"] == "would be replaced (another user: ann → ben)"


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"seconds": -60}, id="expired"),
        pytest.param({"key": "somebody-else-0123456789abcdef0123456789"}, id="of another issuer"),
        pytest.param({"aud": ["another-broker"]}, id="for another audience"),
        pytest.param({"scope": ["rabbitmq.read:elsewhere/*"]}, id="for another virtual host"),
    ],
)
def test_a_token_that_the_broker_does_not_take_is_refused(
    by_token: Rotation, issuer: Issuer, bad: dict[str, Any]
) -> None:
    found = by_token.rehearse(a_token_secret(issuer.token("ann", **bad)), code=1)
    assert (found["outcome"], found["reason"]) == ("Refused", "AccessRefused")


def test_garbage_in_the_place_of_a_token_is_refused(by_token: Rotation) -> None:
    found = by_token.rehearse(a_token_secret("eyJhbGciOiJIUzI1NiJ9.bm90LWpzb24.pl4nted"), code=1)
    assert (found["outcome"], found["reason"]) == ("Refused", "AccessRefused")


# --- an OAuth 2 client


@pytest.fixture
async def by_client(rotation: Rotation) -> AsyncIterator[TokenServer]:
    """A connection that logs in with tokens of an OAuth 2 client is declared."""
    clients = {"shop": Registered(secret="first"), "shop-2": Registered(secret=OTHER)}
    async with token_server.serving(clients) as server:
        client = {"tokenURL": server.url, "clientRef": {"name": "client"}, "caRef": CA_REF}
        rotation.declare(
            authority(server.authority),
            a_client("shop", "first"),
            a_connection("orders", credentials={"oauth2": client}),
        )
        yield server
        assert server.tokens
        springline_process.searched(rotation.output, *server.tokens)


def a_client(name: str, secret: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "client"},
        "stringData": {"client-id": name, "client-secret": secret},
    }


async def test_a_token_of_another_client_is_tried(
    rotation: Rotation, by_client: TokenServer
) -> None:
    """Not the one that the old client was given. Whose tokens they are decides how it goes on."""
    found = await asyncio.to_thread(rotation.rehearse, a_client("shop-2", OTHER), code=0)
    assert (found["outcome"], found["username"]) == ("InPlace", "ann")
    assert [each.client_id for each in by_client.requests] == ["shop", "shop-2"]
    assert await rotation.opened() == [VERIFICATION]


async def test_a_new_secret_of_the_same_client_is_tried(
    rotation: Rotation, by_client: TokenServer
) -> None:
    """With the old one no token is to be had any more, so nobody knows whose it would be."""
    by_client.clients["shop"].secret = OTHER
    found = await asyncio.to_thread(rotation.rehearse, a_client("shop", OTHER), code=0)
    assert (found["outcome"], found["username"]) == ("Accepted", "ann")
    assert len(by_client.tokens) == 1


async def test_a_client_that_the_server_does_not_know_is_refused(
    rotation: Rotation, by_client: TokenServer
) -> None:
    """The token of the old one, which is still good, is no answer."""
    found = await asyncio.to_thread(rotation.rehearse, a_client("shop", "wr0ng"), code=1)
    assert (found["outcome"], found["reason"]) == ("Refused", "TokenRequestFailed")
    assert "invalid_client" in found["message"]
    assert len(by_client.tokens) == 1
    assert await rotation.opened() == []


# --- certificates


def authority(*authorities: trustme.CA) -> dict[str, Any]:
    bundle = "".join(each.cert_pem.bytes().decode() for each in authorities)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": CA_REF,
        "data": {"ca.crt": bundle},
    }


@pytest.fixture
def by_tls(rotation: Rotation, certificates: Certificates) -> Rotation:
    """A connection whose broker is checked against an authority is declared."""
    encrypted = a_broker(
        rotation.node.amqps_port,
        name="encrypted",
        endpoints=[{"host": "localhost", "port": rotation.node.amqps_port}],
        sasl={},
        tls={"enabled": True, "caRef": CA_REF},
    )
    connection = rotation.connection(brokerRef={"name": "encrypted"})
    rotation.declare(encrypted, authority(certificates.authority), rotation.secret(), connection)
    return rotation


def test_a_larger_bundle_of_authorities_would_replace_the_session(
    by_tls: Rotation, certificates: Certificates
) -> None:
    """Certificates count only in the handshake, so the session is opened anew."""
    found = by_tls.rehearse(authority(certificates.authority, trustme.CA()), code=0)
    assert found["message"] == "would be replaced (other certificates)"


def test_an_authority_that_did_not_sign_the_broker_is_refused(by_tls: Rotation) -> None:
    found = by_tls.rehearse(authority(trustme.CA()), code=1)
    assert (found["outcome"], found["reason"]) == ("Refused", "TLSFailed")


def test_both_may_change_at_once(by_tls: Rotation, certificates: Certificates) -> None:
    by_tls.node.change_password(by_tls.tenant.username, OTHER)
    bundle = authority(certificates.authority, trustme.CA())
    found = by_tls.rehearse(bundle, by_tls.secret(OTHER), code=0)
    assert found["message"] == "would be replaced (other certificates)"
