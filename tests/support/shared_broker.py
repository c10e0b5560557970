"""A broker, as its administrator and as the operator reach it, wherever it runs."""

from dataclasses import dataclass
from typing import Any

from support.administration import Administration

__all__ = ["SharedBroker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedBroker:
    """One broker; host and port are what the operator connects to."""

    administration: Administration
    host: str
    port: int

    def document(self, name: str = "rabbit", **spec: Any) -> dict[str, Any]:
        """Return a Broker that declares it, with more of a spec."""
        endpoint = {"host": self.host, "port": self.port}
        return {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": name},
            "spec": {"endpoints": [endpoint], "sasl": {"allowInsecure": True}, **spec},
        }
