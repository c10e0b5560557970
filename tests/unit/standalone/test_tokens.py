"""Tokens of ServiceAccounts, where nobody issues them."""

import pytest

from springline.errors import CredentialError, CredentialUnavailableError
from springline.reasons import Reason
from springline.standalone.tokens import NoTokens


async def test_standalone_mode_says_what_to_use_instead() -> None:
    """It does not pass by itself."""
    with pytest.raises(CredentialError, match=r"use credentials\.tokenFile") as caught:
        await NoTokens().issue("apps", "orders", audience="rabbitmq", seconds=3600)
    assert caught.value.reason is Reason.TOKEN_REQUEST_FAILED
    assert not isinstance(caught.value, CredentialUnavailableError)
