"""What applications are told of a broker: the entries of a binding Secret. Pure.

They are what the Service Binding specification for Kubernetes (1.0) calls a Provisioned Service's
Secret. Only a credential that the broker has accepted goes in; whoever writes the Secret leaves it
as it is while there is none.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import quote

from springline.api.conditions import Condition, ConditionStatus, ConditionType
from springline.api.times import rfc3339
from springline.core.desired import Target
from springline.core.protocol_values import Offer
from springline.core.values import Credential, CredentialKind, Endpoint, OpenInfo, SessionKey
from springline.core.verdicts import Verdict
from springline.core.view import SessionView
from springline.reasons import Reason

__all__ = [
    "NOTHING_VERIFIED",
    "Content",
    "Publication",
    "Publications",
    "Surroundings",
    "content",
    "current",
    "failed",
    "not_ours",
    "published",
    "stored",
]

_ANYBODY: Final = "token"
"""User name beside a token that does not say whose it is. Clients need one, brokers ignore it."""

_LONGEST_PROVIDER: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a binding Secret holds. Its repr shows no value."""

    type: str
    """What kind of service it is, such as `postgresql`."""
    entries: Mapping[str, str] = field(repr=False)
    """Values by key, `type` included."""

    def is_same_but_token(self, other: "Content | None") -> bool:
        """Whether the other differs only in a token, which is renewed again and again."""
        if other is None or "expires-at" not in self.entries or self.type != other.type:
            return False
        return _without_token(self.entries) == _without_token(other.entries)

    @property
    def secret_type(self) -> str:
        """The Secret's own type."""
        return f"servicebinding.io/{self.type}"


def _without_token(entries: Mapping[str, str]) -> dict[str, str]:
    of_token = ("password", "token", "uri", "uris", "expires-at")
    return {key: value for key, value in entries.items() if key not in of_token}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a session's view does not say and applications need."""

    ca: str | None = None
    """The certificate authorities that the broker declares, in PEM."""
    service_port: int | None = None
    """Number of the port of `endpointsFrom.service`; None where its name leads straight to pods."""


def content(view: SessionView, surroundings: Surroundings) -> Content | None:
    """Return what is to be published; None if nothing is in use that the broker has accepted."""
    # What the session was opened for, and not what is declared by now: that has not been tried.
    target, info, use = view.target, view.info, view.credential
    if target is None or info is None or use is None or use.method is None or not info.proved:
        return None
    key = view.key
    endpoints = _endpoints(target, info, key, surroundings)
    provider = _word(info.server.product)
    offer = target.parameters.offer(provider=provider, tls=target.tls.enabled)
    login = _login(use.credential, info, offer)
    uris = [_uri(each, login, offer) for each in endpoints]
    entries = {
        "type": offer.type,
        "provider": provider,
        "host": endpoints[0].host,
        "port": str(endpoints[0].port),
        **(login or {}),
        **offer.entries,
        "uri": uris[0],
        "uris": ",".join(uris),
        "ca.crt": surroundings.ca or "",
        "expires-at": _expiry(use.credential) if login is not None else "",
    }
    return Content(
        type=offer.type, entries={name: value for name, value in entries.items() if value}
    )


def _endpoints(
    target: Target, info: OpenInfo, key: SessionKey, surroundings: Surroundings
) -> tuple[Endpoint, ...]:
    """Return where applications reach the broker, the first one first.

    As far as it goes this is what is declared, and not what the session is connected to: one that
    has moved to the next endpoint must not restart every application.
    """
    if target.endpoints:
        return target.endpoints
    service = target.endpoints_from.service if target.endpoints_from is not None else None
    if service is None:
        return (info.endpoint,)
    host = f"{service.name}.{service.namespace_for(key.namespace)}.svc"
    return (Endpoint(host, surroundings.service_port or info.endpoint.port),)


def _login(credential: Credential, info: OpenInfo, offer: Offer) -> dict[str, str] | None:
    """Return user name and password, or a token; None where a client certificate has logged in."""
    if info.negotiated.mechanism == "EXTERNAL":
        return None  # whatever else was declared, nobody has looked at it
    match credential.kind:
        case CredentialKind.EXTERNAL | CredentialKind.ANONYMOUS:
            return None
        case CredentialKind.TOKEN if not offer.has_login:
            return {"token": credential.secret.reveal()}
        case CredentialKind.PASSWORD | CredentialKind.TOKEN:
            username = credential.username or _ANYBODY
            return {"username": username, "password": credential.secret.reveal()}


def _uri(endpoint: Endpoint, login: Mapping[str, str] | None, offer: Offer) -> str:
    """Return the URI of an endpoint (RFC 3986)."""
    user = ""
    if login is not None and offer.has_login:
        user = f"{_quoted(login['username'])}:{_quoted(login['password'])}@"
    return f"{offer.scheme}://{user}{endpoint}/{_quoted(offer.path)}"


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _word(product: str) -> str:
    """Return what a broker calls itself as one word; empty if it does not say."""
    return re.sub(r"[^a-z0-9.-]+", "-", product.lower()).strip("-.")[:_LONGEST_PROVIDER]


def _expiry(credential: Credential) -> str:
    if credential.expires_at is None:
        return ""
    return rfc3339(credential.expires_at)


# --- what is said of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What has become of a declared binding."""

    verdict: Verdict
    """The condition BindingPublished."""
    name: str | None = None
    """The Secret, if there is one that was written for this connection."""


class Publications(Protocol):
    """Who knows what has become of bindings."""

    def publication(self, key: SessionKey) -> Publication | None:
        """Return what has become of a connection's binding; None while nobody has looked."""


NOTHING_VERIFIED: Final = Publication(
    verdict=Verdict(
        status=ConditionStatus.UNKNOWN,
        reason=Reason.NOTHING_VERIFIED,
        message="the broker has not accepted a credential yet",
    )
)


def published(name: str) -> Publication:
    """Say that the Secret has what was verified last."""
    return Publication(
        verdict=Verdict(
            status=ConditionStatus.TRUE,
            reason=Reason.PUBLISHED,
            message=f'Secret "{name}" has what was verified last',
        ),
        name=name,
    )


def not_ours(message: str) -> Publication:
    """Say that the name is somebody else's."""
    return Publication(
        verdict=Verdict(
            status=ConditionStatus.FALSE, reason=Reason.SECRET_NOT_OURS, message=message
        )
    )


def failed(message: str, *, name: str | None = None) -> Publication:
    """Say why it cannot be written; `name` is the Secret as it was written before."""
    return Publication(
        verdict=Verdict(
            status=ConditionStatus.FALSE, reason=Reason.BINDING_FAILED, message=message
        ),
        name=name,
    )


def current(
    view: SessionView, publications: Publications, *, before: Publication | None
) -> Publication | None:
    """Return what is to be shown of a binding now; None if none is declared.

    `before` is what was shown last, perhaps by an earlier process: it stays until somebody has
    looked, and while nobody can tell what is declared.
    """
    if view.spec is None:
        return before
    if view.spec.binding is None:
        return None
    return publications.publication(view.key) or before or NOTHING_VERIFIED


def stored(conditions: Sequence[Condition], name: str | None) -> Publication | None:
    """Return what a status shows that somebody has written."""
    for condition in conditions:
        if condition.type is ConditionType.BINDING_PUBLISHED:
            verdict = Verdict(
                status=condition.status, reason=condition.reason, message=condition.message
            )
            return Publication(verdict=verdict, name=name)
    return None
