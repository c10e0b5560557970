"""The open handshake, frame by frame: what each step expects, sends and concludes. No socket."""

import ast
import inspect
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pamqp.frame
import pytest
from pamqp import commands as spec
from pamqp.body import ContentBody
from pamqp.frame import FrameTypes
from pamqp.header import ContentHeader, ProtocolHeader
from pamqp.heartbeat import Heartbeat

from springline.drivers.amqp091 import (
    frames,
    greeting,
    handshake,
    lengths,
    mechanisms,
    replies,
    tuning,
)
from springline.drivers.amqp091.errors import HandshakeProgress, HandshakeStep
from springline.drivers.amqp091.handshake import Handshake
from springline.drivers.amqp091.mechanisms import MAX_ROUNDS
from springline.drivers.amqp091.parameters import LocalePreference
from springline.drivers.amqp091.tuning import Limits
from springline.errors import ConnectError, CredentialRejectedError, RejectedError, TransientError
from springline.reasons import Reason
from support import fake_peer, opening

PLANTED = "pl4nted-s3cret"
USUAL: dict[str, Any] = {
    "credential": opening.password("ann", PLANTED),
    "mechanisms": ("RABBIT-CR-DEMO",),
}


def start(
    *, mechanisms: str = "PLAIN RABBIT-CR-DEMO", locales: str = "en_US", **properties: Any
) -> spec.Connection.Start:
    return spec.Connection.Start(
        server_properties=fake_peer.SERVER_PROPERTIES | properties,
        mechanisms=mechanisms,
        locales=locales,
    )


def tune(
    channel_max: int = 2047, frame_max: int = 131072, heartbeat: int = 60
) -> spec.Connection.Tune:
    return spec.Connection.Tune(channel_max=channel_max, frame_max=frame_max, heartbeat=heartbeat)


SECURE = spec.Connection.Secure(challenge="more?")
OPEN_OK = spec.Connection.OpenOk()
REFUSED = spec.Connection.Close(403, "ACCESS_REFUSED - Login was refused", 10, 11)

# What a broker sends up to a step, by what is due then.
REACHED: dict[str, list[FrameTypes]] = {
    "Connection.Start": [],
    "Connection.Tune": [start()],
    "Connection.Tune after a challenge": [start(), SECURE],
    "Connection.OpenOk": [start(), tune()],
}
STEPS = {
    "Connection.Start": HandshakeStep.START,
    "Connection.Tune": HandshakeStep.LOGIN,
    "Connection.Tune after a challenge": HandshakeStep.LOGIN,
    "Connection.OpenOk": HandshakeStep.OPEN,
}
AT_EVERY_STEP = pytest.mark.parametrize("reached", REACHED)


class Conversation:
    """One handshake, and all that it has sent."""

    def __init__(self, **changes: Any) -> None:
        request = opening.request(5672, **{**USUAL, **changes})
        self.progress = HandshakeProgress(
            endpoint=request.endpoint, timeout=request.timeout, address="192.0.2.1"
        )
        self.handshake = Handshake(request, self.progress)
        self.sent: list[FrameTypes] = []

    def hear(self, *frames: FrameTypes) -> list[FrameTypes]:
        """Hand frames over, and return what was sent for the last of them."""
        answers: list[FrameTypes] = []
        for frame in frames:
            answers = list(unmarshalled(self.handshake.receive(frame)))
            self.sent += answers
        return answers

    def reach(self, what: str) -> None:
        """Go on until something is due."""
        self.hear(*REACHED[what])
        assert self.progress.step is STEPS[what]


def unmarshalled(octets: bytes) -> Iterator[FrameTypes]:
    while octets:
        length, channel, frame = pamqp.frame.unmarshal(octets)
        assert channel == 0
        yield frame
        octets = octets[length:]


def names(frames: list[FrameTypes]) -> list[str]:
    return [frame.name for frame in frames]


# --- in the order of the specification


# R1.1, R1.2, R1.6
def test_a_handshake_answers_each_step_and_says_what_was_agreed_on() -> None:
    talk = Conversation(mechanisms=("PLAIN",), virtual_host="orders")
    assert names(talk.hear(start())) == ["Connection.StartOk"]
    assert names(talk.hear(tune(frame_max=8192))) == ["Connection.TuneOk", "Connection.Open"]
    assert talk.hear(OPEN_OK) == []
    assert talk.handshake.is_done
    start_ok, tune_ok, opened = talk.sent
    assert isinstance(start_ok, spec.Connection.StartOk)
    assert isinstance(tune_ok, spec.Connection.TuneOk)
    assert isinstance(opened, spec.Connection.Open)
    assert (start_ok.mechanism, start_ok.response) == ("PLAIN", f"\0ann\0{PLANTED}")
    assert (tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat) == (2047, 8192, 60)
    assert opened.virtual_host == "orders"
    agreed = talk.handshake.agreed
    assert (agreed.server.product, agreed.server.version) == ("FakePeer", "1.2.3")
    assert (agreed.mechanism, agreed.locale) == ("PLAIN", "en_US")
    assert agreed.limits == Limits(channel_max=2047, frame_max=8192, heartbeat_seconds=60)
    assert agreed.can_confirm
    said = dict(start_ok.client_properties)
    capabilities = said.pop("capabilities")
    assert isinstance(capabilities, dict)
    assert "connection.blocked" in capabilities
    assert said == dict(agreed.client_properties)
    assert PLANTED not in repr(agreed)


def test_nothing_is_sent_before_start() -> None:
    talk = Conversation()
    assert talk.sent == []
    assert talk.progress.step is HandshakeStep.START
    assert talk.progress.login is None


@pytest.mark.parametrize(
    ("reached", "step", "authenticated"),
    [
        ([], HandshakeStep.START, False),
        ([start()], HandshakeStep.LOGIN, False),
        ([start(), SECURE], HandshakeStep.LOGIN, False),
        ([start(), tune()], HandshakeStep.OPEN, True),
        ([start(), tune(), OPEN_OK], HandshakeStep.OPEN, True),
    ],
)
def test_the_progress_says_how_far_it_has_come(
    reached: list[FrameTypes], step: HandshakeStep, authenticated: bool
) -> None:
    talk = Conversation()
    talk.hear(*reached)
    assert talk.progress.step is step
    assert talk.progress.authenticated is authenticated


@pytest.mark.parametrize("capabilities", [{}, {"publisher_confirms": False}, None, "yes"])
def test_a_broker_that_does_not_offer_confirms_is_not_taken_to_confirm(capabilities: Any) -> None:
    talk = Conversation()
    talk.hear(start(capabilities=capabilities), tune(), OPEN_OK)
    assert not talk.handshake.agreed.can_confirm


@pytest.mark.parametrize(
    ("capabilities", "tells"), [({}, False), (None, False), ({"basic.nack": True}, True)]
)
def test_whether_a_broker_tells_of_extensions_is_known(capabilities: Any, tells: bool) -> None:
    talk = Conversation()
    talk.hear(start(capabilities=capabilities), tune(), OPEN_OK)
    assert talk.handshake.agreed.has_extensions is tells


# --- challenges


# R1.3
def test_challenges_are_answered_until_tune_comes() -> None:
    talk = Conversation()
    talk.hear(start())
    for _ in range(3):
        [answer] = talk.hear(SECURE)
        assert isinstance(answer, spec.Connection.SecureOk)
        assert answer.response == f"My password is {PLANTED}"
    assert names(talk.hear(tune())) == ["Connection.TuneOk", "Connection.Open"]


def test_a_broker_that_never_has_enough_is_left() -> None:
    talk = Conversation()
    talk.hear(start(), *[SECURE] * MAX_ROUNDS)
    assert refused(talk, SECURE).message == (
        f"the broker still asks for more after {MAX_ROUNDS} answers with RABBIT-CR-DEMO"
    )


def test_a_challenge_to_a_mechanism_that_has_said_all_is_refused() -> None:
    talk = Conversation(mechanisms=("PLAIN",))
    talk.hear(start())
    error = refused(talk, SECURE)
    assert error.message == "the broker asked for more, but PLAIN has nothing more to say"


def test_what_was_sent_last_to_log_in_is_known_by_its_length() -> None:
    talk = Conversation()
    talk.hear(start())
    first = talk.progress.login
    assert first is not None
    assert first.server.product == "FakePeer"
    assert first.response_octets == len("ann")
    assert first.octets > first.response_octets
    talk.hear(SECURE)
    second = talk.progress.login
    assert second is not None
    answer = f"My password is {PLANTED}"
    # Class, method, and the length of the response.
    assert (second.octets, second.response_octets) == (4 + 4 + len(answer), len(answer))


# --- what is chosen from what is offered


def test_another_version_is_refused() -> None:
    talk = Conversation()
    error = refused(talk, spec.Connection.Start(version_major=8, version_minor=0))
    assert error.message == "the peer sent a Connection.Start of version 8-0"


# R2.2
def test_no_mechanism_in_common_names_both_lists() -> None:
    talk = Conversation(mechanisms=("PLAIN",))
    error = refused(talk, start(mechanisms="SCRAM-SHA-256 EXTERNAL"))
    assert error.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "[SCRAM-SHA-256, EXTERNAL]" in error.message
    assert "[PLAIN]" in error.message


# R2.3
def test_no_locale_in_common_names_both_lists() -> None:
    talk = Conversation(locale=LocalePreference(prefer=None, select=("it_IT", "de_DE")))
    error = refused(talk, start())
    assert error.reason is Reason.NEGOTIATION_FAILED
    assert "[en_US]" in error.message
    assert "[it_IT, de_DE]" in error.message


def test_the_locale_that_is_asked_for_is_the_one_that_is_shown() -> None:
    talk = Conversation(locale=LocalePreference(prefer="de_DE"))
    [start_ok] = talk.hear(start(locales="en_US de_DE"))
    assert isinstance(start_ok, spec.Connection.StartOk)
    talk.hear(tune(), OPEN_OK)
    assert start_ok.locale == talk.handshake.agreed.locale == "de_DE"


@pytest.mark.parametrize("word", ["x" * 256, "é" * 128], ids=["characters", "octets"])
def test_a_locale_that_start_ok_has_no_room_for_is_not_asked_for(word: str) -> None:
    talk = Conversation()
    [start_ok] = talk.hear(start(locales=f"{word} de_DE"))
    assert isinstance(start_ok, spec.Connection.StartOk)
    assert start_ok.locale == "de_DE"


# R1.4, R1.5
@pytest.mark.parametrize(
    ("proposed", "declared", "limits"),
    [
        pytest.param((0, 0, 0), (100, 8192, 20), (100, 8192, 20), id="as declared"),
        pytest.param((100, 8192, 20), (0, 0, 60), (100, 8192, 20), id="as proposed"),
        pytest.param((100, 8192, 20), (200, 4096, 0), (100, 4096, 0), id="the lower, and none"),
    ],
)
def test_tune_ok_says_what_was_negotiated(
    proposed: tuple[int, int, int],
    declared: tuple[int, int, int],
    limits: tuple[int, int, int],
) -> None:
    channel_max, frame_max, heartbeat = declared
    talk = Conversation(channel_max=channel_max, frame_max=frame_max, heartbeat_seconds=heartbeat)
    tune_ok, _ = talk.hear(start(), tune(*proposed))
    assert isinstance(tune_ok, spec.Connection.TuneOk)
    assert (tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat) == limits
    known = talk.handshake.limits
    assert (known.channel_max, known.frame_max, known.heartbeat_seconds) == limits


# --- out of turn


@AT_EVERY_STEP
@pytest.mark.parametrize(
    "frame",
    [
        start(),
        SECURE,
        tune(),
        OPEN_OK,
        spec.Connection.StartOk(),
        spec.Connection.CloseOk(),
        spec.Connection.Blocked(reason="low on memory"),
        spec.Connection.UpdateSecretOk(),
        spec.Channel.OpenOk(),
        spec.Basic.QosOk(),
        ContentHeader(),
        ContentBody(b"x"),
        ProtocolHeader(),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_a_frame_out_of_turn_is_named_with_the_one_that_is_due(
    reached: str, frame: FrameTypes
) -> None:
    talk = Conversation()
    talk.reach(reached)
    due = reached.split(maxsplit=1)[0]
    if frame.name == due or (frame is SECURE and due == "Connection.Tune"):
        talk.hear(frame)
        return
    sent = len(talk.sent)
    error = refused(talk, frame)
    assert error.message == f"the peer sent {frame.name} where {due} is due"
    assert len(talk.sent) == sent
    assert not talk.handshake.is_done


def test_a_heartbeat_is_answered_from_the_login_on() -> None:
    """A broker's clock runs from Tune-Ok on; a slow authorization backend can take longer."""
    talk = Conversation()
    talk.hear(start())
    assert names(talk.hear(Heartbeat())) == ["Heartbeat"]
    talk.hear(tune())
    assert names(talk.hear(Heartbeat())) == ["Heartbeat"]
    assert names(talk.hear(Heartbeat())) == ["Heartbeat"]
    talk.hear(OPEN_OK)
    assert talk.handshake.is_done


def test_a_heartbeat_is_no_greeting() -> None:
    error = refused(Conversation(), Heartbeat())
    assert error.message == "the peer sent Heartbeat where Connection.Start is due"


# --- Close


# R1.7, R1.8
@AT_EVERY_STEP
@pytest.mark.parametrize(
    ("code", "text", "families"),
    [
        # before and after the login was accepted
        (403, "ACCESS_REFUSED - no", (CredentialRejectedError, RejectedError)),
        (320, "CONNECTION_FORCED - bye", (TransientError, TransientError)),
        (530, "NOT_ALLOWED - vhost orders not found", (RejectedError, RejectedError)),
        (541, "INTERNAL_ERROR", (TransientError, TransientError)),
        (999, "", (TransientError, TransientError)),
    ],
)
def test_a_close_is_answered_in_every_step_and_says_what_it_means(
    reached: str, code: int, text: str, families: tuple[type[ConnectError], type[ConnectError]]
) -> None:
    talk = Conversation()
    talk.reach(reached)
    assert names(talk.hear(spec.Connection.Close(code, text, 10, 40))) == ["Connection.CloseOk"]
    error = talk.handshake.refusal
    assert error is not None
    authenticated = reached == "Connection.OpenOk"
    assert type(error) is families[authenticated]
    assert f"{code} {text}".strip() in error.message
    if not isinstance(error, CredentialRejectedError):
        assert error.authenticated is authenticated
    assert not talk.handshake.is_done
    assert PLANTED not in repr(error)


def test_a_refused_login_says_what_can_be_seen_of_it() -> None:
    """From the credential, and from the address that was connected to."""
    talk = Conversation(credential=opening.password("guest", "guest"))
    talk.hear(start(), REFUSED)
    error = talk.handshake.refusal
    assert error is not None
    assert 'RabbitMQ lets "guest" log in only from its own machine' in error.message


def test_a_close_without_a_code_or_a_text_is_a_close() -> None:
    talk = Conversation()
    close = spec.Connection.Close()
    assert names(talk.hear(close)) == ["Connection.CloseOk"]
    assert isinstance(talk.handshake.refusal, TransientError)


# --- without a socket


@pytest.mark.parametrize(
    "module", [frames, greeting, handshake, lengths, mechanisms, replies, tuning]
)
def test_what_decides_imports_nothing_that_reads_or_writes(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert imported.isdisjoint({"aiormq", "asyncio", "socket", "ssl", "time"})


# --- when it is over


@pytest.mark.parametrize("last", [OPEN_OK, REFUSED], ids=["done", "closed"])
def test_a_handshake_that_is_over_takes_no_more(last: FrameTypes) -> None:
    talk = Conversation()
    talk.hear(start(), tune(), last)
    with pytest.raises(RuntimeError, match="is over"):
        talk.hear(Heartbeat())


@AT_EVERY_STEP
def test_no_error_shows_the_secret(reached: str) -> None:
    talk = Conversation()
    talk.reach(reached)
    error = refused(talk, spec.Basic.QosOk())
    assert PLANTED not in "".join(traceback.format_exception(error))


def refused(talk: Conversation, frame: FrameTypes) -> RejectedError:
    """Hand a frame over that ends the attempt, and return the error."""
    with pytest.raises(RejectedError) as caught:
        talk.hear(frame)
    if caught.value.reason not in (
        Reason.NO_AUTHENTICATION_MECHANISM,
        Reason.NEGOTIATION_FAILED,
    ):
        assert caught.value.reason is Reason.PROTOCOL_MISMATCH
    assert PLANTED not in str(caught.value)
    return caught.value
