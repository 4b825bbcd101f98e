"""Tokens and keys that come from the application."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wixvisitor import EMPTY_TOKENS, AccessToken, ConfigurationError, RefreshToken, TokenRole, Tokens
from wixvisitor._checks import checked_key, checked_refresh, checked_tokens, is_empty

ACCESS, REFRESH = AccessToken("OauthNG.JWS.a.b.c", 7), RefreshToken("JWS.a.b.c", TokenRole.VISITOR)
GOOD = [Tokens(ACCESS, REFRESH), EMPTY_TOKENS, Tokens(ACCESS, EMPTY_TOKENS.refresh_token)]
UNSAFE = ["two words", "line\n", "a\r\nX-Injected: classified", "\x00", "\x7f", "é", "\u2028", " ", "\ud800"]


@pytest.mark.parametrize("tokens", GOOD)
def test_good_tokens(tokens):
    """Tokens that a header can carry are returned as they are."""
    assert checked_tokens(tokens) is tokens


@pytest.mark.parametrize("value", [None, "JWS.a.classified.c", {"accessToken": {}}, 1, REFRESH, Tokens])
def test_no_tokens(value):
    """Anything else is a ConfigurationError that says how to make some."""
    with pytest.raises(ConfigurationError, match="from_json") as caught:
        checked_tokens(value)
    assert "classified" not in str(caught.value)


@pytest.mark.parametrize("text", UNSAFE)
def test_unsafe_tokens(text):
    """A token that a header could not carry is a ConfigurationError that does not show it."""
    with pytest.raises(ConfigurationError, match="access token") as caught:
        checked_tokens(Tokens(AccessToken(text, 7), REFRESH))
    assert "classified" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="refresh_token"):
        checked_tokens(Tokens(ACCESS, RefreshToken(text, TokenRole.VISITOR)))
    with pytest.raises(ConfigurationError, match="refresh_token"):
        checked_refresh(RefreshToken(text, TokenRole.VISITOR))


@pytest.mark.parametrize("value", [None, "JWS.a.classified.c", ACCESS, Tokens(ACCESS, REFRESH)])
def test_no_refresh_token(value):
    """``renew_token`` takes a RefreshToken, not its text."""
    with pytest.raises(ConfigurationError, match="expected a RefreshToken") as caught:
        checked_refresh(value)
    assert "classified" not in str(caught.value)


@pytest.mark.parametrize(
    ("tokens", "empty"),
    [
        (None, True),
        (EMPTY_TOKENS, True),
        (Tokens(AccessToken("", 7), RefreshToken("", TokenRole.MEMBER)), True),
        (Tokens(ACCESS, EMPTY_TOKENS.refresh_token), False),
        (Tokens(EMPTY_TOKENS.access_token, REFRESH), False),
    ],
)
def test_is_empty(tokens, empty):
    """Tokens are empty if there is no text in either half."""
    assert is_empty(tokens) is empty


@pytest.mark.parametrize("key", ["", None, 1, b"key", ["key"]])
def test_wrong_keys(key):
    """A key is a text, and not an empty one: that would be everybody."""
    with pytest.raises(ConfigurationError, match="key"):
        checked_key(key)


@given(st.text(min_size=1))
def test_any_key(key):
    """Any other text is a key."""
    assert checked_key(key) is key
