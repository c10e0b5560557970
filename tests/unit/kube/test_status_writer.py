"""What is written to the status of declared objects, when, and what comes of it."""

import json
import logging
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from springline.api.meta import Identity
from springline.core import binding
from springline.core import status as projection
from springline.core.view import SessionView
from springline.kube import paths
from springline.kube import status as module
from springline.kube.client import RefusedError, UnreachableError
from springline.kube.requests import Request
from springline.kube.stored import StoredStatus
from springline.reasons import Reason
from support.builders import credential_refused, terminal, unreachable
from support.fake_clock import FakeClock
from support.fakes import SILENCE
from support.fleet import OTHER_BROKER
from support.statuses import (
    CLUSTER_RABBIT,
    ORDERS,
    RABBIT_BROKER,
    Scene,
    a_broker,
    a_connection,
    playing,
    refused,
)

OTHER = Identity("BrokerConnection", "apps", "billing")
AWAY = UnreachableError("nobody listens")


@pytest.fixture
async def scene(clock: FakeClock) -> AsyncIterator[Scene]:
    """A running manager and a running writer, with nothing declared."""
    async with playing(clock) as scene:
        yield scene


@pytest.fixture
async def connected(scene: Scene) -> Scene:
    """One connection that is open, and everything about it written."""
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(1)
    assert condition(scene.written()[-1], "Ready")["status"] == "True"
    assert scene.statuses.waiting == 0
    scene.api.writes.clear()
    scene.counted.clear()
    return scene


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in status["conditions"] if each["type"] == kind)


def counts(scene: Scene, broker: Identity = RABBIT_BROKER) -> dict[str, int]:
    """Return the counts of a broker as they were written last."""
    return dict(scene.written(broker)[-1]["connections"])


# --- how many writes, and when


async def test_a_cold_start_costs_one_write_for_each_connection(scene: Scene) -> None:
    names = [f"c{number}" for number in range(40)]
    await scene.show(a_broker())
    await scene.show(*(a_connection(name, uid=f"uid-{name}") for name in names))
    await scene.clock.advance(10)
    for name in names:
        [status] = scene.written(ORDERS._replace(name=name))
        assert status["state"] == "Connected"
        assert status["holder"] == "system/pod-1"
    assert counts(scene) == {"declared": 40, "ready": 40, "blocked": 0}


async def test_a_status_says_what_and_whose_it_is(connected: Scene) -> None:
    version = str(connected.api.versions[paths.status_of(ORDERS)])
    connected.lose()
    await connected.clock.advance(1)
    [first, *_] = (write for write in connected.api.writes if "connections/" in write.path)
    assert first.path == (
        "/apis/springline.dev/v1alpha1/namespaces/apps/brokerconnections/orders/status"
    )
    assert {key: first.document[key] for key in ("apiVersion", "kind", "metadata")} == {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "metadata": {"name": "orders", "namespace": "apps", "resourceVersion": version},
    }


async def test_a_session_without_a_result_is_shown_after_a_while(scene: Scene) -> None:
    scene.driver.then(SILENCE)
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(2.9)
    assert not scene.written()
    await scene.clock.advance(0.1)
    [status] = scene.written()
    assert condition(status, "Ready")["reason"] == Reason.CONNECTING
    scene.driver.release()
    await scene.clock.advance(1)
    assert [status["state"] for status in scene.written()] == ["Connecting", "Connected"]


async def test_an_open_session_is_shown_with_the_result_of_its_first_probe(scene: Scene) -> None:
    await scene.show(a_broker(), a_connection(probe={"mode": "Publish", "interval": "15s"}))
    await scene.clock.advance(60)
    [status] = scene.written()
    assert condition(status, "Blocked")["reason"] == Reason.NOT_BLOCKED


async def test_a_failed_attempt_is_a_result(scene: Scene) -> None:
    scene.driver.otherwise = unreachable()
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(1)
    [status] = scene.written()
    assert condition(status, "Ready")["reason"] == Reason.CONNECTION_REFUSED


async def test_a_steady_state_costs_nothing(connected: Scene) -> None:
    await connected.show(a_broker(), a_connection())  # listed again
    await connected.clock.advance(3600)
    assert not connected.api.writes


async def test_what_the_api_server_has_is_not_written_again(scene: Scene) -> None:
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(1)
    [before], [broker] = scene.written(), scene.written(RABBIT_BROKER)
    scene.statuses.gone(ORDERS)
    scene.statuses.declared(
        ORDERS, generation=1, stored=StoredStatus(uid="connection-1", status=before)
    )
    scene.statuses.gone(RABBIT_BROKER)
    scene.statuses.declared(
        RABBIT_BROKER, generation=1, stored=StoredStatus(uid="broker-1", status=broker)
    )
    await scene.clock.advance(10)
    assert len(scene.api.writes) == 2
    assert scene.counted == ["written", "written", "unchanged", "unchanged"]


async def test_a_change_that_changes_nothing_shown_is_not_even_projected(
    connected: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Secret that changes is news to a session before anything of it can be shown."""
    [session] = connected.manager.sessions()
    projected: list[SessionView] = []
    project = projection.connection_status

    def counted(view: SessionView, *arguments: Any, **options: Any) -> Any:
        projected.append(view)
        return project(view, *arguments, **options)

    monkeypatch.setattr(projection, "connection_status", counted)
    connected.statuses.session_changed(session)
    await connected.clock.advance(1)
    assert connected.statuses.waiting == 0
    assert projected == []
    session.reconnect()
    await connected.clock.advance(1)
    assert projected != []
    assert len(connected.written()) == 1


async def test_what_did_not_change_is_written_where_it_is_not_known_to_be(
    connected: Scene,
) -> None:
    """The object was read anew after a write over ours, say."""
    [session] = connected.manager.sessions()
    connected.statuses.gone(ORDERS)
    connected.statuses.declared(ORDERS, generation=1, stored=StoredStatus(uid="connection-2"))
    connected.statuses.session_changed(session)
    await connected.clock.advance(1)
    assert len(connected.written()) == 1


async def test_a_burst_of_changes_costs_one_write(connected: Scene) -> None:
    connected.driver.then(*[unreachable()] * 3)
    for _ in range(3):
        connected.manager.reconnect(next(iter(connected.manager.sessions())).key)
        await connected.clock.settle()
    await connected.clock.advance(1)
    assert len(connected.written()) == 1


async def test_a_count_alone_is_written_now_and_again(scene: Scene) -> None:
    scene.driver.otherwise = unreachable()
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(1000)
    attempts = [status["attempts"] for status in scene.written()]
    assert attempts[0] == 1
    gaps = [later - sooner for sooner, later in pairwise(scene.times())]
    assert gaps == [300.0] * 3
    assert attempts == sorted(set(attempts))
    assert scene.statuses.waiting == 0


async def test_what_changes_beside_the_count_is_written_at_once(scene: Scene) -> None:
    scene.driver.otherwise = unreachable()
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(100)
    assert len(scene.written()) == 1
    scene.driver.otherwise = unreachable("another one")
    await scene.clock.advance(70)
    assert len(scene.written()) == 2


async def test_a_status_that_comes_and_goes_all_the_time_is_written_now_and_again(
    connected: Scene,
) -> None:
    """A broker may block and unblock a thousand times a second; the others are not to wait."""
    connection = connected.driver.connection
    for _ in range(600):
        connection.block()
        await connected.clock.advance(0.1)
        connection.unblock()
        await connected.clock.advance(0.1)
    allowed = 30 + 120 / 5
    assert 30 <= len(connected.written()) <= allowed + 1
    assert connected.counted.count("limited") == 2  # once for the connection and its broker each
    await connected.clock.advance(6)
    assert connected.statuses.waiting == 0


async def test_the_last_of_too_many_changes_is_written(connected: Scene) -> None:
    connection = connected.driver.connection
    for _ in range(60):
        connection.block()
        await connected.clock.advance(0.1)
        connection.unblock()
        await connected.clock.advance(0.1)
    connection.block()
    await connected.clock.advance(6)
    assert condition(connected.written()[-1], "Blocked")["status"] == "True"


async def test_a_change_while_a_write_is_in_flight_is_written_afterwards(connected: Scene) -> None:
    connected.api.then(SILENCE)
    connected.driver.then(unreachable())
    connected.lose()
    await connected.clock.advance(1)
    assert connected.written()[-1]["state"] == "Waiting"
    await connected.clock.advance(20)
    assert len(connected.written()) == 1
    connected.api.release()
    await connected.clock.advance(1)
    assert [status["state"] for status in connected.written()] == ["Waiting", "Connected"]


async def test_an_object_that_changes_all_the_time_does_not_grow(connected: Scene) -> None:
    """Its next turn may be far away; each change gives it a sooner one."""
    connected.driver.otherwise = unreachable()
    connected.lose()
    await connected.clock.advance(1)
    for _ in range(3000):
        connected.statuses.session_changed(connected.session())
        await connected.clock.advance(0.06)
    assert len(connected.statuses._queue._turns._heap) < 2000
    assert len(connected.statuses._queue._turns) <= 2


# --- what time alone changes


def is_stalled(status: dict[str, Any]) -> bool:
    return any(each["type"] == "Stalled" for each in status["conditions"])


async def test_a_refusal_is_stalled_after_five_minutes_with_one_write(scene: Scene) -> None:
    """Nothing else happens at that time, and nothing looks again and again until then."""
    scene.driver.otherwise = terminal()
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(290)
    assert [is_stalled(each) for each in scene.written()] == [False]
    await scene.clock.advance(20)
    assert [is_stalled(each) for each in scene.written()] == [False, True]
    found = condition(scene.written()[-1], "Stalled")
    assert found["status"] == "True"
    assert found["reason"] == condition(scene.written()[-1], "Ready")["reason"]
    assert found["lastTransitionTime"].startswith("2026-11-21T08:05:0")
    await scene.clock.advance(3600)
    assert len(scene.written()) == 2
    assert not len(scene.statuses._queue._turns)


async def test_a_refusal_that_is_retried_is_stalled_in_time(scene: Scene) -> None:
    """However often it is refused meanwhile, and whatever is written of that."""
    scene.driver.otherwise = credential_refused()
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(299)
    assert not any(map(is_stalled, scene.written()))
    await scene.clock.advance(2)
    assert is_stalled(scene.written()[-1])
    scene.driver.otherwise = None
    await scene.clock.advance(120)
    assert scene.written()[-1]["state"] == "Connected"
    assert not is_stalled(scene.written()[-1])


async def test_a_write_that_is_late_does_not_keep_a_refusal_from_being_stalled(
    scene: Scene,
) -> None:
    """While one is in flight, there is no other of the same object."""
    scene.driver.otherwise = terminal()
    scene.api.otherwise = SILENCE
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(400)
    scene.api.otherwise = None
    scene.api.release()
    await scene.clock.advance(1)
    assert [is_stalled(each) for each in scene.written()] == [False, True]
    assert not scene.api.violations


async def test_what_is_wrong_with_the_declaration_is_stalled_at_once(scene: Scene) -> None:
    await scene.show(a_broker(), a_connection(virtualHost="x" * 256))
    await scene.clock.advance(1)
    [status] = scene.written()
    assert condition(status, "Stalled")["reason"] == Reason.INVALID_SPEC


async def test_a_status_that_no_operator_has_written_is_nobodys(scene: Scene) -> None:
    """The API server shows a default of the definitions, and is no other writer for that."""
    await scene.show(
        a_broker(status={"observedGeneration": -1}),
        a_connection(status={"observedGeneration": -1, "state": "Pending"}),
    )
    await scene.clock.advance(700)
    assert [each["state"] for each in scene.written()] == ["Connected"]
    assert len(scene.written(RABBIT_BROKER)) == 1
    assert not scene.notices.overwriters


# --- what outlives a restart


async def test_the_time_of_a_condition_outlives_a_restart(scene: Scene) -> None:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "SomethingOfANewerVersion",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    await scene.show(a_broker(status={"conditions": [ready]}))
    await scene.show(a_connection(status={"conditions": [ready]}))
    await scene.clock.advance(1)
    for identity, reason in ((ORDERS, "Connected"), (RABBIT_BROKER, "Usable")):
        shown = condition(scene.written(identity)[-1], "Ready")
        assert shown["lastTransitionTime"] == "2026-01-01T00:00:00Z"
        assert shown["reason"] == reason
    since = condition(scene.written()[-1], "Connected")["lastTransitionTime"]
    assert since == "2026-11-21T08:00:00Z"


async def test_requests_that_were_handled_stay_in_the_status(scene: Scene) -> None:
    handled = {each.field: f"2026-11-21T07:5{number}:00Z" for number, each in enumerate(Request)}
    annotations = {each.annotation: handled[each.field] for each in Request}
    await scene.show(
        a_broker(), a_connection(annotations=annotations, status={"lastHandled": handled})
    )
    await scene.clock.advance(1)
    assert scene.written()[-1]["lastHandled"] == handled
    assert len(scene.driver.requests) == 1


async def test_a_request_for_a_fresh_connection_costs_one_write(connected: Scene) -> None:
    await connected.show(a_connection(annotations={Request.RECONNECT.annotation: "now"}))
    await connected.clock.advance(15)
    [status] = connected.written()
    assert status["lastHandled"] == {"reconnectRequestedAt": "now"}
    assert status["state"] == "Connected"


async def test_a_request_for_a_renewal_costs_one_write(connected: Scene) -> None:
    """The credential is verified on a handshake of its own; the time of that is new, too."""
    before = connected.session().view.credential
    await connected.clock.advance(60)
    await connected.show(a_connection(annotations={Request.RENEW.annotation: "now"}))
    await connected.clock.advance(15)
    [status] = connected.written()
    assert status["lastHandled"] == {"renewRequestedAt": "now"}
    assert before is not None
    assert before.verified_at is not None
    assert status["credentials"]["verifiedAt"] > before.verified_at.isoformat()
    assert len(connected.driver.requests) == 2
    assert len(connected.open_connections) == 1


# --- brokers


async def test_a_broker_counts_the_connections_that_there_are(connected: Scene) -> None:
    await connected.show(a_connection("billing", uid="connection-2"))
    await connected.clock.advance(1)
    assert counts(connected) == {"declared": 2, "ready": 2, "blocked": 0}
    await connected.vanish(ORDERS, uid="connection-1")
    await connected.clock.advance(1)
    assert counts(connected) == {"declared": 1, "ready": 1, "blocked": 0}


async def test_a_connection_that_moves_is_counted_where_it_went(connected: Scene) -> None:
    await connected.show(a_broker(OTHER_BROKER, uid="broker-2"))
    await connected.show(a_connection(broker=OTHER_BROKER, generation=2))
    await connected.clock.advance(1)
    assert counts(connected) == {"declared": 0, "ready": 0, "blocked": 0}
    assert counts(connected, OTHER_BROKER) == {"declared": 1, "ready": 1, "blocked": 0}


async def test_a_connection_that_was_created_anew_elsewhere_is_counted_there(
    connected: Scene,
) -> None:
    """The new object may be shown without a word of the old one's end."""
    await connected.show(a_broker(OTHER_BROKER, uid="broker-2"))
    await connected.show(a_connection(uid="connection-2", broker=OTHER_BROKER))
    await connected.clock.advance(1)
    assert counts(connected) == {"declared": 0, "ready": 0, "blocked": 0}
    assert counts(connected, OTHER_BROKER) == {"declared": 1, "ready": 1, "blocked": 0}


async def test_a_broker_that_became_unusable_keeps_its_sessions_and_says_so(
    connected: Scene,
) -> None:
    await connected.show(a_broker(generation=2, endpoints=[]))
    await connected.clock.advance(10)
    [status] = connected.written(RABBIT_BROKER)
    ready = condition(status, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.INVALID_SPEC)
    assert "endpoints" in ready["message"]
    assert (status["observedGeneration"], ready["observedGeneration"]) == (2, 2)
    assert status["connections"] == {"declared": 1, "ready": 1, "blocked": 0}
    assert not connected.written()
    await connected.show(a_broker(generation=3))
    await connected.clock.advance(10)
    assert condition(connected.written(RABBIT_BROKER)[-1], "Ready")["status"] == "True"


async def test_a_broker_of_the_whole_cluster_has_a_path_without_a_namespace(scene: Scene) -> None:
    broker = a_broker(CLUSTER_RABBIT, allowedNamespaces={"from": "All"})
    await scene.show(broker, a_connection(broker=CLUSTER_RABBIT))
    await scene.clock.advance(1)
    write = next(each for each in scene.api.writes if "clusterbrokers" in each.path)
    assert write.path == "/apis/springline.dev/v1alpha1/clusterbrokers/rabbit/status"
    assert write.document["metadata"]["name"] == "rabbit"
    assert "namespace" not in write.document["metadata"]
    assert counts(scene, CLUSTER_RABBIT) == {"declared": 1, "ready": 1, "blocked": 0}


# --- an API server that does not answer


async def test_in_an_outage_one_write_is_tried_at_a_time_and_then_all_follow(
    scene: Scene,
) -> None:
    scene.api.otherwise = AWAY
    names = [f"c{number}" for number in range(30)]
    await scene.show(a_broker())
    await scene.show(*(a_connection(name, uid=f"uid-{name}") for name in names))
    await scene.clock.advance(0.2)
    in_flight_at_once = len(scene.api.writes)
    assert in_flight_at_once <= 16
    assert scene.is_behind()
    await scene.clock.advance(28.8)
    tries = scene.api.writes[in_flight_at_once:]
    at = [write.at for write in tries]
    assert len(at) == len(set(at)) == 8
    assert all(later - sooner >= 1 for sooner, later in pairwise(at))
    scene.api.otherwise = None
    scene.api.writes.clear()
    await scene.clock.advance(5.2)
    assert {write.path.split("/")[-2] for write in scene.api.writes} == {"rabbit", *names}
    assert len(scene.api.writes) == 31
    assert not scene.is_behind()
    assert scene.statuses.waiting == 0


async def test_an_outage_is_logged_once_and_its_end_too(
    connected: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=module.__name__)
    connected.api.otherwise = AWAY
    connected.lose()
    await connected.clock.advance(60)
    connected.api.otherwise = None
    await connected.clock.advance(10)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert connected.counted.count("failed") > 5


async def test_the_age_of_what_waits_counts_from_the_first_change(connected: Scene) -> None:
    """However often it is tried meanwhile, and also while a write hangs."""
    assert connected.statuses.oldest_seconds == 0.0
    connected.api.otherwise = AWAY
    connected.lose()
    await connected.clock.advance(40)
    assert connected.counted.count("failed") > 5
    assert connected.statuses.waiting == 2  # the connection, and the broker that counts it
    assert connected.statuses.oldest_seconds == 40.0
    connected.api.otherwise = SILENCE
    await connected.clock.advance(20)
    assert connected.api.in_flight
    assert connected.statuses.waiting == 2
    assert connected.statuses.oldest_seconds == 60.0
    connected.api.otherwise = None
    connected.api.release()
    await connected.clock.advance(5)
    assert connected.statuses.waiting == 0
    assert connected.statuses.oldest_seconds == 0.0


async def test_a_change_during_a_write_is_as_old_as_itself(connected: Scene) -> None:
    connected.api.otherwise = SILENCE
    connected.lose()
    await connected.clock.advance(1)
    connected.statuses.handled(ORDERS, Request.RECONNECT, "now")
    await connected.clock.advance(2)
    connected.api.otherwise = SILENCE
    connected.api.release()
    await connected.clock.settle()
    assert connected.statuses.oldest_seconds == 2.0
    connected.api.otherwise = None
    connected.api.release()
    await connected.clock.advance(5)
    assert connected.statuses.waiting == 0


async def test_what_is_gone_does_not_wait(connected: Scene) -> None:
    connected.api.otherwise = AWAY
    connected.lose()
    await connected.clock.advance(20)
    await connected.vanish(ORDERS, uid="connection-1")
    await connected.vanish(RABBIT_BROKER, uid="broker-1")
    await connected.clock.advance(10)
    assert connected.statuses.waiting == 0
    assert connected.statuses.oldest_seconds == 0.0


async def test_nobody_starves_while_the_writes_of_one_object_time_out(scene: Scene) -> None:
    scene.api.at = {
        f"/apis/springline.dev/v1alpha1/namespaces/apps/brokerconnections/{name}/status": AWAY
        for name in ("c0", "c1")
    }
    names = [f"c{number}" for number in range(20)]
    await scene.show(*(a_connection(name, uid=f"uid-{name}") for name in names))
    await scene.clock.advance(60)
    assert all(scene.written(ORDERS._replace(name=name)) for name in names)
    assert scene.statuses.waiting == 2


async def test_too_many_requests_hold_everything_back_as_long_as_asked(connected: Scene) -> None:
    connected.api.then(refused(429, retry_after=7))
    connected.lose()
    await connected.clock.advance(6.9)
    assert len(connected.api.writes) == 1
    await connected.clock.advance(1)
    assert connected.statuses.waiting == 0
    assert len(connected.written()) == 2


async def test_the_api_server_cannot_hold_writes_back_for_hours(connected: Scene) -> None:
    connected.api.then(refused(503, retry_after=86_400))
    connected.lose()
    await connected.clock.advance(130)
    assert connected.statuses.waiting == 0


async def test_an_outage_is_over_when_nothing_is_left_to_write(connected: Scene) -> None:
    connected.api.otherwise = AWAY
    connected.lose()
    await connected.clock.advance(20)
    assert connected.is_behind()
    await connected.vanish(ORDERS, uid="connection-1")
    await connected.vanish(RABBIT_BROKER, uid="broker-1")
    assert not connected.is_behind()


async def test_any_answer_about_one_object_ends_an_outage(scene: Scene) -> None:
    scene.api.then(*[AWAY] * 16)
    scene.api.otherwise = refused(404)
    await scene.show(*(a_connection(f"c{number}", uid=f"uid-{number}") for number in range(30)))
    await scene.clock.advance(2)
    assert not scene.is_behind()
    assert scene.counted.count("gone") == 30


# --- an API server that says no


async def test_a_refused_write_is_tried_again_ever_more_slowly(connected: Scene) -> None:
    """Even if it changes all the time."""
    connected.api.otherwise = refused(422)
    connected.driver.otherwise = unreachable()
    connected.lose()
    await connected.clock.advance(160)
    times = connected.times()
    assert [later - sooner for sooner, later in pairwise(times)] == [1, 5, 20, 60, 60]


@pytest.mark.parametrize("code", [403, 409, 422, 500])
async def test_one_refused_object_does_not_hold_others_up(connected: Scene, code: int) -> None:
    connected.api.at = {
        "/apis/springline.dev/v1alpha1/namespaces/apps/brokers/rabbit/status": refused(code)
    }
    await connected.show(a_connection("billing", uid="connection-2"))
    await connected.clock.advance(1)
    assert connected.written(OTHER)
    assert not connected.is_behind()
    connected.api.at.clear()
    await connected.clock.advance(60)
    assert connected.statuses.waiting == 0
    assert counts(connected)["declared"] == 2


async def test_a_field_of_a_newer_schema_is_the_objects_own_trouble(connected: Scene) -> None:
    """The API server answers 500 to a field that its schema does not have."""
    connected.api.at = {
        "/apis/springline.dev/v1alpha1/namespaces/apps/brokers/rabbit/status": refused(500)
    }
    await connected.show(a_connection("billing", uid="connection-2"))
    await connected.clock.advance(3600)
    assert not connected.is_behind()
    assert len(connected.written(RABBIT_BROKER)) < 70


TOO_LARGE = RefusedError(500, "", "etcdserver: request is too large")


async def test_an_object_with_no_room_for_its_status_gets_the_least_of_it(
    connected: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Never nothing; and its owner is told."""
    caplog.set_level(logging.WARNING, logger=module.__name__)
    connected.api.then(TOO_LARGE)
    connected.driver.otherwise = unreachable("x" * 1000)
    connected.lose()
    await connected.clock.advance(1)
    whole, small = connected.written()
    assert whole["credentials"]
    assert small.keys() <= {"observedGeneration", "state", "conditions", "attempts", "holder"}
    assert [each["type"] for each in small["conditions"]] == [
        each["type"] for each in whole["conditions"]
    ]
    assert all(len(each["message"].encode()) <= 64 for each in small["conditions"])
    assert connected.notices.large == {ORDERS}
    [record] = caplog.records
    assert "no room for its status" in record.message


async def test_the_whole_status_is_tried_again_with_another_declaration(connected: Scene) -> None:
    connected.api.then(TOO_LARGE)
    connected.lose()
    await connected.clock.advance(60)
    assert "credentials" not in connected.written()[-1]
    await connected.show(a_connection(generation=2))
    await connected.clock.advance(60)
    assert "credentials" in connected.written()[-1]


async def test_the_whole_status_is_tried_again_after_a_while(connected: Scene) -> None:
    connected.api.then(TOO_LARGE)
    connected.lose()
    await connected.clock.advance(60)
    connected.lose()
    await connected.clock.advance(60)
    assert "credentials" not in connected.written()[-1]
    await connected.clock.advance(600)
    connected.lose()
    await connected.clock.advance(60)
    assert "credentials" in connected.written()[-1]


@pytest.mark.parametrize("error", [TOO_LARGE, RefusedError(413, "RequestEntityTooLarge", "x")])
async def test_objects_that_are_too_large_hold_nobody_up(
    connected: Scene, error: RefusedError
) -> None:
    """However many there are: it is no trouble of the API server's."""
    large = [ORDERS._replace(name=f"c{number}") for number in range(20)]
    connected.api.at = {paths.status_of(each): error for each in large}
    await connected.show(*(a_connection(each.name, uid=f"uid-{each.name}") for each in large))
    await connected.show(a_connection("billing", uid="connection-2"))
    await connected.clock.advance(1)
    assert connected.written(OTHER)
    assert not connected.is_behind()
    assert connected.notices.large == set(large)
    before = len(connected.api.writes)
    await connected.clock.advance(600)
    assert len(connected.api.writes) - before < 20 * 14
    assert not connected.is_behind()


async def test_500_for_several_is_an_outage(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """As when the API server has lost its etcd."""
    caplog.set_level(logging.INFO, logger=module.__name__)
    scene.api.otherwise = refused(500)
    await scene.show(*(a_connection(f"c{number}", uid=f"uid-{number}") for number in range(30)))
    await scene.clock.advance(1)
    assert scene.is_behind()
    assert len(scene.api.writes) < 20
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) <= 2
    scene.api.otherwise = None
    await scene.clock.advance(10)
    assert scene.statuses.waiting == 0
    assert not scene.is_behind()


async def test_what_is_refused_for_all_is_logged_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=module.__name__)
    scene.api.otherwise = refused(403)
    await scene.show(*(a_connection(f"c{number}", uid=f"uid-{number}") for number in range(30)))
    await scene.clock.advance(120)
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "bind a role" in record.message
    scene.api.otherwise = None
    await scene.clock.advance(60)
    assert scene.statuses.waiting == 0


async def test_what_is_not_found_is_hardly_tried_again(connected: Scene) -> None:
    """Its deletion is on the way, or the next comparison finds out."""
    connected.api.otherwise = refused(404)
    connected.driver.otherwise = unreachable()
    connected.lose()
    await connected.clock.advance(600)
    assert len(connected.written()) <= 10


async def test_what_is_there_after_all_is_written(connected: Scene) -> None:
    """A 404 may be that of definitions that are just being replaced."""
    connected.api.then(refused(404))
    connected.lose()
    await connected.clock.advance(120)
    assert connected.statuses.waiting == 0
    assert len(connected.written()) == 2


async def test_a_404_that_names_no_object_is_an_outage(connected: Scene) -> None:
    """It is that of something in front of the API server."""
    connected.api.then(RefusedError(404, "", "no such host"))
    connected.lose()
    await connected.clock.advance(3)
    assert len(connected.written()) == 2
    assert connected.statuses.waiting == 0


async def test_after_a_conflict_it_is_written_again(connected: Scene) -> None:
    connected.api.then(refused(409))
    connected.lose()
    await connected.clock.advance(3)
    first, second = connected.written()
    assert first == second
    assert connected.statuses.waiting == 0


async def test_a_failed_write_may_have_been_done_and_is_repeated(connected: Scene) -> None:
    """Even if the status is again what it was before."""
    connected.api.then(SILENCE)
    connected.manager.put_unusable(next(iter(connected.manager.sessions())).key, "no", generation=2)
    await connected.clock.advance(0.2)
    assert len(connected.written()) == 1
    connected.api.release(AWAY)
    await connected.clock.advance(10)
    assert len(connected.written()) == 2


# --- objects that go and come


async def test_nothing_is_written_to_what_is_gone(connected: Scene) -> None:
    connected.lose()
    await connected.vanish(ORDERS, uid="connection-1")
    await connected.clock.advance(600)
    assert not connected.written()
    assert not connected.statuses._entries.keys() - {RABBIT_BROKER}
    assert len(connected.statuses._queue._turns) == 0


async def test_a_write_that_fails_after_the_deletion_is_not_repeated(connected: Scene) -> None:
    connected.api.then(SILENCE)
    connected.lose()
    await connected.clock.advance(0.1)
    await connected.vanish(ORDERS, uid="connection-1")
    connected.api.release(AWAY)
    await connected.clock.advance(600)
    assert len(connected.written()) == 1
    assert connected.statuses.waiting == 0
    assert not connected.is_behind()


async def test_what_landed_on_a_successor_is_written_over(connected: Scene) -> None:
    connected.api.then(SILENCE)
    connected.lose()
    await connected.clock.advance(0.1)
    assert len(connected.written()) == 1
    await connected.vanish(ORDERS, uid="connection-1")
    await connected.show(a_connection(uid="connection-2", generation=7))
    await connected.clock.advance(10)
    assert len(connected.written()) == 1, "only one write of that name at a time"
    connected.api.release()
    await connected.clock.advance(10)
    first, second = connected.written()
    assert (first["observedGeneration"], second["observedGeneration"]) == (1, 7)


async def test_what_may_have_landed_on_a_successor_is_written_over(connected: Scene) -> None:
    """The successor has in the end what it was last found to have, but nobody knows."""
    connected.api.then(SILENCE)
    connected.lose()
    await connected.clock.advance(0.1)
    await connected.vanish(ORDERS, uid="connection-1")
    connected.driver.otherwise = SILENCE
    await connected.show(a_connection(uid="connection-2"))
    connected.driver.release()
    await connected.clock.settle()
    connected.api.release(AWAY)
    await connected.clock.advance(10)
    assert len(connected.written()) == 2
    assert connected.statuses.waiting == 0


async def test_an_answer_without_a_uid_does_no_harm(connected: Scene) -> None:
    connected.api.answer = {}
    connected.lose()
    await connected.clock.advance(60)
    assert connected.statuses.waiting == 0


# --- defects of ours


async def test_a_defect_in_one_write_does_not_end_the_others(
    connected: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    connected.api.then(ZeroDivisionError("a defect"))
    connected.lose()
    await connected.clock.advance(61)
    assert connected.statuses.waiting == 0
    assert condition(connected.written()[-1], "Ready")["status"] == "True"
    assert "ZeroDivisionError" in caplog.text


async def test_a_defect_in_one_projection_does_not_end_the_others(
    connected: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("springline.core.status.broker_status", broken)
    connected.lose()
    await connected.clock.advance(10)
    assert connected.written()
    assert connected.statuses.waiting == 0
    assert "ZeroDivisionError" in caplog.text


# --- the last status


async def test_flushing_writes_what_has_changed_without_waiting(connected: Scene) -> None:
    connected.driver.otherwise = SILENCE
    connected.lose()
    await connected.show(a_connection("billing", uid="connection-2"))
    await connected.clock.result(connected.statuses.flush(), within=0.1)
    assert connected.written()
    assert connected.written(OTHER)
    assert counts(connected) == {"declared": 2, "ready": 0, "blocked": 0}
    assert connected.statuses.waiting == 0


async def test_flushing_says_that_the_sessions_are_closed(connected: Scene) -> None:
    connected.manager.stop()
    await connected.clock.settle()
    await connected.clock.result(connected.statuses.flush(), within=0.1)
    assert connected.written()[-1]["state"] == "Closed"


async def test_flushing_waits_for_writes_that_are_in_flight(connected: Scene) -> None:
    connected.api.then(SILENCE, SILENCE)
    connected.lose()
    await connected.clock.advance(1)
    connected.statuses.session_changed(connected.session())
    with pytest.raises(AssertionError, match="still waiting"):
        await connected.clock.result(connected.statuses.flush(), within=5)
    connected.api.release()
    await connected.clock.result(connected.statuses.flush(), within=0.2)
    assert connected.statuses.waiting == 0


async def test_flushing_writes_counts_too(scene: Scene) -> None:
    scene.driver.otherwise = unreachable()
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(100)
    [status] = scene.written()
    assert status["attempts"] == 1
    await scene.clock.result(scene.statuses.flush(), within=0.1)
    assert scene.written()[-1]["attempts"] > 1


async def test_flushing_does_not_wait_for_what_is_refused(connected: Scene) -> None:
    connected.api.otherwise = refused(422)
    connected.lose()
    await connected.clock.advance(10)
    connected.api.writes.clear()
    await connected.clock.result(connected.statuses.flush(), within=0.2)
    assert len(connected.written()) == 1
    assert connected.statuses.waiting == 0


async def test_flushing_goes_on_when_the_api_server_is_back(connected: Scene) -> None:
    connected.api.otherwise = AWAY
    connected.lose()
    await connected.clock.advance(10)
    connected.api.otherwise = None
    await connected.clock.result(connected.statuses.flush(), within=5.2)
    assert connected.statuses.waiting == 0


async def test_flushing_ends_at_once_where_nobody_knows_us_any_more(
    connected: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """So it is when Springline is uninstalled: its ServiceAccount is gone before its pod."""
    await connected.show(*(a_connection(f"c{each}", uid=f"uid-{each}") for each in range(100)))
    await connected.clock.advance(5)
    connected.api.writes.clear()
    connected.api.otherwise = refused(401)
    connected.manager.stop()
    await connected.clock.settle()
    assert not await connected.clock.result(connected.statuses.flush(), within=0.2)
    assert connected.statuses.waiting == 0
    assert len(connected.api.writes) <= 16, "no more than are in flight together"
    [record] = [each for each in caplog.records if each.name == module.logger.name]
    assert record.levelno == logging.WARNING
    assert record.message.startswith("last status not written: the API server does not let")


@pytest.mark.parametrize(
    "denial",
    [
        pytest.param(refused(403), id="it is forbidden"),
        pytest.param(
            UnreachableError("it has just been away", refusal=refused(403)),
            id="after what may have been an outage",
        ),
    ],
)
async def test_flushing_leaves_out_what_may_not_be_written(
    connected: Scene, denial: Exception
) -> None:
    """Rights may be those of some namespaces only. There is no time to wait for them."""
    await connected.show(a_connection("billing", uid="connection-2"))
    await connected.clock.advance(5)
    connected.api.writes.clear()
    for name in ("orders", "billing"):
        connected.api.at[paths.status_of(ORDERS._replace(name=name))] = denial
    connected.manager.stop()
    await connected.clock.settle()
    assert await connected.clock.result(connected.statuses.flush(), within=0.2)
    assert connected.statuses.waiting == 0
    assert counts(connected)["ready"] == 0
    connected.api.otherwise = denial
    connected.statuses.session_changed(connected.session())
    assert not await connected.clock.result(connected.statuses.flush(), within=0.2)


# --- the Secret for applications


async def test_a_binding_is_shown_as_its_writer_knows_it(scene: Scene) -> None:
    """Until the writer has looked, what an earlier process has shown stays."""
    shown = {
        "type": "BindingPublished",
        "status": "True",
        "reason": "Published",
        "message": "as before",
        "lastTransitionTime": "2026-11-21T07:00:00Z",
        "observedGeneration": 1,
    }
    stored = {"conditions": [shown], "binding": {"name": "orders-binding"}}
    declared = {"secretName": "orders-binding"}
    await scene.show(a_broker(), a_connection(status=stored, binding=declared))
    await scene.clock.advance(1)
    assert condition(scene.written()[-1], "BindingPublished") == shown
    assert scene.written()[-1]["binding"] == {"name": "orders-binding"}
    session = scene.session()
    scene.publications.known[session.key] = binding.not_ours("somebody else's")
    scene.statuses.session_changed(session)
    await scene.clock.advance(1)
    status = scene.written()[-1]
    assert condition(status, "BindingPublished")["reason"] == Reason.SECRET_NOT_OURS
    assert condition(status, "Ready")["status"] == "True"
    assert "binding" not in status
    await scene.show(a_connection(generation=2))
    await scene.clock.advance(1)
    assert "BindingPublished" not in str(scene.written()[-1]["conditions"])


# --- what it knows of its own writes


async def test_every_version_that_a_write_has_made_is_known_as_our_own(connected: Scene) -> None:
    """So that the watch, which shows it, need not look at it."""
    connected.own_writes.clear()
    connected.lose()
    await connected.clock.advance(1)
    version = str(connected.api.versions[paths.status_of(ORDERS)])
    assert connected.own_writes.take(connected.line()) == version


async def test_what_is_gone_is_no_longer_known_as_our_own(connected: Scene) -> None:
    connected.lose()
    await connected.clock.advance(1)
    line = connected.line()
    connected.statuses.gone(ORDERS)
    assert connected.own_writes.take(line) is None


async def test_what_a_watch_has_shown_before_the_answer_came_is_not_waited_for(
    connected: Scene,
) -> None:
    connected.api.before_answer = connected.show_status
    connected.own_writes.clear()
    connected.lose()
    await connected.clock.advance(1)
    assert len(connected.written()) == 1
    assert connected.own_writes.take(connected.line()) is None


async def test_what_another_writer_has_made_is_not_taken_for_our_own(connected: Scene) -> None:
    connected.lose()
    await connected.clock.advance(1)
    connected.write_over(is_missed=True, state="Fine")
    assert connected.own_writes.take(connected.line()) is None


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["as ever", "with spaces"])
async def test_an_answer_may_be_written_in_any_way(
    connected: Scene, separators: tuple[str, str]
) -> None:
    """What does not end with the text that was sent, is parsed."""
    connected.api.encode = json.JSONEncoder(separators=separators).encode
    connected.lose()
    await connected.clock.advance(100)
    assert [status["state"] for status in connected.written()] == ["Waiting", "Connected"]
    connected.show_status(ORDERS)
    await connected.clock.advance(1000)
    assert len(connected.written()) == 2
    assert connected.notices.overwriters == []
