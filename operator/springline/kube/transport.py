"""HTTP to one API server: requests out, answers in, over connections that are kept.

Limits, retries and the meaning of answers are the matter of `client`.
"""

import functools
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

import aiohttp

from springline import __version__
from springline.kube.access import Access

__all__ = ["Transport"]

_USER_AGENT: Final = f"springline/{__version__}"

_BUFFER_BYTES = 2**21
"""Of an answer that is read line by line: an event of a watch is one line, however large."""

_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)
"""None, because `Client` sets the limits."""


class Transport:
    """Sends requests. Close it at the end."""

    def __init__(self, access: Access) -> None:
        """`access` has been loaded."""
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return its answer once the head has come.

        The answer has to be read to its end, or closed. Raises what aiohttp raises, `OSError`, and
        what reading credentials raises.
        """
        if self._session is None:
            self._session = self._opened()
        login = await self._access.login()
        url = self._access.configuration.host + path
        return await self._session.request(
            method,
            f"{url}?{_query(*params.items())}" if params else url,
            headers={**headers, "Authorization": login} if login else headers,
            data=body,
            timeout=timeout or _TIMEOUT,
        )

    def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # Watches hold their connections; `Client` limits the rest.
            connector=aiohttp.TCPConnector(limit=0, ssl=self._access.tls),
            # No cookies, like kubectl: an API server sets none.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": _USER_AGENT},
            proxy=self._access.proxy,
            read_bufsize=_BUFFER_BYTES,
            # aiohttp would read the environment for each request, which costs half of its time.
            trust_env=False,
        )


@functools.lru_cache  # few requests are asked in many ways
def _query(*params: tuple[str, str]) -> str:
    return urlencode(params, quote_via=quote)
