"""`endpointsFrom.secretRef`: a Secret says where the broker is.

Such as the one that the RabbitMQ cluster operator writes for each of its clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from springline import errors
from springline.api import fields, v1alpha1
from springline.api.meta import Identity
from springline.core import ports
from springline.core.values import Endpoint, ResolvedEndpoint
from springline.reasons import Reason

__all__ = ["SecretEndpoints"]


@dataclass(frozen=True, slots=True)
class SecretEndpoints:
    """Reads host and port, as `core.ports.EndpointSource`. No message holds what it read."""

    reader: ports.ObjectReader
    namespace: str
    reference: v1alpha1.EndpointsSecretReference
    default_port: int

    async def fetch(self) -> Sequence[ResolvedEndpoint]:
        """Return the one endpoint that the Secret names now.

        Raises `RejectedError` NameResolutionFailed for what is missing, withheld or unusable, and
        `TransientError` if the Secret cannot be read.
        """
        found = await self._read()
        host = self._text(found, self.reference.host_key)
        if host is None:
            raise _failed(f'{self._where} has no key "{self.reference.host_key}"; add it')
        if not fields.is_host(host):
            raise self._malformed(self.reference.host_key, "is not a host name or an IP address")
        return [ResolvedEndpoint(Endpoint(host, self._port(found)))]

    async def _read(self) -> ports.DataObject:
        try:
            found = await self.reader.read(Identity("Secret", self.namespace, self.reference.name))
        except errors.ObjectUnavailableError as error:
            raise errors.TransientError(Reason.NAME_RESOLUTION_FAILED, str(error)) from error
        except errors.ObjectNotAllowedError as error:
            raise _failed(str(error)) from error
        if found is None:
            raise _failed(f'there is no {self._where} in namespace "{self.namespace}"; create it')
        return found

    def _port(self, found: ports.DataObject) -> int:
        key = self.reference.port_key
        written = self._text(found, key)
        if written is None:
            return self.default_port
        # Python would take other digits, signs and underscores as well.
        port = int(written) if written.isascii() and written.isdigit() and len(written) < 6 else 0
        if not 0 < port <= fields.HIGHEST_PORT:
            raise self._malformed(key, f"is not a port number between 1 and {fields.HIGHEST_PORT}")
        return port

    def _text(self, found: ports.DataObject, key: str) -> str | None:
        """Return the text under a key, None if there is no such key."""
        value = found.get(key)
        if value is None:
            return None
        # Whatever is not ASCII is neither a host nor a port, and refused as that. Values are often
        # written by tools that end them with a line break.
        return value.decode("ascii", "replace").strip()

    def _malformed(self, key: str, finding: str) -> errors.RejectedError:
        return _failed(f'key "{key}" of {self._where} {finding}; correct it')

    @property
    def _where(self) -> str:
        return f'Secret "{self.reference.name}"'


def _failed(message: str) -> errors.RejectedError:
    return errors.RejectedError(
        Reason.NAME_RESOLUTION_FAILED, f"endpointsFrom.secretRef: {message}"
    )
