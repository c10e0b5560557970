"""Defects that the fuzzer has to find. They live in its process, and only while one is planted."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from unittest import mock

__all__ = ["BUGS", "planted"]

_Patch = contextlib.AbstractContextManager[Any]


def _frame_is_not_decoded() -> _Patch:
    """What pamqp raises for a content header that is cut off is not known."""
    from springline.drivers.amqp091 import errors

    without = tuple(each for each in errors._UNDECODABLE if each is not ValueError)
    return mock.patch.multiple(
        errors,
        _UNDECODABLE=without,
        _FOREIGN=tuple(each for each in errors._FOREIGN if each is not ValueError),
    )


def _text_of_probe_is_shown() -> _Patch:
    """What a broker says of a refused probe is shown without a veil."""
    from springline.drivers.amqp091 import replies
    from springline.drivers.shared import peer_text

    return mock.patch.object(replies, "shown", lambda text, _veil: peer_text.cleaned(text))


def _claims_must_be_times() -> _Patch:
    """A claim that is no time raises."""
    from springline.credentials import claims

    def expires_at(found: Mapping[str, Any]) -> Any:
        value = found.get("exp")
        return datetime.fromtimestamp(value, tz=UTC) if value is not None else None

    return mock.patch.object(claims, "expires_at", expires_at)


def _task_is_left() -> _Patch:
    """A block leaves a task behind."""
    from springline.drivers.amqp091.connection import Amqp091Connection

    unchanged = Amqp091Connection.on_blocked

    def on_blocked(self: Amqp091Connection) -> None:
        asyncio.get_running_loop().create_task(asyncio.sleep(1e6), name="left")
        unchanged(self)

    return mock.patch.object(Amqp091Connection, "on_blocked", on_blocked)


def _close_waits_for_ever() -> _Patch:
    """The end of a line has no bound."""
    from springline.drivers.shared.line import Line

    return mock.patch.object(Line, "_set_guard")


def _traceback_is_logged() -> _Patch:
    """An answer that is no JSON is logged with its traceback."""
    from springline.credentials import token_endpoint

    unchanged = token_endpoint._object

    def _object(content: bytes) -> Any:
        found = unchanged(content)
        if found is None and content.startswith(b"{"):
            try:
                json.loads(content)
            except (ValueError, RecursionError):
                logging.getLogger("springline.planted").exception("answer cannot be read")
        return found

    return mock.patch.object(token_endpoint, "_object", _object)


def _many_blocks_are_named() -> _Patch:
    """A bundle with many damaged blocks cannot be read."""
    from springline import ca_bundles

    unchanged = ca_bundles._left_out

    def _left_out(lines: list[int]) -> str:
        if len(lines) > ca_bundles._MOST_NAMED:
            raise IndexError("too many lines")
        return unchanged(lines)

    return mock.patch.object(ca_bundles, "_left_out", _left_out)


def _holder_is_not_cut() -> _Patch:
    """The holder of a status is taken as it is."""
    from springline.kube.rivals import Rivals

    return mock.patch.object(
        Rivals, "other_holder", lambda _self, status: str(status.get("holder") or "")
    )


def _conditions_are_believed() -> _Patch:
    """Conditions of others are taken for what they should be."""
    from springline.kube import stored

    def without(found: Any, ours: Any) -> Any:
        types = {each["type"] for each in ours}
        kept = [each for each in found if each.get("type") in types]
        return kept if len(kept) < len(found) else None

    return mock.patch.object(stored, "_without_others", without)


def _metadata_is_believed() -> _Patch:
    """A document of a kind that is read is taken to have a name."""
    from springline.api import documents
    from springline.api.meta import Identity

    unchanged = documents.identify

    def identify(document: Any) -> Identity | None:
        if unchanged(document) is not None or not isinstance(document, dict):
            return unchanged(document)
        if document.get("kind") != "Broker":
            return None
        return Identity("Broker", "", document["metadata"]["name"])

    return mock.patch.object(documents, "identify", identify)


def _calls_behind_are_forgotten() -> _Patch:
    """Where a connection ends in mid-answer, nobody tells those behind it."""
    from springline.drivers.http.conversation import Conversation

    unchanged = Conversation._fail_flight

    def _fail_flight(self: Conversation, failure: Any, begun: Any, *, is_unprocessed: bool) -> None:
        for key in list(self._flight)[1:]:
            del self._flight[key]
        unchanged(self, failure, begun, is_unprocessed=is_unprocessed)

    return mock.patch.object(Conversation, "_fail_flight", _fail_flight)


def _reason_of_refusal_is_shown() -> _Patch:
    """What a management interface says of a refusal is shown without a veil."""
    from springline.drivers.http import verdicts
    from springline.drivers.shared import peer_text

    def cleaned(text: Any, **_: Any) -> str:
        return peer_text.cleaned(text)

    return mock.patch.object(verdicts, "peer_text", mock.Mock(cleaned=cleaned))


def _frames_have_no_bound() -> _Patch:
    """A frame of HTTP/2 is waited for however long it is."""
    from springline.drivers.http import bounds, frame_splitter

    without = mock.Mock(wraps=bounds, MAX_FRAME=2**24)
    return mock.patch.object(frame_splitter, "bounds", without)


BUGS: Mapping[str, Callable[[], _Patch]] = {
    "frame-is-not-decoded": _frame_is_not_decoded,
    "secret-is-shown": _text_of_probe_is_shown,
    "claims-must-be-times": _claims_must_be_times,
    "task-is-left": _task_is_left,
    "end-without-bound": _close_waits_for_ever,
    "traceback-is-logged": _traceback_is_logged,
    "many-blocks-are-named": _many_blocks_are_named,
    "holder-as-it-is": _holder_is_not_cut,
    "conditions-are-believed": _conditions_are_believed,
    "metadata-is-believed": _metadata_is_believed,
    "calls-behind-are-forgotten": _calls_behind_are_forgotten,
    "reason-is-shown": _reason_of_refusal_is_shown,
    "frames-without-bound": _frames_have_no_bound,
}


@contextlib.contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Have the defect of that name; none for None. Raises `KeyError`."""
    if name is None:
        yield
        return
    with BUGS[name]():
        yield
