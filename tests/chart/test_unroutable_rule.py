"""The documented rule for unroutable messages, judged by promtool: probes do not make it fire."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.markdown import Page
from support.prometheus import PrometheusMissing, promtool

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
ALERT = "UnroutableMessages"
IDENTITY = 'rabbitmq_identity_info{instance="r0", rabbitmq_cluster="rabbit"}'
DROPPED = 'rabbitmq_channel_messages_unroutable_dropped_total{instance="r0", namespace="messaging"}'
RETURNED = (
    'rabbitmq_channel_messages_unroutable_returned_total{instance="r0", namespace="messaging"}'
)
SESSIONS = 'springline_sessions{state="Connected", protocol="amqp091"}'


@pytest.fixture(scope="module")
def rules() -> dict[str, Any]:
    """The rule as somebody copies it from the page."""
    [block] = [block for block in Page(OPERATIONS).blocks if f"alert: {ALERT}" in block.text]
    rules: dict[str, Any] = yaml.safe_load(block.text)
    return rules


@pytest.fixture(scope="module")
def tool() -> Path:
    try:
        return promtool()
    except PrometheusMissing as error:
        pytest.skip(f"the rule was not tried: {error}")


def said(tool: Path, directory: Path, *args: str) -> str:
    done = subprocess.run([tool, *args], cwd=directory, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_promtool_has_nothing_to_find_fault_with(
    tool: Path, tmp_path: Path, rules: dict[str, Any]
) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    options = ("--lint=all", "--lint-fatal", "rules.yaml")
    assert said(tool, tmp_path, "check", "rules", *options) == ""


@pytest.mark.parametrize(
    ("series", "fires"),
    [
        pytest.param(
            {SESSIONS: "10x30", DROPPED: "0+44x30"}, False, id="ten sessions, 4.4 probes a minute"
        ),
        pytest.param(
            {SESSIONS: "10x30", DROPPED: "0+50x30"}, False, id="as often as a probe can come"
        ),
        pytest.param(
            {SESSIONS: "10x30", DROPPED: "0+90x30"}, True, id="applications drop as many again"
        ),
        pytest.param(
            {SESSIONS: "10x30", DROPPED: "0+44x30", RETURNED: "0+1x30"},
            True,
            id="an application's message comes back",
        ),
        pytest.param({SESSIONS: "0x30", DROPPED: "0+1x30"}, True, id="no sessions"),
        pytest.param({DROPPED: "0+1x30"}, True, id="Springline is not scraped"),
        pytest.param({SESSIONS: "10x30", DROPPED: "0x30"}, False, id="queues of their own"),
    ],
)
def test_it_fires_for_what_applications_publish(
    tool: Path, tmp_path: Path, rules: dict[str, Any], series: dict[str, str], fires: bool
) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    fired = f'count(ALERTS{{alertname="{ALERT}", alertstate="firing"}}) or vector(0)'
    test = {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values}
            for name, values in {IDENTITY: "1x30", **series}.items()
        ],
        "promql_expr_test": [
            {
                "expr": fired,
                "eval_time": "20m",
                "exp_samples": [{"labels": "{}", "value": 1 if fires else 0}],
            }
        ],
    }
    scene = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "scene.yaml").write_text(yaml.safe_dump(scene))
    assert said(tool, tmp_path, "test", "rules", "scene.yaml") == ""
