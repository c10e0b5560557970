"""Which of the namespaces that are to be looked after can be read at all.

A Role goes with its namespace, and one that is missing must not keep the others waiting.
"""

import logging
from collections.abc import Sequence

from springline.kube import paths
from springline.kube.client import Client, RefusedError, RequestError

__all__ = ["Readable", "is_forbidden"]

logger = logging.getLogger(__name__)

_FORBIDDEN = 403


def is_forbidden(error: RequestError) -> bool:
    """Whether Springline may not do what it asked for."""
    return isinstance(error, RefusedError) and error.code == _FORBIDDEN


class Readable:
    """Asks, and logs what has changed since it asked last."""

    def __init__(self, client: Client, *, kinds: Sequence[str], namespaces: Sequence[str]) -> None:
        """No namespaces means all of them, which are never asked for one by one."""
        self._client = client
        self._kinds = [kind for kind in kinds if kind not in paths.CLUSTER_SCOPED]
        self._namespaces = namespaces
        self._forbidden: frozenset[str] = frozenset()

    @property
    def is_limited(self) -> bool:
        """Whether only some namespaces are to be looked after."""
        return bool(self._namespaces)

    async def now(self) -> tuple[str, ...]:
        """Return the namespaces in which Springline may list what it looks after.

        One that could not be asked for because the API server did not answer counts as before.
        """
        forbidden = frozenset(
            [namespace for namespace in self._namespaces if await self._is_forbidden(namespace)]
        )
        for namespace in sorted(forbidden - self._forbidden):
            logger.warning(
                "namespace not looked after: it, or the Role of Springline in it, is missing",
                extra={"namespace": namespace},
            )
        for namespace in sorted(self._forbidden - forbidden):
            logger.info("namespace looked after again", extra={"namespace": namespace})
        self._forbidden = forbidden
        return tuple(each for each in self._namespaces if each not in forbidden)

    async def _is_forbidden(self, namespace: str) -> bool:
        try:
            for kind in self._kinds:
                for _, path in paths.collections(kind, [namespace]):
                    await self._client.get(path, limit="1")
        except RequestError as error:
            if is_forbidden(error):
                return True
            return namespace in self._forbidden
        return False
