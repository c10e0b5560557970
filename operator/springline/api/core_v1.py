"""`Secret`, `ConfigMap` and `Namespace` of the core group, as standalone mode reads them.

Values come out as bytes, whichever way they were written. They stay out of every repr. That a
password is usable (not empty, no NUL, text) is the business of whoever asks for it.
"""

import base64
import functools
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from springline.api import problems
from springline.api.fields import DataKey, NamespaceName, PlainText
from springline.api.meta import ClusterObjectMeta, Resource

__all__ = ["ConfigMap", "Namespace", "Secret", "why_not_used"]

_FOREIGN_TYPES: Final[Mapping[str, str]] = {
    "kubernetes.io/service-account-token": "a token of the API server",
    "bootstrap.kubernetes.io/token": "a token that nodes join the cluster with",
    "kubernetes.io/dockerconfigjson": "logins of image registries",
    "kubernetes.io/dockercfg": "logins of image registries",
    "kubernetes.io/ssh-auth": "a private SSH key",
    "helm.sh/release.v1": "the values of a Helm release",
}
"""Types of Secrets that never hold anything for a broker, and what they hold."""


def why_not_used(kind: str, type_: object) -> str:
    """Return why no broker gets anything of an object of this kind and type; empty if it may."""
    holds = _FOREIGN_TYPES.get(type_) if kind == "Secret" and isinstance(type_, str) else None
    return (
        f'its type {type_} says that it holds {holds}; use one of the type "Opaque"'
        if holds
        else ""
    )


def _decoded(value: object, *, clear_text: str) -> bytes:
    if isinstance(value, bytes):  # YAML's !!binary has been decoded already
        return value
    advice = f"put clear text under {clear_text}"
    if not isinstance(value, str):
        raise problems.refused("", expected=f"must be a string of base64; {advice}")
    try:
        # Line breaks are what `base64` without -w0 leaves; the API server takes them too.
        return base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except ValueError:
        raise problems.refused("", expected=f"not base64; {advice}") from None


SecretValue = Annotated[
    bytes, BeforeValidator(functools.partial(_decoded, clear_text="stringData"))
]
FileValue = Annotated[bytes, BeforeValidator(functools.partial(_decoded, clear_text="data"))]


class Secret(Resource):
    """A Secret. `stringData` is merged into `data`, over it, as the API server does."""

    api_version: Literal["v1"] = Field(default="v1", description="Version of the core group.")
    kind: Literal["Secret"] = Field(default="Secret", description="Kind of the object.")
    type: PlainText = Field(default="Opaque", description="What the keys mean.")
    immutable: bool = Field(default=False, description="Whether the values may change.")
    data: dict[DataKey, SecretValue] = Field(
        default_factory=dict, repr=False, description="Values by key, in base64."
    )
    string_data: dict[DataKey, PlainText] = Field(
        default_factory=dict,
        repr=False,
        description="Values by key, in clear text; each wins over the same key of data.",
    )

    @model_validator(mode="after")
    def _merge(self) -> Self:
        if self.string_data:
            merged = self.data | {key: text.encode() for key, text in self.string_data.items()}
            # Before anybody has seen the object; frozen models have no other way.
            self.__dict__.update(data=merged, string_data={})
        return self

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None where there is no such key."""
        return self.data.get(key)


class ConfigMap(Resource):
    """A ConfigMap."""

    api_version: Literal["v1"] = Field(default="v1", description="Version of the core group.")
    kind: Literal["ConfigMap"] = Field(default="ConfigMap", description="Kind of the object.")
    immutable: bool = Field(default=False, description="Whether the values may change.")
    data: dict[DataKey, PlainText] = Field(
        default_factory=dict, repr=False, description="Text by key."
    )
    binary_data: dict[DataKey, FileValue] = Field(
        default_factory=dict, repr=False, description="Bytes by key, in base64."
    )

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None where there is no such key."""
        text = self.data.get(key)
        return self.binary_data.get(key) if text is None else text.encode()


class NamespaceMeta(ClusterObjectMeta):
    """The metadata of a Namespace."""

    name: NamespaceName = Field(description="Name of the namespace.")


class Namespace(Resource):
    """A Namespace, of which only the labels count."""

    api_version: Literal["v1"] = Field(default="v1", description="Version of the core group.")
    kind: Literal["Namespace"] = Field(default="Namespace", description="Kind of the object.")
    metadata: NamespaceMeta

    @model_validator(mode="before")
    @classmethod
    def _without_server_fields(cls, data: object) -> object:
        """Drop what only an API server has a use for."""
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if key not in ("spec", "status")}
