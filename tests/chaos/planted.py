"""Six defects that the suite has to find, planted into Springline's process by `subject`.

`make chaos-bugs` plants one after the other. Nothing of this is in Springline: what is planted
takes the place of a function or a method while one process lives.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

__all__ = ["BUGS", "plant"]

logger = logging.getLogger("springline.planted")

_kept: list[Any] = []
"""What a leak has leaked, so that nothing collects it."""


def plant(name: str) -> None:
    """Plant the defect of that name. Raises `KeyError`."""
    BUGS[name]()


def _replaced_stays_open() -> None:
    """A session does not close the connection that it has replaced."""
    from springline.core import closing, session

    unchanged = closing.close_quietly

    async def close_quietly(connection: Any, text: str) -> None:
        if text.startswith("replaced"):
            _kept.append(connection)
            return
        await unchanged(connection, text)

    session.__dict__["close_quietly"] = close_quietly


def _renewal_forgets() -> None:
    """A renewal in place forgets what it has brought to the connection."""
    from springline.core.keeper import Keeper

    def updated(
        self: Keeper,
        credential: Any,  # noqa: ARG001 - it is forgotten
        rotation: Any,
        *,
        verified_at: datetime | None,
    ) -> None:
        if self._live is not None:
            before = self._live.credential
            self._use_now(before, rotation, method="InPlace", verified_at=verified_at)

    Keeper.updated = updated  # type: ignore[method-assign]


def _ready_after_loss() -> None:
    """A status stays as it was when the session was open, whatever becomes of it."""
    from springline.core import status
    from springline.core.state import Phase

    unchanged = status.conditions
    open_once: dict[Any, Any] = {}

    def conditions(view: Any, **given: Any) -> Any:
        if view.state.phase is Phase.CONNECTED:
            open_once[view.key] = view.state
        elif view.key in open_once and view.state.phase is not Phase.SUSPENDED:
            view = dataclasses.replace(view, state=open_once[view.key])
        return unchanged(view, **given)

    status.conditions = conditions


def _task_for_each_attempt() -> None:
    """Every attempt leaves a task behind."""
    from springline.core import streams

    unchanged = streams.attempts

    def attempts(*given: Any, **named: Any) -> Any:
        _kept.append(asyncio.get_running_loop().create_task(asyncio.sleep(1e6), name="left"))
        return unchanged(*given, **named)

    streams.attempts = attempts


def _secret_in_log() -> None:
    """A refused login is logged with its password."""
    from springline.core.keeper import Keeper

    unchanged = Keeper.attempt_failed

    def attempt_failed(self: Keeper, error: Any) -> bool:
        if self._in_use is not None:
            logger.warning("attempt failed with %s", self._in_use.secret.reveal())
        return unchanged(self, error)

    Keeper.attempt_failed = attempt_failed  # type: ignore[method-assign]


def _task_for_each_dial() -> None:
    """Every connection that a session over HTTP opens anew leaves a task behind.

    An open socket would not do: the management interface closes what is idle within seconds.
    """
    from springline.drivers.http.client import HttpClient

    unchanged = HttpClient._dialled

    def _dialled(self: HttpClient, timeout: float) -> Any:
        _kept.append(asyncio.get_running_loop().create_task(asyncio.sleep(1e6), name="dialled"))
        return unchanged(self, timeout)

    HttpClient._dialled = _dialled  # type: ignore[method-assign]


BUGS: Mapping[str, Callable[[], None]] = {
    "replaced-stays-open": _replaced_stays_open,
    "renewal-forgets": _renewal_forgets,
    "ready-after-loss": _ready_after_loss,
    "task-for-each-attempt": _task_for_each_attempt,
    "secret-in-log": _secret_in_log,
    "task-for-each-dial": _task_for_each_dial,
}
