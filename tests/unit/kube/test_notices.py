"""How often people are told who writes a status."""

import pytest

from springline.api.meta import Identity
from springline.kube.notices import Notices
from support.fake_clock import FakeClock
from support.statuses import CLUSTER_RABBIT, ORDERS, RABBIT_BROKER


class Posted:
    """Takes Events, as `kube.notices.NoticePoster`."""

    def __init__(self) -> None:
        self.events: list[tuple[Identity, str, str]] = []
        self.takes = True

    def warn(self, identity: Identity, *, reason: str, message: str) -> bool:
        if self.takes:
            self.events.append((identity, reason, message))
        return self.takes


@pytest.fixture
def posted() -> Posted:
    return Posted()


@pytest.fixture
async def notices(posted: Posted, clock: FakeClock) -> Notices:
    return Notices(posted, clock, is_limited=False)


def tell(notices: Notices, identity: Identity = ORDERS) -> None:
    notices.held_elsewhere(identity, holder="a/pod-1", replica="b/pod-2")


async def test_it_says_which_replica_holds_the_object_and_which_does_not(
    notices: Notices, posted: Posted
) -> None:
    """And of a connection that its session is open twice."""
    tell(notices)
    tell(notices, RABBIT_BROKER)
    [(_, reason, connection), (_, _, broker)] = posted.events
    assert reason == "HeldElsewhere"
    for message in (connection, broker):
        assert message.startswith("held by a/pod-1, which lives; b/pod-2 looks after it, too")
    assert "second session" in connection
    assert "second session" not in broker


async def test_what_goes_on_is_repeated_every_half_hour(
    notices: Notices, posted: Posted, clock: FakeClock
) -> None:
    """The API server forgets an Event after an hour."""
    for _ in range(3 * 60):
        tell(notices)
        await clock.advance(60)
    assert len(posted.events) == 6


async def test_what_is_over_and_begins_again_is_told_again(
    notices: Notices, posted: Posted
) -> None:
    tell(notices)
    notices.ended(ORDERS)
    notices.ended(ORDERS)
    tell(notices)
    assert len(posted.events) == 2


async def test_a_thousand_objects_are_told_of_slowly(
    notices: Notices, posted: Posted, clock: FakeClock
) -> None:
    """And each of them in the end."""
    objects = [ORDERS._replace(name=f"c{number}") for number in range(1000)]
    counts = []
    for _ in range(20):
        for each in objects:
            tell(notices, each)
        counts.append(len(posted.events))
        await clock.advance(60)
    assert counts[:3] == [50, 100, 150]
    assert {identity for identity, *_ in posted.events} == set(objects)
    assert len(notices._told_at) <= 1000


async def test_who_writes_over_a_status_has_a_name(notices: Notices, posted: Posted) -> None:
    """A field manager, and where it is another replica, which."""
    notices.overwritten(ORDERS, manager="kubectl-edit", holder="")
    notices.overwritten(RABBIT_BROKER, manager="springline", holder="a/pod-1")
    [(_, reason, by_hand), (_, _, by_replica)] = posted.events
    assert reason == "StatusOverwritten"
    assert by_hand.startswith('field manager "kubectl-edit" writes over this status')
    assert by_replica.startswith('field manager "springline", which names a/pod-1 as holder,')


async def test_an_object_with_no_room_for_its_status_is_told_what_to_remove(
    notices: Notices, posted: Posted
) -> None:
    notices.too_large(ORDERS)
    notices.too_large(ORDERS)
    [(identity, reason, message)] = posted.events
    assert (identity, reason) == (ORDERS, "StatusTooLarge")
    assert message.endswith("remove labels, annotations or finalizers from it")


async def test_what_could_not_be_posted_is_posted_later(notices: Notices, posted: Posted) -> None:
    posted.takes = False
    tell(notices)
    posted.takes = True
    tell(notices)
    assert len(posted.events) == 1


async def test_without_rights_beyond_namespaces_nothing_is_posted_beyond_them(
    posted: Posted, clock: FakeClock
) -> None:
    """Events on what has no namespace are in the namespace `default`."""
    notices = Notices(posted, clock, is_limited=True)
    tell(notices, CLUSTER_RABBIT)
    tell(notices, ORDERS)
    assert [identity for identity, *_ in posted.events] == [ORDERS]
