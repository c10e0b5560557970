"""A broker, as its administrator and as the operator reach it, wherever it runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from support.administration import Administration

__all__ = ["SharedBroker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedBroker:
    """One broker; host and ports are what the operator connects to."""

    administration: Administration
    host: str
    port: int
    http_port: int = 0
    """Of the management interface; 0 where there is none."""

    def document(self, name: str = "rabbit", **spec: Any) -> dict[str, Any]:
        """Return a Broker that declares it, with more of a spec."""
        return self._document(name, self.port, spec)

    def management(self, name: str = "management", **spec: Any) -> dict[str, Any]:
        """Return a Broker that declares its management interface, with more of a spec."""
        assert self.http_port, "this broker has no management interface"
        return self._document(name, self.http_port, {"protocol": "http", **spec})

    def _document(self, name: str, port: int, spec: Mapping[str, Any]) -> dict[str, Any]:
        endpoint = {"host": self.host, "port": port}
        return {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": name},
            "spec": {"endpoints": [endpoint], "sasl": {"allowInsecure": True}, **spec},
        }
