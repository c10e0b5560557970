"""What may happen to a session, in words: each line of a script is one act of the outside.

`declare virtual-host=other` is a declaration, `secret second` another value of its Secret, `next
refused` how the broker answers the next attempt, `closes` that it closes the connection, and `60 s`
that time passes. What the words stand for is made by builders.py and done by the fakes.
"""

import asyncio
import shlex
import ssl
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from springline import errors
from springline.api import v1alpha1
from springline.core.backoff import Retry
from springline.core.desired import RotationSettings, SessionSpec
from springline.core.events import EventType
from springline.core.session import Unusable
from springline.core.state import Failure
from springline.core.values import Credential, Endpoint, OpenRequest, TLSClient
from springline.reasons import Reason
from support import builders
from support.fakes import SILENCE, FakeConnection
from support.stage import Stage

__all__ = ["Acts", "UnknownActError"]

_VERIFICATION = " (verification)"

_PORT = 5672

# How an attempt may end, by the word for it; None is success.
_ANSWERS: Final[dict[str, Callable[[], Any]]] = {
    "open": lambda: None,
    "silent": lambda: SILENCE,
    "unreachable": builders.unreachable,
    "refused": builders.credential_refused,
    "expired": builders.credential_expired,
    "forbidden": builders.refused,
    "hopeless": builders.terminal,
    "limited": builders.limit_reached,
    "defective": lambda: ZeroDivisionError("a defect"),
}

# What there may be in the place of a credential.
_NO_CREDENTIAL: Final[dict[str, Callable[[], Exception]]] = {
    "missing": builders.no_secret,
    "unreadable": builders.secret_unreadable,
    "away": builders.no_new_token,
}

_UNUSABLE: Final = {
    "nonsense": Failure(reason=Reason.INVALID_SPEC, message="it contradicts itself"),
    "brokerless": Failure(
        reason=Reason.BROKER_NOT_FOUND, message='there is no Broker "rabbit"', elsewhere=True
    ),
    "forbidden": Failure(
        reason=Reason.NAMESPACE_NOT_ALLOWED, message="it is not for this namespace", elsewhere=True
    ),
}


class UnknownActError(Exception):
    """A line of a script says nothing that is known."""


class Acts:
    """Does to the session on a stage what lines of a script say."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._declared = 0
        self._refused: set[str] = set()
        """Secrets that the broker refuses."""
        self._refuses_all = False
        self._refuses_verifications = False
        self._lacks: set[str] = set()
        """Virtual hosts that the broker does not have."""
        self._limit: int | None = None
        """How many connections the broker allows."""
        self._waiting: list[asyncio.Future[Any]] = []
        self.told: list[str] = []
        """What came of those who wait, in order."""
        self._acts: dict[str, Callable[[Sequence[str]], None]] = {
            "declare": self._declare,
            "secret": self._secret,
            "token": self._token,
            "issue": self._issue,
            "credential": self._no_credential,
            "changed": self._changed,
            "certificates": self._certificates,
            "endpoint": self._endpoint,
            "host": self._host,
            "next": self._next,
            "always": self._always,
            "release": self._release,
            "broker": self._broker,
            "closes": self._closes,
            "block": self._block,
            "unblock": self._unblock,
            "updates": self._updates,
            "probes": self._probes,
            "sink": self._sink,
            "wall-clock": self._wall_clock,
            "request": self._request,
            "await": self._await,
        }
        stage.driver.refuses = self._refusal

    async def do(self, line: str) -> None:
        """Do what the line says, and give it the time to come to its end.

        With ` &` at its end the line gives it no time. Raises `UnknownActError`.
        """
        clock = self._stage.clock
        words = shlex.split(line)
        match words:
            case [seconds, "s"]:
                await clock.advance(float(seconds))
                return
            case [*_, "&"]:
                self._do(words[:-1])
                return
            case _:
                self._do(words)
        await clock.settle()

    def _do(self, words: Sequence[str]) -> None:
        act = self._acts.get(words[0]) if words else None
        if act is None:
            raise UnknownActError(" ".join(words))
        try:
            act(words[1:])
        except (KeyError, IndexError, ValueError) as error:
            raise UnknownActError(" ".join(words)) from error

    async def end(self) -> None:
        """Let go of what waits, so that the session can end."""
        self._stage.events.release()
        await self._stage.clock.settle()
        for each in self._waiting:
            each.cancel()
        await self._stage.clock.settle()

    # --- what is declared

    def _declare(self, words: Sequence[str]) -> None:
        self._declared += 1
        if len(words) == 1 and words[0] in _UNUSABLE:
            unusable = Unusable(generation=self._declared, problem=_UNUSABLE[words[0]])
            self._stage.session.declare(unusable)
            return
        spec = _spec(words, generation=self._declared)
        self._stage.session.declare(self._stage.desired(spec))

    # --- its credential

    def _secret(self, words: Sequence[str]) -> None:
        secret, user, version = [*words, "app", "2"][:3] if len(words) < 2 else [*words, "2"][:3]
        self._becomes(builders.a_credential(secret, username=user, version=version))

    def _token(self, words: Sequence[str]) -> None:
        self._becomes(self._new_token(words))

    def _issue(self, words: Sequence[str]) -> None:
        if words[0] in _NO_CREDENTIAL:
            answer: Any = _NO_CREDENTIAL[words[0]]()
        else:
            answer = self._new_token(words)
        self._stage.credentials.issue(answer)

    def _new_token(self, words: Sequence[str]) -> Credential:
        secret, seconds, *user = words
        now = self._stage.clock.now()
        return builders.a_token(
            secret,
            username=user[0] if user else "app",
            issued_at=now,
            expires_at=now + timedelta(seconds=float(seconds)),
        )

    def _no_credential(self, words: Sequence[str]) -> None:
        self._becomes(_NO_CREDENTIAL[words[0]]())

    def _becomes(self, answer: Credential | Exception) -> None:
        self._stage.credentials.answer = answer
        self._stage.session.credential_changed()

    def _changed(self, words: Sequence[str]) -> None:
        _require_none(words)
        self._stage.session.credential_changed()

    def _certificates(self, words: Sequence[str]) -> None:
        match words:
            case ["unusable"]:
                self._stage.tls.answer = builders.certificates_unusable()
            case []:
                self._stage.tls.answer = TLSClient(context=ssl.create_default_context())
            case _:
                raise UnknownActError(*words)
        self._stage.session.credential_changed()

    # --- where the broker is

    def _endpoint(self, words: Sequence[str]) -> None:
        """A Secret says where the broker is."""
        self._stage.endpoints.declare(*map(_endpoint, words))
        self._stage.session.credential_changed()

    def _host(self, words: Sequence[str]) -> None:
        number, *addresses = words
        host = _endpoint(number).host
        if addresses:
            self._stage.resolver.hosts[host] = tuple(addresses)
        else:
            self._stage.resolver.hosts[host] = builders.no_address()

    # --- what the broker does

    def _next(self, words: Sequence[str]) -> None:
        self._stage.driver.then(*(_ANSWERS[word]() for word in words))

    def _always(self, words: Sequence[str]) -> None:
        [word] = words
        self._stage.driver.otherwise = _ANSWERS[word]()

    def _release(self, words: Sequence[str]) -> None:
        """Let the attempts that wait in silence go on."""
        self._stage.driver.release(_ANSWERS[words[0]]() if words else None)

    def _broker(self, words: Sequence[str]) -> None:
        match words:
            case ["refuses", "all"]:
                self._refuses_all = True
            case ["refuses", "verifications"]:
                self._refuses_verifications = True
            case ["refuses", *secrets]:
                self._refused.update(secrets)
            case ["lacks", *virtual_hosts]:
                self._lacks.update(virtual_hosts)
            case ["accepts", "all"]:
                self._refuses_all = self._refuses_verifications = False
                self._refused.clear()
                self._lacks.clear()
                self._limit = None
            case ["allows", number]:
                self._limit = int(number)
            case ["asks", "nobody"]:
                self._stage.driver.asks = lambda _: False
            case ["asks", "everybody"]:
                self._stage.driver.asks = lambda _: True
            case ["cannot", "renew"]:
                self._stage.driver.cannot_renew = "the broker is too old for it"
            case _:
                raise UnknownActError(*words)

    def _refusal(self, request: OpenRequest[Any]) -> Exception | None:
        is_verification = request.parameters.connection_name.endswith(_VERIFICATION)
        is_refused = request.credential.secret.reveal() in self._refused
        if self._refuses_all or is_refused or (self._refuses_verifications and is_verification):
            return builders.credential_refused()
        if request.parameters.virtual_host in self._lacks:
            return builders.refused()
        if self._limit is not None and len(self._stage.driver.open_connections) >= self._limit:
            return builders.limit_reached()
        return None

    # --- what happens to the open connection

    @property
    def _live(self) -> Iterable[FakeConnection]:
        return self._stage.driver.open_connections[:1]

    def _closes(self, words: Sequence[str]) -> None:
        ends = {
            (): builders.server_close(),
            ("expired",): builders.server_close(
                "CONNECTION_FORCED - credential expired", says_expired=True
            ),
            ("unsaid",): builders.server_close("CONNECTION_FORCED - credential expired"),
            ("transport",): builders.transport_close(),
        }
        for connection in self._live:
            connection.end(ends[tuple(words)])

    def _block(self, words: Sequence[str]) -> None:
        for connection in self._live:
            match words:
                case []:
                    connection.block()
                case [text]:
                    connection.block(text, Reason.BLOCKED_BY_BROKER)
                case _:
                    raise UnknownActError(*words)

    def _unblock(self, words: Sequence[str]) -> None:
        _require_none(words)
        for connection in self._live:
            connection.unblock()

    def _updates(self, words: Sequence[str]) -> None:
        [word] = words
        answers: dict[str, Any] = {
            "silent": SILENCE,
            "refused": builders.update_refused(),
            "unsendable": builders.update_not_sent(),
            "defective": ZeroDivisionError("a defect"),
        }
        for connection in self._live:
            if word == "confirmed":
                connection.confirm_update()
            else:
                connection.update_answer = answers[word]

    def _probes(self, words: Sequence[str]) -> None:
        [word] = words
        answers: dict[str, Any] = {
            "silent": SILENCE,
            "refused": builders.probe_refused("403 ACCESS_REFUSED - no permission"),
            "expired": builders.probe_refused(
                "403 token expired", errors.ProbeRefusal.CREDENTIAL_EXPIRED
            ),
            "defective": ZeroDivisionError("a defect"),
        }
        for connection in self._live:
            connection.probe_answer = answers[word] if word in answers else float(word)

    # --- what is asked of the session, and what surrounds it

    def _sink(self, words: Sequence[str]) -> None:
        match words:
            case ["slow"]:
                self._stage.events.hold(*EventType)
            case ["quick"]:
                self._stage.events.release()
            case _:
                raise UnknownActError(*words)

    def _wall_clock(self, words: Sequence[str]) -> None:
        """Somebody sets the wall clock forward by so many seconds, or back."""
        [seconds] = words
        self._stage.clock.ahead += timedelta(seconds=float(seconds))

    def _request(self, words: Sequence[str]) -> None:
        session = self._stage.session
        match words:
            case ["renew"]:
                session.renew()
            case ["reconnect"]:
                session.reconnect()
            case ["close"]:
                self._wait("close", session.close())
            case ["close", "with", "connection"]:
                session.close_when_current_connection_is_closed()
            case ["cancel"]:
                if self._stage.task is not None:
                    self._stage.task.cancel()
            case _:
                raise UnknownActError(*words)

    def _await(self, words: Sequence[str]) -> None:
        session = self._stage.session
        match words:
            case ["connection"]:
                self._wait("connected", session.connected())
            case ["result"]:
                self._wait("connected or failed", session.connected_or_failed())
            case ["end"]:
                self._wait("close finished", session.close_finished())
            case _:
                raise UnknownActError(*words)

    def _wait(self, name: str, what: Coroutine[Any, Any, Any]) -> None:
        def tell(done: asyncio.Future[Any]) -> None:
            if done.cancelled():
                return
            if (error := done.exception()) is not None:
                self.told.append(f"{name}: {type(error).__name__}")
            else:
                result = done.result()
                said = result.reason if isinstance(result, Failure) else result
                self.told.append(f"{name}: {said if result is not None else 'done'}")

        waiting = asyncio.ensure_future(what)
        waiting.add_done_callback(tell)
        self._waiting.append(waiting)


def _require_none(words: Sequence[str]) -> None:
    if words:
        raise UnknownActError(*words)


def _endpoint(number: str) -> Endpoint:
    return Endpoint(f"rabbit-{number}.example", _PORT)


_Fields = dict[str, Any]

_TOLD_BY_SECRET: Final = v1alpha1.EndpointsFrom(
    secret_ref=v1alpha1.EndpointsSecretReference(name="rabbit-default-user")
)

# What a word of a declaration changes: of the session, of its target, and of its rotation.
_SPEC: Final[dict[str, Callable[[str], _Fields]]] = {
    "probe": lambda seconds: {
        "probe": builders.a_probe(interval=float(seconds)) if seconds else builders.PROBE
    },
    "suspend": lambda _: {"suspend": True},
    "stay-closed": lambda _: {"stay_closed": True},
    "retry": lambda delays: {"retry": _retry(*map(float, delays.split(",")))},
    "timeout": lambda seconds: {"connect_timeout": float(seconds)},
    "secret-ref": lambda name: {
        "credentials": v1alpha1.Credentials(secret_ref=v1alpha1.SecretReference(name=name))
    },
}
_TARGET: Final[dict[str, Callable[[str], _Fields]]] = {
    "virtual-host": lambda name: {"virtual_host": name},
    "heartbeat": lambda seconds: {"heartbeat_seconds": int(seconds)},
    "endpoints": lambda numbers: {"endpoints": tuple(map(_endpoint, numbers.split(",")))},
    "told-by-secret": lambda _: {"endpoints": (), "endpoints_from": _TOLD_BY_SECRET},
}
_ROTATION: Final[dict[str, Callable[[str], _Fields]]] = {
    "unverified": lambda _: {"verify": False},
    "when-limited": lambda what: {"when_limited": what},
    "renew-at": lambda share: {"renew_at": float(share)},
}


def _retry(delay: float, longest: float) -> Retry:
    return Retry(delay=delay, max_delay=longest, jitter=0.0)


def _spec(words: Sequence[str], *, generation: int) -> SessionSpec:
    """Return the declaration that the words make of the usual one."""
    spec: _Fields = {"generation": generation}
    target: _Fields = {}
    rotation: _Fields = {}
    for word in words:
        name, _, value = word.partition("=")
        for fields, known in ((spec, _SPEC), (target, _TARGET), (rotation, _ROTATION)):
            if name in known:
                fields.update(known[name](value))
                break
        else:
            raise UnknownActError(word)
    return builders.a_spec(
        target=builders.a_target(**target), rotation=RotationSettings(**rotation), **spec
    )
