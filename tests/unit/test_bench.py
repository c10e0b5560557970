"""The parts of the measurements that only compute; tests/cluster/test_bench.py runs them."""

import dataclasses
import io
import json
import os
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import __main__ as command
from bench import (
    broker_log,
    compare,
    costs,
    measuring,
    needs,
    picture,
    rows,
    sides,
    sizing,
    steps,
    tables,
)
from bench.asked import Asking
from bench.children import MeasurementFailed
from bench.plan import Plan
from bench.rows import Row, Step
from bench.sides import OWN, Measured, Took
from bench.steps import Holder
from bench.told import Told

WHO = "system:serviceaccount:springline-system:springline"


def a_row(count: int = 1000, *, ours: float = 3.0, **more: object) -> Row:
    fields = {"what": "applied → all Ready", "unit": "s", "is_fitted": True} | more
    return Row(count=count, ours=ours, **fields)  # type: ignore[arg-type]


def test_growth_is_the_exponent_of_the_number_of_connections() -> None:
    """What takes twice as long for twice as many grows with the power of one."""
    linear = [a_row(count, ours=count / 100) for count in (500, 1000, 2000)]
    square = [a_row(count, ours=count**2, what="worse") for count in (500, 1000)]
    alone = [a_row(500, what="measured once")]
    found = {each.what: each.exponent for each in rows.exponents([*linear, *square, *alone])}
    assert found == {
        "applied → all Ready": pytest.approx(1.0),
        "worse": pytest.approx(2.0),
    }


def test_what_is_for_each_connection_grows_as_the_whole_does() -> None:
    memory = [a_row(count, ours=40.0, is_each=True) for count in (500, 1000)]
    [growth] = rows.exponents(memory)
    assert growth.exponent == pytest.approx(1.0)


def test_results_have_the_ratio_to_the_bare_minimum(tmp_path: Path) -> None:
    measured = [a_row(ours=3.0, bare=2.0), a_row(500, ours=1.0)]
    rows.write(tmp_path / "results" / "cluster.json", measured)
    [first, second] = json.loads((tmp_path / "results" / "cluster.json").read_text())["rows"]
    assert (first["connections"], first["ratio"]) == (1000, 1.5)
    assert second["ratio"] is None
    assert "1.50" in rows.table(measured)


def test_picture_shows_what_grew(tmp_path: Path) -> None:
    """It is well-formed, and has a panel for what was measured more than once."""
    path = tmp_path / "images" / "performance.svg"
    picture.draw(path, [a_row(count, ours=count / 100, bare=1.0) for count in (500, 1000)])
    texts = [each.text for each in ET.parse(path).iter() if each.text and each.text.strip()]  # noqa: S314 - ours
    assert {"applied → all Ready, s", "500", "1000", "Springline", "bare script"} <= set(texts)


def test_nothing_is_drawn_of_one_size(tmp_path: Path) -> None:
    picture.draw(tmp_path / "performance.svg", [a_row()])
    assert list(tmp_path.iterdir()) == []


LOG = """\
2026-11-21 08:00:00.000000+00:00 [info] <0.671.0> started TCP listener on 127.0.0.1:20000
2026-11-21 08:00:01.000000+00:00 [info] <0.1.0> accepting AMQP connection <0.1.0> (a -> b)
2026-11-21 08:00:01.100000+00:00 [info] <0.2.0> accepting AMQP connection <0.2.0> (a -> b)
2026-11-21 08:00:01.200000+00:00 [info] <0.1.0> connection <0.1.0> (a -> b - one): user 'bench' \
authenticated and granted access to vhost '/'
2026-11-21 08:00:01.300000+00:00 [info] <0.3.0> accepting AMQP connection <0.3.0> (a -> b)
2026-11-21 08:00:01.400000+00:00 [info] <0.2.0> connection <0.2.0> (a -> b - two): user 'bench' \
authenticated and granted access to vhost '/'
2026-11-21 08:00:02.000000+00:00 [warning] <0.4.0> memory resource limit alarm set on node n.
"""


def test_log_of_the_broker_says_when_and_how_many_at_once() -> None:
    """Only handshakes that came to their end count; what is not told is None."""
    listening = broker_log.listens_since(LOG)
    alarmed = broker_log.alarmed_since(LOG)
    assert listening is not None
    assert alarmed is not None
    assert alarmed - listening == pytest.approx(2.0)
    assert broker_log.cleared_since(LOG) is None
    assert broker_log.handshakes_at_once(LOG) == 2
    assert broker_log.handshakes_at_once("") == 0


def an_event(verb: str, resource: str, subresource: str = "", *, who: str = WHO) -> str:
    of = {"resource": resource} | ({"subresource": subresource} if subresource else {})
    event = {
        "verb": verb,
        "stage": "ResponseComplete",
        "user": {"username": who},
        "objectRef": of,
        "requestReceivedTimestamp": "2026-11-21T08:00:00.000000Z",
    }
    return json.dumps(event) + "\n"


def test_requests_are_counted_once_and_only_those_of_the_operator(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    asking = Asking(log, WHO)
    assert asking.since_last().counts == {}
    write = an_event("patch", "brokerconnections", "status")
    log.write_text(write + an_event("create", "events") + an_event("get", "secrets", who="admin"))
    asked = asking.since_last()
    assert asked.counts == {"patch brokerconnections/status": 1, "create events": 1}
    assert asked.status_writes == 1
    with log.open("a") as more:
        more.write(write + write[:20])  # the last one is being written
    assert asking.since_last().status_writes == 1
    with log.open("a") as more:
        more.write(write[20:])
    assert asking.since_last().status_writes == 1
    assert asking.since_last().status_writes == 0


def test_too_few_file_descriptors_are_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The text says how many are needed, and what can be done."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert needs.too_few_descriptors(500) == ""
    told = needs.too_few_descriptors(1000)
    assert "1500 file descriptors" in told
    assert "1024" in told
    with pytest.raises(SystemExit, match="ulimit -Hn"):
        command.main(["5000"])


@pytest.mark.parametrize("count", ["0", "100000"])
def test_numbers_that_no_machine_can_hold_are_refused(
    count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main([count])
    assert "between 1 and 10000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "needed"),
    [
        pytest.param(500, 1000, id="a few: what the client has beside its connections decides"),
        pytest.param(10_000, 11_245, id="many: a tenth of the broker's are not for sockets"),
    ],
)
def test_limit_of_open_files_suffices_for_the_broker_too(count: int, needed: int) -> None:
    assert needs.descriptors(count) == needed


def test_limit_of_a_running_process_is_looked_at() -> None:
    """What is said names the process, and not the shell."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (600, 600)); input('.')"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"."
        assert needs.too_few_of_process(50, child.pid, "the broker") == ""
        told = needs.too_few_of_process(500, child.pid, "the broker")
        child.communicate(b"\n")
    assert "1000 file descriptors and the broker allows 600" in told


@pytest.mark.parametrize(
    ("free", "ports", "said"),
    [
        pytest.param(4e9, 28_232, "", id="it fits"),
        pytest.param(2e9, 28_232, "3.0 GB, most of it the broker's, and 2.0 GB", id="memory"),
        pytest.param(4e9, 10_000, "there are 10000", id="local ports"),
    ],
)
def test_size_that_does_not_fit_is_left_out_in_one_sentence(
    free: float, ports: int, said: str
) -> None:
    told = needs.lacking(10_000, free_bytes=int(free), ports=ports)
    assert said in told
    assert bool(told) == bool(said)


# --- turns


@pytest.mark.parametrize(
    ("count", "times", "number"),
    [
        pytest.param(1000, None, 3, id="the size that the page has in full has a median"),
        pytest.param(500, None, 1, id="another is measured once"),
        pytest.param(2000, 5, 5, id="unless turns are asked for"),
    ],
)
def test_number_of_turns(count: int, times: int | None, number: int) -> None:
    assert command.turns(count, times) == number


@pytest.mark.parametrize(
    ("part", "asked", "measured"),
    [
        pytest.param("cluster", [500, 1000], [500, 1000], id="what grows on the page: all"),
        pytest.param("http", [500, 1000], [1000], id="what the page has with one size: that one"),
        pytest.param("http", [50, 100], [50, 100], id="unless it was not asked for"),
        pytest.param("http", [], [], id="nothing was asked for"),
    ],
)
def test_sizes_of_a_part_beside_others(part: str, asked: list[int], measured: list[int]) -> None:
    assert command.enough(part, asked) == measured


def test_child_reads_what_it_is_told() -> None:
    plan = Plan(idle_seconds=2.5, probe_seconds=3)
    told = Told(port=20000, secret="x", count=7, plan=plan)
    for each in (told, dataclasses.replace(told, speech="AMQP10", authorities="/ca.pem")):
        assert Told.read(each.arguments) == each


def test_sides_take_turns_and_so_does_who_begins() -> None:
    """What they took comes back in the order of the sides, whoever begins."""
    began: list[str] = []

    def side(name: str) -> str:
        began.append(name)
        return name

    for turn in (1, 2, 3):
        taken = sides.by_turns(turn, lambda: side("bare"), lambda: side("ours"))
        assert taken == ["bare", "ours"]
    assert began == ["bare", "ours", "ours", "bare", "bare", "ours"]


def test_each_size_is_measured_in_its_turns() -> None:
    """Only in the first is there time to be idle."""
    taken: list[tuple[int, int, bool]] = []

    def once(count: int, plan: Plan, turn: int) -> list[Row]:
        taken.append((count, turn, plan.idle_seconds > 0))
        return [a_row(count, ours=float(turn))]

    found = command.in_turns("standalone", [500, 1000], 3, once)
    assert taken == [
        *[(500, 1, True), (500, 2, False), (500, 3, False)],
        *[(1000, 1, True), (1000, 2, False), (1000, 3, False)],
    ]
    assert [(row.count, row.ours, row.times) for row in found] == [(500, 2.0, 3), (1000, 2.0, 3)]


def test_part_that_fails_keeps_what_it_has_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end says what has failed, with an exit code of a failure."""

    def once(count: int, *_: object) -> list[Row]:
        if count > 500:
            raise MeasurementFailed("the broker hung up")
        return [a_row(count, ours=7.0)]

    def part(_: Path, counts: Sequence[int], times: int | None) -> list[Row]:
        return command.in_turns("a part", counts, times, once)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "PARTS", ("standalone", "amqp10"))
    monkeypatch.setattr(command, "FEWER", {})
    monkeypatch.setattr(command, "MEASURES", dict.fromkeys(command.PARTS, part))
    with pytest.raises(SystemExit, match="a part, 1000 connections: the broker hung up"):
        command.main(["500", "1000"])
    for name in command.PARTS:
        assert "| applied → all Ready | 7.00 s |" in (command.RESULTS / f"{name}.md").read_text()
    assert "on with the next part" in capsys.readouterr().out


def test_figures_are_medians_with_their_ranges(tmp_path: Path) -> None:
    """A side that was not there in one turn has the median of the others."""
    turns = [
        [a_row(ours=3.0, bare=2.0), a_row(500)],
        [a_row(ours=9.0, bare=None), a_row(500)],
        [a_row(ours=4.0, bare=1.0), a_row(500)],
    ]
    [found, other] = rows.medians(turns)
    assert (found.ours, found.bare, found.go, found.times) == (4.0, 1.5, None, 3)
    assert found.ranges == {"ours": (3.0, 9.0), "bare": (1.0, 2.0)}
    assert other.count == 500
    rows.write(tmp_path / "results.json", [found])
    [written] = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert written["ranges"] == {"ours": [3.0, 9.0], "bare": [1.0, 2.0]}
    assert written["times"] == 3


def test_one_turn_has_no_range() -> None:
    [found] = rows.medians([[a_row(ours=3.0)]])
    assert (found.ours, found.times, found.ranges) == (3.0, 1, {})


# --- steps


class Noting(Holder):
    """Notes what it is to do."""

    def __init__(self) -> None:
        self.did: list[str] = []

    async def open_first(self) -> None:
        self.did.append("first")

    async def open_all(self) -> None:
        self.did.append("open")

    async def prepare_to_idle(self) -> None:
        self.did.append("prepare")

    async def idle(self) -> None:
        self.did.append("idle")

    async def renew_all(self, secret: str) -> None:
        self.did.append(f"renew {secret}")

    async def until_lost(self) -> None:
        self.did.append("lost")

    async def until_back(self) -> None:
        self.did.append("back")

    async def close_all(self) -> None:
        self.did.append("close")

    async def close_first(self) -> None:
        self.did.append("close first")


async def test_child_does_the_steps_that_it_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says that it is ready before what is measured begins, and closes all at the end."""
    told = ["open", "idle", "now", "reopen", "now", "renew second", "survive"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(told) + "\n"))
    holder = Noting()
    await steps.serve(holder, 3, Plan())
    assert holder.did == [
        *["first", "open", "prepare", "idle", "close", "open", "renew second", "lost", "back"],
        *["close", "close first"],
    ]
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [next(iter(each)) for each in reports] == [
        *["resident", "wall", "prepared", "wall", "prepared", "wall", "wall"],
        *["prepared", "lost", "at"],
    ]


async def test_each_is_asked_once_in_an_interval() -> None:
    asked: list[int] = []

    async def ask(number: int) -> None:
        asked.append(number)

    await steps.asked_in_turn(range(20), ask, Plan(probe_seconds=1, idle_seconds=1.0))
    assert sorted(asked) == list(range(20))


def test_restart_counts_from_when_the_server_listens() -> None:
    """Not from when its start has come to an end."""
    order: list[str] = []
    is_seen = threading.Event()

    def start() -> None:
        order.append("starts")
        assert is_seen.wait(60.0)
        order.append("started")

    def listening() -> Callable[[], float | None]:
        return lambda: 5.0 if order else None

    def then() -> None:
        order.append("listens")
        is_seen.set()

    server = sides.Restartable(lambda: None, start, listening)
    assert server.started(then) == 5.0
    assert order == ["starts", "listens", "started"]


def test_restart_that_fails_says_so() -> None:
    def start() -> None:
        raise OSError("no such program")

    server = sides.Restartable(lambda: None, start, lambda: lambda: None)
    with pytest.raises(OSError, match="no such program"):
        server.started(lambda: None)


# --- processor time


def test_processor_time_is_counted_with_that_of_descendants() -> None:
    """From the start, and of a process that came later from its own beginning."""
    spin = "import time\nwhile time.process_time() < 0.1: pass\nprint('.', flush=True)\ninput()"
    shell = ["sh", "-c", f'"{sys.executable}" -c "{spin}"; true']
    with subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        counted = measuring.Processors({"shell": lambda: child.pid, "away": lambda: None})
        assert child.stdout is not None
        assert child.stdout.read(1) == b"."
        assert len(measuring.family(child.pid)) == 2
        used = counted.seconds
        counted.start()
        assert counted.seconds["shell"] < used["shell"]
        child.communicate(b"\n")
    assert 0.05 < used["shell"] < 10.0
    assert used["away"] == 0
    assert os.getpid() in measuring.family(os.getpid())


OPEN = Step(what="declared → all Ready", told="open", own="  processor time", others="")
BACK = Step(
    what="back", told="survive", own="  processor time to reconnect", others=" to reconnect"
)


def a_side(
    count: int = 1000, *, factor: float = 1.0, servers: Sequence[str] = ("the broker",)
) -> list[Row]:
    """What a process took that has 50 MB, 40 KB for each connection, and idles at 2 % of a core."""
    found = Measured(count=count, before=50e6, resident=50e6 + 40e3 * count * factor)
    found.peak = 50e6 + 50e3 * count
    processors = {OWN: 0.3 * factor, **dict.fromkeys(servers, 1.5)}
    for step in (OPEN, sides.idle(Plan()), BACK):
        found.took[step] = Took(seconds=15.0, processors=processors)
    return sides.rows_of(found)


def test_each_time_has_the_processor_time_of_every_process() -> None:
    found = {row.what: row for row in a_side()}
    assert found["declared → all Ready"].ours == 15.0
    assert found["  processor time"].ours == 0.3
    assert found["  … of the broker"].ours == 1.5
    assert found["  … of the broker to reconnect"].during == "back"
    assert found["  handshakes a second"].ours == pytest.approx(1000 / 15)
    assert found[Plan().idle].ours == pytest.approx(2.0)
    assert found[Plan().idle].unit == "% of a core"
    assert found["memory per connection"].ours == pytest.approx(40.0)


def test_what_is_beside_is_joined_by_name() -> None:
    joined = rows.beside(a_side(), bare=a_side(factor=0.5))
    found = {row.what: row for row in joined}
    assert found["  processor time"].ratio == pytest.approx(2.0)
    assert found["  processor time"].go is None


# --- how many a replica holds


def test_size_is_bound_by_what_is_scarce_first() -> None:
    """Four fifths of the memory, half of the processor while idle, all back in a minute."""
    cost = sizing.Cost(count=1000, before=50.0, each=0.05, idle=2e-5, reconnecting=2e-3)
    small = sizing.size(cost, 128, 1000)
    assert (small.connections, small.bound_by) == (1000, "memory")  # (102.4 - 50) / 0.05
    slow = sizing.size(cost, 2048, 50)
    assert (slow.connections, slow.bound_by) == (1200, "idling")  # 0.025 / 2e-5
    stormy = sizing.size(
        sizing.Cost(count=1000, before=50.0, each=0.05, idle=2e-6, reconnecting=1e-2), 2048, 100
    )
    assert (stormy.connections, stormy.bound_by) == (600, "reconnecting")  # 0.1 * 60 / 1e-2


def test_size_too_small_for_the_process_itself_holds_nothing() -> None:
    cost = sizing.Cost(count=1000, before=50.0, each=0.05, idle=2e-5, reconnecting=2e-3)
    assert sizing.size(cost, 60, 100).connections == 0


def test_more_than_one_core_holds_no_more() -> None:
    cost = sizing.Cost(count=1000, before=50.0, each=0.05, idle=2e-5, reconnecting=2e-3)
    assert sizing.size(cost, 4096, 4000).by_idling == sizing.size(cost, 4096, 1000).by_idling


def test_cost_is_that_of_the_largest_size_with_all_figures() -> None:
    incomplete = [row for row in a_side(2000) if "reconnect" not in row.what]
    cost = sizing.cost([*a_side(500), *a_side(1000), *incomplete])
    assert cost is not None
    assert cost.count == 1000
    assert cost.before == pytest.approx(50.0)
    assert cost.each == pytest.approx(0.05), "the peak counts, and not what stays"
    assert cost.idle == pytest.approx(2e-5)
    assert cost.reconnecting == pytest.approx(3e-4)
    assert sizing.cost(incomplete) is None


# --- the page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def columns(text: str) -> Iterator[str]:
    """Yield the heads of tables; for any number of sizes, and any size, the same."""
    for head in re.findall(r"^(\|.*\|)\n\|---", text, re.MULTILINE):
        yield re.sub(r"( \| N = [\d,]+)+", " | N = …", head)


SERVERS = {
    "http": ["the server"],
    "cluster": ["the broker", "kube-apiserver", "etcd"],
}


@pytest.mark.parametrize("part", tables.PARTS)
def test_tables_of_the_page_have_the_columns_that_are_written(part: str) -> None:
    """So that what a run has written can be copied over it."""
    sides_of = {count: a_side(count, servers=SERVERS.get(part, ["the broker"])) for count in (1, 2)}
    measured = [
        dataclasses.replace(row, what=title + row.what)
        for title in tables.PARTS[part].titles
        for rows_of_side in sides_of.values()
        for row in rows_of_side
        if part != "commands" or not row.during
    ]
    heading = f"### {tables.PARTS[part].heading}"
    sections = re.split(r"^(?=##)", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    on_page = "".join(each for each in sections if re.match(rf"{heading}[,:\n]", each))
    assert list(columns(on_page)) == list(columns(tables.document(part, measured)))


def test_page_is_written_with_units_and_ratios() -> None:
    counted = [a_row(ours=50.0, what="  handshakes at once", unit=""), a_row(ours=1.0, unit="")]
    measured = [*rows.beside(a_side(), bare=a_side(factor=0.5)), *counted]
    written = tables.document("standalone", measured)
    assert "### Standalone, N = 1,000\n" in written
    assert "| memory per connection | 40.0 KB | 20.0 KB | 2.0 | – |" in written  # noqa: RUF001
    assert "| declared → all Ready | 0.30 s | 1.50 s | 0.15 s | 1.50 s | – | – |" in written  # noqa: RUF001
    assert "| … handshakes at once | 50 | – |" in written  # noqa: RUF001
    assert "| applied → all Ready | 1.00 | – |" in written  # noqa: RUF001
    assert "| 128 MB | 100 m | 1,000 | memory |" in written
    assert "how it grows" not in written, "one size does not grow"


def test_costs_are_those_of_a_thousand_connections() -> None:
    """By each kind that was measured, and scaled where it was with another number."""
    over_http = [
        dataclasses.replace(row, what=f"HTTP/2: {row.what}") for row in a_side(500, factor=0.5)
    ]
    measured = {"standalone": [*a_side(1000), *a_side(2000)], "http": over_http, "cluster": []}
    _, _, *lines = costs.document(measured).rstrip().splitlines()[2:]
    [alone, two] = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert alone == ["standalone", "50.0 MB", "40.0 MB", "20.0 m", "0.30 s", "–", "–", "–"]  # noqa: RUF001
    assert two[:5] == ["over HTTP/2", "50.0 MB", "20.0 MB", "20.0 m", "0.30 s"]


def test_costs_on_the_page_have_the_columns_and_lines_that_are_written() -> None:
    measured = {
        part: [
            dataclasses.replace(row, what=title + row.what)
            for title in each.titles
            for row in a_side()
        ]
        for part, each in tables.PARTS.items()
    }
    page = PAGE.read_text(encoding="utf-8")
    [on_page] = re.findall(rf"### {costs.HEADING}\n\n((?:\|.*\n)+)", page)
    written = costs.document(measured)
    assert list(columns(on_page)) == list(columns(written))
    names = re.compile(r"^\| *(\w[^|]*) \|", re.MULTILINE)
    assert names.findall(on_page) == names.findall(written)


# --- two trees


def a_run(ours: float, *, bare: float | None = 1.0, what: str = "opened") -> compare.Run:
    return [{"what": what, "connections": 100, "unit": "s", "springline": ours, "bare": bare}]


def test_two_trees_are_compared_by_the_medians_of_their_runs() -> None:
    before = [a_run(2.0), a_run(9.0), a_run(2.2)]
    after = [a_run(1.0, bare=1.2), a_run(1.1, bare=1.1), a_run(5.0, bare=1.1)]
    [found] = compare.comparisons(before, after)
    assert found.ratio == pytest.approx(1.1 / 2.2)
    assert found.beside == pytest.approx(1.1), "the machine was slower, for the same code too"
    [_, line] = compare.table([found]).splitlines()
    assert line.split() == [
        *("opened", "100", "2.20", "(2.00-9.00)", "1.10", "(1.00-5.00)", "0.50", "1.10", "s")
    ]


def test_what_only_one_tree_measures_is_left_out() -> None:
    assert list(compare.comparisons([a_run(1.0)], [a_run(1.0, what="closed")])) == []


def test_what_has_nothing_beside_it_has_no_such_ratio() -> None:
    [found] = compare.comparisons([a_run(1.0, bare=None)], [a_run(2.0, bare=None)])
    assert (found.ratio, found.beside) == (2.0, None)


def test_two_trees_take_turns_and_so_does_who_begins() -> None:
    trees = compare.Tree("before", Path("a")), compare.Tree("after", Path("b"))
    order = [(tree.name, number) for tree, number in compare.turns(*trees, 3)]
    assert order == [
        *[("before", 1), ("after", 1)],
        *[("after", 2), ("before", 2)],
        *[("before", 3), ("after", 3)],
    ]


def test_processor_time_and_the_cluster_are_compared_too(tmp_path: Path) -> None:
    """Every part that a run has written, every row of it."""
    for number, part in enumerate(("cluster", "standalone"), start=1):
        rows.write(tmp_path / f"{part}.json", a_side(factor=float(number)))
    run = [row for part in sorted(tmp_path.iterdir()) for row in compare.rows_of(part)]
    found = {each.what for each in compare.comparisons([run], [run])}
    for part in ("cluster", "standalone"):
        assert {f"{part}: processor time", f"{part}: … of the broker to reconnect"} <= found


STAND_IN = """\
#!/bin/sh
mkdir -p bench-results
echo '{"rows": [{"what": "opened", "connections": '$3', "unit": "s", "springline": SECONDS,
"bare": null}]}' >bench-results/standalone.json
echo '{"rows": [{"what": "opened", "connections": '$3', "unit": "s", "springline": 9SECONDS,
"bare": null}]}' >bench-results/cluster.json
"""


def a_tree(folder: Path, seconds: str) -> Path:
    """A tree whose interpreter measures nothing and says so many seconds."""
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN.replace("SECONDS", seconds))
    python.chmod(0o755)
    return folder


def test_two_trees_are_measured_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before, after = a_tree(tmp_path / "a", "2.0"), a_tree(tmp_path / "b", "3.0")
    compare.main(["--times", "2", str(before), str(after), "100"])
    shown = capsys.readouterr().out.splitlines()
    [line] = [line for line in shown if line.startswith("standalone: opened ")]
    assert line.split() == [
        *("standalone:", "opened", "100"),
        *("2.00", "(2.00-2.00)", "3.00", "(3.00-3.00)", "1.50", "-", "s"),
    ]
    [line] = [line for line in shown if line.startswith("cluster: opened ")]
    assert "92.00" in line
    assert (compare.RESULTS / "after-2" / "bench-results" / "standalone.json").is_file()


def test_a_tree_without_its_environment_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        compare.main([str(a_tree(tmp_path / "a", "1.0")), str(tmp_path)])
    assert "run make venv" in capsys.readouterr().err


def test_a_bench_that_fails_ends_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = a_tree(tmp_path / "a", "1.0")
    (tree / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(SystemExit, match=r"the bench of .* failed"):
        compare.main([str(tree), str(tree), "100"])
