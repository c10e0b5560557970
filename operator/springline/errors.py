"""The exception tree.

    SpringlineError
    ├── ConnectError          an attempt to open a session failed, or an open one ended
    │   ├── TransientError    may pass by itself: try again with backoff
    │   ├── RejectedError     the broker said no to this credential or name: try again slowly, or at
    │   │   │                 once with a new credential or declaration
    │   │   └── CredentialRejectedError   it was the credential
    │   └── TerminalError     the declaration cannot work as it stands: wait for a new one
    ├── CredentialError       there is no usable credential: wait for the Secret to change
    │   └── CredentialUnavailableError   its source cannot be asked now: try again with backoff
    ├── ObjectReadError       a Secret or ConfigMap is not handed over
    │   ├── ObjectUnavailableError   by the API server: an outage, or a missing permission
    │   └── ObjectNotAllowedError    by Springline: nobody has allowed it to use this one
    ├── SecretRefusedError    the broker closed the connection that was to be renewed
    ├── SecretNotSentError    this secret cannot be put to use on the connection
    ├── SecretUpdateTimeoutError   the broker did not answer a renewal in time
    ├── ProbeRefusedError     the broker refused the probe, and the driver says why
    ├── NotOpenError          an operation needs an open connection and there is none
    └── ManifestError         a document cannot be used; carries every problem found

Foreign exceptions are translated once, where the library is called, most specific first. No
exception holds a secret, and every text says what to do where there is something to be done.
"""

import enum
from collections.abc import Iterator, Sequence
from typing import Self

from springline.positions import Position, placed
from springline.reasons import Reason

__all__ = [
    "ConnectError",
    "CredentialError",
    "CredentialRejectedError",
    "CredentialUnavailableError",
    "ManifestError",
    "NotOpenError",
    "ObjectNotAllowedError",
    "ObjectReadError",
    "ObjectUnavailableError",
    "ProbeRefusal",
    "ProbeRefusedError",
    "RejectedError",
    "SecretNotSentError",
    "SecretRefusedError",
    "SecretUpdateTimeoutError",
    "SpringlineError",
    "TerminalError",
    "TransientError",
]


class SpringlineError(Exception):
    """The root of everything Springline raises on purpose."""


class ConnectError(SpringlineError):
    """Why there is no session: the contract's reason and a sentence.

    `authenticated` says whether the broker had accepted the login before it said no to the rest,
    and `says_expired` whether it said no because the lifetime of the credential is over.
    `retry_after` is for how many seconds the broker wants to be left alone, if it says so.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        authenticated: bool = False,
        says_expired: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.authenticated = authenticated
        self.says_expired = says_expired
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def again(self, message: str | None = None) -> Self:
        """Return the same error to be raised once more, in other words if there are any.

        One that was raised before would collect a traceback of each raise.
        """
        return type(self)(
            self.reason,
            self.message if message is None else message,
            authenticated=self.authenticated,
            says_expired=self.says_expired,
            retry_after=self.retry_after,
        )


class TransientError(ConnectError):
    """It may pass by itself; retried with backoff."""


class RejectedError(ConnectError):
    """The broker refused the credential or a name; retried slowly, and when either changes."""


class CredentialRejectedError(RejectedError):
    """The broker refused this user or secret."""


class TerminalError(ConnectError):
    """The declaration cannot work as it stands; not retried until it changes."""


class CredentialError(SpringlineError):
    """The declared source gives no usable credential.

    `retry_after` is for how many seconds whoever issues it wants to be left alone, if it says so.
    """

    def __init__(self, reason: Reason, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def again(self, message: str | None = None) -> Self:
        """Return the same error to be raised once more, in other words if there are any."""
        words = self.message if message is None else message
        return type(self)(self.reason, words, retry_after=self.retry_after)


class CredentialUnavailableError(CredentialError):
    """The source cannot be asked now, which may pass by itself; retried with backoff."""


class ObjectReadError(SpringlineError):
    """A Secret or ConfigMap is not handed over, so that nobody knows whether it exists.

    `identity` is its kind, namespace and name; `message` says why, and what to do about it.
    """

    def __init__(self, identity: tuple[str, str, str], message: str) -> None:
        super().__init__(identity, message)
        self.identity = identity
        self.message = message

    @property
    def _what(self) -> str:
        kind, namespace, name = self.identity
        return f'{kind} "{name}" in namespace "{namespace}"'


class ObjectUnavailableError(ObjectReadError):
    """The API server does not hand it out: an outage, or a missing permission."""

    def __str__(self) -> str:
        return f"{self._what} cannot be read: {self.message}"


class ObjectNotAllowedError(ObjectReadError):
    """Nobody has allowed Springline to use this object."""

    def __str__(self) -> str:
        return f"{self._what} may not be used: {self.message}"


class SecretRefusedError(SpringlineError):
    """The broker answered a renewal in place by closing the connection.

    `text` is how it put that, with the protocol's code where there is one.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"the broker refused the new secret and closed the connection: {self.text}"


class SecretNotSentError(SpringlineError):
    """This credential cannot be put to use on the connection, which is as it was."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the new secret is not in use: {self.why}"


class SecretUpdateTimeoutError(SpringlineError):
    """A renewal was not answered in time, so this connection must not get another one."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"the broker did not confirm the new secret within {self.seconds:g} s"


class ProbeRefusal(enum.Enum):
    """Why a broker refuses a probe, whatever the protocol says it with."""

    NO_PERMISSION = "no permission"  # the user may not do what the probe does
    CREDENTIAL_EXPIRED = "credential expired"  # the lifetime of the credential is over
    LIMIT = "limit"  # the connection may carry no more than it does
    PLACE_MISSING = "place missing"  # what the probe goes to does not exist
    TROUBLE = "trouble"  # the broker's own, which passes without anybody doing anything
    OTHER = "other"  # anything else, such as a broker that cannot confirm


class ProbeRefusedError(SpringlineError):
    """The broker refused the probe; the connection is as it was.

    `why` is what the driver makes of it. `text` is how the broker put it, with the protocol's code
    where there is one.
    """

    def __init__(self, why: ProbeRefusal, text: str) -> None:
        super().__init__(why, text)
        self.why = why
        self.text = text

    def __str__(self) -> str:
        return self.text


class NotOpenError(SpringlineError):
    """The operation needs an open connection."""

    def __str__(self) -> str:
        return "Not open"


class ManifestError(SpringlineError):
    """A document cannot be used. `problems` has a sentence for each thing that is wrong.

    `position` is where the document stands, if that is known; `positions` has one for each problem.
    """

    def __init__(
        self,
        problems: Sequence[str],
        *,
        position: Position | None = None,
        positions: Sequence[Position | None] = (),
    ) -> None:
        super().__init__(position, *problems)
        self.problems = tuple(problems)
        self.position = position
        self.positions = tuple(positions) or (position,) * len(self.problems)

    def lines(self) -> list[str]:
        """Return a line for each problem, in the form that compilers use and editors follow."""
        return [placed(position, "error", problem) for position, problem in self._found]

    def __str__(self) -> str:
        return "\n".join(placed(position, problem) for position, problem in self._found)

    @property
    def _found(self) -> Iterator[tuple[Position | None, str]]:
        return zip(self.positions, self.problems, strict=True)
