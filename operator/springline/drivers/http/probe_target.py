"""What is to be done where a probe over HTTP shows nothing. Pure."""

from dataclasses import dataclass

from springline.errors import ProbeRefusedError

__all__ = ["HttpProbeTarget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbeTarget:
    """The requests of the parameters, as `core.protocol_values.ProbeTarget`: nothing to choose."""

    def refusal(self, error: ProbeRefusedError) -> str:
        """Say what was refused, what that means, and what to do about it.

        The request of the session itself is never refused in this way: it ends the session.
        """
        return (
            f"whether the broker is blocked is not known ({error}); let the user read"
            " spec.http.blockedWhen.path, or leave spec.http.blockedWhen out"
        )
