"""What a command loads: only what it needs, because a person waits for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from springline import protocols
from springline.api import negotiated
from springline.api.status import NegotiatedStatus

CLUSTER = ("aiohttp", "kubernetes", "kopf", "asyncio", "yaml", "ssl")
MODELS = ("pydantic", "springline.api.broker", "springline.core.session", "springline.core.manager")
TERMINALS = ("rich.console", "rich.table", "rich.live")
DRIVERS = ("aiormq", "pamqp", "h2", "dns", "proton", "prometheus_client", "watchfiles", "oauthlib")

PROBE = """
import atexit, json, sys
def tell():
    found = [name for name in json.loads({names!r}) if name in sys.modules]
    sys.stderr.write("\\n" + json.dumps(found))
atexit.register(tell)
from springline.{module} import {function}
{function}()
"""
PLUGIN = ("entry", "kubectl_springline")
COMPLETION = ("plugin.completion", "main")


def loaded(
    tmp_path: Path, entry: tuple[str, str], *args: str, names: tuple[str, ...], **environment: str
) -> list[str]:
    """Run a command in a fresh process, and return which of the modules it has loaded at its end.

    There is no cluster, so what needs one gets as far as to find that out.
    """
    module, function = entry
    code = PROBE.format(module=module, function=function, names=json.dumps(names))
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": os.defpath,
            "HOME": str(tmp_path),
            "KUBECONFIG": str(tmp_path / "none"),
            **environment,
        },
    )
    assert "Traceback" not in done.stderr, done.stderr
    found: list[str] = json.loads(done.stderr.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("entry", "args"),
    [
        (PLUGIN, ["--help"]),
        (PLUGIN, ["-h"]),
        (PLUGIN, ["--version"]),
        (PLUGIN, ["status", "--help"]),
        (PLUGIN, ["report", "-h"]),
        (PLUGIN, ["explain"]),
        (PLUGIN, ["explain", "VirtualHostNotFound", "Blocked"]),
        (PLUGIN, ["explain", "Rejectd"]),
        (PLUGIN, ["completion", "bash"]),
        (COMPLETION, ["re"]),
        (COMPLETION, ["explain", "tls"]),
        (COMPLETION, ["status", "--"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value[1],
)
def test_what_needs_no_cluster_loads_no_library_of_one(
    tmp_path: Path, entry: tuple[str, str], args: list[str]
) -> None:
    names = (*CLUSTER, *MODELS, *TERMINALS, *DRIVERS)
    assert loaded(tmp_path, entry, *args, names=names) == []


@pytest.mark.parametrize(
    "args",
    [
        ["status"],
        ["status", "orders", "-o", "json"],
        ["status", "orders"],
        ["reconnect", "orders", "--wait"],
        ["suspend", "--all"],
        ["report"],
    ],
    ids=" ".join,
)
def test_what_asks_the_cluster_loads_no_driver_and_no_model(
    tmp_path: Path, args: list[str]
) -> None:
    names = ("kopf", *MODELS[1:], *TERMINALS, *DRIVERS)
    assert loaded(tmp_path, PLUGIN, *args, names=names) == []


def test_shell_that_completes_a_word_loads_no_library(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        PLUGIN,
        names=(*CLUSTER, *MODELS, *TERMINALS, *DRIVERS),
        _KUBECTL_SPRINGLINE_COMPLETE="bash_complete",
        COMP_WORDS="kubectl-springline re",
        COMP_CWORD="1",
    )
    assert found == []


def test_what_was_negotiated_is_told_in_the_order_of_the_model() -> None:
    """The order is written down once more, so that nobody loads a model to print a line."""
    fields = [field.alias or name for name, field in NegotiatedStatus.model_fields.items()]
    blocks = [each for each in protocols.PROTOCOLS if each in fields]
    assert [*negotiated.FIELDS, *blocks] == fields
