"""Which lines of a watch show nothing but what Springline has written itself."""

import json

import pytest

from springline.kube import own_writes as module
from springline.kube.own_writes import OwnWrites

UID = "6b2f8a4e-0000-4000-8000-000000000001"


def line(kind: str = "MODIFIED", *, uid: str = UID, version: str = "7") -> bytes:
    """Return an event as the API server writes it."""
    metadata = {"name": "orders", "namespace": "apps", "resourceVersion": version, "uid": uid}
    document = {"kind": "BrokerConnection", "metadata": metadata, "spec": {}}
    return json.dumps({"type": kind, "object": document}, separators=(",", ":")).encode()


@pytest.fixture
def writes() -> OwnWrites:
    """Those of a writer that has made version 7 of one object."""
    writes = OwnWrites()
    writes.record(UID, "7")
    return writes


def test_what_a_write_has_made_is_told_once(writes: OwnWrites) -> None:
    """Shown again, after the watch has begun anew, it is looked at like anything else."""
    assert writes.take(line()) == "7"
    assert writes.take(line()) is None
    assert not writes


@pytest.mark.parametrize(
    "other",
    [
        line(version="8"),
        line(version="6"),
        line(version="77"),
        line(uid="another"),
        line("DELETED"),
        line("ADDED"),
        line("BOOKMARK"),
        line()[:60],
        b"",
    ],
    ids=[
        "a later version",
        "an earlier one",
        "one that begins the same",
        "another object",
        "its end",
        "its beginning",
        "a bookmark",
        "half a line",
        "nothing",
    ],
)
def test_what_only_looks_like_it_is_not_left_out(writes: OwnWrites, other: bytes) -> None:
    assert writes.take(other) is None
    assert writes.take(line()) == "7"


def test_the_last_write_of_an_object_counts(writes: OwnWrites) -> None:
    writes.record(UID, "9")
    assert writes.take(line()) is None
    assert writes.take(line(version="9")) == "9"


def test_what_is_gone_or_listed_is_forgotten(writes: OwnWrites) -> None:
    writes.record("another", "8")
    writes.forget(UID)
    writes.forget("never there")
    assert writes.take(line()) is None
    writes.clear()
    assert not writes


def test_what_no_watch_shows_does_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    writes = OwnWrites()
    for number in range(10):
        writes.record(f"uid-{number}", str(number))
    assert len(writes) == 3
    assert writes.take(line(uid="uid-9", version="9")) == "9"
