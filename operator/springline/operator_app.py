"""The composition root of the operator in a cluster: the parts, their tasks, start and shutdown.

Start: reach the API server, wait until our kinds are served, read what their definitions take, take
a Lease, take in the brokers, then watch. A shutdown takes in no more changes, closes every session
with a goodbye to its broker, writes what has become of them, gives the Lease back, and leaves.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from functools import partial
from random import Random
from typing import Any

from springline import logs, shutdown
from springline.adapters import adapters
from springline.clock import SystemClock
from springline.core.addresses import AddressPolicy
from springline.core.environment import Environment
from springline.core.event_bus import EventBus
from springline.core.limits import Limits
from springline.core.logged_events import LoggedEvents
from springline.core.manager import Manager
from springline.core.read_objects import ReadObjects
from springline.core.session import Session
from springline.core.signals import Signal
from springline.credentials.token_files import DirectoryOfTokens
from springline.kube.access import Access
from springline.kube.binding import BindingWatch, BindingWriter
from springline.kube.bound_secrets import BoundSecrets
from springline.kube.client import Client
from springline.kube.declarations import Declarations
from springline.kube.definitions import Definitions
from springline.kube.entries import Elsewhere, Entries
from springline.kube.event_posting import EventPoster, Outcome
from springline.kube.events import KubernetesEvents
from springline.kube.holders import Holders
from springline.kube.installed import await_installed, take_in_brokers
from springline.kube.known_objects import KnownObjects
from springline.kube.lease import LeaseKeeper
from springline.kube.namespaces import EndingNamespaces, NamespaceWatch
from springline.kube.notices import Notices
from springline.kube.objects import ObjectReader, ObjectWatch
from springline.kube.operator import Operator
from springline.kube.own_addresses import APIServerAddresses
from springline.kube.own_writes import OwnWrites
from springline.kube.readable import Readable
from springline.kube.replicas import Replica
from springline.kube.services import KubernetesServices
from springline.kube.status import StatusWriter
from springline.kube.sweeping import Sweeper
from springline.kube.tokens import KubernetesTokens
from springline.metrics import Collector, Metrics
from springline.resolver import LookupPool, SystemResolver
from springline.settings import OperatorSettings
from springline.sources import DeclaredSources
from springline.web import Health, ListenAddress, serve

__all__ = ["operate"]

logger = logging.getLogger(__name__)

_LAST_STATUS_SECONDS = 5.0
"""How long the last status may take, beside what the sessions have left of their time to close."""

_LAST_EVENTS_SECONDS = 2.0

_NAMESPACES_SECONDS = 10.0

_LEASE_SECONDS = 5.0
"""How long the watches wait for the Lease: another replica would take a holder without one for
gone. Longer than that, sessions do not."""

_DEFAULT_NAMESPACE = "default"
"""Of a Lease, where neither an option nor the way to the API server names one; as for kubectl."""


async def operate(settings: OperatorSettings) -> None:
    """Keep the sessions that a cluster declares until SIGTERM or SIGINT.

    A second signal drops the sessions without waiting for their brokers. Raises `AccessError` if
    nothing says which cluster, and `ListenError` if the address to listen at cannot be had.
    """
    stopping = asyncio.Event()
    with shutdown.on_signal(stopping):
        access = Access(kubeconfig=settings.kubeconfig, context=settings.context)
        if not await _unless(stopping, access.load()):
            return
        async with Client(access) as client:
            await _Parts(settings, access, client, stopping).run()


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work to its end, and return True; or cancel it, when it is to stop before.

    A kubeconfig may have a program asked for a token, which may take its time.
    """
    working = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        stopped.cancel()
        working.cancel()
        await asyncio.wait({working})


class _Parts:
    """The parts of the operator, wired."""

    def __init__(
        self,
        settings: OperatorSettings,
        access: Access,
        client: Client,
        stopping: asyncio.Event,
    ) -> None:
        """`stopping` is set by the signals that end the process."""
        self._settings = settings
        self._client = client
        self._stopping = stopping
        self._is_stopping = False
        self._missing = ""
        """What keeps the watches from being started, in words."""
        self._clock = clock = SystemClock()
        rng = Random()  # noqa: S311 - it spreads times, and hides nothing
        self._kinds = kinds = ["Broker", "BrokerConnection"]
        if settings.cluster_brokers:
            kinds.insert(0, "ClusterBroker")

        # What one part notes and others ask, and what one tells and others follow.
        reads, known, entries, ending = ReadObjects(), KnownObjects(), Entries(), EndingNamespaces()
        own_writes = OwnWrites()
        session_news, publication_news = Signal[Session](), Signal[Session]()
        holder_news, definition_news = Signal[str](), Signal[None]()

        limits = Limits(
            least_retry_delay=settings.least_retry_delay,
            least_renewal_interval=settings.least_renewal_interval,
            attempts_at_once=settings.attempts_at_once,
        )

        # What sessions are made with.
        self._metrics = Metrics(clock)
        self._poster = EventPoster(
            client.apart(),  # neither waits for the other
            clock,
            rng,
            instance=settings.holder,
            is_ending=ending.is_ending,
            counted=self._metrics.event_posted,
        )
        events = KubernetesEvents(
            self._poster,
            known.uid,
            clock,
            limited=partial(self._metrics.event_posted, Outcome.LIMITED),
        )
        bus = EventBus(LoggedEvents(clock), events)
        self._lookups = LookupPool(most=settings.name_lookups)
        resolver = SystemResolver(rng, pool=self._lookups)
        self._own_addresses = APIServerAddresses(access, resolver, clock)
        addresses = AddressPolicy(settings.allow_addresses, api_server=self._own_addresses.known)
        services = KubernetesServices(client, rng)
        self._token_files = DirectoryOfTokens(settings.token_dir)
        reader = ObjectReader(
            client, clock, is_read=reads.is_read, require_label=settings.require_secret_label
        )
        self._manager = Manager(
            Environment(
                adapters=adapters(),
                resolver=resolver,
                clock=clock,
                rng=rng,
                events=bus,
                addresses=addresses,
                meter=self._metrics,
                limits=limits,
            ),
            DeclaredSources(
                reader,
                clock=clock,
                resolver=resolver,
                addresses=addresses,
                services=services,
                tokens=KubernetesTokens(client, access),
                token_files=self._token_files,
            ),
            on_change=session_news.tell,
            unserved=() if settings.cluster_brokers else ("ClusterBroker",),
            reads=reads,
        )

        # What is written of them, unless another replica does.
        replica = Replica(
            settings.lease_namespace or access.namespace or _DEFAULT_NAMESPACE, settings.holder
        )
        of_leases = client.apart()  # a sign of life must not wait behind what sessions read
        self._lease = LeaseKeeper(of_leases, clock, replica=replica, seconds=settings.lease_seconds)
        self._holders = Holders(
            of_leases,
            clock,
            namespace=replica.namespace,
            named=entries.other_holders,
            on_change=holder_news.tell,
        )
        self._definitions = Definitions(
            client, kinds=kinds, on_change=partial(definition_news.tell, None)
        )
        self._bindings = BindingWriter(
            BoundSecrets(client),
            self._manager,
            clock,
            uid_of=known.uid,
            reader=reader,
            services=services,
            events=bus,
            on_change=publication_news.tell,
            is_held_elsewhere=Elsewhere(entries, self._holders).holds,
        )
        self._statuses = StatusWriter(
            client,
            self._manager,
            clock,
            holder=str(replica),
            publications=self._bindings,
            definitions=self._definitions,
            lives=self._holders,
            notices=Notices(events, clock, is_limited=bool(settings.namespaces)),
            counted=self._metrics.status_written,
            entries=entries,
            own_writes=own_writes,
        )
        session_news.follow(self._bindings.session_changed)
        session_news.follow(self._statuses.session_changed)
        publication_news.follow(self._statuses.session_changed)
        holder_news.follow(self._statuses.holder_changed)
        definition_news.follow(self._statuses.definitions_changed)

        # What is declared, and what it refers to.
        self._declarations = Declarations(self._manager, self._statuses, known)
        self._sweeper = Sweeper(
            client, self._declarations, clock, kinds=kinds, namespaces=settings.namespaces
        )
        self._operator = Operator(
            access,
            self._declarations,
            clock,
            kinds=kinds,
            readable=Readable(client, kinds=kinds, namespaces=settings.namespaces),
            on_gap=self._sweeper.request,
            own_writes=own_writes,
            before_start=self._installed,
            after_start=partial(shutdown.listen, stopping),
        )
        self._objects = ObjectWatch(
            client,
            clock,
            rng,
            reader,
            namespaces=settings.namespaces,
            on_change=self._manager.object_changed,
            on_gap=self._sweeper.request,
        )
        self._bound = BindingWatch(
            client, clock, rng, self._bindings, namespaces=settings.namespaces
        )
        self._namespaces = NamespaceWatch(client, clock, rng, self._manager, ending)

        self._collector = Collector(
            self._metrics,
            self._manager.views,
            per_object=settings.per_object_metrics,
            statuses=self._statuses,
            definitions=self._definitions,
            lookups=self._lookups,
            dropped_lines=logs.dropped,
        )

    async def run(self) -> None:
        settings = self._settings
        loop = asyncio.get_running_loop()
        async with (
            serve(
                ListenAddress(settings.listen_host, settings.listen_port),
                self._health(),
                self._collector,
                dropped=self._metrics.http_dropped,
            ),
            asyncio.TaskGroup() as tasks,
        ):
            managing = tasks.create_task(self._manager.run(), name="manager")
            living = tasks.create_task(self._lease.run(), name="lease")
            following = [
                tasks.create_task(self._holders.run(), name="holders"),
                tasks.create_task(self._own_addresses.run(), name="own-addresses"),
                tasks.create_task(self._metrics.pulse.run(), name="pulse"),
                tasks.create_task(self._definitions.run(), name="definitions"),
                tasks.create_task(self._statuses.run(), name="statuses"),
                tasks.create_task(self._bindings.run(), name="bindings"),
                tasks.create_task(self._poster.run(), name="events"),
                tasks.create_task(self._watch(), name="watches"),
                tasks.create_task(
                    self._token_files.watch(
                        self._clock,
                        is_read=self._manager.is_read,
                        on_change=self._manager.object_changed,
                    ),
                    name="watch/token-files",
                ),
            ]
            await self._stopping.wait()
            self._is_stopping = True
            logger.info("stopping")
            self._declarations.freeze()
            self._operator.wind_down()
            deadline = loop.time() + settings.shutdown_seconds + _LAST_STATUS_SECONDS
            await shutdown.close_sessions(
                self._manager,
                managing,
                limit=settings.shutdown_seconds,
                hurry=self._stopping,
                note=logger.info,
            )
            may_say_more = await self._write_last_status(deadline)
            living.cancel()
            await asyncio.wait({living})
            if may_say_more:
                await asyncio.gather(
                    self._lease.release(), self._poster.drain(limit=_LAST_EVENTS_SECONDS)
                )
            for task in following:
                task.cancel()

    async def _watch(self) -> None:
        """Follow the cluster: first what is referred to, then what refers to it."""
        await self._installed()
        await self._own_addresses.look()
        await self._definitions.look()  # or the first status might have more than they take
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._objects.run(), name="watch/objects")
            tasks.create_task(self._bound.run(), name="watch/bindings")
            if self._settings.cluster_brokers:
                tasks.create_task(self._namespaces.run(), name="watch/namespaces")
                await self._namespaces_known()
            await self._lease_tried()
            await take_in_brokers(
                self._client,
                self._clock,
                self._declarations,
                kinds=self._kinds,
                namespaces=self._settings.namespaces,
            )
            tasks.create_task(self._operator.run(), name="watch/declarations")
            tasks.create_task(self._sweeper.run(), name="sweeper")

    async def _installed(self) -> None:
        """Wait until the API server serves our kinds; `/readyz` says what it is that is missing."""

        def note(problem: str) -> None:
            self._missing = problem

        await await_installed(self._client, self._clock, kinds=self._kinds, note=note)

    async def _namespaces_known(self) -> None:
        """Wait for the labels of namespaces, or connections would be refused that are allowed."""
        try:
            async with asyncio.timeout(_NAMESPACES_SECONDS):
                await self._namespaces.synced.wait()
        except TimeoutError:
            logger.warning(
                "namespaces not listed; ClusterBrokers that select them by labels may refuse them"
            )

    async def _lease_tried(self) -> None:
        """Wait until this replica has its Lease, or it is clear that it has none for now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEASE_SECONDS):
                await self._lease.tried.wait()

    async def _write_last_status(self, deadline: float) -> bool:
        """Say that the sessions are closed. Without an API server, that is seen by nobody.

        Returns whether the API server lets us say anything more.
        """
        # One more signal is for this wait.
        self._stopping.clear()
        writing = asyncio.ensure_future(self._statuses.flush())
        hurried = asyncio.ensure_future(self._stopping.wait())
        limit = max(deadline - asyncio.get_running_loop().time(), 0.0)
        try:
            await asyncio.wait(
                {writing, hurried}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
            )
            if not writing.done():
                logger.warning(
                    "last status not written in time", extra={"waiting": self._statuses.waiting}
                )
                return True
            return writing.result()
        finally:
            writing.cancel()
            hurried.cancel()

    def _health(self) -> Health:
        return Health(
            live={"pulse": self._metrics.pulse.problem},
            ready={
                "declarations": self._unsynced,
                "stopping": self._stopped,
            },
        )

    def _unsynced(self) -> str | None:
        if self._sweeper.is_synced:
            return None
        if self._missing:
            return f"waiting for the API server: {self._missing}"
        return "what the cluster declares has not been taken in yet; the log says what is missing"

    def _stopped(self) -> str | None:
        return "Springline is being stopped" if self._is_stopping else None
