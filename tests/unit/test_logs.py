"""Logs: one line each, with their fields, and nothing from below the driver."""

import enum
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kopf
import pytest

import springline
from springline import logs
from springline.core.values import SessionKey
from support.waiting import PATIENCE

PLANTED = "pl4nted-s3cret"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = (*logs._SILENT, logs._CHATTY)
    levels = {name: logging.getLogger(name).level for name in names}
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
    "name",
    [
        "aiormq",
        "aiormq.connection",
        "aiormq.channel",
        "pamqp",
        "pamqp.frame",
        "kubernetes.client.rest",
        "kubernetes.aio.config.kube_config",
        "aiohttp.access",
        "aiohttp.server",
    ],
)
@pytest.mark.parametrize("style", ["plain", "json"])
def test_libraries_that_log_frames_are_silent_at_every_level(
    capsys: pytest.CaptureFixture[str], name: str, level: str, style: logs.Format
) -> None:
    """A frame may hold a password, whatever the level of the line that shows it."""
    logs.configure(level, format=style)
    foreign = logging.getLogger(name)
    for severity in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        foreign.log(severity, "Prepare to send %r", PLANTED)
    assert capsys.readouterr().err == ""


# --- JSON


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Every line that was written, read."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_has_time_level_logger_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", format="json")
    logging.getLogger("springline.core").warning("session %s", "lost")
    [line] = lines(capsys)
    assert list(line) == ["time", "level", "logger", "message"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "warning",
        "logger": "springline.core",
        "message": "session lost",
    }


def test_json_fields_stand_beside_the_standard_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers and truths stay what they are; a session is namespace and name."""
    logs.configure("info", format="json")
    fields = {
        "session": SessionKey("apps", "orders"),
        "attempt": 3,
        "seconds": 0.25,
        "verified": True,
        "reason": None,
    }
    logging.getLogger("x").info("session connected", extra=fields)
    [line] = lines(capsys)
    assert {key: line[key] for key in fields} == {**fields, "session": "apps/orders"}


def test_json_fields_never_take_the_place_of_a_standard_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", format="json")
    taken = {"time": "never", "level": "none", "logger": "other", "exception": "no", "stack": "no"}
    logging.getLogger("x").info("session connected", extra=taken)
    [line] = lines(capsys)
    assert (line["level"], line["logger"]) == ("info", "x")
    assert "exception" not in line
    assert {key: line[f"{key}_"] for key in taken} == taken


def test_json_holds_a_traceback_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", format="json")
    try:
        dict[str, str]()["a defect"]
    except KeyError:
        logging.getLogger("x").exception("session ended", extra={"session": "apps/orders"})
    [line] = lines(capsys)
    assert line["message"] == "session ended"
    assert line["session"] == "apps/orders"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("KeyError: 'a defect'")


class Colour(enum.Enum):
    RED = "red"


class Unprintable:
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("one\ntwo\r\n", "one\ntwo\r\n", id="line breaks"),
        pytest.param("half \udc80 a pair", "half \\udc80 a pair", id="a lone surrogate"),
        pytest.param("grüße 🐇", "grüße 🐇", id="any letters"),
        pytest.param(b"bytes", "b'bytes'", id="bytes"),
        pytest.param(float("nan"), "nan", id="not a number"),
        pytest.param(float("-inf"), "-inf", id="infinity"),
        pytest.param({("a", 1): {2}}, "{('a', 1): {2}}", id="keys that are no text"),
        pytest.param(Colour.RED, "Colour.RED", id="an enumeration"),
        pytest.param(
            Unprintable(),
            "<Unprintable that cannot be shown: ZeroDivisionError>",
            id="what cannot be shown",
        ),
    ],
)
def test_json_can_show_anything(
    capsys: pytest.CaptureFixture[str], value: object, shown: str
) -> None:
    logs.configure("info", format="json")
    logging.getLogger("x").info("said", extra={"value": value})
    assert [line["value"] for line in lines(capsys)] == [shown]


def test_json_messages_may_hold_anything(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", format="json")
    logging.getLogger("x").info("one\ntwo \udc80 \x00")
    assert [line["message"] for line in lines(capsys)] == ["one\ntwo \\udc80 \x00"]


def test_plain_can_show_what_cannot_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logging.getLogger("x").info("said", extra={"value": Unprintable()})
    assert "value=<Unprintable that cannot be shown" in capsys.readouterr().err


# --- kopf


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning"]),
        ("info", ["warning"]),
        ("warning", ["warning"]),
        ("error", []),
    ],
)
def test_kopf_tells_of_every_object_only_when_debugging(
    capsys: pytest.CaptureFixture[str], level: str, shown: list[str]
) -> None:
    """At `info` it would be a line for each event of each watch."""
    logs.configure(level)
    for name in ("debug", "info", "warning"):
        getattr(logging.getLogger("kopf.objects"), name)(name)
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines()] == shown


@pytest.mark.parametrize("name", ["kopf._cogs.clients.watching", "kopf._core.engines.posting"])
def test_a_request_that_kopf_repeats_is_a_warning(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """An error is what it gives up with, and that comes from elsewhere."""
    logs.configure("info", format="json")
    logging.getLogger(name).error("Request attempt #1/6 failed")
    logging.getLogger("kopf._core.reactor.queueing").error("gave up")
    assert [line["level"] for line in lines(capsys)] == ["warning", "error"]


def test_a_request_that_kopf_repeats_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Where only errors are wanted, it is left out."""
    logs.configure("error")
    logging.getLogger("kopf._cogs.clients.watching").error("Request attempt #1/6 failed")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("style", ["plain", "json"])
def test_kopf_names_the_object_and_nothing_of_its_own(
    capsys: pytest.CaptureFixture[str], style: logs.Format
) -> None:
    logs.configure("info", format=style)
    logging.getLogger("kopf.objects").warning(
        "odd",
        extra={
            # Hundreds of words; kopf itself looks into them once it is there.
            "settings": kopf.OperatorSettings(),
            "k8s_skip": True,
            "k8s_ref": {
                "apiVersion": "springline.dev/v1alpha1",
                "kind": "Broker",
                "name": "rabbit",
                "namespace": "apps",
                "uid": None,
            },
        },
    )
    text = capsys.readouterr().err
    assert "Broker/apps/rabbit" in text
    for unwanted in ("ettings", "k8s"):
        assert unwanted not in text


def test_json_holds_where_a_line_came_from_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", format="json")
    logging.getLogger("x").info("session connected", stack_info=True)
    [line] = lines(capsys)
    assert line["stack"].startswith("Stack (most recent call last)")


# --- when nothing takes them

TALKATIVE = """
import logging, sys
from springline import logs

logs.configure("info", format=sys.argv[1])
logger = logging.getLogger("x")
for number in range(100_000):
    logger.info("a line of the log", extra={"number": number, "more": "x" * 200})
print(logs.dropped(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("form", ["plain", "json"])
def test_log_that_nothing_takes_is_bounded_and_says_what_is_missing(form: str) -> None:
    """Whoever logs goes on. Once it is taken again, a line says how many were dropped."""
    with subprocess.Popen(
        [sys.executable, "-c", TALKATIVE, form],
        env={**os.environ, "PYTHONPATH": str(Path(springline.__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        dropped = int(process.stdout.readline())
        assert dropped > 0
        _, err = process.communicate(timeout=PATIENCE)
    lines = err.splitlines()
    shown = [line for line in lines if "a line of the log" in line]
    assert len(shown) + dropped == 100_000
    remarks = [line for line in lines if "lines of the log dropped" in line]
    assert sum(int(re.findall(r'dropped[="]+:? ?(\d+)', each)[-1]) for each in remarks) == dropped
    assert all("WARNING" in each.upper() for each in remarks)
    numbers = [int(re.findall(r'number[="]+:? ?(\d+)', each)[-1]) for each in shown]
    assert numbers == sorted(numbers)
    assert process.returncode == 0
