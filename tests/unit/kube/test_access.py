"""How the API server is reached, and as whom."""

import asyncio
import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
import yaml
from kubernetes.aio import config

from springline.kube import access
from springline.kube.access import Access, AccessError

TOKEN = "planted-token-0123456789"


def written(directory: Path, *, token: str = TOKEN, name: str = "kubeconfig") -> Path:
    """Write a kubeconfig whose cluster is named like the file."""
    path = directory / name
    document = {
        "clusters": [{"name": "one", "cluster": {"server": f"http://{name}.example"}}],
        "users": [{"name": "one", "user": {"token": token}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "current-context": "one",
    }
    path.write_text(yaml.safe_dump(document))
    return path


async def failure(access: Access) -> str:
    """Return why it cannot be loaded; nothing of it holds a token."""
    with pytest.raises(AccessError) as caught:
        await access.load()
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine has no cluster of its own."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))


async def test_kubeconfig_says_where_and_who(tmp_path: Path) -> None:
    access = Access(kubeconfig=str(written(tmp_path)))
    await access.load()
    assert access.configuration.host == "http://kubeconfig.example"
    assert await access.token() == TOKEN
    assert TOKEN not in repr(access)


async def test_given_path_comes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(written(tmp_path, name="environment")))
    given = Access(kubeconfig=str(written(tmp_path, name="given")))
    await given.load()
    assert given.configuration.host == "http://given.example"
    found = Access()
    await found.load()
    assert found.configuration.host == "http://environment.example"


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({"HTTP_PROXY": "http://proxy.example"}, "http://proxy.example"),
        ({"HTTP_PROXY": "http://proxy.example", "NO_PROXY": "kubeconfig.example"}, None),
        ({"HTTPS_PROXY": "http://proxy.example"}, None),
        ({}, None),
    ],
    ids=["named", "not for this host", "for another scheme", "none"],
)
async def test_proxy_of_the_environment_is_found_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    proxy: str | None,
) -> None:
    """Clients get it given, and do not look for it with each request."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name.lower(), value)
    access = Access(kubeconfig=str(written(tmp_path)))
    await access.load()
    assert access.proxy == proxy


async def test_proxy_of_the_kubeconfig_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example")
    path = written(tmp_path)
    document = yaml.safe_load(path.read_text())
    document["clusters"][0]["cluster"]["proxy-url"] = "http://other.example"
    path.write_text(yaml.safe_dump(document))
    access = Access(kubeconfig=str(path))
    await access.load()
    assert access.proxy == "http://other.example"


async def test_renewal_reaches_clients_that_exist(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    access = Access(kubeconfig=str(written(tmp_path, token="old-" + TOKEN)))
    await access.load()
    configuration = access.configuration
    written(tmp_path, token="new-" + TOKEN)
    await access.renew(seen=access.renewals)
    assert access.configuration is configuration
    assert await access.token() == "new-" + TOKEN
    assert access.renewals == 1
    assert TOKEN not in caplog.text


async def test_renewal_that_somebody_has_just_done_is_not_repeated(tmp_path: Path) -> None:
    """A hundred requests that are refused together read the credentials once."""
    access = Access(kubeconfig=str(written(tmp_path)))
    await access.load()
    seen = access.renewals
    await access.renew(seen=seen)
    await access.renew(seen=seen)
    assert access.renewals == 1


async def test_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing"
    assert (await failure(Access(kubeconfig=str(path)))).startswith(
        f"the kubeconfig {path} cannot be used: "
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"users: [{{token: {TOKEN}", id="cut off"),
        pytest.param(f"token: {TOKEN}\n\ttab: 1", id="with a tab"),
        pytest.param(TOKEN, id="only a token"),
        pytest.param("[]", id="a list"),
        pytest.param("", id="empty"),
        pytest.param("current-context: one\ncontexts: 7\n", id="of other types"),
    ],
)
async def test_damaged_kubeconfig_is_a_failure_that_quotes_nothing(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    message = await failure(Access(kubeconfig=str(path)))
    assert str(path) in message
    assert TOKEN not in message


TWO = """
current-context: one
contexts:
  - {name: one, context: {cluster: one, user: one}}
  - {name: staging, context: {cluster: gone, user: one}}
  - {name: nobody, context: {cluster: one}}
  - {name: stranger, context: {cluster: one, user: ann}}
  - {name: torn, context: {cluster: torn, user: one}}
  - {name: logging-in, context: {cluster: one, user: program}}
clusters:
  - {name: one, cluster: {server: "https://192.0.2.1"}}
  - {name: torn, cluster: {server: "https://192.0.2.1", certificate-authority: ca.crt}}
users:
  - {name: one, user: {token: planted-token-0123456789}}
  - name: program
    user:
      exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-program-anywhere}
"""


@pytest.mark.parametrize(
    ("content", "context", "words"),
    [
        (None, None, "there is no such file"),
        ("", None, "it is empty"),
        ("a: [", None, "it is no YAML; the mistake is in line 1"),
        ("[]", None, "it is no kubeconfig: not a mapping"),
        ("kind: Config", None, "it has no contexts; is it a kubeconfig?"),
        (
            TWO.replace("current-context: one", ""),
            None,
            "it has no current context; name one with --context: one, staging, nobody",
        ),
        (TWO, "stagin", 'it has no context "stagin"; did you mean staging?'),
        (TWO, "x", 'it has no context "x"; it has one, staging, nobody, '),
        (TWO, "staging", 'its context "staging" names the cluster "gone", which it does not have'),
        (TWO, "nobody", 'its context "nobody" names no user'),
        (TWO, "stranger", 'its context "stranger" names the user "ann", which it does not have'),
        (TWO, "torn", 'its cluster "torn" names the file '),
        (TWO, "logging-in", "no-such-program-anywhere, has given no credentials"),
        (TWO.replace('{server: "https://192.0.2.1"}', "{}"), None, "no URL like https://"),
        (TWO.replace("https://192.0.2.1", "192.0.2.1:6443"), None, "no URL like https://"),
        (TWO.replace('"https://192.0.2.1"', "5"), None, "not of the type that it should be"),
    ],
    ids=lambda value: "" if value is None or "\n" in value else value[:30],
)
async def test_what_is_wrong_with_a_kubeconfig_is_said_in_plain_words(
    tmp_path: Path, content: str | None, context: str | None, words: str
) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    message = await failure(Access(kubeconfig=str(path), context=context))
    assert message.startswith(f"the kubeconfig {path} cannot be used: ")
    assert words in message
    assert "Expected key" not in message


async def test_of_several_kubeconfigs_those_that_are_not_there_are_passed_over(
    tmp_path: Path,
) -> None:
    path = written(tmp_path)
    both = f"{tmp_path / 'none'}:{path}"
    await Access(kubeconfig=both).load()
    assert "did you mean one?" in await failure(Access(kubeconfig=both, context="onee"))
    neither = f"{tmp_path / 'none'}:{tmp_path / 'neither'}"
    assert "there are no such files" in await failure(Access(kubeconfig=neither))


async def test_context_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    message = await failure(Access(kubeconfig=str(written(tmp_path)), context="other"))
    assert "other" in message


async def test_machine_without_a_cluster_says_so() -> None:
    assert (await failure(Access())).startswith("there is no cluster to talk to")


async def test_pod_without_a_service_account_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    message = await failure(Access())
    assert message.startswith("the ServiceAccount of the pod cannot be used: ")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the token of the pod that this process runs in."""
    incluster = config.incluster_config
    (tmp_path / "token").write_text(TOKEN)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    monkeypatch.setattr(incluster, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path / "token"


def rotate(token: Path) -> None:
    """Write another token into the file, as the kubelet does."""
    token.write_text("rotated-" + TOKEN)


@pytest.fixture
def hanging() -> Iterator[Callable[[Path], None]]:
    """Makes a file one that no call reads to its end, as on a file system that is gone."""
    pipes: list[Path] = []

    def hang(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)
        pipes.append(path)

    yield hang
    for path in pipes:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # whoever has it open reads its end


async def test_pod_uses_its_service_account(token: Path) -> None:
    found = Access()
    await found.load()
    assert found.configuration.host == "https://192.0.2.1:443"
    assert await found.token() == TOKEN
    rotate(token)
    await found.renew(seen=found.renewals)
    assert await found.token() == "rotated-" + TOKEN


async def test_token_of_a_pod_is_read_again_now_and_then(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is rotated in place before it ends."""
    monkeypatch.setattr(access, "_REFRESH_SECONDS", 0.0)
    found = Access()
    await found.load()
    rotate(token)
    assert await found.token() == "rotated-" + TOKEN


@pytest.mark.usefixtures("token")
async def test_token_of_a_pod_that_cannot_be_read_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It costs the request that reads it; others go on with the token that there is."""
    monkeypatch.setattr(access, "_REFRESH_SECONDS", 0.0)
    found = Access()
    await found.load()
    monkeypatch.setattr(access, "_REFRESH_SECONDS", 60.0)
    read = threading.Event()
    monkeypatch.setattr(config, "load_incluster_config", lambda *_, **__: read.wait(60))
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await found.token()
        assert await found.token() == TOKEN
    finally:
        read.set()


async def test_kubeconfig_that_cannot_be_read_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanging: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(access, "_LOAD_SECONDS", 0.1)
    path = written(tmp_path)
    hanging(path)
    message = await failure(Access(kubeconfig=str(path)))
    assert message.endswith("reading it took longer than 0.1 s")


async def test_program_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubeconfig may name a program that gets the credentials."""
    monkeypatch.setattr(access, "_LOAD_SECONDS", 0.1)

    async def hang(**_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(config, "load_kube_config", hang)
    message = await failure(Access(kubeconfig=str(written(tmp_path))))
    assert message.endswith("reading it took longer than 0.1 s")


async def test_context_says_which_namespace(tmp_path: Path) -> None:
    path = written(tmp_path)
    without = Access(kubeconfig=str(path))
    await without.load()
    assert without.namespace == ""
    document = yaml.safe_load(path.read_text())
    document["contexts"][0]["context"]["namespace"] = "orders"
    path.write_text(yaml.safe_dump(document))
    named = Access(kubeconfig=str(path))
    await named.load()
    assert named.namespace == "orders"


async def test_of_several_files_the_first_current_context_counts(tmp_path: Path) -> None:
    """As for kubectl; or something would be done in another cluster than one believes."""
    first, second = written(tmp_path, name="first"), written(tmp_path, name="second")
    renamed = second.read_text().replace("one", "two").replace("http://second", "http://other")
    second.write_text(renamed)
    access_ = Access(kubeconfig=f"{first}:{second}")
    await access_.load()
    assert access_.configuration.host == "http://first.example"
    assert access.contexts(f"{first}:{second}") == ["one", "two"]
