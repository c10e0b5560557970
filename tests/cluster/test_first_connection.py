"""The page for newcomers, command by command as it is written."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from support import tools
from support.identities import Tenant
from support.kubectl import Kubectl
from support.markdown import Page
from support.shared_broker import SharedBroker

PAGE = Path(__file__).parents[2] / "docs" / "first-connection.md"


@pytest.mark.kind
@pytest.mark.usefixtures("springline")
async def test_every_command_of_the_page_does_what_it_says(
    kubectl: Kubectl, rabbit: SharedBroker, tenant: Tenant, tmp_path: Path
) -> None:
    """From nothing to a Ready connection, a mistake, a correction, and nothing left.

    The reader puts in a broker, a virtual host and a user; the namespace is this test's own.
    """
    page = Page(PAGE)
    namespace = f"page-{os.getpid()}"
    files = [block.text for block in page.blocks if block.language == "yaml"]
    assert len(files) == 2
    for text in files:
        name = text.splitlines()[0].removeprefix("# ")
        filled = text.replace("host: rabbit.example.com", f"host: {rabbit.host}")
        filled = filled.replace("port: 5672", f"port: {rabbit.port}")
        filled = filled.replace("virtualHost: /", f"virtualHost: {tenant.vhost}")
        (tmp_path / name).write_text(filled, encoding="utf-8")
    assert len(page.commands) > 15
    for command in page.commands:
        assert command.startswith("kubectl ")
        filled = command.replace("-n orders", f"-n {namespace}")
        filled = filled.replace("namespace orders", f"namespace {namespace}")
        filled = filled.replace("username=orders", f"username={tenant.username}")
        filled = filled.replace("change-me", tenant.secret)
        done = await asyncio.to_thread(_run, filled, kubectl, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert kubectl.get_json("namespace", namespace) == {}
    assert kubectl.list_json("brokerconnections", namespace=namespace) == []


def _run(command: str, kubectl: Kubectl, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run it as a reader's shell does."""
    path = os.pathsep.join([str(tools.kubectl().parent), os.environ.get("PATH", os.defpath)])
    return subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        env={"PATH": path, "HOME": str(directory), "KUBECONFIG": str(kubectl.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
