"""What a peer may send, and when (OASIS AMQP 1.0 part 2 §2.4 to §2.7).

proton takes a peer at its word. It gives a session a second channel, and it takes transfers on a
link that sends; and it ends the connection when the answer to a Begin comes after we have ended
that session, which a slow peer may well send. So it is shown only what is in order, and of a
session that we have ended nothing more but its End.
"""

import itertools
from typing import Any, Final

from proton import uint, ushort

from springline.drivers.amqp10 import codec
from springline.drivers.amqp10.amqp_sessions import EngineSession, LinkName, Windows
from springline.drivers.amqp10.conditions import ILLEGAL_STATE, INVALID_FIELD, NOT_ALLOWED

__all__ = ["FrameGuard", "ViolationError"]

_HIGHEST_HANDLE: Final = 0x7FFFFFFF
"""As our Begin says (handle-max)."""
_HIGHEST_CHANNEL: Final = 0x7FFF
"""The most that our Open may say (channel-max)."""

_FLOW_HANDLE: Final = 4
"""The field of Flow (§2.7.4); null where it is about the session alone."""


class ViolationError(Exception):
    """The peer has sent what it may not send, or not now."""

    def __init__(self, condition: str, what: str) -> None:
        super().__init__(what)
        self.condition = condition
        """An error condition's symbol."""


class _Channel:
    """One session from our Begin on, as the frames have it."""

    __slots__ = ("asked", "handles", "is_shown", "own_handles", "session")

    def __init__(self, session: EngineSession) -> None:
        self.session = session
        self.is_shown = False
        """Whether proton has seen the peer's Begin."""
        self.asked: set[LinkName] = set()
        """Links that we attach, and that the peer has not."""
        self.handles: dict[int, LinkName] = {}
        """The peer's handles of attached links."""
        self.own_handles: dict[int, LinkName] = {}
        """Our handles of the links that we have attached."""


class FrameGuard:
    """Sees all frames of one connection, in their order, in both directions."""

    __slots__ = (
        "_by_channel",
        "_by_peer_channel",
        "_is_open",
        "_unanswered",
        "_unbegun",
        "is_closed",
    )

    def __init__(self) -> None:
        self._is_open = False
        self.is_closed = False
        """Whether the peer has said Close."""
        self._unbegun: list[EngineSession] = []
        """Those whose Begin has not been sent yet, in the order in which it will be."""
        self._by_channel: dict[int, _Channel] = {}
        """Begun by us and not ended, by our channel."""
        self._unanswered: dict[int, list[_Channel]] = {}
        """Begun by us and not by the peer, by our channel, which may be used again meanwhile."""
        self._by_peer_channel: dict[int, _Channel] = {}

    @property
    def awaits_end(self) -> bool:
        """Whether the peer has still to end a session that we have ended."""
        begun = itertools.chain(self._by_peer_channel.values(), *self._unanswered.values())
        sessions = itertools.chain(self._unbegun, (each.session for each in begun))
        return any(each.is_forgotten for each in sessions)

    # What we send

    def expect(self, session: EngineSession) -> None:
        """Take in that a session's Begin will be sent."""
        self._unbegun.append(session)

    def lets_out(self, channel: int, body: bytes) -> bool:
        """Take in a frame of ours, and return whether it is to be sent.

        proton sends a Flow with a new receiver, and says in it that it has counted no delivery.
        Where a broker counts from another number, it reads a credit into that (RabbitMQ 4.0), and
        hands messages out that nobody asked for. So nothing is said of a link's credit before the
        peer has attached it (§2.6.7).
        """
        match codec.descriptor(body):
            case codec.BEGIN:
                begun = _Channel(self._unbegun.pop(0))
                begun.session.own_windows = _windows(codec.first_fields(body, 4))
                self._by_channel[channel] = begun
                self._unanswered.setdefault(channel, []).append(begun)
            case codec.ATTACH:
                name, handle, is_receiver = codec.first_fields(body, 3)
                begun, link = self._by_channel[channel], (str(name), not is_receiver)
                begun.asked.add(link)
                begun.own_handles[int(handle)] = link
            case codec.FLOW:
                begun = self._by_channel[channel]
                if begun.asked:
                    handle = codec.field(codec.decode(body)[1], _FLOW_HANDLE)
                    return handle is None or begun.own_handles.get(int(handle)) not in begun.asked
            case codec.END:
                self._by_channel.pop(channel, None)
            case _:
                pass
        return True

    # What the peer sends

    def lacks_end(self, channel: int) -> bool:
        """Whether proton is to see an End before a Begin on this channel, which comes now.

        RabbitMQ with the plugin loses the End of a session now and then: its process tells another
        one to send it, and may take that one along when it ends. The channel is in use again then
        by what has answered our next Begin. Of a session that we have not ended this is a
        violation.
        """
        begun = self._by_peer_channel.get(channel)
        if begun is None or not begun.session.is_forgotten:
            return False
        del self._by_peer_channel[channel]
        return begun.is_shown

    def admits(self, channel: int, code: int, fields: list[Any]) -> bool:
        """Whether proton is to see a frame of the peer's. Raises `ViolationError`."""
        if self.is_closed:
            return False  # nothing may follow a Close
        match code:
            case codec.CLOSE:
                self.is_closed = True
                return True
            case codec.OPEN if not self._is_open:
                self._is_open = True
                return True
            case codec.OPEN:
                raise ViolationError(ILLEGAL_STATE, "a second Open")
            case _ if not self._is_open:
                raise ViolationError(ILLEGAL_STATE, "something before Open")
            case codec.BEGIN:
                return self._begin(channel, fields)
            case codec.END:
                return self._end(channel)
            case _:
                return self._other(channel, code, fields)

    def _begin(self, channel: int, fields: list[Any]) -> bool:
        ours = _number(fields, 0, ushort)
        windows = _windows(fields)
        if channel in self._by_peer_channel or channel > _HIGHEST_CHANNEL:
            raise ViolationError(NOT_ALLOWED, "a session on a channel that it may not have")
        begun = self._answered(ours)
        begun.session.windows = windows
        self._by_peer_channel[channel] = begun
        begun.is_shown = not begun.session.is_forgotten
        return begun.is_shown

    def _answered(self, ours: int | None) -> _Channel:
        """Return the session that a Begin answers, which waits no longer."""
        if ours is None:
            ours = self._abandoned()
        waiting = self._unanswered.get(ours)
        if not waiting:
            raise ViolationError(INVALID_FIELD, "an answer to a session that nobody began")
        begun = waiting.pop(0)
        if not waiting:
            del self._unanswered[ours]
        return begun

    def _abandoned(self) -> int:
        """Return our channel of a session that we have ended before it was answered.

        proton, as a server, says which one it answers only if it has not read the End yet.
        """
        for channel, waiting in self._unanswered.items():
            if waiting[0].session.is_forgotten:
                return channel
        raise ViolationError(NOT_ALLOWED, "the begin of a session that nobody asked for")

    def _end(self, channel: int) -> bool:
        begun = self._begun(channel)
        del self._by_peer_channel[channel]
        return begun.is_shown

    def _other(self, channel: int, code: int, fields: list[Any]) -> bool:
        check = _CHECKS.get(code)
        if check is None:
            raise ViolationError(NOT_ALLOWED, "a frame that there is not")
        begun = self._begun(channel)
        if begun.session.is_forgotten:
            return False
        check(begun, fields)
        return True

    def _begun(self, channel: int) -> _Channel:
        begun = self._by_peer_channel.get(channel)
        if begun is None:
            raise ViolationError(NOT_ALLOWED, "something for a session that there is not")
        return begun


def _attach(begun: _Channel, fields: list[Any]) -> None:
    name, receives = codec.field(fields, 0), codec.field(fields, 2)
    handle = _required(fields, 1)
    is_known = isinstance(name, str) and isinstance(receives, bool)
    if not is_known or (name, receives) not in begun.asked:
        raise ViolationError(NOT_ALLOWED, "the attach of a link that nobody asked for")
    if handle in begun.handles or handle > _HIGHEST_HANDLE:
        raise ViolationError(INVALID_FIELD, "a link on a handle that it may not have")
    begun.asked.remove((name, receives))
    begun.handles[handle] = (name, receives)


def _flow(begun: _Channel, fields: list[Any]) -> None:
    _number(fields, 0, uint)
    incoming, outgoing = _required(fields, 1), _required(fields, 3)
    _required(fields, 2)
    handle = _number(fields, _FLOW_HANDLE, uint)
    if handle is not None:
        _link(begun, handle)
        _number(fields, 5, uint)
        _number(fields, 6, uint)
    known = begun.session.windows
    if known is not None:
        begun.session.windows = Windows(
            incoming=incoming,
            outgoing=outgoing,
            offered_capabilities=known.offered_capabilities,
        )


def _transfer(begun: _Channel, fields: list[Any]) -> None:
    _, peer_receives = _link(begun, _required(fields, 0))
    if peer_receives:
        raise ViolationError(NOT_ALLOWED, "a transfer on a link that it receives from")
    _number(fields, 1, uint)


def _disposition(_: _Channel, fields: list[Any]) -> None:
    if not isinstance(codec.field(fields, 0), bool):
        raise ViolationError(INVALID_FIELD, "a disposition without a role")
    _required(fields, 1)
    _number(fields, 2, uint)


def _detach(begun: _Channel, fields: list[Any]) -> None:
    handle = _required(fields, 0)
    # proton shows a Detach only where it says closed, and not every broker does.
    begun.session.detached.add(_link(begun, handle))
    del begun.handles[handle]


_CHECKS: Final = {
    codec.ATTACH: _attach,
    codec.FLOW: _flow,
    codec.TRANSFER: _transfer,
    codec.DISPOSITION: _disposition,
    codec.DETACH: _detach,
}


def _link(begun: _Channel, handle: int) -> LinkName:
    """Return the link of a handle. Raises `ViolationError` if there is none."""
    link = begun.handles.get(handle)
    if link is None:
        raise ViolationError(INVALID_FIELD, "something for a link that there is not")
    return link


def _windows(fields: list[Any]) -> Windows:
    _required(fields, 1)
    return Windows(
        incoming=_required(fields, 2),
        outgoing=_required(fields, 3),
        offered_capabilities=codec.symbols(codec.field(fields, 5)),
    )


def _required(fields: list[Any], index: int) -> int:
    number = _number(fields, index, uint)
    if number is None:
        raise ViolationError(INVALID_FIELD, "a frame without a number that it needs")
    return number


def _number(fields: list[Any], index: int, kind: type[int]) -> int | None:
    """Return a number. proton reads one of another kind as none at all, so that is refused."""
    value = codec.field(fields, index)
    if value is None:
        return None
    if type(value) is not kind:
        raise ViolationError(INVALID_FIELD, "a field with something else than its number")
    return int(value)
