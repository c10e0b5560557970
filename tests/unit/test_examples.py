"""Every example, and what the documentation tells to copy, loads, lacks nothing and is listed."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from springline.api import core_v1, v1alpha1
from springline.api.documents import Document
from springline.api.meta import Identity
from springline.reasons import Reason
from springline.standalone import loader
from support.markdown import Page

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted({path.parent for path in EXAMPLES.rglob("*.yaml")})
FILES = sorted(EXAMPLES.rglob("*.yaml"))

Objects = Mapping[Identity, Document]


def in_examples(path: Path) -> str:
    return path.relative_to(EXAMPLES).as_posix()


@pytest.mark.parametrize("folder", FOLDERS, ids=in_examples)
def test_example_has_no_problems_and_lacks_nothing(folder: Path) -> None:
    """Each folder declares at least one connection, and every reference leads to a document.

    What others read, a Deployment for example, may be beside it.
    """
    manifests = loader.load(loader.manifest_files(folder))
    assert [str(problem) for problem in manifests.problems if not problem.is_foreign] == []
    assert any(identity.kind == "BrokerConnection" for identity in manifests.objects)
    assert list(unresolved(manifests.objects)) == []


@pytest.mark.parametrize("file", FILES, ids=in_examples)
def test_example_begins_with_what_it_shows(file: Path) -> None:
    """A comment is at the top, and commands in it are about the file's own folder."""
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    mentioned = {match for line in lines for match in re.findall(r"examples/([\w-]+)", line)}
    assert mentioned <= {file.relative_to(EXAMPLES).parts[0]}


@pytest.mark.parametrize("folder", FOLDERS, ids=in_examples)
def test_example_says_which_command_runs_it(folder: Path) -> None:
    """Springline's own command with the folder, or kubectl's for what needs a cluster.

    What `make demo` runs is explained there.
    """
    name = in_examples(folder)
    if name == "demo/manifests":
        return
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.yaml"))
    objects = loader.load(loader.manifest_files(folder)).objects
    runs = "kubectl apply -f" if needs_a_cluster(objects) else "springline (check|run) -f"
    assert re.search(rf"{runs} examples/{name}\b", text)


def needs_a_cluster(objects: Objects) -> bool:
    """Whether standalone mode could only say that it has no Services and no ServiceAccounts."""
    brokers = (
        document.spec
        for document in objects.values()
        if isinstance(document, v1alpha1.Broker | v1alpha1.ClusterBroker)
    )
    connections = (
        document.spec
        for document in objects.values()
        if isinstance(document, v1alpha1.BrokerConnection)
    )
    return any(
        broker.endpoints_from and broker.endpoints_from.service for broker in brokers
    ) or any(connection.credentials.service_account for connection in connections)


def test_every_example_is_listed() -> None:
    """The README has a row for each folder, and no row without a folder."""
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[([\w-]+)\]\(\1\) \|", readme, re.MULTILINE)
    assert sorted(listed) == sorted({folder.relative_to(EXAMPLES).parts[0] for folder in FOLDERS})


def test_the_first_connection_of_the_readme_is_complete(tmp_path: Path) -> None:
    """What the project's README tells to copy loads, and lacks nothing."""
    page = Page(EXAMPLES.parent / "README.md")
    [manifest] = [block.text for block in page.blocks if block.language == "yaml"]
    (tmp_path / "rabbit.yaml").write_text(manifest, encoding="utf-8")
    manifests = loader.load(loader.manifest_files(tmp_path))
    assert [str(problem) for problem in manifests.problems] == []
    assert list(unresolved(manifests.objects)) == []


def test_the_user_of_the_readme_is_created_there_and_can_log_in_from_a_pod() -> None:
    """RabbitMQ lets the user `guest` log in only from its own machine."""
    page = Page(EXAMPLES.parent / "README.md")
    [manifest] = [block.text for block in page.blocks if block.language == "yaml"]
    [login] = [each["stringData"] for each in yaml.safe_load_all(manifest) if "stringData" in each]
    assert login["username"] != "guest"
    assert f"rabbitmqctl add_user {login['username']} {login['password']}" in page.commands


REASONS = re.compile(r"`([A-Z][A-Za-z]+)`")


def test_every_reason_is_explained() -> None:
    """docs/status.md has a row for each reason that a condition can carry."""
    text = (EXAMPLES.parent / "docs" / "status.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    explained = {name for row in rows for name in REASONS.findall(row)}
    assert {reason.value for reason in Reason} - explained == set()


def unresolved(objects: Objects) -> Iterator[str]:
    """Say which references lead nowhere."""
    for identity, document in objects.items():
        match document:
            case v1alpha1.BrokerConnection():
                missing = missing_of_connection(document, objects)
            case v1alpha1.Broker() | v1alpha1.ClusterBroker():
                missing = missing_of_broker(document.spec, identity.namespace, objects)
            case _:
                continue
        for what in missing:
            yield f"{identity.kind} {identity.name}: {what}"


def missing_of_connection(connection: v1alpha1.BrokerConnection, objects: Objects) -> Iterator[str]:
    spec, namespace = connection.spec, connection.namespace
    if spec.broker is not None:
        yield from missing_of_broker(spec.broker, namespace, objects)
    elif spec.broker_ref is not None:
        kind, name = spec.broker_ref.kind, spec.broker_ref.name
        place = "" if kind == "ClusterBroker" else namespace
        if Identity(kind, place, name) not in objects:
            yield f"no {kind} {name}"
    if (secret := spec.credentials.secret_ref) is not None:
        for key in (secret.username_key, secret.password_key):
            yield from missing_key(Identity("Secret", namespace, secret.name), key, objects)
    if (token := spec.credentials.token_ref) is not None:
        yield from missing_key(Identity("Secret", namespace, token.name), token.key, objects)


def missing_of_broker(
    broker: v1alpha1.BrokerSpec, namespace: str, objects: Objects
) -> Iterator[str]:
    found = broker.endpoints_from
    if found is not None and (told := found.secret_ref) is not None:
        holder = Identity("Secret", told.namespace_for(namespace), told.name)
        yield from missing_key(holder, told.host_key, objects)
    if (ca := broker.tls.ca_ref) is not None:
        holder = Identity(ca.kind, ca.namespace_for(namespace), ca.name)
        yield from missing_key(holder, ca.key, objects)
    if (client := broker.tls.client_certificate_ref) is not None:
        holder = Identity("Secret", client.namespace_for(namespace), client.name)
        for key in ("tls.crt", "tls.key"):
            yield from missing_key(holder, key, objects)


def missing_key(holder: Identity, key: str, objects: Objects) -> Iterator[str]:
    document = objects.get(holder)
    if not isinstance(document, core_v1.Secret | core_v1.ConfigMap):
        yield f"no {holder.kind} {holder.namespace}/{holder.name}"
    elif document.get(key) is None:
        yield f"no key {key} in {holder.kind} {holder.namespace}/{holder.name}"
