"""The protocols that a broker can be declared to speak: the one table of them.

A protocol is a line here and the package of its name in `drivers`. What everybody has to know of it
without its library is here: the models take the values of fields and their defaults from the table,
metrics those of a label, `kubectl springline` a word. `adapters` finds the package.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = [
    "DEFAULT",
    "DEFAULT_MECHANISMS",
    "MECHANISMS",
    "PROTOCOLS",
    "ProtocolInfo",
    "default_ports",
    "listed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolInfo:
    """What a protocol is called, and what holds for it unless something else is declared."""

    name: str
    """In declarations, in metrics, and of its package in `drivers`."""
    title: str
    """For people."""
    port: int
    tls_port: int
    place: str
    """What it calls the part of a broker that a connection is for: what `virtualHost` names."""
    mechanisms: tuple[str, ...]
    """By which one can log in; all that can be declared."""
    longest_place: int = 255
    """Characters that the name of a place may have."""
    preferred_mechanisms: tuple[str, ...] = ()
    """Those that are used where none are declared, most wanted first; all of them where empty."""
    silent_loggers: tuple[str, ...] = ()
    """Of its library: they log frames, which may hold a secret. What they find out, who calls them
    reports."""

    def default_port(self, *, tls: bool) -> int:
        """Return the port of an endpoint that is declared without one."""
        return self.tls_port if tls else self.port

    @property
    def default_mechanisms(self) -> tuple[str, ...]:
        """The mechanisms where none are declared, most wanted first."""
        return self.preferred_mechanisms or self.mechanisms


_TABLE: Final = (
    ProtocolInfo(
        name="amqp091",
        title="AMQP 0-9-1",
        port=5672,  # registered with IANA for "amqp", and the other one for "amqps"
        tls_port=5671,
        place="virtual host",
        longest_place=127,  # domain `path`
        mechanisms=("PLAIN", "AMQPLAIN", "EXTERNAL", "ANONYMOUS", "RABBIT-CR-DEMO"),
        preferred_mechanisms=("EXTERNAL", "PLAIN", "AMQPLAIN", "ANONYMOUS"),
        silent_loggers=("aiormq", "pamqp"),
    ),
    ProtocolInfo(
        name="amqp10",
        title="AMQP 1.0",
        port=5672,
        tls_port=5671,
        place="virtual host",
        mechanisms=("EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "ANONYMOUS"),
        silent_loggers=("proton",),
    ),
    ProtocolInfo(
        name="http",
        title="HTTP",
        port=80,  # RFC 9110 §4.2
        tls_port=443,
        place="path",
        mechanisms=("BASIC", "BEARER", "EXTERNAL", "ANONYMOUS"),
        silent_loggers=("h2", "hpack", "hyperframe"),
    ),
)

PROTOCOLS: Final[Mapping[str, ProtocolInfo]] = {each.name: each for each in _TABLE}
"""By name."""

DEFAULT: Final = _TABLE[0].name
"""Of a broker that declares none."""

DEFAULT_MECHANISMS: Final = _TABLE[0].default_mechanisms
"""What a schema shows as declared where none are: it has one default, whatever the protocol."""

MECHANISMS: Final = tuple(dict.fromkeys(name for each in _TABLE for name in each.mechanisms))
"""Those of all protocols, each once."""


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
