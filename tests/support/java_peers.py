"""The brokers of the tests that run on Java: where they are found, and how they are got.

`python -m support.java_peers` gets them with the machine's Maven, as `java-peers.artifacts` pins
them, into a cache outside the repository. Maven's own cache and settings stay as they are. What
cannot be had is said in a line, and makes the tests with it skip. It starts no broker.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from support.apiserver import cache
from support.missing import PeerMissing

__all__ = ["PEERS", "Artifact", "JavaPeer", "find", "install", "java", "main", "pinned"]

PEERS = {"artemis": "Artemis", "broker-j": "Qpid Broker-J"}
"""What they are called in the file of pins, and by people."""

_PINS = Path(__file__).with_name("java-peers.artifacts")
# Of Maven's; it has the goal `copy`.
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
# Those that the brokers are built for. The younger one says which.
_OLDEST_JAVA = 17
_MAVEN_SECONDS = 600.0
_SHOWN_LINES = 5

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.springline</groupId>
  <artifactId>java-peers</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <build><plugins><plugin>
    <groupId>{plugin[0]}</groupId>
    <artifactId>{plugin[1]}</artifactId>
    <version>{plugin[2]}</version>
    <configuration><artifactItems>{items}</artifactItems></configuration>
  </plugin></plugins></build>
</project>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file, as Maven names it."""

    group: str
    artifact: str
    version: str
    packaging: str = "jar"
    classifier: str = ""
    sha256: str

    @classmethod
    def parse(cls, coordinates: str, sha256: str) -> "Artifact":
        """Read `group:artifact:version[:packaging[:classifier]]`."""
        group, artifact, version, *more = coordinates.split(":")
        packaging, classifier = (*more, *("jar", "")[len(more) :])
        return cls(
            group=group,
            artifact=artifact,
            version=version,
            packaging=packaging,
            classifier=classifier,
            sha256=sha256,
        )

    @property
    def file_name(self) -> str:
        """What Maven calls a copy of it."""
        parts = [self.artifact, self.version, *filter(None, [self.classifier])]
        return f"{'-'.join(parts)}.{self.packaging}"

    @property
    def item(self) -> str:
        """It, in Maven's project."""
        fields = {
            "groupId": self.group,
            "artifactId": self.artifact,
            "version": self.version,
            "type": self.packaging,
            "classifier": self.classifier,
        }
        inside = "".join(f"<{key}>{escape(text)}</{key}>" for key, text in fields.items() if text)
        return f"<artifactItem>{inside}</artifactItem>"


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaPeer:
    """A broker in the cache."""

    version: str
    # Holds its jars; of an archive, those of its directory `lib`.
    jars: Path


def pinned(name: str) -> tuple[Artifact, ...]:
    """Return what a peer is made of; the first one says its version."""
    lines = re.findall(rf"^{name} (\S+) (\S+)$", _PINS.read_text("utf-8"), re.MULTILINE)
    assert lines, f"{_PINS.name} names no {name}"
    return tuple(Artifact.parse(*line) for line in lines)


def java() -> Path:
    """Return Java: the one of JAVA_HOME, or the one in PATH. Raises `PeerMissing`."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home, "bin")) if home else None)
    if found is None:
        raise PeerMissing(f"there is no Java here; install {_OLDEST_JAVA} or later.")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < _OLDEST_JAVA:
        told = (said.splitlines() or ["Java that says no version"])[0]
        raise PeerMissing(f"it needs Java {_OLDEST_JAVA} or later, and this one is {told}.")
    return Path(found)


def find(name: str) -> JavaPeer:
    """Return a peer of the cache. Raises `PeerMissing`, with what `install` said."""
    version = pinned(name)[0].version
    root = _root(name)
    if not root.is_dir():
        why = root.with_name(f"{root.name}.missing")
        said = why.read_text("utf-8").strip() if why.is_file() else "run `make amqp10-peers`"
        raise PeerMissing(f"{PEERS[name]} {version} is missing: {said}")
    return JavaPeer(version=version, jars=root)


# Getting them


def install(name: str, maven_cache: Path) -> None:
    """Get a peer, unless it is there. Safe to run beside itself. Raises `PeerMissing`."""
    root = _root(name)
    root.parent.mkdir(parents=True, exist_ok=True)
    # Two at once would get it twice. The lock ends with this process, however it ends.
    with root.with_name(f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if root.is_dir():
            return
        artifacts = pinned(name)
        java()
        _say(f"Getting {PEERS[name]} {artifacts[0].version} with Maven (once)…")
        with _making(root) as making:
            _copy(artifacts, making, maven_cache)
            _check(artifacts, making)
            for each in artifacts:
                if each.packaging == "zip":
                    _take_jars_of(making / each.file_name)
            making.rename(root)
        root.with_name(f"{root.name}.missing").unlink(missing_ok=True)


def _root(name: str) -> Path:
    return cache(f"{name}-{pinned(name)[0].version}")


@contextlib.contextmanager
def _making(root: Path) -> Iterator[Path]:
    making = root.with_name(f"{root.name}.making")
    shutil.rmtree(making, ignore_errors=True)  # of a run that was killed
    making.mkdir()
    try:
        yield making
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _copy(artifacts: tuple[Artifact, ...], into: Path, maven_cache: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise PeerMissing("it is got with Maven, and there is no mvn here.")
    with tempfile.TemporaryDirectory(prefix="springline-maven-") as project:
        pom = Path(project, "pom.xml")
        items = "".join(each.item for each in artifacts)
        pom.write_text(_POM.format(plugin=_PLUGIN.split(":"), items=items), encoding="utf-8")
        log = Path(project, "log")
        try:
            with log.open("wb") as output:
                done = subprocess.run(
                    [
                        *(maven, "--batch-mode", "--no-transfer-progress", "--file", pom),
                        f"-Dmaven.repo.local={maven_cache}",
                        f"-DoutputDirectory={into}",
                        f"{_PLUGIN}:copy",
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=_MAVEN_SECONDS,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            raise PeerMissing(f"Maven did not end within {_MAVEN_SECONDS:g} s.") from None
        if done.returncode != 0:
            lines = log.read_text("utf-8", errors="replace").splitlines()
            errors = [line for line in lines if line.startswith("[ERROR]")] or lines[-_SHOWN_LINES:]
            print("\n".join(errors[:_SHOWN_LINES]), file=sys.stderr, flush=True)
            raise PeerMissing("Maven could not get it; its words are above.")


def _check(artifacts: tuple[Artifact, ...], directory: Path) -> None:
    for each in artifacts:
        path = directory / each.file_name
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
        if digest != each.sha256:
            print(f"{each.file_name} is pinned as {each.sha256}, and is {digest}", file=sys.stderr)
            raise PeerMissing(f"{each.file_name} is not what is pinned.")


def _take_jars_of(archive: Path) -> None:
    """Put the jars of an archive's directory `lib` in its place."""
    with zipfile.ZipFile(archive) as file:
        for each in file.infolist():
            path = Path(each.filename)
            if path.parent.name == "lib" and path.suffix == ".jar":
                with file.open(each) as source, (archive.parent / path.name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    archive.unlink()


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Get what is not there; what cannot be had is said, and is no failure."""
    with tempfile.TemporaryDirectory(prefix="springline-maven-") as maven_cache:
        for name, title in PEERS.items():
            version = pinned(name)[0].version
            try:
                install(name, Path(maven_cache))
            except PeerMissing as error:
                why, root = str(error), _root(name)
                root.with_name(f"{root.name}.missing").write_text(why, encoding="utf-8")
                _say(f"The tests with {title} {version} will not run: {why}")
            except OSError as error:
                _say(f"The tests with {title} {version} will not run: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
