"""Times in headers, in every form that HTTP has for them, and in none that it has not."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline import http_times

BY_THE_BOOK = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 09:49:37 +0100",
    ],
    ids=["today's form", "that of RFC 850", "that of asctime", "with a zone"],
)
def test_date_is_read_in_each_form(text: str) -> None:
    assert http_times.date(text) == BY_THE_BOOK


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "soon",
        "1994-11-06",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "Sun, 06 Növ 1994",
        "Fri, 31 Dec 9999 23:59:59 -2300",
    ],
)
def test_what_is_no_date_is_none(text: str | None) -> None:
    assert http_times.date(text) is None


@given(text=st.text())
def test_nothing_that_a_server_writes_is_an_error(text: str) -> None:
    seconds = http_times.retry_after(text, sent_at=None, now=BY_THE_BOOK)
    assert seconds is None or seconds >= 0
