"""The labels of namespaces, for ClusterBrokers that select by them, and which are being deleted."""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, Protocol

from springline.api import labels
from springline.core import ports
from springline.kube.client import Client
from springline.kube.watching import Metadata, Watch

__all__ = ["EndingNamespaces", "NamespaceWatch", "Namespaces"]

_PATH: Final = "/api/v1/namespaces"


class Namespaces(Protocol):
    """Who wants to know the labels of namespaces; `core.manager.Manager` does."""

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """A namespace has these labels now."""

    def drop_namespace(self, name: str) -> None:
        """A namespace is gone."""


class EndingNamespaces(set[str]):
    """The namespaces that are known to be being deleted, so that they take nothing new."""

    def is_ending(self, name: str) -> bool:
        """Whether that is known of a namespace."""
        return name in self


class NamespaceWatch:
    """Follows all namespaces, and tells which labels each has."""

    def __init__(
        self,
        client: Client,
        clock: ports.Clock,
        rng: Random,
        namespaces: Namespaces,
        ending: EndingNamespaces | None = None,
    ) -> None:
        """`namespaces` is told only what is new; those being deleted are noted in `ending`."""
        self._namespaces = namespaces
        self._known: dict[str, Mapping[str, str]] = {}
        self._ending = ending if ending is not None else EndingNamespaces()
        self.watch = Watch(client, clock, rng, _PATH, listener=self)

    @property
    def synced(self) -> asyncio.Event:
        """Set when the labels of all namespaces have been told."""
        return self.watch.synced

    async def run(self) -> None:
        """Follow until cancelled."""
        await self.watch.run()

    def listed(self, items: Sequence[Metadata]) -> None:
        for item in items:
            self.changed(item)
        for name in (self._known.keys() | self._ending) - {item.name for item in items}:
            self._gone(name)

    def changed(self, metadata: Metadata) -> None:
        if metadata.is_ending:
            self._ending.add(metadata.name)
        else:
            self._ending.discard(metadata.name)
        # The API server sets this one, but an old object may have been stored without it.
        declared = {**metadata.labels, labels.NAME: metadata.name}
        if self._known.get(metadata.name) != declared:
            self._known[metadata.name] = declared
            self._namespaces.put_namespace(metadata.name, declared)

    def deleted(self, metadata: Metadata) -> None:
        self._gone(metadata.name)

    def interrupted(self) -> None:
        """Do nothing: what was missed is found when namespaces are listed again."""

    def _gone(self, name: str) -> None:
        self._ending.discard(name)
        if self._known.pop(name, None) is not None:
            self._namespaces.drop_namespace(name)
