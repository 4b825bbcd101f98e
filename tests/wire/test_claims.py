"""What can be read in a token without its key."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wixvisitor._wire.claims import Claims, read_claims

IAT, EXP = 1_795_000_000, 1_795_014_400


def segment(content: object) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(payload: object, prefix: str = "OauthNG.JWS") -> str:
    return f"{prefix}.{segment({'kid': '1', 'alg': 'HS256'})}.{segment(payload)}.c2lnbmF0dXJl"


def payload(**instance: Any) -> dict[str, Any]:
    return {"data": json.dumps({"instance": instance}), "iat": IAT, "exp": EXP}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["aid", "uid", "x"]), inner),
    max_leaves=6,
)


def test_visitor():
    """A visitor's access token tells its times and the visitor's id."""
    claims = read_claims(token(payload(aid="a visitor", instanceId="x", permissions="", demoMode=False)))
    assert claims == Claims(IAT, EXP, visitor_id="a visitor", member_id=None)
    assert claims.lifetime == 14_400


def test_member():
    """A member's has the member's id beside the visitor's."""
    claims = read_claims(token(payload(aid="a visitor", uid="a member", permissions="offline_access")))
    assert claims == Claims(IAT, EXP, visitor_id="a visitor", member_id="a member")


def test_refresh_token():
    """A refresh token's data is a bare id, so that only its times are known."""
    data = {"data": json.dumps("0a1b2c3d-0000-4000-8000-000000000001"), "iat": IAT, "exp": IAT + 31_536_000}
    claims = read_claims(token(data, prefix="JWS"))
    assert claims == Claims(IAT, IAT + 31_536_000)


def test_instance_as_a_text():
    """An instance that is itself encoded is read as well."""
    data = {"data": json.dumps({"instance": segment({"aid": "a", "uid": "u"})}), "iat": IAT, "exp": EXP}
    assert read_claims(token(data)) == Claims(IAT, EXP, "a", "u")


@pytest.mark.parametrize("length", range(4))
def test_any_padding(length):
    """base64url without padding is read, whatever its length."""
    claims = read_claims(token({"iat": IAT, "exp": EXP, "x": "y" * length}))
    assert claims == Claims(IAT, EXP)


@pytest.mark.parametrize(
    "data",
    [
        None,
        1,
        [],
        {},
        "",
        "no JSON",
        "[]",
        "{}",
        '{"instance": 1}',
        '{"instance": "?"}',
        '{"instance": []}',
        "[" * 9999,
    ],
)
def test_odd_data(data):
    """Whatever the data is, the times are known."""
    assert read_claims(token({"data": data, "iat": IAT, "exp": EXP})) == Claims(IAT, EXP)


@pytest.mark.parametrize("value", [None, "", 1, True, [], {}])
def test_odd_ids(value):
    """An id that is no text is none."""
    assert read_claims(token(payload(aid=value, uid=value))) == Claims(IAT, EXP)


@pytest.mark.parametrize(
    "times",
    [
        {},
        {"iat": IAT},
        {"exp": EXP},
        {"iat": str(IAT), "exp": str(EXP)},
        {"iat": IAT, "exp": None},
        {"iat": IAT + 0.5, "exp": EXP},
        {"iat": True, "exp": EXP},
        {"iat": EXP, "exp": IAT},
        {"iat": IAT, "exp": IAT},
        {"iat": -1, "exp": EXP},
        {"iat": 0, "exp": EXP},
    ],
)
def test_odd_times(times):
    """Without two sane times nothing is known."""
    assert read_claims(token(times)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a token",
        "OauthNG.",
        "JWS.a.b",
        "JWS.a.b.c",
        "JWS.a.b.c.d",
        "OauthNG.OauthNG.JWS.a.b.c",
        "IST.a.b.c",
        "eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjF9.c",
        token([1]),
        token("text"),
        token(b"\xff\xfe"),
        token(b"[" * 9000),
        token({"iat": IAT, "exp": EXP, "x": "y" * 20_000}),
        "JWS.é.é.é",
        "JWS.\ud800.\ud800.\ud800",
    ],
)
def test_anything_else_is_none(text):
    """What does not have the known shape reads as None."""
    assert read_claims(text) is None


@given(st.text(st.characters(codec=None)))
def test_any_text(text):
    """Any text ends in claims or None, also in the place of the payload."""
    assert read_claims(text) is None
    assert read_claims(f"JWS.a.{text}.c") is None


@given(json_values, json_values, json_values)
def test_any_payload(data, iat, exp):
    """Any payload ends in claims with sane fields, or None."""
    claims = read_claims(token({"data": json.dumps({"instance": data}), "iat": iat, "exp": exp}))
    assert claims is None or (0 < claims.issued_at < claims.expires_at and claims.lifetime > 0)
    known = read_claims(token({"data": json.dumps({"instance": data}), "iat": IAT, "exp": EXP}))
    assert known is not None
    assert all(one is None or (isinstance(one, str) and one) for one in (known.visitor_id, known.member_id))


@given(st.binary())
def test_any_bytes_as_payload(data):
    """Any bytes in the payload end in claims or None."""
    claims = read_claims(token(data))
    assert claims is None or claims.lifetime > 0
