"""Which RabbitMQ the tests can run on: the one that is installed, and newer ones beside it.

`python -m support.brokers` says which of them are here, in which version, and what is missing and
why. `install-rabbitmq.sh` and `install-newer-rabbitmq.sh` get them; `suites` runs tests on the
installed one and on the newest, each in the environment that `Broker.environment` gives. The one
between them, the first with AMQP 1.0 of its own, is for the tests of that alone. It starts nothing.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.apiserver import cache
from support.rabbitmq import MISSING, RabbitMQMissing, find_server

__all__ = ["NATIVE", "NEWER", "Broker", "installed", "main", "native", "newer"]

NEWER = "newer-rabbitmq.packages"
"""Where the newest is pinned."""

NATIVE = "native-rabbitmq.packages"
"""Where the first that speaks AMQP 1.0 without a plugin is pinned."""

# Debian's, and so that of the packages of both.
_ERLANG = Path("/usr/lib/erlang")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A RabbitMQ to start nodes of."""

    # As the package has it, such as 4.3.6; empty where that is not known.
    version: str
    # Which Erlang/OTP runs it; empty where that is not known.
    erlang: str = ""
    environment: Mapping[str, str]
    """What tests need in their environment to run on this one, or to say why they cannot."""
    missing: str = ""
    """Why it is not here."""

    def __str__(self) -> str:
        """Say which one it is, or why it is not here, in one line."""
        name = f"RabbitMQ {self.version}".strip()
        if self.missing:
            return f"{name} is missing: {self.missing}"
        return f"{name} on Erlang/OTP {self.erlang}" if self.erlang else name


def installed() -> Broker:
    """Return the one that is installed, or that SPRINGLINE_RABBITMQ_HOME names."""
    server = find_server()
    if server is None:
        return Broker(version="", environment={}, missing=str(RabbitMQMissing()))
    home = server.parents[1]
    erlang = "" if "SPRINGLINE_RABBITMQ_HOME" in os.environ else _release(_ERLANG)
    return Broker(version=_version(home), erlang=erlang, environment={})


def newer() -> Broker:
    """Return the newest one, in the version that is pinned."""
    return _pinned(NEWER, "brokers")


def native() -> Broker:
    """Return the first one with AMQP 1.0 of its own, in the version that is pinned."""
    return _pinned(NATIVE, "amqp10-peers")


def pinned_version(pins: str) -> str:
    """Return the version of RabbitMQ in a file of pins, without Debian's part."""
    text = Path(__file__).with_name(pins).read_text("utf-8")
    found = re.search(r"^rabbitmq-server (\S+)-\S+ ", text, re.MULTILINE)
    assert found is not None, f"{pins} names no rabbitmq-server"
    return found[1]


def _pinned(pins: str, target: str) -> Broker:
    version = pinned_version(pins)
    root = cache(f"rabbitmq-{version}")
    if not (root / "complete").is_file():
        why = root.with_name(f"{root.name}.missing")
        missing = why.read_text("utf-8").strip() if why.is_file() else f"run `make {target}`"
        told = f"RabbitMQ {version} is missing: {missing}"
        return Broker(version=version, environment={MISSING: told}, missing=missing)
    erlang = root.joinpath(*_ERLANG.parts[1:])
    return Broker(
        version=version,
        erlang=_release(erlang),
        environment={
            "SPRINGLINE_RABBITMQ_HOME": str(
                root / "usr" / "lib" / "rabbitmq" / "lib" / f"rabbitmq_server-{version}"
            ),
            "PATH": os.pathsep.join([str(erlang / "bin"), os.environ.get("PATH", os.defpath)]),
        },
    )


def _version(home: Path) -> str:
    """Return the version of a server's directory, as its name or that of its core has it."""
    plugins = (path.name for path in sorted(home.glob("plugins/rabbit-*")))
    for name in (home.name, *plugins):
        if found := re.search(r"-(\d+(?:\.\d+)+)", name):
            return found[1]
    return ""


def _release(erlang: Path) -> str:
    """Return the version of an Erlang/OTP."""
    files = sorted(erlang.glob("releases/*/OTP_VERSION"))
    return files[-1].read_text(encoding="utf-8").strip().rstrip("*") if files else ""


def main() -> int:
    """Say which are here and which are missing."""
    print("The tests of the broker run on:")
    for each in (installed(), newer()):
        print(f"  {each}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
