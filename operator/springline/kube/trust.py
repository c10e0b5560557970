"""Which API server is trusted, and the certificate that it is shown: one TLS context.

Both clients, kopf's and the Kubernetes one, get the same context, so what one of them accepts the
other does. Where its parts come from is the business of `access`.
"""

import logging
import ssl
from pathlib import Path

from springline import ca_bundles
from springline.errors import SpringlineError

__all__ = ["TrustError", "context"]

logger = logging.getLogger(__name__)


class TrustError(SpringlineError):
    """The certificates to reach an API server with are of no use; says which ones."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class _Context(ssl.SSLContext):
    """Expects the server to have another name than the one that it was called by, if told so.

    kopf has no option for it, and asyncio asks nothing but the context.
    """

    server_name: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name = self.server_name or server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, name, session)


def context(
    *,
    verify: bool,
    authority: str | None,
    certificate: str | None,
    key: str | None,
    server_name: str | None,
) -> ssl.SSLContext:
    """Return the TLS context for an API server. Raises `TrustError` and `OSError`.

    `authority`, `certificate` and `key` are paths of files in PEM that are read now and not needed
    afterwards. Without an `authority` it is those of the system.
    """
    made = _Context(ssl.PROTOCOL_TLS_CLIENT)
    # As kubectl has it, on every version of Python. From 3.13 on Python's own defaults insist on
    # key identifiers (RFC 5280 §4.2.1.1), which the certificates of Amazon EKS do not have; and
    # before 3.13 they do not take an intermediate authority for what a kubeconfig trusts. The
    # signature, the validity and the name are verified as ever.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.server_name = server_name
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif authority is not None:
        _trust(made, authority)
    else:
        made.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if certificate is not None:
        _show(made, certificate, key)
    return made


def _trust(made: ssl.SSLContext, authority: str) -> None:
    bundle = ca_bundles.parsed(Path(authority).read_bytes())
    if not bundle.certificates:
        raise TrustError("its certificate authority holds no certificates in PEM")
    if bundle.left_out:
        logger.warning(
            "part of a bundle of certificate authorities is left out",
            extra={"bundle": authority, "detail": bundle.left_out},
        )
    made.load_verify_locations(cadata=bundle.pem)


def _show(made: ssl.SSLContext, certificate: str, key: str | None) -> None:
    try:
        # The password callback keeps OpenSSL from asking on a terminal.
        made.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError:
        problem = (
            "its client certificate and key are not a certificate and its unencrypted private key "
            "in PEM"
        )
    else:
        return
    raise TrustError(problem)
