"""The table of targets."""

import importlib.util
from collections.abc import Mapping
from typing import Final

from fuzz.targets import (
    Target,
    amqp091,
    certificates,
    documents,
    http,
    http_session,
    kube,
    texts,
    token_answers,
)

__all__ = ["TARGETS"]


def _amqp10() -> tuple[Target, ...]:
    """Return what needs the library for AMQP 1.0; nothing where that could not be compiled."""
    if importlib.util.find_spec("proton") is None:
        return ()
    from fuzz.targets import amqp10, amqp10_session

    return (amqp10.TARGET, amqp10_session.TARGET)


TARGETS: Final[Mapping[str, Target]] = {
    each.name: each
    for each in (
        amqp091.TARGET,
        http.TARGET,
        http_session.TARGET,
        texts.PEER_TEXTS,
        texts.CLAIMS,
        token_answers.TARGET,
        certificates.TARGET,
        documents.TARGET,
        kube.TARGET,
        *_amqp10(),
    )
}
