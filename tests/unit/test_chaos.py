"""The parts of the chaos suite that only compute; tests/chaos runs them against real servers."""

import asyncio
import base64
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import cast

import pytest

from chaos import invariants, kinds, running, sequences, shrinking
from chaos.census import Census
from chaos.declared import BROKERS, CONSOLES, MARK, Declared, secret_text
from chaos.in_cluster import ClusterWorld
from chaos.planted import BUGS
from chaos.running import PARTS
from chaos.sequences import Fault
from chaos.standalone import StandaloneWorld
from chaos.world import World
from springline.api import documents
from support import hostile_brokers, suites

DRAWINGS = kinds.drawings(StandaloneWorld)
PORTS = {name: 5672 + at for at, name in enumerate((*BROKERS, *CONSOLES))}


def test_same_seed_gives_the_same_sequence() -> None:
    """Whatever the seed is; and another one gives another."""
    assert sequences.drawn("seven/A/1", DRAWINGS) == sequences.drawn("seven/A/1", DRAWINGS)
    texts = {sequences.written(sequences.drawn(number, DRAWINGS)) for number in range(20)}
    assert len(texts) == 20


def test_sequence_that_was_shown_can_be_run_again() -> None:
    """Its text holds all that was drawn."""
    for world in (StandaloneWorld, ClusterWorld):
        for number in range(50):
            faults = sequences.drawn(number, kinds.drawings(world))
            assert sequences.parsed(sequences.written(faults)) == faults


def test_unknown_wait_is_refused() -> None:
    """A text that somebody has changed does not run as something else."""
    with pytest.raises(ValueError, match="is none of"):
        sequences.parsed(json.dumps([["broker-killed", {}, "for ever"]]))


def test_all_kinds_are_drawn_where_there_is_such_a_thing() -> None:
    """At least 22 of them, over both parts, and each flood that there is."""
    drawn = {
        fault.kind
        for world in PARTS.values()
        for number in range(400)
        for fault in sequences.drawn(number, kinds.drawings(world))
    }
    assert drawn == set(kinds.KINDS)
    assert len(drawn) >= 22
    assert {f"flood-of-{each}" for each in hostile_brokers.SCRIPTS} <= drawn


@pytest.mark.parametrize("world", PARTS.values(), ids=list(PARTS))
def test_names_that_are_drawn_are_declared(world: type) -> None:
    """A fault is done to something that there is."""
    declared = Declared(ports=PORTS, namespace="default")
    rng = Random(1)  # noqa: S311 - to be repeated
    for draw in [each for _, each in kinds.drawings(world)]:
        for _ in range(20):
            given = draw(rng)
            assert given.get("name", "orders") in declared.connections
            assert given.get("user", "ann") in declared.passwords
            assert given.get("broker", "rabbit") in declared.brokers


def test_what_is_declared_is_valid() -> None:
    """Whatever is broken in a declaration is not its form."""
    declared = Declared(ports=PORTS, namespace="default")
    kinds_found = [documents.parse(each).kind for each in declared.documents()]
    assert kinds_found.count("BrokerConnection") == len(declared.connections)


def test_shrinking_finds_the_faults_that_matter() -> None:
    """Here it fails with 3 and 11 together, whatever else there is."""
    runs = 0

    async def fails(part: Sequence[int]) -> bool:
        nonlocal runs
        runs += 1
        return {3, 11} <= set(part)

    assert asyncio.run(shrinking.shrunk(range(16), fails, runs=200)) == [3, 11]
    assert runs < 60


def test_shrinking_ends_after_so_many_runs() -> None:
    """What is found by then still fails."""

    async def fails(part: Sequence[int]) -> bool:
        return {3, 11} <= set(part)

    found = asyncio.run(shrinking.shrunk(range(16), fails, runs=4))
    assert {3, 11} <= set(found)


def test_more_than_before_is_named() -> None:
    """The totals decide, and the names say what it is."""
    most = Census({"task session/#": 5, "thread asyncio_#": 6, "descriptor socket": 7})
    assert Census({"task session/#": 4, "task other": 1}).beyond(most) == []
    assert Census({"task session/#": 5, "task other": 1}).beyond(most) == ["task other: 1, was 0"]


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
def test_planted_secret_is_found_in_every_form(before: str) -> None:
    """As it is, as hex, and wherever it stands inside of base64."""
    secret = secret_text()
    assert secret.startswith(MARK)
    encoded = base64.b64encode((before + secret).encode()).decode()
    for text in (secret, secret.encode().hex(), encoded, f"a line\n{before}{secret}"):
        assert invariants._SECRET.search(text), text
    assert not invariants._SECRET.search("nothing of this: pl4nted, planted-, cGw0")


def test_log_is_read_once_and_nothing_in_between_is_missed() -> None:
    """What lies across two readings is seen, too."""
    log = invariants.Read()
    assert log.rest("a" * 500) == "a" * 500
    assert "pl4nted-1" in log.rest("a" * 496 + "pl4nted-1")


class Clockless:
    """A world in which no clock can be set, and everything holds."""

    def __init__(self) -> None:
        self.clock = None
        self.no_clock = "libfaketime is missing: install it"
        self.left_out: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.declared = SimpleNamespace(reset=lambda: None)

    async def heal(self) -> None:
        pass

    async def lull(self, wait: str) -> None:
        pass


def test_what_cannot_be_done_is_said_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence does the same without libfaketime, but no clock is set."""

    async def holds(*_: object) -> float:
        return 0.0

    monkeypatch.setattr(invariants, "settled", holds)
    monkeypatch.setattr(invariants, "hold", holds)
    world, said = Clockless(), list[str]()
    setting = Fault("clock-set", {"seconds": 300})

    async def run() -> None:
        await running.run(
            cast("World", world), ["one", "two"], given=[setting, setting], say=said.append
        )

    asyncio.run(run())
    assert said[0] == "clock-set does nothing: libfaketime is missing: install it"
    assert said[-1] == "left out: clock-set (4)"
    assert len(said) == 4


def test_what_can_be_done_is_not_counted_as_left_out() -> None:
    seconds: list[int] = []
    world = Clockless()
    world.clock = SimpleNamespace(set=seconds.append)  # type: ignore[assignment]
    asyncio.run(kinds.act(cast("World", world), Fault("clock-set", {"seconds": 300})))
    assert seconds == [300]
    assert not world.left_out


def test_each_planted_defect_can_be_planted() -> None:
    """In a process of its own, in which nothing else is then to be trusted."""
    for bug in BUGS:
        code = f"from chaos import planted; planted.plant({bug!r})"
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": f"{suites.TESTS}:{suites.TESTS.parent / 'operator'}"},
            check=True,
        )


def test_fault_without_details_is_one() -> None:
    """A kind alone is enough for what needs no target."""
    assert Fault("broker-restarted").wait == "none"
