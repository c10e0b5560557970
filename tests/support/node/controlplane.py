"""The node's control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.

All of Kubernetes' controllers run, and nodes and pods are authorised as in any cluster. It says how
each program is started, and starts nothing.
"""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.node.certificates import Authority
from support.node.isolation import ADDRESS, NAME
from support.node.programs import Programs

__all__ = ["DOMAIN", "PODS", "SERVICES", "ControlPlane"]

DOMAIN = "cluster.local"
PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"

_FIRST_SERVICE = "10.96.0.1"
_PORT = 6443
_ETCD = "http://127.0.0.1:2379"
_MASTERS = "system:masters"
# As kubeadm sets it. Its own default is ten minutes, which another suite tests.
_PROGRESS = "--experimental-watch-progress-notify-interval=5s"


@dataclass
class ControlPlane:
    """Where it is, and who may ask what. `directory` holds everything that it writes."""

    programs: Programs
    directory: Path
    authority: Authority
    tokens: dict[str, str] = field(default_factory=dict)
    """By user name."""

    url: str = f"https://{ADDRESS}:{_PORT}"

    def write_files(self) -> None:
        """Write certificates, tokens and kubeconfigs."""
        hosts = [ADDRESS, "127.0.0.1", _FIRST_SERVICE, "localhost", "kubernetes"]
        hosts += [f"kubernetes.default{end}" for end in ("", ".svc", f".svc.{DOMAIN}")]
        self.authority.issue("apiserver", common_name="kube-apiserver", hosts=hosts)
        self.authority.issue("apiserver-client", common_name="kube-apiserver", groups=[_MASTERS])
        self.authority.issue("admin", common_name="admin", groups=[_MASTERS])
        users = {
            "system:kube-controller-manager": "",
            "system:kube-scheduler": "",
            "system:kube-proxy": "",
            f"system:node:{NAME}": "system:nodes",
            "names": _MASTERS,
        }
        self.tokens = {user: secrets.token_urlsafe(16) for user in users}
        lines = [f'{self.tokens[user]},{user},{user},"{group}"' for user, group in users.items()]
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        for name, text in {
            "tokens.csv": "\n".join(lines) + "\n",
            "service-accounts.key": key.decode(),
            "admin.kubeconfig": self._kubeconfig(
                {
                    "client-certificate": str(self._file("admin.crt")),
                    "client-key": str(self._file("admin.key")),
                }
            ),
            **{
                f"{user.rpartition(':')[2]}.kubeconfig": self._kubeconfig({"token": token})
                for user, token in self.tokens.items()
            },
        }.items():
            path = self._file(name)
            path.touch(mode=0o600)
            path.write_text(text)

    def kubeconfig(self, user: str) -> Path:
        """Return the kubeconfig of `admin`, or of one of its programs."""
        return self._file(f"{user}.kubeconfig")

    def etcd(self) -> list[str | Path]:
        """Return the command that starts etcd."""
        return [
            self.programs.etcd,
            f"--data-dir={self._file('etcd')}",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            _PROGRESS,
            # What it holds ends with it.
            "--unsafe-no-fsync",
        ]

    def apiserver(self) -> list[str | Path]:
        """Return the command that starts the API server."""
        key = self._file("service-accounts.key")
        ca = self.authority.certificate
        return [
            self.programs.apiserver,
            f"--etcd-servers={_ETCD}",
            f"--bind-address={ADDRESS}",
            f"--advertise-address={ADDRESS}",
            f"--secure-port={_PORT}",
            f"--client-ca-file={ca}",
            f"--tls-cert-file={self._file('apiserver.crt')}",
            f"--tls-private-key-file={self._file('apiserver.key')}",
            f"--kubelet-certificate-authority={ca}",
            f"--kubelet-client-certificate={self._file('apiserver-client.crt')}",
            f"--kubelet-client-key={self._file('apiserver-client.key')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--token-auth-file={self._file('tokens.csv')}",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--service-cluster-ip-range={SERVICES}",
            "--shutdown-watch-termination-grace-period=1s",
        ]

    def controllers(self) -> list[str | Path]:
        """Return the command that starts the controllers."""
        return [
            self.programs.controllers,
            f"--kubeconfig={self.kubeconfig('kube-controller-manager')}",
            f"--root-ca-file={self.authority.certificate}",
            f"--service-account-private-key-file={self._file('service-accounts.key')}",
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={PODS}",
            f"--service-cluster-ip-range={SERVICES}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def scheduler(self) -> list[str | Path]:
        """Return the command that starts the scheduler."""
        return [
            self.programs.scheduler,
            f"--kubeconfig={self.kubeconfig('kube-scheduler')}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ]

    def _kubeconfig(self, user: dict[str, str]) -> str:
        cluster = {"server": self.url, "certificate-authority": str(self.authority.certificate)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "node", "cluster": cluster}],
            "users": [{"name": "node", "user": user}],
            "contexts": [{"name": "node", "context": {"cluster": "node", "user": "node"}}],
            "current-context": "node",
        }
        return yaml.safe_dump(document, sort_keys=False)

    def _file(self, name: str) -> Path:
        return self.directory / name
