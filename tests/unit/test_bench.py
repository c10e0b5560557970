"""The parts of the measurements that only compute; tests/cluster/test_bench.py runs them."""

import json
import resource
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import __main__ as command
from bench import broker_log, picture, rows
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
