"""A protocol that has nothing of AMQP: the core asks it what it has to know, and nothing else."""

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Self

import pytest
from pydantic import Field

from springline import protocols
from springline.api import status, v1alpha1
from springline.api.meta import ApiModel
from springline.core import attempt, binding, desired, ports
from springline.core.binding import Surroundings
from springline.core.desired import SessionSpec
from springline.core.protocol_values import Offer, Place
from springline.core.state import Failure
from springline.core.values import CredentialKind, Endpoint, Negotiated
from springline.core.verification import Question
from springline.core.view import CredentialUse, SessionView
from springline.drivers.amqp091.adapter import ADAPTER
from springline.drivers.shared import sasl, unused
from springline.errors import ProbeRefusal, ProbeRefusedError, TerminalError
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
    def alone(self) -> str:
        return ""

    @property
    def alpn(self) -> tuple[str, ...]:
        return ()

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
        broker: v1alpha1.BrokerSpec,
        *,
        name: str,
    ) -> PaperParameters:
        unused.refuse(
            connection, ("channel_max", "client_properties"), at="spec.", title="Paper 1.0"
        )
        unused.refuse(broker, ("locale",), title="Paper 1.0")
        return PaperParameters(desk=connection.virtual_host, connection_name=name)

    def probe_target(self, probe: v1alpha1.Probe) -> PaperProbe:  # noqa: ARG002 - of the port
        return PaperProbe()


@pytest.fixture(autouse=True)
def _declarable(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = ProtocolInfo(
        name="paper",
        title="Paper 1.0",
        port=80,
        tls_port=443,
        place="desk",
        mechanisms=("SEAL", "STAMP"),
    )
    monkeypatch.setattr(protocols, "PROTOCOLS", {**protocols.PROTOCOLS, "paper": paper})


class Ink(ApiModel):
    """What is declared of letters alone."""

    colour: str = Field(default="black", description="Of the ink.")


class WithBlocks(v1alpha1.BrokerConnectionSpec):
    """A declaration that has a place for what is paper's own, and for what is AMQP 0-9-1's."""

    paper: Ink = Field(default=Ink(), description="What is paper's own.")
    amqp091: Ink | None = Field(default=None, description="What is AMQP 0-9-1's own.")


def resolved(
    *,
    broker: v1alpha1.BrokerSpec | None = None,
    model: type[v1alpha1.BrokerConnectionSpec] = v1alpha1.BrokerConnectionSpec,
    protocol: str = "paper",
    **changes: Any,
) -> SessionSpec | Failure:
    """What a session over paper is to do."""
    broker = broker or v1alpha1.BrokerSpec(endpoints=(v1alpha1.Endpoint(host="office.example"),))
    spec = model(
        broker_ref=v1alpha1.BrokerReference(name="office"),
        credentials=v1alpha1.Credentials(secret_ref=v1alpha1.SecretReference(name="stamp")),
        **{"virtual_host": "orders", **changes},
    )
    document = v1alpha1.BrokerConnection(
        metadata=v1alpha1.ObjectMeta(name="orders", namespace="apps"), spec=spec
    )
    return desired.session_spec(
        document,
        generation=1,
        adapters={"paper": PaperAdapter(), "amqp091": ADAPTER},
        find_broker=lambda _: broker.model_copy(update={"protocol": protocol}),
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


def invalid(sentence: str) -> Failure:
    """Elsewhere, because the broker can be declared to speak another protocol."""
    return Failure(reason=Reason.INVALID_SPEC, message=sentence, elsewhere=True)


def test_what_it_has_no_use_for_is_refused() -> None:
    assert resolved(client_properties={"team": "orders"}) == invalid(
        "spec.clientProperties: Paper 1.0 has no use for it; leave it out"
    )
    assert resolved(client_properties={"team": "orders"}, channel_max=2) == invalid(
        "spec.channelMax and spec.clientProperties: Paper 1.0 has no use for them; leave them out"
    )
    german = v1alpha1.BrokerSpec(locale=v1alpha1.Locale(prefer="de_DE"))
    assert resolved(broker=german) == invalid("locale: Paper 1.0 has no use for it; leave it out")


def test_a_default_is_no_declaration() -> None:
    """A schema's defaults stand in every object that a cluster has."""
    assert usable(client_properties={}, channel_max=2047).target.protocol == "paper"


@pytest.mark.parametrize(
    ("protocol", "block", "sentence"),
    [
        pytest.param(
            "amqp091",
            {"paper": Ink(colour="blue")},
            "spec.paper has no meaning with protocol amqp091, only with protocol paper; "
            "leave it out",
            id="a block that has defaults",
        ),
        pytest.param(
            "paper",
            {"amqp091": Ink()},
            "spec.amqp091 has no meaning with protocol paper, only with protocol amqp091; "
            "leave it out",
            id="a block that is not there by default",
        ),
    ],
)
def test_what_is_another_protocols_own_is_refused(
    protocol: str, block: dict[str, Any], sentence: str
) -> None:
    assert resolved(model=WithBlocks, protocol=protocol, **block) == invalid(sentence)


def test_what_is_its_own_is_not_refused() -> None:
    own = resolved(model=WithBlocks, paper=Ink(colour="blue"))
    assert isinstance(own, SessionSpec)


def test_its_own_mechanisms_count_where_none_are_declared() -> None:
    """The schema has one default for all protocols, which stands for none."""
    broker = v1alpha1.BrokerSpec().model_copy(update={"protocol": "paper"})
    assert broker.sasl.mechanisms == protocols.DEFAULT_MECHANISMS
    assert sasl.declared(broker).mechanisms == ("SEAL", "STAMP")


def test_a_mechanism_of_another_protocol_is_refused() -> None:
    declared = v1alpha1.BrokerSpec(sasl=v1alpha1.SASL(mechanisms=("PLAIN",)))
    with pytest.raises(TerminalError) as caught:
        sasl.declared(declared.model_copy(update={"protocol": "paper"}))
    assert caught.value.reason is Reason.INVALID_SPEC
    assert caught.value.message == ("sasl.mechanisms: Paper 1.0 has no PLAIN; it has [SEAL, STAMP]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperNegotiated(Negotiated):
    """What came of a conversation at the desk."""

    def as_status(self) -> status.NegotiatedStatus:
        return status.NegotiatedStatus(
            mechanism=self.mechanism, heartbeat=f"{self.heartbeat_seconds}s"
        )


def test_it_shows_no_more_of_what_was_negotiated_than_it_has() -> None:
    shown = PaperNegotiated(mechanism="SEAL", heartbeat_seconds=0).as_status()
    document = shown.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert document == {"mechanism": "SEAL", "heartbeat": "0s"}


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
