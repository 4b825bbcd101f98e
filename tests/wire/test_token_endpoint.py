"""Wix's spelling of the token endpoint, and what its answers mean."""

from __future__ import annotations

import base64
import email.utils
import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wixvisitor import (
    ConfigurationError,
    InvalidTokenResponse,
    TokenAnswer,
    TokenRequestError,
    WixAPIError,
    is_refusal,
    judge_refusal,
)
from wixvisitor._wire import graphql, token_endpoint
from wixvisitor._wire.graphql import GraphQLResult
from wixvisitor._wire.token_endpoint import (
    Granted,
    Refused,
    grant,
    read_answer,
    read_retry_after,
)

NOW = 1_795_000_000.0
HOURS = 3600
ACCESS, REFRESH = "OauthNG.JWS.aaaaaa.classified.cccccc", "JWS.aaaaaa.classified.cccccc"
GRANTED = {"access_token": ACCESS, "token_type": "Bearer", "expires_in": 14400, "refresh_token": REFRESH}


def jwt(issued_at: float, expires_at: float, prefix: str = "OauthNG.JWS") -> str:
    data = json.dumps({"data": "{}", "iat": int(issued_at), "exp": int(expires_at)}).encode()
    return f"{prefix}.aa.{base64.urlsafe_b64encode(data).decode().rstrip('=')}.cc"


def answer(status_code: int = 200, body: Any = None, /, now: float = NOW, **headers: str) -> TokenAnswer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_answer(status_code, content, headers=named, now=now, secrets=(REFRESH,))


def http_date(seconds: float) -> str:
    return email.utils.formatdate(seconds, usegmt=True)


# What is sent


def test_mint_request():
    """A new visitor is asked for as @wix/sdk does, byte for byte."""
    request = token_endpoint.mint_request("client")
    assert request.content == b'{"clientId":"client","grantType":"anonymous"}'
    assert (request.grant_type, request.refresh_token) == ("anonymous", "")


def test_renew_request():
    """A renewal is asked for as @wix/sdk does, and no repr shows the token."""
    request = token_endpoint.renew_request("client", REFRESH)
    expected = f'{{"clientId":"client","refreshToken":"{REFRESH}","grantType":"refresh_token"}}'
    assert request.content == expected.encode()
    assert (request.grant_type, request.refresh_token) == ("refresh_token", REFRESH)
    assert "classified" not in repr(request)


def test_odd_client_id():
    """Whatever the client id is, the body is JSON in UTF-8."""
    request = token_endpoint.renew_request('"é\\', '"é\n')
    assert json.loads(request.content) == {"clientId": '"é\\', "refreshToken": '"é\n', "grantType": "refresh_token"}


def test_graphql_body():
    """Variables that are not there are left out, empty ones are sent."""
    assert graphql.graphql_body("{a}", None) == {"query": "{a}"}
    assert graphql.graphql_body("{a}", {}) == {"query": "{a}", "variables": {}}
    assert graphql.graphql_body("{a}", {"b": None}) == {"query": "{a}", "variables": {"b": None}}


def test_paths():
    """The paths are those of @wix/sdk."""
    assert (token_endpoint.TOKEN_PATH, graphql.GRAPHQL_PATH, token_endpoint.IAM_PREFIX) == (
        "/oauth2/token",
        "/graphql/alpha",
        "/_api/iam/",
    )


# GraphQL answers


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": {"a": 1}}, ({"a": 1}, [])),
        ({"data": None, "errors": [{"message": "m"}]}, ({}, [{"message": "m"}])),
        ({"data": {"a": None}, "errors": [{"message": "m"}, "odd"]}, ({"a": None}, [{"message": "m"}])),
        ({}, ({}, [])),
        ({"data": [], "errors": {}}, ({}, [])),
    ],
)
def test_graphql_answers(body, expected):
    """A 200 may hold data, errors, or both."""
    assert graphql.read_graphql(200, json.dumps(body).encode()) == GraphQLResult(*expected)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_no_graphql_answer(body):
    """What is no JSON object is a WixAPIError with the status."""
    with pytest.raises(WixAPIError, match="not a GraphQL answer") as caught:
        graphql.read_graphql(200, body)
    assert caught.value.status_code == 200


# Answers as such


def test_read_answer():
    """An answer's body, headers and times are read once."""
    read = answer(
        429, {"error": "slow_down"}, x_wix_request_id="1795.77", retry_after="7", date=http_date(NOW), other="x"
    )
    assert read == TokenAnswer(
        429, {"error": "slow_down"}, '{"error": "slow_down"}', request_id="1795.77", retry_after=7.0, date=NOW
    )


def test_answer_without_anything():
    """An empty answer has only its status."""
    assert answer(503, b"") == TokenAnswer(503, None)


def test_cut_answers_are_not_parsed():
    """A body that was longer than what was read is no JSON, even if its beginning looks like it."""
    assert read_answer(400, b"{}", headers={}, now=NOW, cut=True).json is None


def test_text_is_short_and_masked():
    """The text that errors carry has at most 500 characters and no token, wherever that was echoed."""
    body = f'{{"message": "bad {REFRESH}", "more": "{"x" * 5000}"}}'.encode()
    read = answer(400, body, x_wix_request_id=f"id-{ACCESS}")
    assert len(read.text) == 500
    assert "classified" not in repr(read)
    assert "classified" not in read.text + (read.request_id or "")


def test_an_opaque_refresh_token_is_masked():
    """A refresh token that does not look like Wix's is masked because it was sent."""
    read = read_answer(400, b'{"message": "hunter2 is bad"}', headers={}, now=NOW, secrets=("hunter2",))
    assert read.text == '{"message": "[token] is bad"}'


def test_a_token_behind_escapes_is_masked():
    """JSON escapes hide neither a token of Wix's nor the refresh token that was sent."""
    body = rb'{"message": "\u004aWS.\u0065yJhIjoxfQ.c2ln", "more": "h\u0075nter\/2"}'
    read = read_answer(400, body, headers={}, now=NOW, secrets=("hunter/2",))
    assert read.text == '{"message": "[token]", "more": "[token]"}'


@pytest.mark.parametrize("place", range(440, 510, 7))
def test_token_at_the_cut(place):
    """A token that reaches over the end of the excerpt leaves nothing of itself."""
    read = answer(400, f"{'x' * place} {REFRESH} tail".encode())
    assert "classified" not in read.text
    assert "aaaaaa" not in read.text


def test_reprs():
    """Neither an answer's repr nor a grant's nor a refusal's shows a token."""
    good = answer(200, GRANTED)
    assert "classified" not in repr(good)
    assert "classified" not in repr(grant(good, NOW))
    assert "classified" not in repr(Refused(answer(400, {"refreshToken": REFRESH})))
    assert good.json["access_token"] == ACCESS


# Retry-After and Date


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        ("120", 120.0),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        (http_date(NOW + 30), 30.0),
        (http_date(NOW - 30), 0.0),
        ("Wed, 99 Foo 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after(value, seconds):
    """``Retry-After`` is seconds or a date; a past date means now, and nonsense nothing."""
    assert read_retry_after(value, NOW) == seconds


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone cannot be changed here")
@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_http_dates(far_from_greenwich, text):
    """All three spellings of RFC 9110 section 5.6.7 are GMT, whatever the local time zone."""
    assert read_retry_after(text, 784_111_770.0) == 7.0
    assert answer(200, {}, date=text).date == 784_111_777.0


@given(st.text() | st.builds(str, st.floats()) | st.dates().map(str), st.floats(0, 4e9))
@example("Wed, 21 Oct 0000 07:28:00 GMT", NOW)
@example("1" * 5000, NOW)
@example("Wed, 21 Oct 2026 07:28:00 +99999999999999", NOW)
def test_any_retry_after(value, now):
    """Any ``Retry-After`` ends in seconds from 0 on, or None; any ``Date`` in a number or None."""
    seconds = read_retry_after(value, now)
    assert seconds is None or 0 <= seconds < float("inf")
    date = read_answer(200, b"", headers={"date": value, "retry-after": value}, now=now).date
    assert date is None or isinstance(date, float)


# Grants


def test_grant():
    """A token response becomes tokens that end ``expires_in`` after the request."""
    granted = grant(answer(200, GRANTED), NOW + 0.9)
    assert granted.access_token.value == ACCESS
    assert granted.access_token.expires_at == int(NOW) + 14_400
    assert granted.refresh_token == REFRESH
    assert granted.lifetime == 14_400


@pytest.mark.parametrize("refresh", [None, ""])
def test_grant_without_a_refresh_token(refresh):
    """A refresh token that is null, empty or absent is none."""
    assert grant(answer(200, GRANTED | {"refresh_token": refresh}), NOW).refresh_token is None
    assert grant(answer(200, {"access_token": ACCESS, "expires_in": 100}), NOW).refresh_token is None


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (14_400, 14_400),
        (14_400.7, 14_400),
        ("14400", 14_400),
        (" 14400 ", 14_400),
        (1, 60),
        (0, 60),
        (-5, 60),
        (86_401, 86_400),
        (10**400, 14_400),
        (None, 14_400),
        (True, 14_400),
        ("soon", 14_400),
        ("nan", 14_400),
        ("inf", 14_400),
        ([], 14_400),
        ({}, 14_400),
    ],
)
def test_expires_in(expires_in, lifetime):
    """``expires_in`` is a number or a numeric text, kept between a minute and a day; else four hours."""
    granted = grant(answer(200, GRANTED | {"expires_in": expires_in}), NOW)
    assert granted.lifetime == lifetime
    assert granted.access_token.expires_at == int(NOW) + lifetime


def test_expires_in_absent_reads_the_token():
    """Without ``expires_in`` the lifetime is the token's own."""
    body = {"access_token": jwt(NOW, NOW + 7_200)}
    assert grant(answer(200, body), NOW).lifetime == 7_200
    assert grant(answer(200, body | {"expires_in": None}), NOW).lifetime == 7_200


@pytest.mark.parametrize(
    ("age", "lifetime"), [(0, 4 * HOURS), (HOURS, 3 * HOURS), (4 * HOURS - 30, 60), (17 * HOURS, 60)]
)
def test_stale_answer(age, lifetime):
    """A token that was issued long ago has what its ``exp`` leaves by Wix's clock, not ``expires_in`` from now."""
    body = GRANTED | {"access_token": jwt(NOW - age, NOW - age + 4 * HOURS)}
    for headers in ({"date": http_date(NOW)}, {}):
        granted = grant(answer(200, body, **headers), NOW)
        is_over = not headers and age >= 4 * HOURS  # by a clock that may be wrong, and nobody can tell
        assert granted.lifetime == (4 * HOURS if is_over else lifetime)
        assert granted.access_token.expires_at == int(NOW) + granted.lifetime


@pytest.mark.parametrize("skew", [-26 * HOURS, -HOURS, -1, 1, HOURS, 26 * HOURS])
@pytest.mark.parametrize("dated", [True, False])
def test_clock_skew(skew, dated):
    """A wrong local clock does no harm: the end is ``expires_in`` from now by that very clock.

    Of an answer without ``Date`` it is the token's own end at the latest, which a fast clock reaches too early.
    """
    body = GRANTED | {"access_token": jwt(NOW, NOW + 4 * HOURS)}
    headers = {"date": http_date(NOW)} if dated else {}
    granted = grant(answer(200, body, now=NOW + skew, **headers), NOW + skew)
    early = skew if not dated and 0 < skew < 4 * HOURS else 0
    assert granted.lifetime == 4 * HOURS - early
    assert granted.access_token.expires_at == int(NOW + skew) + 4 * HOURS - early


def test_a_token_that_lives_longer_than_told():
    """``expires_in`` is not stretched to the token's ``exp``."""
    body = GRANTED | {"access_token": jwt(NOW, NOW + 20 * HOURS), "expires_in": 600}
    assert grant(answer(200, body, date=http_date(NOW)), NOW).lifetime == 600


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!doctype html><title>Wix</title>",
        json.dumps(GRANTED).encode()[:-1],
        b"\xff\xfe",
        [],
        {},
        None,
        "text",
        1,
        [GRANTED],
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 1, "expires_in": 1},
        {"access_token": [ACCESS]},
        {"access_token": "two words"},
        {"access_token": "line\r\nX-Injected: 1"},
        {"access_token": "é"},
        {"access_token": "\ud800"},
        GRANTED | {"refresh_token": 1},
        GRANTED | {"refresh_token": {"value": REFRESH}},
        GRANTED | {"refresh_token": "two words"},
        {"error": "invalid_grant"},
    ],
)
def test_no_token_response(body):
    """A 200 without usable tokens is an InvalidTokenResponse that says the visitor is unchanged."""
    with pytest.raises(InvalidTokenResponse, match="visitor is unchanged") as caught:
        grant(answer(200, body, x_wix_request_id="77"), NOW)
    assert (caught.value.status_code, caught.value.request_id) == (200, "77")
    assert "classified" not in str(caught.value) + caught.value.body


# What an error means: wire.md section 11, first row, and section 1

INVALID_GRANT = {"error": "invalid_grant", "error_description": "expired"}
WIX_SHAPE = {"message": "refresh token is invalid", "details": {"applicationError": {"code": "INVALID_TOKEN"}}}
LEGACY = {"errorCode": -1, "errorDescription": "[business][FATAL] - invalid_token"}
GUID = {"message": "appRuntimeKeys [at index 0] is invalid: appId is not a valid GUID", "details": {}}
HTML = b"<!doctype html><title>Access denied</title>"

NAMES_THE_TOKEN = (
    INVALID_GRANT,
    WIX_SHAPE,
    LEGACY,
    {"error": "invalid_request", "error_description": "The refresh_token is invalid."},
    {"error": "invalid_token"},
    {"message": "", "details": {"applicationError": {"code": "INVALID_REFRESH_TOKEN"}}},
    {"message": "refresh token has expired"},
    {"message": "The refresh token was revoked"},
    {"message": "Refresh token already used"},
    {"message": "unknown refresh token"},
    {"message": "refresh token not found"},
    {"code": "REFRESH_TOKEN_EXPIRED"},
    {"error": "token_revoked"},
)
REFUSALS = [(status, body) for status in (400, 401, 403) for body in NAMES_THE_TOKEN]
DOUBTFUL = [
    (status, body)
    for status in (400, 401, 403)
    for body in (
        {},
        {"message": ""},
        {"message": "", "details": {}},
        {"message": "Forbidden"},
        {"message": "Unauthorized"},
        {"message": "API rate limit exceeded"},
        {"message": "Access token has expired"},
        {"message": "invalid access token"},
        {"message": "refresh_token is required"},
        {"errorCode": -1, "errorDescription": "[business][FATAL] no"},
    )
]
NO_REFUSALS = [
    *[(status, HTML) for status in (400, 401, 403)],
    *[(status, b"") for status in (400, 401, 403)],
    *[(status, json.dumps(INVALID_GRANT).encode()[:-1]) for status in (400, 401, 403)],
    *[(status, body) for status in (400, 401, 403) for body in ([], [INVALID_GRANT], "text", 1, None, True)],
    *[(400, {"error": code}) for code in ("invalid_client", "unauthorized_client")],
    *[(401, {"error": code}) for code in ("invalid_client", "unauthorized_client")],
    *[(status, GUID) for status in (400, 401, 403)],
    (400, {"message": "x", "details": {"applicationError": {"code": "invalid_client"}}}),
    (400, {"error": "unsupported_grant_type"}),
    (400, {"error": "invalid_scope"}),
    *[
        (status, {"error": code, "error_description": "try again"})
        for status in (400, 401, 403)
        for code in ("invalid_request", "server_error", "temporarily_unavailable", "slow_down", "access_denied")
    ],
    (403, {"message": "quota", "details": {"applicationError": {"code": "RESOURCE_EXHAUSTED"}}}),
    *[
        (status, INVALID_GRANT)
        for status in (200, 204, 301, 302, 307, 402, 404, 405, 408, 409, 410, 415, 422, 425, 428, 429)
    ],
    *[(status, INVALID_GRANT) for status in (500, 501, 502, 503, 504, 520, 599)],
]


@pytest.mark.parametrize(("status", "body"), REFUSALS)
def test_refusals(status, body):
    """400, 401 and 403 with a JSON object that names the token refuse it for certain."""
    assert judge_refusal(answer(status, body)) == "certain"


@pytest.mark.parametrize(("status", "body"), DOUBTFUL)
def test_doubtful_refusals(status, body):
    """Any other JSON object with 400, 401 or 403 may be a gateway's: it is doubtful."""
    assert judge_refusal(answer(status, body)) == "doubtful"


@pytest.mark.parametrize(("body", "is_certain"), [(INVALID_GRANT, True), ({}, False)])
def test_is_refusal(body, is_certain):
    """The deprecated function says whether a refusal is certain, and what takes its place."""
    with pytest.warns(DeprecationWarning, match="judge_refusal") as caught:
        assert is_refusal(answer(400, body)) is is_certain
    assert caught[0].filename == __file__


def test_answers_of_one_kind():
    """Two answers are of one kind if only ids and numbers differ, and of two kinds if the code or the status does."""

    def kind(status: int, **body: object) -> str:
        return token_endpoint.kind_of(answer(status, body))

    assert kind(403, message="Forbidden", ray="8a1f") == kind(403, message="Forbidden", ray="9b2e77")
    assert kind(403, message="Forbidden") != kind(401, message="Forbidden")
    assert kind(403, message="Forbidden") != kind(403, message="Blocked")


@pytest.mark.parametrize(("status", "body"), NO_REFUSALS)
def test_no_refusals(status, body):
    """Nothing else does: no other status, no HTML, nothing empty or cut off, nothing about the client."""
    assert judge_refusal(answer(status, body)) == "never"


def test_cut_off_is_no_refusal():
    """A body that was too long to be read says nothing about the token."""
    read = read_answer(400, json.dumps(INVALID_GRANT).encode(), headers={}, now=NOW, cut=True)
    assert judge_refusal(read) == "never"


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client"])
def test_client_error_behind_a_long_description(error):
    """An error about the client costs nobody, wherever in the JSON its code stands."""
    assert judge_refusal(answer(401, {"error_description": "x" * 600, "error": error})) == "never"


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("body", [HTML, b"", b"[]"])
def test_has_run_out(status, body):
    """A refresh token past its own ``exp`` that Wix turns down is gone, whatever the body is."""
    token = jwt(NOW - 100, NOW - 1, prefix="JWS")
    assert token_endpoint.has_run_out(token, answer(status, body), NOW)
    assert not token_endpoint.has_run_out(jwt(NOW - 100, NOW + 1, prefix="JWS"), answer(status, body), NOW)


@pytest.mark.parametrize("status", [200, 302, 404, 408, 425, 429, 500, 503])
def test_has_not_run_out(status):
    """The clock alone costs nobody: with any other status the token lives."""
    assert not token_endpoint.has_run_out(jwt(1, 2, prefix="JWS"), answer(status, HTML), NOW)


def test_has_run_out_by_wix_clock():
    """If the answer tells the time, that clock counts and not ours."""
    token = jwt(NOW - 100, NOW, prefix="JWS")
    assert not token_endpoint.has_run_out(token, answer(400, HTML, date=http_date(NOW - 50)), NOW + 10 * HOURS)
    assert token_endpoint.has_run_out(token, answer(400, HTML, date=http_date(NOW + 50)), NOW - 10 * HOURS)


def test_has_run_out_needs_to_be_about_the_token():
    """An opaque token, or an answer about the client, says nothing."""
    assert not token_endpoint.has_run_out(REFRESH, answer(400, HTML), NOW)
    assert not token_endpoint.has_run_out(jwt(1, 2, prefix="JWS"), answer(400, GUID), NOW)


MINT, RENEW = token_endpoint.mint_request("client"), token_endpoint.renew_request("client", REFRESH)
TRANSIENT = [301, 302, 307, 308, 404, 408, 425, 429, 500, 502, 503, 504]


@pytest.mark.parametrize("status", TRANSIENT)
@pytest.mark.parametrize("body", [HTML, b"", INVALID_GRANT, {}])
def test_transient_failures(status, body):
    """No usable answer is a TokenRequestError with what support asks for, and the visitor is unchanged."""
    error = token_endpoint.failure(answer(status, body, retry_after="9", x_wix_request_id="77"))
    assert type(error) is TokenRequestError
    assert (error.status_code, error.retry_after, error.request_id) == (status, 9.0, "77")
    assert "visitor is unchanged" in str(error)


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("body", [HTML, b"", b"[]", b'{"error":'])
def test_unreadable_4xx(status, body):
    """A 4xx without a JSON object is transient, for a mint as well."""
    assert type(token_endpoint.failure(answer(status, body))) is TokenRequestError


@pytest.mark.parametrize("status", [400, 401, 402, 403, 405, 409, 422])
@pytest.mark.parametrize("body", [INVALID_GRANT, {}, LEGACY, {"message": "Forbidden"}])
def test_another_4xx(status, body):
    """A 4xx that does not name the client is transient: a gateway's, for a mint as well."""
    error = token_endpoint.failure(answer(status, body, x_wix_request_id="77"))
    assert type(error) is TokenRequestError
    assert (error.status_code, error.request_id) == (status, "77")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 405, 409, 422])
@pytest.mark.parametrize("body", [GUID, {"error": "invalid_client"}, {"error": "unauthorized_client"}])
def test_wrong_client_id(status, body):
    """A 4xx that names the client is a ConfigurationError that shows the answer and where to look."""
    error = token_endpoint.failure(answer(status, body, x_wix_request_id="77"))
    assert type(error) is ConfigurationError
    assert json.loads(error.body) == body
    assert error.body in str(error)
    assert (error.status_code, error.request_id) == (status, "77")
    assert "client ID" in str(error)


def test_failures_hold_no_token():
    """What an answer echoes of a token is in no error."""
    for status in (400, 503):
        error = token_endpoint.failure(answer(status, {"message": f"bad {REFRESH} {ACCESS}"}))
        assert "classified" not in str(error) + repr(error) + error.body + str(error.__dict__)


@pytest.mark.parametrize(
    ("value", "safe"),
    [
        ("", True),
        (ACCESS, True),
        ("a+/=~", True),
        ("a b", False),
        ("a\n", False),
        ("a\r\nb", False),
        ("\x00", False),
        ("\x7f", False),
        ("é", False),
        ("\u2028", False),
    ],
)
def test_is_header_safe(value, safe):
    """A token that a header could not carry is recognised."""
    assert token_endpoint.is_header_safe(value) is safe


# Anything

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(REFRESH),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
bodies = (
    st.binary()
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {},
        optional={
            name: json_values | st.just(ACCESS)
            for name in ("access_token", "refresh_token", "expires_in", "error", "message", "details")
        },
    ).map(lambda value: json.dumps(value).encode())
)


@given(st.integers(100, 599), bodies, st.sampled_from([MINT, RENEW]), st.booleans())
def test_any_answer_ends_well(status, body, request, cut):
    """Any status and bytes end in a grant, a refusal or an error of ours that holds no token."""
    read = read_answer(status, body, headers={}, now=NOW, secrets=request.secrets, cut=cut)
    assert "classified" not in repr(read)
    refused = judge_refusal(read) == "certain"
    assert not refused or status in (400, 401, 403)
    error = token_endpoint.failure(read)
    assert isinstance(error, ConfigurationError | TokenRequestError)
    assert "classified" not in str(error) + error.body
    result = granted_or_error(read)
    if isinstance(result, Granted):
        assert 60 <= result.lifetime <= 86_400
        assert result.access_token.expires_at == int(NOW) + result.lifetime
        assert token_endpoint.is_header_safe(result.access_token.value)
        assert result.refresh_token is None or token_endpoint.is_header_safe(result.refresh_token)
    assert "classified" not in repr(result)


def granted_or_error(read: TokenAnswer) -> Granted | InvalidTokenResponse:
    try:
        return grant(read, NOW)
    except InvalidTokenResponse as error:
        return error
