"""A server of the tests that runs on Java, with a bound on its memory."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from support import java_peers
from support.servers import Server

__all__ = ["JavaServer"]


class JavaServer(Server):
    """One Java virtual machine with the jars of a peer; `name` is what the file of pins has."""

    # What the heap may grow to; what is beside it is some 100 MB.
    memory: ClassVar[str] = "256m"

    def __init__(self, directory: Path, *, port_count: int) -> None:
        """Choose ports and make the directory; nothing runs yet. Raises `PeerMissing`."""
        self._peer = java_peers.find(self.name)
        self._java = java_peers.java()
        super().__init__(directory, port_count=port_count)
        (self.directory / "tmp").mkdir(exist_ok=True)

    @property
    def version(self) -> str:
        """Which one it is."""
        return self._peer.version

    @abstractmethod
    def _main(self) -> Sequence[str | Path]:
        """Return the main class, with its arguments."""

    @abstractmethod
    def _properties(self) -> Mapping[str, str | Path]:
        """Return Java's system properties."""

    def _class_path(self) -> Sequence[str | Path]:
        return [self._peer.jars / "*"]

    def _command(self) -> Sequence[str | Path]:
        return [
            self._java,
            f"-Xmx{self.memory}",
            f"-XX:MaxDirectMemorySize={self.memory}",
            # Servers share the cores with the tests, and live for minutes.
            *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:ActiveProcessorCount=2"),
            *("-XX:-UsePerfData", "-Djava.net.preferIPv4Stack=true"),
            f"-Djava.io.tmpdir={self.directory / 'tmp'}",
            *(f"-D{key}={value}" for key, value in self._properties().items()),
            *("-cp", ":".join(map(str, self._class_path()))),
            *self._main(),
        ]

    def _environment(self) -> Mapping[str, str]:
        return {"LANG": "C.UTF-8"}
