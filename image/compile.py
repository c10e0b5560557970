"""Compile what the image imports, so that no process has to do it: nothing can be written there.

    python -B image/compile.py ENVIRONMENT TREE

The modules of the environment are compiled in place. The compiled modules of the standard library
go to a tree of their own, which is laid over the base: the official images of Python have none.
They are those that Springline imports and the base has no valid ones of. One after the other and
in one order, so that the same source gives the same file.
"""

import importlib
import pkgutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode
from py_compile import compile as compile_file

__all__ = ["main"]

_FLAGS = slice(4, 8)
_TIMESTAMP = slice(8, 12)


def main(environment: Path, tree: Path) -> None:
    """Compile an environment and the part of the standard library that it uses."""
    imported = list(_standard_modules())
    for source in imported:
        if not _is_compiled(source):
            compiled = tree / Path(cache_from_source(str(source))).relative_to("/")
            # These notice if their source is another one, should the layers come onto another base.
            compile_file(
                str(source),
                str(compiled),
                doraise=True,
                invalidation_mode=PycInvalidationMode.CHECKED_HASH,
            )
    tree.mkdir(exist_ok=True)
    for source in sorted(environment.rglob("*.py")):
        # These never look at their source: it comes in the same layer.
        compile_file(
            str(source), doraise=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
        )


def _standard_modules() -> Iterator[Path]:
    """Import all of Springline, and return the files of the standard library that this takes."""
    springline = importlib.import_module("springline")
    for found in pkgutil.walk_packages(springline.__path__, "springline."):
        if not found.name.endswith(".__main__"):
            importlib.import_module(found.name)
    library = Path(sysconfig.get_path("stdlib"))
    for _, module in sorted(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "")
        if path.suffix == ".py" and path.is_relative_to(library):
            yield path


def _is_compiled(source: Path) -> bool:
    """Whether the base has a compiled module that belongs to its source."""
    try:
        header = Path(cache_from_source(str(source))).read_bytes()[:16]
    except OSError:
        return False
    if header[:4] != MAGIC_NUMBER:
        return False
    by_hash = int.from_bytes(header[_FLAGS], "little")
    mtime = int(source.stat().st_mtime) & 0xFFFF_FFFF
    return bool(by_hash) or int.from_bytes(header[_TIMESTAMP], "little") == mtime


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
