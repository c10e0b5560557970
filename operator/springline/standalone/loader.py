"""A directory of manifests as one consistent set of objects, with everything that is wrong with it.

A file that cannot be used keeps what it held when it was last good, because an editor may be half
way through writing it. This module reads files; it follows no changes and starts nothing.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from springline.api import documents, v1alpha1
from springline.api.documents import Document
from springline.api.meta import Identity
from springline.api.problems import Path as FieldPath
from springline.api.texts import printable
from springline.errors import ManifestError
from springline.positions import Position, placed
from springline.standalone import yaml_documents

__all__ = ["Manifests", "Problem", "load", "manifest_files"]

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_MOST_OCTETS: Final = 16 * 1024**2
"""Of a file: some 50,000 connections, which take minutes to be read."""

_LINE = re.compile(r":[0-9]+(?::[0-9]+)?\b")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, and with which object where that is known."""

    position: Position | None
    sentence: str
    identity: Identity | None = None
    is_foreign: bool = False
    """Whether it is only a document of a kind that others read, a Deployment for example."""

    @property
    def apart_from_its_line(self) -> tuple[object, ...]:
        """What stays the same when lines are added above it."""
        path = self.position.path if self.position is not None else None
        return path, self.identity, _LINE.sub("", self.sentence)

    @property
    def text(self) -> str:
        """What is wrong with what, without where it stands."""
        about = _named(self.identity) if self.identity is not None else ""
        return ": ".join(part for part in (about, self.sentence) if part)

    def told(self, what: str) -> str:
        """Return it as one line that editors follow, with a word such as `error`."""
        return placed(self.position, what, self.text)

    def __str__(self) -> str:
        return placed(self.position, self.text)


@dataclass(frozen=True, slots=True)
class _File:
    """What one file holds."""

    digest: bytes
    objects: Mapping[Identity, Document]
    kept: Mapping[Identity, Document] = field(default_factory=dict)
    """The last good version of what cannot be read now."""
    positions: Mapping[Identity, Position] = field(default_factory=dict)
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
    is_listed: bool = True
    """Whether it is known which files there are."""
    positions: Mapping[Identity, Position] = field(default_factory=dict)
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
        raise ManifestError(
            [f"cannot be read: {error.strerror}"], position=Position(directory)
        ) from error


def load(paths: Iterable[Path], *, previous: Manifests | None = None) -> Manifests:
    """Read the files; `previous` supplies the last good version of what cannot be used now.

    The first file that declares an object wins, and a version that can be read wins over one that
    is kept.
    """
    before = previous or Manifests()
    files: dict[Path, _File] = {}
    objects: dict[Identity, Document] = {}
    positions: dict[Identity, Position] = {}
    problems: list[Problem] = []
    for path in dict.fromkeys(paths):
        files[path] = held = _read(path, before.files.get(path))
        problems.extend(held.problems)
        for identity, document in held.objects.items():
            position = held.positions[identity]
            if identity in objects:
                problems.append(_doubled(identity, position, positions[identity]))
            else:
                objects[identity] = document
                positions[identity] = position
    for held in files.values():
        for identity, document in held.kept.items():
            objects.setdefault(identity, document)
    return Manifests(objects=objects, problems=tuple(problems), files=files, positions=positions)


def _doubled(identity: Identity, position: Position, first: Position) -> Problem:
    sentence = f"{_named(identity)} is declared at {first} already; this one is ignored"
    return Problem(position, sentence)


def _named(identity: Identity) -> str:
    where = f"{identity.namespace}/" if identity.namespace else ""
    return printable(f"{identity.kind} {where}{identity.name}")


def _read(path: Path, before: _File | None) -> _File:
    kept = before.last_good if before is not None else {}
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_OCTETS + 1)
    except OSError as error:
        return _unusable(b"", kept, f"cannot be read: {error.strerror}", Position(path))
    if len(content) > _MOST_OCTETS:
        sentence = f"is larger than {_MOST_OCTETS // 1024**2} MiB; use several files"
        return _unusable(b"", kept, sentence, Position(path))
    digest = hashlib.blake2b(content).digest()
    if before is not None and before.digest == digest:
        return before
    if not content.strip():
        # What an editor leaves for a moment; whoever means it deletes the file.
        return _unusable(digest, kept, "is empty", Position(path, 1, 1))
    try:
        loaded = yaml_documents.load(content, path=path, is_json=path.suffix == ".json")
    except ManifestError as error:
        return _unusable(digest, kept, error.problems[0], error.position or Position(path))
    return _parsed(digest, loaded, kept, path=path)


def _unusable(
    digest: bytes, kept: Mapping[Identity, Document], sentence: str, position: Position
) -> _File:
    remark = "; what it held before is kept" if kept else ""
    return _File(digest, {}, kept, problems=(Problem(position, sentence + remark),))


def _parsed(
    digest: bytes,
    loaded: Iterable[yaml_documents.Loaded],
    kept: Mapping[Identity, Document],
    *,
    path: Path,
) -> _File:
    objects: dict[Identity, Document] = {}
    positions: dict[Identity, Position] = {}
    problems: list[Problem] = []
    complete = True
    for entry in loaded:
        where = partial(_position, path, entry)
        try:
            document = documents.parse(entry.content, where=where)
        except ManifestError as error:
            identity = documents.identify(entry.content)
            is_foreign = _is_foreign(entry.content)
            found = zip(error.positions, error.problems, strict=True)
            problems += [
                Problem(position, sentence, identity, is_foreign)
                for position, sentence in sorted(found, key=lambda each: each[0] or where(()))
            ]
            complete = complete and is_foreign
            continue
        position = where(("metadata", "name"))
        if document.identity in objects:
            problems.append(_doubled(document.identity, position, positions[document.identity]))
        else:
            objects[document.identity] = document
            positions[document.identity] = position
    # Something may have become unrecognisable, or have been cut off by whoever is writing the file:
    # nothing is taken away on the word of a file that cannot be used as a whole.
    missing = {} if complete else {key: kept[key] for key in kept.keys() - objects.keys()}
    return _File(digest, objects, missing, positions, tuple(problems))


def _position(path: Path, entry: yaml_documents.Loaded, field_path: FieldPath = ()) -> Position:
    return Position(path, *entry.place(field_path))


def _is_foreign(content: object) -> bool:
    """Whether a document is of a kind that Springline does not read, and will not become one."""
    if not isinstance(content, Mapping) or documents.identify(content) is not None:
        return False
    kind, version = content.get("kind"), content.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        return False
    return kind not in documents.MODELS and not version.startswith(f"{v1alpha1.GROUP}/")
