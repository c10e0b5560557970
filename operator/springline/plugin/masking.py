"""Keeping secrets out of what is to be passed on: of documents, log lines and metrics.

Three things are done. What may hold a secret and is not needed is left out by its place: values of
Secrets, of annotations, of environment variables, of client properties. What looks like a secret is
masked by its form: logins in URIs, tokens, private keys, `password=...`. And what is known to be
one, since it stands in a Secret that was read, is masked wherever it, or a longer part, appears.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote_to_bytes

from springline.api import secret_keys
from springline.api.texts import LONGEST_MESSAGE, is_too_long

__all__ = ["MASK", "Mask", "keys_and_sizes", "own_object", "workload"]

MASK: Final = "***"

_RUN: Final = 12
"""So many characters of a secret in a row are no coincidence."""
_SHORTEST: Final = 8
"""A secret with fewer characters may be part of any word, and is only masked by its form."""
_LONGEST: Final = 64 * 1024
"""Characters of one value that are looked for."""

_NAMED: Final = (
    r"(?:password|passwd|passphrase|pwd|(?<![a-z])pass|token|api[-_]?key|client[-_]?secret"
    r"|secret[-_]?(?:access[-_]?)?key|private[-_]?key|authorization|signature)"
)

# What a secret looks like, and what is left of it. How far each looks is bounded: a text in which
# every few characters might be the beginning of one would take hours otherwise.
_FORMS: Final = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}KEY-----|\Z)",
            re.DOTALL,
        ),
        MASK,
    ),
    (
        re.compile(
            r"(://)(?:[^/\s@\"'<>]{1,4096}|[^/\s:\"'<>]{0,4096}:[^\s\"'<>]{0,4096})@",
        ),
        rf"\1{MASK}@",
    ),
    (re.compile(r"\beyJ[\w-]{6,4096}\.[\w-]{6,}(?:\.[\w-]*)*"), MASK),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/-]{16,}=*", re.IGNORECASE), rf"\1 {MASK}"),
    # In quotes, up to the same ones: a phrase has spaces.
    (
        re.compile(
            rf"({_NAMED}\\[\"']\s*[=:]\s*(\\[\"'])).*?(?=\2|$)", re.IGNORECASE | re.MULTILINE
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            rf"({_NAMED}[\"']?\s*[=:]\s*([\"']))(?:\\.|(?!\2)[^\\\n])*",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            rf"({_NAMED}\\?[\"']?\s*[=:]\s*\\?[\"']?)(?!\*\*\*)(?:(?:bearer|basic)\s+)?"
            r"[^\s\"'\\,;&})\]]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)

_URI: Final = re.compile(rb"://(?:[^/\s@:]*(?::(?P<password>[^\s@]*))?@)?[^/\s@]*(?P<rest>[^\s,]*)")

_OUR_ANNOTATIONS: Final = ("springline.dev/", "meta.helm.sh/", "deployment.kubernetes.io/")
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

_OWN_CONTAINER: Final = "springline"


class Mask:
    """What is known to be secret, and the masking of texts. It shows nothing of that."""

    def __init__(self) -> None:
        self._parts: dict[int, set[str]] = {}
        """By their length: parts of secrets that are masked where they appear."""
        self._halves: dict[int, set[str]] = {}
        """By the length of these parts: all halves of them."""

    def learn(self, key: str, value: bytes) -> None:
        """Look for a value of a Secret from now on, also as it is written in JSON, URLs, base64."""
        if key.lower() in secret_keys.NO_SECRETS or value.startswith(b"-----BEGIN CERTIFICATE"):
            return
        for part in _secret_parts(value[:_LONGEST]):
            for form in _written(part):
                if len(form) < _SHORTEST:
                    continue
                length = min(len(form), _RUN)
                parts = self._parts.setdefault(length, set())
                parts.update(_pieces(form, length))
                self._halves.setdefault(length, set()).update(_pieces(form, length // 2))

    def text(self, text: str) -> str:
        """Return a text with what is secret masked."""
        text = self._without_known(text)
        for form, left in _FORMS:
            text = form.sub(left, text)
        return text

    def document(self, value: Any) -> Any:
        """Return a document with all of its texts masked, those of its keys too."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self.text(str(key)): self.document(each) for key, each in value.items()}
            case list() | tuple():
                return [self.document(each) for each in value]
            case _:
                return value

    def _without_known(self, text: str) -> str:
        marked = [each for length in self._parts for each in self._found(text, length)]
        if not marked:
            return text
        marked.sort()
        pieces, done = [], 0
        begin, end = marked[0]
        for start, stop in [*marked[1:], (len(text) + 1, 0)]:
            if start <= end:
                end = max(end, stop)
                continue
            pieces += [text[done:begin], MASK]
            done, begin, end = end, start, stop
        return "".join([*pieces, text[done:]])

    def _found(self, text: str, length: int) -> Iterator[tuple[int, int]]:
        """Yield where parts of a length begin and end.

        Wherever one is, at one of so many places it has a half; so the others are not looked at.
        """
        parts, halves, half = self._parts[length], self._halves[length], length // 2
        before = length - half
        for at in range(0, len(text) - half + 1, before + 1):
            if text[at : at + half] in halves:
                for begin in range(max(at - before, 0), at + 1):
                    if text[begin : begin + length] in parts:
                        yield begin, begin + length

    def __repr__(self) -> str:
        return "Mask(***)"


def _pieces(text: str, length: int) -> Iterator[str]:
    return (text[at : at + length] for at in range(len(text) - length + 1))


def _secret_parts(value: bytes) -> Iterable[bytes]:
    """Yield what of a value is secret: of a URI its password, or else what is behind the host.

    Where a broker is, a status has to show.
    """
    if b"://" not in value:
        yield value
        return
    for uri in _URI.finditer(value):
        password, rest = uri["password"], uri["rest"]
        if password:
            yield from {password, unquote_to_bytes(password)}
        elif len(rest) >= _RUN:
            yield rest
    yield from (line for line in value.splitlines() if b"://" not in line)


def _written(value: bytes) -> Iterable[str]:
    """Yield how a secret may be written."""
    text = value.decode(errors="replace").strip()
    yield from {text, json.dumps(text)[1:-1], quote(text, safe=""), quote_plus(text)}
    if "\n" in text:
        yield from (line.strip() for line in text.splitlines() if not line.startswith("-----"))
    for before in range(3):  # a part of a longer text begins at any of three places
        encoded = base64.b64encode(b"\0" * before + value).decode().rstrip("=")
        part = encoded[4:] if before else encoded
        yield part[:-1]
        yield part[:-1].replace("+", "-").replace("/", "_")


# --- documents, by the places of what they hold


def own_object(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of ours without what nobody needs who reads of its troubles."""
    kept = {**document, "metadata": _metadata(document)}
    spec = kept.get("spec")
    if isinstance(spec, Mapping) and isinstance(spec.get("clientProperties"), Mapping):
        properties = {key: _size(value) for key, value in spec["clientProperties"].items()}
        kept["spec"] = {**spec, "clientProperties": properties}
    status = kept.get("status")
    if isinstance(status, Mapping) and isinstance(status.get("negotiated"), Mapping):
        negotiated = dict(status["negotiated"])
        if isinstance(negotiated.get("clientProperties"), Mapping):
            negotiated["clientProperties"] = {
                key: _size(value) for key, value in negotiated["clientProperties"].items()
            }
        kept["status"] = {**status, "negotiated": negotiated}
    return kept


def keys_and_sizes(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a Secret or ConfigMap what it is called, its type, its keys and their sizes."""
    metadata = _mapping(document.get("metadata"))
    sizes = {
        str(key): _octets(value, is_encoded=field != "data" or document.get("kind") == "Secret")
        for field in ("data", "binaryData")
        for key, value in _mapping(document.get(field)).items()
    }
    return {
        "kind": document.get("kind"),
        "namespace": metadata.get("namespace"),
        "name": metadata.get("name"),
        "type": document.get("type"),
        "created": metadata.get("creationTimestamp"),
        "resourceVersion": metadata.get("resourceVersion"),
        "labels": metadata.get("labels"),
        "bytesByKey": sizes,
    }


def workload(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a Pod or Deployment what says which version runs, and how it fares."""
    spec, status = _mapping(document.get("spec")), _mapping(document.get("status"))
    template = _mapping(_mapping(spec.get("template")).get("spec"))
    pod = template or spec
    return {
        "kind": document.get("kind"),
        "metadata": _metadata(document),
        "spec": {
            **{key: spec[key] for key in ("replicas", "strategy", "nodeName") if key in spec},
            **{
                key: pod[key]
                for key in ("serviceAccountName", "terminationGracePeriodSeconds", "dnsPolicy")
                if key in pod
            },
            "containers": [_container(each) for each in _mappings(pod.get("containers"))],
            "initContainers": [_container(each) for each in _mappings(pod.get("initContainers"))],
        },
        "status": status,
    }


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        key: container[key]
        for key in ("name", "image", "imagePullPolicy", "ports", "resources", "securityContext")
        if key in container
    }
    if container.get("name") == _OWN_CONTAINER:
        kept["args"] = container.get("args")
    kept["env"] = [
        {"name": each.get("name"), "value": _size(each["value"])}
        if "value" in each
        else {"name": each.get("name"), "valueFrom": each.get("valueFrom")}
        for each in _mappings(container.get("env"))
    ]
    kept["envFrom"] = container.get("envFrom")
    return kept


def _metadata(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(_mapping(document.get("metadata")))
    metadata.pop("managedFields", None)
    annotations = _mapping(metadata.pop("annotations", None))
    kept = {
        key: value if _is_of_use(str(key), str(value)) else _size(value)
        for key, value in annotations.items()
        if key != _LAST_APPLIED
    }
    return {**metadata, **({"annotations": kept} if kept else {})}


def _is_of_use(annotation: str, value: str) -> bool:
    """Whether an annotation is one of ours; a long one is not, whatever it is called."""
    return annotation.startswith(_OUR_ANNOTATIONS) and not is_too_long(value, LONGEST_MESSAGE)


def _size(value: object) -> str:
    return f"({len(str(value))} characters)"


def _octets(value: object, *, is_encoded: bool) -> int:
    text = str(value)
    if not is_encoded:
        return len(text.encode(errors="replace"))
    return len(text) * 3 // 4 - text[-2:].count("=")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
