"""Which events of a watch only show our own writes again."""

from collections.abc import Callable
from typing import Any

import pytest

from springline.kube.echoes import Echoes


def shown(kind: str = "MODIFIED", *, status: str = "", **metadata: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "object": {
            "metadata": {"uid": "one", "generation": 1, "annotations": {"a": "1"}} | metadata,
            "status": {"state": status},
        },
    }


@pytest.fixture
def passes() -> Callable[[dict[str, Any]], bool]:
    """Whether an event of one watch is worth to be looked at."""
    echoes = Echoes()
    return lambda event: not echoes.has(event)


def test_status_alone_is_no_news(passes: Callable[[dict[str, Any]], bool]) -> None:
    """Our own writes come back; the first time an object is shown, nobody knows what is new."""
    assert passes(shown("ADDED"))
    assert not passes(shown(status="Connecting"))
    assert not passes(shown(status="Connected"))
    assert passes(shown(uid="another", status="Connected"))


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"annotations": {"a": "2"}},
        {"annotations": None},
        {"deletionTimestamp": "2026-11-21T08:00:00Z"},
        {"uid": "its successor"},
    ],
    ids=["spec", "annotation", "no annotations", "deletion", "created again"],
)
def test_everything_else_is_news_once(
    passes: Callable[[dict[str, Any]], bool], change: dict[str, Any]
) -> None:
    passes(shown("ADDED"))
    assert passes(shown(**change))
    assert not passes(shown(status="Connected", **change))
    assert passes(shown()) or "uid" in change


def test_the_end_of_an_object_is_news_and_its_return_as_well(
    passes: Callable[[dict[str, Any]], bool],
) -> None:
    passes(shown("ADDED"))
    assert passes(shown("DELETED"))
    assert passes(shown("ADDED"))


def test_without_a_generation_anything_may_be_news(
    passes: Callable[[dict[str, Any]], bool],
) -> None:
    event = shown()
    del event["object"]["metadata"]["generation"]
    assert passes(event)
    assert passes(event)


@pytest.mark.parametrize("kind", ["BOOKMARK", "ERROR"])
def test_what_is_said_of_the_watch_itself_passes(
    passes: Callable[[dict[str, Any]], bool], kind: str
) -> None:
    """A bookmark has no uid, and an error is no object; both decide where the watch goes on."""
    event = {"type": kind, "object": {"metadata": {"resourceVersion": "7"}}}
    assert passes(event)
    assert passes(event)
