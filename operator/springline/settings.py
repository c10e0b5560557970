"""Settings of a process, frozen: what the command line and SPRINGLINE_* variables said."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

__all__ = ["CheckSettings", "Network", "OperatorSettings", "RunSettings"]

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How `springline run` is to run."""

    manifests: Path
    status_dir: Path | None = None
    table: bool = False
    """A live table instead of lines."""
    steps: bool = False
    """Whether the steps of every attempt are shown too."""
    shutdown_seconds: float = 10.0
    """How long sessions may take to close before they are dropped."""
    token_dir: Path | None = None
    """Where the files of `credentials.tokenFile` are, a directory for each namespace."""
    binding_dir: Path | None = None
    """Where bindings are written, a directory for each namespace."""
    allow_addresses: tuple[Network, ...] = ()
    """What may be connected to although no broker is expected there."""
    listen_host: str = ""
    listen_port: int | None = None
    """Where health and metrics are served; without a port, nowhere."""
    json_lines: bool = False
    """Whether each line is a JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """What `springline check` is to look at."""

    files: tuple[Path, ...]
    credentials: tuple[Path, ...] = ()
    """Files with the Secrets and ConfigMaps to rehearse a rotation with; none for a plain check."""
    token_dir: Path | None = None
    """Where the files of `credentials.tokenFile` are, a directory for each namespace."""
    allow_addresses: tuple[Network, ...] = ()
    """What may be connected to although no broker is expected there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """How `springline operator` is to run."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to look after; none means all of them."""
    cluster_brokers: bool = True
    """Whether ClusterBrokers are looked after; that needs rights beyond namespaces."""
    require_secret_label: bool = False
    """Whether only Secrets with the opt-in label are used."""
    allow_addresses: tuple[Network, ...] = ()
    """What may be connected to although no broker is expected there."""
    listen_host: str
    listen_port: int
    """Where health and metrics are served."""
    holder: str
    """What this replica calls itself, in status, events and its Lease."""
    lease_namespace: str = ""
    """Where its Lease is; empty for the namespace of the pod, or of the kubeconfig's context."""
    lease_seconds: int = 15
    """How long after the last renewal of its Lease this replica counts as gone."""
    name_lookups: int = 64
    """How many names are looked up at once, each in a thread."""
    per_object_metrics: bool = True
    """Whether there are metrics for each connection."""
    token_dir: Path | None = None
    """Where the files of `credentials.tokenFile` are, a directory for each namespace."""
    least_retry_delay: float = 1.0
    """Seconds between attempts to connect at least, whatever brokers declare."""
    least_renewal_interval: float = 5.0
    """Seconds between renewals of one credential at least, however short it lives."""
    attempts_at_once: int = 400
    """How many attempts to connect run at once; half of them of one namespace at most."""
    kubeconfig: str | None = None
    context: str | None = None
    shutdown_seconds: float = 20.0
    """How long sessions may take to close, and again how long their last status may take."""
