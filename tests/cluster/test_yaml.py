"""kubectl and a real API server judge the table of what YAML means."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import yaml_readings
from support.apiserver import APIServer
from support.kubectl import Kubectl, KubectlFailed
from support.yaml_readings import HEAD, REFUSED

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "readings.readings.example.com"},
    "spec": {
        "group": "readings.example.com",
        "names": {"kind": "Reading", "plural": "readings"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"value": {"x-kubernetes-preserve-unknown-fields": True}},
                    }
                },
            }
        ],
    },
}


_JSON = json.JSONDecoder(
    # Go prints a large float without an exponent.
    parse_int=lambda text: int(text) if -(2**63) <= int(text) < 2**63 else float(text)
)


@pytest.fixture(scope="module")
def kubectl(disposable_apiserver: APIServer, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """A kubectl whose API server has a kind that may hold anything."""
    assert disposable_apiserver.request("POST", _CRDS, _DEFINITION).code in (201, 409)
    directory = tmp_path_factory.mktemp("kubectl")
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(disposable_apiserver.kubeconfig())
    found = Kubectl(Path(directory), kubeconfig)
    found.wait("crd", "readings.readings.example.com", "condition=Established")
    return found


def judged(kubectl: Kubectl, text: str) -> Any:
    """Return the values that the API server was sent, or that they are refused."""
    try:
        answer = kubectl.run(
            "create", "--dry-run=server", "--filename=-", "--output=json", given=text
        )
    except KubectlFailed:
        return REFUSED
    return [each.get("value") for each in _objects(answer)]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Read the objects, which kubectl prints one after the other or as a List."""
    while text := text.lstrip():
        found, end = _JSON.raw_decode(text)
        text = text[end:]
        yield from found["items"] if found["kind"] == "List" else [found]


@pytest.mark.parametrize(("text", "expected"), yaml_readings.SCALARS.items())
def test_scalar(kubectl: Kubectl, text: str, expected: Any) -> None:
    found = judged(kubectl, f"{HEAD}value: {text}\n")
    assert found == (expected if expected is REFUSED else [expected])
    if expected is not REFUSED:
        assert isinstance(found[0], bool) == isinstance(expected, bool), "1 is not true"


@pytest.mark.parametrize(("text", "expected"), yaml_readings.KEYS.items())
def test_key(kubectl: Kubectl, text: str, expected: Any) -> None:
    found = judged(kubectl, f"{HEAD}value:\n  {text}: x\n")
    assert found == (expected if expected is REFUSED else [{expected: "x"}])


@pytest.mark.parametrize(
    ("text", "expected"), yaml_readings.DOCUMENTS.values(), ids=yaml_readings.DOCUMENTS.keys()
)
def test_text(kubectl: Kubectl, text: str, expected: Any) -> None:
    assert judged(kubectl, text) == expected


@pytest.mark.parametrize("text", yaml_readings.DROPPED.values(), ids=yaml_readings.DROPPED.keys())
def test_what_springline_refuses_is_taken(kubectl: Kubectl, text: str) -> None:
    """If kubectl comes to refuse it too, these belong into the table above."""
    assert judged(kubectl, text) is not REFUSED
