"""What every object has: metadata, an identity, and how strictly it is read.

Models are frozen and hold only what Springline uses. What an API server adds to metadata is
accepted and forgotten, and so is `kubectl apply`'s copy of the object, which for a Secret has its
values.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Annotated, Final, Literal, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from springline.api import problems
from springline.api.fields import NamespaceName, ObjectName, PlainText
from springline.api.identity import Identity

__all__ = [
    "ApiModel",
    "ClusterObjectMeta",
    "Declaration",
    "Identity",
    "ObjectMeta",
    "Resource",
    "Shared",
]

DEFAULT_NAMESPACE: Final = "default"

# Fields of ObjectMeta that Springline never reads.
SET_BY_SERVER: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
    }
)
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


@cache  # every object with a null in it asks
def _aliases(model: type[BaseModel]) -> frozenset[str | None]:
    """Return the names of its fields in documents."""
    return frozenset(field.alias for field in model.model_fields.values())


class ApiModel(BaseModel):
    """The base of every model: immutable, no conversions, no unknown fields.

    Python code names fields by attribute, documents by alias; `documents.parse` allows only the
    latter. A field without a value (`tls:` with nothing below it) counts as not given.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        allow_inf_nan=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        strict=True,
        validate_by_alias=True,
        validate_by_name=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: object) -> object:
        if not isinstance(data, Mapping) or None not in data.values():
            return data
        known = _aliases(cls)
        return {key: value for key, value in data.items() if value is not None or key not in known}


_Model = TypeVar("_Model", bound=ApiModel)

_DIFFERENT = 1024
"""Values of a fleet that are kept to be shared; more than that are not alike."""


@lru_cache(maxsize=_DIFFERENT)
def _first(model: ApiModel) -> ApiModel:
    """Return the first of all that are equal."""
    return model


def _shared(model: _Model) -> _Model:
    try:
        return cast(_Model, _first(model))
    except TypeError:  # it has a list or a mapping in it
        return model


Shared = Annotated[_Model, AfterValidator(_shared)]
"""A part of a declaration that is most often the same in many, and takes its memory only once."""


class ObjectMeta(ApiModel):
    """The part of an object's metadata that Springline uses."""

    name: ObjectName = Field(description="Name of the object, unique in its namespace.")
    namespace: NamespaceName = Field(
        default=DEFAULT_NAMESPACE, description="Namespace of the object."
    )
    labels: dict[PlainText, PlainText] = Field(
        default_factory=dict, description="Labels by which objects are selected."
    )
    annotations: dict[PlainText, PlainText] = Field(
        default_factory=dict, description="Free text for people and tools."
    )
    generation: int = Field(
        default=0, description="Number of the declaration; the API server counts it up."
    )
    uid: PlainText = Field(default="", description="Identity that outlives the name.")

    @model_validator(mode="before")
    @classmethod
    def _without_server_fields(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        kept = {key: value for key, value in data.items() if key not in SET_BY_SERVER}
        annotations = kept.get("annotations")
        if isinstance(annotations, Mapping) and LAST_APPLIED in annotations:
            kept["annotations"] = {
                key: value for key, value in annotations.items() if key != LAST_APPLIED
            }
        return kept


def _no_namespace(value: object) -> object:
    if value != "":
        raise problems.refused("", expected="must be left out; the whole cluster is meant")
    return value


class ClusterObjectMeta(ObjectMeta):
    """The metadata of an object that belongs to the whole cluster."""

    namespace: Annotated[str, BeforeValidator(_no_namespace)] = Field(
        default="", description="Left out: the object belongs to the whole cluster."
    )


class Resource(ApiModel):
    """An object with a kind and metadata."""

    api_version: str
    kind: str
    metadata: ObjectMeta

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The namespace; empty for what belongs to the whole cluster."""
        return self.metadata.namespace

    @property
    def identity(self) -> Identity:
        return Identity(self.kind, self.metadata.namespace, self.metadata.name)


class Declaration(Resource):
    """An object of Springline's own group."""

    api_version: Literal["springline.dev/v1alpha1"] = Field(
        default="springline.dev/v1alpha1", description="Group and version of the object."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_status(cls, data: object) -> object:
        """Drop `status`: it is what Springline reports, never what it reads."""
        if isinstance(data, Mapping) and "status" in data:
            return {key: value for key, value in data.items() if key != "status"}
        return data
