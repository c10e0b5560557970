"""Part A: `springline run` on files, with a real broker."""

import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from chaos import amqp10
from chaos.links import Links, linking_both
from chaos.threads import to_its_end
from chaos.world import Bindings, Statuses, Violation, World, watched
from support.rabbitmq import RabbitMQNode
from support.springline_process import Springline
from support.token_broker import taking_tokens

__all__ = ["StandaloneWorld", "entered"]

_SUBJECT = Path(__file__).with_name("subject.py")
_ENDED_SECONDS = 60.0
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class StandaloneWorld(World):
    """Springline on a directory of manifests, one file for each object."""

    bound = 60.0

    def __init__(self, directory: Path, node: RabbitMQNode, links: Links, *, bug: str = "") -> None:
        super().__init__(directory, node, links, namespace="default", bug=bug)
        self.files = Springline(directory)
        self._bindings = directory / "bindings"
        self._is_started = False

    # --- the process

    @property
    def output(self) -> str:
        return self.files.output

    @property
    def pid(self) -> int:
        process = self.files._process
        assert process is not None
        return process.pid

    @property
    def is_running(self) -> bool:
        process = self.files._process
        return process is not None and process.poll() is None

    async def launch(self) -> None:
        if self.is_running:
            self.files.signal(signal.SIGCONT)
            return
        if self._is_started:
            raise Violation(f"Springline has ended by itself\n{self.output[-3000:]}")
        self._is_started = True
        await to_its_end(
            self.files.start,
            *("--binding-dir", str(self._bindings)),
            program=[sys.executable, _SUBJECT, "run"],
            more_environment=self.program_environment,
        )

    async def end(self, *, orderly: bool) -> None:
        if not self.is_running:
            self._is_started = False
            return
        process = self.files._process
        assert process is not None
        self.files.signal(signal.SIGCONT)
        self.files.signal(signal.SIGTERM if orderly else signal.SIGKILL)
        code = await to_its_end(process.wait, _ENDED_SECONDS)
        self._is_started = False
        if orderly and code != 0:
            raise Violation(f"it was asked to end, and ended with {code}")

    async def freeze(self) -> None:
        self.files.signal(signal.SIGSTOP)

    # --- what is declared

    def path(self, document: Mapping[str, Any]) -> Path:
        """Return where an object is declared."""
        return self.files.manifests / f"{document['kind']}-{document['metadata']['name']}.yaml"

    async def put(self, document: Mapping[str, Any]) -> None:
        path, text = self.path(document), yaml.safe_dump(dict(document))
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            self.files.write(path.name, dict(document))

    async def remove(self, document: Mapping[str, Any]) -> None:
        self.path(document).unlink(missing_ok=True)

    async def put_all(self) -> None:
        documents = list(self.declared.documents())
        for document in documents:
            await self.put(document)
        wanted = {self.path(each) for each in documents}
        for path in self.files.manifests.iterdir():
            if path not in wanted:
                path.unlink()

    async def statuses(self) -> Statuses:
        found = {}
        for path in self.files.status_dir.glob("BrokerConnection.*.yaml"):
            with contextlib.suppress(FileNotFoundError):
                document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
                found[document["metadata"]["name"]] = document["status"]
        return found

    async def odd_statuses(self, statuses: Statuses) -> list[str]:  # noqa: ARG002 - nothing more
        return []

    async def binding_password(self, name: str) -> str | None:
        path = self._bindings / "default" / name / "password"
        with contextlib.suppress(OSError):
            return path.read_text(encoding="utf-8")
        return None

    async def bindings(self) -> Bindings:
        found: dict[str, list[str]] = {}
        for path in self._bindings.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # one that is taken away just now
                if path.is_file() and not path.is_symlink():
                    name = path.relative_to(self._bindings / "default").parts[0]
                    found.setdefault(name, []).append(path.read_text(encoding="utf-8"))
        return found

    async def shown_texts(self) -> Mapping[str, str]:
        return await to_its_end(self._texts)

    def _texts(self) -> dict[str, str]:
        found = {}
        for path in self.directory.rglob("*"):
            if path.is_file() and not self._is_apart(path):
                with contextlib.suppress(FileNotFoundError):  # one that was to be renamed
                    found[str(path)] = path.read_text(encoding="utf-8", errors="replace")
        return found

    def _is_apart(self, path: Path) -> bool:
        """Whether secrets belong there, or it is searched elsewhere, or is not Springline's."""
        places = [self.files.manifests, self._bindings, self.node.directory]
        return path.name == "output.log" or any(each in path.parents for each in places)


@contextlib.asynccontextmanager
async def entered(directory: Path, *, bug: str = "") -> AsyncIterator[StandaloneWorld]:
    """Start everything; at the end all of it is stopped. Raises `RabbitMQMissing`."""
    node = taking_tokens(directory / "rabbitmq", management=True, plugins=[amqp10.PLUGIN])
    try:
        await to_its_end(node.start)
        async with linking_both(node.amqp_port, node.http_port) as links:
            world = StandaloneWorld(directory, node, links, bug=bug)
            async with watched(world):
                yield world
    finally:
        node.resume()
        await to_its_end(node.close)
