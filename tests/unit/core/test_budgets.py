"""How much of something one tenant may have."""

from springline.core.budgets import Allowance, Budget, Budgets

THREE = Allowance(burst=3, refill_seconds=10.0)


def test_so_many_are_allowed_at_once_and_then_one_now_and_again() -> None:
    budget = Budget(THREE, now=0.0)
    assert [budget.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert budget.next_at(0.0) == 10.0
    assert not budget.take(9.9)
    assert budget.take(10.0)
    assert not budget.take(10.0)


def test_a_budget_that_is_not_used_becomes_full_and_no_more() -> None:
    budget = Budget(THREE, now=0.0)
    for _ in range(3):
        budget.take(0.0)
    assert not budget.is_full(29.0)
    assert budget.is_full(1000.0)
    assert [budget.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_there_is_one_at_once_while_something_is_left() -> None:
    budget = Budget(THREE, now=5.0)
    assert budget.next_at(5.0) == 5.0


def test_what_is_spent_beyond_it_is_paid_back_later() -> None:
    budget = Budget(THREE, now=0.0)
    for _ in range(5):
        budget.spend(0.0)
    assert budget.next_at(0.0) == 30.0
    assert budget.take(30.0)
    assert not budget.take(30.0)


def test_each_key_has_a_budget_of_its_own() -> None:
    budgets: Budgets[str] = Budgets(THREE)
    assert [budgets.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert budgets.take("b", 0.0)


def test_budgets_that_are_full_again_take_no_room() -> None:
    budgets: Budgets[int] = Budgets(THREE)
    for number in range(20_000):
        budgets.take(number, float(number))
    assert len(budgets) <= 2000
