"""What is raised where a peer of the tests cannot be had on a machine: the tests with it skip."""

__all__ = ["PeerMissing"]


class PeerMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """A broker is not here; the text says which, and why or what to do."""
