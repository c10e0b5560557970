"""SASLprep: user names and passwords, made equal where people mean the same (RFC 4013). Pure.

The tables are those of the standard library's `stringprep`, which has Unicode 3.2 as RFC 3454 asks
for. No message of an error here has a character of the text.
"""

import stringprep
import unicodedata
from collections.abc import Callable
from typing import Final

__all__ = ["SaslprepError", "prepared"]

# RFC 4013 §2.3, by what they are called in a message.
_PROHIBITED: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
    (stringprep.in_table_c12, "a space that is no ASCII space"),
    (stringprep.in_table_c21_c22, "a control character"),
    (stringprep.in_table_c3, "a character for private use"),
    (stringprep.in_table_c4, "a code point that is no character"),
    (stringprep.in_table_c5, "a surrogate"),
    (stringprep.in_table_c6, "a character that is not for plain text"),
    (stringprep.in_table_c7, "a character that describes others"),
    (stringprep.in_table_c8, "a character that changes how text is displayed"),
    (stringprep.in_table_c9, "a tagging character"),
)


class SaslprepError(ValueError):
    """A text has a character that SASLprep has no room for.

    Its words complete a sentence such as "the password contains …".
    """


def prepared(text: str, *, allow_unassigned: bool) -> str:
    """Return a text as SASLprep has it; it can be empty.

    A query allows code points that Unicode 3.2 does not assign, a stored string does not
    (RFC 3454 §7): SCRAM takes a user name for the former and a password for the latter (RFC 5802
    §5.1, §2.2).

    Raises `SaslprepError` for a text that cannot be prepared.
    """
    # RFC 4013 §2.1: a space that is no ASCII space becomes one, and some characters become nothing.
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each
        for each in text
        if not stringprep.in_table_b1(each)
    )
    # §2.2: of the version that RFC 3454 §4 names, as the tables are.
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for each in normal:
        for is_in_table, what in _PROHIBITED:
            if is_in_table(each):
                raise SaslprepError(what)
        if not allow_unassigned and stringprep.in_table_a1(each):
            raise SaslprepError("a character that is younger than Unicode 3.2")
    _check_directions(normal)
    return normal


def _check_directions(text: str) -> None:
    """Raise for a text that mixes directions as RFC 3454 §6 does not allow."""
    if not any(stringprep.in_table_d1(each) for each in text):
        return
    if any(stringprep.in_table_d2(each) for each in text):
        raise SaslprepError("characters that are written from the right and from the left")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise SaslprepError(
            "characters that are written from the right, without beginning and ending with one"
        )
