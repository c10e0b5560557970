"""What is declared for a connection over HTTP: what counts, and what applications are told."""

from typing import Any

import pytest

from springline.api import v1alpha1
from springline.drivers.http.adapter import ADAPTER
from springline.drivers.http.connection import Version
from springline.drivers.http.parameters import BlockedWhen, HttpParameters
from springline.errors import TerminalError
from springline.reasons import Reason


def declared(*, broker: dict[str, Any] | None = None, **spec: Any) -> HttpParameters:
    found = ADAPTER.parameters(
        v1alpha1.BrokerConnectionSpec.model_validate(
            {"brokerRef": {"name": "web"}, "credentials": {"secretRef": {"name": "ann"}}, **spec}
        ),
        v1alpha1.BrokerSpec.model_validate(
            {"protocol": "http", "endpoints": [{"host": "web"}], **(broker or {})}
        ),
        name="springline/orders/main",
    )
    assert isinstance(found, HttpParameters)
    return found


def test_the_block_of_http_becomes_parameters() -> None:
    found = declared(
        http={
            "path": "/api/whoami?short=true",
            "method": "HEAD",
            "expectStatus": [200, 204],
            "version": "HTTP2",
            "persistent": False,
            "blockedWhen": {"path": "/alarms"},
        },
        heartbeat="10s",
    )
    assert (found.target, found.method) == ("/api/whoami?short=true", "HEAD")
    assert found.expected == {200, 204}
    assert (found.version, found.persistent) == (Version.HTTP2, False)
    assert found.blocked_when == BlockedWhen(target="/alarms", statuses=frozenset({503}))
    assert found.heartbeat_seconds == 10


def test_the_query_is_not_shown() -> None:
    assert str(declared(http={"path": "/a?key=pl4nted"}).place) == 'path "/a"'


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"virtualHost": "orders"}, "spec.virtualHost"),
        ({"channelMax": 7}, "spec.channelMax"),
        ({"frameMax": 8192}, "spec.frameMax"),
        ({"clientProperties": {"a": "b"}}, "spec.clientProperties"),
        ({"probe": {"exchange": "x"}}, "spec.probe.exchange"),
        ({"probe": {"routingKey": "x"}}, "spec.probe.routingKey"),
        ({"probe": {"mode": "OwnQueue"}}, "spec.probe.mode"),
        ({"broker": {"locale": {"prefer": "de_DE"}}}, "locale"),
        ({"broker": {"sasl": {"mechanisms": ["PLAIN"]}}}, "sasl.mechanisms"),
    ],
)
def test_what_has_no_meaning_is_refused_by_its_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(TerminalError) as caught:
        declared(**changes)
    assert caught.value.reason is Reason.INVALID_SPEC
    assert caught.value.message.startswith(f"{field}: ")


def test_a_verification_of_one_path_does_not_answer_for_another() -> None:
    assert declared(http={"path": "/a"}).acceptance != declared(http={"path": "/b"}).acceptance
    assert declared(heartbeat="10s").acceptance == declared().acceptance


@pytest.mark.parametrize(
    ("version", "offered"),
    [("Auto", ("h2", "http/1.1")), ("HTTP1", ("http/1.1",)), ("HTTP2", ("h2",))],
)
def test_what_tls_offers_follows_from_the_version(version: str, offered: tuple[str, ...]) -> None:
    assert declared(http={"version": version}).alpn == offered


def test_applications_are_told_of_the_server_and_of_no_login_in_a_uri() -> None:
    offer = declared(http={"path": "/api/whoami"}).offer(provider="cowboy", tls=True)
    assert (offer.type, offer.scheme, offer.path, offer.has_login) == ("http", "https", "", False)
