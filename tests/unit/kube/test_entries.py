"""Which objects another live replica looks after."""

import pytest

from springline.api.meta import Identity
from springline.kube.entries import Elsewhere, Entries
from springline.kube.holders import Life
from springline.kube.projection import Entry

ORDERS = Identity("BrokerConnection", "apps", "orders")


class Lives:
    """What is known of every holder, as `kube.rivals.Lives`."""

    def __init__(self, life: Life | None) -> None:
        self._life = life

    def life(self, _holder: str) -> Life | None:
        return self._life


def entries(other: str) -> Entries:
    entry = Entry(identity=ORDERS, uid="uid", generation=1, conditions=(), handled={}, other=other)
    return Entries({ORDERS: entry})


@pytest.mark.parametrize(
    ("other", "life", "expected"),
    [
        ("system/pod-2", Life.ALIVE, True),
        ("system/pod-2", Life.GONE, False),
        ("system/pod-2", Life.UNREADABLE, False),
        ("system/pod-2", None, False),
        ("", Life.ALIVE, False),
    ],
)
def test_an_object_is_held_elsewhere_while_its_other_holder_lives(
    other: str, life: Life | None, expected: bool
) -> None:
    assert Elsewhere(entries(other), Lives(life)).holds(ORDERS) == expected


def test_an_object_that_is_not_declared_is_held_by_nobody() -> None:
    assert not Elsewhere(Entries(), Lives(Life.ALIVE)).holds(ORDERS)


def test_the_other_holders_are_those_that_statuses_name() -> None:
    assert entries("system/pod-2").other_holders() == {"system/pod-2"}
    assert entries("").other_holders() == set()
