"""Metrics, read as Prometheus reads them."""

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from springline import __version__
from springline.core.outcomes import AttemptOutcome, UpdateOutcome
from springline.core.state import Phase
from springline.core.values import ServerInfo, SessionKey, TLSInfo
from springline.core.view import SessionView
from springline.metrics import Metrics
from springline.reasons import Reason
from support.builders import PROBE, an_open_info, credential_refused, server_close
from support.fake_clock import EIGHT, FakeClock
from support.stage import Stage, staged

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
KEY = {"namespace": "apps", "name": "orders"}


class Scene:
    """One session among fakes, and the metrics that are made of it."""

    def __init__(self, clock: FakeClock, *, per_object: bool) -> None:
        self.metrics = Metrics(self._views, per_object=per_object, clock=clock)
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

    def families(self) -> dict[str, Metric]:
        body, _ = self.metrics.render()
        return {family.name: family for family in read_text(body.decode())}

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


async def test_disconnects_are_counted_by_reason(scene: Scene) -> None:
    connection = await scene.session.connect()
    connection.end(server_close())
    await scene.session.clock.settle()
    assert scene.value("springline_disconnects_total", reason="ConnectionForced") == 1.0


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
    assert scene.value("springline_status_writes_total", outcome="written") == 2.0


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
    assert large.series("springline_disconnects_total") == []


# --- for large fleets


async def test_the_series_of_single_sessions_can_be_left_out(large: Scene) -> None:
    """What remains does not grow with the number of sessions."""
    connection = await large.session.connect(probe=PROBE)
    connection.block()
    await large.session.clock.settle()
    body, _ = large.metrics.render()
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
    _, content_type = scene.metrics.render(accept)
    assert content_type.startswith(expected)


async def populated(scene: Scene) -> None:
    """Make every metric have a series."""
    connection = await scene.session.connect(probe=PROBE)
    view, info = scene.session.view, an_open_info()
    tls = TLSInfo(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")
    info = dataclasses.replace(info, negotiated=dataclasses.replace(info.negotiated, tls=tls))
    scene.more = [dataclasses.replace(expiring(view, EIGHT, EIGHT), info=info)]
    connection.end(server_close())
    await scene.session.clock.advance(60.0)
    await scene.session.change_credential()
    scene.metrics.status_written("written")


async def test_both_formats_say_the_same(scene: Scene) -> None:
    """OpenMetrics, whose parser is strict, and the text."""
    await populated(scene)
    snapshot = scene.metrics.collect()
    text, _ = snapshot.render()
    open_text, content_type = snapshot.render("application/openmetrics-text")
    assert content_type.startswith(OPENMETRICS)

    def samples(families: Iterable[Metric]) -> dict[Any, float]:
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    classic = samples(read_text(text.decode()))
    strict = read_openmetrics(open_text.decode())  # type: ignore[no-untyped-call]  # it has no annotations
    assert classic == samples(strict)


# --- the documentation

ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)


async def test_the_documentation_lists_every_metric(scene: Scene) -> None:
    """docs/metrics.md has a row for each, with its type and labels, and none for any other."""
    await populated(scene)
    body, _ = scene.metrics.render()
    actual = {}
    for family in read_text(body.decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        actual[name] = (family.type, labels)
    documented = {
        name: (kind, sorted(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(DOCS.read_text(encoding="utf-8"))
    }
    assert documented == actual


def test_the_documentation_lists_every_outcome() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for outcome in (*AttemptOutcome, *UpdateOutcome):
        assert f"`{outcome}`" in text
