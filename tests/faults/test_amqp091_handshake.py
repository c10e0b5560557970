"""What the open handshake says: a scripted peer keeps what it was sent."""

import asyncio

import pytest
from pamqp import commands as spec
from pamqp.heartbeat import Heartbeat

from springline.drivers.amqp091.parameters import LocalePreference
from springline.errors import RejectedError, TerminalError
from springline.reasons import Reason
from support import fake_peer, opening
from support.amqp091 import DEADLINE, DRIVER, PLANTED, before_open_ok, opened, refused
from support.fake_peer import Talk


# R1.2
async def test_start_ok_carries_mechanism_locale_and_properties() -> None:
    async def two_locales(talk: Talk) -> None:
        await talk.greet(locales="en_US de_DE")
        await talk.log_in()
        await talk.tune()
        talk.send(spec.Connection.OpenOk())
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(two_locales) as peer:
        connection, _ = await opened(
            peer,
            mechanisms=("AMQPLAIN", "PLAIN"),
            locale=LocalePreference(prefer="de_DE"),
            client_properties={"team": "orders", "product": "not replaceable"},
        )
        start_ok = peer.talk.last(spec.Connection.StartOk)
        await connection.close()
    assert start_ok is not None
    assert peer.talk.header == b"AMQP\x00\x00\x09\x01"
    assert (start_ok.mechanism, start_ok.locale) == ("AMQPLAIN", "de_DE")
    properties = dict(start_ok.client_properties)
    capabilities = properties.pop("capabilities")
    assert isinstance(capabilities, dict)
    assert properties == dict(opening.agreed(connection).client_properties)
    assert properties["product"] == "Springline"
    assert properties["team"] == "orders"
    assert properties["connection_name"] == "springline/orders/main"
    assert {"authentication_failure_close", "connection.blocked"} <= set(capabilities)
    assert connection.info.negotiated.mechanism == "AMQPLAIN"
    assert opening.agreed(connection).locale == "de_DE"


# R2.3
@pytest.mark.parametrize(
    ("offered", "preference", "chosen"),
    [
        pytest.param("en_US de_DE", LocalePreference(prefer="de_DE"), "de_DE", id="the preferred"),
        pytest.param("fr_FR de_DE", LocalePreference(), "fr_FR", id="else the first offered"),
        pytest.param(
            "en_US de_DE",
            LocalePreference(prefer=None, select=("it_IT", "de_DE", "en_US")),
            "de_DE",
            id="the first of the list that is offered",
        ),
        pytest.param("", LocalePreference(), "en_US", id="a broker that offers none"),
    ],
)
async def test_the_locale_is_chosen(
    offered: str, preference: LocalePreference, chosen: str
) -> None:
    async def greet(talk: Talk) -> None:
        await talk.greet(locales=offered)
        await talk.log_in()
        await talk.tune()
        talk.send(spec.Connection.OpenOk())
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(greet) as peer:
        connection, _ = await opened(peer, locale=preference)
        await connection.close()
    assert opening.agreed(connection).locale == chosen


# R2.3
async def test_no_locale_in_common_names_both_lists() -> None:
    error = await refused(
        fake_peer.broker, locale=LocalePreference(prefer=None, select=("it_IT", "de_DE"))
    )
    assert type(error) is RejectedError
    assert error.reason is Reason.NEGOTIATION_FAILED
    assert "[en_US]" in error.message
    assert "[it_IT, de_DE]" in error.message


# R2.2
async def test_no_mechanism_in_common_names_both_lists() -> None:
    async def scram(talk: Talk) -> None:
        await talk.greet(mechanisms="SCRAM-SHA-256 EXTERNAL")
        await talk.until_gone()

    error = await refused(scram)
    assert error.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "[SCRAM-SHA-256, EXTERNAL]" in error.message
    assert "[PLAIN]" in error.message


# R2.9
async def test_clear_text_without_permission_sends_no_packet() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        with pytest.raises(TerminalError) as caught:
            await DRIVER.open(opening.request(peer.port, allow_insecure=False))
        assert caught.value.reason is Reason.INSECURE_MECHANISM
        assert peer.talks == []


# R1.3
async def test_challenges_are_answered_until_the_broker_has_enough() -> None:
    async def challenge(talk: Talk) -> None:
        await talk.greet(mechanisms="RABBIT-CR-DEMO")
        await talk.log_in(challenges=3)
        await talk.tune()
        talk.send(spec.Connection.OpenOk())
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(challenge) as peer:
        connection, _ = await opened(peer, mechanisms=("RABBIT-CR-DEMO",))
        answer = peer.talk.last(spec.Connection.SecureOk)
        assert answer is not None
        assert answer.response == f"My password is {PLANTED}"
        assert peer.talk.count(spec.Connection.SecureOk) == 3
        await connection.close()


# R1.3
async def test_a_broker_that_never_has_enough_is_left() -> None:
    async def endless(talk: Talk) -> None:
        await talk.greet(mechanisms="RABBIT-CR-DEMO")
        await talk.log_in(challenges=1000)

    error = await refused(endless, mechanisms=("RABBIT-CR-DEMO",))
    assert error.reason is Reason.PROTOCOL_MISMATCH


# R1.4, R1.5
async def test_tune_ok_carries_what_was_negotiated() -> None:
    async def tune(talk: Talk) -> None:
        await talk.greet()
        await talk.log_in()
        await talk.tune(channel_max=100, frame_max=0, heartbeat=20)
        talk.send(spec.Connection.OpenOk())
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(tune) as peer:
        connection, _ = await opened(peer, heartbeat_seconds=30, frame_max=8192)
        tune_ok = peer.talk.last(spec.Connection.TuneOk)
        await connection.close()
    assert tune_ok is not None
    assert (tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat) == (100, 8192, 20)
    negotiated = opening.agreed(connection)
    assert (negotiated.channel_max, negotiated.frame_max, negotiated.heartbeat_seconds) == (
        100,
        8192,
        20,
    )


async def test_heartbeats_before_open_ok_are_no_mismatch() -> None:
    """A broker's clock runs from Tune-Ok on; a slow authorization backend can take longer."""

    async def slow(talk: Talk) -> None:
        await before_open_ok(talk)
        talk.send(Heartbeat())
        await talk.expect(Heartbeat)  # type: ignore[type-var]  # the one frame that is no method
        talk.send(spec.Connection.OpenOk())
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(slow) as peer:
        connection, _ = await opened(peer)
        await connection.close()
