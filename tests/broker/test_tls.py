"""TLS as it is declared: certificates from ConfigMaps and Secrets, and what status says of them."""

import base64
from typing import Any

import pytest
import trustme

from support.identities import CLIENT_NAME, Certificates
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection, a_secret, running

pytestmark = pytest.mark.usefixtures("nothing_left")


LOGIN = a_secret("guest", "guest")


def authority(ca: trustme.CA) -> dict[str, Any]:
    """A ConfigMap with the certificate of an authority."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "rabbit-ca"},
        "data": {"ca.crt": ca.cert_pem.bytes().decode()},
    }


def client_certificate(certificates: Certificates) -> dict[str, Any]:
    """A kubernetes.io/tls Secret with the client's certificate."""
    issued = certificates.authority.issue_cert(CLIENT_NAME, common_name=CLIENT_NAME)
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "client"},
        "data": {
            "tls.crt": base64.b64encode(chain).decode(),
            "tls.key": base64.b64encode(issued.private_key_pem.bytes()).decode(),
        },
    }


def tls_broker(node: RabbitMQNode, *, port: int | None = None, **tls: Any) -> dict[str, Any]:
    """A Broker that is reached by TLS, and would never send a password in the clear."""
    return a_broker(
        port or node.amqps_port,
        endpoints=[{"host": "localhost", "port": port or node.amqps_port}],
        sasl={"allowInsecure": False},
        tls={"enabled": True, **tls},
    )


CA_REF = {"name": "rabbit-ca"}


# R2.9
async def test_a_session_over_tls_shows_what_protects_it(
    broker: RabbitMQNode, certificates: Certificates
) -> None:
    """Version, cipher, and when the broker's certificate expires."""
    documents = (tls_broker(broker, caRef=CA_REF), authority(certificates.authority), LOGIN)
    async with running(*documents, a_connection("orders")) as held:
        await held.until_ready("orders")
        tls = held.status("orders")["negotiated"]["tls"]
        assert tls["version"] == "TLSv1.3"
        assert tls["cipher"]
        assert tls["peerCertificateNotAfter"].endswith("Z")


async def test_the_client_certificate_can_be_the_login(
    broker: RabbitMQNode, certificates: Certificates
) -> None:
    """SASL EXTERNAL: no user and no password anywhere."""
    async with running(
        tls_broker(broker, caRef=CA_REF, clientCertificateRef={"name": "client"}),
        authority(certificates.authority),
        client_certificate(certificates),
        a_connection("orders", credentials={"external": {}}),
    ) as held:
        await held.until_ready("orders")
        assert held.status("orders")["negotiated"]["mechanism"] == "EXTERNAL"
        (connection,) = [each for each in broker.connections() if each.user == CLIENT_NAME]
        assert connection.tls


async def test_an_authority_that_did_not_sign_is_told_and_can_be_corrected(
    broker: RabbitMQNode, certificates: Certificates
) -> None:
    """Correcting the ConfigMap is enough."""
    declared = (tls_broker(broker, caRef=CA_REF), LOGIN, a_connection("orders"))
    async with running(*declared, authority(trustme.CA())) as held:
        message = await held.until_reason("orders", "Connected", "TLSFailed")
        assert "tls.caRef" in message
        held.apply(*declared, authority(certificates.authority))
        await held.until_ready("orders")


async def test_a_missing_authority_is_named(broker: RabbitMQNode) -> None:
    """As a sentence that says what to do."""
    declared = (tls_broker(broker, caRef=CA_REF), LOGIN, a_connection("orders"))
    async with running(*declared) as held:
        message = await held.until_reason("orders", "Connected", "TLSFailed")
        assert 'there is no ConfigMap "rabbit-ca" in namespace "default"' in message


async def test_the_name_in_the_certificate_counts(
    broker: RabbitMQNode, certificates: Certificates
) -> None:
    """`serverName` is what is asked for and verified."""
    ca = authority(certificates.authority)
    wrong = tls_broker(broker, caRef=CA_REF, serverName="rabbit.example.com")
    async with running(wrong, ca, LOGIN, a_connection("orders")) as held:
        message = await held.until_reason("orders", "Connected", "TLSFailed")
        assert "rabbit.example.com" in message
        by_address = tls_broker(broker, caRef=CA_REF, serverName="localhost")
        by_address["spec"]["endpoints"][0]["host"] = "127.0.0.1"
        held.apply(by_address, ca, LOGIN, a_connection("orders"))
        await held.until_ready("orders")


async def test_verification_can_be_skipped_on_purpose(broker: RabbitMQNode) -> None:
    """Nothing is claimed of a certificate that nobody verified."""
    unverified = tls_broker(broker, insecureSkipVerify=True)
    async with running(unverified, LOGIN, a_connection("orders")) as held:
        await held.until_ready("orders")
        assert "peerCertificateNotAfter" not in held.status("orders")["negotiated"]["tls"]


async def test_tls_to_a_plain_port_is_recognised(
    broker: RabbitMQNode, certificates: Certificates
) -> None:
    """A frequent mistake."""
    plain = tls_broker(broker, port=broker.amqp_port, caRef=CA_REF)
    documents = (plain, authority(certificates.authority), LOGIN, a_connection("orders"))
    async with running(*documents) as held:
        message = await held.until_reason("orders", "Connected", "TLSFailed")
        assert "does not speak TLS" in message


async def test_plaintext_to_a_tls_port_is_recognised(broker: RabbitMQNode) -> None:
    """The other way round: nothing of the login is sent."""
    documents = (a_broker(broker.amqps_port), LOGIN, a_connection("orders"))
    async with running(*documents) as held:
        message = await held.until_reason("orders", "Connected", "ProtocolMismatch")
        assert "TLS" in message


async def test_a_renewed_client_certificate_replaces_the_session(
    broker: RabbitMQNode, certificates: Certificates
) -> None:
    """A certificate counts only in a handshake; the new session is open before the old closes."""
    declared = (
        tls_broker(broker, caRef=CA_REF, clientCertificateRef={"name": "client"}),
        authority(certificates.authority),
        a_connection("orders", credentials={"external": {}}),
    )
    async with running(*declared, client_certificate(certificates)) as held:
        await held.until_ready("orders")
        held.apply(*declared, client_certificate(certificates))
        await held.until_reason("orders", "CredentialsValid", "Verified")
        assert held.status("orders")["credentials"]["method"] == "Replaced"
        assert held.status("orders").get("lastClose") is None
