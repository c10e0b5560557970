"""Who logs in to a real broker: certificates, tenants and tokens."""

import base64
import dataclasses
import itertools
import ssl
import time
from pathlib import Path
from typing import Any, Self

import jwt
import trustme

from springline.core.values import Credential, TLSClient
from support import opening
from support.rabbitmq import TLSFiles

__all__ = ["CLIENT_NAME", "TOKEN_KEY", "TRUST_IN_TOKENS", "Certificates", "Issuer", "Tenant"]

CLIENT_NAME = "orders-client"
"""The user of the client certificate."""

TOKEN_KEY = "only-for-tests-0123456789abcdef0123456789abcdef"

TRUST_IN_TOKENS = """
[{rabbitmq_auth_backend_oauth2, [
   {resource_server_id, <<"rabbitmq">>},
   {key_config, [
     {default_key, <<"tests">>},
     {signing_keys, #{<<"tests">> => {map, #{
        <<"kty">> => <<"oct">>, <<"alg">> => <<"HS256">>, <<"k">> => <<"KEY">>}}}}]}]}].
""".replace("KEY", base64.urlsafe_b64encode(TOKEN_KEY.encode()).decode().rstrip("="))
"""An advanced.config with which the OAuth 2 backend takes the tokens of `Issuer`."""

_token_numbers = itertools.count()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """An authority that a broker on `localhost` and its clients trust."""

    authority: trustme.CA
    files: TLSFiles

    @classmethod
    def issue(cls, directory: Path) -> Self:
        """Make an authority and the server's files."""
        authority = trustme.CA()
        server = authority.issue_cert("localhost")
        files = TLSFiles(
            ca=directory / "ca.pem",
            certificate=directory / "server.pem",
            key=directory / "server.key",
        )
        authority.cert_pem.write_to_path(str(files.ca))
        server.cert_chain_pems[0].write_to_path(str(files.certificate))
        server.private_key_pem.write_to_path(str(files.key))
        return cls(authority=authority, files=files)

    def client(self, *, with_certificate: bool = False) -> TLSClient:
        """Return a client's side of TLS."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if with_certificate:
            self.authority.issue_cert(CLIENT_NAME, common_name=CLIENT_NAME).configure_cert(context)
        return TLSClient(context=context, has_client_certificate=with_certificate)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A user with a virtual host of its own."""

    vhost: str
    username: str
    secret: str

    @property
    def credential(self) -> Credential:
        """What it logs in with."""
        return opening.password(self.username, self.secret)


class Issuer:
    """Signs tokens that a broker with `TOKEN_KEY` accepts, or does not."""

    def token(
        self, subject: str = "ann", *, seconds: float = 3600, key: str = TOKEN_KEY, **claims: Any
    ) -> str:
        """Return a token that ends in `seconds`, for everything in every virtual host."""
        return jwt.encode(
            {
                "sub": subject,
                "aud": ["rabbitmq"],
                "scope": ["rabbitmq.configure:*/*", "rabbitmq.write:*/*", "rabbitmq.read:*/*"],
                "exp": int(time.time() + seconds),
                "jti": str(next(_token_numbers)),
                **claims,
            },
            key,
            algorithm="HS256",
            headers={"kid": "tests"},
        )
