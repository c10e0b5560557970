"""What a broker says in a Close, and what the system says, becomes one reason and one family."""

import asyncio
import errno
import re
import ssl
import struct
import traceback

import aiormq
import pytest
from pamqp.exceptions import UnmarshalingException

from springline.core.values import Block, ClosedBy, Endpoint, ServerInfo
from springline.drivers.amqp091 import errors, replies
from springline.drivers.amqp091.errors import HandshakeProgress, HandshakeStep
from springline.drivers.amqp091.lengths import Login
from springline.drivers.amqp091.replies import Close
from springline.drivers.shared.progress import TransportStep
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    RejectedError,
    TerminalError,
    TransientError,
)
from springline.reasons import Reason
from springline.redaction import Secret
from springline.veil import WITHHELD, Veil

AnyStep = TransportStep | HandshakeStep

LONG_NAME = "v" * 300
REFUSED = Close(code=403, text="ACCESS_REFUSED - Login was refused")

# code, text, whether the login was accepted before, family, reason
CLOSES_AT_OPEN = [
    pytest.param(
        403,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see"
        " the broker logfile.",
        False,
        CredentialRejectedError,
        Reason.ACCESS_REFUSED,
        id="wrong password",
    ),
    pytest.param(
        403,
        "ACCESS_REFUSED - access to vhost refused",
        True,
        RejectedError,
        Reason.ACCESS_REFUSED,
        id="403 for the virtual host, as other brokers say it",
    ),
    pytest.param(
        530,
        "NOT_ALLOWED - vhost orders not found",
        True,
        RejectedError,
        Reason.VIRTUAL_HOST_NOT_FOUND,
        id="unknown virtual host",
    ),
    pytest.param(
        530,
        "NOT_ALLOWED - vhost access to vhost 'x' refused not found",
        True,
        RejectedError,
        Reason.VIRTUAL_HOST_NOT_FOUND,
        id="unknown virtual host with a misleading name",
    ),
    pytest.param(
        402,
        "INVALID_PATH - no such virtual host",
        True,
        RejectedError,
        Reason.VIRTUAL_HOST_NOT_FOUND,
        id="unknown virtual host, by the book",
    ),
    pytest.param(
        404,
        "NOT_FOUND - no such virtual host",
        True,
        RejectedError,
        Reason.VIRTUAL_HOST_NOT_FOUND,
        id="unknown virtual host, as other brokers say it",
    ),
    pytest.param(
        530,
        "NOT_ALLOWED - access to vhost 'orders' refused for user 'ann'",
        True,
        RejectedError,
        Reason.ACCESS_REFUSED,
        id="no permission",
    ),
    pytest.param(
        530,
        "NOT_ALLOWED - access to vhost 'x not found' refused for user 'ann'",
        True,
        RejectedError,
        Reason.ACCESS_REFUSED,
        id="no permission, misleading name",
    ),
    pytest.param(
        530,
        f"NOT_ALLOWED - access to vhost '{LONG_NAME}"[:255],
        True,
        RejectedError,
        Reason.ACCESS_REFUSED,
        id="no permission, text cut off",
    ),
    pytest.param(
        530,
        "NOT_ALLOWED - access to vhost 'orders' refused for user 'ann': connection limit (5) is"
        " reached",
        True,
        TransientError,
        Reason.CONNECTION_LIMIT_REACHED,
        id="limit of the virtual host",
    ),
    pytest.param(
        530,
        "NOT_ALLOWED - connection refused for user 'ann': user connection limit (5) is reached",
        True,
        TransientError,
        Reason.CONNECTION_LIMIT_REACHED,
        id="limit of the user",
    ),
    pytest.param(
        530,
        "NOT_ALLOWED - connection refused: node connection limit (5) is reached",
        True,
        TransientError,
        Reason.CONNECTION_LIMIT_REACHED,
        id="limit of the node",
    ),
    pytest.param(
        530,
        "NOT_ALLOWED - access to vhost 'orders' refused for user 'ann': connection limit cannot be"
        " queried, timeout",
        True,
        TransientError,
        Reason.CONNECTION_LIMIT_REACHED,
        id="limit that the broker cannot look up",
    ),
    pytest.param(
        530,
        "NOT_ALLOWED - negotiated frame_max = 100 is lower than the minimum allowed value (4096)",
        True,
        TerminalError,
        Reason.NEGOTIATION_FAILED,
        id="frame-max too low",
    ),
    pytest.param(
        530,
        "NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed"
        " value (2047)",
        True,
        TerminalError,
        Reason.NEGOTIATION_FAILED,
        id="channel-max too high",
    ),
    pytest.param(
        541,
        "INTERNAL_ERROR - access to vhost 'orders' refused for user 'ann': vhost 'orders' is down",
        True,
        TransientError,
        Reason.VIRTUAL_HOST_DOWN,
        id="virtual host down",
    ),
    pytest.param(
        541,
        f"INTERNAL_ERROR - access to vhost '{LONG_NAME}"[:255],
        True,
        TransientError,
        Reason.VIRTUAL_HOST_DOWN,
        id="virtual host down, text cut off",
    ),
    pytest.param(
        541,
        "INTERNAL_ERROR",
        True,
        TransientError,
        Reason.PEER_CLOSED,
        id="the broker's own trouble",
    ),
    pytest.param(
        320,
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
        False,
        TransientError,
        Reason.SERVER_SHUTDOWN,
        id="shutdown during the handshake",
    ),
    pytest.param(
        320,
        "CONNECTION_FORCED - vhost 'orders' is down",
        True,
        TransientError,
        Reason.VIRTUAL_HOST_DOWN,
        id="virtual host goes down during the handshake",
    ),
    pytest.param(
        320,
        "CONNECTION_FORCED - vhost 'orders' is deleted",
        True,
        RejectedError,
        Reason.VIRTUAL_HOST_NOT_FOUND,
        id="virtual host is deleted during the handshake",
    ),
    pytest.param(
        501, "FRAME_ERROR - …", False, RejectedError, Reason.PROTOCOL_MISMATCH, id="frame error"
    ),
    pytest.param(
        503, "COMMAND_INVALID", False, RejectedError, Reason.PROTOCOL_MISMATCH, id="invalid command"
    ),
    pytest.param(
        540, "NOT_IMPLEMENTED", False, RejectedError, Reason.PROTOCOL_MISMATCH, id="not implemented"
    ),
    pytest.param(
        506, "RESOURCE_ERROR", False, TransientError, Reason.PEER_CLOSED, id="resource error"
    ),
    pytest.param(999, "", False, TransientError, Reason.PEER_CLOSED, id="a code nobody knows"),
]


# R1.7
@pytest.mark.parametrize(("code", "text", "authenticated", "family", "reason"), CLOSES_AT_OPEN)
def test_a_close_during_the_open_handshake_is_classified(
    code: int, text: str, authenticated: bool, family: type[ConnectError], reason: Reason
) -> None:
    error = replies.at_open(Close(code=code, text=text), authenticated=authenticated)
    assert type(error) is family
    assert error.reason is reason
    assert error.authenticated is authenticated
    assert f"{code} {text}".strip() in str(error)


# R1.8
@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (
            320,
            "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
            Reason.SERVER_SHUTDOWN,
        ),
        (
            320,
            "CONNECTION_FORCED - Node was put into maintenance mode",
            Reason.SERVER_SHUTDOWN,
        ),
        (320, "CONNECTION_FORCED - Closed via management plugin", Reason.CONNECTION_FORCED),
        (320, "CONNECTION_FORCED - vhost 'orders' is deleted", Reason.VIRTUAL_HOST_NOT_FOUND),
        (320, "CONNECTION_FORCED - vhost 'orders' is down", Reason.VIRTUAL_HOST_DOWN),
        (320, "CONNECTION_FORCED - vhost 'it's down' is down", Reason.VIRTUAL_HOST_DOWN),
        (320, f"CONNECTION_FORCED - vhost '{LONG_NAME}"[:255], Reason.CONNECTION_FORCED),
        (
            320,
            "CONNECTION_FORCED - as vhost 'orders' is down today",
            Reason.CONNECTION_FORCED,
        ),
        (320, "CONNECTION_FORCED - user 'ann' is deleted", Reason.CONNECTION_FORCED),
        (320, "CONNECTION_FORCED - credential expired", Reason.CONNECTION_FORCED),
        (320, "CONNECTION_FORCED - any reason someone gives", Reason.CONNECTION_FORCED),
        (
            530,
            "NOT_ALLOWED - New secret was refused by one of the backends",
            Reason.ACCESS_REFUSED,
        ),
        (530, "NOT_ALLOWED - Secret update failed", Reason.ACCESS_REFUSED),
        (
            530,
            "NOT_ALLOWED - number of channels opened for user 'ann' has reached the maximum allo",
            Reason.CONNECTION_LIMIT_REACHED,
        ),
        (504, "CHANNEL_ERROR - expected 'channel.open'", Reason.PROTOCOL_MISMATCH),
        (541, "INTERNAL_ERROR", Reason.PEER_CLOSED),
    ],
)
def test_a_close_of_an_open_connection_is_classified(code: int, text: str, reason: Reason) -> None:
    info = replies.when_open(Close(code=code, text=text, class_id=10, method_id=50))
    assert info.by is ClosedBy.SERVER
    assert info.reason is reason
    assert info.text == text
    assert info.codes == {"code": code, "classID": 10, "methodID": 50}


_ACCESS = "NOT_ALLOWED - access to vhost 'orders' refused for user 'ann'"
_CHANNELS = "NOT_ALLOWED - number of channels opened"
_OF_USER = f"{_CHANNELS} for user 'ann' has reached the maximum allowed user limit of"
_ON_NODE = f"{_CHANNELS} on node 'rabbit@rabbit.example' has reached the maximum allowed limit of"
SENTENCES = [
    (
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see"
        " the broker logfile."
    ),
    "NOT_ALLOWED - vhost orders not found",
    _ACCESS,
    f"{_ACCESS}: connection limit (5) is reached",
    f"{_ACCESS}: connection limit cannot be queried, timeout",
    f"{_ACCESS}: vhost 'orders' is down",
    "NOT_ALLOWED - connection refused for user 'ann': user connection limit (5) is reached",
    "NOT_ALLOWED - connection refused: node connection limit (5) is reached",
    f"{_CHANNELS} (8) has reached the negotiated channel_max (8)",
    f"{_OF_USER} (5)",
    f"{_OF_USER} 5",  # RabbitMQ 4.3
    f"{_ON_NODE} (5)",
    f"{_ON_NODE} 5",
    "NOT_ALLOWED - New secret was refused by one of the backends",
    "NOT_ALLOWED - Secret update failed",
    "INTERNAL_ERROR - access to vhost 'orders' refused for user 'ann': vhost 'orders' is down",
    "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    "CONNECTION_FORCED - Node was put into maintenance mode",
    "CONNECTION_FORCED - Closed via management plugin",
    "CONNECTION_FORCED - vhost 'orders' is down",
    "CONNECTION_FORCED - vhost 'orders' is deleted",
    "CONNECTION_FORCED - user 'ann' is deleted",
    "CONNECTION_FORCED - credential expired",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_of_rabbitmq_is_shown_whatever_the_secret_is(sentence: str) -> None:
    """Of the names that we have told it: a word of it that is a secret gives nothing away."""
    word = re.findall(r"\b\w{1,7}\b", sentence)[-1]
    veil = Veil()
    veil.note(Secret(word))
    veil.know("ann", "orders", "rabbit.example")
    assert replies.shown(sentence, veil) == sentence
    assert replies.shown(f"{sentence}, {word}", veil) == WITHHELD


@pytest.mark.parametrize("sentence", [each for each in SENTENCES if "'ann'" in each])
def test_a_sentence_about_somebody_else_is_not_taken_for_known(sentence: str) -> None:
    veil = Veil()
    veil.note(Secret("ann"))
    veil.know("bob", "orders", "rabbit.example")
    assert replies.shown(sentence, veil) == WITHHELD


_TOO_MANY = "NOT_ALLOWED - number of channels opened for user 'ann' has reached the maximum"


@pytest.mark.parametrize(
    ("close", "is_waiting", "expected"),
    [
        pytest.param(Close(code=530, text=_TOO_MANY), True, True, id="a channel too many"),
        pytest.param(Close(code=530, text=_TOO_MANY), False, True, id="the same, late"),
        pytest.param(
            Close(code=540, text="NOT_IMPLEMENTED", class_id=85, method_id=10),
            True,
            True,
            id="no confirms",
        ),
        pytest.param(Close(code=503, text="COMMAND_INVALID"), True, True, id="not understood"),
        pytest.param(Close(code=503, text="COMMAND_INVALID"), False, False, id="nothing was asked"),
        pytest.param(
            Close(code=530, text="NOT_ALLOWED - New secret was refused", class_id=10, method_id=70),
            True,
            False,
            id="of an update-secret",
        ),
        pytest.param(Close(code=320, text="CONNECTION_FORCED - bye"), True, False, id="forced"),
        pytest.param(Close(code=541, text="INTERNAL_ERROR"), True, False, id="its own trouble"),
    ],
)
def test_a_close_is_blamed_on_a_probe(close: Close, is_waiting: bool, expected: bool) -> None:
    assert replies.blames_probe(close, is_waiting=is_waiting) is expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("low on memory", Reason.LOW_ON_MEMORY),
        ("low on disk", Reason.LOW_ON_DISK),
        ("low on memory & disk", Reason.LOW_ON_MEMORY_AND_DISK),
        ("low on disk & memory", Reason.LOW_ON_MEMORY_AND_DISK),
        ("low on memory & low on disk", Reason.LOW_ON_MEMORY_AND_DISK),
        ("low on disk & low on memory", Reason.LOW_ON_MEMORY_AND_DISK),
        (" Low on Memory ", Reason.LOW_ON_MEMORY),
        ("quota exceeded", Reason.BLOCKED_BY_BROKER),
        ("", Reason.BLOCKED_BY_BROKER),
    ],
)
def test_a_block_has_the_reason_of_its_text_and_the_text_as_it_is(
    text: str, reason: Reason
) -> None:
    assert replies.block(text) == Block(reason=reason, text=text)


_OF_A_CHANNEL = (
    "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '{vhost}' refused for user"
    " 'ann', backend rabbit_auth_backend_oauth2 returned an error: Provided JWT token has expired"
    " at timestamp 1764132117 (validated at 1764132118)"
)
_OF_A_VIRTUAL_HOST = (
    "NOT_ALLOWED - access to vhost '/' refused for user 'ann', backend rabbit_auth_backend_oauth2"
    " returned an error: Provided JWT token has expired at timestamp 1 (validated at 2)"
)

# code, text, whether it says that the token is over
SAYINGS = [
    pytest.param(403, _OF_A_CHANNEL.format(vhost="/")[:255], True, id="a publish, 3.10 to 4.3"),
    pytest.param(
        403, _OF_A_CHANNEL.format(vhost="v" * 60)[:255], True, id="a publish, the end cut off"
    ),
    pytest.param(
        403,
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'a',"
        " backend rabbit_auth_backend_cache returned an error: Provided JWT token has expired at"
        " timestamp 1 (validated at 2)",
        True,
        id="a publish, with the cache in front",
    ),
    pytest.param(530, _OF_A_VIRTUAL_HOST, True, id="a virtual host"),
    pytest.param(
        320, "CONNECTION_FORCED - credential expired", True, id="a connection, from 4.2.6 on"
    ),
    pytest.param(
        403,
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'a'",
        False,
        id="no permission",
    ),
    pytest.param(
        403,
        "ACCESS_REFUSED - write access to exchange 'credential expired' in vhost '/' refused for"
        " user 'a'",
        False,
        id="no permission, a misleading name",
    ),
    pytest.param(
        403, "ACCESS_REFUSED - Login was refused using authentication", False, id="a login"
    ),
    pytest.param(
        530, "NOT_ALLOWED - New secret was refused by one of the backends", False, id="an update"
    ),
    pytest.param(320, "CONNECTION_FORCED - Closed via management plugin", False, id="by somebody"),
    pytest.param(
        404, "NOT_FOUND - no exchange 'Provided JWT token has expired'", False, id="no exchange"
    ),
]


@pytest.mark.parametrize(("code", "text", "expected"), SAYINGS)
def test_a_text_tells_whether_the_token_is_over(code: int, text: str, expected: bool) -> None:
    assert replies.says_expired(code, text) is expected
    assert replies.when_open(Close(code=code, text=text)).says_expired is expected


def test_a_login_whose_token_ends_before_the_virtual_host_is_open_is_the_tokens_fault() -> None:
    """That it was accepted a moment ago does not help."""
    error = replies.at_open(Close(code=530, text=_OF_A_VIRTUAL_HOST), authenticated=True)
    assert type(error) is CredentialRejectedError
    assert error.says_expired
    assert not error.authenticated
    assert _OF_A_VIRTUAL_HOST in error.message


def test_a_hint_follows_the_brokers_words() -> None:
    """So the message says what the broker said, and what to look at."""
    error = replies.at_open(REFUSED, authenticated=False, hint="look here")
    assert type(error) is CredentialRejectedError
    assert error.message == (
        "the broker refused the login: 403 ACCESS_REFUSED - Login was refused (look here)"
    )


@pytest.mark.parametrize(
    ("close", "authenticated"),
    [
        pytest.param(REFUSED, True, id="a login that was accepted before"),
        pytest.param(
            Close(code=530, text="NOT_ALLOWED - vhost orders not found"), True, id="a virtual host"
        ),
        pytest.param(Close(code=541, text="INTERNAL_ERROR"), False, id="the broker's own trouble"),
    ],
)
def test_a_hint_is_for_refused_logins(close: Close, authenticated: bool) -> None:
    """Anything else does not come from the user name or the password."""
    error = replies.at_open(close, authenticated=authenticated, hint="look here")
    assert "look here" not in str(error)
    if authenticated:
        assert isinstance(error, RejectedError)


def progress(step: AnyStep, login: Login | None = None) -> HandshakeProgress:
    return HandshakeProgress(
        endpoint=Endpoint("rabbit", 5672), timeout=3, address="10.0.0.7", step=step, login=login
    )


def raised(error: BaseException, step: AnyStep, login: Login | None = None) -> ConnectError:
    with pytest.raises(ConnectError) as caught, errors.translated(progress(step, login)):
        raise error
    return caught.value


def tls_error(reason: str, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    error = kind(1, f"[SSL: {reason}] …")
    error.reason = reason
    return error


def wrapped(cause: BaseException) -> aiormq.AMQPConnectionError:
    error = aiormq.AMQPConnectionError("Server connection error")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "step", "family", "reason", "says"),
    [
        pytest.param(
            ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
            TransportStep.TCP,
            TransientError,
            Reason.CONNECTION_REFUSED,
            "connection refused",
            id="no listener",
        ),
        pytest.param(
            OSError(errno.ENETUNREACH, "Network is unreachable"),
            TransportStep.TCP,
            TransientError,
            Reason.CONNECTION_REFUSED,
            "network is unreachable",
            id="no route",
        ),
        pytest.param(
            TimeoutError(),
            TransportStep.TCP,
            TransientError,
            Reason.CONNECT_TIMEOUT,
            "nothing answered within 3 s (no TCP connection)",
            id="time-out of TCP",
        ),
        pytest.param(
            TimeoutError(),
            TransportStep.TLS,
            TransientError,
            Reason.CONNECT_TIMEOUT,
            "connected, but the TLS handshake",
            id="time-out of TLS",
        ),
        pytest.param(
            TimeoutError(),
            HandshakeStep.START,
            TransientError,
            Reason.CONNECT_TIMEOUT,
            "connected, but the peer sent no AMQP greeting",
            id="time-out of the greeting",
        ),
        pytest.param(
            TimeoutError(),
            HandshakeStep.LOGIN,
            TransientError,
            Reason.CONNECT_TIMEOUT,
            "the login (Connection.Start-Ok) was not answered",
            id="time-out of the login",
        ),
        pytest.param(
            TimeoutError(),
            HandshakeStep.OPEN,
            TransientError,
            Reason.CONNECT_TIMEOUT,
            "logged in, but opening the virtual host was not answered",
            id="time-out of the virtual host",
        ),
        pytest.param(
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            TransportStep.TLS,
            TransientError,
            Reason.TLS_FAILED,
            "reset the connection",
            id="reset in the TLS handshake",
        ),
        pytest.param(
            tls_error("WRONG_VERSION_NUMBER"),
            TransportStep.TLS,
            RejectedError,
            Reason.TLS_FAILED,
            "the peer does not speak TLS",
            id="plaintext peer",
        ),
        pytest.param(
            tls_error("TLSV1_ALERT_PROTOCOL_VERSION"),
            TransportStep.TLS,
            RejectedError,
            Reason.TLS_FAILED,
            "no TLS version or cipher in common",
            id="no version in common",
        ),
        pytest.param(
            wrapped(tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED")),
            HandshakeStep.START,
            RejectedError,
            Reason.TLS_FAILED,
            "wants a client certificate",
            id="client certificate wanted, told after the handshake (TLS 1.3)",
        ),
        pytest.param(
            tls_error("TLSV1_ALERT_INTERNAL_ERROR"),
            TransportStep.TLS,
            TransientError,
            Reason.TLS_FAILED,
            "tlsv1 alert internal error",
            id="another TLS error",
        ),
        pytest.param(
            wrapped(asyncio.IncompleteReadError(b"", 1)),
            HandshakeStep.START,
            TransientError,
            Reason.PEER_CLOSED,
            "no AMQP greeting",
            id="end of file before the greeting",
        ),
        pytest.param(
            wrapped(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")),
            HandshakeStep.OPEN,
            TransientError,
            Reason.PEER_CLOSED,
            "opening the virtual host was not answered",
            id="reset while opening the virtual host",
        ),
        pytest.param(
            StopAsyncIteration(),
            HandshakeStep.LOGIN,
            TransientError,
            Reason.PEER_CLOSED,
            "a mechanism they do not accept",
            id="hung up on the login",
        ),
        pytest.param(
            aiormq.InvalidFrameError("bytes of the peer"),
            HandshakeStep.START,
            RejectedError,
            Reason.PROTOCOL_MISMATCH,
            "cannot be decoded",
            id="a frame that cannot be decoded",
        ),
        pytest.param(
            OverflowError("timestamp out of range"),
            HandshakeStep.START,
            RejectedError,
            Reason.PROTOCOL_MISMATCH,
            "cannot be decoded",
            id="a table that cannot be decoded",
        ),
        pytest.param(
            struct.error("unpack requires 4 bytes"),
            HandshakeStep.OPEN,
            RejectedError,
            Reason.PROTOCOL_MISMATCH,
            "cannot be decoded",
            id="a cut-off field",
        ),
        pytest.param(
            ValueError("Could not unpack long integer value"),
            HandshakeStep.START,
            RejectedError,
            Reason.PROTOCOL_MISMATCH,
            "cannot be decoded",
            id="a cut-off content header",
        ),
    ],
)
def test_a_foreign_failure_is_translated(
    error: BaseException, step: AnyStep, family: type[ConnectError], reason: Reason, says: str
) -> None:
    translation = raised(error, step)
    assert type(translation) is family
    assert translation.reason is reason
    assert says in translation.message
    assert translation.authenticated is (step is HandshakeStep.OPEN and family is TransientError)


def test_a_refused_certificate_says_what_is_wrong_with_it() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    translation = raised(error, TransportStep.TLS)
    assert type(translation) is RejectedError
    assert translation.reason is Reason.TLS_FAILED
    assert "certificate has expired" in translation.message


def a_login(octets: int, *, credential: int) -> Login:
    return Login(
        server=ServerInfo(product="RabbitMQ", version="3.10.8"),
        octets=octets,
        response_octets=credential,
    )


@pytest.mark.parametrize(
    "error", [asyncio.IncompleteReadError(b"", 1), ConnectionResetError(errno.ECONNRESET, "reset")]
)
def test_hanging_up_on_a_long_login_is_blamed_on_the_credential(error: OSError | EOFError) -> None:
    """The sentence is the same however the peer hung up, so that it is reported once."""
    translation = raised(wrapped(error), HandshakeStep.LOGIN, login=a_login(5000, credential=4500))
    assert type(translation) is CredentialRejectedError
    assert translation.reason is Reason.CREDENTIAL_TOO_LONG
    assert translation.message == (
        "rabbit:5672 (10.0.0.7) hung up on a login of 5000 bytes, of which RabbitMQ 3.10.8 reads"
        " 4096 by default: use a token with fewer scopes or claims, or a shorter password, or raise"
        " initial_frame_max in the broker's configuration (8192 from RabbitMQ 4.1 on)"
    )


def test_a_login_that_no_credential_makes_short_enough_is_blamed_on_the_properties() -> None:
    """A new Secret would not help."""
    translation = raised(
        asyncio.IncompleteReadError(b"", 1),
        HandshakeStep.LOGIN,
        login=a_login(5000, credential=200),
    )
    assert type(translation) is RejectedError
    assert translation.reason is Reason.NEGOTIATION_FAILED
    assert "clientProperties" in translation.message


def test_hanging_up_on_a_login_of_normal_length_has_other_causes() -> None:
    translation = raised(
        asyncio.IncompleteReadError(b"", 1),
        HandshakeStep.LOGIN,
        login=a_login(4096, credential=3500),
    )
    assert type(translation) is TransientError
    assert translation.reason is Reason.PEER_CLOSED


def test_a_long_login_that_is_not_answered_in_time_is_mentioned() -> None:
    """RabbitMQ takes three seconds to hang up; connectTimeout can be shorter."""
    translation = raised(TimeoutError(), HandshakeStep.LOGIN, login=a_login(5000, credential=4500))
    assert translation.reason is Reason.CONNECT_TIMEOUT
    assert "5000 bytes, of which RabbitMQ 3.10.8 reads 4096" in translation.message
    translation = raised(TimeoutError(), HandshakeStep.OPEN, login=a_login(5000, credential=4500))
    assert "5000" not in translation.message


def test_our_own_errors_pass_unchanged_and_lose_aiormqs_cancellation() -> None:
    error = RejectedError(Reason.NO_AUTHENTICATION_MECHANISM, "none in common")
    error.__cause__ = asyncio.CancelledError()
    assert raised(error, HandshakeStep.LOGIN) is error
    assert error.__cause__ is None


def test_a_cancellation_is_not_translated() -> None:
    with pytest.raises(asyncio.CancelledError), errors.translated(progress(HandshakeStep.LOGIN)):
        raise asyncio.CancelledError


def test_what_may_quote_the_peer_is_not_chained() -> None:
    """A peer can echo our login, and a decoder quotes what it cannot decode."""
    planted = "pl4nted-s3cret"
    error = UnmarshalingException(f"{planted}", ValueError(planted))
    translation = raised(error, HandshakeStep.LOGIN)
    assert planted not in "".join(traceback.format_exception(translation))
    assert translation.__cause__ is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(None, Reason.PEER_CLOSED, id="end of file"),
        pytest.param(
            wrapped(ConnectionResetError(errno.ECONNRESET, "…")), Reason.PEER_CLOSED, id="reset"
        ),
        pytest.param(
            wrapped(asyncio.IncompleteReadError(b"", 7)), Reason.PEER_CLOSED, id="half a frame"
        ),
        pytest.param(errors.mismatch("nonsense"), Reason.PROTOCOL_MISMATCH, id="not a frame"),
        pytest.param(
            aiormq.InvalidFrameError("…"), Reason.PROTOCOL_MISMATCH, id="undecodable frame"
        ),
    ],
)
def test_a_lost_connection_is_told_as_the_transports_end(
    error: BaseException | None, reason: Reason
) -> None:
    info = errors.lost(error)
    assert info.by is ClosedBy.TRANSPORT
    assert info.reason is reason
    assert info.text
    assert not info.codes


def test_what_is_not_allowed_before_a_virtual_host_is_named_is_the_login() -> None:
    """Qpid Broker-J says 530 of a login; of a virtual host RabbitMQ does, after Tune."""
    close = Close(code=530, text="Authentication failed")
    error = replies.at_open(close, authenticated=False, hint="look here")
    assert type(error) is CredentialRejectedError
    assert error.message == "the broker refused the login: 530 Authentication failed (look here)"
    error = replies.at_open(close, authenticated=True, hint="look here")
    assert type(error) is RejectedError
