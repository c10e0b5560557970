"""What replicas are called, and what is read from their Leases."""

from datetime import UTC, datetime
from typing import Any

import pytest

from springline.kube import replicas
from springline.kube.replicas import LABELS, LeaseState, Replica


@pytest.mark.parametrize(
    ("holder", "expected"),
    [
        pytest.param("system/pod-1", Replica("system", "pod-1"), id="as it is written"),
        pytest.param("pod-1", Replica("here", "pod-1"), id="by a version without Leases"),
        pytest.param("system/a/b", Replica("system", "a/b"), id="a name with a slash"),
        pytest.param("", None, id="nothing"),
        pytest.param("system/", None, id="no name"),
        pytest.param("/pod-1", None, id="no namespace"),
        pytest.param("../secrets/pod-1", None, id="a path"),
        pytest.param("System/pod-1", None, id="no namespace could be called so"),
        pytest.param(f"{'n' * 64}/pod-1", None, id="a namespace that is too long"),
        pytest.param(f"system/{'n' * 254}", None, id="a name that is too long"),
        pytest.param("system/pod\n1", None, id="a line break"),
    ],
)
def test_a_holder_leads_to_a_replica(holder: str, expected: Replica | None) -> None:
    """A status may be written by hand, so what no replica writes leads nowhere."""
    assert Replica.parse(holder, namespace="here") == expected


@pytest.mark.parametrize("name", ["pod-1", "pod.1", "0", "n" * 253])
def test_a_replica_is_found_by_its_holder(name: str) -> None:
    replica = Replica("system", name)
    assert Replica.parse(str(replica), namespace="elsewhere") == replica
    assert replica.lease_name == name


@pytest.mark.parametrize("name", ["Laptop", "my_host", "a/b", "..", "-a", "ü", "é" * 253])
def test_a_name_that_no_object_can_have_is_changed(name: str) -> None:
    """Into one that an object can have, and that no other replica gets."""
    lease = Replica("system", name).lease_name
    assert replicas._SUBDOMAIN.fullmatch(lease)
    assert len(lease) <= 253
    assert lease != Replica("system", f"{name}x").lease_name
    assert Replica("system", "laptop").lease_name != Replica("system", "Laptop").lease_name


def test_a_lease_has_a_path() -> None:
    assert Replica("system", "pod-1").lease_path == (
        "/apis/coordination.k8s.io/v1/namespaces/system/leases/pod-1"
    )


def lease(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "pod-1", "uid": "u", "resourceVersion": "7", "labels": dict(LABELS)}
    return {"metadata": metadata, "spec": spec}


def test_a_lease_is_read() -> None:
    read = LeaseState.of(
        lease(
            holderIdentity="system/pod-1",
            leaseDurationSeconds=15,
            renewTime="2026-11-21T08:00:00.250000Z",
        )
    )
    assert read == LeaseState(
        name="pod-1",
        uid="u",
        version="7",
        is_ours=True,
        holder="system/pod-1",
        seconds=15.0,
        renewed_at=datetime(2026, 11, 21, 8, 0, 0, 250000, tzinfo=UTC),
    )
    assert replicas.micro_time(datetime(2026, 11, 21, 8, 0, 0, 250000, tzinfo=UTC)) == (
        "2026-11-21T08:00:00.250000Z"
    )


@pytest.mark.parametrize(
    "document",
    [{}, {"metadata": None, "spec": 7}, lease(leaseDurationSeconds="x", renewTime="soon")],
    ids=["nothing", "something else", "values that are none"],
)
def test_what_a_lease_does_not_say_is_not_guessed(document: dict[str, Any]) -> None:
    """It then lasts no time, and counts as renewed long ago."""
    read = LeaseState.of(document)
    assert (read.holder, read.seconds, read.renewed_at) == ("", 0.0, None)


def test_no_lease_is_believed_for_longer_than_some_minutes() -> None:
    assert LeaseState.of(lease(leaseDurationSeconds=2**31 - 1)).seconds == 300.0


def test_the_lease_of_something_else_is_not_a_replicas() -> None:
    """Other programs keep Leases in the same namespace."""
    document = lease(holderIdentity="system/pod-1")
    document["metadata"]["labels"] = {"app.kubernetes.io/name": "springline"}
    assert not LeaseState.of(document).is_ours
