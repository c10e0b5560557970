"""News for those who follow."""

import pytest

from springline.core.signals import Signal


def test_everybody_who_follows_is_told_in_the_order_in_which_they_began() -> None:
    told: list[str] = []
    news = Signal[str]()
    news.follow(lambda each: told.append(f"first: {each}"))
    news.follow(lambda each: told.append(f"second: {each}"))
    news.tell("something")
    assert told == ["first: something", "second: something"]


def test_who_follows_later_is_told_what_comes_later() -> None:
    told: list[str] = []
    news = Signal[str]()
    news.tell("before")
    news.follow(told.append)
    news.tell("after")
    assert told == ["after"]


def test_a_follower_that_fails_keeps_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []

    def defective(_: str) -> None:
        raise ZeroDivisionError

    news = Signal[str]()
    news.follow(defective)
    news.follow(told.append)
    news.tell("something")
    assert told == ["something"]
    assert "news not taken in" in caplog.text
