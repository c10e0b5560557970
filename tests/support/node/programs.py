"""What runs on the node, and where it is; it starts nothing.

The control plane's programs are those of the cluster tests. `install-node.sh` gets the rest.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support import apiserver
from support.apiserver import APIServerMissing

__all__ = ["NodeMissing", "Programs"]

CNI = Path("/usr/lib/cni")
_BUILT = ("kubelet", "kube-scheduler", "kube-proxy")
_SYSTEM = (
    "containerd",
    "ctr",
    "runc",
    "iptables",
    "conntrack",
    "ip",
    "unshare",
    "setpriv",
    "mount",
)
_PLUGINS = ("ptp", "host-local", "portmap", "loopback")


class NodeMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """The node cannot run here; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The paths of what runs on the node."""

    etcd: Path
    apiserver: Path
    controllers: Path
    scheduler: Path
    kubelet: Path
    proxy: Path
    containerd: Path
    ctr: Path
    runc: Path

    @classmethod
    def find(cls) -> Self:
        """Find them. Raises `NodeMissing`."""
        try:
            plane = apiserver.programs()
        except APIServerMissing as error:
            raise NodeMissing(str(error)) from error
        if plane.controllers is None:
            raise NodeMissing("there is no kube-controller-manager: run make apiserver")
        built = {name: apiserver.cache(f"node-{apiserver.version()}") / name for name in _BUILT}
        system = {name: Path(shutil.which(name, path=_path()) or name) for name in _SYSTEM}
        plugins = {name: CNI / name for name in _PLUGINS}
        every = {**built, **system, **plugins}
        missing = [name for name, path in every.items() if not path.is_file()]
        if missing:
            raise NodeMissing(f"there is no {', no '.join(missing)}: run make node")
        return cls(
            etcd=plane.etcd,
            apiserver=plane.apiserver,
            controllers=plane.controllers,
            scheduler=built["kube-scheduler"],
            kubelet=built["kubelet"],
            proxy=built["kube-proxy"],
            containerd=system["containerd"],
            ctr=system["ctr"],
            runc=system["runc"],
        )


def _path() -> str:
    """Return where programs are looked for: a user's PATH may lack the administrator's."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
