"""A private Kubernetes node: real pods on a machine that has no cluster and no container engine.

`python -m support.node` brings the node up, runs a command on it and takes it down:

- `isolation` is what keeps it apart: namespaces, mounts, cgroups, addresses.
- `programs` finds what runs on it, `install-node.sh` gets that.
- `certificates` are its authority and whoever logs in with a certificate.
- `controlplane` and `worker` say how each program is started.
- `names` answers for the names of Services.
- `machine` starts everything in its order, and waits until pods can run.
"""
