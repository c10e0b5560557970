"""The protocols that a broker can be declared to speak: the one table of them.

A protocol is a line here and the package of its name in `drivers`. What everybody has to know of it
without its library is here: the models take the values of a field from the table, metrics those of
a label. `adapters` finds the package.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["DEFAULT", "PROTOCOLS", "ProtocolInfo", "default_ports", "listed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolInfo:
    """What a protocol is called, and where its brokers listen unless told otherwise."""

    name: str
    """In declarations, in metrics, and of its package in `drivers`."""
    title: str
    """For people."""
    port: int
    tls_port: int

    def default_port(self, *, tls: bool) -> int:
        """Return the port of an endpoint that is declared without one."""
        return self.tls_port if tls else self.port


_TABLE: Final = (
    # Registered with IANA for "amqp" and "amqps".
    ProtocolInfo(name="amqp091", title="AMQP 0-9-1", port=5672, tls_port=5671),
)

PROTOCOLS: Final[Mapping[str, ProtocolInfo]] = {each.name: each for each in _TABLE}
"""By name."""

DEFAULT: Final = _TABLE[0].name
"""Of a broker that declares none."""


def listed() -> str:
    """Say which names there are and what they stand for."""
    return ", ".join(f"{each.name} is {each.title}" for each in _TABLE)


def default_ports() -> str:
    """Say which port is used where none is declared."""
    names: dict[tuple[int, int], list[str]] = {}
    for each in _TABLE:
        names.setdefault((each.tls_port, each.port), []).append(each.name)
    rules = {ports: f"{ports[0]} where tls.enabled is true, else {ports[1]}" for ports in names}
    if len(rules) == 1:
        return next(iter(rules.values()))
    return "; ".join(f"for {' and '.join(names[ports])} {rule}" for ports, rule in rules.items())
