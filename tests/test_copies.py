"""What pickles, and what says clearly that it does not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from tests.constants import CLIENT_ID
from wixvisitor import (
    AccessToken,
    ChangeReason,
    ConfigurationError,
    GraphQLResult,
    InvalidTokenResponse,
    RefreshToken,
    SessionExpired,
    StorageError,
    TokenAnswer,
    TokenRequestError,
    TokenRole,
    Tokens,
    TokensChanged,
    VisitorPool,
    VisitorSession,
    WixAPIError,
)
from wixvisitor.asgi import CatalogReader
from wixvisitor.errors import MemberLoginError
from wixvisitor.storage import Record, VersionConflict

LOST = {"status_code": 503, "request_id": "1.2", "body": "busy", "retry_after": 3.0}
ERRORS = [
    ConfigurationError("x", status_code=400, request_id="1.2", body="{}"),
    TokenRequestError("x", **LOST),
    InvalidTokenResponse("x", **LOST),
    SessionExpired("x", role=TokenRole.MEMBER, status_code=400, request_id="1.2", body="{}"),
    StorageError("x"),
    VersionConflict("x"),
    MemberLoginError("x", reason="unknown", code="-19976", status_code=403, request_id="1.2"),
    WixAPIError("m", status_code=404, code="C", details={"a": 1}, field_violations=[{"field": "b"}], request_id="1.2"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy])
def test_errors_keep_everything(error: Exception, again: Any) -> None:
    """An error that crosses a process boundary keeps its text, its attributes and its notes."""
    error.add_note("while the shop was busy")
    twin = again(error)
    assert (type(twin), str(twin), twin.args) == (type(error), str(error), error.args)
    assert vars(twin) == vars(error)


@pytest.mark.parametrize(
    "thing",
    [
        Tokens(AccessToken("a", 1), RefreshToken("b", TokenRole.VISITOR)),
        TokensChanged(ChangeReason.MINTED, "anna", TokenRole.NONE, TokenRole.VISITOR),
        GraphQLResult({"a": 1}, []),
        TokenAnswer(400, {"error": "invalid_grant"}),
        Record("text", "1"),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_data_pickles(thing: object) -> None:
    """Data is equal after the way through another process."""
    assert pickle.loads(pickle.dumps(thing)) == thing == copy.deepcopy(thing)


@pytest.mark.parametrize("again", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (VisitorSession(CLIENT_ID), "VisitorSession"),
        (VisitorPool(CLIENT_ID), "VisitorPool"),
        (VisitorSession(CLIENT_ID).auth, "VisitorAuth"),
        (CatalogReader(VisitorPool(CLIENT_ID), ["/stores/"]), "CatalogReader"),
    ],
)
def test_what_lives_does_not(thing: object, name: str, again: Any) -> None:
    """Sessions, pools and what belongs to them hold locks and connections: a TypeError that says what to do."""
    with pytest.raises(TypeError, match=f"a {name} cannot be pickled or copied.* Make one in each process"):
        again(thing)
