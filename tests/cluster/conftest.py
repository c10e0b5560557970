"""One real API server for the suite, with the CustomResourceDefinitions of crds/ installed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.apiserver import APIServer, APIServerMissing

CRDS = Path(__file__).resolve().parent.parent.parent / "crds"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIServer]:
    """A running API server; skipped, with the reason, where there is none to be had."""
    try:
        server = APIServer(tmp_path_factory.mktemp("apiserver"))
    except APIServerMissing as error:
        pytest.skip(f"the cluster tests did not run: {error}")
    with server:
        yield server


@pytest.fixture(scope="session")
def cluster(apiserver: APIServer) -> APIServer:
    """The API server with our resources served."""
    for path in sorted(CRDS.glob("*.yaml")):
        answer = apiserver.request("POST", DEFINITIONS, yaml.safe_load(path.read_text()))
        assert answer.code == 201, answer.message
    deadline = time.monotonic() + 30
    for path in sorted(CRDS.glob("*.yaml")):
        name = yaml.safe_load(path.read_text())["metadata"]["name"]
        while not _is_served(apiserver, name):
            assert time.monotonic() < deadline, f"{name} is not served"
            time.sleep(0.05)
    return apiserver


def _is_served(apiserver: APIServer, name: str) -> bool:
    status = apiserver.request("GET", f"{DEFINITIONS}/{name}").content.get("status", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    plural, _, group = name.partition(".")
    served = apiserver.request("GET", f"/apis/{group}/v1alpha1/{plural}").code == 200
    return conditions.get("Established") == "True" and served
