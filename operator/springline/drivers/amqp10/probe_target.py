"""What is to be done where a probe over AMQP 1.0 is refused. Pure."""

from dataclasses import dataclass

from springline.errors import ProbeRefusal, ProbeRefusedError

__all__ = ["Amqp10ProbeTarget", "NothingToSendError"]

_NODE = "the node of spec.amqp10.probe.address"


class NothingToSendError(ProbeRefusedError):
    """No address is declared, and without one this broker shows nothing."""

    def __init__(self) -> None:
        super().__init__(ProbeRefusal.OTHER, "no address is declared for it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amqp10ProbeTarget:
    """The address of the parameters, as `core.protocol_values.ProbeTarget`: nothing to choose."""

    def refusal(self, error: ProbeRefusedError) -> str:
        """Say what was refused, what that means, and what to do about it."""
        if isinstance(error, NothingToSendError):
            return (
                "this broker does not show by itself whether it takes messages in, and there is no"
                " probe: declare spec.amqp10.probe with an address, or set spec.probe.mode to None"
            )
        match error.why:
            case ProbeRefusal.TROUBLE:
                return f"the broker could not take in the probe ({error}); it is tried again"
            case ProbeRefusal.NO_PERMISSION:
                advice = f"let the user send to {_NODE} (and receive from it, with receive: true)"
            case ProbeRefusal.PLACE_MISSING:
                advice = f"create {_NODE}, or write one that is there"
            case ProbeRefusal.LIMIT:
                advice = "let the connection have more links"
            case ProbeRefusal.CREDENTIAL_EXPIRED:
                advice = "renew the credential"
            case _:
                advice = f"let {_NODE} take messages without content"
        return (
            f"the probe was refused ({error}), so a block would go unseen; {advice}, or leave"
            " spec.amqp10.probe out"
        )
