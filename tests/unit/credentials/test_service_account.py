"""`serviceAccount`: what comes of a token that the API server has issued."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
import pytest

from springline.api.v1alpha1 import ServiceAccountReference
from springline.core import deadline
from springline.core.values import CredentialKind
from springline.credentials.service_account import ServiceAccountSources
from springline.errors import CredentialError, CredentialUnavailableError
from springline.reasons import Reason
from springline.redaction import Secret
from support.fake_clock import EIGHT, FakeClock

KEY = "only-for-tests-0123456789abcdef0123456789abcdef"
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Token:
    """As `core.ports.IssuedToken`."""

    value: Secret
    lifetime: float


class Tokens:
    """Issues tokens as the API server does, as `core.ports.ServiceAccountTokens`."""

    def __init__(self, clock: FakeClock) -> None:
        self.asked: list[tuple[str, str, str, int]] = []
        self.failure: Exception | None = None
        self.seconds = 0.0
        """How long an answer takes."""
        self.claimed = 0
        """For how long a token is valid by what it says of itself, if not for as long as asked."""
        self._clock = clock

    async def issue(self, namespace: str, name: str, *, audience: str, seconds: int) -> Token:
        self.asked.append((namespace, name, audience, seconds))
        await self._clock.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        claims = {
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "aud": [audience],
            # Of a clock that is years ahead of ours.
            "iat": 4_102_444_800 - (self.claimed or seconds),
            "exp": 4_102_444_800,
            "jti": str(len(self.asked)),
        }
        return Token(Secret(jwt.encode(claims, KEY, algorithm="HS256")), float(seconds))

    async def own_audiences(self) -> frozenset[str]:
        return frozenset({"https://kubernetes.default.svc"})


@pytest.fixture
async def clock() -> AsyncIterator[FakeClock]:
    """A clock that stands still, and the event loop with it."""
    clock = FakeClock()
    with clock.drives(asyncio.get_running_loop()):
        yield clock


@pytest.fixture
def tokens(clock: FakeClock) -> Tokens:
    return Tokens(clock)


@pytest.fixture
def sources(tokens: Tokens, clock: FakeClock) -> ServiceAccountSources:
    return ServiceAccountSources(tokens, clock)


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert caplog.text == ""


def reference(name: str = "orders", **fields: Any) -> ServiceAccountReference:
    return ServiceAccountReference(name=name, **{"audience": "rabbitmq", **fields})


async def test_token_logs_in_as_its_service_account(
    sources: ServiceAccountSources, tokens: Tokens
) -> None:
    """RabbitMQ takes the subject for the user, and so status shows it."""
    credential = await sources.source("apps", reference()).fetch()
    assert credential.kind is CredentialKind.TOKEN
    assert credential.source == "serviceAccount"
    assert credential.username == "system:serviceaccount:apps:orders"
    assert credential.secret.reveal() not in repr(credential)
    assert tokens.asked == [("apps", "orders", "rabbitmq", 3600)]


async def test_expiration_is_asked_for_in_seconds(
    sources: ServiceAccountSources, tokens: Tokens
) -> None:
    await sources.source("apps", reference(expiration=timedelta(minutes=10))).fetch()
    assert tokens.asked == [("apps", "orders", "rabbitmq", 600)]


async def test_lifetime_counts_by_our_clock_from_when_it_was_asked_for(
    sources: ServiceAccountSources, tokens: Tokens, clock: FakeClock
) -> None:
    """However late the answer is, the token does not expire before it is thought to."""
    tokens.seconds = 5
    credential = await clock.result(sources.source("apps", reference()).fetch(), within=5)
    assert credential.issued_at == EIGHT
    assert credential.expires_at == EIGHT + timedelta(seconds=HOUR)


@pytest.mark.parametrize(
    ("claimed", "expected"), [(600, 600), (7200, HOUR)], ids=["the token", "the answer"]
)
async def test_shorter_of_two_lifetimes_counts(
    sources: ServiceAccountSources, tokens: Tokens, claimed: int, expected: float
) -> None:
    """The broker looks at the token alone."""
    tokens.claimed = claimed
    credential = await sources.source("apps", reference()).fetch()
    assert credential.expires_at == EIGHT + timedelta(seconds=expected)


async def test_lifetime_is_measured_from_the_request_by_the_monotonic_clock(
    sources: ServiceAccountSources, tokens: Tokens, clock: FakeClock
) -> None:
    asked = deadline.instant(clock)
    tokens.seconds = 5
    credential = await clock.result(sources.source("apps", reference()).fetch(), within=5)
    assert credential.received == asked


async def test_what_is_declared_alike_shares_a_token(
    sources: ServiceAccountSources, tokens: Tokens, clock: FakeClock
) -> None:
    """A thousand connections are one request."""
    tokens.seconds = 1
    alike = [sources.source("apps", reference()) for _ in range(3)]
    together = asyncio.gather(*(each.fetch() for each in alike))
    first, *others = await clock.result(together, within=1)
    assert all(each is first for each in others)
    assert len(tokens.asked) == 1


@pytest.mark.parametrize(
    ("namespace", "other"),
    [
        ("billing", reference()),
        ("apps", reference("other")),
        ("apps", reference(audience="other")),
        ("apps", reference(expiration=timedelta(minutes=10))),
    ],
    ids=["namespace", "name", "audience", "expiration"],
)
async def test_what_differs_has_a_token_of_its_own(
    sources: ServiceAccountSources, tokens: Tokens, namespace: str, other: ServiceAccountReference
) -> None:
    """Above all a namespace never gets the token of another."""
    here, there = sources.source("apps", reference()), sources.source(namespace, other)
    assert not (await here.fetch()).same_value(await there.fetch())
    assert len(tokens.asked) == 2


async def test_valid_token_serves_until_another_is_wanted(
    sources: ServiceAccountSources, tokens: Tokens
) -> None:
    source = sources.source("apps", reference())
    first = await source.fetch()
    assert await source.fetch() is first
    second = await source.fetch(instead_of=first)
    assert not second.same_value(first)
    assert await source.fetch() is second
    assert len(tokens.asked) == 2


async def test_expired_token_is_not_handed_out(
    sources: ServiceAccountSources, clock: FakeClock
) -> None:
    source = sources.source("apps", reference())
    first = await source.fetch()
    await clock.advance(HOUR)
    assert not (await source.fetch()).same_value(first)


@pytest.mark.parametrize("kind", [CredentialError, CredentialUnavailableError])
async def test_refusal_keeps_the_token_that_is_still_valid(
    sources: ServiceAccountSources, tokens: Tokens, kind: type[CredentialError]
) -> None:
    """Whoever wants another is told; whoever only wants to log in gets it."""
    source = sources.source("apps", reference())
    first = await source.fetch()
    tokens.failure = kind(Reason.TOKEN_REQUEST_FAILED, "there is no ServiceAccount")
    with pytest.raises(kind, match="there is no ServiceAccount") as caught:
        await source.fetch(instead_of=first)
    assert first.secret.reveal() not in "".join(traceback.format_exception(caught.value))
    assert await source.fetch() is first
