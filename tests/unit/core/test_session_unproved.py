"""A broker that lets anybody in has accepted no credential, and nothing says that it has."""

from typing import Any

from springline.api.conditions import ConditionStatus
from springline.core import binding, verdicts
from springline.core.binding import Surroundings
from springline.core.events import EventType
from springline.core.state import Phase
from springline.core.values import OpenRequest
from springline.reasons import Reason
from support import opening
from support.builders import OTHER_RABBIT, a_target
from support.fakes import FakeConnection
from support.stage import Stage


async def let_in(stage: Stage) -> FakeConnection:
    """Connect to a broker that asks for no credential."""
    stage.driver.asks = lambda _: False
    return await stage.connect()


async def test_a_credential_that_nobody_asked_for_is_not_called_accepted(stage: Stage) -> None:
    await let_in(stage)
    assert stage.state().phase is Phase.CONNECTED
    verdict = stage.state().credentials
    assert (verdict.status, verdict.reason) == (ConditionStatus.UNKNOWN, Reason.NOT_CHECKED)
    assert "asked for no credential" in verdict.message
    assert not stage.view.is_ready


async def test_who_declares_no_credential_is_let_in_as_declared(stage: Stage) -> None:
    """There is nothing to prove, so nothing is missing; and nothing to publish."""
    stage.credentials.answer = opening.anonymous()
    await let_in(stage)
    assert stage.state().credentials == verdicts.ANONYMOUS
    assert stage.view.is_ready
    assert binding.content(stage.view, Surroundings()) is None
    stage.session.credential_changed()
    await stage.clock.settle()
    assert stage.state().credentials == verdicts.ANONYMOUS
    assert len(stage.driver.requests) == 1


async def test_what_nobody_looked_at_is_shown_nowhere_as_a_user(stage: Stage) -> None:
    """It may be a password that was put under the wrong key."""
    await let_in(stage)
    use = stage.view.credential
    assert use is not None
    assert (use.username, use.method, use.verified_at, use.applied_at) == ("", None, None, None)
    [connected] = stage.events.of(EventType.CONNECTED)
    assert " as " not in connected.message


async def test_a_credential_that_nobody_asked_for_is_not_published(stage: Stage) -> None:
    await let_in(stage)
    assert binding.content(stage.view, Surroundings()) is None


async def test_a_credential_that_a_later_connection_proves_is_accepted_and_published(
    stage: Stage,
) -> None:
    connection = await let_in(stage)
    stage.driver.asks = lambda _: True
    stage.session.reconnect()
    await stage.clock.settle()
    assert not connection.is_open
    assert stage.state().credentials == verdicts.ACCEPTED
    assert binding.content(stage.view, Surroundings()) is not None


async def test_a_changed_credential_is_neither_sent_nor_tried_where_nobody_asks_for_one(
    stage: Stage,
) -> None:
    """A new connection shows whether the broker asks for it now."""
    old = await let_in(stage)
    await stage.change_credential()
    assert old.updates == []
    assert not old.is_open
    assert len(stage.driver.requests) == 2
    assert stage.state().credentials == verdicts.UNPROVED
    assert stage.state().synced == verdicts.IN_SYNC


async def test_a_renewal_on_request_tells_nothing_of_it_either(stage: Stage) -> None:
    connection = await let_in(stage)
    stage.session.renew()
    await stage.clock.settle()
    assert connection.is_open
    assert len(stage.driver.requests) == 1
    assert stage.state().credentials == verdicts.UNPROVED


async def test_a_handshake_without_a_credential_verifies_none(stage: Stage) -> None:
    """The open session keeps what it has, and the new one stays unpublished."""

    def asks(request: OpenRequest[Any]) -> bool:
        return request.credential.secret.reveal() == "first"

    stage.driver.asks = asks
    connection = await stage.connect()
    await stage.change_credential()
    assert connection.is_open
    assert connection.updates == []
    assert stage.state().credentials == verdicts.ACCEPTED
    assert stage.state().synced.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "asked for no credential" in stage.state().synced.message
    published = binding.content(stage.view, Surroundings())
    assert published is not None
    assert published.entries["password"] == "first"


async def test_a_session_that_moves_to_where_nobody_asks_has_no_accepted_credential_any_more(
    stage: Stage,
) -> None:
    await stage.connect()
    stage.driver.asks = lambda request: request.endpoint != OTHER_RABBIT
    await stage.declare(target=a_target(endpoints=(OTHER_RABBIT,)), generation=2)
    assert stage.driver.connection.info.endpoint == OTHER_RABBIT
    assert stage.state().credentials == verdicts.UNPROVED
    assert binding.content(stage.view, Surroundings()) is None
