"""What a probe publishes to is declared, and a refusal says what to do about it."""

import pytest

from springline.api import v1alpha1
from springline.drivers.amqp091.probe_target import Amqp091ProbeTarget
from springline.drivers.amqp091.replies import Close
from springline.errors import ProbeRefusal, ProbeRefusedError


def test_it_publishes_where_it_is_declared_to() -> None:
    probe = v1alpha1.Probe(exchange="probes", routing_key="here")
    assert Amqp091ProbeTarget.declared(probe) == Amqp091ProbeTarget(
        exchange="probes", routing_key="here"
    )


def test_a_queue_of_its_own_is_declared_by_the_mode() -> None:
    probe = v1alpha1.Probe(mode="OwnQueue", routing_key="orders.probe")
    assert Amqp091ProbeTarget.declared(probe).own_queue


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        pytest.param(
            Amqp091ProbeTarget(exchange="", routing_key="here"),
            "the probe's publish to the default exchange was refused (403 ACCESS_REFUSED), so a"
            " block would go unseen; let the user write there, set spec.probe.exchange, or set"
            " spec.probe.mode to None",
            id="default exchange",
        ),
        pytest.param(
            Amqp091ProbeTarget(exchange="probes", routing_key="here"),
            'the probe\'s publish to exchange "probes" was refused (403 ACCESS_REFUSED), so a'
            " block would go unseen; let the user write there, set spec.probe.exchange, or set"
            " spec.probe.mode to None",
            id="named exchange",
        ),
        pytest.param(
            Amqp091ProbeTarget(exchange="", routing_key="orders.probe", own_queue=True),
            "the probe's own queue was refused (403 ACCESS_REFUSED), so a block would go unseen;"
            ' let the user configure queues whose names begin with "orders.probe." and write to'
            " amq.default, or set spec.probe.mode to Publish or None",
            id="own queue",
        ),
    ],
)
def test_a_refusal_says_what_to_do(target: Amqp091ProbeTarget, sentence: str) -> None:
    assert (
        target.refusal(ProbeRefusedError(ProbeRefusal.NO_PERMISSION, "403 ACCESS_REFUSED"))
        == sentence
    )


def test_a_limit_of_queues_is_not_mended_by_permissions() -> None:
    target = Amqp091ProbeTarget(exchange="", routing_key="orders.probe", own_queue=True)
    said = target.refusal(ProbeRefusedError(ProbeRefusal.OTHER, "406 PRECONDITION_FAILED"))
    assert said.endswith("go unseen; set spec.probe.mode to Publish or None")


@pytest.mark.parametrize(
    ("close", "advice"),
    [
        pytest.param(
            Close(code=530, text="NOT_ALLOWED - number of channels opened for user 'ann'"),
            "; let the user open one channel more, or set spec.probe.mode to None",
            id="a limit",
        ),
        pytest.param(
            Close(code=540, text="NOT_IMPLEMENTED"), "; set spec.probe.mode to None", id="anything"
        ),
    ],
)
def test_a_probe_that_cost_the_connection_says_what_to_do(close: Close, advice: str) -> None:
    said = Amqp091ProbeTarget(exchange="", routing_key="x").cost(close)
    assert f"because of the probe ({close.code} {close.text}), so" in said
    assert said.endswith(f"a block would go unseen{advice}")
