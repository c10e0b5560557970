"""How a replica keeps its Lease, gives it back, and cleans up behind others."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from springline.kube.client import UnreachableError
from springline.kube.lease import LeaseKeeper
from springline.kube.replicas import Replica
from support.fake_clock import FakeClock
from support.fakes import SILENCE
from support.leases import FakeLeaseAPI, refusal

ME = Replica("system", "pod-1")
OTHER = Replica("system", "pod-2")
AWAY = UnreachableError("no answer")


@pytest.fixture
def api(clock: FakeClock) -> FakeLeaseAPI:
    return FakeLeaseAPI(clock)


@pytest.fixture
async def keeper(api: FakeLeaseAPI, clock: FakeClock) -> LeaseKeeper:
    return LeaseKeeper(api, clock, replica=ME, seconds=15)


@contextlib.asynccontextmanager
async def running(keeper: LeaseKeeper) -> AsyncIterator[asyncio.Task[None]]:
    """Run it; afterwards nothing of it is left."""
    task = asyncio.get_running_loop().create_task(keeper.run())
    try:
        yield task
        assert not task.done(), "it ended by itself"
    finally:
        task.cancel()
        await asyncio.wait({task})


def age(api: FakeLeaseAPI, clock: FakeClock, replica: Replica = ME) -> float:
    """Return for how many seconds a Lease has not been renewed."""
    state = api.state(replica)
    assert state is not None
    assert state.renewed_at is not None
    return (clock.now() - state.renewed_at).total_seconds()


async def test_a_replica_has_a_lease_of_its_own(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock
) -> None:
    """It names its holder as status does, and Leases of replicas can be listed by labels."""
    async with running(keeper):
        await clock.settle()
        assert keeper.tried.is_set()
        document = api.leases[ME.lease_path]
    assert document["metadata"]["labels"] == {
        "app.kubernetes.io/name": "springline",
        "app.kubernetes.io/component": "replica",
        "app.kubernetes.io/managed-by": "springline",
    }
    at = "2026-11-21T08:00:00.000000Z"
    assert document["spec"] == {
        "holderIdentity": "system/pod-1",
        "leaseDurationSeconds": 15,
        "acquireTime": at,
        "renewTime": at,
    }


async def test_a_lease_is_renewed_by_one_request_three_times_within_its_duration(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock
) -> None:
    async with running(keeper):
        await clock.settle()
        api.verbs()
        await clock.advance(60)
        assert api.verbs() == ["update"] * 12
        assert age(api, clock) == 0.0


async def test_a_lease_that_goes_is_created_again(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock
) -> None:
    async with running(keeper):
        await clock.settle()
        api.remove(ME)
        await clock.advance(6)
        assert api.state(ME) is not None


async def test_a_lease_that_was_edited_is_renewed_all_the_same(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """By a label, say; the renewal carries the version that it was made from."""
    async with running(keeper):
        await clock.settle()
        renewed = api.leases[ME.lease_path]["spec"]["renewTime"]
        await clock.advance(3)
        api.put(ME, annotations={"a": "1"}, spec={"renewTime": renewed})
        await clock.advance(3)
        assert age(api, clock) == 0.0
        assert api.leases[ME.lease_path]["metadata"]["annotations"] == {"a": "1"}
    assert not caplog.records


async def test_the_lease_of_the_process_before_is_taken_over(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A container that is started again has the same name."""
    api.put(ME, seconds=30, spec={"acquireTime": "2026-11-20T00:00:00.000000Z"})
    await clock.advance(60)
    async with running(keeper):
        await clock.settle()
        spec = api.leases[ME.lease_path]["spec"]
    assert spec["acquireTime"] == spec["renewTime"] == "2026-11-21T08:01:00.000000Z"
    assert spec["leaseDurationSeconds"] == 15
    assert not caplog.records


@pytest.mark.parametrize("trouble", [AWAY, refusal(503), SILENCE], ids=["away", "503", "frozen"])
async def test_an_outage_ends_nothing_and_is_told_once(
    api: FakeLeaseAPI,
    keeper: LeaseKeeper,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    trouble: Exception,
) -> None:
    """The Lease is renewed soon after the API server is back."""
    caplog.set_level(logging.INFO)
    async with running(keeper):
        await clock.settle()
        api.otherwise = trouble
        await clock.advance(3600)
        api.otherwise = None
        await clock.advance(5)
        assert age(api, clock) <= 5.0
    assert [record.message for record in caplog.records] == [
        "Lease not renewed; other replicas take this one for gone",
        "Lease renewed again",
    ]


async def test_an_answer_that_got_lost_is_no_other_process(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The renewal may have been done, or not; either is from here."""
    async with running(keeper):
        await clock.settle()
        for api.done_in_spite in (True, False, True):
            api.then(AWAY)
            await clock.advance(10)
        assert age(api, clock) <= 5.0
    assert not [record for record in caplog.records if "another process" in record.message]


async def test_a_twin_is_told_of_once(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Two processes of one name cannot be told apart in a status."""
    async with running(keeper):
        await clock.settle()
        for _ in range(20):
            await clock.advance(3)
            api.put(ME)
    twins = [record.message for record in caplog.records if "another process" in record.message]
    assert twins == [
        "another process renews the Lease of this replica; give each a --holder of its own"
    ]


async def test_without_the_right_it_goes_on_and_says_which(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked for seldom then, and taken when it is there."""
    api.otherwise = refusal(403)
    async with running(keeper):
        await clock.settle()
        assert keeper.tried.is_set()
        await clock.advance(600)
        [record] = caplog.records
        assert "create, get, list, update and delete of leases" in record.__dict__["problem"]
        assert "namespace system" in record.__dict__["problem"]
        assert len(api.verbs()) < 100
        api.otherwise = None
        await clock.advance(15)
        assert api.state(ME) is not None
        await keeper.release()


async def test_the_lease_of_something_else_is_not_touched(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The other program keeps its Lease."""
    api.put(ME, labels={})
    before = api.state(ME)
    async with running(keeper):
        await clock.advance(60)
    await keeper.release()
    assert api.state(ME) == before
    [record] = caplog.records
    assert "give this replica another --holder" in record.__dict__["problem"]


async def test_a_defect_ends_nothing(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    api.then(RuntimeError("a defect"), RuntimeError("a defect"))
    async with running(keeper):
        await clock.advance(10)
        assert api.state(ME) is not None
    assert "a defect" in caplog.text


# --- the end


async def test_an_orderly_stop_gives_the_lease_back(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock
) -> None:
    api.put(OTHER)
    async with running(keeper):
        await clock.settle()
    await keeper.release()
    assert api.state(ME) is None
    assert api.state(OTHER) is not None
    await keeper.release()


async def test_a_renewal_that_was_under_way_does_not_keep_the_lease(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock
) -> None:
    """It was done and its answer got lost, so the version is another one."""
    async with running(keeper):
        await clock.settle()
        api.done_in_spite = True
        api.then(SILENCE)
        await clock.advance(5)
    await keeper.release()
    assert api.state(ME) is None
    async with running(keeper):
        await clock.settle()
        api.put(ME)
    await keeper.release()
    assert api.state(ME) is None


@pytest.mark.parametrize(
    "trouble",
    [AWAY, SILENCE, refusal(403), refusal(409)],
    ids=["away", "frozen", "forbidden", "changed again and again"],
)
async def test_the_end_does_not_wait_for_the_api_server(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock, trouble: Exception
) -> None:
    """The Lease expires then by itself."""
    async with running(keeper):
        await clock.settle()
    api.otherwise = trouble
    await clock.result(keeper.release(), within=2.0)


# --- what dead replicas have left


async def test_what_dead_replicas_have_left_is_deleted(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock
) -> None:
    """After an hour, and never what is renewed, or belongs to something else."""
    alive, elsewhere = Replica("system", "pod-3"), Replica("other", "pod-4")
    leader = Replica("system", "leader")
    api.put(OTHER)
    api.put(elsewhere)
    api.put(leader, labels={"app.kubernetes.io/name": "springline"})
    async with running(keeper):
        for _ in range(11):
            api.put(alive)
            await clock.advance(300)
        assert api.state(OTHER) is not None, "it was renewed an hour ago at most"
        for _ in range(6):
            api.put(alive)
            await clock.advance(300)
    assert api.state(OTHER) is None
    for each in (ME, alive, elsewhere, leader):
        assert api.state(each) is not None


async def test_a_replica_whose_clock_is_behind_is_not_taken_for_dead(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock
) -> None:
    """Its Lease changes, whatever time stands in it."""
    async with running(keeper):
        for _ in range(60):
            api.put(OTHER, spec={"renewTime": "2020-01-01T00:00:00.000000Z"})
            await clock.advance(60)
            assert api.state(OTHER) is not None


async def test_only_some_leases_are_deleted_at_once(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock
) -> None:
    for number in range(50):
        api.put(Replica("system", f"dead-{number}"), spec={"renewTime": None})
    async with running(keeper):
        for expected in (50, 30, 10, 0):
            await clock.settle()
            assert len(api.leases) - 1 == expected
            await clock.advance(600)


async def test_trouble_with_tidying_is_no_trouble_with_the_lease(
    api: FakeLeaseAPI, keeper: LeaseKeeper, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    api.put(OTHER, spec={"renewTime": None})
    async with running(keeper):
        for trouble in (AWAY, refusal(403), refusal(409), None):
            await clock.advance(599)
            api.otherwise = trouble
            await clock.advance(1)
            api.otherwise = None
        await clock.advance(1800)
    assert api.state(OTHER) is None
    assert "Traceback" not in caplog.text
