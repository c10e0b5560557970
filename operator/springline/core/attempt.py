"""One attempt to open a connection: credential, endpoints in order, name lookup, the addresses of
each in order, one overall limit.

It neither retries nor remembers anything; the session decides when the next one starts.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from springline import errors, wheel
from springline.api import texts
from springline.core import lifetime, metering, ports, tries
from springline.core.addresses import AddressPolicy
from springline.core.desired import SessionSpec, Target
from springline.core.fair_turns import FairTurns
from springline.core.tries import FailedTry
from springline.core.values import Credential, Endpoint, OpenRequest, TLSClient
from springline.core.verification import Verifications
from springline.reasons import Reason
from springline.veil import Veil

__all__ = [
    "AsRead",
    "Means",
    "Progress",
    "Silent",
    "Success",
    "attempt",
    "attempting_message",
    "opened_message",
    "preparing",
]

_T = TypeVar("_T")

_A_MOMENT = 0.001
"""Seconds that a try has when the time is over; never less than nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What an attempt is made with."""

    driver: ports.Driver
    resolver: ports.Resolver
    clock: ports.Clock
    credentials: ports.CredentialSource
    tls: ports.TLSSource
    endpoints: ports.EndpointSource
    limit: contextlib.AbstractAsyncContextManager[None]
    """How many attempts run at once; shared by the sessions of one broker."""
    addresses: AddressPolicy = field(default_factory=AddressPolicy)
    """Which addresses may be connected to."""
    verifications: Verifications = field(default_factory=Verifications)
    """Throw-away handshakes; shared by the sessions of a process."""
    meter: ports.Meter = metering.NO_METER
    turns: FairTurns = field(default_factory=lambda: FairTurns(1))
    """How many attempts run at once in all; shared by the sessions of a process."""
    veil: Veil = field(default_factory=Veil)
    """What drivers show of a peer's texts goes through it; the session's own."""


class Progress(Protocol):
    """Told how far an attempt has come, in this order; it goes on when the call returns."""

    async def started(self) -> None:
        """It is this attempt's turn."""

    def fetched(self, credential: Credential) -> None:
        """This is what it will log in with."""

    async def resolved(self, endpoint: Endpoint, addresses: Sequence[str]) -> None:
        """The endpoint's host was looked up."""


class Silent:
    """Progress that nobody is shown: of a handshake beside a live session."""

    async def started(self) -> None:
        pass

    def fetched(self, credential: Credential) -> None:
        pass

    async def resolved(self, endpoint: Endpoint, addresses: Sequence[str]) -> None:
        pass


@dataclass(frozen=True, slots=True)
class AsRead(Generic[_T]):
    """What was read already, as a source of it: an attempt then reads nothing else."""

    value: _T

    async def fetch(self, *, instead_of: Credential | None = None) -> _T:  # noqa: ARG002 - as read
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """An open connection, and what opened it."""

    connection: ports.Connection
    credential: Credential
    tls: TLSClient | None
    target: Target
    """What was declared of the connection when it was opened."""


async def attempt(
    spec: SessionSpec,
    means: Means,
    progress: Progress,
    *,
    name_suffix: str = "",
    instead_of: Credential | None = None,
) -> Success:
    """Wait for a turn, then open a connection within `spec.connect_timeout` seconds.

    `instead_of` is a credential that has been refused, for sources that can have another issued.

    Endpoints are tried in their order, and the addresses of each in theirs, up to the end of the
    open handshake. The time that is left is shared evenly among the endpoints that are left, and an
    endpoint's share among its addresses, so one that accepts and never answers cannot use up the
    turn of the next. What every one of them would answer ends the attempt. Raises `ConnectError` or
    `CredentialError`. Safe to cancel: nothing stays open.
    """
    async with means.limit, means.turns.turn(spec.key.namespace):
        await progress.started()
        with metering.attempt(means.meter, means.clock, spec.target.protocol):
            return await _attempt(
                spec, means, progress, name_suffix=name_suffix, instead_of=instead_of
            )


async def _attempt(
    spec: SessionSpec,
    means: Means,
    progress: Progress,
    *,
    name_suffix: str,
    instead_of: Credential | None,
) -> Success:
    deadline = means.clock.monotonic() + spec.connect_timeout
    async with preparing(spec):
        fetched = await means.credentials.fetch(instead_of=instead_of)
        credential = lifetime.received(fetched, means.clock)
        progress.fetched(credential)
        tls = await means.tls.fetch()
        endpoints = await means.endpoints.fetch()

    parameters = spec.target.parameters
    if name_suffix:
        parameters = parameters.with_name(parameters.connection_name + name_suffix)
    failures: list[FailedTry] = []
    for position, resolved in enumerate(endpoints):
        endpoint = resolved.endpoint
        turn_ends = _share_ends(means.clock, deadline, among=len(endpoints) - position)
        try:
            addresses = resolved.addresses or await _addresses(
                endpoint, means, namespace=spec.key.namespace, until=turn_ends
            )
            addresses = means.addresses.permitted(endpoint.host, addresses)
        except errors.ConnectError as error:
            failures.append(FailedTry(endpoint=endpoint, error=error))
            if tries.speaks_for_all(error):
                break
            continue
        await progress.resolved(endpoint, addresses)
        for number, address in enumerate(addresses):
            ends = _share_ends(means.clock, turn_ends, among=len(addresses) - number)
            request = OpenRequest(
                endpoint=endpoint,
                address=address,
                tls=tls,
                credential=credential,
                parameters=parameters,
                timeout=max(ends - means.clock.monotonic(), _A_MOMENT),
                veil=means.veil,
            )
            try:
                connection = await means.driver.open(request)
            except errors.ConnectError as error:
                failures.append(FailedTry(endpoint=endpoint, address=address, error=error))
                if tries.speaks_for_all(error):
                    raise tries.combined(failures) from error
            else:
                return Success(
                    connection=connection, credential=credential, tls=tls, target=spec.target
                )
    raise tries.combined(failures)


def _share_ends(clock: ports.Clock, deadline: float, *, among: int) -> float:
    """Return when the turn of the next of so many ends, all of which have until `deadline`."""
    now = clock.monotonic()
    return now + max(deadline - now, _A_MOMENT) / among


def preparing(spec: SessionSpec) -> "_Preparing":
    """Limit what comes before a connection is tried: no Secret and no name may be waited for ever.

    The context manager raises `TransientError` after `spec.connect_timeout` seconds.
    """
    return _Preparing(spec.connect_timeout)


class _Preparing(wheel.Limit):
    """A limit that says what took too long."""

    __slots__ = ("_longest",)

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._longest = seconds

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc, traceback)
            if isinstance(exc, TimeoutError):
                raise exc
        except TimeoutError as error:
            raise errors.TransientError(
                Reason.CONNECT_TIMEOUT,
                "reading the credential and looking up the broker took longer than "
                f"{self._longest:g} s",
            ) from error


async def _addresses(
    endpoint: Endpoint, means: Means, *, namespace: str, until: float
) -> Sequence[str]:
    limit = max(until - means.clock.monotonic(), _A_MOMENT)
    try:
        async with wheel.limit(limit):
            return await means.resolver.addresses(endpoint, namespace=namespace)
    except TimeoutError as error:
        raise errors.TransientError(
            Reason.NAME_RESOLUTION_FAILED,
            f'looking up "{endpoint.host}" took longer than {limit:.3g} s',
        ) from error


def attempting_message(spec: SessionSpec) -> str:
    """Say in an event what is attempted."""
    place = spec.target.parameters.place
    return f"connecting to {spec.broker.kind} {spec.broker.name}, {place}"


def opened_message(success: Success, *, why_new: str = "") -> str:
    """Say in an event what came of it, and why the session before was not renewed in place."""
    info = success.connection.info
    # A name that nobody has looked at may be a password that was put under the wrong key.
    username = texts.shown(success.credential.username) if info.proved else ""
    user = f" as {username}" if username else ""
    product = f"{info.server.product} {info.server.version}".strip() or "the broker"
    why = f"; not renewed in place: {why_new}" if why_new else ""
    return f"connected to {product} at {info.endpoint}{user} with {info.negotiated.mechanism}{why}"
