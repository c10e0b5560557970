"""Label selectors, as Kubernetes has them everywhere: what they look like, and what they select.

An empty selector selects everything. `NotIn` and `DoesNotExist` also select what has no such label.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self, assert_never

from pydantic import AfterValidator, ConfigDict, Field, Strict, model_validator

from springline.api import problems
from springline.api.fields import LABEL_KEY, Entries, LabelKey, LabelValue, no_more_than
from springline.api.meta import ApiModel

__all__ = ["NAME", "LabelSelector", "Requirement", "of_namespace", "selects"]

NAME: Final = "kubernetes.io/metadata.name"  # the API server puts it on every namespace

MOST_LABELS: Final = 64
WITH_VALUES: Final = ("In", "NotIn")
_VALUES: Final = "values are needed with In and NotIn, and with no other operator"


def _not_too_many(labels: dict[str, str]) -> dict[str, str]:
    no_more_than(MOST_LABELS, labels)
    return labels


class Requirement(ApiModel):
    """A label, and what is required of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": f"(self.operator in {list(WITH_VALUES)}) == has(self.values)",
                    "message": _VALUES,
                }
            ]
        }
    )

    key: LabelKey = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description=(
            "In: the label has one of the values. NotIn: it has none of them, or there is no such"
            " label. Exists: there is such a label. DoesNotExist: there is none."
        )
    )
    values: Annotated[tuple[LabelValue, ...], Strict(strict=False), Entries(MOST_LABELS)] | None = (
        Field(default=None, description="Values to compare with; only with In and NotIn.")
    )

    @model_validator(mode="after")
    def _values_where_compared(self) -> Self:
        if (self.operator in WITH_VALUES) != (self.values is not None):
            raise problems.refused("", expected=_VALUES)
        return self


class LabelSelector(ApiModel):
    """Which labels are required; all requirements must be met. Written as {} it selects all."""

    match_labels: Annotated[dict[LabelKey, LabelValue], AfterValidator(_not_too_many)] = Field(
        default_factory=dict,
        description="Labels that must be there with exactly these values.",
        json_schema_extra={
            # The API server's schemas say nothing of keys.
            "maxProperties": MOST_LABELS,
            "x-kubernetes-validations": [
                {
                    "rule": f"self.all(key, key.matches(r'^{LABEL_KEY}$'))",
                    "message": "must have valid keys of labels",
                }
            ],
        },
    )
    match_expressions: (
        Annotated[tuple[Requirement, ...], Strict(strict=False), Entries(MOST_LABELS)] | None
    ) = Field(default=None, description="Labels and what is required of each.")


def of_namespace(name: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a namespace with the one that the API server puts on all of them."""
    return {**labels, NAME: name}


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether labels meet every requirement of a selector."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _meets(requirement, labels) for requirement in selector.match_expressions or ()
    )


def _meets(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in (requirement.values or ())
        case "NotIn":
            return value is None or value not in (requirement.values or ())
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            assert_never(requirement.operator)
