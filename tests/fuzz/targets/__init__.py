"""What is fuzzed: everything that takes octets or documents from outside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fuzz.cases import Case, read_hex
from fuzz.mutations import Mutation

__all__ = ["CORPUS", "Target"]

CORPUS = Path(__file__).resolve().parents[1] / "corpus"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing that takes octets."""

    name: str
    run: Callable[[Case], None]
    """Raises for no octets: what may be raised is caught, and its texts looked at."""
    share: int
    """How many cases it gets in proportion to the others."""
    mutations: Sequence[Mutation] = ()
    """Those that know what the octets mean."""

    def corpus(self) -> Mapping[str, Case]:
        """Return the cases to begin with, by the names of their files."""
        found: dict[str, Case] = {}
        for path in sorted((CORPUS / self.name).iterdir()):
            found[path.name] = read_hex(path) if path.suffix == ".hex" else (path.read_bytes(),)
        return found
