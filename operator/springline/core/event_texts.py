"""How an event is named and put where people read it: in a cluster and on a terminal. Pure."""

from springline.core.events import Event
from springline.core.logged_events import MESSAGES

__all__ = ["message_of", "reason_of"]


def reason_of(event: Event) -> str:
    """Return the reason of the condition that the event is about, or else what happened.

    So what `kubectl get events` says and what `status` says is looked up in one place.
    """
    return str(event.type) if event.reason is None else str(event.reason)


def message_of(event: Event) -> str:
    """Return what happened in a sentence, also where the reason does not tell that."""
    if reason_of(event) == str(event.type):
        return event.message
    return f"{MESSAGES[event.type]}: {event.message}"
