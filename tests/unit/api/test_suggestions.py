"""Words that other tools have for our fields, and what is said of them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from springline.api import documents, suggestions, v1alpha1
from springline.api.problems import _fields, _model_at, _model_within
from springline.errors import ManifestError

HEAD = {"apiVersion": "springline.dev/v1alpha1"}


def connection(**spec: Any) -> dict[str, Any]:
    base = {"brokerRef": {"name": "rabbit"}, "credentials": {"secretRef": {"name": "orders"}}}
    metadata = {"name": "orders"}
    return {**HEAD, "kind": "BrokerConnection", "metadata": metadata, "spec": base | spec}


def broker(**spec: Any) -> dict[str, Any]:
    base = {"endpoints": [{"host": "rabbit"}]}
    return {**HEAD, "kind": "Broker", "metadata": {"name": "rabbit"}, "spec": base | spec}


def problems_of(document: dict[str, Any]) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        documents.parse(document)
    return list(caught.value.problems)


def models(of: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a model and all that it consists of, with their bases."""
    yield from (each for each in of.__mro__ if issubclass(each, BaseModel))
    for _, field in _fields(of):
        within = _model_within(field.annotation)
        if within is not None:
            yield from models(within)


ALL = {
    each.__name__: each
    for kind in (v1alpha1.Broker, v1alpha1.ClusterBroker, v1alpha1.BrokerConnection)
    for each in models(kind)
}

ROWS = [
    pytest.param(model, word, said, id=f"{model}.{word}")
    for model, words in suggestions.BY_MODEL.items()
    for word, said in words.items()
]


@pytest.mark.parametrize(("model", "word", "said"), ROWS)
def test_words_are_no_fields_and_what_is_meant_is_one(model: str, word: str, said: str) -> None:
    """Nobody is sent to a field that is not there."""
    fields = {(field.alias or key) for key, field in _fields(ALL[model])}
    assert word not in {each.lower() for each in fields}
    assert re.fullmatch("[a-z0-9]+", word), "as words are compared"
    if " " not in said:
        *before, name = said.replace("[]", "").split(".")
        holder = _model_at(ALL[model], tuple(before))
        assert holder is not None, said
        assert name in {(field.alias or key) for key, field in _fields(holder)}, said


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (connection(vhost="/"), 'spec.vhost: unknown field; did you mean "virtualHost"?'),
        (
            connection(username="orders"),
            (
                'spec.username: unknown field; a login is in a Secret: "credentials.secretRef.name"'
                " names it, and it has username and password"
            ),
        ),
        (
            connection(brokerRef={"name": "rabbit", "namespace": "brokers"}),
            (
                "spec.brokerRef.namespace: unknown field; a Broker is of the connection's own"
                " namespace; for one broker of several namespaces there is kind ClusterBroker, with"
                ' "allowedNamespaces"'
            ),
        ),
        (connection(paused=True), 'spec.paused: unknown field; did you mean "suspend"?'),
        (broker(ssl={}), 'spec.ssl: unknown field; did you mean "tls"?'),
        (
            broker(tls={"enabled": True, "ca_file": "/ca.crt"}),
            'spec.tls.ca_file: unknown field; did you mean "caRef"?',
        ),
        (broker(host="rabbit"), 'spec.host: unknown field; did you mean "endpoints[].host"?'),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)
def test_words_of_other_tools_are_understood(document: dict[str, Any], problem: str) -> None:
    assert problem in problems_of(document)


def test_a_cluster_brokers_tls_is_spoken_of_as_a_brokers() -> None:
    assert suggestions.suggestion(["ClusterTLS", "TLS"], "cafile") == 'did you mean "caRef"?'


def test_what_was_written_there_is_not_repeated() -> None:
    said = problems_of(connection(password="hunter2-planted", url="amqp://a:hunter2-planted@b"))
    assert len(said) == 2
    assert "hunter2" not in "".join(said)
