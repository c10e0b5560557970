"""Which connections are meant: by their names, by labels, or all of them."""

from dataclasses import dataclass

from springline.plugin.cluster import Cluster
from springline.plugin.connection import Connection
from springline.plugin.errors import Exit, PluginError

__all__ = ["Choice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the command line says."""

    names: tuple[str, ...] = ()
    selector: str = ""
    all: bool = False

    def checked(self, *, all_namespaces: bool, one_is_needed: bool) -> "Choice":
        """Return it, if it can be meant. Raises `PluginError`.

        With `one_is_needed`, nothing at all does not mean everything.
        """
        if self.names and (self.selector or self.all):
            problem = "give names, or --selector, or --all"
        elif self.names and all_namespaces:
            problem = "a connection is looked for by its name in one namespace, not in all of them"
        elif one_is_needed and not (self.names or self.selector or self.all):
            problem = "say which connections: names, --selector, or --all"
        else:
            return self
        raise PluginError(problem, Exit.UNUSABLE)

    async def found(self, cluster: Cluster) -> list[Connection]:
        """Return the connections. Raises `PluginError` if one is not there."""
        if not self.names:
            return await cluster.connections(selector=self.selector)
        return [await cluster.connection(name) for name in dict.fromkeys(self.names)]
