"""Peers that break the protocol, break off or never answer while a connection is being opened.

Each one becomes the right reason within the time-out, and leaves no socket and no task. What an
orderly broker does is tested against a real one in tests/broker.
"""

import asyncio
import contextlib
import dataclasses
import socket
import struct
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pamqp.frame
import pytest
from pamqp import commands as spec

from springline.core.values import Credential
from springline.drivers.shared import hints
from springline.errors import ConnectError, CredentialRejectedError, RejectedError, TransientError
from springline.reasons import Reason
from support import fake_peer, opening, ports
from support.amqp091 import (
    DEADLINE,
    DRIVER,
    PLANTED,
    SHORT,
    before_open_ok,
    before_start,
    before_tune,
    certificates,
    close_frame,
    refused,
)
from support.fake_peer import Script, Talk

STEPS = [
    pytest.param(before_start, "no AMQP greeting", id="instead of Start"),
    pytest.param(before_tune, "the login (Connection.Start-Ok)", id="instead of Tune"),
    pytest.param(before_open_ok, "opening the virtual host", id="instead of Open-Ok"),
]
ALL_STEPS = pytest.mark.parametrize(("reach", "says"), STEPS)


# R2.4
@ALL_STEPS
async def test_a_peer_that_stops_answering_costs_the_time_out(reach: Script, says: str) -> None:
    async def stop(talk: Talk) -> None:
        await reach(talk)
        await talk.silent()

    error = await refused(stop, timeout=SHORT)
    assert type(error) is TransientError
    assert error.reason is Reason.CONNECT_TIMEOUT
    assert says in error.message
    assert "within 0.5 s" in error.message


@ALL_STEPS
async def test_a_peer_that_hangs_up_is_told_with_the_step(reach: Script, says: str) -> None:
    async def hang_up(talk: Talk) -> None:
        await reach(talk)
        talk.close()

    error = await refused(hang_up)
    assert type(error) is TransientError
    assert error.reason is Reason.PEER_CLOSED
    assert says in error.message


@ALL_STEPS
async def test_a_peer_that_resets_is_told_with_the_step(reach: Script, says: str) -> None:
    async def reset(talk: Talk) -> None:
        await reach(talk)
        talk.reset()

    error = await refused(reset)
    assert type(error) is TransientError
    assert error.reason is Reason.PEER_CLOSED
    assert says in error.message


@ALL_STEPS
async def test_half_a_frame_and_the_end_is_a_peer_that_hung_up(reach: Script, says: str) -> None:
    async def half(talk: Talk) -> None:
        await reach(talk)
        talk.raw(pamqp.frame.marshal(spec.Connection.Tune(), 0)[:11])
        talk.close()

    error = await refused(half)
    assert error.reason is Reason.PEER_CLOSED
    assert says in error.message


@ALL_STEPS
async def test_half_a_frame_and_silence_costs_the_time_out(reach: Script, says: str) -> None:
    async def half(talk: Talk) -> None:
        await reach(talk)
        talk.raw(pamqp.frame.marshal(spec.Connection.Tune(), 0)[:11])
        await talk.silent()

    error = await refused(half, timeout=SHORT)
    assert error.reason is Reason.CONNECT_TIMEOUT
    assert says in error.message


@pytest.mark.parametrize("length", [200_000, 0x7FFFFFFF, 0xFFFFFFFF])
@ALL_STEPS
async def test_a_frame_too_long_is_refused_without_waiting_for_it(
    reach: Script, says: str, length: int
) -> None:
    """A hostile length is refused when it is read, not when memory is full."""
    del says

    async def too_long(talk: Talk) -> None:
        await reach(talk)
        talk.raw(struct.pack(">BHI", 1, 0, length))
        await talk.silent()

    error = await refused(too_long)
    assert type(error) is RejectedError
    assert error.reason is Reason.PROTOCOL_MISMATCH
    assert f"{length + 8} octets" in error.message


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"\x00" * 64, id="zeros"),
        pytest.param(b"\xff" * 64, id="ones"),
        pytest.param(b"\x01\x00\x00\x00\x00\x00\x00\xce", id="an empty method frame"),
        pytest.param(b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x03\xe7\xce", id="an unknown method"),
        pytest.param(b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x1e\xce", id="an empty Tune"),
        pytest.param(b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x29\x00", id="a wrong frame end"),
        pytest.param(b"\x03\x00\x00\x00\x00\x00\x01x\xce", id="a body frame"),
        pytest.param(
            b"\x01\x00\x00\x00\x00\x00\x17\x00\x0a\x00\x0a\x00\x09"
            b"\x00\x00\x00\x0d\x01tT\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"
            b"\xce",
            id="a timestamp beyond time in a table",
        ),
        pytest.param(
            b"\x01\x00\x00\x00\x01\x00\x00"
            + (b"\x00\x0a\x00\x0a\x00\x09" + b"\x00\x00\xff\x00\x01tA" * 40_000)[: 1 << 16]
            + b"\xce",
            id="lists in lists without end",
        ),
    ],
)
@ALL_STEPS
async def test_garbage_is_a_mismatch(reach: Script, says: str, octets: bytes) -> None:
    del says

    async def garbage(talk: Talk) -> None:
        await reach(talk)
        talk.raw(octets)
        await talk.until_gone()

    error = await refused(garbage)
    assert type(error) is RejectedError
    assert error.reason is Reason.PROTOCOL_MISMATCH


@ALL_STEPS
async def test_an_unexpected_method_is_named(reach: Script, says: str) -> None:
    del says

    async def unexpected(talk: Talk) -> None:
        await reach(talk)
        talk.send(spec.Basic.QosOk(), 1)
        await talk.until_gone()

    error = await refused(unexpected)
    assert error.reason is Reason.PROTOCOL_MISMATCH


HANDSHAKE = [
    spec.Connection.Start(
        server_properties=fake_peer.SERVER_PROPERTIES
        | {"when": datetime(2026, 1, 1, tzinfo=UTC), "list": [1, "two", {"three": 3.0}]}
    ),
    spec.Connection.Tune(channel_max=2047, frame_max=131072, heartbeat=60),
    spec.Connection.OpenOk(),
    spec.Connection.Close(530, "NOT_ALLOWED - vhost / not found", 10, 40),
]


def damaged(octets: bytes, random: Random) -> bytes:
    """Return a frame with some of its octets changed."""
    changed = bytearray(octets)
    for _ in range(random.choice((1, 2, 5))):
        first = random.choice((0, 7, 7, 7, 7))
        changed[random.randrange(first, len(octets))] = random.choice((0, 1, 127, 128, 255))
    return bytes(changed)


@pytest.mark.parametrize("seed", range(40))
async def test_a_damaged_frame_is_never_an_error_of_its_own_kind(seed: int) -> None:
    """Whatever the decoder stumbles over is a ConnectError, or does no harm at all."""
    random = Random(seed)  # noqa: S311 - repeatable on purpose

    async def damage(talk: Talk) -> None:
        await talk.reader.readexactly(8)
        frames = [pamqp.frame.marshal(frame, 0) for frame in HANDSHAKE]
        which = random.randrange(len(frames))
        frames[which] = damaged(frames[which], random)
        for frame in frames[: which + 1]:
            talk.raw(frame)
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(damage) as peer:
        try:
            connection = await DRIVER.open(opening.request(peer.port, timeout=0.2))
        except ConnectError:
            return
        connection.abort()


@pytest.mark.parametrize(
    ("greeting", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "TLS"),
        (b"AMQP\x00\x01\x00\x00", "AMQP 1.0"),
        (b"AMQP\x03\x01\x00\x00", "AMQP 1.0"),
        (b"AMQP\x00\x00\x09\x01", "refuses our version"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
        (b"2", "does not speak AMQP"),
    ],
)
async def test_a_peer_that_speaks_something_else_is_recognised(greeting: bytes, says: str) -> None:
    async def speak(talk: Talk) -> None:
        await talk.reader.readexactly(8)
        talk.raw(greeting)
        await talk.reader.read()

    error = await refused(speak)
    assert type(error) is RejectedError
    assert error.reason is Reason.PROTOCOL_MISMATCH
    assert says in error.message


@pytest.mark.parametrize("leaves", [True, False], ids=["hangs up", "waits on"])
async def test_a_silent_port_is_asked_for_what_it_speaks(leaves: bool) -> None:
    """So does a server of HTTP, which waits for the end of a line."""

    async def say_nothing(talk: Talk) -> None:
        await talk.reader.readexactly(8)
        if leaves:
            talk.close()
        else:
            await talk.silent()

    error = await refused(say_nothing, timeout=SHORT)
    assert type(error) is TransientError
    assert "the peer sent no AMQP greeting" in error.message
    assert "does the port speak AMQP 0-9-1?" in error.message


async def test_a_plaintext_peer_on_a_tls_connection_is_recognised() -> None:
    async def refuse(talk: Talk) -> None:
        await talk.reader.readexactly(8)
        talk.raw(b"AMQP\x00\x00\x09\x01")
        talk.close()

    _, client = certificates()
    error = await refused(refuse, tls=client)
    assert type(error) is RejectedError
    assert error.reason is Reason.TLS_FAILED
    assert "does not speak TLS" in error.message


async def test_a_peer_that_never_completes_tls_costs_the_time_out() -> None:
    _, client = certificates()
    error = await refused(lambda talk: talk.silent(), tls=client, timeout=SHORT)
    assert error.reason is Reason.CONNECT_TIMEOUT
    assert "TLS handshake was not completed; does the port speak TLS?" in error.message


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_peer_that_leaves_in_the_tls_handshake_is_a_tls_failure(how: str) -> None:
    async def leave(talk: Talk) -> None:
        await talk.reader.readexactly(1)
        getattr(talk, how)()

    _, client = certificates()
    error = await refused(leave, tls=client)
    assert type(error) is TransientError
    assert error.reason is Reason.TLS_FAILED


async def test_a_certificate_for_another_name_is_refused_with_the_name() -> None:
    server, client = certificates("other.example")
    async with asyncio.timeout(DEADLINE), fake_peer.serving(tls=server) as peer:
        with pytest.raises(RejectedError) as caught:
            await DRIVER.open(opening.request(peer.port, tls=client))
    assert caught.value.reason is Reason.TLS_FAILED
    assert "not valid for 'localhost'" in caught.value.message


async def test_nobody_listening_is_connection_refused() -> None:
    lease = ports.lease(1)
    try:
        with pytest.raises(TransientError) as caught:
            await DRIVER.open(opening.request(lease.ports[0]))
    finally:
        lease.release()
    assert caught.value.reason is Reason.CONNECTION_REFUSED
    assert "(127.0.0.1): connection refused" in caught.value.message


@contextlib.contextmanager
def unanswering(address: str, port: int) -> Iterator[None]:
    """Listen like a machine that is gone: the queue of connections is full, so SYNs are dropped."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((address, port))
        yield


async def test_a_silent_address_costs_the_time_out() -> None:
    lease = ports.lease(1)
    (port,) = lease.ports
    try:
        with unanswering("127.0.0.2", port):
            request = opening.request(port, address="127.0.0.2", timeout=SHORT)
            with pytest.raises(TransientError) as caught:
                await DRIVER.open(request)
    finally:
        lease.release()
    assert caught.value.reason is Reason.CONNECT_TIMEOUT
    assert caught.value.message == (
        f"localhost:{port} (127.0.0.2): nothing answered within 0.5 s (no TCP connection)"
    )


async def test_a_host_name_in_place_of_an_address_is_not_looked_up() -> None:
    with pytest.raises(TransientError) as caught:
        await DRIVER.open(opening.request(5672, address="localhost"))
    assert caught.value.reason is Reason.NAME_RESOLUTION_FAILED


async def test_a_name_that_no_certificate_can_have_is_a_tls_failure() -> None:
    server, client = certificates()
    async with asyncio.timeout(DEADLINE), fake_peer.serving(tls=server) as peer:
        request = opening.request(
            peer.port, tls=dataclasses.replace(client, server_name=".example.com")
        )
        with pytest.raises(RejectedError) as caught:
            await DRIVER.open(request)
    assert caught.value.reason is Reason.TLS_FAILED
    assert "'.example.com'" in caught.value.message


async def test_a_server_name_may_end_in_a_dot_like_a_host() -> None:
    """No certificate names one, and a broker refuses it in the handshake."""
    asked: list[str] = []
    server, client = certificates()
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with asyncio.timeout(DEADLINE), fake_peer.serving(tls=server) as peer:
        request = opening.request(
            peer.port, tls=dataclasses.replace(client, server_name="localhost.")
        )
        connection = await DRIVER.open(request)
        await connection.close()
    assert asked == ["localhost"]


async def test_a_start_of_another_version_is_a_mismatch() -> None:
    async def older(talk: Talk) -> None:
        await before_start(talk)
        talk.send(spec.Connection.Start(version_major=8, version_minor=0))
        await talk.until_gone()

    error = await refused(older)
    assert error.reason is Reason.PROTOCOL_MISMATCH
    assert "version 8-0" in error.message


# R1.7, R1.8, R1.9
@pytest.mark.parametrize(
    ("reach", "code", "family", "authenticated"),
    [
        pytest.param(before_tune, 403, CredentialRejectedError, False, id="403 at the login"),
        pytest.param(before_tune, 320, TransientError, False, id="320 at the login"),
        pytest.param(before_tune, 501, RejectedError, False, id="501 at the login"),
        pytest.param(before_open_ok, 403, RejectedError, True, id="403 at the virtual host"),
        pytest.param(before_open_ok, 530, RejectedError, True, id="530 at the virtual host"),
        pytest.param(before_open_ok, 541, TransientError, True, id="541 at the virtual host"),
        pytest.param(before_open_ok, 999, TransientError, True, id="999 at the virtual host"),
    ],
)
async def test_a_close_in_the_handshake_keeps_its_code_and_is_answered(
    reach: Script, code: int, family: type[ConnectError], authenticated: bool
) -> None:
    answered: list[bool] = []

    async def close(talk: Talk) -> None:
        await reach(talk)
        talk.send(spec.Connection.Close(code, "SOME_NAME - some text", 10, 40))
        await talk.expect(spec.Connection.CloseOk)
        answered.append(True)

    error = await refused(close)
    assert type(error) is family
    assert f"{code} SOME_NAME - some text" in error.message
    assert error.authenticated is authenticated
    assert answered == [True]


async def test_a_close_that_is_cut_in_a_character_keeps_its_meaning() -> None:
    """A long name of a virtual host takes the end of RabbitMQ's sentence away."""

    async def close(talk: Talk) -> None:
        await before_open_ok(talk)
        talk.raw(close_frame(530, "NOT_ALLOWED - vhost aufträ".encode()[:-1] + b" not found"))
        await talk.expect(spec.Connection.CloseOk)

    error = await refused(close)
    assert error.reason is Reason.VIRTUAL_HOST_NOT_FOUND
    assert "530 NOT_ALLOWED - vhost auftr\ufffd not found" in error.message


async def test_what_can_be_seen_of_a_refused_login_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It depends on the credential, and on the address that was connected to, not on the name."""
    monkeypatch.setattr(hints, "on_refused_login", lambda who, at: f"{who.username} at {at}")

    async def close(talk: Talk) -> None:
        await before_tune(talk)
        talk.send(spec.Connection.Close(403, "ACCESS_REFUSED - Login was refused", 0, 0))
        await talk.expect(spec.Connection.CloseOk)

    error = await refused(close)
    assert error.message.endswith("Login was refused (ann at 127.0.0.1)")


async def test_a_peer_that_closes_and_does_not_read_the_answer_is_left() -> None:
    async def close(talk: Talk) -> None:
        await before_open_ok(talk)
        talk.send(spec.Connection.Close(530, "NOT_ALLOWED - vhost / not found", 10, 40))
        await talk.silent()

    assert (await refused(close)).reason is Reason.VIRTUAL_HOST_NOT_FOUND


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_dropped_long_login_is_blamed_on_its_length(how: str) -> None:
    """Nothing else can be known of a peer that hangs up without a word."""

    async def hang_up(talk: Talk) -> None:
        await talk.greet(product="RabbitMQ", version="4.0.5")
        await talk.log_in()
        getattr(talk, how)()

    error = await refused_login(hang_up, opening.token(PLANTED + "x" * 5000))
    assert type(error) is CredentialRejectedError
    assert error.reason is Reason.CREDENTIAL_TOO_LONG
    assert "of which RabbitMQ 4.0.5 reads 4096 by default" in error.message


async def test_a_later_rabbitmq_reads_more_before_its_silence_is_blamed_on_the_length() -> None:
    async def hang_up(talk: Talk) -> None:
        await talk.greet(product="RabbitMQ", version="4.1.0")
        await talk.log_in()

    assert (await refused_login(hang_up, opening.token("x" * 5000))).reason is Reason.PEER_CLOSED
    error = await refused_login(hang_up, opening.token("x" * 8192))
    assert error.reason is Reason.CREDENTIAL_TOO_LONG
    assert "of which RabbitMQ 4.1.0 reads 8192 by default" in error.message


async def test_a_long_answer_to_a_challenge_counts_too() -> None:
    """With a challenge, the secret is in Secure-Ok."""

    async def hang_up(talk: Talk) -> None:
        await talk.greet(mechanisms="RABBIT-CR-DEMO")
        await talk.log_in(challenges=1)

    error = await refused_login(
        hang_up, opening.password("ann", "x" * 5000), mechanisms=("RABBIT-CR-DEMO",)
    )
    assert error.reason is Reason.CREDENTIAL_TOO_LONG
    assert "of which FakePeer 1.2.3 has to read 4096" in error.message


async def test_long_client_properties_are_not_the_credentials_fault() -> None:
    async def hang_up(talk: Talk) -> None:
        await before_tune(talk)

    error = await refused_login(
        hang_up, opening.token("x" * 200), client_properties={"notes": "x" * 5000}
    )
    assert type(error) is RejectedError
    assert error.reason is Reason.NEGOTIATION_FAILED
    assert "clientProperties" in error.message


async def test_a_close_keeps_its_meaning_however_long_the_login_was() -> None:
    """Who says why is believed."""

    async def close(talk: Talk) -> None:
        await before_tune(talk)
        talk.send(spec.Connection.Close(403, "ACCESS_REFUSED - Login was refused", 0, 0))
        await talk.expect(spec.Connection.CloseOk)

    error = await refused_login(close, opening.token("x" * 5000))
    assert error.reason is Reason.ACCESS_REFUSED


async def test_a_long_login_that_is_accepted_is_not_remembered() -> None:
    async def leave(talk: Talk) -> None:
        await before_open_ok(talk)

    error = await refused_login(leave, opening.token("x" * 5000))
    assert type(error) is TransientError
    assert error.reason is Reason.PEER_CLOSED


async def refused_login(script: Script, credential: Credential, **changes: Any) -> ConnectError:
    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        with pytest.raises(ConnectError) as caught:
            await DRIVER.open(opening.request(peer.port, credential=credential, **changes))
    assert credential.secret.reveal() not in "".join(traceback.format_exception(caught.value))
    return caught.value


@ALL_STEPS
async def test_cancelling_an_open_leaves_nothing(reach: Script, says: str) -> None:
    del says
    reached = asyncio.Event()

    async def stop(talk: Talk) -> None:
        await reach(talk)
        reached.set()
        await talk.silent()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(stop) as peer:
        attempt = asyncio.create_task(DRIVER.open(opening.request(peer.port)))
        await reached.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt


@pytest.mark.parametrize("turns", range(40))
async def test_cancelling_an_open_at_any_turn_of_the_loop_leaves_nothing(turns: int) -> None:
    """The connection may just have opened; nobody would ever close it."""
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        attempt = asyncio.create_task(DRIVER.open(opening.request(peer.port)))
        for _ in range(turns):
            await asyncio.sleep(0)
        attempt.cancel()
        try:
            connection = await attempt
        except asyncio.CancelledError:
            return
        await connection.close()
