"""What a Kubernetes Event looks like."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from springline.api.meta import Identity
from springline.kube import event_objects
from springline.kube.event_objects import Content

NOON = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
ORDERS = Identity("BrokerConnection", "apps", "orders")


def a_content(
    identity: Identity = ORDERS,
    *,
    message: str = "attempt failed: login refused",
    reason: str = "AccessRefused",
    related: Identity | None = None,
) -> Content:
    return Content(
        identity=identity,
        uid="uid-1",
        type="Warning",
        reason=reason,
        action="ConnectFailed",
        message=message,
        related=related,
    )


def test_an_event_says_what_happened_to_whom_when_and_who_says_so() -> None:
    document = event_objects.document(
        a_content(),
        name="springline-1",
        instance="pod-1",
        first=NOON,
        last=NOON + timedelta(seconds=2),
        count=3,
    )
    assert document == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "springline-1", "namespace": "apps"},
        "involvedObject": {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "BrokerConnection",
            "namespace": "apps",
            "name": "orders",
            "uid": "uid-1",
        },
        "type": "Warning",
        "reason": "AccessRefused",
        "action": "ConnectFailed",
        "message": "attempt failed: login refused",
        "source": {"component": "springline"},
        "reportingComponent": "springline",
        "reportingInstance": "pod-1",
        "eventTime": "2026-11-21T12:00:00.250000Z",
        "firstTimestamp": "2026-11-21T12:00:00Z",
        "lastTimestamp": "2026-11-21T12:00:02Z",
        "count": 3,
    }


def test_an_event_on_what_has_no_namespace_is_in_default() -> None:
    content = a_content(Identity("ClusterBroker", "", "rabbit"))
    document = event_objects.document(
        content, name="e", instance="i", first=NOON, last=NOON, count=1
    )
    assert event_objects.path(content) == "/api/v1/namespaces/default/events"
    assert event_objects.path(content, "e") == "/api/v1/namespaces/default/events/e"
    assert document["metadata"]["namespace"] == "default"
    assert document["involvedObject"]["namespace"] == "default"


@pytest.mark.parametrize(
    ("field", "limit"),
    [("message", 1024), ("reason", 128), ("reportingInstance", 128)],
)
@pytest.mark.parametrize("text", ["a" * 5000, "é" * 5000, "🐰" * 5000])
def test_no_text_is_longer_than_the_api_server_takes(field: str, limit: int, text: str) -> None:
    """In bytes, and cut between two characters."""
    content = a_content(message=text, reason=text)
    document = event_objects.document(
        content, name="e", instance=text, first=NOON, last=NOON, count=1
    )
    shown = document[field]
    assert limit - 4 <= len(shown.encode()) <= limit
    assert shown.endswith("…")
    assert text.startswith(shown[:-1])


def test_a_text_that_fits_is_not_cut() -> None:
    content = a_content(message="é" * 512)
    document = event_objects.document(
        content, name="e", instance="i", first=NOON, last=NOON, count=1
    )
    assert document["message"] == "é" * 512


@pytest.mark.parametrize(
    ("related", "reference"),
    [
        pytest.param(
            Identity("Broker", "apps", "rabbit"),
            {
                "apiVersion": "springline.dev/v1alpha1",
                "kind": "Broker",
                "namespace": "apps",
                "name": "rabbit",
            },
            id="in a namespace",
        ),
        pytest.param(
            Identity("ClusterBroker", "", "shared"),
            {"apiVersion": "springline.dev/v1alpha1", "kind": "ClusterBroker", "name": "shared"},
            id="of the cluster",
        ),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_an_event_refers_to_what_it_is_related_to(
    related: Identity | None, reference: dict[str, str] | None
) -> None:
    document = event_objects.document(
        a_content(related=related), name="x", instance="pod-1", first=NOON, last=NOON, count=1
    )
    assert document.get("related") == reference


def test_contents_have_the_same_digest_only_where_they_say_the_same() -> None:
    """By it, the poster knows what it has posted."""
    rabbit = Identity("Broker", "apps", "rabbit")
    contents = [
        a_content(),
        a_content(ORDERS._replace(name="billing")),
        a_content(message="attempt failed: login refused\ud800"),
        a_content(reason="AccessRefused2"),
        a_content(related=rabbit),
        dataclasses.replace(a_content(), uid="uid-2"),
        dataclasses.replace(a_content(), type="Normal"),
        dataclasses.replace(a_content(), action="Closed"),
    ]
    assert len({each.digest for each in contents}) == len(contents)
    assert a_content(related=rabbit).digest == a_content(related=rabbit).digest
