"""Peers of AMQP 1.0 that break the protocol, break off or never answer, at each step.

Each one becomes the right reason within the time-out, while opening and afterwards, and leaves no
socket and no task. What an orderly broker does is tested against real ones in tests/amqp10.
"""

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from springline.core.values import ClosedBy
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    NotOpenError,
    RejectedError,
    SecretNotSentError,
    SecretUpdateTimeoutError,
    TransientError,
)
from springline.reasons import Reason
from support import amqp10_broker, amqp10_opening, amqp10_peer, opening
from support.amqp10_broker import IGNORED, Broker, Login, Reply, Step
from support.amqp10_peer import AMQP_HEADER, SASL_HEADER, Amqp10Peer, Amqp10Talk, Frame, frame
from support.amqp10_types import Composite, Raw, composite, encoded
from support.opening import Recorder
from support.scram_server import ScramUser
from support.waiting import PATIENCE, eventually

SHORT = 0.5
PLANTED = "pl4nted-s3cret"
RABBITMQ = {"properties": {"product": "RabbitMQ", "version": "4.3.6"}}

STEPS = [
    pytest.param("header", "no AMQP", id="instead of the mechanisms"),
    pytest.param("sasl_init", "the login", id="instead of the outcome"),
    pytest.param("open", "opening the connection", id="instead of Open"),
    pytest.param("begin", "beginning a session", id="instead of Begin"),
]
ALL_STEPS = pytest.mark.parametrize(("step", "says"), STEPS)
ONE_STEP = pytest.mark.parametrize("step", ["open", "begin"])

NO_TEXT = Raw(b"\xa3\x02\xff\xfe")
"""A symbol that is not ASCII."""
NO_UTF_8 = Raw(b"\xa1\x02\xff\xfe")

DAMAGED = {
    "garbage": b"\xde\xad\xbe\xef" * 16,
    "a frame over what was agreed on": frame(size=0x7FFFFFFF),
    "a size below that of a header": frame(size=7),
    "a data offset behind the frame": frame(doff=200),
    "a frame of SASL": frame(composite("sasl_outcome", code=0)),
    "a frame of no layer": frame(composite("flow"), kind=7),
    "a protocol header": AMQP_HEADER,
    "no performative": frame(body=b"\x40"),
    "a performative that there is not": frame(body=b"\x00\x53\x99\x45"),
    "a list that says more than it has": frame(body=b"\x00\x53\x11\xc0\xff\xff"),
    "lists in lists": frame(body=b"\x00\x53\x13" + b"\xc0\xfa\x01" * 80),
    "descriptors of descriptors": frame(body=b"\x00" * 400),
    "an array of four billion": frame(
        composite("open", offered_capabilities=Raw(b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x45"))
    ),
    "a session that nobody asked for": frame(
        composite("begin", next_outgoing_id=0, incoming_window=1, outgoing_window=1), channel=3
    ),
    "a transfer on no link": frame(composite("transfer", handle=99, delivery_id=0)),
    "a transfer that is no list": frame(body=b"\x00\x53\x14\x40"),
    "a flow of no session": frame(composite("flow"), channel=77),
    "the end of no session": frame(composite("end"), channel=9),
    "the end of no link": frame(composite("detach", handle=44)),
    "an error that is no text": frame(
        composite("close", error=composite("error", condition=NO_TEXT))
    ),
    "an error with words that are no text": frame(
        composite("close", error=composite("error", condition="amqp:x", description=NO_UTF_8))
    ),
}


def instead(octets: bytes) -> Step:
    """A step that sends these."""
    return lambda talk, _: talk.raw(octets)


async def refused(peer: Amqp10Peer, *, timeout: float = 10.0, **changes: Any) -> ConnectError:
    """Return the error of an attempt."""
    with pytest.raises(ConnectError) as caught:
        async with (
            asyncio.timeout(PATIENCE),
            amqp10_opening.opened(
                amqp10_opening.request(
                    peer.port,
                    credential=opening.password("ann", PLANTED),
                    timeout=timeout,
                    **changes,
                )
            ),
        ):
            pass
    assert PLANTED not in "".join(traceback.format_exception(caught.value))
    return caught.value


# R2.4
@ALL_STEPS
async def test_a_peer_that_stops_answering_costs_the_time_out(step: str, says: str) -> None:
    async with amqp10_peer.serving(Broker(on={step: IGNORED})) as peer:
        found = await refused(peer, timeout=SHORT)
    assert type(found) is TransientError
    assert found.reason is Reason.CONNECT_TIMEOUT
    assert says in found.message


@ALL_STEPS
@pytest.mark.parametrize("leave", [Amqp10Talk.hang_up, Amqp10Talk.reset])
async def test_a_peer_that_leaves_is_told_with_the_step(
    step: str, says: str, leave: Callable[[Amqp10Talk], None]
) -> None:
    broker = Broker(on={step: lambda talk, _: leave(talk)})
    async with amqp10_peer.serving(broker) as peer:
        found = await refused(peer)
    assert type(found) is TransientError
    assert found.reason is Reason.PEER_CLOSED
    assert says in found.message


@ONE_STEP
@pytest.mark.parametrize("octets", DAMAGED.values(), ids=DAMAGED.keys())
async def test_damage_while_opening_is_told_and_not_waited_out(step: str, octets: bytes) -> None:
    async with amqp10_peer.serving(Broker(on={step: instead(octets)})) as peer:
        found = await refused(peer)
    assert type(found) is RejectedError
    assert found.reason is Reason.PROTOCOL_MISMATCH


@pytest.mark.parametrize("octets", DAMAGED.values(), ids=DAMAGED.keys())
async def test_damage_ends_an_open_connection_even_without_signs_of_life(octets: bytes) -> None:
    """Also what proton says nothing of: it takes in nothing more, and nobody would see it."""
    async with (
        amqp10_peer.serving(Broker()) as peer,
        amqp10_opening.opened(amqp10_opening.request(peer.port, heartbeat_seconds=0)) as connection,
    ):
        recorder = Recorder()
        connection.observe(recorder)
        peer.talk.raw(octets)
        await eventually(lambda: recorder.closes)
        [close] = recorder.closes
        assert (close.by, close.reason) == (ClosedBy.CLIENT, Reason.PROTOCOL_MISMATCH)
        assert not connection.is_open


@pytest.mark.parametrize(
    "performative",
    [
        composite("end", error=composite("error", condition=NO_TEXT)),
        composite("end", error=composite("error", condition="amqp:x", description=NO_UTF_8)),
        composite("detach", handle=0, error=composite("error", condition=NO_TEXT)),
        composite("flow", incoming_window=Raw(encoded(-5)), next_outgoing_id=0, outgoing_window=1),
        composite(
            "disposition",
            role=True,
            first=0,
            state=composite("rejected", error=composite("error", condition=NO_TEXT)),
        ),
    ],
    ids=["end, symbol", "end, words", "detach", "a window below zero", "outcome"],
)
async def test_what_is_no_text_or_no_number_ends_the_connection(performative: Composite) -> None:
    """Proton takes it in, and cannot hand it out."""
    async with (
        amqp10_peer.serving(Broker()) as peer,
        amqp10_opening.opened(
            amqp10_opening.request(peer.port, links=(amqp10_opening.sender("q"),))
        ) as connection,
    ):
        recorder = Recorder()
        connection.observe(recorder)
        await eventually(lambda: peer.talk.links)
        peer.talk.send(performative, channel=peer.talk.links[0].session.channel)
        await eventually(lambda: recorder.closes)
        assert recorder.closes[0].reason is Reason.PROTOCOL_MISMATCH


async def test_a_flood_of_signs_of_life_ends_the_connection() -> None:
    async with (
        amqp10_peer.serving(Broker()) as peer,
        amqp10_opening.opened(amqp10_opening.request(peer.port)) as connection,
    ):
        recorder = Recorder()
        connection.observe(recorder)
        flood = asyncio.create_task(peer.talk.flood(frame() * 100))
        await eventually(lambda: recorder.closes)
        assert recorder.closes[0].reason is Reason.FLOODED
        flood.cancel()
        await asyncio.wait({flood})


async def test_a_handshake_in_single_octets_is_a_handshake() -> None:
    async def script(talk: Amqp10Talk) -> None:
        broker = Broker(on=dict.fromkeys(("header", "sasl_init", "open", "begin"), in_pieces))
        await broker(talk)

    async def in_pieces(talk: Amqp10Talk, said: Frame) -> None:
        if said.name == "header" and said.payload == SASL_HEADER:
            offer = composite("sasl_mechanisms", sasl_server_mechanisms=("PLAIN",))
            octets = SASL_HEADER + frame(offer)
        else:
            octets = {
                "header": AMQP_HEADER,
                "sasl_init": frame(composite("sasl_outcome", code=0)),
                "open": frame(composite("open", container_id="in pieces")),
                "begin": frame(
                    composite(
                        "begin",
                        remote_channel=said.channel,
                        next_outgoing_id=0,
                        incoming_window=2048,
                        outgoing_window=2048,
                    )
                ),
            }[said.name]
        await talk.pieces(octets)

    async with (
        amqp10_peer.serving(script) as peer,
        amqp10_opening.opened(amqp10_opening.request(peer.port)) as connection,
    ):
        found = amqp10_opening.negotiated(connection)
        assert found.peer_container_id == "in pieces"


async def test_a_peer_may_say_at_once_what_it_need_not_be_asked_for() -> None:
    """AMQP 1.0 §2.4.1: headers, outcome and Open, before ours have come."""

    def at_once(talk: Amqp10Talk, header: Frame) -> None:
        if header.payload == SASL_HEADER:
            talk.raw(SASL_HEADER)
            talk.offer("PLAIN")
            talk.outcome()
            talk.raw(AMQP_HEADER)
            talk.open()

    broker = Broker(on={"header": at_once, "sasl_init": IGNORED, "open": IGNORED})
    async with (
        amqp10_peer.serving(broker) as peer,
        amqp10_opening.opened(amqp10_opening.request(peer.port)) as connection,
    ):
        assert connection.is_open


async def test_a_session_that_is_answered_before_it_is_begun_is_no_session() -> None:
    async with amqp10_peer.serving(amqp10_broker.eager) as peer:
        found = await refused(peer)
    assert type(found) is RejectedError
    assert found.reason is Reason.PROTOCOL_MISMATCH


# SCRAM


def scram(**changes: Any) -> Broker:
    user = ScramUser.create("SCRAM-SHA-256", "ann", PLANTED)
    return Broker(mechanisms=("PLAIN", "SCRAM-SHA-256"), scram=user, **changes)


@pytest.mark.parametrize("proof", ["challenge", "outcome", "both"])
async def test_a_login_by_scram_sends_no_password(proof: Any) -> None:
    broker = scram(proof=proof)
    async with (
        amqp10_peer.serving(broker) as peer,
        amqp10_opening.opened(
            amqp10_opening.request(
                peer.port,
                credential=opening.password("ann", PLANTED),
                mechanisms=("SCRAM-SHA-256", "PLAIN"),
            )
        ) as connection,
    ):
        assert amqp10_opening.negotiated(connection).mechanism == "SCRAM-SHA-256"
        assert connection.info.proved
        assert broker.logins == [Login(mechanism="SCRAM-SHA-256", user="ann")]
        said = [repr(each) for each in peer.talk.received]
        assert not any(PLANTED in each for each in said)


async def test_a_secret_that_the_login_does_not_send_is_not_sent_to_renew_it_either() -> None:
    """Without TLS anybody on the way may pass on the login, and then say that it is RabbitMQ."""
    broker = scram(opened=RABBITMQ, management=lambda _: Reply())
    async with (
        amqp10_peer.serving(broker) as peer,
        amqp10_opening.opened(
            amqp10_opening.request(
                peer.port,
                credential=opening.password("ann", PLANTED),
                sasl=SaslPolicy(mechanisms=("SCRAM-SHA-256",), allow_insecure=False),
            )
        ) as connection,
    ):
        assert "SCRAM-SHA-256" in connection.cannot_renew


async def test_a_broker_that_does_not_know_the_password_is_left() -> None:
    async with amqp10_peer.serving(scram(proof="none")) as peer:
        found = await refused(peer, mechanisms=("SCRAM-SHA-256",))
    assert type(found) is RejectedError
    assert found.reason is Reason.ACCESS_REFUSED
    assert "without proving that it knows the password" in found.message
    assert peer.talk.last("open") is None


async def test_a_wrong_password_is_refused_by_scram() -> None:
    broker = scram()
    broker.scram = ScramUser.create("SCRAM-SHA-256", "ann", "another")
    async with amqp10_peer.serving(broker) as peer:
        found = await refused(peer, mechanisms=("SCRAM-SHA-256",))
    assert type(found) is CredentialRejectedError
    assert found.reason is Reason.ACCESS_REFUSED


# Renewal


async def test_a_renewal_that_is_never_answered_costs_its_time_out() -> None:
    broker = Broker(opened=RABBITMQ, management=lambda _: Reply(status=None))
    async with (
        amqp10_peer.serving(broker) as peer,
        amqp10_opening.opened(amqp10_opening.request(peer.port)) as connection,
    ):
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.renew(opening.token("a.b.c"), timeout=SHORT)
        assert connection.is_open
        assert broker.tokens == ["a.b.c"]


async def test_a_message_of_nobody_is_not_taken_for_an_answer() -> None:
    """A node that is none of the management's echoes what it is sent."""
    broker = Broker(opened=RABBITMQ)
    async with (
        amqp10_peer.serving(broker) as peer,
        amqp10_opening.opened(amqp10_opening.request(peer.port)) as connection,
    ):
        with pytest.raises(SecretNotSentError, match="the broker answered") as caught:
            await connection.renew(opening.token(PLANTED), timeout=5)
        assert PLANTED not in "".join(traceback.format_exception(caught.value))


# Sessions ----------------------------------------------------------------------------------------


async def test_a_session_is_begun_only_when_the_last_has_ended() -> None:
    """It has the same channel, and what comes late of the other one would be taken for its own."""
    broker = Broker(opened=RABBITMQ, on={"end": IGNORED})
    async with (
        asyncio.timeout(PATIENCE),
        amqp10_peer.serving(broker) as peer,
        amqp10_opening.opened(amqp10_opening.request(peer.port)) as connection,
    ):
        assert await amqp10_opening.probed(connection) is not None
        await eventually(lambda: peer.talk.all("end"), what="the session of the probe is ended")
        probing = asyncio.create_task(amqp10_opening.probed(connection))
        await asyncio.sleep(0)
        peer.talk.close()
        with pytest.raises(NotOpenError):
            await probing
        await eventually(lambda: peer.talk.all("close"), what="all has come")
        assert len(peer.talk.all("begin")) == 2


async def test_a_peer_that_never_ends_sessions_is_not_waited_for_without_end() -> None:
    """RabbitMQ 3.10 loses its End now and then, and uses the channel again."""
    broker = Broker(opened=RABBITMQ, on={"end": IGNORED})
    async with (
        asyncio.timeout(PATIENCE),
        amqp10_peer.serving(broker) as peer,
        amqp10_opening.opened(amqp10_opening.request(peer.port)) as connection,
    ):
        for _ in range(3):
            assert await amqp10_opening.probed(connection) is not None
        assert connection.is_open
        first, *probes = [each.channel for each in peer.talk.all("begin")]
        assert probes == [first + 1] * 3
