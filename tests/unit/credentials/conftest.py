"""Everything here is read from objects that the test puts into place."""

import pytest

from support.objects import FakeReader


@pytest.fixture
def reader() -> FakeReader:
    """A reader that holds nothing yet."""
    return FakeReader()
