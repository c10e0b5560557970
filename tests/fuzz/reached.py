"""Which lines of Springline a case has reached that none before it did.

From Python 3.12 on sys.monitoring tells each line once, which costs next to nothing. Before, it is
sys.settrace, which looks at functions only as long as they have lines left.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import springline

__all__ = ["Reached"]

_PACKAGE = str(Path(springline.__file__).parent)
_TOOL = 4
"""Of the numbers for tools of sys.monitoring, one that no standard tool has."""


class Reached:
    """The lines that were reached while `watching`."""

    def __init__(self) -> None:
        self.lines: set[tuple[str, int]] = set()
        self._left: dict[CodeType, set[int] | None] = {}
        """Lines that a function has left; None for one that is not Springline's."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take note of lines in this thread."""
        watching = self._monitored() if sys.version_info >= (3, 12) else self._traced()
        with watching:
            yield

    # From Python 3.12 on

    @contextmanager
    def _monitored(self) -> Iterator[None]:
        monitoring: Any = vars(sys)["monitoring"]
        disable = monitoring.DISABLE

        def on_line(code: CodeType, line: int) -> Any:
            if code.co_filename.startswith(_PACKAGE):
                self.lines.add((code.co_filename, line))
            return disable

        monitoring.use_tool_id(_TOOL, "springline-fuzz")
        try:
            monitoring.restart_events()
            monitoring.register_callback(_TOOL, monitoring.events.LINE, on_line)
            monitoring.set_events(_TOOL, monitoring.events.LINE)
            yield
        finally:
            monitoring.set_events(_TOOL, 0)
            monitoring.register_callback(_TOOL, monitoring.events.LINE, None)
            monitoring.free_tool_id(_TOOL)

    # Before

    @contextmanager
    def _traced(self) -> Iterator[None]:
        former = sys.gettrace()
        sys.settrace(self._on_call)
        try:
            yield
        finally:
            sys.settrace(former)

    def _on_call(self, frame: FrameType, event: str, given: Any) -> "Callable[..., Any] | None":  # noqa: ARG002 - a tracer's
        code = frame.f_code
        if code not in self._left:
            is_ours = code.co_filename.startswith(_PACKAGE)
            lines = {line for _, _, line in code.co_lines() if line is not None}
            self._left[code] = lines if is_ours else None
        return self._on_line if self._left[code] else None

    def _on_line(self, frame: FrameType, event: str, given: Any) -> "Callable[..., Any] | None":  # noqa: ARG002 - a tracer's
        left = self._left[frame.f_code]
        if event == "line" and left and frame.f_lineno in left:
            left.discard(frame.f_lineno)
            self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._on_line
