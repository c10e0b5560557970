"""A directory of manifests as one consistent set of objects, with everything that is wrong with it.

A file that cannot be used keeps what it held when it was last good, because an editor may be half
way through writing it. This module reads files; it follows no changes and starts nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from springline.api import documents, v1alpha1
from springline.api.documents import Document
from springline.api.meta import Identity
from springline.api.problems import Path as FieldPath
from springline.api.texts import printable
from springline.errors import ManifestError
from springline.standalone import yaml_documents

__all__ = ["Manifests", "Problem", "load", "manifest_files"]

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, and with which object where that is known."""

    where: str
    sentence: str
    identity: Identity | None = None
    is_foreign: bool = False
    """Whether it is only a document of a kind that others read, a Deployment for example."""

    def __str__(self) -> str:
        about = _named(self.identity) if self.identity is not None else ""
        return ": ".join(part for part in (self.where, about, self.sentence) if part)


@dataclass(frozen=True, slots=True)
class _File:
    """What one file holds."""

    digest: bytes
    objects: Mapping[Identity, Document]
    kept: Mapping[Identity, Document] = field(default_factory=dict)
    """The last good version of what cannot be read now."""
    places: Mapping[Identity, str] = field(default_factory=dict)
    """Where the names of the objects stand."""
    problems: tuple[Problem, ...] = ()

    @property
    def last_good(self) -> Mapping[Identity, Document]:
        return {**self.kept, **self.objects}


@dataclass(frozen=True, slots=True)
class Manifests:
    """All objects that the files declare, and all problems they have."""

    objects: Mapping[Identity, Document] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    files: Mapping[Path, _File] = field(default_factory=dict)

    @property
    def unusable(self) -> dict[Identity, tuple[str, ...]]:
        """The objects of which no good version is known, each with what is wrong with it."""
        found: dict[Identity, tuple[str, ...]] = {}
        for problem in self.problems:
            if problem.identity is not None and problem.identity not in self.objects:
                known = found.get(problem.identity, ())
                found[problem.identity] = (*known, problem.sentence)
        return found


def manifest_files(directory: Path) -> list[Path]:
    """Return the manifests of a directory, sorted; hidden files and folders are left out.

    Raises `ManifestError` if it cannot be listed.
    """
    try:
        return sorted(
            path
            for path in directory.iterdir()
            if path.suffix in _SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise ManifestError([f"cannot be read: {error.strerror}"], where=str(directory)) from error


def load(paths: Iterable[Path], *, previous: Manifests | None = None) -> Manifests:
    """Read the files; `previous` supplies the last good version of what cannot be used now.

    The first file that declares an object wins, and a version that can be read wins over one that
    is kept.
    """
    before = previous or Manifests()
    paths = list(dict.fromkeys(paths))
    names = Counter(path.name for path in paths)
    files: dict[Path, _File] = {}
    objects: dict[Identity, Document] = {}
    declared_in: dict[Identity, str] = {}
    problems: list[Problem] = []
    for path in paths:
        name = path.name if names[path.name] == 1 else str(path)
        files[path] = held = _read(path, before.files.get(path), name=name)
        problems.extend(held.problems)
        for identity, document in held.objects.items():
            if identity in objects:
                problems.append(_doubled(identity, held.places[identity], declared_in[identity]))
            else:
                objects[identity] = document
                declared_in[identity] = held.places[identity]
    for held in files.values():
        for identity, document in held.kept.items():
            objects.setdefault(identity, document)
    return Manifests(objects=objects, problems=tuple(problems), files=files)


def _doubled(identity: Identity, where: str, first: str) -> Problem:
    return Problem(where, f"{_named(identity)} is declared at {first} already; this one is ignored")


def _named(identity: Identity) -> str:
    where = f"{identity.namespace}/" if identity.namespace else ""
    return printable(f"{identity.kind} {where}{identity.name}")


def _read(path: Path, before: _File | None, *, name: str) -> _File:
    kept = before.last_good if before is not None else {}
    try:
        content = path.read_bytes()
    except OSError as error:
        return _unusable(b"", kept, f"cannot be read: {error.strerror}", where=name)
    digest = hashlib.blake2b(content).digest()
    if before is not None and before.digest == digest:
        return before
    if not content.strip():
        # What an editor leaves for a moment; whoever means it deletes the file.
        return _unusable(digest, kept, "is empty", where=f"{name}:1:1")
    try:
        loaded = yaml_documents.load(content, where=name, is_json=path.suffix == ".json")
    except ManifestError as error:
        return _unusable(digest, kept, error.problems[0], where=error.where)
    return _parsed(digest, loaded, kept, name=name)


def _unusable(
    digest: bytes, kept: Mapping[Identity, Document], sentence: str, *, where: str
) -> _File:
    remark = "; what it held before is kept" if kept else ""
    return _File(digest, {}, kept, problems=(Problem(where, sentence + remark),))


def _parsed(
    digest: bytes,
    loaded: Iterable[yaml_documents.Loaded],
    kept: Mapping[Identity, Document],
    *,
    name: str,
) -> _File:
    objects: dict[Identity, Document] = {}
    places: dict[Identity, str] = {}
    problems: list[Problem] = []
    complete = True
    for entry in loaded:
        try:
            document = documents.parse(entry.content, where=partial(_at, name, entry))
        except ManifestError as error:
            identity = documents.identify(entry.content)
            is_foreign = _is_foreign(entry.content)
            problems += [
                Problem(place, sentence, identity, is_foreign)
                for place, sentence in sorted(
                    zip(error.places, error.problems, strict=True), key=lambda each: _order(each[0])
                )
            ]
            complete = complete and is_foreign
            continue
        where = _at(name, entry, ("metadata", "name"))
        if document.identity in objects:
            problems.append(_doubled(document.identity, where, places[document.identity]))
        else:
            objects[document.identity] = document
            places[document.identity] = where
    # Something may have become unrecognisable, or have been cut off by whoever is writing the file:
    # nothing is taken away on the word of a file that cannot be used as a whole.
    missing = {} if complete else {key: kept[key] for key in kept.keys() - objects.keys()}
    return _File(digest, objects, missing, places, tuple(problems))


def _at(name: str, entry: yaml_documents.Loaded, path: FieldPath) -> str:
    line, column = entry.place(path)
    return f"{name}:{line}:{column}"


def _order(place: str) -> tuple[int, int]:
    _, line, column = place.rsplit(":", 2)
    return int(line), int(column)


def _is_foreign(content: object) -> bool:
    """Whether a document is of a kind that Springline does not read, and will not become one."""
    if not isinstance(content, Mapping) or documents.identify(content) is not None:
        return False
    kind, version = content.get("kind"), content.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        return False
    return kind not in documents.MODELS and not version.startswith(f"{v1alpha1.GROUP}/")
