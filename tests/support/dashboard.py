"""The Grafana dashboard of the chart: which questions it answers, row by row.

`make chart` writes it to charts/springline/files/dashboards/springline.json, which is never edited
by hand. What a panel is made of is in `grafana`.
"""

from typing import Final

from support.grafana import (
    Colour,
    Column,
    Dashboard,
    Panel,
    Query,
    Row,
    Variable,
    annotation,
    bars,
    graph,
    heatmap,
    number,
    table,
    timeline,
)

__all__ = ["DASHBOARD", "FILE"]

FILE: Final = "springline.json"

# Which operator, and which of its sessions.
_OF: Final = 'job=~"$job"'
_EACH: Final = f'{_OF}, namespace=~"$namespace", name=~"$name"'
_KEY: Final = "namespace, name"
_NAMED: Final = "{{namespace}}/{{name}}"

_PER_MINUTE: Final = "suffix: / min"

_STATES: Final = (
    Colour(word="Connected", colour="green"),
    Colour(word="Connecting", colour="blue"),
    Colour(word="Waiting", colour="yellow"),
    Colour(word="Rejected", colour="red"),
    Colour(word="Closed", colour="purple"),
    Colour(word="Suspended", colour="text"),
)
_GOOD_IF_NONE: Final = ((None, "green"), (1, "red"))
_TOP: Final = 10
_RECENT: Final = "within the time that is looked at"


def _rate(counter: str, by: str, *, only: str = "") -> str:
    """How often something happens, in events a minute."""
    selector = f"{_OF}, {only}" if only else _OF
    return f"60 * sum by ({by}) (rate({counter}{{{selector}}}[$__rate_interval]))"


def _quantiles(histogram: str, by: str = "") -> tuple[Query, ...]:
    buckets = f"rate({histogram}_bucket{{{_OF}}}[$__rate_interval])"
    labels, legend = ("le", "") if not by else (f"le, {by}", f"{{{{{by}}}}} ")
    return tuple(
        Query(
            expression=f"histogram_quantile({share}, sum by ({labels}) ({buckets}))",
            legend=f"{legend}{said}",
        )
        for share, said in ((0.5, "half"), (0.9, "9 of 10"), (0.99, "99 of 100"))
    )


def _heat(histogram: str) -> str:
    return f"sum by (le) (increase({histogram}_bucket{{{_OF}}}[$__rate_interval]))"


def _fleet() -> tuple[Panel, ...]:
    sessions, ready = f"springline_sessions{{{_OF}}}", f"springline_sessions_ready{{{_OF}}}"
    wanted = f'springline_sessions{{{_OF}, state!="Suspended"}}'
    expires = f"springline_credentials_expiration_timestamp_seconds{{{_OF}}}"
    return (
        number("Declared", "All sessions, the suspended ones, too.", f"sum({sessions})"),
        number("Ready", "Sessions that are Ready.", f"sum({ready})"),
        number(
            "Not Ready",
            "Sessions that are neither Ready nor suspended.",
            f"sum({wanted}) - sum({ready})",
            steps=_GOOD_IF_NONE,
        ),
        number(
            "Blocked",
            "Sessions that their broker blocks. They are Ready all the same.",
            f"sum(springline_sessions_blocked{{{_OF}}})",
            steps=((None, "green"), (1, "orange")),
        ),
        number(
            "Disconnects",
            f"Open sessions that ended, not by Springline's doing, {_RECENT}.",
            f"round(sum(increase(springline_disconnects_total{{{_OF}}}[$__range])))",
            steps=((None, "green"), (1, "orange")),
            absent="0",
            instant=True,
        ),
        number(
            "Next to expire",
            "How long the credential is still valid that expires first.",
            f"min({expires} - time())",
            unit="s",
            steps=((None, "red"), (60, "orange"), (300, "green")),
            absent="none expires",
            instant=True,
        ),
        graph(
            "Sessions by state",
            "status.state of all sessions. Waiting ones come back by themselves; a Rejected one"
            " waits for somebody to change something.",
            Query(expression=f"sum by (state) ({sessions})", legend="{{state}}"),
            colours=_STATES,
            stacked=True,
        ),
        graph(
            "Declared, ready, blocked",
            "Where ready is below declared, something is suspended or amiss.",
            Query(expression=f"sum({sessions})", legend="declared"),
            Query(expression=f"sum({ready})", legend="ready"),
            Query(expression=f"sum(springline_sessions_blocked{{{_OF}}})", legend="blocked"),
            colours=(
                Colour(word="declared", colour="text"),
                Colour(word="ready", colour="green"),
                Colour(word="blocked", colour="orange"),
            ),
        ),
        table(
            "Not Ready now",
            "Which of the chosen sessions are neither Ready nor suspended."
            " Why is in their status: kubectl describe brokerconnection.",
            Query(
                expression=f"max by ({_KEY}) (springline_session_ready{{{_EACH}}}) == 0"
                f" unless on ({_KEY}) springline_session_suspended{{{_EACH}}}"
            ),
            columns=(
                Column(of="namespace", title="Namespace"),
                Column(of="name", title="Connection"),
            ),
            sort_by="Namespace",
        ),
        bars(
            "Which ones disconnect",
            f"How often the chosen sessions ended, not by Springline's doing, {_RECENT}."
            f" The {_TOP} worst.",
            Query(
                expression=f"topk({_TOP}, round(sum by ({_KEY}) "
                f"(increase(springline_session_disconnects_total{{{_EACH}}}[$__range]))) > 0)",
                legend=_NAMED,
            ),
            steps=((None, "orange"), (5, "red")),
        ),
    )


def _blocked() -> tuple[Panel, ...]:
    seconds = f"springline_session_blocked_seconds_total{{{_EACH}}}"
    return (
        graph(
            "Blocked by reason",
            "Sessions that their broker blocks. It tells only those that publish, so sessions"
            " without a probe are not among them.",
            Query(
                expression=f"sum by (reason) (springline_sessions_blocked{{{_OF}}})",
                legend="{{reason}}",
            ),
            colours=(
                Colour(word="LowOnMemory", colour="orange"),
                Colour(word="LowOnDisk", colour="purple"),
                Colour(word="LowOnMemoryAndDisk", colour="red"),
                Colour(word="BlockedByBroker", colour="yellow"),
            ),
            stacked=True,
            width=10,
        ),
        bars(
            "Blocked for how long",
            f"How long each of the chosen sessions was blocked {_RECENT}. The {_TOP} worst.",
            Query(
                expression=f"topk({_TOP}, sum by ({_KEY}) (increase({seconds}[$__range])) > 0)",
                legend=_NAMED,
            ),
            unit="s",
            steps=((None, "orange"), (600, "red")),
            width=7,
        ),
        table(
            "Blocked now, or nobody knows",
            "The chosen sessions that are blocked, and those where a block would go unseen"
            " (ProbeDisabled).",
            Query(
                expression=f"max by ({_KEY}, reason) (springline_session_blocked{{{_EACH}}} == 1"
                f' or springline_session_blocked{{{_EACH}, reason="ProbeDisabled"}})'
            ),
            columns=(
                Column(of="namespace", title="Namespace"),
                Column(of="name", title="Connection"),
                Column(of="reason", title="Reason"),
            ),
            sort_by="Reason",
            width=7,
        ),
    )


def _connecting() -> tuple[Panel, ...]:
    attempts = "springline_connect_attempts_total"
    duration = "springline_connect_duration_seconds"
    return (
        graph(
            "Attempts by outcome",
            "Attempts to open a connection, those to verify a credential included.",
            Query(expression=_rate(attempts, "outcome"), legend="{{outcome}}"),
            unit=_PER_MINUTE,
            colours=(
                Colour(word="opened", colour="green"),
                Colour(word="transient", colour="yellow"),
                Colour(word="refused", colour="red"),
                Colour(word="terminal", colour="dark-red"),
                Colour(word="no_credential", colour="purple"),
                Colour(word="dropped", colour="text"),
            ),
            as_bars=True,
            stacked=True,
            width=8,
        ),
        graph(
            "Failed attempts by reason",
            "Attempts that opened nothing. docs/troubleshooting.md says what each reason means"
            " and what to do.",
            Query(
                expression=_rate(attempts, "reason", only='outcome!~"opened|dropped"'),
                legend="{{reason}}",
            ),
            unit=_PER_MINUTE,
            as_bars=True,
            stacked=True,
            width=8,
        ),
        graph(
            "Disconnects by reason",
            "Open sessions that ended, not by Springline's doing.",
            Query(expression=_rate("springline_disconnects_total", "reason"), legend="{{reason}}"),
            unit=_PER_MINUTE,
            as_bars=True,
            stacked=True,
            width=8,
        ),
        heatmap(
            "Time to connect",
            "From an attempt's turn to the open connection: names looked up, TCP, TLS, log-in."
            " Only attempts that succeeded.",
            _heat(duration),
        ),
        graph(
            "Time to connect, quantiles",
            "How long it took at most for this share of the attempts that succeeded.",
            *_quantiles(duration),
            unit="s",
        ),
    )


def _probing() -> tuple[Panel, ...]:
    duration = "springline_probe_duration_seconds"
    return (
        heatmap(
            "Time of a probe",
            "Until the broker confirmed a probe's publish. It answers late before it blocks.",
            _heat(duration),
        ),
        graph(
            "Time of a probe, quantiles",
            "How long it took at most for this share of the probes.",
            *_quantiles(duration),
            unit="s",
        ),
    )


def _credentials() -> tuple[Panel, ...]:
    expires = f"springline_credentials_expiration_timestamp_seconds{{{_EACH}}}"
    renewal = f"springline_credentials_renewal_timestamp_seconds{{{_EACH}}}"
    return (
        table(
            "Valid for how long",
            "Of the chosen sessions, those whose credential expires. A renewal that is due and not"
            " made is negative; it is red after five minutes.",
            Query(expression=f"max by ({_KEY}) ({expires}) - time()"),
            Query(expression=f"max by ({_KEY}) ({renewal}) - time()"),
            columns=(
                Column(of="namespace", title="Namespace"),
                Column(of="name", title="Connection"),
                Column(
                    of="#0",
                    title="Still valid",
                    unit="s",
                    steps=((None, "red"), (60, "orange"), (300, "green")),
                ),
                Column(
                    of="#1",
                    title="Renewal due in",
                    unit="s",
                    steps=((None, "red"), (-300, "orange"), (0, "green")),
                ),
            ),
            sort_by="Still valid",
        ),
        table(
            "Changes that cannot work",
            "The chosen sessions that are open with what was there before a change, and why the"
            " change cannot be used.",
            Query(
                expression=f"max by ({_KEY}, reason) (springline_session_out_of_sync{{{_EACH}}})"
            ),
            columns=(
                Column(of="namespace", title="Namespace"),
                Column(of="name", title="Connection"),
                Column(of="reason", title="Reason"),
            ),
            sort_by="Reason",
        ),
        graph(
            "Rotations by outcome",
            "What became of changed credentials, certificates and endpoints. InPlace: the live"
            " connection got the new secret; Replaced: a new connection took its place.",
            Query(
                expression=_rate("springline_secret_updates_total", "method, outcome"),
                legend="{{outcome}} {{method}}",
            ),
            unit=_PER_MINUTE,
            colours=(
                Colour(word="updated InPlace", colour="green"),
                Colour(word="updated Replaced", colour="blue"),
                Colour(word="refused None", colour="red"),
                Colour(word="failed None", colour="orange"),
            ),
            as_bars=True,
            stacked=True,
        ),
        graph(
            "Verifications by outcome",
            "How sessions got to know whether the broker takes a changed credential: by a"
            " throw-away handshake, or shared, because another session had asked already.",
            Query(
                expression=_rate("springline_verifications_total", "outcome"),
                legend="{{outcome}}",
            ),
            unit=_PER_MINUTE,
            colours=(
                Colour(word="accepted", colour="green"),
                Colour(word="shared", colour="blue"),
                Colour(word="refused", colour="red"),
                Colour(word="failed", colour="orange"),
            ),
            as_bars=True,
            stacked=True,
            width=8,
        ),
        graph(
            "Time of a rotation, quantiles",
            "From reading what has changed until the live session uses it, for this share of the"
            " rotations that succeeded.",
            *_quantiles("springline_secret_update_duration_seconds", by="method"),
            unit="s",
            width=8,
        ),
        graph(
            "Least time left",
            "How long the credential of each chosen session is still valid. It jumps up when it is"
            f" renewed. The {_TOP} that expire first.",
            Query(
                expression=f"bottomk({_TOP}, max by ({_KEY}) ({expires}) - time())", legend=_NAMED
            ),
            unit="s",
            width=8,
        ),
    )


def _operator() -> tuple[Panel, ...]:
    return (
        graph(
            "Status writes by outcome",
            "Writes of a status to the API server: one for each change, and none while nothing"
            " changes.",
            Query(
                expression=_rate("springline_status_writes_total", "outcome"),
                legend="{{outcome}}",
            ),
            unit=_PER_MINUTE,
            colours=(
                Colour(word="written", colour="green"),
                Colour(word="unchanged", colour="text"),
                Colour(word="conflict", colour="yellow"),
                Colour(word="gone", colour="blue"),
                Colour(word="failed", colour="red"),
            ),
            as_bars=True,
            stacked=True,
            width=6,
        ),
        graph(
            "Statuses that wait",
            "How many changed statuses the API server does not have yet, and how many are left to"
            " another replica that holds the objects, too.",
            Query(
                expression=f"sum by (instance) (springline_status_writes_waiting{{{_OF}}})",
                legend="{{instance}}",
            ),
            Query(
                expression=f"sum by (instance) (springline_objects_held_elsewhere{{{_OF}}})",
                legend="{{instance}}, held elsewhere",
            ),
            width=6,
        ),
        graph(
            "Oldest status that waits",
            "For how long what kubectl shows has been behind.",
            Query(
                expression="max by (instance) "
                f"(springline_status_oldest_unwritten_seconds{{{_OF}}})",
                legend="{{instance}}",
            ),
            unit="s",
            width=6,
        ),
        graph(
            "Fields that definitions lack",
            "Fields of this version that the API server's CustomResourceDefinitions do not have, or"
            " whose values they do not take. Above zero, they are older than the operator.",
            Query(
                expression=f"max by (kind, part) (springline_definitions_missing_fields{{{_OF}}})",
                legend="{{kind}}: {{part}}",
            ),
            width=6,
        ),
        graph(
            "Lag of the event loop",
            "The longest that it was late within a minute. Above a second, heartbeats are at risk.",
            Query(
                expression=f"max by (instance) (springline_event_loop_lag_seconds{{{_OF}}})",
                legend="{{instance}}",
            ),
            unit="s",
            width=8,
        ),
        graph(
            "Processor",
            "Processor time; 100 % is one core.",
            Query(
                expression="sum by (instance) "
                f"(rate(process_cpu_seconds_total{{{_OF}}}[$__rate_interval]))",
                legend="{{instance}}",
            ),
            unit="percentunit",
            width=8,
        ),
        graph(
            "Memory",
            "Resident memory of the process.",
            Query(
                expression=f"sum by (instance) (process_resident_memory_bytes{{{_OF}}})",
                legend="{{instance}}",
            ),
            unit="bytes",
            width=8,
        ),
        graph(
            "File descriptors",
            "Share of the open files that the process may have. Each session has one.",
            Query(
                expression=f"process_open_fds{{{_OF}}} / process_max_fds{{{_OF}}}",
                legend="{{instance}}",
            ),
            unit="percentunit",
            most=1,
            width=6,
        ),
        graph(
            "Tasks",
            "Tasks on the event loop; they grow with the sessions, and with nothing else.",
            Query(
                expression=f"sum by (instance) (springline_tasks{{{_OF}}})", legend="{{instance}}"
            ),
            width=6,
        ),
        graph(
            "Name lookups",
            "Lookups that have a thread, wait for one, or were given up without one (a minute). "
            "Many that run for long are of names that get no answer.",
            Query(
                expression=f"sum by (state) (springline_name_lookups{{{_OF}}})", legend="{{state}}"
            ),
            Query(
                expression=f"sum(increase(springline_name_lookups_not_started_total{{{_OF}}}[1m]))",
                legend="given up",
            ),
            width=6,
        ),
        graph(
            "Dropped",
            "Lines of the log that nothing took in time, and connections to the port of health and "
            "metrics that were dropped.",
            Query(
                expression=f"sum(increase(springline_log_lines_dropped_total{{{_OF}}}[1m]))",
                legend="log lines",
            ),
            Query(
                expression="sum by (why) "
                f"(increase(springline_http_connections_dropped_total{{{_OF}}}[1m]))",
                legend="connections: {{why}}",
            ),
            width=6,
        ),
        graph(
            "Kubernetes Events by outcome",
            "Events by what became of them; those that could not be posted delay nothing else.",
            Query(
                expression=_rate("springline_kubernetes_events_total", "outcome"),
                legend="{{outcome}}",
            ),
            unit=_PER_MINUTE,
            colours=(
                Colour(word="posted", colour="green"),
                Colour(word="counted", colour="blue"),
                Colour(word="limited", colour="text"),
                Colour(word="ending", colour="yellow"),
                Colour(word="overflow", colour="orange"),
                Colour(word="unanswered", colour="purple"),
                Colour(word="refused", colour="red"),
            ),
            as_bars=True,
            stacked=True,
            width=6,
        ),
        table(
            "Which operator",
            "What is running.",
            Query(
                expression=f"max by (job, instance, version, python) "
                f"(springline_build_info{{{_OF}}})"
            ),
            columns=(
                Column(of="job", title="Job"),
                Column(of="instance", title="Instance"),
                Column(of="version", title="Springline"),
                Column(of="python", title="Python"),
            ),
            sort_by="Instance",
            width=6,
        ),
    )


def _single() -> tuple[Panel, ...]:
    ready = f"max by ({_KEY}) (springline_session_ready{{{_EACH}}})"
    blocked = f"max by ({_KEY}) (springline_session_blocked{{{_EACH}}})"
    suspended = f"max by ({_KEY}) (springline_session_suspended{{{_EACH}}})"
    expires = f"springline_credentials_expiration_timestamp_seconds{{{_EACH}}}"
    return (
        timeline(
            "What became of it",
            "One line for each chosen session. Choose a few: thousands take long to draw.",
            Query(expression=f"4 * {suspended} or {ready} + 2 * {blocked}", legend=_NAMED),
            states={
                0: Colour(word="not Ready", colour="red"),
                1: Colour(word="Ready", colour="green"),
                2: Colour(word="not Ready, blocked", colour="dark-red"),
                3: Colour(word="Ready, blocked", colour="orange"),
                4: Colour(word="suspended", colour="text"),
            },
        ),
        graph(
            "Its disconnects",
            "How often the session ended, not by Springline's doing.",
            Query(
                expression=f"60 * sum by ({_KEY}) "
                f"(rate(springline_session_disconnects_total{{{_EACH}}}[$__rate_interval]))",
                legend=_NAMED,
            ),
            unit=_PER_MINUTE,
            as_bars=True,
            stacked=True,
            width=8,
        ),
        graph(
            "Its blocked time",
            "The share of the time that it was blocked.",
            Query(
                expression=f"sum by ({_KEY}) "
                f"(rate(springline_session_blocked_seconds_total{{{_EACH}}}[$__rate_interval]))",
                legend=_NAMED,
            ),
            unit="percentunit",
            most=1,
            width=8,
        ),
        graph(
            "Its time left",
            "How long its credential is still valid, if it expires.",
            Query(expression=f"max by ({_KEY}) ({expires}) - time()", legend=_NAMED),
            unit="s",
            width=8,
        ),
        table(
            "What it agreed on with its broker",
            "Of each chosen session that is open.",
            Query(expression=f"springline_session_info{{{_EACH}}}"),
            columns=(
                Column(of="namespace", title="Namespace"),
                Column(of="name", title="Connection"),
                Column(of="broker_kind", title="Broker kind"),
                Column(of="broker", title="Broker"),
                Column(of="endpoint", title="Endpoint"),
                Column(of="mechanism", title="Mechanism"),
                Column(of="tls_version", title="TLS"),
                Column(of="heartbeat_seconds", title="Heartbeat, s"),
                Column(of="server_product", title="Server"),
                Column(of="server_version", title="Version"),
            ),
            sort_by="Namespace",
            width=24,
        ),
    )


DASHBOARD: Final = Dashboard(
    uid="springline",
    title="Springline",
    description="Broker connections that Springline keeps: which are ready, what is wrong with the"
    " others, when credentials expire, and whether the operator keeps up.",
    tags=("springline", "amqp", "rabbitmq"),
    variables=(
        Variable(
            name="job",
            title="Operator",
            description="The job that scrapes the operator; each release has its own.",
            query="label_values(springline_build_info, job)",
        ),
        Variable(
            name="namespace",
            title="Namespace",
            description="Of the connections, for what is shown of single ones.",
            query=f"label_values(springline_session_ready{{{_OF}}}, namespace)",
            everything=".*",
        ),
        Variable(
            name="name",
            title="Connection",
            description="For what is shown of single connections.",
            query=f'label_values(springline_session_ready{{{_OF}, namespace=~"$namespace"}}, name)',
            everything=".*",
        ),
    ),
    annotations=(
        annotation(
            "Operator started",
            f"process_start_time_seconds{{{_OF}}} * 1000",
            title="Operator started",
            text="{{instance}}",
            colour="blue",
        ),
    ),
    rows=(
        Row(title="Fleet", panels=_fleet()),
        Row(title="Blocked by brokers", panels=_blocked()),
        Row(title="Connecting and disconnecting", panels=_connecting()),
        Row(title="Probes", panels=_probing()),
        Row(title="Credentials", panels=_credentials()),
        Row(title="The operator itself", panels=_operator()),
        Row(title="Single connections", panels=_single(), closed=True),
    ),
)
