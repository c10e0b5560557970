"""What a person who watches is told: changes as sentences, and a table that fits."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from springline.plugin import live
from springline.plugin.following import Changed, Deleted, Interrupted, Listed
from springline.plugin.live import Board

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def a_document(name: str, ready: str = "True", reason: str = "Connected", **status: Any) -> Any:
    condition = {"type": "Ready", "status": ready, "reason": reason, "message": "words"}
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"brokerRef": {"name": "rabbit"}},
        "status": {"state": "Connected", "conditions": [condition], **status},
    }


def test_only_what_is_new_to_a_person_is_said() -> None:
    """A probe that counts up, or a token that is renewed, is none of it."""
    board = Board()
    [said] = board.take(Listed([a_document("orders")]))
    assert said.split() == ["shop/orders", "Connected,", "Ready", "True"]
    assert board.take(Changed(a_document("orders", attempts=3))) == []
    [said] = board.take(Changed(a_document("orders", "False", "Rejected")))
    assert said.endswith("Connected, Ready False: Rejected: words")
    [said] = board.take(Deleted(a_document("orders")))
    assert said.endswith("deleted")
    assert board.connections == []


def test_suspended_is_said_without_a_condition_ready() -> None:
    said = a_document("orders", "False", "Suspended", state="Suspended")
    said["status"]["conditions"][0]["type"] = "Connected"
    [line] = Board().take(Listed([said]))
    assert line.split(maxsplit=1) == ["shop/orders", "Suspended: Suspended: words"]


def test_deletions_during_a_gap_are_noticed() -> None:
    board = Board()
    board.take(Listed([a_document("billing"), a_document("orders")]))
    assert board.take(Interrupted("nobody answers")) == ["not followed: nobody answers"]
    assert board.problem == "nobody answers"
    again, gone = board.take(Listed([a_document("orders")]))
    assert again == "followed again"
    assert gone.startswith("shop/billing")
    assert board.problem == ""


def picture(table: live.Table, *, width: int = 200, height: int = 30) -> str:
    console = Console(width=width, height=height, record=True, file=None, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(table.picture(height, now=NOW))
    return captured.get()


def a_table(board: Board) -> live.Table:
    table = live.Table(Console().file, namespaces=False, wide=True)  # type: ignore[arg-type]
    table.show(board, [])
    return table


def test_table_shows_what_is_wrong_below() -> None:
    board = Board()
    board.take(Listed([a_document("billing", "False", "Rejected"), a_document("orders")]))
    board.take(Interrupted("nobody answers"))
    text = picture(a_table(board))
    assert "shop/billing: words" in text
    assert "not followed: nobody answers" in text


def test_narrow_terminal_keeps_the_columns_that_matter_most() -> None:
    board = Board()
    board.take(Listed([a_document("orders", endpoint="rabbit.example.com:5671 (10.0.0.1)")]))
    assert "ENDPOINT" in picture(a_table(board))
    head = picture(a_table(board), width=30).splitlines()[0].split()
    assert head == ["NAME", "READY", "STATE"]


def test_low_terminal_shows_those_first_that_are_not_ready() -> None:
    board = Board()
    documents = [a_document(f"good-{number:02}") for number in range(40)]
    board.take(Listed([*documents, a_document("zebra", "False", "Rejected")]))
    text = picture(a_table(board), height=12)
    assert "zebra" in text
    assert "more, 32 of them Ready" in text


def test_no_connection_is_said() -> None:
    assert "there is no BrokerConnection" in picture(a_table(Board()))
