"""kubectl, the real one, on a cluster that a kubeconfig names.

For what users do and see: the tests speak to the API server by it where its words and columns
count, or where they are to run on any cluster. Calls block: use `asyncio.to_thread` from async
code; `until` does that itself.
"""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from support import tools
from support.waiting import PATIENCE

__all__ = ["Kubectl", "KubectlFailed", "rows"]

Document = Mapping[str, Any]

_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.05


class KubectlFailed(RuntimeError):  # noqa: N818 - what it says is the point, not that it is an error
    """kubectl ended with an error; the text is what it wrote to standard error."""


class Kubectl:
    """kubectl with the rights that the kubeconfig gives.

    `directory` is private to it: its caches go there, and nothing of the user's is read. Methods
    raise `KubectlFailed`. A namespace of None is the kubeconfig's, or none for what is the
    cluster's.
    """

    def __init__(self, directory: Path, kubeconfig: Path) -> None:
        """Find the program. Raises `tools.ToolMissing`."""
        directory.mkdir(parents=True, exist_ok=True)
        self._program = tools.kubectl()
        self.kubeconfig = kubeconfig
        self._env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(directory),
            "KUBECONFIG": str(kubeconfig),
        }

    def run(self, *args: str, given: str = "", timeout: float = _TIMEOUT_SECONDS) -> str:
        """Run it, with `given` as standard input, and return what it wrote to standard output."""
        try:
            done = subprocess.run(
                [self._program, *args],
                input=given,
                env=self._env,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise KubectlFailed(f"kubectl {args[0]} took over {timeout:g} s") from error
        if done.returncode != 0:
            raise KubectlFailed(f"kubectl {args[0]}: {done.stderr.strip()}")
        return done.stdout

    # What users do

    def apply(
        self, documents: str | Document | Iterable[Document], *, namespace: str | None = None
    ) -> str:
        """Apply YAML text or documents, server-side, and return what kubectl says of each."""
        match documents:
            case str():
                text = documents
            case Mapping():
                text = yaml.safe_dump(dict(documents))
            case _:
                text = yaml.safe_dump_all([dict(each) for each in documents])
        # Client-side apply would copy every Secret into an annotation.
        options = ["--server-side", "--force-conflicts", "--filename=-"]
        return self.run("apply", *_in(namespace), *options, given=text)

    def delete(
        self, kind: str, name: str, *, namespace: str | None = None, wait: bool = True
    ) -> None:
        """Delete one object, and wait until it is gone. Idempotent."""
        options = ["--ignore-not-found", f"--wait={str(wait).lower()}"]
        self.run("delete", kind, name, *_in(namespace), *options)

    def annotate(self, kind: str, name: str, *, namespace: str | None = None, **by: str) -> None:
        """Set annotations: `annotate("secret", "orders", **{"example.com/key": "value"})`."""
        settings = [f"{key}={value}" for key, value in by.items()]
        self.run("annotate", "--overwrite", kind, name, *_in(namespace), *settings)

    def patch(
        self, kind: str, name: str, change: Document, *, namespace: str | None = None
    ) -> None:
        """Merge a change into an object."""
        options = ["--type=merge", f"--patch={json.dumps(change)}"]
        self.run("patch", kind, name, *_in(namespace), *options)

    # What users see

    def get_json(self, kind: str, name: str, *, namespace: str | None = None) -> dict[str, Any]:
        """Return an object, or an empty dictionary where there is none."""
        options = ["--ignore-not-found", "--output=json"]
        text = self.run("get", kind, name, *_in(namespace), *options)
        return dict(json.loads(text)) if text.strip() else {}

    def list_json(self, kind: str, *, namespace: str | None = None) -> list[dict[str, Any]]:
        """Return the objects of a kind in a namespace."""
        text = self.run("get", kind, *_in(namespace), "--output=json")
        return list(json.loads(text)["items"])

    def table(self, *args: str, namespace: str | None = None) -> str:
        """Return what `kubectl get` prints: `table("bconn", "-o", "wide")`."""
        return self.run("get", *args, *_in(namespace))

    def events(self, *, namespace: str, of: str = "") -> list[dict[str, Any]]:
        """Return the events in a namespace, oldest first; `of` names the object they regard."""
        options = ["--sort-by=.metadata.creationTimestamp", "--output=json"]
        if of:
            options.append(f"--field-selector=involvedObject.name={of}")
        text = self.run("get", "events", *_in(namespace), *options)
        return list(json.loads(text)["items"])

    def wait(
        self,
        kind: str,
        name: str,
        condition: str,
        *,
        namespace: str | None = None,
        timeout: float = PATIENCE,
    ) -> None:
        """Wait as `kubectl wait --for=…` does: `condition=Ready`, `jsonpath=…`, `delete`."""
        options = [f"--for={condition}", f"--timeout={timeout:g}s"]
        self.run("wait", f"{kind}/{name}", *_in(namespace), *options, timeout=timeout + 30)

    async def until(
        self,
        kind: str,
        name: str,
        predicate: Callable[[dict[str, Any]], object],
        *,
        namespace: str | None = None,
        timeout: float = PATIENCE,
        what: str = "",
    ) -> dict[str, Any]:
        """Wait until an object, or the empty dictionary for none, is as wanted, and return it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            found = await asyncio.to_thread(self.get_json, kind, name, namespace=namespace)
            if predicate(found):
                return found
            if loop.time() > deadline:
                shown = yaml.safe_dump(found.get("status", found), sort_keys=False)
                raise AssertionError(f"{kind} {name}: not within {timeout:g} s: {what}\n{shown}")
            await asyncio.sleep(_POLL_SECONDS)


def _in(namespace: str | None) -> list[str]:
    return [] if namespace is None else [f"--namespace={namespace}"]


def rows(table: str) -> list[dict[str, str]]:
    """Read what `kubectl get` prints: for each row its cells by the names of their columns."""
    header, *lines = table.splitlines()
    columns = [(match[0].strip(), *match.span()) for match in re.finditer(r"\S+( \S+)*\s*", header)]
    [*inner, (last, begin, _)] = columns
    return [
        {name: line[start:end].strip() for name, start, end in inner} | {last: line[begin:].strip()}
        for line in lines
    ]
