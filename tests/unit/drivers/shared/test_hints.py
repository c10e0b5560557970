"""What can be seen of a refused login from its own side is said; nothing of the values is."""

import pytest

from springline.core.values import Credential
from springline.drivers.shared import hints
from support.opening import external, password, token

POD = "10.0.3.7"


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(POD, id="an address of a pod"),
        pytest.param("fd00::7", id="an IPv6 address"),
        pytest.param("::ffff:10.0.3.7", id="an IPv4 address as IPv6 has it"),
        pytest.param("", id="an address that is not known"),
    ],
)
def test_guest_is_told_from_where_it_may_log_in(address: str) -> None:
    """RabbitMQ's default for `loopback_users`; its reply says nothing of it."""
    hint = hints.on_refused_login(password("guest", "guest"), address)
    assert 'lets "guest" log in only from its own machine' in hint
    assert "create another user" in hint


@pytest.mark.parametrize(
    ("secret", "hint"),
    [
        pytest.param("Bearer pl4nted.b.c", 'begins with "Bearer "', id="a header of HTTP"),
        pytest.param("bearer pl4nted.b.c", 'begins with "Bearer "', id="in small letters"),
        pytest.param("pl4nted.b\nb.c", "has white space in it", id="a line break in it"),
        pytest.param("pl4nted.b b.c", "has white space in it", id="a blank in it"),
    ],
)
def test_token_that_can_be_seen_to_be_none_is_told(secret: str, hint: str) -> None:
    found = hints.on_refused_login(token(secret), POD)
    assert hint in found
    assert "pl4nted" not in found


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_guest_on_the_brokers_machine_has_another_problem(address: str) -> None:
    """There, guest may log in, so it is the password."""
    assert hints.on_refused_login(password("guest", "wrong"), address) == ""


@pytest.mark.parametrize(
    "credential",
    [
        pytest.param(password("ann", "wrong"), id="another user"),
        pytest.param(password("guests", "wrong"), id="a longer name"),
        pytest.param(password("ann\nann", "wr\nong"), id="line breaks elsewhere"),
        pytest.param(password("ann ", " wrong "), id="blanks"),
        pytest.param(token("a.b.c", "guest"), id="a token"),
        pytest.param(external(), id="a certificate"),
    ],
)
def test_where_nothing_can_be_seen_nothing_is_said(credential: Credential) -> None:
    """A hint that may be wrong costs more than none."""
    assert hints.on_refused_login(credential, POD) == ""


@pytest.mark.parametrize(
    ("credential", "told"),
    [
        pytest.param(password("ann", "pl4nted\n"), "the password ends with", id="the password"),
        pytest.param(password("ann\n", "pl4nted"), "the user name ends with", id="the user name"),
        pytest.param(
            password("ann\n", "pl4nted\n"), "user name and password end with", id="both of them"
        ),
        pytest.param(password("ann", "pl4nted\r\n"), "the password ends with", id="as Windows has"),
    ],
)
def test_a_line_break_at_the_end_is_pointed_at(credential: Credential, told: str) -> None:
    """It is sent as it is, since a broker may accept it; the value is not quoted."""
    hint = hints.on_refused_login(credential, POD)
    assert hint.startswith(f"{told} a line break, which is sent as part of")
    assert "kubectl create secret --from-file" in hint
    assert "pl4nted" not in hint
    assert "ann" not in hint
    assert hint.isprintable()


def test_both_hints_can_be_given() -> None:
    """A user name with a line break is not the user guest; a password with one may be guest's."""
    assert "own machine" not in hints.on_refused_login(password("guest\n", "guest"), POD)
    both = hints.on_refused_login(password("guest", "guest\n"), POD)
    assert both.index("line break") < both.index("own machine")
