"""What is explained of reasons: all that the documentation has, and nothing else."""

import pytest

from springline.plugin import reasons
from springline.plugin.errors import Exit, PluginError
from springline.reasons import Reason
from support import explained_reasons


def test_explanations_are_those_of_the_documentation() -> None:
    """After a change of docs/status.md or docs/troubleshooting.md: make reasons."""
    text = explained_reasons.FILE.read_text(encoding="utf-8")
    assert text == explained_reasons.written(), "run make reasons"


def test_every_reason_is_explained() -> None:
    assert reasons.all_of_them().keys() == {reason.value for reason in Reason}
    assert len(reasons.overview()) > len(Reason)


@pytest.mark.parametrize("name", list(Reason))
def test_explanation_can_be_read_in_a_terminal(name: Reason) -> None:
    """Blocks are indented, and links are words."""
    text = reasons.text(reasons.find(name))
    assert text.startswith(f"{name}\n\n")
    assert "```" not in text
    assert "](" not in text


def test_explanation_says_what_it_means_what_to_do_and_when_it_is_tried_again() -> None:
    text = reasons.text(reasons.find("ConnectionRefused"))
    assert "Connected False: nothing listens there, or there is no route" in text
    assert "What to do: is the broker up" in text
    assert "Tried again: after `retry.delay` (10 s), doubling" in text
    assert "    $ kubectl " in text


def test_reason_of_several_families_explains_each() -> None:
    text = reasons.text(reasons.find("NameResolutionFailed"))
    assert "Tried again: passes; refused where the Secret" in text
    assert "\n  passes: after `retry.delay`" in text
    assert "\n  refused: every `retry.maxDelay`" in text


def test_reason_is_found_in_any_case() -> None:
    assert reasons.find("tlsfailed").reason == "TLSFailed"


@pytest.mark.parametrize(
    ("name", "near"),
    [("Rejectd", "Rejected"), ("memory", "LowOnMemory"), ("ConectTimeout", "ConnectTimeout")],
)
def test_unknown_reason_names_similar_ones(name: str, near: str) -> None:
    with pytest.raises(PluginError) as caught:
        reasons.find(name)
    assert caught.value.code is Exit.UNUSABLE
    assert near in str(caught.value)
