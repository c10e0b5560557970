"""Label selectors select what Kubernetes' do."""

from typing import Any

import pytest

from springline.api import labels
from springline.api.labels import LabelSelector

SHOP = {"team": "shop", "stage": "production", "empty": ""}


def selector(written: dict[str, Any]) -> LabelSelector:
    return LabelSelector.model_validate(written, by_alias=True, by_name=False)


def expression(operator: str, *values: str, key: str = "team") -> dict[str, Any]:
    requirement: dict[str, Any] = {"key": key, "operator": operator}
    if values:
        requirement["values"] = list(values)
    return {"matchExpressions": [requirement]}


@pytest.mark.parametrize(
    ("written", "selects"),
    [
        pytest.param({}, True, id="an empty selector selects everything"),
        pytest.param({"matchLabels": {"team": "shop"}}, True, id="a label"),
        pytest.param({"matchLabels": {"team": "books"}}, False, id="another value"),
        pytest.param({"matchLabels": {"owner": "shop"}}, False, id="another key"),
        pytest.param({"matchLabels": {"owner": ""}}, False, id="no label is no empty label"),
        pytest.param({"matchLabels": {"empty": ""}}, True, id="an empty label"),
        pytest.param(
            {"matchLabels": {"team": "shop", "stage": "test"}}, False, id="one of two labels"
        ),
        pytest.param(expression("In", "books", "shop"), True, id="In"),
        pytest.param(expression("In", "books"), False, id="not In"),
        pytest.param(expression("In", "books", key="owner"), False, id="In without the label"),
        pytest.param(expression("NotIn", "books"), True, id="NotIn"),
        pytest.param(expression("NotIn", "books", "shop"), False, id="not NotIn"),
        pytest.param(expression("NotIn", "shop", key="owner"), True, id="NotIn without the label"),
        pytest.param(expression("Exists"), True, id="Exists"),
        pytest.param(expression("Exists", key="empty"), True, id="an empty label Exists"),
        pytest.param(expression("Exists", key="owner"), False, id="not Exists"),
        pytest.param(expression("DoesNotExist", key="owner"), True, id="DoesNotExist"),
        pytest.param(expression("DoesNotExist"), False, id="not DoesNotExist"),
        pytest.param(
            {"matchLabels": {"team": "shop"}, **expression("In", "test", key="stage")},
            False,
            id="labels and expressions must all be met",
        ),
        pytest.param(
            {"matchLabels": {"team": "shop"}, **expression("Exists", key="stage")},
            True,
            id="labels and expressions are all met",
        ),
    ],
)
def test_what_a_selector_selects(written: dict[str, Any], selects: bool) -> None:
    assert labels.selects(selector(written), SHOP) is selects


def test_every_namespace_has_the_label_with_its_name() -> None:
    """Whatever is declared: the API server sets it."""
    assert labels.of_namespace("apps", {}) == {labels.NAME: "apps"}
    declared = {labels.NAME: "other", "team": "shop"}
    assert labels.of_namespace("apps", declared) == {labels.NAME: "apps", "team": "shop"}
    by_name = selector(expression("In", "apps", "books", key=labels.NAME))
    assert labels.selects(by_name, labels.of_namespace("apps", {}))
    assert not labels.selects(by_name, labels.of_namespace("toys", {}))
