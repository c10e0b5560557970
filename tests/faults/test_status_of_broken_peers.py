"""What a user is told of a peer that misbehaves: the reason in status, then Ready when it behaves.

The driver's own errors are tested in test_amqp091_peers.py; here everything runs as in
`springline run`, from the documents to the status.
"""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pamqp import commands as spec

from springline.core.events import EventType
from support import fake_peer, leaks, ports, uncollected
from support.fake_peer import Script, Talk
from support.running import Running, a_broker, a_connection, a_secret, running
from support.waiting import eventually

PLANTED = "pl4nted-s3cret"
LOGIN = a_secret("ann", PLANTED)


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with leaks.checked():
        yield


def shows_no_secret(held: Running, name: str) -> None:
    """Neither status nor events may hold what was planted."""
    assert PLANTED not in json.dumps(held.status(name))
    assert PLANTED not in repr(held.events)


async def until_closed(held: Running, reason: str) -> None:
    """Wait until status says that a session ended for this reason.

    A session that is opened again at once need not be seen as lost, but what it ended by stays.
    """
    await eventually(
        lambda: held.status("orders").get("lastClose", {}).get("reason") == reason,
        what=f"lastClose has reason {reason}",
    )


async def says_nothing(talk: Talk) -> None:
    await talk.silent()


async def sends_garbage(talk: Talk) -> None:
    talk.raw(b"\xff\xfe garbage \x00\x01\x02\x03 and more")
    await talk.until_gone()


async def speaks_http(talk: Talk) -> None:
    talk.raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    talk.close()


async def speaks_tls(talk: Talk) -> None:
    talk.raw(bytes.fromhex("15030300020246"))  # an alert: the peer expected a TLS handshake
    await talk.until_gone()


async def speaks_another_amqp(talk: Talk) -> None:
    talk.raw(b"AMQP\x03\x01\x00\x00")
    talk.close()


async def sends_half_a_frame_and_leaves(talk: Talk) -> None:
    talk.raw(struct.pack(">BHI", 1, 0, 300) + b"half")
    await asyncio.sleep(0)
    talk.close()


async def sends_half_a_frame_and_waits(talk: Talk) -> None:
    talk.raw(struct.pack(">BHI", 1, 0, 300) + b"half")
    await talk.silent()


async def announces_a_frame_too_long(talk: Talk) -> None:
    talk.raw(struct.pack(">BHI", 1, 0, 2**31))
    await talk.silent()


async def sends_an_unexpected_method(talk: Talk) -> None:
    await talk.greet()
    await talk.log_in()
    talk.send(spec.Channel.OpenOk())
    await talk.until_gone()


async def resets_before_start(talk: Talk) -> None:
    await talk.reader.readexactly(8)
    talk.reset()


async def resets_before_tune(talk: Talk) -> None:
    await talk.greet()
    await talk.log_in()
    talk.reset()


async def resets_before_open_ok(talk: Talk) -> None:
    await talk.greet()
    await talk.log_in()
    await talk.tune()
    talk.reset()


async def refuses_the_login(talk: Talk) -> None:
    await talk.greet()
    await talk.log_in()
    talk.send(spec.Connection.Close(403, "ACCESS_REFUSED - Login was refused", 0, 0))
    await talk.until_gone()


async def offers_no_mechanism(talk: Talk) -> None:
    await talk.greet(mechanisms="GSSAPI")
    await talk.until_gone()


async def refuses_the_limits(talk: Talk) -> None:
    await talk.greet()
    await talk.log_in()
    await talk.tune()
    text = "NOT_ALLOWED - negotiated frame_max = 4096 is lower than the minimum allowed value"
    talk.send(spec.Connection.Close(530, text, 10, 31))
    await talk.until_gone()


BROKEN = [
    (says_nothing, "ConnectTimeout", "Waiting"),
    (sends_garbage, "ProtocolMismatch", "Rejected"),
    (speaks_http, "ProtocolMismatch", "Rejected"),
    (speaks_tls, "ProtocolMismatch", "Rejected"),
    (speaks_another_amqp, "ProtocolMismatch", "Rejected"),
    (sends_half_a_frame_and_leaves, "PeerClosed", "Waiting"),
    (sends_half_a_frame_and_waits, "ConnectTimeout", "Waiting"),
    (announces_a_frame_too_long, "ProtocolMismatch", "Rejected"),
    (sends_an_unexpected_method, "ProtocolMismatch", "Rejected"),
    (resets_before_start, "PeerClosed", "Waiting"),
    (resets_before_tune, "PeerClosed", "Waiting"),
    (resets_before_open_ok, "PeerClosed", "Waiting"),
    (refuses_the_login, "AccessRefused", "Rejected"),
    (offers_no_mechanism, "NoAuthenticationMechanism", "Rejected"),
]


@pytest.mark.parametrize(
    ("script", "reason", "state"),
    [pytest.param(*row, id=row[0].__name__.replace("_", " ")) for row in BROKEN],
)
async def test_a_broken_peer_is_told_and_the_session_recovers(
    script: Script, reason: str, state: str
) -> None:
    """The first client meets the fault, later ones a broker that works."""
    mended = asyncio.Event()

    async def faulty_at_first(talk: Talk) -> None:
        await (fake_peer.broker if mended.is_set() else script)(talk)

    async with (
        fake_peer.serving(faulty_at_first) as peer,
        running(a_broker(peer.port, connectTimeout="2s"), LOGIN, a_connection("orders")) as held,
    ):
        message = await held.until_reason("orders", "Connected", reason)
        assert message
        status = held.status("orders")
        assert status["state"] == state
        assert status["attempts"] >= 1
        assert held.condition("orders", "Ready")["reason"] == reason
        assert "negotiated" not in status
        shows_no_secret(held, "orders")

        mended.set()
        await held.until_ready("orders")
        assert held.status("orders")["attempts"] == 0


async def test_a_refused_login_is_a_rejected_credential() -> None:
    """The broker's own words are in the condition."""
    async with (
        fake_peer.serving(refuses_the_login) as peer,
        running(a_broker(peer.port), LOGIN, a_connection("orders")) as held,
    ):
        message = await held.until_reason("orders", "CredentialsValid", "Rejected")
        assert "ACCESS_REFUSED - Login was refused" in message
        assert held.condition("orders", "CredentialsValid")["status"] == "False"


async def test_refused_limits_wait_for_another_declaration() -> None:
    """Nothing but a new declaration can help, so nothing is tried until there is one."""
    scripts = [refuses_the_limits, fake_peer.broker]

    async def refuses_the_first(talk: Talk) -> None:
        await scripts.pop(0)(talk)

    async with fake_peer.serving(refuses_the_first) as peer:
        broker = a_broker(peer.port)
        async with running(broker, LOGIN, a_connection("orders", frameMax=4096)) as held:
            await held.until_reason("orders", "Connected", "NegotiationFailed")
            session = held.parts.manager.sessions()[0]
            assert session.view.retry_at is None

            held.apply(broker, LOGIN, a_connection("orders", frameMax=8192))
            await held.until_ready("orders")
        assert len(peer.talks) == 2


async def test_nobody_listening_is_connection_refused() -> None:
    """The message names the endpoint."""
    lease = ports.lease(1)
    try:
        async with running(a_broker(lease.ports[0]), LOGIN, a_connection("orders")) as held:
            message = await held.until_reason("orders", "Connected", "ConnectionRefused")
            assert str(lease.ports[0]) in message
            assert held.status("orders")["state"] == "Waiting"
    finally:
        lease.release()


async def test_a_name_without_address_is_name_resolution_failed() -> None:
    """The message names the host."""
    broker = a_broker(5672, endpoints=[{"host": "rabbit.does-not-exist.invalid"}])
    async with running(broker, LOGIN, a_connection("orders")) as held:
        message = await held.until_reason("orders", "Connected", "NameResolutionFailed")
        assert "rabbit.does-not-exist.invalid" in message


async def test_clear_text_without_permission_sends_nothing() -> None:
    """The peer is not even contacted."""
    async with (
        fake_peer.serving() as peer,
        running(
            a_broker(peer.port, sasl={"allowInsecure": False}), LOGIN, a_connection("orders")
        ) as held,
    ):
        message = await held.until_reason("orders", "Connected", "InsecureMechanism")
        assert "allowInsecure" in message
        assert not peer.talks


async def test_the_next_endpoint_is_tried_when_the_first_never_answers() -> None:
    """One endpoint cannot use up the time of the others."""
    async with (
        fake_peer.serving(says_nothing) as mute,
        fake_peer.serving() as good,
        running(
            a_broker(
                good.port,
                endpoints=[
                    {"host": "127.0.0.1", "port": mute.port},
                    {"host": "127.0.0.1", "port": good.port},
                ],
                connectTimeout="2s",
            ),
            LOGIN,
            a_connection("orders"),
        ) as held,
    ):
        await held.until_ready("orders")
        assert str(good.port) in held.status("orders")["endpoint"]
        assert EventType.CONNECT_FAILED not in held.types("orders")


@pytest.mark.parametrize("is_reset", [True, False], ids=["reset", "closed without a word"])
async def test_a_session_that_is_back_keeps_nothing_of_the_connection_before(
    is_reset: bool,
) -> None:
    """Of thousands that a broker's restart costs, each would wait for the garbage collector."""
    async with (
        fake_peer.serving() as peer,
        running(
            a_broker(peer.port, retry={"delay": "1s", "maxDelay": "1s"}),
            LOGIN,
            a_connection("orders"),
        ) as held,
    ):
        await held.until_ready("orders")
        with uncollected.watched("springline.drivers.amqp091", "springline.drivers.shared") as left:
            for number in (2, 3, 4):
                peer.talk.reset() if is_reset else peer.talk.close()
                await eventually(lambda number=number: len(peer.talks) == number)  # type: ignore[misc]
                await held.until_ready("orders")
            connections = {name: count for name, count in left().items() if "Connection" in name}
            assert connections == {}, "there is as much as before"


async def hangs_up(talk: Talk) -> None:
    await talk.reader.readexactly(8)
    talk.close()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(says_nothing, id="never answers"),
        pytest.param(hangs_up, id="hangs up"),
        pytest.param(speaks_http, id="speaks HTTP"),
    ],
)
async def test_the_next_address_of_a_name_is_tried_like_an_endpoint(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one accepts a TCP connection does not make it the broker."""
    async with (
        fake_peer.serving() as good,
        fake_peer.serving(script, address="127.0.0.2", port=good.port) as bad,
    ):
        names_two_addresses(monkeypatch)
        broker = a_broker(
            good.port,
            endpoints=[{"host": "rabbit.test", "port": good.port}],
            connectTimeout="2s",
        )
        async with running(broker, LOGIN, a_connection("orders")) as held:
            await held.until_ready("orders")
            assert held.status("orders")["endpoint"] == f"rabbit.test:{good.port} (127.0.0.1)"
            assert EventType.CONNECT_FAILED not in held.types("orders")
            assert bad.talks, "the first address came first"


async def test_every_address_of_a_name_is_named_with_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each in one message, and the attempt counts once."""
    async with (
        fake_peer.serving(speaks_http) as good,
        fake_peer.serving(hangs_up, address="127.0.0.2", port=good.port),
    ):
        names_two_addresses(monkeypatch)
        broker = a_broker(
            good.port,
            endpoints=[{"host": "rabbit.test", "port": good.port}],
            retry={"delay": "1h", "maxDelay": "1h"},
        )
        async with running(broker, LOGIN, a_connection("orders")) as held:
            message = await held.until_reason("orders", "Connected", "PeerClosed")
            at = f"rabbit.test:{good.port}"
            assert f"{at} (127.0.0.2): the peer closed the connection" in message
            assert f"; {at} (127.0.0.1): the peer speaks HTTP" in message
            assert held.status("orders")["attempts"] == 1


def names_two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rabbit.test have two addresses, as a name server might say."""
    look_up = socket.getaddrinfo

    def answer(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != "rabbit.test":
            return look_up(host, port, *args, **options)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.2", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_lost_session_says_how_and_comes_back(how: str) -> None:
    """`lastClose` keeps how it ended after it is open again."""
    async with (
        fake_peer.serving() as peer,
        running(a_broker(peer.port), LOGIN, a_connection("orders")) as held,
    ):
        await held.until_ready("orders")
        first = peer.talk
        getattr(first, how)()
        await until_closed(held, "PeerClosed")
        await held.until_ready("orders")
        assert held.status("orders")["lastClose"]["by"] == "Transport"
        assert held.types("orders").count(EventType.DISCONNECTED) == 1


async def test_garbage_on_an_open_session_ends_it() -> None:
    """It is opened anew."""
    async with (
        fake_peer.serving() as peer,
        running(a_broker(peer.port), LOGIN, a_connection("orders")) as held,
    ):
        await held.until_ready("orders")
        peer.talk.raw(b"\x00" * 64)
        await until_closed(held, "ProtocolMismatch")
        await held.until_ready("orders")


# R1.8, R1.14
async def test_a_session_that_is_closed_for_the_peers_mistake_names_it() -> None:
    """`lastClose` has the codes of our Close; then the session is opened again."""
    async with (
        fake_peer.serving() as peer,
        running(a_broker(peer.port), LOGIN, a_connection("orders")) as held,
    ):
        await held.until_ready("orders")
        peer.talk.send(spec.Connection.Tune(channel_max=1))
        await until_closed(held, "ProtocolMismatch")
        await held.until_ready("orders")
        close = held.status("orders")["lastClose"]
        assert (close["by"], close["code"]) == ("Client", 503)
        assert (close["classID"], close["methodID"]) == (10, 30)
        assert close["text"] == "the peer sent Connection.Tune on channel 0 of an open connection"


async def test_without_heartbeats_a_peer_that_has_vanished_is_peer_silent() -> None:
    """Probes that nobody answers are all that shows it; a link over which no octet comes ends."""
    mute = asyncio.Event()

    async def falls_silent_once(talk: Talk) -> None:
        await talk.greet()
        await talk.log_in()
        await talk.tune(heartbeat=0)
        talk.send(spec.Connection.OpenOk())
        if mute.is_set():
            await talk.serve()
        mute.set()
        await talk.silent()

    async with (
        fake_peer.serving(falls_silent_once) as peer,
        running(
            a_broker(peer.port),
            LOGIN,
            a_connection("orders", heartbeat="0s", probe={"interval": "1s", "timeout": "1s"}),
        ) as held,
    ):
        await until_closed(held, "PeerSilent")
        assert "3 probes in a row" in held.status("orders")["lastClose"]["text"]
        await held.until_ready("orders")


async def test_a_probe_that_costs_the_connection_costs_one() -> None:
    """The next one goes without, stays, and says why."""

    async def one_channel_too_many(talk: Talk) -> None:
        await talk.handshake()
        if len(peer.talks) > 1:
            await talk.serve()
        await talk.expect(spec.Channel.Open)
        text = "NOT_ALLOWED - number of channels opened for user 'ann' has reached the maximum"
        talk.send(spec.Connection.Close(530, text, 0, 0))
        await talk.until_gone()

    async with (
        fake_peer.serving(one_channel_too_many) as peer,
        running(a_broker(peer.port), LOGIN, a_connection("orders")) as held,
    ):
        await until_closed(held, "ConnectionLimitReached")
        message = await held.until_reason("orders", "Blocked", "ProbeDisabled")
        assert "let the user open one channel more" in message
        assert held.is_ready("orders")
        assert len(peer.talks) == 2
        assert peer.talk.count(spec.Channel.Open) == 0


async def test_a_silent_peer_is_heartbeat_missed() -> None:
    """Nothing is heard for two heartbeats."""
    mute = asyncio.Event()

    async def falls_silent_once(talk: Talk) -> None:
        await talk.handshake()
        if mute.is_set():
            await talk.serve()
        mute.set()
        await talk.silent()

    async with (
        fake_peer.serving(falls_silent_once) as peer,
        running(
            a_broker(peer.port),
            LOGIN,
            a_connection("orders", heartbeat="1s", probe={"mode": "None"}),
        ) as held,
    ):
        await until_closed(held, "HeartbeatMissed")
        await held.until_ready("orders")
