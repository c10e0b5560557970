"""A directory of manifests as one consistent set of objects, with everything that is wrong with it.

A file that cannot be used keeps what it held when it was last good, because an editor may be half
way through writing it. This module reads files; it follows no changes and starts nothing.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from springline.api import documents, v1alpha1
from springline.api.documents import Document
from springline.api.meta import Identity
from springline.api.texts import printable
from springline.errors import ManifestError
from springline.standalone import yaml_documents

__all__ = ["Manifests", "Place", "Problem", "load", "manifest_files"]

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_LINE = re.compile(r":([0-9]+)(:[0-9]+)?$")
_AT_LINE = re.compile(r" at line ([0-9]+)\b")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is declared: a file, and the line where it is known, the first being 1."""

    path: Path
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, and with which object where that is known."""

    where: str
    sentence: str
    identity: Identity | None = None
    is_foreign: bool = False
    """Whether it is only a document of a kind that others read, a Deployment for example."""
    path: Path | None = field(default=None, compare=False)
    """The file, which `where` may have in short."""

    @property
    def place(self) -> Place | None:
        """The same as `where`, for programs."""
        if self.path is None:
            return None
        found = _LINE.search(self.where) or _AT_LINE.search(self.sentence)
        return Place(self.path, int(found[1]) if found is not None else None)

    @property
    def apart_from_its_line(self) -> tuple[object, ...]:
        """What stays the same when lines are added above it."""
        return _LINE.sub("", self.where), self.identity, self.sentence

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
    problems: tuple[Problem, ...] = ()
    lines: Mapping[Identity, int] = field(default_factory=dict)

    @property
    def last_good(self) -> Mapping[Identity, Document]:
        return {**self.kept, **self.objects}


@dataclass(frozen=True, slots=True)
class Manifests:
    """All objects that the files declare, and all problems they have."""

    objects: Mapping[Identity, Document] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    files: Mapping[Path, _File] = field(default_factory=dict)
    is_listed: bool = True
    """Whether it is known which files there are."""
    places: Mapping[Identity, Place] = field(default_factory=dict)
    """Where each object is declared, but for those whose last good version is kept."""

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
    places: dict[Identity, Place] = {}
    problems: list[Problem] = []
    for path in paths:
        name = path.name if names[path.name] == 1 else str(path)
        files[path] = held = _read(path, before.files.get(path), name=name)
        problems.extend(replace(problem, path=path) for problem in held.problems)
        for identity, document in held.objects.items():
            if identity in objects:
                doubled = _doubled(identity, name, declared_in[identity])
                problems.append(replace(doubled, path=path))
            else:
                objects[identity] = document
                places[identity] = Place(path, held.lines.get(identity))
                declared_in[identity] = name
    for held in files.values():
        for identity, document in held.kept.items():
            objects.setdefault(identity, document)
    return Manifests(objects=objects, problems=tuple(problems), files=files, places=places)


def _doubled(identity: Identity, where: str, first: str) -> Problem:
    return Problem(where, f"{_named(identity)} is declared in {first} already; this one is ignored")


def _named(identity: Identity) -> str:
    where = f"{identity.namespace}/" if identity.namespace else ""
    return printable(f"{identity.kind} {where}{identity.name}")


def _read(path: Path, before: _File | None, *, name: str) -> _File:
    kept = before.last_good if before is not None else {}
    try:
        content = path.read_bytes()
    except OSError as error:
        return _unusable(b"", kept, f"cannot be read: {error.strerror}", name=name)
    digest = hashlib.blake2b(content).digest()
    if before is not None and before.digest == digest:
        return before
    if not content.strip():
        # What an editor leaves for a moment; whoever means it deletes the file.
        return _unusable(digest, kept, "is empty", name=name)
    read = yaml_documents.load_json if path.suffix == ".json" else yaml_documents.load
    try:
        loaded = read(content, where=name)
    except ManifestError as error:
        return _unusable(digest, kept, error.problems[0], name=name)
    return _parsed(digest, loaded, kept, name=name)


def _unusable(
    digest: bytes, kept: Mapping[Identity, Document], sentence: str, *, name: str
) -> _File:
    remark = "; what it held before is kept" if kept else ""
    return _File(digest, {}, kept, (Problem(name, sentence + remark),))


def _parsed(
    digest: bytes,
    loaded: Iterable[yaml_documents.Loaded],
    kept: Mapping[Identity, Document],
    *,
    name: str,
) -> _File:
    objects: dict[Identity, Document] = {}
    lines: dict[Identity, int] = {}
    problems: list[Problem] = []
    complete = True
    for entry in loaded:
        where = f"{name}:{entry.line}"
        try:
            document = documents.parse(entry.content, where=where)
        except ManifestError as error:
            identity = documents.identify(entry.content)
            is_foreign = _is_foreign(entry.content)
            problems.extend(
                Problem(where, sentence, identity, is_foreign) for sentence in error.problems
            )
            complete = complete and is_foreign
            continue
        if document.identity in objects:
            problems.append(_doubled(document.identity, where, name))
        else:
            objects[document.identity] = document
            lines[document.identity] = entry.line
    # Something may have become unrecognisable, or have been cut off by whoever is writing the file:
    # nothing is taken away on the word of a file that cannot be used as a whole.
    missing = {} if complete else {key: kept[key] for key in kept.keys() - objects.keys()}
    return _File(digest, objects, missing, tuple(problems), lines)


def _is_foreign(content: object) -> bool:
    """Whether a document is of a kind that Springline does not read, and will not become one."""
    if not isinstance(content, Mapping) or documents.identify(content) is not None:
        return False
    kind, version = content.get("kind"), content.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        return False
    return kind not in documents.MODELS and not version.startswith(f"{v1alpha1.GROUP}/")
