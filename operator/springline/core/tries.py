"""The tries of one attempt, address by address: what they failed with, and what that means. Pure.

Who makes them, and how long each may take, is in attempt.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from springline import errors
from springline.api import texts
from springline.core.values import Endpoint

__all__ = ["FailedTry", "combined", "speaks_for_all"]

_MOST_NAMED = 8
"""Different answers that are told apart; a name can have a hundred addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTry:
    """Why it failed at one address of an endpoint."""

    endpoint: Endpoint
    address: str = ""
    """Empty where the endpoint's host could not even be looked up."""
    error: errors.ConnectError


def speaks_for_all(error: errors.ConnectError) -> bool:
    """Whether the other addresses and endpoints of the same broker would answer the same."""
    match error:
        case errors.TerminalError() | errors.CredentialRejectedError():
            return True
        case _:
            return error.authenticated


def combined(failures: Sequence[FailedTry]) -> errors.ConnectError:
    """Make one error of several: what may pass by itself decides over what may not."""
    last = failures[-1].error
    if len(failures) == 1 or speaks_for_all(last):
        return last
    transient = [each.error for each in failures if isinstance(each.error, errors.TransientError)]
    decisive = transient[-1] if transient else last
    message = texts.shortened(_message(failures), texts.LONGEST_MESSAGE)
    return type(decisive)(decisive.reason, message, retry_after=_left_alone(failures))


def _left_alone(failures: Sequence[FailedTry]) -> float | None:
    """Return for how many seconds nobody of all of them wants to be asked, if that is so."""
    wanted = [each.error.retry_after for each in failures]
    return min((each for each in wanted if each is not None), default=None) if all(wanted) else None


def _message(failures: Sequence[FailedTry]) -> str:
    """Name each address with its answer; those of an endpoint that answer the same, together."""
    answers: dict[tuple[Endpoint, str], list[str]] = {}
    for each in failures:
        answers.setdefault((each.endpoint, _without_place(each)), []).append(each.address)
    told = [
        answer if answer.startswith(str(endpoint)) else f"{_place(endpoint, addresses)}: {answer}"
        for (endpoint, answer), addresses in answers.items()
    ]
    more = len(told) - _MOST_NAMED
    return "; ".join(told[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _without_place(failed: FailedTry) -> str:
    """Return what was said without where, which drivers put in front."""
    message = failed.error.message
    for place in (_place(failed.endpoint, [failed.address]), str(failed.endpoint)):
        if message.startswith(f"{place}: "):
            return message.removeprefix(f"{place}: ")
    return message


def _place(endpoint: Endpoint, addresses: Sequence[str]) -> str:
    others = [address for address in addresses if address not in ("", endpoint.host)]
    return f"{endpoint} ({', '.join(others)})" if others else str(endpoint)
