"""`core.ports.Driver` for HTTP: one attempt under one deadline. It keeps nothing between calls.

Open means: a request with the credential was answered as declared. Dialling alone proves nothing.
"""

from typing import Final

from springline.core.values import OpenRequest
from springline.drivers.http import logins
from springline.drivers.http.client import HttpClient
from springline.drivers.http.parameters import HttpParameters
from springline.drivers.shared import sasl
from springline.errors import RejectedError
from springline.reasons import Reason

__all__ = ["HttpDriver"]

_WRITTEN: Final = {
    "BASIC": "secretRef",
    "BEARER": "a token",
    "EXTERNAL": "external",
    "ANONYMOUS": "anonymous",
}


class HttpDriver:
    """Opens sessions with HTTP servers."""

    __slots__ = ()

    async def open(self, request: OpenRequest[HttpParameters]) -> HttpClient:
        """Connect, and have the declared request answered within `request.timeout` seconds.

        What cannot work is refused before anything is sent. Safe to cancel.
        """
        parameters, credential = request.parameters, request.credential
        sasl.check(logins.TABLE, parameters.sasl, credential, request.tls)
        mechanism = logins.scheme(credential)
        if mechanism not in parameters.sasl.mechanisms:
            raise RejectedError(
                Reason.NO_AUTHENTICATION_MECHANISM,
                f"the credentials are for {mechanism} ({_WRITTEN[mechanism]}), which is not among"
                f" the declared mechanisms [{', '.join(parameters.sasl.mechanisms)}]",
            )
        fields = logins.authorization(credential)
        request.veil.note(credential.secret)
        request.veil.know(
            credential.username, parameters.path, request.endpoint.host, request.address
        )
        client = HttpClient(request, fields)
        try:
            await client.establish()
        except BaseException:
            client.abort()
            await client.wait_gone()
            raise
        return client
