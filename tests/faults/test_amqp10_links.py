"""Declared links over AMQP 1.0 against scripted peers: as sent, as confirmed, and tried again."""

import asyncio
import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from support.amqp10_library import MISSING

pytest.importorskip("proton", reason=MISSING)

from springline.core.backoff import Retry
from springline.drivers.amqp10 import attachments, links
from springline.drivers.amqp10.negotiated import LinkInfo, TerminusInfo
from springline.drivers.amqp10.parameters import SourceParameters, TargetParameters
from springline.drivers.amqp10.terms import (
    Delivery,
    Distribution,
    Durability,
    Expiry,
    LinkState,
    ReceiverSettle,
    Role,
    SenderSettle,
)
from support import amqp10_opening
from support.amqp10 import SHORT, Opened, closed, opened
from support.amqp10_broker import IGNORED, Broker
from support.amqp10_opening import receiver, sender
from support.amqp10_peer import Amqp10Talk, Frame
from support.amqp10_types import Described, Raw, Symbol, composite, encoded, error, message
from support.waiting import eventually


@pytest.fixture(autouse=True)
def _again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that is refused is tried again without a pause to speak of."""
    monkeypatch.setattr(links, "_RETRY", Retry(delay=0.02, max_delay=0.02))


def info(found: Opened, name: str) -> LinkInfo:
    return amqp10_opening.link(found.connection, name)


async def until(found: Opened, name: str, state: LinkState) -> LinkInfo:
    await eventually(lambda: info(found, name).state is state, what=f"{name} is {state}")
    return info(found, name)


def never() -> int | None:
    """Return what a wait is not over with."""
    return None


def attaches(talk: Amqp10Talk, name: str) -> list[Frame]:
    """Return what the client sent to attach a link."""
    sent = talk.all("attach")
    return [each for each in sent if each.performative and each.performative.fields["name"] == name]


# As sent


# R4.8, R4.12, R4.13
async def test_a_sender_is_asked_for_as_it_is_declared() -> None:
    declared = sender(
        "/queues/orders",
        source=SourceParameters(
            address="from-here",
            durability=Durability.CONFIGURATION,
            expiry=Expiry.CONNECTION_CLOSE,
            timeout_seconds=5,
        ),
        target=TargetParameters(
            address="/queues/orders",
            durability=Durability.UNSETTLED_STATE,
            expiry=Expiry.NEVER,
            timeout_seconds=30,
        ),
    )
    async with opened(links=(declared,)) as found:
        await until(found, "out", LinkState.ATTACHED)
        [sent] = attaches(found.talk, "out")
        assert sent.role is False
        assert (sent.snd_settle_mode, sent.rcv_settle_mode) == (0, 0)
        assert sent.source.address == "from-here"
        assert (sent.source.durable, sent.source.expiry_policy) == (1, "connection-close")
        assert sent.source.timeout == 5
        assert sent.target.address == "/queues/orders"
        assert (sent.target.durable, sent.target.expiry_policy) == (2, "never")
        assert sent.target.timeout == 30
        assert not sent.target.dynamic


# R4.8, R4.12
async def test_a_receiver_is_asked_for_as_it_is_declared() -> None:
    declared = receiver(
        "/queues/orders",
        keep=True,
        source=SourceParameters(
            address="/queues/orders",
            expiry=Expiry.LINK_DETACH,
            filters=(("apache.org:selector-filter:string", "colour = 'red'"), ("b", "")),
            distribution=Distribution.COPY,
        ),
        target=TargetParameters(address="to-here"),
    )
    async with opened(links=(declared,)) as found:
        await until(found, "in", LinkState.ATTACHED)
        [sent] = attaches(found.talk, "in")
        assert sent.role is True
        assert (sent.source.durable or 0, sent.source.expiry_policy) == (0, "link-detach")
        assert sent.source.distribution_mode == "copy"
        name = Symbol("apache.org:selector-filter:string")
        assert sent.source.filter == {
            name: Described(name, "colour = 'red'"),
            "b": Described(Symbol("b"), ""),
        }
        assert sent.target.address == "to-here"


# R4.13
@pytest.mark.parametrize(
    ("delivery", "mode"), [(Delivery.AT_LEAST_ONCE, 0), (Delivery.AT_MOST_ONCE, 1)]
)
@pytest.mark.parametrize("make", [sender, receiver])
async def test_one_word_stands_for_both_settle_modes(
    make: Callable[..., Any], delivery: Delivery, mode: int
) -> None:
    async with opened(links=(make("a", "it", delivery=delivery, keep=True),)) as found:
        told = await until(found, "it", LinkState.ATTACHED)
        [sent] = attaches(found.talk, "it")
        assert (sent.snd_settle_mode, sent.rcv_settle_mode) == (mode, 0)
        assert told.receiver_settle is ReceiverSettle.FIRST
        assert told.sender_settle is (SenderSettle.SETTLED if mode else SenderSettle.UNSETTLED)


# R4.12
@pytest.mark.parametrize("make", [sender, receiver])
async def test_an_address_may_be_made_up_by_the_peer(make: Callable[..., Any]) -> None:
    side = "target" if make is sender else "source"
    terminus = TargetParameters if make is sender else SourceParameters
    declared = make("", "it", keep=True, **{side: terminus(dynamic=True)})
    async with opened(links=(declared,)) as found:
        told = await until(found, "it", LinkState.ATTACHED)
        [sent] = attaches(found.talk, "it")
        asked = getattr(sent, side)
        assert asked.dynamic is True
        assert asked.address is None
        assert told.address.startswith("dynamic-")
        confirmed = getattr(told, side)
        assert confirmed is not None
        assert confirmed.dynamic


async def test_each_link_has_a_session_of_its_own() -> None:
    # One that is ended for what is wrong with a link is not that of another.
    async with opened(links=(sender("a", "a"), receiver("b", "b", keep=True))) as found:
        await until(found, "a", LinkState.ATTACHED)
        await until(found, "b", LinkState.ATTACHED)
        assert len({each.channel for each in found.talk.all("attach")} | {0}) == 3


# As confirmed


# R4.8, R4.12, R4.17
async def test_what_the_peer_confirms_is_told() -> None:
    broker = Broker(
        credit=17,
        attached={
            "snd_settle_mode": 2,
            "rcv_settle_mode": 1,
            "max_message_size": 1 << 40,
            "source": composite(
                "source",
                address="s",
                durable=1,
                expiry_policy="connection-close",
                timeout=7,
                distribution_mode="move",
                filter={"f": Described(Symbol("f"), "x"), "g": Described(Symbol("g"), 1)},
            ),
            "target": composite("target", address="t", durable=2, expiry_policy="never", timeout=9),
        },
    )
    async with opened(broker, links=(sender("asked"),)) as found:
        await until(found, "out", LinkState.ATTACHED)
        await eventually(lambda: info(found, "out").credit == 17)
        told = info(found, "out")
    assert told.role is Role.SENDER
    assert told.source == TerminusInfo(
        address="s",
        durability=Durability.CONFIGURATION,
        expiry=Expiry.CONNECTION_CLOSE,
        timeout=timedelta(seconds=7),
        filters=("f", "g"),
        distribution=Distribution.MOVE,
    )
    assert told.target == TerminusInfo(
        address="t",
        durability=Durability.UNSETTLED_STATE,
        expiry=Expiry.NEVER,
        timeout=timedelta(seconds=9),
    )
    assert told.sender_settle is SenderSettle.MIXED
    assert told.receiver_settle is ReceiverSettle.SECOND
    assert told.max_message_size == 1 << 40
    assert told.address == "t"
    told.as_status().model_dump_json()


STRANGE: dict[str, dict[str, Any]] = {
    "settle modes that there are not": {"snd_settle_mode": 9, "rcv_settle_mode": 9},
    "a filter that is no map": {
        "source": composite("source", address="a", filter=Raw(encoded([1, 2])))
    },
    "a filter with numbers for names": {
        "source": composite("source", address="a", filter=Raw(encoded({1: 2})))
    },
    "a durability that there is not": {
        "source": composite("source", address="a", durable=99),
        "target": composite("target", address="a", durable=99),
    },
    "an expiry that there is not": {
        "source": composite("source", address="a", expiry_policy="at-noon"),
        "target": composite("target", address="a", expiry_policy="at-noon"),
    },
    "a distribution that there is not": {
        "source": composite("source", address="a", distribution_mode="both"),
    },
    "an address that is no text": {"source": composite("source", address=7)},
    "many filters": {
        "source": composite("source", address="a", filter={f"f{each}": "x" for each in range(99)})
    },
    "a long address": {"source": composite("source", address="x" * 20_000)},
}


@pytest.mark.parametrize("fields", STRANGE.values(), ids=STRANGE.keys())
async def test_a_peer_may_confirm_strange_things(
    fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_ATTACH_SECONDS", 1.0)  # some of it is no answer
    async with opened(Broker(attached=fields), links=(receiver("a", keep=True),)) as found:
        await eventually(lambda: info(found, "in").state is not LinkState.ATTACHING)
        shown = info(found, "in").as_status().model_dump_json()
        assert len(shown) < 5000
        assert found.connection.is_open


# Refused, detached, and tried again


def refusing(talk: Amqp10Talk, attach: Frame) -> None:
    """As §2.6.3 has it: attached to nothing, and detached."""
    talk.refuse(talk.sessions[attach.channel].links[attach.handle], error("amqp:not-found", "no"))


def detaching(talk: Amqp10Talk, attach: Frame) -> None:
    """Attach, and detach at once."""
    link = talk.sessions[attach.channel].links[attach.handle]
    talk.attach(link)
    talk.detach(link, error=error("amqp:not-found", "no"))


def ending(talk: Amqp10Talk, attach: Frame) -> None:
    """End the session, as RabbitMQ 4 does."""
    talk.end(attach.channel, error("amqp:not-found", "no"))


def without_terminus(talk: Amqp10Talk, attach: Frame) -> None:
    """Attach to nothing, and say why when it is asked for."""
    link = talk.sessions[attach.channel].links[attach.handle]
    talk.attach(link, **{"target" if link.is_sender else "source": None})
    talk.detach(link, error=error("amqp:not-found", "no"), closed=None)


REFUSALS = [refusing, detaching, ending, without_terminus]


# R4.8, R4.17
@pytest.mark.parametrize("make", [sender, receiver])
@pytest.mark.parametrize("refuse", REFUSALS, ids=[each.__name__ for each in REFUSALS])
async def test_a_refused_link_says_why_and_is_tried_again(
    refuse: Callable[[Amqp10Talk, Frame], None], make: Callable[..., Any]
) -> None:
    refused: list[Frame] = []

    async def step(talk: Amqp10Talk, attach: Frame) -> None:
        if attach.performative and attach.performative.fields["name"] == "it" and len(refused) < 3:
            refused.append(attach)
            refuse(talk, attach)
        else:
            await broker.usual(talk, attach)

    broker = Broker(on={"attach": step})
    declared = (make("a", "it", keep=True), sender("b", "other"))
    async with opened(broker, links=declared) as found:
        seen: list[LinkInfo] = []

        def all_refused() -> bool:
            seen.append(info(found, "it"))
            return len(refused) == 3

        await eventually(all_refused)
        told = await until(found, "it", LinkState.ATTACHED)
        assert told.message == ""
        assert (await until(found, "other", LinkState.ATTACHED)).message == ""
        assert found.connection.is_open
        told_before = [each for each in seen if each.message]
        assert {each.state for each in told_before} <= {LinkState.REFUSED, LinkState.DETACHED}
        assert all("amqp:not-found: no" in each.message for each in told_before)
        # Nothing of what was refused is left at the peer.
        await eventually(lambda: len(found.talk.sessions) == 3)


async def test_a_link_that_is_not_answered_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_ATTACH_SECONDS", 0.05)
    asked: list[Frame] = []

    async def step(talk: Amqp10Talk, attach: Frame) -> None:
        asked.append(attach)
        if len(asked) > 2:
            await broker.usual(talk, attach)

    broker = Broker(on={"attach": step})
    async with opened(broker, links=(sender("a"),)) as found:
        told = await until(found, "out", LinkState.REFUSED)
        assert told.message == "the broker has not answered Attach within 0.05 s"
        await until(found, "out", LinkState.ATTACHED)


async def test_the_pauses_between_tries_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[int] = []

    def delay(retry: Retry, *, failures: int, rng: object) -> float:
        del retry, rng
        pauses.append(failures)
        return 0.0

    monkeypatch.setattr(links, "spaced_delay", delay)
    broker = Broker(refused={"a": error("amqp:not-found")})
    async with opened(broker, links=(sender("a"),)):
        await eventually(lambda: len(pauses) >= 4)
    assert pauses[:4] == [1, 2, 3, 4]


def attached_times(found: Opened, times: int) -> bool:
    return len(attaches(found.talk, "out")) >= times


async def test_a_link_that_was_attached_and_is_detached_is_tried_again() -> None:
    async with opened(links=(sender("a"),)) as found:
        for times in range(1, 4):
            await eventually(functools.partial(attached_times, found, times))
            await until(found, "out", LinkState.ATTACHED)
            link = found.talk.link("out")
            found.talk.detach(link, error=error("amqp:link:detach-forced", "out you go"))
        await eventually(functools.partial(attached_times, found, 4))
        await until(found, "out", LinkState.ATTACHED)
        assert found.connection.is_open


async def test_a_link_whose_session_ends_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_RETRY", Retry(delay=30.0, max_delay=30.0))
    async with opened(links=(sender("a"),)) as found:
        await until(found, "out", LinkState.ATTACHED)
        channel = found.talk.link("out").session.channel
        found.talk.end(channel, error("amqp:internal-error", "oops"))
        told = await until(found, "out", LinkState.DETACHED)
        assert told.message == "the broker ended the session: amqp:internal-error: oops"
        assert told.credit is None
        assert found.connection.is_open


# Receivers


async def test_a_receiver_that_is_not_kept_is_looked_at_and_detached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "_LOOK_AGAIN_SECONDS", 0.02)
    async with opened(links=(receiver("a"),)) as found:
        await eventually(lambda: len(found.talk.all("detach")) >= 3)
        await eventually(lambda: info(found, "in").source is not None)
        assert all(each.closed for each in found.talk.all("detach"))
        assert info(found, "in").message == ""
        assert not info(found, "in").kept


async def test_a_receiver_that_is_not_kept_shows_what_was_confirmed() -> None:
    async with opened(links=(receiver("a"),)) as found:
        told = await until(found, "in", LinkState.DETACHED)
        assert told.address == "a"
        assert told.message == ""
        await eventually(lambda: len(found.talk.sessions) == 1, what="its session has ended")


async def test_a_peer_that_does_not_answer_detach_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attachments.Attachment.detach, "__kwdefaults__", {"timeout": 0.05})
    async with opened(Broker(on={"detach": IGNORED}), links=(receiver("a"),)) as found:
        await until(found, "in", LinkState.DETACHED)
        await eventually(lambda: len(found.talk.all("end")) == 1)
        assert found.connection.is_open


# R4.16
async def test_a_receiver_is_kept_and_gives_no_credit() -> None:
    async with opened(links=(receiver("a", keep=True),)) as found:
        await until(found, "in", LinkState.ATTACHED)
        broker_link = found.talk.link("in")
        found.talk.deliver(broker_link, message("x"))  # as soon as there is credit
        found.talk.flow(broker_link.session, echo=True)
        with pytest.raises(TimeoutError):
            await found.connection._wire.until(never, timeout=SHORT)
        assert broker_link.credit == 0
        assert len(broker_link.waiting) == 1
        assert [each.link_credit for each in found.talk.all("flow") if each.link_credit] == []
        assert info(found, "in").credit == 0
        assert info(found, "in").state is LinkState.ATTACHED


# R4.16
async def test_a_message_that_nobody_asked_for_is_an_error_of_its_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "_RETRY", Retry(delay=30.0, max_delay=30.0))
    async with opened(links=(receiver("a", keep=True),)) as found:
        await until(found, "in", LinkState.ATTACHED)
        found.talk.transfer(found.talk.link("in"), message("x"))
        told = await until(found, "in", LinkState.DETACHED)
        assert told.message == (
            "the broker sent a message that was not asked for: amqp:link:transfer-limit-exceeded"
        )
        await eventually(lambda: found.talk.all("detach"))
        [said] = found.talk.all("disposition")
        assert (said.state.name, said.settled) == ("released", True)
        assert found.connection.is_open


# Durable subscriptions


def subscription(**changes: Any) -> Any:
    return receiver(
        "topic",
        durable_subscription="my-subscription",
        source=SourceParameters(
            address="topic", durability=Durability.UNSETTLED_STATE, expiry=Expiry.NEVER
        ),
        **changes,
    )


# R4.13
async def test_a_durable_subscription_names_its_link() -> None:
    async with opened(links=(subscription(),)) as found:
        told = await until(found, "in", LinkState.DETACHED)
        assert told.durable_subscription == "my-subscription"
        [sent] = attaches(found.talk, "my-subscription")
        assert (sent.source.durable, sent.source.expiry_policy) == (2, "never")


def closes_nothing(talk: Amqp10Talk) -> bool:
    return not any(each.closed for each in talk.all("detach"))


# R4.13
# Closing its link is what deletes it (§2.6.5).
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "looked at"])
async def test_a_durable_subscription_is_never_closed(
    monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    monkeypatch.setattr(links, "_LOOK_AGAIN_SECONDS", 0.02)
    async with opened(links=(subscription(keep=keep),)) as found:
        if keep:
            await until(found, "in", LinkState.ATTACHED)
        else:
            await eventually(lambda: len(found.talk.all("detach")) >= 2)
        await found.connection.close()
        await closed(found.recorder)
        assert closes_nothing(found.talk)
        assert found.talk.names[-1] == "close"


@pytest.mark.parametrize("how", ["detached", "session ended", "not answered", "refused", "dropped"])
async def test_a_durable_subscription_is_not_closed_whatever_happens_to_it(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(links, "_ATTACH_SECONDS", 0.05 if how == "not answered" else 30.0)
    attached: list[Frame] = []

    async def step(talk: Amqp10Talk, attach: Frame) -> None:
        attached.append(attach)
        if how == "refused":
            refusing(talk, attach)
        elif how != "not answered":
            await broker.usual(talk, attach)

    broker = Broker(on={"attach": step})
    async with opened(broker, links=(subscription(keep=True),)) as found:
        await eventually(lambda: attached)
        if how in {"detached", "session ended", "dropped"}:
            await until(found, "in", LinkState.ATTACHED)
            link = found.talk.link("my-subscription")
        if how == "detached":
            found.talk.detach(link, closed=None)
        elif how == "session ended":
            found.talk.end(link.session.channel)
        elif how == "dropped":
            found.connection.abort()
            await closed(found.recorder)
        if how != "dropped":
            await eventually(lambda: len(attached) >= 3 or how in {"detached", "session ended"})
            await eventually(lambda: len(attached) >= 2)
        assert closes_nothing(found.talk)


# Limits


async def test_there_are_no_more_sessions_than_the_peer_takes() -> None:
    declared = tuple(sender("a", f"s{number}") for number in range(4))
    async with opened(Broker(opened={"channel_max": 2}), links=declared) as found:
        for name in ("s0", "s1"):
            await until(found, name, LinkState.ATTACHED)
        for name in ("s2", "s3"):
            told = await until(found, name, LinkState.REFUSED)
            assert "3 sessions (channel-max)" in told.message
        assert found.connection.is_open
        assert max(each.channel for each in found.talk.all("begin")) == 2


async def test_a_link_takes_the_place_of_one_that_is_gone() -> None:
    declared = tuple(sender(f"q{number}", f"s{number}") for number in range(2))
    broker = Broker(opened={"channel_max": 1})
    async with opened(broker, links=declared) as found:
        await until(found, "s0", LinkState.ATTACHED)
        await until(found, "s1", LinkState.REFUSED)
        refuse = error("amqp:not-found")
        broker.refused = {"q0": refuse}
        found.talk.detach(found.talk.link("s0"), error=refuse)
        await until(found, "s1", LinkState.ATTACHED)


# The end


async def test_links_end_with_the_connection() -> None:
    """The fixture of this folder sees that no task is left."""
    declared = (sender("a"), receiver("b", keep=True), sender("no", "refused"))
    async with opened(Broker(refused={"no": error("amqp:not-found")}), links=declared) as found:
        await until(found, "out", LinkState.ATTACHED)
        found.talk.hang_up()
        await closed(found.recorder)
        tasks = [each.get_name() for each in asyncio.all_tasks()]
        await eventually(
            lambda: not any("amqp10/link" in each.get_name() for each in asyncio.all_tasks()),
            what=f"no task of a link among {tasks}",
        )
