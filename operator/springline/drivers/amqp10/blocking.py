"""Whether a broker takes in what is sent, as far as it shows that by its flow control."""

from springline.core.values import Block
from springline.drivers.amqp10.engine import EngineSession
from springline.drivers.amqp10.links import Links
from springline.reasons import Reason

__all__ = ["Blocking"]


class Blocking:
    """Reads a block off a session's window and the credit of declared senders."""

    __slots__ = ("_links", "_session")

    def __init__(self, session: EngineSession, links: Links) -> None:
        self._session = session
        self._links = links

    def block(self) -> Block | None:
        """Return why nothing is taken in now, None if something is."""
        windows = self._session.windows
        if windows is not None and windows.incoming == 0:
            return Block(
                reason=Reason.WINDOW_CLOSED,
                text="the broker has closed the session's incoming window, as RabbitMQ does while"
                " an alarm holds",
            )
        names = self._links.without_credit()
        if names:
            which = ", ".join(f'"{name}"' for name in names)
            return Block(
                reason=Reason.NO_CREDIT, text=f"the broker gives no credit to the sender {which}"
            )
        return None
