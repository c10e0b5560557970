"""Importing a part of a library without the rest of it.

A package's own code runs before any of its modules is imported, and may import all of them. For a
library of which little is used that costs more than everything else at the start of a process.
Nothing stays changed: what is imported later, by others, is whole.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType

__all__ = ["absent", "code_of_packages_not_run"]


@contextmanager
def code_of_packages_not_run(*names: str) -> Iterator[None]:
    """Import modules of these packages, parents first, without running the packages' own code.

    Packages that have been imported before stay as they are.
    """
    bare: dict[str, ModuleType] = {}
    try:
        for name in names:
            if name not in sys.modules:
                bare[name] = sys.modules[name] = _bare(name)
        yield
    finally:
        for name, package in bare.items():
            if sys.modules.get(name) is package:
                del sys.modules[name]


def _bare(name: str) -> ModuleType:
    """Return a package that only knows where its modules are."""
    spec = find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    package = module_from_spec(spec)
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, package)
    return package


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """Import a module as if these packages were not installed, for what it only uses if they are.

    What of them has been imported before is there again afterwards.
    """
    before = {name: sys.modules.get(name) for name in names}
    try:
        # What Python's documentation has for it: importing them raises ModuleNotFoundError.
        sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # it says: modules only
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
