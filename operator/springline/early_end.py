"""What a signal that asks for the end means until a command has begun, and after it has ended.

Importing the libraries of a command takes longer than anything else about its start. A signal in
that time finds nothing open, so there is nothing to close: it is an end at once. While the command
runs signals are `shutdown`'s. When it has ended, its exit code is decided, and stays.
"""

import atexit
import os
import signal
from collections.abc import Callable
from typing import Final, NoReturn

__all__ = ["SIGNALS", "listen"]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def listen(code: Callable[[int], int]) -> None:
    """Have the signals end this process at once, with the exit code that `code` says.

    Whoever starts the process may have blocked them, so that none meets the interpreter before it
    has come here; from now on they arrive.
    """

    def end(number: int, _: object) -> NoReturn:
        # Not by an exception: in the middle of an import somebody could take it for a failure of
        # that, or drop it.
        os._exit(code(number))

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    # After all threads and every other function of the kind. The interpreter gives signals their
    # defaults back then, and takes its time for the rest.
    atexit.register(_ignore)


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
