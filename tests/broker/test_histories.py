"""What `springline run` tells of sessions at a real broker: all of it stays as it was recorded.

Status files, events, log and metrics, without what is another one every time. How a session lives
through more than this, and when, is recorded among fakes: unit/core/test_histories.py.
"""

import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from support import measured_run, scrapes, springline_process
from support.identities import Tenant
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection, a_secret
from support.springline_process import Springline
from support.waiting import eventually

pytestmark = pytest.mark.broker

RECORDINGS = Path(__file__).parent / "histories"
RECORD: Final = "SPRINGLINE_RECORD_HISTORIES"
"""Set it to anything to record anew."""

WRONG = "wr0ng-s3cret"
OTHER = "0ther-s3cret"
SECOND = "ben-second"

_QUIET_SECONDS = 0.7

# What metrics say that no clock has a say in.
_STABLE_METRICS: Final = (
    *("springline_sessions", "springline_sessions_ready", "springline_sessions_blocked"),
    *("springline_session_ready", "springline_session_blocked", "springline_session_info"),
    *("springline_session_suspended", "springline_session_out_of_sync"),
    *("springline_session_disconnects_total", "springline_disconnects_total"),
    *("springline_connect_attempts_total", "springline_connect_duration_seconds_count"),
    *("springline_secret_updates_total", "springline_secret_update_duration_seconds_count"),
    "springline_verifications_total",
)

# What is another one every time, and what is put in its place.
_CHANGING: Final = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", "<time>"),
    (r"<\d+\.\d+\.\d+>", "<pid>"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
    (r"localhost:\d+", "localhost:<port>"),
    (r"springline-\d+@\S+", "springline-<port>@<host>"),
    (r"(?<![\d.])\d+\.\d+\.\d+(?![\d.])", "<version>"),
    (r"Erlang/OTP [0-9.]+", "Erlang/OTP <version>"),
    # As RabbitMQ 4 puts it.
    (r"- access to exchange", "- write access to exchange"),
)


class Told:
    """One process, and what it has told of its one connection after each step."""

    def __init__(self, node: RabbitMQNode, tenant: Tenant, process: Springline, scrape: Path):
        self.node, self.tenant, self.process = node, tenant, process
        self._scrape = scrape
        self._read = 0
        self.retry = "100s"
        """So rarely that a history is over before; what ends the wait is part of it."""
        self.lines: list[str] = []
        self._shown: dict[str, str] = {}

    # --- what is declared

    def broker(self) -> None:
        retry = {"delay": self.retry, "maxDelay": "200s", "jitter": 0.0}
        self.process.write("broker.yaml", a_broker(self.node.amqp_port, retry=retry))

    def secret(self, password: str | None = None, *, user: str | None = None) -> None:
        document = a_secret(user or self.tenant.username, password or self.tenant.secret)
        self.process.write("secret.yaml", document)

    def connection(self, **spec: Any) -> None:
        document = a_connection("orders", **{"virtualHost": self.tenant.vhost, **spec})
        self.process.write("orders.yaml", document)

    def all(self, **spec: Any) -> None:
        self.broker()
        self.secret()
        self.connection(**spec)

    # --- what is told

    async def after(self, what: str, *conditions: str) -> None:
        """Wait for conditions such as `Ready True`, then for rest, and note what was told.

        Others are paths in status with their values, such as `credentials.method=InPlace`.
        """
        for each in conditions:
            path, _, value = each.partition("=")
            if value:
                await self.process.eventually(lambda p=path, v=value: self._at(p) == v, each)
            else:
                kind, status, *reason = each.split()
                await self.process.until(kind, status, *reason)
        await self._rest()
        self.lines += [f"# {what}", *self._told(), *self._status()]

    def _at(self, path: str) -> str:
        value: Any = self.process.status()
        for part in path.split("."):
            value = value.get(part, {})
        return str(value)

    async def _rest(self) -> None:
        """Wait until nothing is told any more."""
        seen: list[tuple[float, object]] = []

        def is_quiet() -> bool:
            now = (self.process.output, self.process.files, self.process.status())
            if not seen or seen[0][1] != now:
                seen[:] = [(time.monotonic(), now)]
            return time.monotonic() - seen[0][0] > _QUIET_SECONDS

        await eventually(is_quiet, what="it says nothing more")

    def _told(self) -> list[str]:
        output = self.process.output
        new, self._read = output[self._read :], len(output)
        # In how many events of the file system a change comes is another number every time.
        return [self._stable(line) for line in new.splitlines() if " watchfiles." not in line]

    def _status(self) -> list[str]:
        """Return what of all status files is not as it was after the step before."""
        now: dict[str, str] = {}
        for name in sorted(self.process.files):
            document = yaml.safe_load((self.process.status_dir / name).read_text())
            kind = document["kind"]
            now |= {f"{kind} {path}": self._stable(text) for path, text in _flat(document)}
        before, self._shown = self._shown, now
        return [
            *(f"  {path}: {text}" for path, text in now.items() if before.get(path) != text),
            *(f"  {path}: gone" for path in before if path not in now),
        ]

    async def scraped(self) -> None:
        """Note what metrics say of sessions now, except how long things took."""
        self.process.signal(signal.SIGUSR1)
        await eventually(self._scrape.exists, what="it has written a scrape")
        families = scrapes.read(self._scrape.read_text())
        for sample in (sample for family in families for sample in family.samples):
            if sample.name not in _STABLE_METRICS:
                continue
            labels = ", ".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            self.lines.append(self._stable(f"{sample.name} {labels}: {sample.value:g}"))

    def _stable(self, text: str) -> str:
        text = text.replace(self.tenant.vhost, "<vhost>").replace(self.tenant.username, "<user>")
        text = text.replace(str(self.process.manifests.parent), "<directory>")
        for pattern, stable in _CHANGING:
            text = re.sub(pattern, stable, text)
        return text.rstrip()


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Return each value in a document by its path; conditions are told apart by their types."""
    match value:
        case {"type": kind, "status": status, "reason": reason, "message": message}:
            yield f"{path} {kind}", f"{status} {reason}: {message}"
        case dict():
            for key, inner in value.items():
                yield from _flat(inner, f"{path}.{key}" if path else key)
        case [{"type": _}, *_]:
            for inner in value:
                yield from _flat(inner, path)
        case list():
            yield path, ", ".join(sorted(map(str, value)))
        case _:
            yield path, str(value)


# --- what happens


async def opened_and_ended(told: Told) -> None:
    told.all(clientProperties={"team": "orders"})
    await told.after("declared", "Ready True", "Blocked False")
    told.process.signal(signal.SIGTERM)
    assert await told.process.ended() == 0
    await told.after("ended")


async def password_wrong_at_first(told: Told) -> None:
    told.broker()
    told.secret(WRONG)
    told.connection()
    await told.after("declared with a wrong password", "Ready False AccessRefused")
    told.secret()
    await told.after("corrected", "Ready True", "Blocked False")


async def virtual_host_missing(told: Told) -> None:
    told.all(virtualHost="nowhere")
    await told.after("declared", "Ready False VirtualHostNotFound")
    told.connection()
    await told.after("corrected", "Ready True", "Blocked False")


async def secret_missing(told: Told) -> None:
    told.broker()
    told.connection()
    await told.after("declared", "Ready False SecretNotFound")
    told.secret()
    await told.after("created", "Ready True", "Blocked False")
    told.process.remove("secret.yaml")
    await told.after("removed", "CredentialsValid False SecretNotFound")
    told.secret()
    await told.after("created again", "Ready True")


async def broker_missing(told: Told) -> None:
    told.secret()
    told.connection()
    await told.after("declared", "Ready False BrokerNotFound")
    told.broker()
    await told.after("created", "Ready True", "Blocked False")
    told.process.remove("broker.yaml")
    await told.after("removed", "Ready False BrokerNotFound")


async def declaration_unusable(told: Told) -> None:
    told.all()
    await told.after("declared", "Ready True", "Blocked False")
    told.connection(hartbeat="30s")
    await told.process.until_said("unknown field")
    await told.after("mistaken")
    told.connection(heartbeat="30s")
    await told.after("corrected", "negotiated.heartbeat=30s", "Blocked False")
    told.process.remove("orders.yaml")
    await told.process.eventually(lambda: len(told.process.files) == 1, "its status is gone")
    await told.after("removed")


async def password_rotated(told: Told) -> None:
    told.all()
    await told.after("declared", "Ready True", "Blocked False")
    told.secret(WRONG)
    await told.after("changed too early", "CredentialsValid False Rejected")
    told.node.change_password(told.tenant.username, OTHER)
    told.secret(OTHER)
    await told.after("changed at the broker too", "Ready True", "credentials.method=InPlace")
    told.secret(OTHER, user="nobody")
    await told.after("a user that does not exist", "CredentialsValid False Rejected")
    told.secret(OTHER)
    await told.after("put back", "Ready True")


async def user_replaced(told: Told) -> None:
    told.all()
    await told.after("declared", "Ready True", "Blocked False")
    told.node.add_user(SECOND, OTHER)
    try:
        told.node.set_permissions(SECOND, told.tenant.vhost)
        told.secret(OTHER, user=SECOND)
        await told.after("another user", "credentials.method=Replaced", "Blocked False")
    finally:
        told.connection(suspend=True)
        await told.after("suspended", "Connected False Suspended")
        told.node.delete_user(SECOND)


async def moved(told: Told) -> None:
    told.all()
    await told.after("declared", "Ready True", "Blocked False")
    told.connection(virtualHost="nowhere")
    await told.after("to a virtual host that is not there", "Synced False VirtualHostNotFound")
    told.connection(virtualHost=told.tenant.vhost, heartbeat="20s")
    await told.after(
        "corrected, with another heartbeat", "negotiated.heartbeat=20s", "Blocked False"
    )


async def blocked(told: Told) -> None:
    told.all()
    await told.after("declared", "Ready True", "Blocked False")
    told.node.set_alarm("memory")
    try:
        await told.after("low on memory", "Blocked True LowOnMemory")
        told.node.change_password(told.tenant.username, OTHER)
        told.secret(OTHER)
        await told.after("rotated", "credentials.method=Replaced", "Blocked True LowOnMemory")
    finally:
        told.node.clear_alarm("memory")
    await told.after("enough memory", "Blocked False NotBlocked")


async def closed_by_an_operator(told: Told) -> None:
    told.retry = "1s"
    told.all()
    await told.after("declared", "Ready True", "Blocked False")
    told.node.close_connection("springline/default/orders", "maintenance")
    await told.after("closed", "lastClose.reason=ConnectionForced", "Ready True", "Blocked False")
    told.connection(whenClosed="StayClosed")
    await told.after("to stay closed", "observedGeneration=2")
    told.node.close_connection("springline/default/orders", "maintenance again")
    await told.after("closed again", "Ready False StayClosed")


async def probe_refused(told: Told) -> None:
    told.node.set_permissions(told.tenant.username, told.tenant.vhost, write="^none$")
    told.all(probe={"interval": "1s", "exchange": "amq.direct"})
    await told.after("declared", "Ready True", "Blocked Unknown ProbeDisabled")
    told.connection(probe={"mode": "None"})
    await told.after("without a probe", "Blocked Unknown ProbeDisabled", "observedGeneration=2")


async def limited(told: Told) -> None:
    told.all()
    await told.after("declared", "Ready True", "Blocked False")
    told.node.set_user_limit(told.tenant.username, 1)
    told.node.change_password(told.tenant.username, OTHER)
    told.secret(OTHER)
    await told.after("one connection is allowed", "Synced False ConnectionLimitReached")
    told.connection(rotation={"whenLimited": "UpdateUnverified"})
    await told.after("to be sent untried", "Ready True", "credentials.method=InPlace")
    told.node.change_password(told.tenant.username, WRONG)
    told.secret(WRONG)
    await told.after("and another one", "Ready True")
    told.node.change_password(told.tenant.username, OTHER)
    told.connection(rotation={"whenLimited": "CloseFirst"})
    told.secret(OTHER)
    await told.after("to be closed first", "lastClose.by=Client", "Ready True", "Blocked False")


HISTORIES: Final[tuple[Callable[[Told], Awaitable[None]], ...]] = (
    opened_and_ended,
    password_wrong_at_first,
    virtual_host_missing,
    secret_missing,
    broker_missing,
    declaration_unusable,
    password_rotated,
    user_replaced,
    moved,
    blocked,
    closed_by_an_operator,
    probe_refused,
    limited,
)


@pytest.fixture
async def told(broker: RabbitMQNode, tenant: Tenant, tmp_path: Path) -> AsyncIterator[Told]:
    """A process on an empty directory."""
    scrape = tmp_path / "scrape"
    process = Springline(tmp_path, tenant.secret, WRONG, OTHER)
    try:
        process.start(
            *("--log-level", "info"),
            program=[sys.executable, "-m", measured_run.__name__],
            more_environment={
                "PYTHONPATH": os.pathsep.join(
                    [springline_process.environment()["PYTHONPATH"], str(Path(__file__).parents[1])]
                ),
                measured_run.SCRAPE_FILE: str(scrape),
            },
        )
        yield Told(broker, tenant, process, scrape)
    finally:
        process.close()


@pytest.mark.parametrize("history", HISTORIES, ids=[each.__name__ for each in HISTORIES])
async def test_a_history_tells_what_was_recorded_of_it(
    told: Told, history: Callable[[Told], Awaitable[None]]
) -> None:
    recording = RECORDINGS / f"{history.__name__}.txt"
    await history(told)
    if history is not opened_and_ended:
        await told.scraped()
    text = "\n".join((*told.lines, ""))
    if RECORD in os.environ:
        recording.write_text(text)
    assert text.splitlines() == recording.read_text().splitlines()
