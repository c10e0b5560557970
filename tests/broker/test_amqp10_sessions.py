"""The AMQP 1.0 driver on each broker: opened, watched, probed, ended.

What differs between the brokers is read from their `facts`, never from their names.
"""

import asyncio
from typing import Any

import pytest

from springline.core.values import ClosedBy, CredentialKind
from springline.drivers.amqp10.connection import Amqp10Connection
from springline.drivers.amqp10.driver import Amqp10Driver
from springline.drivers.amqp10.parameters import ProbeParameters
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    NotOpenError,
    ProbeRefusal,
    ProbeRefusedError,
    RejectedError,
    TransientError,
)
from springline.reasons import Reason
from support import opening
from support.amqp10_brokers import Amqp10Broker
from support.amqp10_opening import negotiated, opened, probed, request
from support.identities import Certificates
from support.opening import Recorder
from support.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("nothing_left_beside")]

SECRET = Amqp10Broker.password


def asked(broker: Amqp10Broker, *, port: int = 0, **changes: Any) -> Any:
    """Return a request that is welcome at this broker."""
    return request(
        port or broker.endpoint.port,
        **{
            "credential": opening.password(broker.username, SECRET),
            "virtual_host": broker.virtual_host,
            "timeout": 30.0,
            **changes,
        },
    )


async def refused(broker: Amqp10Broker, **changes: Any) -> ConnectError:
    """Return the error of an attempt that must fail."""
    with pytest.raises(ConnectError) as failed:
        await Amqp10Driver().open(asked(broker, **changes))
    assert SECRET not in str(failed.value)
    return failed.value


# Opened ------------------------------------------------------------------------------------------


# R4.1, R4.2, R4.3, R4.6, R4.11
async def test_what_was_agreed_on_is_told(amqp10_broker: Amqp10Broker) -> None:
    async with opened(asked(amqp10_broker, container_id="springline/orders/main")) as connection:
        info, found = connection.info, negotiated(connection)
        assert connection.is_open
        assert info.proved
        assert found.container_id == "springline/orders/main"
        assert found.hostname == (amqp10_broker.hostname or "localhost")
        assert found.user == amqp10_broker.username
        assert found.idle_timeout.total_seconds() == 2 * found.heartbeat_seconds == 120
        assert found.peer_container_id
        assert found.mechanism == "PLAIN"
        assert set(info.server.mechanisms) >= amqp10_broker.facts.offers & {"PLAIN"}
        assert amqp10_broker.version in info.server.version or not info.server.version
        assert found.session.outgoing == 2048
        assert found.session.incoming > 0
        assert found.session.peer_incoming > 0
        assert found.max_frame_size > 0
        assert found.peer_max_frame_size >= 512
        assert found.channel_max > 0
        assert found.peer_channel_max > 0
        found.as_status().model_dump_json()


# R4.4, R4.17
async def test_every_mechanism_that_is_offered_and_known_logs_in(
    amqp10_broker: Amqp10Broker,
) -> None:
    known = {"SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"}
    for mechanism in sorted(amqp10_broker.facts.offers & known):
        async with opened(asked(amqp10_broker, mechanisms=(mechanism,))) as connection:
            assert negotiated(connection).mechanism == mechanism


# R4.4, R4.17
async def test_a_mechanism_that_is_not_offered_is_refused_by_name(
    amqp10_broker: Amqp10Broker,
) -> None:
    if "SCRAM-SHA-256" in amqp10_broker.facts.offers:
        pytest.skip("it offers all that is known")
    error = await refused(amqp10_broker, mechanisms=("SCRAM-SHA-256",))
    assert error.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "PLAIN" in error.message
    assert "SCRAM-SHA-256" in error.message


async def test_a_wrong_password_is_the_credential_s_fault(amqp10_broker: Amqp10Broker) -> None:
    wrong = opening.password(amqp10_broker.username, "pl4nted-but-wrong")
    error = await refused(amqp10_broker, credential=wrong)
    assert isinstance(error, CredentialRejectedError)
    assert error.reason is Reason.ACCESS_REFUSED
    assert "pl4nted-but-wrong" not in str(error)


# R4.2
async def test_a_virtual_host_that_is_not_there_is_refused_after_the_login(
    amqp10_broker: Amqp10Broker,
) -> None:
    if not amqp10_broker.facts.refuses_unknown_vhost:
        async with opened(asked(amqp10_broker, virtual_host="nowhere")) as connection:
            assert negotiated(connection).hostname == "nowhere"
        return
    error = await refused(amqp10_broker, virtual_host=amqp10_broker.unknown_virtual_host)
    assert not isinstance(error, CredentialRejectedError)
    assert error.reason in {Reason.ACCESS_REFUSED, Reason.VIRTUAL_HOST_NOT_FOUND}
    assert error.authenticated
    assert f'virtual host "{amqp10_broker.unknown_virtual_host}"' in error.message


async def test_who_shows_no_login_proves_nothing(amqp10_broker: Amqp10Broker) -> None:
    if "ANONYMOUS" not in amqp10_broker.facts.offers:
        pytest.skip("it lets nobody in without a login")
    try:
        async with opened(
            asked(amqp10_broker, credential=opening.anonymous(), mechanisms=("ANONYMOUS",))
        ) as connection:
            assert not connection.info.proved
    except ConnectError as error:
        assert error.reason is Reason.ACCESS_REFUSED  # noqa: PT017 - both are an answer
        assert isinstance(error, RejectedError)  # noqa: PT017


# R4.4
async def test_a_client_certificate_is_the_login(
    amqp10_broker: Amqp10Broker, certificates: Certificates
) -> None:
    async with opened(
        asked(
            amqp10_broker,
            port=amqp10_broker.tls_endpoint.port,
            credential=opening.external(),
            mechanisms=("EXTERNAL", "PLAIN"),
            tls=certificates.client(with_certificate=True),
        )
    ) as connection:
        found = negotiated(connection)
        assert found.mechanism == "EXTERNAL"
        assert found.tls is not None
        assert found.tls.version.startswith("TLS")
        assert connection.info.proved


# R4.4
async def test_a_password_goes_in_clear_text_only_where_that_is_allowed_or_over_tls(
    amqp10_broker: Amqp10Broker, certificates: Certificates
) -> None:
    plain = SaslPolicy(mechanisms=("PLAIN",), allow_insecure=False)
    error = await refused(amqp10_broker, sasl=plain)
    assert error.reason is Reason.INSECURE_MECHANISM
    if "PLAIN" not in amqp10_broker.facts.offers_tls:
        return  # over TLS it takes certificates alone
    async with opened(
        asked(
            amqp10_broker,
            port=amqp10_broker.tls_endpoint.port,
            sasl=plain,
            tls=certificates.client(with_certificate=True),  # Broker-J insists on one
        )
    ) as connection:
        assert negotiated(connection).mechanism == "PLAIN"


async def test_a_container_has_one_connection_where_that_is_asked_for_and_known(
    amqp10_broker: Amqp10Broker,
) -> None:
    """RabbitMQ does not know of it, and the others refuse the second one."""
    alone = asked(amqp10_broker, sole_connection=True)
    async with opened(alone) as connection:
        if "sole-connection-for-container" in negotiated(connection).offered_capabilities:
            with pytest.raises(TransientError) as failed:
                await Amqp10Driver().open(alone)
            assert failed.value.reason is Reason.CONNECTION_LIMIT_REACHED
            assert 'the container "springline/orders/main"' in failed.value.message
        assert connection.is_open


# Ended -------------------------------------------------------------------------------------------


# R4.7
async def test_it_says_goodbye_and_waits_for_the_answer(amqp10_broker: Amqp10Broker) -> None:
    async with opened(asked(amqp10_broker)) as connection:
        recorder = Recorder()
        connection.observe(recorder)
        await connection.close(text="done")
        assert not connection.is_open
        await eventually(lambda: recorder.closes, what="the end is told")
    [close] = recorder.closes
    assert (close.by, close.reason) == (ClosedBy.CLIENT, Reason.CLIENT_CLOSED)
    with pytest.raises(NotOpenError):
        await connection.close()


# R4.7
async def test_it_is_dropped_without_a_word(amqp10_broker: Amqp10Broker) -> None:
    async with opened(asked(amqp10_broker)) as connection:
        connection.abort()
        await connection.wait_gone()
        assert not connection.is_open


# R4.7
async def test_an_administrator_s_close_is_told_with_its_reason(
    amqp10_broker: Amqp10Broker,
) -> None:
    async with opened(asked(amqp10_broker)) as connection:
        recorder = Recorder()
        connection.observe(recorder)
        await eventually(amqp10_broker.connection_count, what="the broker shows it")
        await asyncio.to_thread(amqp10_broker.close_connections)
        await eventually(lambda: recorder.closes, what="the end is told")
    [close] = recorder.closes
    assert close.by is not ClosedBy.CLIENT
    assert close.reason in {Reason.CONNECTION_FORCED, Reason.PEER_CLOSED, Reason.SERVER_SHUTDOWN}
    assert not close.says_expired


async def test_a_broker_that_goes_down_is_told_and_comes_back(
    amqp10_broker: Amqp10Broker,
) -> None:
    async with opened(asked(amqp10_broker)) as connection:
        recorder = Recorder()
        connection.observe(recorder)
        await asyncio.to_thread(amqp10_broker.stop)
        await eventually(lambda: recorder.closes, what="the end is told")
    try:
        with pytest.raises(ConnectError) as failed:
            await Amqp10Driver().open(asked(amqp10_broker))
        assert failed.value.reason is Reason.CONNECTION_REFUSED
    finally:
        await asyncio.to_thread(amqp10_broker.start)
    async with opened(asked(amqp10_broker)) as connection:
        assert connection.is_open


# R4.3
# After twice the declared delay.
async def test_a_broker_that_falls_silent_is_missed(amqp10_broker: Amqp10Broker) -> None:
    async with opened(asked(amqp10_broker, heartbeat_seconds=1)) as connection:
        recorder = Recorder()
        connection.observe(recorder)
        amqp10_broker.pause()
        try:
            await eventually(lambda: recorder.closes, what="it is missed")
        finally:
            amqp10_broker.resume()
    [close] = recorder.closes
    assert (close.by, close.reason) == (ClosedBy.TRANSPORT, Reason.HEARTBEAT_MISSED)


# R4.3
# Our own signs of life, and those of the broker's, for three heartbeats.
async def test_it_outlives_the_idle_time_out_of_the_broker(amqp10_broker: Amqp10Broker) -> None:
    async with opened(asked(amqp10_broker, heartbeat_seconds=1)) as connection:
        recorder = Recorder()
        connection.observe(recorder)
        loop = asyncio.get_running_loop()
        until = loop.time() + 3
        await eventually(lambda: loop.time() > until or recorder.closes)
        assert connection.is_open
        assert not recorder.closes


# Probed ------------------------------------------------------------------------------------------


# R4.9, R4.16
async def test_a_probe_is_taken_back_and_no_queue_grows(amqp10_broker: Amqp10Broker) -> None:
    address = await asyncio.to_thread(amqp10_broker.add_queue, "probes")
    probe = ProbeParameters(address=address, receive=True)
    async with opened(asked(amqp10_broker, probe=probe)) as connection:
        for _ in range(5):
            assert await probed(connection) is not None
    count = await asyncio.to_thread(amqp10_broker.message_count, "probes")
    assert count == 0


# R4.16
async def test_a_probe_leaves_the_messages_of_others(amqp10_broker: Amqp10Broker) -> None:
    address = await asyncio.to_thread(amqp10_broker.add_queue, "shared")
    sends = ProbeParameters(address=address)
    takes = ProbeParameters(address=address, receive=True)
    async with opened(asked(amqp10_broker, probe=sends, container_id="other")) as other:
        for _ in range(2):
            assert await probed(other, lifetime=None) is not None
    before = await asyncio.to_thread(amqp10_broker.message_count, "shared")
    assert before == 2
    async with opened(asked(amqp10_broker, probe=takes)) as connection:
        assert await probed(connection) is not None


async def test_a_probe_to_nowhere_is_refused_and_the_connection_stays(
    amqp10_broker: Amqp10Broker,
) -> None:
    probe = ProbeParameters(address=amqp10_broker.address("nowhere-at-all"))
    async with opened(asked(amqp10_broker, probe=probe)) as connection:
        try:
            await probed(connection)
        except ProbeRefusedError as error:
            assert error.why in {ProbeRefusal.PLACE_MISSING, ProbeRefusal.OTHER}  # noqa: PT017
        # else this broker makes what is sent to
        assert connection.is_open


async def test_an_alarm_is_seen_without_sending_anything(amqp10_broker: Amqp10Broker) -> None:
    if not amqp10_broker.facts.tells_block:
        pytest.skip("it does not tell")
    async with opened(asked(amqp10_broker)) as connection:
        assert await probed(connection) is not None
        await asyncio.to_thread(amqp10_broker.raise_alarm)
        try:
            block = await eventually(lambda: connection.blocked, what="the block is seen")
            assert block is not None
            assert block.reason is Reason.WINDOW_CLOSED
            assert negotiated(connection).session.peer_incoming == 0
            assert await probed(connection) is None
        finally:
            await asyncio.to_thread(amqp10_broker.clear_alarm)
        await eventually(lambda: connection.blocked is None, what="its end is seen")
        assert await probed(connection) is not None


async def test_a_block_is_seen_by_a_connection_that_opens_during_it(
    amqp10_broker: Amqp10Broker,
) -> None:
    if not amqp10_broker.facts.tells_block:
        pytest.skip("it does not tell")
    await asyncio.to_thread(amqp10_broker.raise_alarm)
    try:
        async with opened(asked(amqp10_broker)) as connection:
            await eventually(lambda: connection.blocked, what="the block is seen")
    finally:
        await asyncio.to_thread(amqp10_broker.clear_alarm)


async def test_a_hundred_probes_without_a_pause_have_one_connection(
    amqp10_broker: Amqp10Broker,
) -> None:
    """Each begins a session to take its message back; RabbitMQ 3.10 loses the End of some."""
    address = await asyncio.to_thread(amqp10_broker.add_queue, "probes")
    probe = ProbeParameters(address=address, receive=True)
    async with opened(asked(amqp10_broker, probe=probe)) as connection:
        for _ in range(100):
            assert await probed(connection, timeout=30.0) is not None


# The credential ----------------------------------------------------------------------------------


# R4.5
# The driver and its library let go of it; what masks texts knows it still.
async def test_the_password_is_gone_when_it_has_authenticated(
    amqp10_broker: Amqp10Broker,
) -> None:
    async with opened(asked(amqp10_broker)) as connection:
        assert connection.info.negotiated.mechanism == "PLAIN"
        assert not _reaches_credential(connection)


def _reaches_credential(connection: Amqp10Connection) -> bool:
    """Whether a credential can be reached from a connection, by what its objects refer to."""
    import gc

    from springline.core.values import Credential
    from springline.veil import Veil

    seen: set[int] = set()
    waiting: list[object] = [connection]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, Veil | type) or len(seen) > 20_000:
            continue
        seen.add(id(each))
        if isinstance(each, Credential) and each.kind is CredentialKind.PASSWORD:
            return True
        if isinstance(each, asyncio.AbstractEventLoop) or (
            type(each).__module__ == "builtins"
            and (callable(each) and not hasattr(each, "__self__"))
        ):
            continue
        waiting.extend(gc.get_referents(each))
    return False
