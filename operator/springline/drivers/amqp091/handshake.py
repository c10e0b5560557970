"""The open handshake of AMQP 0-9-1, without a socket: what is due, what is answered, what follows.

It is handed one decoded frame after the other and returns the octets to send. Whoever drives it
reads, writes, keeps the time and sends the protocol header. Heartbeats, and a Close, may come in
between.

    step    due             answered with          then
    START   Start           Start-Ok               LOGIN
    LOGIN   Secure          Secure-Ok              LOGIN
            Tune            Tune-Ok and Open       OPEN
    OPEN    Open-Ok                                it is done: `is_done`, `agreed`
    any     Close           Close-Ok               it is over: `refusal`
    any     anything else                          `ProtocolMismatch` is raised

What the values in these frames come to is in greeting.py, mechanisms.py, tuning.py and replies.py.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from pamqp import commands as spec
from pamqp.frame import FrameTypes
from pamqp.heartbeat import Heartbeat

from springline.core.values import OpenRequest
from springline.drivers.amqp091 import errors, frames, greeting, mechanisms, replies, tuning
from springline.drivers.amqp091.errors import HandshakeProgress, HandshakeStep
from springline.drivers.amqp091.lengths import FRAME_OVERHEAD, Login
from springline.drivers.amqp091.mechanisms import Exchange
from springline.drivers.amqp091.negotiated import Amqp091ServerInfo
from springline.drivers.amqp091.parameters import Amqp091Parameters
from springline.drivers.amqp091.replies import Close
from springline.drivers.amqp091.tuning import Limits
from springline.drivers.shared import hints, sasl
from springline.errors import ConnectError

__all__ = ["Agreed", "Handshake"]

_VERSION = (0, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What came of a handshake. No secret is in it."""

    server: Amqp091ServerInfo
    mechanism: str
    locale: str
    limits: Limits
    client_properties: Mapping[str, str]
    """As sent, without the capability table."""
    can_confirm: bool
    """Whether the broker confirms what is published."""
    has_extensions: bool
    """Whether the broker tells of any extension of AMQP 0-9-1."""


class Handshake:
    """One open handshake. It holds the credential, so drop it when it is over."""

    __slots__ = (
        "_can_confirm",
        "_client_properties",
        "_closed",
        "_exchange",
        "_has_extensions",
        "_locale",
        "_progress",
        "_request",
        "_server",
        "_step",
        "agreed",
        "is_done",
        "limits",
    )

    # Known from Start on.
    _server: Amqp091ServerInfo
    _can_confirm: bool
    _has_extensions: bool
    _locale: str
    _exchange: Exchange

    limits: Limits
    """Known from Tune on."""

    agreed: Agreed
    """Known from Open-Ok on."""

    is_done: bool
    """Whether Open-Ok has come."""

    def __init__(
        self, request: OpenRequest[Amqp091Parameters], progress: HandshakeProgress
    ) -> None:
        """Begin; `progress` is told of each step."""
        self._request = request
        self._progress = progress
        self._client_properties = greeting.client_properties(request.parameters)
        self._closed: Close | None = None
        self.is_done = False
        self._go_to(HandshakeStep.START)

    @property
    def refusal(self) -> ConnectError | None:
        """What the broker's Close means, if one has come (R1.7). Raise it when Close-Ok is sent."""
        # It is made when it is asked for: one that is kept would keep the credential, too, by way
        # of its traceback.
        if self._closed is None:
            return None
        return replies.at_open(
            self._closed,
            authenticated=self._progress.authenticated,
            hint=hints.on_refused_login(self._request.credential, self._progress.address),
        )

    def receive(self, frame: FrameTypes) -> bytes:
        """Take in the next frame of the peer, and return what to send now; it may be empty.

        Raises the `ConnectError` of what cannot go on, and then nothing more is to be sent.
        """
        if self.is_done or self._closed is not None:
            raise RuntimeError("the handshake is over")
        match frame:
            case spec.Connection.Close():
                return self._close(frame)
            case Heartbeat() if self._step is not HandshakeStep.START:
                # Tune-Ok starts the broker's clock; opening a virtual host can take longer.
                return frames.marshalled(frame)
            case _:
                return self._proceed(frame)

    def _proceed(self, frame: FrameTypes) -> bytes:
        match self._step:
            case HandshakeStep.START:
                if isinstance(frame, spec.Connection.Start):
                    return self._start(frame)
                due = spec.Connection.Start.name
            case HandshakeStep.LOGIN:
                if isinstance(frame, spec.Connection.Secure):
                    return self._secure()
                if isinstance(frame, spec.Connection.Tune):
                    return self._tune(frame)
                due = spec.Connection.Tune.name
            case HandshakeStep.OPEN:
                if isinstance(frame, spec.Connection.OpenOk):
                    return self._open_ok()
                due = spec.Connection.OpenOk.name
            case _:
                assert_never(self._step)
        raise errors.unexpected_frame(frames.name(frame), due)

    def _start(self, frame: spec.Connection.Start) -> bytes:
        """Read all that Start says (R1.1), and log in (R1.2)."""
        request = self._request
        parameters = request.parameters
        version = (frame.version_major, frame.version_minor)
        if version != _VERSION:
            raise errors.mismatch(f"a Connection.Start of version {version[0]}-{version[1]}")
        server = self._server = greeting.server_info(
            frame.server_properties,
            mechanisms=frame.mechanisms,
            locales=frame.locales,
            veil=request.veil,
        )
        self._can_confirm = greeting.can_confirm(frame.server_properties)
        self._has_extensions = greeting.has_extensions(frame.server_properties)
        self._locale = greeting.choose_locale(parameters.locale, server.locales)
        mechanism = sasl.choose(
            mechanisms.TABLE, parameters.sasl, server.mechanisms, request.credential, request.tls
        )
        self._exchange = mechanisms.start(mechanism, request.credential)
        response = self._exchange.initial()
        self._go_to(HandshakeStep.LOGIN)
        return self._log_in(
            spec.Connection.StartOk(
                client_properties={
                    **self._client_properties,
                    "capabilities": greeting.CAPABILITIES,
                },
                mechanism=mechanism,
                response=response,
                locale=self._locale,
            ),
            len(response.encode()),
        )

    def _secure(self) -> bytes:
        """Answer a challenge (R1.3)."""
        response = self._exchange.respond()
        return self._log_in(spec.Connection.SecureOk(response=response), len(response.encode()))

    def _log_in(
        self, frame: spec.Connection.StartOk | spec.Connection.SecureOk, response_octets: int
    ) -> bytes:
        octets = frames.marshalled(frame)
        self._progress.login = Login(
            server=self._server,
            octets=len(octets) - FRAME_OVERHEAD,
            response_octets=response_octets,
        )
        return octets

    def _tune(self, frame: spec.Connection.Tune) -> bytes:
        """Settle the limits (R1.4, R1.5), and open the virtual host (R1.6)."""
        parameters = self._request.parameters
        limits = self.limits = tuning.negotiate(
            proposed=Limits(
                channel_max=frame.channel_max,
                frame_max=frame.frame_max,
                heartbeat_seconds=frame.heartbeat,
            ),
            declared=Limits(
                channel_max=parameters.channel_max,
                frame_max=parameters.frame_max,
                heartbeat_seconds=parameters.heartbeat_seconds,
            ),
        )
        self._go_to(HandshakeStep.OPEN)
        return _tune_ok_and_open(limits, parameters.virtual_host)

    def _open_ok(self) -> bytes:
        self.agreed = Agreed(
            server=self._server,
            mechanism=self._exchange.name,
            locale=self._locale,
            limits=self.limits,
            client_properties=self._client_properties,
            can_confirm=self._can_confirm,
            has_extensions=self._has_extensions,
        )
        self.is_done = True
        return b""

    def _close(self, frame: spec.Connection.Close) -> bytes:
        """Keep what a Close says, and answer it (R1.8)."""
        self._closed = frames.read_close(frame, self._request.veil)
        return frames.marshalled(spec.Connection.CloseOk())

    def _go_to(self, step: HandshakeStep) -> None:
        self._step = self._progress.step = step


@functools.lru_cache(maxsize=256)
def _tune_ok_and_open(limits: Limits, virtual_host: str) -> bytes:
    """Return what Tune is answered with. Thousands of connections say the same.

    Nothing answers Tune-Ok, so nothing has to be waited for in between.
    """
    return frames.marshalled(
        spec.Connection.TuneOk(
            channel_max=limits.channel_max,
            frame_max=limits.frame_max,
            heartbeat=limits.heartbeat_seconds,
        ),
        spec.Connection.Open(virtual_host=virtual_host),
    )
