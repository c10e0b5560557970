"""Events on their way to the API server: fair turns, short tries, bounded queues."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from springline.api.meta import Identity
from springline.kube import event_posting as module
from springline.kube.client import RefusedError, RequestError, UnreachableError
from springline.kube.event_objects import Content
from springline.kube.event_posting import EventPoster, Outcome
from support.fake_clock import FakeClock, FixedRandom

ENDING = RefusedError(403, "Forbidden", "is being terminated", causes=["NamespaceTerminating"])
FORBIDDEN = RefusedError(403, "Forbidden", "events is forbidden")
UNREACHABLE = UnreachableError("connection refused")

Answer = Callable[[], RequestError | None]


def a_content(
    name: str = "orders", namespace: str = "apps", message: str = "it is open"
) -> Content:
    return Content(
        identity=Identity("BrokerConnection", namespace, name),
        uid=f"uid-of-{namespace}-{name}",
        type="Normal",
        reason="Connected",
        action="Connected",
        message=message,
    )


class API:
    """Takes Events, unless a namespace has another answer or none."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.tried: Counter[str] = Counter()
        """Requests for each namespace."""
        self.changed: list[tuple[str, Mapping[str, Any]]] = []
        self.answers: dict[str, Answer] = {}
        self.hanging: set[str] = set()
        self.in_flight = 0
        self.most_in_flight = 0

    async def create(self, path: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        await self._answer(path)
        assert path == f"/api/v1/namespaces/{document['metadata']['namespace']}/events"
        if document["metadata"]["name"] in self.names:
            raise RefusedError(409, "AlreadyExists", "already exists")
        self.created.append(dict(document))
        return document

    async def merge(
        self, path: str, change: Mapping[str, Any], *, manager: str
    ) -> Mapping[str, Any]:
        assert manager == "springline"
        await self._answer(path)
        if path.rpartition("/")[2] not in self.names:
            raise RefusedError(404, "NotFound", "not found")
        self.changed.append((path.rpartition("/")[2], change))
        return {}

    async def _answer(self, path: str) -> None:
        namespace = path.split("/")[4]
        self.tried[namespace] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if namespace in self.hanging:
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(0)
        finally:
            self.in_flight -= 1
        error = self.answers.get(namespace, lambda: None)()
        if error is not None:
            raise error

    @property
    def names(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.created]

    def of(self, namespace: str) -> list[str]:
        """The messages that a namespace has."""
        return [
            each["message"] for each in self.created if each["metadata"]["namespace"] == namespace
        ]


class Scene:
    """A poster, the API server and a clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.api = API()
        self.ending: set[str] = set()
        self.counted: Counter[Outcome] = Counter()
        self.rng = FixedRandom()
        self.numbers = iter(range(10**9))
        self.rng.getrandbits = lambda _: next(self.numbers)  # type: ignore[method-assign]
        self.poster = EventPoster(
            self.api,
            clock,
            self.rng,
            instance="pod-1",
            is_ending=self.ending.__contains__,
            counted=self._count,
        )

    def _count(self, outcome: Outcome, events: int) -> None:
        self.counted[outcome] += events

    def put(self, content: Content | None = None) -> None:
        self.poster.put(content or a_content(), at=self.clock.now())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.poster.run())
        try:
            await self.clock.settle()
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest.fixture
async def scene(clock: FakeClock) -> Scene:
    return Scene(clock)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno >= logging.WARNING]


async def test_an_event_is_posted(scene: Scene) -> None:
    async with scene.running():
        scene.put()
        await scene.clock.settle()
        [event] = scene.api.created
    assert event["message"] == "it is open"
    assert event["reportingInstance"] == "pod-1"
    assert event["metadata"]["name"] == "springline-0000000000000000"
    assert scene.counted == {Outcome.POSTED: 1}
    assert not scene.poster._namespaces, "of what is done nothing is kept"


async def test_events_of_a_namespace_are_posted_in_their_order(scene: Scene) -> None:
    async with scene.running():
        for number in range(100):
            scene.put(a_content(message=f"{number:03}"))
        await scene.clock.settle()
    messages = scene.api.of("apps")
    assert len(messages) == 100
    # A few may be on their way together.
    assert all(abs(place - int(message)) < 4 for place, message in enumerate(messages))


# --- repetitions


async def test_the_same_again_is_a_higher_count_and_no_other_object(scene: Scene) -> None:
    async with scene.running():
        for _ in range(3):
            scene.put()
            await scene.clock.advance(60)
        scene.put(a_content(message="something else"))
        await scene.clock.settle()
    assert [event["message"] for event in scene.api.created] == ["it is open", "something else"]
    name = scene.api.names[0]
    assert scene.api.changed == [
        (name, {"count": 2, "lastTimestamp": "2026-11-21T08:01:00Z"}),
        (name, {"count": 3, "lastTimestamp": "2026-11-21T08:02:00Z"}),
    ]
    assert scene.counted == {Outcome.POSTED: 2, Outcome.COUNTED: 2}


async def test_what_waits_and_happens_again_is_posted_once(scene: Scene) -> None:
    for _ in range(5):
        scene.put()
        await scene.clock.advance(1)
    async with scene.running():
        await scene.clock.settle()
    [event] = scene.api.created
    assert (event["count"], event["firstTimestamp"], event["lastTimestamp"]) == (
        5,
        "2026-11-21T08:00:00Z",
        "2026-11-21T08:00:04Z",
    )


async def test_an_event_that_the_api_server_has_forgotten_is_posted_anew(scene: Scene) -> None:
    async with scene.running():
        scene.put()
        await scene.clock.settle()
        scene.api.created.clear()
        scene.put()
        await scene.clock.settle()
    [event] = scene.api.created
    assert event["count"] == 1
    assert scene.counted == {Outcome.POSTED: 2}


async def test_without_the_right_to_count_up_each_is_an_event_of_its_own(scene: Scene) -> None:
    """As with a Role of somebody's own that knows nothing of it yet."""

    async def forbidden(*_: object, **_options: object) -> Mapping[str, Any]:
        raise FORBIDDEN

    scene.api.merge = forbidden  # type: ignore[method-assign]
    async with scene.running():
        for _ in range(3):
            scene.put()
            await scene.clock.settle()
    assert [event["count"] for event in scene.api.created] == [1, 1, 1]
    assert scene.counted == {Outcome.POSTED: 3}


async def test_another_object_of_the_same_name_has_events_of_its_own(scene: Scene) -> None:
    async with scene.running():
        scene.put(a_content())
        await scene.clock.settle()
        scene.put(
            Content(
                identity=Identity("BrokerConnection", "apps", "orders"),
                uid="another",
                type="Normal",
                reason="Connected",
                action="Connected",
                message="it is open",
            )
        )
        await scene.clock.settle()
    assert [each["count"] for each in scene.api.created] == [1, 1]


async def test_few_contents_are_remembered(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    async with scene.running():
        for number in range(50):
            scene.put(a_content(message=str(number)))
        await scene.clock.settle()
    assert len(scene.poster._posted) == 10


# --- one namespace and the others


@pytest.mark.parametrize("reason", ["hanging", "unreachable", "ending", "forbidden"])
async def test_a_namespace_in_trouble_delays_no_other(scene: Scene, reason: str) -> None:
    """Sixty sessions in it report all the time; another one's Event is posted at once."""
    if reason == "hanging":
        scene.api.hanging.add("stuck")
    errors = {"unreachable": UNREACHABLE, "ending": ENDING, "forbidden": FORBIDDEN}
    scene.api.answers["stuck"] = lambda: errors.get(reason)
    async with scene.running():
        for minute in range(10):
            for number in range(60):
                scene.put(a_content(f"orders-{number}", "stuck", f"in minute {minute}"))
            scene.put(a_content(message=f"minute {minute}"))
            await scene.clock.settle()
            assert len(scene.api.of("apps")) == minute + 1
            await scene.clock.advance(60)
    assert scene.api.tried["stuck"] <= 100, "nor does it cost the API server much"


async def test_namespaces_take_turns(scene: Scene) -> None:
    """A namespace with a thousand Events does not make the one with a single Event wait."""
    for number in range(1000):
        scene.put(a_content(f"orders-{number}", "busy"))
    scene.put(a_content())
    async with scene.running():
        await scene.clock.settle()
    order = [each["metadata"]["namespace"] for each in scene.api.created]
    assert order.index("apps") < 10


async def test_not_all_are_sent_at_once(scene: Scene) -> None:
    async with scene.running():
        for number in range(500):
            scene.put(a_content(f"orders-{number}", f"apps-{number % 50}"))
        await scene.clock.settle()
        assert len(scene.api.created) == 500
    assert scene.api.most_in_flight <= 16


async def test_many_hanging_namespaces_leave_room_for_others(scene: Scene) -> None:
    async with scene.running():
        for name in [f"stuck-{number}" for number in range(12)]:
            scene.api.hanging.add(name)
            for number in range(10):
                scene.put(a_content(f"orders-{number}", name))
        await scene.clock.settle()
        scene.put()
        await scene.clock.settle()
        assert scene.api.of("apps")


# --- what cannot be posted


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RefusedError(422, "Invalid", "Invalid value"), id="422"),
        pytest.param(RefusedError(409, "Conflict", "somebody else"), id="409"),
        pytest.param(RefusedError(400, "BadRequest", "what is this"), id="400"),
        pytest.param(RefusedError(413, "RequestEntityTooLarge", "too much"), id="413"),
        pytest.param(RefusedError(404, "", "a proxy's page"), id="404"),
    ],
)
async def test_what_is_refused_is_not_tried_again_and_holds_nothing_up(
    scene: Scene, error: RefusedError
) -> None:
    answers = iter([error, None])
    scene.api.answers["apps"] = lambda: next(answers)
    async with scene.running():
        scene.put(a_content(message="bad"))
        scene.put(a_content(message="good"))
        await scene.clock.settle()
    assert scene.api.of("apps") == ["good"]
    assert scene.counted == {Outcome.REFUSED: 1, Outcome.POSTED: 1}


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RefusedError(429, "TooManyRequests", "later", retry_after=7), id="429"),
        pytest.param(RefusedError(500, "InternalError", "a webhook"), id="500"),
        pytest.param(RefusedError(503, "ServiceUnavailable", "not now"), id="503"),
    ],
)
async def test_what_may_pass_is_tried_once_more(scene: Scene, error: RefusedError) -> None:
    scene.api.answers["apps"] = lambda: error
    async with scene.running():
        scene.put()
        await scene.clock.settle()
        await scene.clock.advance(error.retry_after or 1)
        assert scene.api.tried["apps"] == 2
        await scene.clock.advance(3600)
    assert scene.api.tried["apps"] == 2
    assert scene.counted == {Outcome.REFUSED: 1}


async def test_an_outage_of_the_api_server_is_waited_for(scene: Scene) -> None:
    """For as long as an Event is young; they come in order, and with the times that they had."""
    scene.api.answers["apps"] = lambda: UNREACHABLE
    async with scene.running():
        scene.put(a_content(message="first"))
        scene.put(a_content(message="second"))
        await scene.clock.advance(40)
        del scene.api.answers["apps"]
        await scene.clock.advance(11)
    assert scene.api.of("apps") == ["first", "second"]
    assert scene.api.created[0]["lastTimestamp"] == "2026-11-21T08:00:00Z"
    assert scene.counted == {Outcome.POSTED: 2}


async def test_a_long_outage_is_not_waited_for(scene: Scene) -> None:
    scene.api.answers["apps"] = lambda: UNREACHABLE
    async with scene.running():
        scene.put()
        await scene.clock.advance(3600)
    assert scene.counted == {Outcome.UNANSWERED: 1}
    assert scene.poster.waiting == 0


async def test_an_answer_that_was_lost_makes_no_second_event(scene: Scene) -> None:
    """The first try has created it, and nobody knows."""
    create, is_lost = scene.api.create, iter([True, False])

    async def created(path: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = await create(path, document)
        if next(is_lost):
            raise UNREACHABLE
        return answer

    scene.api.create = created  # type: ignore[method-assign]
    async with scene.running():
        scene.put()
        await scene.clock.advance(5)
    assert len(scene.api.created) == 1
    assert scene.counted == {Outcome.POSTED: 1}


async def test_nothing_more_goes_into_a_namespace_that_is_being_deleted(scene: Scene) -> None:
    """One refusal is enough; later it is looked again, for there may be another of that name."""
    scene.api.answers["apps"] = lambda: ENDING
    async with scene.running():
        for number in range(60):
            scene.put(a_content(f"orders-{number}"))
        await scene.clock.settle()
        for number in range(60):
            scene.put(a_content(f"orders-{number}"))
        await scene.clock.advance(50)
        assert scene.api.tried["apps"] == 1
        assert scene.counted == {Outcome.ENDING: 120}
        del scene.api.answers["apps"]
        await scene.clock.advance(20)
        scene.put()
        await scene.clock.settle()
        assert scene.api.of("apps") == ["it is open"]


async def test_what_is_known_to_be_deleted_is_not_tried_at_all(scene: Scene) -> None:
    scene.ending.add("apps")
    async with scene.running():
        scene.put()
        await scene.clock.settle()
    assert not scene.api.tried
    assert scene.counted == {Outcome.ENDING: 1}


async def test_a_namespace_being_deleted_is_told_from_a_start(scene: Scene) -> None:
    """After an outage, "forbidden" counts as none; with this cause it is certain."""
    scene.api.answers["apps"] = lambda: UnreachableError("has just been away", refusal=ENDING)
    async with scene.running():
        scene.put()
        await scene.clock.advance(30)
    assert scene.api.tried["apps"] == 1
    assert scene.counted == {Outcome.ENDING: 1}


async def test_a_namespace_that_is_gone_takes_none(scene: Scene) -> None:
    scene.api.answers["apps"] = lambda: RefusedError(404, "NotFound", 'namespaces "apps" not found')
    async with scene.running():
        scene.put(a_content(message="first"))
        scene.put(a_content(message="second"))
        await scene.clock.advance(30)
    assert scene.api.tried["apps"] == 1
    assert scene.counted == {Outcome.ENDING: 2}


async def test_a_defect_costs_one_event(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([ValueError("a defect"), None])
    scene.api.answers["apps"] = lambda: next(answers)  # type: ignore[assignment, return-value]
    async with scene.running():
        scene.put(a_content(message="bad"))
        scene.put(a_content(message="good"))
        await scene.clock.settle()
    assert scene.api.of("apps") == ["good"]
    assert "event not posted" in caplog.text


# --- bounds


async def test_the_oldest_is_left_out_for_the_newest(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAITING_IN_NAMESPACE", 3)
    for number in range(5):
        scene.put(a_content(message=str(number)))
    assert scene.counted == {Outcome.OVERFLOW: 2}
    async with scene.running():
        await scene.clock.settle()
    assert scene.api.of("apps") == ["2", "3", "4"]


async def test_of_all_that_wait_the_longest_queue_gives_way(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAITING", 6)
    for number in range(5):
        scene.put(a_content(message=str(number), namespace="busy"))
    for number in range(3):
        scene.put(a_content(message=str(number)))
    assert scene.poster.waiting == 6
    async with scene.running():
        await scene.clock.settle()
    assert scene.api.of("apps") == ["0", "1", "2"]
    assert scene.api.of("busy") == ["2", "3", "4"]


async def test_namespaces_that_come_and_go_leave_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIDY", 10)
    monkeypatch.setattr(scene.poster, "_tidy_at", 10)
    async with scene.running():
        for number in range(100):
            name = f"stuck-{number}"
            scene.api.answers[name] = lambda: ENDING
            scene.put(a_content(namespace=name))
            await scene.clock.advance(61)
    assert len(scene.poster._namespaces) <= 11


# --- what the log says


async def test_the_log_has_one_line_for_a_namespace_and_a_cause(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("stuck", "closed"):
        scene.api.answers[name] = lambda: FORBIDDEN
    async with scene.running():
        for _ in range(8):
            for number in range(20):
                scene.put(a_content(f"orders-{number}", "stuck"))
                scene.put(a_content(f"orders-{number}", "closed"))
            await scene.clock.advance(70)
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert sorted(record.__dict__["namespace"] for record in told) == ["closed", "stuck"]
    assert {record.levelname for record in told} == {"WARNING"}
    assert "create and patch of events" in told[0].message


async def test_an_outage_is_one_line_for_all_namespaces(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene.running():
        for number in range(10):
            scene.api.answers[f"apps-{number}"] = lambda: UNREACHABLE
            scene.put(a_content(namespace=f"apps-{number}"))
        await scene.clock.advance(60)
    assert len(warnings(caplog)) == 1


async def test_a_namespace_being_deleted_is_no_warning(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody wants it to be."""
    caplog.set_level(logging.INFO)
    scene.api.answers["apps"] = lambda: ENDING
    async with scene.running():
        for number in range(60):
            scene.put(a_content(f"orders-{number}"))
        await scene.clock.settle()
    [record] = caplog.records
    assert (record.levelname, record.__dict__["namespace"]) == ("INFO", "apps")


# --- the end


async def test_the_last_events_are_posted_at_the_end(scene: Scene) -> None:
    async with scene.running():
        for number in range(50):
            scene.put(a_content(message=str(number)))
        await scene.poster.drain(limit=2)
        assert len(scene.api.created) == 50
        assert scene.clock.elapsed == 0


async def test_the_end_waits_no_longer_than_told(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.api.hanging.add("stuck")
    async with scene.running():
        scene.put(a_content(namespace="stuck"))
        scene.put()
        draining = asyncio.ensure_future(scene.poster.drain(limit=2))
        await scene.clock.advance(2)
        await draining
    assert scene.api.of("apps") == ["it is open"]
    assert warnings(caplog) == ["last events not posted in time"]


async def test_at_the_end_nothing_is_tried_again(scene: Scene) -> None:
    scene.api.answers["apps"] = lambda: UNREACHABLE
    async with scene.running():
        for number in range(10):
            scene.put(a_content(message=str(number)))
        await scene.clock.settle()
        await scene.poster.drain(limit=2)
        assert scene.clock.elapsed == 0
    assert scene.api.tried["apps"] == 2
    assert scene.counted == {Outcome.UNANSWERED: 10}
