"""What a connection does with its calls, among scripted engines."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from springline.drivers.http import bounds
from springline.drivers.http.conversation import Call, Conversation
from springline.drivers.http.engine import Answered, Encoded, End, EndKind, Event
from springline.drivers.http.errors import RetryRequestError
from springline.drivers.http.messages import Request, Response
from springline.errors import RejectedError, TransientError
from springline.reasons import Reason

CLOSED = End(kind=EndKind.CLOSED, reason=Reason.CLIENT_CLOSED, text="the test is over")
LOST = TransientError(Reason.PEER_CLOSED, "the peer reset the connection")


class FakeEngine:
    """An engine that takes what it is told to, and is told what has come."""

    version = "fake"
    half_closes = True
    concurrent_streams: int | None = None

    def __init__(self) -> None:
        self.is_ready = True
        self.takes_several = False
        self.is_draining = False
        self.room = 100
        self.sent: list[tuple[int, Encoded]] = []
        self.begun: frozenset[int] = frozenset()
        self.coming: list[Event] = []
        self.cancelled: list[int] = []
        self.can_cancel = True

    def has_room(self, request: Request) -> bool:  # noqa: ARG002 - the port's
        return len(self.sent) < self.room

    def start(self) -> bytes:
        return b"start;"

    def send(self, key: int, encoded: Encoded) -> bytes:
        self.sent.append((key, encoded))
        return b"%d;" % key

    def cancel(self, key: int) -> bytes | None:
        self.cancelled.append(key)
        return b"cancel;" if self.can_cancel else None

    def receive(self, data: bytes) -> tuple[bytes, Sequence[Event]]:
        coming, self.coming = self.coming, []
        return data[:0], coming

    def receive_eof(self) -> Sequence[Event]:
        return self.receive(b"")[1]

    def ping(self) -> bytes:
        return b""

    def finish(self) -> bytes:
        return b"finish;"


def answer(key: int) -> Answered:
    return Answered(key=key, response=Response(status=200))


def outcomes(conversation: Conversation) -> list[tuple[int, Any]]:
    found = [(call.key, outcome) for call, outcome in conversation.settled]
    conversation.settled = []
    return found


def talking(*, persistent: bool | None = True) -> tuple[Conversation, FakeEngine]:
    conversation, engine = Conversation(persistent=persistent, where="peer"), FakeEngine()
    conversation.begin(engine)
    return conversation, engine


def add(conversation: Conversation, *methods: str) -> list[Call]:
    return [conversation.add(Request(method=method)) for method in methods]


# R3.1
def test_calls_queue_until_there_is_a_transport() -> None:
    conversation, engine = Conversation(persistent=True, where="peer"), FakeEngine()
    add(conversation, "GET", "GET")
    assert conversation.length == 2
    assert not conversation.output
    conversation.begin(engine)
    assert conversation.output == b"start;0;1;"


# R3.2
@pytest.mark.parametrize(("persistent", "before", "after"), [(True, 3, 3), (None, 1, 3)])
def test_how_many_are_sent_before_and_after_the_first_answer(
    persistent: bool | None, before: int, after: int
) -> None:
    conversation, engine = talking(persistent=persistent)
    add(conversation, "GET", "GET", "GET")
    assert len(engine.sent) == before
    engine.coming, engine.takes_several = [answer(0)], True
    conversation.receive(b"x")
    assert len(engine.sent) == after


# R3.2
def test_without_support_shown_one_follows_the_other() -> None:
    conversation, engine = talking(persistent=None)
    add(conversation, "GET", "GET", "GET")
    for key in range(3):
        assert [each for each, _ in engine.sent] == list(range(key + 1))
        engine.coming = [answer(key)]
        conversation.receive(b"x")
    assert conversation.length == 0


# R3.2
def test_the_one_request_says_that_it_is_the_last() -> None:
    conversation, engine = talking(persistent=False)
    add(conversation, "GET")
    assert engine.sent[0][1].is_last
    with pytest.raises(RetryRequestError):
        add(conversation, "GET")


# R3.3
def test_length_counts_what_waits_and_what_is_sent() -> None:
    conversation, engine = talking()
    engine.room = 2
    add(conversation, "GET", "GET", "GET")
    assert (len(engine.sent), conversation.length) == (2, 3)
    engine.coming = [answer(0)]
    conversation.receive(b"x")
    assert conversation.length == 2


# R3.6
@pytest.mark.parametrize(
    ("method", "may_repeat"), [("GET", True), ("PUT", True), ("POST", False), ("PATCH", False)]
)
def test_what_was_sent_when_it_is_closed_may_be_repeated_if_that_does_no_harm(
    method: str, may_repeat: bool
) -> None:
    conversation, engine = talking()
    engine.room = 1
    add(conversation, method, "POST")
    conversation.close(CLOSED)
    (_, sent), (_, waiting) = outcomes(conversation)
    assert isinstance(sent, RetryRequestError)
    assert not sent.is_unprocessed
    assert sent.may_repeat is may_repeat
    assert isinstance(waiting, RetryRequestError)
    assert waiting.may_repeat


# What was lost: state of the call, and what it is told
@pytest.mark.parametrize(
    ("method", "answered", "begun", "expected"),
    [
        ("GET", True, False, RetryRequestError),
        ("GET", True, True, TransientError),
        ("GET", False, False, TransientError),
        ("POST", True, False, TransientError),
        ("POST", True, True, TransientError),
    ],
)
def test_what_is_told_of_a_call_whose_connection_was_lost(
    method: str, answered: bool, begun: bool, expected: type[Exception]
) -> None:
    conversation, engine = talking()
    if answered:
        add(conversation, "GET")
        engine.coming = [answer(0)]
        conversation.receive(b"x")
        outcomes(conversation)
    [call] = add(conversation, method)
    if begun:
        engine.begun = frozenset({call.key})
    conversation.lose(LOST)
    [(_, outcome)] = outcomes(conversation)
    assert type(outcome) is expected
    assert conversation.end is not None
    assert conversation.end.is_orderly is (answered and not begun)


def test_a_call_is_told_why_in_the_family_that_the_transport_has_it() -> None:
    """With TLS 1.3 a client certificate is refused after the handshake, by the first answer."""
    conversation, _ = talking()
    add(conversation, "GET", "POST")
    conversation.lose(RejectedError(Reason.TLS_FAILED, "the broker wants a client certificate"))
    (_, first), (_, second) = outcomes(conversation)
    assert type(first) is RejectedError
    assert first.reason is Reason.TLS_FAILED
    assert isinstance(second, TransientError)


def test_no_more_wait_than_are_allowed() -> None:
    conversation = Conversation(persistent=True, where="peer")
    for _ in range(bounds.MAX_WAITING):
        add(conversation, "GET")
    with pytest.raises(RetryRequestError) as caught:
        add(conversation, "GET")
    assert caught.value.is_unprocessed
    assert not conversation.is_closed


def test_no_more_octets_are_under_way_than_are_allowed() -> None:
    conversation, engine = talking()
    body = b"x" * (bounds.MAX_REQUEST_BODY - 1)
    for _ in range(5):
        conversation.add(Request(method="PUT", body=body))
    assert len(engine.sent) < 5
    sent = sum(each.octets for _, each in engine.sent)
    assert 0 < sent <= bounds.MAX_OUTSTANDING_OCTETS
    conversation.add(Request(method="PUT", body=b"small"))
    before = len(engine.sent)
    engine.coming = [answer(0)]
    conversation.receive(b"x")
    assert len(engine.sent) > before
    for key in range(1, 6):
        engine.coming = [answer(key)]
        conversation.receive(b"x")
    assert conversation.length == 0


def without_end() -> Iterator[bytes]:
    while True:
        yield b"x" * 1000


def failing() -> Iterator[bytes]:
    yield b"x"
    raise LookupError


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"x" * (bounds.MAX_REQUEST_BODY + 1), ValueError),
        (without_end(), ValueError),
        (failing(), LookupError),
    ],
    ids=["too long", "without an end", "its own error"],
)
def test_a_body_that_cannot_be_sent_fails_its_call_alone(
    body: bytes | Iterator[bytes], error: type[Exception]
) -> None:
    conversation, engine = talking()
    conversation.add(Request(method="PUT", body=body))
    add(conversation, "GET")
    [(key, outcome)] = outcomes(conversation)
    assert (key, type(outcome)) == (0, error)
    assert [each for each, _ in engine.sent] == [1]


def test_a_call_that_is_over_cannot_expire_nor_be_abandoned() -> None:
    conversation, engine = talking()
    [call] = add(conversation, "GET")
    engine.coming = [answer(0)]
    conversation.receive(b"x")
    assert len(outcomes(conversation)) == 1
    conversation.expire(call)
    conversation.abandon(call)
    assert not outcomes(conversation)
    assert conversation.end is None


def test_what_waits_is_failed_when_the_peer_takes_no_more() -> None:
    conversation, engine = talking()
    engine.room = 1
    add(conversation, "GET", "POST")
    engine.is_draining, engine.coming = True, []
    conversation.receive(b"x")
    [(key, outcome)] = outcomes(conversation)
    assert key == 1
    assert isinstance(outcome, RetryRequestError)
    assert outcome.is_unprocessed
    assert conversation.is_closed
    assert conversation.end is None
