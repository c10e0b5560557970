"""What holds for every case, whatever the octets: of exceptions, logs, texts and secrets."""

import base64
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from springline.protocols import PROTOCOLS

__all__ = ["SECRET", "check_texts", "quiet_logs"]

SECRET = "planted-Secret+of/the=Case~7391"

LONGEST_TEXT = 4096
"""Characters of one text that comes out."""

_RUN = 16
"""So many characters of a secret in a row are no coincidence."""

_FORMS = (
    SECRET,
    base64.b64encode(SECRET.encode()).decode(),
    SECRET.encode().hex(),
)
_RUNS = frozenset(
    form[start : start + _RUN] for form in _FORMS for start in range(len(form) - _RUN + 1)
)

_PEERS_FIRST = "peer speaks something else"
"""The one record that has octets of a peer: those that came before anything was sent."""

_OWN = frozenset(vars(logging.makeLogRecord({})))


def check_texts(texts: Iterable[str], *, longest: int = LONGEST_TEXT, what: str = "a text") -> None:
    """Raise `AssertionError` for a text that is too long, or has part of the secret."""
    for text in texts:
        assert len(text) <= longest, f"{what} has {len(text)} characters"
        found = any(run in text for run in _RUNS)
        assert not found, f"{what} has a part of the secret"


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Hold for a case that no traceback is logged, nothing too long, and no secret."""
    kept, root = _Kept(), logging.getLogger()
    levels = {root: logging.DEBUG, logging.getLogger("springline"): logging.DEBUG}
    for protocol in PROTOCOLS.values():  # as `logs.configure` does it: they log frames
        for name in protocol.silent_loggers:
            levels[logging.getLogger(name)] = logging.CRITICAL + 1
    before = {each: each.level for each in levels}
    root.addHandler(kept)
    for each, level in levels.items():
        each.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(kept)
        for each, level in before.items():
            each.setLevel(level)
    for record in kept.records:
        if record.name == "asyncio" and record.levelno < logging.WARNING:
            continue
        message = record.getMessage()
        assert record.exc_info is None, f"a traceback is logged: {message}"
        assert "Traceback" not in message, f"a traceback is logged: {message}"
        if message != _PEERS_FIRST:
            check_texts(_fields(record), what=f"a record of {record.name}")


def _fields(record: logging.LogRecord) -> list[str]:
    fields: dict[str, Any] = {
        key: value for key, value in vars(record).items() if key not in _OWN and key != "message"
    }
    return [record.getMessage(), *(str(value) for value in fields.values())]
