"""SCRAM: the messages of the RFCs, what a hostile server may say, and what is kept of a secret."""

import base64
import gc
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springline.core.values import Credential
from springline.drivers.amqp10 import scram
from springline.drivers.amqp10.scram import Derivation, ScramClient
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    RejectedError,
    TransientError,
)
from springline.reasons import Reason
from support.opening import password
from support.scram_server import ScramServer, ScramUser

SHA1 = "SCRAM-SHA-1"
SHA256 = "SCRAM-SHA-256"
NONCE = "rOprNGfwEbeRWgbNEkqO"
FIRST = b"r=" + NONCE.encode() + b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
"""What RFC 7677 §3 has for a server's first message."""
FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
PENCIL = password("user", "pencil")


def client(
    mechanism: str = SHA256, credential: Credential = PENCIL, *, nonce: str = NONCE
) -> ScramClient:
    return ScramClient(mechanism=mechanism, credential=credential, nonce=lambda: nonce)


def begun(mechanism: str = SHA256) -> ScramClient:
    """A client whose first message has been sent."""
    login = client(mechanism)
    login.client_first()
    return login


def proving() -> ScramClient:
    """A client whose proof has been sent, as RFC 7677 has it."""
    login = begun()
    login.client_final(login.server_first(FIRST).compute())
    return login


@pytest.mark.parametrize(
    ("mechanism", "nonce", "messages"),
    [
        pytest.param(
            SHA1,
            "fyko+d2lbbFgONRv9qkxdawL",
            (
                b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            id="RFC 5802 §5",
        ),
        pytest.param(
            SHA256,
            NONCE,
            (
                b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                FIRST,
                FIRST.replace(b"r=", b"c=biws,r=").split(b",s=")[0]
                + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                FINAL,
            ),
            id="RFC 7677 §3",
        ),
    ],
)
def test_examples_of_the_rfcs(
    mechanism: str, nonce: str, messages: tuple[bytes, bytes, bytes, bytes]
) -> None:
    client_first, server_first, client_final, server_final = messages
    login = client(mechanism, nonce=nonce)
    assert login.client_first() == client_first
    assert login.client_final(login.server_first(server_first).compute()) == client_final
    assert not login.is_proved
    login.server_final(server_final)
    assert login.is_proved


@settings(max_examples=30)
@given(
    mechanism=st.sampled_from([SHA1, SHA256]),
    name=st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    secret=st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    salt=st.binary(min_size=1, max_size=64),
    iterations=st.integers(scram.LEAST_ITERATIONS, scram.LEAST_ITERATIONS + 100),
)
def test_any_user_and_password_logs_in(
    mechanism: str, name: str, secret: str, salt: bytes, iterations: int
) -> None:
    user = ScramUser.create(mechanism, name, secret, salt=salt, iterations=iterations)
    server = ScramServer(user=user)
    login = client(mechanism, password(name, secret), nonce=scram.fresh_nonce())
    derivation = login.server_first(server.first(login.client_first()))
    login.server_final(server.final(login.client_final(derivation.compute())))
    assert login.is_proved


def test_user_name_is_escaped_and_both_are_prepared() -> None:
    """RFC 5802 §5.1: a comma would end the name."""
    user = ScramUser.create(SHA256, "a,b=c=2C", "IX")
    server = ScramServer(user=user)
    login = client(credential=password("a,\u00adb=c=2C", "\u2168"))
    first = login.client_first()
    assert first.startswith(b"n,,n=a=2Cb=3Dc=3D2C,r=")
    final = login.client_final(login.server_first(server.first(first)).compute())
    login.server_final(server.final(final))
    assert login.is_proved


@pytest.mark.parametrize(
    ("credential", "what"),
    [
        (password("planted\u0007", "planted"), "the user name: it contains a control character"),
        (password("user", "planted\u0007"), "the password: it contains a control character"),
        (password("user", "planted\U0001f600"), "younger than Unicode 3.2"),
        (password("user", "planted\ud800"), "a surrogate"),
        (password("\u00ad", "planted"), "the user name: it is empty"),
        (password("user", "\u00ad"), "the password: it is empty"),
    ],
)
def test_what_scram_cannot_carry_is_refused_before_anything_is_sent(
    credential: Credential, what: str
) -> None:
    login = client(credential=credential)
    with pytest.raises(CredentialRejectedError, match=re.escape(what)) as caught:
        login.client_first()
    assert caught.value.reason is Reason.SECRET_MALFORMED
    assert "leave SCRAM-SHA-256 out of sasl.mechanisms" in str(caught.value)
    assert "planted" not in str(caught.value)


OURS = b"r=" + NONCE.encode()
HOSTILE_FIRST = {
    "nothing": b"",
    "no attributes": b"hello",
    "binary": bytes(range(256)),
    "another client's nonce": FIRST.replace(NONCE.encode(), NONCE.encode()[::-1]),
    "our nonce as it is": OURS + b",s=QSXCR+Q6sek8bf92,i=4096",
    "the beginning of our nonce": OURS[:-1] + b",s=QSXCR+Q6sek8bf92,i=4096",
    "a nonce with a line break": OURS + b"a\nb,s=QSXCR+Q6sek8bf92,i=4096",
    "a nonce that is not ASCII": OURS + b"\xff,s=QSXCR+Q6sek8bf92,i=4096",
    "a nonce that is too long": OURS + b"a" * scram.MOST_NONCE_OCTETS + b",s=QSXC,i=4096",
    "no salt": OURS + b"x,i=4096",
    "an empty salt": OURS + b"x,s=,i=4096",
    "a salt that is no Base64": OURS + b"x,s=QSX!,i=4096",
    "a salt with half an octet": OURS + b"x,s=QSXCR,i=4096",
    "a salt that is too long": (
        OURS + b"x,s=" + base64.b64encode(bytes(scram.MOST_SALT_OCTETS + 1)) + b",i=4096"
    ),
    "no iterations": OURS + b"x,s=QSXCR+Q6sek8bf92",
    "iterations of another kind": OURS + b"x,s=QSXCR+Q6sek8bf92,i=0x1000",
    "negative iterations": OURS + b"x,s=QSXCR+Q6sek8bf92,i=-4096",
    "iterations with a sign": OURS + b"x,s=QSXCR+Q6sek8bf92,i=+4096",
    "iterations with a line break": OURS + b"x,s=QSXCR+Q6sek8bf92,i=4096\n",
    "iterations in digits of another script": OURS + "x,s=QSXCR+Q6sek8bf92,i=٤٠٩٦".encode(),
    "iterations with a zero before": OURS + b"x,s=QSXCR+Q6sek8bf92,i=04096",
    "a thousand digits": OURS + b"x,s=QSXCR+Q6sek8bf92,i=" + b"9" * 1000,
    "another order": OURS + b"x,i=4096,s=QSXCR+Q6sek8bf92",
    "an attribute twice": OURS + b"x,s=QSXCR+Q6sek8bf92,i=4096,i=1",
    "a mandatory extension": b"m=new," + OURS + b"x,s=QSXCR+Q6sek8bf92,i=4096",
    "a mandatory extension at the end": OURS + b"x,s=QSXCR+Q6sek8bf92,i=4096,m=new",
    "something before it": b"x=y," + OURS + b"x,s=QSXCR+Q6sek8bf92,i=4096",
    "a comma at the end": FIRST + b",",
    "too many octets": FIRST + b",x=" + b"y" * scram.MOST_MESSAGE_OCTETS,
    "its proof at once": FINAL,
}


@pytest.mark.parametrize("message", HOSTILE_FIRST.values(), ids=HOSTILE_FIRST.keys())
def test_a_first_message_that_is_none_is_refused_with_nothing_of_it(message: bytes) -> None:
    login = begun()
    with pytest.raises(RejectedError) as caught:
        login.server_first(message)
    assert not isinstance(caught.value, CredentialRejectedError)
    assert caught.value.reason is Reason.PROTOCOL_MISMATCH
    assert caught.value.message.startswith("a message of the broker for SCRAM-SHA-256 ")
    with pytest.raises(RejectedError):  # nothing goes on after it
        login.server_first(FIRST)


@pytest.mark.parametrize(
    ("iterations", "what"),
    [
        (1, "passwords could be guessed from"),
        (scram.LEAST_ITERATIONS - 1, "passwords could be guessed from"),
        (scram.MOST_ITERATIONS + 1, "would keep the processor busy"),
        (9_999_999_999, "would keep the processor busy"),
    ],
)
def test_iterations_are_bounded_on_both_sides(iterations: int, what: str) -> None:
    login = begun()
    with pytest.raises(RejectedError, match=what) as caught:
        login.server_first(FIRST.replace(b"i=4096", f"i={iterations}".encode()))
    assert caught.value.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert f"asks for {iterations} iterations" in caught.value.message


@pytest.mark.parametrize("iterations", [scram.LEAST_ITERATIONS, scram.MOST_ITERATIONS])
def test_as_many_iterations_as_are_accepted(iterations: int) -> None:
    derivation = begun().server_first(FIRST.replace(b"i=4096", f"i={iterations}".encode()))
    assert derivation.iterations == iterations


def test_an_extension_that_may_be_ignored_is_ignored() -> None:
    """RFC 5802 §5.1. It is signed with the rest."""
    login = begun()
    assert login.client_final(login.server_first(FIRST + b",x=y").compute()).startswith(b"c=biws,")


HOSTILE_FINAL = {
    "nothing": b"",
    "no attribute": b"ok",
    "binary": bytes(range(256)),
    "a proof that is no Base64": b"v=???",
    "a first message": FIRST,
    "a mandatory extension": b"m=new," + FINAL,
    "a mandatory extension behind the proof": FINAL + b",m=new",
    "too many octets": FINAL + b",x=" + b"y" * scram.MOST_MESSAGE_OCTETS,
}


@pytest.mark.parametrize("message", HOSTILE_FINAL.values(), ids=HOSTILE_FINAL.keys())
def test_a_last_message_that_is_none_is_refused_with_nothing_of_it(message: bytes) -> None:
    login = proving()
    with pytest.raises(RejectedError) as caught:
        login.server_final(message)
    assert caught.value.reason is Reason.PROTOCOL_MISMATCH
    assert not login.is_proved


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(bytes(32), id="zeros"),
        pytest.param(b"\x00", id="shorter"),
        pytest.param(bytes(64), id="longer"),
        pytest.param(base64.b64decode(FINAL[2:])[:-1], id="the beginning of the right one"),
        pytest.param(base64.b64decode(FINAL[2:]) + b"x", id="the right one and more"),
    ],
)
def test_a_server_that_does_not_know_the_password_is_told_apart(signature: bytes) -> None:
    """It is not the credential that is wrong: the peer may not be the broker."""
    login = proving()
    with pytest.raises(RejectedError, match="could not prove that it knows the password") as caught:
        login.server_final(b"v=" + base64.b64encode(signature))
    assert caught.value.reason is Reason.ACCESS_REFUSED
    assert not isinstance(caught.value, CredentialRejectedError)
    assert not login.is_proved
    with pytest.raises(RejectedError):  # the right one does not help afterwards
        login.server_final(FINAL)


def test_an_empty_signature_is_never_the_right_one() -> None:
    login = proving()
    with pytest.raises(RejectedError):
        login.server_final(b"v=")
    fresh = client()
    for early in (fresh, begun()):
        with pytest.raises(RejectedError, match="out of turn"):
            early.server_final(b"v=AA==")


def test_the_proof_may_come_twice() -> None:
    """With a challenge, and once more with the outcome."""
    login = proving()
    login.server_final(FINAL)
    login.server_final(FINAL)
    assert login.is_proved
    with pytest.raises(RejectedError):
        login.server_final(b"v=" + base64.b64encode(bytes(32)))
    assert not login.is_proved


@pytest.mark.parametrize(
    ("said", "family", "reason"),
    [
        (b"invalid-proof", CredentialRejectedError, Reason.ACCESS_REFUSED),
        (b"unknown-user", CredentialRejectedError, Reason.ACCESS_REFUSED),
        (b"invalid-username-encoding", CredentialRejectedError, Reason.ACCESS_REFUSED),
        (b"other-error", CredentialRejectedError, Reason.ACCESS_REFUSED),
        (b"planted secret", CredentialRejectedError, Reason.ACCESS_REFUSED),
        (b"\xff\xfe", CredentialRejectedError, Reason.ACCESS_REFUSED),
        (b"no-resources", TransientError, Reason.ACCESS_REFUSED),
        (b"invalid-encoding", RejectedError, Reason.PROTOCOL_MISMATCH),
        (b"extensions-not-supported", RejectedError, Reason.NO_AUTHENTICATION_MECHANISM),
        (b"channel-bindings-dont-match", RejectedError, Reason.NO_AUTHENTICATION_MECHANISM),
        (
            b"server-does-support-channel-binding",
            RejectedError,
            Reason.NO_AUTHENTICATION_MECHANISM,
        ),
        (b"channel-binding-not-supported", RejectedError, Reason.NO_AUTHENTICATION_MECHANISM),
        (b"unsupported-channel-binding-type", RejectedError, Reason.NO_AUTHENTICATION_MECHANISM),
    ],
)
@pytest.mark.parametrize("when", ["first", "final"])
def test_errors_of_the_server(
    said: bytes, family: type[ConnectError], reason: Reason, when: str
) -> None:
    """RFC 5802 §7. What is no word of it is not shown, since it may be anything."""
    login = begun() if when == "first" else proving()
    with pytest.raises(ConnectError) as caught:
        (login.server_first if when == "first" else login.server_final)(b"e=" + said)
    assert type(caught.value) is family
    assert caught.value.reason is reason
    is_known = b"-" in said
    words = said.decode() if is_known else "with an error of its own"
    assert caught.value.message == f"the broker refused the login: SCRAM-SHA-256, {words}"


@given(st.binary(max_size=300))
def test_no_octets_make_anything_but_a_connect_error(message: bytes) -> None:
    for login, read in ((begun(), "server_first"), (proved_once(), "server_final")):
        with pytest.raises(ConnectError):
            getattr(login, read)(message)


@given(
    st.lists(st.sampled_from([OURS, b"x", b"s=QSXC", b"i=4096", b"m=a", b"e=x", b"=", b",", b"r="]))
)
def test_pieces_of_messages_make_a_derivation_or_a_connect_error(pieces: list[bytes]) -> None:
    message = b",".join(pieces)
    try:
        derivation = begun().server_first(message)
    except ConnectError:
        return
    assert derivation.salt
    assert derivation.iterations == 4096


def proved_once() -> ScramClient:
    """A client that awaits a proof, without what takes long."""
    login = begun()
    login.server_first(FIRST)
    login.client_final(bytes(32))
    return login


def test_steps_out_of_turn_are_refused() -> None:
    for step in ("server_first", "client_final", "server_final"):
        with pytest.raises(RejectedError, match="out of turn"):
            getattr(client(), step)(FIRST)
    with pytest.raises(RejectedError, match="out of turn"):
        begun().client_first()


def test_nonces_differ_and_are_printable() -> None:
    nonces = {scram.fresh_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(re.fullmatch(r"[!-+\--~]{32}", each) for each in nonces)


def test_nothing_shows_or_keeps_the_secret() -> None:
    planted = "planted-secret"
    user = ScramUser.create(SHA256, "user", planted)
    server = ScramServer(user=user)
    login = client(credential=password("user", planted))
    assert planted not in repr(login)
    first = login.client_first()
    assert planted not in repr(login)
    derivation = login.server_first(server.first(first))
    assert planted not in f"{derivation!r} {derivation}"
    assert not holds(login, planted)
    login.server_final(server.final(login.client_final(derivation.compute())))
    login.forget()
    assert not login.is_proved
    assert not holds(login, planted)


@pytest.mark.parametrize("step", ["first", "server"])
def test_a_login_that_fails_keeps_nothing(step: str) -> None:
    login = client(credential=password("user", "planted-secret"))
    login.client_first()
    assert holds(login, "planted-secret")  # so that the other assertions mean something
    with pytest.raises(RejectedError):
        login.server_first(b"e=other-error" if step == "server" else b"nonsense")
    assert not holds(login, "planted-secret")


def test_a_derivation_is_what_pbkdf2_says() -> None:
    """RFC 6070 §2, with 4096 iterations."""
    derivation = Derivation(hash_name="sha1", password=b"password", salt=b"salt", iterations=4096)
    assert derivation.compute().hex() == "4b007901b765489abead49d926f721d065a429c1"


def holds(login: object, planted: str) -> bool:
    """Whether anything that an object refers to is the secret."""
    return any(
        planted in repr(each) or (isinstance(each, Credential) and each.secret.reveal() == planted)
        for each in gc.get_referents(login)
        if not isinstance(each, type)
    )
