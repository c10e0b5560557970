"""The probe over AMQP 1.0 against scripted peers: what becomes of it, and what is left of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from support.amqp10_library import MISSING

pytest.importorskip("proton", reason=MISSING)

from springline.drivers.amqp10.parameters import ProbeParameters
from springline.drivers.amqp10.probe_target import Amqp10ProbeTarget, NothingToSendError
from springline.errors import NotOpenError, ProbeRefusal, ProbeRefusedError
from support.amqp10 import SHORT, Opened, opened, rabbitmq
from support.amqp10_broker import IGNORED, Broker, Step
from support.amqp10_opening import probed
from support.amqp10_peer import Amqp10Talk, Frame
from support.amqp10_types import (
    Described,
    Raw,
    ULong,
    accepted,
    encoded,
    error,
    message,
    modified,
    received,
    rejected,
    released,
    sections,
)
from support.waiting import eventually

SENDS = ProbeParameters(address="probes")
RECEIVES = ProbeParameters(address="probes", receive=True)


async def refusal(found: Opened, *, timeout: float = 5.0) -> ProbeRefusedError:
    """Return why a probe was refused; the connection is as it was."""
    with pytest.raises(ProbeRefusedError) as caught:
        await probed(found.connection, timeout=timeout)
    assert found.connection.is_open
    return caught.value


async def settled_as(found: Opened, names: list[str]) -> None:
    """Wait until the peer has been told just this of its messages."""

    def said() -> list[str]:
        return [each.state.name for each in found.talk.all("disposition") if each.role]

    await eventually(lambda: len(said()) >= len(names))
    assert said() == names


# Outcomes


# R4.9
async def test_an_accepted_message_is_a_probe_that_came_through() -> None:
    broker = Broker()
    async with opened(broker, probe=SENDS) as found:
        seconds = await probed(found.connection, lifetime=7.5)
        assert seconds is not None
        assert seconds >= 0
        [(address, octets)] = broker.messages
        assert address == "probes"
        said = sections(octets)
        assert said["header"].ttl == 7500
        assert not said["header"].durable
        assert said["properties"].message_id.startswith("springline-probe-")
        assert said["value"] is None


async def test_a_probe_without_a_lifetime_has_none() -> None:
    broker = Broker()
    async with opened(broker, probe=SENDS) as found:
        await found.connection.probe(Amqp10ProbeTarget(), timeout=5)
        assert sections(broker.messages[0][1])["header"].ttl is None


REJECTIONS = {
    None: (ProbeRefusal.OTHER, "rejected"),
    "amqp:not-found": (ProbeRefusal.PLACE_MISSING, "rejected: amqp:not-found: why"),
    "amqp:resource-deleted": (ProbeRefusal.PLACE_MISSING, "rejected: amqp:resource-deleted: why"),
    "amqp:unauthorized-access": (
        ProbeRefusal.NO_PERMISSION,
        "rejected: amqp:unauthorized-access: why",
    ),
    "amqp:not-allowed": (ProbeRefusal.NO_PERMISSION, "rejected: amqp:not-allowed: why"),
    "amqp:resource-limit-exceeded": (
        ProbeRefusal.LIMIT,
        "rejected: amqp:resource-limit-exceeded: why",
    ),
    "amqp:internal-error": (ProbeRefusal.TROUBLE, "rejected: amqp:internal-error: why"),
    "a:b": (ProbeRefusal.OTHER, "rejected: a:b: why"),
}


# R4.9
@pytest.mark.parametrize("condition", REJECTIONS)
async def test_a_rejected_message_says_why(condition: str | None) -> None:
    why, text = REJECTIONS[condition]
    broker = Broker(settled=rejected(condition, "why" if condition else None))
    async with opened(broker, probe=SENDS) as found:
        failure = await refusal(found)
        assert (failure.why, failure.text) == (why, text)


OUTCOMES: dict[str, tuple[Any, ProbeRefusal, str]] = {
    "released": (released(), ProbeRefusal.PLACE_MISSING, "released: "),
    "modified": (modified(delivery_failed=True), ProbeRefusal.TROUBLE, "modified: "),
    "a state that there is not": (
        Raw(encoded(Described(ULong(0x99), []))),
        ProbeRefusal.OTHER,
        "unknown: ",
    ),
    "a declared transaction": (
        Raw(encoded(Described(ULong(0x33), [b"x"]))),
        ProbeRefusal.OTHER,
        "unknown: ",
    ),
}


# R4.9, R4.15
@pytest.mark.parametrize(("state", "why", "text"), OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_every_other_outcome_is_told_apart(state: Any, why: ProbeRefusal, text: str) -> None:
    async with opened(Broker(settled=state), probe=SENDS) as found:
        failure = await refusal(found)
        assert failure.why is why
        assert failure.text.startswith(text)


# R4.15
async def test_settled_without_a_state_is_unknown() -> None:
    def step(talk: Amqp10Talk, transfer: Frame) -> None:
        talk.settle(transfer, None)

    async with opened(Broker(on={"transfer": step}), probe=SENDS) as found:
        failure = await refusal(found)
        assert failure.text.startswith("unknown: ")


# R4.9, R4.14
async def test_no_outcome_is_a_time_out() -> None:
    async with opened(Broker(settled=None), probe=SENDS) as found:
        with pytest.raises(TimeoutError):
            await probed(found.connection, timeout=SHORT)
        assert found.connection.is_open


async def test_a_state_that_is_no_outcome_is_waited_on() -> None:
    def step(talk: Amqp10Talk, transfer: Frame) -> None:
        talk.settle(transfer, received(), settled=False)
        talk.settle(transfer, accepted())

    async with opened(Broker(on={"transfer": step}), probe=SENDS) as found:
        assert await probed(found.connection) is not None


# R4.9, R4.14
async def test_no_credit_is_unsent() -> None:
    broker = Broker(credit=0)
    async with opened(broker, probe=SENDS) as found:
        failure = await refusal(found, timeout=SHORT)
        assert failure.why is ProbeRefusal.TROUBLE
        assert failure.text.startswith("unsent: ")
        assert broker.messages == []
        broker.credit = 10
        found.talk.grant(found.talk.link("springline-probe-sender"), 10)
        assert await probed(found.connection) is not None


async def test_a_late_outcome_harms_no_later_probe() -> None:
    late: list[Frame] = []

    def step(talk: Amqp10Talk, transfer: Frame) -> None:
        late.append(transfer)
        if len(late) > 1:
            talk.settle(late[0], rejected("amqp:not-found"))
            talk.settle(transfer, accepted())
            talk.settle(late[0], released())

    async with opened(Broker(on={"transfer": step}), probe=SENDS) as found:
        with pytest.raises(TimeoutError):
            await probed(found.connection, timeout=SHORT)
        for _ in range(3):
            assert await probed(found.connection) is not None


async def test_a_settlement_of_what_was_never_sent_harms_nobody() -> None:
    def step(talk: Amqp10Talk, transfer: Frame) -> None:
        for first, last in ((77, None), (1000, 2000), (0xFFFFFFFF, None)):
            talk.settle(transfer, rejected(), first=first, last=last)
        talk.settle(transfer, accepted())

    async with opened(Broker(on={"transfer": step}), probe=SENDS) as found:
        assert await probed(found.connection) is not None


# The sender


async def test_the_sender_is_kept_between_probes() -> None:
    async with opened(probe=SENDS) as found:
        for _ in range(3):
            await probed(found.connection)
        assert len(found.talk.all("attach")) == 1
        assert found.talk.all("detach") == []


@pytest.mark.parametrize("closed", [True, None], ids=["closed", "detached"])
async def test_a_sender_that_was_detached_is_attached_again(closed: bool | None) -> None:
    async with opened(probe=SENDS) as found:
        await probed(found.connection)
        found.talk.detach(found.talk.link("springline-probe-sender"), closed=closed)
        sender = found.connection._probe
        await eventually(lambda: sender._sender is not None and not sender._sender.is_attached)
        assert await probed(found.connection) is not None
        assert len(found.talk.all("attach")) == 2


def ends_session(talk: Amqp10Talk, frame: Frame) -> None:
    talk.end(frame.channel, error("amqp:not-found", "no such node"))


def detaches(talk: Amqp10Talk, frame: Frame) -> None:
    link = talk.sessions[frame.channel].links[frame.handle]
    talk.detach(link, error=error("amqp:not-found", "no such node"))


@pytest.mark.parametrize("step", [ends_session, detaches])
async def test_an_end_instead_of_an_outcome_says_why(step: Step) -> None:
    async with opened(Broker(on={"transfer": step}), probe=SENDS) as found:
        for _ in range(2):
            failure = await refusal(found)
            assert failure.why is ProbeRefusal.PLACE_MISSING
            assert failure.text.endswith("amqp:not-found: no such node")


async def test_a_node_that_is_not_there_is_said() -> None:
    broker = Broker(refused={"probes": error("amqp:not-found", "no such node")})
    async with opened(broker, probe=SENDS) as found:
        failure = await refusal(found)
        assert failure.why is ProbeRefusal.PLACE_MISSING
        assert failure.text == "the broker refused it: amqp:not-found: no such node"
        broker.refused = {}
        assert await probed(found.connection) is not None


async def test_an_attach_that_is_not_answered_is_a_time_out() -> None:
    async with opened(Broker(on={"attach": IGNORED}), probe=SENDS) as found:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await probed(found.connection, timeout=SHORT)
        assert found.connection.is_open


async def test_no_room_for_a_session_is_a_limit() -> None:
    async with opened(Broker(opened={"channel_max": 0}), probe=SENDS) as found:
        failure = await refusal(found)
        assert failure.why is ProbeRefusal.LIMIT


@pytest.mark.parametrize("step", ["attach", "transfer"])
async def test_the_end_of_the_connection_ends_a_probe(step: str) -> None:
    broker = Broker(on={step: lambda talk, _: talk.hang_up()})
    async with opened(broker, probe=SENDS) as found:
        with pytest.raises(NotOpenError):
            await probed(found.connection)


@pytest.mark.parametrize("step", ["attach", "transfer"])
async def test_a_probe_can_be_cancelled(step: str) -> None:
    arrived = asyncio.Event()
    broker = Broker(on={step: lambda *_: arrived.set()})
    async with opened(broker, probe=SENDS) as found:
        probing = asyncio.ensure_future(probed(found.connection))
        await arrived.wait()
        probing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probing
        broker.on = {}
        assert await probed(found.connection) is not None


# Taking it back


# R4.16
async def test_what_is_sent_is_taken_back() -> None:
    broker = Broker()
    async with opened(broker, probe=RECEIVES) as found:
        for _ in range(3):
            assert await probed(found.connection) is not None
        assert not broker.queues["probes"]
        await settled_as(found, ["accepted"] * 3)
        given = [each.link_credit for each in found.talk.all("flow") if each.link_credit]
        assert given == [1, 1, 1]
        await eventually(
            lambda: [each.name for each in found.talk.links] == ["springline-probe-sender"]
        )


# R4.16
async def test_what_others_have_sent_is_released() -> None:
    broker = Broker()
    broker.queues["probes"].extend([message("another's"), b"", b"\xff\xff garbage"])
    async with opened(broker, probe=RECEIVES) as found:
        assert await probed(found.connection) is not None
        await settled_as(found, ["released"] * 3 + ["accepted"])


async def test_what_is_left_of_a_probe_before_is_taken() -> None:
    broker = Broker()
    broker.queues["probes"].append(message(properties={"message_id": "springline-probe-before"}))
    async with opened(broker, probe=RECEIVES) as found:
        assert await probed(found.connection) is not None
        await settled_as(found, ["accepted", "accepted"])
        assert not broker.queues["probes"]


GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "no sections": b"\x41",
    "a section that is none": encoded(Described(ULong(0x99), [1])),
    "properties that are a map": encoded(Described(ULong(0x73), {1: 2})),
    "an id that is a number": message(properties={"message_id": 7}),
    "a long message": message("x" * 100_000),
    "deep lists": b"\x00\x53\x77" + b"\xc0\xff\x01" * 50,
    "application properties that are a list": encoded(Described(ULong(0x74), [1])),
}


# R4.16
@pytest.mark.parametrize("octets", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_message_that_makes_no_sense_is_released(octets: bytes) -> None:
    broker = Broker()
    broker.queues["probes"].append(octets)
    async with opened(broker, probe=RECEIVES) as found:
        assert await probed(found.connection) is not None
        await settled_as(found, ["released", "accepted"])


async def test_a_node_full_of_others_messages_is_said_to_be_one() -> None:
    broker = Broker()
    broker.queues["probes"].extend(message("x") for _ in range(20))
    async with opened(broker, probe=RECEIVES) as found:
        failure = await refusal(found)
        assert "messages of others" in failure.text
        await settled_as(found, ["released"] * 8)


async def test_a_message_that_does_not_come_back_is_a_time_out() -> None:
    def step(talk: Amqp10Talk, transfer: Frame) -> None:
        talk.settle(transfer, accepted())

    async with opened(Broker(on={"transfer": step}), probe=RECEIVES) as found:
        with pytest.raises(TimeoutError):
            await probed(found.connection, timeout=SHORT)
        await eventually(lambda: [each.is_sender for each in found.talk.links] == [True])
        assert found.connection.is_open


# Without an address


async def test_without_an_address_rabbitmq_is_asked_for_a_session() -> None:
    async with opened(rabbitmq("4.0.5")) as found:
        assert found.connection.info.server.tells_blocks
        for _ in range(3):
            assert await probed(found.connection) is not None
        await eventually(lambda: len(found.talk.all("end")) == 3)
        assert len(found.talk.all("begin")) == 4
        assert found.talk.all("attach") == []
        assert list(found.talk.sessions) == [0]


@pytest.mark.parametrize(
    "broker",
    [Broker(), rabbitmq("3.10.8"), Broker(opened={"properties": {"product": "Some"}})],
    ids=["nobody", "RabbitMQ 3.10", "another"],
)
async def test_without_an_address_others_show_nothing(broker: Broker) -> None:
    async with opened(broker) as found:
        assert not found.connection.info.server.tells_blocks
        with pytest.raises(NothingToSendError):
            await probed(found.connection)
        assert len(found.talk.all("begin")) == 1
        assert found.talk.all("attach") == []


SESSIONS: dict[str, tuple[Callable[[Amqp10Talk, Frame], None], type[Exception]]] = {
    "not answered": (lambda *_: None, TimeoutError),
    "the connection ends": (lambda talk, _: talk.hang_up(), NotOpenError),
}


@pytest.mark.parametrize(("does", "raises"), SESSIONS.values(), ids=SESSIONS.keys())
async def test_a_session_that_is_not_begun_is_no_answer(
    does: Callable[[Amqp10Talk, Frame], None], raises: type[Exception]
) -> None:
    async def step(talk: Amqp10Talk, begin: Frame) -> None:
        if begin.channel == 0:
            await broker.usual(talk, begin)
        else:
            does(talk, begin)

    broker = rabbitmq(on={"begin": step})
    async with opened(broker) as found:
        with pytest.raises(raises):
            await probed(found.connection, timeout=SHORT)


async def test_a_session_that_is_ended_at_once_says_why() -> None:
    async def step(talk: Amqp10Talk, begin: Frame) -> None:
        await broker.usual(talk, begin)
        if begin.channel != 0:
            talk.end(begin.channel, error("amqp:resource-limit-exceeded", "too many"))

    broker = rabbitmq(on={"begin": step})
    async with opened(broker) as found:
        with pytest.raises(ProbeRefusedError) as caught:
            await probed(found.connection)
        assert caught.value.why is ProbeRefusal.LIMIT
        assert "too many" in caught.value.text
        assert found.connection.is_open


async def test_a_late_begin_harms_nobody() -> None:
    late: list[Frame] = []

    async def step(talk: Amqp10Talk, begin: Frame) -> None:
        if begin.channel == 0 or late:
            for each in late:
                talk.begin(each.channel)
                talk.end(each.channel)
            late.clear()
            await broker.usual(talk, begin)
        else:
            late.append(begin)

    broker = rabbitmq(on={"begin": step, "end": IGNORED})
    async with opened(broker) as found:
        with pytest.raises(TimeoutError):
            await probed(found.connection, timeout=SHORT)
        assert found.connection.is_open
