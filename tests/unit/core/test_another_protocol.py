"""A protocol that has nothing of AMQP: the core asks it what it has to know, and nothing else."""

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Self

import pytest

from springline import errors, protocols
from springline.api import v1alpha1
from springline.core import attempt, binding, desired, ports
from springline.core.binding import Surroundings
from springline.core.desired import SessionSpec
from springline.core.protocol_values import Offer, Place
from springline.core.state import Failure
from springline.core.values import CredentialKind, Endpoint
from springline.core.verification import Question
from springline.core.view import CredentialUse, SessionView
from springline.errors import ProbeRefusal, ProbeRefusedError
from springline.protocols import ProtocolInfo
from springline.reasons import Reason
from support.builders import KEY, a_credential, an_open_info
from support.fake_clock import EIGHT
from support.fakes import FakeDriver
from support.states import CONNECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperParameters:
    """What is asked of an office that takes letters."""

    desk: str
    connection_name: str

    def with_name(self, name: str) -> Self:
        return dataclasses.replace(self, connection_name=name)

    @property
    def acceptance(self) -> Hashable:
        return self.desk

    @property
    def place(self) -> Place:
        return Place("desk", self.desk)

    def offer(self, *, provider: str, tls: bool) -> Offer:
        scheme = "sealed" if tls else "open"
        return Offer(
            type=provider or "paper", scheme=scheme, path=self.desk, entries={"ink": "blue"}
        )


@dataclass(frozen=True, slots=True)
class PaperProbe:
    """An empty letter."""

    def refusal(self, error: ProbeRefusedError) -> str:
        return f"the empty letter came back ({error}); buy stamps"


class PaperAdapter:
    """All that is known of the protocol."""

    driver: ports.Driver = FakeDriver()

    def parameters(
        self,
        connection: v1alpha1.BrokerConnectionSpec,
        broker: v1alpha1.BrokerSpec,  # noqa: ARG002 - of the port
        *,
        name: str,
    ) -> PaperParameters:
        if connection.client_properties:
            raise errors.TerminalError(
                Reason.INVALID_SPEC, "spec.clientProperties: a letter has no properties"
            )
        return PaperParameters(desk=connection.virtual_host, connection_name=name)

    def probe_target(self, probe: v1alpha1.Probe) -> PaperProbe:  # noqa: ARG002 - of the port
        return PaperProbe()


@pytest.fixture(autouse=True)
def _declarable(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = ProtocolInfo(name="paper", title="Paper 1.0", port=80, tls_port=443)
    monkeypatch.setattr(protocols, "PROTOCOLS", {**protocols.PROTOCOLS, "paper": paper})


def resolved(**changes: Any) -> SessionSpec | Failure:
    """What a session over paper is to do."""
    broker = v1alpha1.BrokerSpec(endpoints=(v1alpha1.Endpoint(host="office.example"),))
    document = v1alpha1.BrokerConnection(
        metadata=v1alpha1.ObjectMeta(name="orders", namespace="apps"),
        spec=v1alpha1.BrokerConnectionSpec(
            broker_ref=v1alpha1.BrokerReference(name="office"),
            credentials=v1alpha1.Credentials(secret_ref=v1alpha1.SecretReference(name="stamp")),
            **{"virtual_host": "orders", **changes},
        ),
    )
    return desired.session_spec(
        document,
        generation=1,
        adapters={"paper": PaperAdapter()},
        find_broker=lambda _: broker.model_copy(update={"protocol": "paper"}),
        namespace_labels={},
    )


def usable(**changes: Any) -> SessionSpec:
    spec = resolved(**changes)
    assert isinstance(spec, SessionSpec)
    return spec


def test_its_ports_and_its_parameters_are_what_a_session_goes_by() -> None:
    target = usable().target
    assert target.protocol == "paper"
    assert target.endpoints == (Endpoint("office.example", 80),)
    assert target.parameters == PaperParameters(
        desk="orders", connection_name="springline/apps/orders"
    )


def test_what_it_has_no_use_for_it_refuses_in_its_own_words() -> None:
    failure = resolved(client_properties={"team": "orders"})
    assert failure == Failure(
        reason=Reason.INVALID_SPEC,
        message="spec.clientProperties: a letter has no properties",
        elsewhere=True,  # the broker can be declared to speak another protocol
    )


def test_it_says_where_a_session_leads() -> None:
    assert attempt.attempting_message(usable()) == 'connecting to Broker office, desk "orders"'


def test_it_says_what_a_verification_answers_for() -> None:
    def topic(spec: SessionSpec) -> object:
        return Question.of(spec, a_credential(), None).topic

    assert topic(usable()) == topic(usable(frame_max=8192))
    assert topic(usable()) != topic(usable(virtual_host="other"))


def test_it_says_what_applications_are_told() -> None:
    spec = usable()
    info = an_open_info(Endpoint("office.example", 80))
    assert info.server.product == "RabbitMQ"
    view = SessionView(
        key=KEY,
        generation=1,
        spec=spec,
        state=CONNECTED,
        info=info,
        target=spec.target,
        connected_since=EIGHT,
        credential=CredentialUse(credential=a_credential(), method="Handshake"),
    )
    assert a_credential().kind is CredentialKind.PASSWORD
    content = binding.content(view, Surroundings())
    assert content is not None
    assert content.entries["uri"] == "open://app:first@office.example:80/orders"
    assert content.entries["ink"] == "blue"
    assert "vhost" not in content.entries


def test_it_says_what_to_do_about_a_refused_probe() -> None:
    probe = usable().probe
    assert probe is not None
    said = probe.target.refusal(ProbeRefusedError(ProbeRefusal.OTHER, "no stamp"))
    assert said == "the empty letter came back (no stamp); buy stamps"
