"""Every reason a condition can carry: part of the public contract, so never renamed.

People read them in `kubectl get`, machines match on them in alerts. A new way of failing gets a new
member here before any code reports it.
"""

import enum

__all__ = ["Reason"]


class Reason(enum.StrEnum):
    """A condition's `reason`: CamelCase, stable, one meaning each."""

    # Ready, Connected and Reachable, when True
    CONNECTED = (
        "Connected"  # Ready: connected with a valid credential; Reachable: sessions are open
    )
    USABLE = "Usable"  # Ready of a broker: its declaration can be used
    OPEN = "Open"  # Connected: the open handshake is complete and nobody has begun to close

    # Connected, when not: nothing was tried, because of what is declared
    CONNECTING = "Connecting"  # an attempt is running, or waits for its turn
    SUSPENDED = "Suspended"  # spec.suspend is true
    STAY_CLOSED = "StayClosed"  # it was closed and spec.whenClosed says to leave it so
    INVALID_SPEC = "InvalidSpec"  # the declaration contradicts itself
    BROKER_NOT_FOUND = "BrokerNotFound"  # spec.brokerRef names nothing
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"  # the ClusterBroker is not for this namespace
    NO_CREDENTIALS = "NoCredentials"  # there is nothing to log in with; CredentialsValid says why
    PROTOCOL_NOT_INSTALLED = (
        "ProtocolNotInstalled"  # the library that speaks it is missing or cannot be loaded
    )

    # Connected, when not: the way to the broker
    NAME_RESOLUTION_FAILED = "NameResolutionFailed"  # no address of the broker is found
    ADDRESS_NOT_ALLOWED = "AddressNotAllowed"  # it is one that Springline does not connect to
    CONNECTION_REFUSED = "ConnectionRefused"  # no listener, or no route
    CONNECT_TIMEOUT = "ConnectTimeout"  # spec.connectTimeout passed before the session was open
    TLS_FAILED = "TLSFailed"  # certificates, names or versions do not match
    PROTOCOL_MISMATCH = "ProtocolMismatch"  # the peer speaks something else
    FLOODED = "Flooded"  # the peer sends more than a session takes

    # Connected, when not: refused in the open handshake
    NO_AUTHENTICATION_MECHANISM = "NoAuthenticationMechanism"  # no mechanism in common
    INSECURE_MECHANISM = "InsecureMechanism"  # only clear-text mechanisms, and no TLS
    ACCESS_REFUSED = "AccessRefused"  # login or virtual host refused
    UNEXPECTED_STATUS = (
        "UnexpectedStatus"  # HTTP: an answer that is none of those that are declared
    )
    VIRTUAL_HOST_NOT_FOUND = "VirtualHostNotFound"  # no such virtual host
    VIRTUAL_HOST_DOWN = "VirtualHostDown"  # it exists, and does not run
    CONNECTION_LIMIT_REACHED = "ConnectionLimitReached"  # of the virtual host, user or node
    NEGOTIATION_FAILED = "NegotiationFailed"  # frame-max or channel-max not acceptable

    # Connected, when not: an open session ended
    HEARTBEAT_MISSED = "HeartbeatMissed"  # nothing was heard for two heartbeats
    PEER_SILENT = "PeerSilent"  # without heartbeats, and one probe after the other is unanswered
    PEER_CLOSED = "PeerClosed"  # the transport ended without a Close, or with one not listed here
    CONNECTION_FORCED = "ConnectionForced"  # an operator or a policy of the broker closed it
    SERVER_SHUTDOWN = "ServerShutdown"  # the broker went down in an orderly way
    CLIENT_CLOSED = "ClientClosed"  # Springline closed it: stopped, suspended, changed or replaced
    INTERNAL_ERROR = "InternalError"  # a defect of Springline's own; its log has the traceback

    # CredentialsValid
    VERIFIED = "Verified"  # a throw-away handshake with it succeeded
    ACCEPTED = "Accepted"  # it opened the live session
    ANONYMOUS = "Anonymous"  # none is declared, and the broker lets anybody in
    EXPIRING = "Expiring"  # it is still valid, and should have been renewed by now
    EXPIRED = "Expired"  # its lifetime is over
    REJECTED = "Rejected"  # the broker refused it
    CREDENTIAL_TOO_LONG = "CredentialTooLong"  # longer than the broker takes before a login
    SECRET_NOT_FOUND = "SecretNotFound"  # the referenced Secret does not exist
    SECRET_KEY_MISSING = "SecretKeyMissing"  # the Secret has no such key
    SECRET_MALFORMED = "SecretMalformed"  # the value cannot be used: empty, NUL, not text
    SECRET_NOT_ALLOWED = "SecretNotAllowed"  # nobody has allowed Springline to use this Secret
    SECRET_UNREADABLE = "SecretUnreadable"  # the API server does not hand it out now
    TOKEN_FILE_NOT_FOUND = "TokenFileNotFound"  # there is no such file
    TOKEN_REQUEST_FAILED = "TokenRequestFailed"  # whoever issues tokens gives none
    NOT_CHECKED = "NotChecked"  # Unknown: nobody has answered yet

    # Synced; when False, the reason of what keeps it from being so
    IN_SYNC = "InSync"  # the open session uses what is declared
    APPLYING = "Applying"  # Unknown: a change is being brought to the open session

    # Blocked
    LOW_ON_MEMORY = "LowOnMemory"  # the broker's memory alarm
    LOW_ON_DISK = "LowOnDisk"  # the broker's disk alarm
    LOW_ON_MEMORY_AND_DISK = "LowOnMemoryAndDisk"  # both
    THROTTLED = "Throttled"  # HTTP: the server wants to be left alone; Connected, too, when opening
    WINDOW_CLOSED = "WindowClosed"  # AMQP 1.0: the broker takes no transfer in, as in an alarm
    NO_CREDIT = "NoCredit"  # AMQP 1.0: a declared sender may send nothing
    BLOCKED_BY_BROKER = "BlockedByBroker"  # blocked with a text we do not know; the message has it
    NOT_BLOCKED = "NotBlocked"  # a publish was confirmed
    PROBE_DISABLED = "ProbeDisabled"  # Unknown: nobody publishes, so nobody is told
    NOT_CONNECTED = "NotConnected"  # Unknown, Synced too: there is no session

    # BindingPublished
    PUBLISHED = "Published"  # the Secret has what was verified last
    SECRET_NOT_OURS = "SecretNotOurs"  # a Secret of that name is somebody else's
    BINDING_FAILED = "BindingFailed"  # it cannot be written; the message says why
    NOTHING_VERIFIED = "NothingVerified"  # Unknown: there is no verified credential yet
