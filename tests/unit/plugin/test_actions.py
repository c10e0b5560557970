"""Waiting until what was asked of a connection is done."""

import pytest

from springline.plugin import actions
from springline.plugin.actions import Action
from springline.plugin.connection import Connection
from support.fake_clock import EIGHT


def a_connection(*, observed: int) -> Connection:
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "VirtualHostNotFound",
        "message": "the broker has no such virtual host",
        "observedGeneration": observed,
    }
    return Connection(
        {
            "metadata": {"name": "orders", "namespace": "shop", "generation": 2},
            "status": {"state": "Rejected", "observedGeneration": observed}
            | {"conditions": [condition]},
        }
    )


@pytest.mark.parametrize("action", list(Action))
def test_what_no_operator_has_acted_on_is_told_apart(action: Action) -> None:
    order = actions.order(action, now=EIGHT)
    told = actions._why_not(order, a_connection(observed=1), 3.0)
    assert told == "not acted on within 3 s; does the operator run, and look here?"


@pytest.mark.parametrize(
    ("action", "state"), [(Action.SUSPEND, "Suspended"), (Action.RESUME, "Ready")]
)
def test_what_is_in_the_way_is_told_where_it_was_acted_on(action: Action, state: str) -> None:
    order = actions.order(action, now=EIGHT)
    told = actions._why_not(order, a_connection(observed=2), 3.0)
    assert told == (
        f"not {state} within 3 s: VirtualHostNotFound: the broker has no such virtual host"
    )
