"""What is seen of an object's text without parsing it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.kube import document_texts
from springline.kube.document_texts import ObjectVersion

OURS = ObjectVersion("6b2f8a4e-0000-4000-8000-000000000001", "4711")


def text_of(metadata: dict[str, Any], **content: Any) -> bytes:
    """Return an object as the API server writes it."""
    document = {"apiVersion": "a/v1", "kind": "BrokerConnection", "metadata": metadata, **content}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def metadata(**more: Any) -> dict[str, Any]:
    return {
        "name": "orders",
        "namespace": "apps",
        "resourceVersion": OURS.version,
        "uid": OURS.uid,
        **more,
    }


def test_version_and_uid_are_seen() -> None:
    owner = {"kind": "Deployment", "name": "app", "uid": "of-the-owner", "controller": True}
    fields: dict[str, Any] = {"f:metadata": {"f:resourceVersion": {}, "f:uid": {}}}
    shown = text_of(
        metadata(
            annotations={"a": "1"},
            managedFields=[{"fieldsV1": fields, "manager": "kubectl"}],
            ownerReferences=[owner],
        ),
        spec={"brokerRef": {"name": "rabbit"}},
        status={"state": "Connected"},
    )
    assert document_texts.version_in(shown) == OURS
    assert document_texts.version_in(b'{"type":"MODIFIED","object":%b}' % shown) == OURS


@given(st.text(st.characters(codec="utf-8")))
def test_no_annotation_passes_for_a_version(value: str) -> None:
    """`kubectl apply` keeps a copy of the whole object in one."""
    fake = f'x","resourceVersion":"1","uid":"other"}}{value}'
    copy = json.dumps({"metadata": {"resourceVersion": "1", "uid": "other"}})
    shown = text_of(metadata(annotations={"a": fake, "copy": copy, "z": value}))
    assert document_texts.version_in(shown) == OURS


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        json.dumps({"metadata": metadata()}).encode(),  # with spaces
        b'{"metadata":{"uid":"one","resourceVersion":"1"}}',
        b'{"metadata":{"resourceVersion":"","uid":"one"}}',
        b'{"metadata":{"resourceVersion":"one","uid":"one"}}',
        b'{"metadata":{"resourceVersion":"1","uid":"on',
        b'{"metadata":{"resourceVersion":"1","zzz":1,"uid":"one"}}',
    ],
    ids=[
        "nothing",
        "no object",
        "spaces",
        "another order",
        "no version",
        "no number",
        "cut off",
        "something in between",
    ],
)
def test_nothing_is_seen_where_it_is_written_in_another_way(text: bytes) -> None:
    assert document_texts.version_in(text) is None
