"""Of which group and version objects are, and which object is meant: without any model."""

from typing import Final, NamedTuple

__all__ = ["API_VERSION", "GROUP", "VERSION", "Identity"]

GROUP: Final = "springline.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"


class Identity(NamedTuple):
    """Which object a document is about, shown as `Kind/namespace/name`."""

    kind: str
    namespace: str  # empty for what belongs to the whole cluster
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)
