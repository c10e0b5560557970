"""Tokens of ServiceAccounts, from the TokenRequest API. They are never written anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from springline import errors
from springline.credentials import api_server, claims
from springline.kube.access import Access, AccessError
from springline.kube.client import Client, RefusedError, RequestError
from springline.kube.kubernetes_client import ConfigException
from springline.reasons import Reason
from springline.redaction import Secret

__all__ = ["KubernetesTokens", "ServiceAccountToken"]

_API_VERSION: Final = "authentication.k8s.io/v1"

_BAD_REQUEST = 400
_FORBIDDEN = 403
_INVALID = 422


@dataclass(frozen=True, slots=True)
class ServiceAccountToken:
    """A token as the API server gave it, as `core.ports.IssuedToken`."""

    value: Secret
    lifetime: float


class KubernetesTokens:
    """Issues tokens of ServiceAccounts, as `core.ports.ServiceAccountTokens`."""

    def __init__(self, client: Client, access: Access) -> None:
        """`access` is the way to the API server that `client` talks to."""
        self._client = client
        self._access = access

    async def issue(
        self, namespace: str, name: str, *, audience: str, seconds: int
    ) -> ServiceAccountToken:
        """Return a new token. Raises `CredentialError`.

        None that the API server itself would take: whoever got it could act as the ServiceAccount,
        and a declaration names both the broker and the audience.
        """
        where = f'ServiceAccount "{name}" in namespace "{namespace}"'
        if audience in await self.own_audiences():
            raise _refused(
                f'the audience "{audience}" is that of the API server, which no broker may get a '
                "token for; choose another for the broker, such as rabbitmq"
            )
        request = {
            "apiVersion": _API_VERSION,
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": seconds},
        }
        try:
            answer = await self._client.create(_path(namespace, name), request)
        except RequestError as error:
            raise _failed(error, where, namespace) from error
        value = _mapping(answer.get("status")).get("token")
        if not isinstance(value, str) or not value:
            raise _unavailable(f"the API server answered without a token of {where}")
        return ServiceAccountToken(Secret(value), _lifetime(answer, asked=seconds))

    async def own_audiences(self) -> frozenset[str]:
        """Return the audiences of the API server, as far as our own token tells."""
        try:
            own = await self._access.token()
        except (AccessError, ConfigException, OSError):
            own = None  # the request that follows says what is the matter
        told = claims.audiences(claims.read(Secret(own))) if own else frozenset()
        return api_server.USUAL_AUDIENCES | told


def _path(namespace: str, name: str) -> str:
    namespace, name = quote(namespace, safe=""), quote(name, safe="")
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"


def _lifetime(answer: Mapping[str, Any], *, asked: int) -> float:
    """Return for how many seconds the token is valid.

    Both times are of the API server's clock, so it does not matter what ours says. Where one is
    missing it is what the API server says to have granted, else what it was asked for.
    """
    spec, status = _mapping(answer.get("spec")), _mapping(answer.get("status"))
    begins = _time(_mapping(answer.get("metadata")).get("creationTimestamp"))
    ends = _time(status.get("expirationTimestamp"))
    if begins is not None and ends is not None and begins < ends:
        return (ends - begins).total_seconds()
    granted = spec.get("expirationSeconds")
    return float(granted if isinstance(granted, int) and granted > 0 else asked)


def _time(value: Any) -> datetime | None:
    """Return the time that a text of the API stands for (RFC 3339), None where it is none."""
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    # Times with and without a zone cannot be compared.
    return time if time.tzinfo is not None else None


def _failed(error: RequestError, where: str, namespace: str) -> errors.CredentialError:
    """Return what a failed request means, and what is to be done about it."""
    if isinstance(error, RefusedError):
        if error.is_absence:
            return _refused(f"there is no {where}; create it")
        if error.code == _FORBIDDEN:
            return _refused(
                "Springline lacks the permission to create tokens of ServiceAccounts in namespace "
                f'"{namespace}"; set serviceAccountTokens.enabled in the values of the chart '
                f"({error.message})"
            )
        if error.code in (_BAD_REQUEST, _INVALID):
            return _refused(
                f"the API server gives no such token of {where}; correct the audience or the "
                f"expiration of credentials.serviceAccount ({error.message})"
            )
    retry_after = error.retry_after if isinstance(error, RefusedError) else None
    return _unavailable(f"no token of {where}: {error}", retry_after=retry_after)


def _refused(message: str) -> errors.CredentialError:
    """Return the error for what somebody has to mend."""
    return errors.CredentialError(Reason.TOKEN_REQUEST_FAILED, message)


def _unavailable(
    message: str, *, retry_after: float | None = None
) -> errors.CredentialUnavailableError:
    """Return the error for what may pass by itself."""
    return errors.CredentialUnavailableError(
        Reason.TOKEN_REQUEST_FAILED, message, retry_after=retry_after
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
