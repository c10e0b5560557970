"""Where each program begins: it listens to signals before it imports anything large.

A program that runs until it is stopped ends with 0 when it is. One that answers a question has not
answered it then, and must not end as if it had: its exit code is 128 and the signal's number, as a
shell has it.
"""

import errno
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Final

from springline import early_end

__all__ = ["kubectl_springline", "springline"]

_RUN_UNTIL_STOPPED: Final = frozenset({"run", "operator"})
_FOLLOW_UNTIL_STOPPED: Final = frozenset({"watch"})

_UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

_DONE: Final = 0
_UNWRITTEN: Final = 2
_SIGNALLED: Final = 128


def springline() -> None:
    """Be `springline`."""
    _open_standard_streams()
    _listen(sys.argv[1:2], _RUN_UNTIL_STOPPED)
    from springline.cli import main  # noqa: PLC0415 - large libraries

    _run(main)


def kubectl_springline() -> None:
    """Be `kubectl springline`, whatever the file that was started is called."""
    _open_standard_streams()
    # Options may stand in front of the command.
    _listen(sys.argv[1:], _FOLLOW_UNTIL_STOPPED)
    from springline.plugin.cli import run  # noqa: PLC0415 - large libraries

    _run(run)


def _run(program: Callable[[], None]) -> None:
    """Run it, and tell in one line that its output meets a full disk, or the like."""
    try:
        program()
    except OSError as error:
        # Whatever writes files has an answer of its own to that.
        if error.errno not in _UNWRITABLE:
            raise
        problem = error.strerror
    else:
        return
    # What is left in a buffer would make the interpreter fail at the very end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.stderr.write(f"error: standard output cannot be written: {problem}\n")
    raise SystemExit(_UNWRITTEN)


def _open_standard_streams() -> None:
    """Open those that whoever started the process has closed, so that they lead nowhere.

    Otherwise a connection to a broker would get their numbers, and what the system's libraries
    write to standard error would go there.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _listen(words: Sequence[str], until_stopped: Collection[str]) -> None:
    has_no_answer = any(word in until_stopped for word in words)
    early_end.listen(lambda number: _DONE if has_no_answer else _SIGNALLED + number)
