"""From one loaded document to one object, or to everything that is wrong with it.

YAML is somebody else's: `parse` takes what a loader made of one document.
"""

import copy
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NoReturn

from pydantic import ValidationError

from springline.api import problems, rules, texts
from springline.api.connection import BrokerConnectionSpec
from springline.api.core_v1 import ConfigMap, Namespace, Secret
from springline.api.meta import DEFAULT_NAMESPACE, Identity
from springline.api.problems import Problem
from springline.api.v1alpha1 import API_VERSION, GROUP, Broker, BrokerConnection, ClusterBroker
from springline.errors import ManifestError
from springline.positions import Position

__all__ = ["Document", "Where", "identify", "parse"]

Document = Broker | BrokerConnection | ClusterBroker | ConfigMap | Namespace | Secret

MODELS: Final[Mapping[str, type[Document]]] = {
    "Broker": Broker,
    "BrokerConnection": BrokerConnection,
    "ClusterBroker": ClusterBroker,
    "ConfigMap": ConfigMap,
    "Namespace": Namespace,
    "Secret": Secret,
}
API_VERSIONS: Final[Mapping[str, str]] = {
    kind: "v1" if kind in {"ConfigMap", "Namespace", "Secret"} else API_VERSION for kind in MODELS
}
OF_THE_CLUSTER: Final = frozenset({"ClusterBroker", "Namespace"})
READ: Final = "Broker, BrokerConnection, ClusterBroker, ConfigMap, Namespace and Secret"


Where = Callable[[problems.Path], Position]
"""Tells where a field of the document stands, the document itself by an empty path."""


def parse(
    document: object, *, where: Where | None = None, unknown: Literal["refuse", "ignore"] = "refuse"
) -> Document:
    """Return the object that a document describes.

    Unknown fields are mistakes where a person wrote them. From an API server they come when its
    CustomResourceDefinitions are newer than this program, and then have to be ignored.

    Raise `ManifestError` with a sentence for each thing that is wrong, and its position by `where`.
    The error holds no value of a Secret, neither itself nor by its causes.
    """
    if not isinstance(document, Mapping):
        _refuse("must be a mapping with apiVersion, kind, metadata and spec", where=where)
    kind = _kind(document, where)
    model = MODELS[kind]
    # Somebody who wrote no metadata at all is told which part of it is needed.
    whole = document if document.get("metadata") is not None else {**document, "metadata": {}}
    alike = _alike(kind, document)
    found = rules.check(kind, document) if alike is None else []
    given = whole if alike is None else {**whole, "spec": alike}
    parsed = None
    try:
        parsed = model.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        if unknown == "ignore" and (known := _without_unknown(whole, error)) != whole:
            return parse(known, where=where)
        found += problems.from_validation(error, model, secret=model is Secret)
    # Outside of `except`: a ValidationError has the offending values and must not be chained.
    if parsed is None or found:
        raise _error(problems.by_sentence(found), where)
    return parsed


_ALIKE: Final = 256
"""Specs of connections that are kept to be shared."""


def _alike(kind: str, document: Mapping[object, object]) -> BrokerConnectionSpec | None:
    """Return the spec of a connection, if it is valid; None leads to the full check.

    The connections of a fleet often differ only in their names. Their spec is checked once, and is
    one object in memory.
    """
    if kind != "BrokerConnection":
        return None
    spec = document.get("spec")
    try:
        known = _known(json.dumps(spec))
    except (TypeError, ValueError):  # what is in no JSON is said with its place
        return None
    # JSON has no numbers for names.
    return known[1] if known is not None and known[0] == spec else None


@functools.lru_cache(maxsize=_ALIKE)
def _known(text: str) -> tuple[object, BrokerConnectionSpec] | None:
    spec = json.loads(text)
    if rules.check("BrokerConnection", {"spec": spec}):
        return None
    try:
        return spec, BrokerConnectionSpec.model_validate(spec, by_alias=True, by_name=False)
    except ValidationError:
        return None


def _without_unknown(document: Mapping[object, object], error: ValidationError) -> dict[Any, Any]:
    """Return the document without the fields that the error says are unknown."""
    known = copy.deepcopy(dict(document))
    for details in error.errors(include_url=False, include_input=False):
        if details["type"] == "extra_forbidden":
            holder: Any = known
            for part in details["loc"][:-1]:
                holder = holder[part]
            holder.pop(details["loc"][-1], None)
    return known


def identify(document: object) -> Identity | None:
    """Return which object a document is about, however broken the rest of it is.

    None where it is not about one that Springline reads, or does not say about which one.
    """
    if not isinstance(document, Mapping):
        return None
    kind, version, metadata = (document.get(key) for key in ("kind", "apiVersion", "metadata"))
    if not isinstance(kind, str) or kind not in MODELS or not isinstance(metadata, Mapping):
        return None
    if isinstance(version, str) and _group(version) != _group(API_VERSIONS[kind]):
        return None  # a Broker of Knative, for example
    name = metadata.get("name")
    namespace = "" if kind in OF_THE_CLUSTER else metadata.get("namespace")
    if namespace is None:
        namespace = DEFAULT_NAMESPACE
    if not isinstance(name, str) or not name or not isinstance(namespace, str):
        return None
    return Identity(kind, namespace, name)


def _kind(document: Mapping[object, object], where: Where | None) -> str:
    """Return the kind of a document that says it is one of ours; raise `ManifestError` if not."""
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind is None:
        _refuse(f"required; Springline reads {READ}", "kind", where=where)
    if not isinstance(kind, str):
        _refuse("must be a string", "kind", where=where)
    if kind not in MODELS:
        group = f" ({texts.printable(version[:60])})" if isinstance(version, str) else ""
        _refuse(
            f"kind {problems.quoted(kind)}{group} is not one Springline reads; it reads {READ}",
            where=where,
            at="kind",
        )
    expected = API_VERSIONS[kind]
    if version is None:
        _refuse(f"required; write {expected}", "apiVersion", where=where)
    if not isinstance(version, str):
        _refuse(f"must be a string; write {expected}", "apiVersion", where=where)
    if version != expected:
        ours = version.startswith(f"{GROUP}/") and expected == API_VERSION
        finding = "is not a version Springline has" if ours else f"has no {kind} Springline reads"
        shown = problems.quoted(version)
        _refuse(f"{shown} {finding}; write {expected}", "apiVersion", where=where)
    return kind


def _group(api_version: str) -> str:
    """Return the group of an apiVersion, which is empty for the core group."""
    return api_version.rpartition("/")[0]


def _refuse(sentence: str, *path: str, where: Where | None, at: str | None = None) -> NoReturn:
    raise _error({str(Problem(path, sentence)): path if at is None else (at,)}, where)


def _error(sentences: Mapping[str, problems.Path], where: Where | None) -> ManifestError:
    if where is None:
        return ManifestError(list(sentences))
    positions = [where(path) for path in sentences.values()]
    return ManifestError(list(sentences), position=where(()), positions=positions)
