"""How a client shows who it is: one model for each source of credentials.

The fields are checked one by one here; rules over several of them are in `rules`.
"""

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, Strict

from springline.api.broker import CAReference
from springline.api.durations import Span
from springline.api.fields import (
    Audience,
    DataKey,
    Entries,
    HttpsURL,
    ObjectName,
    Scope,
)
from springline.api.meta import ApiModel

__all__ = [
    "Anonymous",
    "ClientReference",
    "Credentials",
    "External",
    "OAuth2",
    "SecretReference",
    "ServiceAccountReference",
    "TokenFile",
    "TokenReference",
]

MOST_SCOPES: Final = 64


class SecretReference(ApiModel):
    """A Secret with a user name and a password."""

    name: ObjectName = Field(description="Name of the Secret, in the same namespace.")
    username_key: DataKey = Field(
        default="username", description="Key in the Secret that has the user name."
    )
    password_key: DataKey = Field(
        default="password", description="Key in the Secret that has the password."
    )


class TokenReference(ApiModel):
    """A Secret with a token (JWT) that somebody else renews."""

    name: ObjectName = Field(description="Name of the Secret, in the same namespace.")
    key: DataKey = Field(default="token", description="Key in the Secret that has the token.")


class TokenFile(ApiModel):
    """A file with a token that somebody else renews, such as a projected volume."""

    name: ObjectName = Field(
        description=(
            "Name of the file. It is looked for in the directory named like the namespace, below"
            " the directory that Springline was started with (--token-dir)."
        )
    )


class ClientReference(ApiModel):
    """A Secret with the identifier and the secret of an OAuth 2 client."""

    name: ObjectName = Field(description="Name of the Secret, in the same namespace.")
    id_key: DataKey = Field(
        default="client-id", description="Key in the Secret that has the client identifier."
    )
    secret_key: DataKey = Field(
        default="client-secret", description="Key in the Secret that has the client secret."
    )


class OAuth2(ApiModel):
    """Tokens from an OAuth 2 server, by the client credentials grant (RFC 6749 §4.4)."""

    token_url: HttpsURL = Field(
        alias="tokenURL", description="Token endpoint of the OAuth 2 server; https only."
    )
    client_ref: ClientReference = Field(description="The client that tokens are asked for as.")
    client_authentication: Literal["Basic", "Post"] = Field(
        default="Basic",
        description=(
            "How the client shows who it is to the OAuth 2 server: Basic in the header"
            " (client_secret_basic), Post in the body of the request (client_secret_post)."
        ),
    )
    scopes: Annotated[
        tuple[Scope, ...], Strict(strict=False), Entries(MOST_SCOPES, distinct=True, or_none=True)
    ] = Field(
        default=(), description="Scopes to ask for. Default: what the server gives the client."
    )
    audience: Audience | None = Field(
        default=None,
        description=(
            "Audience to ask for, where the server takes one. For RabbitMQ this is its"
            " resource_server_id."
        ),
    )
    ca_ref: CAReference | None = Field(
        default=None,
        description=(
            "Certificate authorities to check the OAuth 2 server's certificate against."
            " Default: those of the system."
        ),
    )


class ServiceAccountReference(ApiModel):
    """Tokens of a ServiceAccount, issued by the API server for one audience."""

    name: ObjectName = Field(description="Name of the ServiceAccount, in the same namespace.")
    audience: Audience = Field(
        description="Audience of the tokens. For RabbitMQ this is its resource_server_id."
    )
    expiration: Annotated[timedelta, Span(minimum="10m", maximum="24h", whole_seconds=True)] = (
        Field(
            default=timedelta(hours=1),
            description="Lifetime to ask for. The API server may give another one.",
        )
    )


class External(ApiModel):
    """SASL EXTERNAL: the broker takes the user from the client certificate. It has no fields."""


class Anonymous(ApiModel):
    """No login: the broker lets the session in without a credential. It has no fields."""


class Credentials(ApiModel):
    """How the client shows who it is; exactly one of the fields is given."""

    secret_ref: SecretReference | None = Field(
        default=None, description="User name and password from a Secret."
    )
    token_ref: TokenReference | None = Field(
        default=None, description="A token from a Secret that somebody else renews."
    )
    token_file: TokenFile | None = Field(
        default=None, description="A token from a file that somebody else renews."
    )
    oauth2: OAuth2 | None = Field(
        default=None,
        description="Tokens from an OAuth 2 server; Springline asks for a new one in time.",
    )
    service_account: ServiceAccountReference | None = Field(
        default=None,
        description=(
            "Tokens of a ServiceAccount; Springline asks the API server for a new one in time."
            " Not in standalone mode."
        ),
    )
    external: External | None = Field(
        default=None,
        description=(
            "SASL EXTERNAL with the broker's client certificate. Written as an empty mapping: {}"
        ),
    )
    anonymous: Anonymous | None = Field(
        default=None,
        description=(
            "No login, for a broker that lets anybody in (SASL ANONYMOUS; over HTTP, requests"
            " without Authorization). Written as an empty mapping: {}"
        ),
    )
