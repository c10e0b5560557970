"""What is declared and a protocol has no use for: refused with a sentence. Pure.

A field that has its default counts as not declared, because a schema puts defaults into what people
write. Which fields these are, is the protocol's to say. What is another protocol's own, the core
refuses before a protocol is asked.
"""

from collections.abc import Iterable

from springline.api.meta import ApiModel
from springline.errors import TerminalError
from springline.reasons import Reason

__all__ = ["refuse"]


def refuse(declared: ApiModel, fields: Iterable[str], *, at: str = "", title: str) -> None:
    """Raise `TerminalError` InvalidSpec if one of these fields is declared, and name all that are.

    `at` is where the fields stand, as a path that ends in a dot; `title` is the protocol's.
    """
    known = type(declared).model_fields
    given = [
        f"{at}{known[name].alias or name}"
        for name in fields
        if getattr(declared, name) != known[name].get_default(call_default_factory=True)
    ]
    if given:
        it = "it" if len(given) == 1 else "them"
        raise TerminalError(
            Reason.INVALID_SPEC,
            f"{' and '.join(given)}: {title} has no use for {it}; leave {it} out",
        )
