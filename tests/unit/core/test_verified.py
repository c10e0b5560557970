"""What a session has shown to be good is remembered, and nothing else."""

import dataclasses
from datetime import timedelta

import pytest

from springline import errors
from springline.api import v1alpha1
from springline.core.state import RenewalRefused, step
from springline.core.values import Endpoint
from springline.core.verified import IncompleteError, Verified
from springline.core.view import CredentialUse, SessionView
from springline.reasons import Reason
from support.bindings import FakePorts, StaticReader
from support.builders import KEY, a_credential, a_spec, a_target, an_open_info, refused
from support.fake_clock import EIGHT
from support.states import CONNECTED

SERVICE = v1alpha1.EndpointsFrom(service=v1alpha1.ServiceReference(name="rabbit", port="amqp"))


def a_view(secret: str = "first", *, minutes: int = 0) -> SessionView:
    """A session at a Service's pod, which got its credential so many minutes after eight."""
    applied = EIGHT + timedelta(minutes=minutes)
    return SessionView(
        key=KEY,
        generation=1,
        spec=a_spec(target=a_target(endpoints=(), endpoints_from=SERVICE)),
        state=CONNECTED,
        info=an_open_info(Endpoint("rabbit.apps.svc", 15672)),
        target=a_target(endpoints=(), endpoints_from=SERVICE),
        connected_since=EIGHT,
        credential=CredentialUse(
            credential=a_credential(secret), method="Handshake", applied_at=applied
        ),
    )


def uri(verified: Verified) -> str:
    assert verified.content is not None
    return verified.content.entries["uri"]


async def test_the_port_is_the_services_own() -> None:
    """Its pods may listen at another one; without an address of its own there is only theirs."""
    services = FakePorts()
    verified = Verified(StaticReader(), services)
    await verified.note(a_view())
    assert uri(verified) == "amqp://app:first@rabbit.apps.svc:5672/orders"
    services.number = None
    await verified.note(a_view("second", minutes=1))
    assert uri(verified) == "amqp://app:second@rabbit.apps.svc:15672/orders"


async def test_what_surrounds_a_session_is_asked_for_once() -> None:
    """Until the broker has accepted something again."""
    services = FakePorts()
    verified = Verified(StaticReader(), services)
    await verified.note(a_view())
    services.failure = errors.TransientError(Reason.NAME_RESOLUTION_FAILED, "gone")
    await verified.note(a_view())
    with pytest.raises(IncompleteError, match=r"endpointsFrom\.service: gone"):
        await verified.note(a_view("second", minutes=1))
    assert "first" in uri(verified)


async def test_what_is_not_accepted_is_not_noted() -> None:
    verified = Verified(StaticReader())
    view = a_view()
    assert view.credential is not None
    refused = dataclasses.replace(view.credential, method=None)
    await verified.note(dataclasses.replace(view, credential=refused))
    assert verified.content is None
    await verified.note(view)
    await verified.note(dataclasses.replace(view, credential=refused))
    assert "first" in uri(verified)


async def test_a_token_that_is_renewed_beside_a_refused_change_brings_none_of_it() -> None:
    """What is declared by now has not been tried: the session is the one of before."""
    services = FakePorts()
    verified = Verified(StaticReader(), services)
    await verified.note(a_view())
    services.number = 5673
    state = step(CONNECTED, RenewalRefused(error=refused())).state
    await verified.note(dataclasses.replace(a_view("second", minutes=1), state=state))
    assert uri(verified) == "amqp://app:second@rabbit.apps.svc:5672/orders"
    await verified.note(a_view("second", minutes=1))
    assert uri(verified) == "amqp://app:second@rabbit.apps.svc:5673/orders"
