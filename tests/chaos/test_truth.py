"""Each way in which status can differ from the broker's own list or answers is told."""

import dataclasses
from typing import Any

import pytest

from chaos.console import Answer
from chaos.declared import Connection
from chaos.truth import answered_otherwise, closed_otherwise, differences
from support.administration import Connection as Held

_PORT = 5672
_HELD = Held(
    pid="<0.1.0>",
    name="springline/default/orders",
    path="127.0.0.1:40000 -> 127.0.0.1:5672",
    user="ann",
    vhost="shop",
    state="running",
    tls=False,
    channels=1,
    heartbeat=4,
    channel_max=2047,
    frame_max=131072,
    auth_mechanism="PLAIN",
    peer_port=40000,
    client_properties={"product": "Springline", "connection_name": "springline/default/orders"},
)
_STATUS: dict[str, Any] = {
    "state": "Connected",
    "attempts": 0,
    "connectedSince": "2026-01-01T00:00:00Z",
    "endpoint": "127.0.0.1:5672 (127.0.0.1)",
    "conditions": [{"type": "Blocked", "status": "False", "reason": "NotBlocked"}],
    "credentials": {"username": "ann"},
    "negotiated": {
        "mechanism": "PLAIN",
        "heartbeat": "4s",
        "channelMax": 2047,
        "frameMax": 131072,
        "clientProperties": dict(_HELD.client_properties),
    },
}
_DECLARED = Connection(broker="rabbit", vhost="shop", secret="ann-login", heartbeat=4)


def test_true_status_differs_in_nothing() -> None:
    assert differences(_STATUS, _HELD, _DECLARED, _PORT) == []


@pytest.mark.parametrize(
    ("found", "word"),
    [
        ({"user": "bob"}, "username"),
        ({"vhost": "post"}, "declared in 'shop'"),
        ({"state": "blocked"}, "Blocked"),
        ({"heartbeat": 10}, "heartbeat"),
        ({"channel_max": 10}, "channelMax"),
        ({"frame_max": 4096}, "frameMax"),
        ({"auth_mechanism": "EXTERNAL"}, "mechanism"),
        ({"client_properties": {}}, "clientProperties"),
    ],
)
def test_what_the_broker_says_otherwise_is_told(found: dict[str, Any], word: str) -> None:
    held = dataclasses.replace(_HELD, **found)
    assert any(word in each for each in differences(_STATUS, held, _DECLARED, _PORT))


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({"state": "Waiting"}, "state"),
        ({"attempts": 1}, "attempts"),
        ({"connectedSince": None}, "since when"),
        ({"endpoint": "127.0.0.1:56720 (127.0.0.1)"}, "endpoint"),
        ({"blocked": {"reason": "low on memory"}}, "blocked"),
        ({"negotiated": None}, "mechanism"),
    ],
)
def test_status_that_tells_something_else_is_told(told: dict[str, Any], word: str) -> None:
    assert any(word in each for each in differences(_STATUS | told, _HELD, _DECLARED, _PORT))


@pytest.mark.parametrize(
    "told",
    [
        {"by": "Transport"},
        {"reason": "PeerClosed"},
        {"code": 541},
        {"text": "CONNECTION_FORCED - another"},
    ],
)
def test_last_close_has_to_be_the_last_one(told: dict[str, Any]) -> None:
    forced = {
        "by": "Server",
        "reason": "ConnectionForced",
        "code": 320,
        "text": "CONNECTION_FORCED - mine",
    }
    assert closed_otherwise({"lastClose": forced}, "mine") == ""
    assert closed_otherwise({"lastClose": forced | told}, "mine")
    assert closed_otherwise({}, "mine")


_ANSWERS = (
    Answer(200, "1.1", {"name": "ann", "tags": ["monitoring"]}),
    Answer(200, "1.1", {"status": "ok"}),
    Answer(200, "1.1", {"name": "ann", "tags": ["monitoring"]}),
)
_OVER_HTTP: dict[str, Any] = {
    **_STATUS,
    "conditions": [
        {"type": "Connected", "status": "True", "reason": "Open"},
        {"type": "Blocked", "status": "False", "reason": "NotBlocked"},
    ],
    "negotiated": {"mechanism": "BASIC", "heartbeat": "0s", "http": {"version": "1.1"}},
}


def test_true_status_of_a_session_over_http_differs_in_nothing() -> None:
    assert answered_otherwise(_OVER_HTTP, _ANSWERS, _PORT) == []


@pytest.mark.parametrize(
    ("at", "answer", "word"),
    [
        (0, Answer(401, "1.1", {}), "Connected"),
        (0, Answer(200, "1.0", {}), "version"),
        (1, Answer(503, "1.1", {"status": "failed"}), "Blocked"),
        (2, Answer(200, "1.1", {"name": "bob"}), "username"),
    ],
)
def test_what_the_management_interface_answers_otherwise_is_told(
    at: int, answer: Answer, word: str
) -> None:
    answers = [*_ANSWERS[:at], answer, *_ANSWERS[at + 1 :]]
    assert any(word in each for each in answered_otherwise(_OVER_HTTP, answers, _PORT))


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({"state": "Waiting"}, "state"),
        ({"attempts": 1}, "attempts"),
        ({"connectedSince": None}, "since when"),
        ({"endpoint": "127.0.0.1:56720 (127.0.0.1)"}, "endpoint"),
        ({"blocked": {"reason": "low on memory"}}, "blocked"),
        ({"negotiated": None}, "mechanism"),
    ],
)
def test_status_of_a_session_over_http_that_tells_something_else_is_told(
    told: dict[str, Any], word: str
) -> None:
    assert any(word in each for each in answered_otherwise(_OVER_HTTP | told, _ANSWERS, _PORT))
