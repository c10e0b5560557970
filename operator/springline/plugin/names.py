"""How connections are named on the command line, and in what is printed to be given back to it.

    orders                                        in the command's namespace
    brokerconnection/orders                       the same, as kubectl has it: TYPE/NAME
    brokerconnection.springline.dev/shop/orders   in the namespace shop

kubectl has no form with a namespace in it, so what it prints for all namespaces cannot be given
back. The last one can, and it is one word, as `xargs` wants it.
"""

import difflib
import re
from dataclasses import dataclass
from typing import Final

from springline.api.identity import GROUP, VERSION
from springline.plugin.errors import Exit, PluginError

__all__ = ["TYPE", "Named", "parse", "written"]

TYPE: Final = "brokerconnection.springline.dev"
"""As `kubectl get -o name` prints it."""

_TYPES: Final = ("brokerconnection", "brokerconnections", "bconn")
"""In the singular, the plural, and short."""
_GROUPS: Final = ("", f".{GROUP}", f".{VERSION}.{GROUP}")
_OTHERS: Final = ("broker", "brokers", "sbroker", "clusterbroker", "clusterbrokers", "scbroker")

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}([.]{_LABEL})*")
_NAMESPACE: Final = re.compile(_LABEL)


@dataclass(frozen=True, slots=True)
class Named:
    """A connection that was named."""

    name: str
    namespace: str = ""
    """Empty where it was not said."""


def parse(text: str) -> Named:
    """Read one argument. Raises `PluginError`."""
    *before, name = text.split("/")
    if not name:
        raise _problem(text, "the name is missing")
    match before:
        case []:
            found = Named(name)
        case [kind]:
            _check_type(kind, text)
            found = Named(name)
        case [kind, namespace]:
            _check_type(kind, text)
            if not _NAMESPACE.fullmatch(namespace):
                raise _problem(text, f'"{namespace}" cannot be the name of a namespace')
            found = Named(name, namespace)
        case _:
            raise _problem(text, "write NAME, TYPE/NAME or TYPE/NAMESPACE/NAME")
    if not _NAME.fullmatch(name):
        raise _problem(text, f'"{name}" cannot be a name')
    return found


def written(name: str, namespace: str = "") -> str:
    """Return what `parse` reads; with a namespace it means the same from every namespace."""
    return "/".join(part for part in (TYPE, namespace, name) if part)


def _check_type(kind: str, text: str) -> None:
    lowered = kind.lower()
    if not kind:
        raise _problem(text, "the type is missing")
    if any(lowered == each + group for each in _TYPES for group in _GROUPS):
        return
    if any(lowered == each + group for each in _OTHERS for group in _GROUPS):
        raise _problem(text, "only a BrokerConnection has a session; see kubectl describe for this")
    if difflib.get_close_matches(lowered.partition(".")[0], _TYPES, cutoff=0.8):
        raise _problem(text, f'there is no type "{kind}"; did you mean brokerconnection?')
    *_, name = text.split("/")
    advice = f'there is no type "{kind}"; is it a namespace? Then write {TYPE}/{kind}/{name}'
    raise _problem(text, advice)


def _problem(text: str, problem: str) -> PluginError:
    return PluginError(f'"{text}": {problem}', Exit.UNUSABLE)
