"""Bundles of certificate authorities, client certificates and their keys."""

import ssl
from collections.abc import Callable
from typing import TypeVar

from fuzz import oracles, stepped_loop
from fuzz.cases import Case
from fuzz.mutations import change_lines
from fuzz.stepped_loop import SteppedLoop
from fuzz.targets import Target
from springline import ca_bundles
from springline.credentials.certificates import PreparedClients
from springline.errors import ConnectError

__all__ = ["TARGET"]

T = TypeVar("T")


class _AtOnce:
    """Makes calls where they are, as `threads.OffLoop`."""

    async def run(self, call: Callable[[], T]) -> T:
        """Return what the call returns."""
        return call()


async def _prepared(ca: bytes | None, certificate: bytes | None, key: bytes | None) -> None:
    try:
        client = await PreparedClients(_AtOnce()).client(
            ca=ca, certificate=certificate, key=key, server_name=None, verify=ca is not None
        )
    except ConnectError as error:
        texts = [str(error), repr(error)]
    else:
        texts = [client.left_out, repr(client)]
    oracles.check_texts(texts, what="what is said of certificates")


def run(case: Case) -> None:
    """Take in each part as a bundle, and as a client's certificate and key."""
    for part in case:
        bundle = ca_bundles.parsed(part)
        again = ca_bundles.parsed(bundle.pem.encode())
        assert again.certificates == bundle.certificates, "a bundle is not what it was read as"
        assert not again.left_out
        if bundle.pem:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=bundle.pem)
        for given in ((part, None, None), (None, part, part)):
            loop = SteppedLoop()
            stepped_loop.run(_prepared(*given), loop)


TARGET = Target(name="certificates", run=run, share=2, mutations=(change_lines,))
