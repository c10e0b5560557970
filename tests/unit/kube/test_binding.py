"""Binding Secrets: when they are written, what is in them, and whose they are."""

import dataclasses
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from springline import errors
from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core.events import EventType
from springline.core.values import SessionKey
from springline.kube import binding as module
from springline.kube.client import RefusedError, UnreachableError
from springline.reasons import Reason
from support.bindings import Scene, path, playing
from support.builders import a_credential, credential_refused, server_close, unreachable
from support.fake_clock import FakeClock
from support.fakes import SILENCE
from support.fleet import BILLING, ORDERS

SOURCE = Identity("Secret", "apps", "orders-amqp")
BINDING = v1alpha1.Binding(secret_name="orders-binding")
AWAY = UnreachableError("nobody listens")
FORBIDDEN = RefusedError(403, "Forbidden", "secrets is forbidden")


@pytest.fixture
async def scene(clock: FakeClock) -> AsyncIterator[Scene]:
    """A running manager and a running writer, with nothing declared."""
    async with playing(clock) as scene:
        yield scene


@pytest.fixture
async def published(scene: Scene) -> Scene:
    """One connection whose binding is written."""
    await scene.declare(binding=BINDING)
    assert scene.told() is Reason.PUBLISHED
    scene.api.asked.clear()
    scene.events.events.clear()
    scene.shown.clear()
    return scene


async def rotate(scene: Scene, secret: str, *, username: str = "app") -> None:
    """Have the source hold another password."""
    source = scene.sources.credential_sources[ORDERS]
    source.answer = a_credential(secret, username=username, version="2")
    scene.manager.object_changed(SOURCE)
    await scene.clock.advance(1)


def events(scene: Scene, kind: EventType) -> list[str]:
    return [event.message for event in scene.events.of(kind)]


def owned_by(name: str, uid: str, *, kind: str = "BrokerConnection") -> dict[str, Any]:
    """Return metadata of what belongs to somebody."""
    reference = {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
    }
    return {"ownerReferences": [reference]}


# --- what is written


async def test_a_verified_credential_is_published(scene: Scene) -> None:
    """In one write, for this connection alone, and the connection says so."""
    await scene.declare(binding=BINDING)
    assert scene.api.asked == [
        ("metadata", path("orders-binding")),
        ("create", "/api/v1/namespaces/apps/secrets"),
    ]
    secret = scene.secret()
    assert secret["type"] == "servicebinding.io/rabbitmq"
    assert scene.values() == {
        "type": "rabbitmq",
        "provider": "rabbitmq",
        "host": "rabbit-0.example",
        "port": "5672",
        "username": "app",
        "password": "first",
        "vhost": "/",
        "uri": "amqp://app:first@rabbit-0.example:5672/%2F",
        "uris": "amqp://app:first@rabbit-0.example:5672/%2F",
    }
    assert secret["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "springline",
        "springline.dev/connection": "orders",
    }
    assert secret["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "BrokerConnection",
            "name": "orders",
            "uid": "uid-orders",
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    assert scene.publication().name == "orders-binding"
    assert scene.told() is Reason.PUBLISHED
    assert ORDERS in scene.shown
    assert events(scene, EventType.BINDING_PUBLISHED) == ['Secret "orders-binding" was written']


async def test_nothing_is_written_before_the_broker_has_answered(scene: Scene) -> None:
    scene.driver.then(SILENCE)
    await scene.declare(binding=BINDING)
    assert not scene.api.writes
    assert scene.told() is Reason.NOTHING_VERIFIED
    assert scene.publication().name is None
    scene.driver.release()
    await scene.clock.advance(1)
    assert scene.api.writes == ["create"]


async def test_nothing_is_written_of_a_credential_that_is_refused(scene: Scene) -> None:
    scene.driver.otherwise = credential_refused()
    await scene.declare(binding=BINDING)
    await scene.clock.advance(300)
    assert not scene.api.writes
    assert scene.told() is Reason.NOTHING_VERIFIED
    assert [verb for verb, _ in scene.api.asked] == ["metadata"]


async def test_without_a_declared_binding_nothing_is_asked(scene: Scene) -> None:
    await scene.declare()
    await scene.clock.advance(600)
    assert not scene.api.asked
    assert scene.writer.publication(ORDERS) is None


async def test_a_steady_state_costs_nothing(published: Scene) -> None:
    """Nor does what the watch says of our own writes, or a reconnect."""
    published.writer.listed("", published.api.listed())
    await published.clock.advance(3600)
    published.driver.connection.end(server_close())
    await published.clock.advance(60)
    assert published.open_connections
    assert not published.api.asked
    assert not published.shown


async def test_what_another_live_replica_holds_is_left_to_it(published: Scene) -> None:
    """Both have a session, and may have different tokens; the Secret must not go to and fro."""
    orders = Identity("BrokerConnection", "apps", "orders")
    published.held_elsewhere.add(orders)
    await rotate(published, "second")
    assert published.api.asked == []
    published.held_elsewhere.clear()
    await published.clock.advance(10)
    assert published.api.asked


async def test_many_are_written_a_few_at_a_time(scene: Scene) -> None:
    names = [f"c{number}" for number in range(40)]
    scene.api.otherwise = SILENCE
    for name in names:
        await scene.declare(name, binding=v1alpha1.Binding(secret_name=f"{name}-binding"))
    assert len(scene.api.in_flight) == 16
    scene.api.otherwise = None
    scene.api.release()
    await scene.clock.advance(2)
    assert len(scene.api.secrets) == 40


async def test_a_long_name_is_no_label(scene: Scene) -> None:
    """A label's value has 63 characters at most; whom the Secret belongs to is not told by it."""
    name = "c" * 64
    await scene.declare(name, binding=BINDING)
    assert scene.told(SessionKey("apps", name)) is Reason.PUBLISHED
    assert "springline.dev/connection" not in scene.secret()["metadata"]["labels"]


# --- what changes it


async def test_a_new_password_is_written_when_the_broker_has_accepted_it(published: Scene) -> None:
    await rotate(published, "second")
    assert published.values()["password"] == "second"
    assert published.api.asked == [
        ("get", path("orders-binding")),
        ("update", path("orders-binding")),
    ]
    assert len(events(published, EventType.BINDING_PUBLISHED)) == 1


async def test_a_refused_password_leaves_it_as_it_was(published: Scene) -> None:
    """Until the broker knows it, too."""
    published.driver.otherwise = credential_refused()
    await rotate(published, "second")
    await published.clock.advance(100)
    assert not published.api.asked
    assert published.told() is Reason.PUBLISHED
    published.driver.otherwise = None
    await published.clock.advance(100)
    assert published.values()["password"] == "second"


async def test_an_outage_leaves_it_as_it_was(published: Scene) -> None:
    published.driver.otherwise = unreachable()
    published.driver.connection.end(server_close())
    await published.clock.advance(600)
    assert not published.api.asked
    assert published.told() is Reason.PUBLISHED


async def test_suspending_leaves_it_as_it_was(published: Scene) -> None:
    await published.put("orders", generation=2, binding=BINDING, suspend=True)
    await published.clock.advance(60)
    assert not published.open_connections
    assert not published.api.asked
    assert published.told() is Reason.PUBLISHED


async def test_a_broker_that_cannot_be_found_leaves_it_as_it_was(published: Scene) -> None:
    published.manager.drop_broker(Identity("Broker", "apps", "rabbit"))
    await published.clock.advance(60)
    assert not published.api.asked
    assert published.told() is Reason.PUBLISHED


async def test_another_product_takes_another_secret(published: Scene) -> None:
    """The type of a Secret cannot be changed, so it is deleted and created."""
    published.api.secrets[path("orders-binding")]["type"] = "servicebinding.io/amqp"
    published.api.edit("orders-binding", type="amqp")
    await published.clock.advance(1)
    assert published.api.writes == ["delete", "create"]
    assert published.secret()["type"] == "servicebinding.io/rabbitmq"


async def test_somebody_made_it_immutable(published: Scene) -> None:
    published.api.secrets[path("orders-binding")]["immutable"] = True
    await rotate(published, "second")
    assert published.api.writes == ["delete", "create"]
    assert published.values()["password"] == "second"


async def test_a_burst_of_changes_costs_one_write_after_the_other(published: Scene) -> None:
    """What changes during a write is written after it."""
    published.api.then(SILENCE)
    await rotate(published, "second")
    await rotate(published, "third")
    await rotate(published, "fourth")
    assert published.api.writes == ["update"]
    published.api.release()
    await published.clock.advance(1)
    assert published.api.writes == ["update", "update"]
    assert published.values()["password"] == "fourth"


# --- what somebody else does to it


async def test_deleted_by_hand_it_comes_back(published: Scene) -> None:
    published.api.remove("orders-binding")
    await published.clock.advance(1)
    assert published.values()["password"] == "first"


async def test_deleted_by_hand_in_an_outage_it_comes_back(published: Scene) -> None:
    published.driver.otherwise = unreachable()
    published.driver.connection.end(server_close())
    await published.clock.advance(60)
    published.api.remove("orders-binding")
    await published.clock.advance(1)
    assert published.values()["password"] == "first"


async def test_edited_by_hand_it_is_set_right(published: Scene) -> None:
    """Labels and annotations that somebody else has put on it stay."""
    metadata = published.secret()["metadata"]
    metadata["labels"]["team"] = "shop"
    metadata["annotations"] = {"note": "ours"}
    published.api.edit("orders-binding", password="garbage", more="values")
    await published.clock.advance(1)
    assert published.values()["password"] == "first"
    assert "more" not in published.values()
    metadata = published.secret()["metadata"]
    assert metadata["labels"]["team"] == "shop"
    assert metadata["annotations"] == {"note": "ours"}


async def test_without_its_labels_it_is_set_right(published: Scene) -> None:
    """To the watch it is gone then."""
    published.api.put(
        "orders-binding",
        type="servicebinding.io/rabbitmq",
        data=published.secret()["data"],
        metadata=owned_by("orders", "uid-orders"),
    )
    await published.clock.advance(1)
    assert published.api.writes == ["update"]
    assert len(published.secret()["metadata"]["labels"]) == 2


async def test_what_a_watch_missed_is_made_up_for(published: Scene) -> None:
    published.api.writer = None
    published.api.remove("orders-binding")
    await published.clock.advance(60)
    assert not published.api.asked
    published.api.writer = published.writer
    published.writer.listed("", published.api.listed())
    await published.clock.advance(1)
    assert published.values()["password"] == "first"


async def test_a_list_of_one_namespace_says_nothing_of_others(published: Scene) -> None:
    published.writer.listed("billing", [])
    await published.clock.advance(1)
    assert not published.api.asked


# --- whose it is


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="nobody's"),
        pytest.param(owned_by("orders", "uid-orders", kind="Deployment"), id="a Deployment's"),
        pytest.param(owned_by("billing", "uid-billing"), id="another connection's"),
        pytest.param(
            {"labels": {"app.kubernetes.io/managed-by": "springline"}}, id="labelled like ours"
        ),
    ],
)
async def test_what_is_not_ours_is_never_touched(scene: Scene, metadata: dict[str, Any]) -> None:
    """Not even its values are read; the connection says what to do, once."""
    before = scene.api.put("orders-binding", data={"a": "Yg=="}, metadata=metadata)
    await scene.declare(binding=BINDING)
    await scene.clock.advance(600)
    assert scene.secret() == before
    assert {verb for verb, _ in scene.api.asked} == {"metadata"}
    assert scene.told() is Reason.SECRET_NOT_OURS
    assert scene.publication().name is None
    assert "give spec.binding another secretName" in scene.publication().verdict.message
    assert len(events(scene, EventType.BINDING_FAILED)) == 1


async def test_when_it_is_gone_the_name_is_taken(scene: Scene) -> None:
    scene.api.put("orders-binding")
    await scene.declare(binding=BINDING)
    scene.api.remove("orders-binding")
    await scene.clock.advance(60)
    assert scene.told() is Reason.PUBLISHED


async def test_of_two_connections_the_first_keeps_the_name(scene: Scene) -> None:
    """And when it gives it up, the other gets it."""
    await scene.declare("orders", binding=BINDING)
    await scene.declare("billing", binding=BINDING)
    assert (scene.told(ORDERS), scene.told(BILLING)) == (
        Reason.PUBLISHED,
        Reason.SECRET_NOT_OURS,
    )
    assert 'BrokerConnection "orders"' in scene.publication(BILLING).verdict.message
    await scene.put("orders", generation=2)
    await scene.clock.advance(2)
    assert scene.told(BILLING) is Reason.PUBLISHED
    assert scene.secret()["metadata"]["ownerReferences"][0]["name"] == "billing"


async def test_what_is_read_is_not_written(scene: Scene) -> None:
    """Not even when it is gone: the connection would log in with what it wrote itself."""
    name = v1alpha1.Binding(secret_name="orders-amqp")
    await scene.declare(binding=name)
    await scene.clock.advance(600)
    assert not scene.api.asked
    assert scene.told() is Reason.SECRET_NOT_OURS


async def test_the_secret_of_a_predecessor_is_waited_for(scene: Scene) -> None:
    """Deleted and created again under the same name: the cluster deletes it, and nobody is told."""
    await scene.declare(binding=BINDING)
    await scene.drop()
    await scene.declare(uid="new", binding=BINDING)
    assert scene.told() is Reason.SECRET_NOT_OURS
    assert not events(scene, EventType.BINDING_FAILED)
    scene.api.remove("orders-binding")
    await scene.clock.advance(1)
    assert scene.told() is Reason.PUBLISHED
    assert scene.secret()["metadata"]["ownerReferences"][0]["uid"] == "new-orders"


# --- names that change


async def test_with_another_name_the_old_secret_goes(published: Scene) -> None:
    """After the new one is there."""
    other = v1alpha1.Binding(secret_name="other")
    await published.put("orders", generation=2, binding=other)
    await published.clock.advance(1)
    assert published.api.writes == ["create", "delete"]
    assert set(published.api.secrets) == {path("other")}
    assert published.publication().name == "other"


async def test_without_a_binding_the_secret_goes(published: Scene) -> None:
    await published.put("orders", generation=2)
    await published.clock.advance(1)
    assert not published.api.secrets
    assert published.writer.publication(ORDERS) is None
    assert published.shown


@pytest.mark.parametrize("now", [None, v1alpha1.Binding(secret_name="other")])
async def test_what_changed_while_springline_was_down_is_seen_to(
    published: Scene, now: v1alpha1.Binding | None
) -> None:
    await published.drop()
    await published.restart()
    await published.declare(binding=now)
    assert path("orders-binding") not in published.api.secrets
    assert (path("other") in published.api.secrets) is (now is not None)


async def test_after_a_restart_it_is_compared_and_left(published: Scene) -> None:
    """One look, no write, and no Event."""
    await published.drop()
    await published.restart()
    await published.declare(binding=BINDING)
    await published.clock.advance(600)
    assert [verb for verb, _ in published.api.asked] == ["get"]
    assert published.told() is Reason.PUBLISHED
    assert not events(published, EventType.BINDING_PUBLISHED)


async def test_after_a_restart_without_a_broker_it_is_still_published(published: Scene) -> None:
    """It has what was verified last."""
    await published.drop()
    published.driver.otherwise = unreachable()
    await published.restart()
    await published.declare(binding=BINDING)
    await published.clock.advance(600)
    assert published.told() is Reason.PUBLISHED
    assert published.publication().name == "orders-binding"
    assert published.values()["password"] == "first"


async def test_what_is_not_the_connections_any_more_is_not_deleted(published: Scene) -> None:
    """Somebody has taken it over."""
    key = "app.kubernetes.io/managed-by"
    labels = {"labels": {key: "springline"}}
    published.api.put("orders-binding", metadata=labels)
    await published.put("orders", generation=2)
    await published.clock.advance(600)
    assert path("orders-binding") in published.api.secrets


async def test_a_deleted_connection_is_forgotten(published: Scene) -> None:
    """Its Secret goes with it, by the cluster's doing, and nothing of it is kept here."""
    await published.drop()
    await published.clock.advance(60)
    assert not published.api.asked
    assert published.writer.publication(ORDERS) is None


# --- what goes wrong


async def test_a_missing_right_is_told_and_tried_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.api.otherwise = FORBIDDEN
    with caplog.at_level(logging.DEBUG):
        await scene.declare(binding=BINDING)
        await scene.clock.advance(600)
    assert scene.told() is Reason.BINDING_FAILED
    message = scene.publication().verdict.message
    assert "binding.enabled" in message
    assert 'namespace "apps"' in message
    assert len(events(scene, EventType.BINDING_FAILED)) == 1
    assert len(scene.api.writes) < 20
    scene.api.otherwise = None
    await scene.clock.advance(60)
    assert scene.told() is Reason.PUBLISHED
    assert "first" not in caplog.text


async def test_a_missing_right_to_change_leaves_the_name_in_the_status(published: Scene) -> None:
    """The Secret is there, though it is not what it should be."""
    published.api.otherwise = FORBIDDEN
    await rotate(published, "second")
    assert published.told() is Reason.BINDING_FAILED
    assert published.publication().name == "orders-binding"


@pytest.mark.parametrize(
    "quoted", ["first", "Zmlyc3Q=", "amqp://app:first@rabbit-0.example:5672/%2F"]
)
async def test_who_refuses_may_quote_what_was_refused(scene: Scene, quoted: str) -> None:
    """Such words are not passed on."""
    scene.api.otherwise = RefusedError(422, "Invalid", f"not good: {quoted}")
    await scene.declare(binding=BINDING)
    message = scene.publication().verdict.message
    assert quoted not in message
    assert "422 Invalid" in message
    assert quoted not in str(scene.events.events)


async def test_what_an_admission_webhook_says_is_passed_on(scene: Scene) -> None:
    words = 'admission webhook "policy.example" denied the request: no Secrets on Fridays'
    scene.api.otherwise = RefusedError(403, "Forbidden", words)
    await scene.declare(binding=BINDING)
    assert words in scene.publication().verdict.message


async def test_an_api_server_that_does_not_answer_is_asked_again(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """One at a time, with pauses; the log has it once, and nothing else is said."""
    scene.api.otherwise = AWAY
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        for name in ("orders", "billing"):
            await scene.declare(name, binding=v1alpha1.Binding(secret_name=f"{name}-binding"))
        await scene.clock.advance(60)
    assert len(caplog.records) == 1
    assert len(scene.api.writes) < 30
    assert not events(scene, EventType.BINDING_FAILED)
    scene.api.otherwise = None
    await scene.clock.advance(10)
    assert (scene.told(ORDERS), scene.told(BILLING)) == (Reason.PUBLISHED, Reason.PUBLISHED)


async def test_somebody_else_is_faster(published: Scene) -> None:
    """It is looked at again, and then written."""
    published.api.then(RefusedError(409, "Conflict", "the object has been modified"))
    await rotate(published, "second")
    await published.clock.advance(2)
    assert published.values()["password"] == "second"
    assert published.told() is Reason.PUBLISHED


async def test_a_namespace_that_is_gone_is_nobodys_trouble(scene: Scene) -> None:
    scene.api.otherwise = RefusedError(404, "NotFound", 'namespaces "apps" not found')
    await scene.declare(binding=BINDING)
    await scene.clock.advance(600)
    assert not events(scene, EventType.BINDING_FAILED)
    assert len(scene.api.writes) < 20


async def test_a_defect_in_one_binding_leaves_the_others_alone(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.api.then(ZeroDivisionError("a defect"))
    with caplog.at_level(logging.ERROR):
        await scene.declare(binding=BINDING)
        await scene.declare("billing", binding=v1alpha1.Binding(secret_name="billing-binding"))
    assert scene.told(BILLING) is Reason.PUBLISHED
    assert "binding not looked after" in caplog.text
    await scene.clock.advance(60)
    assert scene.told() is Reason.PUBLISHED


async def test_a_sink_of_events_that_fails_ends_nothing(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.events.failure = ZeroDivisionError("a defect")
    with caplog.at_level(logging.ERROR):
        await scene.declare(binding=BINDING)
    assert scene.told() is Reason.PUBLISHED
    caplog.clear()
    scene.events.failure = None


# --- certificate authorities


@dataclasses.dataclass(frozen=True)
class Authority:
    """A ConfigMap, as `core.ports.DataObject`."""

    value: bytes
    version: str = "1"

    def get(self, key: str) -> bytes | None:
        return self.value if key == "ca.crt" else None


CA = Identity("ConfigMap", "apps", "rabbit-ca")
TLS = v1alpha1.TLS(enabled=True, ca_ref=v1alpha1.CAReference(name="rabbit-ca"))


async def with_authority(scene: Scene) -> None:
    scene.reader.objects[CA] = Authority(b"-----BEGIN CERTIFICATE----- one")
    await scene.put_broker(tls=TLS)
    await scene.declare(binding=BINDING)


async def test_the_authority_comes_with_it(scene: Scene) -> None:
    await with_authority(scene)
    assert scene.values()["ca.crt"] == "-----BEGIN CERTIFICATE----- one"
    assert scene.values()["uri"].startswith("amqps://")


async def test_an_authority_that_has_not_been_tried_is_not_published(scene: Scene) -> None:
    """It is read when the broker has accepted a session, and not when it changes."""
    await with_authority(scene)
    scene.reader.objects[CA] = Authority(b"garbage")
    scene.sources.tls_sources[ORDERS].answer = errors.RejectedError(Reason.TLS_FAILED, "no PEM")
    scene.manager.object_changed(CA)
    await scene.clock.advance(60)
    scene.api.remove("orders-binding")
    await scene.clock.advance(1)
    assert scene.values()["ca.crt"] == "-----BEGIN CERTIFICATE----- one"


async def test_an_authority_that_cannot_be_read_is_told(scene: Scene) -> None:
    scene.reader.failure = errors.ObjectUnavailableError(CA, "the API server is away")
    await scene.put_broker(tls=TLS)
    await scene.declare(binding=BINDING)
    assert scene.told() is Reason.BINDING_FAILED
    assert "tls.caRef" in scene.publication().verdict.message
    scene.reader.failure = None
    await scene.clock.advance(5)
    assert '"ca.crt"' in scene.publication().verdict.message
    scene.reader.objects[CA] = Authority(b"one")
    await scene.clock.advance(60)
    assert scene.values()["ca.crt"] == "one"
