"""Logs of a process: constant messages with fields, one line each, to standard error."""

import logging

__all__ = ["configure"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Formatter(logging.Formatter):
    """Appends what was passed as `extra` as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        fields = " ".join(f"{key}={value}" for key, value in extra.items())
        return f"{text} {fields}" if fields else text


def configure(level: str) -> None:
    """Send the logs of `level` and above to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
