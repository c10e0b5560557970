"""How the API server is reached, and as whom: a kubeconfig, or the ServiceAccount of the pod.

Credentials are read again whenever the API server no longer accepts them, and the token of a pod
now and then before that, because the token files of ServiceAccounts are rotated in place. What a
kubeconfig holds itself, such as a private key, never gets into a file that outlasts the reading.

Files are read in a thread: one on a file system that is gone must not keep the event loop waiting.
"""

import asyncio
import contextlib
import logging
import os
import ssl
import urllib.request
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from springline import private_files
from springline.errors import SpringlineError
from springline.kube import kubeconfigs, trust
from springline.kube.kubernetes_client import (
    ConfigException,
    Configuration,
    config,
    kube_config,
)
from springline.threads import Threads

__all__ = ["Access", "AccessError", "contexts"]

logger = logging.getLogger(__name__)

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_LOAD_SECONDS = 30.0
"""A kubeconfig may name a program that gets the credentials; it must not hang for ever."""

_REFRESH_SECONDS = 60.0
"""How often the token of a pod is read again. The kubelet replaces it minutes before its end."""

_held: ContextVar[contextlib.ExitStack] = ContextVar("held")
"""What a kubeconfig that is just being read has in itself."""


def _path_of(content: str | bytes, *_: object, **__: object) -> str:
    """Give a certificate or key a path for as long as the kubeconfig is being read."""
    encoded = content.encode() if isinstance(content, str) else content
    return _held.get().enter_context(private_files.holding(encoded))


# The library has files in the directory for temporary ones, which a read-only root does not have,
# and leaves the private key there until the process ends.
kube_config._create_temp_file_with_content = _path_of  # noqa: SLF001


class AccessError(SpringlineError):
    """There is no usable way to an API server; says what is missing."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What there is to read about the way to an API server."""

    configuration: Configuration
    tls: ssl.SSLContext
    namespace: str
    context: str


class Access:
    """One way to one API server. Shared by everything that talks to it."""

    def __init__(self, *, kubeconfig: str | None = None, context: str | None = None) -> None:
        """Choose the way; nothing is read before `load`.

        `kubeconfig` is a path, or several as in KUBECONFIG. Without one it is KUBECONFIG, then the
        pod's ServiceAccount, then the kubeconfig in the home directory.
        """
        self._kubeconfig = kubeconfig or os.environ.get("KUBECONFIG") or None
        self._context = context
        self._renewing = asyncio.Lock()
        self._renewals = 0
        self._refresh_at = 0.0
        """When the token of the pod is read again, by the clock of the event loop."""
        self._files = Threads(at_once=1, name="kubeconfig")
        self.configuration = Configuration()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        """For every connection to the API server; it trusts none before `load`."""
        self.namespace = ""
        """The namespace that the context names, or the pod's; empty if there is none."""
        self.context = ""
        """The name of the context that was chosen; empty where there is no kubeconfig."""

    async def load(self) -> None:
        """Read the configuration. Raises `AccessError`."""
        found = await self._read()
        self.configuration, self.tls = found.configuration, found.tls
        self.namespace, self.context = found.namespace, found.context

    @property
    def proxy(self) -> str | None:
        """The proxy to the API server: the kubeconfig's, else that of the environment."""
        return self.configuration.proxy or _proxy_for(self.configuration.host)

    @property
    def renewals(self) -> int:
        """How often credentials were read again; tells whether somebody else has just done so."""
        return self._renewals

    async def renew(self, *, seen: int) -> None:
        """Read the credentials again, unless that was done since `renewals` was `seen`.

        Raises `AccessError`.
        """
        async with self._renewing:
            if self._renewals != seen:
                return
            fresh = (await self._read()).configuration
            is_new = fresh.api_key != self.configuration.api_key
            # Into the same object: clients that exist keep their connections.
            self.configuration.api_key = fresh.api_key
            self.configuration.refresh_api_key_hook = fresh.refresh_api_key_hook
            self._renewals += 1
            # Those that stay refused are read again with every request.
            level = logging.INFO if is_new else logging.DEBUG
            logger.log(level, "credentials for the API server read again")

    async def login(self) -> str | None:
        """Return the header Authorization as it is now, None where a certificate logs in."""
        return await self.configuration.get_api_key_with_prefix("BearerToken")

    async def token(self) -> str | None:
        """Return the bearer token as it is now, None where a client certificate logs in."""
        header = await self.login()
        return header.partition(" ")[2].strip() if header else None

    async def _read(self) -> _Found:
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                found = await self._files.run(self._read_now)
        except TimeoutError:
            problem, is_plain = f"reading it took longer than {_LOAD_SECONDS:g} s", True
        except trust.TrustError as error:
            problem, is_plain = error.message, True
        except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            # What the library's loaders raise for files that are not as they should be.
            problem, is_plain = str(error) or type(error).__name__, False
        except AttributeError:
            # So they do for a number or a list where a text is expected.
            problem, is_plain = "something in it is not of the type that it should be", False
        except yaml.YAMLError:
            problem, is_plain = "it is no YAML", False
        else:
            self._refresh_at = _now() + _REFRESH_SECONDS
            return found
        # Outside of `except`: the original error may quote the file, and so a token.
        if not is_plain:
            problem = await self._in_plain_words() or problem
        raise AccessError(f"{self._described}: {problem}")

    def _read_now(self) -> _Found:
        """Read all there is, in a thread; raises what `_read` says.

        The library's loader is a coroutine that opens files, so it has an event loop of its own.
        """
        return asyncio.run(self._reading())

    async def _reading(self) -> _Found:
        configuration = Configuration()
        with contextlib.ExitStack() as held:
            _held.set(held)
            async with asyncio.timeout(_LOAD_SECONDS):
                namespace, context = await self._read_into(configuration)
            tls = _tls(configuration)
        return _Found(configuration=configuration, tls=tls, namespace=namespace, context=context)

    async def _read_into(self, configuration: Configuration) -> tuple[str, str]:
        """Read the configuration, and return the namespace that goes with it, and the context."""
        if self._kubeconfig is None and _in_pod():
            # Its own refreshing would read the file on the event loop.
            config.load_incluster_config(configuration, try_refresh_token=False)
            configuration.refresh_api_key_hook = self._refresh  # type: ignore[assignment]
            return _namespace_of_pod(), ""
        loader = await config.load_kube_config(
            config_file=self._kubeconfig,
            context=self._context or _first_context(self._kubeconfig),
            client_configuration=configuration,
            persist_config=False,
        )
        _check_server(configuration)
        _check_login(loader, configuration)
        chosen = loader.current_context
        return str(chosen["context"].get("namespace") or ""), str(chosen["name"])

    async def _in_plain_words(self) -> str:
        """Return what is wrong with the kubeconfig, empty if nothing is found or there is none."""
        paths = self._kubeconfig or ("" if _in_pod() else _default_file())
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(_LOAD_SECONDS):
                return await self._files.run(lambda: kubeconfigs.problem(paths, self._context))
        return ""

    async def _refresh(self, configuration: Configuration) -> None:
        """Read the token of the pod again if it is time; called before each request.

        Until it is read, and if it cannot be, the token that there is counts.
        """
        if _now() < self._refresh_at:
            return
        self._refresh_at = _now() + _REFRESH_SECONDS
        with contextlib.suppress(config.ConfigException, OSError):
            configuration.api_key = await self._files.run(_keys_of_pod)

    @property
    def _described(self) -> str:
        if self._kubeconfig is not None:
            return f"the kubeconfig {self._kubeconfig} cannot be used"
        if _in_pod():
            return "the ServiceAccount of the pod cannot be used"
        return (
            "there is no cluster to talk to: KUBECONFIG is not set, this is no pod, and "
            "~/.kube/config cannot be used"
        )


def _check_server(configuration: Configuration) -> None:
    """Raise `ConfigException` unless there is the URL of a server.

    The library goes on with what it has then, and every request would fail with a path.
    """
    address = urlsplit(configuration.host)
    if address.scheme not in ("http", "https") or not address.hostname:
        message = "the server of its cluster is no URL like https://10.0.0.1:6443"
        raise ConfigException(message)


def _check_login(loader: kube_config.KubeConfigLoader, configuration: Configuration) -> None:
    """Raise `ConfigException` if a program was to log in and has not.

    The library goes on without a login then, and the API server would say what nobody may do.
    """
    user = loader._user  # noqa: SLF001 - nothing else knows
    if user is None or "exec" not in user or configuration.api_key or configuration.cert_file:
        return
    program = user["exec"].safe_get("command")
    message = f"the program that logs in, {program}, has given no credentials"
    raise ConfigException(message)


def _tls(configuration: Configuration) -> ssl.SSLContext:
    """Take the certificates over, whose files may be gone after this."""
    tls = trust.context(
        verify=configuration.verify_ssl,
        authority=configuration.ssl_ca_cert,
        certificate=configuration.cert_file,
        key=configuration.key_file,
        server_name=configuration.tls_server_name,
    )
    configuration.ssl_ca_cert = configuration.cert_file = configuration.key_file = None
    return tls


def _proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL."""
    address = urlsplit(url)
    if not address.hostname or urllib.request.proxy_bypass(address.hostname):
        return None
    return urllib.request.getproxies().get(address.scheme)


def contexts(paths: str | None) -> list[str]:
    """Return the names of the contexts of a kubeconfig. Raises what the library raises."""
    found, _ = config.list_kube_config_contexts(paths)
    return [str(each["name"]) for each in found]


def _first_context(paths: str | None) -> str | None:
    """Return the current context of the first file that names one.

    Of several files, the library takes the last one's, and kubectl the first one's.
    """
    for path in (paths or "").split(os.pathsep):
        file = Path(path).expanduser()
        if path and file.is_file():
            document = yaml.safe_load(file.read_text(encoding="utf-8"))
            if isinstance(document, dict) and (name := document.get("current-context")):
                return str(name)
    return None


def _namespace_of_pod() -> str:
    try:
        return _POD_NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _keys_of_pod() -> dict[str, str]:
    fresh = Configuration()
    config.load_incluster_config(fresh, try_refresh_token=False)
    keys: dict[str, str] = fresh.api_key
    return keys


def _now() -> float:
    return asyncio.get_running_loop().time()


def _default_file() -> str:
    return str(kube_config.KUBE_CONFIG_DEFAULT_LOCATION)


def _in_pod() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
