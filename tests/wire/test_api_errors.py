"""What a Wix API's error answer means: the shapes of wire.md section 4, with httpx and httpx2."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wixvisitor import WixAPIError, raise_for_error
from wixvisitor._wire.api_errors import read_error

TOKEN = "JWS.aaaaaa.classified.cccccc"
VIOLATION = {
    "field": "cart.note",
    "description": "is too long",
    "violatedRule": "MAX_LENGTH",
    "ruleName": "",
    "data": {},
}

SHAPES: dict[str, tuple[int, Any, str | None, str]] = {
    "application error": (
        404,
        {
            "message": "Cart not found",
            "details": {"applicationError": {"code": "OWNED_CART_NOT_FOUND", "description": "d", "data": {}}},
        },
        "OWNED_CART_NOT_FOUND",
        "Cart not found",
    ),
    "application error without a message": (
        428,
        {"message": "", "details": {"applicationError": {"code": "APP_NOT_INSTALLED", "description": "no app"}}},
        "APP_NOT_INSTALLED",
        "no app",
    ),
    "a number as code": (
        401,
        {"message": "m", "details": {"applicationError": {"code": -19976}}},
        "-19976",
        "m",
    ),
    "validation error": (
        400,
        {"message": "note is too long", "details": {"validationError": {"fieldViolations": [VIOLATION]}}},
        None,
        "note is too long",
    ),
    "no details": (403, {"message": "READ_ORDER_FORBIDDEN"}, None, "READ_ORDER_FORBIDDEN"),
    "empty details": (403, {"message": "forbidden", "details": {}}, None, "forbidden"),
    "details null": (403, {"message": "forbidden", "details": None}, None, "forbidden"),
    "details a text": (403, {"message": "forbidden", "details": "text"}, None, "forbidden"),
    "wix data": (400, {"message": "WDE0117: MetaSite not found", "details": {}}, None, "WDE0117: MetaSite not found"),
    "legacy": (
        404,
        {"errorCode": -404, "errorDescription": "[business][RECOVERABLE][Dispatcher] not found", "success": False},
        "-404",
        "[business][RECOVERABLE][Dispatcher] not found",
    ),
    "oauth": (
        400,
        {"error": "invalid_grant", "error_description": "it ended"},
        "invalid_grant",
        "it ended",
    ),
    "nested error": (500, {"error": {"code": "X", "message": "nested"}}, "X", "nested"),
    "code at the top": (409, {"code": "CONFLICT", "message": "m"}, "CONFLICT", "m"),
}


def response(family: ModuleType, status: int, content: Any, **headers: str) -> Any:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return family.Response(status, content=data, headers=named, request=family.Request("GET", "https://wix.test/x"))


def caught(answer: Any) -> WixAPIError:
    with pytest.raises(WixAPIError) as info:
        raise_for_error(answer)
    return info.value


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(family, name):
    """The status, code, message, details and request id are there, whichever shape Wix chose."""
    status, body, code, message = SHAPES[name]
    error = caught(response(family, status, body, x_wix_request_id="1795.77"))
    assert (error.status_code, error.code, error.message, error.request_id) == (status, code, message, "1795.77")
    assert error.details == (body["details"] if isinstance(body.get("details"), dict) else {})
    assert str(error) == f"Wix answered {status}{f' {code}' if code else ''}: {message} (request id 1795.77)"


def test_field_violations(family):
    """A validation error's violations are dicts with Wix's own keys."""
    body = {"message": "m", "details": {"validationError": {"fieldViolations": [VIOLATION, "odd", VIOLATION]}}}
    assert caught(response(family, 400, body)).field_violations == [VIOLATION, VIOLATION]


@pytest.mark.parametrize("violations", [None, {}, "text", [[]], 1])
def test_odd_violations(family, violations):
    """Whatever stands in the place of violations, there is a tuple."""
    body = {"message": "m", "details": {"validationError": {"fieldViolations": violations}}}
    assert caught(response(family, 400, body)).field_violations == []


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503, 504])
@pytest.mark.parametrize(
    "body",
    [b"", b"  \n", b"{", b"[]", b"null", b'"text"', b"1", b"\xff\xfe", b"plain text", b"{}", b"[" * 100_000],
)
def test_bodies_without_an_error(family, status, body):
    """Whatever the body is, the error has its status, some message, and no details."""
    error = caught(response(family, status, body))
    assert (error.status_code, error.code, error.details, error.field_violations) == (status, None, {}, [])
    assert error.message
    assert error.request_id is None


def test_html(family):
    """An HTML page says that it is one, and where it comes from."""
    error = caught(response(family, 403, b"\n<!doctype html><title>Access denied</title>", content_type="text/html"))
    assert "HTML" in error.message
    assert "bot protection" in error.message


@pytest.mark.parametrize("status", [200, 201, 204, 206, 299])
def test_good_responses_pass(family, status):
    """A 2xx is returned as the object that it is."""
    answer = response(family, status, b"{}")
    assert raise_for_error(answer) is answer


@pytest.mark.parametrize("status", [100, 304, 302, 402, 600])
def test_any_other_status_raises(family, status):
    """Any other status raises, a redirect that was not followed too."""
    assert caught(response(family, status, b"")).status_code == status


def test_a_stream_that_was_not_read(family):
    """A streamed response that nobody has read is judged by its status."""

    class Stream(family.SyncByteStream, family.AsyncByteStream):
        def __iter__(self):
            raise AssertionError("it must not be read")

        __aiter__ = __iter__

    error = caught(family.Response(502, stream=Stream(), headers={"x-wix-request-id": "7"}))
    assert (error.status_code, error.request_id) == (502, "7")


def test_a_body_in_another_charset(family):
    """The charset of the header is used, and a wrong one does no harm."""
    body = '{"message": "Größe"}'.encode("latin-1")
    assert caught(response(family, 400, body, content_type="application/json; charset=latin-1")).message == "Größe"
    assert caught(response(family, 400, body, content_type="application/json; charset=nonsense")).status_code == 400


def test_tokens_are_masked(family):
    """What the body or the request id echoes of a token is nowhere in the error."""
    body = {
        "message": f"bad {TOKEN}",
        "details": {
            "applicationError": {"code": TOKEN, "data": {"token": TOKEN}},
            "validationError": {"fieldViolations": [{"field": TOKEN}]},
        },
    }
    error = caught(response(family, 400, body, x_wix_request_id=TOKEN))
    assert "classified" not in str(error) + repr(error) + repr(error.__dict__)
    assert error.message == "bad [token]"


def test_request_id_is_short(family):
    """A request id has at most a hundred characters of whatever was sent."""
    assert len(caught(response(family, 400, b"", x_wix_request_id="7" * 5000)).request_id) == 100


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just(TOKEN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = ["message", "details", "applicationError", "validationError", "fieldViolations", "code", "description"]
names += ["error", "errorCode", "errorDescription", "error_description"]
errors = st.recursive(json_values, lambda inner: st.dictionaries(st.sampled_from(names), inner, max_size=4))


@given(st.integers(100, 999), st.text() | json_values.map(json.dumps) | errors.map(json.dumps), st.none() | st.text())
def test_any_body(status, text, request_id):
    """Any body ends in an error with fields of the documented types and without tokens."""
    error = read_error(status, text, request_id)
    assert error.status_code == status
    assert error.code is None or isinstance(error.code, str)
    assert isinstance(error.message, str)
    assert error.message
    assert isinstance(error.details, dict)
    assert all(isinstance(one, dict) for one in error.field_violations)
    assert "classified" not in str(error) + repr(error.__dict__)
