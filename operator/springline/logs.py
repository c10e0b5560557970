"""Logs of a process: constant messages with fields, one line each, to standard error.

Whoever logs does not wait for whoever reads: see `outlets`.
"""

import atexit
import json
import logging
import math
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from springline.outlets import Output
from springline.protocols import PROTOCOLS

__all__ = ["Format", "configure", "dropped", "json_line"]

Format = Literal["plain", "json"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


# They log what goes over the wire, and that may hold a password. What they find out, who calls them
# reports.
_SILENT = (
    *(name for protocol in PROTOCOLS.values() for name in protocol.silent_loggers),
    "kubernetes.client",
    "kubernetes.aio.config",
    # Every request, and the bytes of every bad one: anybody could fill the log.
    "aiohttp.access",
    "aiohttp.server",
)

# At the level `info` it tells of each object of each watch that it was handled.
_CHATTY = "kopf"

# It calls each try that it repeats an error. If it gives up, that is logged where it gives up.
_RETRYING = ("kopf._cogs.clients", "kopf._core.engines.posting")


class _Formatter(logging.Formatter):
    """Appends what was passed as `extra` as key=value, before a traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # of the base class
        fields = "".join(f" {key}={_one_line(value)}" for key, value in _fields(record))
        return _one_line(super().formatMessage(record)) + fields


class _JSONFormatter(logging.Formatter):
    """Writes a JSON object; what was passed as `extra` stands beside the standard keys."""

    def format(self, record: logging.LogRecord) -> str:
        more: dict[str, Any] = {}
        if record.exc_info:
            more["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            more["stack"] = self.formatStack(record.stack_info)
        for key, value in _fields(record):
            more[f"{key}_" if key in _KEYS else key] = value
        return json_line(
            record.getMessage(),
            at=datetime.fromtimestamp(record.created, UTC),
            level=record.levelname,
            logger=record.name,
            fields=more,
        )


def json_line(
    message: str, *, at: datetime, level: str, logger: str, fields: Mapping[str, object]
) -> str:
    """Return a JSON object in one line, with `fields` beside the keys that each line has."""
    line = {
        "time": at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z",
        "level": level.lower(),
        "logger": logger,
        "message": message,
        **fields,
    }
    return json.dumps({_plain(key): _plain(value) for key, value in line.items()})


_KEYS = frozenset({"time", "level", "logger", "message", "exception", "stack"})


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to what is standard error now: while a table is shown, that is above the table."""

    def __init__(self) -> None:
        super().__init__()
        self.output: Output | None = None
        """The process' own standard error. What stands in its place waits for nobody either."""
        own = sys.__stderr__
        if own is not None and sys.stderr is own:
            self.output = Output(own, name="log", told=self._missing)

    def emit(self, record: logging.LogRecord) -> None:
        if self.output is None or sys.stderr is not sys.__stderr__:
            super().emit(record)
            return
        try:
            self.output.line(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler of logging does it
            self.handleError(record)

    def _missing(self, count: int) -> str:
        """Return a line of its own for those that could not be written."""
        values = {
            "name": __name__,
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "msg": "lines of the log dropped, because nothing took them in time",
            "dropped": count,
        }
        return self.format(logging.makeLogRecord(values))

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Do nothing: it is never another one."""


_output: Output | None = None


def dropped() -> int:
    """Return how many lines were dropped since the start, because nothing took them."""
    return _output.dropped if _output is not None else 0


def configure(level: str, *, format: Format = "plain") -> None:  # noqa: A002  # as the option is called
    """Send the logs of `level` and above to standard error.

    What is queued when the process ends is written, within a bounded time.
    """
    global _output
    handler = _Handler()
    if (_output := handler.output) is not None:
        atexit.register(_output.finish)
    if format == "json":
        handler.setFormatter(_JSONFormatter())
    else:
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_calmed)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    quiet = logging.WARNING if level == "info" else logging.NOTSET
    logging.getLogger(_CHATTY).setLevel(quiet)


def _calmed(record: logging.LogRecord) -> bool:
    """Make a warning of each error that is only one of several tries."""
    if record.name.startswith(_RETRYING) and record.levelno == logging.ERROR:
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return logging.getLogger().isEnabledFor(record.levelno)
    return True


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """Give what was passed as `extra`."""
    for key, value in vars(record).items():
        if key in _STANDARD or key in ("settings", "k8s_skip"):  # kopf's notes to itself
            continue
        if key == "k8s_ref" and isinstance(value, Mapping):
            yield "object", "/".join(filter(None, map(value.get, ("kind", "namespace", "name"))))
        else:
            yield key, value


def _plain(value: object) -> object:
    """Return what JSON can hold: numbers and truths as they are, everything else as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    # Half a surrogate pair is a text in Python and nowhere else.
    return _text(value).encode("utf-8", "backslashreplace").decode()


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  # a line is written, whatever is to be shown in it
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _one_line(value: object) -> str:
    return _text(value).replace("\r", "\\r").replace("\n", "\\n")
