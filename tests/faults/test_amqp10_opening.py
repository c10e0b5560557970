"""Opening over AMQP 1.0 against scripted peers: what is sent, and what each failure comes to."""

import asyncio
import errno
import gc
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trustme

from support.amqp10_library import MISSING

pytest.importorskip("proton", reason=MISSING)

from springline.core.values import CredentialKind, TLSClient
from springline.drivers.amqp10 import errors
from springline.drivers.amqp10.wire import Wire
from springline.drivers.shared import dialling
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    RejectedError,
    TerminalError,
    TransientError,
)
from springline.reasons import Reason
from support import amqp10_opening, amqp10_peer, opening
from support.amqp10 import DEADLINE, DRIVER, PLANTED, SHORT, opened, rabbitmq, refused
from support.amqp10_broker import IGNORED, Broker, Step, eager
from support.amqp10_opening import negotiated
from support.amqp10_peer import AMQP_HEADER, SASL_HEADER, Amqp10Talk, Frame, Script, frame
from support.amqp10_types import Composite, Raw, composite, encoded, error, symbols
from support.scram_server import ScramUser
from support.waiting import eventually

# What the peer says instead of a protocol header


def says(octets: bytes, *, hangs_up: bool = False) -> Script:
    """A peer that says this to the first header, whatever it is."""

    async def script(talk: Amqp10Talk) -> None:
        await talk.expect("header")
        talk.raw(octets)
        if not hangs_up:
            await talk.until_gone()

    return script


HEADERS = {
    "AMQP 0-9-1": (b"AMQP\0\0\x09\x01", "the peer speaks AMQP 0-9-1: set protocol: amqp091"),
    "HTTP": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the peer speaks HTTP"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2p1\r\n", "the peer speaks SSH"),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46", "the peer speaks TLS: set tls.enabled: true"),
    "AMQP 1.0 that wants TLS": (b"AMQP\x02\x01\0\0", "wants TLS first"),
    "another version": (b"AMQP\x03\x02\0\0", "AMQP in another version"),
    "garbage": (bytes(range(200, 240)), "the peer does not speak AMQP 1.0"),
}


@pytest.mark.parametrize("hangs_up", [False, True], ids=["waits", "hangs up"])
@pytest.mark.parametrize(("octets", "says_what"), HEADERS.values(), ids=HEADERS.keys())
async def test_a_peer_that_speaks_something_else_is_named(
    octets: bytes, says_what: str, hangs_up: bool
) -> None:
    failure = await refused(says(octets, hangs_up=hangs_up))
    assert type(failure) is RejectedError
    assert failure.reason is Reason.PROTOCOL_MISMATCH
    assert says_what in failure.message
    assert not failure.authenticated


async def test_a_peer_without_a_login_is_told_apart() -> None:
    failure = await refused(says(AMQP_HEADER))
    assert type(failure) is RejectedError
    assert failure.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "without a login (no SASL)" in failure.message


@pytest.mark.parametrize(("octets", "says_what"), HEADERS.values(), ids=HEADERS.keys())
async def test_another_protocol_after_the_login_is_named_too(octets: bytes, says_what: str) -> None:
    async def script(talk: Amqp10Talk) -> None:
        await talk.log_in()
        await talk.expect("header")
        talk.raw(octets)
        await talk.until_gone()

    failure = await refused(script)
    assert type(failure) is RejectedError
    assert failure.reason is Reason.PROTOCOL_MISMATCH
    assert says_what in failure.message


async def test_a_failed_attempt_keeps_nothing() -> None:
    """Not even a timer, which would hold all of it until it is due."""

    await refused(logged_in)
    gc.collect()
    assert [each for each in gc.get_objects() if isinstance(each, Wire)] == []


# Silence, and hanging up, at each step


async def nothing(talk: Amqp10Talk) -> None:
    await talk.expect("header")


async def header_only(talk: Amqp10Talk) -> None:
    await nothing(talk)
    talk.raw(SASL_HEADER)


async def half_a_header(talk: Amqp10Talk) -> None:
    await nothing(talk)
    talk.raw(SASL_HEADER[:5])


async def mechanisms(talk: Amqp10Talk) -> None:
    await talk.greet_sasl()
    await talk.expect("sasl_init")


async def logged_in(talk: Amqp10Talk) -> None:
    await talk.log_in()


async def second_header(talk: Amqp10Talk) -> None:
    await talk.log_in()
    await talk.greet()
    await talk.expect("open")


async def open_only(talk: Amqp10Talk) -> None:
    await second_header(talk)
    talk.open()
    await talk.expect("begin")


async def half_a_frame(talk: Amqp10Talk) -> None:
    await second_header(talk)
    talk.raw(frame(composite("open", container_id="scripted"))[:-3])


GREETING = "the peer sent no AMQP 1.0 greeting"
LOGIN = "the login (sasl-init) was not answered"
OPENING = "opening the connection was not answered"
BEGINNING = "beginning a session was not answered"
STEPS: dict[str, tuple[Callable[[Amqp10Talk], Awaitable[None]], str, bool]] = {
    "nothing": (nothing, GREETING, False),
    "half a header": (half_a_header, GREETING, False),
    "only a header": (header_only, GREETING, False),
    "no outcome": (mechanisms, LOGIN, False),
    "no second header": (logged_in, OPENING, True),
    "no Open": (second_header, OPENING, True),
    "half an Open": (half_a_frame, OPENING, True),
    "no Begin": (open_only, BEGINNING, True),
}


@pytest.mark.parametrize(("step", "missing", "is_logged_in"), STEPS.values(), ids=STEPS.keys())
async def test_silence_names_the_step(
    step: Callable[[Amqp10Talk], Awaitable[None]], missing: str, is_logged_in: bool
) -> None:
    async def script(talk: Amqp10Talk) -> None:
        await step(talk)
        await talk.until_gone()

    failure = await refused(script, timeout=SHORT)
    assert type(failure) is TransientError
    assert failure.reason is Reason.CONNECT_TIMEOUT
    assert missing in failure.message
    assert failure.authenticated is is_logged_in


HALVES = {"half a header"}  # what has come of it is no header


@pytest.mark.parametrize("breaks", [False, True], ids=["ends", "resets"])
@pytest.mark.parametrize(
    ("step", "missing", "is_logged_in"),
    [each for name, each in STEPS.items() if name not in HALVES],
    ids=[name for name in STEPS if name not in HALVES],
)
async def test_hanging_up_names_the_step(
    step: Callable[[Amqp10Talk], Awaitable[None]], missing: str, is_logged_in: bool, breaks: bool
) -> None:
    async def script(talk: Amqp10Talk) -> None:
        await step(talk)
        if breaks:
            talk.reset()

    failure = await refused(script)
    assert type(failure) is TransientError
    assert failure.reason is Reason.PEER_CLOSED
    assert missing in failure.message
    assert failure.authenticated is is_logged_in


async def test_a_peer_that_hangs_up_after_a_while_has_refused_the_virtual_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RabbitMQ 4 waits three seconds before it does; a broker that goes down does not wait."""
    monkeypatch.setattr(errors, "_DELIBERATE_SECONDS", 0.0)
    failure = await refused(second_header, virtual_host="orders")
    assert type(failure) is RejectedError
    assert failure.reason is Reason.ACCESS_REFUSED
    assert failure.authenticated
    assert 'hung up on virtual host "orders" without a word' in failure.message


@pytest.mark.parametrize("step", [second_header, open_only], ids=["no Open", "no Begin"])
async def test_silence_that_lasts_two_heartbeats_is_silence_like_any_other(
    step: Callable[[Amqp10Talk], Awaitable[None]],
) -> None:
    """Two heartbeats may be shorter than the time for opening."""

    async def script(talk: Amqp10Talk) -> None:
        await step(talk)
        await talk.until_gone()

    failure = await refused(script, heartbeat_seconds=SHORT / 2, timeout=4 * SHORT)
    assert type(failure) is TransientError
    assert failure.reason in {Reason.CONNECT_TIMEOUT, Reason.HEARTBEAT_MISSED}
    assert failure.authenticated


# SASL


# R4.4, R4.17
async def test_no_mechanism_in_common_names_both_lists() -> None:
    failure = await refused(Broker(mechanisms=("GSSAPI", "EXTERNAL")))
    assert failure.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "[GSSAPI, EXTERNAL]" in failure.message
    assert "[PLAIN]" in failure.message


async def test_no_mechanism_at_all_is_said() -> None:
    async def script(talk: Amqp10Talk) -> None:
        await talk.expect("header")
        talk.raw(SASL_HEADER)
        talk.send(composite("sasl_mechanisms"))
        await talk.until_gone()

    failure = await refused(script)
    assert failure.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "the broker offers []" in failure.message


async def test_one_mechanism_may_come_without_an_array() -> None:
    async def script(talk: Amqp10Talk) -> None:
        await talk.expect("header")
        talk.raw(SASL_HEADER)
        talk.send(composite("sasl_mechanisms", sasl_server_mechanisms="PLAIN"))
        await Broker(on={"header": lambda talk, _: talk.raw(AMQP_HEADER)})(talk)

    async with opened(script) as found:
        assert found.connection.info.server.mechanisms == ("PLAIN",)


# R4.4
async def test_the_declared_order_decides() -> None:
    user = ScramUser.create("SCRAM-SHA-1", "ann", PLANTED)
    broker = Broker(mechanisms=("PLAIN", "SCRAM-SHA-1"), scram=user)
    async with opened(broker, mechanisms=("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")) as found:
        assert negotiated(found.connection).mechanism == "SCRAM-SHA-1"
        assert found.connection.info.server.mechanisms == ("PLAIN", "SCRAM-SHA-1")


# R4.4
async def test_clear_text_without_permission_sends_no_packet() -> None:
    async with asyncio.timeout(DEADLINE), amqp10_peer.serving(Broker()) as peer:
        asked = amqp10_opening.request(peer.port, sasl=SaslPolicy(mechanisms=("PLAIN",)))
        with pytest.raises(TerminalError) as caught:
            await DRIVER.open(asked)
        assert peer.talks == []
    assert caught.value.reason is Reason.INSECURE_MECHANISM


OUTCOMES = {
    1: (CredentialRejectedError, Reason.ACCESS_REFUSED, "login refused (SASL PLAIN, outcome 1"),
    2: (RejectedError, Reason.ACCESS_REFUSED, "outcome 2: sys)"),
    3: (RejectedError, Reason.ACCESS_REFUSED, "outcome 3: sys-perm)"),
    4: (TransientError, Reason.PEER_CLOSED, "outcome 4: sys-temp)"),
    5: (RejectedError, Reason.PROTOCOL_MISMATCH, "a SASL outcome that there is not (5)"),
    255: (RejectedError, Reason.PROTOCOL_MISMATCH, "a SASL outcome that there is not (255)"),
}


@pytest.mark.parametrize("code", OUTCOMES)
async def test_an_outcome_of_the_login_says_who_is_at_fault(code: int) -> None:
    family, reason, said = OUTCOMES[code]
    failure = await refused(Broker(outcome=code))
    assert type(failure) is family
    assert failure.reason is reason
    assert said in failure.message
    assert not failure.authenticated


SENSELESS = {
    "no code": frame(composite("sasl_outcome")),
    "a code that is no number": frame(composite("sasl_outcome", code=Raw(encoded("0")))),
    "additional data that are a text": frame(
        composite("sasl_outcome", code=0, additional_data="text")
    ),
    "the mechanisms once more": frame(composite("sasl_mechanisms", sasl_server_mechanisms="PLAIN")),
    "a response": frame(composite("sasl_response", response=b"")),
    "a challenge that is a text": frame(composite("sasl_challenge", challenge="text")),
    "a frame of another layer": frame(composite("open", container_id="x")),
    "no performative": frame(kind=1),
    "garbage in a frame": frame(kind=1, body=b"\x00\x53\x44\xc0\xff\xff"),
    "a short frame": frame(kind=1, size=4, body=b""),
    "a long frame": frame(kind=1, size=1 << 30, body=b""),
    "a frame whose header is longer than it": frame(kind=1, doff=9, body=b""),
}


@pytest.mark.parametrize("octets", SENSELESS.values(), ids=SENSELESS.keys())
async def test_what_makes_no_sense_in_the_login_is_refused(octets: bytes) -> None:
    failure = await refused(Broker(on={"sasl_init": lambda talk, _: talk.raw(octets)}))
    assert type(failure) is RejectedError
    assert failure.reason is Reason.PROTOCOL_MISMATCH
    assert not failure.authenticated


async def test_a_login_that_never_ends_is_left() -> None:
    async def asks(talk: Amqp10Talk, _: Frame) -> None:
        await talk.flood(frame(composite("sasl_challenge", challenge=b"")))

    for names in (("PLAIN",), ("ANONYMOUS",)):
        credential = opening.anonymous() if names == ("ANONYMOUS",) else opening.password("a", "b")
        failure = await refused(
            Broker(on={"sasl_init": asks}), mechanisms=names, credential=credential
        )
        assert type(failure) is RejectedError
        assert failure.reason is Reason.PROTOCOL_MISMATCH
        assert "asked for more" in failure.message


async def test_anonymous_proves_nothing() -> None:
    async with opened(Broker(), credential=opening.anonymous(), mechanisms=("ANONYMOUS",)) as found:
        assert found.talk.received[1].mechanism == "ANONYMOUS"
        assert found.talk.received[1].initial_response == b""
        assert not found.connection.info.proved
        assert negotiated(found.connection).mechanism == "ANONYMOUS"


async def test_external_says_nothing_beside_the_certificate() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls = TLSClient(context=context, has_client_certificate=True)
    broker = Broker(mechanisms=("PLAIN", "EXTERNAL"), challenges=(b"",))
    async with asyncio.timeout(DEADLINE), amqp10_peer.serving(broker, tls=server) as peer:
        asked = amqp10_opening.request(
            peer.port,
            tls=tls,
            credential=opening.external(),
            mechanisms=("EXTERNAL", "PLAIN"),
        )
        assert asked.credential.kind is CredentialKind.EXTERNAL
        async with amqp10_opening.opened(asked) as connection:
            init = peer.talk.last("sasl_init")
            assert init is not None
            assert (init.mechanism, init.initial_response) == ("EXTERNAL", b"")
            assert connection.info.proved
            assert negotiated(connection).tls is not None


# SCRAM


def scram(**changes: Any) -> Broker:
    name = changes.pop("mechanism", "SCRAM-SHA-256")
    secret = changes.pop("secret", PLANTED)
    user = ScramUser.create(name, "ann", secret, iterations=changes.pop("iterations", 4096))
    return Broker(**{"mechanisms": (name,), "scram": user, **changes})


@pytest.mark.parametrize("proof", ["challenge", "outcome", "both"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
async def test_scram_logs_in_wherever_the_proof_is(mechanism: str, proof: str) -> None:
    async with opened(scram(mechanism=mechanism, proof=proof), mechanisms=(mechanism,)) as found:
        assert negotiated(found.connection).mechanism == mechanism
        assert found.connection.info.proved
        assert PLANTED not in repr(found.talk.received)


async def test_a_wrong_password_is_refused_with_scram() -> None:
    failure = await refused(scram(secret="another"), mechanisms=("SCRAM-SHA-256",))
    assert type(failure) is CredentialRejectedError
    assert failure.reason is Reason.ACCESS_REFUSED


async def test_a_broker_that_proves_nothing_is_left() -> None:
    failure = await refused(scram(proof="none"), mechanisms=("SCRAM-SHA-256",))
    assert isinstance(failure, RejectedError)
    assert failure.reason is Reason.ACCESS_REFUSED
    assert "without proving that it knows the password" in failure.message


async def test_a_broker_that_knows_another_password_is_left() -> None:
    """Its signature is one of somebody who has not got ours."""
    name = "SCRAM-SHA-256"
    right = ScramUser.create(name, "ann", PLANTED)
    other = ScramUser.create(name, "ann", "another")
    user = ScramUser(
        mechanism=name,
        name="ann",
        salt=right.salt,
        iterations=right.iterations,
        stored_key=right.stored_key,
        server_key=other.server_key,
    )
    for proof in ("challenge", "outcome"):
        failure = await refused(scram(scram=user, proof=proof), mechanisms=(name,))
        assert isinstance(failure, RejectedError)
        assert not failure.authenticated


async def test_more_iterations_than_are_bearable_are_refused() -> None:
    async def script(talk: Amqp10Talk) -> None:
        await talk.greet_sasl("SCRAM-SHA-256")
        init = await talk.expect("sasl_init")
        nonce = init.initial_response.split(b"r=")[1]
        talk.challenge(b"r=%sx,s=c2FsdHNhbHQ=,i=2000000000" % nonce)
        await talk.until_gone()

    failure = await refused(script, mechanisms=("SCRAM-SHA-256",))
    assert isinstance(failure, RejectedError)
    assert "iterations" in failure.message


async def test_scram_is_not_for_tokens() -> None:
    failure = await refused(
        scram(), mechanisms=("SCRAM-SHA-256",), credential=opening.token("a-token")
    )
    assert failure.reason is Reason.NO_AUTHENTICATION_MECHANISM


# Open


# R4.1, R4.2, R4.3
async def test_open_says_who_we_are_and_what_we_want() -> None:
    async with opened(
        rabbitmq(),
        virtual_host="orders",
        container_id="springline/orders/main",
        heartbeat_seconds=7,
        frame_max=4096,
        channel_max=12,
        locales=("de-AT", "en-US"),
        sole_connection=True,
        client_properties={"product": "Springline", "team": "orders"},
    ) as found:
        [said] = found.talk.all("open")
        init = found.talk.last("sasl_init")
        assert init is not None
        assert init.hostname == said.hostname == "vhost:orders"
        assert said.container_id == "springline/orders/main"
        assert said.idle_time_out == 7000  # half of what is borne (§2.4.5)
        assert said.max_frame_size == 4096
        assert said.channel_max == 12
        assert symbols(said.incoming_locales) == ["de-AT", "en-US"]
        assert symbols(said.desired_capabilities) == ["sole-connection-for-container"]
        assert said.properties == {"product": "Springline", "team": "orders"}
        assert len(found.peer.talks) == 1


async def test_what_is_not_asked_for_is_not_said() -> None:
    async with opened(Broker()) as found:
        [said] = found.talk.all("open")
        assert said.hostname == "localhost"
        assert symbols(said.incoming_locales) == []
        assert symbols(said.desired_capabilities) == []
        assert len(found.peer.talks) == 1


# R4.3, R4.6, R4.11
async def test_open_tells_what_the_peer_is_and_wants() -> None:
    broker = Broker(
        opened={
            "container_id": "its own",
            "max_frame_size": 1024,
            "channel_max": 9,
            "idle_time_out": 5000,
            "offered_capabilities": ("ANONYMOUS-RELAY", "SHARED-SUBS"),
            "desired_capabilities": "DELAYED_DELIVERY",
            "properties": {"product": "Some Broker", "version": "1.2", "zone": "b", "n": 3},
        },
        begun={"incoming_window": 77, "outgoing_window": 78},
    )
    async with opened(broker, incoming_capacity=640 * 1024, outgoing_window=55) as found:
        agreed, server = negotiated(found.connection), found.connection.info.server
        assert (server.product, server.version) == ("Some Broker", "1.2")
        assert agreed.peer_container_id == "its own"
        assert agreed.peer_max_frame_size == 1024
        assert agreed.peer_channel_max == 9
        assert agreed.peer_idle_timeout.total_seconds() == 5
        assert agreed.offered_capabilities == ("ANONYMOUS-RELAY", "SHARED-SUBS")
        assert agreed.desired_capabilities == ("DELAYED_DELIVERY",)
        assert agreed.peer_properties == {"zone": "b", "n": "3"}
        assert (agreed.session.peer_incoming, agreed.session.peer_outgoing) == (77, 78)
        [begin] = found.talk.all("begin")
        assert agreed.session.outgoing == begin.outgoing_window == 55
        assert agreed.session.incoming == begin.incoming_window == 640 * 1024 // (64 * 1024)


# R4.2
async def test_another_product_is_told_the_virtual_host_as_it_is() -> None:
    broker = Broker(opened={"properties": {"product": "Some Broker"}})
    async with opened(broker, virtual_host="orders") as found:
        assert [each.all("open")[0].hostname for each in found.peer.talks] == [
            "vhost:orders",
            "orders",
        ]
        assert negotiated(found.connection).hostname == "orders"
        first = found.peer.talks[0]
        # It is closed before there is another one, which may have to be the only one.
        await eventually(lambda: first.names[-1] == "close", what="the first one is closed")


async def test_a_first_connection_that_is_not_closed_is_dropped() -> None:
    def step(talk: Amqp10Talk, _: Frame) -> None:
        if len(broker.talks) == 2:
            talk.close()

    broker = Broker(on={"close": step})
    async with opened(broker, virtual_host="orders") as found:
        assert len(found.peer.talks) == 2


async def test_the_time_is_for_both_connections() -> None:
    def second_is_silent(talk: Amqp10Talk, _: Frame) -> None:
        if len(broker.talks) == 1:
            talk.open()

    broker = Broker(on={"open": second_is_silent})
    failure = await refused(broker, virtual_host="orders", timeout=2 * SHORT)
    assert len(broker.talks) == 2
    assert failure.reason is Reason.CONNECT_TIMEOUT
    assert OPENING in failure.message


async def test_what_the_second_connection_is_told_counts() -> None:
    def step(talk: Amqp10Talk, _: Frame) -> None:
        talk.open()
        if len(broker.talks) == 2:
            talk.close(error("amqp:not-found", "no such host"))

    broker = Broker(on={"open": step})
    failure = await refused(broker, virtual_host="orders")
    assert failure.reason is Reason.VIRTUAL_HOST_NOT_FOUND
    assert "no such host" in failure.message


async def test_a_second_connection_that_cannot_be_made_is_a_connection_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts: list[None] = []
    dial = dialling.dial

    async def once(*given: Any) -> Any:
        attempts.append(None)
        if len(attempts) == 2:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        return await dial(*given)

    monkeypatch.setattr(dialling, "dial", once)
    failure = await refused(Broker(), virtual_host="orders")
    assert failure.reason is Reason.CONNECTION_REFUSED
    assert not failure.authenticated


# R4.3
@pytest.mark.parametrize("milliseconds", [1, 999])
async def test_an_idle_time_out_that_costs_too_much_is_refused(milliseconds: int) -> None:
    failure = await refused(Broker(opened={"idle_time_out": milliseconds}))
    assert type(failure) is RejectedError
    assert failure.reason is Reason.NEGOTIATION_FAILED
    assert failure.authenticated
    assert f"every {milliseconds / 1000:g} s" in failure.message


# Close and End instead of what is due

CLOSES: dict[tuple[str, str], tuple[type[ConnectError], Reason]] = {
    ("amqp:unauthorized-access", ""): (RejectedError, Reason.ACCESS_REFUSED),
    ("amqp:not-allowed", "not you"): (RejectedError, Reason.ACCESS_REFUSED),
    ("amqp:invalid-field", "container-id"): (RejectedError, Reason.ACCESS_REFUSED),
    ("amqp:precondition-failed", ""): (RejectedError, Reason.ACCESS_REFUSED),
    ("amqp:resource-locked", ""): (RejectedError, Reason.ACCESS_REFUSED),
    ("amqp:not-found", ""): (RejectedError, Reason.VIRTUAL_HOST_NOT_FOUND),
    ("amqp:resource-deleted", ""): (RejectedError, Reason.VIRTUAL_HOST_NOT_FOUND),
    ("amqp:connection:forced", ""): (TransientError, Reason.CONNECTION_FORCED),
    ("amqp:connection:redirect", ""): (TransientError, Reason.CONNECTION_FORCED),
    ("amqp:resource-limit-exceeded", ""): (TransientError, Reason.CONNECTION_LIMIT_REACHED),
    ("amqp:frame-size-too-small", ""): (RejectedError, Reason.NEGOTIATION_FAILED),
    ("amqp:connection:framing-error", ""): (RejectedError, Reason.PROTOCOL_MISMATCH),
    ("amqp:decode-error", ""): (RejectedError, Reason.PROTOCOL_MISMATCH),
    ("amqp:not-implemented", ""): (RejectedError, Reason.PROTOCOL_MISMATCH),
    ("amqp:illegal-state", ""): (RejectedError, Reason.PROTOCOL_MISMATCH),
    ("amqp:internal-error", ""): (TransientError, Reason.PEER_CLOSED),
    ("some:thing-else", "of its own"): (TransientError, Reason.PEER_CLOSED),
    ("amqp:internal-error", "vhost 'orders' is down"): (TransientError, Reason.VIRTUAL_HOST_DOWN),
    ("amqp:internal-error", "Connection forced: \"vhost 'orders' is deleted\""): (
        RejectedError,
        Reason.VIRTUAL_HOST_NOT_FOUND,
    ),
    (
        "amqp:internal-error",
        "Connection forced: \"broker forced connection closure with reason 'shutdown'\"",
    ): (TransientError, Reason.SERVER_SHUTDOWN),
    ("amqp:unauthorized-access", "credential expired"): (
        CredentialRejectedError,
        Reason.ACCESS_REFUSED,
    ),
}


def closes(name: str, text: str, *, after_open: bool) -> Step:
    def step(talk: Amqp10Talk, _: Frame) -> None:
        if after_open:
            talk.open()
        talk.close(error(name, text or None))

    return step


@pytest.mark.parametrize("after_open", [True, False], ids=["Open and Close", "Close"])
@pytest.mark.parametrize(("name", "text"), CLOSES, ids=[" ".join(each).strip() for each in CLOSES])
async def test_a_close_instead_of_an_open_connection_is_classified(
    name: str, text: str, after_open: bool
) -> None:
    broker = Broker(on={"open": closes(name, text, after_open=after_open)})
    family, reason = CLOSES[name, text]
    async with asyncio.timeout(DEADLINE), amqp10_peer.serving(broker) as peer:
        with pytest.raises(ConnectError) as caught:
            await DRIVER.open(amqp10_opening.request(peer.port))
        await eventually(lambda: "close" in peer.talk.names, what="it is answered")
    failure = caught.value
    assert type(failure) is family
    assert failure.reason is reason
    assert name in failure.message
    assert text in failure.message


async def test_a_close_without_a_reason_is_transient() -> None:
    failure = await refused(Broker(on={"open": lambda talk, _: talk.close()}))
    assert type(failure) is TransientError
    assert failure.reason is Reason.PEER_CLOSED
    assert "no reason given" in failure.message


async def test_an_expired_credential_is_told_apart() -> None:
    step = closes("amqp:unauthorized-access", "credential expired", after_open=True)
    failure = await refused(Broker(on={"open": step}))
    assert isinstance(failure, CredentialRejectedError)
    assert failure.says_expired


async def test_who_has_proved_nothing_is_refused_as_who_it_is() -> None:
    step = closes("amqp:unauthorized-access", "", after_open=True)
    failure = await refused(
        Broker(on={"open": step}), credential=opening.anonymous(), mechanisms=("ANONYMOUS",)
    )
    assert type(failure) is CredentialRejectedError
    assert failure.reason is Reason.ACCESS_REFUSED


@pytest.mark.parametrize("name", ["amqp:not-found", "amqp:unauthorized-access"])
async def test_a_session_that_is_ended_at_once_is_classified(name: str) -> None:
    def step(talk: Amqp10Talk, begin: Frame) -> None:
        talk.begin(begin.channel)
        talk.end(begin.channel, error(name, "no such place"))

    family, reason = CLOSES[name, ""]
    failure = await refused(Broker(on={"begin": step}))
    assert type(failure) is family
    assert failure.reason is reason
    assert failure.authenticated
    assert "no such place" in failure.message


async def test_an_end_of_what_has_not_begun_makes_no_sense() -> None:
    failure = await refused(
        Broker(on={"begin": lambda talk, begin: talk.end(begin.channel, error("amqp:not-found"))})
    )
    assert type(failure) is RejectedError
    assert failure.reason is Reason.PROTOCOL_MISMATCH
    assert failure.authenticated


async def test_a_close_instead_of_a_session_is_classified() -> None:
    failure = await refused(
        Broker(on={"begin": lambda talk, _: talk.close(error("amqp:not-allowed", "not here"))})
    )
    assert type(failure) is RejectedError
    assert failure.reason is Reason.ACCESS_REFUSED
    assert failure.authenticated
    assert "not here" in failure.message


def as_octets(performative: Composite, **how: Any) -> Step:
    return lambda talk, _: talk.raw(frame(performative, **how))


_OPEN = composite("open", container_id="scripted")
BROKEN: dict[str, Step] = {
    "a frame over the limit": as_octets(_OPEN, size=1 << 20),
    "a frame of SASL": as_octets(_OPEN, kind=1),
    "a frame of a kind that there is not": as_octets(_OPEN, kind=7),
    "a frame that is shorter than its header": as_octets(_OPEN, size=7),
    "garbage": as_octets(_OPEN, body=b"\xff" * 16),
    "a performative that there is not": as_octets(_OPEN, body=b"\x00\x53\x7f\x45"),
    "a Begin": as_octets(
        composite("begin", next_outgoing_id=0, incoming_window=1, outgoing_window=1)
    ),
    "a list of nothing": as_octets(_OPEN, body=b"\x45"),
    "a number that is none": as_octets(
        composite("open", container_id="x", max_frame_size=Raw(encoded("many")))
    ),
    "a second Open": lambda talk, _: talk.raw(2 * frame(_OPEN)),
    "another header": lambda talk, _: talk.raw(AMQP_HEADER),
}


@pytest.mark.parametrize("step", BROKEN.values(), ids=BROKEN.keys())
async def test_what_makes_no_sense_instead_of_an_open_connection_is_refused(step: Step) -> None:
    failure = await refused(Broker(on={"open": step}))
    assert type(failure) is RejectedError
    assert failure.reason is Reason.PROTOCOL_MISMATCH
    assert failure.authenticated


async def test_a_flood_instead_of_an_answer_is_refused() -> None:
    async def step(talk: Amqp10Talk, _: Frame) -> None:
        await talk.flood(100 * frame())

    failure = await refused(Broker(on={"open": step}))
    assert type(failure) is RejectedError
    assert failure.reason is Reason.FLOODED
    assert failure.authenticated


STRANGE: dict[str, dict[str, Any]] = {
    "a version of many digits": {
        "properties": {"product": "RabbitMQ", "version": "9" * 5000 + ".1"}
    },
    "a version that is none": {"properties": {"product": "RabbitMQ", "version": "four"}},
    "a version that is a number": {"properties": {"product": "RabbitMQ", "version": 4}},
    "a product that is a list": {"properties": {"product": ["RabbitMQ"], "version": None}},
    "a long container id": {"container_id": "x" * 30_000},
    "no container id": {"container_id": ""},
    "many properties": {"properties": {f"name-{each}": "x" for each in range(500)}},
    "many capabilities": {"offered_capabilities": tuple(f"C{each}" for each in range(500))},
    "text that is not printable": {"properties": {"zone": "a\0\n\x1b[31mb"}},
    "the largest numbers": {
        "max_frame_size": 0xFFFFFFFF,
        "channel_max": 0xFFFF,
        "idle_time_out": 0xFFFFFFFF,
    },
    "the smallest numbers": {"max_frame_size": 512, "channel_max": 0, "idle_time_out": 0},
}


@pytest.mark.parametrize("fields", STRANGE.values(), ids=STRANGE.keys())
async def test_a_peer_may_say_strange_things_of_itself(fields: dict[str, Any]) -> None:
    async with opened(Broker(opened=fields)) as found:
        agreed = negotiated(found.connection)
        shown = agreed.as_status().model_dump_json()
        assert len(shown) < 20_000
        assert "\\u001b" not in shown
        assert found.connection.is_open


async def test_an_open_may_come_before_it_is_asked_for() -> None:
    async def eager(talk: Amqp10Talk) -> None:
        talk.raw(SASL_HEADER)
        talk.offer("PLAIN")
        talk.outcome()
        talk.raw(AMQP_HEADER)
        talk.open()
        silent: dict[str, Step] = dict.fromkeys(("header", "sasl_init", "open"), IGNORED)
        await Broker(on=silent)(talk)

    async with opened(eager) as found:
        assert found.connection.is_open


async def test_a_session_does_not_begin_before_it_is_asked_for() -> None:
    failure = await refused(eager)
    assert type(failure) is RejectedError
    assert failure.reason is Reason.PROTOCOL_MISMATCH


async def test_octets_may_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(talk: Amqp10Talk) -> None:
        said: list[bytes] = []
        monkeypatch.setattr(talk, "raw", said.append)
        while True:
            await broker.step(talk, await talk.frame())
            for octet in b"".join(said):
                talk.talk.raw(bytes([octet]))
                await talk.talk.writer.drain()
            said.clear()

    broker = Broker()
    async with opened(script) as found:
        assert found.connection.is_open


# Cancelling


@pytest.mark.parametrize("step", [each[0] for each in STEPS.values()], ids=STEPS.keys())
async def test_opening_can_be_cancelled_at_each_step(
    step: Callable[[Amqp10Talk], Awaitable[None]],
) -> None:
    """The fixture of this folder sees that nothing is left."""
    arrived = asyncio.Event()

    async def script(talk: Amqp10Talk) -> None:
        await step(talk)
        arrived.set()
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), amqp10_peer.serving(script) as peer:
        attempt = asyncio.ensure_future(DRIVER.open(amqp10_opening.request(peer.port)))
        await arrived.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
