"""Logs: one line each, with their fields, and nothing from below the driver."""

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from springline import logs
from springline.core.values import SessionKey

PLANTED = "pl4nted-s3cret"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs._SILENT}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def test_line_has_time_level_logger_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logging.getLogger("springline.core").info("session connected")
    pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO springline.core: session connected\n"
    assert re.fullmatch(pattern, capsys.readouterr().err)


def test_fields_follow_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logging.getLogger("x").info(
        "session connected", extra={"session": SessionKey("apps", "orders"), "attempt": 3}
    )
    assert capsys.readouterr().err.endswith("session connected session=apps/orders attempt=3\n")


def test_fields_stand_before_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    try:
        dict[str, str]()["a defect"]
    except KeyError:
        logging.getLogger("x").exception("session ended", extra={"session": "apps/orders"})
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR x: session ended session=apps/orders")
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "KeyError: 'a defect'"


def test_line_breaks_make_no_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logging.getLogger("x").info("one\ntwo", extra={"error": "three\r\nfour"})
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("one\\ntwo error=three\\r\\nfour")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_level_decides_what_is_shown(
    capsys: pytest.CaptureFixture[str], level: str, shown: list[str]
) -> None:
    logs.configure(level)
    for name in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger("springline"), name)(name)
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines()] == shown


def test_configuring_again_replaces_what_was_configured(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logs.configure("info")
    logging.getLogger("x").info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_standard_error_is_looked_up_for_every_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a table is shown, something else takes its place."""
    logs.configure("info")
    other = io.StringIO()
    monkeypatch.setattr(sys, "stderr", other)
    logging.getLogger("x").info("above the table")
    assert capsys.readouterr().err == ""
    assert "above the table" in other.getvalue()


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
@pytest.mark.parametrize(
    "name", ["aiormq", "aiormq.connection", "aiormq.channel", "pamqp", "pamqp.frame"]
)
def test_libraries_that_log_frames_are_silent_at_every_level(
    capsys: pytest.CaptureFixture[str], name: str, level: str
) -> None:
    """A frame may hold a password, whatever the level of the line that shows it."""
    logs.configure(level)
    foreign = logging.getLogger(name)
    for severity in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        foreign.log(severity, "Prepare to send %r", PLANTED)
    assert capsys.readouterr().err == ""
