"""What is written where the API server's definitions are not those of this version."""

import logging
from collections.abc import AsyncIterator, Mapping
from itertools import pairwise
from typing import Any

import pytest

from springline.kube import status as module
from springline.kube.schemas import Schema
from springline.kube.stored import StoredStatus
from support.fake_clock import FakeClock
from support.statuses import (
    ORDERS,
    RABBIT_BROKER,
    Scene,
    a_broker,
    a_connection,
    lacking,
    playing,
    refused,
)

KIND = "BrokerConnection"
NAMES = [f"c{number}" for number in range(30)]


OLDER = lacking(KIND, "holder", "server")


@pytest.fixture
async def scene(clock: FakeClock) -> AsyncIterator[Scene]:
    """A running manager and a running writer, with nothing declared."""
    async with playing(clock) as scene:
        yield scene


@pytest.fixture
async def connected(scene: Scene) -> Scene:
    """Connections that are open, and everything about them written."""
    await scene.show(a_broker())
    await scene.show(*(a_connection(name, uid=f"uid-{name}") for name in ("orders", *NAMES)))
    await scene.clock.advance(5)
    assert scene.statuses.waiting == 0
    scene.api.writes.clear()
    scene.counted.clear()
    return scene


def is_cut(status: Mapping[str, Any]) -> bool:
    return "holder" not in status and "server" not in status


async def install(scene: Scene, schema: Schema | None, *, known: bool = True) -> None:
    """Give the API server another definition, or that of this version."""
    scene.api.schemas = {} if schema is None else {KIND: schema}
    if known:
        await scene.definitions.look()


async def test_what_older_definitions_lack_is_never_sent(scene: Scene) -> None:
    """So nothing is refused: a write costs what it costs otherwise."""
    await install(scene, OLDER)
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(10)
    [status] = scene.written()
    assert is_cut(status)
    assert status["state"] == "Connected"
    assert scene.written(RABBIT_BROKER)[-1]["server"]
    assert set(scene.counted) == {"written"}
    assert scene.definitions.looks == 1


async def test_what_was_left_out_is_written_once_they_have_it(scene: Scene) -> None:
    """Nothing else is: the broker's status was whole."""
    await install(scene, OLDER)
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(10)
    scene.api.writes.clear()
    await install(scene, None)
    await scene.clock.advance(3600)
    [status] = scene.written()
    assert not is_cut(status)
    assert not scene.written(RABBIT_BROKER)


async def test_an_operator_that_starts_again_writes_nothing_before_it_can_say_more(
    scene: Scene,
) -> None:
    """What it would leave out is not there; once it may be, it is written."""
    await install(scene, OLDER)
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(10)
    [before] = scene.written()
    scene.statuses.gone(ORDERS)
    scene.statuses.declared(
        ORDERS, generation=1, stored=StoredStatus(uid="connection-1", status=before)
    )
    await scene.clock.advance(10)
    assert len(scene.written()) == 1
    await install(scene, None)
    await scene.clock.advance(10)
    assert not is_cut(scene.written()[-1])


async def test_definitions_that_are_rolled_back_are_no_reason_to_write(connected: Scene) -> None:
    """The API server shows the rest of what it has. A write would only end what is hidden now."""
    await install(connected, OLDER)
    await connected.clock.advance(3600)
    assert not connected.api.writes


async def test_a_refused_write_is_made_again_at_once_with_what_they_take(
    connected: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """The API server answers 500 to a field that it does not know, and is well."""
    caplog.set_level(logging.INFO, logger=module.__name__)
    await install(connected, OLDER, known=False)
    connected.lose()
    await connected.clock.advance(0.2)
    first, second = connected.written()
    assert not is_cut(first)
    assert is_cut(second)
    assert not connected.is_behind()
    assert connected.definitions.looks == 1
    assert not caplog.records
    await connected.clock.advance(10)
    assert len({str(each) for each in connected.written()[1:]}) == len(connected.written()) - 1


async def test_of_many_writes_only_those_in_flight_are_refused(connected: Scene) -> None:
    """And none of them waits for the others, as it would in an outage."""
    await install(connected, OLDER, known=False)
    for name in NAMES:
        connected.lose(name)
    await connected.clock.advance(0.5)
    assert not connected.is_behind()
    assert connected.statuses.waiting == 0
    for name in NAMES:
        assert is_cut(connected.written(ORDERS._replace(name=name))[-1])
    writes = [write for write in connected.api.writes if "connections/" in write.path]
    refusals = [write for write in writes if not is_cut(write.status)]
    assert len(refusals) <= 16  # as many as are in flight together


async def test_the_last_status_is_written_whatever_they_have_become(connected: Scene) -> None:
    """As when a release is rolled back: definitions change before the operator is stopped."""
    await install(connected, OLDER, known=False)
    connected.manager.stop()
    await connected.clock.settle()
    await connected.clock.result(connected.statuses.flush(), within=1)
    assert connected.written()[-1]["state"] == "Closed"
    assert is_cut(connected.written()[-1])


async def test_definitions_that_change_their_mind_are_no_load(connected: Scene) -> None:
    """As seen through several API servers of which one has not heard of the change."""

    async def another() -> None:
        connected.definitions.edition += 1

    connected.definitions.look = another  # type: ignore[method-assign]
    connected.api.at = {
        "/apis/springline.dev/v1alpha1/namespaces/apps/brokerconnections/orders/status": refused(
            500
        )
    }
    connected.lose()
    await connected.clock.advance(10)
    times = connected.times()
    assert times[0] == times[1]
    assert all(later - sooner >= 1 for sooner, later in pairwise(times[1:]))


async def test_what_cannot_be_left_out_is_tried_again_when_they_have_changed(
    connected: Scene,
) -> None:
    """However long it has been refused."""
    path = "/apis/springline.dev/v1alpha1/namespaces/apps/brokerconnections/orders/status"
    connected.api.at = {path: refused(422)}
    connected.lose()
    await connected.clock.advance(1000)
    connected.api.at.clear()
    before = len(connected.written())
    await install(connected, OLDER)
    await connected.clock.advance(0.1)
    assert len(connected.written()) == before + 1
    assert connected.statuses.behind_since is None


async def test_definitions_without_a_status_get_none(scene: Scene) -> None:
    """Until they have one."""
    await install(scene, {"type": "object"})
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(600)
    assert not scene.written()
    assert scene.written(RABBIT_BROKER)
    assert scene.statuses.waiting == 0
    await install(scene, None)
    await scene.clock.advance(1)
    [status] = scene.written()
    assert not is_cut(status)


@pytest.mark.parametrize("code", [403, 404, 409, 429, 503])
async def test_other_refusals_are_no_reason_to_look(connected: Scene, code: int) -> None:
    connected.api.then(refused(code))
    connected.lose()
    await connected.clock.advance(5)
    assert connected.definitions.looks == 0
