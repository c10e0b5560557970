"""Values for tests: complete and usable as they are, each field replaceable by name."""

import dataclasses
from datetime import datetime
from typing import Any

from springline import errors
from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core.backoff import Retry
from springline.core.desired import ProbeSettings, SessionSpec, Target
from springline.core.values import (
    Block,
    ClosedBy,
    CloseInfo,
    Credential,
    CredentialKind,
    Endpoint,
    OpenInfo,
    SessionKey,
)
from springline.drivers.amqp091.negotiated import Amqp091Negotiated, Amqp091ServerInfo
from springline.drivers.amqp091.parameters import Amqp091Parameters, LocalePreference
from springline.drivers.amqp091.probe_target import Amqp091ProbeTarget
from springline.drivers.shared.sasl import SaslPolicy
from springline.reasons import Reason
from springline.redaction import Secret

__all__ = [
    "BROKER",
    "KEY",
    "OTHER_RABBIT",
    "PROBE",
    "RABBIT",
    "a_block",
    "a_credential",
    "a_probe",
    "a_spec",
    "a_target",
    "a_token",
    "an_open_info",
    "certificates_unusable",
    "credential_expired",
    "credential_refused",
    "limit_reached",
    "no_address",
    "no_new_token",
    "no_secret",
    "probe_refused",
    "refused",
    "secret_refused",
    "secret_unreadable",
    "server_close",
    "terminal",
    "throttled",
    "transport_close",
    "unreachable",
    "update_not_sent",
    "update_refused",
]

KEY = SessionKey("apps", "orders")
BROKER = Identity("Broker", "apps", "rabbit")
RABBIT = Endpoint("rabbit-0.example", 5672)
OTHER_RABBIT = Endpoint("rabbit-1.example", 5672)


def a_probe(
    *,
    interval: float = 15.0,
    timeout: float = 5.0,
    exchange: str = "",
    routing_key: str = "springline.probe",
    own_queue: bool = False,
) -> ProbeSettings:
    """How a session is probed."""
    target = Amqp091ProbeTarget(exchange=exchange, routing_key=routing_key, own_queue=own_queue)
    return ProbeSettings(interval=interval, timeout=timeout, target=target)


PROBE = a_probe()


def a_target(**changes: Any) -> Target:
    """What is connected to. Fields of its parameters may be named as well."""
    parameters = Amqp091Parameters(
        virtual_host="orders",
        heartbeat_seconds=60,
        channel_max=2047,
        frame_max=131072,
        sasl=SaslPolicy(mechanisms=("PLAIN",)),
        locale=LocalePreference(),
        connection_name=f"springline/{KEY}",
    )
    names = {field.name for field in dataclasses.fields(Amqp091Parameters)}
    of_parameters = {name: changes.pop(name) for name in names & changes.keys()}
    target = Target(
        protocol="amqp091",
        endpoints=(RABBIT,),
        endpoints_from=None,
        default_port=5672,
        tls=v1alpha1.TLS(),
        parameters=dataclasses.replace(parameters, **of_parameters),
    )
    return dataclasses.replace(target, **changes)


def a_spec(**changes: Any) -> SessionSpec:
    """What a session is to do. Without jitter and without a probe, so that times are round."""
    spec = SessionSpec(
        key=KEY,
        generation=1,
        broker=BROKER,
        target=a_target(),
        credentials=v1alpha1.Credentials(
            secret_ref=v1alpha1.SecretReference(name="orders-amqp"),
        ),
        connect_timeout=10.0,
        retry=Retry(delay=10.0, max_delay=60.0, jitter=0.0),
        concurrent=50,
        probe=None,
        suspend=False,
        stay_closed=False,
    )
    return dataclasses.replace(spec, **changes)


def a_credential(secret: str = "first", *, username: str = "app", version: str = "1") -> Credential:
    return Credential(
        kind=CredentialKind.PASSWORD,
        source="secretRef",
        username=username,
        secret=Secret(secret),
        version=version,
    )


def a_token(
    secret: str = "first",
    *,
    username: str = "",
    issued_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> Credential:
    return Credential(
        kind=CredentialKind.TOKEN,
        source="tokenRef",
        username=username,
        secret=Secret(secret),
        issued_at=issued_at,
        expires_at=expires_at,
    )


def an_open_info(
    endpoint: Endpoint = RABBIT,
    *,
    address: str = "192.0.2.1",
    proved: bool = True,
    heartbeat_seconds: int = 60,
    tells_blocks: bool = True,
) -> OpenInfo:
    return OpenInfo(
        endpoint=endpoint,
        address=address,
        negotiated=Amqp091Negotiated(
            mechanism="PLAIN" if proved else "ANONYMOUS",
            locale="en_US",
            heartbeat_seconds=heartbeat_seconds,
            channel_max=2047,
            frame_max=131072,
            client_properties={"connection_name": f"springline/{KEY}"},
        ),
        server=Amqp091ServerInfo(
            product="RabbitMQ",
            version="4.0.5",
            platform="Erlang/OTP 27",
            cluster_name="rabbit@one",
            protocol_version="0-9-1",
            mechanisms=("PLAIN", "AMQPLAIN"),
            locales=("en_US",),
            tells_blocks=tells_blocks,
        ),
        proved=proved,
    )


# --- why an attempt fails


def unreachable(message: str = "nobody listens") -> errors.TransientError:
    return errors.TransientError(Reason.CONNECTION_REFUSED, message)


def throttled(*, retry_after: float | None = None) -> errors.TransientError:
    """Return what a broker answers that wants to be left alone for so many seconds."""
    return errors.TransientError(Reason.THROTTLED, "too many requests", retry_after=retry_after)


def credential_refused(message: str = "login refused") -> errors.CredentialRejectedError:
    return errors.CredentialRejectedError(Reason.ACCESS_REFUSED, message)


def credential_expired(message: str = "the token has expired") -> errors.CredentialRejectedError:
    return errors.CredentialRejectedError(Reason.ACCESS_REFUSED, message, says_expired=True)


def limit_reached(
    message: str = "the user's connection limit is reached",
) -> errors.TransientError:
    return errors.TransientError(Reason.CONNECTION_LIMIT_REACHED, message, authenticated=True)


def no_address(message: str = "the name server knows no such host") -> errors.TransientError:
    return errors.TransientError(Reason.NAME_RESOLUTION_FAILED, message)


def certificates_unusable(
    message: str = "ca.crt is no certificate",
) -> errors.TerminalError:
    return errors.TerminalError(Reason.TLS_FAILED, message)


def refused(message: str = "no such virtual host") -> errors.RejectedError:
    return errors.RejectedError(Reason.VIRTUAL_HOST_NOT_FOUND, message, authenticated=True)


def terminal(message: str = "no mechanism in common") -> errors.TerminalError:
    return errors.TerminalError(Reason.NO_AUTHENTICATION_MECHANISM, message)


def no_secret(message: str = 'there is no Secret "orders-amqp"') -> errors.CredentialError:
    return errors.CredentialError(Reason.SECRET_NOT_FOUND, message)


def no_new_token(
    message: str = "the issuer is away",
) -> errors.CredentialUnavailableError:
    return errors.CredentialUnavailableError(Reason.TOKEN_REQUEST_FAILED, message)


def secret_unreadable(
    message: str = "the API server is away",
) -> errors.CredentialUnavailableError:
    return errors.CredentialUnavailableError(Reason.SECRET_UNREADABLE, message)


# --- what happens to an open connection


def update_refused(text: str = "NOT_ALLOWED - refused") -> errors.SecretRefusedError:
    return errors.SecretRefusedError(text)


def update_not_sent(why: str = "it is too long") -> errors.SecretNotSentError:
    return errors.SecretNotSentError(why)


def a_block(text: str = "low on memory", reason: Reason = Reason.LOW_ON_MEMORY) -> Block:
    return Block(reason=reason, text=text)


def server_close(
    text: str = "CONNECTION_FORCED - by an operator",
    *,
    says_expired: bool = False,
    probe_refused: str = "",
) -> CloseInfo:
    return CloseInfo(
        by=ClosedBy.SERVER,
        reason=Reason.CONNECTION_FORCED,
        text=text,
        codes={"code": 320, "classID": 10, "methodID": 0},
        says_expired=says_expired,
        probe_refused=probe_refused,
    )


def probe_refused(
    text: str = "403 ACCESS_REFUSED",
    why: errors.ProbeRefusal = errors.ProbeRefusal.NO_PERMISSION,
) -> errors.ProbeRefusedError:
    return errors.ProbeRefusedError(why, text)


def secret_refused(text: str = "NOT_ALLOWED") -> errors.SecretRefusedError:
    return errors.SecretRefusedError(text)


def transport_close(text: str = "the peer ended the connection") -> CloseInfo:
    return CloseInfo(by=ClosedBy.TRANSPORT, reason=Reason.PEER_CLOSED, text=text)
