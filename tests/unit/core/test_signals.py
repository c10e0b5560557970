"""News for those who follow."""

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
