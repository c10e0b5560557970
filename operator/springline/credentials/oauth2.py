"""`oauth2`: tokens from an OAuth 2 server, by the client credentials grant (RFC 6749 §4.4).

Connections of a namespace that declare the same are one client of the server: they share a token,
and so the requests for it. Nothing keeps it but memory: after a restart there is a new one.
"""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from springline import errors
from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.api.times import rfc3339
from springline.core import deadline, ports
from springline.core.addresses import AddressPolicy
from springline.core.values import Credential, CredentialKind, TLSClient
from springline.credentials import api_server, claims, lifetimes, reading, token_endpoint
from springline.credentials.certificates import PreparedClients, place
from springline.credentials.issued import SharedIssuer, SharedIssuers
from springline.credentials.rate_limits import EndpointLimits, RateLimits
from springline.credentials.token_endpoint import Client, Names
from springline.reasons import Reason
from springline.redaction import Secret

__all__ = ["OAuth2Sources"]


class OAuth2Sources:
    """Makes sources that have tokens issued; what is declared alike in a namespace has one."""

    def __init__(
        self,
        reader: ports.ObjectReader,
        clients: PreparedClients,
        clock: ports.Clock,
        tokens: ports.ServiceAccountTokens,
        *,
        resolver: ports.Resolver,
        addresses: AddressPolicy,
    ) -> None:
        """`tokens` knows which ones the API server takes, and no client has for its secret;
        `addresses` says where tokens may be asked for.
        """
        self._reader = reader
        self._tokens = tokens
        self._clients = clients
        self._clock = clock
        self._resolver = resolver
        self._addresses = addresses
        self._limits = RateLimits(clock)
        self._shared: SharedIssuers[_OAuth2Source] = SharedIssuers()

    def source(self, namespace: str, declared: v1alpha1.OAuth2) -> ports.CredentialSource:
        """Return the source of what is declared in a namespace."""

        def make() -> _OAuth2Source:
            reader = _ClientReader(self._reader, self._clients, self._tokens, namespace, declared)
            limits = self._limits.of(namespace, declared.token_url)
            names = Names(resolver=self._resolver, namespace=namespace, policy=self._addresses)
            return _OAuth2Source(reader, declared, limits, self._clock, names)

        return self._shared.shared((namespace, declared), make)


class _OAuth2Source:
    """Asks for tokens as the client that the Secret has now, as `core.ports.CredentialSource`."""

    def __init__(
        self,
        reader: "_ClientReader",
        declared: v1alpha1.OAuth2,
        limits: EndpointLimits,
        clock: ports.Clock,
        names: Names,
    ) -> None:
        self._reader = reader
        self._declared = declared
        self._limits = limits
        self._clock = clock
        self._names = names
        self._current: _Current | None = None
        # That of the client before, until the one of now has been given a token.
        self._former: SharedIssuer | None = None
        self._reads = 0

    async def fetch(self, *, instead_of: Credential | None = None) -> Credential:
        """Return a token. Raises `CredentialError`.

        A changed client is tried at once: its token takes the place of one that is still valid,
        and a refusal is told. If the server only cannot be asked now, the valid one serves.
        """
        current = await self._read()
        try:
            credential = await current.issuer.fetch(instead_of=instead_of)
        except errors.CredentialUnavailableError:
            former = self._former.valid if self._former is not None else None
            if instead_of is not None or former is None:
                raise
            return former
        if self._current is not None and current.issuer is self._current.issuer:
            self._former = None
        version = current.client.secret_version
        if credential.version == version:
            return credential
        # Issued before the Secret was written anew, with the same client in it.
        return dataclasses.replace(credential, version=version)

    async def _read(self) -> "_Current":
        """Return the client as it is now, or was when it could last be read, and its issuer."""
        self._reads += 1
        began = self._reads
        try:
            client = await self._reader.read()
        except errors.CredentialUnavailableError:
            # The OAuth 2 server may answer while the API server does not.
            if self._current is None:
                raise
            return self._current
        before = self._current
        if before is not None and before.began > began:
            # Another read began later and is back already: this one's client may be outdated.
            return before
        if before is not None:
            is_new = before.client.secret != client.secret
            former = before.client.secret if is_new else before.client.former
            client = dataclasses.replace(client, former=former)
        if before is not None and before.client == client:
            issuer = before.issuer
        else:
            if before is not None and before.issuer.valid is not None:
                self._former = before.issuer
            issuer = SharedIssuer(functools.partial(self._issue, client), self._clock)
        self._current = _Current(began=began, client=client, issuer=issuer)
        return self._current

    async def _issue(self, client: Client) -> Credential:
        self._limits.check(client)
        # The token is younger than this, so it does not expire before we think.
        asked = deadline.instant(self._clock)
        try:
            granted = await token_endpoint.request_token(
                self._declared.token_url,
                client,
                clock=self._clock,
                names=self._names,
                scopes=self._declared.scopes,
                audience=self._declared.audience,
            )
        except errors.CredentialError as error:
            self._limits.note(client, error)
            raise
        claimed = claims.read(granted.token)
        seconds = lifetimes.shortest(
            granted.seconds, claimed, sent_at=granted.sent_at, now=asked.wall
        )
        if seconds is not None and seconds <= 0:
            now = granted.sent_at or asked.wall
            whose = "its own clock" if granted.sent_at is not None else "the clock here"
            raise errors.CredentialUnavailableError(
                Reason.TOKEN_REQUEST_FAILED,
                "the OAuth 2 server gave a token that has expired already: its exp is "
                f"{_shown(claims.expires_at(claimed))}, and {whose} says {_shown(now)}",
            )
        return Credential(
            kind=CredentialKind.TOKEN,
            source="oauth2",
            username=claims.subject(claimed),
            secret=granted.token,
            version=client.secret_version,
            issued_at=asked.wall,
            expires_at=None if seconds is None else asked.wall + timedelta(seconds=seconds),
            received=asked,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Current:
    """The client as it was found last."""

    began: int
    """Which read found it, counted as they began."""
    client: Client
    issuer: SharedIssuer


@dataclass(frozen=True, slots=True)
class _ClientReader:
    """Reads who asks for tokens: identifier, secret, and the certificates to trust."""

    reader: ports.ObjectReader
    clients: PreparedClients
    tokens: ports.ServiceAccountTokens
    namespace: str
    declared: v1alpha1.OAuth2

    async def read(self) -> Client:
        """Return the client as it is now. Raises `CredentialError`."""
        reference = self.declared.client_ref
        found = await reading.read(self.reader, self.namespace, reference.name)
        identifier, secret = (
            self._text(found, key) for key in (reference.id_key, reference.secret_key)
        )
        for text in (identifier, secret):
            await api_server.check(text, self.tokens, where="credentials.oauth2.clientRef")
        return Client(
            identifier=_sent(identifier).reveal(),
            secret=_sent(secret),
            hint=_hint({reference.id_key: identifier, reference.secret_key: secret}),
            authentication=self.declared.client_authentication,
            secret_name=reference.name,
            secret_version=found.version,
            tls=await self._tls(),
        )

    def _text(self, found: ports.DataObject, key: str) -> Secret:
        name = self.declared.client_ref.name
        text = reading.text(found, key, name=name)
        if not _sent(text):
            raise reading.malformed(reading.place(name, key), "holds only line breaks")
        return text

    async def _tls(self) -> TLSClient:
        reference = self.declared.ca_ref
        ca, ca_place = None, ""
        if reference is not None:
            ca = await self._ca(reference)
            namespace = reference.namespace_for(self.namespace)
            ca_place = place(Identity(reference.kind, namespace, reference.name))
        try:
            return await self.clients.client(
                ca=ca,
                certificate=None,
                key=None,
                server_name=None,
                verify=True,
                ca_place=ca_place,
            )
        except errors.ConnectError as error:
            raise _unusable("what it names holds no certificates in PEM; correct it") from error

    async def _ca(self, reference: v1alpha1.CAReference) -> bytes:
        identity = Identity(reference.kind, reference.namespace_for(self.namespace), reference.name)
        try:
            found = await self.reader.read(identity)
        except errors.ObjectUnavailableError as error:
            raise errors.CredentialUnavailableError(
                Reason.TOKEN_REQUEST_FAILED, f"oauth2.caRef: {error}"
            ) from error
        except errors.ObjectNotAllowedError as error:
            raise _unusable(str(error)) from error
        where = f'{identity.kind} "{identity.name}"'
        if found is None:
            raise _unusable(f'there is no {where} in namespace "{identity.namespace}"; create it')
        value = found.get(reference.key)
        if value is None:
            raise _unusable(f'{where} has no key "{reference.key}"; add it')
        return value


def _shown(time: datetime | None) -> str:
    return rfc3339(time) if time is not None else "none"


def _sent(text: Secret) -> Secret:
    """Return what is sent of a text as it was read.

    Neither can have a line break (RFC 6749 appendix A); files that they are made of do.
    """
    return Secret(text.reveal().rstrip("\r\n"))


def _hint(texts: Mapping[str, Secret]) -> str:
    """Return what may be wrong with the texts under these keys, as one phrase; mostly nothing."""
    hints = []
    for key, text in texts.items():
        sent = _sent(text).reveal()
        if sent != text.reveal():
            hints.append(f"the line break at the end of {key} is not sent")
        if sent != sent.strip():
            hints.append(f"{key} begins or ends with white space, which is sent as part of it")
    return "; ".join(hints)


def _unusable(finding: str) -> errors.CredentialError:
    return errors.CredentialError(Reason.TOKEN_REQUEST_FAILED, f"oauth2.caRef: {finding}")
