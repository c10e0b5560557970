"""Finds calls that may block in Springline's source, and whether the event loop makes them.

It reads the source and follows calls by name: of a module's own functions, of what it imports, and
of methods by `self`. What is handed to somebody, as to a thread, is not followed. So it finds what
somebody forgot, and proves nothing.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Function", "Source", "read"]

_ROOT = Path(__file__).resolve().parents[2] / "operator" / "springline"

_WORDS = """
open print input
os.access os.chmod os.chown os.fdopen os.fsync os.ftruncate os.link os.listdir os.lstat os.makedirs
os.mkdir os.open os.pwrite os.read os.readlink os.remove os.rename os.replace os.rmdir os.scandir
os.stat os.symlink os.truncate os.unlink os.utime os.walk os.write
os.path.exists os.path.getmtime os.path.getsize os.path.isdir os.path.isfile os.path.islink
os.path.realpath
socket.create_connection socket.getaddrinfo socket.gethostbyname socket.gethostname
subprocess.call subprocess.check_call subprocess.check_output subprocess.Popen subprocess.run
shutil.copy shutil.copyfile shutil.copytree shutil.move shutil.rmtree shutil.which
tempfile.mkdtemp tempfile.mkstemp tempfile.NamedTemporaryFile tempfile.TemporaryDirectory
time.sleep ssl.create_default_context click.echo click.secho click.prompt click.confirm
sys.stdout.write sys.stdout.flush sys.stderr.write sys.stderr.flush
config.load_incluster_config config.load_kube_config config.list_kube_config_contexts
"""
_CALLS = frozenset(_WORDS.split())
"""As they stand in the source."""

_METHOD_WORDS = """
exists expanduser glob hardlink_to is_dir is_file is_symlink iterdir lstat mkdir read_bytes
read_text readlink rglob rmdir samefile stat symlink_to touch unlink write_bytes write_text
load_cert_chain load_default_certs load_verify_locations set_default_verify_paths
"""
_METHODS = frozenset(_METHOD_WORDS.split())
"""Those of paths and of TLS contexts, whatever they are called on."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method, and what it calls."""

    module: str
    name: str
    """With its class, if it has one."""
    is_async: bool
    blocking: tuple[str, ...]
    """The calls in it that may block."""
    calls: frozenset[tuple[str, str]]
    """What it calls of Springline's own, by module and name."""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.module}:{self.name}"


@dataclass(frozen=True, slots=True)
class Source:
    """All functions of the package."""

    functions: Mapping[tuple[str, str], Function] = field(repr=False)

    def blocking(self) -> Iterator[Function]:
        """Yield the functions that call themselves what may block."""
        return (each for each in self.functions.values() if each.blocking)

    def on_loop(self, *, apart: Collection[str] = ()) -> Mapping[str, str]:
        """Return the places of those that coroutines come to, each with the way to there.

        `apart` are coroutines that run in an event loop of their own.
        """
        ways = _ways(self, apart)
        found = ((each, ways.get((each.module, each.name), ())) for each in self.blocking())
        return {each.place: " > ".join(step.place for step in way) for each, way in found if way}


def read(root: Path = _ROOT) -> Source:
    """Read the source of the package."""
    functions: dict[tuple[str, str], Function] = {}
    trees = {path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob("*.py")}
    for module, path in sorted(trees.items()):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = dict(_imported(tree, modules=trees.keys()))
        for name, node in _definitions(tree):
            functions[module, name] = _function(module, name, node, imported)
    return Source(functions)


def _ways(source: Source, apart: Collection[str]) -> Mapping[tuple[str, str], tuple[Function, ...]]:
    ways: dict[tuple[str, str], tuple[Function, ...]] = {}
    waiting: list[tuple[Function, ...]] = [
        (each,) for each in source.functions.values() if each.is_async and each.place not in apart
    ]
    while waiting:
        way = waiting.pop()
        last = way[-1]
        if (last.module, last.name) in ways:
            continue
        ways[last.module, last.name] = way
        for module, name in last.calls:
            called = (source.functions.get((module, each)) for each in (name, f"{name}.__init__"))
            waiting += [(*way, each) for each in called if each is not None]
    return ways


def _imported(tree: ast.Module, *, modules: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the names of Springline's own that a module knows: `module` or `module:name`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("springline"):
            continue
        package = (node.module or "").removeprefix("springline").lstrip(".").replace(".", "/")
        for alias in node.names:
            inside = f"{package}/{alias.name}".lstrip("/")
            name = alias.asname or alias.name
            if inside in modules or f"{inside}/__init__" in modules:
                yield name, inside
            else:
                yield name, f"{package}:{alias.name}"


_Definition = ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, _Definition]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node, f"{node.name}.")
        elif isinstance(node, _Definition):
            yield f"{prefix}{node.name}", node
            yield from _definitions(node, prefix)
        else:
            yield from _definitions(node, prefix)


def _function(module: str, name: str, node: _Definition, imported: Mapping[str, str]) -> Function:
    owner = f"{name.rpartition('.')[0]}." if "." in name else ""
    blocking: list[str] = []
    calls: set[tuple[str, str]] = set()
    for call in _calls(node):
        words = _words(call.func)
        if not words:
            if isinstance(call.func, ast.Attribute) and call.func.attr in _METHODS:
                blocking.append(call.func.attr)
            continue
        *front, last = words
        if _may_block(call, front, last):
            blocking.append(".".join(words))
        elif front == ["self"]:
            calls.add((module, f"{owner}{last}"))
        elif not front:
            known = imported.get(last, f"{module}:{last}")
            calls.add((known.partition(":")[0], known.partition(":")[2]))
        elif len(front) == 1 and front[0] in imported:
            target = imported[front[0]]
            where, _, of = target.partition(":")
            calls.add((where, f"{of}.{last}" if of else last))
    is_async = isinstance(node, ast.AsyncFunctionDef)
    return Function(module, name, is_async, tuple(blocking), frozenset(calls))


def _may_block(call: ast.Call, front: list[str], last: str) -> bool:
    if not front or last not in _METHODS:
        return ".".join([*front, last]) in _CALLS
    is_in_memory = {each.arg for each in call.keywords} == {"cadata"}
    return not (last == "load_verify_locations" and is_in_memory)


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that are made when a function runs, not those of functions inside of it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Definition | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _calls(child)


def _words(node: ast.expr) -> list[str]:
    """Return `a.b.c` as its words, nothing for what is not only names."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (front := _words(node.value)):
        return [*front, node.attr]
    return []
