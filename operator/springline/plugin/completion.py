"""What the shell offers after the Tab key.

For `kubectl-springline` that is click's own completion. For `kubectl springline` kubectl's is
asked, which in turn asks an executable `kubectl_complete-springline` for plugins: `main` here. It
answers as kubectl expects it: a line for each proposal, then a colon and what the shell is to do.
"""

import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
)

__all__ = [
    "SHELLS",
    "connections",
    "contexts",
    "for_shell",
    "main",
    "namespaces",
    "reasons",
]

PROGRAM: Final = "kubectl-springline"
VARIABLE: Final = "_KUBECTL_SPRINGLINE_COMPLETE"

SHELLS: Final[Mapping[str, type[ShellComplete]]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}

_LIMIT_SECONDS = 3.0
"""Nobody waits longer for a proposal."""

# What kubectl is told, as its library numbers it.
_FILES, _NO_FILES, _DIRECTORIES = 0, 4, 16

_Proposals = list[CompletionItem[str]]


def for_shell(shell: str, command: click.Command) -> str:
    """Return the script that a shell has to read."""
    return SHELLS[shell](command, {}, PROGRAM, VARIABLE).source()


def main() -> None:
    """Answer kubectl: the arguments are what was typed so far, the last of them incomplete."""
    from springline.plugin.cli import main as command  # noqa: PLC0415 - which imports this module

    *before, incomplete = sys.argv[1:] or [""]
    shell = ShellComplete(command, {}, PROGRAM, VARIABLE)
    directive = _NO_FILES
    for item in shell.get_completions(before, incomplete):
        match item.type:
            case "file":
                directive = _FILES
            case "dir":
                directive = _DIRECTORIES
            case _:
                click.echo(f"{item.value}\t{item.help}" if item.help else item.value)
    click.echo(f":{directive}")


# --- what can stand in the place of an argument


def connections(context: click.Context, _: click.Parameter, incomplete: str) -> _Proposals:
    """Propose names of connections that are not named yet, behind the type that was typed."""
    kind, *namespace = incomplete.split("/")[:-1] or [""]
    before = "".join(f"{part}/" for part in (kind, *namespace) if part)

    async def names() -> list[str]:
        from springline.plugin import cluster  # noqa: PLC0415 - large libraries

        async with cluster.opened(_target(context)) as there:
            found = await there.at("".join(namespace[:1])).connections()
            return [f"{before}{each.name}" for each in found]

    given = context.params.get("names") or ()
    return [item for item in _asked(names, incomplete) if item.value not in given]


def namespaces(context: click.Context, _: click.Parameter, incomplete: str) -> _Proposals:
    """Propose names of namespaces."""

    async def names() -> list[str]:
        from springline.plugin import cluster  # noqa: PLC0415 - large libraries

        async with cluster.opened(_target(context)) as there:
            return await there.namespaces()

    return _asked(names, incomplete)


def contexts(context: click.Context, _: click.Parameter, incomplete: str) -> _Proposals:
    """Propose contexts of the kubeconfig."""

    async def names() -> list[str]:
        from springline.kube import access  # noqa: PLC0415 - large libraries
        from springline.threads import Threads  # noqa: PLC0415 - with it

        target = _target(context)
        reading = Threads(at_once=1, name="kubeconfig")
        return await reading.run(lambda: access.contexts(target.file))

    return _asked(names, incomplete)


def reasons(_: click.Context, __: click.Parameter, incomplete: str) -> _Proposals:
    """Propose reasons, in whatever case they are begun."""
    from springline.plugin import reasons as known  # noqa: PLC0415 - reads a file

    return [
        CompletionItem(each)
        for each in known.all_of_them()
        if each.lower().startswith(incomplete.lower())
    ]


def _target(context: click.Context) -> Any:
    from springline.plugin.cluster import Target  # noqa: PLC0415 - large libraries

    return Target(
        kubeconfig=context.params.get("kubeconfig"),
        context=context.params.get("context"),
        namespace=context.params.get("namespace"),
    )


def _asked(names: Callable[[], Coroutine[Any, Any, list[str]]], incomplete: str) -> _Proposals:
    """Return proposals, or none: there is no place here to say what went wrong."""
    import asyncio  # noqa: PLC0415 - not for what needs no cluster

    async def in_time() -> list[str]:
        async with asyncio.timeout(_LIMIT_SECONDS):
            return await names()

    try:
        found = asyncio.run(in_time())
    except Exception:  # noqa: BLE001 - the top: a traceback would end up in the line being typed
        return []
    return [CompletionItem(each) for each in found if each.startswith(incomplete)]
