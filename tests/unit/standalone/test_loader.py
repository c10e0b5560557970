"""A directory of manifests as one set: what counts, what is kept, and what is said about it."""

import os
import re
import socket
from pathlib import Path

import pytest

from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.errors import ManifestError
from springline.standalone import loader
from springline.standalone.loader import Manifests

PLANTED = "pl4nted-s3cret"


def a_connection(name: str, *, vhost: str = "orders", extra: str = "") -> str:
    return f"""\
apiVersion: springline.dev/v1alpha1
kind: BrokerConnection
metadata: {{name: {name}, namespace: apps}}
spec:
  brokerRef: {{name: rabbit}}
  virtualHost: {vhost}
  credentials: {{secretRef: {{name: login}}}}
{extra}"""


def connection(name: str) -> Identity:
    return Identity("BrokerConnection", "apps", name)


class Folder:
    """A directory that is read again and again, as `springline run` does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifests = Manifests()

    def write(self, name: str, *texts: str) -> None:
        (self.path / name).write_text("---\n".join(texts), encoding="utf-8")

    def load(self) -> Manifests:
        self.manifests = loader.load(loader.manifest_files(self.path), previous=self.manifests)
        return self.manifests

    @property
    def names(self) -> set[str]:
        return {identity.name for identity in self.load().objects}

    @property
    def problems(self) -> list[str]:
        """What is wrong, with paths from the directory."""
        return [str(problem).replace(f"{self.path}/", "") for problem in self.load().problems]

    def vhost(self, name: str) -> str:
        found = self.load().objects[connection(name)]
        assert isinstance(found, v1alpha1.BrokerConnection)
        return found.spec.virtual_host


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# --- which files


def test_hidden_files_folders_and_other_suffixes_are_left_out(folder: Folder) -> None:
    for name in ("a.yaml", "b.yml", "c.json", ".hidden.yaml", "notes.txt", "a.yaml~", "yaml"):
        (folder.path / name).touch()
    (folder.path / "folder.yaml").mkdir()
    found = [path.name for path in loader.manifest_files(folder.path)]
    assert found == ["a.yaml", "b.yml", "c.json"]


def test_what_is_not_a_regular_file_is_left_out(folder: Folder) -> None:
    """A pipe would be waited on for ever."""
    os.mkfifo(folder.path / "pipe.yaml")
    (folder.path / "dangling.yaml").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder.path / "socket.yaml"))
        assert loader.manifest_files(folder.path) == []


def test_symbolic_link_to_a_file_is_read(folder: Folder) -> None:
    """Kubernetes mounts the keys of a ConfigMap so."""
    data = folder.path / "..data"
    data.mkdir()
    (data / "a.yaml").write_text(a_connection("one"))
    (folder.path / "a.yaml").symlink_to("..data/a.yaml")
    assert folder.names == {"one"}


def test_directory_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read: No such file or directory"):
        loader.manifest_files(tmp_path / "none")


# --- what is declared


def test_documents_of_all_files_are_one_set(folder: Folder) -> None:
    folder.write("a.yaml", a_connection("one"), a_connection("two"))
    folder.write(
        "b.json",
        '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "data": {}}',
    )
    manifests = folder.load()
    assert set(manifests.objects) == {
        connection("one"),
        connection("two"),
        Identity("Secret", "default", "login"),
    }
    assert manifests.problems == ()


def test_what_is_in_a_file_decides_how_it_is_read(folder: Folder) -> None:
    """As with kubectl: the name only decides what is said of one that is neither."""
    folder.write("a.json", a_connection("one"))
    folder.write("b.yaml", '{"apiVersion": "v1",\n\t"kind": "Secret", "metadata": {"name": "s"}}')
    assert folder.names == {"one", "s"}
    assert folder.problems == []
    folder.write("a.json", '{"a": [}')
    assert folder.problems == [
        "a.json:1:8: is not valid JSON: Expecting value; what it held before is kept"
    ]


def test_document_in_two_files_counts_where_it_stands_first(folder: Folder) -> None:
    folder.write("a.yaml", a_connection("one", vhost="first"))
    folder.write("b.yaml", a_connection("one", vhost="second"))
    assert folder.vhost("one") == "first"
    assert folder.problems == [
        (
            "b.yaml:3:12: BrokerConnection apps/one is declared at a.yaml:3:12 already; "
            "this one is ignored"
        )
    ]
    (folder.path / "a.yaml").unlink()
    assert folder.vhost("one") == "second"
    assert folder.problems == []


def test_document_twice_in_a_file_counts_the_first_time(folder: Folder) -> None:
    folder.write("a.yaml", a_connection("one", vhost="first"), a_connection("one", vhost="second"))
    assert folder.vhost("one") == "first"
    assert folder.problems == [
        (
            "a.yaml:11:12: BrokerConnection apps/one is declared at a.yaml:3:12 already; "
            "this one is ignored"
        )
    ]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    paths = [tmp_path / "x" / "a.yaml", tmp_path / "y" / "a.yaml"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(a_connection("one"))
    [problem] = loader.load(paths).problems
    assert str(problem).startswith(f"{paths[1]}:3:12: BrokerConnection apps/one is declared at")
    assert str(paths[0]) in str(problem)


def test_path_given_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(a_connection("one"))
    assert loader.load([path, path]).problems == ()


# --- what is wrong


def test_every_mistake_of_a_document_is_told_with_file_line_and_name(folder: Folder) -> None:
    folder.write(
        "a.yaml", a_connection("fine"), a_connection("broken", extra="  hartbeat: 3\n  nope: 1\n")
    )
    assert folder.names == {"fine"}
    assert folder.problems == [
        (
            "a.yaml:16:3: BrokerConnection apps/broken: spec.hartbeat: unknown field; did you mean "
            '"heartbeat"?'
        ),
        "a.yaml:17:3: BrokerConnection apps/broken: spec.nope: unknown field",
    ]


def test_unknown_kind_is_told(folder: Folder) -> None:
    folder.write("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")
    [problem] = folder.problems
    assert problem.startswith('a.yaml:2:1: kind "Deployment" (apps/v1) is not one Springline reads')


def test_document_that_is_no_mapping_is_told(folder: Folder) -> None:
    folder.write("a.yaml", f"- {PLANTED}\n")
    assert folder.problems == [
        "a.yaml:1:1: must be a mapping with apiVersion, kind, metadata and spec"
    ]


def test_name_that_is_no_name_is_shown_printably(folder: Folder) -> None:
    folder.write("a.yaml", a_connection('"x\\e[31m"'))
    [problem] = folder.problems
    assert problem.isprintable()


def test_unusable_connection_without_a_good_version_is_known_with_its_mistakes(
    folder: Folder,
) -> None:
    folder.write("a.yaml", a_connection("broken", extra="  hartbeat: 3\n  nope: 1\n"))
    assert folder.load().unusable == {
        connection("broken"): (
            'spec.hartbeat: unknown field; did you mean "heartbeat"?',
            "spec.nope: unknown field",
        )
    }


# --- what is kept

HALVES = {
    "half written": a_connection("one", vhost="other").partition("credentials")[0] + "  cred: {",
    "empty": "",
    "only white space": "\n \n",
    "not text": "\0",
}


@pytest.mark.parametrize("text", HALVES.values(), ids=HALVES.keys())
def test_file_that_cannot_be_read_keeps_what_it_held(folder: Folder, text: str) -> None:
    folder.write("a.yaml", a_connection("one"), a_connection("two"))
    before = folder.load().objects
    folder.write("a.yaml", text)
    assert folder.load().objects == before
    [problem] = folder.problems
    assert re.match(r"a\.yaml:[0-9]+:[0-9]+: is ", problem)
    assert problem.endswith("; what it held before is kept")


def test_last_good_version_survives_two_bad_ones_in_a_row(folder: Folder) -> None:
    folder.write("a.yaml", a_connection("one", vhost="good"))
    folder.load()
    for text in ("a: [", "", "b: ["):
        folder.write("a.yaml", text)
        assert folder.vhost("one") == "good"
    folder.write("a.yaml", a_connection("one", vhost="mended"))
    assert folder.vhost("one") == "mended"
    assert folder.problems == []


def test_file_that_never_was_good_holds_nothing(folder: Folder) -> None:
    folder.write("a.yaml", "")
    folder.write("b.yaml", "a: [b")
    assert folder.names == set()
    assert folder.problems == [
        "a.yaml:1:1: is empty",
        "b.yaml:1:6: is not valid YAML: a comma or a closing ] is missing",
    ]


def test_file_that_is_too_large_keeps_what_it_held(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "_MOST_OCTETS", 1024**2)
    folder.write("a.yaml", a_connection("one"))
    assert folder.names == {"one"}
    folder.write("a.yaml", a_connection("one"), "#" * 1024**2)
    assert folder.names == {"one"}
    assert folder.problems == [
        "a.yaml: is larger than 1 MiB; use several files; what it held before is kept"
    ]


def test_file_without_permission_keeps_what_it_held(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("a.yaml", a_connection("one"))
    folder.load()

    def denied(_: Path, __: str) -> None:
        raise PermissionError(13, "Permission denied")  # permissions do not count for root

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", denied)
        assert folder.names == {"one"}
        assert folder.problems == [
            "a.yaml: cannot be read: Permission denied; what it held before is kept"
        ]
    assert folder.problems == []


def test_broken_document_keeps_its_last_good_version_while_others_are_followed(
    folder: Folder,
) -> None:
    folder.write("a.yaml", a_connection("one", vhost="old"), a_connection("two", vhost="old"))
    folder.load()
    folder.write(
        "a.yaml",
        a_connection("one", vhost="new", extra="  nope: 1\n"),
        a_connection("two", vhost="new"),
    )
    assert folder.vhost("one") == "old"
    assert folder.vhost("two") == "new"
    assert folder.load().unusable == {}
    assert folder.problems == ["a.yaml:8:3: BrokerConnection apps/one: spec.nope: unknown field"]
    folder.write("a.yaml", a_connection("one", vhost="new"), a_connection("two", vhost="new"))
    assert folder.vhost("one") == "new"
    assert folder.problems == []


@pytest.mark.parametrize(
    "broken",
    [
        a_connection("two", extra="  nope: 1\n"),
        a_connection(""),
        a_connection("two").replace("BrokerConnection", ""),
        "kind\n",
    ],
    ids=["a mistake", "without a name", "without a kind", "cut off after a word"],
)
def test_nothing_is_taken_away_on_the_word_of_a_file_with_a_broken_document(
    folder: Folder, broken: str
) -> None:
    """Who is writing the file may not have come to the rest of it."""
    folder.write("a.yaml", a_connection("one"), a_connection("two"), a_connection("three"))
    folder.load()
    folder.write("a.yaml", a_connection("one"), broken)
    assert folder.names == {"one", "two", "three"}
    folder.write("a.yaml", a_connection("one"))
    assert folder.names == {"one"}


def test_document_of_a_foreign_kind_does_not_keep_what_was_removed(folder: Folder) -> None:
    """It will not become one that Springline reads, so the file is as complete as ever."""
    foreign = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n"
    folder.write("a.yaml", foreign, a_connection("one"), a_connection("two"))
    folder.load()
    folder.write("a.yaml", foreign, a_connection("one"))
    assert folder.names == {"one"}


def test_version_that_can_be_read_wins_over_one_that_is_kept(folder: Folder) -> None:
    """A document that moved to another file while its old one is broken counts where it is now."""
    folder.write("a.yaml", a_connection("one", vhost="old"))
    folder.load()
    folder.write("a.yaml", "a: [")
    folder.write("b.yaml", a_connection("one", vhost="new"))
    assert folder.vhost("one") == "new"
    assert len(folder.problems) == 1


# --- what goes


def test_renamed_file_holds_the_same_objects(folder: Folder) -> None:
    folder.write("a.yaml", a_connection("one"))
    before = folder.load().objects
    (folder.path / "a.yaml").rename(folder.path / "b.yaml")
    assert folder.load().objects == before
    assert folder.problems == []


def test_deleted_file_takes_its_objects_and_problems_along(folder: Folder) -> None:
    folder.write("a.yaml", a_connection("one"))
    folder.load()
    folder.write("a.yaml", "")
    folder.load()
    (folder.path / "a.yaml").unlink()
    manifests = folder.load()
    assert (manifests.objects, manifests.problems) == ({}, ())


def test_comment_alone_takes_the_objects_away(folder: Folder) -> None:
    """Other than an empty file, nobody leaves it for a moment."""
    folder.write("a.yaml", a_connection("one"))
    folder.load()
    folder.write("a.yaml", "# nothing for now\n")
    manifests = folder.load()
    assert (manifests.objects, manifests.problems) == ({}, ())


def test_file_that_has_not_changed_is_not_parsed_again(folder: Folder) -> None:
    folder.write("a.yaml", a_connection("one"))
    before = folder.load().objects[connection("one")]
    assert folder.load().objects[connection("one")] is before


# --- secrets


def test_broken_secret_shows_none_of_its_values(folder: Folder) -> None:
    folder.write(
        "a.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\n"
        f"data: {{password: '{PLANTED}'}}\nstringData: {{x: [{PLANTED}], password:{PLANTED}}}\n",
    )
    assert len(folder.problems) == 4
    assert PLANTED not in repr(folder.load())
    assert PLANTED not in "".join(folder.problems)
