"""Logs of a process: constant messages with fields, one line each, to standard error."""

import logging
import sys
from typing import TextIO

__all__ = ["configure"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


# They log frames, and a frame may hold a password. What they find out, the driver reports.
_SILENT = ("aiormq", "pamqp")


class _Formatter(logging.Formatter):
    """Appends what was passed as `extra` as key=value, before a traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # of the base class
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        fields = "".join(f" {key}={_one_line(value)}" for key, value in extra.items())
        return _one_line(super().formatMessage(record)) + fields


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to what is standard error now: while a table is shown, that is above the table."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Do nothing: it is never another one."""


def configure(level: str) -> None:
    """Send the logs of `level` and above to standard error."""
    handler = _Handler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _one_line(value: object) -> str:
    return str(value).replace("\r", "\\r").replace("\n", "\\n")
