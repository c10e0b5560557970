"""The scripted peer of AMQP 1.0 is a broker to proton, and can be made to be none."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from springline.drivers.amqp10 import mechanisms
from springline.errors import RejectedError
from support import amqp10_broker, amqp10_peer, amqp10_types
from support.amqp10_broker import IGNORED, Broker, Reply
from support.amqp10_peer import SASL_HEADER, Amqp10Talk, Frame, frame
from support.amqp10_types import composite, error, message, sections
from support.fake_peer import Talk
from support.opening import password
from support.ports import LOOPBACK
from support.scram_server import ScramUser

pytest.importorskip("proton", exc_type=ImportError)
from proton import SASL, Delivery

from support import proton_client
from support.proton_client import ProtonClient, told


async def test_a_connection_is_opened_used_and_closed() -> None:
    broker = Broker(opened={"idle_time_out": 5000, "properties": {"product": "Scripted"}})
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin("PLAIN", "ann", "s3cret")
        client.connection.hostname = "vhost:orders"
        sender = await client.sender("/queues/orders")
        assert client.connection.remote_container == "scripted"
        assert client.connection.remote_properties == {"product": "Scripted"}
        assert client.transport.remote_idle_timeout == 5
        assert (sender.credit, sender.remote_target.address) == (100, "/queues/orders")
        delivery = await client.sent(sender, message("hello"))
        assert delivery.remote_state == Delivery.ACCEPTED
        sender.close()
        await client.until(lambda: sender.state & sender.REMOTE_CLOSED)
        sender.session.close()
        await client.until(lambda: sender.session.state & sender.REMOTE_CLOSED)
        client.connection.close()
        await client.until(lambda: client.connection.state & sender.REMOTE_CLOSED)
    assert [(each.mechanism, each.user, each.secret) for each in broker.logins] == [
        ("PLAIN", "ann", "s3cret")
    ]
    opened = peer.talk.last("open")
    assert opened is not None
    assert opened.hostname == "vhost:orders"
    [(address, octets)] = broker.messages
    assert (address, sections(octets)["value"]) == ("/queues/orders", "hello")
    assert peer.talk.names[-3:] == ["detach", "end", "close"]


async def test_without_a_login_nothing_is_asked() -> None:
    async with (
        amqp10_peer.serving(Broker()) as peer,
        proton_client.connected(peer.port) as client,
    ):
        client.begin(None)
        await client.opened()
        assert peer.talk.last("sasl_init") is None


@pytest.mark.parametrize(
    ("broker", "outcome"),
    [
        pytest.param(Broker(users={"ann": "another"}), SASL.AUTH, id="another password"),
        pytest.param(Broker(users={}), SASL.AUTH, id="no such user"),
        pytest.param(Broker(outcome=4), SASL.TEMP, id="an outcome of its own"),
        pytest.param(Broker(users={"ann": "s3cret"}), SASL.OK, id="the right one"),
    ],
)
async def test_a_login_is_accepted_or_refused(broker: Broker, outcome: int) -> None:
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin("PLAIN", "ann", "s3cret")
        await client.until(lambda: client.transport.sasl().outcome is not None)
        assert client.transport.sasl().outcome == outcome


async def test_a_message_comes_back_to_who_takes_it_once() -> None:
    broker = Broker()
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        sender = await client.sender("/queues/probe")
        receiver = sender.session.receiver("in")
        receiver.source.address = "/queues/probe"
        receiver.open()
        await client.sent(sender, message("one"))
        await client.sent(sender, message("two!"))
        receiver.flow(1)
        assert sections(await client.got(receiver))["value"] == "one"
        receiver.close()
        await client.until(lambda: receiver.state & receiver.REMOTE_CLOSED)
    assert [sections(each)["value"] for each in broker.queues["/queues/probe"]] == ["two!"]


async def test_a_message_that_was_not_settled_is_kept() -> None:
    broker = Broker()
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        sender = await client.sender("q")
        await client.sent(sender, message("one"))
        receiver = sender.session.receiver("in")
        receiver.source.address = "q"
        receiver.open()
        receiver.flow(5)
        await client.until(lambda: receiver.current is not None)
        receiver.close()
        await client.until(lambda: receiver.state & receiver.REMOTE_CLOSED)
    assert [sections(each)["value"] for each in broker.queues["q"]] == ["one"]


async def test_a_large_message_goes_in_many_frames_both_ways() -> None:
    broker = Broker(opened={"max_frame_size": 512})
    large = "x" * 5000
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin(max_frame_size=512)
        sender = await client.sender("q")
        receiver = sender.session.receiver("in")
        receiver.source.address = "q"
        receiver.open()
        receiver.flow(1)
        await client.sent(sender, message(large))
        assert sections(await client.got(receiver))["value"] == large
    assert len(peer.talk.all("transfer")) > 5


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        (amqp10_types.rejected("amqp:not-allowed", "no"), Delivery.REJECTED),
        (amqp10_types.released(), Delivery.RELEASED),
        (amqp10_types.modified(delivery_failed=True), Delivery.MODIFIED),
    ],
    ids=["rejected", "released", "modified"],
)
async def test_outcomes_are_told(state: amqp10_types.Composite, seen: int) -> None:
    broker = Broker(settled=state)
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        sender = await client.sender("q")
        assert (await client.sent(sender, message("one"))).remote_state == seen


async def test_a_link_is_refused_and_the_connection_stays() -> None:
    broker = Broker(refused={"missing": error("amqp:not-found", "no such queue")})
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        session = client.connection.session()
        session.open()
        sender = session.sender("out")
        sender.target.address = "missing"
        sender.open()
        await client.until(lambda: sender.state & sender.REMOTE_CLOSED)
        assert sender.remote_target.address is None
        assert told(sender) == ("amqp:not-found", "no such queue")
        sender.close()
        await client.sender("there", "another")


async def test_a_dynamic_address_is_made_up() -> None:
    async with (
        amqp10_peer.serving(Broker()) as peer,
        proton_client.connected(peer.port) as client,
    ):
        client.begin()
        session = client.connection.session()
        session.open()
        receiver = session.receiver("in")
        receiver.source.dynamic = True
        receiver.open()
        await client.until(lambda: receiver.remote_source.address)
        assert str(receiver.remote_source.address).startswith("dynamic-")


async def test_credit_is_what_is_declared() -> None:
    broker = Broker(credit=0)
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        session = client.connection.session()
        session.open()
        sender = session.sender("out")
        sender.target.address = "q"
        sender.open()
        await client.until(lambda: sender.state & sender.REMOTE_ACTIVE)
        assert sender.credit == 0
        peer.talk.grant(peer.talk.link("out"), 3)
        await client.until(lambda: sender.credit == 3)


async def test_a_window_closes_without_being_asked() -> None:
    """RabbitMQ says so to each session when an alarm begins. Proton keeps back what is sent."""
    broker = Broker()
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        sender = await client.sender("q")
        [session] = peer.talk.sessions.values()
        peer.talk.flow(session, incoming_window=0)
        peer.talk.grant(peer.talk.link("out"), 7)
        await client.until(lambda: sender.credit == 7)  # so that it has read the flow before
        sender.delivery("one")
        sender.send(message("one"))
        sender.advance()
        peer.talk.grant(peer.talk.link("out"), 8)
        await client.until(lambda: sender.credit == 8 - 1)
        assert peer.talk.last("transfer") is None
        peer.talk.flow(session, incoming_window=2048)
        await client.until(lambda: broker.messages)


async def test_a_session_ends_on_the_side_of_the_broker() -> None:
    async with (
        amqp10_peer.serving(Broker()) as peer,
        proton_client.connected(peer.port) as client,
    ):
        client.begin()
        sender = await client.sender("q")
        peer.talk.end(0, error("amqp:session:window-violation"))
        await client.until(lambda: sender.session.state & sender.REMOTE_CLOSED)
        assert told(sender.session) == ("amqp:session:window-violation", None)
        assert client.connection.state & sender.REMOTE_ACTIVE


# Steps that are replaced


async def test_a_step_is_replaced() -> None:
    def closed(talk: Amqp10Talk, begin: Frame) -> None:
        talk.close(error("amqp:unauthorized-access", f"not on channel {begin.channel}"))

    broker = Broker(on={"begin": closed})
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        client.connection.session().open()
        await client.until(lambda: client.connection.remote_condition)
        assert told(client.connection) == ("amqp:unauthorized-access", "not on channel 0")


async def test_a_step_is_ignored() -> None:
    broker = Broker(on={"begin": IGNORED})
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        session = client.connection.session()
        session.open()
        client.connection.close()
        await client.until(lambda: client.connection.state & client.connection.REMOTE_CLOSED)
        assert session.state & session.REMOTE_UNINIT
    assert peer.talk.names[-2:] == ["begin", "close"]


async def test_a_step_may_wait_and_then_do_the_usual() -> None:
    waiting = asyncio.Event()

    async def later(talk: Amqp10Talk, opened: Frame) -> None:
        await waiting.wait()
        await broker.usual(talk, opened)

    broker = Broker(on={"open": later})
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        await client.until(lambda: peer.talks and peer.talk.last("open"))
        assert client.connection.state & client.connection.REMOTE_UNINIT
        waiting.set()
        await client.opened()


async def test_signs_of_life_come_as_often_as_they_are_asked_for() -> None:
    async with (
        amqp10_peer.serving(Broker()) as peer,
        proton_client.connected(peer.port) as client,
    ):
        client.begin(idle=0.2)
        await client.opened()
        heard = client.transport.frames_input
        await client.until(lambda: client.transport.frames_input >= heard + 3)
        assert peer.talk.names[-1] == "open"


# Damage


async def test_frames_come_in_pieces_of_any_size() -> None:
    async def script(talk: Amqp10Talk) -> None:
        pieces: list[bytes] = []
        for kind in ("header", "sasl_init", "header", "open"):
            await talk.expect(kind)
            pieces += {
                "sasl_init": [frame(composite("sasl_outcome", code=0))],
                "open": [frame(composite("open", container_id="in pieces"))],
            }.get(kind, [])
            if kind == "header":
                is_sasl = talk.received[-1].payload == SASL_HEADER
                offer = composite("sasl_mechanisms", sasl_server_mechanisms=("ANONYMOUS",))
                pieces += [talk.received[-1].payload, *([frame(offer)] if is_sasl else [])]
            await talk.pieces(b"".join(pieces))
            pieces.clear()
        await talk.until_gone()

    async with amqp10_peer.serving(script) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        await client.opened()
        assert client.connection.remote_container == "in pieces"


async def test_answers_come_before_they_are_asked_for() -> None:
    async with amqp10_peer.serving(amqp10_broker.eager) as peer:
        reader, writer = await asyncio.open_connection(LOOPBACK, peer.port)
        early = Amqp10Talk(Talk(reader, writer))
        names = [(await early.frame()).name for _ in range(6)]
        assert names == ["header", "sasl_mechanisms", "sasl_outcome", "header", "open", "begin"]
        writer.close()
        await writer.wait_closed()


DAMAGE: dict[str, bytes] = {
    "garbage": b"\xde\xad\xbe\xef" * 16,
    "a frame over what was agreed on": frame(size=0x7FFFFFFF),
    "a size below that of a header": frame(size=7),
    "a data offset behind the frame": frame(doff=200),
    "a frame with no performative inside": frame(body=b"\x40"),
    "a list that says more than it has": frame(body=b"\x00\x53\x11\xc0\xff\xff"),
    "a performative that there is not": frame(body=b"\x00\x53\x99\x45"),
}


@pytest.mark.parametrize("octets", DAMAGE.values(), ids=DAMAGE.keys())
async def test_damage_ends_the_connection_of_proton(octets: bytes) -> None:
    def damaged(talk: Amqp10Talk, begin: Frame) -> None:  # noqa: ARG001 - a step
        talk.raw(octets)

    broker = Broker(on={"begin": damaged})
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin(max_frame_size=4096)
        client.connection.session().open()
        await client.until(lambda: client.transport.capacity() < 0)  # it says why not always


@pytest.mark.parametrize("leave", [Amqp10Talk.hang_up, Amqp10Talk.reset])
async def test_a_peer_leaves_without_a_word(leave: Callable[[Amqp10Talk], None]) -> None:
    broker = Broker(on={"begin": lambda talk, _: leave(talk)})
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        client.connection.session().open()
        await client.until(lambda: client.transport.condition)
        assert client.connection.remote_condition is None


async def test_a_flood_goes_on_until_the_client_has_gone() -> None:
    async def flooding(talk: Amqp10Talk, begin: Frame) -> None:  # noqa: ARG001 - a step
        await talk.flood(frame())

    broker = Broker(on={"begin": flooding})
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        client.connection.session().open()
        await client.until(lambda: client.transport.frames_input > 5000)


# SCRAM


async def scram(peer_port: int, secret: str) -> Frame:
    """Log in by SCRAM; return the outcome, of which the exchange has approved."""
    reader, writer = await asyncio.open_connection(LOOPBACK, peer_port)
    talk = Amqp10Talk(Talk(reader, writer))
    try:
        talk.raw(SASL_HEADER)
        await talk.expect("header")
        await talk.expect("sasl_mechanisms")
        exchange = mechanisms.start("SCRAM-SHA-256", password("ann", secret))
        first = composite("sasl_init", mechanism=exchange.name, initial_response=exchange.initial())
        talk.send(first)
        while (said := await talk.frame()).name == "sasl_challenge":
            response = await exchange.respond(said.challenge)
            talk.send(composite("sasl_response", response=response))
        if said.code == 0:
            exchange.finish(said.additional_data)
        return said
    finally:
        writer.close()
        await writer.wait_closed()


def scram_broker(**changes: Any) -> Broker:
    user = ScramUser.create("SCRAM-SHA-256", "ann", "s3cret")
    return Broker(mechanisms=("SCRAM-SHA-256",), scram=user, **changes)


@pytest.mark.parametrize("proof", ["challenge", "outcome", "both"])
async def test_scram_proves_both_sides(proof: str) -> None:
    async with amqp10_peer.serving(scram_broker(proof=proof)) as peer:
        assert (await scram(peer.port, "s3cret")).code == 0


async def test_scram_refuses_another_password() -> None:
    async with amqp10_peer.serving(scram_broker()) as peer:
        outcome = await scram(peer.port, "another")
    assert (outcome.code, outcome.additional_data) == (1, b"e=invalid-proof")


async def test_a_peer_proves_nothing() -> None:
    async with amqp10_peer.serving(scram_broker(proof="none")) as peer:
        with pytest.raises(RejectedError, match="without proving"):
            await scram(peer.port, "s3cret")


# Renewal


async def renewed(client: ProtonClient, address: str, request: bytes) -> bytes | None:
    """Send a request over paired links; return the answer, or None if the connection is closed."""
    sender = await client.sender(address, "renewal")
    receiver = sender.session.receiver("renewal")
    receiver.source.address = address
    receiver.open()
    receiver.flow(1)
    await client.sent(sender, request)
    await client.until(lambda: receiver.current or client.connection.remote_condition)
    return await client.got(receiver) if receiver.current else None


def put(token: bytes, **changes: str) -> bytes:
    properties = {"message_id": "1", "to": "/auth/tokens", "subject": "PUT", "reply_to": "$me"}
    return message(token, properties={**properties, **changes})


async def test_a_token_is_taken_over_management() -> None:
    broker = Broker(management=lambda _: Reply())
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        answer = await renewed(client, amqp10_broker.MANAGEMENT, put(b"a.b.c"))
    assert answer is not None
    found = sections(answer)
    assert (found["properties"].subject, found["properties"].correlation_id) == ("204", "1")
    assert broker.tokens == ["a.b.c"]


async def test_management_knows_nothing_else() -> None:
    broker = Broker(management=lambda _: Reply())
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        request = put(b"a.b.c", to="/queues/q")
        answer = await renewed(client, amqp10_broker.MANAGEMENT, request)
    assert answer is not None
    assert sections(answer)["properties"].subject == "404"
    assert broker.tokens == []


@pytest.mark.parametrize("is_close_first", [True, False])
@pytest.mark.parametrize("status", [204, None])
async def test_a_token_is_refused_with_a_close(status: int | None, *, is_close_first: bool) -> None:
    refusal = error("amqp:unauthorized-access", "signature_invalid")
    reply = Reply(status=status, close=refusal, is_close_first=is_close_first)
    broker = Broker(management=lambda _: reply)
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        await renewed(client, amqp10_broker.MANAGEMENT, put(b"a.b.c"))
        await client.until(lambda: client.connection.remote_condition)
        assert told(client.connection) == ("amqp:unauthorized-access", "signature_invalid")


@pytest.mark.parametrize("status", [200, 401])
async def test_a_token_is_put_where_claims_decide(status: int) -> None:
    broker = Broker(cbs=lambda _: Reply(status=status))
    async with amqp10_peer.serving(broker) as peer, proton_client.connected(peer.port) as client:
        client.begin()
        request = message(
            "a.b.c",
            properties={"message_id": 7, "reply_to": "renewal"},
            application_properties={"operation": "put-token", "type": "jwt", "name": "q"},
        )
        answer = await renewed(client, amqp10_broker.CBS, request)
    assert answer is not None
    found = sections(answer)
    assert found["application_properties"]["status-code"] == status
    assert found["properties"].correlation_id == 7
    assert broker.tokens == ["a.b.c"]
