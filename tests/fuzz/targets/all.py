"""The table of targets."""

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
    )
}
