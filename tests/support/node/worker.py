"""What runs pods on the node: containerd, the kubelet, kube-proxy.

It writes their configuration and says how each is started, and starts nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.node.controlplane import DOMAIN, PODS, ControlPlane
from support.node.isolation import ADDRESS, NAME
from support.node.programs import CNI, Programs

__all__ = ["PAUSE", "Worker"]

PAUSE = "localhost/springline-pause:1"
"""The image that holds a pod's namespaces."""

# Sockets have short paths: theirs may have 107 bytes.
_SOCKET = "/run/containerd.sock"


@dataclass
class Worker:
    """The programs that run pods. `directory` holds everything that they write."""

    programs: Programs
    directory: Path
    plane: ControlPlane
    cgroup: str
    """The cgroup, as the kubelet names it, below which pods are."""

    def write_files(self) -> None:
        """Write certificates and configuration."""
        self.plane.authority.issue(
            "kubelet", common_name=f"system:node:{NAME}", hosts=[ADDRESS, NAME]
        )
        (self.directory / "cni").mkdir(parents=True, exist_ok=True)
        files: dict[str, str] = {
            "cni/10-pods.conflist": json.dumps(self._pod_network()),
            "containerd.toml": self._containerd_configuration(),
            "kubelet.yaml": yaml.safe_dump(self._kubelet_configuration()),
            "proxy.yaml": yaml.safe_dump(self._proxy_configuration()),
            "resolv.conf": f"nameserver {ADDRESS}\n",
        }
        for name, text in files.items():
            (self.directory / name).write_text(text)

    def containerd(self) -> list[str | Path]:
        """Return the command that starts containerd."""
        return [self.programs.containerd, f"--config={self.directory / 'containerd.toml'}"]

    def ctr(self, *args: str | Path) -> list[str | Path]:
        """Return a command of containerd's client, on what Kubernetes sees."""
        return [self.programs.ctr, "--address", _SOCKET, "--namespace", "k8s.io", *args]

    def kubelet(self) -> list[str | Path]:
        """Return the command that starts the kubelet."""
        return [
            self.programs.kubelet,
            f"--config={self.directory / 'kubelet.yaml'}",
            f"--kubeconfig={self.plane.kubeconfig(NAME)}",
            f"--root-dir={self.directory / 'kubelet'}",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
        ]

    def proxy(self) -> list[str | Path]:
        """Return the command that starts kube-proxy."""
        return [self.programs.proxy, f"--config={self.directory / 'proxy.yaml'}"]

    def _containerd_configuration(self) -> str:
        return f"""
version = 2
root = "{self.directory / "containerd"}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
]

[grpc]
address = "{_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# Without CAP_SYS_RESOURCE no process may be given a lower score than ours.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI}"
conf_dir = "{self.directory / "cni"}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{self.programs.runc}"
SystemdCgroup = false
"""

    def _pod_network(self) -> dict[str, Any]:
        """Return a network in which pods are routed to, so that it takes no bridge."""
        pods = {
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.244.0.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": "/run/cni",
            },
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [pods, ports]}

    def _kubelet_configuration(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": ADDRESS,
            "readOnlyPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.plane.authority.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(self.plane.directory / "kubelet.crt"),
            "tlsPrivateKeyFile": str(self.plane.directory / "kubelet.key"),
            "containerRuntimeEndpoint": f"unix://{_SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self.cgroup,
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            # It may not set limits that take CAP_SYS_RESOURCE.
            "featureGates": {"KubeletInUserNamespace": True},
            "clusterDNS": [ADDRESS],
            "clusterDomain": DOMAIN,
            "resolvConf": str(self.directory / "resolv.conf"),
            "podLogsDir": str(self.directory / "logs"),
            "volumePluginDir": str(self.directory / "plugins"),
            # The machine's disk is of no concern to the tests.
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            # Secrets and ConfigMaps that change are seen in seconds, not in a minute.
            "syncFrequency": "5s",
        }

    def _proxy_configuration(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": PODS,
            "hostnameOverride": NAME,
            "clientConnection": {"kubeconfig": str(self.plane.kubeconfig("kube-proxy"))},
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            # /proc/sys/net/netfilter is read-only in a namespace: leave it as it is.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        }
