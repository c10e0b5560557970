"""What an administrator limits for all sessions of a process, whatever is declared."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Floors and ceilings; the defaults limit nothing but how many attempts run at once."""

    least_retry_delay: float = 0.0
    """Seconds from one attempt's start to the next at least, also where less is declared."""
    least_renewal_interval: float = 0.0
    """Seconds from one renewal to the next at least that nothing but age is the reason of."""
    attempts_at_once: int = 400
    """How many attempts to connect run at once, of all brokers; half of them of one namespace."""
