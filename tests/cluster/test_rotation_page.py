"""The page on rotating a password, command by command as it is written."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from support import tools
from support.kubectl import Kubectl
from support.markdown import Page
from support.team import Team, condition

PAGE = Page(Path(__file__).parents[2] / "docs" / "rotation.md")
NEW = "the-new-one"


def section(heading: str) -> list[str]:
    """The commands below a heading of the page."""
    text = PAGE.text[PAGE.text.index(f"## {heading}\n") :]
    end = text.find("\n## ", 1)
    part = text if end < 0 else text[:end]
    return [command for command in PAGE.commands if command.split("\n")[0] in part]


async def test_a_password_is_rotated_step_by_step_as_the_page_has_it(
    team: Team, kubectl: Kubectl, tmp_path: Path
) -> None:
    """Rehearsed in vain, changed at the broker, rehearsed with success, changed in the Secret."""
    await team.declare("orders")
    await team.until_ready("orders")
    before = await team.held()
    write_manifests(team, tmp_path)
    commands = section("Rotating a password without downtime")
    assert [command.split()[0] for command in commands] == [
        "springline",
        "rabbitmqctl",
        "kubectl",
        "kubectl",
        "kubectl",
    ]
    rehearse, _, change, wait, show = commands

    async def run(command: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(_run, command, team, kubectl, tmp_path)

    refused = await run(rehearse)
    assert (refused.returncode, refused.stderr) == (1, "")
    assert "Refused" in refused.stdout
    await asyncio.to_thread(team.rabbit.administration.change_password, team.tenant.username, NEW)
    accepted = await run(rehearse)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert "would be renewed in place" in accepted.stdout
    for command in (change, wait):
        done = await run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    await team.until(
        "orders", lambda status: status["credentials"]["method"] == "InPlace", "it is renewed"
    )
    shown = json.loads((await run(show)).stdout)
    assert shown["username"] == team.tenant.username
    assert await team.held() == before


async def test_a_renewal_is_asked_for_as_the_page_has_it(
    team: Team, kubectl: Kubectl, tmp_path: Path
) -> None:
    await team.declare("orders")
    await team.until_ready("orders")
    [command] = section("Renewing now")
    done = await asyncio.to_thread(_run, command, team, kubectl, tmp_path)
    assert done.returncode == 0, done.stderr
    status = await team.until(
        "orders",
        lambda status: status.get("lastHandled", {}).get("renewRequestedAt"),
        "the request is acted on",
    )
    assert condition(status, "Ready") == ("True", "Connected")


def write_manifests(team: Team, directory: Path) -> None:
    """Write what the reader has: the declarations, and the Secret as it is to be."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "orders-amqp"},
        "stringData": {"username": team.tenant.username, "password": team.tenant.secret},
    }
    declared = [team.rabbit.document(), team.connection("orders"), secret]
    (directory / "orders.yaml").write_text(yaml.safe_dump_all(declared), encoding="utf-8")
    secret["stringData"] = {"username": team.tenant.username, "password": NEW}
    (directory / "new-secret.yaml").write_text(yaml.safe_dump(secret), encoding="utf-8")


def _run(
    command: str, team: Team, kubectl: Kubectl, directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run it as a reader's shell does, in the team's namespace."""
    filled = command.replace("-n orders", f"-n {team.namespace}")
    found = [str(Path(sys.executable).parent), str(tools.kubectl().parent)]
    path = os.pathsep.join([*found, os.environ.get("PATH", os.defpath)])
    return subprocess.run(
        ["sh", "-c", filled],
        cwd=directory,
        env={"PATH": path, "HOME": str(directory), "KUBECONFIG": str(kubectl.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
