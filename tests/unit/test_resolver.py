"""Name lookup: addresses as the system gives them, and SRV records from a real DNS server."""

import asyncio
import collections
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from random import Random
from typing import Any

import dns.exception
import dns.rcode
import dns.resolver
import pytest

from springline.core.values import Endpoint
from springline.errors import RejectedError, TransientError
from springline.reasons import Reason
from springline.resolver import LookupPool, SystemResolver, pool
from support import dns_server, leaks
from support.dns_server import DnsServer

NAME = "_amqps._tcp.rabbit.example"


def seeded() -> Random:
    return Random(1)  # noqa: S311  # draws must be the same every time


async def failure(lookup: Any) -> str:
    with pytest.raises(TransientError) as caught:
        await lookup
    assert caught.value.reason is Reason.NAME_RESOLUTION_FAILED
    assert traceback.format_exception(caught.value)
    return caught.value.message


# --- addresses


class FakeSystem:
    """What `getaddrinfo` answers."""

    def __init__(self) -> None:
        self.answers: list[str] | Exception = []
        self.asked: list[tuple[str, int]] = []
        self.let_go = threading.Event()
        self.let_go.set()
        self.began = threading.Event()

    def getaddrinfo(self, host: str, port: int, **kwargs: Any) -> list[Any]:
        assert kwargs == {"type": socket.SOCK_STREAM}
        self.asked.append((host, port))
        self.began.set()
        self.let_go.wait(30)
        if isinstance(self.answers, Exception):
            raise self.answers
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.answers
        ]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> FakeSystem:
    system = FakeSystem()
    monkeypatch.setattr(socket, "getaddrinfo", system.getaddrinfo)
    return system


@pytest.fixture
def names() -> SystemResolver:
    return SystemResolver(seeded())


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "fe80::1%lo", "::1"])
async def test_address_needs_no_lookup(
    names: SystemResolver, system: FakeSystem, address: str
) -> None:
    assert await names.addresses(Endpoint(address, 5672)) == (address,)
    assert system.asked == []


async def test_name_of_this_machine_is_found(names: SystemResolver) -> None:
    found = await names.addresses(Endpoint("localhost", 5672))
    assert set(found) & {"127.0.0.1", "::1"}


async def test_addresses_keep_the_order_of_the_system_each_once(
    names: SystemResolver, system: FakeSystem
) -> None:
    system.answers = ["2001:db8::1", "192.0.2.1", "2001:db8::1"]
    found = await names.addresses(Endpoint("rabbit.example", 5671))
    assert found == ["2001:db8::1", "192.0.2.1"]
    assert system.asked == [("rabbit.example", 5671)]


async def test_name_is_looked_up_again_every_time(
    names: SystemResolver, system: FakeSystem
) -> None:
    """A moved service must be found at the next attempt."""
    for address in ("192.0.2.1", "192.0.2.2"):
        system.answers = [address]
        assert await names.addresses(Endpoint("rabbit.example", 5671)) == [address]


async def test_name_that_does_not_exist_is_said_so(names: SystemResolver) -> None:
    message = await failure(names.addresses(Endpoint("rabbit.invalid", 5672)))
    assert message.startswith('looking up "rabbit.invalid" failed: ')


async def test_failure_has_the_words_of_the_system(
    names: SystemResolver, system: FakeSystem
) -> None:
    system.answers = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert await failure(names.addresses(Endpoint("rabbit.example", 5672))) == (
        'looking up "rabbit.example" failed: Temporary failure in name resolution'
    )


async def test_name_without_addresses_is_a_failure(
    names: SystemResolver, system: FakeSystem
) -> None:
    system.answers = []
    assert await failure(names.addresses(Endpoint("rabbit.example", 5672))) == (
        '"rabbit.example" has no address'
    )


@pytest.mark.parametrize("name", ["x" * 64 + ".example", "a..example", ".example"])
async def test_what_no_name_can_be_is_a_failure(names: SystemResolver, name: str) -> None:
    assert name in await failure(names.addresses(Endpoint(name, 5672)))


async def test_lookup_that_hangs_can_be_given_up(names: SystemResolver, system: FakeSystem) -> None:
    system.let_go.clear()
    lookup = asyncio.ensure_future(names.addresses(Endpoint("rabbit.example", 5672)))
    await asyncio.to_thread(system.began.wait, 10)
    lookup.cancel()
    await asyncio.wait({lookup})
    assert lookup.cancelled()
    system.let_go.set()


async def test_lookups_that_hang_do_not_hold_up_others(
    names: SystemResolver, system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: the event loop's own threads are few."""
    quick = FakeSystem()
    quick.answers = ["192.0.2.1"]

    def getaddrinfo(host: str, port: int, **kwargs: Any) -> list[Any]:
        return (quick if host == "quick.example" else system).getaddrinfo(host, port, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    system.let_go.clear()
    async with asyncio.timeout(20):
        hanging = [
            asyncio.ensure_future(names.addresses(Endpoint("slow.example", 5672)))
            for _ in range(100)
        ]
        assert await names.addresses(Endpoint("quick.example", 5672)) == ["192.0.2.1"]
        system.answers = ["192.0.2.2"]
        system.let_go.set()
        assert await asyncio.gather(*hanging) == [["192.0.2.2"]] * 100


def test_lookup_that_hangs_does_not_keep_the_process_alive(system: FakeSystem) -> None:
    """The event loop ends at once; it would wait for its own threads."""
    system.let_go.clear()

    async def give_up() -> None:
        lookup = asyncio.ensure_future(
            SystemResolver(seeded()).addresses(Endpoint("rabbit.example", 5672))
        )
        await asyncio.to_thread(system.began.wait, 10)
        lookup.cancel()

    asyncio.run(give_up())
    assert not system.let_go.is_set()
    [thread] = [each for each in threading.enumerate() if each.name == "name-lookup"]
    assert thread.daemon
    system.let_go.set()
    thread.join(10)
    assert not thread.is_alive()


# --- many that hang


class MuteSystem:
    """A system whose lookups get no answer before they are let go, as `getaddrinfo`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answered: set[str] = set()
        """Hosts that are answered at once."""
        self.let_go = threading.Event()

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        if host not in self.answered:
            assert self.let_go.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


@pytest.fixture
def mute(monkeypatch: pytest.MonkeyPatch) -> Iterator[MuteSystem]:
    mute = MuteSystem()
    monkeypatch.setattr(socket, "getaddrinfo", mute.getaddrinfo)
    yield mute
    mute.let_go.set()
    for thread in lookup_threads():
        thread.join(10)


def lookup_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "name-lookup"]


def looking_up(
    names: SystemResolver, host: str, namespace: str = "apps"
) -> "asyncio.Task[Sequence[str]]":
    lookup = names.addresses(Endpoint(host, 5672), namespace=namespace)
    return asyncio.ensure_future(lookup)


async def given_up(lookups: "list[asyncio.Task[Sequence[str]]]") -> None:
    for each in lookups:
        each.cancel()
    await asyncio.wait(lookups)


async def test_lookups_without_an_answer_take_a_bounded_number_of_threads(
    names: SystemResolver, mute: MuteSystem
) -> None:
    """Each attempt gives up and the next one asks again, while the system still waits."""
    for _ in range(5):
        lookups = [looking_up(names, f"{number}.example") for number in range(100)]
        await asyncio.sleep(0)
        await given_up(lookups)
    assert len(lookup_threads()) <= pool.MOST_LOOKUPS
    assert len(mute.asked) == len(set(mute.asked))


async def test_a_host_is_looked_up_once_for_all_who_ask_meanwhile(
    names: SystemResolver, mute: MuteSystem
) -> None:
    first = [looking_up(names, "slow.example") for _ in range(50)]
    await asyncio.sleep(0)
    await given_up(first)
    later = [looking_up(names, "slow.example", f"ns-{number}") for number in range(50)]
    await asyncio.sleep(0)
    mute.let_go.set()
    assert await asyncio.gather(*later) == [["192.0.2.1"]] * 50
    assert mute.asked == ["slow.example"]


async def test_one_namespace_does_not_hold_up_the_others(
    names: SystemResolver, mute: MuteSystem
) -> None:
    """However many of its names are never answered."""
    mute.answered.add("quick.example")
    hanging = [
        looking_up(names, f"{number}.{namespace}.example", namespace)
        for namespace in ("mute", "silent")
        for number in range(500)
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        assert await looking_up(names, "quick.example", "orders") == ["192.0.2.1"]
    await given_up(hanging)


async def test_a_name_that_two_namespaces_ask_for_waits_for_neither_alone(
    mute: MuteSystem,
) -> None:
    lookups = LookupPool(most=4)
    names = SystemResolver(seeded(), pool=lookups)
    mute.answered.add("quick.example")
    hanging = [looking_up(names, f"{number}.example", "mute") for number in range(10)]
    await asyncio.sleep(0)
    shared = looking_up(names, "quick.example", "mute")
    await asyncio.sleep(0)
    assert not shared.done()
    async with asyncio.timeout(20):
        assert await looking_up(names, "quick.example", "orders") == ["192.0.2.1"]
        assert await shared == ["192.0.2.1"]
    await given_up(hanging)


async def test_what_waits_goes_on_when_threads_are_free_again(mute: MuteSystem) -> None:
    lookups = LookupPool(most=4)
    names = SystemResolver(seeded(), pool=lookups)
    waiting = [looking_up(names, f"{number}.example") for number in range(20)]
    await asyncio.sleep(0)
    assert (lookups.running, lookups.waiting) == (2, 18)
    mute.let_go.set()
    async with asyncio.timeout(20):
        assert await asyncio.gather(*waiting) == [["192.0.2.1"]] * 20
    assert (lookups.running, lookups.waiting) == (0, 0)


async def test_a_lookup_whose_turn_does_not_come_says_so(
    mute: MuteSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not mute.asked
    monkeypatch.setattr(pool, "MOST_SECONDS_TO_WAIT", 0.05)
    lookups = LookupPool(most=2)
    names = SystemResolver(seeded(), pool=lookups)
    hanging = looking_up(names, "slow.example")
    await asyncio.sleep(0)
    assert await failure(names.addresses(Endpoint("late.example", 5672), namespace="apps")) == (
        'looking up "late.example" waited 0.05 s for its turn; other lookups without an answer: 1'
    )
    assert (lookups.running, lookups.waiting, lookups.not_started) == (1, 0, 1)
    await given_up([hanging])


async def test_nothing_is_kept_of_lookups_that_were_given_up(mute: MuteSystem) -> None:
    lookups = LookupPool(most=2)
    names = SystemResolver(seeded(), pool=lookups)
    hanging = [looking_up(names, f"{number}.example") for number in range(10)]
    await asyncio.sleep(0)
    await given_up(hanging)
    assert (lookups.running, lookups.waiting) == (1, 0)
    assert mute.asked == ["0.example"]


async def test_a_system_without_threads_is_a_failure_that_passes(
    names: SystemResolver, mute: MuteSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute.answered.add("quick.example")

    def start(thread: threading.Thread) -> None:  # noqa: ARG001 - none is started
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert await failure(names.addresses(Endpoint("quick.example", 5672))) == (
            'looking up "quick.example" found no thread: the system has no more'
        )
    assert await names.addresses(Endpoint("quick.example", 5672)) == ["192.0.2.1"]


# --- SRV


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with leaks.checked(), dns_server.serving() as server:
        yield server


def asking(server: DnsServer, *, search: tuple[str, ...] = ()) -> SystemResolver:
    return SystemResolver(seeded(), srv=server.resolver(search=search))


async def test_endpoints_come_in_the_order_of_their_priority(server: DnsServer) -> None:
    server.records[NAME] = [
        "30 0 5673 c.example.",
        "10 0 5671 a.example.",
        "20 0 5672 b.example.",
    ]
    assert await asking(server).services(NAME) == [
        Endpoint("a.example", 5671),
        Endpoint("b.example", 5672),
        Endpoint("c.example", 5673),
    ]


async def test_endpoints_of_one_priority_are_drawn_by_weight(server: DnsServer) -> None:
    """Weights 60, 30 and 10 are first in about so many of a hundred (RFC 2782)."""
    server.records[NAME] = [
        "1 10 5671 ten.example.",
        "1 60 5671 sixty.example.",
        "1 30 5671 thirty.example.",
        "2 65535 5671 last.example.",
    ]
    names = asking(server)
    draws = [await names.services(NAME) for _ in range(400)]
    first = collections.Counter(draw[0].host for draw in draws)
    assert 200 <= first["sixty.example"] <= 280
    assert 80 <= first["thirty.example"] <= 160
    assert 20 <= first["ten.example"] <= 60
    assert {draw[3].host for draw in draws} == {"last.example"}
    assert {len(set(draw)) for draw in draws} == {4}


async def test_weight_zero_has_a_very_small_chance(server: DnsServer) -> None:
    server.records[NAME] = ["1 0 5671 zero.example.", "1 100 5671 much.example."]
    names = asking(server)
    draws = [await names.services(NAME) for _ in range(100)]
    assert sum(draw[0].host == "zero.example" for draw in draws) <= 2


async def test_weights_that_are_all_zero_are_drawn_evenly(server: DnsServer) -> None:
    server.records[NAME] = ["1 0 5671 a.example.", "1 0 5671 b.example."]
    names = asking(server)
    draws = [await names.services(NAME) for _ in range(100)]
    assert 30 <= sum(draw[0].host == "a.example" for draw in draws) <= 70


async def test_name_is_asked_for_again_every_time(server: DnsServer) -> None:
    names = asking(server)
    for port in (5671, 5672):
        server.records[NAME] = [f"1 1 {port} a.example."]
        assert await names.services(NAME) == [Endpoint("a.example", port)]
    assert server.questions == [NAME, NAME]


async def test_search_domains_count_as_they_do_for_host_names(server: DnsServer) -> None:
    """`_amqp._tcp.rabbit.orders.svc` is what people write in a cluster."""
    full = "_amqp._tcp.rabbit.orders.svc.cluster.local"
    server.records[full] = ["1 1 5672 rabbit-0.example."]
    names = asking(server, search=("orders.svc.cluster.local", "cluster.local"))
    found = await names.services("_amqp._tcp.rabbit.orders.svc")
    assert found == [Endpoint("rabbit-0.example", 5672)]
    assert server.questions[-1] == full


async def test_service_that_is_not_offered_is_said_so(server: DnsServer) -> None:
    """The target "." says it (RFC 2782)."""
    server.records[NAME] = ["0 0 0 ."]
    assert await failure(asking(server).services(NAME)) == (
        f'the SRV record of "{NAME}" says that the service is not available'
    )


async def test_target_that_is_not_offered_is_left_out(server: DnsServer) -> None:
    server.records[NAME] = ["0 0 0 .", "1 0 5671 a.example."]
    assert await asking(server).services(NAME) == [Endpoint("a.example", 5671)]


async def test_name_that_is_not_there_is_said_so(server: DnsServer) -> None:
    assert await failure(asking(server).services(NAME)) == f'there is no DNS name "{NAME}"'


async def test_name_with_other_records_is_said_so(server: DnsServer) -> None:
    server.records[NAME] = []
    assert await failure(asking(server).services(NAME)) == (
        f'the DNS name "{NAME}" has no SRV record'
    )


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_server_that_cannot_answer_is_quoted(
    server: DnsServer, rcode: dns.rcode.Rcode
) -> None:
    server.failures[NAME] = rcode
    message = await failure(asking(server).services(NAME))
    assert message.startswith(f'the SRV lookup of "{NAME}" failed: ')
    assert dns.rcode.to_text(rcode) in message


async def test_silent_server_is_given_up(
    server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("springline.resolver.system._SRV_SECONDS", 0.2)
    server.is_silent = True
    async with asyncio.timeout(10):
        message = await failure(asking(server).services(NAME))
    assert message == f'no DNS server answered for "{NAME}"'
    assert server.questions


async def test_lookup_of_a_silent_server_can_be_cancelled(server: DnsServer) -> None:
    server.is_silent = True
    lookup = asyncio.ensure_future(asking(server).services(NAME))
    async with asyncio.timeout(10):
        while not server.questions:  # noqa: ASYNC110  # the server is a protocol, it has no events
            await asyncio.sleep(0.005)
    lookup.cancel()
    await asyncio.wait({lookup})
    assert lookup.cancelled()


async def test_a_silent_server_takes_a_bounded_number_of_threads(server: DnsServer) -> None:
    server.is_silent = True
    names = asking(server)
    for _ in range(3):
        lookups = [
            asyncio.ensure_future(names.services(f"_amqps._tcp.{number}.example"))
            for number in range(100)
        ]
        await asyncio.sleep(0)
        for each in lookups:
            each.cancel()
        await asyncio.wait(lookups)
    assert len(lookup_threads()) <= pool.MOST_LOOKUPS


async def test_records_are_drawn_for_each_who_shares_a_lookup(server: DnsServer) -> None:
    server.records[NAME] = [f"1 1 {port} a.example." for port in range(1, 9)]
    names = asking(server)
    draws = await asyncio.gather(*(names.services(NAME) for _ in range(20)))
    assert server.questions == [NAME]
    assert len({tuple(draw) for draw in draws}) > 1


# --- whose names are believed


async def test_targets_inside_the_domain_of_the_name_are_its_own(server: DnsServer) -> None:
    server.records[NAME] = ["1 1 5671 a.rabbit.example.", "2 1 5671 rabbit.example."]
    assert await asking(server).services(NAME, own_domain=True) == [
        Endpoint("a.rabbit.example", 5671),
        Endpoint("rabbit.example", 5671),
    ]


@pytest.mark.parametrize("target", ["evil.test", "evilrabbit.example", "example"])
async def test_a_forged_target_is_not_believed(server: DnsServer, target: str) -> None:
    """Whoever forges the record has a certificate for the host that it names."""
    server.records[NAME] = [f"1 1 5671 {target}."]
    assert await asking(server).services(NAME) == [Endpoint(target, 5671)]
    with pytest.raises(RejectedError) as caught:
        await asking(server).services(NAME, own_domain=True)
    assert caught.value.reason is Reason.TLS_FAILED
    assert caught.value.message == (
        f'the SRV record of "{NAME}" names the host "{target}", which is not inside'
        ' "rabbit.example"; a forged record could name any host, so set tls.serverName to the name'
        " that the broker's certificate has"
    )


async def test_a_forged_target_among_others_is_left_out(server: DnsServer) -> None:
    server.records[NAME] = ["1 1 5671 evil.test.", "2 1 5671 a.rabbit.example."]
    found = await asking(server).services(NAME, own_domain=True)
    assert found == [Endpoint("a.rabbit.example", 5671)]


async def test_a_search_domain_of_this_machine_counts_as_part_of_the_name(
    server: DnsServer,
) -> None:
    full = "_amqp._tcp.rabbit.orders.svc.cluster.local"
    server.records[full] = ["1 1 5672 rabbit-0.rabbit.orders.svc.cluster.local."]
    names = asking(server, search=("cluster.local",))
    [found] = await names.services("_amqp._tcp.rabbit.orders.svc", own_domain=True)
    assert found.host == "rabbit-0.rabbit.orders.svc.cluster.local"


async def test_a_name_without_a_domain_has_no_targets_of_its_own(server: DnsServer) -> None:
    server.records["_amqps._tcp"] = ["1 1 5671 a.example."]
    with pytest.raises(RejectedError):
        await asking(server).services("_amqps._tcp.", own_domain=True)


async def test_machine_without_name_servers_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unconfigured:
        def __init__(self) -> None:
            error = dns.exception.DNSException
            raise error("cannot open /etc/resolv.conf")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(dns.resolver, "Resolver", Unconfigured)
    message = await failure(SystemResolver(seeded()).services(NAME))
    assert message == f'the SRV lookup of "{NAME}" failed: cannot open /etc/resolv.conf'


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", "_amqp." + "y." * 130])
async def test_what_no_dns_name_can_be_is_a_failure(server: DnsServer, name: str) -> None:
    message = await failure(asking(server).services(name))
    assert message.startswith(f'the SRV lookup of "{name}" failed: ')
    assert server.questions == []
