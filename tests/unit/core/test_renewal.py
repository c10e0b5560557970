"""How a changed credential reaches a live connection: verified first, in place where it can be."""

import asyncio
import dataclasses
import ssl
from datetime import datetime, timedelta

import pytest

from springline import errors
from springline.api import v1alpha1
from springline.core.attempt import Means, Success
from springline.core.desired import Target
from springline.core.renewal import (
    Live,
    Outcome,
    Refusal,
    Renewal,
    Replaced,
    Unchanged,
    UpdatedInPlace,
)
from springline.core.values import Credential, CredentialKind, TLSClient
from springline.reasons import Reason
from support.builders import (
    OTHER_RABBIT,
    RABBIT,
    a_credential,
    a_spec,
    a_target,
    an_open_info,
    credential_refused,
    no_secret,
    secret_refused,
    server_close,
    unreachable,
)
from support.fake_clock import EIGHT, FakeClock, FixedRandom
from support.fakes import (
    SILENCE,
    FakeConnection,
    FakeCredentialSource,
    FakeDriver,
    FakeEndpointSource,
    FakeResolver,
    FakeTLSSource,
)


class Renewing:
    """A live connection whose credential has changed."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.journal: list[str] = []
        self.driver = FakeDriver(self.journal)
        self.credentials = FakeCredentialSource(self.journal)
        self.credentials.answer = a_credential("second", version="2")
        self.tls = FakeTLSSource()
        self.endpoints = FakeEndpointSource(RABBIT)
        self.spec = a_spec()
        self.connection = FakeConnection(an_open_info(), name="live", journal=self.journal)
        self.live = Success(
            connection=self.connection,
            credential=a_credential("first"),
            tls=None,
            target=self.spec.target,
        )
        self.renew_at: datetime | None = None
        self.asked_at: float | None = None
        self.opened_for: Target | None = None
        """What was declared when it was opened; None for what is declared now."""
        self.told: list[Refusal] = []
        self.task: asyncio.Task[Outcome | None] | None = None
        self.means = Means(
            driver=self.driver,
            resolver=FakeResolver(),
            clock=clock,
            credentials=self.credentials,
            tls=self.tls,
            endpoints=self.endpoints,
            limit=asyncio.Semaphore(1),
        )

    async def start(self) -> None:
        opened = dataclasses.replace(self.live, target=self.opened_for or self.spec.target)
        self.task = asyncio.get_running_loop().create_task(
            self.run(
                Renewal(
                    Live(opened=opened, renew_at=self.renew_at, asked_at=self.asked_at),
                    self.spec,
                    self.means,
                    rng=FixedRandom(),
                )
            )
        )
        await self.clock.settle()

    async def run(self, renewal: Renewal) -> Outcome | None:
        """Return what came of it, None if nothing did; what came before is noted."""
        async for came in renewal.tries():
            if not isinstance(came, Refusal):
                return came
            self.told.append(came)
        return None

    @property
    def refusals(self) -> list[errors.ConnectError | errors.CredentialError]:
        return [each.error for each in self.told]

    @property
    def is_done(self) -> bool:
        return self.task is not None and self.task.done()

    @property
    def outcome(self) -> Outcome | None:
        assert self.task is not None
        return self.task.result()


def updated(credential: Credential, *, after: float = 0.0) -> UpdatedInPlace:
    """What comes of it after so many seconds."""
    return UpdatedInPlace(credential=credential, verified_at=EIGHT + timedelta(seconds=after))


@pytest.fixture
async def renewing(clock: FakeClock) -> Renewing:
    return Renewing(clock)


async def test_a_new_secret_is_verified_before_it_is_updated_in_place(renewing: Renewing) -> None:
    await renewing.start()
    assert renewing.outcome == updated(a_credential("second", version="2"))
    assert renewing.journal == [
        "read the credential",
        "open rabbit-0.example:5672",
        "connection 1: close",
        "live: update secret",
    ]
    [request] = renewing.driver.requests
    assert request.credential.secret.reveal() == "second"
    assert request.parameters.connection_name.endswith(" (verification)")


async def test_what_is_pushed_is_what_was_planned_for(
    renewing: Renewing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Secret that changes to another user meanwhile is the next renewal's business."""
    readings = iter([a_credential("second"), a_credential("third", username="other")])

    async def changing(**_: object) -> Credential:
        return next(readings)

    monkeypatch.setattr(renewing.credentials, "fetch", changing)
    await renewing.start()
    assert renewing.outcome == updated(a_credential("second"))
    assert [each.username for each in renewing.connection.updates] == ["app"]


async def test_a_secret_that_cannot_be_read_in_time_is_tried_again(renewing: Renewing) -> None:
    """Nothing is waited for without a limit."""
    renewing.credentials.answer = SILENCE
    await renewing.start()
    await renewing.clock.advance(a_spec().connect_timeout)
    assert [each.reason for each in renewing.refusals] == [Reason.CONNECT_TIMEOUT]
    renewing.credentials.answer = a_credential("second")
    await renewing.clock.advance(a_spec().retry.max_delay)
    assert renewing.outcome == updated(a_credential("second"), after=30.0)


async def test_an_unchanged_value_needs_nothing(renewing: Renewing) -> None:
    renewing.credentials.answer = a_credential("first", version="2")
    await renewing.start()
    assert renewing.outcome == Unchanged(credential=a_credential("first", version="2"))
    assert not renewing.driver.requests
    assert not renewing.connection.updates


async def test_another_user_gets_a_connection_of_its_own(renewing: Renewing) -> None:
    renewing.credentials.answer = a_credential("second", username="other")
    await renewing.start()
    assert isinstance(renewing.outcome, Replaced)
    assert renewing.outcome.success.credential.username == "other"
    assert renewing.outcome.success.connection.is_open
    assert renewing.connection.is_open, "the old one is closed by whoever takes the new one"
    assert not renewing.connection.updates


async def test_a_blocked_connection_is_replaced(renewing: Renewing) -> None:
    """The broker no longer reads from it, so update-secret would never be answered."""
    renewing.connection.block()
    await renewing.start()
    assert isinstance(renewing.outcome, Replaced)
    assert not renewing.connection.updates


async def test_a_connection_that_is_blocked_during_the_verification_is_replaced(
    renewing: Renewing,
) -> None:
    renewing.driver.then(SILENCE, None)
    await renewing.start()
    renewing.connection.block()
    renewing.driver.release()
    await renewing.clock.settle()
    assert isinstance(renewing.outcome, Replaced)
    assert not renewing.connection.updates


async def test_other_certificates_replace_the_connection(renewing: Renewing) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    renewing.tls.answer = TLSClient(context=context, has_client_certificate=True)
    renewing.credentials.answer = a_credential("first")
    await renewing.start()
    assert isinstance(renewing.outcome, Replaced)
    assert renewing.outcome.success.tls is renewing.tls.answer


async def test_the_same_certificates_replace_nothing(renewing: Renewing) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls = TLSClient(context=context, has_client_certificate=True)
    external = Credential(kind=CredentialKind.EXTERNAL, source="external")
    renewing.live = dataclasses.replace(renewing.live, credential=external, tls=tls)
    renewing.tls.answer = tls
    renewing.credentials.answer = external
    await renewing.start()
    assert renewing.outcome == Unchanged(credential=external)


# --- the Secret that says where the broker is

TOLD_BY_SECRET = a_spec(
    target=a_target(
        endpoints=(),
        endpoints_from=v1alpha1.EndpointsFrom(
            secret_ref=v1alpha1.EndpointsSecretReference(name="rabbit-default-user")
        ),
    )
)


async def test_another_endpoint_in_the_secret_replaces_the_connection(renewing: Renewing) -> None:
    """With the old one open until the new one is; what was planned for is not read again."""
    renewing.spec = TOLD_BY_SECRET
    renewing.credentials.answer = a_credential("first")
    renewing.endpoints.declare(OTHER_RABBIT)
    await renewing.start()
    assert isinstance(renewing.outcome, Replaced)
    assert renewing.outcome.success.connection.info.endpoint == OTHER_RABBIT
    assert renewing.connection.is_open
    assert renewing.endpoints.fetches == 1


async def test_the_same_endpoint_in_the_secret_changes_nothing(renewing: Renewing) -> None:
    renewing.spec = TOLD_BY_SECRET
    renewing.credentials.answer = a_credential("first")
    await renewing.start()
    assert renewing.outcome == Unchanged(credential=a_credential("first"))
    assert not renewing.driver.requests


async def test_a_secret_with_another_endpoint_and_another_password_is_one_replacement(
    renewing: Renewing,
) -> None:
    renewing.spec = TOLD_BY_SECRET
    renewing.endpoints.declare(OTHER_RABBIT)
    await renewing.start()
    assert isinstance(renewing.outcome, Replaced)
    assert [each.credential.secret.reveal() for each in renewing.driver.requests] == ["second"] * 2
    assert len(renewing.driver.open_connections) == 1
    assert not renewing.connection.updates


async def test_a_secret_that_no_longer_says_where_leaves_the_connection_alone(
    renewing: Renewing,
) -> None:
    """It is read again, slowly, until it says where."""
    renewing.spec = TOLD_BY_SECRET
    gone = errors.RejectedError(Reason.NAME_RESOLUTION_FAILED, "there is no Secret")
    renewing.endpoints.answer = gone
    await renewing.start()
    assert renewing.refusals == [gone]
    assert renewing.connection.is_open
    renewing.endpoints.declare(OTHER_RABBIT)
    await renewing.clock.advance(60.0)
    assert isinstance(renewing.outcome, Replaced)


async def test_what_dns_answers_now_does_not_move_an_open_session(renewing: Renewing) -> None:
    renewing.spec = a_spec(
        target=a_target(endpoints=(), endpoints_from=v1alpha1.EndpointsFrom(dns_srv="rabbit"))
    )
    renewing.credentials.answer = a_credential("first")
    renewing.endpoints.declare(OTHER_RABBIT)
    await renewing.start()
    assert renewing.outcome == Unchanged(credential=a_credential("first"))
    assert renewing.endpoints.fetches == 0


async def test_a_secret_that_cannot_be_read_now_is_tried_again_with_growing_delays(
    renewing: Renewing,
) -> None:
    """An API server that is away comes back, so this is no time for the longest delay."""
    renewing.credentials.answer = errors.CredentialUnavailableError(
        Reason.SECRET_UNREADABLE, "the API server is away"
    )
    await renewing.start()
    renewing.credentials.answer = a_credential("second")
    await renewing.clock.advance(10.0)
    assert renewing.outcome == updated(a_credential("second"), after=10.0)


async def test_an_update_that_is_not_answered_replaces_the_connection(renewing: Renewing) -> None:
    """Nobody knows what became of the update, so the connection is given up."""
    renewing.connection.update_answer = SILENCE
    await renewing.start()
    await renewing.clock.advance(9.9)
    assert not renewing.is_done
    await renewing.clock.advance(0.1)
    assert isinstance(renewing.outcome, Replaced)
    assert renewing.outcome.success.connection is renewing.driver.connections[-1]


async def test_a_broker_that_ends_the_verification_first_has_verified_all_the_same(
    renewing: Renewing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: FakeConnection, **_: object) -> None:
        self.end(server_close())
        raise errors.NotOpenError

    monkeypatch.setattr(FakeConnection, "close", refuse)
    await renewing.start()
    assert isinstance(renewing.outcome, UpdatedInPlace)


# --- refused


async def test_a_refused_secret_keeps_the_live_connection(renewing: Renewing) -> None:
    renewing.driver.otherwise = credential_refused()
    await renewing.start()
    assert renewing.refusals == [renewing.driver.otherwise]
    assert renewing.connection.is_open
    assert not renewing.connection.updates
    assert not renewing.is_done


async def test_a_refused_secret_is_tried_again_with_growing_delays_and_recovers(
    renewing: Renewing,
) -> None:
    """A Secret is often changed a little before the broker's user is."""
    renewing.driver.then(credential_refused(), credential_refused(), None)
    await renewing.start()
    await renewing.clock.advance(9.9)
    assert len(renewing.driver.requests) == 1
    await renewing.clock.advance(20.1)
    assert len(renewing.refusals) == 2
    assert isinstance(renewing.outcome, UpdatedInPlace)


async def test_a_broker_that_cannot_be_reached_is_tried_with_growing_delays(
    renewing: Renewing,
) -> None:
    renewing.driver.then(unreachable(), unreachable(), None)
    await renewing.start()
    await renewing.clock.advance(10.0)
    assert len(renewing.driver.requests) == 2
    await renewing.clock.advance(19.9)
    assert len(renewing.driver.requests) == 2
    await renewing.clock.advance(0.1)
    assert isinstance(renewing.outcome, UpdatedInPlace)


async def test_the_delay_counts_from_the_start_of_the_try(renewing: Renewing) -> None:
    renewing.driver.then(SILENCE, None)
    await renewing.start()
    await renewing.clock.advance(10.0)
    assert [error.reason for error in renewing.refusals] == [Reason.CONNECT_TIMEOUT]
    assert isinstance(renewing.outcome, UpdatedInPlace)


async def test_every_try_reads_the_credential_anew(renewing: Renewing) -> None:
    renewing.credentials.answer = no_secret()
    await renewing.start()
    assert [error.reason for error in renewing.refusals] == [Reason.SECRET_NOT_FOUND]
    assert not renewing.driver.requests
    renewing.credentials.answer = a_credential("third")
    await renewing.clock.advance(60.0)
    assert renewing.outcome == updated(a_credential("third"), after=60.0)


# --- the live connection ends meanwhile


async def test_an_update_that_the_broker_answers_with_a_close_is_the_sessions_to_handle(
    renewing: Renewing,
) -> None:
    renewing.connection.update_answer = secret_refused()
    await renewing.start()
    assert renewing.outcome is None
    assert not renewing.connection.is_open


async def test_a_connection_that_ends_during_the_verification_needs_no_renewal(
    renewing: Renewing,
) -> None:
    renewing.driver.then(SILENCE)
    await renewing.start()
    renewing.connection.end(server_close())
    renewing.driver.release()
    await renewing.clock.settle()
    assert renewing.outcome is None
    assert not renewing.driver.open_connections


async def test_a_connection_that_ends_between_two_tries_needs_no_renewal(
    renewing: Renewing,
) -> None:
    renewing.driver.otherwise = credential_refused()
    await renewing.start()
    renewing.connection.end(server_close())
    await renewing.clock.advance(60.0)
    assert renewing.outcome is None
    assert len(renewing.driver.requests) == 1


async def test_a_cancelled_renewal_leaves_the_live_connection_as_it_is(
    renewing: Renewing,
) -> None:
    renewing.driver.then(SILENCE)
    await renewing.start()
    assert renewing.task is not None
    renewing.task.cancel()
    await renewing.clock.settle()
    assert renewing.connection.is_open
    assert not renewing.driver.connections


async def test_a_connection_whose_update_went_wrong_gets_no_other_at_the_next_try(
    renewing: Renewing,
) -> None:
    """Its replacement was refused at first."""
    renewing.connection.update_answer = SILENCE
    renewing.driver.then(None, unreachable(), None)
    await renewing.start()
    await renewing.clock.advance(10.0)
    assert renewing.refusals
    renewing.connection.confirm_update()
    await renewing.clock.advance(60.0)
    assert isinstance(renewing.outcome, Replaced)
    assert len(renewing.connection.updates) == 1
