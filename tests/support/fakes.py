"""The outside as the core sees it, played by objects that do what a test tells them.

Each fake keeps the promises of its port in core/ports.py. What happens is noted in one journal that
the fakes of a test share, so that the order across them can be proven.
"""

import asyncio
import enum
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from springline import errors
from springline.core import ports
from springline.core.events import Event, EventType
from springline.core.values import (
    Block,
    ClosedBy,
    CloseInfo,
    Credential,
    Endpoint,
    OpenInfo,
    OpenRequest,
    ResolvedEndpoint,
    TLSClient,
)
from springline.reasons import Reason
from support import builders

__all__ = [
    "SILENCE",
    "FakeConnection",
    "FakeCredentialSource",
    "FakeDriver",
    "FakeEndpointSource",
    "FakeResolver",
    "FakeServices",
    "FakeTLSSource",
    "RecordingEvents",
    "Silence",
    "Witness",
]

T = TypeVar("T")


class Silence(enum.Enum):
    """The answer that never comes."""

    SILENCE = "silence"


SILENCE = Silence.SILENCE


async def _given(answer: "T | Exception | Silence") -> T:
    """Give the answer: return it, raise it, or never come back."""
    if isinstance(answer, Exception):
        raise answer
    while isinstance(answer, Silence):
        await asyncio.get_running_loop().create_future()
    return answer


class Witness(Protocol):
    """Sees what is done to connections, at the moment before it is done."""

    def opened(self, connection: "FakeConnection", request: OpenRequest[Any]) -> None:
        """It has been opened so."""

    def to_be_updated(self, connection: "FakeConnection", credential: Credential) -> None:
        """update-secret is about to be sent."""

    def to_be_closed(self, connection: "FakeConnection") -> None:
        """We are about to close or abort it."""


class _Nobody:
    """A witness who looks away."""

    def opened(self, connection: "FakeConnection", request: OpenRequest[Any]) -> None:
        pass

    def to_be_updated(self, connection: "FakeConnection", credential: Credential) -> None:
        pass

    def to_be_closed(self, connection: "FakeConnection") -> None:
        pass


class FakeConnection:
    """An open connection whose broker is the test, as `core.ports.Connection`."""

    def __init__(
        self, info: OpenInfo, *, name: str = "connection", journal: list[str] | None = None
    ) -> None:
        self.name = name
        self.witness: Witness = _Nobody()
        self.credential: Credential | None = None
        """What its broker takes it to have logged in with; None where nobody can tell."""
        self.is_updating = False
        """Whether an update-secret is waiting for its answer."""
        self.cannot_renew = ""
        self.close_codes = {"code": 200, "classID": 0, "methodID": 0}
        self.probe_answer: float | Exception | Silence = 0.002
        self.update_answer: Exception | Silence | None = None
        self.close_answer: Silence | None = None
        self.probes: list[tuple[str, str]] = []
        self.probe_options: list[tuple[bool, float | None]] = []
        """Whether into a queue of its own, and how long each message lives."""
        self.updates: list[Credential] = []
        self.close_texts: list[str] = []
        self.was_aborted = False
        self._info = info
        self._journal = journal if journal is not None else []
        self._is_open = True
        self._ended: CloseInfo | None = None
        self._blocked: Block | None = None
        self._observer: ports.ConnectionObserver | None = None
        self._probing: asyncio.Future[float | None] | None = None
        self._update_unanswered = False
        self._update_confirmed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{self.name}>"

    # --- what the test does

    def confirm_update(self) -> None:
        """Say, as the broker, Ok to the update that was met with silence, and to those to come."""
        self.update_answer = None
        self._update_confirmed.set()

    def block(self, text: str = "low on memory", reason: Reason = Reason.LOW_ON_MEMORY) -> None:
        """Say, as the broker, that this connection is blocked."""
        self._blocked = block = builders.a_block(text, reason)
        if self._probing is not None and not self._probing.done():
            self._probing.set_result(None)
        if self._observer is not None:
            self._observer.connection_blocked(self, block)

    def unblock(self) -> None:
        """Say, as the broker, that it is blocked no longer."""
        self._blocked = None
        if self._observer is not None:
            self._observer.connection_unblocked(self)

    def change(self, info: OpenInfo) -> None:
        """Be something else inside, and say so."""
        self._info = info
        if self._observer is not None:
            self._observer.connection_changed(self)

    def confirm(self, seconds: float) -> None:
        """Answer the probe that waits in silence."""
        assert self._probing is not None, "no probe is waiting"
        self._probing.set_result(seconds)

    def end(self, close: CloseInfo) -> None:
        """End the connection, from the other side or for want of a transport."""
        self._is_open = False
        self._blocked = None
        if self._ended is not None:
            return
        self._ended = close
        if self._probing is not None and not self._probing.done():
            self._probing.set_exception(errors.NotOpenError())
        if self._observer is not None:
            self._observer.connection_closed(self, close)

    # --- the port

    @property
    def info(self) -> OpenInfo:
        return self._info

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def blocked(self) -> Block | None:
        return self._blocked

    def observe(self, observer: ports.ConnectionObserver) -> None:
        self._observer = observer
        if self._blocked is not None:
            observer.connection_blocked(self, self._blocked)
        if self._ended is not None:
            observer.connection_closed(self, self._ended)

    async def probe(
        self, target: Any, *, lifetime: float | None = None, timeout: float
    ) -> float | None:
        if not self._is_open:
            raise errors.NotOpenError
        if self._blocked is not None:
            return None
        self.probes.append((target.exchange, target.routing_key))
        self.probe_options.append((target.own_queue, lifetime))
        if not isinstance(self.probe_answer, Silence):
            return await _given(self.probe_answer)
        self._probing = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(timeout):
            return await self._probing

    async def renew(self, credential: Credential, *, timeout: float) -> None:
        assert not self.cannot_renew, "it was said that it cannot be"
        if not self._is_open:
            raise errors.NotOpenError
        if self._update_unanswered:
            raise errors.SecretUpdateTimeoutError(seconds=timeout)
        self.witness.to_be_updated(self, credential)
        if self._blocked is not None:
            raise errors.SecretUpdateTimeoutError(seconds=timeout)
        self._journal.append(f"{self.name}: update secret")
        self.updates.append(credential)
        self.is_updating = True
        self.credential = None
        try:
            async with asyncio.timeout(timeout):
                if isinstance(self.update_answer, Silence):
                    await self._update_confirmed.wait()
                else:
                    await _given(self.update_answer)
            self.credential = credential
        except TimeoutError:
            self._update_unanswered = True
            raise errors.SecretUpdateTimeoutError(seconds=timeout) from None
        except asyncio.CancelledError:
            self._update_unanswered = True
            raise
        except errors.SecretRefusedError as error:
            self.end(builders.server_close(error.text))
            raise
        finally:
            self.is_updating = False

    async def close(
        self,
        *,
        text: str = "",
        timeout: float = 3.0,
    ) -> None:
        if not self._is_open:
            raise errors.NotOpenError
        self.witness.to_be_closed(self)
        self._is_open = False
        self._journal.append(f"{self.name}: close")
        self.close_texts.append(text)
        try:
            async with asyncio.timeout(timeout):
                await _given(self.close_answer)
        except TimeoutError:
            self.was_aborted = True
        except asyncio.CancelledError:
            self.abort()
            raise
        closed = CloseInfo(
            by=ClosedBy.CLIENT, reason=Reason.CLIENT_CLOSED, text=text, codes=self.close_codes
        )
        self.end(closed)

    def abort(self) -> None:
        if self._is_open:
            self.witness.to_be_closed(self)
        self.was_aborted = True
        self._journal.append(f"{self.name}: abort")
        self.end(CloseInfo(by=ClosedBy.CLIENT, reason=Reason.CLIENT_CLOSED, text="aborted"))

    @property
    def is_released(self) -> bool:
        """Whether nothing of it is left."""
        return self._ended is not None


class FakeDriver:
    """Opens what the test allows, as `core.ports.Driver`.

    `at` answers for an endpoint; else the next of `then`; else `otherwise`. None is a success.
    """

    def __init__(self, journal: list[str] | None = None) -> None:
        self.requests: list[OpenRequest[Any]] = []
        self.times: list[float] = []
        """When each request came, on the event loop's clock."""
        self.connections: list[FakeConnection] = []
        self.at: dict[Endpoint, Exception | Silence | None] = {}
        self.otherwise: Exception | Silence | None = None
        self.running = 0
        self.most_running = 0
        self.cancelled = 0
        self.refuses: Callable[[OpenRequest[Any]], Exception | None] = lambda _: None
        """Why the broker refuses a request, if it does, whatever else was to be answered."""
        self.asks: Callable[[OpenRequest[Any]], bool] = lambda _: True
        """Whether the broker asks for the credential, or lets anybody in."""
        self.cannot_renew = ""
        """Why the connections that it opens cannot be renewed in place, if so."""
        self.heartbeat_seconds = 60
        """What is agreed on; 0 for no heartbeats."""
        self.probe_answers: deque[float | Exception | Silence] = deque()
        """What the next connections answer to probes, one by one."""
        self.witness: Witness = _Nobody()
        self._journal = journal if journal is not None else []
        self._script: deque[Exception | Silence | None] = deque()
        self._held: list[asyncio.Future[None]] = []

    def then(self, *answers: Exception | Silence | None) -> None:
        """Answer the next attempts so, one by one."""
        self._script.extend(answers)

    def release(self, error: Exception | None = None) -> None:
        """Let the attempts that hang succeed, or fail."""
        for held in self._held:
            if held.done():
                continue
            if error is None:
                held.set_result(None)
            else:
                held.set_exception(error)
        self._held.clear()

    @property
    def connection(self) -> FakeConnection:
        """The connection that was opened last."""
        return self.connections[-1]

    @property
    def open_connections(self) -> list[FakeConnection]:
        return [connection for connection in self.connections if connection.is_open]

    async def open(self, request: OpenRequest[Any]) -> FakeConnection:
        self.requests.append(request)
        self.times.append(asyncio.get_running_loop().time())
        self._journal.append(f"open {request.endpoint}")
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await self._answer(request)
        except TimeoutError:
            raise errors.TransientError(
                Reason.CONNECT_TIMEOUT, f"no answer within {request.timeout:g} s"
            ) from None
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        connection = FakeConnection(
            builders.an_open_info(
                request.endpoint,
                address=request.address,
                proved=self.asks(request),
                heartbeat_seconds=self.heartbeat_seconds,
            ),
            name=f"connection {len(self.connections) + 1}",
            journal=self._journal,
        )
        connection.cannot_renew = self.cannot_renew
        if self.probe_answers:
            connection.probe_answer = self.probe_answers.popleft()
        self.connections.append(connection)
        connection.witness, connection.credential = self.witness, request.credential
        self.witness.opened(connection, request)
        return connection

    async def _answer(self, request: OpenRequest[Any]) -> None:
        if request.endpoint in self.at:
            answer = self.at[request.endpoint]
        elif self._script:
            answer = self._script.popleft()
        else:
            answer = self.otherwise
        if not isinstance(answer, Silence):
            await _given(answer if answer is not None else self.refuses(request))
            return
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.append(held)
        async with asyncio.timeout(request.timeout):
            await held
        if (refusal := self.refuses(request)) is not None:
            raise refusal


class FakeResolver:
    """Knows the names that the test gives it, as `core.ports.Resolver`."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.hosts: dict[str, tuple[str, ...] | Exception | Silence] = {}
        """Hosts that are not here have one address."""
        self.names: dict[str, tuple[Endpoint, ...] | Exception | Silence] = {}
        self.lookups: list[str] = []
        self.own_domain: list[bool] = []
        """For each SRV lookup, whether only targets inside its own domain were asked for."""
        self._journal = journal if journal is not None else []

    async def services(
        self,
        name: str,
        *,
        namespace: str,  # noqa: ARG002 - nobody has to wait here
        own_domain: bool = False,
    ) -> Sequence[Endpoint]:
        self._look_up(name)
        self.own_domain.append(own_domain)
        unknown = errors.TransientError(Reason.NAME_RESOLUTION_FAILED, f'no name "{name}"')
        return await _given(self.names.get(name, unknown))

    async def addresses(self, endpoint: Endpoint, *, namespace: str) -> Sequence[str]:  # noqa: ARG002
        self._look_up(endpoint.host)
        return await _given(self.hosts.get(endpoint.host, ("192.0.2.1",)))

    def _look_up(self, name: str) -> None:
        self.lookups.append(name)
        self._journal.append(f"look up {name}")


class FakeCredentialSource:
    """Gives what the test puts into it, as `core.ports.CredentialSource`."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.answer: Credential | Exception | Silence = builders.a_credential()
        self.fetches = 0
        self.instead_of: list[Credential | None] = []
        """Which credential each fetch asked for another one of."""
        self._issued: deque[Credential | Exception] = deque()
        self._journal = journal if journal is not None else []

    def issue(self, *answers: Credential | Exception) -> None:
        """Answer so, one by one, who asks for another credential than the one of now."""
        self._issued.extend(answers)

    async def fetch(self, *, instead_of: Credential | None = None) -> Credential:
        self.fetches += 1
        self.instead_of.append(instead_of)
        self._journal.append("read the credential")
        if self._issued and self._is_to_be_another_than(instead_of):
            issued = self._issued.popleft()
            if isinstance(issued, Exception):
                raise issued
            self.answer = issued
        return await _given(self.answer)

    def _is_to_be_another_than(self, instead_of: Credential | None) -> bool:
        return (
            instead_of is not None
            and isinstance(self.answer, Credential)
            and self.answer.same_value(instead_of)
        )


class FakeTLSSource:
    """Gives what the test puts into it, as `core.ports.TLSSource`."""

    def __init__(self) -> None:
        self.answer: TLSClient | Exception | Silence | None = None

    async def fetch(self) -> TLSClient | None:
        return await _given(self.answer)


class FakeEndpointSource:
    """Gives what the test puts into it, as `core.ports.EndpointSource`."""

    def __init__(self, *declared: Endpoint) -> None:
        self.answer: Sequence[ResolvedEndpoint] | Exception | Silence = ()
        self.fetches = 0
        self.declare(*declared)

    def declare(self, *endpoints: Endpoint) -> None:
        """Give these from now on, and leave looking them up to others."""
        self.answer = tuple(ResolvedEndpoint(endpoint) for endpoint in endpoints)

    async def fetch(self) -> Sequence[ResolvedEndpoint]:
        self.fetches += 1
        return await _given(self.answer)


class FakeServices:
    """Knows what is ready behind a Service's port, as `core.ports.ServiceLookup`."""

    def __init__(self) -> None:
        self.ready: dict[tuple[str, str, str | int], Sequence[ResolvedEndpoint]] = {}

    async def endpoints(
        self, namespace: str, name: str, port: str | int
    ) -> Sequence[ResolvedEndpoint]:
        return self.ready.get((namespace, name, port), ())


class RecordingEvents:
    """Remembers every event, as `core.events.EventSink`.

    Events of a type in `held` are not handled until the test releases them. `failure` is raised
    instead of taking an event in.
    """

    def __init__(self, journal: list[str] | None = None) -> None:
        self.events: list[Event] = []
        self.failure: Exception | None = None
        self._held: dict[EventType, asyncio.Event] = {}
        self._journal = journal if journal is not None else []

    def hold(self, *types: EventType) -> None:
        """Be slow with events of these types, until `release`."""
        for kind in types:
            self._held.setdefault(kind, asyncio.Event())

    def release(self) -> None:
        """Finish with everything that is held, and be quick again."""
        for event in self._held.values():
            event.set()
        self._held.clear()

    @property
    def is_slow(self) -> bool:
        return bool(self._held)

    @property
    def types(self) -> list[EventType]:
        return [event.type for event in self.events]

    def of(self, kind: EventType) -> list[Event]:
        return [event for event in self.events if event.type is kind]

    async def report(self, event: Event) -> None:
        self.events.append(event)
        self._journal.append(f"{event.type} begins")
        if self.failure is not None:
            raise self.failure
        if event.type in self._held:
            await self._held[event.type].wait()
        self._journal.append(f"{event.type} is handled")
