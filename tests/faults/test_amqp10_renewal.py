"""Renewing a secret over AMQP 1.0 against scripted peers: what is sent, and never shown."""

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from support.amqp10_library import MISSING

pytest.importorskip("proton", reason=MISSING)

from springline.drivers.amqp10 import renewal
from springline.errors import (
    NotOpenError,
    SecretNotSentError,
    SecretRefusedError,
    SecretUpdateTimeoutError,
)
from springline.reasons import Reason
from support import opening
from support.amqp10 import SHORT, Opened, closed, opened, rabbitmq
from support.amqp10_broker import CBS, IGNORED, MANAGEMENT, Broker, Reply
from support.amqp10_peer import Amqp10Talk, Frame
from support.amqp10_types import Raw, encoded, error, message, rejected, sections
from support.waiting import eventually

NEW = "n3w-Pl4nted-t0ken-with-more-than-32-characters"


@pytest.fixture(autouse=True)
def _confirmed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Close that takes back a 204 comes within a moment here."""
    monkeypatch.setattr(renewal, "_CONFIRM_SECONDS", SHORT)


@pytest.fixture(autouse=True)
def _secret_is_nowhere(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.records:
        assert NEW not in f"{record.getMessage()} {vars(record)}"


def takes_tokens(reply: Reply | None = None, **changes: Any) -> Broker:
    """Return RabbitMQ 4.1 or later."""
    return rabbitmq(management=lambda _: reply or Reply(), **changes)


def offers_cbs(decide: Callable[[str], Reply] | None = None, **changes: Any) -> Broker:
    return Broker(
        opened={"offered_capabilities": ("AMQP_CBS_V1_0",)},
        cbs=decide or (lambda _: Reply(status=202)),
        **changes,
    )


async def renewed(found: Opened, *, timeout: float = 5.0) -> None:
    await found.connection.renew(opening.token(NEW), timeout=timeout)


async def failure(
    found: Opened, kind: type[Exception], *, timeout: float = 5.0, credential: Any = None
) -> str:
    """Return what a renewal fails with; no secret is in it."""
    with pytest.raises(kind) as caught:
        await found.connection.renew(credential or opening.token(NEW), timeout=timeout)
    assert type(caught.value) is kind or kind is SecretUpdateTimeoutError
    assert NEW not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def is_left_alone(found: Opened) -> None:
    assert found.connection.is_open
    assert found.recorder.closes == []


# RabbitMQ's management node


async def test_a_token_is_put_at_the_management_node() -> None:
    broker = takes_tokens()
    async with opened(broker) as found:
        assert found.connection.cannot_renew == ""
        await renewed(found)
        assert broker.tokens == [NEW]
        is_left_alone(found)
        there, back = found.talk.all("attach")
        assert there.performative is not None
        assert back.performative is not None
        assert there.performative.fields["name"] == back.performative.fields["name"]
        assert (there.role, back.role) == (False, True)
        for each in (there, back):
            assert each.source.address == each.target.address == MANAGEMENT
            assert each.properties == {"paired": True}
            assert each.snd_settle_mode == 1
        [sent] = found.talk.all("transfer")
        said = sections(sent.payload)
        assert said["value"] == NEW.encode()
        properties = said["properties"]
        assert (properties.subject, properties.to) == ("PUT", "/auth/tokens")
        assert properties.reply_to == "$me"
        assert properties.message_id
        await eventually(lambda: list(found.talk.sessions) == [0], what="its session has ended")


async def test_tokens_can_be_renewed_again_and_again() -> None:
    broker = takes_tokens()
    async with opened(broker) as found:
        for _ in range(3):
            await renewed(found)
        assert broker.tokens == [NEW] * 3


CLOSE = error("amqp:unauthorized-access", "credential update failed: not accepted")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(close=CLOSE),
        Reply(close=CLOSE, is_close_first=True),
        Reply(status=None, close=CLOSE),
    ],
    ids=["204 and Close", "Close and 204", "Close alone"],
)
async def test_a_token_that_is_refused_ends_the_connection(reply: Reply) -> None:
    async with opened(takes_tokens(reply)) as found:
        text = await failure(found, SecretRefusedError)
        assert "credential update failed: not accepted" in text
        close = await closed(found.recorder)
        assert close.reason is Reason.ACCESS_REFUSED


async def test_a_close_that_blames_no_secret_is_no_refusal() -> None:
    reply = Reply(close=error("amqp:connection:forced", "maintenance"))
    async with opened(takes_tokens(reply)) as found:
        await failure(found, NotOpenError)


async def test_a_drop_is_no_refusal() -> None:
    broker = takes_tokens(on={"transfer": lambda talk, _: talk.reset()})
    async with opened(broker) as found:
        await failure(found, NotOpenError)


@pytest.mark.parametrize("status", [400, 403, 500])
async def test_another_status_leaves_the_connection_alone(status: int) -> None:
    async with opened(takes_tokens(Reply(status=status))) as found:
        assert str(status) in await failure(found, SecretNotSentError)
        is_left_alone(found)


@pytest.mark.parametrize("step", ["attach", "transfer"])
async def test_no_answer_is_a_time_out(step: str) -> None:
    async with opened(takes_tokens(on={step: IGNORED})) as found:
        await failure(found, SecretUpdateTimeoutError, timeout=SHORT)
        is_left_alone(found)
        await eventually(lambda: list(found.talk.sessions) == [0])


async def test_no_credit_is_a_time_out() -> None:
    broker = takes_tokens(credit=0)
    async with opened(broker) as found:
        await failure(found, SecretUpdateTimeoutError, timeout=SHORT)
        assert found.talk.all("transfer") == []


def answering(octets: Callable[[Frame], bytes]) -> Broker:
    """Return a broker that answers a token with these octets, over either way."""

    def step(talk: Amqp10Talk, transfer: Frame) -> None:
        [back] = [each for each in talk.links if not each.is_sender]
        if not transfer.settled:
            talk.settle(transfer, broker.settled)
        talk.deliver(back, octets(transfer))

    broker = takes_tokens(on={"transfer": step})
    return broker


ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "garbage": b"\xff" * 40,
    "no properties": message("x"),
    "another status": message(properties={"subject": "299"}),
    "a status that is no text": message(properties={"subject": Raw(encoded(204))}),
    "the answer to another request": message(
        properties={"subject": "204", "correlation_id": "of-another"}
    ),
    "the token": message(NEW, properties={"subject": NEW, "correlation_id": None}),
    "a long answer": message("x" * 100_000, properties={"subject": "204"}),
}


@pytest.mark.parametrize("octets", ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_that_makes_no_sense_is_none(octets: bytes) -> None:
    async with opened(answering(lambda _: octets)) as found:
        await failure(found, SecretNotSentError)
        is_left_alone(found)


async def test_an_answer_may_leave_out_what_it_answers() -> None:
    """There is one request at a time, and the node answers it over its own link."""
    async with opened(answering(lambda _: message(properties={"subject": "204"}))) as found:
        await renewed(found)


FUNCTION_CLAUSE = (
    "{function_clause,[{rabbit_amqp_management,handle_http_req,"
    f'[<<"PUT">>,[<<"auth">>,<<"tokens">>],#{{}},<<"{NEW}">>]}}]}}'
)


def _codes(text: str) -> str:
    return f"<<{','.join(str(each) for each in text.encode())}>>"


@pytest.mark.parametrize("said", [FUNCTION_CLAUSE, f"{{badarg,{_codes(NEW)}}}"])
@pytest.mark.parametrize("step", ["attach", "transfer"])
async def test_a_session_that_ends_with_the_token_in_its_reason_shows_none_of_it(
    step: str, said: str
) -> None:
    def ends(talk: Amqp10Talk, frame: Frame) -> None:
        if frame.channel in talk.sessions:
            talk.end(frame.channel, error("amqp:internal-error", said))

    async with opened(takes_tokens(on={step: ends})) as found:
        text = await failure(found, SecretNotSentError)
        assert NEW[:12] not in text
        assert str(NEW.encode()[0]) + "," + str(NEW.encode()[1]) + "," not in text
        is_left_alone(found)


async def test_a_refused_link_leaves_the_connection_alone() -> None:
    broker = takes_tokens(refused={MANAGEMENT: error("amqp:unauthorized-access", "not you")})
    async with opened(broker) as found:
        text = await failure(found, SecretNotSentError)
        assert "not you" in text
        is_left_alone(found)


async def test_a_block_keeps_a_secret_from_being_sent() -> None:
    broker = takes_tokens()
    async with opened(broker) as found:
        found.talk.flow(found.talk.sessions[0], incoming_window=0)
        await eventually(lambda: found.connection.blocked)
        text = await failure(found, SecretUpdateTimeoutError)
        assert "was not sent" in text
        assert found.talk.all("attach") == []


async def test_no_room_for_a_session_sends_nothing() -> None:
    broker = takes_tokens()
    broker.opened = {**broker.opened, "channel_max": 0}
    async with opened(broker) as found:
        assert "channel-max" in await failure(found, SecretNotSentError)
        assert found.talk.all("attach") == []


@pytest.mark.parametrize("step", ["attach", "transfer"])
async def test_a_renewal_can_be_cancelled(step: str) -> None:
    """Nothing of it is left at the peer; whether another may follow, the contract says."""
    arrived = asyncio.Event()
    broker = takes_tokens(on={step: lambda *_: arrived.set()})
    async with opened(broker) as found:
        renewing = asyncio.ensure_future(renewed(found))
        await arrived.wait()
        renewing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await renewing
        await eventually(lambda: list(found.talk.sessions) == [0])
        is_left_alone(found)


# By version


@pytest.mark.parametrize(
    ("product", "version"),
    [("RabbitMQ", each) for each in ("3.10.8", "3.13.7", "4.0.0", "4.0.9", "", "x")]
    + [("Some Broker", "4.3.6"), ("", "")],
)
async def test_nothing_is_sent_to_a_broker_that_does_not_take_it(
    product: str, version: str
) -> None:
    """RabbitMQ 4.0 writes a token into its log, and ends the session."""
    broker = Broker(opened={"properties": {"product": product, "version": version}})
    async with opened(broker) as found:
        assert found.connection.cannot_renew
        await failure(found, SecretNotSentError)
        await found.connection.close()
        assert found.talk.all("attach") == []
        assert found.talk.all("transfer") == []
        assert len(found.talk.all("begin")) == 1


@pytest.mark.parametrize("version", ["4.1.0", "4.1.0-rc.1", "4.3.6", "5.0.0", "10.0"])
async def test_newer_ones_take_it(version: str) -> None:
    broker = rabbitmq(version, management=lambda _: Reply())
    async with opened(broker) as found:
        assert found.connection.cannot_renew == ""
        await renewed(found)
        assert broker.tokens == [NEW]


# Claims-based security


@pytest.mark.parametrize("status", [200, 202])
async def test_a_token_is_put_where_claims_are_taken(status: int) -> None:
    broker = offers_cbs(lambda _: Reply(status=status))
    async with opened(broker) as found:
        assert found.connection.cannot_renew == ""
        await renewed(found)
        assert broker.tokens == [NEW]
        there, back = found.talk.all("attach")
        assert there.target.address == CBS
        assert back.source.address == CBS
        [sent] = found.talk.all("transfer")
        said = sections(sent.payload)
        assert said["value"] == NEW
        assert said["properties"].to == CBS
        assert said["properties"].reply_to == back.target.address
        assert said["application_properties"] == {
            "operation": "put-token",
            "type": "jwt",
            "name": "amqp://localhost",
        }
        is_left_alone(found)


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_claim_that_is_not_taken_leaves_the_connection_alone(status: int) -> None:
    async with opened(offers_cbs(lambda _: Reply(status=status))) as found:
        text = await failure(found, SecretNotSentError)
        assert f"{status} as it is" in text
        is_left_alone(found)


async def test_no_answer_to_a_claim_is_a_time_out() -> None:
    async with opened(offers_cbs(lambda _: Reply(status=None))) as found:
        await failure(found, SecretUpdateTimeoutError, timeout=SHORT)
        is_left_alone(found)


async def test_a_claim_that_is_not_accepted_leaves_the_connection_alone() -> None:
    async with opened(offers_cbs(settled=rejected("amqp:not-allowed", NEW))) as found:
        assert "rejected" in await failure(found, SecretNotSentError)
        is_left_alone(found)


STATUSES: dict[str, dict[str, Any]] = {
    "none": {},
    "a list": {"status-code": [202]},
    "a map": {"status-code": {"a": 1}},
    "a text": {"status-code": "202"},
    "octets": {"status-code": b"202"},
    "true": {"status-code": True},
    "a description that is a list": {"status-code": 401, "status-description": [NEW]},
    "a description with the token": {"status-code": 401, "status-description": f"not {NEW}"},
}


@pytest.mark.parametrize("application", STATUSES.values(), ids=STATUSES.keys())
async def test_a_status_that_makes_no_sense_is_none(application: dict[str, Any]) -> None:
    def step(talk: Amqp10Talk, transfer: Frame) -> None:
        talk.settle(transfer, broker.settled)
        [back] = [each for each in talk.links if not each.is_sender]
        talk.deliver(back, message(application_properties=application))

    broker = offers_cbs(on={"transfer": step})
    async with opened(broker) as found:
        await failure(found, SecretNotSentError)
        is_left_alone(found)


async def test_a_password_is_no_claim() -> None:
    async with opened(offers_cbs()) as found:
        text = await failure(found, SecretNotSentError, credential=opening.password("ann", NEW))
        assert "takes tokens" in text
        assert found.talk.all("attach") == []


async def test_what_has_no_secret_is_not_sent() -> None:
    async with opened(takes_tokens()) as found:
        await failure(found, SecretNotSentError, credential=opening.external())
        assert found.talk.all("attach") == []


async def test_nothing_is_renewed_on_a_connection_that_has_ended() -> None:
    async with opened(takes_tokens()) as found:
        await found.connection.close()
        await failure(found, NotOpenError)
