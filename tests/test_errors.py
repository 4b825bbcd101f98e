"""The exceptions themselves: their tree, their fields, and that each can be sent on."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

import wixvisitor
from wixvisitor import (
    ConfigurationError,
    InvalidTokenResponse,
    SessionExpired,
    StorageError,
    TokenRequestError,
    TokenRole,
    WixAPIError,
    WixVisitorError,
    errors,
)
from wixvisitor.storage import VersionConflict

ENDPOINT = {"status_code": 503, "request_id": "1795.77", "body": "the beginning"}

EXAMPLES = [
    WixVisitorError("message"),
    WixVisitorError(),
    ConfigurationError("message", **ENDPOINT),
    TokenRequestError("message", **ENDPOINT, retry_after=7.5),
    InvalidTokenResponse("message", **ENDPOINT, retry_after=7.5),
    SessionExpired("message", role=TokenRole.MEMBER, **ENDPOINT),
    StorageError("message"),
    VersionConflict("message"),
    WixAPIError(
        "message",
        status_code=404,
        code="CODE",
        details={"applicationError": {"code": "CODE"}},
        field_violations=[{"field": "f"}],
        request_id="1795.77",
    ),
    WixAPIError("message", status_code=500),
]
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "again": lambda error: error._again(),
    **{f"pickle {n}": lambda error, n=n: pickle.loads(pickle.dumps(error, n)) for n in range(6)},
}


def test_the_tree():
    """The tree is the one that is drawn in the module."""
    assert {kind.__name__: kind.__mro__[1:-3] for kind in map(type, EXAMPLES)} == {
        "WixVisitorError": (),
        "ConfigurationError": (errors._EndpointError, WixVisitorError),
        "TokenRequestError": (errors._EndpointError, WixVisitorError),
        "InvalidTokenResponse": (TokenRequestError, errors._EndpointError, WixVisitorError),
        "SessionExpired": (errors._EndpointError, WixVisitorError),
        "StorageError": (WixVisitorError,),
        "VersionConflict": (StorageError, WixVisitorError),
        "WixAPIError": (WixVisitorError,),
    }


def test_every_public_error_is_an_example():
    """No exception was added without being tested here."""
    public = {kind for kind in vars(wixvisitor).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert public <= set(map(type, EXAMPLES))


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_copies_keep_everything(error, how):
    """A copied or pickled exception has the type, text, arguments and fields of the original."""
    twin = COPIES[how](error)
    assert twin is not error
    assert type(twin) is type(error)
    assert (str(twin), repr(twin), twin.args, twin.__dict__) == (str(error), repr(error), error.args, error.__dict__)


@pytest.mark.parametrize("how", COPIES)
def test_copies_share_no_traceback(how):
    """A copy of an exception that was raised has no traceback of its own yet."""
    with pytest.raises(StorageError) as caught:
        raise StorageError("message")
    assert caught.value.__traceback__ is not None
    assert COPIES[how](caught.value).__traceback__ is None


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_a_users_subclass(how):
    """An application's own subclass with another signature is copied as well."""
    twin = COPIES[how](Mine(3, extra="e"))
    assert (type(twin), str(twin), twin.number, twin.extra) == (Mine, "number 3", 3, "e")


class Mine(StorageError):
    def __init__(self, number: int, *, extra: str) -> None:
        super().__init__(f"number {number}")
        self.number, self.extra = number, extra


def test_copies_keep_notes():
    """Notes that the application added are kept, and adding one to a copy leaves the original as it was."""
    error = TokenRequestError("message")
    error.add_note("a note")
    twin = error._again()
    twin.add_note("another")
    assert error.__notes__ == ["a note"]
    assert twin.__notes__ == ["a note", "another"]


def test_fields_of_the_token_endpoint():
    """What the token endpoint said is on the exception, and absent fields have defaults."""
    error = TokenRequestError("message", **ENDPOINT, retry_after=7.5)
    assert (error.status_code, error.request_id, error.body, error.retry_after) == (
        503,
        "1795.77",
        "the beginning",
        7.5,
    )
    bare = TokenRequestError("message")
    assert (bare.status_code, bare.request_id, bare.body, bare.retry_after) == (None, None, "", None)
    assert SessionExpired("message", role=TokenRole.VISITOR).role is TokenRole.VISITOR


def test_text_of_an_api_error():
    """The text has the status, the code, the message and the request id, as far as they are known."""
    assert str(EXAMPLES[-2]) == "Wix answered 404 CODE: message (request id 1795.77)"
    assert str(EXAMPLES[-1]) == "Wix answered 500: message"
    assert EXAMPLES[-1].details == {}
    assert EXAMPLES[-1].field_violations == []


def test_again_from_the_original():
    """A waiter's own exception can name the original as its cause, and both print."""
    original = TokenRequestError("message")
    with pytest.raises(TokenRequestError) as caught:
        raise original._again() from original
    assert caught.value.__cause__ is original
    assert "".join(traceback.format_exception(caught.value)).count("TokenRequestError: message") == 2
