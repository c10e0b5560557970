"""A refused probe over AMQP 1.0 says what was refused, what that means, and what to do."""

import pytest

from springline.api import v1alpha1
from springline.drivers.amqp10.adapter import ADAPTER
from springline.errors import ProbeRefusal, ProbeRefusedError


@pytest.mark.parametrize(
    ("why", "sentence"),
    [
        (
            ProbeRefusal.NO_PERMISSION,
            (
                "the probe was refused (amqp:x), so a block would go unseen; let the user send to the"
                " node of spec.amqp10.probe.address (and receive from it, with receive: true), or leave"
                " spec.amqp10.probe out"
            ),
        ),
        (
            ProbeRefusal.PLACE_MISSING,
            (
                "the probe was refused (amqp:x), so a block would go unseen; create the node of"
                " spec.amqp10.probe.address, or write one that is there, or leave spec.amqp10.probe"
                " out"
            ),
        ),
        (
            ProbeRefusal.LIMIT,
            (
                "the probe was refused (amqp:x), so a block would go unseen; let the connection have"
                " more links, or leave spec.amqp10.probe out"
            ),
        ),
        (
            ProbeRefusal.CREDENTIAL_EXPIRED,
            (
                "the probe was refused (amqp:x), so a block would go unseen; renew the credential, or"
                " leave spec.amqp10.probe out"
            ),
        ),
        (
            ProbeRefusal.TROUBLE,
            "the broker could not take in the probe (amqp:x); it is tried again",
        ),
        (
            ProbeRefusal.OTHER,
            (
                "the probe was refused (amqp:x), so a block would go unseen; let the node of"
                " spec.amqp10.probe.address take messages without content, or leave spec.amqp10.probe"
                " out"
            ),
        ),
    ],
)
def test_a_refusal_says_what_to_do(why: ProbeRefusal, sentence: str) -> None:
    target = ADAPTER.probe_target(v1alpha1.Probe())
    assert target.refusal(ProbeRefusedError(why, "amqp:x")) == sentence


def test_every_refusal_has_a_sentence() -> None:
    target = ADAPTER.probe_target(v1alpha1.Probe())
    assert all("amqp:x" in target.refusal(ProbeRefusedError(why, "amqp:x")) for why in ProbeRefusal)
