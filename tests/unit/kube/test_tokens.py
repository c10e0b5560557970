"""Tokens of ServiceAccounts: what is asked for, what is believed, and what a refusal means."""

import base64
import json
import logging
import traceback
from collections.abc import Iterator
from typing import Any, cast

import pytest

from springline.errors import CredentialError, CredentialUnavailableError
from springline.kube.access import Access, AccessError
from springline.kube.client import Client
from springline.kube.tokens import KubernetesTokens, ServiceAccountToken
from springline.reasons import Reason
from support.fake_apiserver import Deed, FakeAPIServer, answering, closing, refusing

PATH = "/api/v1/namespaces/apps/serviceaccounts/orders/token"
ISSUED = "planted-header.planted-payload.planted-signature"
WHERE = 'ServiceAccount "orders" in namespace "apps"'


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert "planted" not in caplog.text


class OwnToken:
    """The way to the API server, as far as our own token goes, as `kube.access.Access`."""

    def __init__(self) -> None:
        self.answer: str | Exception | None = None

    async def token(self) -> str | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def for_audience(self, audience: object) -> None:
        claims = base64.urlsafe_b64encode(json.dumps({"aud": audience}).encode()).decode()
        self.answer = f"planted-header.{claims}.planted-signature"


@pytest.fixture
def own() -> OwnToken:
    return OwnToken()


@pytest.fixture
def tokens(client: Client, own: OwnToken) -> KubernetesTokens:
    return KubernetesTokens(client, cast(Access, own))


def answer(
    *,
    created: str | None = "2026-11-21T08:00:00Z",
    expires: str | None = "2026-11-21T09:00:07Z",
    granted: int | None = 3607,
) -> dict[str, Any]:
    """What the API server says; None is left out."""
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": "orders", **({"creationTimestamp": created} if created else {})},
        "spec": {"audiences": ["rabbitmq"], **({"expirationSeconds": granted} if granted else {})},
        "status": {"token": ISSUED, **({"expirationTimestamp": expires} if expires else {})},
    }


async def issued(tokens: KubernetesTokens) -> ServiceAccountToken:
    return await tokens.issue("apps", "orders", audience="rabbitmq", seconds=1800)


async def failure(tokens: KubernetesTokens) -> CredentialError:
    """Return the error of a request. Nothing about it shows a token, ours or theirs."""
    with pytest.raises(CredentialError) as caught:
        await issued(tokens)
    error = caught.value
    assert error.reason is Reason.TOKEN_REQUEST_FAILED
    assert "planted" not in "".join(traceback.format_exception(error))
    return error


async def refused(tokens: KubernetesTokens) -> str:
    """Return the words of an error that somebody has to do something about."""
    error = await failure(tokens)
    assert not isinstance(error, CredentialUnavailableError)
    return error.message


async def unavailable(tokens: KubernetesTokens) -> str:
    """Return the words of an error that may pass by itself."""
    error = await failure(tokens)
    assert isinstance(error, CredentialUnavailableError)
    return error.message


# --- what is asked for


async def test_token_is_for_one_audience_and_a_time(
    server: FakeAPIServer, tokens: KubernetesTokens
) -> None:
    """It is bound to nothing but its ServiceAccount."""
    server.script.append(answering(answer(), status=201))
    token = await issued(tokens)
    assert token.value.reveal() == ISSUED
    assert "planted" not in repr(token)
    [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", PATH)
    assert json.loads(asked.body) == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": ["rabbitmq"], "expirationSeconds": 1800},
    }


# --- how long it is valid

LIFETIMES: dict[str, tuple[dict[str, Any], float]] = {
    "from its creation to its expiry": (answer(), 3607),
    "what was granted, without a creation": (answer(created=None), 3607),
    "what was granted, without an expiry": (answer(expires=None), 3607),
    "what was granted, if it ends before it begins": (
        answer(expires="2026-11-21T07:00:00Z"),
        3607,
    ),
    "what was granted, if a time is none": (answer(created="yesterday"), 3607),
    "what was granted, if a time has no zone": (answer(created="2026-11-21T08:00:00"), 3607),
    "what was asked for, where nothing else is said": (answer(created=None, granted=None), 1800),
    "what was asked for, if nothing was granted": (answer(created=None, granted=-1), 1800),
}


@pytest.mark.parametrize(("said", "seconds"), LIFETIMES.values(), ids=LIFETIMES.keys())
async def test_lifetime_is_what_the_api_server_says(
    server: FakeAPIServer, tokens: KubernetesTokens, said: dict[str, Any], seconds: float
) -> None:
    """Both times are its own: what our clock says does not matter, and here it is years off."""
    server.script.append(answering(said, status=201))
    assert (await issued(tokens)).lifetime == seconds


# --- what goes wrong


async def test_missing_service_account_is_to_be_created(
    server: FakeAPIServer, tokens: KubernetesTokens
) -> None:
    server.script.append(refusing(404, "NotFound", 'serviceaccounts "orders" not found'))
    assert await refused(tokens) == f"there is no {WHERE}; create it"


async def test_missing_permission_names_the_value_of_the_chart(
    server: FakeAPIServer, tokens: KubernetesTokens
) -> None:
    """The API server's words follow, for admission may refuse it too."""
    server.script.append(refusing(403, "Forbidden", 'serviceaccounts "orders" is forbidden'))
    message = await refused(tokens)
    assert 'in namespace "apps"; set serviceAccountTokens.enabled in the values' in message
    assert message.endswith('(serviceaccounts "orders" is forbidden)')


@pytest.mark.parametrize(("code", "reason"), [(422, "Invalid"), (400, "BadRequest")])
async def test_refused_request_is_to_be_corrected(
    server: FakeAPIServer, tokens: KubernetesTokens, code: int, reason: str
) -> None:
    words = "spec.expirationSeconds: may not specify a duration less than 10 minutes"
    server.script.append(refusing(code, reason, words))
    assert await refused(tokens) == (
        f"the API server gives no such token of {WHERE}; correct the audience or the expiration "
        f"of credentials.serviceAccount ({words})"
    )


PASSING: dict[str, tuple[list[Deed], str]] = {
    "no answer": ([closing], "the API server cannot be reached: "),
    "an error of its own": ([refusing(500, "InternalError", "etcd is away")], "etcd is away"),
    "too many requests": ([refusing(429, "TooManyRequests", "slow down")], "slow down"),
    "it does not know us, twice": ([refusing(401, "Unauthorized", "who?")] * 2, "who?"),
    "a 404 of something in front of it": ([answering("no route", status=404)], "no route"),
    "no JSON": ([answering(ISSUED)], "is this an API server?"),
    "no token": (
        [answering({**answer(), "status": {"token": ""}})],
        f"the API server answered without a token of {WHERE}",
    ),
    "no status": (
        [answering({**answer(), "status": [ISSUED]})],
        f"the API server answered without a token of {WHERE}",
    ),
}


@pytest.mark.parametrize(("deeds", "words"), PASSING.values(), ids=PASSING.keys())
async def test_what_may_pass_is_said_so(
    server: FakeAPIServer, tokens: KubernetesTokens, deeds: list[Deed], words: str
) -> None:
    server.script.extend(deeds)
    assert words in await unavailable(tokens)
    server.script.append(answering(answer(), status=201))
    assert (await issued(tokens)).value.reveal() == ISSUED


async def test_wish_of_the_api_server_to_be_left_alone_is_passed_on(
    server: FakeAPIServer, tokens: KubernetesTokens
) -> None:
    """Who asks again, and when, is the business of those who share the token."""
    server.script.append(refusing(429, "TooManyRequests", "slow down", retry_after="120"))
    with pytest.raises(CredentialUnavailableError) as caught:
        await tokens.issue("apps", "orders", audience="rabbitmq", seconds=1800)
    assert caught.value.retry_after == 120.0


@pytest.mark.parametrize("declared", ["api-of-this-cluster", ["another", "api-of-this-cluster"]])
async def test_no_token_is_asked_for_that_the_api_server_itself_would_take(
    tokens: KubernetesTokens, own: OwnToken, server: FakeAPIServer, declared: object
) -> None:
    """Whoever declares a connection names the broker, too, and could act as the ServiceAccount."""
    own.for_audience(declared)
    with pytest.raises(CredentialError) as caught:
        await tokens.issue("apps", "orders", audience="api-of-this-cluster", seconds=1800)
    assert caught.value.reason is Reason.TOKEN_REQUEST_FAILED
    assert 'the audience "api-of-this-cluster" is that of the API server' in caught.value.message
    assert server.asked == []


async def test_the_usual_audience_of_api_servers_is_refused_in_any_case(
    tokens: KubernetesTokens, server: FakeAPIServer
) -> None:
    """A client certificate, with which Springline may log in, names none."""
    with pytest.raises(CredentialError):
        await tokens.issue(
            "apps", "orders", audience="https://kubernetes.default.svc", seconds=1800
        )
    assert server.asked == []


@pytest.mark.parametrize("own_token", ["no-jwt", None, AccessError("gone"), 5, [5], {}])
async def test_an_own_token_that_tells_nothing_is_no_obstacle(
    tokens: KubernetesTokens, own: OwnToken, server: FakeAPIServer, own_token: Any
) -> None:
    if isinstance(own_token, str | None | Exception):
        own.answer = own_token
    else:
        own.for_audience(own_token)
    server.script.append(answering(answer(), status=201))
    assert (await issued(tokens)).lifetime == 3607
