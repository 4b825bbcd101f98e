"""What becomes of a shopper with the real @wix/sdk and with wixvisitor."""

import anyio
import pytest

from .compare import SITUATIONS, Row, run
from .shoppers import ours

pytestmark = pytest.mark.interop


def pair(rows: list[Row], situation: str) -> tuple[Row, Row]:
    """The SDK's row and ours."""
    sdk, mine = (row for row in rows if row.situation == situation)
    return sdk, mine


def test_cold_start(shopping_rows: list[Row]) -> None:
    """A hundred first calls make a hundred visitors in the SDK, with one mug left, and one visitor here."""
    sdk, mine = pair(shopping_rows, "100 calls at once, no visitor yet")
    assert (sdk.token_calls, sdk.visitors_after, sdk.mugs, sdk.errors) == (100, 100, 1, [])
    assert (mine.token_calls, mine.visitors_after, mine.mugs, mine.errors) == (1, 1, 100, [])


def test_expired(shopping_rows: list[Row]) -> None:
    """A hundred calls on an expired token renew it a hundred times in the SDK, once here; both keep the visitor."""
    sdk, mine = pair(shopping_rows, "100 calls at once, token expired")
    assert (sdk.token_calls, sdk.visitors_after, sdk.mugs, sdk.errors) == (100, 1, 101, [])
    assert (mine.token_calls, mine.visitors_after, mine.mugs, mine.errors) == (1, 1, 101, [])


@pytest.mark.parametrize("hiccup", ["one 503 from the token endpoint", "one dropped connection"])
def test_hiccup(shopping_rows: list[Row], hiccup: str) -> None:
    """One failed renewal costs the SDK's shopper the cart; here it is tried again for the same visitor."""
    sdk, mine = pair(shopping_rows, f"token expired, {hiccup}")
    assert (sdk.stays, sdk.visitors_after, sdk.mugs, sdk.errors) == (False, 2, 1, [])
    assert (mine.stays, mine.visitors_after, mine.mugs, mine.errors) == (True, 1, 2, [])


def test_outage(shopping_rows: list[Row]) -> None:
    """Both keep the visitor while nothing works; the SDK asks twice for each call, we pause after the first failure."""
    sdk, mine = pair(shopping_rows, "token expired, 10 calls during an outage (503), 1 after it")
    assert (sdk.stays, sdk.token_calls, sdk.mugs) == (True, 21, 2)
    assert (mine.stays, mine.token_calls, mine.mugs) == (True, 4, 2)
    assert sdk.errors == ["Error: System error occurred: {}"] * 10
    assert mine.errors == ["TokenRequestError"] * 10


def test_refused_visitor(shopping_rows: list[Row]) -> None:
    """A visitor whom Wix refuses is replaced by both."""
    for row in pair(shopping_rows, "visitor's refresh token refused"):
        assert (row.stays, row.visitors_after, row.token_calls, row.errors) == (False, 2, 2, [])


def test_refused_member(shopping_rows: list[Row]) -> None:
    """A member whom Wix refuses is silently an anonymous visitor in the SDK, and is told here."""
    sdk, mine = pair(shopping_rows, "member's refresh token refused")
    assert (sdk.stays, sdk.visitors_after, sdk.errors) == (False, 2, [])
    assert (mine.stays, mine.visitors_after, mine.errors) == (True, 1, ["SessionExpired"])


def test_same_on_trio(shopping_rows: list[Row]) -> None:
    """Our half of the comparison does not depend on the event loop."""
    mine = [row for row in shopping_rows if row.client == "wixvisitor"]
    assert [anyio.run(run, situation, "wixvisitor", ours, backend="trio") for situation in SITUATIONS] == mine
