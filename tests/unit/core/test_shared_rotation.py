"""What a change costs that many sessions share: one handshake, and one update for each."""

from collections.abc import AsyncIterator

import pytest

from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core.state import Phase
from springline.core.values import Credential, SessionKey
from springline.reasons import Reason
from support.builders import a_credential, credential_refused
from support.fake_clock import FakeClock
from support.fakes import SILENCE, FakeConnection, FakeCredentialSource
from support.fleet import Fleet, running

NAMES = [f"orders-{number}" for number in range(200)]
KEYS = [SessionKey("apps", name) for name in NAMES]
SHARED = Identity("Secret", "apps", "shared")


class Sharing:
    """Two hundred sessions with one Secret."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.source = FakeCredentialSource()
        self.live: list[FakeConnection] = []
        self.opened = 0

    async def connect(self) -> None:
        await self.fleet.put_broker()
        self.fleet.sources.credential_sources.update(dict.fromkeys(KEYS, self.source))
        reference = v1alpha1.SecretReference(name=SHARED.name)
        await self.fleet.put(*NAMES, credentials=v1alpha1.Credentials(secret_ref=reference))
        await self.settle()
        self.live = self.fleet.open_connections
        self.opened = len(self.fleet.driver.requests)
        assert len(self.live) == len(NAMES)

    async def settle(self) -> None:
        """Let all have their turns, of which each takes a moment."""
        for _ in range(10):
            await self.fleet.clock.settle()

    async def change(self, credential: Credential) -> None:
        self.source.answer = credential
        self.fleet.manager.object_changed(SHARED)
        await self.settle()

    async def advance(self, seconds: float) -> None:
        await self.fleet.clock.advance(seconds)
        await self.settle()

    @property
    def handshakes(self) -> int:
        """How many connections were tried since all were open."""
        return len(self.fleet.driver.requests) - self.opened

    def updates(self) -> list[list[str]]:
        return [[each.secret.reveal() for each in live.updates] for live in self.live]

    def reasons(self) -> set[Reason]:
        return {self.fleet.session(key).view.state.credentials.reason for key in KEYS}


@pytest.fixture
async def sharing(clock: FakeClock) -> AsyncIterator[Sharing]:
    async with running(clock) as fleet:
        sharing = Sharing(fleet)
        await sharing.connect()
        yield sharing


async def test_a_changed_secret_costs_one_handshake_and_an_update_for_each(
    sharing: Sharing,
) -> None:
    await sharing.change(a_credential("second"))
    assert sharing.handshakes == 1
    assert sharing.updates() == [["second"]] * len(NAMES)
    assert sharing.reasons() == {Reason.VERIFIED}
    assert sharing.fleet.open_connections == sharing.live


async def test_a_second_change_costs_one_handshake_more(sharing: Sharing) -> None:
    await sharing.change(a_credential("second"))
    await sharing.change(a_credential("third"))
    assert sharing.handshakes == 2
    assert sharing.updates() == [["second", "third"]] * len(NAMES)


async def test_a_refused_secret_costs_one_handshake_for_each_retry_delay(
    sharing: Sharing,
) -> None:
    """All keep what they have, and all go on with the first success."""
    sharing.fleet.driver.otherwise = credential_refused()
    await sharing.change(a_credential("second"))
    assert sharing.reasons() == {Reason.REJECTED}
    tried = [sharing.handshakes]
    for _ in range(300):
        await sharing.fleet.clock.advance(1.0)
        tried.append(sharing.handshakes)
    assert tried[0] == 1
    # After 10, 20, 40 seconds and then every 60.
    assert tried[-1] == 1 + 3 + 3
    assert not any(sharing.updates())
    assert {sharing.fleet.phase(key) for key in KEYS} == {Phase.CONNECTED}
    sharing.fleet.driver.otherwise = None
    await sharing.advance(60.0)
    assert sharing.handshakes == tried[-1] + 1
    assert sharing.updates() == [["second"]] * len(NAMES)
    assert sharing.reasons() == {Reason.VERIFIED}
    assert sharing.fleet.open_connections == sharing.live


async def test_a_session_that_asks_now_wakes_all_who_wait(sharing: Sharing) -> None:
    sharing.fleet.driver.otherwise = credential_refused()
    await sharing.change(a_credential("second"))
    sharing.fleet.driver.otherwise = None
    await sharing.advance(1.0)
    assert sharing.handshakes == 1
    sharing.fleet.manager.renew(KEYS[77])
    await sharing.settle()
    assert sharing.handshakes == 2
    assert sharing.updates() == [["second"]] * len(NAMES)


async def test_all_who_are_asked_to_renew_at_one_time_are_told_by_one_handshake(
    sharing: Sharing,
) -> None:
    await sharing.advance(3600.0)
    for key in KEYS:
        sharing.fleet.manager.renew(key)
    await sharing.settle()
    assert sharing.handshakes == 1
    assert not any(sharing.updates())
    assert sharing.reasons() == {Reason.VERIFIED}


async def test_a_session_that_goes_while_it_asks_leaves_that_to_the_next(
    sharing: Sharing,
) -> None:
    sharing.fleet.driver.then(SILENCE)
    await sharing.change(a_credential("second"))
    assert sharing.handshakes == 1
    asking = sharing.fleet.driver.requests[-1].parameters.connection_name
    name = asking.removeprefix("springline/apps/").removesuffix(" (verification)")
    sharing.fleet.manager.drop_connection(SessionKey("apps", name))
    await sharing.settle()
    assert sharing.handshakes == 2
    updated = sharing.updates()
    assert updated.count(["second"]) == len(NAMES) - 1
    assert updated.count([]) == 1
