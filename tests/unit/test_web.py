"""The HTTP side of the process: a real server, asked over a real socket."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from springline.clock import SystemClock
from springline.connection_limits import Limits
from springline.metrics import Collector, Metrics
from springline.web import Health, ListenAddress, ListenError, serve
from support import ports
from support.leaks import checked
from support.ports import LOOPBACK
from support.waiting import PATIENCE, eventually


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    async with checked():
        yield


@pytest.fixture
def address() -> Iterator[ListenAddress]:
    lease = ports.lease(1)
    yield ListenAddress(LOOPBACK, lease.ports[0])
    lease.release()


class Client:
    """Asks the server at an address."""

    def __init__(self, session: aiohttp.ClientSession, address: ListenAddress) -> None:
        self._session = session
        self._address = address

    async def ask(
        self, path: str, *, method: str = "GET", accept: str = "*/*"
    ) -> tuple[int, str, aiohttp.ClientResponse]:
        """Return code, text and the rest of the answer."""
        url = f"http://{self._address}{path}"
        async with self._session.request(method, url, headers={"Accept": accept}) as response:
            return response.status, await response.text(), response


@contextlib.asynccontextmanager
async def serving(
    address: ListenAddress,
    health: Health | None = None,
    metrics: Collector | None = None,
    **options: Any,
) -> AsyncIterator[Client]:
    async with (
        serve(address, health or Health(), metrics, **options),
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
    ):
        yield Client(session, address)


def no_sessions() -> Collector:
    return Collector(Metrics(SystemClock()), tuple, per_object=True)


HEALTH = Health(
    live={"event-loop": lambda: None},
    ready={
        "declarations": lambda: None,
        "status": lambda: "no status has been written for 90 s",
        "stopping": lambda: None,
    },
)


# --- health


async def test_what_is_well_says_ok(address: ListenAddress) -> None:
    async with serving(address, HEALTH) as client:
        code, text, response = await client.ask("/healthz")
    assert (code, text) == (200, "ok")
    assert response.content_type == "text/plain"


async def test_what_is_not_ready_names_the_checks_that_fail(address: ListenAddress) -> None:
    async with serving(address, HEALTH) as client:
        code, text, _ = await client.ask("/readyz")
    assert code == 503
    assert text == "[-]status: no status has been written for 90 s\nreadyz check failed\n"


async def test_every_check_is_listed_on_request(address: ListenAddress) -> None:
    async with serving(address, HEALTH) as client:
        code, text, _ = await client.ask("/readyz?verbose")
        assert code == 503
        assert text.splitlines() == [
            "[+]declarations ok",
            "[-]status: no status has been written for 90 s",
            "[+]stopping ok",
            "readyz check failed",
        ]
        code, text, _ = await client.ask("/healthz?verbose")
        assert (code, text) == (200, "[+]event-loop ok\nhealthz check passed\n")


async def test_what_is_not_ready_is_alive(address: ListenAddress) -> None:
    """A restart would not help."""
    async with serving(address, HEALTH) as client:
        codes = [(await client.ask(path))[0] for path in ("/healthz", "/readyz")]
    assert codes == [200, 503]


async def test_a_check_is_asked_anew_every_time(address: ListenAddress) -> None:
    problems: list[str | None] = ["not yet", None, "no longer"]
    health = Health(ready={"declarations": lambda: problems.pop(0)})
    async with serving(address, health) as client:
        codes = [(await client.ask("/readyz"))[0] for _ in range(3)]
    assert codes == [503, 200, 503]


async def test_a_defect_of_a_check_is_logged_and_fails_the_request_only(
    address: ListenAddress, caplog: pytest.LogCaptureFixture
) -> None:
    def defective() -> str:
        raise ZeroDivisionError("a defect")

    async with serving(address, Health(ready={"defective": defective})) as client:
        code, text, _ = await client.ask("/readyz")
        assert (code, text) == (500, "an internal error; see Springline's log\n")
        assert (await client.ask("/healthz"))[0] == 200
    [record] = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.name == "springline.web"
    assert record.exc_info is not None


# --- metrics


async def test_metrics_come_in_the_format_that_is_asked_for(address: ListenAddress) -> None:
    async with serving(address, metrics=no_sessions()) as client:
        _, text, response = await client.ask("/metrics")
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "# TYPE springline_sessions gauge" in text
        assert "# EOF" not in text
        _, text, response = await client.ask("/metrics", accept="application/openmetrics-text")
        assert response.content_type == "application/openmetrics-text"
        assert text.endswith("# EOF\n")


async def test_many_scrapes_at_once_are_all_answered(address: ListenAddress) -> None:
    async with serving(address, metrics=no_sessions()) as client:
        answers = await asyncio.gather(*(client.ask("/metrics") for _ in range(20)))
    assert {code for code, *_ in answers} == {200}


async def test_without_metrics_there_is_no_such_page(address: ListenAddress) -> None:
    async with serving(address) as client:
        assert (await client.ask("/metrics"))[0] == 404


# --- HTTP


@pytest.mark.parametrize("path", ["/", "/healthz/", "/health", "/metrics/..", "/favicon.ico"])
async def test_there_is_nothing_else(address: ListenAddress, path: str) -> None:
    async with serving(address, HEALTH, no_sessions()) as client:
        assert (await client.ask(path))[0] == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_head_answers_as_get_without_a_body(address: ListenAddress, path: str) -> None:
    async with serving(address, HEALTH, no_sessions()) as client:
        expected, _, _ = await client.ask(path)
        code, text, _ = await client.ask(path, method="HEAD")
    assert (code, text) == (expected, "")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_nothing_can_be_sent(address: ListenAddress, path: str) -> None:
    async with serving(address, HEALTH, no_sessions()) as client:
        assert (await client.ask(path, method="POST"))[0] == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nothing"])
async def test_no_answer_names_the_server(address: ListenAddress, path: str) -> None:
    async with serving(address, HEALTH, no_sessions()) as client:
        _, _, response = await client.ask(path)
    assert "Server" not in response.headers


async def test_requests_are_not_logged(
    address: ListenAddress, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(address, HEALTH, no_sessions()) as client:
        for path in ("/healthz", "/readyz", "/metrics", "/nothing"):
            await client.ask(path)
    assert caplog.records == []


# --- the socket


async def test_a_port_in_use_is_told_in_a_sentence(address: ListenAddress) -> None:
    async with serving(address):
        with pytest.raises(ListenError) as caught:
            async with serving(address):
                pass
    assert str(caught.value) == (
        f"cannot listen on {address}: something listens there already; "
        "stop it, or choose another address"
    )


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("192.0.2.1", id="an address of another machine"),
        pytest.param("no-such-host.invalid", id="a name without an address"),
        pytest.param("a" * 64, id="a label that is too long"),
        pytest.param("springline..invalid", id="a label that is empty"),
    ],
)
async def test_an_address_that_cannot_be_had_is_told_in_a_sentence(
    address: ListenAddress, host: str
) -> None:
    other = ListenAddress(host, address.port)
    with pytest.raises(ListenError, match=rf"^cannot listen on {host}:\d+: \w[\w ,]+$"):
        async with serving(other):
            pass


async def test_the_port_is_free_afterwards(address: ListenAddress) -> None:
    for _ in range(2):
        async with serving(address) as client:
            await client.ask("/healthz")


async def test_connections_that_are_kept_do_not_hold_up_the_end(address: ListenAddress) -> None:
    """A scraper keeps its connection open between scrapes."""
    async with aiohttp.ClientSession() as session:
        async with serve(address, Health(), None):
            await Client(session, address).ask("/healthz")
        with pytest.raises(aiohttp.ClientError):
            await Client(session, address).ask("/healthz")


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="there is no IPv6 here")
# --- those who mean no good


@contextlib.asynccontextmanager
async def connected(
    address: ListenAddress, sent: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that has sent so much and waits."""
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=1024)
    writer.write(sent)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the other side ends it."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", b"GET /metrics HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: "],
    ids=["nothing", "a letter", "its first line", "half of its headers"],
)
async def test_who_asks_nothing_or_only_half_is_dropped(
    address: ListenAddress, sent: bytes
) -> None:
    dropped: list[str] = []
    limits = Limits(ask_seconds=0.2)
    async with serving(address, limits=limits, dropped=dropped.append) as client:
        async with connected(address, sent) as (reader, _):
            assert await ended(reader) == b""
        assert dropped == ["silent"]
        assert (await client.ask("/healthz"))[0] == 200


async def test_who_sends_a_letter_now_and_then_is_dropped_all_the_same(
    address: ListenAddress,
) -> None:
    dropped: list[str] = []
    limits = Limits(ask_seconds=0.5)
    async with (
        serving(address, limits=limits, dropped=dropped.append),
        connected(address, b"GET / HTTP/1.1\r\nX: ") as (reader, writer),
    ):
        reading = asyncio.ensure_future(ended(reader))

        def sent() -> bool:
            writer.write(b"x")
            return reading.done()

        await eventually(sent, what="it is dropped")
        assert dropped == ["silent"]


async def test_who_does_not_take_the_answer_is_dropped(address: ListenAddress) -> None:
    dropped: list[str] = []
    limits = Limits(answer_seconds=0.2)
    # More than the kernel takes for somebody who does not read.
    health = Health(live={"x": lambda: "x" * 10_000_000})
    async with (
        serving(address, health, limits=limits, dropped=dropped.append),
        connected(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    ):
        await eventually(lambda: dropped, what="it is dropped")
        assert dropped == ["unread"]


async def test_newest_connection_is_let_in_for_the_one_that_waited_longest(
    address: ListenAddress,
) -> None:
    """It may be the kubelet's, and the others somebody's who keeps the port busy."""
    dropped: list[str] = []
    limits = Limits(most=5)
    async with contextlib.AsyncExitStack() as held:
        client = await held.enter_async_context(
            serving(address, limits=limits, dropped=dropped.append)
        )
        assert (await client.ask("/healthz"))[0] == 200  # and is kept for more
        waiting = [await held.enter_async_context(connected(address)) for _ in range(20)]
        for reader, _ in waiting[:-4]:
            assert await ended(reader) == b""
        assert dropped == ["over_limit"] * 16
        assert (await client.ask("/healthz"))[0] == 200


async def test_ipv6_is_served(address: ListenAddress) -> None:
    loopback = ListenAddress.parse(f"[::1]:{address.port}")
    async with serving(loopback, HEALTH) as client:
        assert (await client.ask("/healthz"))[0] == 200


# --- addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:8080", "0.0.0.0", 8080),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("localhost:65535", "localhost", 65535),
        ("[::]:8080", "::", 8080),
        ("[fe80::1%eth0]:8080", "fe80::1%eth0", 8080),
        (":8080", "", 8080),
        (" 0.0.0.0:8080 ", "0.0.0.0", 8080),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    address = ListenAddress.parse(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text.strip()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no port"),
        ("8080", "has no port"),
        ("localhost", "has no port"),
        ("localhost:", "is no port"),
        ("localhost:http", "is no port"),
        ("localhost:0", "is no port"),
        ("localhost:65536", "is no port"),
        ("localhost:-1", "is no port"),
        ("localhost:٨٠", "is no port"),
        ("::1:8080", r"write an IPv6 address as \[ADDRESS\]:PORT"),
        ("[::1]", "is ambiguous"),
        ("[localhost]:8080", "is no IPv6 address"),
        ("[]:8080", "is no IPv6 address"),
        ("http://localhost:8080", "is ambiguous"),
    ],
)
def test_what_is_no_address_is_told_why(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ListenAddress.parse(text)
