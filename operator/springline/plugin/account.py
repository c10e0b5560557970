"""One connection in words: what `kubectl springline status NAME` prints.

Nothing here asks anybody anything. Whoever calls says what time it is, and what was found out about
the replica that holds the session and about Events.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from springline import protocols
from springline.api import negotiated, places
from springline.api.texts import printable
from springline.api.times import rfc3339
from springline.kube import notice_kinds
from springline.kube.notice_kinds import Notice
from springline.plugin.connection import ConditionView, Connection, moment
from springline.standalone.lines import age

__all__ = [
    "Entry",
    "Tone",
    "account",
    "event_lines",
    "explained",
    "held_twice",
    "holder_in_words",
    "since",
]

Tone = Literal["", "good", "bad", "notice", "faint"]

_BEFORE_CAPITALS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PLACE: Final = "place"
"""Of a protocol that this version does not know."""
_METHODS: Final = {
    "Handshake": "when the session was opened",
    "InPlace": "in place, the session went on",
    "Replaced": "by a new session in place of the old one",
}
_CLOSED_BY: Final = {
    "Server": "by the broker",
    "Client": "by Springline",
    "Transport": "with its transport, without a Close",
}
_MOST_EVENTS: Final = 10
_STILL_SO: Final = 1.2 * timedelta(seconds=notice_kinds.REPEAT_SECONDS)
"""How old the last Event may be about what goes on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A label and what is said under it: a line, and more lines below."""

    label: str
    lines: tuple[str, ...]
    tone: Tone = ""
    """Of the first line."""


def account(
    connection: Connection, *, now: datetime, holder: str, protocol: str = protocols.DEFAULT
) -> list[Entry]:
    """Return what there is to say of a connection.

    `holder` says who keeps its session, `protocol` is the one that its broker is declared to speak.
    """
    entries = [
        Entry("Name", (connection.name,)),
        Entry("Namespace", (connection.namespace,)),
        _ready(connection, now),
        _state(connection, now),
        *_out_of_sync(connection, now),
        *_stalled(connection, now),
        *_pending(connection),
        Entry("Broker", (_broker(connection, protocol),)),
        *_said("Endpoint", connection.text("status", "endpoint")),
        *_said("Server", _server(connection)),
        *_said("Negotiated", _negotiated(connection, now)),
        *_parts(connection),
        *_credentials(connection, now),
        *_blocked(connection, now),
        *_last_close(connection, now),
        *_binding(connection, now),
        *_said("Held by", holder),
    ]
    return [entry for entry in entries if entry.lines and entry.lines[0]]


def explained(connection: Connection) -> str:
    """Return the reason that is worth an explanation, empty if all is well."""
    ready = connection.readiness
    if ready.reason and ready.status != "True":
        return ready.reason
    return connection.condition("Blocked").reason if connection.is_blocked else ""


# --- whether it is as it should be


def _ready(connection: Connection, now: datetime) -> Entry:
    ready = connection.readiness
    match ready.status:
        case "True":
            return Entry("Ready", (f"yes{_for(ready.since, now)}",), "good")
        case "":
            return Entry(
                "Ready",
                ("not known: nobody has written a status", "Does the operator run, and look here?"),
                "notice",
            )
        case "Unknown":
            lines = (f"not yet{_for(ready.since, now)}: {ready.reason}", ready.message)
            return Entry("Ready", tuple(filter(None, lines)), "notice")
        case _:
            first = f"no{_for(ready.since, now)}: {ready.reason}"
            tone: Tone = "bad" if connection.state != "Suspended" else "notice"
            return Entry("Ready", tuple(filter(None, (first, ready.message))), tone)


def _stalled(connection: Connection, now: datetime) -> Iterator[Entry]:
    """What does not go on by itself; Ready has said already why."""
    stalled = connection.condition("Stalled")
    if stalled.status == "True":
        line = f"yes{_for(stalled.since, now)}: nothing goes on until somebody changes something"
        yield Entry("Stalled", (line,), "bad")


def _state(connection: Connection, now: datetime) -> Entry:
    line = connection.state
    if connected := connection.moment("status", "connectedSince"):
        line += f" since {since(connected, now)}"
    if attempts := connection.number("status", "attempts"):
        line += f", {attempts} failed attempt{'s' * (attempts > 1)} since the last success"
    return Entry("State", (line,))


def _out_of_sync(connection: Connection, now: datetime) -> Iterator[Entry]:
    """What is declared and cannot work, while the session is open with what was there before."""
    synced = connection.condition("Synced")
    if synced.status == "False":
        first = f"no{_for(synced.since, now)}: {synced.reason}"
        said = synced.message if synced.message != connection.condition("Ready").message else ""
        yield Entry("In sync", tuple(filter(None, (first, said))), "bad")


def _pending(connection: Connection) -> Iterator[Entry]:
    """What was declared or asked for, and has not been taken up."""
    observed = connection.number("status", "observedGeneration")
    if 0 < observed < connection.generation:
        line = f"status is about generation {observed}, and there is {connection.generation} now"
        yield Entry("Not taken up", (line,), "notice")
    for what in ("reconnect", "renew"):
        annotations = connection.get("metadata", "annotations")
        wanted = (
            annotations.get(f"springline.dev/{what}-requested-at")
            if isinstance(annotations, Mapping)
            else None
        )
        if wanted and wanted != connection.get("status", "lastHandled", f"{what}RequestedAt"):
            asked = Connection({"value": wanted}).text("value")
            yield Entry("Not done yet", (f"{what}, asked for as {asked}",), "notice")


# --- what it is connected to


def _broker(connection: Connection, protocol: str) -> str:
    kind = connection.text("spec", "brokerRef", "kind") or "Broker"
    name = connection.text("spec", "brokerRef", "name")
    broker = f"{kind} {name}" if name else "declared in place"
    known = protocols.PROTOCOLS.get(protocol)
    place = known.place if known is not None else _PLACE
    return f"{broker}, {place} {connection.text(*places.FIELD) or places.DEFAULT}"


def _server(connection: Connection) -> str:
    def of(field: str) -> str:
        return connection.text("status", "server", field)

    named = " ".join(filter(None, (of("product"), of("version"))))
    cluster = f"cluster {of('clusterName')}" if of("clusterName") else ""
    return ", ".join(filter(None, (named, cluster, of("platform"))))


def _negotiated(connection: Connection, now: datetime) -> str:
    found = connection.get("status", "negotiated")
    if not isinstance(found, Mapping):
        return ""
    view = Connection(found)
    parts = list(_agreed(view))
    if version := view.text("tls", "version"):
        parts.append(f"{version} with {view.text('tls', 'cipher')}")
    if expiry := view.moment("tls", "peerCertificateNotAfter"):
        parts.append(f"the broker's certificate {_until(expiry, now)}")
    return ", ".join(filter(None, parts))


def _agreed(view: Connection) -> Iterator[str]:
    """Say the values that the protocol has, one by one, with those of its own block."""
    for field in (*negotiated.FIELDS, *protocols.PROTOCOLS):
        value = view.get(field)
        if isinstance(value, Mapping) and field in protocols.PROTOCOLS:
            yield from _plain_of(value)
            yield from _figures_of(value)
        elif _is_plain(value):
            text = view.text(field)
            yield text if field in negotiated.SELF_EVIDENT else _labelled(field, text)


def _plain_of(block: Mapping[str, Any]) -> Iterator[str]:
    """Say the values of a block that are words or numbers."""
    view = Connection(block)
    return (_labelled(key, view.text(key)) for key in block if _is_plain(block[key]))


def _figures_of(block: Mapping[str, Any]) -> Iterator[str]:
    """Say the blocks in a block that hold nothing but numbers."""
    for key, value in block.items():
        if isinstance(value, Mapping) and all(isinstance(each, int) for each in value.values()):
            yield from (_labelled(key, each) for each in _plain_of(value))


def _parts(connection: Connection) -> Iterator[Entry]:
    """Say what a connection consists of, if its protocol has such: all that has a name and a state.

    Each is a line, and another one under it where there is a message about it.
    """
    for name in protocols.PROTOCOLS:
        own = connection.get("status", "negotiated", name)
        for field, parts in own.items() if isinstance(own, Mapping) else ():
            if not isinstance(parts, list):
                continue
            views = [Connection(each) for each in parts if isinstance(each, Mapping)]
            lines = [line for view in views if view.text("state") for line in _part(view)]
            has_message = any(view.text("message") for view in views)
            yield Entry(
                _capitalised(field), tuple(lines), "notice" if lines and has_message else ""
            )


def _part(view: Connection) -> Iterator[str]:
    apart = ("name", "state", "message")
    rest = _plain_of({key: each for key, each in view.document.items() if key not in apart})
    yield f"{view.text('name')}: {', '.join(filter(None, (view.text('state'), *rest)))}"
    if message := view.text("message"):
        yield f"  {message}"


def _capitalised(field: str) -> str:
    words = _BEFORE_CAPITALS.sub(" ", printable(field)).lower()
    return words[:1].upper() + words[1:]


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _labelled(field: str, text: str) -> str:
    return f"{_BEFORE_CAPITALS.sub('-', printable(field)).lower()} {text}" if text else ""


# --- its credential


def _credentials(connection: Connection, now: datetime) -> Iterator[Entry]:
    def of(field: str) -> str:
        return connection.text("status", "credentials", field)

    def at(field: str) -> datetime | None:
        return connection.moment("status", "credentials", field)

    valid = connection.condition("CredentialsValid")
    if not valid.status and not of("source"):
        return
    login = f"user {of('username')}, from {of('source')}" if of("username") else of("source")
    lines = [f"{login}: {_validity(valid)}" if login else _validity(valid)]
    if valid.status != "True" and valid.message != connection.readiness.message:
        lines.append(valid.message)
    if verified := at("verifiedAt"):
        lines.append(f"accepted by the broker {_ago(verified, now)}")
    if applied := at("appliedAt"):
        how = _METHODS.get(of("method"), of("method"))
        lines.append(f"in use since {since(applied, now)}" + (f", {how}" if how else ""))
    if expires := at("expiresAt"):
        lines.append(_until(expires, now))
    if renewal := at("renewAt"):
        when = f"in {age(renewal - now)}" if renewal > now else f"since {age(now - renewal)}"
        lines.append(f"to be renewed {when} ({rfc3339(renewal)})")
    tones: dict[str, Tone] = {"True": "good", "False": "bad"}
    tone = "notice" if valid.reason == "Expiring" else tones.get(valid.status, "")
    yield Entry("Credential", tuple(filter(None, lines)), tone)


def _validity(valid: ConditionView) -> str:
    match valid.status:
        case "True":
            return f"valid ({valid.reason})"
        case "False":
            return f"not valid ({valid.reason})"
        case _:
            return f"not known to be valid ({valid.reason or 'nobody has said'})"


# --- what happened to it


def _blocked(connection: Connection, now: datetime) -> Iterator[Entry]:
    blocked = connection.condition("Blocked")
    match blocked.status:
        case "True":
            began = connection.moment("status", "blocked", "since") or blocked.since
            words = connection.text("status", "blocked", "reason") or blocked.message
            when = f" since {since(began, now)}" if began is not None else ""
            yield Entry("Blocked", (f"yes{when}: {blocked.reason}", f"the broker: {words}"), "bad")
        case "False":
            yield Entry("Blocked", ("no",))
        case "Unknown":
            yield Entry("Blocked", (f"not known: {blocked.reason}", blocked.message))
        case _:
            return


def _last_close(connection: Connection, now: datetime) -> Iterator[Entry]:
    found = connection.get("status", "lastClose")
    if not isinstance(found, Mapping):
        return
    view = Connection(found)
    at = view.moment("at")
    when = _ago(at, now) if at is not None else ""
    by = _CLOSED_BY.get(view.text("by"), view.text("by"))
    first = f"{' '.join(filter(None, (when, by)))}: {view.text('reason')}"
    text, code = view.text("text"), view.text("code")
    words = f"{code} {text}" if code and not text.startswith(code) else text
    yield Entry("Last close", tuple(filter(None, (first, words))))


def _binding(connection: Connection, now: datetime) -> Iterator[Entry]:
    name = connection.text("status", "binding", "name") or connection.text(
        "spec", "binding", "secretName"
    )
    published = connection.condition("BindingPublished")
    if not name or not published.status:
        return
    if published.status == "True":
        yield Entry("Binding", (f"Secret {name}, published{_for(published.since, now)}",))
    else:
        yield Entry(
            "Binding", (f"Secret {name}, not up to date: {published.reason}", published.message)
        )


def _said(label: str, line: str) -> Iterator[Entry]:
    if line:
        yield Entry(label, (line,))


# --- what others say of it


def holder_in_words(
    name: str, pods: Sequence[Mapping[str, Any]] | str, *, label: str, now: datetime
) -> str:
    """Say who holds a session, and whether that replica is alive.

    `pods` are those of Springline, or a sentence that says why they cannot be looked at.
    """
    if not name:
        return ""
    if isinstance(pods, str):
        return f"{name}, and whether it is alive cannot be told: {pods}"
    namespace, _, pod_name = name.rpartition("/")
    for pod in pods:
        view = Connection(pod)
        # Versions without Leases wrote the name alone.
        if view.name != pod_name or namespace not in ("", view.namespace):
            continue
        if view.text("metadata", "deletionTimestamp"):
            life = "whose pod is being stopped"
        elif view.text("status", "phase") == "Running":
            started = view.moment("status", "startTime")
            life = f"which is running{_for(started, now)}"
        else:
            life = f"whose pod is not running: {view.text('status', 'phase') or 'no phase'}"
        where = "" if namespace else f", in namespace {view.namespace}"
        return f"{name}, {life}{where}"
    return (
        f"{name}, of which there is no pod with the label {label}: "
        "this status may be old, unless Springline runs outside of the cluster"
    )


def held_twice(events: Sequence[Mapping[str, Any]], *, now: datetime) -> list[Entry]:
    """Say whether a second replica looks after the connection, as it has told in Events."""
    told = [
        (at, Connection(event).text("message"))
        for event in events
        if Connection(event).text("reason") == Notice.HELD_ELSEWHERE
        and (at := _event_time(event)) is not None
        and now - at < _STILL_SO
    ]
    if not told:
        return []
    at, message = max(told)
    return [Entry("Held twice", (f"told {_ago(at, now)}", message), "bad")]


def event_lines(events: Sequence[Mapping[str, Any]], *, now: datetime) -> list[tuple[str, ...]]:
    """Return the cells of a table of the last Events, oldest first, its head included."""
    known = sorted(
        ((_event_time(event), event) for event in events), key=lambda each: _sortable(each[0])
    )
    rows: list[tuple[str, ...]] = [("AGE", "TYPE", "REASON", "MESSAGE")]
    for at, event in known[-_MOST_EVENTS:]:
        view = Connection(event)
        count = view.number("count") or view.number("series", "count")
        times = f" (x{count})" if count > 1 else ""
        rows.append(
            (
                age(now - at) if at is not None else "-",
                view.text("type"),
                view.text("reason"),
                view.text("message") + times,
            )
        )
    return rows


def _event_time(event: Mapping[str, Any]) -> datetime | None:
    series = event.get("series")
    candidates = (
        event.get("lastTimestamp"),
        series.get("lastObservedTime") if isinstance(series, Mapping) else None,
        event.get("eventTime"),
        Connection(event).get("metadata", "creationTimestamp"),
    )
    return next(filter(None, map(moment, candidates)), None)


def _sortable(at: datetime | None) -> float:
    return at.timestamp() if at is not None else 0.0


# --- times


def since(at: datetime, now: datetime) -> str:
    """Return a time, and how long ago that is."""
    return f"{rfc3339(at)} ({age(now - at)})"


def _ago(at: datetime, now: datetime) -> str:
    return f"{age(now - at)} ago"


def _for(at: datetime | None, now: datetime) -> str:
    return f" for {age(now - at)}" if at is not None else ""


def _until(at: datetime, now: datetime) -> str:
    if at > now:
        return f"expires in {age(at - now)} ({rfc3339(at)})"
    return f"expired {_ago(at, now)} ({rfc3339(at)})"
