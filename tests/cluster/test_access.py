"""How the operator and the plugin reach a real API server, in a Python as strict as the image's.

The API server is this module's own: its authority has no key identifiers, as that of Amazon EKS,
and takes client certificates for logins.
"""

import asyncio
import base64
import http.client
import itertools
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from support import bare_operator, hardened, springline_process
from support.apiserver import APIServer, APIServerMissing
from support.authorities import PlainAuthority
from support.definitions import Definitions
from support.plugin import Plugin
from support.springline_process import searched
from support.waiting import eventually

CONNECTIONS = "/apis/springline.dev/v1alpha1/namespaces/default/brokerconnections"

_numbers = itertools.count()


@pytest.fixture(scope="module")
def authority() -> PlainAuthority:
    return PlainAuthority()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, authority: PlainAuthority
) -> Iterator[APIServer]:
    """The API server, with our resources."""
    try:
        server = APIServer(
            tmp_path_factory.mktemp("apiserver"), controllers=False, authority=authority
        )
    except APIServerMissing as error:
        pytest.skip(f"the cluster tests did not run: {error}")
    with server:
        Definitions(server).install()
        yield server


@pytest.fixture(params=["embedded", "files"])
def kubeconfig(
    request: pytest.FixtureRequest, server: APIServer, authority: PlainAuthority, tmp_path: Path
) -> Path:
    """An administrator's, who logs in with a certificate that it holds, or names a file of."""
    ann = authority.issue_cert(common_name="ann", organization_name="system:masters")
    parts = {
        "certificate-authority": server.certificate.read_bytes(),
        "client-certificate": ann.cert_chain_pems[0].bytes(),
        "client-key": ann.private_key_pem.bytes(),
    }
    document = yaml.safe_load(server.kubeconfig())
    cluster: dict[str, str] = document["clusters"][0]["cluster"]
    user: dict[str, str] = {}
    del cluster["certificate-authority"]
    for name, content in parts.items():
        section = cluster if name == "certificate-authority" else user
        if request.param == "embedded":
            section[f"{name}-data"] = base64.b64encode(content).decode()
        else:
            (tmp_path / name).write_bytes(content)
            section[name] = name
    document["users"][0]["user"] = user
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def declared(server: APIServer) -> str:
    """Declare a connection whose broker is missing, and return its name."""
    name = f"orders-{next(_numbers)}"
    connection = {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "metadata": {"name": name},
        "spec": {
            "brokerRef": {"name": "missing"},
            "credentials": {"secretRef": {"name": "missing"}},
        },
    }
    answer = server.request("POST", CONNECTIONS, connection)
    assert answer.code == http.client.CREATED, answer.message
    return name


def reason_of(server: APIServer, name: str) -> str:
    """Return why a connection is not Ready, empty as long as nothing is said of it."""
    status: Mapping[str, list[dict[str, str]]] = (
        server.request("GET", f"{CONNECTIONS}/{name}").content.get("status") or {}
    )
    reasons = [each["reason"] for each in status.get("conditions", []) if each["type"] == "Ready"]
    return reasons[0] if reasons else ""


async def test_operator_reaches_it_from_a_read_only_root(
    server: APIServer, kubeconfig: Path, tmp_path: Path
) -> None:
    """kopf's watches show a connection, and the other client writes its status."""
    with bare_operator.running(
        tmp_path, kubeconfig, program=hardened.program("springline.entry:springline")
    ) as operator:
        await operator.until_ready()
        name = declared(server)
        reason = await eventually(
            lambda: reason_of(server, name), timeout=60, what="its status is written"
        )
    said = searched(operator.output)
    assert reason == "BrokerNotFound", said
    assert "cannot be reached" not in said
    assert "Traceback" not in said


async def test_plugin_reaches_it_from_a_read_only_root(
    server: APIServer, kubeconfig: Path, tmp_path: Path
) -> None:
    name = declared(server)
    environment = Plugin(tmp_path / "plugin", kubeconfig).environment()
    done = await asyncio.to_thread(
        subprocess.run,
        [*hardened.program("springline.entry:kubectl_springline"), "status"],
        env={**springline_process.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
