"""A few sequences of faults in each part, from fixed seeds. `make chaos` runs as many as one likes.

What fails says the seed and the sequence, and the shortest part of it that fails.
"""

from pathlib import Path

import pytest

from chaos import running
from support.apiserver import APIServerMissing
from support.faketime import FaketimeMissing, WallClock
from support.rabbitmq import RabbitMQMissing
from support.tools import ToolMissing

SEQUENCES = {"A": 3, "B": 2}
"""As many as take three minutes together."""

SEED = "make-test"


@pytest.mark.parametrize("part", running.PARTS)
async def test_everything_holds_when_all_faults_are_over(part: str, tmp_path: Path) -> None:
    """One connection each, the truth in status, no leak, no secret, no traceback, an answer."""
    seeds = [f"{SEED}/{part}/{number}" for number in range(SEQUENCES[part])]
    try:
        async with running.entered(part, tmp_path) as world:
            failed = await running.run(world, seeds)
    except (APIServerMissing, RabbitMQMissing, ToolMissing) as error:
        pytest.skip(f"part {part} did not run: {error}")
    assert failed is None, str(failed)


def test_sequences_set_clocks(tmp_path: Path) -> None:
    """Without libfaketime the fault `clock-set` does nothing, so that has to be seen."""
    try:
        WallClock(tmp_path)
    except FaketimeMissing as error:
        pytest.skip(f"no clock is set in the sequences: {error}")


async def test_planted_defect_is_found(tmp_path: Path) -> None:
    """Otherwise the tests above would say nothing. `make chaos-bugs` plants all six."""
    try:
        async with running.entered("A", tmp_path, bug="secret-in-log") as world:
            failed = await running.run(world, [f"{SEED}/planted"], is_shrinking=False)
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    assert failed is not None
    assert "a planted secret is in the log" in failed.violation
