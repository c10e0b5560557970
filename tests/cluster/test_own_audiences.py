"""Which audiences are the API server's own, on one that is configured to have others."""

import http.client
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from springline import errors
from springline.kube.access import Access
from springline.kube.client import Client
from springline.kube.tokens import KubernetesTokens
from support.apiserver import APIServer, APIServerMissing

AUDIENCES = ("https://api.corp.example", "vault")
DEFAULT = "/api/v1/namespaces/default/serviceaccounts/default"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIServer]:
    try:
        server = APIServer(
            tmp_path_factory.mktemp("apiserver"), options=[f"--api-audiences={','.join(AUDIENCES)}"]
        )
    except APIServerMissing as error:
        pytest.skip(f"the cluster tests did not run: {error}")
    with server:
        server.request("POST", DEFAULT.rpartition("/")[0], {"metadata": {"name": "default"}})
        yield server


@pytest.fixture
async def tokens(server: APIServer, tmp_path: Path) -> AsyncIterator[KubernetesTokens]:
    """Those of an operator that logs in with a token such as the kubelet gives to a pod."""
    (tmp_path / "token").write_text(server.token_for("default", "default"))
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig(tokenFile=str(tmp_path / "token")))
    access = Access(kubeconfig=str(kubeconfig))
    await access.load()
    async with Client(access) as client:
        yield KubernetesTokens(client, access)


async def test_token_that_a_pod_gets_names_all_audiences_of_the_api_server(
    tokens: KubernetesTokens,
) -> None:
    """So there is nothing to configure: whatever `--api-audiences` says is known."""
    assert await tokens.own_audiences() >= set(AUDIENCES)


@pytest.mark.parametrize("audience", AUDIENCES)
async def test_no_token_is_asked_for_that_this_api_server_takes(
    server: APIServer, tokens: KubernetesTokens, audience: str
) -> None:
    """It would take one for any of them."""
    request = {"spec": {"audiences": [audience], "expirationSeconds": 600}}
    answer = server.request("POST", f"{DEFAULT}/token", request)
    assert answer.code == http.client.CREATED
    token = str(answer.content["status"]["token"])
    # It knows who it is, and lets that user do nothing here.
    assert server.request("GET", DEFAULT, token=token).code == http.client.FORBIDDEN
    with pytest.raises(errors.CredentialError, match="is that of the API server"):
        await tokens.issue("default", "default", audience=audience, seconds=600)
