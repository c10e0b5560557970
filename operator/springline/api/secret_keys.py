"""Keys of Secrets whose values are no secrets: names and addresses that a status shows as well."""

from typing import Final

__all__ = ["NO_SECRETS"]

NO_SECRETS: Final = frozenset(
    {
        *("username", "user", "client-id", "type", "provider", "protocol", "namespace"),
        *("host", "hostname", "port", "vhost", "virtual-host"),
        *("ca.crt", "tls.crt", "cacerts"),
    }
)
"""In lower case. Those of the Service Binding specification, of brokers' operators, and of TLS."""
