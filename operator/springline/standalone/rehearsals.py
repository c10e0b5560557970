"""What rehearsals found, for people and for machines."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from springline.api import v1alpha1
from springline.api.meta import ApiModel
from springline.api.status import Timestamp
from springline.api.texts import printable
from springline.core.rehearsal import Rehearsal
from springline.standalone import table

__all__ = ["document", "plain"]

_COLUMNS = ("NAMESPACE", "NAME", "OUTCOME", "USER", "ROTATION")


class _Rotation(ApiModel):
    """A rehearsal as it stands in a document."""

    outcome: str = Field(description="What would come of it, in one word.")
    reason: str = Field(description="Reason, as in the conditions.")
    message: str = Field(description="The same as a sentence.")
    username: str | None = Field(default=None, description="User that it would log in as.")
    expires_at: Timestamp | None = Field(
        default=None, description="When its lifetime would end, if it has one."
    )


def plain(
    rehearsals: Iterable[Rehearsal], *, to: int | None = None, encoding: str = "utf-8"
) -> str:
    """Return a table with a sentence for each connection.

    Where that is wider than `to` terminal cells, the sentences stand below the table. What the
    encoding cannot express is escaped.
    """
    rows = [
        [table.expressible(cell, encoding) for cell in cells]
        for cells in (_COLUMNS, *map(_cells, rehearsals))
    ]
    if to is None or table.width(rows) <= to:
        return table.aligned(rows)
    below = [f"{namespace}/{name}: {sentence}" for namespace, name, *_, sentence in rows[1:]]
    return "\n".join([table.aligned([row[:-1] for row in rows]), *below])


def _cells(rehearsal: Rehearsal) -> tuple[str, ...]:
    key = rehearsal.key
    cells = (key.namespace, key.name, rehearsal.outcome.value, rehearsal.username or "-")
    # Names that brokers and tokens give may hold anything.
    return tuple(printable(cell) for cell in (*cells, rehearsal.message))


def document(rehearsal: Rehearsal) -> dict[str, Any]:
    """Return the BrokerConnection's identity, with `rotation` in the place of its status."""
    rotation = _Rotation(
        outcome=rehearsal.outcome.value,
        reason=rehearsal.reason.value,
        message=rehearsal.message,
        username=rehearsal.username or None,
        expires_at=rehearsal.expires_at,
    )
    return {
        "apiVersion": v1alpha1.API_VERSION,
        "kind": "BrokerConnection",
        "metadata": {"name": rehearsal.key.name, "namespace": rehearsal.key.namespace},
        "rotation": rotation.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
