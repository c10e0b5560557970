"""Which connections are meant: by their names, by labels, or all of them."""

import asyncio
from dataclasses import dataclass, replace

from springline.plugin import names as naming
from springline.plugin.cluster import Cluster, Target
from springline.plugin.connection import Connection
from springline.plugin.errors import Exit, PluginError
from springline.plugin.names import Named

__all__ = ["Choice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the command line says."""

    names: tuple[str, ...] = ()
    selector: str = ""
    all: bool = False
    named: tuple[Named, ...] = ()
    """What `names` mean, each once, once it was `checked`."""

    def checked(self, target: Target, *, one_is_needed: bool) -> "Choice":
        """Return it, if it can be meant, with its names read. Raises `PluginError`.

        With `one_is_needed`, nothing at all does not mean everything.
        """
        named = tuple(dict.fromkeys(map(naming.parse, self.names)))
        if self.names and (self.selector or self.all):
            problem = "give names, or --selector, or --all"
        elif target.all_namespaces and not all(each.namespace for each in named):
            problem = "a connection is looked for by its name in one namespace, not in all of them"
        elif target.namespace and any(
            each.namespace not in ("", target.namespace) for each in named
        ):
            problem = f"a name is of another namespace than --namespace {target.namespace}"
        elif one_is_needed and not (self.names or self.selector or self.all):
            problem = "say which connections: names, --selector, or --all"
        else:
            return replace(self, named=named)
        raise PluginError(problem, Exit.UNUSABLE)

    @property
    def has_namespaces(self) -> bool:
        """Whether names say of which namespace they are."""
        return any(each.namespace for each in self.named)

    async def found(self, cluster: Cluster) -> tuple[list[Connection], list[PluginError]]:
        """Return the connections, and why some that were named are not among them.

        Raises `PluginError` where the cluster does not answer, or not to this caller.
        """
        if not self.named:
            return await cluster.connections(selector=self.selector), []
        answers = await asyncio.gather(
            *(cluster.at(each.namespace).connection(each.name) for each in self.named),
            return_exceptions=True,
        )
        found, problems = [], []
        for answer in answers:
            if isinstance(answer, Connection):
                found.append(answer)
            elif isinstance(answer, PluginError) and answer.code is Exit.UNUSABLE:
                problems.append(answer)
            else:
                raise answer
        return found, problems
