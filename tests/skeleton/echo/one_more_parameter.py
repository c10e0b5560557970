"""One more parameter of a protocol: declared in its own block, and part of what is verified.

It is no module of tests where it stands: `contract/test_a_further_protocol.py` puts it beside the
contract suite of a copy that has Echo and this parameter.
"""

from typing import Any

import pytest

from springline.api import crds
from springline.core.desired import SessionSpec
from springline.core.state import Failure
from springline.core.verification import Question
from support.builders import a_credential
from support.harnesses.echo import resolved


def usable(**spec: Any) -> SessionSpec:
    found = resolved(port=7, **spec)
    assert isinstance(found, SessionSpec)
    return found


def test_a_verification_of_one_value_does_not_answer_for_another() -> None:
    def topic(**spec: Any) -> object:
        return Question.of(usable(**spec), a_credential(), None).topic

    assert topic(echo={"volume": 3}) == topic(echo={"volume": 3}, heartbeat="30s")
    assert topic(echo={"volume": 3}) != topic(echo={"volume": 4})
    assert topic(echo={"volume": 1}) == topic()


def test_another_value_needs_another_connection() -> None:
    [endpoint] = usable().target.endpoints
    assert usable().target.fits(usable(echo={"volume": 1}).target, connected_to=endpoint)
    assert not usable().target.fits(usable(echo={"volume": 3}).target, connected_to=endpoint)


def test_the_schema_has_it_with_its_limits() -> None:
    [version] = crds.crd("BrokerConnection")["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    volume = spec["echo"]["properties"]["volume"]
    assert (volume["minimum"], volume["maximum"], volume["default"]) == (1, 11, 1)


def test_another_protocol_refuses_it() -> None:
    """And need not know of it."""
    found = resolved(port=7, protocol="amqp091", echo={"volume": 3})
    assert isinstance(found, Failure)
    assert found.message == (
        "spec.echo has no meaning with protocol amqp091, only with protocol echo; leave it out"
    )
    assert isinstance(resolved(port=7, protocol="amqp091", echo={"volume": 1}), SessionSpec)


@pytest.mark.parametrize("volume", [0, 12])
def test_the_model_refuses_what_is_out_of_range(volume: int) -> None:
    with pytest.raises(Exception, match="volume"):
        resolved(port=7, echo={"volume": volume})
