"""The chart's alerts, judged by promtool as they are rendered: valid, and firing when they should.

tests/alerts has what Prometheus sees over time, and what has to fire then. What alerts lead to is
tested in unit/test_alerts.py, and that the Prometheus operator takes them in cluster/.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.chart import Helm, HelmFailed, nested, with_all
from support.helm import CHART
from support.prometheus import PrometheusMissing, promtool

SCENES = sorted((Path(__file__).resolve().parents[1] / "alerts").glob("*.yaml"))
ENABLED = nested("prometheusRule.enabled", True)


@pytest.fixture(scope="module")
def tool() -> Path:
    try:
        return promtool()
    except PrometheusMissing as error:
        pytest.skip(f"the alerts were not tried: {error}")


def rendered(helm: Helm, *values: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups of rules in the PrometheusRule."""
    groups: list[dict[str, Any]] = helm.objects(with_all([ENABLED, *values]))[
        "PrometheusRule/springline"
    ]["spec"]["groups"]
    return groups


def alerts(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def said(tool: Path, directory: Path, *args: str) -> str:
    done = subprocess.run([tool, *args], cwd=directory, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_without_values_the_alerts_are_those_of_the_file(helm: Helm) -> None:
    """Who has no Prometheus operator gives Prometheus the file itself."""
    file = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
    assert rendered(helm) == file["groups"]


def test_promtool_has_nothing_to_find_fault_with(helm4: Helm, tool: Path, tmp_path: Path) -> None:
    """Expressions, durations and templates are right; no rule is there twice."""
    values = nested("metrics.podMonitor.enabled", True)
    for name, groups in {"plain": rendered(helm4), "scraped": rendered(helm4, values)}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"groups": groups}))
        options = ("--lint=all", "--lint-fatal", f"{name}.yaml")
        assert said(tool, tmp_path, "check", "rules", *options) == ""


@pytest.mark.parametrize("scene", SCENES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(
    helm4: Helm, tool: Path, tmp_path: Path, scene: Path
) -> None:
    """Also after a restart, when counters begin anew, and when metrics are not there."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": rendered(helm4)}))
    shutil.copy(scene, tmp_path)
    assert said(tool, tmp_path, "test", "rules", scene.name) == ""


def test_every_alert_is_seen_to_fire(helm4: Helm) -> None:
    """With exactly the labels and the words that somebody is woken by."""
    scenes = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in SCENES]
    fired = {
        case["alertname"]
        for scene in scenes
        for test in scene["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert fired == alerts(rendered(helm4)).keys()


# What values do


def test_an_alert_can_be_turned_off_or_changed(helm4: Helm) -> None:
    """By its name; the others stay as they are."""
    changes = {
        "SpringlineDown": {"severity": "page", "for": "1m"},
        "SpringlineConnectionFlapping": {"for": "10m"},
        "SpringlineBlockUnseen": {"enabled": False},
        "SpringlineRestarting": {"enabled": True},
    }
    before = alerts(rendered(helm4))
    after = alerts(rendered(helm4, nested("prometheusRule.alerts", changes)))
    assert before.keys() - after.keys() == {"SpringlineBlockUnseen"}
    assert after["SpringlineDown"] == {
        **before["SpringlineDown"],
        "labels": {"severity": "page"},
        "for": "1m",
    }
    assert after["SpringlineConnectionFlapping"]["for"] == "10m"
    others = before.keys() - changes.keys() | {"SpringlineRestarting"}
    assert {name: after[name] for name in others} == {name: before[name] for name in others}


def test_a_group_without_alerts_is_left_out(helm4: Helm) -> None:
    """An empty one is nothing that Prometheus takes."""
    [group] = [each for each in rendered(helm4) if each["name"] == "springline-operator"]
    off = {rule["alert"]: {"enabled": False} for rule in group["rules"]}
    left = rendered(helm4, nested("prometheusRule.alerts", off))
    assert [each["name"] for each in left] == ["springline-connections", "springline-fleet"]


def test_an_alert_that_is_not_there_is_refused(helm4: Helm) -> None:
    """A name that is mistyped would change nothing, and nobody would know."""
    with pytest.raises(HelmFailed, match="there is no alert SpringlineDwon; there are Spring"):
        rendered(helm4, nested("prometheusRule.alerts", {"SpringlineDwon": {"enabled": False}}))


def test_labels_for_all_do_not_hide_how_severe_each_is(helm4: Helm) -> None:
    """An alert's own labels count more."""
    labels = {"team": "messaging", "severity": "none"}
    changed = alerts(rendered(helm4, nested("prometheusRule.alertLabels", labels)))
    for name, rule in alerts(rendered(helm4)).items():
        assert changed[name]["labels"] == {**rule["labels"], "team": "messaging"}


def test_links_to_runbooks_name_the_alert(helm4: Helm) -> None:
    """Wherever they are, and however they are called there."""
    url = "https://docs.example.com/{alert}.html?from={alert}"
    for name, rule in alerts(rendered(helm4, nested("prometheusRule.runbookURL", url))).items():
        link = rule["annotations"]["runbook_url"]
        assert link == f"https://docs.example.com/{name}.html?from={name}"


@pytest.mark.parametrize(
    ("values", "job"),
    [
        ({"metrics": {"serviceMonitor": {"enabled": True}}}, "springline"),
        (
            {"metrics": {"podMonitor": {"enabled": True, "namespace": "mon"}}},
            "mon/springline",
        ),
        (
            {
                "metrics": {"serviceMonitor": {"enabled": True}},
                "prometheusRule": {"job": 'the "one"'},
            },
            r"the \"one\"",
        ),
    ],
    ids=["by its ServiceMonitor", "by its PodMonitor", "as it is told"],
)
def test_of_several_operators_each_has_to_be_there(
    helm4: Helm, values: dict[str, Any], job: str
) -> None:
    """Another release that runs does not hide that this one is gone."""
    down = alerts(rendered(helm4, values))["SpringlineDown"]
    assert down["expr"].strip() == f'absent(springline_build_info{{job="{job}"}})'
