"""Every metric there is: its name, its labels, what it means, and what to ask of it.

The metrics are made from these descriptions, and so are the tables of docs/metrics.md. Nothing is
measured here.

Values of labels come from closed sets, which stand here too. Only series of single sessions carry
more: names of objects, and what was agreed on with a broker.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from springline.core.outcomes import AttemptOutcome, UpdateOutcome, VerificationOutcome
from springline.core.state import Phase
from springline.protocols import PROTOCOLS
from springline.reasons import Reason

__all__ = ["ALL", "BLOCKED", "SECTIONS", "Kind", "Label", "MetricInfo", "Query", "Section"]


class Kind(enum.StrEnum):
    """What can be done with a metric."""

    COUNTER = "counter"  # it only grows, until the process ends
    GAUGE = "gauge"  # it says how it is now
    HISTOGRAM = "histogram"  # how often something took how long
    INFO = "info"  # a gauge that is always 1; its labels are what it says


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label and what it can be."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    """Every value, with its meaning where the word does not say it; empty if the set is open."""
    shown: str = ""
    """For people, in place of too many values, or of an open set."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing but `values` can occur."""
        return bool(self.values)

    @property
    def is_explained(self) -> bool:
        """Whether values have meanings of their own to tell."""
        return any(self.values.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question, and how to ask it in PromQL."""

    question: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """One metric."""

    name: str
    """As it is scraped."""
    kind: Kind
    meaning: str
    """One sentence in Markdown."""
    queries: tuple[Query, ...]
    labels: tuple[Label, ...] = ()
    is_each: bool = False
    """Whether there is a series for each session."""
    remark: str = ""
    """What the page says besides, in Markdown."""

    @property
    def help(self) -> str:
        """The meaning as plain text."""
        return self.meaning.replace("`", "")

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Metrics that belong together, under the name that the page calls them by."""

    name: str
    metrics: tuple[MetricInfo, ...]


def _listed(values: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(values, "")


# --- labels

_PROTOCOL: Final = Label(
    name="protocol",
    values={
        **{each.name: each.title for each in PROTOCOLS.values()},
        "unknown": "the declaration cannot be used",
    },
)
_STATE: Final = Label(name="state", values=_listed(Phase))
_NAMESPACE: Final = Label(name="namespace", shown="namespace of the BrokerConnection")
_NAME: Final = Label(name="name", shown="name of the BrokerConnection")
_KEY: Final = (_NAMESPACE, _NAME)

BLOCKED: Final = (
    Reason.LOW_ON_MEMORY,
    Reason.LOW_ON_DISK,
    Reason.LOW_ON_MEMORY_AND_DISK,
    Reason.THROTTLED,
    Reason.WINDOW_CLOSED,
    Reason.NO_CREDIT,
    Reason.BLOCKED_BY_BROKER,
)
"""Reasons of condition Blocked while it is True."""
_UNBLOCKED: Final = (
    Reason.NOT_BLOCKED,
    Reason.PROBE_DISABLED,
    Reason.NOT_CONNECTED,
    Reason.NOT_CHECKED,
)

SESSIONS: Final = MetricInfo(
    name="springline_sessions",
    kind=Kind.GAUGE,
    meaning="Declared sessions by `status.state`.",
    labels=(_PROTOCOL, _STATE),
    queries=(
        Query(question="how many are in which state?", text="sum by (state) (springline_sessions)"),
    ),
)
SESSIONS_READY: Final = MetricInfo(
    name="springline_sessions_ready",
    kind=Kind.GAUGE,
    meaning="Sessions that are Ready.",
    labels=(_PROTOCOL,),
    queries=(
        Query(
            question="what share of all is Ready?",
            text="sum(springline_sessions_ready) / sum(springline_sessions)",
        ),
    ),
)
SESSIONS_BLOCKED: Final = MetricInfo(
    name="springline_sessions_blocked",
    kind=Kind.GAUGE,
    meaning="Sessions that their broker blocks.",
    labels=(Label(name="reason", values=_listed(BLOCKED)),),
    queries=(
        Query(
            question="what blocks how many?",
            text="sum by (reason) (springline_sessions_blocked) > 0",
        ),
    ),
)
SESSION_READY: Final = MetricInfo(
    name="springline_session_ready",
    kind=Kind.GAUGE,
    meaning="1 if the session is Ready, else 0.",
    labels=_KEY,
    is_each=True,
    queries=(
        Query(question="which sessions are not Ready?", text="springline_session_ready == 0"),
        Query(
            question="for what share of the last day was each Ready?",
            text="avg_over_time(springline_session_ready[1d])",
        ),
    ),
)
SESSION_SUSPENDED: Final = MetricInfo(
    name="springline_session_suspended",
    kind=Kind.GAUGE,
    meaning="1 for a session that is suspended by its declaration.",
    remark="There is none for any other.",
    labels=_KEY,
    is_each=True,
    queries=(
        Query(
            question="which are not Ready although they should be?",
            text=(
                "springline_session_ready == 0 unless on (namespace, name) "
                "springline_session_suspended"
            ),
        ),
    ),
)
SESSION_BLOCKED: Final = MetricInfo(
    name="springline_session_blocked",
    kind=Kind.GAUGE,
    meaning="1 if the broker blocks the session, else 0; with the reason of condition Blocked.",
    remark="`ProbeDisabled` says that a block would go unseen.",
    labels=(*_KEY, Label(name="reason", values=_listed((*BLOCKED, *_UNBLOCKED)))),
    is_each=True,
    queries=(
        Query(question="who is blocked, and why?", text="springline_session_blocked == 1"),
        Query(
            question="where would a block go unseen?",
            text='springline_session_blocked{reason="ProbeDisabled"}',
        ),
    ),
)
SESSION_OUT_OF_SYNC: Final = MetricInfo(
    name="springline_session_out_of_sync",
    kind=Kind.GAUGE,
    meaning="1 if an open session does not use what is declared, with the reason.",
    remark="There is none for a session that does, and none without a session.",
    labels=(
        *_KEY,
        Label(name="reason", values=_listed(Reason), shown="reason of the condition Synced"),
    ),
    is_each=True,
    queries=(
        Query(
            question="which changes cannot work, and why?",
            text="springline_session_out_of_sync == 1",
        ),
    ),
)
SESSION_BLOCKED_SECONDS: Final = MetricInfo(
    name="springline_session_blocked_seconds_total",
    kind=Kind.COUNTER,
    meaning="How long the session has been blocked, all blocks together.",
    labels=_KEY,
    is_each=True,
    queries=(
        Query(
            question="how many minutes was each blocked today?",
            text="increase(springline_session_blocked_seconds_total[24h]) / 60",
        ),
    ),
)
SESSION_DISCONNECTS: Final = MetricInfo(
    name="springline_session_disconnects_total",
    kind=Kind.COUNTER,
    meaning="How often the session was open and ended, not by Springline's doing.",
    labels=_KEY,
    is_each=True,
    queries=(
        Query(
            question="which sessions flap?",
            text="increase(springline_session_disconnects_total[15m]) > 3",
        ),
    ),
)
SESSION_INFO: Final = MetricInfo(
    name="springline_session_info",
    kind=Kind.INFO,
    meaning="What an open session agreed on, and with whom; always 1.",
    remark="There is none while it is not open.",
    labels=(
        *_KEY,
        Label(name="broker_kind", values=_listed(("Broker", "ClusterBroker"))),
        Label(name="broker", shown="name of the Broker or ClusterBroker"),
        _PROTOCOL,
        Label(name="endpoint", shown="`host:port` as it is declared or was found"),
        Label(name="mechanism", shown="SASL mechanism"),
        Label(name="heartbeat_seconds", shown="seconds; 0 if there are none"),
        Label(name="tls_version", shown="such as `TLSv1.3`; empty without TLS"),
        Label(name="server_product", shown="what the broker calls itself, at most 128 characters"),
        Label(name="server_version", shown="the same of its version"),
    ),
    is_each=True,
    queries=(
        Query(
            question="which sessions run without TLS?",
            text='springline_session_info{tls_version=""}',
        ),
        Query(
            question="which node holds how many?",
            text="count by (endpoint) (springline_session_info)",
        ),
        Query(
            question="which brokers do blocked sessions have?",
            text=(
                "(springline_session_blocked == 1) * on (namespace, name) group_left (broker) "
                "springline_session_info"
            ),
        ),
    ),
)

ATTEMPTS: Final = MetricInfo(
    name="springline_connect_attempts_total",
    kind=Kind.COUNTER,
    meaning="Attempts to open a connection, those that only verify a credential included.",
    labels=(
        _PROTOCOL,
        Label(
            name="outcome",
            values={
                AttemptOutcome.OPENED: "there is a connection; the reason is `Open`",
                AttemptOutcome.TRANSIENT: "it may pass by itself",
                AttemptOutcome.REFUSED: "the broker said no to the credential or to a name",
                AttemptOutcome.TERMINAL: "it cannot work as it is declared",
                AttemptOutcome.NO_CREDENTIAL: (
                    "there was nothing to log in with, so the broker was not asked; the reason of "
                    "condition CredentialsValid"
                ),
                AttemptOutcome.DROPPED: "a newer declaration or the end of the session came first",
            },
        ),
        Label(
            name="reason",
            values=_listed(Reason),
            shown="a [reason](troubleshooting.md) of condition Connected or CredentialsValid",
        ),
    ),
    queries=(
        Query(
            question="why do attempts fail?",
            text=(
                'sum by (reason) (rate(springline_connect_attempts_total{outcome!="opened"}[5m]))'
            ),
        ),
    ),
)
CONNECT_DURATION: Final = MetricInfo(
    name="springline_connect_duration_seconds",
    kind=Kind.HISTOGRAM,
    meaning="How long attempts took that succeeded, from their turn to the open connection.",
    queries=(
        Query(
            question="how long does connecting take?",
            text=(
                "histogram_quantile(0.99, "
                "sum by (le) (rate(springline_connect_duration_seconds_bucket[5m])))"
            ),
        ),
    ),
)
DISCONNECTS: Final = MetricInfo(
    name="springline_disconnects_total",
    kind=Kind.COUNTER,
    meaning="Open sessions that ended, not by Springline's doing.",
    labels=(
        Label(
            name="reason",
            values=_listed(Reason),
            shown=(
                "a [reason](troubleshooting.md) of condition Connected, most often "
                "`HeartbeatMissed`, `PeerClosed`, `ConnectionForced` or `ServerShutdown`"
            ),
        ),
    ),
    queries=(
        Query(
            question="why do sessions end?",
            text="sum by (reason) (rate(springline_disconnects_total[15m]))",
        ),
    ),
)
PROBE_DURATION: Final = MetricInfo(
    name="springline_probe_duration_seconds",
    kind=Kind.HISTOGRAM,
    meaning="How long the broker took to confirm a probe's publish.",
    queries=(
        Query(
            question="how long does a publish take?",
            text=(
                "histogram_quantile(0.99, "
                "sum by (le) (rate(springline_probe_duration_seconds_bucket[5m])))"
            ),
        ),
    ),
)

CREDENTIALS_EXPIRATION: Final = MetricInfo(
    name="springline_credentials_expiration_timestamp_seconds",
    kind=Kind.GAUGE,
    meaning="When the credential in use expires, in seconds since 1970.",
    remark="There is none for credentials that do not expire.",
    labels=_KEY,
    is_each=True,
    queries=(
        Query(
            question="which credentials expire within an hour?",
            text="springline_credentials_expiration_timestamp_seconds - time() < 3600",
        ),
        Query(
            question="how long is each still valid, in minutes?",
            text="(springline_credentials_expiration_timestamp_seconds - time()) / 60",
        ),
    ),
)
CREDENTIALS_RENEWAL: Final = MetricInfo(
    name="springline_credentials_renewal_timestamp_seconds",
    kind=Kind.GAUGE,
    meaning=(
        "When the credential in use is to be renewed (`spec.rotation.renewAt`), in seconds since "
        "1970; in the past while that is overdue."
    ),
    remark="There is none for credentials that do not expire.",
    labels=_KEY,
    is_each=True,
    queries=(
        Query(
            question="which should have been renewed five minutes ago?",
            text="time() - springline_credentials_renewal_timestamp_seconds > 300",
        ),
        Query(
            question="how much of its lifetime is left when it is renewed?",
            text=(
                "springline_credentials_expiration_timestamp_seconds - "
                "springline_credentials_renewal_timestamp_seconds"
            ),
        ),
    ),
)
UPDATES: Final = MetricInfo(
    name="springline_secret_updates_total",
    kind=Kind.COUNTER,
    meaning="Tries to bring a changed credential, certificate or endpoint to a live session.",
    labels=(
        Label(
            name="method",
            values={
                "InPlace": "the live connection got the new secret",
                "Replaced": "a new connection took its place",
                "None": "it came to neither",
            },
        ),
        Label(
            name="outcome",
            values={
                UpdateOutcome.UPDATED: "the live session uses it",
                UpdateOutcome.REFUSED: (
                    "it cannot be used as it is; the session keeps what it has, and it is tried "
                    "again slowly"
                ),
                UpdateOutcome.FAILED: (
                    "it could not be tried; the session keeps what it has, and it is tried again "
                    "soon"
                ),
            },
        ),
    ),
    queries=(
        Query(
            question="is a changed Secret refused?",
            text='increase(springline_secret_updates_total{outcome="refused"}[15m]) > 0',
        ),
    ),
)
UPDATE_DURATION: Final = MetricInfo(
    name="springline_secret_update_duration_seconds",
    kind=Kind.HISTOGRAM,
    meaning="Time from reading what has changed until the live session uses it.",
    labels=(Label(name="method", values=_listed(("InPlace", "Replaced"))),),
    queries=(
        Query(
            question="how long does a renewal take?",
            text=(
                "histogram_quantile(0.99, sum by (le, method) "
                "(rate(springline_secret_update_duration_seconds_bucket[1h])))"
            ),
        ),
    ),
)
VERIFICATIONS: Final = MetricInfo(
    name="springline_verifications_total",
    kind=Kind.COUNTER,
    meaning="How sessions got to know whether the broker takes a changed credential.",
    remark="Sessions that share a credential share one handshake.",
    labels=(
        Label(
            name="outcome",
            values={
                VerificationOutcome.ACCEPTED: "by a throw-away handshake, and the broker took it",
                VerificationOutcome.REFUSED: "by a handshake, and the broker did not take it",
                VerificationOutcome.FAILED: "not yet: the broker could not be asked",
                VerificationOutcome.SHARED: "without a handshake: another session has asked",
            },
        ),
    ),
    queries=(
        Query(
            question="how many handshakes does sharing save?",
            text=(
                'sum(increase(springline_verifications_total{outcome="shared"}[1h])) / '
                "sum(increase(springline_verifications_total[1h]))"
            ),
        ),
    ),
)

STATUS_WRITES: Final = MetricInfo(
    name="springline_status_writes_total",
    kind=Kind.COUNTER,
    meaning="Writes of a status to the API server.",
    labels=(
        Label(
            name="outcome",
            values={
                "written": "the API server has it",
                "unchanged": "there was nothing to write",
                "limited": "the object changes too often, and is written later as it is then",
                "conflict": "the object had changed, and is looked at again",
                "gone": "the object no longer exists",
                "failed": "not taken, and tried again",
            },
        ),
    ),
    queries=(
        Query(
            question="are writes refused?",
            text='rate(springline_status_writes_total{outcome="failed"}[5m]) > 0',
        ),
    ),
)
STATUS_WAITING: Final = MetricInfo(
    name="springline_status_writes_waiting",
    kind=Kind.GAUGE,
    meaning="Objects whose status has changed and is not written yet.",
    queries=(Query(question="how much has gathered?", text="springline_status_writes_waiting"),),
)
STATUS_OLDEST: Final = MetricInfo(
    name="springline_status_oldest_unwritten_seconds",
    kind=Kind.GAUGE,
    meaning="How long the oldest change of a status has waited to be written; 0 if none does.",
    remark="A few seconds are usual: changes are gathered.",
    queries=(
        Query(
            question="does what `kubectl` shows lag behind?",
            text="springline_status_oldest_unwritten_seconds > 30",
        ),
    ),
)
EVENTS: Final = MetricInfo(
    name="springline_kubernetes_events_total",
    kind=Kind.COUNTER,
    meaning="Kubernetes Events by what became of them.",
    labels=(
        Label(
            name="outcome",
            values={
                "posted": "the API server has it",
                "counted": "the Event that says the same got a higher count",
                "refused": "the API server did not take it",
                "unanswered": "the API server did not answer for a minute",
                "ending": "its namespace is being deleted, and takes none any more",
                "overflow": "more waited than are kept, and it was the oldest",
                "limited": "its object has had too many",
            },
        ),
    ),
    queries=(
        Query(
            question="are Events missing?",
            text=(
                "sum by (outcome) (increase(springline_kubernetes_events_total"
                '{outcome=~"refused|unanswered|overflow"}[15m])) > 0'
            ),
        ),
    ),
)
HELD_ELSEWHERE: Final = MetricInfo(
    name="springline_objects_held_elsewhere",
    kind=Kind.GAUGE,
    meaning=(
        "BrokerConnections, Brokers and ClusterBrokers that this replica looks after while another "
        "live replica holds them."
    ),
    remark="Their sessions are open twice, and their status is the other replica's.",
    queries=(
        Query(
            question="do two replicas look after the same?",
            text="sum by (instance) (springline_objects_held_elsewhere) > 0",
        ),
    ),
)
DEFINITIONS_MISSING: Final = MetricInfo(
    name="springline_definitions_missing_fields",
    kind=Kind.GAUGE,
    meaning=(
        "Fields of this version that the API server's CustomResourceDefinition of a kind lacks, or "
        "whose value it does not take."
    ),
    remark="The log names them.",
    labels=(
        Label(name="kind", values=_listed(("Broker", "ClusterBroker", "BrokerConnection"))),
        Label(
            name="part",
            values={
                "spec": "they cannot be declared",
                "status": "they are left out of what is written",
            },
        ),
    ),
    queries=(
        Query(
            question="are the definitions older than the operator?",
            text="sum by (kind) (springline_definitions_missing_fields) > 0",
        ),
    ),
)
BUILD_INFO: Final = MetricInfo(
    name="springline_build_info",
    kind=Kind.INFO,
    meaning="Which Springline this is; always 1.",
    labels=(
        Label(name="version", shown="version of Springline"),
        Label(name="python", shown="version of Python"),
    ),
    queries=(
        Query(question="which versions run?", text="count by (version) (springline_build_info)"),
    ),
)
LOOP_LAG: Final = MetricInfo(
    name="springline_event_loop_lag_seconds",
    kind=Kind.GAUGE,
    meaning="The longest that the event loop was late within the last minute.",
    remark="Above a second, heartbeats are at risk.",
    queries=(
        Query(question="does the process keep up?", text="springline_event_loop_lag_seconds > 1"),
    ),
)
HTTP_DROPPED: Final = MetricInfo(
    name="springline_http_connections_dropped_total",
    kind=Kind.COUNTER,
    meaning="Connections to the port of health and metrics that were dropped.",
    labels=(
        Label(
            name="why",
            values={
                "silent": "it asked nothing within ten seconds, or not to the end",
                "unread": "it did not take its answer within thirty seconds",
                "over_limit": "there were more than 256, and it had waited longest",
            },
        ),
    ),
    queries=(
        Query(
            question="does somebody hold connections to the port?",
            text="sum by (why) (increase(springline_http_connections_dropped_total[15m])) > 0",
        ),
    ),
)
LOG_DROPPED: Final = MetricInfo(
    name="springline_log_lines_dropped_total",
    kind=Kind.COUNTER,
    meaning="Lines of the log that were dropped, because nothing took them in time.",
    remark="Sessions do not wait for whoever collects the log; 8 MiB of it do.",
    queries=(
        Query(
            question="is the log complete?",
            text="increase(springline_log_lines_dropped_total[1h]) > 0",
        ),
    ),
)
TASKS: Final = MetricInfo(
    name="springline_tasks",
    kind=Kind.GAUGE,
    meaning="Tasks on the event loop.",
    queries=(
        Query(
            question="how many tasks does a session take?",
            text="sum(springline_tasks) / sum(springline_sessions)",
        ),
    ),
)

LOOKUPS: Final = MetricInfo(
    name="springline_name_lookups",
    kind=Kind.GAUGE,
    meaning="Name lookups that run, each in a thread, or wait for one.",
    labels=(
        Label(
            name="state",
            values={
                "running": "asked, and not answered yet; at most as many as `--name-lookups` says",
                "waiting": "they have not begun",
            },
        ),
    ),
    queries=(
        Query(
            question="do names of some namespace get no answer?",
            text='min_over_time(springline_name_lookups{state="running"}[5m]) > 16',
        ),
    ),
)
LOOKUPS_NOT_STARTED: Final = MetricInfo(
    name="springline_name_lookups_not_started_total",
    kind=Kind.COUNTER,
    meaning="Times that an attempt was told that its name lookup did not get its turn.",
    queries=(
        Query(
            question="do lookups wait too long for their turn?",
            text="increase(springline_name_lookups_not_started_total[15m]) > 0",
        ),
    ),
)

# --- the Prometheus client's own, which it describes itself where they are scraped

_GENERATION: Final = (Label(name="generation", values=_listed(("0", "1", "2"))),)

_PROCESS: Final = (
    MetricInfo(
        name="process_cpu_seconds_total",
        kind=Kind.COUNTER,
        meaning="Processor time used.",
        queries=(
            Query(question="how busy is it, in cores?", text="rate(process_cpu_seconds_total[5m])"),
        ),
    ),
    MetricInfo(
        name="process_resident_memory_bytes",
        kind=Kind.GAUGE,
        meaning="Memory used.",
        queries=(
            Query(
                question="how much memory does a session take?",
                text=(
                    "sum(process_resident_memory_bytes and on (instance) springline_build_info)"
                    " / sum(springline_sessions)"
                ),
            ),
        ),
    ),
    MetricInfo(
        name="process_virtual_memory_bytes",
        kind=Kind.GAUGE,
        meaning="Address space used.",
        queries=(
            Query(question="how much address space is used?", text="process_virtual_memory_bytes"),
        ),
    ),
    MetricInfo(
        name="process_open_fds",
        kind=Kind.GAUGE,
        meaning="Open file descriptors; each session has one.",
        queries=(
            Query(
                question="are file descriptors running out?",
                text="process_open_fds / process_max_fds > 0.8",
            ),
        ),
    ),
    MetricInfo(
        name="process_max_fds",
        kind=Kind.GAUGE,
        meaning="How many file descriptors there may be.",
        queries=(
            Query(
                question="how many more sessions are possible?",
                text="process_max_fds - process_open_fds",
            ),
        ),
    ),
    MetricInfo(
        name="process_start_time_seconds",
        kind=Kind.GAUGE,
        meaning="When the process was started, in seconds since 1970.",
        queries=(
            Query(
                question="was it restarted within the last hour?",
                text="changes(process_start_time_seconds[1h]) > 0",
            ),
        ),
    ),
    MetricInfo(
        name="python_gc_collections_total",
        kind=Kind.COUNTER,
        meaning="Runs of Python's garbage collector.",
        labels=_GENERATION,
        queries=(
            Query(
                question="how often are all objects looked through?",
                text='rate(python_gc_collections_total{generation="2"}[15m]) * 60',
            ),
        ),
    ),
    MetricInfo(
        name="python_gc_objects_collected_total",
        kind=Kind.COUNTER,
        meaning="Objects that the garbage collector has freed.",
        labels=_GENERATION,
        queries=(
            Query(
                question="how much does it free a second?",
                text="sum(rate(python_gc_objects_collected_total[5m]))",
            ),
        ),
    ),
    MetricInfo(
        name="python_gc_objects_uncollectable_total",
        kind=Kind.COUNTER,
        meaning="Objects that the garbage collector found and could not free.",
        labels=_GENERATION,
        queries=(
            Query(
                question="is there garbage that stays?",
                text="increase(python_gc_objects_uncollectable_total[1d]) > 0",
            ),
        ),
    ),
)

SECTIONS: Final = (
    Section(
        name="sessions",
        metrics=(
            SESSIONS,
            SESSIONS_READY,
            SESSIONS_BLOCKED,
            SESSION_READY,
            SESSION_SUSPENDED,
            SESSION_OUT_OF_SYNC,
            SESSION_BLOCKED,
            SESSION_BLOCKED_SECONDS,
            SESSION_DISCONNECTS,
            SESSION_INFO,
        ),
    ),
    Section(name="connecting", metrics=(ATTEMPTS, CONNECT_DURATION, DISCONNECTS, PROBE_DURATION)),
    Section(
        name="credentials",
        metrics=(
            CREDENTIALS_EXPIRATION,
            CREDENTIALS_RENEWAL,
            UPDATES,
            UPDATE_DURATION,
            VERIFICATIONS,
        ),
    ),
    Section(
        name="operator",
        metrics=(
            STATUS_WRITES,
            STATUS_WAITING,
            STATUS_OLDEST,
            EVENTS,
            HELD_ELSEWHERE,
            DEFINITIONS_MISSING,
            BUILD_INFO,
            LOOP_LAG,
            HTTP_DROPPED,
            LOG_DROPPED,
            TASKS,
            LOOKUPS,
            LOOKUPS_NOT_STARTED,
        ),
    ),
    Section(name="process", metrics=_PROCESS),
)

ALL: Final = tuple(metric for section in SECTIONS for metric in section.metrics)
