"""What is read of a status that the API server has, and what in it is not ours."""

from typing import Any

import pytest

from springline.kube import stored
from springline.kube.stored import StoredStatus


def entry(manager: str, at: str = "2026-11-21T08:00:00Z", subresource: str = "status") -> Any:
    return {"manager": manager, "time": at, "subresource": subresource, "operation": "Update"}


def shown(*managers: Any) -> StoredStatus:
    metadata = {"uid": "u", "resourceVersion": "7", "managedFields": list(managers)}
    return StoredStatus.of({"metadata": metadata, "status": {"state": "Connected"}})


def test_a_status_is_read_with_its_version() -> None:
    read = shown()
    assert (read.uid, read.version, read.status) == ("u", "7", {"state": "Connected"})


@pytest.mark.parametrize("document", [{}, {"metadata": None, "status": 7}], ids=["none", "odd"])
def test_what_an_object_does_not_say_is_empty(document: dict[str, Any]) -> None:
    read = StoredStatus.of(document)
    assert (read.uid, read.version, read.status, read.written_by) == ("", "", {}, "")


@pytest.mark.parametrize(
    ("managers", "expected"),
    [
        pytest.param([entry("kubectl-edit"), entry("springline")], "kubectl-edit", id="another"),
        pytest.param([entry("springline")], "", id="none but ours"),
        pytest.param(
            [entry("old", "2026-11-21T08:00:00Z"), entry("new", "2026-11-21T08:00:01Z")],
            "new",
            id="the last one",
        ),
        pytest.param([entry("kubectl", subresource="")], "", id="not of the spec"),
        pytest.param([entry("a\nb" + "c" * 200)], "ab" + "c" * 126, id="shortened"),
        pytest.param([None, {}], "", id="nothing of use"),
    ],
)
def test_the_writer_of_a_status_has_a_name(managers: list[Any], expected: str) -> None:
    assert shown(*managers).written_by == expected


@pytest.mark.parametrize(
    ("version", "known", "expected"),
    [
        ("10", "9", True),
        ("9", "10", False),
        ("9", "9", False),
        ("9", "", True),
        ("", "9", False),
        ("", "", False),
        ("b", "a", True),
        ("a", "a", False),
        ("9" * 5000, "9", True),
    ],
)
def test_versions_have_an_order(version: str, known: str, expected: bool) -> None:
    """As numbers; where they are none, another one is a newer one."""
    assert stored.is_newer(version, known) is expected


OURS = {
    "state": "Connected",
    "conditions": [{"type": "Ready"}, {"type": "Blocked"}],
    "negotiated": {"locale": "en_US", "clientProperties": {"app": "orders"}},
    "server": {"mechanisms": ["PLAIN"]},
}


@pytest.mark.parametrize(
    ("others", "patch"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"blocked": {"reason": "x"}}, {"blocked": None}, id="a field"),
        pytest.param(
            {"negotiated": {"locale": "en_US", "clientProperties": {"app": "orders", "x": "y"}}},
            {"negotiated": {"clientProperties": {"x": None}}},
            id="a field of a field",
        ),
        pytest.param(
            {"conditions": [{"type": "Ready"}, {"type": "Fine"}, {"type": "Blocked"}]},
            {"conditions": [{"type": "Ready"}, {"type": "Blocked"}]},
            id="a condition",
        ),
        pytest.param(
            {"server": {"mechanisms": ["PLAIN", "X"]}}, {}, id="a list is ours as a whole"
        ),
    ],
)
def test_what_others_have_added_is_taken_out(others: dict[str, Any], patch: dict[str, Any]) -> None:
    """By a merge patch: a server-side apply leaves what another field manager owns."""
    assert stored.leftovers({**OURS, **others}, OURS) == patch


def test_a_condition_of_no_readable_type_is_removed() -> None:
    """Whatever stands in its place: the API server shows what others have written."""
    found = {"conditions": [{"type": ["Ready"]}, {"type": "Ready"}, {"type": "Blocked"}]}
    assert stored.leftovers(found, OURS) == {"conditions": OURS["conditions"]}
