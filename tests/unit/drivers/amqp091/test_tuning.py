"""Tune-Ok is computed from Tune and the declaration (R1.4, R1.5)."""

import pytest

from springline.drivers.amqp091 import tuning
from springline.drivers.amqp091.tuning import Limits


def limits(channel_max: int = 0, frame_max: int = 0, heartbeat: int = 0) -> Limits:
    return Limits(channel_max=channel_max, frame_max=frame_max, heartbeat_seconds=heartbeat)


# R1.4, R1.5
@pytest.mark.parametrize("field", ["channel_max", "frame_max"])
@pytest.mark.parametrize(
    ("proposed", "declared", "agreed"),
    [
        pytest.param(2047, 100, 100, id="the declared limit is lower"),
        pytest.param(100, 2047, 100, id="the broker's limit is lower"),
        pytest.param(0, 2047, 2047, id="only the declaration limits"),
        pytest.param(2047, 0, 2047, id="only the broker limits"),
        pytest.param(0, 0, 0, id="nobody limits"),
        pytest.param(500, 500, 500, id="both say the same"),
    ],
)
def test_the_lower_limit_holds_where_both_limit(
    field: str, proposed: int, declared: int, agreed: int
) -> None:
    """0 is no limit (AMQP 0-9-1, connection.tune)."""
    result = tuning.negotiate(
        proposed=limits(**{field: proposed}), declared=limits(**{field: declared})
    )
    assert getattr(result, field) == agreed


# R1.5
@pytest.mark.parametrize(
    ("proposed", "declared", "agreed"),
    [
        pytest.param(60, 10, 10, id="a faster heartbeat is kept as declared"),
        pytest.param(60, 300, 60, id="a slower one is capped by the broker's"),
        pytest.param(0, 30, 30, id="a broker that proposes none does not turn it off"),
        pytest.param(60, 0, 0, id="declared off stays off"),
        pytest.param(0, 0, 0, id="off on both sides"),
    ],
)
def test_the_heartbeat_is_as_declared_but_not_slower_than_the_brokers(
    proposed: int, declared: int, agreed: int
) -> None:
    result = tuning.negotiate(
        proposed=limits(heartbeat=proposed), declared=limits(heartbeat=declared)
    )
    assert result.heartbeat_seconds == agreed
