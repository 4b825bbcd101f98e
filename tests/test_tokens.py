"""Tokens and their JSON, exchangeable with @wix/sdk."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import traceback

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wixvisitor import EMPTY_TOKENS, AccessToken, RefreshToken, TokenRole, Tokens

SECRET = "OauthNG.JWS.header.classified.signature"
SDK_JSON = (
    '{"accessToken":{"value":"OauthNG.JWS.a.b.c","expiresAt":1795399894},'
    '"refreshToken":{"value":"JWS.a.b.c","role":"visitor"}}'
)
SDK_TOKENS = Tokens(AccessToken("OauthNG.JWS.a.b.c", 1795399894), RefreshToken("JWS.a.b.c", TokenRole.VISITOR))

texts = st.text(st.characters(codec=None))  # surrogates as well, which JavaScript's strings may hold
tokens = st.builds(
    Tokens,
    st.builds(AccessToken, texts, st.integers(0, 99_999_999_999)),
    st.builds(RefreshToken, texts, st.sampled_from(TokenRole)),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
nearly_tokens = st.fixed_dictionaries(
    {},
    optional={
        "accessToken": json_values
        | st.fixed_dictionaries({}, optional={"value": json_values | st.just(SECRET), "expiresAt": json_values}),
        "refreshToken": json_values
        | st.fixed_dictionaries({}, optional={"value": json_values | st.just(SECRET), "role": json_values}),
        "clientId": json_values,
    },
)


def test_reads_the_sdk():
    """What ``JSON.stringify(getTokens())`` writes is read, as text and as bytes."""
    assert Tokens.from_json(SDK_JSON) == SDK_TOKENS
    assert Tokens.from_json(SDK_JSON.encode()) == SDK_TOKENS
    assert Tokens.from_dict(json.loads(SDK_JSON)) == SDK_TOKENS


def test_writes_the_sdk():
    """``to_json`` writes the very text of ``JSON.stringify``."""
    assert SDK_TOKENS.to_json() == SDK_JSON
    assert SDK_TOKENS.to_dict() == json.loads(SDK_JSON)


def test_empty_tokens():
    """The empty tokens are JavaScript's ``EMPTY_TOKENS``."""
    assert EMPTY_TOKENS.to_json() == (
        '{"accessToken":{"value":"","expiresAt":0},"refreshToken":{"value":"","role":"none"}}'
    )
    assert Tokens.from_json(EMPTY_TOKENS.to_json()) == EMPTY_TOKENS
    assert Tokens.from_dict({}) == EMPTY_TOKENS


def test_a_role_by_its_name():
    """A role's text is as good as the role; whatever is none is said to be, and not quoted: it may be a token."""
    member = RefreshToken(SECRET, "member")
    assert member.role is TokenRole.MEMBER
    assert Tokens.from_json(Tokens(AccessToken("", 0), member).to_json()).refresh_token == member
    for value in (SECRET, None, 1, ["member"]):
        with pytest.raises(ValueError, match=r"refreshToken\.role: expected one of none, visitor, member") as caught:
            RefreshToken("visitor", value)
        assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_roles_are_the_sdks():
    """The roles' values are those of @wix/sdk, so a role is a plain string there."""
    assert {role.name: role.value for role in TokenRole} == {"NONE": "none", "VISITOR": "visitor", "MEMBER": "member"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"refreshToken": {"value": "JWS.a", "role": "member"}},
            Tokens(EMPTY_TOKENS.access_token, RefreshToken("JWS.a", TokenRole.MEMBER)),
        ),
        (
            {"accessToken": {"value": "a", "expiresAt": 7}},
            Tokens(AccessToken("a", 7), EMPTY_TOKENS.refresh_token),
        ),
        ({"accessToken": None, "refreshToken": None}, EMPTY_TOKENS),
        ({"accessToken": {"value": ""}}, EMPTY_TOKENS),
        ({"accessToken": {"value": "", "expiresAt": 0}, "clientId": "x", "other": [1]}, EMPTY_TOKENS),
    ],
    ids=["refresh only", "access only", "nulls", "no expiresAt without a value", "other keys"],
)
def test_missing_halves(data, expected):
    """A missing half is an empty one, and other keys are ignored."""
    assert Tokens.from_dict(data) == expected


@pytest.mark.parametrize(
    ("expires_at", "seconds"),
    [
        (0, 0),
        (1795399894, 1795399894),
        (1795399894.0, 1795399894),
        (1795399894123, 1795399894),
        (1795399894999.5, 1795399894),
        (99_999_999_999, 99_999_999_999),
        (100_000_000_000, 100_000_000),
    ],
)
def test_seconds_and_milliseconds(expires_at, seconds):
    """``expiresAt`` may be in milliseconds, which end up as whole seconds."""
    read = Tokens.from_dict({"accessToken": {"value": "a", "expiresAt": expires_at}})
    assert read.access_token.expires_at == seconds
    assert type(read.access_token.expires_at) is int


WRONG = {
    "a list": ([], "tokens: expected an object"),
    "nothing": (None, "tokens: expected an object"),
    "a text": ("text", "tokens: expected an object"),
    "a token response": ({"access_token": SECRET, "expires_in": 1}, "is this a token response"),
    "access a list": ({"accessToken": []}, "accessToken: expected an object"),
    "access a text": ({"accessToken": SECRET}, "accessToken: expected an object"),
    "no access value": ({"accessToken": {"expiresAt": 1}}, r"accessToken\.value"),
    "access value a number": ({"accessToken": {"value": 1, "expiresAt": 1}}, r"accessToken\.value"),
    "no expiresAt": ({"accessToken": {"value": SECRET}}, r"accessToken\.expiresAt"),
    "expiresAt a text": ({"accessToken": {"value": SECRET, "expiresAt": "1795399894"}}, r"accessToken\.expiresAt"),
    "expiresAt true": ({"accessToken": {"value": SECRET, "expiresAt": True}}, r"accessToken\.expiresAt"),
    "expiresAt null": ({"accessToken": {"value": SECRET, "expiresAt": None}}, r"accessToken\.expiresAt"),
    "expiresAt negative": ({"accessToken": {"value": SECRET, "expiresAt": -1}}, r"accessToken\.expiresAt"),
    "expiresAt a fraction": ({"accessToken": {"value": SECRET, "expiresAt": 1.5}}, r"accessToken\.expiresAt"),
    "expiresAt nan": ({"accessToken": {"value": SECRET, "expiresAt": float("nan")}}, r"accessToken\.expiresAt"),
    "expiresAt infinite": ({"accessToken": {"value": SECRET, "expiresAt": float("inf")}}, r"accessToken\.expiresAt"),
    "expiresAt too late": ({"accessToken": {"value": SECRET, "expiresAt": 10**15}}, r"accessToken\.expiresAt"),
    "refresh a list": ({"refreshToken": []}, "refreshToken: expected an object"),
    "no refresh value": ({"refreshToken": {"role": "visitor"}}, r"refreshToken\.value"),
    "no role": ({"refreshToken": {"value": SECRET}}, r"refreshToken\.role"),
    "an unknown role": ({"refreshToken": {"value": SECRET, "role": "admin"}}, r"refreshToken\.role"),
    "a token as role": ({"refreshToken": {"value": "", "role": SECRET}}, r"refreshToken\.role"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes(name):
    """Anything else is a ValueError that says which field, never what is in it."""
    data, field = WRONG[name]
    with pytest.raises(ValueError, match=field) as caught:
        Tokens.from_dict(data)
    assert "classified" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["", "{", SDK_JSON[:-1], "nul", b"\xff\xfe\xff", "[" * 100_000, "\ufeff{}"])
def test_no_json(text):
    """What is no JSON is a ValueError whose chain does not carry the text."""
    with pytest.raises(ValueError, match="not JSON") as caught:
        Tokens.from_json(text)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@given(tokens)
def test_round_trip(value):
    """Tokens survive JSON, whatever their text is, and the JSON can be written as UTF-8."""
    text = value.to_json()
    assert Tokens.from_json(text) == value
    assert Tokens.from_json(text.encode()) == value
    assert Tokens.from_dict(value.to_dict()) == value


def tokens_or_error(text: str | bytes) -> Tokens | ValueError:
    try:
        return Tokens.from_json(text)
    except ValueError as error:
        return error


@given(json_values | nearly_tokens)
def test_any_json_ends_well(data):
    """Any JSON is either tokens or a ValueError that holds no token."""
    read = tokens_or_error(json.dumps(data))
    assert "classified" not in repr(read)
    if isinstance(read, Tokens):
        assert type(read.access_token.expires_at) is int
        assert Tokens.from_json(read.to_json()) == read
    else:
        assert "classified" not in repr(read.__cause__)


@given(st.text() | st.binary())
def test_any_text_ends_well(text):
    """Any text is either tokens or a ValueError, and nothing else."""
    read = tokens_or_error(text)
    assert isinstance(read, Tokens) or str(read).startswith(("tokens:", "accessToken", "refreshToken"))


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, "{!s}".format, ascii])
def test_no_token_is_shown(show):
    """Neither repr nor str nor a format shows a token's text; that there is one can be seen."""
    secret = Tokens(AccessToken(SECRET, 1), RefreshToken(SECRET, TokenRole.VISITOR))
    for value in (secret, secret.access_token, secret.refresh_token, [secret], {"tokens": secret}):
        assert "classified" not in show(value)
        assert "[token]" in show(value)
    assert "[token]" not in show(EMPTY_TOKENS)


def test_immutable_and_hashable():
    """Tokens are frozen, compare by value, and can be copied and pickled."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        SDK_TOKENS.access_token.value = "x"
    assert hash(SDK_TOKENS) == hash(Tokens.from_json(SDK_JSON))
    assert pickle.loads(pickle.dumps(SDK_TOKENS)) == SDK_TOKENS
    assert attrs.evolve(SDK_TOKENS, access_token=AccessToken("b", 1)) != SDK_TOKENS


ODD_TEXTS = [
    "",
    "OauthNG.JWS.eyJ.a-b_c.d==",
    '"\\/\b\f\n\r\t',
    "\x00\x01\x1f\x7f\x80\x9f",
    "Zoë 訪問者 🛒",
    "\u2028\u2029\ufeff\ufffe\uffff",
    "\ud800 \udfff \udc00\ud800",
    "<script>&'",
]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on PATH")
def test_byte_for_byte_json_stringify():
    """Node's JSON.stringify of what it parsed from our JSON is our JSON, byte for byte."""
    lines = [
        Tokens(AccessToken(text, expires_at), RefreshToken(text, role)).to_json()
        for text in ODD_TEXTS
        for expires_at in (0, 1795399894, 99_999_999_999)
        for role in TokenRole
    ]
    program = (
        "const lines = require('fs').readFileSync(0, 'utf8').split('\\n');"
        "process.stdout.write(lines.map(line => JSON.stringify(JSON.parse(line))).join('\\n'))"
    )
    result = subprocess.run(["node", "-e", program], input="\n".join(lines).encode(), capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode().split("\n") == lines


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on PATH")
def test_reads_what_node_wrote():
    """Odd texts that JavaScript stringified are read as the same code points."""
    program = (
        "const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "process.stdout.write(JSON.stringify(texts.map(value => JSON.stringify("
        "{accessToken: {value, expiresAt: 7}, refreshToken: {value, role: 'visitor'}}))))"
    )
    result = subprocess.run(["node", "-e", program], input=json.dumps(ODD_TEXTS).encode(), capture_output=True)
    read = [Tokens.from_json(line) for line in json.loads(result.stdout)]
    assert [one.access_token.value for one in read] == ODD_TEXTS
    assert [one.to_json() for one in read] == json.loads(result.stdout)
