"""`core.ports.Connection` for AMQP 1.0: blocked, probed, renewed, closed, and how it ended.

It owns one wire, the session that was begun at opening, and what keeps the declared links.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Mapping

from springline import wheel
from springline.core.ports import ConnectionObserver
from springline.core.values import Block, ClosedBy, CloseInfo, Credential, OpenInfo
from springline.drivers.amqp10 import conditions
from springline.drivers.amqp10.blocking import Blocking
from springline.drivers.amqp10.endpoints import EndedError
from springline.drivers.amqp10.engine import EngineSession
from springline.drivers.amqp10.links import Links
from springline.drivers.amqp10.negotiated import Amqp10Negotiated, SessionWindows
from springline.drivers.amqp10.probe import Probe
from springline.drivers.amqp10.probe_target import Amqp10ProbeTarget
from springline.drivers.amqp10.renewal import Renewal
from springline.drivers.amqp10.wire import Wire
from springline.drivers.shared.line import CLOSE_GRACE
from springline.drivers.shared.told import Told
from springline.errors import NotOpenError
from springline.reasons import Reason

__all__ = ["Amqp10Connection"]


class Amqp10Connection:
    """One open AMQP 1.0 connection with its session."""

    __slots__ = (
        "_blocking",
        "_closed_by_us",
        "_info",
        "_links",
        "_probe",
        "_renewal",
        "_session",
        "_told",
        "_wire",
    )

    def __init__(
        self,
        wire: Wire,
        session: EngineSession,
        info: OpenInfo,
        *,
        links: Links,
        probe: Probe,
        renewal: Renewal,
    ) -> None:
        self._wire = wire
        self._session = session
        self._info = info
        self._links = links
        self._probe = probe
        self._renewal = renewal
        self._blocking = Blocking(session, links)
        self._told = Told()
        self._closed_by_us: CloseInfo | None = None
        wire.on_change = self._look
        wire.on_over = self._tell_closed
        links.on_change = self._refresh
        self._look()
        links.start()

    # What is known

    @property
    def info(self) -> OpenInfo:
        """What was negotiated, with whom; links and windows as they are now."""
        return self._info

    @property
    def is_open(self) -> bool:
        """True until a close begins, on either side, of the connection or of its session."""
        return self._closed_by_us is None and not self._wire.is_ending and self._session.is_open

    @property
    def blocked(self) -> Block | None:
        """Why, while the broker takes nothing in; else None."""
        return self._told.block if self.is_open else None

    @property
    def cannot_renew(self) -> str:
        """Why this broker has no way of renewing a secret in place; empty if it has."""
        return self._renewal.impossible

    def observe(self, observer: ConnectionObserver) -> None:
        """Name the one observer. What happened before is told at once."""
        self._told.observe(self, observer)

    # What is asked for

    async def probe(
        self,
        target: Amqp10ProbeTarget,  # noqa: ARG002 - what is declared is in the parameters
        *,
        lifetime: float | None = None,
        timeout: float,
    ) -> float | None:
        """Have the broker take something in, and return the seconds until it did; None if blocked.

        With an address to send to, that is a message which expires after `lifetime` seconds;
        without one, a session that is begun and ended, where the broker shows a block by that.
        """
        self._require_open()
        if self._is_blocked():
            return None  # its end is told without being asked
        try:
            seconds = await self._probe.run(lifetime=lifetime, timeout=timeout)
        except EndedError:
            raise NotOpenError from None
        self._require_open()
        return None if self._is_blocked() else seconds

    async def renew(self, credential: Credential, *, timeout: float) -> None:
        """Renew the secret in place, in the way that this broker has for it.

        Raises `SecretRefusedError`, `SecretNotSentError`, `SecretUpdateTimeoutError` and
        `NotOpenError` as the port has them.
        """
        self._require_open()
        await self._renewal.run(credential, self._session, timeout=timeout)
        self._require_open()

    # The end

    @property
    def close_codes(self) -> Mapping[str, int]:
        """None: AMQP 1.0 closes without a number."""
        return {}

    async def close(self, *, text: str = "", condition: str = "", timeout: float = 3.0) -> None:
        """Say Close, wait for the peer's at most `timeout` seconds, release.

        With a `condition`, an error condition's symbol, it is said to be an error, with the text.
        """
        self._require_open()
        self._begin_end(text)
        self._wire.engine.close(conditions.Condition(condition, text) if condition else None)
        self._wire.flush()
        try:
            async with wheel.limit(timeout):
                await self._wire.wait_over()
        except TimeoutError:
            await self._drop()
        except asyncio.CancelledError:
            self._wire.abort()
            raise

    def abort(self) -> None:
        """Drop the transport at once. Idempotent."""
        self._begin_end("dropped")
        self._wire.abort()

    async def wait_gone(self) -> None:
        """Wait until socket and task are gone; it causes no end. Safe to cancel."""
        await self._wire.wait_over()

    # Steps

    def _is_blocked(self) -> bool:
        return self._told.block is not None

    def _require_open(self) -> None:
        if not self.is_open:
            raise NotOpenError

    def _begin_end(self, text: str) -> None:
        if self.is_open:
            self._closed_by_us = CloseInfo(
                by=ClosedBy.CLIENT, reason=Reason.CLIENT_CLOSED, text=text
            )
        self._links.stop()

    async def _drop(self) -> None:
        self._wire.abort()
        with contextlib.suppress(TimeoutError):
            async with wheel.limit(CLOSE_GRACE):
                await self._wire.wait_over()

    def _look(self) -> None:
        """Take in what has come: the end of the session, a block, other windows."""
        if self._closed_by_us is not None:
            return
        if self._session.is_ended_by_peer and not self._wire.is_ending:
            self._end_with_session()
            return
        if self._wire.is_ending:
            self._links.stop()
            return
        self._links.look()
        self._told.blocked(self, self._blocking.block())
        self._refresh()

    def _end_with_session(self) -> None:
        """A connection whose session has ended is of no use: it is opened anew."""
        condition = self._session.remote_condition
        text = f"the broker ended the session: {conditions.shown(condition, self._wire.veil)}"
        self._closed_by_us = conditions.when_open(condition, by=ClosedBy.SERVER, text=text)
        self._links.stop()
        self._wire.engine.close()
        asyncio.get_running_loop().call_soon(self._wire.take_leave)

    def _refresh(self) -> None:
        """Tell what is otherwise than before, if anything."""
        negotiated = self._info.negotiated
        if not isinstance(negotiated, Amqp10Negotiated) or not self.is_open:
            return
        links, session = self._links.infos(), self._windows(negotiated.session)
        if links == negotiated.links and session == negotiated.session:
            return
        found = dataclasses.replace(negotiated, links=links, session=session)
        self._info = dataclasses.replace(self._info, negotiated=found)
        self._told.changed(self)

    def _windows(self, before: SessionWindows) -> SessionWindows:
        """Return the windows, with the peer's as it closes and opens it.

        Beside that they are what Begin said: they go up and down with each message.
        """
        windows = self._session.windows
        if windows is None or (windows.incoming and before.peer_incoming):
            return before
        return dataclasses.replace(before, peer_incoming=windows.incoming)

    def _tell_closed(self) -> None:
        self._told.closed(self, self._closed_by_us or self._wire.end_info())
