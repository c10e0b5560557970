"""What a peer says can be shown: bounded, and printable."""

from springline.drivers.shared import peer_text


def test_a_peers_text_is_made_fit_to_be_shown() -> None:
    assert peer_text.cleaned("vhost\x1b[31m\x00gone\u2028\u202eback\r\n") == "vhost [31m gone  back"
    assert peer_text.cleaned(b"caf\xc3\xa9 \xff") == "café \ufffd"
    assert peer_text.cleaned("x" * 10_000) == "x" * 255
    assert peer_text.cleaned(None) == ""
    assert peer_text.cleaned({"not": "text"}) == ""
