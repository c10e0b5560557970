"""What is in the image: what Springline needs, nothing else, and the same whenever it is built."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from springline import __version__
from support.images import BASE, Images

ROOT = Path(__file__).resolve().parents[2]

_MEGABYTE = 1_000_000

_IMPORT_ALL = """
import importlib, pkgutil, springline
for found in pkgutil.walk_packages(springline.__path__, "springline."):
    if not found.name.endswith(".__main__"):
        importlib.import_module(found.name)
"""


def test_it_is_small(builder: Images, image: str) -> None:
    """It adds no more than 100 MB to its base."""
    added = builder.inspected(image)["Size"] - builder.inspected(BASE)["Size"]
    assert added <= 100 * _MEGABYTE


def test_two_builds_are_equal(builder: Images, image: str, environment: dict[str, str]) -> None:
    """The same source gives the same layers and the same configuration, byte by byte."""
    builder.build("springline:again", environment=environment)
    first, second = builder.inspected(image), builder.inspected("springline:again")
    assert first["RootFS"]["Layers"] == second["RootFS"]["Layers"]
    assert first["Id"] == second["Id"]


def test_labels_say_what_it_is(builder: Images, image: str, environment: dict[str, str]) -> None:
    """The annotations that the OCI defines, with the date of the source and not of the build."""
    labels = builder.inspected(image)["Labels"]
    told = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in labels.items()
        if name.startswith("org.opencontainers.image.")
    }
    date = datetime.fromtimestamp(int(environment["SOURCE_DATE_EPOCH"]), tz=UTC)
    assert re.fullmatch(r"[0-9a-f]{40}", told.pop("revision"))
    assert told == {
        "title": "Springline",
        "description": "A Kubernetes operator that keeps broker client connections",
        "licenses": "Apache-2.0",
        "version": __version__,
        "created": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source": "https://example.org/springline",
        "url": "https://example.org/springline",
    }


def test_everything_can_be_imported_and_nothing_has_to_be_compiled(
    builder: Images, image: str
) -> None:
    """Each module of Springline finds what it imports, and all come from compiled files.

    What is compiled at the start is compiled at each start, because nothing can be written.
    """
    done = builder.run(image, "-v", "-c", _IMPORT_ALL, entrypoint="python")
    assert done.returncode == 0, done.stderr[-5000:]
    sources = re.findall(r"^# code object from '?([^'\n]+)", done.stderr, re.MULTILINE)
    assert len(sources) > 500
    assert [source for source in sources if not source.endswith(".pyc")] == []


def test_only_our_commands_are_there(builder: Images, image: str) -> None:
    """Libraries bring commands that nobody expects in it."""
    done = builder.run(image, "/opt/springline/bin", entrypoint="ls")
    assert {name for name in done.stdout.split() if not name.startswith("python")} == {
        "springline",
        "kubectl-springline",
        "kubectl_complete-springline",
    }


def test_nothing_of_the_build_is_left(builder: Images, image: str) -> None:
    """No source of the wheel, no pip of ours, and none of the host's configuration."""
    configuration = builder.inspected(image)["Config"]
    assert not {name for name in configuration["Env"] if name.startswith("PIP_")}
    built = ("/source", "/wheel", "/wheels", "/opt/pip", "/etc/pip.conf")
    done = builder.run(image, *built, entrypoint="ls")
    assert done.stdout == ""
    compilers = builder.run(image, "-c", "command -v cc gcc c99 ld as", entrypoint="sh")
    assert compilers.stdout == ""
    history = json.dumps(builder.inspected(image)["History"])
    assert "hatchling" not in history


def test_the_library_for_amqp_10_works(builder: Images, image: str) -> None:
    """It was compiled elsewhere. TLS and logins are not its own, so it is linked with neither."""
    code = (
        "from springline.drivers.amqp10 import library; proton = library.load();"
        " transport = proton.Transport(); transport.bind(proton.Connection());"
        " print(bytes(transport.peek(4)), proton.SASL.extended(), proton.SSL.present())"
    )
    done = builder.run(image, "-c", code, entrypoint="python")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["b'AMQP'", "False", "False"]


def test_the_library_for_amqp_10_finds_what_it_is_linked_with(builder: Images, image: str) -> None:
    """Nothing but the C library, which the base has."""
    find = "ldd /opt/springline/lib/python3.*/site-packages/cproton_ffi*.so"
    done = builder.run(image, "-c", find, entrypoint="sh")
    assert done.returncode == 0, done.stderr
    linked = {line.split()[0].partition(".so")[0] for line in done.stdout.splitlines()}
    assert "libc" in linked
    assert {name.rpartition("/")[2] for name in linked} <= {
        *("linux-vdso", "libc", "libpthread", "ld-linux-x86-64", "ld-linux-aarch64")
    }
