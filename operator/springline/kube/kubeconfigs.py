"""What is wrong with a kubeconfig that cannot be used, in plain words.

The library's loader says which key it has missed. Whoever has mistyped a path or a context needs
something else, so the files are looked at once more when the loader has failed, and only then.
What is said has names and paths from the files, and nothing that could be a secret.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from springline.api.texts import printable

__all__ = ["problem"]

_FEW: Final = 8
"""Names that are listed."""
_LONGEST: Final = 100

_FILES: Final = (
    ("clusters", "cluster", "certificate-authority"),
    ("users", "user", "client-certificate"),
    ("users", "user", "client-key"),
    ("users", "user", "tokenFile"),
)


def problem(paths: str, context: str | None) -> str:
    """Return what keeps these files from being used with that context, empty if it is not found.

    `paths` is one path or several, as in KUBECONFIG; without a context it is the current one.
    """
    documents = []
    files = [Path(path).expanduser() for path in paths.split(os.pathsep) if path]
    for file in files:
        document = _read(file)
        if isinstance(document, str):
            if len(files) == 1:
                return document
            if file.exists():  # of several files, those that are not there are passed over
                return f"{file}: {document}"
            continue
        documents.append((file, document))
    if not documents:
        return "there are no such files" if files else "no file is named"
    return _unusable(documents, context)


_Documents = Sequence[tuple[Path, Mapping[str, Any]]]


def _read(file: Path) -> Mapping[str, Any] | str:
    """Return the document that a file is, or what is wrong with it."""
    try:
        text = file.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except FileNotFoundError:
        return "there is no such file"
    except IsADirectoryError:
        return "it is a directory"
    except PermissionError:
        return "you may not read it"
    except UnicodeDecodeError:
        return "it is no text"
    except OSError as error:
        return error.strerror or type(error).__name__
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        return f"it is no YAML; the mistake is{line or ' in it'}"
    except yaml.YAMLError:
        return "it is no YAML"
    if document is None:
        return "it is empty"
    return document if isinstance(document, Mapping) else "it is no kubeconfig: not a mapping"


def _unusable(documents: _Documents, context: str | None) -> str:
    """Say which name leads nowhere."""
    names = _names(documents, "contexts")
    if context is None:
        context = next(
            (str(each["current-context"]) for _, each in documents if each.get("current-context")),
            None,
        )
        if context is None:
            if not names:
                return "it has no contexts; is it a kubeconfig?"
            return f"it has no current context; name one with --context: {_listed(names)}"
    _, chosen = _entry(documents, "contexts", "context", context)
    if chosen is None:
        return f"it has no context {_quoted(context)}{_instead(context, names)}"
    for kind, part in (("clusters", "cluster"), ("users", "user")):
        name = chosen.get(part)
        if not name:
            return f"its context {_quoted(context)} names no {part}"
        file, found = _entry(documents, kind, part, str(name))
        if found is None:
            instead = _instead(str(name), _names(documents, kind))
            return (
                f"its context {_quoted(context)} names the {part} {_quoted(name)}, which it does"
                f" not have{instead}"
            )
        if missing := _missing_file(kind, file, found):
            return f"its {part} {_quoted(name)} names the file {missing}, which is not there"
    return ""


def _missing_file(kind: str, file: Path, entry: Mapping[str, Any]) -> str:
    for of, _, key in _FILES:
        named = entry.get(key)
        has_data = entry.get(f"{key}-data") or (key == "tokenFile" and entry.get("token"))
        if of == kind and isinstance(named, str) and named and not has_data:
            path = file.parent / named
            if not path.is_file():
                return printable(str(path))
    return ""


def _entries(documents: _Documents, kind: str) -> list[tuple[Path, Mapping[str, Any]]]:
    found: list[tuple[Path, Mapping[str, Any]]] = []
    for file, document in documents:
        entries = document.get(kind)
        if isinstance(entries, list):
            found += [(file, each) for each in entries if isinstance(each, Mapping)]
    return found


def _names(documents: _Documents, kind: str) -> list[str]:
    found = (each.get("name") for _, each in _entries(documents, kind))
    return list(dict.fromkeys(str(name) for name in found if name))


def _entry(
    documents: _Documents, kind: str, part: str, name: str
) -> tuple[Path, Mapping[str, Any] | None]:
    for file, each in _entries(documents, kind):
        if each.get("name") == name:
            found = each.get(part)
            return file, found if isinstance(found, Mapping) else {}
    return Path(), None


def _instead(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=2)
    if near:
        return f"; did you mean {' or '.join(printable(each) for each in near)}?"
    return f"; it has {_listed(names)}" if names else "; it has none"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(each[:_LONGEST]) for each in names[:_FEW])
    return shown if len(names) <= _FEW else f"{shown} and {len(names) - _FEW} more"


def _quoted(name: object) -> str:
    return f'"{printable(str(name)[:_LONGEST])}"'
