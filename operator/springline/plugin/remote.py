"""`springline check` in the operator's pod: with its network, its DNS and its certificates.

kubectl carries it there, because it knows how to reach into a pod. The manifests go through its
standard input, so nothing is written on the way.
"""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from springline.plugin.cluster import OPERATOR_LABEL, Target
from springline.plugin.connection import Connection
from springline.plugin.errors import Exit, PluginError
from springline.standalone import loader

__all__ = ["command", "manifests", "run", "usable"]

_CONTAINER = "springline"
_SEPARATOR = "\n---\n"


def usable(pods: Sequence[Mapping[str, Any]] | str) -> Connection:
    """Return the pod to run it in. Raises `PluginError` if there is none."""
    if isinstance(pods, str):
        raise PluginError(f"the operator's pod cannot be found: {pods}", Exit.CLUSTER)
    for pod in map(Connection, pods):
        is_stopped = pod.get("metadata", "deletionTimestamp") is not None
        if pod.text("status", "phase") == "Running" and not is_stopped:
            return pod
    raise PluginError(
        f"no pod of the operator is running: none has the label {OPERATOR_LABEL}", Exit.CLUSTER
    )


def command(pod: Connection, target: Target, options: Sequence[str]) -> list[str]:
    """Return the command line. Raises `PluginError` if there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise PluginError("--in-cluster needs kubectl, and none is in PATH", Exit.UNUSABLE)
    where = []
    if target.file:
        where.append(f"--kubeconfig={target.file}")
    if target.context:
        where.append(f"--context={target.context}")
    return [
        *(kubectl, "exec", "--stdin", *where, f"--namespace={pod.namespace}", pod.name),
        *(f"--container={_CONTAINER}", "--", "springline", "check", "--filename=-", *options),
    ]


def manifests(files: Sequence[Path]) -> str:
    """Return the documents of files and directories as one text. Raises `PluginError`."""
    texts = []
    try:
        for file in files:
            for path in loader.manifest_files(file) if file.is_dir() else [file]:
                # Not `sys.stdin`: whoever waits for it holds it when the process is to end.
                given = Path("/dev/stdin") if path == Path("-") else path
                texts.append(given.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(f"a manifest cannot be read: {error}", Exit.UNUSABLE) from None
    return _SEPARATOR.join(texts)


async def run(arguments: Sequence[str], given: str) -> int:
    """Run it with the terminal's output, and return its exit code. Cancelled, it is ended."""
    process = await asyncio.create_subprocess_exec(*arguments, stdin=subprocess.PIPE)
    try:
        await process.communicate(given.encode())
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    return process.returncode or 0
