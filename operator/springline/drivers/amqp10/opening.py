"""From an address to an open connection: dial, log in, Open, Begin."""

import asyncio
import dataclasses
from datetime import timedelta
from typing import Final

from springline import wheel
from springline.core.values import CredentialKind, OpenInfo, OpenRequest
from springline.drivers.amqp10 import bounds, conditions, errors, habits, sasl_layer
from springline.drivers.amqp10.connection import Amqp10Connection
from springline.drivers.amqp10.endpoints import EndedError
from springline.drivers.amqp10.engine import Engine, EngineSession, Opening
from springline.drivers.amqp10.errors import Amqp10Progress, HandshakeStep
from springline.drivers.amqp10.frames import AMQP_HEADER, MIN_MAX_FRAME_SIZE
from springline.drivers.amqp10.links import Links
from springline.drivers.amqp10.negotiated import Amqp10Negotiated, SessionWindows
from springline.drivers.amqp10.parameters import Amqp10Parameters
from springline.drivers.amqp10.peer import PeerOpen
from springline.drivers.amqp10.probe import Probe
from springline.drivers.amqp10.renewal import Renewal
from springline.drivers.amqp10.sasl_layer import LoggedIn
from springline.drivers.amqp10.wire import Wire
from springline.drivers.shared import dialling, hints, tls_handshake
from springline.drivers.shared.inbound import InboundBudget
from springline.drivers.shared.line import CLOSE_GRACE, Line
from springline.drivers.shared.progress import TransportStep
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    RejectedError,
    TransientError,
)
from springline.reasons import Reason

__all__ = ["Attempt"]

_SOLE_CONNECTION: Final = "sole-connection-for-container"


class _AnotherHabitError(Exception):
    """The broker is not one that is told a virtual host in the way in which this was told."""


class Attempt:
    """One attempt to open."""

    def __init__(self, request: OpenRequest[Amqp10Parameters], deadline: float) -> None:
        self._request = request
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._progress = Amqp10Progress(
            endpoint=request.endpoint,
            timeout=request.timeout,
            place=str(request.parameters.place),
        )

    async def run(self) -> Amqp10Connection:
        """Open, and once more where the broker turns out to want another host name.

        What is asked for is told to RabbitMQ in another form than to everybody else, and who it is
        a broker says only afterwards. Safe to cancel.
        """
        names = habits.hostnames(self._request.parameters.virtual_host, self._request.endpoint.host)
        with errors.translated(self._progress):
            async with wheel.limit(self._deadline - self._loop.time()):
                for name in names[:-1]:
                    try:
                        return await self._open(name, is_last=False)
                    except _AnotherHabitError:
                        continue
                return await self._open(names[-1], is_last=True)

    async def _open(self, hostname: str, *, is_last: bool) -> Amqp10Connection:
        self._progress.step = TransportStep.TCP
        reader = asyncio.StreamReader(bounds.READ_OCTETS, loop=self._loop)
        line = await dialling.dial(self._request, self._progress, reader)
        try:
            logged_in = await sasl_layer.log_in(
                self._request, hostname, reader=reader, write=line.write, progress=self._progress
            )
            return await self._begin(line, logged_in, hostname, is_last=is_last)
        except BaseException:
            line.abort()
            await line.wait_lost()
            raise

    async def _begin(
        self,
        line: Line[asyncio.StreamReader],
        logged_in: LoggedIn,
        hostname: str,
        *,
        is_last: bool,
    ) -> Amqp10Connection:
        """Exchange Open and Begin on a line that is logged in."""
        parameters = self._request.parameters
        budget = InboundBudget(self._loop)
        engine = Engine(self._opening(hostname), charge=budget.take)
        wire = Wire(
            line,
            engine,
            budget,
            heartbeat_seconds=parameters.heartbeat_seconds,
            veil=self._request.veil,
        )
        self._progress.step = HandshakeStep.OPEN
        self._progress.opened_at = self._loop.time()
        try:
            wire.flush()
            await sasl_layer.read_header(AMQP_HEADER, line.reader, is_after_login=True)
            engine.receive_header()
            wire.start(parameters.connection_name)
            peer = await self._opened(wire, is_last=is_last)
            session = await self._begun(wire)
            return self._connection(wire, session, peer, logged_in)
        except _AnotherHabitError:
            await self._leave(wire)
            raise
        except BaseException:
            wire.abort()
            await wire.wait_over()
            raise

    async def _opened(self, wire: Wire, *, is_last: bool) -> PeerOpen:
        """Wait for the peer's Open. A broker that refuses may send an Open before its Close."""
        engine = wire.engine
        try:
            peer = await wire.until(lambda: engine.peer)
        except EndedError as error:
            raise self._refused(wire, error) from None
        if not is_last and not habits.broker(peer).is_rabbitmq:
            raise _AnotherHabitError
        if 0 < peer.idle_seconds < bounds.LEAST_IDLE_SECONDS:
            raise RejectedError(
                Reason.NEGOTIATION_FAILED,
                f"{self._progress.where}: the peer demands a sign of life every"
                f" {peer.idle_seconds:g} s; {bounds.LEAST_IDLE_SECONDS:g} s is the least",
                authenticated=True,
            )
        return peer

    @staticmethod
    async def _leave(wire: Wire) -> None:
        """Close in order: the broker may take one connection of a container at a time."""
        try:
            wire.engine.close()
            wire.flush()
            async with wheel.limit(CLOSE_GRACE):
                await wire.wait_over()
        except TimeoutError:
            pass
        finally:
            wire.abort()
            await wire.wait_over()

    async def _begun(self, wire: Wire) -> EngineSession:
        parameters = self._request.parameters
        self._progress.step = HandshakeStep.BEGIN
        session = wire.engine.begin(
            incoming_capacity=parameters.incoming_capacity,
            outgoing_window=parameters.outgoing_window,
        )
        wire.flush()
        try:
            await wire.until(lambda: session.is_open or session.is_ended_by_peer or None)
        except EndedError as error:
            raise self._refused(wire, error) from None
        if session.is_ended_by_peer:
            raise self._error(session.remote_condition, wire)
        self._check_frames(wire)
        return session

    def _check_frames(self, wire: Wire) -> None:
        """Not sooner: a broker that refuses may say anything in its Open."""
        peer = wire.engine.peer
        if peer is not None and 0 < peer.max_frame_size < MIN_MAX_FRAME_SIZE:
            raise RejectedError(
                Reason.NEGOTIATION_FAILED,
                f"{self._progress.where}: the peer takes frames of {peer.max_frame_size} octets,"
                f" and {MIN_MAX_FRAME_SIZE} are the least (max-frame-size)",
                authenticated=True,
            )

    def _refused(self, wire: Wire, error: EndedError) -> Exception:
        """Return what it means that the connection has ended instead of being open."""
        if wire.engine.is_closed_by_peer:
            return self._error(error.condition, wire)
        lost = wire.lost_error
        if lost is not None:
            return lost
        info = wire.end_info()
        if info.reason is Reason.PEER_CLOSED:
            return EOFError()
        family = TransientError if info.reason is Reason.HEARTBEAT_MISSED else RejectedError
        text = f"{self._progress.where}: {info.text}"
        return family(info.reason, text, authenticated=self._progress.authenticated)

    def _error(self, condition: conditions.Condition | None, wire: Wire) -> ConnectError:
        """Return the error for a Close, or an End, with this condition."""
        means = conditions.meaning(condition)
        shown = conditions.shown(condition, wire.veil)
        if means.is_expired:
            return CredentialRejectedError(
                Reason.ACCESS_REFUSED, f"{means.says}: {shown}", says_expired=True
            )
        parameters = self._request.parameters
        if parameters.sole_connection and conditions.may_be_of_container(condition):
            # Another one of ours, perhaps, that the broker has not missed yet.
            return TransientError(
                Reason.CONNECTION_LIMIT_REACHED,
                f'the container "{parameters.container_id}" has a connection already, and'
                f" spec.amqp10.soleConnection is true: {shown}",
                authenticated=True,
            )
        if means.reason is Reason.ACCESS_REFUSED and self._is_a_stranger:
            hint = hints.on_refused_login(self._request.credential, self._request.address)
            text = f"{means.says}: {shown}" + (f" ({hint})" if hint else "")
            return CredentialRejectedError(means.reason, text)
        text = f"{means.says} ({self._progress.place}): {shown}"
        return means.family(means.reason, text, authenticated=True)

    @property
    def _is_a_stranger(self) -> bool:
        """Whether SASL has proved nothing, so that a refusal is about who we are."""
        return self._request.credential.kind is CredentialKind.ANONYMOUS

    # Values

    def _opening(self, hostname: str) -> Opening:
        parameters = self._request.parameters
        frame_max = parameters.frame_max or bounds.LONGEST_FRAME
        return Opening(
            container_id=parameters.container_id,
            hostname=hostname,
            heartbeat_seconds=parameters.heartbeat_seconds,
            max_frame_size=min(frame_max, bounds.LONGEST_FRAME),
            channel_max=parameters.channel_max or 0xFFFF,
            locales=parameters.locales,
            properties=parameters.client_properties,
            desired_capabilities=(_SOLE_CONNECTION,) if parameters.sole_connection else (),
        )

    def _connection(
        self,
        wire: Wire,
        session: EngineSession,
        peer: PeerOpen,
        logged_in: LoggedIn,
    ) -> Amqp10Connection:
        parameters = self._request.parameters
        broker = habits.broker(peer)
        links = Links(wire, parameters)
        info = OpenInfo(
            endpoint=self._request.endpoint,
            address=self._progress.address,
            negotiated=self._negotiated(wire, session, peer, logged_in),
            server=dataclasses.replace(
                habits.server_info(peer, wire.veil), mechanisms=logged_in.offered
            ),
            proved=logged_in.mechanism != "ANONYMOUS",
        )
        return Amqp10Connection(
            wire,
            session,
            info,
            links=links,
            probe=Probe(wire, parameters, broker),
            renewal=Renewal(
                wire,
                broker,
                offers_cbs=habits.offers_cbs(peer, self._request.endpoint.host),
                host=self._request.endpoint.host,
                mechanism=logged_in.mechanism,
            ),
        )

    def _negotiated(
        self,
        wire: Wire,
        session: EngineSession,
        peer: PeerOpen,
        logged_in: LoggedIn,
    ) -> Amqp10Negotiated:
        parameters, opening = self._request.parameters, wire.engine.opening
        own, theirs = session.own_windows, session.windows
        if own is None or theirs is None:
            raise RuntimeError("a session that is open has windows")
        return Amqp10Negotiated(
            mechanism=logged_in.mechanism,
            heartbeat_seconds=parameters.heartbeat_seconds,
            tls=tls_handshake.tls_info(wire.line.transport, self._request.tls),
            container_id=opening.container_id,
            hostname=opening.hostname,
            user=self._request.credential.username,
            peer_container_id=habits.shown(peer.container_id, wire.veil),
            idle_timeout=timedelta(seconds=2 * parameters.heartbeat_seconds),
            peer_idle_timeout=timedelta(seconds=peer.idle_seconds),
            max_frame_size=opening.max_frame_size,
            peer_max_frame_size=peer.max_frame_size,
            channel_max=opening.channel_max,
            peer_channel_max=peer.channel_max,
            session=SessionWindows(
                incoming=own.incoming,
                outgoing=own.outgoing,
                peer_incoming=theirs.incoming,
                peer_outgoing=theirs.outgoing,
            ),
            offered_capabilities=habits.names(peer.offered_capabilities, wire.veil),
            desired_capabilities=habits.names(peer.desired_capabilities, wire.veil),
            peer_properties=habits.properties(peer, wire.veil),
            client_properties=parameters.client_properties,
        )
