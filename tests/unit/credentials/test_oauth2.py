"""`oauth2`: a real token endpoint over HTTPS, right and wrong answers, and who learns what of them.

Whatever goes wrong, the client's secret is in no message and in no traceback.
"""

import asyncio
import base64
import email.utils
import html
import logging
import traceback
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from random import Random
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import jwt
import pytest
import trustme

from springline import errors
from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core import deadline, ports
from springline.core.addresses import LOOPBACK, AddressPolicy, Network
from springline.core.values import Credential, CredentialKind
from springline.credentials import token_endpoint
from springline.credentials.certificates import PreparedClients
from springline.credentials.oauth2 import OAuth2Sources
from springline.errors import CredentialError, CredentialUnavailableError
from springline.reasons import Reason
from springline.resolver import SystemResolver
from springline.standalone.tokens import NoTokens
from support import leaks, token_server
from support.fake_clock import EIGHT, FakeClock
from support.identities import Issuer
from support.objects import FakeReader, HeldObject
from support.ports import lease
from support.token_server import Registered, TokenServer, serving
from support.waiting import eventually

SECRET = "pl4nted secret:100%+ü&<b>"
TEN_YEARS = 10 * 365 * 86400

OTHER_CA = trustme.CA().cert_pem.bytes()


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    """A token endpoint that knows the client `orders`; nothing of a test stays behind."""
    async with leaks.checked(), serving({"orders": Registered(secret=SECRET)}) as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    """A clock of ours that knows nothing of the server's."""
    return FakeClock()


class Sources:
    """Sources of the namespace `apps`, whose client and authority are in place."""

    def __init__(
        self,
        reader: FakeReader,
        server: TokenServer,
        clock: FakeClock,
        *,
        allowed: Iterable[Network] = LOOPBACK,
    ) -> None:
        self.reader = reader
        self.server = server
        self._sources = OAuth2Sources(
            reader,
            PreparedClients(),
            clock,
            NoTokens(),
            resolver=SystemResolver(Random(1)),  # noqa: S311 - nothing is drawn
            addresses=AddressPolicy(allowed),
        )
        self.client(secret=SECRET)
        reader.put("idp-ca", {"ca.crt": server.ca}, kind="ConfigMap")

    def client(self, identifier: str = "orders", *, secret: str) -> None:
        """Have this client in the Secret."""
        values = {"client-id": identifier.encode(), "client-secret": secret.encode()}
        self.reader.put("orders-client", values)

    def declared(self, *, namespace: str = "apps", **fields: Any) -> ports.CredentialSource:
        """The source of what is declared so."""
        declared = v1alpha1.OAuth2(
            **{
                "token_url": self.server.url,
                "client_ref": v1alpha1.ClientReference(name="orders-client"),
                "ca_ref": v1alpha1.CAReference(name="idp-ca"),
                **fields,
            }
        )
        return self._sources.source(namespace, declared)


@pytest.fixture
def sources(reader: FakeReader, server: TokenServer, clock: FakeClock) -> Sources:
    return Sources(reader, server, clock)


async def failed(source: ports.CredentialSource) -> CredentialError:
    """Return what asking for a token fails with; the secret is nowhere in it."""
    with pytest.raises(CredentialError) as caught:
        await source.fetch()
    assert "pl4nted" not in "".join(traceback.format_exception(caught.value))
    assert "pl4nted" not in repr(caught.value)
    return caught.value


# --- asking


async def test_token_tells_whose_it_is_and_when_it_ends(
    sources: Sources, server: TokenServer, clock: FakeClock
) -> None:
    credential = await sources.declared().fetch()
    assert credential.kind is CredentialKind.TOKEN
    assert credential.source == "oauth2"
    assert credential.username == "ann"
    assert credential.secret.reveal() == server.tokens[0]
    assert credential.issued_at == clock.now()
    assert credential.expires_at == clock.now() + timedelta(hours=1)
    assert server.tokens[0] not in repr(credential)


@pytest.mark.parametrize("method", ["Basic", "Post"])
@pytest.mark.parametrize(
    ("identifier", "secret"),
    [
        ("orders", "plain"),
        ("a:b c", SECRET),
        ("https://orders.example/?a=1&b", "100% +plus %2B ü €"),
        ("ö", ":"),
    ],
    ids=["plain", "colon and space", "a URL and escapes", "beyond Latin"],
)
async def test_client_shows_who_it_is_in_both_ways(
    sources: Sources, server: TokenServer, method: str, identifier: str, secret: str
) -> None:
    """RFC 6749 §2.3.1: form-encoded, also in the header."""
    server.clients = {identifier: Registered(secret=secret, methods=[method])}
    sources.client(identifier, secret=secret)
    await sources.declared(client_authentication=method).fetch()
    [request] = server.requests
    assert (request.client_id, request.method) == (identifier, method)


async def test_scopes_and_audience_are_asked_for(sources: Sources, server: TokenServer) -> None:
    server.clients["orders"].scopes = ["rabbitmq.read:*/*", "rabbitmq.write:*/*"]
    await sources.declared(
        scopes=("rabbitmq.read:*/*", "rabbitmq.write:*/*"), audience="rabbitmq"
    ).fetch()
    assert server.requests[0].form == {
        "grant_type": "client_credentials",
        "scope": "rabbitmq.read:*/* rabbitmq.write:*/*",
        "audience": "rabbitmq",
    }


async def test_what_is_not_declared_is_not_asked_for(sources: Sources, server: TokenServer) -> None:
    await sources.declared().fetch()
    assert server.requests[0].form == {"grant_type": "client_credentials"}


async def test_keys_of_the_secret_may_have_other_names(
    sources: Sources, server: TokenServer
) -> None:
    sources.reader.put("other", {"id": b"orders", "key": SECRET.encode()})
    reference = v1alpha1.ClientReference(name="other", id_key="id", secret_key="key")
    await sources.declared(client_ref=reference).fetch()
    assert server.requests[0].client_id == "orders"


@pytest.mark.parametrize("method", ["Basic", "Post"])
async def test_no_log_of_any_library_has_a_secret(
    sources: Sources, server: TokenServer, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the level, and whether there is a token or not."""
    caplog.set_level(logging.NOTSET)
    source = sources.declared(client_authentication=method)
    first = await source.fetch()
    server.then(token_server.answer({"error": "invalid_client", "error_description": SECRET}))
    with pytest.raises(CredentialError):
        await source.fetch(instead_of=first)
    for hidden in (server.tokens[0], *ECHOES.values()):
        assert hidden not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("oauthlib")]


async def test_line_break_at_the_end_is_no_part_of_the_client(
    sources: Sources, server: TokenServer
) -> None:
    sources.client("orders\n", secret=f"{SECRET}\r\n")
    await sources.declared().fetch()
    assert server.requests[0].client_id == "orders"


# --- how long it lives


@pytest.mark.parametrize("skew", [-86400, -5, 5, 86400])
@pytest.mark.parametrize("says_lifetime", [True, False], ids=["expires_in", "exp - iat"])
async def test_clock_of_the_server_does_not_matter(
    sources: Sources, server: TokenServer, skew: float, says_lifetime: bool
) -> None:
    """Only how long a token lives is the server's to say, not until when by our clock."""
    server.skew, server.says_lifetime = skew, says_lifetime
    server.seconds = 600
    credential = await sources.declared().fetch()
    assert credential.issued_at == EIGHT
    assert credential.expires_at is not None
    assert abs((credential.expires_at - EIGHT).total_seconds() - 600) <= 1


def granting(token: str = "opaque", **fields: Any) -> token_server.Answer:
    """Return what grants a token so; its answer has no Date."""
    granted = {"access_token": token, "token_type": "Bearer", **fields}
    return token_server.answer(granted, Date="")


async def test_opaque_token_says_nothing_of_itself(sources: Sources, server: TokenServer) -> None:
    server.then(granting())
    credential = await sources.declared().fetch()
    assert (credential.username, credential.expires_at) == ("", None)
    assert credential.secret.reveal() == "opaque"


async def test_opaque_token_may_have_a_lifetime(sources: Sources, server: TokenServer) -> None:
    server.then(granting(expires_in=60))
    assert (await sources.declared().fetch()).expires_at == EIGHT + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [("3600", 3600), (90.5, 90.5), (None, None)],
    ids=["quoted", "a fraction", "none"],
)
async def test_lifetime_is_read_generously(
    sources: Sources,
    server: TokenServer,
    expires_in: object,
    seconds: float | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.then(granting(expires_in=expires_in))
    expected = None if seconds is None else EIGHT + timedelta(seconds=seconds)
    assert (await sources.declared().fetch()).expires_at == expected
    assert not caplog.records


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        pytest.param(10**400, TEN_YEARS, id="too many digits"),
        pytest.param(1e300, TEN_YEARS, id="beyond the calendar"),
        pytest.param("inf", TEN_YEARS, id="for ever"),
        pytest.param("nan", None, id="no number"),
        pytest.param("soon", None, id="a word"),
        pytest.param("\u202e" * 5000, None, id="what nobody can read"),
        pytest.param(True, None, id="true"),
        pytest.param([60], None, id="a list"),
    ],
)
async def test_lifetime_that_makes_no_sense_is_bounded_and_said_to_be(
    sources: Sources,
    server: TokenServer,
    expires_in: object,
    seconds: float | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the server meant nobody knows; the token serves all the same."""
    server.then(granting(expires_in=expires_in))
    expected = None if seconds is None else EIGHT + timedelta(seconds=seconds)
    assert (await sources.declared().fetch()).expires_at == expected
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "expires_in of a token" in record.message
    shown = str(vars(record)["expires_in"])
    assert shown.isprintable()
    assert len(shown) <= 41


@pytest.mark.parametrize(
    ("told", "claimed", "expected"),
    [
        pytest.param(3600, {"exp": 600}, 600, id="the token says less than the answer"),
        pytest.param(600, {"exp": 3600}, 600, id="the answer says less than the token"),
        pytest.param(600, {"exp": 599}, 600, id="both the same but for whole seconds"),
        pytest.param(3600, {"iat": -3000, "exp": 600}, 600, id="a token from the server's cache"),
        pytest.param(None, {"iat": -3000, "exp": 600}, 600, id="the same, the token alone says"),
        pytest.param(None, {"exp": 10**10}, TEN_YEARS, id="the token says far too much"),
    ],
)
async def test_shorter_of_two_lifetimes_counts(
    sources: Sources,
    server: TokenServer,
    told: float | None,
    claimed: dict[str, Any],
    expected: float,
) -> None:
    """By the clock of the server, which is that of its Date; RabbitMQ looks at the token alone."""
    noon = 1_800_000_000
    token = Issuer().token(**{name: noon + value for name, value in claimed.items()})
    sent_at = email.utils.formatdate(noon, usegmt=True)
    body: dict[str, Any] = {"access_token": token, "token_type": "Bearer"}
    server.then(token_server.answer(body | ({"expires_in": told} if told else {}), Date=sent_at))
    credential = await sources.declared().fetch()
    assert credential.expires_at == EIGHT + timedelta(seconds=expected)


async def test_server_that_tells_no_time_is_compared_with_our_clock(
    sources: Sources, server: TokenServer
) -> None:
    token = Issuer().token(exp=int(EIGHT.timestamp()) + 60)
    server.then(granting(token, expires_in=3600))
    assert (await sources.declared().fetch()).expires_at == EIGHT + timedelta(minutes=1)


async def test_lifetime_is_measured_from_the_request_by_the_monotonic_clock(
    sources: Sources, clock: FakeClock
) -> None:
    """A wall clock that is set makes it neither longer nor shorter."""
    credential = await sources.declared().fetch()
    assert credential.received == deadline.instant(clock)


ODDITIES: dict[str, dict[str, Any]] = {
    "more scopes": {"scope": "orders payments"},
    "other scopes": {"scope": "payments"},
    "scopes as a list": {"scope": ["orders"]},
    "scopes as a number": {"scope": 5},
    "no error": {"error": None},
    "an empty error": {"error": "", "error_description": ""},
    "a lifetime that is an object": {"expires_in": {}},
    "a lifetime that is null": {"expires_in": None},
    "an end in words": {"expires_at": "tomorrow"},
    "a refresh token": {"refresh_token": "another", "id_token": 5},
}


@pytest.mark.parametrize("fields", ODDITIES.values(), ids=ODDITIES.keys())
async def test_what_else_an_answer_has_does_not_matter(
    sources: Sources, server: TokenServer, fields: dict[str, Any]
) -> None:
    """What a token permits is the broker's to say."""
    server.then(granting(**fields))
    credential = await sources.declared(scopes=("orders",)).fetch()
    assert (credential.secret.reveal(), credential.expires_at) == ("opaque", None)


async def test_token_that_says_only_when_it_ends_is_believed(
    sources: Sources, server: TokenServer
) -> None:
    """Without a lifetime there is nothing better than the server's clock."""
    token = Issuer().token(exp=int(EIGHT.timestamp()) + 60)
    server.then(granting(token))
    assert (await sources.declared().fetch()).expires_at == EIGHT + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (granting(expires_in=0), "its expires_in is 0"),
        (granting(expires_in=-5), "its expires_in is -5"),
        (granting(expires_in=-(10**400)), "its expires_in is -1000"),
        (granting(Issuer().token(exp=1000)), "the clock here says 2026-11-21T08:00:00Z"),
        (
            token_server.answer(
                {"access_token": Issuer().token(exp=1000), "token_type": "Bearer"},
                Date="Sun, 06 Nov 1994 08:49:37 GMT",
            ),
            "its exp is 1970-01-01T00:16:40Z, and its own clock says 1994-11-06T08:49:37Z",
        ),
    ],
    ids=["no lifetime", "negative", "very negative", "past by our clock", "past by the server's"],
)
async def test_token_that_has_expired_is_none(
    sources: Sources, server: TokenServer, answer: token_server.Answer, text: str
) -> None:
    server.then(answer)
    error = await failed(sources.declared())
    assert isinstance(error, CredentialUnavailableError)
    assert "has expired already" in error.message
    assert text in error.message


# --- the server says no


REFUSALS = {
    "invalid_client": (401, "refused: 401 invalid_client: no; check client id and client secret"),
    "unauthorized_client": (400, "allow the client of Secret"),
    "unsupported_grant_type": (400, "the client credentials grant"),
    "invalid_scope": (400, "check oauth2.scopes"),
    "invalid_target": (400, "check oauth2.audience"),
    "invalid_request": (400, "check what is declared under oauth2"),
    "a_word_of_its_own": (403, "refused: 403 a_word_of_its_own: no; check what is declared"),
}


@pytest.mark.parametrize(("code", "expected"), REFUSALS.items(), ids=REFUSALS.keys())
async def test_refusal_says_what_to_do(
    sources: Sources, server: TokenServer, code: str, expected: tuple[int, str]
) -> None:
    """RFC 6749 §5.2: somebody has to do something, and the message names the Secret."""
    status, text = expected
    server.then(token_server.answer({"error": code, "error_description": "no"}, status=status))
    error = await failed(sources.declared())
    assert error.reason is Reason.TOKEN_REQUEST_FAILED
    assert not isinstance(error, CredentialUnavailableError)
    assert text in error.message
    assert 'Secret "orders-client"' in error.message
    assert server.url.split("/")[2] in error.message


async def test_refusal_may_come_as_a_success(sources: Sources, server: TokenServer) -> None:
    """Some servers answer 200 with an error; it stands, whatever is beside it."""
    server.then(granting(error="invalid_client", error_description="no"))
    error = await failed(sources.declared())
    assert not isinstance(error, CredentialUnavailableError)
    assert "refused: 200 invalid_client: no; check client id and client secret" in error.message


@pytest.mark.parametrize("code", ["invalid_request", "invalid_token", "missing_token"])
async def test_nothing_is_said_in_the_place_of_the_server(
    sources: Sources, server: TokenServer, code: str
) -> None:
    """No library puts a description to an error that came without one."""
    server.then(token_server.answer({"error": code}, status=400))
    assert f"refused: 400 {code}; check" in (await failed(sources.declared())).message


async def test_wrong_secret_is_refused(sources: Sources) -> None:
    """By the server's own judgement."""
    sources.client(secret="pl4nted and wrong")
    error = await failed(sources.declared())
    assert "invalid_client: unknown client or wrong secret" in error.message


async def test_unauthorized_without_a_word_is_about_the_client(
    sources: Sources, server: TokenServer
) -> None:
    server.then(token_server.answer("", status=401))
    error = await failed(sources.declared())
    assert not isinstance(error, CredentialUnavailableError)
    assert 'check client id and client secret in Secret "orders-client"' in error.message


async def test_redirect_is_not_followed(sources: Sources, server: TokenServer) -> None:
    """The secret goes to the declared URL and to no other."""
    elsewhere = server.url.replace("/token", "/elsewhere")
    server.then(token_server.answer("", status=307, Location=elsewhere))
    error = await failed(sources.declared())
    assert not isinstance(error, CredentialUnavailableError)
    assert "redirects (307), which is not followed" in error.message
    assert server.seen == 1


ECHOES = {
    "as it is": SECRET,
    "escaped for a URL": quote(SECRET, safe=""),
    "escaped for a form": quote_plus(SECRET),
    "escaped for HTML": html.escape(SECRET),
    "in Base64": base64.b64encode(SECRET.encode()).decode(),
    "the header": base64.b64encode(f"orders:{quote_plus(SECRET)}".encode()).decode(),
    "with a line break in it": SECRET.replace(" ", "\n"),
}


async def test_former_secret_that_the_server_echoes_is_not_shown(
    sources: Sources, server: TokenServer
) -> None:
    source = sources.declared()
    first = await source.fetch()
    sources.client(secret="another-secret-of-the-client")
    said = f"another-secret-of-the-client is no better than {SECRET}"
    for _ in range(2):  # also when it is read once more
        server.then(token_server.answer({"error": "invalid_client", "error_description": said}))
        with pytest.raises(CredentialError) as caught:
            await source.fetch(instead_of=first)
        assert "*** is no better than ***" in caught.value.message


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("field", ["error", "error_description"])
async def test_secret_that_the_server_echoes_is_not_shown(
    sources: Sources, server: TokenServer, field: str, echo: str
) -> None:
    body = {"error": "invalid_client", field: f"bad secret {echo}, sorry"}
    server.then(token_server.answer(body, status=401))
    error = await failed(sources.declared())
    assert echo not in error.message
    assert "bad secret ***, sorry" in error.message


async def test_what_the_server_says_is_made_fit_to_be_shown(
    sources: Sources, server: TokenServer
) -> None:
    """No control characters, no line breaks, and not a whole page."""
    nasty = "\x1b[31m\x00one\r\n\ttwo\u202e\u2028three " + "x" * 10_000
    server.then(
        token_server.answer({"error": "invalid_scope", "error_description": nasty}, status=400)
    )
    message = (await failed(sources.declared())).message
    assert message.isprintable()
    assert "invalid_scope: [31m one two three xxx" in message
    assert len(message) < 500


# --- the server cannot be asked


UNAVAILABLE = {
    "an error of the server": (token_server.answer("oops", status=500), "cannot give a token now"),
    "a gateway without a server": (
        token_server.answer("<html>502</html>", status=502),
        "cannot give a token now: 502",
    ),
    "too many requests": (
        token_server.answer({"error": "invalid_client"}, status=429),
        "cannot give a token now: 429",
    ),
    "the specification's word for it": (
        token_server.answer(
            {"error": "temporarily_unavailable", "error_description": "later"}, status=400
        ),
        "cannot give a token now: 400 temporarily_unavailable: later",
    ),
    "a page instead of a token": (
        token_server.answer("<html>Welcome</html>"),
        "something else than a JSON object; check oauth2.tokenURL",
    ),
    "a page that is not there": (
        token_server.answer("<html>404</html>", status=404),
        "answered 404 without a reason; check oauth2.tokenURL",
    ),
    "a reason without a code": (
        token_server.answer({"error_description": "no"}, status=400),
        "answered 400 no without a reason; check oauth2.tokenURL",
    ),
    "a code that is no text": (
        token_server.answer({"error": {"code": 7}}, status=400),
        "answered 400 without a reason; check oauth2.tokenURL",
    ),
    "a form": (
        token_server.answer("access_token=a&token_type=Bearer"),
        "something else than a JSON object",
    ),
    "a list": (token_server.answer("[]"), "something else than a JSON object"),
    "no text": (token_server.answer(b"\xff\xfe\x00"), "something else than a JSON object"),
    "half an object": (token_server.answer('{"access_token": "a'), "else than a JSON object"),
    "endless nesting": (token_server.answer("[" * 60_000), "else than a JSON object"),
    "no token": (token_server.answer({"token_type": "Bearer"}), "answered 200 without a token"),
    "an empty token": (granting(""), "answered 200 without a token"),
    "a token that is a number": (
        token_server.answer({"access_token": 5, "token_type": "Bearer"}),
        "answered 200 without a token",
    ),
    "a token with a line break": (granting("a\r\nb"), "that no login can carry"),
    "a token that is not ASCII": (granting("ä"), "that no login can carry"),
    "a token of another type": (
        granting(token_type="mac"),
        'no bearer token: its token_type is "mac"',
    ),
    "a type that is no text": (granting(token_type=[]), "no bearer token: its token_type is []"),
    "a type that no terminal should see": (
        granting(token_type="\x1b[31m" + "m" * 5000),
        'no bearer token: its token_type is "\\u001b[31mmmmm',
    ),
    "a huge answer": (token_server.answer(b" " * 1_000_000), "more than 65536 bytes"),
    "half an answer": (token_server.cut(b'{"access_token": ', of=1000), "ended the connection"),
    "nothing at all": (token_server.cut(b"", of=1000), "ended the connection"),
}


@pytest.mark.parametrize(("answer", "text"), UNAVAILABLE.values(), ids=UNAVAILABLE.keys())
async def test_what_may_pass_is_tried_again(
    sources: Sources, server: TokenServer, answer: token_server.Answer, text: str
) -> None:
    server.then(answer)
    error = await failed(sources.declared())
    assert isinstance(error, CredentialUnavailableError)
    assert error.reason is Reason.TOKEN_REQUEST_FAILED
    assert text in error.message
    assert server.url.split("/")[2] in error.message
    assert "access_token" not in error.message
    assert error.message.isprintable()
    assert len(error.message) < 400


async def test_type_that_has_the_token_in_it_is_not_shown(
    sources: Sources, server: TokenServer
) -> None:
    server.then(granting("pl4nted-token", token_type="DPoP pl4nted-token"))
    assert '"DPoP ***"' in (await failed(sources.declared())).message


@pytest.mark.parametrize("kind", ["bearer", "BEARER", "BearerToken", "bearertoken", None])
async def test_type_of_the_token_is_read_generously(
    sources: Sources, server: TokenServer, kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is case-insensitive (RFC 6749 §5.1), and some servers leave it out.

    An environment that is strict with others' clients is not with ours.
    """
    monkeypatch.setenv("OAUTHLIB_STRICT_TOKEN_TYPE", "1")
    body = {"access_token": "opaque"} | ({} if kind is None else {"token_type": kind})
    server.then(token_server.answer(body))
    assert (await sources.declared().fetch()).secret.reveal() == "opaque"


# --- the server wants to be left alone


BUSY = {"error": "slow_down"}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, BUSY),
        (503, "<html>busy</html>"),
        (400, {"error": "temporarily_unavailable"}),
        (401, {"error": "invalid_client"}),
    ],
    ids=["429", "503", "a word of the specification", "a refusal"],
)
@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "120"},
        {"Retry-After": "Tue, 15 Nov 1994 08:14:31 GMT", "Date": "Tue, 15 Nov 1994 08:12:31 GMT"},
        {"Retry-After": "Sat, 21 Nov 2026 08:02:00 GMT", "Date": ""},
    ],
    ids=["seconds", "a time by the server's clock", "a time by ours"],
)
async def test_server_is_left_alone_for_as_long_as_it_wants(
    sources: Sources,
    server: TokenServer,
    clock: FakeClock,
    status: int,
    body: Any,
    headers: dict[str, str],
) -> None:
    server.then(token_server.answer(body, status=status, **headers))
    source = sources.declared()
    error = await failed(source)
    assert error.message.endswith("it is not asked again before 2026-11-21T08:02:00Z (Retry-After)")
    await clock.advance(119.0)
    assert (await failed(source)).message == error.message
    assert server.seen == 1
    await clock.advance(1.0)
    await source.fetch()
    assert server.seen == 2


@pytest.mark.parametrize(
    "told", ["1000000", "9" * 5000, "Fri, 21 Nov 2036 08:00:00 GMT"], ids=["days", "ages", "years"]
)
async def test_nobody_waits_for_more_than_an_hour(
    sources: Sources, server: TokenServer, clock: FakeClock, told: str
) -> None:
    server.then(token_server.answer(BUSY, status=429, **{"Retry-After": told, "Date": ""}))
    source = sources.declared()
    assert "before 2026-11-21T09:00:00Z" in (await failed(source)).message
    await clock.advance(3599.0)
    await failed(source)
    assert server.seen == 1
    await clock.advance(1.0)
    await source.fetch()


@pytest.mark.parametrize(
    "told", ["0", "-5", "soon", "1.5", "", "Sat, 21 Nov 2026 07:00:00 GMT", "٣"]
)
async def test_what_is_no_wish_changes_nothing(
    sources: Sources, server: TokenServer, clock: FakeClock, told: str
) -> None:
    answer = token_server.answer(BUSY, status=429, **{"Retry-After": told, "Date": ""})
    server.then(answer)
    source = sources.declared()
    assert "Retry-After" not in (await failed(source)).message
    await clock.advance(1.0)
    await source.fetch()


async def test_all_who_are_the_same_client_leave_the_server_alone(
    sources: Sources, server: TokenServer, clock: FakeClock
) -> None:
    """The server counts requests of a client, whatever they are for."""
    server.then(token_server.answer(BUSY, status=429, **{"Retry-After": "120"}))
    one, other = sources.declared(), sources.declared(scopes=("orders",))
    error = await failed(one)
    assert (await failed(other)).message == error.message
    assert server.seen == 1
    await clock.advance(120.0)
    await one.fetch()
    await other.fetch()
    assert server.seen == 3


async def test_another_secret_and_another_namespace_do_not_wait(
    sources: Sources, server: TokenServer
) -> None:
    """What is corrected is tried at once, and nobody is held back by what others do."""
    server.then(token_server.answer(BUSY, status=429, **{"Retry-After": "120"}))
    sources.client(secret="wrong")
    await failed(sources.declared())
    sources.client(secret=SECRET)
    await sources.declared().fetch()
    server.then(token_server.answer(BUSY, status=429, **{"Retry-After": "120"}))
    await failed(sources.declared(scopes=("orders",)))
    client = {"client-id": b"orders", "client-secret": SECRET.encode()}
    sources.reader.put("orders-client", client, namespace="others")
    ca = {"ca.crt": server.ca}
    sources.reader.put("idp-ca", ca, kind="ConfigMap", namespace="others")
    await sources.declared(namespace="others").fetch()


async def test_wish_of_a_server_leaves_a_valid_token_in_use(
    sources: Sources, server: TokenServer, clock: FakeClock
) -> None:
    source = sources.declared()
    first = await source.fetch()
    server.then(token_server.answer(BUSY, status=429, **{"Retry-After": "600"}))
    await clock.advance(3000.0)
    with pytest.raises(CredentialUnavailableError, match="before 2026-11-21T09:00:00Z"):
        await source.fetch(instead_of=first)
    assert await source.fetch() is first


# --- what may be wrong with the Secret


@pytest.mark.parametrize(
    ("identifier", "secret", "hint"),
    [
        ("orders", "pl4nted-wrong\n", "(the line break at the end of client-secret is not sent)"),
        ("order\r\n", "pl4nted", "(the line break at the end of client-id is not sent)"),
        ("orders", "pl4nted ", "(client-secret begins or ends with white space, which is sent"),
        (
            " orders",
            "pl4nted\n",
            "which is sent as part of it; the line break at the end of client-secret is not sent)",
        ),
        ("orders", "pl4nted-wrong", 'in Secret "orders-client"'),
    ],
    ids=["line break", "line break of the id", "blank", "both", "nothing to be seen"],
)
async def test_refused_client_is_told_what_can_be_seen_of_its_secret(
    sources: Sources, identifier: str, secret: str, hint: str
) -> None:
    sources.client(identifier, secret=secret)
    error = await failed(sources.declared())
    assert "refused: 401" in error.message
    assert hint in error.message
    advice = error.message.partition("check client id")[2]
    assert ("(" in advice) == ("sent" in hint)


async def test_server_that_does_not_answer_is_given_up(
    sources: Sources, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_endpoint, "MOST_SECONDS", 0.2)
    server.then(token_server.stall)
    error = await failed(sources.declared())
    assert isinstance(error, CredentialUnavailableError)
    assert "gave no answer within 0.2 s" in error.message


async def test_nobody_listens(sources: Sources) -> None:
    leased = lease(1)
    try:
        error = await failed(
            sources.declared(token_url=f"https://127.0.0.1:{leased.ports[0]}/token")
        )
    finally:
        leased.release()
    assert isinstance(error, CredentialUnavailableError)
    where = f"127.0.0.1:{leased.ports[0]}"
    assert error.message == f"the token endpoint {where} is not reached: Connection refused"


async def test_name_that_nobody_knows(sources: Sources) -> None:
    error = await failed(sources.declared(token_url="https://login.invalid/token"))
    assert isinstance(error, CredentialUnavailableError)
    assert error.message.startswith(
        'the token endpoint login.invalid has no address: looking up "login.invalid" failed: '
    )


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001"],
)
async def test_no_token_is_asked_for_where_nothing_is_connected_to(
    reader: FakeReader, server: TokenServer, clock: FakeClock, host: str
) -> None:
    """Whoever declares the URL would have a request sent from where the operator is."""
    sources = Sources(reader, server, clock, allowed=())
    port = urlsplit(server.url).port
    error = await failed(sources.declared(token_url=f"https://{host}:{port}/token"))
    assert error.reason is Reason.TOKEN_REQUEST_FAILED
    assert not isinstance(error, CredentialUnavailableError)
    assert error.message.startswith(f"the token endpoint {host}:{port} is not asked: ")
    assert "a loopback address" in error.message
    assert "--allow-addresses" in error.message
    assert server.requests == []


@pytest.mark.parametrize("host", ["localhost:99999", "[:::::]", "a..b", "-"])
async def test_url_that_no_library_takes(sources: Sources, host: str) -> None:
    error = await failed(sources.declared(token_url=f"https://{host}/token"))
    assert error.reason is Reason.TOKEN_REQUEST_FAILED
    assert host in error.message


async def test_server_that_speaks_no_tls(sources: Sources) -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    leased = lease(1)
    async with await asyncio.start_server(plain, "127.0.0.1", leased.ports[0]):
        error = await failed(
            sources.declared(token_url=f"https://127.0.0.1:{leased.ports[0]}/token")
        )
    leased.release()
    assert isinstance(error, CredentialUnavailableError)
    assert "does not agree on TLS" in error.message


# --- whom to trust


async def test_certificate_of_another_authority_is_not_accepted(
    sources: Sources, server: TokenServer
) -> None:
    sources.reader.put("idp-ca", {"ca.crt": trustme.CA().cert_pem.bytes()}, kind="ConfigMap")
    error = await failed(sources.declared())
    assert isinstance(error, CredentialUnavailableError)
    assert "has a certificate that is not accepted: " in error.message
    assert "check oauth2.caRef" in error.message
    assert server.seen == 0


async def test_authorities_of_the_system_are_trusted_by_default(
    sources: Sources, server: TokenServer
) -> None:
    """Which this one is not among."""
    error = await failed(sources.declared(ca_ref=None))
    assert "has a certificate that is not accepted" in error.message
    assert server.seen == 0


async def test_damaged_authority_is_left_out_and_named(
    sources: Sources, server: TokenServer
) -> None:
    """The others count, and what is missing is said where it is missed."""
    damaged = OTHER_CA.replace(b"MII", b"AAA", 1)
    sources.reader.put("idp-ca", {"ca.crt": damaged + server.ca}, kind="ConfigMap")
    await sources.declared().fetch()
    sources.reader.put("idp-ca", {"ca.crt": OTHER_CA + damaged}, kind="ConfigMap")
    error = await failed(sources.declared(scopes=("others",)))
    assert "check oauth2.caRef: what begins at line" in error.message
    assert error.message.endswith("is no certificate in PEM and was left out")


async def test_intermediate_authority_is_trusted_without_its_root(
    reader: FakeReader, clock: FakeClock
) -> None:
    intermediate = trustme.CA().create_child_ca()
    known = {"orders": Registered(secret=SECRET)}
    async with leaks.checked(), serving(known, authority=intermediate) as server:
        await Sources(reader, server, clock).declared().fetch()


async def test_authority_may_be_in_a_secret(sources: Sources, server: TokenServer) -> None:
    sources.reader.put("idp-ca", {"root": server.ca})
    reference = v1alpha1.CAReference(kind="Secret", name="idp-ca", key="root")
    await sources.declared(ca_ref=reference).fetch()


AUTHORITIES = {
    "no such object": ("other", 'there is no ConfigMap "other" in namespace "apps"; create it'),
    "no such key": ("empty", 'ConfigMap "empty" has no key "ca.crt"; add it'),
    "no certificates": ("wrong", "holds no certificates in PEM; correct it"),
}


@pytest.mark.parametrize(("name", "text"), AUTHORITIES.values(), ids=AUTHORITIES.keys())
async def test_authority_that_cannot_be_used_is_told(
    sources: Sources, name: str, text: str
) -> None:
    sources.reader.put("empty", {}, kind="ConfigMap")
    sources.reader.put("wrong", {"ca.crt": b"no PEM"}, kind="ConfigMap")
    error = await failed(sources.declared(ca_ref=v1alpha1.CAReference(name=name)))
    assert error.reason is Reason.TOKEN_REQUEST_FAILED
    assert not isinstance(error, CredentialUnavailableError)
    assert error.message.startswith("oauth2.caRef: ")
    assert text in error.message


# --- through a proxy


async def test_proxy_of_the_environment_is_used(
    sources: Sources, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees where to, and nothing of what is said."""
    seen = asyncio.Queue[bytes]()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    leased = lease(1)
    proxy = f"http://me:pl4nted@127.0.0.1:{leased.ports[0]}"
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    async with await asyncio.start_server(refuse, "127.0.0.1", leased.ports[0]):
        error = await failed(sources.declared())
    assert isinstance(error, CredentialUnavailableError)
    assert "is not reached through the proxy of HTTPS_PROXY" in error.message
    head = await seen.get()
    assert head.startswith(b"CONNECT localhost:")
    assert base64.b64encode(SECRET.encode()) not in head
    assert server.seen == 0

    monkeypatch.setenv("NO_PROXY", "localhost")
    sources.client(secret="other")  # which ends the pause after the failure
    server.clients["orders"].secret = "other"
    await sources.declared().fetch()
    leased.release()


async def test_login_of_a_netrc_file_is_not_sent(
    sources: Sources, server: TokenServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The server would see two ways of authentication, one of them nobody's business."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login me password pl4nted\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    await sources.declared(client_authentication="Post").fetch()
    assert server.requests[0].method == "Post"


# --- the Secret of the client


SECRETS = {
    "no such key": ({"client-id": b"orders"}, Reason.SECRET_KEY_MISSING),
    "an empty secret": ({"client-id": b"orders", "client-secret": b""}, Reason.SECRET_MALFORMED),
    "a line break": (
        {"client-id": b"orders", "client-secret": b"\n"},
        Reason.SECRET_MALFORMED,
    ),
    "no text": (
        {"client-id": b"orders", "client-secret": b"pl4nted\xff"},
        Reason.SECRET_MALFORMED,
    ),
}


@pytest.mark.parametrize(("values", "reason"), SECRETS.values(), ids=SECRETS.keys())
async def test_secret_that_cannot_be_used_is_told(
    sources: Sources, server: TokenServer, values: dict[str, bytes], reason: Reason
) -> None:
    sources.reader.put("orders-client", values)
    assert (await failed(sources.declared())).reason is reason
    assert server.seen == 0


async def test_missing_secret_is_told(sources: Sources) -> None:
    source = sources.declared(client_ref=v1alpha1.ClientReference(name="other"))
    assert (await failed(source)).reason is Reason.SECRET_NOT_FOUND


async def test_tokens_are_had_while_the_api_server_is_away(
    sources: Sources, server: TokenServer
) -> None:
    """The client is known from before; only a first token needs the Secret."""
    source = sources.declared()
    first = await source.fetch()
    away = errors.ObjectUnavailableError(("Secret", "apps", "orders-client"), "no answer")
    sources.reader.failure = away
    assert await source.fetch() is first
    second = await source.fetch(instead_of=first)
    assert second.secret.reveal() == server.tokens[1]
    error = await failed(sources.declared(scopes=("orders",)))
    assert error.reason is Reason.SECRET_UNREADABLE


# --- another client


async def test_changed_client_asks_for_another_token(sources: Sources, server: TokenServer) -> None:
    """At once, although the old token is valid: so it shows whether the new secret works."""
    source = sources.declared()
    first = await source.fetch()
    sources.reader.put("orders-client", {"client-id": b"orders", "client-secret": SECRET.encode()})
    assert (await source.fetch()).same_value(first), "only the Secret's version is another one"
    server.clients["orders"].secret = "rotated"
    sources.client(secret="rotated")
    assert not (await source.fetch()).same_value(first)
    assert len(server.requests) == 2


async def test_refused_client_is_told_although_there_is_a_valid_token(
    sources: Sources, server: TokenServer
) -> None:
    source = sources.declared()
    first = await source.fetch()
    sources.client(secret="pl4nted and wrong")
    assert "invalid_client" in (await failed(source)).message
    server.clients["orders"].secret = "right"
    sources.client(secret="right")
    assert not (await source.fetch()).same_value(first)


async def test_valid_token_serves_while_a_changed_client_cannot_be_tried(
    sources: Sources, server: TokenServer, clock: FakeClock
) -> None:
    """Until it expires; a renewal needs another one and fails."""
    source = sources.declared()
    first = await source.fetch()
    server.otherwise = token_server.answer("", status=503)
    sources.client(secret="rotated")
    assert await source.fetch() is first
    with pytest.raises(CredentialUnavailableError):
        await source.fetch(instead_of=first)
    await clock.advance(3600)
    assert "cannot give a token now: 503" in (await failed(source)).message
    server.otherwise = None
    server.clients["orders"].secret = "rotated"
    await clock.advance(30)
    assert not (await source.fetch()).same_value(first)


class SlowReader(FakeReader):
    """Keeps what one read has found, until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.held: asyncio.Event | None = None

    async def read(self, identity: Identity) -> HeldObject | None:
        found = await super().read(identity)
        held, self.held = self.held, None
        if held is not None:
            await held.wait()
        return found


async def test_slow_read_does_not_bring_an_old_client_back(
    server: TokenServer, clock: FakeClock
) -> None:
    """Sessions read at their own pace; the read that began last knows best."""
    reader = SlowReader()
    sources = Sources(reader, server, clock)
    source = sources.declared()
    await source.fetch()
    reader.held = arrives = asyncio.Event()
    slow = asyncio.ensure_future(source.fetch())
    await eventually(lambda: reader.held is None)
    server.clients["orders"].secret = "rotated"
    sources.client(secret="rotated")
    second = await source.fetch()
    arrives.set()
    assert await slow is second
    assert await source.fetch() is second
    assert server.seen == 2


async def test_version_is_that_of_the_secret_as_it_was_read(
    sources: Sources, server: TokenServer
) -> None:
    """Also where the token was issued before: so it shows that the new one has been seen."""
    source = sources.declared()
    first = await source.fetch()
    assert first.version == "1"
    sources.client(secret=SECRET)
    again = await source.fetch()
    assert again.version == "2"
    assert again.same_value(first)
    server.clients["orders"].secret = "rotated"
    sources.client(secret="rotated")
    assert (await source.fetch()).version == "3"
    assert len(server.requests) == 2


async def test_token_of_the_client_before_keeps_its_version(
    sources: Sources, server: TokenServer
) -> None:
    """What is in use then does not come from the new Secret."""
    source = sources.declared()
    await source.fetch()
    server.otherwise = token_server.answer("", status=503)
    sources.client(secret="rotated")
    assert (await source.fetch()).version == "1"


async def test_other_authority_asks_for_another_token(
    sources: Sources, server: TokenServer
) -> None:
    """So that it shows at once whether the new one is right."""
    source = sources.declared()
    await source.fetch()
    sources.reader.put("idp-ca", {"ca.crt": server.ca + OTHER_CA}, kind="ConfigMap")
    await source.fetch()
    assert len(server.requests) == 2


# --- sharing


async def test_alike_declarations_share_a_token(sources: Sources, server: TokenServer) -> None:
    """A thousand sessions are one client."""
    all_alike = [sources.declared() for _ in range(1000)]
    async with asyncio.TaskGroup() as tasks:
        fetching = [tasks.create_task(each.fetch()) for each in all_alike]
    assert len({id(each.result()) for each in fetching}) == 1
    assert len(server.requests) == 1


async def test_other_declarations_and_namespaces_have_tokens_of_their_own(
    sources: Sources, server: TokenServer
) -> None:
    values = {"client-id": b"orders", "client-secret": SECRET.encode()}
    sources.reader.put("orders-client", values, namespace="other")
    sources.reader.put("idp-ca", {"ca.crt": server.ca}, kind="ConfigMap", namespace="other")
    declared = [
        sources.declared(),
        sources.declared(scopes=("orders",)),
        sources.declared(namespace="other"),
    ]
    for each in declared:
        await each.fetch()
    assert len(server.requests) == 3


async def test_cancelled_request_leaves_nothing_behind(
    sources: Sources, server: TokenServer
) -> None:
    server.held = asyncio.Event()
    asking = asyncio.ensure_future(sources.declared().fetch())
    await eventually(lambda: server.seen)
    asking.cancel()
    await asyncio.wait({asking})
    server.held.set()


async def test_renewal_gives_a_new_token(sources: Sources, server: TokenServer) -> None:
    source = sources.declared()
    first: Credential = await source.fetch()
    second = await source.fetch(instead_of=first)
    assert [first.secret.reveal(), second.secret.reveal()] == server.tokens


async def test_token_of_the_api_server_is_no_clients_secret(
    sources: Sources, server: TokenServer
) -> None:
    """It would go to whatever oauth2.tokenURL names."""
    claims = {"iss": "x", "aud": ["https://kubernetes.default.svc"], "sub": "pl4nted"}
    sources.client(secret=jwt.encode(claims, "k" * 32, algorithm="HS256"))
    error = await failed(sources.declared())
    assert error.reason is Reason.SECRET_NOT_ALLOWED
    assert "credentials.oauth2.clientRef is a token that the API server itself takes" in str(error)
    assert not server.requests
