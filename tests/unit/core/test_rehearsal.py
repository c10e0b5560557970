"""What a rotation would come to, asked of a broker that the test plays."""

import asyncio
import dataclasses
import ssl

import pytest

from springline import errors
from springline.api import v1alpha1
from springline.core import rehearsal
from springline.core.attempt import Means
from springline.core.desired import RotationSettings, SessionSpec
from springline.core.rehearsal import Reading, Rehearsal, RotationOutcome
from springline.core.values import Credential, CredentialKind, TLSClient
from springline.reasons import Reason
from support.builders import (
    OTHER_RABBIT,
    RABBIT,
    a_credential,
    a_spec,
    a_target,
    a_token,
    credential_refused,
    no_secret,
    refused,
    secret_unreadable,
    terminal,
    unreachable,
)
from support.fake_clock import FakeClock
from support.fakes import (
    SILENCE,
    FakeCredentialSource,
    FakeDriver,
    FakeEndpointSource,
    FakeResolver,
    FakeTLSSource,
)

KEPT = "; the session would keep what it has"
BEFORE = Reading(credential=a_credential("first"), tls=None)


class Rehearsing:
    """A spec, what there is to read, and a broker."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.journal: list[str] = []
        self.driver = FakeDriver(self.journal)
        self.credentials = FakeCredentialSource(self.journal)
        self.credentials.answer = a_credential("second", version="2")
        self.tls = FakeTLSSource()
        self.endpoints = FakeEndpointSource(RABBIT)
        self.spec: SessionSpec = a_spec()
        self.means = Means(
            driver=self.driver,
            resolver=FakeResolver(),
            clock=clock,
            credentials=self.credentials,
            tls=self.tls,
            endpoints=self.endpoints,
            limit=asyncio.Semaphore(1),
        )

    async def run(self, before: Reading | None = BEFORE) -> Rehearsal:
        """Rehearse; whatever comes of it, nothing stays open and nothing is updated."""
        result = await self.clock.result(rehearsal.rehearse(self.spec, self.means, before=before))
        assert not self.driver.open_connections
        assert not any("update secret" in entry for entry in self.journal)
        return result


@pytest.fixture
async def rehearsing(clock: FakeClock) -> Rehearsing:
    return Rehearsing(clock)


async def test_another_secret_of_the_same_user_would_be_renewed_in_place(
    rehearsing: Rehearsing,
) -> None:
    """It is read once, opens one connection under a name of its own, and that is closed."""
    found = await rehearsing.run()
    assert (found.outcome, found.reason) == (RotationOutcome.IN_PLACE, Reason.VERIFIED)
    assert found.message == "would be renewed in place"
    assert found.username == "app"
    assert found.would_succeed
    assert rehearsing.journal == [
        "read the credential",
        "open rabbit-0.example:5672",
        "connection 1: close",
    ]
    [request] = rehearsing.driver.requests
    assert request.credential.secret.reveal() == "second"
    assert request.parameters.connection_name == "springline/apps/orders (verification)"


async def test_the_same_secret_is_not_tried(rehearsing: Rehearsing) -> None:
    rehearsing.credentials.answer = a_credential("first", version="2")
    found = await rehearsing.run()
    assert found.outcome is RotationOutcome.UNCHANGED
    assert found.would_succeed
    assert rehearsing.driver.requests == []


async def test_without_the_old_secret_the_way_is_not_known(rehearsing: Rehearsing) -> None:
    found = await rehearsing.run(before=None)
    assert found.outcome is RotationOutcome.ACCEPTED
    assert found.would_succeed


async def test_another_user_would_replace_the_session(rehearsing: Rehearsing) -> None:
    """The old name is not shown: in its place may be a password, and nobody has accepted it."""
    rehearsing.credentials.answer = a_credential("second", username="ben")
    found = await rehearsing.run()
    assert found.outcome is RotationOutcome.REPLACED
    assert found.message == "would be replaced (another user: ben)"


@pytest.mark.parametrize(
    ("before", "new", "message"),
    [
        pytest.param("ann", "ben", "would be replaced (another user: ann → ben)", id="another"),
        pytest.param("", "ben", "would be replaced (another user: (unnamed) → ben)", id="a name"),
        pytest.param("", "", "would be renewed in place", id="neither says whose it is"),
    ],
)
async def test_the_subjects_of_tokens_are_shown(
    rehearsing: Rehearsing, before: str, new: str, message: str
) -> None:
    """A subject is inside of a token, so it is no password under the wrong key."""
    rehearsing.credentials.answer = a_token("second", username=new)
    reading = Reading(credential=a_token("first", username=before), tls=None)
    assert (await rehearsing.run(reading)).message == message


async def test_a_token_is_issued_anew(
    rehearsing: Rehearsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that the old client was given would say nothing about the new one."""
    asked: list[Credential | None] = []

    async def fetch(*, instead_of: Credential | None = None) -> Credential:
        asked.append(instead_of)
        return a_token("second")

    monkeypatch.setattr(rehearsing.credentials, "fetch", fetch)
    before = Reading(credential=a_token("first"), tls=None)
    await rehearsing.run(before)
    assert asked == [before.credential]


async def test_other_certificates_would_replace_the_session(rehearsing: Rehearsing) -> None:
    rehearsing.tls.answer = TLSClient(context=ssl.create_default_context())
    found = await rehearsing.run()
    assert found.message == "would be replaced (other certificates)"


async def test_another_certificate_as_login_would_replace_the_session(
    rehearsing: Rehearsing,
) -> None:
    external = Credential(kind=CredentialKind.EXTERNAL, source="external")
    rehearsing.credentials.answer = external
    rehearsing.tls.answer = TLSClient(context=ssl.create_default_context())
    found = await rehearsing.run(Reading(credential=external, tls=None))
    assert found.message == "would be replaced (other certificates)"


async def test_another_address_would_replace_the_session(rehearsing: Rehearsing) -> None:
    reference = v1alpha1.EndpointsSecretReference(name="rabbit")
    rehearsing.spec = a_spec(
        target=a_target(endpoints=(), endpoints_from=v1alpha1.EndpointsFrom(secret_ref=reference))
    )
    before = dataclasses.replace(BEFORE, endpoints=(OTHER_RABBIT,))
    found = await rehearsing.run(before)
    assert found.message == "would be replaced (another endpoint)"
    found = await rehearsing.run(dataclasses.replace(BEFORE, endpoints=(RABBIT,)))
    assert found.outcome is RotationOutcome.IN_PLACE


@pytest.mark.parametrize("error", [credential_refused(), refused(), terminal()], ids=repr)
async def test_what_the_broker_refuses_would_leave_the_session_as_it_is(
    rehearsing: Rehearsing, error: errors.ConnectError
) -> None:
    """In the broker's words, and without a user name that nobody has accepted."""
    rehearsing.driver.then(error)
    found = await rehearsing.run()
    assert (found.outcome, found.reason) == (RotationOutcome.REFUSED, error.reason)
    assert found.message == f"refused: {error.message}{KEPT}"
    assert found.username == ""
    assert not found.would_succeed


async def test_without_verification_a_refused_secret_would_get_to_the_session(
    rehearsing: Rehearsing,
) -> None:
    rehearsing.spec = a_spec(rotation=RotationSettings(verify=False))
    rehearsing.driver.then(credential_refused())
    found = await rehearsing.run()
    assert found.message == (
        "refused: login refused; the session would get it all the same, because "
        "spec.rotation.verify is None"
    )


async def test_without_verification_a_refused_user_would_not_get_to_the_session(
    rehearsing: Rehearsing,
) -> None:
    """A new connection comes before the old one is closed, so it fails in time."""
    rehearsing.spec = a_spec(rotation=RotationSettings(verify=False))
    rehearsing.credentials.answer = a_credential("second", username="ben")
    rehearsing.driver.then(credential_refused())
    assert (await rehearsing.run()).message == f"refused: login refused{KEPT}"


async def test_a_secret_that_cannot_be_used_is_told_without_the_broker(
    rehearsing: Rehearsing,
) -> None:
    rehearsing.credentials.answer = no_secret()
    found = await rehearsing.run()
    assert (found.outcome, found.reason) == (RotationOutcome.REFUSED, Reason.SECRET_NOT_FOUND)
    assert found.message == f'cannot be used: there is no Secret "orders-amqp"{KEPT}'
    assert rehearsing.driver.requests == []


async def test_a_broker_that_cannot_be_reached_has_said_nothing(rehearsing: Rehearsing) -> None:
    """Neither yes nor no; it is tried once."""
    rehearsing.driver.otherwise = unreachable()
    found = await rehearsing.run()
    assert (found.outcome, found.reason) == (
        RotationOutcome.NOT_TRIED,
        Reason.CONNECTION_REFUSED,
    )
    assert found.message == "not tried: nobody listens"
    assert not found.would_succeed
    assert len(rehearsing.driver.requests) == 1


async def test_a_source_that_cannot_be_asked_has_said_nothing(rehearsing: Rehearsing) -> None:
    rehearsing.credentials.answer = secret_unreadable()
    assert (await rehearsing.run()).outcome is RotationOutcome.NOT_TRIED


async def test_a_connection_that_cannot_be_renewed_in_place_would_be_replaced(
    rehearsing: Rehearsing,
) -> None:
    rehearsing.driver.cannot_renew = "the broker is too old for it"
    result = await rehearsing.run()
    assert result.outcome is RotationOutcome.REPLACED
    assert result.message == "would be replaced (the broker is too old for it)"


async def test_a_broker_that_asks_for_no_credential_has_said_nothing_of_it(
    rehearsing: Rehearsing,
) -> None:
    rehearsing.driver.asks = lambda _: False
    result = await rehearsing.run()
    assert (result.outcome, result.reason) == (RotationOutcome.NOT_TRIED, Reason.NOT_CHECKED)
    assert result.message == "not tried: the broker asked for no credential"
    assert result.username == ""


async def test_cancelled_it_leaves_nothing_open(rehearsing: Rehearsing) -> None:
    rehearsing.driver.then(SILENCE)
    task = asyncio.ensure_future(
        rehearsal.rehearse(rehearsing.spec, rehearsing.means, before=BEFORE)
    )
    await rehearsing.clock.settle()
    task.cancel()
    await rehearsing.clock.settle()
    assert task.cancelled()
    assert not rehearsing.driver.open_connections


async def test_no_secret_is_in_the_result(rehearsing: Rehearsing) -> None:
    rehearsing.credentials.answer = a_credential("pl4nted-s3cret")
    found = await rehearsing.run()
    assert "pl4nted" not in repr(found)
