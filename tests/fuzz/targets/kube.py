"""What an API server says: lines of a watch, statuses that others have written, refusals."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from fuzz import oracles
from fuzz.cases import Case
from fuzz.json_mutations import change_value
from fuzz.targets import Target
from springline.api.meta import Identity
from springline.kube import client, document_texts, stored
from springline.kube.client import RequestError
from springline.kube.holders import Life
from springline.kube.projection import Entry
from springline.kube.rivals import Rivals
from springline.kube.status_texts import Digest
from springline.kube.stored import StoredStatus
from springline.kube.watching import Metadata, Watch
from support.fake_clock import FakeClock

__all__ = ["TARGET"]

_LONGEST = 1024


class _Listener:
    def __init__(self) -> None:
        self.heard: list[Metadata] = []

    def listed(self, items: Sequence[Metadata]) -> None:
        self.heard += items

    def changed(self, metadata: Metadata) -> None:
        self.heard.append(metadata)

    def deleted(self, metadata: Metadata) -> None:
        self.heard.append(metadata)

    def interrupted(self) -> None:
        pass


class _Notices:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def held_elsewhere(self, identity: Identity, *, holder: str, replica: str) -> None:
        self.texts += [str(identity), holder, replica]

    def ended(self, identity: Identity) -> None:
        self.texts.append(str(identity))

    def too_large(self, identity: Identity) -> None:
        self.texts.append(str(identity))

    def overwritten(self, identity: Identity, *, manager: str, holder: str) -> None:
        self.texts += [str(identity), manager, holder]


class _Lives:
    def life(self, holder: str) -> Life | None:
        known: list[Life | None] = [None, *Life]
        return known[len(holder) % len(known)]


_OURS: Mapping[str, Any] = {
    "holder": "orders/springline-0",
    "attempts": 3,
    "negotiated": {"mechanism": "PLAIN"},
    "conditions": [{"type": "Ready", "status": "True"}],
}


def run(case: Case) -> None:
    """Take in each part as a line of one watch, and the objects in them as those of one entry."""
    listener, notices = _Listener(), _Notices()
    clock: Any = FakeClock()
    unused: Any = None
    rng = Random(0)  # noqa: S311 - no secret
    watch = Watch(unused, clock, rng, "/apis", listener=listener)
    rivals = Rivals(_Lives(), notices, clock, holder="orders/springline-0")
    entry = Entry(
        identity=Identity("BrokerConnection", "orders", "main"),
        uid="1",
        generation=1,
        conditions=(),
        handled={},
    )
    for part in case:
        for line in part.split(b"\n")[:8]:
            if (found := document_texts.version_in(line)) is not None:
                oracles.check_texts([found.uid, found.version], longest=_LONGEST)
            try:
                event = client.document_of(line)
            except RequestError as error:
                oracles.check_texts([str(error)], longest=_LONGEST)
                continue
            if event.get("type") == "ERROR":
                refused = client._refused(event.get("object"))
                assert refused.may_pass in (True, False)
                assert str(refused)
                continue
            watch._heard(str(event.get("type", "")), event.get("object"))
            _see(rivals, entry, event.get("object"))
    texts = [text for text in notices.texts if text]
    assert all(text.isprintable() for text in texts), "a text of an Event is not printable"
    oracles.check_texts(texts, longest=_LONGEST, what="a text of an Event")


def _see(rivals: Rivals, entry: Entry, document: Any) -> None:
    if not isinstance(document, dict):
        return
    found = StoredStatus.of(document)
    rivals.seen(entry, found)
    rivals.claim(entry)
    oracles.check_texts([entry.other], longest=_LONGEST, what="the holder of a status")
    assert entry.other.isprintable(), "the holder of a status is not printable"
    patch = stored.leftovers(found.status, _OURS)
    assert set(patch) <= set(found.status)
    sent = Digest.of(_OURS)
    rivals.writing(entry, sent)
    assert len(entry.sent) < 10


TARGET = Target(name="kube", run=run, share=4, mutations=(change_value,))
