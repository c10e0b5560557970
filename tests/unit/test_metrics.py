"""Metrics, read as Prometheus reads them."""

import asyncio
import dataclasses
import re
import typing
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from prometheus_client import Metric

from springline import __version__
from springline.api import v1alpha1
from springline.core import verdicts
from springline.core.outcomes import AttemptOutcome, UpdateOutcome, VerificationOutcome
from springline.core.state import Phase
from springline.core.values import ServerInfo, SessionKey, TLSInfo
from springline.core.view import SessionView
from springline.kube.event_posting import Outcome
from springline.metrics import Collector, Metrics, catalogue
from springline.metrics.catalogue import MetricInfo
from springline.reasons import Reason
from support import metrics_page, scrapes
from support.builders import (
    PROBE,
    an_open_info,
    credential_refused,
    refused,
    server_close,
    terminal,
    transport_close,
    unreachable,
)
from support.fake_clock import EIGHT, FakeClock
from support.prometheus import PrometheusMissing
from support.stage import Stage, staged

KEY = {"namespace": "apps", "name": "orders"}


class PlayedBacklog:
    """Status that waits to be written, as `metrics.Backlog`."""

    waiting = 0
    oldest_seconds = 0.0
    held_elsewhere = 0


class PlayedComparison:
    """How the API server's definitions are, as `metrics.Comparison`."""

    def __init__(self) -> None:
        self.missing: dict[tuple[str, str], int] = {}


class PlayedLookups:
    """Name lookups as the test plays them, as `metrics.collector.Lookups`."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0
        self.not_started = 0


class Scene:
    """One session among fakes, and the metrics that are made of it."""

    def __init__(self, clock: FakeClock, *, per_object: bool) -> None:
        self.backlog = PlayedBacklog()
        self.comparison = PlayedComparison()
        self.lookups = PlayedLookups()
        self.metrics = Metrics(clock)
        self.collector = Collector(
            self.metrics,
            self._views,
            per_object=per_object,
            statuses=self.backlog,
            definitions=self.comparison,
            lookups=self.lookups,
        )
        self.stage: Stage | None = None
        self.more: list[SessionView] = []

    def _views(self) -> Iterable[SessionView]:
        if self.stage is not None:
            yield self.stage.view
        yield from self.more

    @property
    def session(self) -> Stage:
        assert self.stage is not None
        return self.stage

    def text(self, accept: str = "") -> str:
        """What a scrape is answered."""
        body, _ = self.collector.render(accept)
        return body.decode()

    def families(self) -> dict[str, Metric]:
        return {family.name: family for family in scrapes.read(self.text())}

    def value(self, name: str, /, **labels: str) -> float | None:
        """The value of the one series with exactly these labels."""
        found = [value for series, value in self.series(name) if series == labels]
        return found[0] if found else None

    def series(self, name: str) -> list[tuple[dict[str, str], float]]:
        """All series of this name."""
        return [
            (sample.labels, sample.value)
            for family in self.families().values()
            for sample in family.samples
            if sample.name == name
        ]


@pytest.fixture
async def clock() -> AsyncIterator[FakeClock]:
    clock = FakeClock()
    with clock.drives(asyncio.get_running_loop()):
        yield clock


@pytest.fixture
async def scene(clock: FakeClock) -> AsyncIterator[Scene]:
    scene = Scene(clock, per_object=True)
    async with staged(clock, meter=scene.metrics) as stage:
        scene.stage = stage
        yield scene


@pytest.fixture
async def large(clock: FakeClock) -> AsyncIterator[Scene]:
    """A scene without series for each session."""
    scene = Scene(clock, per_object=False)
    async with staged(clock, meter=scene.metrics) as stage:
        scene.stage = stage
        yield scene


# --- what there is


async def test_a_session_counts_in_the_state_it_is_in(scene: Scene) -> None:
    """And in no other; a state that nobody is in is 0, not absent."""
    await scene.session.connect()
    counts = {labels["state"]: value for labels, value in scene.series("springline_sessions")}
    assert counts == {phase.value: float(phase is Phase.CONNECTED) for phase in Phase}
    assert scene.value("springline_sessions_ready", protocol="amqp091") == 1.0


async def test_a_declaration_that_cannot_be_used_has_no_protocol(scene: Scene) -> None:
    assert scene.value("springline_sessions", protocol="unknown", state="Connecting") == 1.0


async def test_readiness_follows_the_session(scene: Scene) -> None:
    assert scene.value("springline_session_ready", **KEY) == 0.0
    connection = await scene.session.connect()
    assert scene.value("springline_session_ready", **KEY) == 1.0
    connection.end(server_close())
    await scene.session.clock.settle()
    assert scene.value("springline_session_ready", **KEY) == 0.0


async def test_a_session_that_is_suspended_is_told_from_one_that_is_not_ready(scene: Scene) -> None:
    """So that nobody is alerted to what was declared."""
    await scene.session.connect()
    assert scene.value("springline_session_suspended", **KEY) is None
    await scene.session.declare(suspend=True)
    assert scene.value("springline_session_suspended", **KEY) == 1.0
    assert scene.value("springline_session_ready", **KEY) == 0.0


async def test_a_session_that_is_gone_has_no_series(scene: Scene) -> None:
    await scene.session.connect()
    stage, scene.stage = scene.stage, None
    assert scene.series("springline_session_ready") == []
    assert scene.series("springline_sessions") == []
    scene.stage = stage


async def test_a_block_is_shown_with_its_reason_and_ends(scene: Scene) -> None:
    """There is one series a session, so that an alert ends when the block does."""
    connection = await scene.session.connect(probe=PROBE)
    name = "springline_session_blocked"
    assert scene.series(name) == [({**KEY, "reason": "NotBlocked"}, 0.0)]
    connection.block("low on memory")
    await scene.session.clock.advance(7.0)
    assert scene.series(name) == [({**KEY, "reason": "LowOnMemory"}, 1.0)]
    assert scene.value("springline_sessions_blocked", reason="LowOnMemory") == 1.0
    assert scene.value("springline_session_blocked_seconds_total", **KEY) == 7.0
    connection.unblock()
    await scene.session.clock.advance(7.0)
    assert scene.series(name) == [({**KEY, "reason": "NotBlocked"}, 0.0)]
    assert scene.value("springline_sessions_blocked", reason="LowOnMemory") == 0.0
    assert scene.value("springline_session_blocked_seconds_total", **KEY) == 7.0


async def test_a_block_that_would_go_unseen_is_told_from_none(scene: Scene) -> None:
    await scene.session.connect(probe=None)
    assert scene.value("springline_session_blocked", **KEY, reason="ProbeDisabled") == 0.0


async def test_an_open_session_shows_what_was_agreed_on(scene: Scene) -> None:
    assert scene.series("springline_session_info") == []
    connection = await scene.session.connect()
    [(labels, value)] = scene.series("springline_session_info")
    assert value == 1.0
    assert labels == {
        **KEY,
        "broker_kind": "Broker",
        "broker": "rabbit",
        "protocol": "amqp091",
        "endpoint": "rabbit-0.example:5672",
        "mechanism": "PLAIN",
        "heartbeat_seconds": "60",
        "tls_version": "",
        "server_product": "RabbitMQ",
        "server_version": "4.0.5",
    }
    connection.end(server_close())
    await scene.session.clock.settle()
    assert scene.series("springline_session_info") == []


async def test_only_a_credential_that_expires_has_an_expiration(scene: Scene) -> None:
    """And a time to be renewed at, which comes first."""
    expiration = "springline_credentials_expiration_timestamp_seconds"
    renewal = "springline_credentials_renewal_timestamp_seconds"
    await scene.session.connect()
    assert scene.series(expiration) == scene.series(renewal) == []
    expires, renew_at = EIGHT + timedelta(hours=1), EIGHT + timedelta(minutes=48)
    scene.more = [expiring(scene.session.view, expires, renew_at)]
    assert scene.series(expiration) == [(OTHER, expires.timestamp())]
    assert scene.series(renewal) == [(OTHER, renew_at.timestamp())]
    scene.more = [expiring(scene.session.view, expires, renew_at, method=None)]
    assert scene.series(expiration) == scene.series(renewal) == []  # tried, and not accepted


OTHER = {"namespace": "apps", "name": "other"}


def expiring(
    view: SessionView, expires: datetime, renew_at: datetime, *, method: str | None = "Handshake"
) -> SessionView:
    """Return another session whose credential expires, and is to be renewed before."""
    use = view.credential
    assert use is not None
    credential = dataclasses.replace(use.credential, expires_at=expires)
    return dataclasses.replace(
        view,
        key=SessionKey("apps", "other"),
        credential=dataclasses.replace(
            use, credential=credential, renew_at=renew_at, method=method
        ),
    )


async def test_a_broker_may_call_itself_anything(scene: Scene) -> None:
    """What it says can neither break the format nor grow it without bounds."""
    await scene.session.connect()
    odd = an_open_info()
    odd = dataclasses.replace(
        odd, server=ServerInfo(product='a"b\\c\nd\udc80 é', version="9" * 10_000)
    )
    scene.more = [
        dataclasses.replace(scene.session.view, key=SessionKey("apps", "odd"), info=odd),
    ]
    [labels] = [
        labels for labels, _ in scene.series("springline_session_info") if labels["name"] == "odd"
    ]
    assert labels["server_product"] == 'a"b\\c\nd? é'
    assert len(labels["server_version"]) == 128


# --- what has happened


async def test_attempts_are_counted_by_outcome_and_reason(scene: Scene) -> None:
    scene.session.driver.then(credential_refused(), credential_refused(), None)
    await scene.session.declare()
    await scene.session.clock.advance(300.0)
    name = "springline_connect_attempts_total"
    assert scene.value(name, protocol="amqp091", outcome="refused", reason="AccessRefused") == 2.0
    assert scene.value(name, protocol="amqp091", outcome="opened", reason="Open") == 1.0
    assert scene.value("springline_connect_duration_seconds_count") == 1.0


async def test_disconnects_are_counted_by_reason_and_by_session(scene: Scene) -> None:
    """The usual reasons start at 0, so that the first of each is an increase."""
    name, each = "springline_disconnects_total", "springline_session_disconnects_total"
    assert scene.value(each, **KEY) == 0.0
    assert scene.value(name, reason="PeerClosed") == 0.0
    for number in (1.0, 2.0):
        connection = await scene.session.connect()
        connection.end(server_close())
        await scene.session.clock.advance(60.0)
        assert scene.value(name, reason="ConnectionForced") == number
        assert scene.value(each, **KEY) == number
    assert {value for _, value in scene.series(name)} == {0.0, 2.0}


async def test_what_is_closed_on_purpose_is_no_disconnect(scene: Scene) -> None:
    await scene.session.connect()
    await scene.session.declare(suspend=True)
    await scene.session.declare()
    await scene.session.change_credential(username="other")
    await scene.session.close()
    assert scene.value("springline_session_disconnects_total", **KEY) == 0.0


async def test_verifications_are_counted_by_where_the_answer_came_from(scene: Scene) -> None:
    """All start at 0."""
    name = "springline_verifications_total"
    assert {labels["outcome"]: value for labels, value in scene.series(name)} == dict.fromkeys(
        VerificationOutcome, 0.0
    )
    await scene.session.connect()
    scene.session.driver.then(unreachable(), credential_refused(), None)
    await scene.session.change_credential()
    await scene.session.clock.advance(300.0)
    assert scene.value(name, outcome="failed") == 1.0
    assert scene.value(name, outcome="refused") == 1.0
    assert scene.value(name, outcome="accepted") == 1.0


async def test_updates_are_counted_by_method_and_outcome(scene: Scene) -> None:
    """All start at 0, so that the first of each is an increase."""
    name = "springline_secret_updates_total"
    assert {value for _, value in scene.series(name)} == {0.0}
    await scene.session.connect()
    await scene.session.change_credential()
    assert scene.value(name, method="InPlace", outcome="updated") == 1.0
    duration = "springline_secret_update_duration_seconds_count"
    assert scene.value(duration, method="InPlace") == 1.0
    assert scene.value(duration, method="Replaced") == 0.0


async def test_probes_fill_a_histogram(scene: Scene) -> None:
    connection = await scene.session.connect(probe=PROBE)
    connection.probe_answer = 0.3
    await scene.session.clock.advance(15.0)
    name = "springline_probe_duration_seconds"
    assert scene.value(f"{name}_bucket", le="0.0025") == 1.0
    assert scene.value(f"{name}_bucket", le="0.5") == 2.0
    assert scene.value(f"{name}_sum") == pytest.approx(0.302)


async def test_status_writes_are_counted_by_outcome(scene: Scene) -> None:
    for outcome in ("written", "unchanged", "written"):
        scene.metrics.status_written(outcome)
    name = "springline_status_writes_total"
    assert scene.value(name, outcome="written") == 2.0
    assert scene.value(name, outcome="failed") == 0.0


async def test_events_are_counted_by_outcome(scene: Scene) -> None:
    """All that there are, from the start."""
    scene.metrics.event_posted("posted")
    scene.metrics.event_posted("ending", 60)
    name = "springline_kubernetes_events_total"
    assert {each: scene.value(name, outcome=each) for each in Outcome} == {
        **dict.fromkeys(Outcome, 0.0),
        Outcome.POSTED: 1.0,
        Outcome.ENDING: 60.0,
    }
    [label] = catalogue.EVENTS.labels
    assert label.values.keys() == set(Outcome)


async def test_status_that_is_not_written_yet_is_shown(scene: Scene) -> None:
    """How much, and for how long."""
    assert scene.value("springline_status_writes_waiting") == 0.0
    scene.backlog.waiting, scene.backlog.oldest_seconds = 3, 41.5
    assert scene.value("springline_status_writes_waiting") == 3.0
    assert scene.value("springline_status_oldest_unwritten_seconds") == 41.5


async def test_what_another_replica_holds_is_counted(scene: Scene) -> None:
    assert scene.value("springline_objects_held_elsewhere") == 0.0
    scene.backlog.held_elsewhere = 2
    assert scene.value("springline_objects_held_elsewhere") == 2.0


async def test_what_the_definitions_lack_is_shown(scene: Scene) -> None:
    """Of kinds whose definition has been read; zero is an answer."""
    name = "springline_definitions_missing_fields"
    assert scene.series(name) == []
    scene.comparison.missing = {("Broker", "spec"): 0, ("Broker", "status"): 3}
    assert scene.series(name) == [
        ({"kind": "Broker", "part": "spec"}, 0.0),
        ({"kind": "Broker", "part": "status"}, 3.0),
    ]


async def test_without_an_api_server_no_status_waits_and_no_definition_lacks_anything(
    clock: FakeClock,
) -> None:
    body, _ = Collector(Metrics(clock), tuple, per_object=True).render()
    assert b"springline_status_oldest" not in body
    assert b"springline_definitions" not in body


# --- the process


async def test_the_process_tells_what_it_is_and_how_it_goes(scene: Scene) -> None:
    [(labels, _)] = scene.series("springline_build_info")
    assert labels["version"] == __version__
    assert scene.value("springline_event_loop_lag_seconds") == 0.0
    tasks = scene.value("springline_tasks")
    assert tasks is not None
    assert tasks >= 2
    assert scene.value("process_resident_memory_bytes")


async def test_two_in_one_process_do_not_meet(scene: Scene, large: Scene) -> None:
    scene.metrics.disconnected(Reason.PEER_CLOSED)
    assert scene.value("springline_disconnects_total", reason="PeerClosed") == 1.0
    assert large.value("springline_disconnects_total", reason="PeerClosed") == 0.0


# --- for large fleets


async def test_the_series_of_single_sessions_can_be_left_out(large: Scene) -> None:
    """What remains does not grow with the number of sessions."""
    connection = await large.session.connect(probe=PROBE)
    connection.block()
    await large.session.clock.settle()
    body, _ = large.collector.render()
    assert b"orders" not in body
    assert not [name for name in large.families() if name.startswith("springline_session_")]
    assert large.value("springline_sessions_ready", protocol="amqp091") == 1.0
    assert large.value("springline_sessions_blocked", reason="LowOnMemory") == 1.0


# --- formats

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param("", TEXT, id="nothing asked for"),
        pytest.param("*/*", TEXT, id="anything"),
        pytest.param("text/html", TEXT, id="something else"),
        pytest.param("application/openmetrics-text", OPENMETRICS, id="OpenMetrics"),
        pytest.param(
            "application/openmetrics-text;version=1.0.0;q=0.5,"
            "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*",
            OPENMETRICS,
            id="Prometheus",
        ),
        pytest.param("Application/OpenMetrics-Text ; Q=0.5", OPENMETRICS, id="another spelling"),
        pytest.param("application/openmetrics-text;version=0.0.1", TEXT, id="a version before 1"),
        pytest.param(
            "application/openmetrics-text;q=0.1, text/plain;q=0.9", TEXT, id="rather the text"
        ),
        pytest.param("application/openmetrics-text;q=0", TEXT, id="not OpenMetrics"),
        pytest.param("application/openmetrics-text;q=much;version=1.0.0", TEXT, id="no weight"),
        pytest.param(";;,=;q", TEXT, id="nonsense"),
    ],
)
async def test_the_accept_header_decides_the_format(
    scene: Scene, accept: str, expected: str
) -> None:
    _, content_type = scene.collector.render(accept)
    assert content_type.startswith(expected)


async def populated(scene: Scene) -> None:
    """Make every metric have a series."""
    connection = await scene.session.connect(probe=PROBE)
    view, info = scene.session.view, an_open_info()
    tls = TLSInfo(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")
    info = dataclasses.replace(info, negotiated=dataclasses.replace(info.negotiated, tls=tls))
    suspended = dataclasses.replace(view.state, phase=Phase.SUSPENDED)
    out_of_sync = dataclasses.replace(view.state, synced=verdicts.out_of_sync(refused()))
    scene.more = [
        dataclasses.replace(expiring(view, EIGHT, EIGHT), info=info),
        dataclasses.replace(view, key=SessionKey("apps", "off"), state=suspended),
        dataclasses.replace(view, key=SessionKey("apps", "stuck"), state=out_of_sync),
    ]
    connection.end(server_close())
    await scene.session.clock.advance(60.0)
    await scene.session.change_credential()
    scene.metrics.status_written("written")
    scene.comparison.missing = {("BrokerConnection", "status"): 1}


async def test_both_formats_say_the_same(scene: Scene) -> None:
    """OpenMetrics, whose parser is strict, and the text."""
    await populated(scene)
    snapshot = scene.collector.collect()
    text, _ = snapshot.render()
    open_text, content_type = snapshot.render("application/openmetrics-text")
    assert content_type.startswith(OPENMETRICS)

    def samples(text: bytes) -> dict[Any, float]:
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in scrapes.read(text.decode())
            for sample in family.samples
        }

    assert open_text.endswith(b"# EOF\n")
    assert samples(text) == samples(open_text)


async def test_a_scrape_is_of_one_moment(scene: Scene) -> None:
    """What happens while the text is written is not in it."""
    connection = await scene.session.connect()
    snapshot = scene.collector.collect()
    connection.end(server_close())
    await scene.session.clock.settle()
    text, _ = snapshot.render()
    assert b'springline_session_ready{namespace="apps",name="orders"} 1.0\n' in text
    assert scene.value("springline_session_ready", **KEY) == 0.0


# --- the catalogue


async def test_name_lookups_are_counted_as_they_run_and_wait(scene: Scene) -> None:
    scene.lookups.running, scene.lookups.waiting, scene.lookups.not_started = 64, 36, 5
    assert scene.value("springline_name_lookups", state="running") == 64
    assert scene.value("springline_name_lookups", state="waiting") == 36
    assert scene.value("springline_name_lookups_not_started_total") == 5


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"], ids=["text", "open"])
async def test_what_is_scraped_is_what_the_catalogue_describes(scene: Scene, accept: str) -> None:
    """Names, types, descriptions, labels and their values; and everything in it can be scraped."""
    await populated(scene)
    text = scene.text(accept)
    assert scrapes.contradictions(text) == []
    missing = [metric.name for metric in catalogue.ALL if f"\n{metric.name}" not in f"\n{text}"]
    assert [name for name in missing if f"\n{name}_bucket" not in text] == []


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"], ids=["text", "open"])
async def test_whatever_a_broker_says_makes_no_series(scene: Scene, accept: str) -> None:
    """Nor does what it does: reasons are a closed set, and a session has one series of a metric."""
    await scene.session.connect(probe=PROBE)
    for _, odd in zip(range(10), texts(), strict=False):
        await misbehave(scene, odd)
    before = scrapes.read(scene.text(accept))
    for _, odd in zip(range(100), texts("other"), strict=False):
        await misbehave(scene, odd)
        assert scrapes.contradictions(scene.text(accept)) == []
    assert shape(scrapes.read(scene.text(accept))) == shape(before)
    assert scene.value("springline_session_disconnects_total", **KEY) == 220.0


def texts(prefix: str = "odd") -> Iterable[str]:
    """Words that nobody has said before."""
    for number in count():
        yield (
            f'{prefix}-{number}"}} 1\n# TYPE evil gauge\nevil{{a="\\\x00\udc80é' + "x" * number * 50
        )


async def misbehave(scene: Scene, text: str) -> None:
    """Have the broker say it wherever it can say something."""
    stage = scene.session
    stage.driver.then(unreachable(text), credential_refused(text), terminal(text), None)
    connection = stage.driver.connection
    connection.block(text)
    await stage.clock.advance(7.0)
    connection.end(server_close(text))
    await stage.clock.advance(1000.0)
    await stage.declare(suspend=True)
    connection = await stage.connect(probe=PROBE)
    connection.end(transport_close(text))
    await stage.clock.advance(60.0)
    info = an_open_info()
    scene.more = [
        dataclasses.replace(
            stage.view,
            key=SessionKey("apps", "odd"),
            info=dataclasses.replace(
                info,
                negotiated=dataclasses.replace(
                    info.negotiated, mechanism=text, tls=TLSInfo(version=text, cipher=text)
                ),
                server=ServerInfo(product=text, version=text),
            ),
        )
    ]


def shape(families: Iterable[Metric]) -> dict[str, int]:
    """How many series there are of each metric."""
    return {family.name: len(family.samples) for family in families}


def test_protocols_are_those_that_can_be_declared() -> None:
    [protocol, _] = catalogue.SESSIONS.labels
    annotation = v1alpha1.BrokerSpec.model_fields["protocol"].annotation
    assert set(protocol.values) == {*typing.get_args(annotation), "unknown"}


def test_outcomes_are_those_that_there_are() -> None:
    for metric, outcomes in (
        (catalogue.ATTEMPTS, AttemptOutcome),
        (catalogue.UPDATES, UpdateOutcome),
        (catalogue.VERIFICATIONS, VerificationOutcome),
    ):
        [outcome] = [label for label in metric.labels if label.name == "outcome"]
        assert set(outcome.values) == set(outcomes)


def test_only_series_of_single_sessions_have_open_labels() -> None:
    """Or those that never change while a process lives."""
    is_open = [
        metric
        for metric in catalogue.ALL
        if not all(label.is_closed for label in metric.labels) and not metric.is_each
    ]
    assert is_open == [catalogue.BUILD_INFO]


every_metric = pytest.mark.parametrize("metric", catalogue.ALL, ids=lambda metric: metric.name)


@every_metric
def test_each_metric_comes_with_a_query_that_asks_for_it(metric: MetricInfo) -> None:
    """And what queries ask for exists, with labels that it has."""
    names = {each.name: each for each in catalogue.ALL}
    asked: set[str] = set()
    for query in metric.queries:
        found = re.findall(r"\b((?:springline|process|python)_\w+)(?:\{(\w+)!?=)?", query.text)
        for series, label in found:
            name = series.removesuffix("_bucket")
            asked.add(name)
            assert not label or label in names[name].label_names
    assert metric.name in asked


# --- what Prometheus says of it


async def test_promtool_has_no_complaints(scene: Scene) -> None:
    """About five hundred sessions, of which some are blocked and some expire."""
    await populated(scene)
    views = scene.more
    scene.more = [
        dataclasses.replace(
            views[number % len(views)], key=SessionKey(f"team-{number % 7}", f"orders-{number}")
        )
        for number in range(500)
    ]
    try:
        assert scrapes.complaints(scene.text()) == ""
        assert scrapes.complaints("springline_connects 1\n") != "", "it looks"
    except PrometheusMissing as missing:
        pytest.skip(str(missing))


def test_every_query_can_be_parsed() -> None:
    queries = [query.text for metric in catalogue.ALL for query in metric.queries]
    try:
        assert scrapes.unparsable(queries) == ""
        assert scrapes.unparsable([*queries, "sum by ("]) != "", "it looks"
    except PrometheusMissing as missing:
        pytest.skip(str(missing))


# --- the documentation


def test_the_page_says_what_the_catalogue_says() -> None:
    """`make metrics-page` writes its tables anew."""
    assert metrics_page.PAGE.read_text(encoding="utf-8") == metrics_page.written()
