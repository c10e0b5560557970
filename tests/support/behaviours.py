"""What differs between versions of RabbitMQ, where a test has to know it.

A test asks a node, and the node this table (`RabbitMQNode.has`): no test compares versions, and the
table says since when. What is the same in all of them is not here.
"""

import enum

__all__ = ["Behaviour"]


class Behaviour(enum.Enum):
    """What a broker does from a version on, and did not do before."""

    # Until then such a connection stays open, and every operation on it is refused.
    ENDS_EXPIRED = (4, 2, 6), "closes a connection whose token has expired"
    # Until then a plugin does it, whose blocks nobody is told of.
    NATIVE_AMQP10 = (4, 0, 0), "speaks AMQP 1.0 by itself, and closes its windows while it blocks"
    # Until then nothing takes one; 4.0 ends the session on which it is sent.
    RENEWS_AMQP10 = (4, 1, 0), "takes another secret on a connection of AMQP 1.0"
    # Until then 4096, also as the smallest frame-max that it agrees to.
    LARGER_FIRST_FRAMES = (4, 1, 0), "reads frames of 8192 bytes before the login is done"

    def __init__(self, since: tuple[int, int, int], says: str) -> None:
        """Take the two apart."""
        self.since = since
        self.says = says

    @property
    def since_text(self) -> str:
        """Return the version as text, such as 4.2.6."""
        return ".".join(map(str, self.since))

    def __str__(self) -> str:
        """Say it with its version."""
        return f"RabbitMQ {self.since_text} and later {self.says}"
