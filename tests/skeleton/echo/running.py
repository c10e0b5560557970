"""Echo as users have it: declared in files, held by `springline run`, seen by `check`, measured.

It is no module of tests where it stands: `contract/test_a_further_protocol.py` puts it beside the
contract suite of a copy that has Echo.
"""

import asyncio
import subprocess
from pathlib import Path

import yaml

from springline.app import Standalone
from springline.clock import SystemClock
from springline.core.desired import SessionSpec
from springline.core.state import Failure
from springline.metrics import Collector, Metrics
from springline.reasons import Reason
from springline.standalone import loader
from support import leaks
from support.fakes import RecordingEvents
from support.harnesses import echo
from support.springline_process import command, environment, running
from support.waiting import eventually


async def test_a_connection_becomes_ready_and_is_replaced_by_one_with_a_new_secret(
    tmp_path: Path,
) -> None:
    async with leaks.checked(), echo.serving() as hub, running(tmp_path, echo.SECRET) as springline:
        springline.write("all.yaml", *echo.declared(hub.port))
        status = await springline.until("Ready", "True")
        assert status["negotiated"] == {"mechanism": "CHANT", "heartbeat": "60s", "frameMax": 8192}
        assert status["server"]["product"] == "Echo"
        assert springline.condition("Blocked") == ("False", "NotBlocked")
        assert [each["hub"] for each in hub.entered] == ["orders"]
        documents = echo.declared(hub.port)
        documents[1]["stringData"]["password"] = f"{echo.SECRET}-2"
        springline.write("all.yaml", *documents)
        await springline.eventually(
            lambda: springline.status()["credentials"]["method"] == "Replaced", "it is replaced"
        )
        hub.block("low on memory")
        await springline.until("Blocked", "True", "LowOnMemory")
        springline.remove("all.yaml")
        await eventually(lambda: hub.said_goodbye)


async def test_check_says_that_it_is_ready_and_what_it_is_for(tmp_path: Path) -> None:
    async with echo.serving() as hub:
        (tmp_path / "all.yaml").write_text(
            yaml.safe_dump_all(echo.declared(hub.port)), encoding="utf-8"
        )
        done = await asyncio.to_thread(
            subprocess.run,
            command("check", "-f", tmp_path),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    head, row = (line.split() for line in done.stdout.splitlines()[:2])
    cells = dict(zip(head, row, strict=False))
    assert (cells["READY"], cells["VHOST"], cells["STATE"]) == ("True", "orders", "Connected")


def test_what_it_has_no_use_for_is_refused_with_a_sentence() -> None:
    """Before anybody is asked, and whatever stands in the schema."""
    found = echo.resolved(port=7, channelMax=7)
    assert isinstance(found, Failure)
    assert found.reason is Reason.INVALID_SPEC
    assert found.message == "spec.channelMax: Echo has no use for it; leave it out"
    assert isinstance(echo.resolved(port=7, channelMax=2047), SessionSpec)


async def test_metrics_carry_its_name(tmp_path: Path) -> None:
    async with echo.serving() as hub:
        (tmp_path / "all.yaml").write_text(
            yaml.safe_dump_all(echo.declared(hub.port)), encoding="utf-8"
        )
        parts = Standalone(RecordingEvents())
        metrics = Collector(Metrics(SystemClock()), parts.manager.views, per_object=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(parts.manager.run())
            parts.apply(loader.load([tmp_path / "all.yaml"]))
            await eventually(lambda: any(each.view.is_ready for each in parts.manager.sessions()))
            text = metrics.render()[0].decode()
            parts.manager.stop()
    assert 'springline_sessions{protocol="echo",state="Connected"} 1.0' in text
    assert 'protocol="echo",endpoint=' in text
