"""How a changed credential gets to an open session: the table of the design, row by row."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.core.rotation import Situation, Step, next_step
from springline.core.values import Credential, CredentialKind
from springline.redaction import Secret
from support.builders import a_credential, a_token

EXTERNAL = Credential(kind=CredentialKind.EXTERNAL, source="external")

CREDENTIALS = st.builds(
    Credential,
    kind=st.sampled_from(CredentialKind),
    source=st.just("secretRef"),
    username=st.sampled_from(["", "app", "other"]),
    secret=st.sampled_from(["first", "second"]).map(Secret),
    version=st.sampled_from(["1", "2"]),
)
SITUATIONS = st.builds(
    Situation,
    current=CREDENTIALS,
    new=CREDENTIALS,
    is_blocked=st.booleans(),
    same_certificates=st.booleans(),
    same_endpoint=st.booleans(),
    can_update=st.booleans(),
    must_verify=st.booleans(),
    is_verified=st.booleans(),
    is_asked_for=st.booleans(),
)

VERIFY_AND_UPDATE = [Step.VERIFY, Step.UPDATE]
VERIFY_AND_REPLACE = [Step.VERIFY, Step.REPLACE]


def steps(situation: Situation) -> list[Step]:
    """All that is done where every step succeeds."""
    done: list[Step] = []
    while (step := next_step(situation)) is not None:
        done.append(step)
        if step is not Step.VERIFY:
            break
        situation = dataclasses.replace(situation, is_verified=True)
    return done


@pytest.mark.parametrize(
    ("current", "new", "rest", "expected"),
    [
        pytest.param(
            a_credential("first", version="1"),
            a_credential("first", version="2"),
            {},
            [],
            id="the object changed, its value did not",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("first", version="2"),
            {"is_blocked": True},
            [],
            id="the same value on a blocked connection needs nothing either",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("second"),
            {},
            VERIFY_AND_UPDATE,
            id="a new password of the same user",
        ),
        pytest.param(
            a_token("first"),
            a_token("second"),
            {},
            VERIFY_AND_UPDATE,
            id="a new token of the same subject",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("second"),
            {"must_verify": False},
            [Step.UPDATE],
            id="a new password that is not to be verified",
        ),
        pytest.param(
            a_credential("first", username="app"),
            a_credential("second", username="other"),
            {},
            VERIFY_AND_REPLACE,
            id="another user, who cannot change in place",
        ),
        pytest.param(
            a_credential("first", username="app"),
            a_credential("first", username="other"),
            {},
            VERIFY_AND_REPLACE,
            id="another user with the same password",
        ),
        pytest.param(
            a_token("first", username="ann"),
            a_token("second", username="ben"),
            {"must_verify": False},
            [Step.REPLACE],
            id="a token of another subject that is not to be verified",
        ),
        pytest.param(
            a_credential("first", username=""),
            a_token("second"),
            {},
            VERIFY_AND_REPLACE,
            id="another kind of credential",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("second"),
            {"is_blocked": True},
            VERIFY_AND_REPLACE,
            id="a blocked connection, which the broker no longer reads",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("second"),
            {"can_update": False},
            VERIFY_AND_REPLACE,
            id="a connection whose last update went wrong",
        ),
        pytest.param(
            EXTERNAL,
            EXTERNAL,
            {"same_certificates": False},
            [Step.REPLACE],
            id="another client certificate, which counts only in the TLS handshake",
        ),
        pytest.param(
            EXTERNAL,
            dataclasses.replace(EXTERNAL, secret=Secret("something")),
            {},
            VERIFY_AND_REPLACE,
            id="EXTERNAL has no secret to update",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("first"),
            {"same_certificates": False},
            [Step.REPLACE],
            id="other certificates with the same password",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("first"),
            {"same_endpoint": False},
            [Step.REPLACE],
            id="another endpoint is another connection",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("second"),
            {"same_endpoint": False},
            VERIFY_AND_REPLACE,
            id="another endpoint and another password",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("first"),
            {"is_asked_for": True},
            [Step.VERIFY],
            id="somebody wants to know whether the same one is still accepted",
        ),
    ],
)
def test_what_is_done_about_a_change(
    current: Credential, new: Credential, rest: dict[str, Any], expected: list[Step]
) -> None:
    assert steps(Situation(current=current, new=new, **rest)) == expected


@given(situation=SITUATIONS)
def test_only_an_unblocked_connection_of_the_same_user_is_updated_in_place(
    situation: Situation,
) -> None:
    if next_step(situation) is not Step.UPDATE:
        return
    current, new = situation.current, situation.new
    assert situation.can_update
    assert not situation.is_blocked
    assert situation.same_certificates
    assert situation.same_endpoint
    assert (current.kind, current.username) == (new.kind, new.username)
    assert current.kind is not CredentialKind.EXTERNAL
    assert current.secret != new.secret


@given(situation=SITUATIONS)
def test_a_changed_value_reaches_no_session_before_it_is_verified(situation: Situation) -> None:
    """Unless the declaration says so."""
    if situation.current.same_value(situation.new):
        return
    step = next_step(situation)
    assert (step is Step.VERIFY) == (situation.must_verify and not situation.is_verified)


@given(situation=SITUATIONS)
def test_every_change_ends_after_one_step_beside_the_verification(situation: Situation) -> None:
    done = steps(situation)
    assert done.count(Step.VERIFY) <= 1
    assert [step for step in done if step is not Step.VERIFY] in ([], [Step.UPDATE], [Step.REPLACE])


@given(situation=SITUATIONS)
def test_nothing_is_done_exactly_if_nothing_has_changed_and_nobody_asks(
    situation: Situation,
) -> None:
    has_changed = not situation.current.same_value(situation.new)
    has_moved = not (situation.same_certificates and situation.same_endpoint)
    asks = situation.is_asked_for and not situation.is_verified
    assert (next_step(situation) is None) == (not has_changed and not has_moved and not asks)


@given(credential=CREDENTIALS, version=st.text(max_size=3), blocked=st.booleans())
def test_the_version_of_the_object_never_decides(
    credential: Credential, version: str, blocked: bool
) -> None:
    new = dataclasses.replace(credential, version=version)
    assert next_step(Situation(current=credential, new=new, is_blocked=blocked)) is None
