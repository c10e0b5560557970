"""Every numbered behaviour has a test that carries its number, and the table says which."""

from support import reference_table


def test_every_behaviour_has_a_test() -> None:
    """A number without a test is a promise that nobody checks."""
    assert reference_table.BEHAVIOURS.keys() - reference_table.proofs().keys() == set()


def test_no_test_carries_a_number_that_does_not_exist() -> None:
    """A number that nobody defined is a slip of the pen."""
    assert reference_table.proofs().keys() - reference_table.BEHAVIOURS.keys() == set()


def test_the_table_in_the_readme_is_in_step() -> None:
    """`python -m support.reference_table` in tests/ writes it anew."""
    assert reference_table.table_in_readme() == reference_table.table()
