"""From the table of protocols to what speaks them.

The package `drivers.<name>` of a protocol has a module `adapter` with an `ADAPTER`. It is found by
its name, so that the table is the only list there is, and imported when somebody is to connect.
"""

import importlib
from collections.abc import Mapping

from springline.core import ports
from springline.protocols import PROTOCOLS

__all__ = ["adapters"]


def adapters() -> Mapping[str, ports.Adapter]:
    """Return the adapter of each protocol in the table, by name."""
    return {name: _adapter(name) for name in PROTOCOLS}


def _adapter(name: str) -> ports.Adapter:
    module = importlib.import_module(f"springline.drivers.{name}.adapter")
    adapter: ports.Adapter = module.ADAPTER  # of this type there, where it can be checked
    return adapter
