"""What applications are told: the Service Binding specification (1.0), point by point."""

import dataclasses
import ipaddress
import re
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from springline.api import v1alpha1
from springline.api.conditions import Condition, ConditionStatus, ConditionType
from springline.api.status import BrokerConnectionStatus
from springline.core import binding
from springline.core.binding import Content, Publication, Surroundings
from springline.core.state import Phase
from springline.core.values import Credential, CredentialKind, Endpoint
from springline.core.view import CredentialUse, SessionView
from springline.reasons import Reason
from support import http_opening
from support.builders import (
    KEY,
    OTHER_RABBIT,
    RABBIT,
    a_credential,
    a_spec,
    a_target,
    a_token,
    an_open_info,
)
from support.fake_clock import EIGHT
from support.states import CONNECTED

SERVICE = v1alpha1.EndpointsFrom(service=v1alpha1.ServiceReference(name="rabbit", port="amqp"))
SRV = v1alpha1.EndpointsFrom(dns_srv="_amqp._tcp.rabbit.example")
TLS = v1alpha1.TLS(enabled=True)


def a_view(
    credential: Credential | None = None,
    *,
    method: str | None = "Handshake",
    product: str = "RabbitMQ",
    mechanism: str = "PLAIN",
    connected_to: Endpoint = RABBIT,
    **target: Any,
) -> SessionView:
    """An open session that declares a binding."""
    info = an_open_info(connected_to)
    info = dataclasses.replace(
        info,
        server=dataclasses.replace(info.server, product=product),
        negotiated=dataclasses.replace(info.negotiated, mechanism=mechanism),
    )
    use = CredentialUse(credential=credential or a_credential(), method=method)
    return SessionView(
        key=KEY,
        generation=1,
        spec=a_spec(target=a_target(**target), binding="orders-binding"),
        state=CONNECTED,
        info=info,
        target=a_target(**target),
        connected_since=EIGHT,
        credential=use,
    )


def content(view: SessionView, **surroundings: Any) -> Content:
    found = binding.content(view, Surroundings(**surroundings))
    assert found is not None
    return found


# --- the specification: Provisioned Service


def test_the_status_has_a_name_alone() -> None:
    """MUST: `.status.binding` refers to a Secret by the one field `name`."""
    schema = BrokerConnectionStatus.model_json_schema(by_alias=True)
    assert list(schema["$defs"]["BindingStatus"]["properties"]) == ["name"]


def test_a_type_entry_says_what_it_is() -> None:
    """SHOULD: a `type` entry classifies the binding."""
    assert content(a_view()).entries["type"] == "rabbitmq"
    assert content(a_view(product="LavinMQ")).entries["type"] == "amqp"
    assert content(a_view(product="")).entries["type"] == "amqp"


@pytest.mark.parametrize("product", ["RabbitMQ", "LavinMQ"])
def test_the_type_of_the_secret_reflects_the_entry(product: str) -> None:
    """SHOULD: the Secret's own type is `servicebinding.io/` and the `type` entry."""
    found = content(a_view(product=product))
    assert found.secret_type == f"servicebinding.io/{found.entries['type']}"


def test_a_provider_entry_says_whose_it_is() -> None:
    """RECOMMENDED: a `provider` entry; left out where the broker does not say what it is."""
    assert content(a_view()).entries["provider"] == "rabbitmq"
    assert content(a_view(product="LavinMQ Cloud (EU)")).entries["provider"] == "lavinmq-cloud-eu"
    assert "provider" not in content(a_view(product="")).entries


# --- the specification: well-known entries


def test_host_is_a_name_or_an_address() -> None:
    """MUST: a host name or an IP address, so without a port, and IPv6 without brackets."""
    assert content(a_view()).entries["host"] == "rabbit-0.example"
    found = content(a_view(endpoints=(Endpoint("2001:db8::1", 5672),)))
    assert str(ipaddress.ip_address(found.entries["host"])) == "2001:db8::1"
    assert "@[2001:db8::1]:5672/" in found.entries["uri"]


def test_port_is_a_valid_port_number() -> None:
    """MUST: a valid port number; as text, which is all that a Secret has."""
    assert content(a_view()).entries["port"] == "5672"


@given(
    username=st.text(min_size=1),
    password=st.text(min_size=1),
    virtual_host=st.text(min_size=1),
    tls=st.booleans(),
)
def test_uri_is_valid_and_says_what_the_other_entries_say(
    username: str, password: str, virtual_host: str, *, tls: bool
) -> None:
    """MUST: a URI as RFC 3986 has it, whatever is in names and passwords."""
    view = a_view(
        a_credential(password, username=username),
        virtual_host=virtual_host,
        tls=v1alpha1.TLS(enabled=tls),
    )
    entries = content(view).entries
    uri = entries["uri"]
    # RFC 3986, appendix A: what may stand in userinfo and in a path segment.
    segment = r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+"
    assert re.fullmatch(rf"amqps?://{segment}:{segment}@[a-z0-9.-]+:\d+/{segment}", uri)
    parts = urlsplit(uri)
    assert parts.scheme == ("amqps" if tls else "amqp")
    assert (parts.hostname, str(parts.port)) == (entries["host"], entries["port"])
    assert unquote(parts.username or "") == entries["username"] == username
    assert unquote(parts.password or "") == entries["password"] == password
    assert unquote(parts.path.removeprefix("/")) == entries["vhost"] == virtual_host


def test_uri_of_the_default_virtual_host() -> None:
    """Its name is a slash, which a path segment has only escaped; aiormq reads it with yarl."""
    uri = content(a_view(virtual_host="/")).entries["uri"]
    assert uri == "amqp://app:first@rabbit-0.example:5672/%2F"
    assert yarl.URL(uri).raw_path == "/%2F"


def test_username_and_password_are_what_the_broker_accepted() -> None:
    """MUST: both are text."""
    entries = content(a_view(a_credential("s3cret", username="ann"))).entries
    assert (entries["username"], entries["password"]) == ("ann", "s3cret")


def test_reserved_names_of_certificates_are_not_used() -> None:
    """MUST: `certificates` and `private-key` are for mTLS clients; an authority is neither."""
    entries = content(a_view(tls=TLS), ca="-----BEGIN CERTIFICATE-----").entries
    assert entries["ca.crt"] == "-----BEGIN CERTIFICATE-----"
    assert not {"certificates", "private-key"} & entries.keys()


# --- the specification: projection


def test_names_of_entries_are_good_as_names_of_files() -> None:
    """SHOULD: they match `[a-z0-9\\-\\.]{1,253}`."""
    token = dataclasses.replace(a_token(), expires_at=EIGHT)
    for key in content(a_view(token, tls=TLS), ca="pem").entries:
        assert re.fullmatch(r"[a-z0-9\-.]{1,253}", key)


# --- which endpoints


def test_every_declared_endpoint_is_named() -> None:
    """The first one is `host`, all of them are in `uris`, in their order."""
    entries = content(a_view(endpoints=(RABBIT, OTHER_RABBIT))).entries
    assert entries["host"] == "rabbit-0.example"
    assert entries["uris"] == (
        "amqp://app:first@rabbit-0.example:5672/orders,"
        "amqp://app:first@rabbit-1.example:5672/orders"
    )
    assert entries["uri"] == entries["uris"].split(",")[0]


def test_a_session_that_moves_to_another_endpoint_changes_nothing() -> None:
    both = (RABBIT, OTHER_RABBIT)
    assert content(a_view(endpoints=both, connected_to=RABBIT)) == content(
        a_view(endpoints=both, connected_to=OTHER_RABBIT)
    )


def test_a_service_is_reached_by_its_name_and_its_own_port() -> None:
    """Behind it the pods may listen at another one."""
    view = a_view(
        endpoints=(), endpoints_from=SERVICE, connected_to=Endpoint("rabbit.apps.svc", 15672)
    )
    entries = content(view, service_port=5672).entries
    assert (entries["host"], entries["port"]) == ("rabbit.apps.svc", "5672")
    assert content(view).entries["port"] == "15672"


def test_what_is_found_by_dns_is_what_the_session_is_connected_to() -> None:
    view = a_view(endpoints=(), endpoints_from=SRV, connected_to=OTHER_RABBIT)
    entries = content(view).entries
    assert (entries["host"], entries["port"]) == ("rabbit-1.example", "5672")
    assert entries["uris"] == entries["uri"]


# --- which credentials


def test_nothing_is_said_before_the_broker_has_accepted_something() -> None:
    nothing = Surroundings()
    assert binding.content(a_view(method=None), nothing) is None
    assert binding.content(dataclasses.replace(a_view(), credential=None), nothing) is None
    assert binding.content(dataclasses.replace(a_view(), target=None), nothing) is None


def test_what_is_declared_and_not_live_yet_is_not_published() -> None:
    declared = a_spec(target=a_target(virtual_host="not-there-yet"), binding="orders-binding")
    view = dataclasses.replace(a_view(), spec=declared)
    assert content(view).entries["vhost"] == "orders"


def test_nothing_is_said_while_there_is_no_session() -> None:
    """So an outage and `suspend` leave what was published as it is."""
    lost = dataclasses.replace(CONNECTED, phase=Phase.WAITING)
    view = dataclasses.replace(a_view(), state=lost, info=None)
    assert binding.content(view, Surroundings()) is None


def test_a_token_has_its_subject_as_the_user_and_says_when_it_expires() -> None:
    token = dataclasses.replace(
        a_token("a.b.c", username="ann"),
        expires_at=datetime(2026, 11, 21, 10, 0, tzinfo=timezone(timedelta(hours=1))),
    )
    entries = content(a_view(token)).entries
    assert (entries["username"], entries["password"]) == ("ann", "a.b.c")
    assert entries["expires-at"] == "2026-11-21T09:00:00Z"
    assert "expires-at" not in content(a_view()).entries


def test_a_token_that_does_not_say_whose_it_is_has_a_user_all_the_same() -> None:
    """Clients turn an empty name into one of their own, and brokers look at the token alone."""
    entries = content(a_view(a_token())).entries
    assert entries["username"] == "token"
    assert entries["uri"].startswith("amqp://token:first@")


@pytest.mark.parametrize(
    ("credential", "login"),
    [
        (a_credential(), {"username", "password"}),
        (a_token("a.b.c", username="ann"), {"token"}),
    ],
    ids=["password", "token"],
)
def test_a_protocol_without_logins_in_uris_has_them_beside(
    credential: Credential, login: set[str]
) -> None:
    """And a token stands by itself."""
    entries = content(a_view(credential, parameters=http_opening.parameters())).entries
    assert entries.keys() & {"username", "password", "token"} == login
    assert entries["uri"] == f"http://{RABBIT}/"
    assert credential.secret.reveal() in entries.values()


@pytest.mark.parametrize(
    "view",
    [
        a_view(
            Credential(kind=CredentialKind.EXTERNAL, source="external"),
            mechanism="EXTERNAL",
            tls=TLS,
        ),
        pytest.param(
            a_view(mechanism="EXTERNAL", tls=TLS), id="a password that nobody has looked at"
        ),
    ],
)
def test_a_client_certificate_leaves_no_login(view: SessionView) -> None:
    """Its key is not handed on, and what has not been verified is not published."""
    entries = content(view, ca="pem").entries
    assert entries["uri"] == "amqps://rabbit-0.example:5672/orders"
    assert not {"username", "password", "expires-at"} & entries.keys()
    assert {"type", "host", "port", "vhost", "uri", "uris", "ca.crt"} <= entries.keys()


def test_what_is_published_does_not_show_itself() -> None:
    found = content(a_view(a_credential("s3cret-planted")))
    assert "s3cret-planted" not in f"{found!r} {found} {Surroundings()!r}"


# --- what is shown


class Known:
    """Knows one publication, as `core.binding.Publications`."""

    def __init__(self, publication: Publication | None) -> None:
        self._publication = publication

    def publication(self, key: object) -> Publication | None:  # noqa: ARG002 - of everything
        return self._publication


def test_what_is_shown_follows_the_declaration() -> None:
    view, before = a_view(), binding.published("old")
    assert view.spec is not None
    undeclared = dataclasses.replace(view, spec=dataclasses.replace(view.spec, binding=None))
    known = Known(binding.published("new"))
    assert binding.current(view, known, before=before) == binding.published("new")
    assert binding.current(undeclared, known, before=before) is None


def test_what_was_shown_stays_until_somebody_has_looked() -> None:
    """A restart must not take a binding out of the status."""
    view, before = a_view(), binding.published("old")
    nobody = Known(None)
    assert binding.current(view, nobody, before=before) == before
    assert binding.current(view, nobody, before=None) == binding.NOTHING_VERIFIED
    unusable = dataclasses.replace(view, spec=None)
    assert binding.current(unusable, Known(binding.published("x")), before=before) == before


def test_what_a_status_shows_is_read_back() -> None:
    verdict = binding.published("orders-binding").verdict
    stored = Condition(
        type=ConditionType.BINDING_PUBLISHED,
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message,
        last_transition_time=EIGHT,
        observed_generation=1,
    )
    assert binding.stored([stored], "orders-binding") == binding.published("orders-binding")
    assert binding.stored([], None) is None


def test_conditions_say_why() -> None:
    shown = {
        each.verdict.reason: each.verdict.status
        for each in (
            binding.NOTHING_VERIFIED,
            binding.published("a"),
            binding.not_ours("a"),
            binding.failed("a"),
        )
    }
    assert shown == {
        Reason.NOTHING_VERIFIED: ConditionStatus.UNKNOWN,
        Reason.PUBLISHED: ConditionStatus.TRUE,
        Reason.SECRET_NOT_OURS: ConditionStatus.FALSE,
        Reason.BINDING_FAILED: ConditionStatus.FALSE,
    }


# --- what is news


def test_a_renewed_token_is_no_news_and_anything_else_is() -> None:
    """Each Event is a write, and tokens are renewed again and again."""

    def with_entries(**changes: str) -> Content:
        entries = {"host": "rabbit", "password": "x", "uri": "y", "expires-at": "now", **changes}
        return Content(
            type="rabbitmq", entries={key: each for key, each in entries.items() if each}
        )

    token = with_entries()
    assert token.is_same_but_token(with_entries(password="z", uri="w", **{"expires-at": "later"}))
    assert not token.is_same_but_token(with_entries(host="other"))
    assert not token.is_same_but_token(None)
    password = with_entries(**{"expires-at": ""})
    assert not password.is_same_but_token(with_entries(password="z", **{"expires-at": ""}))
