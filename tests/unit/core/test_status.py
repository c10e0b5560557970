"""From a session's view to the `status` of its BrokerConnection."""

import dataclasses
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.api.conditions import Condition, ConditionStatus, ConditionType
from springline.api.status import BrokerConnectionStatus, LastHandledStatus, as_document
from springline.core import state, status, verdicts
from springline.core.binding import failed, published
from springline.core.state import Phase, SessionState
from springline.core.values import CloseInfo, ServerInfo, TLSInfo
from springline.core.view import CredentialUse, LastClose, SessionView
from springline.drivers.amqp091 import greeting
from springline.drivers.amqp091.negotiated import Amqp091Negotiated
from springline.reasons import Reason
from springline.veil import Veil
from support.builders import (
    KEY,
    a_block,
    a_credential,
    a_spec,
    an_open_info,
    credential_refused,
    no_secret,
    server_close,
    terminal,
    transport_close,
    unreachable,
)
from support.fake_clock import EIGHT
from support.states import CONNECTED, GONE, INVALID, after

NINE = EIGHT + timedelta(hours=1)
WAITING = after(state.AttemptFailed(error=unreachable("nobody listens")))


def a_view(current: SessionState = CONNECTED, **changes: Any) -> SessionView:
    is_open = current.phase is Phase.CONNECTED
    view = SessionView(
        key=KEY,
        generation=3,
        spec=a_spec(),
        state=current,
        info=an_open_info() if is_open else None,
        connected_since=EIGHT if is_open else None,
    )
    return dataclasses.replace(view, **changes)


def check(document: dict[str, Any]) -> None:
    """Fail unless the models, which the definitions are made of, have the same document."""
    model = BrokerConnectionStatus.model_validate(document, strict=False)
    assert as_document(model) == document


def shown(view: SessionView, *, now: datetime = EIGHT) -> dict[str, Any]:
    """Return `status` as it stands in the document."""
    conditions = status.conditions(view, now=now)
    document = status.connection_status(view, conditions)
    check(document)
    return document


def condition(kind: ConditionType, current: SessionState, *, now: datetime = EIGHT) -> Condition:
    return next(each for each in status.conditions(a_view(current), now=now) if each.type is kind)


# --- conditions


def test_the_conditions_are_always_shown() -> None:
    types = [each.type for each in status.conditions(a_view(SessionState()), now=EIGHT)]
    assert types == ["Ready", "Connected", "CredentialsValid", "Synced", "Blocked"]


def test_a_suspended_session_has_no_condition_ready() -> None:
    """It is as it was declared: False would say that it is on its way to something."""
    view, before = a_view(), status.conditions(a_view(), now=EIGHT)
    suspended = after(state.Declared(suspend=True), of=CONNECTED)
    conditions = status.conditions(
        dataclasses.replace(view, state=suspended), previous=before, now=NINE
    )
    types = ["Connected", "CredentialsValid", "Synced", "Blocked"]
    assert [each.type for each in conditions] == types
    resumed = status.conditions(view, previous=conditions, now=NINE)
    assert (resumed[0].type, resumed[0].last_transition_time) == ("Ready", NINE)


def test_a_declared_binding_has_a_condition_and_a_name() -> None:
    """Both go with the declaration, and neither has a say in whether the session is Ready."""
    view, binding = a_view(), published("orders-binding")
    before = status.conditions(view, binding=failed("no right"), now=EIGHT)
    assert [each.type for each in before][-1] == "BindingPublished"
    after = status.conditions(view, previous=before, binding=binding, now=NINE)
    assert (after[-1].reason, after[-1].last_transition_time) == (Reason.PUBLISHED, NINE)
    assert before[0] == after[0]
    document = status.connection_status(view, after, binding=binding)
    assert document["binding"] == {"name": "orders-binding"}
    gone = status.conditions(view, previous=after, now=NINE)
    assert gone == after[:-1]
    assert "binding" not in status.connection_status(view, gone)


@pytest.mark.parametrize(
    ("current", "shown_as", "reason", "message"),
    [
        pytest.param(
            SessionState(),
            "False",
            Reason.CONNECTING,
            "the first attempt is under way",
            id="nothing has happened yet",
        ),
        pytest.param(CONNECTED, "True", Reason.OPEN, "the session is open", id="open"),
        pytest.param(
            WAITING, "False", Reason.CONNECTION_REFUSED, "nobody listens", id="not reached"
        ),
        pytest.param(
            after(state.AttemptFailed(error=credential_refused("login refused"))),
            "False",
            Reason.ACCESS_REFUSED,
            "login refused",
            id="refused",
        ),
        pytest.param(
            after(state.AttemptFailed(error=no_secret())),
            "False",
            Reason.NO_CREDENTIALS,
            'there is no Secret "orders-amqp"',
            id="nothing to log in with",
        ),
        pytest.param(
            after(state.Declared(suspend=True)),
            "False",
            Reason.SUSPENDED,
            "spec.suspend is true",
            id="suspended",
        ),
        pytest.param(
            after(state.Declared(problem=INVALID)),
            "False",
            Reason.INVALID_SPEC,
            INVALID.message,
            id="unusable",
        ),
        pytest.param(
            after(state.Opened(), state.Lost(failure=GONE)),
            "False",
            Reason.PEER_CLOSED,
            GONE.message,
            id="lost",
        ),
        pytest.param(
            after(state.CloseRequested()),
            "False",
            Reason.CLIENT_CLOSED,
            "Springline closed the session and no longer keeps it",
            id="ended",
        ),
    ],
)
def test_connected_says_whether_and_why_not(
    current: SessionState, shown_as: str, reason: Reason, message: str
) -> None:
    found = condition(ConditionType.CONNECTED, current)
    assert (found.status.value, found.reason, found.message) == (shown_as, reason, message)


@pytest.mark.parametrize(
    ("current", "shown_as", "reason"),
    [
        pytest.param(CONNECTED, "True", Reason.CONNECTED, id="open with a valid credential"),
        pytest.param(WAITING, "False", Reason.CONNECTION_REFUSED, id="what keeps it closed"),
        pytest.param(
            after(state.AttemptFailed(error=no_secret())),
            "False",
            Reason.SECRET_NOT_FOUND,
            id="what is wrong with the credential, not that there is none",
        ),
        pytest.param(
            after(state.Opened(), state.RenewalRefused(error=credential_refused())),
            "False",
            Reason.REJECTED,
            id="open, and the new credential was refused",
        ),
        pytest.param(
            after(state.Opened(), state.Blocked(block=a_block())),
            "True",
            Reason.CONNECTED,
            id="a block stands on its own",
        ),
    ],
)
def test_ready_gives_the_reason_of_whatever_holds_it_back(
    current: SessionState, shown_as: str, reason: Reason
) -> None:
    found = condition(ConditionType.READY, current)
    assert (found.status.value, found.reason) == (shown_as, reason)
    assert found.message


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (ConditionType.CREDENTIALS_VALID, verdicts.ACCEPTED),
        (ConditionType.BLOCKED, verdicts.NOT_PROBED),
    ],
)
def test_the_others_are_shown_as_the_session_knows_them(
    kind: ConditionType, verdict: verdicts.Verdict
) -> None:
    found = condition(kind, CONNECTED)
    assert (found.status, found.reason, found.message) == (
        verdict.status,
        verdict.reason,
        verdict.message,
    )


@pytest.mark.parametrize(
    "current",
    [
        pytest.param(CONNECTED, id="success"),
        pytest.param(WAITING, id="failure"),
        pytest.param(after(state.Declared(problem=INVALID)), id="unusable"),
        pytest.param(after(state.AttemptFailed(error=terminal())), id="hopeless"),
    ],
)
def test_the_observed_generation_is_set_on_failures_too(current: SessionState) -> None:
    document = shown(a_view(current, generation=7))
    assert document["observedGeneration"] == 7
    assert {each["observedGeneration"] for each in document["conditions"]} == {7}


def test_a_transition_time_moves_only_when_the_status_flips() -> None:
    first = status.conditions(a_view(WAITING), now=EIGHT)
    other_reason = after(state.AttemptFailed(error=credential_refused()))
    second = status.conditions(a_view(other_reason), previous=first, now=NINE)
    times = {each.type: each.last_transition_time for each in second}
    assert times[ConditionType.CONNECTED] == EIGHT
    assert times[ConditionType.READY] == EIGHT
    assert times[ConditionType.CREDENTIALS_VALID] == NINE, "from Unknown to False"
    assert times[ConditionType.BLOCKED] == EIGHT
    ten = NINE + timedelta(hours=1)
    third = status.conditions(a_view(CONNECTED), previous=second, now=ten)
    times = {each.type: each.last_transition_time for each in third}
    assert times[ConditionType.CONNECTED] == ten
    assert times[ConditionType.READY] == ten
    assert times[ConditionType.CREDENTIALS_VALID] == ten
    assert times[ConditionType.BLOCKED] == EIGHT, "still unknown, for another reason"


STATES = st.sampled_from(
    [
        SessionState(),
        CONNECTED,
        WAITING,
        after(state.AttemptFailed(error=no_secret())),
        after(state.AttemptFailed(error=credential_refused())),
        after(state.Opened(), state.Blocked(block=a_block("low on disk", Reason.LOW_ON_DISK))),
        after(state.Opened(), state.Unblocked()),
        after(state.Declared(suspend=True)),
    ]
)


@given(states=st.lists(STATES, min_size=1, max_size=8))
def test_every_time_is_that_of_the_last_flip(states: list[SessionState]) -> None:
    known: tuple[Condition, ...] = ()
    since: dict[ConditionType, tuple[ConditionStatus, datetime]] = {}
    for minute, current in enumerate(states):
        now = EIGHT + timedelta(minutes=minute)
        known = status.conditions(a_view(current), previous=known, now=now)
        since = {kind: since[kind] for kind in since if kind in {each.type for each in known}}
        for each in known:
            if each.type not in since or since[each.type][0] is not each.status:
                since[each.type] = (each.status, now)
            assert each.last_transition_time == since[each.type][1]


# --- the rest of status


def test_an_open_session_is_shown_in_full() -> None:
    tls = TLSInfo(
        version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", peer_certificate_not_after=NINE
    )
    info = an_open_info()
    info = dataclasses.replace(info, negotiated=dataclasses.replace(info.negotiated, tls=tls))
    document = shown(a_view(info=info))
    assert document["state"] == "Connected"
    assert document["connectedSince"] == "2026-11-21T08:00:00Z"
    assert document["endpoint"] == "rabbit-0.example:5672 (192.0.2.1)"
    assert document["attempts"] == 0
    assert document["negotiated"] == {
        "mechanism": "PLAIN",
        "locale": "en_US",
        "heartbeat": "60s",
        "channelMax": 2047,
        "frameMax": 131072,
        "clientProperties": {"connection_name": "springline/apps/orders"},
        "tls": {
            "version": "TLSv1.3",
            "cipher": "TLS_AES_256_GCM_SHA384",
            "peerCertificateNotAfter": "2026-11-21T09:00:00Z",
        },
    }
    assert document["server"] == {
        "product": "RabbitMQ",
        "version": "4.0.5",
        "clusterName": "rabbit@one",
        "platform": "Erlang/OTP 27",
        "protocolVersion": "0-9-1",
        "mechanisms": ["PLAIN", "AMQPLAIN"],
        "locales": ["en_US"],
    }


def test_without_tls_nothing_is_said_of_it() -> None:
    assert "tls" not in shown(a_view())["negotiated"]


def test_a_broker_that_says_little_of_itself_leaves_no_empty_fields() -> None:
    info = dataclasses.replace(an_open_info(), server=ServerInfo(product="Other"))
    assert shown(a_view(info=info))["server"] == {"product": "Other"}


def test_a_session_that_is_not_open_shows_nothing_of_an_open_one() -> None:
    document = shown(a_view(WAITING))
    assert document["state"] == "Waiting"
    assert document["attempts"] == 1
    for field in ("connectedSince", "endpoint", "negotiated", "server", "blocked", "lastClose"):
        assert field not in document


def test_the_credential_is_shown_without_its_secret() -> None:
    credential = dataclasses.replace(a_credential("hunter2", version="48213"), expires_at=NINE)
    use = CredentialUse(
        credential=credential, method="InPlace", applied_at=EIGHT, verified_at=EIGHT
    )
    document = shown(a_view(credential=use))
    assert document["credentials"] == {
        "source": "secretRef",
        "username": "app",
        "observedVersion": "48213",
        "verifiedAt": "2026-11-21T08:00:00Z",
        "appliedAt": "2026-11-21T08:00:00Z",
        "method": "InPlace",
        "expiresAt": "2026-11-21T09:00:00Z",
    }
    assert "hunter2" not in repr(document)


def test_a_credential_that_was_only_tried_shows_no_method() -> None:
    use = CredentialUse(credential=a_credential(username="", version=""))
    assert shown(a_view(WAITING, credential=use))["credentials"] == {"source": "secretRef"}


def test_user_is_shown_only_after_the_broker_has_accepted_it() -> None:
    """A password under the key of the user name is sent to the broker, and shown to nobody."""
    use = CredentialUse(credential=a_credential(username="hunter2", version="7"))
    assert "hunter2" not in repr(shown(a_view(WAITING, credential=use)))
    accepted = dataclasses.replace(use, method="Handshake")
    assert shown(a_view(credential=accepted))["credentials"]["username"] == "hunter2"


def test_a_block_is_shown_with_the_brokers_words() -> None:
    blocked = after(state.Opened(), state.Blocked(block=a_block()))
    document = shown(a_view(blocked, blocked_since=EIGHT))
    assert document["blocked"] == {"since": "2026-11-21T08:00:00Z", "reason": "low on memory"}


@pytest.mark.parametrize(
    ("current", "since"),
    [
        pytest.param(CONNECTED, EIGHT, id="it is over"),
        pytest.param(
            after(state.Opened(), state.Blocked(block=a_block())), None, id="since unknown"
        ),
    ],
)
def test_no_block_is_shown_that_is_not_there(current: SessionState, since: datetime | None) -> None:
    assert "blocked" not in shown(a_view(current, blocked_since=since))


# R1.8
@pytest.mark.parametrize(
    ("info", "expected"),
    [
        pytest.param(
            server_close("CONNECTION_FORCED - by an operator"),
            {
                "at": "2026-11-21T08:00:00Z",
                "by": "Server",
                "reason": "ConnectionForced",
                "text": "CONNECTION_FORCED - by an operator",
                "code": 320,
                "classID": 10,
                "methodID": 0,
            },
            id="by the broker, with the codes of its Close",
        ),
        pytest.param(
            transport_close("the peer ended the connection"),
            {
                "at": "2026-11-21T08:00:00Z",
                "by": "Transport",
                "reason": "PeerClosed",
                "text": "the peer ended the connection",
            },
            id="by nobody, and there are no codes",
        ),
        pytest.param(
            dataclasses.replace(server_close("amqp:connection:forced"), codes={}),
            {
                "at": "2026-11-21T08:00:00Z",
                "by": "Server",
                "reason": "ConnectionForced",
                "text": "amqp:connection:forced",
            },
            id="by a broker whose protocol has no codes",
        ),
    ],
)
def test_how_the_last_connection_ended(info: CloseInfo, expected: dict[str, Any]) -> None:
    document = shown(a_view(WAITING, last_close=LastClose(info=info, at=EIGHT)))
    assert document["lastClose"] == expected


def test_a_session_that_was_never_declared_usable_can_be_shown() -> None:
    view = a_view(after(state.Declared(problem=INVALID)), spec=None)
    assert shown(view)["state"] == "Rejected"


def test_who_keeps_the_session_and_what_was_asked_of_it_are_shown_where_they_are_known() -> None:
    view = a_view()
    conditions = status.conditions(view, now=EIGHT)
    handled = LastHandledStatus(reconnect_requested_at="2026-11-21T08:00:00Z")
    held = status.connection_status(view, conditions, holder="springline-0", last_handled=handled)
    assert held["holder"] == "springline-0"
    assert held["lastHandled"] == {"reconnectRequestedAt": "2026-11-21T08:00:00Z"}
    assert not {"holder", "lastHandled"} & shown(view).keys()


# --- however much others say


def test_no_status_is_large_whatever_is_declared_and_said() -> None:
    """64 endpoints with the longest names, and a megabyte of each text that others choose."""
    much = "\x00é" * 500_000
    properties = {f"\x01{number}": "\x02" * 120 for number in range(64)}
    info = dataclasses.replace(
        an_open_info(),
        server=greeting.server_info(
            {"product": much, "version": much, "platform": much, "cluster_name": much},
            mechanisms=much,
            locales="é " * 500_000,
            veil=Veil(),
        ),
        negotiated=Amqp091Negotiated(
            mechanism="PLAIN",
            locale="en_US",
            heartbeat_seconds=60,
            channel_max=2047,
            frame_max=131072,
            client_properties=properties,
        ),
    )
    failed = after(state.AttemptFailed(error=terminal(much)))
    use = CredentialUse(credential=a_credential(username=much), method="Handshake")
    view = a_view(failed, info=info, credential=use)
    document = shown(view)
    assert len(json.dumps(document)) < 64 * 1024
    for each in document["conditions"]:
        assert len(each["message"].encode()) <= 1024
    assert len(document["credentials"]["username"].encode()) <= 255


def test_a_user_name_is_shown_with_escapes() -> None:
    use = CredentialUse(credential=a_credential(username="ann\n\x1b[31m"), method="Handshake")
    document = shown(a_view(credential=use))
    assert document["credentials"]["username"] == r"ann\n\x1b[31m"
