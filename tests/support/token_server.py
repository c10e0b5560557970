"""A token endpoint over HTTPS, in this process: strict, and wrong on request.

It takes a client at its word only as RFC 6749 has it: one way of authentication, form-encoded
before Base64, no parameter twice. The tokens are those of `identities.Issuer`, which the brokers of
the tests accept. It keeps no user, no session and no other grant.
"""

import asyncio
import base64
import binascii
import contextlib
import email.utils
import json
import logging
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

import pytest
import trustme
from aiohttp import web

from support import ports
from support.identities import Issuer

__all__ = [
    "Answer",
    "Registered",
    "Request",
    "TokenServer",
    "answer",
    "cut",
    "declared",
    "nothing_logged",
    "serving",
    "stall",
]

FORM: Final = "application/x-www-form-urlencoded"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(kw_only=True, slots=True)
class Registered:
    """A client as the server knows it."""

    secret: str
    methods: Sequence[str] = ("Basic", "Post")
    scopes: Sequence[str] = ("orders",)
    audiences: Sequence[str] = ("rabbitmq",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a client asked for."""

    client_id: str
    method: str
    form: Mapping[str, str]


class _RefusedError(Exception):
    """What the specification calls an error response (RFC 6749 §5.2)."""

    def __init__(self, code: str, description: str = "", *, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.description = description
        self.status = status


@dataclass(kw_only=True)
class TokenServer:
    """Gives tokens to the clients that it knows. A test may change every field at any time."""

    url: str
    authority: trustme.CA
    clients: dict[str, Registered]
    subject: str = "ann"
    seconds: float = 3600
    """Lifetime of the tokens."""
    says_lifetime: bool = True
    """Whether the answer has `expires_in`."""
    skew: float = 0
    """Seconds by which the server's clock is ahead."""
    says_time: bool = True
    """Whether its answers have a Date."""
    claims: dict[str, Any] = field(default_factory=dict)
    """More for the tokens."""
    held: asyncio.Event | None = None
    """Requests wait for it."""
    requests: list[Request] = field(default_factory=list)
    """Those that were granted, in order."""
    seen: int = 0
    """How many came, granted or not."""
    tokens: list[str] = field(default_factory=list)
    """What was given, in order."""
    script: deque[Answer] = field(default_factory=deque)
    """Answers to the next requests, in the place of the right ones."""
    otherwise: Answer | None = None
    """Answer to every request, when the script is over."""

    @property
    def ca(self) -> bytes:
        """The certificate of the authority, in PEM."""
        return self.authority.cert_pem.bytes()

    def then(self, *answers: Answer) -> None:
        """Answer the next requests so, one by one."""
        self.script.extend(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.seen += 1
        if self.held is not None:
            await self.held.wait()
        if self.script:
            return await self.script.popleft()(request)
        if self.otherwise is not None:
            return await self.otherwise(request)
        now = time.time() + self.skew
        sent_at = email.utils.formatdate(now, usegmt=True) if self.says_time else ""
        headers = {"Cache-Control": "no-store", "Pragma": "no-cache", "Date": sent_at}
        try:
            body, status = self._granted(await self._read(request)), 200
        except _RefusedError as error:
            body, status = {"error": error.code}, error.status
            if error.description:
                body["error_description"] = error.description
            if status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="tokens"'
        return web.json_response(body, status=status, headers=headers)

    async def _read(self, request: web.Request) -> Request:
        if request.content_type != FORM:
            raise _RefusedError("invalid_request", "not a form")
        pairs = parse_qsl(await request.text(), keep_blank_values=True, strict_parsing=True)
        form = dict(pairs)
        if len(form) != len(pairs):
            raise _RefusedError("invalid_request", "a parameter came twice")
        header = request.headers.get("Authorization", "")
        if header and "client_secret" in form:
            raise _RefusedError("invalid_request", "more than one way of authentication")
        if header:
            method = "Basic"
            client_id, secret = _basic(header)
        else:
            method = "Post"
            client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        client = self.clients.get(client_id)
        if client is None or client.secret != secret or method not in client.methods:
            raise _RefusedError("invalid_client", "unknown client or wrong secret", status=401)
        if form.get("grant_type") != "client_credentials":
            raise _RefusedError("unsupported_grant_type")
        if not set(form.get("scope", "").split()) <= set(client.scopes):
            raise _RefusedError("invalid_scope", "the client may not ask for this scope")
        if form.get("audience", "rabbitmq") not in client.audiences:
            raise _RefusedError("invalid_target", "unknown audience")
        return Request(client_id=client_id, method=method, form=form)

    def _granted(self, request: Request) -> dict[str, Any]:
        self.requests.append(request)
        issued_at = time.time() + self.skew
        token = Issuer().token(
            self.subject,
            seconds=self.skew + self.seconds,
            **{"iat": int(issued_at), **self.claims},
        )
        self.tokens.append(token)
        granted: dict[str, Any] = {"access_token": token, "token_type": "Bearer"}
        if self.says_lifetime:
            granted["expires_in"] = self.seconds
        return granted


def _basic(header: str) -> tuple[str, str]:
    """Return identifier and secret of a header (RFC 6749 §2.3.1, RFC 7617)."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        raise _RefusedError("invalid_request", "no Basic authentication")
    try:
        client_id, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        raise _RefusedError("invalid_request", "no Basic authentication") from None
    if not colon:
        raise _RefusedError("invalid_request", "no colon in the Basic authentication")
    return unquote_plus(client_id), unquote_plus(secret)


def answer(body: Mapping[str, Any] | str | bytes, *, status: int = 200, **headers: str) -> Answer:
    """Return what answers with a body: a mapping as JSON, anything else as it is."""
    if isinstance(body, Mapping):
        content, kind = json.dumps(body).encode(), "application/json"
    else:
        content, kind = body if isinstance(body, bytes) else body.encode(), "text/html"

    async def respond(_: web.Request) -> web.StreamResponse:
        return web.Response(body=content, status=status, headers={"Content-Type": kind, **headers})

    return respond


async def stall(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    never: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
    return await never


def cut(sent: bytes, *, of: int) -> Answer:
    """Return what sends the beginning of an answer of so many bytes, and hangs up."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(of)})
        await response.prepare(request)
        await response.write(sent)
        assert request.transport is not None
        request.transport.abort()
        return response

    return respond


@contextlib.asynccontextmanager
async def serving(
    clients: Mapping[str, Registered],
    *,
    host: str = "localhost",
    path: str = "/token",
    authority: trustme.CA | None = None,
) -> AsyncIterator[TokenServer]:
    """Serve a token endpoint on loopback, by default with an authority of its own."""
    lease = ports.lease(1)
    [port] = lease.ports
    authority = authority or trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    server = TokenServer(
        url=f"https://{host}:{port}{path}", authority=authority, clients=dict(clients)
    )
    application = web.Application()
    application.router.add_post(path, server.handle)
    # A handler ends with its client; nobody waits for those that hang.
    runner = web.AppRunner(
        application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, ports.LOOPBACK, port, ssl_context=context).start()
        yield server
    finally:
        await runner.cleanup()
        lease.release()


def declared(server: TokenServer, *, secret: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the credentials of a connection that are a client's, and the objects they refer to."""
    credentials = {
        "oauth2": {
            "tokenURL": server.url,
            "clientRef": {"name": "client"},
            "caRef": {"name": "authority"},
            "audience": "rabbitmq",
        }
    }
    return credentials, [
        _object("Secret", "client", stringData={"client-id": "orders", "client-secret": secret}),
        _object("ConfigMap", "authority", data={"ca.crt": server.ca.decode()}),
    ]


def _object(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}


@contextlib.contextmanager
def nothing_logged(
    server: TokenServer, caplog: pytest.LogCaptureFixture, *secrets: str
) -> Iterator[None]:
    """No token of the server, and none of the secrets, is in Springline's log afterwards."""
    with caplog.at_level(logging.DEBUG, logger="springline"):
        yield
    for planted in (*secrets, *server.tokens):
        assert planted not in caplog.text
