"""Tokens of ServiceAccounts where there is no cluster: there are none."""

from springline import errors
from springline.core import ports
from springline.credentials import api_server
from springline.reasons import Reason

__all__ = ["NoTokens"]


class NoTokens:
    """Issues nothing, as `core.ports.ServiceAccountTokens`."""

    async def issue(
        self,
        namespace: str,  # noqa: ARG002 - as the port has it
        name: str,  # noqa: ARG002
        *,
        audience: str,  # noqa: ARG002
        seconds: int,  # noqa: ARG002
    ) -> ports.IssuedToken:
        """Raise `CredentialError`, which says what to do instead."""
        raise errors.CredentialError(
            Reason.TOKEN_REQUEST_FAILED,
            "credentials.serviceAccount needs an API server, and standalone mode has none; use "
            "credentials.tokenFile with a projected token",
        )

    async def own_audiences(self) -> frozenset[str]:
        """Return the usual ones: tokens of a cluster may be in files here, too."""
        return api_server.USUAL_AUDIENCES
