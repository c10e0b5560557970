"""How a changed credential gets to an open session: the table of the design, row by row."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.core import rotation
from springline.core.rotation import Plan
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


@pytest.mark.parametrize("new", [a_credential("first"), a_credential("second")])
def test_another_endpoint_is_another_connection(new: Credential) -> None:
    plan = rotation.plan(a_credential("first"), new, blocked=False, same_endpoint=False)
    assert plan is Plan.REPLACE


@pytest.mark.parametrize(
    ("current", "new", "blocked", "same_certificates", "plan"),
    [
        pytest.param(
            a_credential("first", version="1"),
            a_credential("first", version="2"),
            False,
            True,
            Plan.NONE,
            id="the object changed, its value did not",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("first", version="2"),
            True,
            True,
            Plan.NONE,
            id="the same value on a blocked connection needs nothing either",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("second"),
            False,
            True,
            Plan.VERIFY_AND_UPDATE,
            id="a new password of the same user",
        ),
        pytest.param(
            a_token("first"),
            a_token("second"),
            False,
            True,
            Plan.VERIFY_AND_UPDATE,
            id="a new token of the same subject",
        ),
        pytest.param(
            a_credential("first", username="app"),
            a_credential("second", username="other"),
            False,
            True,
            Plan.REPLACE,
            id="another user, who cannot change in place",
        ),
        pytest.param(
            a_credential("first", username="app"),
            a_credential("first", username="other"),
            False,
            True,
            Plan.REPLACE,
            id="another user with the same password",
        ),
        pytest.param(
            a_credential("first", username=""),
            a_token("second"),
            False,
            True,
            Plan.REPLACE,
            id="another kind of credential",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("second"),
            True,
            True,
            Plan.REPLACE,
            id="a blocked connection, which the broker no longer reads",
        ),
        pytest.param(
            EXTERNAL,
            EXTERNAL,
            False,
            False,
            Plan.REPLACE,
            id="another client certificate, which counts only in the TLS handshake",
        ),
        pytest.param(
            EXTERNAL,
            dataclasses.replace(EXTERNAL, secret=Secret("something")),
            False,
            True,
            Plan.REPLACE,
            id="EXTERNAL has no secret to update",
        ),
        pytest.param(
            a_credential("first"),
            a_credential("first"),
            False,
            False,
            Plan.REPLACE,
            id="other certificates with the same password",
        ),
    ],
)
def test_the_plan_for_a_changed_credential(
    current: Credential, new: Credential, blocked: bool, same_certificates: bool, plan: Plan
) -> None:
    assert rotation.plan(current, new, blocked=blocked, same_certificates=same_certificates) is plan


@given(current=CREDENTIALS, new=CREDENTIALS, blocked=st.booleans(), same=st.booleans())
def test_only_an_unblocked_connection_of_the_same_user_is_updated_in_place(
    current: Credential, new: Credential, blocked: bool, same: bool
) -> None:
    if rotation.plan(current, new, blocked=blocked, same_certificates=same) is not (
        Plan.VERIFY_AND_UPDATE
    ):
        return
    assert not blocked
    assert same
    assert (current.kind, current.username) == (new.kind, new.username)
    assert current.kind is not CredentialKind.EXTERNAL
    assert current.secret != new.secret


@given(current=CREDENTIALS, new=CREDENTIALS, blocked=st.booleans(), same=st.booleans())
def test_nothing_is_done_exactly_if_value_and_certificates_are_the_same(
    current: Credential, new: Credential, blocked: bool, same: bool
) -> None:
    plan = rotation.plan(current, new, blocked=blocked, same_certificates=same)
    assert (plan is Plan.NONE) == (same and current.same_value(new))


@given(credential=CREDENTIALS, version=st.text(max_size=3), blocked=st.booleans())
def test_the_version_of_the_object_never_decides(
    credential: Credential, version: str, blocked: bool
) -> None:
    new = dataclasses.replace(credential, version=version)
    assert rotation.plan(credential, new, blocked=blocked) is Plan.NONE
