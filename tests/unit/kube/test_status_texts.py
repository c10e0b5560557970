"""Digests of statuses: which ones are the same, whoever wrote them."""

from springline.kube.status_texts import Digest


def test_a_status_of_any_text_has_a_digest() -> None:
    """JSON has texts that UTF-8 has not, and others may write them."""
    one, other = Digest.of({"attempts": "\ud800"}), Digest.of({"attempts": "\ud801"})
    assert one.whole != other.whole
    assert one.without_count == other.without_count
