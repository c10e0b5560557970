"""A broker that says our secrets back to us: they are in no status, no event and no log."""

import asyncio
import base64
import gc
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from urllib.parse import quote

import pytest
from pamqp import commands as spec

from springline.core.values import Credential, OpenRequest
from springline.drivers.amqp091.handshake import Handshake
from springline.drivers.amqp091.mechanisms import Exchange
from springline.errors import NotOpenError, ProbeRefusedError, SecretRefusedError
from support import fake_peer, leaks, opening
from support.amqp091 import DEADLINE, channel_open, opened, refused
from support.fake_peer import Talk
from support.running import Running, a_broker, a_connection, a_secret, running
from support.waiting import eventually

OLD = "0ld/Pl4nted+s3cret-with-32-chars!"
NEW = "n3w/Pl4nted+s3cret-with-32-chars!"
FORMS: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "in Base64": lambda secret: base64.b64encode(f"\0ann\0{secret}".encode()).decode(),
    "for a URL": lambda secret: quote(secret, safe=""),
}


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with leaks.checked():
        yield


def shows_none(shown: str, *secrets: str) -> None:
    """No twelve characters of any of them, in any form, may be there."""
    for secret in secrets:
        for form in FORMS.values():
            said = form(secret)
            pieces = (said[start : start + 12] for start in range(len(said) - 11))
            assert not [each for each in pieces if each in shown]


def everything(held: Running, caplog: pytest.LogCaptureFixture, names: Iterable[str]) -> str:
    """Return all that is shown of these connections."""
    records = "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    return json.dumps([held.status(name) for name in names]) + repr(held.events) + records


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
async def test_neither_of_two_secrets_is_shown(
    form: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the broker says them in: what it is, a block, a refusal, or the end."""
    caplog.set_level(logging.DEBUG)
    said = [form(OLD), form(NEW)]

    async def echoes(talk: Talk) -> None:
        words = said[len(peer.talks) % 2]
        # Long enough that a cut meets the middle of it.
        cut = "x" * (255 - len(words) // 2) + words
        await talk.greet(product=words, cluster_name=cut, platform=f"on {words}")
        await talk.log_in()
        if len(peer.talks) == 1:
            talk.send(spec.Connection.Close(403, f"ACCESS_REFUSED - not {words}"[:255], 0, 0))
            await talk.until_gone()
        await talk.tune()
        talk.send(spec.Connection.OpenOk())
        talk.send(spec.Connection.Blocked(reason=f"because of {words}"[:255]))
        await end.wait()
        talk.send(spec.Connection.Close(320, f"CONNECTION_FORCED - {words}"[:255], 0, 0))
        await talk.until_gone()

    end = asyncio.Event()
    async with fake_peer.serving(echoes) as peer:
        broker, connection = a_broker(peer.port), a_connection("orders")
        async with running(broker, a_secret("ann", OLD), connection) as held:
            await held.until_reason("orders", "Connected", "AccessRefused")
            held.apply(broker, a_secret("ann", NEW), connection)
            await held.until_reason("orders", "Blocked", "BlockedByBroker")
            end.set()
            await eventually(lambda: held.status("orders").get("lastClose"))
            shown = everything(held, caplog, ["orders"])
    assert re.search(r"because of [A-Za-z]*\*\*\*", shown), "what is no secret is shown"
    assert re.search(r"CONNECTION_FORCED - [A-Za-z]*\*\*\*", shown)
    shows_none(shown, OLD, NEW)


async def test_secret_is_not_in_the_refusal_of_a_renewal_or_a_probe() -> None:
    async def echoes(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        await talk.expect(spec.Basic.Publish)
        await talk.frame()  # the content header
        talk.send(spec.Channel.Close(403, f"ACCESS_REFUSED - {OLD}", 60, 40), 1)
        await talk.expect(spec.Channel.CloseOk)
        await talk.expect(spec.Connection.UpdateSecret)
        text = f"NOT_ALLOWED - {NEW} is no better than {OLD}"
        talk.send(spec.Connection.Close(530, text, 10, 70))
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(echoes) as peer:
        connection, recorder = await opened(peer, credential=opening.password("ann", OLD))
        with pytest.raises(ProbeRefusedError) as probe:
            await opening.probe(connection, exchange="", routing_key="x", timeout=5)
        with pytest.raises(SecretRefusedError) as renewal:
            await connection.renew(opening.password("ann", NEW), timeout=5)
        await eventually(lambda: recorder.closes)
    assert probe.value.text == "403 ACCESS_REFUSED - ***"
    assert renewal.value.text == "530 NOT_ALLOWED - *** is no better than ***"
    assert recorder.closes[0].text == "NOT_ALLOWED - *** is no better than ***"
    shows_none(f"{probe.value!r}{renewal.value!r}{recorder.closes!r}", OLD, NEW)


async def test_secret_is_not_in_what_a_probe_has_cost() -> None:
    async def echoes(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Channel.Open)
        text = f"NOT_ALLOWED - number of channels opened for user {OLD} has reached the maximum"
        talk.send(spec.Connection.Close(530, text, 0, 0))
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(echoes) as peer:
        connection, recorder = await opened(peer, credential=opening.password("ann", OLD))
        with pytest.raises(NotOpenError):
            await opening.probe(connection, exchange="", routing_key="x", timeout=5)
        await eventually(lambda: recorder.closes)
    [close] = recorder.closes
    assert "opened for user *** has reached" in close.probe_refused
    assert "let the user open one channel more" in close.probe_refused, "what it means is known"
    shows_none(repr(close), OLD)


SHORT = [
    pytest.param("guest", "ann", "no guest here", False, id="a short one"),
    pytest.param("ann-and-more", "ann-and-more", "no ann-and-more", False, id="the user's name"),
    pytest.param(
        "guest",
        "guest",
        "NOT_ALLOWED - access to vhost '/' refused for user 'guest'",
        True,
        id="RabbitMQ's sentence about the user",
    ),
    pytest.param(
        "guest",
        "ann",
        "NOT_ALLOWED - access to vhost '/' refused for user 'guest'",
        False,
        id="RabbitMQ's sentence about somebody else",
    ),
    pytest.param(
        "refused",
        "ann",
        "NOT_ALLOWED - access to vhost '/' refused for user 'ann'",
        True,
        id="a word of RabbitMQ's sentence",
    ),
]


@pytest.mark.parametrize(("secret", "username", "text", "is_shown"), SHORT)
async def test_text_with_a_secret_that_is_too_short_is_withheld(
    secret: str, username: str, text: str, is_shown: bool
) -> None:
    """To mask it would confirm it. What RabbitMQ always says is shown."""

    async def refuse(talk: Talk) -> None:
        await talk.greet()
        await talk.log_in()
        await talk.tune()
        talk.send(spec.Connection.Close(530, text, 10, 40))
        await talk.until_gone()

    error = await refused(refuse, credential=opening.password(username, secret))
    assert error.reason.value == "AccessRefused", "what it means is not hidden"
    assert (text in error.message) is is_shown
    assert ("not shown: the secret is too short" in error.message) is not is_shown


async def test_a_block_that_is_known_is_shown_whatever_the_secret_is() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer, credential=opening.password("ann", "memory"))
        peer.talk.send(spec.Connection.Blocked(reason="low on memory"))
        peer.talk.send(spec.Connection.Blocked(reason="your memory"))
        await eventually(lambda: len(recorder.told) == 2)
        await connection.close()
    assert recorder.told[0] == "blocked: low on memory"
    assert "memory" not in recorder.told[1]


async def test_driver_and_library_keep_no_secret_once_it_is_used() -> None:
    """The session alone has it."""
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        kinds = (Handshake, Exchange, OpenRequest, spec.Connection.StartOk)
        others = [each for each in gc.get_objects() if isinstance(each, kinds)]  # of other tests
        before = len([each for each in gc.get_objects() if isinstance(each, Credential)])
        connection, _ = await opened(peer, credential=opening.password("ann", OLD))
        gc.collect()
        received = [frame for _, frame in peer.talk.received]  # the peer's own
        known = {id(each) for each in [*others, *received]}
        kept = [each for each in gc.get_objects() if isinstance(each, kinds)]
        assert [each for each in kept if id(each) not in known] == []
        credentials = [each for each in gc.get_objects() if isinstance(each, Credential)]
        assert len(credentials) == before
        await connection.close()
