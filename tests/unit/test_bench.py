"""The parts of the measurements that only compute; tests/cluster/test_bench.py runs them."""

import json
import resource
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import __main__ as command
from bench import broker_log, compare, picture, rows
from bench.asked import Asking
from bench.rows import Row

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
    assert command.too_few_descriptors(500) == ""
    told = command.too_few_descriptors(1000)
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
    assert "between 1 and 5000" in capsys.readouterr().err


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
