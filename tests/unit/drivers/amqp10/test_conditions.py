"""What an error condition means: by its symbol, and by RabbitMQ's words where that says too little.

The texts are what the brokers said, word for word.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.core.values import ClosedBy
from springline.drivers.amqp10 import conditions
from springline.drivers.amqp10.conditions import Condition
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    ProbeRefusal,
    RejectedError,
    TransientError,
)
from springline.reasons import Reason
from springline.redaction import Secret
from springline.veil import Veil

SECRET = "Pl4nted-s3cret+of/24=chr"


def numbers(text: str, *, between: str = ",") -> str:
    """As Erlang prints a text that it takes for none, or may not take for one."""
    return f"[{between.join(str(octet) for octet in text.encode())}]"


def veil(secret: str = SECRET) -> Veil:
    made = Veil()
    made.note(Secret(secret))
    return made


INTERNAL = "amqp:internal-error"
ENDED = (
    "{shutdown,{connection_closing,{server_initiated_close,320,"
    f"{numbers('CONNECTION_FORCED - bye')}}}}}}}"
)

# The symbol, the text, and what they come to.
MEANINGS: dict[str, tuple[str, str, type[ConnectError], Reason]] = {
    # RabbitMQ 4
    "an operator closes it": (
        INTERNAL,
        'Connection forced: "bye bye"',
        TransientError,
        Reason.CONNECTION_FORCED,
    ),
    "its user is deleted": (
        INTERNAL,
        "Connection forced: \"user 'alice' is deleted\"",
        TransientError,
        Reason.CONNECTION_FORCED,
    ),
    "its virtual host is deleted": (
        INTERNAL,
        "Connection forced: \"vhost 'orders' is deleted\"",
        RejectedError,
        Reason.VIRTUAL_HOST_NOT_FOUND,
    ),
    "its virtual host goes down": (
        INTERNAL,
        "Connection forced: \"vhost 'orders' is down\"",
        TransientError,
        Reason.VIRTUAL_HOST_DOWN,
    ),
    "the node stops": (
        INTERNAL,
        "Connection forced: \"broker forced connection closure with reason 'shutdown'\"",
        TransientError,
        Reason.SERVER_SHUTDOWN,
    ),
    "the node is put into maintenance": (
        INTERNAL,
        'Connection forced: "Node was put into maintenance mode"',
        TransientError,
        Reason.SERVER_SHUTDOWN,
    ),
    "its token expires": (
        "amqp:unauthorized-access",
        "credential expired",
        CredentialRejectedError,
        Reason.EXPIRED,
    ),
    "its new token is refused": (
        "amqp:unauthorized-access",
        "credential update failed: different username",
        CredentialRejectedError,
        Reason.ACCESS_REFUSED,
    ),
    # RabbitMQ 3.10, which ends the session
    "an operator closes it, in 3.10": (
        INTERNAL,
        ENDED,
        TransientError,
        Reason.CONNECTION_FORCED,
    ),
    "the node stops, in 3.10": (INTERNAL, "shutdown", TransientError, Reason.SERVER_SHUTDOWN),
    "the node stops, in other words of 3.10": (
        INTERNAL,
        ENDED.replace(
            numbers("CONNECTION_FORCED - bye"),
            numbers("broker forced connection closure with reason 'shutdown'"),
        ),
        TransientError,
        Reason.SERVER_SHUTDOWN,
    ),
    "its virtual host is deleted, in 3.10": (
        INTERNAL,
        ENDED.replace(
            numbers("CONNECTION_FORCED - bye"),
            numbers("vhost 'orders' is deleted", between=",\n     "),
        ),
        RejectedError,
        Reason.VIRTUAL_HOST_NOT_FOUND,
    ),
    # Others
    "a token of Azure's expires": (
        "amqp:unauthorized-access",
        "ExpiredToken: The token is expired.",
        CredentialRejectedError,
        Reason.EXPIRED,
    ),
    "a limit in words": (
        "amqp:not-allowed",
        "access to vhost 'orders' refused: connection limit (1) is reached",
        TransientError,
        Reason.CONNECTION_LIMIT_REACHED,
    ),
    "silence": (
        "amqp:resource-limit-exceeded",
        conditions.LOCAL_IDLE_TIMEOUT,
        TransientError,
        Reason.HEARTBEAT_MISSED,
    ),
    "force": ("amqp:connection:forced", "", TransientError, Reason.CONNECTION_FORCED),
    "another server": ("amqp:connection:redirect", "", TransientError, Reason.CONNECTION_FORCED),
    "a detached link": ("amqp:link:detach-forced", "", TransientError, Reason.CONNECTION_FORCED),
    "a stolen link": ("amqp:link:stolen", "", TransientError, Reason.CONNECTION_FORCED),
    "no permission": ("amqp:unauthorized-access", "", RejectedError, Reason.ACCESS_REFUSED),
    "no such place": ("amqp:not-found", "", RejectedError, Reason.VIRTUAL_HOST_NOT_FOUND),
    "a deleted place": ("amqp:resource-deleted", "", RejectedError, Reason.VIRTUAL_HOST_NOT_FOUND),
    "what is not allowed": ("amqp:not-allowed", "", RejectedError, Reason.ACCESS_REFUSED),
    "a field": ("amqp:invalid-field", "", RejectedError, Reason.ACCESS_REFUSED),
    "a precondition": ("amqp:precondition-failed", "", RejectedError, Reason.ACCESS_REFUSED),
    "a lock": ("amqp:resource-locked", "", RejectedError, Reason.ACCESS_REFUSED),
    "a limit": (
        "amqp:resource-limit-exceeded",
        "",
        TransientError,
        Reason.CONNECTION_LIMIT_REACHED,
    ),
    "small frames": ("amqp:frame-size-too-small", "", RejectedError, Reason.NEGOTIATION_FAILED),
    "framing": ("amqp:connection:framing-error", "", RejectedError, Reason.PROTOCOL_MISMATCH),
    "decoding": ("amqp:decode-error", "", RejectedError, Reason.PROTOCOL_MISMATCH),
    "what it does not know": ("amqp:not-implemented", "", RejectedError, Reason.PROTOCOL_MISMATCH),
    "a wrong moment": ("amqp:illegal-state", "", RejectedError, Reason.PROTOCOL_MISMATCH),
    "an internal error": (INTERNAL, "boom", TransientError, Reason.PEER_CLOSED),
    "a symbol of its own": ("com.example:busy", "", TransientError, Reason.PEER_CLOSED),
}


@pytest.mark.parametrize(
    ("name", "text", "family", "reason"), MEANINGS.values(), ids=MEANINGS.keys()
)
def test_condition_means_what_it_means(
    name: str, text: str, family: type[ConnectError], reason: Reason
) -> None:
    """R4.7"""
    means = conditions.meaning(Condition(name, text))
    assert (means.family, means.reason) == (family, reason)
    assert means.is_expired == (reason is Reason.EXPIRED)
    assert means.says


def test_every_rule_is_reached() -> None:
    """A rule that another one hides would be no rule."""
    meant = {id(conditions.meaning(Condition(name, text))) for name, text, *_ in MEANINGS.values()}
    assert meant >= {id(each.meaning) for each in conditions._RULES}


def test_nothing_said_is_a_closed_connection() -> None:
    means = conditions.meaning(None)
    assert (means.family, means.reason) == (TransientError, Reason.PEER_CLOSED)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("the word shutdown alone says little", Reason.PEER_CLOSED, id="shutdown"),
        pytest.param("not a Connection forced", Reason.PEER_CLOSED, id="forced"),
        pytest.param("CONNECTION FORCED: x", Reason.CONNECTION_FORCED, id="in capital letters"),
        pytest.param("[1,2,300]", Reason.PEER_CLOSED, id="numbers that are no octets"),
        pytest.param("x" * 100_000 + "vhost 'x' is deleted", Reason.PEER_CLOSED, id="far away"),
    ],
)
def test_text_decides_only_where_it_says_enough(text: str, reason: Reason) -> None:
    assert conditions.meaning(Condition(INTERNAL, text)).reason is reason


# What is shown


def test_condition_is_shown_with_its_symbol_and_its_text() -> None:
    condition = Condition(INTERNAL, 'Connection forced: "bye bye"')
    assert conditions.shown(condition, Veil()) == (
        'amqp:internal-error: Connection forced: "bye bye"'
    )
    assert conditions.shown(Condition("amqp:not-found"), Veil()) == "amqp:not-found"
    assert conditions.shown(None, Veil()) == "no reason given"


def test_numbers_that_spell_a_text_are_shown_as_one() -> None:
    shown = conditions.shown(Condition(INTERNAL, ENDED), Veil())
    assert shown == (
        "amqp:internal-error: {shutdown,{connection_closing,{server_initiated_close,320,"
        '"CONNECTION_FORCED - bye"}}}'
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("[104,105]", '"hi"', id="list"),
        pytest.param("<<104,105>>", '"hi"', id="binary"),
        pytest.param("[104,\n    105]", '"hi"', id="list over two lines"),
        pytest.param("[195,188,195,159]", '"üß"', id="UTF-8"),
        pytest.param("[104,252]", '"hü"', id="Latin-1"),
        pytest.param("[104,8364]", '"h€"', id="characters"),
        pytest.param("[104,105,10]", '"hi "', id="with a line break"),
        pytest.param("[1,2,3]", "[1,2,3]", id="no text"),
        pytest.param("[104,999999999]", "[104,999999999]", id="no character"),
        pytest.param("[104,55296]", "[104,55296]", id="half a character"),
        pytest.param("[104]", "[104]", id="one number"),
        pytest.param("[104,105", "[104,105", id="list without an end"),
        pytest.param("[,104]", "[,104]", id="list without a beginning"),
    ],
)
def test_numbers_are_written_out_where_they_are_a_text(text: str, shown: str) -> None:
    condition = Condition(INTERNAL, text)
    assert conditions.shown(condition, Veil()) == f"{INTERNAL}: {shown}"


@pytest.mark.parametrize(
    "secret",
    [SECRET, "pässwört-ünd-möhr-€uro", "a.Jwt-" * 700],
    ids=["short", "other letters", "long"],
)
@pytest.mark.parametrize(
    "says",
    [
        pytest.param("refused {}", id="as it is"),
        pytest.param("refused {numbers}", id="as numbers"),
        pytest.param("refused {binary}", id="as a binary"),
        pytest.param("refused {lines}", id="as numbers over many lines"),
        pytest.param("refused {points}", id="as numbers of characters"),
        pytest.param("refused {inside}", id="as numbers between others"),
    ],
)
def test_secret_is_masked_however_it_is_said(secret: str, says: str) -> None:
    said = says.format(
        secret,
        numbers=numbers(secret),
        binary=numbers(secret).replace("[", "<<").replace("]", ">>"),
        lines=numbers(secret, between=",\n   "),
        points=f"[{','.join(str(ord(each)) for each in secret)}]",
        inside=numbers(f"\x01\x02token={secret}\n"),
    )
    shown = conditions.shown(Condition(INTERNAL, said), veil(secret))
    assert "refused" in shown
    for start in range(len(secret) - 6, 5):
        run = secret[start : start + 6]
        assert run not in shown
        assert ",".join(str(octet) for octet in run.encode()) not in shown
        assert ",".join(str(ord(each)) for each in run) not in shown


def test_secret_in_the_symbol_is_masked() -> None:
    assert SECRET not in conditions.shown(Condition(f"x:{SECRET}", ""), veil())


def test_text_shows_in_no_repr() -> None:
    assert SECRET not in repr(Condition(INTERNAL, SECRET))


@given(name=st.text(max_size=50), text=st.text(max_size=300))
def test_whatever_is_said_means_something_and_is_shown_in_short(name: str, text: str) -> None:
    condition = Condition(name, text * 100)
    assert conditions.meaning(condition).reason
    shown = conditions.shown(condition, veil())
    assert shown.isprintable()
    assert len(shown.encode()) <= 1024


@pytest.mark.parametrize("text", ["[1," * 30_000, "[" * 90_000, "<<" * 40_000, "[1,2" * 20_000])
def test_long_text_is_read_in_no_time(text: str) -> None:
    """As far as it is looked at."""
    assert conditions.meaning(Condition(INTERNAL, text)).reason is Reason.PEER_CLOSED


# Uses


@pytest.mark.parametrize(
    ("name", "text", "blames"),
    [
        pytest.param("amqp:unauthorized-access", "no", True, id="refused"),
        pytest.param("amqp:unauthorized-access", "credential expired", False, id="expired"),
        pytest.param("amqp:not-allowed", "", True, id="not allowed"),
        pytest.param(
            "amqp:unauthorized-access",
            "credential update failed: access token has expired",
            True,
            id="a new one that has expired",
        ),
        pytest.param(INTERNAL, 'Connection forced: "bye"', False, id="forced"),
        pytest.param(INTERNAL, "shutdown", False, id="shutdown"),
        pytest.param("amqp:connection:forced", "", False, id="forced by its symbol"),
    ],
)
def test_close_blames_a_new_secret_only_where_it_says_so(
    name: str, text: str, blames: bool
) -> None:
    assert conditions.blames_secret(Condition(name, text)) is blames


def test_end_of_an_open_connection_keeps_its_reason() -> None:
    info = conditions.when_open(
        Condition("amqp:not-found"), by=ClosedBy.SERVER, text="what is shown"
    )
    assert (info.by, info.reason) == (ClosedBy.SERVER, Reason.VIRTUAL_HOST_NOT_FOUND)
    assert info.text == "what is shown"
    assert not info.says_expired


def test_end_of_an_open_connection_for_an_expired_credential_says_so() -> None:
    info = conditions.when_open(
        Condition("amqp:unauthorized-access", "credential expired"), by=ClosedBy.SERVER, text=""
    )
    assert info.reason is Reason.CONNECTION_FORCED
    assert info.says_expired


@pytest.mark.parametrize(
    ("condition", "refusal"),
    [
        pytest.param(None, ProbeRefusal.OTHER, id="no reason"),
        pytest.param(
            Condition("amqp:unauthorized-access"), ProbeRefusal.NO_PERMISSION, id="access"
        ),
        pytest.param(Condition("amqp:not-allowed"), ProbeRefusal.NO_PERMISSION, id="not allowed"),
        pytest.param(Condition("amqp:not-found"), ProbeRefusal.PLACE_MISSING, id="not found"),
        pytest.param(Condition("amqp:resource-deleted"), ProbeRefusal.PLACE_MISSING, id="deleted"),
        pytest.param(Condition("amqp:resource-limit-exceeded"), ProbeRefusal.LIMIT, id="limit"),
        pytest.param(Condition(INTERNAL), ProbeRefusal.TROUBLE, id="trouble"),
        pytest.param(Condition("amqp:link:detach-forced"), ProbeRefusal.TROUBLE, id="detached"),
        pytest.param(Condition("com.example:busy"), ProbeRefusal.OTHER, id="another"),
        pytest.param(
            Condition("amqp:unauthorized-access", "token has expired"),
            ProbeRefusal.CREDENTIAL_EXPIRED,
            id="expired",
        ),
    ],
)
def test_refused_probe_says_why(condition: Condition | None, refusal: ProbeRefusal) -> None:
    assert conditions.probe_refusal(condition) is refusal


@pytest.mark.parametrize(
    "found", [None, type("Found", (), {"name": None})(), type("Found", (), {"name": ""})()]
)
def test_condition_without_a_symbol_is_none(found: object) -> None:
    assert Condition.of(found) is None


def test_what_proton_has_is_taken_as_texts() -> None:
    found = type("Found", (), {"name": "amqp:not-found", "description": None})()
    assert Condition.of(found) == Condition("amqp:not-found", "")
