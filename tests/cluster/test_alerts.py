"""The alerts, evaluated by a real Prometheus that scrapes a real operator.

When they fire and when not is tested in chart/test_alerts.py, on made-up series. Here it is seen
that series are as they are taken to be there.
"""

from collections.abc import Iterator

import pytest
import yaml

from support.chart_files import CHART
from support.operator_process import OperatorProcess
from support.ports import LOOPBACK
from support.prometheus import Prometheus, PrometheusMissing
from support.team import Team
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("mended")


@pytest.fixture
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, process: OperatorProcess
) -> Iterator[Prometheus]:
    """Prometheus with the alerts, which it does not hesitate to fire."""
    directory = tmp_path_factory.mktemp("prometheus")
    rules = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "0s"
    (directory / "rules.yaml").write_text(yaml.safe_dump(rules))
    scraped = {
        "job_name": "springline",
        "honor_labels": True,
        "static_configs": [{"targets": [f"{LOOPBACK}:{process.port}"]}],
    }
    config = {"rule_files": ["rules.yaml"], "scrape_configs": [scraped]}
    try:
        prometheus = Prometheus(directory, config)
    except PrometheusMissing as error:
        pytest.skip(f"the alerts were not tried: {error}")
    with prometheus:
        yield prometheus


def firing(prometheus: Prometheus, name: str) -> list[dict[str, str]]:
    """The labels of the alerts of that name."""
    return [
        dict(each["labels"])
        for each in prometheus.alerts()
        if each["labels"]["alertname"] == name and each["state"] == "firing"
    ]


async def test_alerts_name_the_connection_and_end_with_what_was_wrong(
    prometheus: Prometheus, team: Team
) -> None:
    """What is suspended is nobody's trouble, nor is what works."""
    await team.put_secret("not the password", name="outdated")
    await team.declare("orders")
    await team.declare("archive", suspend=True)
    await team.declare("billing", credentials={"secretRef": {"name": "outdated"}})
    await team.declare("audit", probe={"mode": "None"})
    await team.until_ready("orders", "audit")
    key = {"job": "springline", "namespace": team.namespace}
    wrong = {**key, "alertname": "SpringlineConnectionNotReady", "name": "billing"}
    unseen = {**key, "alertname": "SpringlineBlockUnseen", "name": "audit"}
    wanted = {
        "SpringlineConnectionNotReady": [{**wrong, "severity": "warning"}],
        "SpringlineBlockUnseen": [{**unseen, "severity": "info", "reason": "ProbeDisabled"}],
        "SpringlineDown": [],
        "SpringlineFleetNotReady": [],
        "SpringlineMostNotReady": [],
    }
    await eventually(
        lambda: {name: firing(prometheus, name) for name in wanted} == wanted,
        what="the connections that deserve it fire",
    )
    await team.put_secret(name="outdated")
    await team.until_ready("billing")
    await eventually(
        lambda: firing(prometheus, "SpringlineConnectionNotReady") == [],
        what="it ends",
    )


async def test_an_operator_that_is_gone_is_missed_until_it_is_back(
    prometheus: Prometheus, process: OperatorProcess
) -> None:
    """Nothing else says so: what it served is gone together with it."""
    await eventually(lambda: not is_missed(prometheus), what="the operator is seen")
    process.kill()
    await eventually(lambda: is_missed(prometheus), what="the operator is missed")
    process.start()
    await process.until_ready()
    await eventually(lambda: not is_missed(prometheus), what="it is seen again")


def is_missed(prometheus: Prometheus) -> bool:
    """Whether it is the operator that is missed; before a first scrape it is, too."""
    return firing(prometheus, "SpringlineDown") != []
