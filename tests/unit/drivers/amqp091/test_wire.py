"""The private parts of aiormq that are replaced are still there to be replaced."""

import inspect

import aiormq
import pytest

from springline.drivers.amqp091.wire import WireConnection

OVERRIDDEN = sorted(
    name
    for name, value in vars(WireConnection).items()
    if name.startswith("_") and not name.startswith("__") and inspect.isfunction(value)
)
OURS = {
    *("_await_open_ok", "_check_over", "_end", "_log_in", "_object", "_receive"),
    *("_respond", "_tune"),
}


@pytest.mark.parametrize("name", [name for name in OVERRIDDEN if name not in OURS])
def test_what_is_overridden_exists_in_aiormq(name: str) -> None:
    """A new aiormq that renames one would silently go its own way."""
    assert hasattr(aiormq.Connection, name)
