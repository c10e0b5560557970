"""`status` of the resources: what Springline reports, and never reads.

Fields without a value are left out. No field may hold a secret, a token or a URL with credentials.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, PlainSerializer

from springline.api.meta import ApiModel
from springline.api.times import rfc3339

__all__ = [
    "AMQP10LinkStatus",
    "AMQP10SessionStatus",
    "AMQP10TerminusStatus",
    "BindingStatus",
    "BlockedStatus",
    "BrokerConnectionStatus",
    "BrokerStatus",
    "ConnectionCounts",
    "CredentialsStatus",
    "LastCloseStatus",
    "LastHandledStatus",
    "NegotiatedAMQP10Status",
    "NegotiatedHTTPStatus",
    "NegotiatedStatus",
    "ServerStatus",
    "TLSStatus",
    "as_document",
]


Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]


class TLSStatus(ApiModel):
    """What the TLS handshake agreed on."""

    version: str = Field(description="Protocol version, such as TLSv1.3.")
    cipher: str = Field(description="Cipher suite.")
    peer_certificate_not_after: Timestamp | None = Field(
        default=None, description="When the broker's certificate expires, if it was verified."
    )


class AMQP10TerminusStatus(ApiModel):
    """The settings of one end of a link, as the broker confirmed them."""

    durability: str = Field(description="None, Configuration or UnsettledState.")
    expiry: str = Field(description="LinkDetach, SessionEnd, ConnectionClose or Never.")
    timeout: str = Field(description="How long it is kept after that.")
    dynamic: bool = Field(description="Whether the broker created the node for the link.")
    filter: tuple[str, ...] | None = Field(
        default=None, description="Names of the filters that the broker applies; of a source."
    )
    distribution: str | None = Field(
        default=None, description="Move or Copy, where the broker says it; of a source."
    )


class AMQP10LinkStatus(ApiModel):
    """What became of a declared link."""

    name: str = Field(description="Name in the declaration.")
    role: str = Field(description="Sender or Receiver.")
    state: str = Field(
        description=(
            "Attaching, Attached, Refused, or Detached, as is a Receiver without keep: true once it"
            " was attached."
        )
    )
    address: str | None = Field(
        default=None, description="Address of the node, as the broker confirmed it."
    )
    source: AMQP10TerminusStatus | None = Field(
        default=None, description="The source, as the broker confirmed it."
    )
    target: AMQP10TerminusStatus | None = Field(
        default=None, description="The target, as the broker confirmed it."
    )
    sender_settle: str | None = Field(
        default=None,
        description="How its sender settles messages: Unsettled, Settled or Mixed.",
    )
    receiver_settle: str | None = Field(
        default=None,
        description="When its receiver settles messages: First, which is at once, or Second.",
    )
    credit: int | None = Field(
        default=None, description="Messages that its receiver takes at the moment."
    )
    max_message_size: int | None = Field(
        default=None, description="Largest message in bytes; 0 means no limit."
    )
    durable_subscription: str | None = Field(
        default=None, description="Name of the durable subscription, if it is one."
    )
    kept: bool = Field(description="Whether it is to stay attached.")
    message: str | None = Field(
        default=None, description="Why it was refused or detached, in a sentence for people."
    )


class AMQP10SessionStatus(ApiModel):
    """The windows of an AMQP session, in frames."""

    incoming_window: int = Field(description="What the broker may have on the way to the client.")
    outgoing_window: int = Field(description="What the client may have on the way to the broker.")
    peer_incoming_window: int = Field(
        description="What the broker takes at the moment; 0 means that it takes nothing."
    )
    peer_outgoing_window: int = Field(description="What the broker has for the client at most.")


class NegotiatedAMQP10Status(ApiModel):
    """What was agreed on with a broker that speaks AMQP 1.0. `peer` is the broker's side."""

    container_id: str = Field(
        alias="containerID", description="Name under which the broker knows the client."
    )
    hostname: str | None = Field(
        default=None, description="Host or virtual host that was asked for, as it was sent."
    )
    user: str | None = Field(
        default=None, description="User that is logged in, as far as that is known."
    )
    peer_container_id: str | None = Field(
        default=None, alias="peerContainerID", description="What the broker calls itself."
    )
    idle_timeout: str = Field(
        description="Longest silence that the broker is allowed; 0s means any."
    )
    peer_idle_timeout: str = Field(
        description="Longest silence that the broker allows; 0s means any."
    )
    max_frame_size: int = Field(description="Largest frame that is taken, in bytes.")
    peer_max_frame_size: int = Field(description="Largest frame that the broker takes, in bytes.")
    channel_max: int = Field(description="Highest channel number that is taken.")
    peer_channel_max: int = Field(description="Highest channel number that the broker takes.")
    session: AMQP10SessionStatus = Field(description="The windows of the session, in frames.")
    offered_capabilities: tuple[str, ...] | None = Field(
        default=None, description="Capabilities that the broker offers."
    )
    desired_capabilities: tuple[str, ...] | None = Field(
        default=None, description="Capabilities that the broker would use."
    )
    peer_properties: dict[str, str] | None = Field(
        default=None, description="What the broker says of itself."
    )
    links: tuple[AMQP10LinkStatus, ...] | None = Field(
        default=None, description="The declared links, in their order."
    )


class NegotiatedHTTPStatus(ApiModel):
    """What is known of the way in which a server speaks HTTP."""

    version: str = Field(description="Version of HTTP: 1.0, 1.1 or 2.")
    keep_alive: bool = Field(
        description="Whether an answer has shown that a connection takes more than one request."
    )
    concurrent_streams: int | None = Field(
        default=None, description="Requests that an HTTP/2 server takes at the same time."
    )
    queue_length: int = Field(
        description="Requests that waited or were not answered when the last probe came to its end."
    )


class NegotiatedStatus(ApiModel):
    """What both peers agreed on when the session was opened."""

    mechanism: str = Field(description="Authentication mechanism.")
    locale: str | None = Field(
        default=None, description="Locale of the broker's messages, where the protocol has any."
    )
    heartbeat: str = Field(description="Heartbeat; 0s means that there is none.")
    channel_max: int | None = Field(
        default=None,
        description="Highest channel number, where the protocol has any; 0 means no limit.",
    )
    frame_max: int | None = Field(
        default=None,
        description="Largest frame in bytes, where the protocol has any; 0 means no limit.",
    )
    client_properties: dict[str, str] | None = Field(
        default=None, description="What the client said of itself, where the protocol lets it."
    )
    tls: TLSStatus | None = Field(default=None, description="The TLS handshake, if there was one.")
    amqp10: NegotiatedAMQP10Status | None = Field(
        default=None, description="What only brokers that speak AMQP 1.0 have."
    )
    http: NegotiatedHTTPStatus | None = Field(
        default=None, description="What only brokers that speak HTTP have."
    )


class ServerStatus(ApiModel):
    """What the broker says of itself."""

    product: str | None = Field(default=None, description="Product, such as RabbitMQ.")
    version: str | None = Field(default=None, description="Version of the product.")
    cluster_name: str | None = Field(default=None, description="Name of the broker's cluster.")
    platform: str | None = Field(default=None, description="What the broker runs on.")
    protocol_version: str | None = Field(default=None, description="Version of the protocol.")
    mechanisms: tuple[str, ...] | None = Field(
        default=None, description="Authentication mechanisms that the broker offers."
    )
    locales: tuple[str, ...] | None = Field(
        default=None, description="Locales that the broker offers."
    )


class CredentialsStatus(ApiModel):
    """Which credential is in use, or was tried last. Never the secret itself."""

    source: str = Field(description="The field of spec.credentials it came from.")
    username: str | None = Field(
        default=None, description="User that it logs in as, once the broker has accepted it."
    )
    observed_version: str | None = Field(
        default=None, description="Version of the object it was read from."
    )
    verified_at: Timestamp | None = Field(
        default=None, description="When the broker last accepted it."
    )
    applied_at: Timestamp | None = Field(
        default=None, description="When the session began to use it."
    )
    method: str | None = Field(
        default=None,
        description=(
            "How the session got it: Handshake when it was opened, InPlace on the connection that"
            " is open, Replaced by a new session."
        ),
    )
    expires_at: Timestamp | None = Field(
        default=None, description="When its lifetime ends, if it has one."
    )
    renew_at: Timestamp | None = Field(
        default=None,
        description="When it is to be renewed, if it has a lifetime (spec.rotation.renewAt).",
    )


class BlockedStatus(ApiModel):
    """Since when, and why, the broker takes no messages from the connection."""

    since: Timestamp = Field(description="When the broker said so.")
    reason: str = Field(description="The broker's own words.")


class LastCloseStatus(ApiModel):
    """How the last open session ended."""

    at: Timestamp = Field(description="When it ended.")
    by: str = Field(description="Server, Client or Transport.")
    reason: str = Field(description="Reason, as in the conditions.")
    text: str = Field(description="The words of whoever closed it.")
    code: int | None = Field(default=None, description="Reply code of the Close.")
    class_id: int | None = Field(
        default=None, alias="classID", description="Class of the method that was at fault."
    )
    method_id: int | None = Field(
        default=None, alias="methodID", description="Method that was at fault."
    )


class LastHandledStatus(ApiModel):
    """Requests made by annotation that were acted on last."""

    reconnect_requested_at: str | None = Field(
        default=None,
        description="Value of the annotation springline.dev/reconnect-requested-at at that time.",
    )
    renew_requested_at: str | None = Field(
        default=None,
        description="Value of the annotation springline.dev/renew-requested-at at that time.",
    )


class BindingStatus(ApiModel):
    """The Secret that was written for applications."""

    name: str = Field(description="Name of the Secret, in the same namespace.")


class BrokerConnectionStatus(ApiModel):
    """What became of a BrokerConnection."""

    observed_generation: int = Field(
        description="Generation of the declaration this is about; -1 until an operator has seen it."
    )
    state: str = Field(
        description=(
            "One word for people: Pending as long as no operator has seen the object, then"
            " Suspended, Connecting, Connected, Waiting, Rejected or Closed. Programs read the"
            " conditions."
        )
    )
    conditions: tuple[dict[str, Any], ...] = Field(
        description=(
            "Ready (not while suspended), Connected, CredentialsValid, Synced, Blocked, with"
            " spec.binding BindingPublished, and Stalled where nothing goes on until somebody"
            " changes something."
        )
    )
    connected_since: Timestamp | None = Field(
        default=None, description="When the current session was opened."
    )
    endpoint: str | None = Field(
        default=None, description="Address of the broker that it is connected to."
    )
    negotiated: NegotiatedStatus | None = Field(
        default=None, description="What both peers agreed on."
    )
    server: ServerStatus | None = Field(default=None, description="What the broker says of itself.")
    credentials: CredentialsStatus | None = Field(
        default=None, description="Which credential is in use."
    )
    blocked: BlockedStatus | None = Field(
        default=None, description="Since when and why it is blocked."
    )
    last_close: LastCloseStatus | None = Field(
        default=None, description="How the last open session ended."
    )
    attempts: int = Field(default=0, description="Failed attempts since the last success.")
    binding: BindingStatus | None = Field(
        default=None, description="The Secret for applications, once it has been written."
    )
    holder: str | None = Field(
        default=None,
        description=(
            "The replica of Springline that keeps the session: the namespace and the name of its"
            " Lease, which says whether it lives."
        ),
    )
    last_handled: LastHandledStatus | None = Field(
        default=None, description="Requests made by annotation that were acted on last."
    )


class ConnectionCounts(ApiModel):
    """How the connections to a broker are."""

    declared: int = Field(description="BrokerConnections that refer to it.")
    ready: int = Field(description="Those that are Ready.")
    blocked: int = Field(description="Those that are blocked.")


class BrokerStatus(ApiModel):
    """What became of a Broker or ClusterBroker."""

    observed_generation: int = Field(
        description="Generation of the declaration this is about; -1 until an operator has seen it."
    )
    conditions: tuple[dict[str, Any], ...] = Field(
        description="Ready, Reachable, and Stalled where the declaration cannot be used."
    )
    server: ServerStatus | None = Field(default=None, description="What the broker says of itself.")
    connections: ConnectionCounts = Field(description="How the connections to it are.")
    holder: str | None = Field(
        default=None,
        description=(
            "The replica of Springline that counts them: the namespace and the name of its Lease,"
            " which says whether it lives."
        ),
    )


def as_document(status: ApiModel) -> dict[str, Any]:
    """Return `status`, or a part, as it stands in the document: plain values, none absent."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)
