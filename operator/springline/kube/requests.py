"""What people ask of a session by annotation, and how its status says that this was done."""

import enum

__all__ = ["Request"]


class Request(enum.Enum):
    """A request: each new value of `annotation` is acted on once, and then is in `status`."""

    # The value: annotation, field of status.lastHandled.
    RECONNECT = ("springline.dev/reconnect-requested-at", "reconnectRequestedAt")
    """A fresh connection."""
    RENEW = ("springline.dev/renew-requested-at", "renewRequestedAt")
    """The credential as its source has it now, verified, and a new one where one is issued."""

    @property
    def annotation(self) -> str:
        """The annotation that asks for it."""
        return self.value[0]

    @property
    def field(self) -> str:
        """The field of `status.lastHandled` with the value that was acted on last."""
        return self.value[1]
