"""What is still there of some types without the garbage collector having looked.

A connection that has been open for long is old for the collector, which looks seldom at what is
old. So what ends has to be released by those who refer to it.
"""

import contextlib
import gc
import ssl
from collections import Counter
from collections.abc import Callable, Iterator

__all__ = ["watched"]


@contextlib.contextmanager
def watched(*modules: str) -> Iterator[Callable[[], dict[str, int]]]:
    """Stop the collector; yields what counts the objects that came since, by type.

    What counts is of modules whose names begin so, and what the client's side of TLS keeps.
    """
    gc.collect()
    gc.disable()
    before = _counted(modules)
    try:
        yield lambda: dict(_counted(modules) - before)
    finally:
        gc.enable()


def _counted(modules: tuple[str, ...]) -> Counter[str]:
    return Counter(
        f"{type(each).__module__}.{type(each).__qualname__}"
        for each in gc.get_objects()
        if str(type(each).__module__).startswith(modules)
        or (isinstance(each, ssl.SSLObject) and not each.server_side)
    )
