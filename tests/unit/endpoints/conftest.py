"""Everything here is read from what the test puts into place."""

import pytest

from support.fakes import FakeResolver, FakeServices
from support.objects import FakeReader


@pytest.fixture
def reader() -> FakeReader:
    """A reader that holds nothing yet."""
    return FakeReader()


@pytest.fixture
def resolver() -> FakeResolver:
    """A resolver that knows no SRV records yet."""
    return FakeResolver()


@pytest.fixture
def services() -> FakeServices:
    """A cluster in which nothing is ready yet."""
    return FakeServices()
