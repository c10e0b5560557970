"""What declarations and tables call the part of a broker that a connection is for.

It is one field and one column, whatever the protocol, and both are of the contract. What a protocol
calls such a part is in the table of protocols.
"""

from typing import Final

__all__ = ["COLUMN", "DEFAULT", "FIELD"]

FIELD: Final = ("spec", "virtualHost")
"""Of a BrokerConnection, as a path."""

DEFAULT: Final = "/"
"""Where none is declared."""

COLUMN: Final = "VHost"
"""Of `kubectl get`, which prints names of columns in capitals."""
