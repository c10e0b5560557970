"""One attempt: credential, name lookup, endpoints in order, one overall limit."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from springline import errors
from springline.core.attempt import Means, Success, attempt
from springline.core.desired import SessionSpec
from springline.core.values import Credential, Endpoint, ResolvedEndpoint
from springline.reasons import Reason
from support.builders import (
    OTHER_RABBIT,
    RABBIT,
    a_credential,
    a_spec,
    a_target,
    credential_refused,
    no_secret,
    refused,
    terminal,
    throttled,
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

THIRD_RABBIT = Endpoint("rabbit-2.example", 5672)


class Steps:
    """Notes the progress of an attempt in the journal."""

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.credential: Credential | None = None
        self.lookup_seconds = 0.0
        """How long it takes to handle that an endpoint was looked up."""

    async def started(self) -> None:
        self.journal.append("started")

    def fetched(self, credential: Credential) -> None:
        self.credential = credential

    async def resolved(self, endpoint: Endpoint, addresses: Sequence[str]) -> None:
        self.journal.append(f"{endpoint} is at {', '.join(addresses)}")
        await asyncio.sleep(self.lookup_seconds)


class Bench:
    """Everything an attempt is made with."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.journal: list[str] = []
        self.driver = FakeDriver(self.journal)
        self.resolver = FakeResolver(self.journal)
        self.credentials = FakeCredentialSource(self.journal)
        self.tls = FakeTLSSource()
        self.endpoints = FakeEndpointSource()
        self.limit = asyncio.Semaphore(1)
        self.steps = Steps(self.journal)

    async def attempt(self, spec: SessionSpec, **options: Any) -> Success:
        if spec.target.endpoints:
            self.endpoints.declare(*spec.target.endpoints)
        means = Means(
            driver=self.driver,
            resolver=self.resolver,
            clock=self.clock,
            credentials=self.credentials,
            tls=self.tls,
            endpoints=self.endpoints,
            limit=self.limit,
        )
        return await attempt(spec, means, self.steps, **options)

    async def success(self, *, within: float = 0.0, **changes: Any) -> Success:
        return await self.clock.result(self.attempt(a_spec(**changes)), within=within)

    async def failure(
        self, *, within: float = 0.0, **changes: Any
    ) -> errors.ConnectError | errors.CredentialError:
        try:
            await self.success(within=within, **changes)
        except (errors.ConnectError, errors.CredentialError) as error:
            return error
        pytest.fail("the attempt succeeded")


@pytest.fixture
def bench(clock: FakeClock) -> Bench:
    return Bench(clock)


def behind(*endpoints: Endpoint, **changes: Any) -> dict[str, Any]:
    return {"target": a_target(endpoints=endpoints, **changes)}


async def test_an_attempt_reads_the_credential_looks_the_name_up_and_opens(bench: Bench) -> None:
    success = await bench.success()
    assert bench.journal == [
        "started",
        "read the credential",
        f"look up {RABBIT.host}",
        f"{RABBIT} is at 192.0.2.1",
        f"open {RABBIT}",
    ]
    assert success.connection is bench.driver.connection
    assert success.credential == a_credential()
    assert bench.steps.credential == a_credential()


async def test_the_driver_is_asked_for_what_is_declared(bench: Bench) -> None:
    bench.resolver.hosts[RABBIT.host] = ("192.0.2.7", "192.0.2.8")
    await bench.success()
    [request] = bench.driver.requests
    assert request.endpoint == RABBIT
    assert request.address == "192.0.2.7"
    assert request.credential == a_credential()
    assert request.parameters == a_target().parameters
    assert request.tls is None


async def test_a_verification_shows_itself_in_the_name_of_its_connection(bench: Bench) -> None:
    attempt = bench.attempt(a_spec(), name_suffix=" (verification)")
    await bench.clock.result(attempt)
    [request] = bench.driver.requests
    assert request.parameters.connection_name == "springline/apps/orders (verification)"


# --- endpoints


async def test_endpoints_are_tried_in_their_order(bench: Bench) -> None:
    bench.driver.then(unreachable(), None)
    success = await bench.success(**behind(OTHER_RABBIT, RABBIT))
    assert [request.endpoint for request in bench.driver.requests] == [OTHER_RABBIT, RABBIT]
    assert success.connection.info.endpoint == RABBIT


async def test_an_endpoint_whose_name_has_no_address_is_passed_over(bench: Bench) -> None:
    bench.resolver.hosts[OTHER_RABBIT.host] = errors.TransientError(
        Reason.NAME_RESOLUTION_FAILED, "no address"
    )
    await bench.success(**behind(OTHER_RABBIT, RABBIT))
    assert [request.endpoint for request in bench.driver.requests] == [RABBIT]


async def test_an_endpoint_whose_addresses_are_known_is_not_looked_up(bench: Bench) -> None:
    """The name still counts: the broker's certificate is checked against it."""
    bench.endpoints.answer = [ResolvedEndpoint(RABBIT, ("192.0.2.7", "192.0.2.8"))]
    await bench.success(**behind())
    [request] = bench.driver.requests
    assert request.endpoint == RABBIT
    assert request.address == "192.0.2.7"
    assert not bench.resolver.lookups
    assert f"{RABBIT} is at 192.0.2.7, 192.0.2.8" in bench.journal


async def test_endpoints_that_are_not_found_fail_the_attempt(bench: Bench) -> None:
    bench.endpoints.answer = errors.RejectedError(Reason.NAME_RESOLUTION_FAILED, "no such Service")
    assert await bench.failure(**behind()) is bench.endpoints.answer
    assert not bench.driver.requests


async def test_endpoints_that_are_never_found_fail_the_attempt_in_time(bench: Bench) -> None:
    bench.endpoints.answer = SILENCE
    error = await bench.failure(within=10.0, **behind())
    assert error.reason is Reason.CONNECT_TIMEOUT


# R5.1
async def test_endpoints_and_names_are_looked_up_again_in_every_attempt(bench: Bench) -> None:
    bench.endpoints.declare(RABBIT)
    target = behind()
    await bench.success(**target)
    bench.endpoints.declare(OTHER_RABBIT)
    bench.resolver.hosts[OTHER_RABBIT.host] = ("192.0.2.9",)
    success = await bench.success(**target)
    assert success.connection.info.endpoint == OTHER_RABBIT
    assert success.connection.info.address == "192.0.2.9"


# --- addresses


TWO = ("192.0.2.7", "192.0.2.8")


async def test_addresses_of_a_name_are_tried_in_their_order(bench: Bench) -> None:
    """Each to the end of the handshake: one that only accepts is no broker."""
    bench.resolver.hosts[RABBIT.host] = TWO
    bench.driver.then(errors.RejectedError(Reason.PROTOCOL_MISMATCH, "HTTP"), None)
    success = await bench.success()
    assert [request.address for request in bench.driver.requests] == list(TWO)
    assert success.connection.info.address == "192.0.2.8"
    assert bench.journal.count("started") == 1, "it is one attempt"
    assert bench.resolver.lookups == [RABBIT.host]


async def test_the_time_of_an_endpoint_is_shared_among_its_addresses(bench: Bench) -> None:
    bench.resolver.hosts[RABBIT.host] = TWO
    bench.driver.then(SILENCE, unreachable(), None)
    await bench.success(within=3.0, connect_timeout=12.0, **behind(RABBIT, OTHER_RABBIT))
    assert [each.endpoint for each in bench.driver.requests] == [RABBIT, RABBIT, OTHER_RABBIT]
    assert [each.timeout for each in bench.driver.requests] == [
        pytest.approx(3.0),
        pytest.approx(3.0),
        pytest.approx(9.0),
    ]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(terminal(), id="the declaration cannot work"),
        pytest.param(credential_refused(), id="the credential was refused"),
        pytest.param(refused(), id="logged in, and the virtual host was refused"),
    ],
)
async def test_what_every_address_would_answer_is_not_asked_twice(
    bench: Bench, error: errors.ConnectError
) -> None:
    bench.resolver.hosts[RABBIT.host] = TWO
    bench.driver.then(error)
    assert await bench.failure(**behind(RABBIT, OTHER_RABBIT)) is error
    assert len(bench.driver.requests) == 1


async def test_every_address_is_named_with_its_answer(bench: Bench) -> None:
    bench.resolver.hosts[RABBIT.host] = TWO
    bench.driver.then(
        unreachable(f"{RABBIT} (192.0.2.7): connection refused"),
        errors.TransientError(Reason.CONNECT_TIMEOUT, "nothing answered"),
        unreachable(f"{OTHER_RABBIT} (192.0.2.1): no route to host"),
    )
    error = await bench.failure(**behind(RABBIT, OTHER_RABBIT))
    assert error.message == (
        f"{RABBIT} (192.0.2.7): connection refused; {RABBIT} (192.0.2.8): nothing answered; "
        f"{OTHER_RABBIT} (192.0.2.1): no route to host"
    )


@pytest.mark.parametrize(
    ("wanted", "is_left_alone"),
    [
        pytest.param((60.0, 30.0), 30.0, id="by all of them"),
        pytest.param((60.0, None), None, id="not by all of them"),
    ],
)
async def test_a_broker_is_left_alone_when_all_its_addresses_want_that(
    bench: Bench, wanted: tuple[float | None, ...], is_left_alone: float | None
) -> None:
    bench.resolver.hosts[RABBIT.host] = TWO
    bench.driver.then(*(throttled(retry_after=each) for each in wanted))
    error = await bench.failure()
    assert error.retry_after == is_left_alone


async def test_addresses_that_answer_the_same_are_named_together(bench: Bench) -> None:
    bench.resolver.hosts[RABBIT.host] = TWO
    bench.driver.then(
        *(unreachable(f"{RABBIT} ({address}): connection refused") for address in TWO)
    )
    error = await bench.failure()
    assert error.message == f"{RABBIT} (192.0.2.7, 192.0.2.8): connection refused"


async def test_many_different_answers_are_not_all_told(bench: Bench) -> None:
    """A name can have a hundred addresses, and a message is to be read."""
    bench.resolver.hosts[RABBIT.host] = tuple(f"192.0.2.{number}" for number in range(100, 112))
    bench.driver.then(*(unreachable(f"answer {number}") for number in range(12)))
    error = await bench.failure()
    assert "answer 7" in error.message
    assert error.message.endswith("; and 4 more")


# --- time


async def test_one_endpoint_has_all_the_time(bench: Bench) -> None:
    await bench.success(connect_timeout=12.0)
    [request] = bench.driver.requests
    assert request.timeout == pytest.approx(12.0)


async def test_the_time_that_is_left_is_shared_among_the_endpoints_that_are_left(
    bench: Bench,
) -> None:
    """An endpoint that never answers must not use up the turn of the next one."""
    bench.driver.then(SILENCE, SILENCE, None)
    await bench.success(
        within=8.0, connect_timeout=12.0, **behind(RABBIT, OTHER_RABBIT, THIRD_RABBIT)
    )
    assert [request.timeout for request in bench.driver.requests] == [
        pytest.approx(4.0),
        pytest.approx(4.0),
        pytest.approx(4.0),
    ]


async def test_what_an_endpoint_does_not_use_is_left_to_the_others(bench: Bench) -> None:
    bench.driver.then(unreachable(), SILENCE, None)
    await bench.success(
        within=6.0, connect_timeout=12.0, **behind(RABBIT, OTHER_RABBIT, THIRD_RABBIT)
    )
    assert [request.timeout for request in bench.driver.requests] == [
        pytest.approx(4.0),
        pytest.approx(6.0),
        pytest.approx(6.0),
    ]


async def test_a_lookup_uses_the_time_of_its_own_endpoint(bench: Bench) -> None:
    bench.resolver.hosts[RABBIT.host] = SILENCE
    await bench.success(within=5.0, connect_timeout=10.0, **behind(RABBIT, OTHER_RABBIT))
    [request] = bench.driver.requests
    assert request.endpoint == OTHER_RABBIT
    assert request.timeout == pytest.approx(5.0)


async def test_one_limit_holds_for_the_attempt_as_a_whole(bench: Bench) -> None:
    bench.driver.otherwise = SILENCE
    error = await bench.failure(
        within=12.0, connect_timeout=12.0, **behind(RABBIT, OTHER_RABBIT, THIRD_RABBIT)
    )
    assert error.reason is Reason.CONNECT_TIMEOUT
    assert bench.clock.elapsed == pytest.approx(12.0)


async def test_a_lookup_that_never_ends_is_given_up(bench: Bench) -> None:
    bench.resolver.hosts[RABBIT.host] = SILENCE
    error = await bench.failure(within=10.0)
    assert isinstance(error, errors.TransientError)
    assert error.reason is Reason.NAME_RESOLUTION_FAILED
    assert f'"{RABBIT.host}"' in error.message
    assert "longer than 10 s" in error.message


async def test_a_credential_that_never_comes_is_given_up(bench: Bench) -> None:
    bench.credentials.answer = SILENCE
    error = await bench.failure(within=10.0)
    assert isinstance(error, errors.TransientError)
    assert error.reason is Reason.CONNECT_TIMEOUT
    assert not bench.driver.requests


async def test_when_the_time_is_up_the_rest_is_hardly_tried(bench: Bench) -> None:
    """A slow sink can use up the time; what is left then is a moment, never less than nothing."""

    bench.steps.lookup_seconds = 60.0
    bench.driver.otherwise = SILENCE
    await bench.failure(within=121.0, **behind(RABBIT, OTHER_RABBIT))
    assert all(0 < request.timeout <= 0.001 for request in bench.driver.requests)


# --- turns


async def test_an_attempt_waits_for_its_turn_before_its_time_begins(bench: Bench) -> None:
    bench.driver.then(SILENCE, None)
    first = asyncio.ensure_future(bench.attempt(a_spec(connect_timeout=60.0)))
    second = asyncio.ensure_future(bench.attempt(a_spec(connect_timeout=5.0)))
    await bench.clock.advance(30.0)
    assert bench.journal.count("started") == 1
    bench.driver.release()
    await bench.clock.settle()
    assert bench.journal.count("started") == 2
    assert first.result().connection is not second.result().connection
    assert bench.driver.requests[1].timeout == pytest.approx(5.0)


@pytest.mark.parametrize(
    "answer", [pytest.param(None, id="success"), pytest.param(unreachable(), id="failure")]
)
async def test_the_turn_is_given_back(bench: Bench, answer: Exception | None) -> None:
    bench.driver.then(answer)
    await asyncio.gather(bench.attempt(a_spec()), return_exceptions=True)
    assert not bench.limit.locked()


async def test_a_cancelled_attempt_gives_its_turn_back_and_leaves_nothing_open(
    bench: Bench,
) -> None:
    bench.driver.then(SILENCE)
    task = asyncio.ensure_future(bench.attempt(a_spec()))
    await bench.clock.settle()
    task.cancel()
    await bench.clock.settle()
    assert task.cancelled()
    assert bench.driver.cancelled == 1
    assert not bench.driver.connections
    assert not bench.limit.locked()


# --- failures


async def test_without_a_credential_nobody_is_asked(bench: Bench) -> None:
    bench.credentials.answer = no_secret()
    assert await bench.failure() is bench.credentials.answer
    assert not bench.driver.requests
    assert not bench.resolver.lookups


async def test_without_certificates_nobody_is_asked(bench: Bench) -> None:
    bench.tls.answer = errors.TerminalError(Reason.TLS_FAILED, "the certificate is not PEM")
    assert await bench.failure() is bench.tls.answer
    assert not bench.driver.requests


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(terminal(), id="the declaration cannot work"),
        pytest.param(credential_refused(), id="the credential was refused"),
        pytest.param(refused(), id="logged in, and the virtual host was refused"),
        pytest.param(
            errors.TransientError(Reason.VIRTUAL_HOST_DOWN, "down", authenticated=True),
            id="logged in, and the virtual host is down",
        ),
    ],
)
async def test_what_every_endpoint_would_answer_is_not_asked_twice(
    bench: Bench, error: errors.ConnectError
) -> None:
    """The endpoints are those of one broker; a refused login repeated locks accounts."""
    bench.driver.then(error)
    assert await bench.failure(**behind(RABBIT, OTHER_RABBIT)) is error
    assert len(bench.driver.requests) == 1


async def test_what_every_endpoint_would_answer_outweighs_what_failed_before(
    bench: Bench,
) -> None:
    decisive = credential_refused()
    bench.driver.then(unreachable(), decisive)
    assert await bench.failure(**behind(RABBIT, OTHER_RABBIT, THIRD_RABBIT)) is decisive
    assert len(bench.driver.requests) == 2


async def test_the_only_failure_is_reported_as_it_is(bench: Bench) -> None:
    bench.driver.then(error := unreachable())
    assert await bench.failure() is error


async def test_several_failures_are_told_endpoint_by_endpoint(bench: Bench) -> None:
    bench.driver.then(unreachable("nobody listens"), unreachable("no route"))
    error = await bench.failure(**behind(RABBIT, OTHER_RABBIT))
    assert isinstance(error, errors.TransientError)
    assert error.message == (
        f"{RABBIT} (192.0.2.1): nobody listens; {OTHER_RABBIT} (192.0.2.1): no route"
    )


async def test_an_endpoint_that_the_driver_has_named_is_not_named_again(bench: Bench) -> None:
    bench.driver.then(unreachable(f"{RABBIT} does not answer"), unreachable("no route"))
    error = await bench.failure(**behind(RABBIT, OTHER_RABBIT))
    assert error.message == f"{RABBIT} does not answer; {OTHER_RABBIT} (192.0.2.1): no route"


@pytest.mark.parametrize(
    ("answers", "family", "reason"),
    [
        pytest.param(
            (unreachable(), errors.RejectedError(Reason.ACCESS_REFUSED, "not you")),
            errors.TransientError,
            Reason.CONNECTION_REFUSED,
            id="what may pass by itself decides over what may not",
        ),
        pytest.param(
            (unreachable(), errors.TransientError(Reason.TLS_FAILED, "reset")),
            errors.TransientError,
            Reason.TLS_FAILED,
            id="the last of what may pass gives the reason",
        ),
        pytest.param(
            (
                errors.RejectedError(Reason.ACCESS_REFUSED, "not you"),
                errors.RejectedError(Reason.CONNECTION_LIMIT_REACHED, "too many"),
            ),
            errors.RejectedError,
            Reason.CONNECTION_LIMIT_REACHED,
            id="among refusals the last decides",
        ),
    ],
)
async def test_which_of_several_failures_decides(
    bench: Bench,
    answers: tuple[errors.ConnectError, ...],
    family: type[errors.ConnectError],
    reason: Reason,
) -> None:
    bench.driver.then(*answers)
    error = await bench.failure(**behind(RABBIT, OTHER_RABBIT))
    assert type(error) is family
    assert error.reason is reason


async def test_no_failure_shows_a_secret(bench: Bench) -> None:
    bench.credentials.answer = a_credential("hunter2")
    bench.driver.otherwise = unreachable()
    error = await bench.failure(**behind(RABBIT, OTHER_RABBIT))
    assert "hunter2" not in f"{error!r} {error} {bench.driver.requests!r}"


# --- where nothing is connected to


async def test_an_address_that_no_broker_has_is_not_connected_to(bench: Bench) -> None:
    """It is checked after the lookup: a name can point anywhere."""
    bench.resolver.hosts[RABBIT.host] = ("169.254.169.254",)
    error = await bench.failure(**behind(RABBIT))
    assert isinstance(error, errors.RejectedError)
    assert error.reason is Reason.ADDRESS_NOT_ALLOWED
    assert bench.driver.requests == []


async def test_an_address_that_came_with_its_endpoint_is_checked_as_well(bench: Bench) -> None:
    """What stands behind a Service is written by whoever may write EndpointSlices."""
    bench.endpoints.answer = [ResolvedEndpoint(RABBIT, ("127.0.0.1",))]
    error = await bench.failure(**behind())
    assert error.reason is Reason.ADDRESS_NOT_ALLOWED
    assert bench.driver.requests == []


async def test_the_other_endpoints_are_tried_all_the_same(bench: Bench) -> None:
    bench.resolver.hosts[RABBIT.host] = ("127.0.0.1",)
    success = await bench.success(**behind(RABBIT, OTHER_RABBIT))
    assert success.connection.info.endpoint == OTHER_RABBIT


async def test_the_failures_of_many_endpoints_are_told_in_one_short_message(bench: Bench) -> None:
    hosts = [Endpoint(f"{'x' * 60}.{'y' * 60}.{number}.example", 5672) for number in range(64)]
    bench.driver.otherwise = unreachable("nobody listens, " + "and nobody ever did " * 20)
    error = await bench.failure(**behind(*hosts))
    assert isinstance(error, errors.ConnectError)
    assert len(error.message.encode()) <= 1024
    assert error.message.startswith(f"{hosts[0]} (")
    assert "): nobody listens" in error.message
