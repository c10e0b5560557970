"""Waiting until the API server serves our kinds, and taking in the brokers that are there."""

import logging
from collections.abc import Callable, Sequence

from springline.core import ports
from springline.kube import paths
from springline.kube.client import Client, RefusedError, RequestError
from springline.kube.declarations import Shown
from springline.kube.readable import is_forbidden

__all__ = ["await_installed", "take_in_brokers"]

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
_NOT_FOUND = 404


async def await_installed(
    client: Client,
    clock: ports.Clock,
    *,
    kinds: Sequence[str],
    note: Callable[[str], None] = lambda _: None,
) -> None:
    """Return when all the kinds are served. Says once what it is waiting for.

    `note` is told whenever that changes, and nothing in the end.
    """
    said = ""
    while problem := await _missing(client, kinds):
        if problem != said:
            logger.warning("waiting for the API server", extra={"problem": problem})
            note(problem)
            said = problem
        await clock.sleep(_RETRY_SECONDS)
    if said:
        note("")
        logger.info("the API server serves what is needed")


async def _missing(client: Client, kinds: Sequence[str]) -> str:
    """Return what is in the way, empty if nothing is."""
    try:
        resources = (await client.get(paths.GROUP_VERSION)).get("resources") or ()
    except RefusedError as error:
        if error.code != _NOT_FOUND:
            return str(error)
        resources = ()
    except RequestError as error:
        return str(error)
    served = {resource.get("name") for resource in resources}
    missing = [paths.PLURALS[kind] for kind in kinds if paths.PLURALS[kind] not in served]
    if not missing:
        return ""
    return (
        f"the CustomResourceDefinitions of {', '.join(missing)} are not installed; apply crds/, or "
        "install the chart with crds.install=true"
    )


async def take_in_brokers(
    client: Client,
    clock: ports.Clock,
    declarations: Shown,
    *,
    kinds: Sequence[str],
    namespaces: Sequence[str],
) -> None:
    """Take in the brokers that there are, before any connection that refers to one.

    Otherwise connections would be told at the start that their broker is missing. Tries until the
    API server answers; a namespace in which Springline may not list is left out.
    """
    for kind in kinds:
        if kind == "BrokerConnection":
            continue
        for namespace, path in paths.collections(kind, namespaces):
            for document in await _listed(client, clock, path, is_optional=bool(namespace)):
                # In a list they do not say it themselves.
                declarations.appeared(
                    {
                        **document,
                        "kind": kind,
                        "apiVersion": paths.GROUP_VERSION.removeprefix("/apis/"),
                    }
                )


async def _listed(
    client: Client, clock: ports.Clock, path: str, *, is_optional: bool
) -> list[dict[str, object]]:
    said = ""
    while True:
        try:
            documents, _ = await client.list(path)
        except RequestError as error:
            problem = str(error)
            if is_optional and is_forbidden(error) and said == problem:
                return []  # more than the moment in which a starting API server forbids everything
            if problem != said:
                logger.warning("brokers not listed; trying again", extra={"error": problem})
                said = problem
            await clock.sleep(_RETRY_SECONDS)
        else:
            return documents
