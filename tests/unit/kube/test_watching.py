"""List and watch: told what there is and what happens, whatever happens to the API server."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

import pytest

from springline.clock import SystemClock
from springline.kube import client as client_module
from springline.kube import watching
from springline.kube.client import Client
from springline.kube.watching import Metadata, Owner, Watch
from support.fake_apiserver import (
    FakeAPIServer,
    answering,
    closing,
    hanging,
    refusing,
    streaming,
)
from support.fake_clock import FixedRandom
from support.hasty_clock import HastyClock
from support.waiting import eventually

SECRETS = "/api/v1/secrets"


class Notes:
    """A listener that writes everything down, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fails_at = ""

    def listed(self, items: Sequence[Metadata]) -> None:
        self._note("listed", *sorted(f"{each.name}@{each.version}" for each in items))

    def changed(self, metadata: Metadata) -> None:
        self._note("changed", f"{metadata.name}@{metadata.version}")

    def deleted(self, metadata: Metadata) -> None:
        self._note("deleted", metadata.name)

    def interrupted(self) -> None:
        self._note("interrupted")

    def _note(self, *words: str) -> None:
        if words[0] == self.fails_at:
            self.fails_at = ""
            raise RuntimeError("a defect")
        self.told.append(" ".join(words))


@pytest.fixture(autouse=True)
def _everybody_reads_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=watching.logger.name)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def watch(client: Client, clock: HastyClock, notes: Notes) -> Watch:
    return Watch(client, clock, FixedRandom(), SECRETS, listener=notes)


@contextlib.asynccontextmanager
async def running(watch: Watch) -> AsyncIterator[None]:
    """Let it follow; it ends only by being cancelled."""
    task = asyncio.ensure_future(watch.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()


async def told(notes: Notes, *expected: str) -> None:
    """Wait until exactly this has been told, in this order."""
    await eventually(
        lambda: len(notes.told) >= len(expected), what=f"{expected}, told so far: {notes.told}"
    )
    assert notes.told == list(expected)


# --- in fair weather


async def test_everything_there_is_comes_first(
    server: FakeAPIServer, watch: Watch, notes: Notes
) -> None:
    server.put("secrets", "apps", "one")
    server.put("secrets", "other", "two")
    assert not watch.synced.is_set()
    assert watch.last_contact is None
    async with running(watch):
        await told(notes, "listed one@101 two@102")
        assert watch.synced.is_set()
        assert watch.last_contact is not None


async def test_what_happens_then_is_told(server: FakeAPIServer, watch: Watch, notes: Notes) -> None:
    async with running(watch):
        await told(notes, "listed")
        server.put("secrets", "apps", "one")
        server.put("secrets", "apps", "one")
        server.delete("secrets", "apps", "one")
        await told(notes, "listed", "changed one@101", "changed one@102", "deleted one")


async def test_metadata_is_told_without_annotations() -> None:
    """`kubectl apply` leaves a copy of the Secret there."""
    metadata = {
        "name": "one",
        "namespace": "apps",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"team": "orders"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "planted-password"},
    }
    found = Metadata.of({"metadata": metadata})
    assert found == Metadata(
        namespace="apps", name="one", version="7", uid="u", labels={"team": "orders"}
    )
    assert "planted" not in repr(found)
    assert Metadata.of({}) == Metadata(namespace="", name="", version="")


async def test_metadata_tells_whom_the_object_belongs_to() -> None:
    """Of several owners that is the one who manages it."""
    owners = [
        {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1"},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": "b",
            "uid": "2",
            "controller": True,
        },
    ]
    found = Metadata.of({"metadata": {"ownerReferences": owners}})
    assert found.controller == Owner("apps", "Deployment", "b", "2")
    assert Metadata.of({"metadata": {"ownerReferences": owners[:1]}}).controller is None
    core = {"apiVersion": "v1", "kind": "Pod", "controller": True}
    assert Metadata.of({"metadata": {"ownerReferences": [core]}}).controller == Owner(
        "", "Pod", "", ""
    )


async def test_only_what_is_selected_is_followed(
    server: FakeAPIServer, client: Client, clock: HastyClock, notes: Notes
) -> None:
    """An object that loses its label is gone."""
    server.put("secrets", "apps", "other")
    watch = Watch(
        client, clock, FixedRandom(), SECRETS, listener=notes, label_selector="allowed=true"
    )
    async with running(watch):
        await told(notes, "listed")
        server.put("secrets", "apps", "one", labels={"allowed": "true"})
        server.put("secrets", "apps", "one", labels={"allowed": "no"})
        await told(notes, "listed", "changed one@102", "deleted one")
    assert {asked.query["labelSelector"] for asked in server.asked} == {"allowed=true"}


async def test_only_one_namespace_is_followed_where_the_path_says_so(
    server: FakeAPIServer, client: Client, clock: HastyClock, notes: Notes
) -> None:
    server.put("secrets", "apps", "one")
    server.put("secrets", "other", "two")
    path = "/api/v1/namespaces/apps/secrets"
    async with running(Watch(client, clock, FixedRandom(), path, listener=notes)):
        await told(notes, "listed one@101")


async def test_watch_that_ends_in_order_goes_on_where_it_was(
    server: FakeAPIServer, watch: Watch, notes: Notes, clock: HastyClock
) -> None:
    """The API server ends every watch after a while; nothing is listed and nothing is lost."""
    async with running(watch):
        await eventually(lambda: server.watching)
        server.put("secrets", "apps", "one")
        await told(notes, "listed", "changed one@101")
        clock.now_monotonic += 300
        server.end_watches()
        await eventually(lambda: len(server.asked_for(SECRETS, watch=True)) == 2)
        server.put("secrets", "apps", "two")
        await told(notes, "listed", "changed one@101", "changed two@102")
    assert len(server.asked_for(SECRETS)) == 1
    assert server.asked_for(SECRETS, watch=True)[1].query["resourceVersion"] == "101"
    assert clock.slept == [0]


async def test_bookmark_says_where_to_go_on(
    server: FakeAPIServer, watch: Watch, notes: Notes, clock: HastyClock
) -> None:
    async with running(watch):
        await eventually(lambda: server.watching)
        server.put("configmaps", "apps", "something-else")
        clock.now_monotonic += 60
        server.bookmark()
        await eventually(lambda: watch.last_contact == clock.now_monotonic)
        server.end_watches()
        await eventually(lambda: len(server.asked_for(SECRETS, watch=True)) == 2)
    assert server.asked_for(SECRETS, watch=True)[1].query["resourceVersion"] == "101"
    assert notes.told == ["listed"]


@pytest.mark.parametrize(("share", "seconds"), [(0.0, "48"), (0.5, "60"), (1.0, "72")])
async def test_watches_are_of_different_length(
    server: FakeAPIServer,
    client: Client,
    clock: HastyClock,
    notes: Notes,
    share: float,
    seconds: str,
) -> None:
    async with running(Watch(client, clock, FixedRandom(share), SECRETS, listener=notes)):
        [asked] = await eventually(lambda: server.asked_for(SECRETS, watch=True))
    assert asked.query["timeoutSeconds"] == seconds
    assert float(seconds) < client_module.SILENCE_SECONDS


async def test_nothing_to_say_is_no_trouble(
    server: FakeAPIServer,
    client: Client,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An API server may have no bookmark to send; the end of each watch says that it is there."""
    monkeypatch.setattr(client_module, "WATCH_SECONDS", 1.25)
    monkeypatch.setattr(client_module, "SILENCE_SECONDS", 2.0)
    watch = Watch(client, SystemClock(), FixedRandom(), SECRETS, listener=notes)
    async with running(watch):
        await eventually(lambda: len(server.asked_for(SECRETS, watch=True)) > 3)
        assert len(server.asked_for(SECRETS)) == 1
        server.put("secrets", "apps", "one")
        await told(notes, "listed", "changed one@101")
    assert not caplog.records


async def test_watches_that_end_at_once_are_spaced(
    server: FakeAPIServer, watch: Watch, clock: HastyClock
) -> None:
    """Something in between may end every stream."""
    server.instead = lambda asked: answering("") if asked.is_watch else None
    async with running(watch):
        await eventually(lambda: len(clock.slept) > 3)
    assert set(clock.slept) == {1.0}


# --- in foul weather


async def test_watch_that_breaks_goes_on_where_it_was(
    server: FakeAPIServer, watch: Watch, notes: Notes
) -> None:
    async with running(watch):
        await eventually(lambda: server.watching)
        server.put("secrets", "apps", "one")
        await told(notes, "listed", "changed one@101")
        server.break_watches()
        await eventually(lambda: len(server.asked_for(SECRETS, watch=True)) == 2)
        server.put("secrets", "apps", "two")
        await told(notes, "listed", "changed one@101", "changed two@102")


async def test_watch_that_breaks_in_silence_goes_on_where_it_was(
    server: FakeAPIServer, watch: Watch, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    """Something in between may end connections that carry nothing."""
    async with running(watch):
        for watches in range(1, 4):
            await eventually(lambda: server.watching)
            await eventually(lambda: watch._has_begun)
            server.break_watches()
            await eventually(
                lambda watches=watches: len(server.asked_for(SECRETS, watch=True)) > watches  # type: ignore[misc]
            )
        await eventually(lambda: server.watching)
        server.put("secrets", "apps", "one")
        await told(notes, "listed", "changed one@101")
    assert len(server.asked_for(SECRETS)) == 1
    assert not caplog.records


async def test_watch_that_goes_on_where_it_broke_says_so(
    server: FakeAPIServer, client: Client, clock: HastyClock, notes: Notes
) -> None:
    """Nothing was missed; but who asked for something meanwhile may have been left without."""
    resumed = []
    watch = Watch(
        client,
        clock,
        FixedRandom(),
        SECRETS,
        listener=notes,
        on_resume=lambda: resumed.append(len(server.asked_for(SECRETS, watch=True))),
    )
    async with running(watch):
        await eventually(lambda: watch._has_begun)
        server.end_watches()
        await eventually(lambda: len(server.asked_for(SECRETS, watch=True)) == 2)
        await eventually(lambda: watch._has_begun)
        assert resumed == []
        server.break_watches()
        await eventually(lambda: resumed == [3])


async def test_outage_is_told_once_and_then_everything_is_listed(
    server: FakeAPIServer, watch: Watch, notes: Notes, clock: HastyClock
) -> None:
    """What was missed meanwhile can be found out from the list."""
    server.put("secrets", "apps", "one")
    async with running(watch):
        await eventually(lambda: server.watching)
        await server.stop()
        await eventually(lambda: len(clock.slept) > 5)
        server.delete("secrets", "apps", "one")
        server.put("secrets", "apps", "two")
        await server.start()
        await told(notes, "listed one@101", "interrupted", "listed two@103")
        await eventually(lambda: server.watching)
        server.put("secrets", "apps", "three")
        await told(notes, "listed one@101", "interrupted", "listed two@103", "changed three@104")


async def test_retries_back_off(server: FakeAPIServer, watch: Watch, clock: HastyClock) -> None:
    server.instead = lambda _: closing
    async with running(watch):
        await eventually(lambda: len(clock.slept) >= 7)
    assert clock.slept[:7] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


async def test_retries_of_many_replicas_spread(
    server: FakeAPIServer, client: Client, notes: Notes
) -> None:
    server.instead = lambda _: closing
    early, late = HastyClock(), HastyClock()
    async with (
        running(Watch(client, early, FixedRandom(0.0), SECRETS, listener=notes)),
        running(Watch(client, late, FixedRandom(1.0), SECRETS, listener=notes)),
    ):
        await eventually(lambda: len(early.slept) >= 3 and len(late.slept) >= 3)
    assert early.slept[1:3] == pytest.approx([1.4, 2.8])
    assert late.slept[1:3] == pytest.approx([2.6, 5.2])


async def test_lists_that_succeed_between_failures_do_not_end_the_backing_off(
    server: FakeAPIServer, watch: Watch, clock: HastyClock
) -> None:
    """Only a watch that works does."""
    server.instead = lambda asked: closing if asked.is_watch else None
    async with running(watch):
        await eventually(lambda: len(clock.slept) >= 4)
    assert clock.slept[:4] == [1.0, 2.0, 4.0, 8.0]


async def test_watch_that_works_again_ends_the_backing_off(
    server: FakeAPIServer, watch: Watch, notes: Notes, clock: HastyClock
) -> None:
    server.script.extend([closing, closing] * 2)
    async with running(watch):
        await eventually(lambda: server.watching)
        server.put("secrets", "apps", "one")
        await eventually(lambda: "changed one@101" in notes.told)
        before = len(clock.slept)
        server.break_watches()
        await eventually(lambda: len(clock.slept) > before)
    assert clock.slept[before] == 1.0


@pytest.mark.parametrize("code", [429, 503])
async def test_wait_that_the_api_server_asks_for_is_kept(
    server: FakeAPIServer, watch: Watch, notes: Notes, clock: HastyClock, code: int
) -> None:
    server.script.append(refusing(code, "Busy", "busy", retry_after="17"))
    server.script.append(refusing(code, "Busy", "busy", retry_after="99999"))
    async with running(watch):
        await told(notes, "listed")
    assert clock.slept == [17.0, 120.0]


async def test_forgotten_history_is_listed_again(
    server: FakeAPIServer, watch: Watch, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    """Others are told, too: whoever follows the same server has missed as much."""
    server.put("secrets", "apps", "one")
    async with running(watch):
        await eventually(lambda: server.watching)
        server.forget_history()
        server.end_watches()
        await told(notes, "listed one@101", "interrupted", "listed one@101")
    assert not caplog.records


async def test_history_forgotten_while_watching_is_listed_again(
    server: FakeAPIServer, watch: Watch, notes: Notes
) -> None:
    async with running(watch):
        await eventually(lambda: server.watching)
        server.say('{"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}\n')
        await told(notes, "listed", "interrupted", "listed")


async def test_page_that_expires_is_no_reason_to_give_up(
    server: FakeAPIServer, watch: Watch, notes: Notes
) -> None:
    server.script.append(answering({"metadata": {"resourceVersion": "7", "continue": "1"}}))
    server.script.append(refusing(410, "Expired", "the continue token is too old"))
    server.put("secrets", "apps", "one")
    async with running(watch):
        await told(notes, "listed one@101")


async def test_missing_permission_is_logged_once_and_tried_slowly(
    server: FakeAPIServer, watch: Watch, clock: HastyClock, caplog: pytest.LogCaptureFixture
) -> None:
    message = 'secrets is forbidden: User "springline" cannot list resource "secrets"'
    server.instead = lambda _: refusing(403, "Forbidden", message)
    async with running(watch):
        await eventually(lambda: len(clock.slept) > 4)
        server.instead = lambda _: None
        await eventually(lambda: server.watching)
        server.put("secrets", "apps", "one")
        await eventually(lambda: len(caplog.records) > 1)
    assert set(clock.slept) == {30.0}
    warning, info = caplog.records
    assert "bind a role that allows list and watch" in warning.message
    assert message in warning.__dict__["error"]
    assert warning.__dict__["path"] == SECRETS
    assert (info.levelno, info.message) == (logging.INFO, "watch goes on")


async def test_permission_to_list_but_not_to_watch_is_made_the_most_of(
    server: FakeAPIServer, watch: Watch, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    """What changed is found by listing, slowly; the log says once what is missing."""
    server.instead = lambda asked: refusing(403, "Forbidden", "no") if asked.is_watch else None
    async with running(watch):
        await eventually(lambda: notes.told.count("listed") > 2)
        server.put("secrets", "apps", "one")
        await eventually(lambda: "listed one@101" in notes.told)
    assert len(caplog.records) == 1


async def test_outage_is_logged_once(
    server: FakeAPIServer,
    watch: Watch,
    clock: HastyClock,
    notes: Notes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await server.stop()
    async with running(watch):
        await eventually(lambda: len(clock.slept) > 4)
        await server.start()
        await told(notes, "listed")
        await eventually(lambda: len(caplog.records) > 1)
    assert [record.message for record in caplog.records] == [
        "the API server cannot be reached; what changes is noticed when it is back",
        "watch goes on",
    ]


async def test_silence_is_the_end_of_a_watch(
    server: FakeAPIServer,
    watch: Watch,
    notes: Notes,
    clock: HastyClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead connection does not say so. Others have lost theirs as well."""
    monkeypatch.setattr(client_module, "SILENCE_SECONDS", 0.5)
    async with running(watch):
        await eventually(lambda: watch._has_begun)
        clock.now_monotonic += 90
        await eventually(lambda: "interrupted" in notes.told)
        server.put("secrets", "apps", "one")
        await eventually(lambda: "one@101" in notes.told[-1])


async def test_api_server_that_hangs_is_left_and_asked_again(
    server: FakeAPIServer, watch: Watch, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_REQUEST_SECONDS", 0.1)
    server.script.extend([hanging, streaming('{"items": ['), hanging])
    async with running(watch):
        await told(notes, "listed")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"type": "ADDED"}\n', id="without an object"),
        pytest.param('{"type": "ADDED", "object": 7}\n', id="with another object"),
        pytest.param('{"type": "NEWS", "object": {}}\n', id="of an unknown type"),
        pytest.param('{"type": 7, "object": {"metadata": []}}\n', id="of other types"),
        pytest.param("garbage\n", id="which is no event"),
    ],
)
async def test_line_that_says_nothing_does_no_harm(
    server: FakeAPIServer, watch: Watch, notes: Notes, line: str
) -> None:
    async with running(watch):
        await eventually(lambda: server.watching)
        server.say(line)
        server.put("secrets", "apps", "one")
        await eventually(lambda: "one@101" in notes.told[-1])


@pytest.mark.parametrize("fails_at", ["listed", "changed", "deleted"])
async def test_listener_that_fails_is_told_everything_again(
    server: FakeAPIServer,
    watch: Watch,
    notes: Notes,
    caplog: pytest.LogCaptureFixture,
    fails_at: str,
) -> None:
    notes.fails_at = fails_at
    async with running(watch):
        await eventually(lambda: server.watching)
        server.put("secrets", "apps", "one")
        server.delete("secrets", "apps", "one")
        server.put("secrets", "apps", "two")
        await eventually(lambda: "two@103" in notes.told[-1])
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.message == "watch failed; listing again"
