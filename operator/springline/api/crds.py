"""From the models to CustomResourceDefinitions: `make crds` writes them, nobody edits them.

The schemas are those of the models, brought into the structural form that the API server wants; the
rules over several fields become CEL. Whatever is refused here is refused in standalone mode, too.
"""

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel

from springline.api import places, rules
from springline.api.conditions import LONGEST_MESSAGE
from springline.api.status import BrokerConnectionStatus, BrokerStatus
from springline.api.v1alpha1 import (
    GROUP,
    VERSION,
    Broker,
    BrokerConnection,
    BrokerConnectionSpec,
    BrokerSpec,
    ClusterBroker,
    ClusterBrokerSpec,
)

__all__ = ["crd", "crds", "written"]

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of `kubectl get`."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False
    """Shown only with `-o wide`."""

    def as_document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.path,
            "description": self.description,
        }
        if self.wide:
            document["priority"] = 1
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a CustomResourceDefinition says beside the schema."""

    model: type[BaseModel]
    spec: type[BaseModel]
    status: type[BaseModel]
    plural: str
    short_name: str
    scope: str
    columns: tuple[Column, ...]
    unseen: Mapping[str, Any]
    """Status of an object that no operator has written one of. See `_status`."""
    selectable: tuple[str, ...] = ()
    """Fields that a field selector can name."""
    labels: Mapping[str, str] = field(default_factory=dict)


def _condition(kind: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_AGE = Column(
    name="Age", path=".metadata.creationTimestamp", type="date", description="Since it exists."
)

_BROKER_COLUMNS = (
    Column(
        name="Ready", path=_condition("Ready"), description="Whether it can be used as declared."
    ),
    Column(
        name="Reachable", path=_condition("Reachable"), description="Whether a session is open."
    ),
    Column(
        name="Connections",
        path=".status.connections.declared",
        type="integer",
        description="BrokerConnections that refer to it.",
    ),
    Column(
        name="Blocked",
        path=".status.connections.blocked",
        type="integer",
        description="Those that are blocked.",
    ),
    Column(name="Server", path=".status.server.product", description="Product."),
    Column(name="Version", path=".status.server.version", description="Version of the product."),
    _AGE,
    Column(
        name="Reason",
        path=_condition("Reachable", "reason"),
        wide=True,
        description="Why it is Reachable, or is not.",
    ),
)

_CONNECTION_COLUMNS = (
    Column(name="Ready", path=_condition("Ready"), description="Connected and valid credentials."),
    Column(name="Blocked", path=_condition("Blocked"), description="Whether it is blocked."),
    Column(name="State", path=".status.state", description="One word for people."),
    Column(name="Broker", path=".spec.brokerRef.name", description="Broker it refers to."),
    Column(name=places.COLUMN, path=f".{'.'.join(places.FIELD)}", description="Virtual host."),
    Column(name="User", path=".status.credentials.username", description="User it logs in as."),
    Column(
        name="Expires",
        path=".status.credentials.expiresAt",
        description="When the lifetime of its token ends.",
    ),
    _AGE,
    Column(
        name="Server", path=".status.server.version", wide=True, description="Broker's version."
    ),
    Column(
        name="Heartbeat",
        path=".status.negotiated.heartbeat",
        wide=True,
        description="Heartbeat that was negotiated.",
    ),
    Column(
        name="Endpoint",
        path=".status.endpoint",
        wide=True,
        description="Address that it is connected to.",
    ),
    Column(
        name="Reason",
        path=_condition("Ready", "reason"),
        wide=True,
        description="Why it is Ready, or is not.",
    ),
)

_UNSEEN: Final[Mapping[str, Any]] = {"observedGeneration": -1}

KINDS: Final[Mapping[str, Kind]] = {
    "Broker": Kind(
        model=Broker,
        spec=BrokerSpec,
        status=BrokerStatus,
        plural="brokers",
        short_name="sbroker",
        scope="Namespaced",
        columns=_BROKER_COLUMNS,
        unseen=_UNSEEN,
    ),
    "ClusterBroker": Kind(
        model=ClusterBroker,
        spec=ClusterBrokerSpec,
        status=BrokerStatus,
        plural="clusterbrokers",
        short_name="scbroker",
        scope="Cluster",
        columns=_BROKER_COLUMNS,
        unseen=_UNSEEN,
    ),
    "BrokerConnection": Kind(
        model=BrokerConnection,
        spec=BrokerConnectionSpec,
        status=BrokerConnectionStatus,
        plural="brokerconnections",
        short_name="bconn",
        scope="Namespaced",
        columns=_CONNECTION_COLUMNS,
        unseen={**_UNSEEN, "state": "Pending"},
        selectable=(".spec.brokerRef.name", ".status.state"),
        # Service Binding specification: those who look for services find it by this.
        labels={"servicebinding.io/provisioned-service": "true"},
    ),
}


def crds() -> dict[str, dict[str, Any]]:
    """Return every CustomResourceDefinition by its file name."""
    return {f"{GROUP}_{kind.plural}.yaml": crd(name) for name, kind in KINDS.items()}


def crd(name: str) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    kind = KINDS[name]
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object_schema(name, kind)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.as_document() for column in kind.columns],
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    metadata: dict[str, Any] = {"name": f"{kind.plural}.{GROUP}"}
    if kind.labels:
        metadata["labels"] = dict(kind.labels)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": GROUP,
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": kind.plural,
                "singular": name.lower(),
                "shortNames": [kind.short_name],
                "categories": ["springline"],
            },
            "scope": kind.scope,
            "versions": [version],
        },
    }


def _object_schema(name: str, kind: Kind) -> Schema:
    spec = _structural(kind.spec)
    root: Schema = {
        "type": "object",
        "description": (kind.model.__doc__ or "").strip(),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Group and version of the object."},
            "kind": {"type": "string", "description": "Kind of the object."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": _status(kind),
        },
    }
    for rule in rules.RULES[name]:
        holder = _at(root, rule.at)
        cel, message = rule.cel(holder)
        holder.setdefault("x-kubernetes-validations", []).append({"rule": cel, "message": message})
    return root


def _at(schema: Schema, path: str) -> Schema:
    for part in path.split("."):
        schema = schema["items"] if part == "*" else schema["properties"][part]
    return schema


def _status(kind: Kind) -> Schema:
    """Return the schema of status, with the one of an object that no operator has seen.

    For programs an object without status is as it should be; one that is behind its generation is
    not. The API server takes the default for what is stored, so whatever a status does not bring
    along itself would stay in it: only fields that every status has may be in the default, and no
    conditions, which would need the time of a transition. So nothing else can be required.
    """
    schema = _structural(kind.status)
    schema["properties"]["conditions"] = {
        "type": "array",
        "description": schema["properties"]["conditions"]["description"],
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": copy.deepcopy(_CONDITION),
    }
    schema["required"] = [name for name in schema["required"] if name in kind.unseen]
    schema["default"] = dict(kind.unseen)
    return schema


_CONDITION: Final[Schema] = {
    "type": "object",
    "description": "What is known of one side of the object.",
    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
    "properties": {
        "type": {"type": "string", "description": "What it is about.", "maxLength": 316},
        "status": {
            "type": "string",
            "description": "Whether it is so.",
            "enum": ["True", "False", "Unknown"],
        },
        "reason": {
            "type": "string",
            "description": "Why, in one word for programs.",
            "minLength": 1,
            "maxLength": 1024,
        },
        "message": {
            "type": "string",
            "description": "Why, in a sentence for people.",
            "maxLength": LONGEST_MESSAGE,
        },
        "lastTransitionTime": {
            "type": "string",
            "format": "date-time",
            "description": "When the status became what it is.",
        },
        "observedGeneration": {
            "type": "integer",
            "format": "int64",
            "description": "Generation of the declaration that was looked at.",
        },
    },
}


# --- the structural form


def _structural(model: type[BaseModel]) -> Schema:
    schema = model.model_json_schema(mode="serialization", by_alias=True)
    definitions = schema.pop("$defs", {})
    return _inlined(schema, definitions)


def _inlined(schema: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    """Return a schema without references, nulls and the keywords that the API server refuses."""
    if "$ref" in schema:
        # What stands beside the reference is about this use of it.
        referred = definitions[schema["$ref"].rpartition("/")[2]]
        here = {key: value for key, value in schema.items() if key != "$ref"}
        return _inlined({**referred, **here}, definitions)
    if "anyOf" in schema:
        # A field that may be left out; null means the same to the API server.
        [wanted] = [each for each in schema["anyOf"] if each != {"type": "null"}]
        here = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        return _inlined({**wanted, **here}, definitions)
    result = {key: value for key, value in schema.items() if key in _KEPT}
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if isinstance(result.get("default"), Mapping):
        # The defaults of the fields inside fill it.
        result["default"] = {}
    if "properties" in schema:
        result["properties"] = {
            name: _inlined(each, definitions) for name, each in schema["properties"].items()
        }
    if "items" in schema:
        result["items"] = _inlined(schema["items"], definitions)
    if isinstance(schema.get("additionalProperties"), Mapping):
        result["additionalProperties"] = _inlined(schema["additionalProperties"], definitions)
    if "patternProperties" in schema:
        # The API server knows no rules for keys; a field with such keys brings one in CEL.
        [values] = schema["patternProperties"].values()
        result["additionalProperties"] = _inlined(values, definitions)
    return result


_KEPT: Final = frozenset(
    {
        *("type", "format", "description", "default", "enum", "required", "pattern"),
        *("minLength", "maxLength", "minimum", "maximum"),
        *("minItems", "maxItems", "maxProperties"),
        *("x-kubernetes-int-or-string", "x-kubernetes-validations"),
        *("x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    }
)


# --- writing


class _Dumper(yaml.SafeDumper):
    """Writes equal parts in full each time; the API server's YAML has no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - of the base class
        return True


def written(document: Mapping[str, Any]) -> str:
    """Return a CustomResourceDefinition as its file has it."""
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return f"# Generated from the models by `make crds`; changes here are lost.\n{text}"


def main(arguments: Sequence[str]) -> None:
    """Write the files into the directory that the one argument names."""
    [directory] = arguments
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name, document in crds().items():
        (Path(directory) / name).write_text(written(document), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
