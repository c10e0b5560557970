"""One connection in words: what is said of each state, and how times are told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from springline import protocols
from springline.plugin import account
from springline.plugin.account import Entry
from springline.plugin.connection import Connection
from springline.protocols import ProtocolInfo

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LABEL = "app.kubernetes.io/name=springline"


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": ago(hours=3),
        "observedGeneration": 2,
    }


def a_connection(*conditions: dict[str, Any], **status: Any) -> Connection:
    return Connection(
        {
            "metadata": {"name": "orders", "namespace": "shop", "generation": 2},
            "spec": {"brokerRef": {"name": "rabbit"}, "virtualHost": "orders"},
            "status": {"observedGeneration": 2, "conditions": list(conditions), **status},
        }
    )


def entries(connection: Connection) -> dict[str, Entry]:
    found = account.account(connection, now=NOW, holder="")
    assert len({each.label for each in found}) == len(found)
    return {each.label: each for each in found}


def said(connection: Connection, label: str) -> tuple[str, ...]:
    return entries(connection)[label].lines


def test_suspended_connection_has_no_condition_ready() -> None:
    connection = a_connection(
        a_condition("Connected", "False", "Suspended", "spec.suspend is true"), state="Suspended"
    )
    ready = entries(connection)["Ready"]
    assert ready.lines == ("no for 3h: Suspended", "spec.suspend is true")
    assert ready.tone == "notice"
    assert account.explained(connection) == "Suspended"


def test_connection_that_nobody_has_seen_is_not_known() -> None:
    connection = a_connection(observedGeneration=-1, state="Pending")
    found = entries(connection)
    assert found["Ready"].lines[0].startswith("not known")
    assert found["State"].lines == ("Pending",)
    assert "Not taken up" not in found


def test_stalled_connection_waits_for_somebody() -> None:
    connection = a_connection(
        a_condition("Ready", "False", "AccessRefused", "login was refused"),
        a_condition("Stalled", "True", "AccessRefused", "login was refused"),
        state="Rejected",
    )
    assert said(connection, "Stalled") == (
        "yes for 3h: nothing goes on until somebody changes something",
    )


def test_ready_connection_says_since_when() -> None:
    connection = a_connection(
        a_condition("Ready", "True", "Connected"),
        state="Connected",
        connectedSince=ago(hours=3),
    )
    assert said(connection, "Ready") == ("yes for 3h",)
    assert said(connection, "State") == ("Connected since 2026-11-21T09:00:00Z (3h)",)
    assert said(connection, "Broker") == ("Broker rabbit, virtual host orders",)
    assert account.explained(connection) == ""


def test_connection_that_is_not_ready_says_why() -> None:
    connection = a_connection(
        a_condition("Ready", "False", "ConnectionRefused", "rabbit:5672: connection refused"),
        state="Waiting",
        attempts=3,
    )
    assert said(connection, "Ready") == (
        "no for 3h: ConnectionRefused",
        "rabbit:5672: connection refused",
    )
    assert said(connection, "State") == ("Waiting, 3 failed attempts since the last success",)
    assert account.explained(connection) == "ConnectionRefused"


def test_a_change_that_cannot_work_has_a_line_of_its_own() -> None:
    words = "the session keeps what it has: no such virtual host"
    out_of_sync = a_condition("Synced", "False", "VirtualHostNotFound", words)
    ready = a_condition("Ready", "False", "VirtualHostNotFound", words)
    connection = a_connection(ready, out_of_sync, state="Connected")
    assert said(connection, "Ready") == ("no for 3h: VirtualHostNotFound", words)
    assert said(connection, "In sync") == ("no for 3h: VirtualHostNotFound",)
    refused = a_condition("Ready", "False", "Rejected", "login refused")
    assert said(a_connection(refused, out_of_sync), "In sync")[1] == words
    assert "In sync" not in entries(a_connection(a_condition("Synced", "True", "InSync")))


def test_a_change_that_is_on_its_way_is_no_failure() -> None:
    words = "what is declared now is being brought to the session"
    connection = a_connection(a_condition("Ready", "Unknown", "Applying", words))
    assert entries(connection)["Ready"] == Entry(
        "Ready", ("not yet for 3h: Applying", words), "notice"
    )


def test_status_that_nobody_wrote_is_a_question_about_the_operator() -> None:
    connection = Connection({"metadata": {"name": "orders"}, "spec": {"broker": {}}})
    [first, second] = said(connection, "Ready")
    assert first == "not known: nobody has written a status"
    assert "operator" in second
    assert said(connection, "Broker") == ("declared in place, virtual host /",)
    assert entries(connection).keys() == {"Name", "Ready", "Broker"}


@pytest.mark.parametrize(
    ("credentials", "lines"),
    [
        (
            {"source": "secretRef", "username": "ann", "appliedAt": ago(minutes=5)},
            (
                "user ann, from secretRef: valid (Verified)",
                "in use since 2026-11-21T11:55:00Z (5m)",
            ),
        ),
        (
            {
                "source": "oauth2",
                "username": "ann",
                "verifiedAt": ago(seconds=90),
                "appliedAt": ago(seconds=90),
                "method": "InPlace",
                "expiresAt": ago(minutes=-50),
                "renewAt": ago(minutes=-40),
            },
            (
                "user ann, from oauth2: valid (Verified)",
                "accepted by the broker 90s ago",
                "in use since 2026-11-21T11:58:30Z (90s), in place, the session went on",
                "expires in 50m (2026-11-21T12:50:00Z)",
                "to be renewed in 40m (2026-11-21T12:40:00Z)",
            ),
        ),
        (
            {"source": "tokenRef", "expiresAt": ago(minutes=1), "renewAt": ago(hours=5)},
            (
                "tokenRef: valid (Verified)",
                "expired 60s ago (2026-11-21T11:59:00Z)",
                "to be renewed since 5h (2026-11-21T07:00:00Z)",
            ),
        ),
    ],
    ids=["a password", "a token renewed in place", "a token whose time is over"],
)
def test_credential_says_until_when(credentials: dict[str, Any], lines: tuple[str, ...]) -> None:
    valid = a_condition("CredentialsValid", "True", "Verified")
    assert said(a_connection(valid, credentials=credentials), "Credential") == lines


def test_refused_credential_says_why_unless_ready_does() -> None:
    """What is said once need not be said twice."""
    refused = a_condition("CredentialsValid", "False", "Rejected", "login was refused")
    connection = a_connection(refused, credentials={"source": "secretRef"})
    assert said(connection, "Credential") == (
        "secretRef: not valid (Rejected)",
        "login was refused",
    )
    ready = a_condition("Ready", "False", "Rejected", "login was refused")
    connection = a_connection(ready, refused, credentials={"source": "secretRef"})
    assert said(connection, "Credential") == ("secretRef: not valid (Rejected)",)


def test_blocked_connection_has_the_brokers_words() -> None:
    connection = a_connection(
        a_condition("Ready", "True", "Connected"),
        a_condition("Blocked", "True", "LowOnMemory", "low on memory"),
        blocked={"since": ago(minutes=10), "reason": "low on memory"},
    )
    assert said(connection, "Blocked") == (
        "yes since 2026-11-21T11:50:00Z (10m): LowOnMemory",
        "the broker: low on memory",
    )
    assert account.explained(connection) == "LowOnMemory"
    unknown = a_condition("Blocked", "Unknown", "ProbeDisabled", "probe.mode is None")
    assert said(a_connection(unknown), "Blocked") == (
        "not known: ProbeDisabled",
        "probe.mode is None",
    )


@pytest.mark.parametrize(
    ("close", "lines"),
    [
        (
            {"by": "Server", "code": 320, "text": "CONNECTION_FORCED - bye"},
            ("2h ago by the broker: ServerShutdown", "320 CONNECTION_FORCED - bye"),
        ),
        (
            {"by": "Transport", "text": "connection reset"},
            ("2h ago with its transport, without a Close: ServerShutdown", "connection reset"),
        ),
        ({"by": "Client", "text": ""}, ("2h ago by Springline: ServerShutdown",)),
    ],
    ids=["by the broker", "without a word", "by Springline"],
)
def test_last_close_is_told_in_words(close: dict[str, Any], lines: tuple[str, ...]) -> None:
    close = {"at": ago(hours=2), "reason": "ServerShutdown", **close}
    assert said(a_connection(lastClose=close), "Last close") == lines


@pytest.mark.parametrize(
    ("negotiated", "line"),
    [
        pytest.param(
            {
                "channelMax": 2047,
                "clientProperties": {"product": "Springline"},
                "frameMax": 131072,
                "heartbeat": "30s",
                "locale": "en_US",
                "mechanism": "PLAIN",
                "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384"},
            },
            "PLAIN, en_US, heartbeat 30s, channel-max 2047, frame-max 131072,"
            " TLSv1.3 with TLS_AES_256_GCM_SHA384",
            id="everything",
        ),
        pytest.param(
            {"channelMax": 0, "frameMax": 0, "heartbeat": "0s", "mechanism": "PLAIN"},
            "PLAIN, heartbeat 0s, channel-max 0, frame-max 0",
            id="no limits",
        ),
        pytest.param({"mechanism": "PLAIN"}, "PLAIN", id="a protocol that has no more"),
        pytest.param(
            {
                "mechanism": "BASIC",
                "heartbeat": "0s",
                "http": {"version": "1.1", "keepAlive": True, "queueLength": 0},
            },
            "BASIC, heartbeat 0s, version 1.1, keep-alive true, queue-length 0",
            id="what is a protocol's own",
        ),
    ],
)
def test_what_was_negotiated_is_told_as_far_as_the_protocol_has_it(
    negotiated: dict[str, Any], line: str
) -> None:
    assert said(a_connection(negotiated=negotiated), "Negotiated") == (line,)


PAPER = ProtocolInfo(
    name="paper", title="Paper 1.0", port=80, tls_port=443, place="desk", mechanisms=("SEAL",)
)


def test_what_only_one_protocol_negotiates_is_told_with_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocols, "PROTOCOLS", {**protocols.PROTOCOLS, "paper": PAPER})
    own = {
        "inkColour": "blue",
        "sheets": 3,
        "trays": {"upperTray": 20, "lowerTray": 0},
        "maker": {"name": "Mill"},
        "parts": [{"name": "a"}],
    }
    connection = a_connection(negotiated={"mechanism": "SEAL", "heartbeat": "0s", "paper": own})
    assert said(connection, "Negotiated") == (
        "SEAL, heartbeat 0s, ink-colour blue, sheets 3, trays upper-tray 20, trays lower-tray 0",
    )
    assert "Parts" not in {entry.label for entry in account.account(connection, now=NOW, holder="")}


def test_what_a_connection_consists_of_is_told_part_by_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has a name and a state, whatever the protocol calls it."""
    monkeypatch.setattr(protocols, "PROTOCOLS", {**protocols.PROTOCOLS, "paper": PAPER})
    letters = [
        {"name": "a", "state": "Sent", "address": "here", "isCopy": False, "ends": {"b": "c"}},
        {"name": "b", "state": "Lost", "message": "no\nsuch place"},
        "what a later version writes",
    ]
    own = {"openLetters": letters}
    connection = a_connection(negotiated={"mechanism": "SEAL", "heartbeat": "0s", "paper": own})
    assert said(connection, "Open letters") == (
        "a: Sent, address here, is-copy false",
        "b: Lost",
        r"  no\nsuch place",
    )


def test_links_are_told_with_their_states() -> None:
    links = [
        {
            "name": "out",
            "role": "Sender",
            "state": "Attached",
            "address": "/queues/orders",
            "credit": 100,
            "kept": True,
        },
        {
            "name": "in",
            "role": "Receiver",
            "state": "Refused",
            "kept": False,
            "message": "amqp:not-found",
        },
    ]
    negotiated = {"mechanism": "PLAIN", "heartbeat": "60s", "amqp10": {"links": links}}
    assert said(a_connection(negotiated=negotiated), "Links") == (
        "out: Attached, role Sender, address /queues/orders, credit 100, kept true",
        "in: Refused, role Receiver, kept false",
        "  amqp:not-found",
    )


@pytest.mark.parametrize(
    ("protocol", "line"),
    [
        ("amqp091", "Broker rabbit, virtual host orders"),
        ("paper", "Broker rabbit, desk orders"),
        ("a-later-one", "Broker rabbit, place orders"),
    ],
)
def test_where_it_leads_is_told_in_the_words_of_its_protocol(
    monkeypatch: pytest.MonkeyPatch, protocol: str, line: str
) -> None:
    monkeypatch.setattr(protocols, "PROTOCOLS", {**protocols.PROTOCOLS, "paper": PAPER})
    found = account.account(a_connection(), now=NOW, holder="", protocol=protocol)
    assert {each.label: each.lines for each in found}["Broker"] == (line,)


def test_what_was_not_taken_up_yet_is_told() -> None:
    connection = a_connection(lastHandled={"renewRequestedAt": "before"})
    document = dict(connection.document)
    document["metadata"] = {
        **document["metadata"],
        "generation": 3,
        "annotations": {
            "springline.dev/renew-requested-at": "before",
            "springline.dev/reconnect-requested-at": "now",
        },
    }
    connection = Connection(document)
    assert said(connection, "Not taken up") == ("status is about generation 2, and there is 3 now",)
    assert said(connection, "Not done yet") == ("reconnect, asked for as now",)


def test_binding_is_told_where_one_is_declared() -> None:
    published = a_condition("BindingPublished", "True", "Published")
    connection = a_connection(published, binding={"name": "orders-binding"})
    assert said(connection, "Binding") == ("Secret orders-binding, published for 3h",)
    foreign = a_condition("BindingPublished", "False", "SecretNotOurs", "it is there already")
    connection = a_connection(foreign, binding={"name": "orders-binding"})
    assert said(connection, "Binding") == (
        "Secret orders-binding, not up to date: SecretNotOurs",
        "it is there already",
    )


def test_words_of_brokers_cannot_steer_the_terminal() -> None:
    connection = a_connection(
        a_condition("Ready", "False", "PeerClosed", "bye\x1b[2J\n"),
        server={"product": "Rabbit\x07MQ"},
    )
    text = str([each.lines for each in entries(connection).values()])
    assert "\x1b" not in "".join(said(connection, "Ready"))
    assert "\x07" not in "".join(said(connection, "Server"))
    assert "PeerClosed" in text


def a_pod(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "springline-system"}, "status": status}


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        (
            [a_pod("a-1", phase="Running", startTime=ago(hours=3))],
            "a-1, which is running for 3h, in namespace springline-system",
        ),
        (
            [a_pod("a-1", phase="Failed")],
            "a-1, whose pod is not running: Failed, in namespace springline-system",
        ),
        (
            [a_pod("a-2", phase="Running")],
            (
                f"a-1, of which there is no pod with the label {LABEL}: "
                "this status may be old, unless Springline runs outside of the cluster"
            ),
        ),
        (
            "you may not list pods in all namespaces",
            "a-1, and whether it is alive cannot be told: you may not list pods in all namespaces",
        ),
    ],
    ids=["it is alive", "its pod has failed", "it is gone", "one may not look"],
)
def test_holder_is_alive_or_not(pods: Any, words: str) -> None:
    assert account.holder_in_words("a-1", pods, label=LABEL, now=NOW) == words
    assert account.holder_in_words("", pods, label=LABEL, now=NOW) == ""


def test_holder_is_found_in_its_namespace() -> None:
    """Pods of two releases may have one name."""
    pods = [
        {
            "metadata": {"name": "a-1", "namespace": namespace},
            "status": {"phase": phase, "startTime": ago(hours=3)},
        }
        for namespace, phase in (("other", "Failed"), ("system", "Running"))
    ]
    words = account.holder_in_words("system/a-1", pods, label=LABEL, now=NOW)
    assert words == "system/a-1, which is running for 3h"
    assert "of which there is no pod" in account.holder_in_words(
        "third/a-1", pods, label=LABEL, now=NOW
    )


def test_a_second_replica_is_told_of_while_it_says_so() -> None:
    """It repeats its Event every half hour."""

    def told(message: str, **since: int) -> dict[str, Any]:
        return {"reason": "HeldElsewhere", "message": message, "lastTimestamp": ago(**since)}

    other = {"reason": "Connected", "message": "c", "lastTimestamp": ago(minutes=1)}
    [entry] = account.held_twice(
        [told("b", minutes=34), told("a", minutes=4), told("c", hours=2), other], now=NOW
    )
    assert (entry.label, entry.lines, entry.tone) == ("Held twice", ("told 4m ago", "a"), "bad")
    assert account.held_twice([told("a", minutes=37), other], now=NOW) == []


def test_events_are_a_table_with_the_newest_last() -> None:
    events: list[dict[str, Any]] = [
        {"type": "Normal", "reason": "Connected", "message": "b", "lastTimestamp": ago(minutes=3)},
        {"type": "Warning", "reason": "Blocked", "message": "a", "eventTime": ago(hours=5)},
        {"reason": "Closed", "message": "c", "lastTimestamp": ago(seconds=5), "count": 4},
    ]
    assert account.event_lines(events, now=NOW) == [
        ("AGE", "TYPE", "REASON", "MESSAGE"),
        ("5h", "Warning", "Blocked", "a"),
        ("3m", "Normal", "Connected", "b"),
        ("5s", "", "Closed", "c (x4)"),
    ]
    many = [{"reason": str(number), "lastTimestamp": ago(hours=number)} for number in range(30)]
    assert [row[2] for row in account.event_lines(many, now=NOW)[1:]] == [
        str(number) for number in range(9, -1, -1)
    ]
