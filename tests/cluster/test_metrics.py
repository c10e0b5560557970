"""What an operator in a cluster says of itself at /metrics."""

import pytest

from support import scrapes
from support.operators import Operator
from support.prometheus import PrometheusMissing
from support.team import Team


@pytest.mark.kind
async def test_what_an_operator_shows_is_what_the_catalogue_describes(
    springline: Operator, team: Team
) -> None:
    """Names, types, labels and their values; and promtool has nothing to add."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    text = springline.get("/metrics").text
    for name in ("orders", "billing"):
        series = f'springline_session_ready{{namespace="{team.namespace}",name="{name}"}} 1.0\n'
        assert series in text
    assert "springline_status_writes_waiting" in text
    assert scrapes.contradictions(text) == []
    try:
        assert scrapes.complaints(text) == ""
    except PrometheusMissing as missing:
        pytest.skip(str(missing))
