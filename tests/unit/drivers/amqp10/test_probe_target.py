"""A refused probe over AMQP 1.0 says what was refused, what that means, and what to do."""

import pytest

from springline.api import v1alpha1
from springline.drivers.amqp10.adapter import ADAPTER
from springline.errors import ProbeRefusal, ProbeRefusedError

NODE = "the node of spec.amqp10.probe.address"


@pytest.mark.parametrize(
    ("why", "advice"),
    [
        (
            ProbeRefusal.NO_PERMISSION,
            f"let the user send to {NODE} (and receive from it, with receive: true)",
        ),
        (ProbeRefusal.PLACE_MISSING, f"create {NODE}, or write one that is there"),
        (ProbeRefusal.LIMIT, "let the connection have more links"),
        (ProbeRefusal.CREDENTIAL_EXPIRED, "renew the credential"),
        (ProbeRefusal.OTHER, f"let {NODE} take messages without content"),
    ],
)
def test_a_refusal_says_what_to_do(why: ProbeRefusal, advice: str) -> None:
    target = ADAPTER.probe_target(v1alpha1.Probe())
    assert target.refusal(ProbeRefusedError(why, "amqp:x")) == (
        f"the probe was refused (amqp:x), so a block would go unseen; {advice}, or leave"
        " spec.amqp10.probe out"
    )


def test_trouble_of_the_broker_passes_by_itself() -> None:
    target = ADAPTER.probe_target(v1alpha1.Probe())
    assert target.refusal(ProbeRefusedError(ProbeRefusal.TROUBLE, "amqp:x")) == (
        "the broker could not take in the probe (amqp:x); it is tried again"
    )
