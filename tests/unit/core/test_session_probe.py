"""What a session does where its probe is refused, costs a connection, or is all that shows life."""

import pytest

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core.events import EventType
from springline.core.state import Phase
from springline.core.values import ClosedBy
from springline.reasons import Reason
from support.builders import PROBE, a_probe, a_target, server_close
from support.fakes import SILENCE, FakeConnection
from support.stage import Stage

NO_PERMISSION = errors.ProbeRefusedError(errors.ProbeRefusal.NO_PERMISSION, "403 ACCESS_REFUSED")
FIRST_PAUSE = 270.0
"""Five minutes, less what the stage's chance takes away."""
WHY = "the broker ended the connection because of the probe"


async def unprobed(stage: Stage) -> FakeConnection:
    """Return the connection that goes without a probe, because the one before was lost by it."""
    first = await stage.connect(probe=PROBE)
    await stage.clock.advance(60.0)
    first.end(server_close(probe_refused=WHY))
    await stage.clock.settle()
    assert len(stage.driver.connections) == 2
    return stage.driver.connection


# --- refused


async def test_a_refused_probe_goes_on_when_it_is_let(stage: Stage) -> None:
    """Without anybody doing anything here."""
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = NO_PERMISSION
    await stage.clock.advance(15.0)
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED
    connection.probe_answer = 0.5
    await stage.clock.advance(300.0)
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


async def test_a_refusal_that_is_repeated_is_told_once(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = NO_PERMISSION
    await stage.clock.advance(7200.0)
    assert len(connection.probes) > 3
    assert len(stage.events.of(EventType.PROBE_REFUSED)) == 1


async def test_any_change_of_the_declaration_has_a_refused_probe_repeated_at_once(
    stage: Stage,
) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = NO_PERMISSION
    await stage.clock.advance(15.0)
    connection.probe_answer = 0.5
    await stage.declare(probe=PROBE, generation=2, connect_timeout=7.0)
    assert stage.connection() is connection
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


async def test_trouble_of_the_broker_is_shown_and_is_no_refusal(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = errors.ProbeRefusedError(errors.ProbeRefusal.TROUBLE, "404 NOT_FOUND")
    await stage.clock.advance(15.0)
    verdict = stage.state().blocked
    assert (verdict.status, verdict.reason) == (ConditionStatus.UNKNOWN, Reason.NOT_CHECKED)
    assert "404 NOT_FOUND" in verdict.message
    assert not stage.events.of(EventType.PROBE_REFUSED)


async def test_a_renewed_credential_has_a_refused_probe_repeated_at_once(stage: Stage) -> None:
    """It may be allowed what the one before was not."""
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = NO_PERMISSION
    await stage.clock.advance(15.0)
    connection.probe_answer = 0.5
    await stage.change_credential("second")
    assert stage.connection() is connection
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
    assert stage.view.confirm_seconds == 0.5


@pytest.mark.parametrize("how", ["the secret is on its way", "the same secret is verified"])
async def test_a_renewal_under_a_block_has_a_refused_probe_repeated_when_the_block_ends(
    stage: Stage, how: str
) -> None:
    """What is shown is the block; that the probe was refused counts all the same."""
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = NO_PERMISSION
    await stage.clock.advance(15.0)
    if how == "the secret is on its way":
        connection.update_answer = SILENCE
        await stage.change_credential("second")
        connection.block()
        connection.confirm_update()
    else:
        connection.block()
        stage.session.renew()
    await stage.clock.settle()
    assert stage.connection() is connection
    assert stage.state().blocked.reason is Reason.LOW_ON_MEMORY
    connection.probe_answer = 0.5
    connection.unblock()
    await stage.clock.advance(15.0)
    assert stage.view.confirm_seconds == 0.5
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


async def test_an_edit_under_a_block_has_a_refused_probe_repeated_when_the_block_ends(
    stage: Stage,
) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = NO_PERMISSION
    await stage.clock.advance(15.0)
    connection.block()
    await stage.declare(probe=PROBE, generation=2, connect_timeout=7.0)
    assert stage.state().blocked.reason is Reason.LOW_ON_MEMORY
    connection.probe_answer = 0.5
    connection.unblock()
    await stage.clock.advance(15.0)
    assert stage.view.confirm_seconds == 0.5


async def test_a_block_that_ends_while_the_probe_is_refused_leaves_it_unknown(
    stage: Stage,
) -> None:
    """The broker tells of the next block only a connection that publishes again."""
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = NO_PERMISSION
    await stage.clock.advance(15.0)
    refused = stage.state().blocked
    connection.block()
    await stage.clock.settle()
    connection.unblock()
    await stage.clock.settle()
    assert stage.state().blocked == refused
    [event] = stage.events.of(EventType.UNBLOCKED)
    assert event.message == "the broker takes in what it is sent"
    assert len(stage.events.of(EventType.PROBE_REFUSED)) == 1


async def test_a_trial_that_fails_under_a_block_leaves_the_block_shown(stage: Stage) -> None:
    connection = await unprobed(stage)
    stage.driver.probe_answers.append(errors.NotOpenError())
    connection.block()
    await stage.clock.advance(FIRST_PAUSE)
    assert len(stage.driver.connections) == 3
    assert stage.state().blocked.reason is Reason.LOW_ON_MEMORY
    connection.unblock()
    await stage.clock.settle()
    assert stage.state().blocked.message == WHY
    assert len(stage.events.of(EventType.PROBE_REFUSED)) == 1


async def test_a_renewal_after_a_block_has_a_refused_probe_repeated_at_once(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = NO_PERMISSION
    await stage.clock.advance(15.0)
    connection.block()
    await stage.clock.settle()
    connection.unblock()
    await stage.clock.settle()
    connection.probe_answer = 0.5
    await stage.change_credential("second")
    assert stage.connection() is connection
    assert stage.view.confirm_seconds == 0.5
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


# --- it costs the connection


async def test_after_a_probe_that_cost_a_connection_the_next_one_goes_without(
    stage: Stage,
) -> None:
    connection = await unprobed(stage)
    await stage.clock.advance(200.0)
    assert stage.connection() is connection
    assert not connection.probes
    verdict = stage.state().blocked
    assert (verdict.status, verdict.reason) == (ConditionStatus.UNKNOWN, Reason.PROBE_DISABLED)
    assert verdict.message == WHY
    assert [event.message for event in stage.events.of(EventType.PROBE_REFUSED)] == [WHY]
    assert not any(
        view.state.blocked.reason is Reason.NOT_CHECKED
        for view in stage.changes
        if view.connected_since is not None and view.info is connection.info
    ), "no probe is under way"


async def test_a_connection_that_a_probe_has_cost_is_opened_again_at_once(stage: Stage) -> None:
    """And that it was lost is no result: `springline check` goes on to the next one."""
    first = await stage.connect(probe=PROBE)
    stage.driver.then(SILENCE)
    first.end(server_close(probe_refused=WHY))
    await stage.clock.settle()
    assert stage.starts == [0.0, 0.0]
    assert stage.state().phase is Phase.CONNECTING
    assert not stage.view.has_result
    assert stage.view.last_close is not None


async def test_a_probe_is_no_reason_to_stay_closed(stage: Stage) -> None:
    """It is ours, and whoever wants to see a session end did not mean that."""
    first = await stage.connect(probe=PROBE, stay_closed=True)
    await stage.clock.advance(60.0)
    first.end(server_close(probe_refused=WHY))
    await stage.clock.settle()
    assert stage.connection() is stage.driver.connections[1]
    stage.driver.connection.end(server_close())
    await stage.clock.settle()
    assert stage.state().phase is Phase.CLOSED


async def test_whether_the_probe_is_let_is_tried_beside_the_session(stage: Stage) -> None:
    """It is worth no session, and the one on which it is tried is closed again."""
    connection = await unprobed(stage)
    stage.driver.probe_answers.append(0.002)
    await stage.clock.advance(FIRST_PAUSE)
    [_, _, trial] = stage.driver.connections
    assert stage.driver.requests[-1].parameters.connection_name.endswith(" (probe)")
    assert trial.probes
    assert trial.close_texts == ["probe tried"]
    assert not connection.probes
    await stage.clock.advance(15.0)
    assert connection.probes
    assert stage.connection() is connection
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
    assert stage.view.disconnects == 1


async def test_a_trial_that_fails_is_repeated_after_ever_longer_pauses(stage: Stage) -> None:
    connection = await unprobed(stage)
    stage.driver.probe_answers.extend(errors.NotOpenError() for _ in range(9))
    await stage.clock.advance(FIRST_PAUSE)
    assert len(stage.driver.connections) == 3
    await stage.clock.advance(2 * FIRST_PAUSE - 1.0)
    assert len(stage.driver.connections) == 3
    await stage.clock.advance(1.0)
    assert len(stage.driver.connections) == 4
    assert stage.connection() is connection
    assert not connection.probes
    assert stage.driver.open_connections == [connection]
    assert len(stage.events.of(EventType.PROBE_REFUSED)) == 1


async def test_a_change_of_the_declaration_has_it_tried_at_once(stage: Stage) -> None:
    connection = await unprobed(stage)
    stage.driver.probe_answers.append(errors.NotOpenError())
    await stage.declare(probe=PROBE, generation=2, connect_timeout=7.0)
    assert len(stage.driver.connections) == 3
    assert stage.state().blocked.message == WHY
    await stage.declare(probe=PROBE, generation=3, connect_timeout=8.0)
    await stage.clock.advance(15.0)
    assert stage.connection() is connection
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


async def test_a_replacement_that_was_declared_has_it_tried_at_once_too(stage: Stage) -> None:
    await unprobed(stage)
    target = a_target(virtual_host="other")
    await stage.declare(probe=PROBE, generation=2, target=target)
    await stage.clock.advance(15.0)
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
    assert stage.view.disconnects == 1


async def test_renewals_do_not_put_off_a_trial(stage: Stage) -> None:
    """A token may be renewed more often than a probe is tried."""
    await unprobed(stage)
    stage.driver.probe_answers.append(errors.NotOpenError())
    for number in range(3):
        await stage.clock.advance(FIRST_PAUSE / 3)
        await stage.change_credential(f"token {number}")
    trials = [
        request
        for request in stage.driver.requests
        if request.parameters.connection_name.endswith(" (probe)")
    ]
    assert len(trials) == 1


async def test_a_trial_uses_the_secret_of_now(stage: Stage) -> None:
    """A login with one that was replaced would be refused again and again."""
    await unprobed(stage)
    await stage.change_credential("second")
    await stage.clock.advance(300.0)
    request = stage.driver.requests[-1]
    assert request.parameters.connection_name.endswith(" (probe)")
    assert request.credential.secret.reveal() == "second"


async def test_a_probe_that_is_switched_off_is_not_tried(stage: Stage) -> None:
    await unprobed(stage)
    await stage.declare(probe=None, generation=2)
    await stage.clock.advance(7200.0)
    assert len(stage.driver.connections) == 2
    assert "spec.probe.mode is None" in stage.state().blocked.message


async def test_a_replacement_is_probed_when_the_old_connection_is_closed(stage: Stage) -> None:
    """The old one may have the last channel that the user can open."""
    old = await stage.connect(probe=PROBE)
    stage.journal.clear()
    old.close_answer = SILENCE
    await stage.declare(
        probe=a_probe(interval=15.0, timeout=5.0, exchange="", routing_key="second"),
        generation=2,
        target=a_target(virtual_host="other"),
    )
    new = stage.driver.connection
    assert stage.connection() is new
    assert not new.probes
    await stage.clock.advance(3.0)
    assert new.probes


# --- a silent link


async def test_without_heartbeats_a_silent_link_ends_and_is_opened_again(stage: Stage) -> None:
    stage.driver.heartbeat_seconds = 0
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = SILENCE
    await stage.clock.advance(60.0)
    assert connection.was_aborted
    assert stage.connection() is stage.driver.connections[1]
    close = stage.view.last_close
    assert close is not None
    assert (close.info.by, close.info.reason) == (ClosedBy.TRANSPORT, Reason.PEER_SILENT)
    assert close.info.text == (
        "heartbeats are off, and the broker left 3 probes in a row unanswered"
    )
    [event] = stage.events.of(EventType.DISCONNECTED)
    assert event.reason is Reason.PEER_SILENT
    assert stage.view.disconnects == 1


async def test_without_heartbeats_a_blocked_link_lasts(stage: Stage) -> None:
    stage.driver.heartbeat_seconds = 0
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = SILENCE
    connection.block()
    await stage.clock.advance(3600.0)
    assert stage.connection() is connection
    assert stage.state().phase is Phase.CONNECTED
