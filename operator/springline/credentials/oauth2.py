"""`oauth2`: tokens from an OAuth 2 server, by the client credentials grant (RFC 6749 §4.4).

Connections of a namespace that declare the same are one client of the server: they share a token,
and so the requests for it. Nothing keeps it but memory: after a restart there is a new one.
"""

import dataclasses
import functools
from dataclasses import dataclass
from datetime import datetime, timedelta

from springline import errors
from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core import ports
from springline.core.values import Credential, CredentialKind, TLSClient
from springline.credentials import claims, reading, token_endpoint
from springline.credentials.certificates import PreparedClients
from springline.credentials.issued import SharedIssuer, SharedIssuers
from springline.credentials.token_endpoint import Client, Granted
from springline.reasons import Reason
from springline.redaction import Secret

__all__ = ["OAuth2Sources"]


class OAuth2Sources:
    """Makes sources that have tokens issued; what is declared alike in a namespace has one."""

    def __init__(
        self, reader: ports.ObjectReader, clients: PreparedClients, clock: ports.Clock
    ) -> None:
        self._reader = reader
        self._clients = clients
        self._clock = clock
        self._shared: SharedIssuers[_OAuth2Source] = SharedIssuers()

    def source(self, namespace: str, declared: v1alpha1.OAuth2) -> ports.CredentialSource:
        """Return the source of what is declared in a namespace."""

        def make() -> _OAuth2Source:
            reader = _ClientReader(self._reader, self._clients, namespace, declared)
            return _OAuth2Source(reader, declared, self._clock)

        return self._shared.shared((namespace, declared), make)


class _OAuth2Source:
    """Asks for tokens as the client that the Secret has now, as `core.ports.CredentialSource`."""

    def __init__(
        self, reader: "_ClientReader", declared: v1alpha1.OAuth2, clock: ports.Clock
    ) -> None:
        self._reader = reader
        self._declared = declared
        self._clock = clock
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
        if before is not None and before.client == client:
            issuer = before.issuer
        else:
            if before is not None and before.issuer.valid is not None:
                self._former = before.issuer
            issuer = SharedIssuer(functools.partial(self._issue, client), self._clock)
        self._current = _Current(began=began, client=client, issuer=issuer)
        return self._current

    async def _issue(self, client: Client) -> Credential:
        # The token is younger than this, so it does not expire before we think.
        asked_at = self._clock.now()
        granted = await token_endpoint.request_token(
            self._declared.token_url,
            client,
            scopes=self._declared.scopes,
            audience=self._declared.audience,
        )
        expires_at = _expiry(granted, asked_at)
        if expires_at is not None and expires_at <= asked_at:
            raise errors.CredentialUnavailableError(
                Reason.TOKEN_REQUEST_FAILED,
                "the OAuth 2 server gave a token that has expired already by the clock here",
            )
        return Credential(
            kind=CredentialKind.TOKEN,
            source="oauth2",
            username=claims.subject(claims.read(granted.token)),
            secret=granted.token,
            version=client.secret_version,
            issued_at=asked_at,
            expires_at=expires_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Current:
    """The client as it was found last."""

    began: int
    """Which read found it, counted as they began."""
    client: Client
    issuer: SharedIssuer


def _expiry(granted: Granted, asked_at: datetime) -> datetime | None:
    """Return when a token ends by our clock, None where nobody says.

    Only how long it lives is taken from the issuer, so it does not matter what its clock says.
    """
    claimed = claims.read(granted.token)
    begins, ends = claims.issued_at(claimed), claims.expires_at(claimed)
    try:
        if granted.seconds is not None:
            return asked_at + timedelta(seconds=granted.seconds)
        if begins is not None and ends is not None:
            return asked_at + (ends - begins)
    except OverflowError:  # beyond the year 9999
        return None
    return ends


@dataclass(frozen=True, slots=True)
class _ClientReader:
    """Reads who asks for tokens: identifier, secret, and the certificates to trust."""

    reader: ports.ObjectReader
    clients: PreparedClients
    namespace: str
    declared: v1alpha1.OAuth2

    async def read(self) -> Client:
        """Return the client as it is now. Raises `CredentialError`."""
        reference = self.declared.client_ref
        found = await reading.read(self.reader, self.namespace, reference.name)
        return Client(
            identifier=self._text(found, reference.id_key).reveal(),
            secret=self._text(found, reference.secret_key),
            authentication=self.declared.client_authentication,
            secret_name=reference.name,
            secret_version=found.version,
            tls=await self._tls(),
        )

    def _text(self, found: ports.DataObject, key: str) -> Secret:
        name = self.declared.client_ref.name
        # Neither can have a line break (RFC 6749 appendix A); files that they are made of do.
        text = Secret(reading.text(found, key, name=name).reveal().rstrip("\r\n"))
        if not text:
            raise reading.malformed(reading.place(name, key), "holds only line breaks")
        return text

    async def _tls(self) -> TLSClient:
        reference = self.declared.ca_ref
        ca = await self._ca(reference) if reference is not None else None
        try:
            return self.clients.client(
                ca=ca, certificate=None, key=None, server_name=None, verify=True
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


def _unusable(finding: str) -> errors.CredentialError:
    return errors.CredentialError(Reason.TOKEN_REQUEST_FAILED, f"oauth2.caRef: {finding}")
