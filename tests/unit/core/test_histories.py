"""What sessions show of themselves in histories that were recorded: all of it stays as it was.

Statuses, events, metrics, what applications are told and what a broker sees. tests/README.md says
what a history is and how it is recorded anew.
"""

import pytest

from support import histories
from support.histories import History

RECORDED = {
    f"{path.stem}: {history.title}": history
    for path in sorted(histories.FOLDER.glob("*.txt"))
    for history in histories.read(path)[1]
}
BY_CHANCE = {
    int(seed): digests
    for seed, *digests in map(str.split, histories.RANDOM.read_text().splitlines())
}


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
def test_a_history_shows_what_was_recorded_of_it(recorded: History) -> None:
    played = histories.play(recorded.title, recorded.steps)
    assert histories.text(played).splitlines() == histories.text(recorded).splitlines()


@pytest.mark.parametrize("seed", BY_CHANCE)
def test_a_history_by_chance_shows_what_was_recorded_of_it(seed: int) -> None:
    steps = histories.by_chance(seed)
    played = histories.play(f"seed {seed}", steps)
    digests = histories.digests(played)
    assert len(digests) == len(BY_CHANCE[seed]), "it has other steps than those recorded"
    first = next(
        (
            number
            for number, (mine, recorded) in enumerate(zip(digests, BY_CHANCE[seed], strict=True))
            if mine != recorded
        ),
        None,
    )
    assert first is None, f"another one from here on: {steps[first]}\n{histories.text(played)}"
