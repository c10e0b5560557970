"""Where each program begins: it listens to signals before it imports anything large.

A program that runs until it is stopped ends with 0 when it is. One that answers a question has not
answered it then, and must not end as if it had: its exit code is 128 and the signal's number, as a
shell has it.
"""

import sys
from collections.abc import Collection, Sequence
from typing import Final

from springline import early_end

__all__ = ["kubectl_springline", "springline"]

_RUN_UNTIL_STOPPED: Final = frozenset({"run", "operator"})
_FOLLOW_UNTIL_STOPPED: Final = frozenset({"watch"})

_DONE: Final = 0
_SIGNALLED: Final = 128


def springline() -> None:
    """Be `springline`."""
    _listen(sys.argv[1:2], _RUN_UNTIL_STOPPED)
    from springline.cli import main  # noqa: PLC0415 - large libraries

    main()


def kubectl_springline() -> None:
    """Be `kubectl springline`, whatever the file that was started is called."""
    # Options may stand in front of the command.
    _listen(sys.argv[1:], _FOLLOW_UNTIL_STOPPED)
    from springline.plugin.cli import run  # noqa: PLC0415 - large libraries

    run()


def _listen(words: Sequence[str], until_stopped: Collection[str]) -> None:
    has_no_answer = any(word in until_stopped for word in words)
    early_end.listen(lambda number: _DONE if has_no_answer else _SIGNALLED + number)
