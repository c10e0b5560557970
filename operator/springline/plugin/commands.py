"""What the commands do, one by one. They print to standard output, and notes to standard error."""

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO

import click

from springline.outlets import Output
from springline.plugin import account, actions, cluster, columns, following, names
from springline.plugin.account import Entry, Tone
from springline.plugin.actions import Action
from springline.plugin.choices import Choice
from springline.plugin.cluster import Cluster, Target
from springline.plugin.connection import Connection
from springline.plugin.errors import Exit, PluginError
from springline.plugin.names import Named
from springline.plugin.page import Page
from springline.standalone.lines import aligned, fitted
from springline.threads import Threads

if TYPE_CHECKING:
    from springline.plugin.bundle import Bundle

__all__ = ["act", "check_in_cluster", "report", "status", "watch"]

_COLOURS: Final[dict[Tone, str | None]] = {
    "good": "green",
    "bad": "red",
    "notice": "yellow",
    "faint": None,
    "": None,
}


def _now() -> datetime:
    return datetime.now(UTC)


def _output(
    stream: TextIO, name: str, *, on_broken: Callable[[OSError], object] = lambda _: None
) -> Output:
    return Output(
        stream,
        name=name,
        told=lambda count: f"{count} line(s) are missing here: nothing read them in time",
        on_broken=on_broken,
    )


# --- status


async def status(
    target: Target, choice: Choice, page: Page, *, output: str, operator_namespace: str | None
) -> Exit:
    """Say how connections are, and return how it went; the page is printed afterwards."""
    choice = choice.checked(target, one_is_needed=False)
    namespaces = target.all_namespaces or choice.has_namespaces
    async with cluster.opened(target) as there:
        found, problems = await choice.found(there)
        is_one = len(choice.named) == 1
        match output or ("account" if is_one else "table"):
            case "json" | "yaml" as form if found or not problems:
                _say_documents(page, found, form, is_one=is_one)
            case "name":
                for each in found:
                    page.say(_named(each, namespaces=namespaces))
            case "account":
                await _say_accounts(page, there, found, operator_namespace)
            case form:
                _say_table(page, found, namespaces=namespaces, wide=form == "wide")
        for problem in problems:
            page.say(f"error: {problem}", err=True)
        if not found and not problems:
            where = f"namespace {there.namespace}" if there.namespace else "any namespace"
            page.say(f"there is no BrokerConnection in {where}", err=True)
    return max((problem.code for problem in problems), default=Exit.DONE)


def _named(connection: Connection, *, namespaces: bool) -> str:
    """Return what is taken back as an argument, from every namespace if it has one."""
    return names.written(connection.name, connection.namespace if namespaces else "")


def _say_documents(page: Page, found: Sequence[Connection], form: str, *, is_one: bool) -> None:
    documents = [_without_bookkeeping(each) for each in found]
    shown = documents[0] if is_one else {"apiVersion": "v1", "kind": "List", "items": documents}
    if form == "json":
        page.say(json.dumps(shown, indent=4, ensure_ascii=False))
    else:
        import yaml  # noqa: PLC0415 - for this alone

        page.say(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), nl=False)


def _without_bookkeeping(connection: Connection) -> dict[str, Any]:
    """Return the document without `managedFields`, as `kubectl get` does."""
    metadata = dict(connection.get("metadata") or {})
    metadata.pop("managedFields", None)
    return {**connection.document, "metadata": metadata}


def _say_table(page: Page, found: Sequence[Connection], *, namespaces: bool, wide: bool) -> None:
    if not found:
        return
    now, header = _now(), columns.header(namespaces=namespaces, wide=wide)
    rows = [columns.row(each, now=now, namespaces=namespaces, wide=wide) for each in found]
    table: Sequence[Sequence[str]] = [header, *rows]
    if sys.stdout.isatty() and not wide:  # whoever asks for more columns gets them
        _, table = fitted(
            table,
            left_out_first=columns.LEFT_OUT_FIRST,
            to=shutil.get_terminal_size().columns,
            encoding=sys.stdout.encoding or "utf-8",
        )
    first, *lines = aligned(table).splitlines()
    page.say(first)
    for connection, line in zip(found, lines, strict=True):
        page.say(_coloured(line, first, columns.tones(connection)))
    for sentence in columns.explanations(found):
        page.say(sentence, err=True)


def _coloured(line: str, header: str, tones: dict[str, Tone]) -> str:
    """Return a line of a table with its cells coloured; later columns first, so that all fit."""
    shown = header.split()
    starts = {column: header.index(f" {column}") + 1 for column in tones if column in shown}
    for column, start in sorted(starts.items(), key=lambda each: -each[1]):
        cell = line[start:].split(" ", 1)[0]
        end = start + len(cell)
        line = line[:start] + _painted(cell, tones[column]) + line[end:]
    return line


async def _say_accounts(
    page: Page, there: Cluster, found: Sequence[Connection], operator_namespace: str | None
) -> None:
    pods = await there.operator_pods(operator_namespace) if found else ""
    for number, connection in enumerate(found):
        if number:
            page.say()
        now = _now()
        holder = account.holder_in_words(
            connection.text("status", "holder"), pods, label=cluster.OPERATOR_LABEL, now=now
        )
        events = await there.events(connection)
        protocol = await there.protocol(connection)
        entries = account.account(connection, now=now, holder=holder, protocol=protocol)
        if not isinstance(events, str):
            entries += account.held_twice(events, now=now)
        _say_entries(page, entries)
        _say_events(page, events, now)
        if reason := account.explained(connection):
            page.say()
            page.say(f"kubectl springline explain {reason} says what to do.")


def _say_entries(page: Page, entries: Sequence[Entry]) -> None:
    width = max(len(entry.label) for entry in entries) + 3
    for entry in entries:
        first, *more = entry.lines
        label = f"{entry.label}:".ljust(width)
        page.say(click.style(label, bold=True) + _painted(first, entry.tone))
        for line in more:
            page.say(" " * width + line)


def _say_events(page: Page, events: Sequence[dict[str, Any]] | str, now: datetime) -> None:
    if isinstance(events, str):
        page.say(f"{click.style('Events:', bold=True)} not known: {events}")
        return
    if not events:
        page.say(f"{click.style('Events:', bold=True)} none")
        return
    page.say(click.style("Events:", bold=True))
    for line in aligned(account.event_lines(events, now=now)).splitlines():
        page.say(f"  {line}")


def _painted(text: str, tone: Tone) -> str:
    colour = _COLOURS[tone]
    return click.style(text, fg=colour) if colour else text


# --- watch


async def watch(target: Target, choice: Choice, *, wide: bool) -> None:
    """Follow connections until a signal asks for the end."""
    from springline.plugin import live  # noqa: PLC0415 - draws on terminals

    choice = choice.checked(target, one_is_needed=False)
    namespace = "" if target.all_namespaces else _one_namespace(choice)
    async with cluster.opened(target) as opened:
        there = opened.at(namespace)
        loop = asyncio.get_running_loop()
        unread: asyncio.Future[None] = loop.create_future()
        output = _output(
            sys.stdout,
            "output",
            on_broken=lambda error: loop.call_soon_threadsafe(unread.set_exception, error),
        )
        if sys.stdout.isatty():
            screen: live.Lines | live.Table = live.Table(
                output.as_file(),
                namespaces=target.all_namespaces,
                wide=wide,
                is_seen=lambda: output.is_idle,
            )
        else:
            screen = live.Lines(output.line)
        try:
            await live.until_stopped(_news_of(there, choice), screen, unread)
        finally:
            output.finish()


def _one_namespace(choice: Choice) -> str:
    """Return the namespace that the names say, empty if they say none. Raises `PluginError`."""
    found = {each.namespace for each in choice.named} or {""}
    if len(found) > 1:
        message = "connections of several namespaces are followed with --all-namespaces"
        raise PluginError(message, Exit.UNUSABLE)
    return found.pop()


def _news_of(there: Cluster, choice: Choice) -> AsyncGenerator[following.News, None]:
    """Yield the news of the connections that are meant."""
    name = choice.named[0].name if len(choice.named) == 1 else ""
    news = there.follow(selector=choice.selector, name=name)
    if not choice.named:
        return news
    keys = {(each.namespace or there.namespace, each.name) for each in choice.named}
    return following.only(news, keys)


# --- actions


async def act(target: Target, choice: Choice, action: Action, *, wait: bool, limit: float) -> Exit:
    """Ask something of connections; return how it went with the one that it went worst with."""
    choice = choice.checked(target, one_is_needed=True)
    namespaces = target.all_namespaces or choice.has_namespaces
    order = actions.order(action, now=_now())
    codes, changed = [Exit.DONE], list[Connection]()
    async with cluster.opened(target) as there, _saying() as say:
        for each in await _chosen(there, choice):
            try:
                connection = await there.at(each.namespace).change(each.name, order.change)
            except PluginError as error:
                say(f"error: {error}", is_error=True)
                codes.append(error.code)
                continue
            changed.append(connection)
            say(f"{_named(connection, namespaces=namespaces)} {action.value}")
        if wait:
            codes += await _all_waited(there, order, changed, limit, say, namespaces=namespaces)
        else:
            _warn_of_suspended(action, changed, say)
    return max(codes)


class _Say(Protocol):
    def __call__(self, text: str, *, is_error: bool = False) -> None: ...


@contextlib.asynccontextmanager
async def _saying() -> AsyncIterator[_Say]:
    """Give what says lines at once, and waits for nobody to read them but at the end.

    Raises `OSError` at the end where standard output could not be written, unless nobody wants it.
    """
    broken: list[OSError] = []
    outputs = [
        _output(sys.stdout, "output", on_broken=broken.append),
        _output(sys.stderr, "errors"),
    ]

    def say(text: str, *, is_error: bool = False) -> None:
        outputs[is_error].line(text)

    try:
        yield say
    finally:
        finishing = Threads(at_once=len(outputs), name="end-of-output")
        for each in outputs:
            await finishing.run(each.finish)
    if broken and not isinstance(broken[0], BrokenPipeError):
        raise broken[0]


async def _chosen(there: Cluster, choice: Choice) -> Sequence[Named]:
    """Return which ones are meant; those that were named are not asked for first."""
    if choice.named:
        return choice.named
    found, _ = await choice.found(there)
    if not found:
        raise PluginError("no BrokerConnection is selected", Exit.UNUSABLE)
    return [Named(each.name, each.namespace) for each in found]


async def _all_waited(
    there: Cluster,
    order: actions.Order,
    changed: Sequence[Connection],
    limit: float,
    say: _Say,
    *,
    namespaces: bool,
) -> list[Exit]:
    """Wait in each namespace by itself: whoever names some may not be able to look into all."""

    async def waited(where: str, those: Sequence[Connection]) -> list[Exit]:
        done = actions.until_done(there.at(where), order, those, limit=limit)
        try:
            return await _waited(done, order, say, namespaces=namespaces)
        except PluginError as error:
            say(f"error: {error}", is_error=True)
            return [error.code]

    if not there.namespace:  # nothing but all of them was asked for
        groups = {"": list(changed)}
    else:
        groups = {each.namespace: list[Connection]() for each in changed}
        for each in changed:
            groups[each.namespace].append(each)
    codes = await asyncio.gather(*(waited(where, those) for where, those in groups.items()))
    return [code for each in codes for code in each]


async def _waited(
    done: AsyncIterator[tuple[Connection, str]],
    order: actions.Order,
    say: _Say,
    *,
    namespaces: bool,
) -> list[Exit]:
    codes = []
    async for connection, problem in done:
        if problem:
            say(f"error: {connection.namespace}/{connection.name}: {problem}", is_error=True)
            codes.append(Exit.NOT_SO)
        else:
            condition = "Suspended" if order.action is Action.SUSPEND else "Ready"
            say(f"{_named(connection, namespaces=namespaces)} {condition}")
    return codes


def _warn_of_suspended(action: Action, changed: Sequence[Connection], say: _Say) -> None:
    if action not in (Action.RECONNECT, Action.RENEW):
        return
    for each in changed:
        if each.is_suspended:
            say(
                f"note: {each.name} is suspended; nothing is opened until it is resumed",
                is_error=True,
            )


# --- report


async def report(
    target: Target,
    choice: Choice,
    path: Path,
    *,
    limit: float,
    since: float,
    operator_namespace: str | None,
) -> Exit:
    """Gather what helps whoever looks for a fault, and write it to a path that is not there yet.

    Return whether all that were named are there.
    """
    from springline.plugin import report as reporting  # noqa: PLC0415 - for this alone
    from springline.plugin.bundle import refuse_to_overwrite  # noqa: PLC0415 - with it

    choice = choice.checked(target, one_is_needed=False)
    files, at = Threads(at_once=1, name="report"), _now()
    await files.run(lambda: refuse_to_overwrite(path))
    async with cluster.opened(target) as there, _saying() as say:
        gathering = reporting.Gathering(
            there,
            lambda line: say(line, is_error=True),
            seconds=limit,
            since_seconds=int(since),
            operator_namespace=operator_namespace,
        )
        code = await gathering.gather(choice, at)
        await _written(files, gathering.bundle, path, at)
        if gathering.missing:
            say(
                f"{gathering.missing} thing(s) could not be read; missing.txt has them",
                is_error=True,
            )
        say(
            "secrets were left out and masked; look through it before you pass it on", is_error=True
        )
        say(str(path))
    return code


async def _written(files: Threads, bundle: "Bundle", path: Path, at: datetime) -> None:
    """Write a report. Cancelled, it waits for the thread, which would leave a half of it."""
    writing = asyncio.ensure_future(files.run(lambda: bundle.write(path, at=at.timestamp())))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        bundle.abandon()
        with contextlib.suppress(PluginError):  # that it was not written
            await writing
        raise


# --- check


async def check_in_cluster(
    target: Target,
    files: Sequence[Path],
    options: Sequence[str],
    *,
    operator_namespace: str | None,
) -> int:
    """Run `springline check` in the operator's pod, and return its exit code."""
    from springline.plugin import remote  # noqa: PLC0415 - reads manifests

    # In a thread: standard input may be a terminal at which nobody types.
    files_off_loop = Threads(at_once=1, name="manifests")
    given = await files_off_loop.run(partial(remote.manifests, files))
    async with cluster.opened(target) as there:
        pod = remote.usable(await there.operator_pods(operator_namespace))
    command = await files_off_loop.run(partial(remote.command, pod, target, options))
    async with _saying() as say:
        say(f"checking in pod {pod.name} in namespace {pod.namespace}", is_error=True)
    return await remote.run(command, given)
