"""A directory of manifests as one consistent set of objects, with everything that is wrong with it.

A file that cannot be used keeps what it held when it was last good, because an editor may be half
way through writing it. This module reads files; it follows no changes and starts nothing.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from springline.api import documents
from springline.api.documents import Document
from springline.api.meta import Identity
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

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}" if self.where else self.sentence


@dataclass(frozen=True, slots=True)
class _File:
    """What one file holds. `objects` are the last good ones."""

    digest: bytes
    objects: Mapping[Identity, Document]
    problems: tuple[Problem, ...] = ()


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
    """Read the files; `previous` supplies the last good version of what cannot be used now."""
    before = previous or Manifests()
    files: dict[Path, _File] = {}
    objects: dict[Identity, Document] = {}
    declared_in: dict[Identity, Path] = {}
    problems: list[Problem] = []
    for path in paths:
        files[path] = held = _read(path, before.files.get(path))
        problems.extend(held.problems)
        for identity, document in held.objects.items():
            if identity in objects:
                problems.append(_doubled(identity, path, declared_in[identity]))
            else:
                objects[identity] = document
                declared_in[identity] = path
    return Manifests(objects=objects, problems=tuple(problems), files=files)


def _doubled(identity: Identity, path: Path, first: Path) -> Problem:
    return Problem(
        path.name,
        f"{_named(identity)} is declared in {first.name} already; this one is ignored",
    )


def _named(identity: Identity) -> str:
    where = f"{identity.namespace}/" if identity.namespace else ""
    return f"{identity.kind} {where}{identity.name}"


def _read(path: Path, before: _File | None) -> _File:
    kept = before.objects if before is not None else {}
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = Problem(path.name, f"cannot be read: {error.strerror}")
        return _File(b"", kept, (problem,))
    digest = hashlib.blake2b(content).digest()
    if before is not None and before.digest == digest:
        return before
    if not content.strip():
        # What an editor leaves for a moment; whoever means it deletes the file.
        return _File(digest, kept, _about_kept("is empty", path, kept))
    try:
        loaded = yaml_documents.load(content, where=path.name)
    except ManifestError as error:
        return _File(digest, kept, _about_kept(error.problems[0], path, kept))
    return _parsed(path, digest, loaded, kept)


def _about_kept(
    sentence: str, path: Path, kept: Mapping[Identity, Document]
) -> tuple[Problem, ...]:
    remark = "; what it held before is kept" if kept else ""
    return (Problem(path.name, sentence + remark),)


def _parsed(
    path: Path,
    digest: bytes,
    loaded: Iterable[yaml_documents.Loaded],
    kept: Mapping[Identity, Document],
) -> _File:
    objects: dict[Identity, Document] = {}
    problems: list[Problem] = []
    for entry in loaded:
        where = f"{path.name}:{entry.line}"
        identity = documents.identify(entry.content)
        try:
            document = documents.parse(entry.content, where=where)
        except ManifestError as error:
            about = ""
            if identity is not None:
                about = f"{_named(identity)}: "
                if identity in kept and identity not in objects:
                    objects[identity] = kept[identity]
            problems.extend(
                Problem(where, about + sentence, identity) for sentence in error.problems
            )
            continue
        if document.identity in objects:
            problems.append(_doubled(document.identity, path, path))
        else:
            objects[document.identity] = document
    return _File(digest, objects, tuple(problems))
