"""What a connection does with its calls, without I/O (R3). Pure, but for the engine it owns.

It has all calls of one connection: those that wait and those in flight, in their order. It decides
which goes next, and what each is told that gets no answer. Sockets, tasks and time are in
connection.py, which feeds it and carries out what it returns.
"""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Final

from springline.drivers.http import bounds, errors
from springline.drivers.http.engine import (
    Answered,
    Encoded,
    End,
    Ended,
    EndKind,
    Engine,
    Event,
    Failed,
    Refused,
)
from springline.drivers.http.errors import RetryRequestError
from springline.drivers.http.messages import Request, Response
from springline.errors import ConnectError
from springline.reasons import Reason

__all__ = ["Call", "Conversation", "Outcome"]

Outcome = Response | Exception


class Call:
    """One request, from the moment it is asked for until there is an outcome."""

    __slots__ = ("is_sent", "key", "octets", "request")

    def __init__(self, key: int, request: Request) -> None:
        self.key = key
        self.request = request
        self.is_sent = False
        self.octets = 0


class Conversation:
    """The calls of one connection.

    After each call of a method, `output` is to be sent, and `settled` to be told, in this order.
    """

    __slots__ = (
        "_engine",
        "_flight",
        "_half_closes",
        "_is_ours",
        "_is_shut",
        "_keys",
        "_octets",
        "_persistent",
        "_waiting",
        "_where",
        "answers",
        "end",
        "output",
        "settled",
    )

    def __init__(self, *, persistent: bool | None, where: str) -> None:
        """Begin before there is a transport. `where` is the peer as people see it."""
        self._persistent = persistent
        self._where = where
        self._engine: Engine | None = None
        self._keys = itertools.count()
        self._waiting: list[Call] = []  # a deque is larger, and these are few
        self._flight: dict[int, Call] = {}
        self._octets = 0  # in flight
        self._is_shut = False
        self._is_ours = False  # the end that is under way
        self._half_closes = False
        self.answers = 0
        """Answers that have come."""
        self.end: End | None = None
        """How it ended, once it has."""
        self.output = bytearray()
        """What is to be sent now."""
        self.settled: list[tuple[Call, Outcome]] = []
        """Calls that are over now."""

    @property
    def length(self) -> int:
        """Calls that wait, and those sent and not answered (R3.3)."""
        return len(self._waiting) + len(self._flight)

    @property
    def is_closed(self) -> bool:
        """False only while connecting or open (R3.8)."""
        return self._is_shut or self.end is not None

    @property
    def is_ready(self) -> bool:
        """Whether requests can be sent, as far as the peer is concerned."""
        return self._engine is not None and self._engine.is_ready

    @property
    def has_sent_all(self) -> bool:
        """Whether the sending side has no more to say, while answers are awaited (R3.11)."""
        return (
            self._half_closes
            and self.end is None
            and not self._waiting
            and self._engine is not None
            and self._engine.half_closes
        )

    def add(self, request: Request) -> Call:
        """Take a call in. Raises `RetryRequestError` where no more are taken (R3.9)."""
        why = ""
        if self.is_closed:
            why = self.end.text if self.end is not None else "the connection is shut down"
        elif len(self._waiting) >= bounds.MAX_WAITING:
            why = f"{bounds.MAX_WAITING} requests wait for this connection already"
        if why:
            raise _retry(request, why, is_unprocessed=True)
        call = Call(next(self._keys), request)
        self._waiting.append(call)
        if self._persistent is False:
            self._is_shut = self._is_ours = True  # one request, and no other (R3.2)
        self._pump()
        self._finish_if_done()
        return call

    def begin(self, engine: Engine) -> None:
        """Speak through `engine` from now on: there is a transport."""
        self._engine = engine
        self.output += engine.start()
        self._pump()
        self._finish_if_done()

    def receive(self, data: bytes) -> None:
        """Take in what the peer has sent."""
        if self._engine is None or self.end is not None:
            return
        output, events = self._engine.receive(data)
        self.output += output
        self._handle(events)

    def receive_eof(self) -> None:
        """Take in that the peer sends no more."""
        if self._engine is not None and self.end is None:
            self._handle(self._engine.receive_eof())

    def lose(self, error: ConnectError) -> None:
        """Take in that the transport is gone, or never came to be."""
        if self.end is not None:
            return
        end = End(kind=EndKind.FAILED, reason=error.reason, text=error.message)
        self._finish(Ended(end=end), error)

    def shutdown(self) -> None:
        """Take no more calls; those there are get sent and answered (R3.5). Idempotent."""
        if not self.is_closed:
            self._is_shut = self._is_ours = self._half_closes = True
            self._finish_if_done()

    def close(self, end: End) -> None:
        """End at once; what has no answer fails with the retryable error (R3.6). Idempotent."""
        if self.end is not None:
            return
        if self._engine is not None:
            self.output += self._engine.finish()
        for call in self._flight.values():
            self._settle(call, _retry(call.request, end.text, is_unprocessed=False))
        self._forget_flight()
        self._end(end)

    def abandon(self, call: Call) -> None:
        """Take in that nobody waits for a call any more.

        One that waits is dropped. What is in flight is called off where the protocol can do that;
        else its answer is read and dropped, for the sake of those behind it.
        """
        if call.is_sent and call.key not in self._flight:
            return
        if not call.is_sent:
            self._drop_waiting(call)
        elif not self._call_off(call):
            return
        self._settle(call, _retry(call.request, "nobody waits for it", is_unprocessed=False))
        self._pump()
        self._finish_if_done()

    def expire(self, call: Call) -> None:
        """Take in that the time of a call is over: it fails with `TimeoutError`.

        With HTTP/1.1 an answer that does not come holds up all behind it, so the connection ends.
        """
        if call.is_sent and call.key not in self._flight:
            return
        missing = TimeoutError("the request was not answered in time")
        if not call.is_sent:
            self._drop_waiting(call)
            self._settle(call, missing)
        else:
            is_off = self._call_off(call)
            self._remove(call.key)
            self._settle(call, missing)
            if not is_off:
                text = f"{self._where}: a request was not answered in time"
                end = End(kind=EndKind.FAILED, reason=Reason.PEER_CLOSED, text=text)
                self._finish(Ended(end=end))
                return
            self._pump()
        self._finish_if_done()

    def ping(self) -> bool:
        """Ask the peer for a sign of life; whether the protocol can."""
        if self._engine is None or self.end is not None:
            return False
        ping = self._engine.ping()
        self.output += ping
        return bool(ping)

    # Sending

    def _pump(self) -> None:
        """Send what may be sent, in the order in which it was asked for."""
        engine = self._engine
        while engine is not None and engine.is_ready and self._waiting and self.end is None:
            call = self._waiting[0]
            if not self._may_send(engine, call):
                return
            self._waiting.pop(0)
            encoded = self._encode(call)
            if encoded is None:
                continue
            call.is_sent, call.octets = True, encoded.octets
            self._flight[call.key] = call
            self._octets += call.octets
            self.output += engine.send(call.key, encoded)

    def _may_send(self, engine: Engine, call: Call) -> bool:
        if self._flight:
            if self._persistent is None and not engine.takes_several:
                return False  # nothing has shown yet that it can (R3.2)
            body = call.request.body
            octets = len(body) if isinstance(body, bytes) else bounds.MAX_REQUEST_BODY
            if self._octets + octets > bounds.MAX_OUTSTANDING_OCTETS:
                return False
        return engine.has_room(call.request)

    def _encode(self, call: Call) -> Encoded | None:
        """Return the request with its body at hand; None if there is none, and the call is over."""
        request = call.request
        body = request.body
        try:
            whole = body if isinstance(body, bytes) else _joined(body)
        except Exception as error:  # noqa: BLE001 - the caller's own code: the caller is told
            self._settle(call, error)
            return None
        if len(whole) > bounds.MAX_REQUEST_BODY:
            too_long = f"the body of a request has more than {bounds.MAX_REQUEST_BODY} octets"
            self._settle(call, ValueError(too_long))
            return None
        return Encoded(
            request=request,
            body=whole,
            is_of_known_length=isinstance(body, bytes),
            is_last=self._is_shut and not self._waiting,
        )

    # What comes back

    def _handle(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case Answered(key=key, response=response):
                    self.answers += 1
                    self._settle_key(key, response)
                case Refused(key=key, why=why):
                    call = self._flight.get(key)
                    if call is not None:
                        error = _retry(call.request, self._at(why), is_unprocessed=True)
                        self._settle_key(key, error)
                case Failed(key=key, reason=reason, text=text):
                    self._settle_key(key, errors.failed(reason, self._at(text)))
                case Ended(end=end):
                    self._finish(dataclasses.replace(event, end=self._placed(end)))
                    return
        if self._engine is not None and self._engine.is_draining:
            self._drain()
        self._pump()
        self._finish_if_done()

    def _drain(self) -> None:
        """Take no more calls, and send none of those that wait: the peer will not answer them."""
        self._is_shut = True
        why = self._at("the peer takes no more requests on this connection")
        while self._waiting:
            call = self._waiting.pop(0)
            self._settle(call, _retry(call.request, why, is_unprocessed=True))

    def _placed(self, end: End) -> End:
        """Return the end with the peer in its text, and as ours where it is."""
        if self._is_ours and end.is_orderly and not self.length:
            return _DONE
        return dataclasses.replace(end, text=self._at(end.text))

    def _finish(self, ended: Ended, error: ConnectError | None = None) -> None:
        """End for good, with what the peer has done or left. `error` says the same, if given."""
        begun: frozenset[int] = frozenset()
        end = ended.end
        if self._engine is not None:
            begun = self._engine.begun
            self.output += self._engine.finish()
        if end.reason is Reason.PEER_CLOSED and self.answers and self._flight and not begun:
            # An idle connection ended while requests were on their way (RFC 9112 §9.3.1).
            end = dataclasses.replace(end, kind=EndKind.PEER)
        failure = error or errors.failed(end.reason, end.text)
        self._fail_flight(failure, begun, is_unprocessed=ended.is_unprocessed)
        if not self.is_ready:
            # It was never connected, and those who wait learn why.
            self._end(end, failure)
        else:
            self._end(end)

    def _fail_flight(
        self, failure: ConnectError, begun: frozenset[int], *, is_unprocessed: bool
    ) -> None:
        """Tell those in flight that there will be no answer, each what became of it."""
        oldest = next(iter(self._flight), None)
        for key, call in self._flight.items():
            # What a new connection does not answer at all, another one does not either.
            is_new = not self.answers and key == oldest
            if is_unprocessed or (call.request.is_idempotent and key not in begun and not is_new):
                why = failure.message
                self._settle(call, _retry(call.request, why, is_unprocessed=is_unprocessed))
            elif key in begun or key == oldest:
                self._settle(call, failure.again())
            else:
                self._settle(call, errors.failed(Reason.PEER_CLOSED, failure.message))
        self._forget_flight()

    def _end(self, end: End, waiting: ConnectError | None = None) -> None:
        self.end = end
        while self._waiting:
            call = self._waiting.pop(0)
            if waiting is not None:
                self._settle(call, waiting.again())
            else:
                self._settle(call, _retry(call.request, end.text, is_unprocessed=True))

    def _finish_if_done(self) -> None:
        """End after the last answer; without a transport there is nothing to wait for."""
        if self._is_shut and not self.length and self.end is None:
            if self._engine is not None:
                self.output += self._engine.finish()
            self._end(_DONE)

    # Bookkeeping

    def _call_off(self, call: Call) -> bool:
        """Give up what is in flight; whether the connection can go on."""
        if self._engine is None or call.key not in self._flight:
            return True
        output = self._engine.cancel(call.key)
        if output is None:
            return False
        self.output += output
        self._remove(call.key)
        return True

    def _drop_waiting(self, call: Call) -> None:
        if call in self._waiting:
            self._waiting.remove(call)

    def _settle_key(self, key: int, outcome: Outcome) -> None:
        call = self._remove(key)
        if call is not None:
            self._settle(call, outcome)

    def _remove(self, key: int) -> Call | None:
        call = self._flight.pop(key, None)
        if call is not None:
            self._octets -= call.octets
        return call

    def _forget_flight(self) -> None:
        self._flight.clear()
        self._octets = 0

    def _settle(self, call: Call, outcome: Outcome) -> None:
        self.settled.append((call, outcome))

    def _at(self, text: str) -> str:
        return f"{self._where}: {text}"


_DONE: Final = End(kind=EndKind.DONE, reason=Reason.CLIENT_CLOSED, text="all requests are answered")


def _retry(request: Request, why: str, *, is_unprocessed: bool) -> RetryRequestError:
    return RetryRequestError(
        why, is_unprocessed=is_unprocessed, is_idempotent=request.is_idempotent
    )


def _joined(pieces: Iterable[bytes]) -> bytes:
    """Return the pieces as one, of which no more are asked for than may be sent."""
    joined = bytearray()
    for piece in pieces:
        joined += piece
        if len(joined) > bounds.MAX_REQUEST_BODY:
            break
    return bytes(joined)
