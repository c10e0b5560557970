"""No broker gets a token that the API server takes, wherever it was read."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest

from springline import errors
from springline.api import v1alpha1
from springline.clock import SystemClock
from springline.core import ports
from springline.core.addresses import AddressPolicy
from springline.credentials.token_files import DirectoryOfTokens
from springline.reasons import Reason
from springline.sources import DeclaredSources
from springline.standalone.services import NoServices
from springline.standalone.tokens import NoTokens
from support import builders
from support.fakes import FakeResolver
from support.objects import FakeReader

USUAL = "https://kubernetes.default.svc"
NAMESPACE = builders.KEY.namespace
BOUND = {"kubernetes.io": {"namespace": "apps", "serviceaccount": {"name": "admin"}}}


class Tokens(NoTokens):
    """Of a cluster whose API server is called otherwise."""

    async def own_audiences(self) -> frozenset[str]:
        return await super().own_audiences() | {"https://api.example"}


def a_token(**claims: Any) -> str:
    return jwt.encode({"sub": "pl4nted", **claims}, "k" * 32, algorithm="HS256")


OF_THE_API_SERVER: Mapping[str, str] = {
    "the usual audience": a_token(aud=[USUAL]),
    "as one text": a_token(aud=USUAL),
    "one of several": a_token(aud=["rabbitmq", f"{USUAL}.cluster.local"]),
    "the audience of our own token": a_token(aud=["https://api.example"]),
    "from a Secret, without audience": a_token(iss="kubernetes/serviceaccount"),
    "bound, without audience": a_token(iss="https://issuer.example", **BOUND),
    "for its issuer": a_token(
        iss="https://issuer.example", aud=["https://issuer.example"], **BOUND
    ),
    "with a line break": f"{a_token(aud=[USUAL])}\n",
    "broken into lines": "\n".join(textwrap.wrap(a_token(aud=[USUAL]), 64)),
    "in JSON": json.dumps({"token": a_token(aud=[USUAL])}),
    "with Bearer": f"Bearer {a_token(aud=[USUAL])}",
    "behind another one": f"{a_token(aud=['x'])} {a_token(aud=[USUAL])}",
}
FOR_BROKERS: Mapping[str, str] = {
    "another audience": a_token(aud=["rabbitmq"]),
    "bound, for a broker": a_token(iss="https://issuer.example", aud=["rabbitmq"], **BOUND),
    "none": a_token(),
    "of an issuer for itself": a_token(iss="https://idp.example", aud=["https://idp.example"]),
    "no JWT": "s3cr.e7.passw0rd",
    "nothing but dots": "." * 5000,
}


def a_source(reader: FakeReader, directory: Path, kind: str, text: str) -> ports.CredentialSource:
    """A source of this kind that reads this text."""
    value = text.encode()
    reader.put("x", {"username": b"ann", "password": value, "token": value}, namespace=NAMESPACE)
    (directory / NAMESPACE).mkdir()
    (directory / NAMESPACE / "x").write_bytes(value)
    credentials = {
        "secretRef": v1alpha1.Credentials(secret_ref=v1alpha1.SecretReference(name="x")),
        "tokenRef": v1alpha1.Credentials(token_ref=v1alpha1.TokenReference(name="x")),
        "tokenFile": v1alpha1.Credentials(token_file=v1alpha1.TokenFile(name="x")),
    }[kind]
    sources = DeclaredSources(
        reader,
        clock=SystemClock(),
        resolver=FakeResolver(),
        addresses=AddressPolicy(),
        services=NoServices(),
        tokens=Tokens(),
        token_files=DirectoryOfTokens(directory),
    )
    return sources.credentials(builders.a_spec(credentials=credentials))


@pytest.mark.parametrize("kind", ["secretRef", "tokenRef", "tokenFile"])
@pytest.mark.parametrize("text", OF_THE_API_SERVER.values(), ids=OF_THE_API_SERVER.keys())
async def test_it_is_refused_whatever_it_is_read_from(
    reader: FakeReader, tmp_path: Path, kind: str, text: str
) -> None:
    with pytest.raises(errors.CredentialError) as caught:
        await a_source(reader, tmp_path, kind, text).fetch()
    assert caught.value.reason is Reason.SECRET_NOT_ALLOWED
    message = caught.value.message
    assert message.startswith(f"credentials.{kind} is a token that the API server itself takes")
    assert text.strip() not in message


@pytest.mark.parametrize("kind", ["secretRef", "tokenRef", "tokenFile"])
@pytest.mark.parametrize("text", FOR_BROKERS.values(), ids=FOR_BROKERS.keys())
async def test_any_other_is_used(reader: FakeReader, tmp_path: Path, kind: str, text: str) -> None:
    credential = await a_source(reader, tmp_path, kind, text).fetch()
    assert credential.secret.reveal() == text
