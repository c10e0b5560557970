"""The publish probe: how often, and what each answer means."""

import asyncio
from typing import Any

import pytest

from springline.core.desired import ProbeSettings
from springline.core.messages import Confirmed, LinkSilent, SaidExpired
from springline.core.probing import Prober
from springline.core.state import ProbeFailed, ProbeRefused, ProbeUnanswered
from springline.errors import ProbeRefusal, ProbeRefusedError
from support import pauses
from support.builders import PROBE, a_probe, an_open_info, probe_refused, server_close
from support.fake_clock import FakeClock, FixedRandom
from support.fakes import SILENCE, FakeConnection


class Probing:
    """A prober at work on one connection."""

    def __init__(self, clock: FakeClock, settings: ProbeSettings = PROBE) -> None:
        self.clock = clock
        self.rng = FixedRandom(1.0)
        self.connection = FakeConnection(an_open_info())
        self.settings = settings
        self.news: list[float | None] = []
        """Seconds of every confirm; None for an answer that did not come in time."""
        self.refusals: list[str] = []
        """What was said each time that it was refused."""
        self.failures: list[str] = []
        """What was said of answers that pass."""
        self.silent: list[int] = []
        """How many probes in a row were unanswered when it said so."""
        self.expired: list[str] = []
        """What the broker said of the credential."""
        self.shown_blocked = False
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.run())
        await self.clock.settle()

    async def run(self) -> None:
        """Note what it says until it has ended."""
        prober = Prober(self.connection, self.settings, self.rng, shown_blocked=self.shown_blocked)
        async for answer in pauses.answers(prober, self.clock):
            match answer:
                case Confirmed(seconds=seconds):
                    self.news.append(seconds)
                case ProbeUnanswered():
                    self.news.append(None)
                case SaidExpired(words=words):
                    self.expired.append(words)
                case ProbeRefused(message=message):
                    self.refusals.append(message)
                case ProbeFailed(message=message):
                    self.failures.append(message)
                case LinkSilent(probes=probes):
                    self.silent.append(probes)

    @property
    def refusal(self) -> str | None:
        """Why it was refused; empty if it has ended for another reason, None if it has not."""
        assert self.task is not None
        if self.refusals:
            return self.refusals[-1]
        return "" if self.task.done() else None


@pytest.fixture
async def prober(clock: FakeClock) -> Probing:
    return Probing(clock)


async def test_it_probes_at_once_and_then_at_every_interval(prober: Probing) -> None:
    await prober.start()
    assert prober.news == [0.002]
    await prober.clock.advance(14.9)
    assert len(prober.news) == 1
    await prober.clock.advance(0.1)
    assert len(prober.news) == 2
    await prober.clock.advance(30.0)
    assert len(prober.news) == 4


@pytest.mark.parametrize(("share", "seconds"), [(0.0, 12.0), (1.0, 15.0)])
async def test_chance_only_shortens_the_interval(
    prober: Probing, share: float, seconds: float
) -> None:
    """A block is seen within the interval, and a thousand probers do not beat in time."""
    prober.rng.share = share
    await prober.start()
    await prober.clock.advance(seconds - 0.01)
    assert len(prober.news) == 1
    await prober.clock.advance(0.02)
    assert len(prober.news) == 2


async def test_probes_come_at_few_moments_and_never_late(prober: Probing) -> None:
    """Sessions that are due at almost the same time are due together."""
    prober.rng.share = 0.53  # after 13.59 s, that is at 13.5
    await prober.start()
    await prober.clock.advance(13.49)
    assert len(prober.news) == 1
    await prober.clock.advance(0.02)
    assert len(prober.news) == 2


async def test_it_publishes_where_it_is_told_to(clock: FakeClock) -> None:
    settings = a_probe(interval=15.0, timeout=5.0, exchange="probes", routing_key="here")
    prober = Probing(clock, settings)
    await prober.start()
    assert prober.connection.probes == [("probes", "here")]


async def test_a_probe_is_gone_before_the_next_one_comes(prober: Probing) -> None:
    """Wherever it is routed to, so that it never piles up."""
    prober.rng.share = 0.0
    await prober.start()
    await prober.clock.advance(60.0)
    assert len(prober.connection.probes) > 1
    assert set(prober.connection.probe_options) == {(False, 7.5)}


async def test_a_probe_may_go_into_a_queue_of_its_own(clock: FakeClock) -> None:
    settings = a_probe(
        interval=30.0, timeout=5.0, exchange="", routing_key="orders.probe", own_queue=True
    )
    prober = Probing(clock, settings)
    await prober.start()
    assert prober.connection.probes == [("", "orders.probe")]
    assert prober.connection.probe_options == [(True, 15.0)]


@pytest.mark.parametrize(
    ("why", "says", "says_not"),
    [
        pytest.param(
            ProbeRefusal.NO_PERMISSION,
            'configure queues whose names begin with "orders.probe." and write to amq.default',
            "nothing else",
            id="no permission",
        ),
        pytest.param(
            ProbeRefusal.OTHER,
            "set spec.probe.mode to Publish or None",
            "let the user",
            id="a limit",
        ),
    ],
)
async def test_a_refused_queue_says_what_to_do(
    clock: FakeClock, why: ProbeRefusal, says: str, says_not: str
) -> None:
    settings = a_probe(
        interval=15.0, timeout=5.0, exchange="", routing_key="orders.probe", own_queue=True
    )
    prober = Probing(clock, settings)
    prober.connection.probe_answer = probe_refused("406 SOME - reason", why)
    await prober.start()
    assert prober.refusal is not None
    assert "the probe's own queue was refused (406 SOME - reason)" in prober.refusal
    assert says in prober.refusal
    assert says_not not in prober.refusal


async def test_a_slow_broker_is_probed_on(prober: Probing) -> None:
    """A time-out is not a block, and if the broker is gone the heartbeat will tell."""
    prober.connection.probe_answer = SILENCE
    await prober.start()
    await prober.clock.advance(5.0)
    assert prober.news == [None]
    prober.connection.probe_answer = 0.5
    await prober.clock.advance(15.0)
    assert prober.news == [None, 0.5]


async def test_a_blocked_connection_is_not_published_on(prober: Probing) -> None:
    await prober.start()
    prober.connection.block()
    await prober.clock.advance(60.0)
    assert len(prober.connection.probes) == 1
    prober.connection.unblock()
    await prober.clock.advance(15.0)
    assert len(prober.connection.probes) == 2


async def test_a_block_instead_of_a_confirm_is_no_confirm(prober: Probing) -> None:
    prober.connection.probe_answer = SILENCE
    await prober.start()
    prober.connection.block()
    await prober.clock.settle()
    assert prober.news == []
    assert prober.refusal is None


async def test_a_confirm_that_a_block_has_overtaken_is_no_news(prober: Probing) -> None:
    """Both answers can be read at once; the block is the later truth, whoever was first."""
    prober.connection.probe_answer = SILENCE
    await prober.start()
    prober.connection.confirm(0.5)
    prober.connection.block()
    await prober.clock.settle()
    assert prober.news == []


@pytest.mark.parametrize(
    ("exchange", "words"),
    [
        pytest.param("", "publish to the default exchange was refused", id="default exchange"),
        pytest.param("probes", 'publish to exchange "probes" was refused', id="named exchange"),
    ],
)
async def test_a_refused_probe_is_not_repeated_soon_and_says_what_to_do(
    clock: FakeClock, exchange: str, words: str
) -> None:
    """Each refusal is an error in the broker's log."""
    settings = a_probe(interval=15.0, timeout=5.0, exchange=exchange, routing_key="here")
    prober = Probing(clock, settings)
    prober.connection.probe_answer = probe_refused()
    await prober.start()
    assert prober.refusal is not None
    assert words in prober.refusal
    assert "403 ACCESS_REFUSED" in prober.refusal
    assert "spec.probe.mode" in prober.refusal
    await clock.advance(60.0)
    assert len(prober.connection.probes) == 1


NO_PERMISSION = ProbeRefusedError(ProbeRefusal.NO_PERMISSION, "403 ACCESS_REFUSED")


async def test_a_refused_probe_is_repeated_after_ever_longer_pauses(prober: Probing) -> None:
    """The permission may be granted, and nothing else would tell."""
    prober.connection.probe_answer = NO_PERMISSION
    await prober.start()
    for number, minutes in enumerate((5, 10, 20, 40, 60, 60), start=1):
        await prober.clock.advance(minutes * 60 - 1)
        assert len(prober.connection.probes) == number
        await prober.clock.advance(1)
        assert len(prober.connection.probes) == number + 1


async def test_a_probe_that_is_let_again_comes_at_every_interval(prober: Probing) -> None:
    prober.connection.probe_answer = NO_PERMISSION
    await prober.start()
    prober.connection.probe_answer = 0.5
    await prober.clock.advance(300)
    assert prober.news == [0.5]
    prober.connection.probe_answer = NO_PERMISSION
    await prober.clock.advance(15)
    assert len(prober.refusals) == 2
    await prober.clock.advance(300)
    assert len(prober.refusals) == 3, "what was refused before is over"


async def test_a_broker_in_trouble_is_probed_on(prober: Probing) -> None:
    """What passes by itself is no refusal, and a block is still to be seen within the interval."""
    prober.connection.probe_answer = ProbeRefusedError(ProbeRefusal.TROUBLE, "404 NOT_FOUND")
    await prober.start()
    await prober.clock.advance(15)
    assert (
        prober.failures
        == ["the broker could not take in the probe (404 NOT_FOUND); it is tried again"] * 2
    )
    prober.connection.probe_answer = 0.5
    await prober.clock.advance(15)
    assert prober.news == [0.5]
    assert not prober.refusals


# --- a link that is dead


def without_heartbeats(prober: Probing, *, tells_blocks: bool = True) -> None:
    info = an_open_info(heartbeat_seconds=0, tells_blocks=tells_blocks)
    prober.connection = FakeConnection(info)
    prober.connection.probe_answer = SILENCE


async def test_without_heartbeats_three_probes_without_an_answer_are_the_end(
    prober: Probing,
) -> None:
    without_heartbeats(prober)
    await prober.start()
    await prober.clock.advance(44)
    assert prober.news == [None, None]
    await prober.clock.advance(1)
    assert prober.silent == [3]
    assert prober.refusal == ""


async def test_with_heartbeats_they_decide(prober: Probing) -> None:
    prober.connection.probe_answer = SILENCE
    await prober.start()
    await prober.clock.advance(600)
    assert not prober.silent


async def test_a_broker_that_does_not_tell_of_blocks_is_never_taken_for_gone(
    prober: Probing,
) -> None:
    """It may have stopped reading because of one."""
    without_heartbeats(prober, tells_blocks=False)
    await prober.start()
    await prober.clock.advance(600)
    assert not prober.silent


@pytest.mark.parametrize("sign", ["a confirm", "a refusal", "a block"], ids=str)
async def test_a_sign_of_life_begins_the_count_anew(prober: Probing, sign: str) -> None:
    without_heartbeats(prober)
    await prober.start()
    await prober.clock.advance(30)
    assert prober.news == [None, None]
    match sign:
        case "a confirm":
            prober.connection.probe_answer = 0.5
            await prober.clock.advance(20)
        case "a refusal":
            prober.connection.probe_answer = ProbeRefusedError(
                ProbeRefusal.TROUBLE, "506 RESOURCE_ERROR"
            )
            await prober.clock.advance(20)
        case _:
            prober.connection.block()
            await prober.clock.advance(60)
            prober.connection.unblock()
    prober.connection.probe_answer = SILENCE
    await prober.clock.advance(45)
    assert not prober.silent
    await prober.clock.advance(15)
    assert prober.silent == [3]


async def test_a_blocked_link_is_never_taken_for_dead(prober: Probing) -> None:
    without_heartbeats(prober)
    await prober.start()
    prober.connection.block()
    await prober.clock.advance(3600)
    assert not prober.silent


async def test_a_probe_that_an_expired_credential_is_refused_for_is_told_apart(
    prober: Probing,
) -> None:
    """The permission is not what is wrong, so there is nothing to be done about it."""
    prober.connection.probe_answer = probe_refused(
        "403 token has expired", ProbeRefusal.CREDENTIAL_EXPIRED
    )
    await prober.start()
    assert prober.expired == ["403 token has expired"]
    assert prober.refusal == ""
    await prober.clock.advance(60.0)
    assert len(prober.connection.probes) == 1


async def test_it_ends_in_silence_with_its_connection(prober: Probing) -> None:
    await prober.start()
    prober.connection.end(server_close())
    await prober.clock.advance(15.0)
    assert prober.refusal == ""


async def test_a_connection_that_ends_during_a_probe_ends_it(prober: Probing) -> None:
    prober.connection.probe_answer = SILENCE
    await prober.start()
    prober.connection.end(server_close())
    await prober.clock.settle()
    assert prober.refusal == ""
    assert prober.news == []


# R1.11
async def test_a_confirm_says_that_a_block_is_over_only_with_a_second_one(prober: Probing) -> None:
    prober.shown_blocked = True
    await prober.start()
    assert prober.news == [0.002]
    assert len(prober.connection.probes) == 2
    await prober.clock.advance(15.0)
    assert len(prober.connection.probes) == 3, "later ones are believed"


# R1.10
async def test_a_confirm_that_overtakes_the_news_of_a_block_says_nothing(
    prober: Probing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker confirms what makes it tell of the block, and the two cross on their way."""
    connection, probe = prober.connection, prober.connection.probe

    async def read_late(*args: Any, **options: Any) -> float | None:
        if connection.probes:
            connection.block()
        return await probe(*args, **options)

    monkeypatch.setattr(connection, "probe", read_late)
    prober.shown_blocked = True
    await prober.start()
    assert prober.news == []
