"""Whether the holders of objects live, by what their Leases show."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from springline.kube.client import UnreachableError
from springline.kube.holders import Holders, Life
from springline.kube.replicas import Replica
from support.fake_clock import FakeClock
from support.fakes import SILENCE
from support.leases import FakeLeaseAPI, refusal

OTHER = Replica("system", "pod-2")
HOLDER = str(OTHER)
AWAY = UnreachableError("no answer")


class Scene:
    """Holders that are followed, and what was told of them."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.api = FakeLeaseAPI(clock)
        self.named: set[str] = set()
        self.told: list[tuple[str, Life | None]] = []
        self.holders = Holders(
            self.api,
            clock,
            namespace="system",
            named=lambda: self.named,
            on_change=lambda holder: self.told.append((holder, self.holders.life(holder))),
        )

    def life(self, holder: str = HOLDER) -> Life | None:
        """Ask for a holder that the status of an object names."""
        self.named.add(holder)
        return self.holders.life(holder)

    async def renewing(self, seconds: float, *, every: float = 5.0) -> None:
        """Let time pass while the other replica renews its Lease."""
        for _ in range(int(seconds / every)):
            self.api.put(OTHER)
            await self.clock.advance(every)


@pytest.fixture
async def scene(clock: FakeClock) -> AsyncIterator[Scene]:
    scene = Scene(clock)
    task = asyncio.get_running_loop().create_task(scene.holders.run())
    yield scene
    assert not task.done(), "it ended by itself"
    task.cancel()
    await asyncio.wait({task})


@pytest.fixture
async def alive(scene: Scene) -> Scene:
    """A holder that renews its Lease."""
    scene.life()
    await scene.renewing(10)
    assert scene.life() is Life.ALIVE
    scene.told.clear()
    return scene


async def test_a_replica_that_is_alone_asks_nothing(scene: Scene) -> None:
    await scene.clock.advance(3600)
    assert scene.api.asked == []


async def test_a_holder_without_a_lease_is_gone_at_once(scene: Scene) -> None:
    """It has given it back, or is of a version that has none."""
    assert scene.life() is None
    await scene.clock.settle()
    assert scene.life() is Life.GONE
    assert scene.told == [(HOLDER, Life.GONE)]
    await scene.clock.advance(29)
    assert scene.api.verbs() == ["get"], "it need not be asked for again and again"


async def test_a_holder_lives_whose_lease_changes(scene: Scene) -> None:
    """That there is a Lease does not say so: a dead replica leaves one for a while."""
    scene.api.put(OTHER)
    scene.life()
    await scene.clock.advance(4)
    assert scene.life() is None
    scene.api.put(OTHER)
    await scene.clock.advance(1)
    assert scene.told == [(HOLDER, Life.ALIVE)]
    await scene.renewing(3600)
    assert scene.told == [(HOLDER, Life.ALIVE)]


async def test_a_holder_is_gone_when_its_lease_has_not_changed_for_its_duration(
    scene: Scene,
) -> None:
    """From when it was first seen so: what time stands in it is another clock's."""
    scene.api.put(OTHER, spec={"renewTime": "2020-01-01T00:00:00.000000Z"})
    scene.life()
    await scene.clock.advance(14)
    assert scene.life() is None
    await scene.clock.advance(1)
    assert scene.life() is Life.GONE


async def test_the_end_of_a_lease_is_noticed_soon(alive: Scene) -> None:
    alive.api.remove(OTHER)
    await alive.clock.advance(1)
    assert alive.told == [(HOLDER, Life.GONE)]


async def test_a_holder_that_stops_renewing_is_gone_after_the_duration(alive: Scene) -> None:
    alive.api.put(OTHER)
    await alive.clock.advance(14)
    assert alive.life() is Life.ALIVE
    await alive.clock.advance(2)
    assert alive.told == [(HOLDER, Life.GONE)]


async def test_a_holder_that_comes_back_lives(alive: Scene) -> None:
    """It was frozen, say, and its Lease is there still."""
    await alive.clock.advance(60)
    await alive.renewing(90)
    assert [life for _, life in alive.told] == [Life.GONE, Life.ALIVE]


@pytest.mark.parametrize(
    "trouble",
    [AWAY, SILENCE, refusal(503), refusal(429)],
    ids=["away", "frozen", "503", "too many"],
)
async def test_an_outage_of_the_api_server_ends_no_holder(alive: Scene, trouble: Exception) -> None:
    """No Lease could be renewed, and none was seen not to be."""
    alive.api.otherwise = trouble
    await alive.clock.advance(3600)
    alive.api.otherwise = None
    await alive.clock.advance(6)
    assert alive.life() is Life.ALIVE
    await alive.renewing(60)
    assert alive.told == []
    await alive.clock.advance(20)
    assert alive.life() is Life.GONE


async def test_a_404_of_a_proxy_ends_no_holder(alive: Scene) -> None:
    error = refusal(404)
    error.reason = "no such page"
    alive.api.otherwise = error
    await alive.clock.advance(60)
    assert alive.life() is Life.ALIVE


async def test_a_lease_that_may_not_be_read_says_nothing(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Which right is missing is told once; when it is there, the Lease counts."""
    scene.api.put(OTHER)
    scene.api.otherwise = refusal(403)
    scene.life()
    await scene.clock.advance(3600)
    assert scene.life() is Life.UNREADABLE
    [record] = caplog.records
    assert "bind a role that allows get of leases" in record.message
    assert record.__dict__["holder"] == HOLDER
    assert len(scene.api.asked) < 200
    scene.api.otherwise = None
    await scene.renewing(60)
    assert scene.life() is Life.ALIVE


@pytest.mark.parametrize(
    "lease",
    [{"spec": {"holderIdentity": "system/pod-3"}}, {"labels": {}}],
    ids=["of another replica", "of something else"],
)
async def test_the_lease_of_another_holder_is_no_sign_of_life(
    scene: Scene, lease: dict[str, Any]
) -> None:
    scene.api.put(OTHER, **lease)
    scene.life()
    await scene.clock.settle()
    assert scene.life() is Life.GONE


async def test_what_no_replica_is_called_is_not_asked_for(scene: Scene) -> None:
    """It may have been written into a status by hand."""
    assert scene.life("../../secrets") is Life.GONE
    await scene.clock.settle()
    assert scene.api.asked == []


async def test_whom_no_status_names_any_more_is_not_followed(alive: Scene) -> None:
    alive.named.clear()
    await alive.clock.advance(2)
    alive.api.asked.clear()
    await alive.clock.advance(3600)
    assert alive.api.asked == []


async def test_one_that_hangs_does_not_keep_the_others_waiting(scene: Scene) -> None:
    scene.api.then(SILENCE)
    scene.life()
    scene.life("system/pod-3")
    await scene.clock.advance(5)
    assert scene.life("system/pod-3") is Life.GONE


async def test_a_living_holder_is_told_of_once_and_its_end_too(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scene.life()
    await scene.renewing(3600)
    scene.api.remove(OTHER)
    await scene.clock.advance(60)
    assert [(record.levelname, record.message.partition(";")[0]) for record in caplog.records] == [
        ("WARNING", "another replica lives and holds objects that this one looks after, too"),
        ("INFO", "the other replica is gone"),
    ]
    assert caplog.records[0].__dict__["holder"] == HOLDER


async def test_a_dead_holder_is_no_warning(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A pod that was killed leaves its Lease, and its successor finds it."""
    caplog.set_level(logging.INFO)
    scene.api.put(OTHER)
    scene.life()
    await scene.clock.advance(60)
    assert scene.life() is Life.GONE
    assert caplog.records == []


async def test_a_defect_ends_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.api.then(RuntimeError("a defect"))
    scene.life()
    await scene.clock.advance(60)
    assert scene.life() is Life.GONE
    assert "a defect" in caplog.text
