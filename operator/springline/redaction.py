"""The one type that holds secret text, and the rule that it never shows itself.

Every password and token lives in a `Secret` from the moment it is read until the bytes leave for
the broker. It does not hide the value from code that asks for it; it hides it from everything that
prints.
"""

import hmac
from typing import Any, NoReturn

__all__ = ["Secret"]


class Secret:
    """Secret text whose repr, str and format are `Secret(***)`.

    Equality is by value and takes the same time wherever two values differ. A `Secret` is not
    hashable and refuses pickling and copying into JSON by accident: only `reveal` gives the value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret text. Call it where the value is needed, never to keep it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash of a password would tell passwords apart

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised")

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Secret":
        return self
