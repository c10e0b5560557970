"""One request to the token endpoint of an OAuth 2 server: the client credentials grant.

oauthlib has the protocol: it writes the request (RFC 6749 §4.4.2), and tells a token from an error
in the answer (§5). Ours is what it leaves to its callers or takes too easily:

- the way there, which is aiohttp's, with limits to every wait and to the size of an answer;
- the header of HTTP Basic;
- that an answer is a JSON object, and a token one of a type, a lifetime and an alphabet that serve;
- for how long the server wants to be left alone (Retry-After), whatever the answer is otherwise;
- what an error means for people: nothing that the server says is believed further than needed. It
  is shown shortened, in printable characters, and without the client's secret, should it have
  echoed that.

What is done with a token is the business of `oauth2`.
"""

import asyncio
import base64
import dataclasses
import errno
import ipaddress
import json
import logging
import math
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import quote_plus, urlsplit

from springline import errors, http_times
from springline.core import ports
from springline.core.addresses import AddressPolicy
from springline.core.values import Endpoint, TLSClient
from springline.credentials import lifetimes
from springline.reasons import Reason
from springline.redaction import Secret
from springline.veil import WITHHELD, Veil

if TYPE_CHECKING:
    import aiohttp
    import aiohttp.abc

__all__ = ["Client", "Granted", "Names", "request_token"]

logger = logging.getLogger(__name__)

MOST_SECONDS: Final = 8.0
MOST_SECONDS_TO_CONNECT: Final = 4.0
MOST_BYTES: Final = 64 * 1024
LONGEST_SAYING: Final = 200
LONGEST_VALUE: Final = 40

# What a server says in these words may pass by itself, whatever the status of the answer.
PASSING: Final = frozenset({"server_error", "slow_down", "temporarily_unavailable"})

# What Apigee and some others call it, beside the word of RFC 6750.
BEARER: Final = frozenset({"bearer", "bearertoken"})

_OK = range(200, 300)
_REDIRECT = range(300, 400)
_UNAUTHORIZED = 401
_TOO_MANY_REQUESTS = 429
_FIRST_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who asks for a token. Equal clients ask for the same."""

    identifier: str
    secret: Secret
    authentication: Literal["Basic", "Post"]
    secret_name: str
    """Where both come from, for the sentence that says what to correct."""
    secret_version: str = field(default="", compare=False)
    """As it was read; says nothing about the values."""
    hint: str = field(default="", compare=False)
    """What may be wrong with the values as they stand in the Secret."""
    former: Secret | None = field(default=None, compare=False)
    """The secret before this one, which the server may know, too, and say."""
    tls: TLSClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A token as the server gave it."""

    token: Secret
    seconds: float | None
    """For how long it is valid, None where the server does not say."""
    sent_at: datetime | None
    """When the server sent it, by its own clock, if it says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Looks up the hosts of token endpoints for one namespace, as aiohttp asks for it.

    Where `policy` is None, any address will do.
    """

    resolver: ports.Resolver
    namespace: str
    policy: AddressPolicy | None

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: int = socket.AF_UNSPEC,  # noqa: ARG002 - aiohttp tries those that there are
    ) -> "list[aiohttp.abc.ResolveResult]":
        """Return the addresses of a host. Raises `ConnectError`."""
        endpoint = Endpoint(host, port)
        addresses = await self.resolver.addresses(endpoint, namespace=self.namespace)
        if self.policy is not None:
            addresses = self.policy.permitted(host, addresses)
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for address in addresses
        ]

    async def close(self) -> None:
        """Keep nothing open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What came back."""

    status: int
    content: bytes
    sent_at: datetime | None
    retry_after: float | None


async def request_token(
    url: str,
    client: Client,
    *,
    clock: ports.Clock,
    names: Names,
    scopes: Sequence[str] = (),
    audience: str | None = None,
) -> Granted:
    """Return a new token, within `MOST_SECONDS`. Safe to cancel.

    Raises `CredentialError` TokenRequestFailed where somebody has to do something, and
    `CredentialUnavailableError` where it may pass by itself. Redirects are not followed: the
    secret goes to the declared URL and to no other. A proxy is used where the environment names
    one (HTTPS_PROXY, NO_PROXY); it looks names up itself, so that only an address that stands in
    the URL is checked. `clock` is ours, for a server that does not tell its own time.
    """
    # Neither library with the module: they cost memory where nothing else needs them, as in
    # standalone mode.
    from oauthlib.oauth2 import BackendApplicationClient  # noqa: PLC0415

    where = f"the token endpoint {_host_of(url)}"
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    in_body = client.authentication == "Post"
    if not in_body:
        headers["Authorization"] = f"Basic {_basic(client)}"
    # The scopes only here: given to the client, a grant of others would be an error to it.
    body = BackendApplicationClient(client.identifier).prepare_request_body(
        scope=list(scopes),
        audience=audience,
        include_client_id=in_body,
        client_secret=client.secret.reveal() if in_body else None,
    )
    answer = await _exchange(url, body.encode(), headers, client.tls, where, clock, names)
    try:
        return _granted(answer, client, where)
    except errors.CredentialError as error:
        error.retry_after = answer.retry_after
        raise


def _basic(client: Client) -> str:
    """Return identifier and secret as RFC 6749 §2.3.1 has them: each form-encoded, then joined.

    Libraries leave the header to their caller or the first step out, and then a colon, a percent
    sign or an umlaut does not arrive as it is.
    """
    pair = f"{quote_plus(client.identifier)}:{quote_plus(client.secret.reveal())}"
    return base64.b64encode(pair.encode()).decode()


async def _exchange(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    tls: TLSClient,
    where: str,
    clock: ports.Clock,
    names: Names,
) -> _Answer:
    """Return the answer. Raises `CredentialError`."""
    import aiohttp  # noqa: PLC0415 - as above

    proxy = _proxy_for(url)
    _check_literal(url, names, where)
    if proxy is not None:  # which the administrator has named
        names = dataclasses.replace(names, policy=None)
    try:
        async with (
            asyncio.timeout(MOST_SECONDS),
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=tls.context,
                    force_close=True,
                    resolver=cast("aiohttp.abc.AbstractResolver", names),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=MOST_SECONDS_TO_CONNECT),
                auto_decompress=False,  # a small answer could become a huge one
            ) as session,
            session.post(
                url,
                data=body,
                headers={"Content-Type": "application/x-www-form-urlencoded", **headers},
                allow_redirects=False,
                proxy=proxy,
            ) as response,
        ):
            sent_at = http_times.date(response.headers.get("Date"))
            return _Answer(
                status=response.status,
                content=await _limited(response.content, where),
                sent_at=sent_at,
                retry_after=http_times.retry_after(
                    response.headers.get("Retry-After"), sent_at=sent_at, now=clock.now()
                ),
            )
    except errors.RejectedError as error:
        raise _refused(f"{where} is not asked: {error.message}") from error
    except errors.TransientError as error:
        raise _unavailable(f"{where} has no address: {error.message}") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        finding = _finding(aiohttp, error, tls)
    # Outside of `except`: errors of aiohttp may hold the request with its secret.
    raise _unavailable(f"{where} {finding}")


def _check_literal(url: str, names: Names, where: str) -> None:
    """Refuse an address that stands in the URL itself: nobody looks that up."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return  # the request says so
    address = host if ":" in host else _numeric(host)
    if names.policy is None or not address:
        return
    try:
        names.policy.permitted(host, (address,))
    except errors.RejectedError as error:
        raise _refused(f"{where} is not asked: {error.message}") from error


def _numeric(host: str) -> str:
    """Return the IPv4 address that a host is, also as one number or in octal; else nothing."""
    try:
        return str(ipaddress.IPv4Address(socket.inet_aton(host)))
    except (OSError, UnicodeError):
        return ""


async def _limited(content: "aiohttp.StreamReader", where: str) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise _unavailable(f"{where} gave an answer of more than {MOST_BYTES} bytes")
    return bytes(body)


def _host_of(url: str) -> str:
    """Return host and port as they are written, even where no library would take them."""
    return re.split(r"[/?]", url.removeprefix("https://"), maxsplit=1)[0]


def _proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names.

    aiohttp could find it, too, but would then also send what is in a .netrc file.
    """
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - as above

    return None if proxy_bypass(_host_of(url)) else getproxies().get("https")


def _finding(aiohttp: Any, error: Exception, tls: TLSClient) -> str:
    """Return what an error means, following the name of the endpoint; most specific first.

    The errors' own texts are not shown: some hold the URL of a proxy with its password.
    """
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"is not reached within {MOST_SECONDS_TO_CONNECT:g} s"
        case TimeoutError():
            return f"gave no answer within {MOST_SECONDS:g} s"
        case aiohttp.ClientConnectorCertificateError(certificate_error=cause):
            why = getattr(cause, "verify_message", "") or "it is not valid"
            flaw = f": {tls.left_out}" if tls.left_out else ""
            return f"has a certificate that is not accepted: {why}; check oauth2.caRef{flaw}"
        case aiohttp.ClientSSLError():
            return "does not agree on TLS"
        case aiohttp.ClientHttpProxyError() | aiohttp.ClientProxyConnectionError():
            return "is not reached through the proxy of HTTPS_PROXY"
        case aiohttp.ClientConnectorError(os_error=cause):
            return f"is not reached: {os.strerror(cause.errno or errno.ENOTCONN)}"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return "or its proxy has a URL that cannot be used"
        case aiohttp.ClientResponseError():
            return "answers with something else than HTTP"
    return "ended the connection before its answer was complete"


def _granted(received: _Answer, client: Client, where: str) -> Granted:
    """Return the token of an answer (RFC 6749 §5.1). Raises `CredentialError`."""
    status, answer = received.status, _object(received.content)
    judged = _judged(answer or {})
    if status not in _OK or judged.error:
        raise _refusal(status, judged, client, where)
    if answer is None:
        raise _unavailable(
            f"{where} answered {status} with something else than a JSON object; check "
            "oauth2.tokenURL"
        )
    token = judged.token
    if not token:
        raise _unavailable(f"{where} answered {status} without a token; check oauth2.tokenURL")
    if not (token.reveal().isascii() and token.reveal().isprintable()):
        raise _unavailable(f"{where} gave a token that no login can carry")
    # Required, and yet some leave it out; who names a type means it.
    kind = answer.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() not in BEARER:
        raise _unavailable(
            f"{where} gave a token that is no bearer token: its token_type is "
            f"{_value(kind, client, token)}"
        )
    seconds = _seconds(answer.get("expires_in"))
    if answer.get("expires_in") is not None and seconds is None:
        logger.warning(
            "the expires_in of a token is no number of seconds and is left out",
            extra={"server": where, "expires_in": _value(answer["expires_in"], client, token)},
        )
    if seconds is not None and seconds > lifetimes.LONGEST_SECONDS:
        logger.warning(
            "the expires_in of a token is too long and counts as ten years",
            extra={"server": where, "expires_in": _value(answer["expires_in"], client, token)},
        )
    if seconds is not None and seconds <= 0:
        raise _unavailable(
            f"{where} gave a token that has expired already: its expires_in is "
            f"{_value(answer['expires_in'], client, token)}"
        )
    return Granted(token=token, seconds=seconds, sent_at=received.sent_at)


def _value(value: Any, client: Client, token: Secret) -> str:
    """Return the beginning of a value of an answer, as JSON has it."""
    shown = _shown(json.dumps(value), client, token)
    return shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What an answer comes to. What there is none of is empty."""

    token: Secret = field(default_factory=lambda: Secret(""))
    error: str = ""
    description: str = ""


def _judged(answer: Mapping[str, Any]) -> _Judged:
    """Return whether an answer has a token or an error, as oauthlib sees it.

    It is shown only what this is about. The rest could make it fail (a lifetime or a scope that is
    none, an error that is null), and what is missing it would refuse or invent: the type of a
    token, if the environment says so, and the description of an error.
    """
    from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error  # noqa: PLC0415 - as above

    shown = {"token_type": "Bearer", "error_description": ""}
    for name in ("access_token", "error", "error_description"):
        if text := _text(answer, name):
            shown[name] = text
    try:
        granted = BackendApplicationClient("").parse_request_body_response(json.dumps(shown))
    except OAuth2Error as error:
        if "error" in shown:
            return _Judged(error=error.error or "", description=error.description)
    else:
        return _Judged(token=Secret(granted["access_token"]))
    # What it calls an answer with neither is not what the server said.
    return _Judged(description=shown["error_description"])


def _refusal(status: int, judged: _Judged, client: Client, where: str) -> errors.CredentialError:
    """Return what an answer without a token means, and what is to be done about it."""
    code = judged.error
    parts = [_shown(part, client) for part in (code, judged.description) if part]
    said = f"{status} {': '.join(parts)}".strip()
    if code in PASSING or status == _TOO_MANY_REQUESTS or status >= _FIRST_SERVER_ERROR:
        return _unavailable(f"{where} cannot give a token now: {said}")
    if status in _REDIRECT:
        return _refused(
            f"{where} redirects ({said}), which is not followed; write the URL that it leads to "
            "in oauth2.tokenURL"
        )
    if not code and status != _UNAUTHORIZED:
        # Nobody who speaks OAuth 2 has said no: an ingress without its backend, perhaps.
        return _unavailable(f"{where} answered {said} without a reason; check oauth2.tokenURL")
    return _refused(f"{where} refused: {said}; {_advice(code, client)}")


def _advice(code: str, client: Client) -> str:
    """Return what to do about an error of RFC 6749 §5.2."""
    secret = f'Secret "{client.secret_name}"'
    match code:
        case "invalid_client" | "":
            hint = f" ({client.hint})" if client.hint else ""
            return f"check client id and client secret in {secret}{hint}"
        case "unauthorized_client" | "unsupported_grant_type" | "access_denied":
            return f"allow the client of {secret} the client credentials grant"
        case "invalid_scope":
            return f"check oauth2.scopes, and what the client of {secret} may ask for"
        case "invalid_target":  # RFC 8707 §2
            return f"check oauth2.audience, and what the client of {secret} may ask for"
    return f"check what is declared under oauth2, and the client of {secret}"


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    return value if isinstance(value, str) else ""


def _object(content: bytes) -> Mapping[str, Any] | None:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _seconds(value: Any) -> float | None:
    """Return what `expires_in` says; some servers quote the number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except OverflowError:  # of whole numbers alone
        return math.inf if int(value) > 0 else -math.inf
    except ValueError:
        return None
    return None if math.isnan(seconds) else seconds


def _shown(text: str, client: Client, *more: Secret) -> str:
    """Return what a server says, fit to be shown to everybody."""
    veil = Veil()
    veil.know(client.identifier)
    for secret in (client.secret, Secret(_basic(client)), *more):
        veil.note(secret)
    if client.former is not None:
        before = Veil()
        before.know(client.identifier)
        before.note(client.former)
        text = before.over(text)
    clean = "".join(character if character.isprintable() else " " for character in veil.over(text))
    clean = veil.over(" ".join(clean.split()), is_known=WITHHELD.__eq__)
    return clean if len(clean) <= LONGEST_SAYING else f"{clean[:LONGEST_SAYING]}…"


def _refused(message: str) -> errors.CredentialError:
    """Return the error for what somebody has to mend."""
    return errors.CredentialError(Reason.TOKEN_REQUEST_FAILED, message)


def _unavailable(message: str) -> errors.CredentialUnavailableError:
    """Return the error for what may pass by itself."""
    return errors.CredentialUnavailableError(Reason.TOKEN_REQUEST_FAILED, message)
